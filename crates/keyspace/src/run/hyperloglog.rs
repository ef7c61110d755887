//! Commands that count what is distinct, about: HyperLogLogs are strings of at most 12 KiB.
//!
//! PFCOUNT of one key keeps its estimate in the string, as Redis does: on the master that is a
//! write like any other, and whoever may not write only replies.

use super::strings::{store_keeping, text};
use crate::events::Classes;
use crate::exec::Call;
use crate::keyspace::At;
use crate::refusal::Refusal;
use crate::table::Place;
use crate::value::hyperloglog::{Corrupt, HyperLogLog, Merged};

type Outcome = Result<(), Refusal>;

impl From<Corrupt> for Refusal {
    fn from(_: Corrupt) -> Self {
        Refusal::text("INVALIDOBJ Corrupted HLL object detected")
    }
}

/// The HyperLogLog under a key, if something is there.
fn read(call: &Call<'_>, at: At, place: Option<Place>) -> Result<Option<HyperLogLog>, Refusal> {
    let Some(place) = place else { return Ok(None) };
    let found = HyperLogLog::from_bytes(text(call, at, Some(place))?);
    let refused = Refusal::text("WRONGTYPE Key is not a valid HyperLogLog string value.");
    found.map(Some).ok_or(refused)
}

/// Bytes that are equal between two that differ and are written with them.
const GAP_MAX: usize = 16;

/// The pieces in which two texts of one length differ.
fn pieces(old: &[u8], new: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut pieces: Vec<std::ops::Range<usize>> = Vec::new();
    for at in (0..new.len()).filter(|at| old[*at] != new[*at]) {
        match pieces.last_mut() {
            Some(piece) if at - piece.end <= GAP_MAX => piece.end = at + 1,
            _ => pieces.push(at..at + 1),
        }
    }
    pieces
}

/// Writes a HyperLogLog whose bytes were `old`, and logs what differs.
fn write(
    call: &mut Call<'_>,
    (at, key, place): (At, &[u8], Option<Place>),
    old: &[u8],
    new: &HyperLogLog,
) {
    let new = new.as_bytes();
    let pieces = if old.len() == new.len() { pieces(old, new) } else { Vec::new() };
    let in_place = place.filter(|_| {
        let bytes: usize = pieces.iter().map(|piece| piece.len() + key.len() + 8).sum();
        (1..new.len()).contains(&bytes)
    });
    let Some(there) = in_place else { return store_keeping(call, at, key, place, new) };
    for piece in pieces {
        let text = call.ks.resize_text(at, key, there, new.len(), piece.clone());
        text.copy_from_slice(&new[piece.clone()]);
        call.log.set_range(key, piece.start as u64, &new[piece]);
    }
    call.wrote(at.slot);
}

/// PFADD key [element ...]
pub(crate) fn pfadd(call: &mut Call<'_>) -> Outcome {
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find(at, key);
    let found = read(call, at, place)?;
    let mut changed = found.is_none();
    let old = found.unwrap_or_default();
    let mut new = old.clone();
    for element in call.args.from(2).iter() {
        changed |= new.add(element)?;
    }
    if changed {
        new.forget_count();
        write(call, (at, key, place), old.as_bytes(), &new);
        call.tell(Classes::STRING, "pfadd", key);
    }
    call.reply.integer(i64::from(changed));
    Ok(())
}

/// All HyperLogLogs from argument `first` on as one.
fn merged(call: &mut Call<'_>, first: usize) -> Result<Merged, Refusal> {
    let mut merged = Merged::default();
    for key in call.args.from(first).iter() {
        let at = call.ks.locate(key);
        let place = call.find(at, key);
        if let Some(found) = read(call, at, place)? {
            merged.add(&found)?;
        }
    }
    Ok(merged)
}

/// PFCOUNT key [key ...]; with several keys their union is counted, and no estimate is kept.
pub(crate) fn pfcount(call: &mut Call<'_>) -> Outcome {
    if call.argc() > 2 {
        let count = merged(call, 1)?.count();
        call.reply.integer(count as i64);
        return Ok(());
    }
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find(at, key);
    let Some(old) = read(call, at, place)? else {
        call.reply.integer(0);
        return Ok(());
    };
    let count = match old.known_count() {
        Some(count) => count,
        None => {
            let count = old.count()?;
            if call.ctx.may_write {
                let mut new = old.clone();
                new.keep_count(count);
                write(call, (at, key, place), old.as_bytes(), &new);
            }
            count
        }
    };
    call.reply.integer(count as i64);
    Ok(())
}

/// PFMERGE to [key ...]
pub(crate) fn pfmerge(call: &mut Call<'_>) -> Outcome {
    call.reads = true;
    let merged = merged(call, 1)?;
    call.reads = false;
    let (at, key) = (call.at_first(), call.arg(1));
    let place = call.find(at, key);
    let found = read(call, at, place)?;
    let old = found.unwrap_or_default();
    let mut new = old.clone();
    new.take(&merged)?;
    write(call, (at, key, place), old.as_bytes(), &new);
    call.tell(Classes::STRING, "pfadd", key);
    call.reply.ok();
    Ok(())
}
