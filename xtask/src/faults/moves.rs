//! Slots move between the groups of a real cluster under traffic while masters fail in the middle.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use cairn_harness::checker::check;
use cairn_harness::clock::wait;
use cairn_harness::cluster::Cluster;
use cairn_harness::history::{Operation, Recorder};
use cairn_harness::moves::{Hit, Moved, disturb, schedule};
use cairn_harness::pauses::Spread;
use cairn_harness::traffic::{Plan, Traffic};

use super::judged::{Ends, ends, pauses_us};
use super::kept;
use crate::product;
use crate::traffic::print_violations;
use crate::verdict::Verdict;

/// The keyspace of the resources.
const KEYSPACE: &str = "orders";
/// Keys of each kind: of each there are some in every quarter of the slots.
const KEYS: u64 = 24;
/// How long some transactions are held open: about as long as a part of the slots is on its way.
const OPEN: Duration = Duration::from_millis(30);

/// What is to be done.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// How many moves.
    pub count: usize,
    /// Quiet between two of them.
    pub gap: Duration,
    /// What order, victims and moments follow from.
    pub seed: u64,
    /// Whether the cluster is left running.
    pub keep: bool,
}

/// Moves slots and judges the clients' histories, the slots and the copies; whether all bars hold.
///
/// # Errors
/// If the cluster does not start, or cannot be looked at in the end.
pub fn run(programs: &Path, wanted: Wanted) -> Result<bool> {
    let cluster = product::cluster(programs, "faults-moves", "xtask/clusters/faults.yaml")?;
    if wanted.keep {
        cluster.keep();
    }
    // Only what is asked for here may move.
    cluster.cairn(["rebalance", KEYSPACE, "--pause"])?;
    kept::write(&cluster.seeds())?;
    let recorder = Recorder::to_file(&cluster.folder().join("history.jsonl"))?;
    let plan = Plan::new(&cluster.seeds(), wanted.seed);
    let plan = Plan { keys: KEYS, several: true, open: OPEN, watches_fail: true, ..plan };
    let mut traffic = Traffic::start(plan, recorder);
    wait(Duration::from_secs(2));
    let (moves, whole) = disturb_all(&cluster, &traffic, wanted);
    wait(Duration::from_secs(2));
    let (history, unread) = traffic.finish(Duration::from_secs(60));
    let seen = look(&cluster, unread).and_then(|seen| judge(&moves, &history, &seen));
    let holds = whole && seen.as_ref().is_ok_and(|holds| *holds);
    if !holds {
        cluster.keep();
        println!("the cluster was left running in {}", cluster.folder().display());
    }
    seen.map(|_| holds)
}

/// The moves that ended, and whether that is all of them.
fn disturb_all(cluster: &Cluster, traffic: &Traffic, wanted: Wanted) -> (Vec<Moved>, bool) {
    let mut moves = Vec::new();
    for (number, asked) in schedule(wanted.seed, wanted.count).into_iter().enumerate() {
        match disturb(cluster, traffic, KEYSPACE, asked) {
            Ok(moved) => {
                print(number, &moved);
                moves.push(moved);
            }
            Err(error) => {
                println!("move {} with {asked:?}: {error}", number + 1);
                return (moves, false);
            }
        }
        wait(wanted.gap);
    }
    (moves, true)
}

fn print(number: usize, it: &Moved) {
    let how = match it.asked.freeze {
        Some(time) => format!("stood still for {} ms", time.as_millis()),
        None => "killed".to_owned(),
    };
    println!(
        "move {}: {}-{} from {} to {}, {} {how} after {} slots, {}; {:.1} s",
        number + 1,
        it.slots.0,
        it.slots.1,
        it.source,
        it.target,
        it.victims.join(" and "),
        it.moved,
        if it.under_way > 0 { "in the middle" } else { "too late" },
        it.took.as_secs_f64()
    );
}

/// What was found besides the history.
struct Seen {
    ends: Ends,
    unread: usize,
    kept_lost: usize,
    kept_twice: usize,
}

fn look(cluster: &Cluster, unread: usize) -> Result<Seen> {
    let ends = ends(cluster, KEYSPACE)?;
    let kept_lost = kept::lost(&cluster.seeds());
    Ok(Seen { ends, unread, kept_lost, kept_twice: kept::twice(cluster)? })
}

fn judge(moves: &[Moved], history: &[Operation], seen: &Seen) -> Result<bool> {
    let report = check(history);
    print_violations(&report);
    let hits = |hit: Hit| moves.iter().filter(|it| it.asked.hit == hit).count();
    let frozen = moves.iter().filter(|it| it.asked.freeze.is_some()).count();
    let in_middle = moves.iter().filter(|it| it.under_way > 0).count();
    let slots: usize = moves.iter().map(|it| usize::from(it.slots.1 - it.slots.0) + 1).sum();
    let pauses = Spread::of(pauses_us(history, moves));
    let took = Spread::of(moves.iter().map(|it| it.took.as_micros() as u64).collect());
    let ms = |us: u64| (us as f64 / 1000.0).round();
    Verdict::new("faults-moves")
        .count("moves", moves.len())
        .count("slots", slots)
        .count("source", hits(Hit::Source))
        .count("target", hits(Hit::Target))
        .count("both", hits(Hit::Both))
        .count("global", hits(Hit::Global))
        .count("frozen", frozen)
        .count("in_middle", in_middle)
        .figure("in_middle_percent", 100.0 * in_middle as f64 / moves.len() as f64)
        .count("operations", report.operations)
        .count("acked", report.acknowledged)
        .count("unknown", report.unknown)
        .count("transactions", report.transactions)
        .count("replica_reads", report.replica_reads)
        .count("lost", report.lost())
        .count("stale", report.stale())
        .count("violations", report.violations.len())
        .count("unread", seen.unread)
        .count("kept", kept::KEYS)
        .count("kept_lost", seen.kept_lost)
        .count("kept_twice", seen.kept_twice)
        .count("slots_wrong", seen.ends.slots_wrong)
        .count("moves_left", seen.ends.moves_left)
        .count("different", seen.ends.different)
        .figure("move_ms_p50", ms(took.p50_us))
        .figure("move_ms_max", ms(took.max_us))
        .figure("pause_ms_p50", ms(pauses.p50_us))
        .figure("pause_ms_p99", ms(pauses.p99_us))
        .figure("pause_ms_max", ms(pauses.max_us))
        .judge()
}
