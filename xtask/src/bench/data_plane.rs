//! Group masters against Valkey: processor time and throughput alone, and with a replica.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use cairn_harness::cluster::Cluster;

use super::load::{Load, Mix};
use super::report::{Row, finish};
use super::server::{Measured, Peer, Server, rss_bytes};
use super::{Pace, scratch};
use crate::product;
use crate::run::{command, read};

const VALUE_BYTES: usize = 64;
const CONNECTIONS: usize = 50;
/// With fewer keys, what tables have in reserve counts for too much, also in a quick run.
const MEMORY_KEYS: u64 = 5_000_000;

/// A load, and the rows that its figures go to.
struct Round {
    mix: (Mix, Mix),
    pipeline: usize,
    rows: &'static [(&'static str, &'static str, Figure)],
}

/// Which figure of a measurement a row takes.
#[derive(Clone, Copy)]
enum Figure {
    PerSecond,
    CpuUs,
    P99Us,
}

impl Figure {
    fn of(self, measured: &Measured) -> f64 {
        match self {
            Self::PerSecond => measured.per_second,
            Self::CpuUs => measured.cpu_us,
            Self::P99Us => measured.p99_us,
        }
    }
}

const ALONE: [Round; 10] = [
    Round {
        mix: (Mix::GetSet, Mix::GetSet),
        pipeline: 1,
        rows: &[
            ("p1_cpu", "P1 GET+SET, no pipeline: server us of CPU per op", Figure::CpuUs),
            ("p1", "P1 GET+SET, no pipeline: op/s", Figure::PerSecond),
        ],
    },
    Round {
        mix: (Mix::Get, Mix::Get),
        pipeline: 16,
        rows: &[
            ("p3_get_16", "P3 GET, pipeline 16: op/s", Figure::PerSecond),
            ("p3_get_16_cpu", "P3 GET, pipeline 16: server us of CPU per op", Figure::CpuUs),
        ],
    },
    Round {
        mix: (Mix::Set, Mix::Set),
        pipeline: 16,
        rows: &[
            ("p3_set_16", "P3 SET, pipeline 16: op/s", Figure::PerSecond),
            ("p3_set_16_cpu", "P3 SET, pipeline 16: server us of CPU per op", Figure::CpuUs),
        ],
    },
    Round {
        mix: (Mix::Get, Mix::Get),
        pipeline: 64,
        rows: &[("p4_get_64", "P4 GET, pipeline 64: op/s", Figure::PerSecond)],
    },
    Round {
        mix: (Mix::Set, Mix::Set),
        pipeline: 64,
        rows: &[("p4_set_64", "P4 SET, pipeline 64: op/s", Figure::PerSecond)],
    },
    Round {
        mix: (Mix::ZAdd, Mix::ZAdd),
        pipeline: 16,
        rows: &[("p5_zadd", "P5 ZADD, pipeline 16: op/s", Figure::PerSecond)],
    },
    Round {
        mix: (Mix::HashSet, Mix::HashSet),
        pipeline: 16,
        rows: &[("p5_hset", "P5 HSET, pipeline 16: op/s", Figure::PerSecond)],
    },
    Round {
        mix: (Mix::LPush, Mix::LPush),
        pipeline: 16,
        rows: &[("p5_lpush", "P5 LPUSH, pipeline 16: op/s", Figure::PerSecond)],
    },
    Round {
        mix: (Mix::SAdd, Mix::SAdd),
        pipeline: 16,
        rows: &[("p5_sadd", "P5 SADD, pipeline 16: op/s", Figure::PerSecond)],
    },
    Round {
        mix: (Mix::Incr, Mix::Incr),
        pipeline: 16,
        rows: &[("p5_incr", "P5 INCR, pipeline 16: op/s", Figure::PerSecond)],
    },
];

const REPLICATED: [Round; 2] = [
    Round {
        mix: (Mix::SetWait, Mix::Set),
        pipeline: 1,
        rows: &[
            ("r1", "R1 SET kept by two, 50 connections: writes/s", Figure::PerSecond),
            ("r1_p99", "R1 SET kept by two: p99 in us", Figure::P99Us),
        ],
    },
    Round {
        mix: (Mix::SetWait, Mix::Set),
        pipeline: 16,
        rows: &[
            ("r2", "R2 SET kept by two, 16 per batch: writes/s", Figure::PerSecond),
            ("r2_p99", "R2 SET kept by two, 16 per batch: p99 in us", Figure::P99Us),
        ],
    },
];

/// Both sides flush a write to disk before they answer; Valkey's replica when it gets to it.
const FLUSHED: [Round; 1] = [Round {
    mix: (Mix::SetWait, Mix::Set),
    pipeline: 16,
    rows: &[("r3", "R3 SET kept and flushed by two, 16 per batch: writes/s", Figure::PerSecond)],
}];

/// Measures all rows; whether the bars hold.
///
/// # Errors
/// If a server fails.
pub fn run(pace: Pace, only: Option<&str>) -> Result<bool> {
    let programs = product::build_for_bench()?;
    let folder = scratch()?;
    let mut rows = Vec::new();
    let wanted = |round: &&Round| {
        only.is_none_or(|only| round.rows.iter().any(|(key, ..)| key.starts_with(only)))
    };
    {
        let peer = Peer::valkey(&folder, None)?;
        let cluster = product::cluster(&programs, "bench-alone", "xtask/clusters/alone.yaml")?;
        let ours = master(&cluster)?;
        if only.is_none_or(|only| "p6".starts_with(only)) {
            rows.extend(memory(&peer.server, &ours)?);
        }
        peer.server.fill(pace.keys, VALUE_BYTES)?;
        ours.fill(pace.keys, VALUE_BYTES)?;
        for round in ALONE.iter().filter(wanted) {
            rows.extend(compare(round, pace, &peer.server, &ours)?);
        }
    }
    if REPLICATED.iter().any(|round| wanted(&round)) {
        let peer = Peer::valkey(&folder, None)?;
        let _replica = Peer::valkey(&folder, Some(&peer.server))?;
        let cluster = product::cluster(&programs, "bench-one", "xtask/clusters/replicated.yaml")?;
        let ours = master(&cluster)?;
        for round in REPLICATED.iter().filter(wanted) {
            rows.extend(compare(round, pace, &peer.server, &ours)?);
        }
    }
    if FLUSHED.iter().any(|round| wanted(&round)) {
        let peer = Peer::valkey_flushed(&folder, None)?;
        let _replica = Peer::valkey_flushed(&folder, Some(&peer.server))?;
        let cluster = product::cluster(&programs, "bench-flushed", "xtask/clusters/flushed.yaml")?;
        let ours = master(&cluster)?;
        for round in FLUSHED.iter().filter(wanted) {
            rows.extend(compare(round, pace, &peer.server, &ours)?);
        }
    }
    if only.is_some() {
        println!("\n{}", super::report::table("Valkey", &rows));
        return Ok(true);
    }
    let version = read(&mut command("valkey-server", ["--version"]))?;
    let notes = format!(
        "Alone: Valkey without persistence; Cairn with `ack: async` and one member, which writes \
         its log.\nKept by two: Valkey's master and replica with `SET` then `WAIT 1`; Cairn with \
         `ack: one`, master and\nreplica. Kept and flushed by two: Valkey with `appendfsync \
         always` on both; Cairn with `flushed: true`.\nP5: one collection each, emptied before \
         every turn. {CONNECTIONS} connections, {VALUE_BYTES} B values, 16 B keys,\n{} random \
         keys; one load generator for both. Throughput and processor time are the master's \
         own.\nMemory is measured once. Peer: {}.",
        pace.keys,
        version.trim()
    );
    finish("data-plane", "Valkey", &notes, pace.quick, &rows)
}

/// The process that masters all slots.
///
/// # Errors
/// If there is none, or more than one group.
pub fn master(cluster: &Cluster) -> Result<Server> {
    let groups = cluster.wait_groups().context("clients are not told a master")?;
    let [group] = &groups[..] else { bail!("there are {} groups, not one", groups.len()) };
    let name = group.master.as_deref().context("the group has no master")?;
    let node = cluster.nodes().iter().find(|node| node.id == name);
    let address: SocketAddr = node.context("the master is no node")?.redis().parse()?;
    let pid = cluster.pid(name)?.context("the master does not run")?;
    Ok(Server { address, pid: u32::try_from(pid)? })
}

fn compare(round: &Round, pace: Pace, peer: &Server, ours: &Server) -> Result<Vec<Row>> {
    let new = |(key, what, figure): &(&'static str, &'static str, Figure)| {
        Row::new(key, what, matches!(figure, Figure::PerSecond))
    };
    let mut rows: Vec<Row> = round.rows.iter().map(new).collect();
    for pair in 0..pace.pairs {
        let theirs = measure(peer, round.mix.0, round.pipeline, pace)?;
        let mine = measure(ours, round.mix.1, round.pipeline, pace)?;
        for (row, (_, _, figure)) in rows.iter_mut().zip(round.rows) {
            row.pairs.push((figure.of(&theirs), figure.of(&mine)));
        }
        println!(
            "{} pair {}: Valkey {:.0}/s {:.2} us, Cairn {:.0}/s {:.2} us",
            round.rows[0].0,
            pair + 1,
            theirs.per_second,
            theirs.cpu_us,
            mine.per_second,
            mine.cpu_us
        );
    }
    Ok(rows)
}

fn measure(server: &Server, mix: Mix, pipeline: usize, pace: Pace) -> Result<Measured> {
    let (address, keys) = (server.address, pace.keys);
    let (connections, value_bytes) = (CONNECTIONS, VALUE_BYTES);
    let load = Load {
        address,
        connections,
        pipeline,
        mix,
        keys,
        value_bytes,
        fill: false,
        batches_per_second: None,
    };
    server.measure(&load, pace.warm_up, pace.time)
}

/// P6: what a key costs, measured on servers that hold nothing yet; they are emptied again.
fn memory(peer: &Server, ours: &Server) -> Result<Vec<Row>> {
    let mut row = Row::new("p6", "P6 memory: RSS bytes per key of 16+64 B", false);
    let cost = |server: &Server| -> Result<f64> {
        let before = rss_bytes(server.pid)?;
        server.fill(MEMORY_KEYS, VALUE_BYTES)?;
        let grown = rss_bytes(server.pid)?.saturating_sub(before);
        server.ask(&[b"FLUSHALL"])?;
        Ok(grown as f64 / MEMORY_KEYS as f64)
    };
    row.pairs.push((cost(peer)?, cost(ours)?));
    println!("{MEMORY_KEYS} keys cost: Valkey and Cairn {:?} bytes each", row.pairs[0]);
    Ok(vec![row])
}
