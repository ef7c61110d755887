//! Commands on strings.

use super::expiry::deadline;
use crate::decimal::Decimal;
use crate::effects::Op;
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::table::Place;
use cairn_resp::number::{I64_TEXT_MAX, format_i64, parse_i64};

type Outcome = Result<(), Refusal>;

/// Replies with a string, or with nothing.
fn reply_text(call: &mut Call<'_>, at: At, place: Option<Place>) -> Outcome {
    let Some(place) = place else {
        call.reply.null();
        return Ok(());
    };
    let text = call.ks.text(at, place).ok_or(Refusal::WrongType)?;
    call.reply.bulk(text);
    Ok(())
}

/// The string under a key, which may be nothing; not a value of another type.
pub(super) fn text<'a>(
    call: &'a Call<'_>,
    at: At,
    place: Option<Place>,
) -> Result<&'a [u8], Refusal> {
    match place {
        None => Ok(b""),
        Some(place) => call.ks.text(at, place).ok_or(Refusal::WrongType),
    }
}

/// GET key
pub(crate) fn get(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find(at, call.arg(1));
    reply_text(call, at, place)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum When {
    Always,
    Absent,
    Present,
}

struct SetOptions {
    when: When,
    get: bool,
    keep: bool,
    expiry: Option<u64>,
}

fn set_options(call: &Call<'_>) -> Result<SetOptions, Refusal> {
    let mut options = SetOptions { when: When::Always, get: false, keep: false, expiry: None };
    // Of one unit given twice the last one holds; what the time is, is looked at last.
    let mut unit: Option<(Vec<u8>, usize)> = None;
    let mut at = 3;
    while at < call.argc() {
        let option = call.arg(at).to_ascii_uppercase();
        match option.as_slice() {
            b"NX" if options.when != When::Present => options.when = When::Absent,
            b"XX" if options.when != When::Absent => options.when = When::Present,
            b"GET" => options.get = true,
            b"KEEPTTL" if unit.is_none() => options.keep = true,
            b"EX" | b"PX" | b"EXAT" | b"PXAT"
                if at + 1 < call.argc()
                    && !options.keep
                    && unit.as_ref().is_none_or(|(known, _)| *known == option) =>
            {
                unit = Some((option, at));
                at += 1;
            }
            _ => return Err(Refusal::Syntax),
        }
        at += 1;
    }
    options.expiry = unit.map(|(_, at)| deadline(call, at, at + 1)).transpose()?;
    Ok(options)
}

/// SET key value [NX | XX] [GET] [EX | PX | EXAT | PXAT time | KEEPTTL]
pub(crate) fn set(call: &mut Call<'_>) -> Outcome {
    let (key, value) = (call.arg(1), call.arg(2));
    let at = call.at_first();
    if call.argc() == 3 {
        let place = call.find_replaced(at, key);
        store(call, at, key, place, value, None);
        tell_set(call, key, false);
        call.reply.ok();
        return Ok(());
    }
    let options = set_options(call)?;
    call.reads = options.get;
    let place = call.find(at, key);
    if options.get {
        reply_text(call, at, place)?;
    }
    let refused = match options.when {
        When::Always => false,
        When::Absent => place.is_some(),
        When::Present => place.is_none(),
    };
    if refused {
        if !options.get {
            call.reply.null();
        }
        return Ok(());
    }
    let kept = place.filter(|_| options.keep).and_then(|place| call.ks.expiry(at, place));
    store(call, at, key, place, value, options.expiry.or(kept));
    tell_set(call, key, options.expiry.is_some());
    if !options.get {
        call.reply.ok();
    }
    Ok(())
}

/// Writes a string and logs it.
pub(crate) fn store(
    call: &mut Call<'_>,
    at: At,
    key: &[u8],
    place: Option<Place>,
    value: &[u8],
    expiry: Option<u64>,
) {
    if place.is_none() {
        call.tell_new(key);
    }
    call.ks.put_text(at, key, place, value, expiry);
    match expiry {
        None => call.log.texts(Op::Set, &[key, value]),
        Some(expiry) => call.log.set_expiring(key, value, expiry),
    }
    call.wrote(at.slot);
}

/// Notes that a string was set, and an expiry with it.
fn tell_set(call: &mut Call<'_>, key: &[u8], expires: bool) {
    call.tell(Classes::STRING, "set", key);
    if expires {
        call.tell_generic("expire", key);
    }
}

/// Writes a string that keeps the key's expiry, and logs it.
pub(super) fn store_keeping(
    call: &mut Call<'_>,
    at: At,
    key: &[u8],
    place: Option<Place>,
    value: &[u8],
) {
    if place.is_none() {
        call.tell_new(key);
    }
    let expiry = place.and_then(|place| call.ks.expiry(at, place));
    call.ks.put_text(at, key, place, value, expiry);
    call.log.texts(Op::SetKeeping, &[key, value]);
    call.wrote(at.slot);
}

/// SETNX key value
pub(crate) fn setnx(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let absent = call.find(at, key).is_none();
    if absent {
        store(call, at, key, None, call.arg(2), None);
        tell_set(call, key, false);
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

fn set_with_deadline(call: &mut Call<'_>, unit: &[u8]) -> Outcome {
    let expiry = super::expiry::deadline_of(call.ctx.now_ms, unit, call.integer(2)?)?;
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find_replaced(at, key);
    store(call, at, key, place, call.arg(3), Some(expiry));
    tell_set(call, key, true);
    call.reply.ok();
    Ok(())
}

/// SETEX key seconds value
pub(crate) fn setex(call: &mut Call<'_>) -> Outcome {
    set_with_deadline(call, b"EX")
}

/// PSETEX key milliseconds value
pub(crate) fn psetex(call: &mut Call<'_>) -> Outcome {
    set_with_deadline(call, b"PX")
}

/// GETSET key value
pub(crate) fn getset(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    call.reads = true;
    let place = call.find(at, key);
    reply_text(call, at, place)?;
    store(call, at, key, place, call.arg(2), None);
    tell_set(call, key, false);
    Ok(())
}

/// GETDEL key
pub(crate) fn getdel(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    call.reads = true;
    let place = call.find(at, key);
    reply_text(call, at, place)?;
    if let Some(place) = place {
        call.delete(at, key, place);
        call.tell_generic("del", key);
    }
    Ok(())
}

/// GETEX key [EX | PX | EXAT | PXAT time | PERSIST]
pub(crate) fn getex(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let persists = match call.argc() {
        2 => false,
        3 if call.is_word(2, "PERSIST") => true,
        4 if ["EX", "PX", "EXAT", "PXAT"].iter().any(|word| call.is_word(2, word)) => false,
        _ => return Err(Refusal::Syntax),
    };
    call.reads = true;
    let place = call.find(at, key);
    let Some(found) = place else {
        call.reply.null();
        return Ok(());
    };
    call.ks.text(at, found).ok_or(Refusal::WrongType)?;
    // A time that makes no sense is only refused where there is something to expire.
    let expiry = if call.argc() == 4 { Some(deadline(call, 2, 3)?) } else { None };
    reply_text(call, at, place)?;
    if persists || expiry.is_some() {
        super::expiry::change(call, at, key, found, expiry);
    }
    Ok(())
}

/// STRLEN key
pub(crate) fn strlen(call: &mut Call<'_>) -> Outcome {
    let at = call.at_first();
    let place = call.find(at, call.arg(1));
    let len = text(call, at, place)?.len();
    call.reply.count(len);
    Ok(())
}

fn add(call: &mut Call<'_>, delta: i64) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find(at, key);
    let old = match place {
        None => 0,
        Some(place) => {
            let text = call.ks.text(at, place).ok_or(Refusal::WrongType)?;
            parse_i64(text).ok_or(Refusal::NotInteger)?
        }
    };
    let new = old.checked_add(delta).ok_or(Refusal::Overflow)?;
    let mut room = [0; I64_TEXT_MAX];
    store_keeping(call, at, key, place, format_i64(new, &mut room));
    call.tell(Classes::STRING, "incrby", key);
    call.reply.integer(new);
    Ok(())
}

/// INCR key
pub(crate) fn incr(call: &mut Call<'_>) -> Outcome {
    add(call, 1)
}

/// DECR key
pub(crate) fn decr(call: &mut Call<'_>) -> Outcome {
    add(call, -1)
}

/// INCRBY key increment
pub(crate) fn incrby(call: &mut Call<'_>) -> Outcome {
    add(call, call.integer(2)?)
}

/// DECRBY key decrement
pub(crate) fn decrby(call: &mut Call<'_>) -> Outcome {
    let delta = call.integer(2)?;
    add(call, delta.checked_neg().ok_or(Refusal::text("ERR decrement would overflow"))?)
}

/// INCRBYFLOAT key increment
pub(crate) fn incrbyfloat(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find(at, key);
    let old = match place {
        None => Decimal::ZERO,
        Some(place) => {
            let text = call.ks.text(at, place).ok_or(Refusal::WrongType)?;
            Decimal::parse(text).ok_or(Refusal::NotFloat)?
        }
    };
    let delta = Decimal::parse(call.arg(2)).ok_or(Refusal::NotFloat)?;
    let sum = old.sum(delta);
    let text = sum.ok_or(Refusal::text("ERR increment would produce NaN or Infinity"))?;
    store_keeping(call, at, key, place, text.as_bytes());
    call.tell(Classes::STRING, "incrbyfloat", key);
    call.reply.bulk(text.as_bytes());
    Ok(())
}

/// APPEND key value
pub(crate) fn append(call: &mut Call<'_>) -> Outcome {
    let (at, key, more) = (call.at_first(), call.arg(1), call.arg(2));
    let place = call.find(at, key);
    let old = text(call, at, place)?.len();
    let len = old + more.len();
    if len > call.ctx.value_bytes_max {
        return Err(Refusal::TooLarge);
    }
    match place {
        None => store(call, at, key, None, more, None),
        Some(_) if more.is_empty() => {}
        Some(place) => {
            call.ks.resize_text(at, key, place, len, old..len).copy_from_slice(more);
            call.log.texts(Op::Append, &[key, more]);
            call.wrote(at.slot);
        }
    }
    call.tell(Classes::STRING, "append", key);
    call.reply.count(len);
    Ok(())
}

/// SETRANGE key offset value
pub(crate) fn setrange(call: &mut Call<'_>) -> Outcome {
    let (at, key, piece) = (call.at_first(), call.arg(1), call.arg(3));
    let from = call.integer(2)?;
    let from = usize::try_from(from).map_err(|_| Refusal::OutOfRange)?;
    let place = call.find(at, key);
    let old = text(call, at, place)?.len();
    if piece.is_empty() {
        call.reply.count(old);
        return Ok(());
    }
    let end = from.checked_add(piece.len()).filter(|end| *end <= call.ctx.value_bytes_max);
    let end = end.ok_or(Refusal::TooLarge)?;
    let place = match place {
        Some(place) => place,
        None => {
            call.tell_new(key);
            call.ks.put_text(at, key, None, b"", None)
        }
    };
    let len = old.max(end);
    call.ks.resize_text(at, key, place, len, from..end).copy_from_slice(piece);
    call.log.set_range(key, from as u64, piece);
    call.wrote(at.slot);
    call.tell(Classes::STRING, "setrange", key);
    call.reply.count(len);
    Ok(())
}

/// The half-open range of GETRANGE: unlike in lists, an end before the first byte means that byte.
fn piece(start: i64, end: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let backwards = start < 0 && end < 0 && start > end;
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if backwards || start > end {
        return (0, 0);
    }
    (start as usize, end as usize + 1)
}

/// GETRANGE key start end
pub(crate) fn getrange(call: &mut Call<'_>) -> Outcome {
    let (start, end) = (call.integer(2)?, call.integer(3)?);
    let at = call.at_first();
    let text = match call.find(at, call.arg(1)) {
        None => b"".as_slice(),
        Some(place) => call.ks.text(at, place).ok_or(Refusal::WrongType)?,
    };
    let (start, end) = piece(start, end, text.len());
    call.reply.bulk(&text[start..end]);
    Ok(())
}

/// MGET key [key ...]
pub(crate) fn mget(call: &mut Call<'_>) -> Outcome {
    call.reply.array(call.argc() - 1);
    for key in call.args.from(1).iter() {
        let at = call.ks.locate(key);
        match call.find(at, key).and_then(|place| call.ks.text(at, place)) {
            Some(text) => call.reply.bulk(text),
            None => call.reply.null(),
        }
    }
    Ok(())
}

fn set_pairs(call: &mut Call<'_>) {
    for index in (1..call.argc()).step_by(2) {
        let (key, value) = (call.arg(index), call.arg(index + 1));
        let at = call.ks.locate(key);
        let place = call.find_replaced(at, key);
        store(call, at, key, place, value, None);
        tell_set(call, key, false);
    }
}

/// MSET key value [key value ...]
pub(crate) fn mset(call: &mut Call<'_>) -> Outcome {
    if call.argc().is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    set_pairs(call);
    call.reply.ok();
    Ok(())
}

/// MSETNX key value [key value ...]
pub(crate) fn msetnx(call: &mut Call<'_>) -> Outcome {
    if call.argc().is_multiple_of(2) {
        return Err(Refusal::Arity);
    }
    let mut free = true;
    for index in (1..call.argc()).step_by(2) {
        let key = call.arg(index);
        let at = call.ks.locate(key);
        free &= call.find(at, key).is_none();
    }
    if free {
        set_pairs(call);
    }
    call.reply.integer(i64::from(free));
    Ok(())
}
