//! Commands on keys of any type, and on all keys.

use crate::effects::Op;
use crate::exec::Call;
use crate::refusal::Refusal;

type Outcome = Result<(), Refusal>;

/// PING [message]
pub(crate) fn ping(call: &mut Call<'_>) -> Outcome {
    match call.argc() {
        1 => call.reply.simple("PONG"),
        2 => call.reply.bulk(call.args.get(1)),
        _ => return Err(Refusal::Arity),
    }
    Ok(())
}

/// ECHO message
pub(crate) fn echo(call: &mut Call<'_>) -> Outcome {
    call.reply.bulk(call.args.get(1));
    Ok(())
}

/// TIME, of the turn: in milliseconds, told in microseconds.
pub(crate) fn time(call: &mut Call<'_>) -> Outcome {
    let now_ms = call.ctx.now_ms;
    call.reply.array(2);
    call.reply.bulk((now_ms / 1000).to_string().as_bytes());
    call.reply.bulk((now_ms % 1000 * 1000).to_string().as_bytes());
    Ok(())
}

/// DEL key [key ...]
pub(crate) fn del(call: &mut Call<'_>) -> Outcome {
    let mut count = 0;
    for key in call.args.from(1).iter() {
        let at = call.ks.locate(key);
        if let Some(place) = call.find(at, key) {
            call.delete(at, key, place);
            call.tell_generic("del", key);
            count += 1;
        }
    }
    call.reply.count(count);
    Ok(())
}

/// EXISTS key [key ...]
pub(crate) fn exists(call: &mut Call<'_>) -> Outcome {
    call.uses = false;
    touch(call)
}

/// TOUCH key [key ...]
pub(crate) fn touch(call: &mut Call<'_>) -> Outcome {
    let mut count = 0;
    for key in call.args.from(1).iter() {
        let at = call.ks.locate(key);
        count += usize::from(call.find(at, key).is_some());
    }
    call.reply.count(count);
    Ok(())
}

/// TYPE key
pub(crate) fn type_of(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    call.uses = false;
    let name = match call.find(at, call.arg(1)) {
        None => "none",
        Some(place) => call.ks.kind(at, place).name(),
    };
    call.reply.simple(name);
    Ok(())
}

/// DBSIZE
pub(crate) fn dbsize(call: &mut Call<'_>) -> Outcome {
    call.depend_on_all();
    call.reply.count(call.ks.shown_len());
    Ok(())
}

/// FLUSHALL [ASYNC | SYNC], FLUSHDB [ASYNC | SYNC]
pub(crate) fn flush(call: &mut Call<'_>) -> Outcome {
    let known = |option: &[u8]| {
        option.eq_ignore_ascii_case(b"ASYNC") || option.eq_ignore_ascii_case(b"SYNC")
    };
    if call.argc() > 2 || call.args.from(1).iter().any(|option| !known(option)) {
        return Err(Refusal::Syntax);
    }
    call.depend_on_all();
    if !call.ks.is_empty() {
        let offset = call.log.next_offset();
        call.ks.clear(offset);
        call.log.texts(Op::Flush, &[]);
        call.wrote_all();
    }
    call.reply.ok();
    Ok(())
}
