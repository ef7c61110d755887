//! `cargo xtask chaos`: real nodes in network namespaces under random faults; nothing may be lost.
//!
//! [`schedule`] says what happens when, [`act`] does it, [`network`] and [`layer`] are its hands,
//! [`campaign`] is the loop around them, [`results`] and [`page`] keep what was found.

mod act;
mod campaign;
mod filler;
pub mod layer;
mod machine;
mod network;
mod page;
mod results;
mod schedule;
mod snapshots;
mod stage;

use anyhow::{Context, Result};
use cairn_harness::pauses::Spread;

use crate::product;
use crate::verdict::Verdict;
use campaign::Campaign;
use results::Results;
use schedule::Scope;

/// Arguments of `cargo xtask chaos`.
#[derive(clap::Args)]
pub struct Args {
    /// How long to go on, in minutes
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// What faults, targets and the clients' choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Go on after the last fault of an earlier run with this seed
    #[arg(long)]
    resume: bool,
    /// No more than so many steps
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    steps: u64,
    /// Begin with this step, to see one again
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Only stalls that may take no mastership away: all nodes stopped for 5 s, a network without
    /// packets for 45 s, slow disks, a node that hardly runs, wrong clocks
    #[arg(long)]
    stalls_only: bool,
    /// Only what happens around snapshots: their writers, fetchers, senders and files
    #[arg(long, conflicts_with = "stalls_only")]
    snapshots_only: bool,
    /// Nodes as they are released: no faults of disks and clocks
    #[arg(long)]
    no_layer: bool,
    /// Print the schedule and do nothing
    #[arg(long)]
    list: bool,
}

impl Args {
    fn scope(&self) -> Scope {
        let (groups, nodes) = (stage::GROUPS, u32::from(stage::NODES));
        let (stalls_only, snapshots_only) = (self.stalls_only, self.snapshots_only);
        Scope { groups, nodes, layer: !self.no_layer, stalls_only, snapshots_only }
    }

    fn name(&self) -> &'static str {
        if self.stalls_only { "chaos-stalls" } else { "chaos" }
    }
}

/// Runs a campaign and judges it; whether all bars hold.
///
/// # Errors
/// If this is not root, the cluster cannot be built or started, or results cannot be written.
pub fn run(args: &Args) -> Result<bool> {
    if args.list {
        for number in args.from..args.from.saturating_add(args.steps.min(100)) {
            println!("{:?}", schedule::step(args.seed, number, args.scope()));
        }
        return Ok(true);
    }
    let folder = product::target_folder().join("chaos");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
    let part = if args.snapshots_only { "-snapshots" } else { "" };
    let stem = format!("{}{part}-seed-{}", args.name(), args.seed);
    let mut results = Results::open(&folder.join(format!("{stem}.jsonl")), args.resume)?;
    let programs = if args.no_layer { product::build()? } else { product::build_fault_disk()? };
    let stage = stage::Stage::set(&programs, &folder.join("cluster"))?;
    println!("slow links are made by {}", stage.field.network.slowness());
    let outcome = Campaign::new(&stage, args, &mut results).run();
    if let Err(error) = &outcome {
        println!("the campaign ends early: {error:#}");
        stage.keep();
    }
    print_kinds(&results);
    let verdict = verdict(args.name(), &results, outcome.is_err());
    let path = folder.join(format!("{stem}.html"));
    std::fs::write(&path, page::page(&results, args.seed, &verdict.to_string()))
        .with_context(|| format!("cannot write {path:?}"))?;
    println!("results: {}", path.with_extension("jsonl").display());
    println!("page: {}", path.display());
    verdict.judge()
}

fn print_kinds(results: &Results) {
    println!("{:24} {:>5} {:>8} {:>8} {:>8}", "pauses, ms", "n", "p50", "p99", "max");
    for (kind, spread) in results.by_kind() {
        let [p50, p99, max] = ms(spread);
        println!("{kind:24} {:>5} {p50:>8} {p99:>8} {max:>8}", spread.count);
    }
}

fn ms(spread: Spread) -> [u64; 3] {
    [spread.p50_us, spread.p99_us, spread.max_us].map(|us| us / 1000)
}

fn verdict(name: &str, results: &Results, failed: bool) -> Verdict {
    let total = results.total();
    let count = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let [p50, p99, max] = ms(results.pauses()).map(|ms| ms as f64);
    Verdict::new(name)
        .count("faults", results.faults.len())
        .count("acked", count(total.acked))
        .count("unknown", count(total.unknown))
        .count("directory_acked", count(total.directory_acked))
        .count("leases", count(total.leases))
        .count("locks", count(total.locks))
        .count("lost", count(total.lost))
        .count("stale", count(total.stale))
        .count("violations", count(total.violations))
        .count("unread", count(total.unread))
        .count("ended_early", usize::from(failed))
        .count("snapshots", count(total.snapshots))
        .count("fronts", count(total.fronts))
        .count("fetches", count(total.fetches))
        .count("set_aside", count(total.set_aside))
        .count("takeovers", count(total.takeovers))
        .count("false_takeovers", count(total.false_takeovers))
        .count("starved", count(total.starved))
        .count("machine_stall_ms_max", count(total.stall_ms))
        .figure("pause_ms_p50", p50)
        .figure("pause_ms_p99", p99)
        .figure("pause_ms_max", max)
}
