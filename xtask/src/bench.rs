//! `cargo xtask bench`: ours against the best peer, in the same run, by turns.
//!
//! Ratios to a peer hold on any machine; absolute figures only on the one they were taken on.

mod checkpoint;
mod churn;
mod data_plane;
mod failover;
mod global_plane;
mod load;
mod picture;
mod report;
mod scheduling;
pub mod server;
mod spares;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;

use crate::run::{check, command};
use crate::setup;

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Two short pairs instead of five, and no page in docs/bench
    #[arg(long, global = true)]
    quick: bool,
    /// Run only rows whose key begins with this
    #[arg(long, global = true)]
    only: Option<String>,
}

#[derive(Subcommand)]
enum What {
    /// Group masters against Valkey
    DataPlane,
    /// The global plane against etcd
    GlobalPlane,
    /// Takeovers, handovers, stalls and blackouts, against Valkey and etcd
    Failover,
    /// Snapshots, starts from them, copies to new and returning members, big hashes and slots, and
    /// the directory's, against Valkey and etcd; parts for --only: s, f1, f2, big-hash, big-slot, g
    Checkpoint {
        /// How many keys of a group; absent: five million, or half a million if it is to be quick.
        /// The directory has twice as many, or 4 for 10 in a quick run
        #[arg(long)]
        keys: Option<u64>,
    },
    /// A member replaced by a spare, claims, a group added, slots moved under load, against
    /// Valkey's resharding; parts for --only: m1, k3, k4, k5
    Spares,
    /// A thousand busy clients with large keys, scripts and keys that end together, against Valkey:
    /// slowest requests, stalls of the data thread, memory at the end by that at the start; sides
    /// for --only: cairn, valkey
    Churn(churn::Args),
    /// One load on one server of any kind, to look at it
    Load(LoadArgs),
}

/// Arguments of `cargo xtask bench load`.
#[derive(clap::Args)]
struct LoadArgs {
    /// The server, `host:port`
    address: std::net::SocketAddr,
    /// Its process, for the processor time
    #[arg(long)]
    pid: u32,
    #[arg(long, default_value_t = 50)]
    connections: usize,
    #[arg(long, default_value_t = 16)]
    pipeline: usize,
    #[arg(long, default_value_t = 1_000_000)]
    keys: u64,
    #[arg(long, default_value_t = 64)]
    value_bytes: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    #[arg(long, value_enum, default_value = "get-set")]
    mix: load::Mix,
    /// First write every key once
    #[arg(long)]
    fill: bool,
    /// Pipelines sent per second at most, by all connections together [default: no bound]
    #[arg(long)]
    rate: Option<u64>,
}

/// How often and how long things are measured.
#[derive(Debug, Clone, Copy)]
struct Pace {
    pairs: usize,
    warm_up: Duration,
    time: Duration,
    keys: u64,
    quick: bool,
}

impl Pace {
    fn new(quick: bool) -> Self {
        let (pairs, seconds) = if quick { (2, 2) } else { (5, 4) };
        let (warm_up, time) = (Duration::from_millis(700), Duration::from_secs(seconds));
        Self { pairs, warm_up, time, keys: 1_000_000, quick }
    }
}

/// Runs a comparison; whether its bars hold.
///
/// # Errors
/// If a server cannot be started, fails, or answers errors.
pub fn run(args: &Args) -> Result<bool> {
    if cfg!(debug_assertions) {
        return optimized();
    }
    let pace = Pace::new(args.quick);
    let only = args.only.as_deref();
    let _alike = scheduling::Alike::begin();
    match &args.what {
        What::Load(load) => one_load(load),
        What::DataPlane => {
            setup::run(&setup::Args::for_bench())?;
            data_plane::run(pace, only)
        }
        What::GlobalPlane => {
            setup::run(&setup::Args::for_bench())?;
            global_plane::run(pace)
        }
        What::Checkpoint { keys } => {
            setup::run(&setup::Args::for_bench())?;
            checkpoint::run(args.quick, *keys, only)
        }
        What::Spares => {
            setup::run(&setup::Args::for_bench())?;
            spares::run(args.quick, only)
        }
        What::Churn(churn) => {
            setup::run(&setup::Args::for_bench())?;
            churn::run(churn, args.quick, only)
        }
        What::Failover => {
            setup::run(&setup::Args::default())?;
            failover::run(args.quick, only)
        }
    }
}

/// Runs this very command again from an optimized build: a slow generator measures itself.
fn optimized() -> Result<bool> {
    check(&mut command("cargo", ["build", "--quiet", "--profile", "fast", "-p", "xtask"]))?;
    let program = crate::product::target_folder().join("fast/xtask");
    let mut again = command(&program.to_string_lossy(), std::env::args_os().skip(1));
    Ok(again.status().context("cannot run the optimized build")?.success())
}

fn one_load(args: &LoadArgs) -> Result<bool> {
    let server = server::Server { address: args.address, pid: args.pid };
    if args.fill {
        server.fill(args.keys, args.value_bytes)?;
    }
    let load = load::Load {
        address: args.address,
        connections: args.connections,
        pipeline: args.pipeline,
        mix: args.mix,
        keys: args.keys,
        value_bytes: args.value_bytes,
        fill: false,
        batches_per_second: args.rate,
    };
    let time = Duration::from_secs(args.seconds);
    let measured = server.measure(&load, Duration::from_millis(700), time)?;
    println!(
        "load: per_second={:.0} cpu_us={:.2} p50_us={:.0} p99_us={:.0}",
        measured.per_second, measured.cpu_us, measured.p50_us, measured.p99_us
    );
    Ok(true)
}

/// An empty folder for the peers' files.
fn scratch() -> Result<PathBuf> {
    let folder = crate::product::target_folder().join("clusters/peers");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
    Ok(folder)
}
