//! K3: a member is killed and stays dead; a spare takes its place, and gives it back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::{wait, wait_until};

use super::course::{Course, Looks, line, watched};
use super::ours::{LIMIT, Ours, Wanted, copies, is_spare};
use super::page::{Section, cell, rounded};
use super::part::{Part, Run, run_of};
use super::witness::{Stretch, Testimony, Witness};
use super::{Stage, drawn};
use crate::bench::checkpoint::machine::need;
use crate::bench::picture::{Line, Mark, OURS, Panel, SECOND, Scale, picture};
use crate::verdict::Verdict;

pub const VALUE_BYTES: usize = 1000;
const GROUP: &str = "t-0";
const MEMBERS: usize = 3;
/// For so long clients are also looked at before and after.
const MARGIN: Duration = Duration::from_secs(3);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A death, and what followed.
struct Healed {
    testimony: Testimony,
    /// From the death until all copies were there.
    healing: Stretch,
    /// From the return of the dead member until the spare was idle again.
    relief: Stretch,
    looks: Looks<1>,
}

/// Kills a replica and a master by turns, each of a fresh cluster, until the part has all its runs.
///
/// # Errors
/// If the cluster does not start, or does not heal.
pub fn run(stage: &mut Stage<'_>, part: &mut Part, runs: usize) -> Result<()> {
    let bytes = part.keys * (VALUE_BYTES as u64 + 200);
    need(&stage.folder, bytes * 5 + (1 << 30), bytes * 12 + (2 << 30))?;
    while part.runs.len() < runs {
        let number = part.runs.len();
        let (ours, kills_master) = (start(stage, part.keys)?, number % 2 == 1);
        let healed = kill(&ours, kills_master, 300 + u64::try_from(number)?)?;
        let run = figures(&healed, kills_master);
        println!(
            "k3 run {} ({}): whole again after {:.2} s, relieved after {:.2} s",
            number + 1,
            if kills_master { "master" } else { "replica" },
            healed.healing.seconds(),
            healed.relief.seconds()
        );
        let key = if kills_master { "k3-master" } else { "k3-replica" };
        drawn(stage.quick, key, &drawing(&healed, kills_master))?;
        part.add(run)?;
    }
    Ok(())
}

/// One group with a spare; all keys are there, and in a snapshot.
fn start(stage: &Stage<'_>, keys: u64) -> Result<Ours> {
    let wanted =
        Wanted { groups: 1, replicas: 1, backups: 1, ack: "one", spares: 1, replace_after: None };
    let ours = Ours::start(stage.programs, wanted)?;
    ours.master(GROUP)?.fill(keys, VALUE_BYTES)?;
    ours.wait_whole()?;
    ours.cluster.cairn(["checkpoint", "now", GROUP])?;
    ours.wait_whole()?;
    Ok(ours)
}

fn kill(ours: &Ours, kills_master: bool, seed: u64) -> Result<Healed> {
    let group = ours.group(GROUP)?;
    let master = group.master.context("the group has no master")?;
    let others = group.members.into_iter().map(|member| member.id);
    let victim = match kills_master {
        true => master,
        false => others.into_iter().find(|id| *id != master).context("there is no other member")?,
    };
    let witness = Witness::begin(&ours.seeds(), seed)?;
    let look = || Some([copies(&ours.cluster.status().ok()?, GROUP) as f64]);
    let ((healing, relief), looks) = watched(&witness, look, || {
        wait(MARGIN);
        let from_us = witness.now_us();
        ours.cluster.kill(&victim, true)?;
        wait_members(ours, "a spare has taken the place of the dead member", |ids| {
            !ids.contains(&victim) && ids.iter().any(|id| is_spare(id))
        })?;
        let healing = witness.since(from_us);
        wait(MARGIN);
        let from_us = witness.now_us();
        ours.cluster.start(&victim)?;
        wait_members(ours, "the member that came back counts", |ids| {
            !ids.iter().any(|id| is_spare(id))
        })?;
        ours.wait_spares(1, "idle")?;
        let relief = witness.since(from_us);
        wait(MARGIN);
        Ok((healing, relief))
    })?;
    Ok(Healed { testimony: witness.finish(), healing, relief, looks })
}

/// Waits until the group has all its copies, and its members are as they should be.
fn wait_members(ours: &Ours, what: &str, are: impl Fn(&[String]) -> bool) -> Result<()> {
    let done = wait_until(LIMIT, LOOK_EVERY, || {
        let Ok(status) = ours.cluster.status() else { return false };
        let Some(group) = status.groups.iter().find(|it| it.id == GROUP) else { return false };
        let ids: Vec<String> = group.members.iter().map(|member| member.id.clone()).collect();
        ids.len() == MEMBERS && are(&ids) && !group.open && copies(&status, GROUP) == MEMBERS
    });
    ensure!(done, "{} s and it is not so that {what}; see `cairn why {GROUP}`", LIMIT.as_secs());
    Ok(())
}

fn figures(healed: &Healed, kills_master: bool) -> Run {
    let seen = &healed.testimony;
    let troubles = seen.troubles(healed.healing);
    for (what, times) in troubles.said.iter().take(5) {
        println!("k3: {times} x {what}");
    }
    let mut run = run_of([
        ("healed_s", healed.healing.seconds()),
        ("relieved_s", healed.relief.seconds()),
        ("unanswered", (troubles.errors + troubles.again) as f64),
        ("unread_at_replicas", troubles.at_replicas as f64),
        ("acked", seen.acknowledged as f64),
        ("lost", seen.lost as f64),
        ("stale", seen.stale as f64),
        ("violations", seen.violations as f64),
        ("unread", seen.unread as f64),
    ]);
    let side = if kills_master { "master" } else { "replica" };
    run.insert(format!("{side}_healed_s"), vec![healed.healing.seconds()]);
    run.insert(format!("{side}_pause_ms"), vec![seen.pause_ms(healed.healing)]);
    run.insert(format!("{side}_relief_pause_ms"), vec![seen.pause_ms(healed.relief)]);
    run
}

fn drawing(healed: &Healed, kills_master: bool) -> String {
    let margin = MARGIN.as_secs_f64();
    let zero_us = healed.healing.from_us;
    let at = |us: u64| (us as f64 - zero_us as f64) / 1e6;
    let span = (-margin, at(healed.relief.to_us) + margin);
    let course = Course::of(&healed.testimony.history, zero_us, span);
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
            "copies of the group",
            Scale::Linear,
            vec![Line::new("", OURS, line(&healed.looks, zero_us, 0))],
        ),
    ];
    let who = if kills_master { "master" } else { "replica" };
    let marks = [
        Mark::new(0.0, &format!("{who} killed"), "black"),
        Mark::new(at(healed.healing.to_us), "the spare counts", "black"),
        Mark::new(at(healed.relief.from_us), "started again", "black"),
        Mark::new(at(healed.relief.to_us), "the spare is idle again", "black"),
    ];
    picture(&format!("a {who} dies and stays dead"), span, &panels, &marks)
}

/// What is for the page.
pub fn section(part: &Part) -> Section {
    let head = ["Cairn", "median", "longest of all runs"].map(str::to_owned).to_vec();
    let row =
        |what: &str, key: &str| vec![what.to_owned(), cell(part.median(key)), cell(part.max(key))];
    let grid = vec![
        head,
        row("whole again by a spare after: s", "healed_s"),
        row("the same, replica killed: s", "replica_healed_s"),
        row("the same, master killed: s", "master_healed_s"),
        row("longest time without a write, replica killed: ms", "replica_pause_ms"),
        row("longest time without a write, master killed: ms", "master_pause_ms"),
        row("back again, the spare idle after: s", "relieved_s"),
    ];
    let notes = format!(
        "{} runs, each of a fresh cluster: {} keys of 16 B with {VALUE_BYTES} B each in one group \
         of three, one spare, defaults of everything (`replaceAfter` 10 s, node lease 5 s), a \
         snapshot of all keys on a member. A member is killed with SIGKILL and stays dead, a \
         replica and the master by turns, while eight clients and two readers are at work. Whole \
         again: three members, none of them the dead one, each with all data and close to its \
         master. Then it is started again. Not answered by masters while it was healed: {:.0}; \
         reads that clients went on to ask of a dead replica: {:.0}; lost {:.0} of {:.0} \
         acknowledged writes.",
        part.runs.len(),
        part.keys,
        part.sum("unanswered"),
        part.sum("unread_at_replicas"),
        part.sum("lost"),
        part.sum("acked")
    );
    Section { key: "k3", title: "K3: a member dies and stays dead", grid, notes }
}

/// The figures that bars are about.
pub fn verdict(part: &Part, verdict: Verdict) -> Verdict {
    verdict
        .count("runs", part.runs.len())
        .figure("healed_s", rounded(part.median("healed_s")))
        .figure("healed_s_most", rounded(part.max("healed_s")))
        .figure("relieved_s", rounded(part.median("relieved_s")))
        .figure("acked", part.sum("acked"))
        .figure("lost", part.sum("lost"))
        .figure("stale", part.sum("stale"))
        .figure("violations", part.sum("violations"))
        .figure("unread", part.sum("unread"))
}
