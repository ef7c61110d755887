//! What is large and cannot be cut: one hash of a gigabyte, and one slot with all keys. A snapshot,
//! a copy to a new member, and the return of a killed one, all under writes to just that.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use cairn_harness::clock::wait;

use super::ours::Ours;
use super::peer::Theirs;
use super::rows::Part;
use super::trace::{Span, Trace, Writes, under_load};
use super::{LIMIT, Pace, machine};
use crate::bench::load::Mix;
use crate::bench::report::paragraph;

/// Bytes of a value in the hash.
const FIELD_BYTES: usize = 1000;
/// How long the killed member stays away.
const AWAY: Duration = Duration::from_secs(1);

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Big {
    Hash,
    Slot,
}

impl Big {
    fn part(self) -> (&'static str, [&'static str; 6]) {
        match self {
            Self::Hash => (
                "big-hash",
                [
                    "hash_stall",
                    "hash_copy",
                    "hash_copy_stall",
                    "hash_again",
                    "hash_again_stall",
                    "hash_load",
                ],
            ),
            Self::Slot => (
                "big-slot",
                [
                    "slot_stall",
                    "slot_copy",
                    "slot_copy_stall",
                    "slot_again",
                    "slot_again_stall",
                    "slot_load",
                ],
            ),
        }
    }

    fn writes(self, pace: Pace) -> Writes {
        match self {
            // A gigabyte, or a tenth of it in a quick run.
            Self::Hash => {
                Writes { mix: Mix::HashSet, value_bytes: FIELD_BYTES, ..Writes::of(pace.keys / 5) }
            }
            Self::Slot => Writes { mix: Mix::SlotSet, ..Writes::of(pace.keys) },
        }
    }
}

/// One pair: both sides, one after the other.
///
/// # Errors
/// If there is too little memory or disk, or a side fails.
pub fn run(big: Big, pace: Pace, programs: &Path, scratch: &Path) -> Result<Part> {
    let writes = big.writes(pace);
    let bytes = writes.keys * (writes.value_bytes as u64 + 120);
    // Two processes hold it, one copies it, and a master that forks may have it twice.
    machine::need(scratch, bytes * 3 + (1 << 30), bytes * 6 + (1 << 30))?;
    let (name, keys) = big.part();
    let mut part = Part::new(name, &keys);
    let theirs = peer(writes, &scratch.join(name))?;
    println!("{name}: Valkey {theirs:.1?}");
    let mine = ours(writes, pace, programs)?;
    println!("{name}: Cairn {mine:.1?}");
    keys.iter().zip(theirs.into_iter().zip(mine)).for_each(|(key, (a, b))| part.add(key, a, b));
    let text = format!(
        "{}: {} {} of {} B, all written to meanwhile by 50 connections; a snapshot, then a new \
         member's copy, then a member that was killed for {AWAY:?}. One pair. The start from the \
         snapshot is what the server says itself.",
        if big == Big::Hash { "Big hash: one key" } else { "Big slot: one slot" },
        writes.keys,
        if big == Big::Hash { "fields" } else { "keys" },
        writes.value_bytes
    );
    part.notes = paragraph(&text);
    Ok(part)
}

/// Stall of a snapshot, then time and stall of a copy and of a return, and the time of a load.
type Figures = [f64; 6];

fn peer(writes: Writes, folder: &Path) -> Result<Figures> {
    let mut theirs = Theirs::start(folder, LIMIT)?;
    let master = theirs.master().clone();
    master.fill_with(writes.mix, writes.keys, writes.value_bytes)?;
    let (span, trace) = under_load(&master, writes, || theirs.save(LIMIT))?;
    let stall = trace.without_errors()?.stall_ms(span)?;
    let ((span, _), trace) = under_load(&master, writes, || theirs.link(LIMIT))?;
    let copy = timed(span, &trace.without_errors()?)?;
    let ((span, _), trace) = under_load(&master, writes, || {
        theirs.unlink();
        wait(AWAY);
        theirs.link(LIMIT)
    })?;
    let again = timed(span, &trace.without_errors()?)?;
    theirs.unlink();
    let (_theirs, seconds) = theirs.restart(LIMIT)?;
    Ok([stall, copy.0, copy.1, again.0, again.1, seconds])
}

fn ours(writes: Writes, pace: Pace, programs: &Path) -> Result<Figures> {
    let log = if writes.mix == Mix::HashSet { "{bytesKept: 64Mi}" } else { pace.log() };
    let ours = Ours::start(programs, pace, log)?;
    ours.master.fill_with(writes.mix, writes.keys, writes.value_bytes)?;
    ours.wait_whole(LIMIT)?;
    let mut ear = ours.ear()?;
    let (done, trace) = under_load(&ours.master, writes, || ear.hear("wrote a snapshot", LIMIT))?;
    let stall = trace.without_errors()?.stall_ms(done.span)?;
    ours.kill()?;
    ours.forget()?;
    ours.wait_alone(LIMIT)?;
    under_load(&ours.master, writes, || ours.wait_front_gone(LIMIT))?;
    let (span, trace) = under_load(&ours.master, writes, || back(&ours))?;
    let copy = timed(span, &trace.without_errors()?)?;
    ours.wait_whole(LIMIT)?;
    ours.ear()?.hear("wrote a snapshot", LIMIT)?;
    // It is away for so short that its master never knows that it is alone, and refuses writes
    // meanwhile: what counts is how long a write took that was answered.
    let mut ear = ours.ear()?;
    let (span, trace) = under_load(&ours.master, writes, || {
        ours.kill()?;
        wait(AWAY);
        back(&ours)
    })?;
    let again = timed(span, &trace)?;
    let loaded = ear.hear("loaded a snapshot", LIMIT)?;
    Ok([stall, copy.0, copy.1, again.0, again.1, loaded.span.seconds()])
}

/// Starts the replica and waits until it follows.
fn back(ours: &Ours) -> Result<Span> {
    let began = Instant::now();
    ours.revive()?;
    ours.wait_follows(LIMIT)?;
    Ok(Span::since(began))
}

fn timed(span: Span, trace: &Trace) -> Result<(f64, f64)> {
    Ok((span.seconds(), trace.stall_ms(span)?))
}
