//! Snapshots and copies, against Valkey: what they cost those who write meanwhile (S1, F1), how
//! fast they are written and loaded (S2, S3), and how soon who was away is there again (F1, F2).

mod ours;
mod peer;
mod plot;
mod trace;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;

use super::report::{Row, median, publish, table};
use super::scratch;
use crate::product;
use crate::run::{command, read};
use ours::Ours;
use peer::Theirs;
use plot::{Line, picture};
use trace::{Span, Trace, VALUE_BYTES, under_load};

/// All parts, in the order they run.
const PARTS: [&str; 3] = ["s", "f1", "f2"];
/// For a snapshot, a copy, a start.
const LIMIT: Duration = Duration::from_secs(600);

/// How often and how much.
#[derive(Debug, Clone, Copy)]
struct Pace {
    quick: bool,
    keys: u64,
    pairs: usize,
    /// The peer's quiet time; ours is that between two snapshots.
    quiet: Duration,
    /// How often a member of ours is killed for a short while, how long that is, and how often for
    /// a long one.
    short: (usize, Duration),
    long: (usize, Duration),
}

impl Pace {
    fn new(quick: bool, keys: Option<u64>) -> Self {
        let seconds = Duration::from_secs;
        let (all, pace) = if quick {
            (500_000, (1, seconds(3), (2, seconds(1)), (1, seconds(4))))
        } else {
            (5_000_000, (5, seconds(10), (100, seconds(2)), (5, seconds(60))))
        };
        let (pairs, quiet, short, long) = pace;
        Self { quick, keys: keys.unwrap_or(all), pairs, quiet, short, long }
    }
}

/// What a snapshot under load showed.
struct Snapshot {
    stall_ms: f64,
    p999_ms: f64,
    quiet_p999_ms: f64,
    keys_per_second: f64,
    line: Line,
}

impl Snapshot {
    fn of(trace: &Trace, quiet: Span, span: Span, keys_per_second: f64) -> Result<Self> {
        Ok(Self {
            stall_ms: trace.stall_ms(span)?,
            p999_ms: trace.p999_ms(span)?,
            quiet_p999_ms: trace.p999_ms(quiet)?,
            keys_per_second,
            line: Line::of(trace, span),
        })
    }
}

/// How members that were killed came back.
#[derive(Debug, Default)]
struct Returns {
    short_s: Vec<f64>,
    long_s: Vec<f64>,
    whole_copies: usize,
    refused: u64,
}

/// Measures all parts, or `only` one; whether the bars hold.
///
/// # Errors
/// If something does not start, or there is no such part.
pub fn run(quick: bool, keys: Option<u64>, only: Option<&str>) -> Result<bool> {
    let pace = Pace::new(quick, keys);
    let wanted = |part: &str| only.is_none_or(|only| only.eq_ignore_ascii_case(part));
    ensure!(PARTS.into_iter().any(wanted), "the parts are {}", PARTS.join(", "));
    let programs = product::build_for_bench()?;
    let folder = scratch()?;
    let mut rows = Vec::new();
    if wanted("s") {
        rows.extend(snapshots(pace, &programs, &folder)?);
    }
    if wanted("f1") {
        rows.extend(copies(pace, &programs, &folder)?);
    }
    let returns = if wanted("f2") { Some(returns(pace, &programs, &folder)?) } else { None };
    if let Some((peer, ours)) = &returns {
        let mut row = Row::new("f2", "F2 member away, then in sync: s", false);
        row.pairs = peer.long_s.iter().copied().zip(ours.long_s.iter().copied()).collect();
        rows.push(row);
    }
    let notes = notes(pace, returns.as_ref())?;
    if only.is_some() {
        println!("\n{}\n{notes}", table("Valkey", &rows));
        return Ok(true);
    }
    let verdict = publish("checkpoint", "Valkey", &notes, quick, &rows)?;
    let copies = returns.map_or(0, |(_, ours)| ours.whole_copies);
    verdict.count("f2_whole_copies", copies).judge()
}

/// S1, S2 and S3.
fn snapshots(pace: Pace, programs: &Path, folder: &Path) -> Result<Vec<Row>> {
    let mut rows = vec![
        Row::new("s1_stall", "S1 longest write during a snapshot: ms", false),
        Row::new("s1_p999", "S1 p99.9 of writes during a snapshot: ms", false),
        Row::new("s1_worse", "S1 that p99.9 by the one without a snapshot", false),
        Row::new("s2", "S2 snapshot written under load: keys/s", true),
        Row::new("s3", "S3 snapshot loaded at a start: keys/s", true),
    ];
    for pair in 0..pace.pairs {
        let folder = folder.join(format!("snapshots-{pair}"));
        let (theirs, their_load) = peer_snapshot(pace, &folder)?;
        let (mine, my_load) = our_snapshot(pace, programs)?;
        let figures = |of: &Snapshot, load: f64| {
            let worse = of.p999_ms / of.quiet_p999_ms;
            [of.stall_ms, of.p999_ms, worse, of.keys_per_second, load]
        };
        let both = figures(&theirs, their_load).into_iter().zip(figures(&mine, my_load));
        rows.iter_mut().zip(both).for_each(|(row, figures)| row.pairs.push(figures));
        println!(
            "snapshots pair {}: Valkey stalls {:.1} ms, Cairn {:.1} ms; {:.0} and {:.0} keys/s \
             written, {their_load:.0} and {my_load:.0} loaded",
            pair + 1,
            theirs.stall_ms,
            mine.stall_ms,
            theirs.keys_per_second,
            mine.keys_per_second
        );
        draw(pace, "s1", "writes during a snapshot", &theirs.line, &mine.line)?;
    }
    Ok(rows)
}

/// Draws the last pair beside the page; that of a quick run below `target/`.
fn draw(pace: Pace, key: &str, title: &str, peer: &Line, ours: &Line) -> Result<()> {
    let folder = match pace.quick {
        true => product::target_folder(),
        false => crate::root().join("docs/bench"),
    };
    let path = folder.join(format!("checkpoint-{key}.svg"));
    std::fs::write(&path, picture(title, peer, ours))
        .with_context(|| format!("cannot write {path:?}"))?;
    println!("drawn: {}", path.display());
    Ok(())
}

fn peer_snapshot(pace: Pace, folder: &Path) -> Result<(Snapshot, f64)> {
    let theirs = Theirs::start(folder, LIMIT)?;
    theirs.master().fill(pace.keys, VALUE_BYTES)?;
    let ((quiet, span), trace) = under_load(theirs.master(), pace.keys, || {
        let began = Instant::now();
        wait(pace.quiet);
        Ok((Span::since(began), theirs.save(LIMIT)?))
    })?;
    let rate = pace.keys as f64 / span.seconds();
    let seen = Snapshot::of(&trace.without_errors()?, quiet, span, rate)?;
    let (_theirs, seconds) = theirs.restart(LIMIT)?;
    Ok((seen, pace.keys as f64 / seconds.max(0.001)))
}

fn our_snapshot(pace: Pace, programs: &Path) -> Result<(Snapshot, f64)> {
    let ours = Ours::start(programs)?;
    ours.master.fill(pace.keys, VALUE_BYTES)?;
    ours.wait_whole(LIMIT)?;
    let mut ear = ours.ear()?;
    let ((first, second), trace) = under_load(&ours.master, pace.keys, || {
        let first = ear.hear("wrote a snapshot", LIMIT)?;
        Ok((first, ear.hear("wrote a snapshot", LIMIT)?))
    })?;
    let quiet = Span { from: first.span.to, to: second.span.from };
    let trace = trace.without_errors()?;
    let seen = Snapshot::of(&trace, quiet, second.span, second.keys_per_second)?;
    ours.kill()?;
    ours.revive()?;
    let loaded = ear.hear("loaded a snapshot", LIMIT)?;
    Ok((seen, loaded.keys_per_second))
}

/// F1: a member without anything joins while the master takes all the writes it can.
fn copies(pace: Pace, programs: &Path, folder: &Path) -> Result<Vec<Row>> {
    let mut rows = vec![
        Row::new("f1", "F1 a new member is in sync after: s", false),
        Row::new("f1_stall", "F1 longest write meanwhile: ms", false),
    ];
    for pair in 0..pace.pairs {
        let mut theirs = Theirs::start(&folder.join(format!("copies-{pair}")), LIMIT)?;
        theirs.master().fill(pace.keys, VALUE_BYTES)?;
        let master = theirs.master().clone();
        let ((span, _), trace) = under_load(&master, pace.keys, || theirs.link(LIMIT))?;
        let trace = trace.without_errors()?;
        let (peer, their_line) = ((span.seconds(), trace.stall_ms(span)?), Line::of(&trace, span));
        drop(theirs);
        let ours = Ours::start(programs)?;
        ours.master.fill(pace.keys, VALUE_BYTES)?;
        ours.ear()?.hear("wrote a snapshot", LIMIT)?;
        ours.kill()?;
        ours.forget()?;
        ours.wait_alone(LIMIT)?;
        let mut ear = ours.ear()?;
        let (span, trace) = under_load(&ours.master, pace.keys, || {
            let began = Instant::now();
            ours.revive()?;
            ours.wait_whole(LIMIT)?;
            Ok(Span::since(began))
        })?;
        let trace = trace.without_errors()?;
        let mine = (span.seconds(), trace.stall_ms(span)?);
        draw(pace, "f1", "writes during a copy", &their_line, &Line::of(&trace, span))?;
        rows[0].pairs.push((peer.0, mine.0));
        rows[1].pairs.push((peer.1, mine.1));
        let way = if ear.said("fetched a snapshot")? { "a snapshot" } else { "the log alone" };
        println!(
            "copies pair {}: Valkey {peer:.1?}, Cairn {mine:.1?} (s, ms) from {way}",
            pair + 1
        );
    }
    Ok(rows)
}

/// F2: a member is killed, misses writes, and is started again.
fn returns(pace: Pace, programs: &Path, folder: &Path) -> Result<(Returns, Returns)> {
    let mut theirs = Theirs::start(&folder.join("returns"), LIMIT)?;
    theirs.master().fill(pace.keys, VALUE_BYTES)?;
    theirs.link(LIMIT)?;
    let mut peer = Returns::default();
    let master = theirs.master().clone();
    let ((), trace) = under_load(&master, pace.keys, || {
        for _ in 0..pace.long.0 {
            theirs.unlink();
            wait(pace.long.1);
            let (span, whole) = theirs.link(LIMIT)?;
            peer.long_s.push(span.seconds());
            peer.whole_copies += usize::from(whole);
        }
        Ok(())
    })?;
    peer.refused = trace.errors;
    drop(theirs);
    let ours = Ours::start(programs)?;
    ours.master.fill(pace.keys, VALUE_BYTES)?;
    ours.ear()?.hear("wrote a snapshot", LIMIT)?;
    ours.wait_whole(LIMIT)?;
    let mut mine = Returns::default();
    let ((), trace) = under_load(&ours.master, pace.keys, || {
        for (times, away) in [pace.short, pace.long] {
            for _ in 0..times {
                let (seconds, whole) = our_return(&ours, away)?;
                let is_long = away == pace.long.1;
                if is_long { &mut mine.long_s } else { &mut mine.short_s }.push(seconds);
                mine.whole_copies += usize::from(whole);
            }
        }
        Ok(())
    })?;
    mine.refused = trace.errors;
    println!("returns: Valkey {peer:.1?}, Cairn {mine:.1?}");
    Ok((peer, mine))
}

/// How long one of our members takes to be there again, and whether it fetched a snapshot for it.
fn our_return(ours: &Ours, away: Duration) -> Result<(f64, bool)> {
    ours.kill()?;
    wait(away);
    let mut ear = ours.ear()?;
    let began = Instant::now();
    ours.revive()?;
    ours.wait_whole(LIMIT)?;
    let span = Span::since(began);
    Ok((span.seconds(), ear.said("fetched a snapshot")?))
}

fn notes(pace: Pace, returns: Option<&(Returns, Returns)>) -> Result<String> {
    let version = read(&mut command("valkey-server", ["--version"]))?;
    let mut text = format!(
        "{} keys of 16 B with values of {VALUE_BYTES} B. Meanwhile 50 connections write random \
         ones of them, each as fast as it is\nanswered; a stall is the longest time from a write \
         to its answer. Valkey: the master itself writes the snapshot\n(`BGSAVE`). Cairn: the \
         replica of a group of two writes it, every 20 s, reads it back and only then says so; \
         writes\nare answered without waiting for it (`ack: async`). S3: Valkey's and our node's \
         own word for how long it loaded. F1: the\nnew member is started on an empty folder; \
         Valkey's is there when its link is up, ours when `cairn status` misses\nnothing, which \
         is asked ten times a second. Peer: {}.",
        pace.keys,
        version.trim()
    );
    text += "\n\nWrites over time in the last pair, from 3 s before to 3 s after; the dashed line \
             is the end:\n[a snapshot](checkpoint-s1.svg), [a copy to a new \
             member](checkpoint-f1.svg).";
    if let Some((peer, ours)) = returns {
        let of = |seconds: &[f64]| format!("{:.2} s", median(seconds.to_vec()));
        text += &format!(
            "\n\nF2: the member is killed and misses {:?} of writes. Valkey got {} whole copies in \
             {} times; Cairn {} in {}. After {:?}\naway, {} times, Cairn's was there within {} \
             (median). When a member of a group of two dies, the\nother refuses writes until it \
             knows that it is alone: {} were refused.",
            pace.long.1,
            peer.whole_copies,
            peer.long_s.len(),
            ours.whole_copies,
            ours.long_s.len() + ours.short_s.len(),
            pace.short.1,
            ours.short_s.len(),
            of(&ours.short_s),
            ours.refused
        );
    }
    Ok(text)
}
