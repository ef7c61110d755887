//! `cargo xtask traffic`: puts clients to work against any cluster, and judges what they saw.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_harness::checker::{Report, check};
use cairn_harness::clock::wait;
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};

/// Arguments of `cargo xtask traffic`.
#[derive(clap::Args)]
pub struct Args {
    /// Nodes to ask for the routes, `host:port`
    #[arg(required = true)]
    seeds: Vec<String>,
    /// How long to work
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// What the clients' choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also write every operation to this file, as JSON lines
    #[arg(long)]
    history: Option<PathBuf>,
}

/// Works, judges, prints the verdict; whether the history holds and every key was read at the end.
///
/// # Errors
/// If the history cannot be written.
pub fn run(args: &Args) -> Result<bool> {
    let recorder = match &args.history {
        Some(path) => Recorder::to_file(path).with_context(|| format!("cannot make {path:?}"))?,
        None => Recorder::in_memory(),
    };
    let mut traffic = Traffic::start(Plan::new(&args.seeds, args.seed), recorder);
    wait(Duration::from_secs(args.seconds));
    let (history, unread) = traffic.finish(Duration::from_secs(20));
    let report = check(&history);
    print_violations(&report);
    let gaps = traffic.pauses().all_gaps();
    println!(
        "traffic: operations={} acked={} unknown={} reads={} replica_reads={} violations={} \
         unread={unread} gap_us_p50={} gap_us_p99={} gap_us_max={}",
        report.operations,
        report.acknowledged,
        report.unknown,
        report.reads,
        report.replica_reads,
        report.violations.len(),
        gaps.p50_us,
        gaps.p99_us,
        gaps.max_us
    );
    Ok(report.violations.is_empty() && unread == 0 && report.acknowledged > 0)
}

/// Prints the first violations in full.
pub fn print_violations(report: &Report) {
    const SHOWN_MAX: usize = 10;
    report.violations.iter().take(SHOWN_MAX).for_each(|violation| println!("{violation}"));
    let more = report.violations.len().saturating_sub(SHOWN_MAX);
    if more > 0 {
        println!("… and {more} more violations");
    }
}
