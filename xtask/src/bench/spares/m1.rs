//! M1: a quarter of the slots changes hands while clients are at work; Valkey's beside ours.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::Value;

use super::course::{Course, Looks, line, watched};
use super::ours::{Ours, Wanted};
use super::page::{Section, cell, rounded};
use super::part::{Part, Run, run_of};
use super::peer::{Theirs, slots_of};
use super::witness::{Stretch, Testimony, Witness};
use super::{Stage, drawn};
use crate::bench::checkpoint::Ear;
use crate::bench::checkpoint::machine::need;
use crate::bench::picture::{Line, Mark, OURS, PEER, Panel, Scale, picture};
use crate::bench::server::Server;
use crate::verdict::Verdict;

/// What moves: a quarter.
const SLOTS: u16 = 4096;
const RANGE: &str = "0-4095";
pub const VALUE_BYTES: usize = 64;
/// For so long clients are also looked at before and after.
const MARGIN: Duration = Duration::from_secs(3);

/// A move, as clients saw it.
struct Moved {
    testimony: Testimony,
    stretch: Stretch,
    looks: Looks<1>,
    /// Keys that the target got.
    keys: f64,
    /// For how long the slots of each step were held, in milliseconds, where that is said.
    held_ms: Vec<f64>,
}

/// Moves slots on both sides by turns until the part has all its pairs.
///
/// # Errors
/// If a side does not start, or does not move them.
pub fn run(stage: &mut Stage<'_>, part: &mut Part, pairs: usize) -> Result<()> {
    // Four processes that hold the keys twice a side, while they move even more.
    need(&stage.folder, part.keys * 900 + (2 << 30), part.keys * 1200 + (2 << 30))?;
    let theirs = Theirs::start(&stage.folder, &mut stage.janitor)?;
    theirs.master(0).fill(part.keys, VALUE_BYTES)?;
    theirs.wait_whole()?;
    let ours = ours(stage, part.keys)?;
    while part.runs.len() < pairs {
        let number = part.runs.len();
        let seed = 700 + u64::try_from(number)?;
        let peer = move_theirs(&theirs, seed)?;
        let mine = move_ours(&ours, seed)?;
        let run = pair(&peer, &mine);
        let say = |key: &str| run.get(key).and_then(|all| all.first()).copied().unwrap_or(f64::NAN);
        println!(
            "m1 pair {}: Valkey {:.1} s, {:.0} keys/s; Cairn {:.2} s, {:.0} keys/s",
            number + 1,
            say("peer_seconds"),
            say("peer_rate"),
            say("seconds"),
            say("rate")
        );
        drawn(stage.quick, "m1", &drawing(&peer, &mine))?;
        part.add(run)?;
        if part.runs.len() < pairs {
            theirs.reshard(SLOTS, 1, 0)?;
            theirs.wait_agreed(0)?;
            ours.move_slots(RANGE, "t-0")?;
            ours.wait_moved()?;
        }
    }
    Ok(())
}

/// Two groups, the first of which has all slots and keys.
fn ours(stage: &Stage<'_>, keys: u64) -> Result<Ours> {
    let wanted =
        Wanted { groups: 2, replicas: 1, backups: 0, ack: "one", spares: 0, replace_after: None };
    let ours = Ours::start(stage.programs, wanted)?;
    ours.cluster.cairn(["rebalance", "t", "--pause"])?;
    ours.move_slots("8192-16383", "t-0")?;
    ours.wait_moved()?;
    ours.master("t-0")?.fill(keys, VALUE_BYTES)?;
    ours.wait_whole()?;
    Ok(ours)
}

fn move_theirs(theirs: &Theirs, seed: u64) -> Result<Moved> {
    let (seeds, second) = (theirs.seeds(), theirs.master(1));
    let to = second.address.to_string();
    let look = || slots_of(&seeds, &to).map(|slots| [slots]);
    let moved = watch(&seeds, seed, second, look, || {
        theirs.reshard(SLOTS, 0, 1)?;
        Ok(Vec::new())
    })?;
    theirs.wait_agreed(SLOTS)?;
    Ok(moved)
}

fn move_ours(ours: &Ours, seed: u64) -> Result<Moved> {
    let second = ours.master("t-1")?;
    let (seeds, to) = (ours.seeds(), second.address.to_string());
    let source = ours.group("t-0")?.master.context("t-0 has no master")?;
    let mut ear = Ear::of(&ours.cluster, &source)?;
    let look = || slots_of(&seeds, &to).map(|slots| [slots]);
    let mut moved = watch(&seeds, seed, &second, look, || {
        println!("{}", ours.move_slots(RANGE, "t-1")?.lines().last().unwrap_or_default());
        Ok(Vec::new())
    })?;
    ours.wait_moved()?;
    moved.held_ms = ear.lines()?.iter().filter_map(held_ms).collect();
    ensure!(ours.group("t-0")?.master.as_ref() == Some(&source), "t-0 has another master now");
    Ok(moved)
}

/// For how long a move held its slots, if the line says so.
fn held_ms(line: &Value) -> Option<f64> {
    let ended = line["message"] == "the move has ended here";
    Some(line["held_us"].as_u64().filter(|_| ended)? as f64 / 1000.0)
}

fn watch(
    seeds: &[String],
    seed: u64,
    second: &Server,
    look: impl FnMut() -> Option<[f64; 1]> + Send,
    work: impl FnOnce() -> Result<Vec<f64>>,
) -> Result<Moved> {
    let before = held(second)?;
    let witness = Witness::begin(seeds, seed)?;
    let ((stretch, held_ms), looks) = watched(&witness, look, || {
        wait(MARGIN);
        let from_us = witness.now_us();
        let held_ms = work()?;
        let stretch = witness.since(from_us);
        wait(MARGIN);
        Ok((stretch, held_ms))
    })?;
    let keys = held(second)? - before;
    Ok(Moved { testimony: witness.finish(), stretch, looks, keys, held_ms })
}

/// Keys that a server holds.
fn held(server: &Server) -> Result<f64> {
    let answer = server.ask(&[b"DBSIZE"])?;
    Ok(answer.integer().with_context(|| format!("DBSIZE: {answer:?}"))? as f64)
}

fn pair(peer: &Moved, ours: &Moved) -> Run {
    let mut run = Run::new();
    for (side, moved) in [("peer_", peer), ("", ours)] {
        let (seen, stretch) = (&moved.testimony, moved.stretch);
        let troubles = seen.troubles(stretch);
        for (what, times) in troubles.said.iter().take(5) {
            println!("{side}m1: {times} x {what}");
        }
        let figures = run_of([
            ("seconds", stretch.seconds()),
            ("keys", moved.keys),
            ("rate", moved.keys / stretch.seconds()),
            ("errors", (troubles.errors + troubles.at_replicas) as f64),
            ("again", troubles.again as f64),
            ("write_ms", seen.longest_ms(stretch, false)),
            ("read_ms", seen.longest_ms(stretch, true)),
            ("acked", seen.acknowledged as f64),
            ("lost", seen.lost as f64),
            ("violations", seen.violations as f64),
            ("unread", seen.unread as f64),
        ]);
        run.extend(figures.into_iter().map(|(key, all)| (format!("{side}{key}"), all)));
    }
    run.insert("held_ms".into(), ours.held_ms.clone());
    run.insert("ratio".into(), vec![rate(ours) / rate(peer)]);
    run
}

fn rate(moved: &Moved) -> f64 {
    moved.keys / moved.stretch.seconds()
}

fn drawing(peer: &Moved, ours: &Moved) -> String {
    let margin = MARGIN.as_secs_f64();
    let seconds = peer.stretch.seconds().max(ours.stretch.seconds());
    let span = (-margin, seconds + margin);
    let course = |moved: &Moved| {
        let own = (-margin, moved.stretch.seconds() + margin);
        Course::of(&moved.testimony.history, moved.stretch.from_us, own)
    };
    let (theirs, mine) = (course(peer), course(ours));
    let slots = |moved: &Moved| line(&moved.looks, moved.stretch.from_us, 0);
    let both = |peer, ours| vec![Line::new("Valkey", PEER, peer), Line::new("Cairn", OURS, ours)];
    let panels = [
        Panel::new(
            "operations per second",
            Scale::Linear,
            both(theirs.per_second, mine.per_second),
        ),
        Panel::new(
            "longest operation, ms",
            Scale::Decades,
            both(theirs.longest_ms, mine.longest_ms),
        ),
        Panel::new("p99, ms", Scale::Decades, both(theirs.p99_ms, mine.p99_ms)),
        Panel::new("slots of the second master", Scale::Linear, both(slots(peer), slots(ours))),
    ];
    let marks = [
        Mark::new(peer.stretch.seconds(), "Valkey: moved", PEER),
        Mark::new(ours.stretch.seconds(), "Cairn: moved", OURS),
    ];
    picture("a quarter of the slots moves under load", span, &panels, &marks)
}

/// What is for the page.
pub fn section(part: &Part) -> Section {
    let head = ["median of the pairs", "Valkey", "Cairn"].map(str::to_owned).to_vec();
    let row = |what: &str, key: &str| {
        let of = |side: &str| cell(part.median(&format!("{side}{key}")));
        vec![what.to_owned(), of("peer_"), of("")]
    };
    let sum = |what: &str, key: &str| {
        let of = |side: &str| format!("{:.0}", part.sum(&format!("{side}{key}")));
        vec![what.to_owned(), of("peer_"), of("")]
    };
    let most = |what: &str, key: &str| {
        let of = |side: &str| cell(part.max(&format!("{side}{key}")));
        vec![what.to_owned(), of("peer_"), of("")]
    };
    let grid = vec![
        head,
        row("seconds", "seconds"),
        row("keys moved", "keys"),
        row("keys/s", "rate"),
        row("longest write meanwhile, ms", "write_ms"),
        most("longest of all pairs, ms", "write_ms"),
        row("longest read meanwhile, ms", "read_ms"),
        sum("errors but MOVED and ASK, all pairs", "errors"),
        sum("TRYAGAIN, all pairs", "again"),
        sum("lost, all pairs", "lost"),
        sum("of acknowledged writes", "acked"),
    ];
    let ratios: Vec<String> = part.all("ratio").iter().map(|it| format!("{it:.1}")).collect();
    let notes = format!(
        "{} keys of 16 B with {VALUE_BYTES} B each at the first of two masters with a replica \
         each; 4,096 of its 16,384 slots go to the second one while eight clients and two readers \
         use four hundred slots, following `MOVED` and `ASK`. Valkey: `valkey-cli --cluster \
         reshard` with its defaults, no persistence, replicas that nobody waits for. Cairn: `cairn \
         move {RANGE} t-1`, `ack: one`: what is carried over is on the replica and in both logs, \
         too. Ratio of keys/s, by pair: {}. Cairn held the slots of each step of up to 256 for \
         {} ms in the median, {} at most, of {} steps: commands on these slots wait so long.",
        part.keys,
        ratios.join(", "),
        cell(part.median("held_ms")),
        cell(part.max("held_ms")),
        part.all("held_ms").len()
    );
    Section { key: "m1", title: "M1: a quarter of the slots moves", grid, notes }
}

/// The figures that bars are about.
pub fn verdict(part: &Part, verdict: Verdict) -> Verdict {
    verdict
        .count("pairs", part.runs.len())
        .figure("ratio", rounded(part.median("ratio")))
        .figure("worst_ratio", rounded(part.all("ratio").into_iter().fold(f64::NAN, f64::min)))
        .figure("seconds", rounded(part.median("seconds")))
        .figure("write_ms", rounded(part.max("write_ms")))
        .figure("held_ms", rounded(part.max("held_ms")))
        .figure("errors", part.sum("errors") + part.sum("again"))
        .figure("peer_errors", part.sum("peer_errors") + part.sum("peer_again"))
        .figure("acked", part.sum("acked"))
        .figure("lost", part.sum("lost"))
        .figure("violations", part.sum("violations"))
        .figure("unread", part.sum("unread"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_hold_is_what_the_source_says_of_it() {
        let line = json!({"message": "the move has ended here", "held_us": 1500});
        assert_eq!(held_ms(&line), Some(1.5));
        assert_eq!(held_ms(&json!({"message": "other", "held_us": 1500})), None);
    }
}
