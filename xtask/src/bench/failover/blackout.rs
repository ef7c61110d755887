//! G8: the whole global plane is gone for long; groups go on, and nothing is lost on its return.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use cairn_harness::checker::check;
use cairn_harness::clock::wait;
use cairn_harness::cluster::{Cluster, Role};
use cairn_harness::history::{Operation, Outcome, Recorder};
use cairn_harness::traffic::{GIVEN_UP, Plan, Traffic};
use cairn_harness::watch::Ledger;

use super::page::{Section, ms};
use super::side::wait_whole;
use crate::product;
use crate::traffic::print_violations;
use crate::verdict::Verdict;

/// Between two looks at what the nodes say.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// For how long is looked after the return.
const AFTER: Duration = Duration::from_secs(20);
/// A plane that stands still is back after this part of the time for which one was dead.
const FROZEN_PART: u32 = 10;

/// How the global nodes and acceptors are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Killed,
    Frozen,
}

/// What one blackout came to.
#[derive(Debug, Default)]
struct Tally {
    seconds: u64,
    writes: usize,
    reads: usize,
    errors: usize,
    gap_us: u64,
    /// What the errors said, and how often.
    said: BTreeMap<String, usize>,
}

/// Kills the global plane for `time`, later stops it in its tracks for a tenth of it; what is for
/// the page, and the verdict.
///
/// # Errors
/// If the cluster does not start, or does not become whole again.
pub fn run(programs: &Path, time: Duration) -> Result<(Section, Verdict)> {
    let cluster = product::cluster(programs, "bench-blackout", "xtask/clusters/faults.yaml")?;
    let before = masters(&cluster)?;
    let mut plan = Plan::new(&cluster.seeds(), 8);
    // Half an hour of operations is kept in memory.
    plan.rest = Duration::from_millis(25);
    // On the plane's return a change of members may begin another epoch.
    plan.watches_fail = true;
    let mut traffic = Traffic::start(plan, Recorder::in_memory());
    let mut ledger = Ledger::default();
    wait(Duration::from_secs(2));
    let ways = [(Way::Killed, time), (Way::Frozen, time / FROZEN_PART)];
    let mut spans = Vec::new();
    for (way, time) in ways {
        let from_us = traffic.now_us();
        go_dark(&cluster, way)?;
        println!("the global plane is {way:?} for {} s", time.as_secs());
        look_on(&cluster, &mut ledger, time);
        let until_us = traffic.now_us();
        come_back(&cluster, way)?;
        wait_whole(&cluster)?;
        look_on(&cluster, &mut ledger, AFTER);
        spans.push((way, from_us, until_us));
    }
    let changed = masters(&cluster)?.iter().zip(&before).filter(|(now, was)| now != was).count();
    let (history, unread) = traffic.finish(Duration::from_secs(60));
    let report = check(&history);
    print_violations(&report);
    ledger.violations().iter().for_each(|violation| println!("{violation}"));
    let tallies: Vec<(Way, Tally)> = spans
        .into_iter()
        .map(|(way, from_us, until_us)| {
            let longest = |range| traffic.pauses().longest(range, from_us, until_us);
            let gap_us = (0..before.len()).filter_map(longest).max().unwrap_or(u64::MAX);
            let tally = Tally { gap_us, ..tally(&history, from_us, until_us) };
            tally.said.iter().for_each(|(what, times)| println!("{way:?}: {times} x {what}"));
            (way, tally)
        })
        .collect();
    let sum = |pick: fn(&Tally) -> usize| tallies.iter().map(|(_, tally)| pick(tally)).sum();
    let masters = ledger.violations().len();
    let verdict = Verdict::new("bench-failover-g8")
        .count("seconds", usize::try_from(time.as_secs())?)
        .count("writes", sum(|tally| tally.writes))
        .count("reads", sum(|tally| tally.reads))
        .count("errors", sum(|tally| tally.errors))
        .count("double_masters", masters)
        .count("changed_masters", changed)
        .count("lost", report.lost())
        .count("stale", report.stale())
        .count("violations", report.violations.len())
        .count("unread", unread)
        .count("looks", ledger.looks());
    Ok((section(&tallies, report.lost(), masters), verdict))
}

fn section(tallies: &[(Way, Tally)], lost: usize, masters: usize) -> Section {
    let head = ["global plane", "seconds", "writes", "reads", "errors", "longest gap"];
    let mut grid = vec![head.map(str::to_owned).to_vec()];
    for (way, tally) in tallies {
        let counts = [tally.writes, tally.reads, tally.errors].map(|count| count.to_string());
        let mut cells = vec![format!("{way:?}").to_lowercase(), tally.seconds.to_string()];
        cells.extend(counts);
        cells.push(format!("{:.1} ms", ms(tally.gap_us)));
        grid.push(cells);
    }
    let notes = format!(
        "All global nodes and the acceptor are killed (SIGKILL, and stay down), later stopped \
         (SIGSTOP), and return; eight\nclients and two readers use two groups of three all the \
         while. Writes and reads are those answered during the\noutage, errors those that were \
         not; the gap is the longest between two acknowledged writes of a group. Over\nboth \
         outages and the returns: {lost} acknowledged writes lost, {masters} double masters seen.\n\
         Without the Kubernetes API: stories of `cargo xtask e2e`."
    );
    Section { key: "G8", title: "the global plane is gone", grid, notes }
}

/// Counts what was asked between two moments.
fn tally(history: &[Operation], from_us: u64, until_us: u64) -> Tally {
    let mut tally = Tally { seconds: (until_us - from_us) / 1_000_000, ..Tally::default() };
    let during = |op: &&Operation| op.called_us >= from_us && op.returned_us <= until_us;
    for operation in history.iter().filter(during) {
        if matches!(&operation.outcome, Outcome::Failed(why) if why == GIVEN_UP) {
            // The answer to a transaction whose watched key was touched.
            continue;
        }
        match (operation.reply().is_some(), operation.action.is_read()) {
            (false, _) => {
                tally.errors += 1;
                *tally.said.entry(words(&operation.outcome)).or_default() += 1;
            }
            (true, true) => tally.reads += 1,
            (true, false) => tally.writes += 1,
        }
    }
    tally
}

/// An error without the addresses in it, so that those that are alike count together.
fn words(outcome: &Outcome) -> String {
    let (kind, text) = match outcome {
        Outcome::Ok(_) => return "answered".to_owned(),
        Outcome::Failed(text) => ("failed", text),
        Outcome::Unknown(text) => ("unknown", text),
    };
    let plain = |word: &&str| !word.starts_with("127.0.0.1:");
    let text: Vec<&str> = text.split_whitespace().filter(plain).collect();
    format!("{kind}: {}", text.join(" "))
}

/// The master of each group.
fn masters(cluster: &Cluster) -> Result<Vec<Option<String>>> {
    let groups = cluster.wait_groups().context("clients are not told a master of each slot")?;
    Ok(groups.into_iter().map(|group| group.master).collect())
}

fn plane(cluster: &Cluster) -> impl Iterator<Item = &str> {
    let nodes = cluster.nodes().iter().filter(|node| node.role != Role::Data);
    nodes.map(|node| node.id.as_str())
}

fn go_dark(cluster: &Cluster, way: Way) -> Result<()> {
    plane(cluster).try_for_each(|node| match way {
        Way::Killed => Ok(cluster.kill(node, true)?),
        Way::Frozen => Ok(cluster.freeze(node)?),
    })
}

fn come_back(cluster: &Cluster, way: Way) -> Result<()> {
    plane(cluster).try_for_each(|node| match way {
        Way::Killed => Ok(cluster.start(node)?),
        Way::Frozen => Ok(cluster.thaw(node)?),
    })
}

fn look_on(cluster: &Cluster, ledger: &mut Ledger, time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        if let Ok(status) = cluster.status() {
            ledger.see(&status);
        }
        wait(LOOK_EVERY.min(until.saturating_duration_since(Instant::now())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_harness::history::{Action, Reply};

    #[test]
    fn only_what_was_asked_during_the_outage_counts() {
        let operation = |called_us, action, outcome| Operation {
            client: 1,
            connection: 1,
            readonly: false,
            key: "k".into(),
            action,
            called_us,
            returned_us: called_us + 5,
            outcome,
        };
        let history = [
            operation(10, Action::Get, Outcome::Failed("early".into())),
            operation(110, Action::Get, Outcome::Ok(Reply::Value(None))),
            operation(120, Action::Add { by: 1 }, Outcome::Ok(Reply::Number(1))),
            operation(130, Action::Add { by: 1 }, Outcome::Unknown("127.0.0.1:7: silence".into())),
            operation(140, Action::Add { by: 1 }, Outcome::Failed(GIVEN_UP.into())),
            operation(198, Action::Add { by: 1 }, Outcome::Ok(Reply::Number(2))),
        ];
        let tally = tally(&history, 100, 200);
        assert_eq!((tally.writes, tally.reads, tally.errors), (1, 1, 1));
        assert_eq!(tally.said.into_iter().collect::<Vec<_>>(), [("unknown: silence".into(), 1)]);
    }
}
