//! `cargo xtask idle`: what a cluster costs that nobody uses.

use std::time::Duration;

use anyhow::{Context, Result};
use cairn_harness::clock::wait;

use crate::bench::server::{cpu_seconds, rss_bytes};
use crate::product;
use crate::verdict::Verdict;

/// Arguments of `cargo xtask idle`.
#[derive(clap::Args)]
pub struct Args {
    /// How long to look
    #[arg(long, default_value_t = 20)]
    seconds: u64,
}

/// Starts twelve processes, leaves them alone, and measures each; whether the bars hold.
///
/// # Errors
/// If the cluster does not start, or a process is gone.
pub fn run(args: &Args) -> Result<bool> {
    let programs = product::build_for_bench()?;
    let cluster = product::cluster(&programs, "idle", "xtask/clusters/idle.yaml")?;
    // What starting has left to do is not what idling costs.
    wait(Duration::from_secs(5));
    let mut pids = Vec::new();
    for node in cluster.nodes() {
        let pid = cluster.pid(&node.id)?.with_context(|| format!("{} does not run", node.id))?;
        let pid = u32::try_from(pid)?;
        pids.push((node.id.clone(), pid, cpu_seconds(pid)?));
    }
    wait(Duration::from_secs(args.seconds));
    let (mut rss_mib_max, mut cpu_percent_max) = (0.0_f64, 0.0_f64);
    for (name, pid, before) in &pids {
        let cpu = (cpu_seconds(*pid)? - before) / args.seconds as f64 * 100.0;
        let rss = rss_bytes(*pid)? as f64 / f64::from(1 << 20);
        println!("{name}: {rss:.1} MiB, {cpu:.2} % of a core");
        rss_mib_max = rss_mib_max.max(rss);
        cpu_percent_max = cpu_percent_max.max(cpu);
    }
    Verdict::new("idle")
        .count("processes", pids.len())
        .figure("rss_mib_max", rss_mib_max)
        .figure("cpu_percent_max", cpu_percent_max)
        .judge()
}
