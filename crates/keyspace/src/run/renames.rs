//! Commands that give a value another key. Both keys are of one slot.

use crate::effects::Op;
use crate::exec::Call;
use crate::refusal::Refusal;

type Outcome = Result<(), Refusal>;

/// Moves or copies what is under the key in argument 1 to the one in argument 2, and logs it.
fn elsewhere(call: &mut Call<'_>, op: Op) -> Outcome {
    let (key, new) = (call.arg(1), call.arg(2));
    let (at, to) = (call.ks.locate(key), call.ks.locate(new));
    if at.slot != to.slot {
        return Err(Refusal::text("CROSSSLOT Keys in request don't hash to the same slot"));
    }
    match op {
        Op::Rename => call.ks.rename((at, key), (to, new)),
        _ => call.ks.copy((at, key), (to, new)),
    }
    call.log.texts(op, &[key, new]);
    call.wrote(at.slot);
    call.tell_new(new);
    if op == Op::Rename {
        call.tell_generic("rename_from", key);
        call.tell_generic("rename_to", new);
    } else {
        call.tell_generic("copy_to", new);
    }
    Ok(())
}

/// Whether there is something under argument `index`.
fn is_there(call: &mut Call<'_>, index: usize) -> bool {
    let key = call.arg(index);
    let at = call.ks.locate(key);
    call.find(at, key).is_some()
}

/// RENAME key newkey
pub(crate) fn rename(call: &mut Call<'_>) -> Outcome {
    if !is_there(call, 1) {
        return Err(Refusal::text("ERR no such key"));
    }
    // What has expired under the new key is gone before something else is there.
    is_there(call, 2);
    if call.arg(1) != call.arg(2) {
        elsewhere(call, Op::Rename)?;
    }
    call.reply.ok();
    Ok(())
}

/// RENAMENX key newkey
pub(crate) fn renamenx(call: &mut Call<'_>) -> Outcome {
    if !is_there(call, 1) {
        return Err(Refusal::text("ERR no such key"));
    }
    let free = !is_there(call, 2);
    if free {
        elsewhere(call, Op::Rename)?;
    }
    call.reply.integer(i64::from(free));
    Ok(())
}

/// COPY source destination [DB destination-db] [REPLACE]
///
/// Takes time by the size of the value.
pub(crate) fn copy(call: &mut Call<'_>) -> Outcome {
    const NO_DATABASE: &str =
        "ERR value is out of range, value must between -2147483648 and 2147483647";
    let (mut replace, mut option) = (false, 3);
    while option < call.argc() {
        if call.is_word(option, "REPLACE") {
            replace = true;
        } else if call.is_word(option, "DB") && option + 1 < call.argc() {
            option += 1;
            let database = call.integer(option)?;
            if i32::try_from(database).is_err() {
                return Err(Refusal::text(NO_DATABASE));
            }
            if database != 0 {
                return Err(Refusal::text("ERR DB index is out of range"));
            }
        } else {
            return Err(Refusal::Syntax);
        }
        option += 1;
    }
    if call.arg(1) == call.arg(2) {
        return Err(Refusal::text("ERR source and destination objects are the same"));
    }
    call.reads = true;
    let there = is_there(call, 1);
    call.reads = false;
    let copied = there && (!is_there(call, 2) || replace);
    if copied {
        elsewhere(call, Op::Copy)?;
    }
    call.reply.integer(i64::from(copied));
    Ok(())
}
