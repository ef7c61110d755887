//! `cargo xtask real-data`: the whole Debian package index through a stock cluster client, while
//! masters are killed; what is kept must equal the input, member by member.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use cairn_harness::fault::{Fault, inject};
use cairn_harness::history::Recorder;
use cairn_harness::pauses::Spread;
use cairn_harness::traffic::{Plan, Traffic};
use serde_json::Value;

use crate::run::{command, line_of, read};
use crate::verdict::Verdict;
use crate::{packages, product, setup};

/// Quiet between two kills.
const KILL_EVERY: Duration = Duration::from_secs(10);

/// Arguments of `cargo xtask real-data`.
#[derive(clap::Args)]
pub struct Args {
    /// Leave the cluster running at the end
    #[arg(long)]
    keep: bool,
}

/// Loads, kills, compares; whether all bars hold.
///
/// # Errors
/// If the cluster cannot be built or started, or the client fails.
pub fn run(args: &Args) -> Result<bool> {
    setup::run(&setup::Args::for_test())?;
    let programs = product::build()?;
    let mut cluster = product::cluster(&programs, "real-data", "xtask/clusters/faults.yaml")?;
    if args.keep {
        cluster.keep();
    }
    let index = cluster.folder().join("packages.txt");
    packages::write_index(&index)?;
    let script = |what: &str| {
        let mut python = command(&setup::python_program()?.to_string_lossy(), ["-u"]);
        python.arg("xtask/python/real_data.py").arg(what).arg(&index).args(cluster.seeds());
        anyhow::Ok(python)
    };
    let (mut load, mut compare) = (script("load")?, script("compare")?);
    // A little traffic beside it shows when writes go on again.
    let plan =
        Plan { clients: 2, rest: Duration::from_millis(20), ..Plan::new(&cluster.seeds(), 1) };
    let mut traffic = Traffic::start(plan, Recorder::in_memory());
    println!("$ {}", line_of(&load));
    let mut loader = load.stdin(Stdio::null()).spawn().context("cannot start python")?;
    let mut events = Vec::new();
    let mut range = 0;
    loop {
        wait(KILL_EVERY);
        if let Some(status) = loader.try_wait().context("cannot wait for python")? {
            ensure!(status.success(), "loading failed: {status}");
            break;
        }
        let fault = match range % 2 {
            0 => Fault::KillMaster { range: range / 2 % 2, alone: false },
            _ => Fault::LoseMaster { range: range / 2 % 2, alone: false },
        };
        range += 1;
        let event = inject(&mut cluster, &traffic, fault)?;
        println!("{fault:?} of {}: {} ms", event.victim, event.pause_us / 1000);
        events.push(event);
    }
    traffic.finish(Duration::from_secs(60));
    let text = read(&mut compare)?;
    println!("{}", text.trim_end());
    let answer: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let count = |key: &str| answer.get(key).and_then(Value::as_u64).context("a figure is missing");
    let equal = answer.get("input").is_some() && answer.get("input") == answer.get("kept");
    let pauses = Spread::of(events.iter().map(|event| event.pause_us).collect());
    let takeovers = events.iter().filter(|event| event.taken_over).count();
    let holds = Verdict::new("real-data")
        .count("packages", usize::try_from(count("packages")?)?)
        .count("members", usize::try_from(count("members")?)?)
        .count("different", usize::try_from(count("different")?)?)
        .count("digests_equal", usize::from(equal))
        .count("kills", events.len())
        .count("takeovers", takeovers)
        .figure("pause_ms_max", (pauses.max_us as f64 / 1000.0).round())
        .judge()?;
    Ok(holds && equal)
}
