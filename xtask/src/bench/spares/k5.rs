//! K5: a group is added from spares while clients are at work, and taken away again.

use std::time::Duration;

use anyhow::{Context, Result};
use cairn_harness::clock::wait;

use super::course::{Course, Looks, line, watched};
use super::ours::{KEYSPACE, Ours, Wanted, copies};
use super::page::{Section, cell, rounded};
use super::part::{Part, Run, run_of};
use super::peer::slots_of;
use super::witness::{Stretch, Testimony, Witness};
use super::{Stage, drawn};
use crate::bench::checkpoint::machine::need;
use crate::bench::picture::{Line, Mark, OURS, Panel, SECOND, Scale, picture};
use crate::verdict::Verdict;

const VALUE_BYTES: usize = 64;
const SPARES: usize = 3;
/// For so long clients are also looked at before and after.
const MARGIN: Duration = Duration::from_secs(3);

/// A group more, and again a group less.
struct Scaled {
    testimony: Testimony,
    out: Stretch,
    back: Stretch,
    /// When the new group answered first, in microseconds since the clients began.
    served_us: u64,
    /// Copies in the first and in the new group, and slots of the new one.
    looks: Looks<3>,
}

/// Scales out and in until the part has all its runs.
///
/// # Errors
/// If the cluster does not start, or does not become what is asked for.
pub fn run(stage: &mut Stage<'_>, part: &mut Part, runs: usize) -> Result<()> {
    need(&stage.folder, part.keys * 1200 + (2 << 30), part.keys * 1200 + (2 << 30))?;
    let wanted = Wanted {
        groups: 1,
        replicas: 1,
        backups: 1,
        ack: "one",
        spares: SPARES,
        replace_after: None,
    };
    let ours = Ours::start(stage.programs, wanted)?;
    ours.master("t-0")?.fill(part.keys, VALUE_BYTES)?;
    ours.wait_whole()?;
    while part.runs.len() < runs {
        let seed = 500 + u64::try_from(part.runs.len())?;
        let scaled = scale(&ours, seed)?;
        let run = figures(&scaled);
        println!(
            "k5 run {}: first slot served after {:.2} s, balanced {:.2} s, back {:.2} s",
            part.runs.len() + 1,
            first(&scaled),
            scaled.out.seconds(),
            scaled.back.seconds()
        );
        drawn(stage.quick, "k5", &drawing(&scaled))?;
        part.add(run)?;
        ours.wait_spares(SPARES, "idle")?;
        ours.wait_whole()?;
    }
    Ok(())
}

fn scale(ours: &Ours, seed: u64) -> Result<Scaled> {
    let known = ours.master("t-0")?;
    let seeds = ours.seeds();
    let witness = Witness::begin(&seeds, seed)?;
    let old = known.address.to_string();
    let look = || {
        let new = 16_384.0 - slots_of(&seeds, &old)?;
        let status = ours.cluster.status().ok()?;
        Some([copies(&status, "t-0"), copies(&status, "t-1"), new as usize].map(|it| it as f64))
    };
    let ((out, served_us, back), looks) = watched(&witness, look, || {
        wait(MARGIN);
        let from_us = witness.now_us();
        let served_us = std::thread::scope(|scope| {
            let scaling = scope.spawn(|| groups(ours, "2"));
            let served = ours.wait_served_elsewhere(&known);
            let served_us = witness.now_us();
            scaling.join().ok().context("the scaling panicked")??;
            served.map(|()| served_us)
        })?;
        let out = witness.since(from_us);
        wait(MARGIN);
        let from_us = witness.now_us();
        groups(ours, "1")?;
        Ok((out, served_us, witness.since(from_us)))
    })?;
    wait(MARGIN);
    Ok(Scaled { testimony: witness.finish(), out, back, served_us, looks })
}

fn groups(ours: &Ours, count: &str) -> Result<()> {
    let words = ["scale", KEYSPACE, "--groups", count, "--timeout-sec", "300"];
    let said = ours.cluster.cairn(words)?;
    println!("{}", said.trim());
    Ok(())
}

/// Until the first slot was served by the new group, in seconds.
fn first(scaled: &Scaled) -> f64 {
    Stretch { from_us: scaled.out.from_us, to_us: scaled.served_us }.seconds()
}

fn figures(scaled: &Scaled) -> Run {
    let seen = &scaled.testimony;
    let [out, back] = [scaled.out, scaled.back].map(|stretch| {
        let troubles = seen.troubles(stretch);
        for (what, times) in troubles.said.iter().take(5) {
            println!("k5: {times} x {what}");
        }
        troubles.all()
    });
    run_of([
        ("first_s", first(scaled)),
        ("balanced_s", scaled.out.seconds()),
        ("back_s", scaled.back.seconds()),
        ("out_write_ms", seen.longest_ms(scaled.out, false)),
        ("out_read_ms", seen.longest_ms(scaled.out, true)),
        ("back_write_ms", seen.longest_ms(scaled.back, false)),
        ("errors", out),
        ("back_errors", back),
        ("acked", seen.acknowledged as f64),
        ("lost", seen.lost as f64),
        ("violations", seen.violations as f64),
        ("unread", seen.unread as f64),
    ])
}

fn drawing(scaled: &Scaled) -> String {
    let margin = MARGIN.as_secs_f64();
    let zero_us = scaled.out.from_us;
    let at = |us: u64| (us as f64 - zero_us as f64) / 1e6;
    let span = (-margin, at(scaled.back.to_us) + margin);
    let course = Course::of(&scaled.testimony.history, zero_us, span);
    let look = |which| line(&scaled.looks, zero_us, which);
    let panels = [
        Panel::new(
            "operations per second",
            Scale::Linear,
            vec![Line::new("", OURS, course.per_second)],
        ),
        Panel::new(
            "latency, ms",
            Scale::Decades,
            vec![
                Line::new("longest", OURS, course.longest_ms),
                Line::new("p99", SECOND, course.p99_ms),
            ],
        ),
        Panel::new(
            "copies",
            Scale::Linear,
            vec![Line::new("t-0", OURS, look(0)), Line::new("t-1, new", SECOND, look(1))],
        ),
        Panel::new("slots of t-1", Scale::Linear, vec![Line::new("", SECOND, look(2))]),
    ];
    let marks = [
        Mark::new(0.0, "two groups asked for", "black"),
        Mark::new(at(scaled.served_us), "first slot served", "black"),
        Mark::new(at(scaled.out.to_us), "balanced", "black"),
        Mark::new(at(scaled.back.from_us), "one group asked for", "black"),
        Mark::new(at(scaled.back.to_us), "one group", "black"),
    ];
    picture("a group is added from spares, and taken away again", span, &panels, &marks)
}

/// What is for the page.
pub fn section(part: &Part) -> Section {
    let head = ["Cairn", "median", "longest of all runs"].map(str::to_owned).to_vec();
    let row =
        |what: &str, key: &str| vec![what.to_owned(), cell(part.median(key)), cell(part.max(key))];
    let grid = vec![
        head,
        row("first slot served by the new group after: s", "first_s"),
        row("balanced after: s", "balanced_s"),
        row("back to one group after: s", "back_s"),
        row("longest write while it is added: ms", "out_write_ms"),
        row("longest read while it is added: ms", "out_read_ms"),
        row("longest write while it is taken away: ms", "back_write_ms"),
    ];
    let notes = format!(
        "{} runs. {} keys of 16 B with {VALUE_BYTES} B each in one group of three, three spares, \
         defaults of everything; eight clients and two readers at work. `cairn scale --groups 2` \
         has a group formed of the spares, for which a new group first waits three seconds for \
         nodes of its own, and slots moved to it until both carry alike; then `--groups 1` empties \
         and retires it. A slot counts as served when a client that asks the new group's master \
         for a key of it gets an answer. Errors but redirections: {:.0} while groups were added, \
         {:.0} while they were taken away, of requests to nodes of a retired group, which close \
         their connections and start again as spares; lost {:.0} of {:.0} acknowledged writes.",
        part.runs.len(),
        part.keys,
        part.sum("errors"),
        part.sum("back_errors"),
        part.sum("lost"),
        part.sum("acked")
    );
    Section { key: "k5", title: "K5: a group is added from spares", grid, notes }
}

/// The figures that bars are about.
pub fn verdict(part: &Part, verdict: Verdict) -> Verdict {
    verdict
        .count("runs", part.runs.len())
        .figure("first_s", rounded(part.median("first_s")))
        .figure("first_s_most", rounded(part.max("first_s")))
        .figure("balanced_s", rounded(part.median("balanced_s")))
        .figure("back_s", rounded(part.median("back_s")))
        .figure("write_ms", rounded(part.max("out_write_ms").max(part.max("back_write_ms"))))
        .figure("errors", part.sum("errors"))
        .figure("back_errors", part.sum("back_errors"))
        .figure("acked", part.sum("acked"))
        .figure("lost", part.sum("lost"))
        .figure("violations", part.sum("violations"))
        .figure("unread", part.sum("unread"))
}
