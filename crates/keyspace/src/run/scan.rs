//! Commands that walk over all keys.

use crate::exec::Call;
use crate::glob::matches;
use crate::keyspace::Walk;
use crate::refusal::Refusal;

type Outcome = Result<(), Refusal>;

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    kind: Option<&'a [u8]>,
}

fn options<'a>(call: &Call<'a>) -> Result<Options<'a>, Refusal> {
    let mut options = Options { pattern: None, count: 10, kind: None };
    let mut at = 2;
    while at < call.argc() {
        if at + 1 >= call.argc() {
            return Err(Refusal::Syntax);
        }
        match call.arg(at).to_ascii_uppercase().as_slice() {
            b"MATCH" => options.pattern = Some(call.arg(at + 1)),
            b"TYPE" => options.kind = Some(call.arg(at + 1)),
            b"COUNT" => {
                let count = usize::try_from(call.integer(at + 1)?).map_err(|_| Refusal::Syntax)?;
                if count == 0 {
                    return Err(Refusal::Syntax);
                }
                options.count = count;
            }
            _ => return Err(Refusal::Syntax),
        }
        at += 2;
    }
    Ok(options)
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
pub(crate) fn scan(call: &mut Call<'_>) -> Outcome {
    let cursor = std::str::from_utf8(call.arg(1)).ok().and_then(|text| text.parse().ok());
    let walk = cursor.and_then(Walk::from_cursor).ok_or(Refusal::text("ERR invalid cursor"))?;
    let options = options(call)?;
    call.depend_on_all();
    let (now, mut found) = (call.ctx.now_ms, Vec::new());
    let mut shown = 0;
    let next = call.ks.walk(walk, options.count, |entry, kind| {
        let live = entry.expiry().is_none_or(|expiry| expiry > now);
        let typed = options.kind.is_none_or(|k| k.eq_ignore_ascii_case(kind.name().as_bytes()));
        if live && typed && options.pattern.is_none_or(|p| matches(p, entry.key())) {
            push_bulk(&mut found, entry.key());
            shown += 1;
        }
    });
    call.reply.array(2);
    let cursor = next.map_or(0, Walk::to_cursor);
    call.reply.bulk(cursor.to_string().as_bytes());
    call.reply.array(shown);
    call.reply.raw(&found);
    Ok(())
}

fn push_bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'$');
    cairn_resp::number::push_u64(out, bytes.len() as u64);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// KEYS pattern
pub(crate) fn keys(call: &mut Call<'_>) -> Outcome {
    let pattern = call.arg(1);
    call.depend_on_all();
    let now = call.ctx.now_ms;
    let reply = &mut *call.reply;
    let mark = reply.begin_array();
    let mut count = 0;
    call.ks.walk(Walk::START, usize::MAX, |entry, _| {
        let live = entry.expiry().is_none_or(|expiry| expiry > now);
        if live && matches(pattern, entry.key()) {
            reply.bulk(entry.key());
            count += 1;
        }
    });
    reply.end_array(mark, count);
    Ok(())
}

/// RANDOMKEY
pub(crate) fn randomkey(call: &mut Call<'_>) -> Outcome {
    /// After so many expired keys in a row there is none to show.
    const TRIES_MAX: usize = 100;
    call.depend_on_all();
    let now = call.ctx.now_ms;
    for _ in 0..TRIES_MAX {
        let Some(walk) = call.ks.random_start() else { break };
        let (reply, mut shown) = (&mut *call.reply, false);
        let mut show = |entry: crate::table::Entry<'_, _>, _| {
            if !shown && entry.expiry().is_none_or(|expiry| expiry > now) {
                reply.bulk(entry.key());
                shown = true;
            }
        };
        if call.ks.walk(walk, 1, &mut show).is_none() {
            // Nothing came behind the place that was drawn.
            call.ks.walk(Walk::START, 1, &mut show);
        }
        if shown {
            return Ok(());
        }
    }
    call.reply.null();
    Ok(())
}
