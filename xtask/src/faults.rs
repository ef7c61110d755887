//! `cargo xtask faults`: masters of real clusters are killed under traffic, with `--moves` while
//! slots change hands; nothing may be lost.

mod judged;
mod kept;
mod moves;

use std::time::Duration;

use anyhow::Result;
use cairn_harness::checker::check;
use cairn_harness::clock::wait;
use cairn_harness::fault::{Counts, Event, inject, schedule};
use cairn_harness::history::{Operation, Recorder};
use cairn_harness::pauses::Spread;
use cairn_harness::traffic::{Plan, Traffic};
use clap::ValueEnum;

use crate::product;
use crate::traffic::print_violations;
use crate::verdict::Verdict;

/// Arguments of `cargo xtask faults`.
#[derive(clap::Args)]
pub struct Args {
    /// How many group masters are killed; half of them lose their folder
    #[arg(long, default_value_t = 20)]
    masters: usize,
    /// How often the global master is killed; half of the times it loses its folder
    #[arg(long, default_value_t = 5)]
    globals: usize,
    /// How many group masters are stopped in their tracks for 1 to 10 seconds
    #[arg(long, default_value_t = 0)]
    freezes: usize,
    /// Quiet between two faults, in milliseconds
    #[arg(long, default_value_t = 300)]
    gap_ms: u64,
    /// What order and targets follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often a quarter of the slots moves to the other group, instead of all the above; each
    /// time the master of its source, its target, both or the global plane is killed in the middle,
    /// or one of the groups' is stopped in its tracks
    #[arg(long, conflicts_with_all = ["masters", "globals", "freezes", "quick", "without"])]
    moves: Option<usize>,
    /// A few faults only, with bars of their own
    #[arg(long)]
    quick: bool,
    /// Run nodes that break a rule on purpose, with at least six freezes; succeeds only if the
    /// clients notice
    #[arg(long, value_enum)]
    without: Option<Rule>,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// A rule that a node built with the feature `mutants` breaks, told by `CAIRN_WITHOUT`.
#[derive(Clone, Copy, ValueEnum)]
enum Rule {
    /// Writes are answered when they are appended, not when they are committed
    AckWait,
    /// Reads are answered at once, also if they saw what is not committed
    ReadWait,
}

impl Rule {
    fn name(self) -> &'static str {
        match self {
            Self::AckWait => "ack-wait",
            Self::ReadWait => "read-wait",
        }
    }
}

/// Runs the faults and judges the clients' histories; whether all bars hold.
///
/// # Errors
/// If the cluster cannot be built or started, or does not recover from a fault in time.
pub fn run(args: &Args) -> Result<bool> {
    let Some(count) = args.moves else { return kills(args) };
    let gap = Duration::from_millis(args.gap_ms);
    let wanted = moves::Wanted { count, gap, seed: args.seed, keep: args.keep };
    moves::run(&product::build()?, wanted)
}

fn kills(args: &Args) -> Result<bool> {
    let programs = match args.without {
        Some(_) => product::build_mutants()?,
        None => product::build()?,
    };
    let broken = args.without.map(|rule| ("CAIRN_WITHOUT", rule.name()));
    let resources = "xtask/clusters/faults.yaml";
    let mut cluster = product::cluster_with(&programs, "faults", resources, broken)?;
    if args.keep {
        cluster.keep();
    }
    let ranges = cluster.groups().map_or(0, |groups| groups.len());
    let counts = match args.quick {
        true => Counts { masters: 4, globals: 1, freezes: 1 },
        false => Counts { masters: args.masters, globals: args.globals, freezes: args.freezes },
    };
    // A master that was thought dead and answers again is where a missing check shows most.
    let freezes = if args.without.is_some() { counts.freezes.max(6) } else { counts.freezes };
    let counts = Counts { freezes, ..counts };
    let history = cluster.folder().join("history.jsonl");
    let recorder = Recorder::to_file(&history)?;
    let mut plan = Plan::new(&cluster.seeds(), args.seed);
    if args.without.is_some() {
        // What a broken rule loses was under way at the moment of a kill: keep much under way.
        plan.rest = Duration::ZERO;
    }
    let mut traffic = Traffic::start(plan, recorder);
    wait(Duration::from_secs(2));
    let mut events = Vec::new();
    let mut failure = None;
    for fault in schedule(args.seed, ranges, counts) {
        match inject(&mut cluster, &traffic, fault) {
            Ok(event) => {
                print(&event);
                events.push(event);
            }
            Err(error) => {
                println!("{error}");
                failure = Some(error);
                break;
            }
        }
        wait(Duration::from_millis(args.gap_ms));
    }
    wait(Duration::from_secs(2));
    let (history, unread) = traffic.finish(Duration::from_secs(60));
    if let Some(rule) = args.without {
        let report = check(&history);
        print_violations(&report);
        return Verdict::new("faults-without")
            .count("faults", events.len())
            .count("acked", report.acknowledged)
            .count(&format!("found_without_{}", rule.name()), report.violations.len())
            .count("found", report.violations.len())
            .judge();
    }
    let name = if args.quick { "faults-quick" } else { "faults" };
    let holds = judge(name, &events, &history, unread, traffic.pauses().all_gaps())?;
    if failure.is_some() {
        cluster.keep();
        println!("the cluster was left running in {}", cluster.folder().display());
    }
    Ok(holds && failure.is_none())
}

fn print(event: &Event) {
    println!(
        "{:?} of {}: writes paused {} ms, {} epochs until whole",
        event.fault,
        event.victim,
        event.pause_us / 1000,
        event.epochs
    );
    if let Some(why) = &event.why {
        println!("cairn why says:\n{why}");
    }
}

fn judge(
    name: &str,
    events: &[Event],
    history: &[Operation],
    unread: usize,
    gaps: Spread,
) -> Result<bool> {
    let report = check(history);
    print_violations(&report);
    let last_us = events.iter().map(|event| event.at_us).max().unwrap_or(u64::MAX);
    let reads_after = history
        .iter()
        .filter(|op| op.action.is_read() && op.reply().is_some() && op.called_us > last_us)
        .count();
    let pauses = Spread::of(events.iter().map(|event| event.pause_us).collect());
    let takeovers = events.iter().filter(|event| event.taken_over).count();
    let missed = events.len() - takeovers;
    println!("all gaps between acknowledgements: {gaps}");
    let ms = |us: u64| us as f64 / 1000.0;
    Verdict::new(name)
        .count("faults", events.len())
        .count("takeovers", takeovers)
        .count("missed_takeovers", missed)
        .count("operations", report.operations)
        .count("acked", report.acknowledged)
        .count("unknown", report.unknown)
        .count("lost", report.lost())
        .count("stale", report.stale())
        .count("violations", report.violations.len())
        .count("unread", unread)
        .count("reads_after", reads_after)
        .count("transactions", report.transactions)
        .count("replica_reads", report.replica_reads)
        .figure("pause_ms_p50", ms(pauses.p50_us).round())
        .figure("pause_ms_p99", ms(pauses.p99_us).round())
        .figure("pause_ms_max", ms(pauses.max_us).round())
        .judge()
}
