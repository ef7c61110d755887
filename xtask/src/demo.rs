//! `cargo xtask demo`: the main job in two minutes. A cluster from custom resources takes real
//! data and traffic, loses masters meanwhile, and nothing that was acknowledged is gone.

use std::time::Duration;

use anyhow::{Context, Result};
use cairn_harness::checker::check;
use cairn_harness::clock::wait;
use cairn_harness::fault::{Fault, inject};
use cairn_harness::history::Recorder;
use cairn_harness::pauses::Spread;
use cairn_harness::traffic::{Plan, Traffic};

use crate::traffic::print_violations;
use crate::verdict::Verdict;
use crate::{packages, product};

/// The custom resources of the demonstration.
const RESOURCES: &str = "samples/local.yaml";

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub struct Args {
    /// How many packages of the Debian index to load
    #[arg(long, default_value_t = 4000)]
    packages: usize,
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// Runs the demonstration; whether nothing was lost and every takeover happened.
///
/// # Errors
/// If the cluster cannot be built or started, or does not recover from a kill in time.
pub fn run(args: &Args) -> Result<bool> {
    let programs = product::build()?;
    let mut cluster = product::cluster(&programs, "demo", RESOURCES)?;
    if args.keep {
        cluster.keep();
    }
    println!("{}", cluster.cairn(["status"])?);
    let index = cluster.folder().join("packages.txt");
    packages::write_index(&index)?;
    let packages = packages::read_index(&index, args.packages)?;
    let seeds = cluster.seeds();
    let mut traffic = Traffic::start(Plan::new(&seeds, 1), Recorder::in_memory());
    println!("8 clients write counters, lists and registers and read them back");
    let count = packages.len();
    println!("a ninth one loads {count} Debian packages as hashes");
    let loader = std::thread::spawn({
        let (packages, seeds) = (packages.clone(), seeds.clone());
        move || packages::load(&packages, &seeds)
    });
    wait(Duration::from_secs(2));
    let faults = [
        Fault::KillMaster { range: 0, alone: false },
        Fault::LoseMaster { range: 1, alone: false },
        Fault::KillGlobal,
        Fault::LoseMaster { range: 0, alone: false },
    ];
    let mut events = Vec::new();
    for fault in faults {
        println!("now: {fault:?}");
        let event = inject(&mut cluster, &traffic, fault)?;
        let paused_ms = event.pause_us / 1000;
        println!("  killed {}; writes paused for {paused_ms} ms at most", event.victim);
        events.push(event);
    }
    let unwritten = loader.join().ok().context("the loader panicked")?;
    let (history, unread) = traffic.finish(Duration::from_secs(60));
    println!("{}", cluster.cairn(["status"])?);
    let different = packages::different(&packages, &seeds);
    println!("{different} of {count} packages differ from the input, {unwritten} were not taken");
    let report = check(&history);
    print_violations(&report);
    println!("{} operations, of which {} reads", report.operations, report.reads);
    let pauses = Spread::of(events.iter().map(|event| event.pause_us).collect());
    let takeovers = events.iter().filter(|event| event.taken_over).count();
    let lost = report.violations.len() + different + unwritten + unread;
    Verdict::new("demo")
        .count("acked", report.acknowledged + count - unwritten)
        .count("lost", lost)
        .count("takeovers", takeovers)
        .figure("pause_ms_p50", (pauses.p50_us as f64 / 1000.0).round())
        .figure("pause_ms_max", (pauses.max_us as f64 / 1000.0).round())
        .judge()
}
