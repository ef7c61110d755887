//! Commands that walk over all keys, or over all items of a collection.

use crate::exec::Call;
use crate::glob::matches;
use crate::keyspace::Walk;
use crate::refusal::Refusal;
use crate::table::SCAN_BITS;
use crate::value::Collection;
use crate::value::hash::Hash;
use crate::value::set::Set;

type Outcome = Result<(), Refusal>;

struct Options<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    kind: Option<&'a [u8]>,
    /// Whether items are shown without what belongs to them.
    bare: bool,
}

/// What may be said beside MATCH and COUNT.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Also {
    Type,
    Nothing,
    /// This word asks for items without what belongs to them, as in Valkey 8.
    Bare(&'static str),
}

/// The options from argument `from` on.
fn options<'a>(call: &Call<'a>, from: usize, also: Also) -> Result<Options<'a>, Refusal> {
    let mut options = Options { pattern: None, count: 10, kind: None, bare: false };
    let mut at = from;
    while at < call.argc() {
        if let Also::Bare(word) = also
            && call.is_word(at, word)
        {
            options.bare = true;
            at += 1;
            continue;
        }
        if at + 1 >= call.argc() {
            return Err(Refusal::Syntax);
        }
        match call.arg(at).to_ascii_uppercase().as_slice() {
            b"MATCH" => options.pattern = Some(call.arg(at + 1)),
            b"TYPE" if also == Also::Type => options.kind = Some(call.arg(at + 1)),
            b"COUNT" => {
                let count = call.integer(at + 1)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0);
                options.count = count.ok_or(Refusal::Syntax)?;
            }
            _ => return Err(Refusal::Syntax),
        }
        at += 2;
    }
    Ok(options)
}

/// SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]
pub(crate) fn scan(call: &mut Call<'_>) -> Outcome {
    let walk = Walk::from_cursor(cursor(call, 1)?);
    let walk = walk.ok_or(Refusal::text("ERR invalid cursor"))?;
    let options = options(call, 2, Also::Type)?;
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
    answer(call, next.map_or(0, Walk::to_cursor), shown, &found);
    Ok(())
}

/// A cursor as clients may write one: up to a zero byte, a sign goes around the end, nothing is 0.
fn cursor(call: &Call<'_>, index: usize) -> Result<u64, Refusal> {
    let text = call.arg(index).split(|byte| *byte == 0).next().unwrap_or_default();
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let plain = digits.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|it| it.parse().ok());
    match number {
        Some(number) => Ok(if negative { 0_u64.wrapping_sub(number) } else { number }),
        None if text.is_empty() => Ok(0),
        None => Err(Refusal::text("ERR invalid cursor")),
    }
}

/// Where to go on, and what was found, which is `shown` texts.
fn answer(call: &mut Call<'_>, cursor: u64, shown: usize, found: &[u8]) {
    call.reply.array(2);
    call.reply.bulk(cursor.to_string().as_bytes());
    call.reply.array(shown);
    call.reply.raw(found);
}

/// Scans the collection in argument 1 from the cursor in argument 2 on. `scan` visits items, each
/// with its name first, from a position on, and says where to go on; `bare`, if there is such a
/// word, asks for names alone.
pub(crate) fn scan_items<C: Collection>(
    call: &mut Call<'_>,
    bare: Option<&'static str>,
    scan: impl FnOnce(&C, u64, usize, &mut dyn FnMut(&[&[u8]])) -> Option<u64>,
) -> Outcome {
    let cursor = cursor(call, 2)?;
    let at = call.at_first();
    let place = call.find_as::<C>(at, call.arg(1))?;
    let Some(place) = place else {
        answer(call, 0, 0, &[]);
        return Ok(());
    };
    let options = options(call, 3, bare.map_or(Also::Nothing, Also::Bare))?;
    let (mut found, mut shown, mut next) = (Vec::new(), 0, None);
    // No position is as large: nothing follows.
    if let Some(items) = call.ks.collection::<C>(at, place).filter(|_| cursor >> SCAN_BITS == 0) {
        next = scan(items, cursor, options.count, &mut |item| {
            if options.pattern.is_none_or(|pattern| matches(pattern, item[0])) {
                let wanted = if options.bare { 1 } else { item.len() };
                item[..wanted].iter().for_each(|text| push_bulk(&mut found, text));
                shown += wanted;
            }
        });
    }
    answer(call, next.unwrap_or(0), shown, &found);
    Ok(())
}

/// SSCAN key cursor [MATCH pattern] [COUNT count]
pub(crate) fn sscan(call: &mut Call<'_>) -> Outcome {
    scan_items(call, None, |set: &Set, from, count, visit| set.scan(from, count, |it| visit(&[it])))
}

/// HSCAN key cursor [MATCH pattern] [COUNT count] [NOVALUES]
pub(crate) fn hscan(call: &mut Call<'_>) -> Outcome {
    scan_items(call, Some("NOVALUES"), |hash: &Hash, from, count, visit| {
        hash.scan(from, count, |field, value| visit(&[field, value]))
    })
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
