//! S1 to S3 and F1: a group's snapshot under load, a start from it, and a copy to a new member.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use cairn_harness::clock::wait;

use super::machine::{Held, Watch, table};
use super::ours::Ours;
use super::peer::Theirs;
use super::plot::{Line, picture};
use super::rows::Part;
use super::trace::{Span, Trace, VALUE_BYTES, Writes, under_load};
use super::{LIMIT, Pace, drawn};
use crate::bench::report::median;
use crate::bench::report::paragraph;

/// What a snapshot under load showed.
struct Shown {
    stall_ms: f64,
    p999_ms: f64,
    quiet_p999_ms: f64,
    keys_per_second: f64,
    /// How much more memory was held, in percent.
    more_percent: f64,
    line: Line,
    held: Vec<Held>,
}

impl Shown {
    fn of(trace: &Trace, quiet: Span, span: Span, keys_per_second: f64) -> Result<Self> {
        Ok(Self {
            stall_ms: trace.stall_ms(span)?,
            p999_ms: trace.p999_ms(span)?,
            quiet_p999_ms: trace.p999_ms(quiet)?,
            keys_per_second,
            more_percent: 0.0,
            line: Line::of(trace, span),
            held: Vec::new(),
        })
    }
}

/// S1, S2 and S3.
///
/// # Errors
/// If a side fails.
pub fn snapshots(pace: Pace, programs: &Path, folder: &Path) -> Result<Part> {
    let mut part = Part::new("s", &["s1_stall", "s1_p999", "s1_worse", "s1_memory", "s2", "s3"]);
    for pair in 0..pace.pairs {
        let folder = folder.join(format!("snapshots-{pair}"));
        let (theirs, their_load) = peer_snapshot(pace, &folder)?;
        let (mine, my_load) = our_snapshot(pace, programs)?;
        part.add("s1_stall", theirs.stall_ms, mine.stall_ms);
        part.add("s1_p999", theirs.p999_ms, mine.p999_ms);
        let worse = |one: &Shown| one.p999_ms / one.quiet_p999_ms;
        part.add("s1_worse", worse(&theirs), worse(&mine));
        // What is nothing at all has no ratio.
        part.add("s1_memory", theirs.more_percent.max(0.01), mine.more_percent.max(0.01));
        part.add("s2", theirs.keys_per_second, mine.keys_per_second);
        part.add("s3", their_load, my_load);
        println!(
            "snapshots pair {}: Valkey stalls {:.1} ms, Cairn {:.1} ms; {:.0} and {:.0} keys/s \
             written, {their_load:.0} and {my_load:.0} loaded; {:.1} and {:.1} % more memory",
            pair + 1,
            theirs.stall_ms,
            mine.stall_ms,
            theirs.keys_per_second,
            mine.keys_per_second,
            theirs.more_percent,
            mine.more_percent
        );
        let held: Vec<Held> = mine.held.iter().chain(&theirs.held).cloned().collect();
        let text = "S3: each server's own word for how long it loaded. [Writes over time in the \
            last pair](checkpoint-s1.svg), from 3 s before to 3 s after; the dashed line is the \
            end. Memory: what the process that writes the snapshot holds at most, with Valkey's \
            what its child had to copy. In the last pair:";
        part.notes = format!("{}\n\n{}", paragraph(text), table(&held));
        drawn(
            pace,
            "s1",
            &picture("Valkey", "writes during a snapshot", &theirs.line, &mine.line),
        )?;
    }
    Ok(part)
}

fn peer_snapshot(pace: Pace, folder: &Path) -> Result<(Shown, f64)> {
    let theirs = Theirs::start(folder, LIMIT)?;
    theirs.master().fill(pace.keys, VALUE_BYTES)?;
    let ((quiet, span, mut held), trace) =
        under_load(theirs.master(), Writes::of(pace.keys), || {
            let began = Instant::now();
            wait(pace.quiet);
            let quiet = Span::since(began);
            let watch = Watch::start(&theirs.processes())?;
            Ok((quiet, theirs.save(LIMIT)?, watch.finish()?.held))
        })?;
    let rate = pace.keys as f64 / span.seconds();
    let mut shown = Shown::of(&trace.without_errors()?, quiet, span, rate)?;
    for one in &mut held {
        // Its child's pages are its own until one of the two writes to them.
        one.during = one.during.max(one.before + theirs.copied_bytes()?);
    }
    shown.more_percent = held.first().map_or(0.0, Held::more_percent);
    shown.held = held;
    let (_theirs, seconds) = theirs.restart(LIMIT)?;
    Ok((shown, pace.keys as f64 / seconds.max(0.001)))
}

fn our_snapshot(pace: Pace, programs: &Path) -> Result<(Shown, f64)> {
    let ours = Ours::start(programs, pace, pace.log())?;
    ours.master.fill(pace.keys, VALUE_BYTES)?;
    ours.wait_whole(LIMIT)?;
    let mut ear = ours.ear()?;
    let ((first, second, held), trace) = under_load(&ours.master, Writes::of(pace.keys), || {
        let first = ear.hear("wrote a snapshot", LIMIT)?;
        let watch = Watch::start(&ours.processes()?)?;
        Ok((first, ear.hear("wrote a snapshot", LIMIT)?, watch.finish()?.held))
    })?;
    let quiet = Span { from: first.span.to, to: second.span.from };
    let trace = trace.without_errors()?;
    let mut shown = Shown::of(&trace, quiet, second.span, second.keys_per_second)?;
    // The master has no part in it: the one that writes comes second.
    shown.more_percent = held.last().map_or(0.0, Held::more_percent);
    shown.held = held;
    ours.kill()?;
    ours.revive()?;
    let loaded = ear.hear("loaded a snapshot", LIMIT)?;
    Ok((shown, loaded.keys_per_second))
}

/// F1: a member without anything joins while the master takes all the writes it can.
///
/// # Errors
/// If a side fails.
pub fn copies(pace: Pace, programs: &Path, folder: &Path) -> Result<Part> {
    let mut part = Part::new("f1", &["f1", "f1_stall"]);
    let (mut counts, mut ways) = (Vec::new(), 0);
    for pair in 0..pace.pairs {
        let mut theirs = Theirs::start(&folder.join(format!("copies-{pair}")), LIMIT)?;
        theirs.master().fill(pace.keys, VALUE_BYTES)?;
        let master = theirs.master().clone();
        let ((span, _), trace) = under_load(&master, Writes::of(pace.keys), || theirs.link(LIMIT))?;
        let trace = trace.without_errors()?;
        let (peer, their_line) = ((span.seconds(), trace.stall_ms(span)?), Line::of(&trace, span));
        drop(theirs);
        let ours = Ours::start(programs, pace, pace.log())?;
        ours.master.fill(pace.keys, VALUE_BYTES)?;
        ours.ear()?.hear("wrote a snapshot", LIMIT)?;
        ours.kill()?;
        ours.forget()?;
        ours.wait_alone(LIMIT)?;
        under_load(&ours.master, Writes::of(pace.keys), || ours.wait_front_gone(LIMIT))?;
        let mut ear = ours.ear()?;
        let ((span, counted), trace) = under_load(&ours.master, Writes::of(pace.keys), || {
            let began = Instant::now();
            ours.revive()?;
            ours.wait_follows(LIMIT)?;
            let span = Span::since(began);
            ours.wait_whole(LIMIT)?;
            Ok((span, Span::since(began).seconds()))
        })?;
        let trace = trace.without_errors()?;
        let mine = (span.seconds(), trace.stall_ms(span)?);
        let line = Line::of(&trace, span);
        drawn(pace, "f1", &picture("Valkey", "writes during a copy", &their_line, &line))?;
        part.add("f1", peer.0, mine.0);
        part.add("f1_stall", peer.1, mine.1);
        counts.push(counted);
        let fetched = ear.said("fetched a snapshot")?;
        ways += usize::from(fetched);
        let way = if fetched { "a snapshot" } else { "the log alone" };
        println!(
            "copies pair {}: Valkey {peer:.1?}, Cairn {mine:.1?} (s, ms) from {way}, counts after \
             {counted:.1} s",
            pair + 1
        );
    }
    let text = format!(
        "F1: the new member is started on an empty folder. Valkey's is there when its link is up, \
         ours when it has applied what its master had half a second before; it counts for \
         acknowledgements when it has kept up for 3 s, {:.1} s after its start (median). {ways} of \
         {} fetched a snapshot (64 MiB/s), the others got the log. [Writes over time in the last \
         pair](checkpoint-f1.svg).",
        median(counts.clone()),
        counts.len()
    );
    part.notes = paragraph(&text);
    Ok(part)
}
