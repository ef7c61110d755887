//! Commands on single bits of strings, on ranges of them, and on whole strings bit by bit.
//!
//! Bit 0 is the highest one of the first byte. BITCOUNT, BITPOS and BITOP read all they are asked
//! about: O(n) as in Redis.

use super::strings::{store, text};
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::table::Place;
use cairn_resp::number::parse_i64;
use std::ops::Range;

type Outcome = Result<(), Refusal>;

const BAD_OFFSET: &str = "ERR bit offset is not an integer or out of range";

/// Reads the place of the first of `bits` bits; `#` before a number counts in steps of so many, if
/// `steps` allows it.
pub(super) fn offset(call: &Call<'_>, index: usize, bits: u8, steps: bool) -> Result<u64, Refusal> {
    let (text, step) = match call.arg(index) {
        [b'#', rest @ ..] if steps => (rest, i64::from(bits)),
        text => (text, 1),
    };
    let offset = parse_i64(text).and_then(|offset| offset.checked_mul(step));
    let offset = offset.and_then(|offset| u64::try_from(offset).ok());
    let fits = |offset: &u64| offset / 8 < call.ctx.value_bytes_max as u64;
    offset.filter(fits).ok_or(Refusal::text(BAD_OFFSET))
}

/// The number in `bits` bits from bit `from` on; behind the end all are zero.
pub(super) fn read(text: &[u8], from: u64, bits: u8) -> u64 {
    (from..from + u64::from(bits)).fold(0, |number, at| {
        let byte = text.get((at / 8) as usize).copied().unwrap_or(0);
        number << 1 | u64::from(byte >> (7 - at % 8) & 1)
    })
}

/// Makes the string under a key, or a new one, at least `len` bytes long, and logs it if it was
/// shorter.
pub(super) fn lengthen(
    call: &mut Call<'_>,
    at: At,
    key: &[u8],
    place: Option<Place>,
    len: usize,
) -> Result<Place, Refusal> {
    let old = text(call, at, place)?.len();
    let place = match place {
        Some(place) if len <= old => return Ok(place),
        Some(place) => place,
        None => {
            call.tell_new(key);
            call.ks.put_text(at, key, None, b"", None)
        }
    };
    call.ks.resize_text(at, key, place, len, len - 1..len);
    call.log.set_range(key, len as u64 - 1, &[0]);
    call.wrote(at.slot);
    Ok(place)
}

/// Writes a number into the lowest `bits` bits from bit `from` on of a string that is long enough.
pub(super) fn write(
    call: &mut Call<'_>,
    (at, key, place): (At, &[u8], Place),
    from: u64,
    bits: u8,
    number: u64,
) {
    let len = call.ks.text(at, place).map_or(0, <[u8]>::len);
    let end = from + u64::from(bits);
    let bytes = (from / 8) as usize..end.div_ceil(8) as usize;
    let first = bytes.start as u64;
    let piece = call.ks.resize_text(at, key, place, len, bytes);
    for bit in from..end {
        let byte = &mut piece[(bit / 8 - first) as usize];
        let (shift, value) = (7 - bit % 8, (number >> (end - 1 - bit) & 1) as u8);
        *byte = *byte & !(1 << shift) | value << shift;
    }
    call.log.set_range(key, first, piece);
    call.wrote(at.slot);
}

/// SETBIT key offset value
pub(crate) fn setbit(call: &mut Call<'_>) -> Outcome {
    let from = offset(call, 2, 1, false)?;
    let value = match parse_i64(call.arg(3)) {
        Some(value @ 0..=1) => value as u64,
        _ => return Err(Refusal::text("ERR bit is not an integer or out of range")),
    };
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find(at, key);
    let before = text(call, at, place)?.len();
    let place = lengthen(call, at, key, place, (from / 8) as usize + 1)?;
    let now = text(call, at, Some(place))?;
    let (old, longer) = (read(now, from, 1), now.len() > before);
    if old != value {
        write(call, (at, key, place), from, 1, value);
    }
    if old != value || longer {
        call.tell(Classes::STRING, "setbit", key);
    }
    call.reply.integer(old as i64);
    Ok(())
}

/// GETBIT key offset
pub(crate) fn getbit(call: &mut Call<'_>) -> Outcome {
    let from = offset(call, 2, 1, false)?;
    let at = call.at_first();
    let place = call.find(at, call.arg(1));
    let bit = read(text(call, at, place)?, from, 1);
    call.reply.integer(bit as i64);
    Ok(())
}

/// Whether ranges count bits: argument `index` says so, if it is there.
fn counts_bits(call: &Call<'_>, index: usize) -> Result<bool, Refusal> {
    if index >= call.argc() {
        return Ok(false);
    }
    match call.arg(index).to_ascii_uppercase().as_slice() {
        b"BIT" => Ok(true),
        b"BYTE" => Ok(false),
        _ => Err(Refusal::Syntax),
    }
}

/// The bits that inclusive positions of bits or bytes mean in `len` bytes; negative ones count from
/// the end. None if there are none.
fn bits_between(start: i64, end: i64, len: usize, by_bit: bool) -> Option<Range<u64>> {
    let unit = if by_bit { 1 } else { 8 };
    let total = len as i64 * 8 / unit;
    let from_end = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(total - 1));
    (start <= end).then(|| (start * unit) as u64..((end + 1) * unit) as u64)
}

/// How many of these bits are set.
fn count_ones(text: &[u8], bits: Range<u64>) -> u64 {
    let edge = |from: u64, to: u64| u64::from(read(text, from, (to - from) as u8).count_ones());
    let (first, last) = (bits.start.next_multiple_of(8), bits.end / 8 * 8);
    if first >= last {
        // At most two bytes have some of them.
        return edge(bits.start, bits.end);
    }
    let whole = &text[(first / 8) as usize..(last / 8) as usize];
    let (words, rest) = whole.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones()));
    let rest = rest.iter().map(|byte| u64::from(byte.count_ones()));
    edge(bits.start, first) + words.sum::<u64>() + rest.sum::<u64>() + edge(last, bits.end)
}

/// The first of these bits that is `wanted`.
fn find_bit(text: &[u8], bits: Range<u64>, wanted: bool) -> Option<u64> {
    let is = |bit: &u64| (read(text, *bit, 1) == 1) == wanted;
    let (first, last) = (bits.start.next_multiple_of(8), bits.end / 8 * 8);
    if first >= last {
        return bits.clone().find(is);
    }
    if let Some(found) = (bits.start..first).find(is) {
        return Some(found);
    }
    let other = if wanted { 0 } else { 0xff };
    let whole = &text[(first / 8) as usize..(last / 8) as usize];
    // Many bytes at a time as long as all are of the other kind.
    let (rows, _) = whole.as_chunks::<32>();
    let same = rows.iter().take_while(|row| **row == [other; 32]).count() * 32;
    match whole[same..].iter().position(|byte| *byte != other) {
        Some(at) => (first + (same + at) as u64 * 8..last).find(is),
        None => (last..bits.end).find(is),
    }
}

/// BITCOUNT key [start [end [BYTE | BIT]]]; a start alone is taken as in Valkey 8, arguments are
/// looked at before the key, as in Redis 7.2.
pub(crate) fn bitcount(call: &mut Call<'_>) -> Outcome {
    let (start, end, by_bit) = match call.argc() {
        2 => (0, -1, false),
        3 => (call.integer(2)?, -1, false),
        4 | 5 => (call.integer(2)?, call.integer(3)?, counts_bits(call, 4)?),
        _ => return Err(Refusal::Syntax),
    };
    let at = call.at_first();
    let Some(place) = call.find(at, call.arg(1)) else {
        call.reply.integer(0);
        return Ok(());
    };
    let text = text(call, at, Some(place))?;
    let backwards = start < 0 && end < 0 && start > end;
    let bits = if backwards { None } else { bits_between(start, end, text.len(), by_bit) };
    let count = bits.map_or(0, |bits| count_ones(text, bits));
    call.reply.integer(count as i64);
    Ok(())
}

/// BITPOS key bit [start [end [BYTE | BIT]]]
pub(crate) fn bitpos(call: &mut Call<'_>) -> Outcome {
    let wanted = match call.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(Refusal::text("ERR The bit argument must be 1 or 0.")),
    };
    if call.argc() > 6 {
        return Err(Refusal::Syntax);
    }
    let start = if call.argc() > 3 { call.integer(3)? } else { 0 };
    let by_bit = counts_bits(call, 5)?;
    let end = if call.argc() > 4 { call.integer(4)? } else { -1 };
    let at = call.at_first();
    let Some(place) = call.find(at, call.arg(1)) else {
        call.reply.integer(if wanted { -1 } else { 0 });
        return Ok(());
    };
    let text = text(call, at, Some(place))?;
    let bits = bits_between(start, end, text.len(), by_bit);
    let found = bits.and_then(|bits| {
        // Unless the end was given, zeros follow behind it.
        let behind = (!wanted && call.argc() < 5).then_some(bits.end);
        find_bit(text, bits, wanted).or(behind)
    });
    call.reply.integer(found.map_or(-1, |bit| bit as i64));
    Ok(())
}

/// BITOP AND | OR | XOR | NOT to key [key ...]
pub(crate) fn bitop(call: &mut Call<'_>) -> Outcome {
    let combine: fn(u8, u8) -> u8 = match call.arg(1).to_ascii_uppercase().as_slice() {
        b"AND" => |a, b| a & b,
        b"OR" => |a, b| a | b,
        b"XOR" => |a, b| a ^ b,
        b"NOT" if call.argc() == 4 => |a, _| a,
        b"NOT" => {
            let text = "ERR BITOP NOT must be called with a single source key.";
            return Err(Refusal::text(text));
        }
        _ => return Err(Refusal::Syntax),
    };
    call.reads = true;
    for key in call.args.from(3).iter() {
        let at = call.ks.locate(key);
        let place = call.find(at, key);
        text(call, at, place)?;
    }
    let mut parts = Vec::with_capacity(call.argc() - 3);
    for key in call.args.from(3).iter() {
        let at = call.ks.locate(key);
        parts.push(text(call, at, call.ks.find(at, key))?);
    }
    let len = parts.iter().map(|part| part.len()).max().unwrap_or(0);
    let mut result = parts[0].to_vec();
    result.resize(len, 0);
    if call.arg(1).eq_ignore_ascii_case(b"NOT") {
        result.iter_mut().for_each(|byte| *byte = !*byte);
    }
    for part in &parts[1..] {
        let (both, behind) = result.split_at_mut(part.len());
        both.iter_mut().zip(*part).for_each(|(byte, other)| *byte = combine(*byte, *other));
        behind.iter_mut().for_each(|byte| *byte = combine(*byte, 0));
    }
    let key = call.arg(2);
    let at = call.ks.locate(key);
    call.reads = false;
    // What nothing takes the place of is deleted, whether its time is over or not.
    let place = if len > 0 { call.find(at, key) } else { call.ks.find(at, key) };
    match place {
        _ if len > 0 => {
            store(call, at, key, place, &result, None);
            call.tell(Classes::STRING, "set", key);
        }
        Some(place) => {
            call.delete(at, key, place);
            call.tell_generic("del", key);
        }
        None => {}
    }
    call.reply.count(len);
    Ok(())
}
