//! The global plane against one etcd member: etcd's own load generator on both.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use cairn_harness::cluster::Cluster;

use super::report::{Row, finish};
use super::server::{Peer, Server, cpu_seconds};
use super::{Pace, scratch};
use crate::run::{command, read};
use crate::{product, setup};

/// One kind of write: arguments of the load generator, updates per request, and its rows.
struct Round {
    arguments: &'static [&'static str],
    updates_each: f64,
    requests: usize,
    rows: [(&'static str, &'static str); 2],
}

const PUT: Round = Round {
    arguments: &["put", "--key-size", "48", "--val-size", "256", "--key-space-size", "1000000"],
    updates_each: 1.0,
    requests: 40_000,
    rows: [
        ("g1", "G1 unary Put: op per second of the master's CPU"),
        ("g1_rate", "G1 unary Put: op/s"),
    ],
};

const TXN: Round = Round {
    arguments: &[
        "txn-put",
        "--txn-ops",
        "32",
        "--key-size",
        "48",
        "--val-size",
        "256",
        "--key-space-size",
        "1000000",
    ],
    updates_each: 32.0,
    requests: 6000,
    rows: [
        ("g2_cpu", "G2 Txn of 32 puts: updates per second of the master's CPU"),
        ("g2", "G2 Txn of 32 puts: updates/s"),
    ],
};

/// What one run of the load generator showed.
struct Measured {
    per_second: f64,
    per_cpu_second: f64,
}

/// Measures all rows; whether the bars hold.
///
/// # Errors
/// If a server fails.
pub fn run(pace: Pace) -> Result<bool> {
    let programs = product::build_for_bench()?;
    let tools = setup::etcd_folder()?;
    let folder = scratch()?;
    let mut rows = Vec::new();
    // Each side's ordinary keys are in the page cache when they count: the same durability.
    let peer = Peer::etcd(&tools.join("etcd"), &folder, false)?;
    let cluster = product::cluster(&programs, "bench-global", "xtask/clusters/replicated.yaml")?;
    let ours = master(&cluster)?;
    for round in [&PUT, &TXN] {
        let mut both = [
            Row::new(round.rows[0].0, round.rows[0].1, true),
            Row::new(round.rows[1].0, round.rows[1].1, true),
        ];
        for pair in 0..pace.pairs {
            let theirs = measure(&tools, round, pace, &peer.server)?;
            let mine = measure(&tools, round, pace, &ours)?;
            println!(
                "{} pair {}: etcd {:.0}/s, Cairn {:.0}/s",
                round.rows[0].0,
                pair + 1,
                theirs.per_second,
                mine.per_second
            );
            both[0].pairs.push((theirs.per_cpu_second, mine.per_cpu_second));
            both[1].pairs.push((theirs.per_second, mine.per_second));
        }
        rows.extend(both);
    }
    let version = read(&mut command(&tools.join("etcd").to_string_lossy(), ["--version"]))?;
    let version = version.lines().next().unwrap_or_default().to_owned();
    let notes = format!(
        "etcd: one member, `--unsafe-no-fsync`, which is the durability of Cairn's ordinary keys \
         (page cache, then a\nflush in the background). Cairn: global master with a synchronous \
         replica, so every write is in two\nprocesses before it counts; processor time is the \
         master's. 50 connections, 48 B keys, 256 B values.\nPeer: {version}."
    );
    finish("global-plane", "etcd", &notes, pace.quick, &rows)
}

fn master(cluster: &Cluster) -> Result<Server> {
    let name = cluster.status()?.global_master.context("there is no global master")?;
    let node = cluster.nodes().iter().find(|node| node.id == name);
    let address = node.context("the master is no node")?.etcd().parse()?;
    let pid = cluster.pid(&name)?.context("the master does not run")?;
    Ok(Server { address, pid: u32::try_from(pid)? })
}

fn measure(tools: &Path, round: &Round, pace: Pace, server: &Server) -> Result<Measured> {
    let requests = if pace.quick { round.requests / 4 } else { round.requests };
    let endpoint = format!("http://{}", server.address);
    let mut generator = command(&tools.join("benchmark").to_string_lossy(), round.arguments);
    generator.args(["--endpoints", &endpoint, "--conns", "50", "--clients", "50"]);
    generator.args(["--total", &requests.to_string()]);
    let cpu = cpu_seconds(server.pid)?;
    let text = read(&mut generator)?;
    let cpu = cpu_seconds(server.pid)? - cpu;
    ensure!(!text.contains("Error distribution"), "etcd's load generator saw errors:\n{text}");
    let rate = text.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    let rate: f64 = rate.context("no rate in the output")?.trim().parse()?;
    let updates = requests as f64 * round.updates_each;
    Ok(Measured { per_second: rate * round.updates_each, per_cpu_second: updates / cpu.max(0.01) })
}
