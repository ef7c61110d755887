//! G4: the global master is killed; how long until a write is acknowledged by the new one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::{wait, wait_until};
use cairn_harness::cluster::Cluster;
use cairn_harness::pauses::Spread;

use super::etcd::Etcd;
use super::page::{Section, ms, spread_cells};
use super::share;
use super::side::wait_whole;
use super::stock::{Seen, Stock, now_us};
use crate::verdict::Verdict;
use crate::{product, setup};

/// How long it may take until a write succeeds again.
const WRITE_LIMIT: Duration = Duration::from_secs(60);
/// Answers that were under way when the master died are no sign of recovery.
const UNDER_WAY_US: u64 = 20_000;
/// Longer than a global replica must keep up before it counts again.
const SETTLING: Duration = Duration::from_secs(5);

/// A directory of several members, and what is done to it.
trait Directory {
    /// What it is called in tables.
    fn name(&self) -> &'static str;
    /// Where clients reach it.
    fn endpoints(&self) -> Vec<String>;
    /// Kills the master; returns its name when it is dead, and it stays so.
    fn kill_master(&mut self) -> Result<String>;
    /// Starts it again and waits until nothing is missing.
    fn revive(&mut self, node: &str) -> Result<()>;
}

impl Directory for Cluster {
    fn name(&self) -> &'static str {
        "Cairn"
    }

    fn endpoints(&self) -> Vec<String> {
        self.etcd_endpoints()
    }

    fn kill_master(&mut self) -> Result<String> {
        let master = self.status()?.global_master.context("there is no global master")?;
        self.kill(&master, true)?;
        Ok(master)
    }

    fn revive(&mut self, node: &str) -> Result<()> {
        self.start(node)?;
        for _ in 0..2 {
            wait_whole(self)?;
            wait(SETTLING);
        }
        Ok(())
    }
}

impl Directory for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn endpoints(&self) -> Vec<String> {
        self.clients()
    }

    fn kill_master(&mut self) -> Result<String> {
        let leader = self.leader()?;
        self.kill(leader)?;
        Ok(leader.to_string())
    }

    fn revive(&mut self, node: &str) -> Result<()> {
        self.spawn(node.parse()?)?;
        self.wait_healthy()?;
        wait(SETTLING);
        Ok(())
    }
}

/// What the kills of one side came to.
#[derive(Debug, Default)]
struct Tally {
    pauses_us: Vec<u64>,
    seen: Seen,
}

/// Kills global masters and etcd leaders by turns; what is for the page, and the verdict.
///
/// # Errors
/// If a side does not start, or does not recover.
pub fn run(programs: &Path, folder: &Path, kills: usize) -> Result<(Section, Verdict)> {
    let tools = setup::etcd_folder()?;
    let writer = setup::etcd_writer()?;
    let mut etcd = Etcd::start(&tools, folder)?;
    let mut cairn = product::cluster(programs, "bench-directory", "xtask/clusters/faults.yaml")?;
    let mut tallies = [Tally::default(), Tally::default()];
    let turns = kills.div_ceil(5);
    for turn in 0..turns {
        let share = share(kills, turns, turn);
        kill_masters(&writer, &mut etcd, share, turn, &mut tallies[0])?;
        kill_masters(&writer, &mut cairn, share, turn, &mut tallies[1])?;
    }
    let [peer, ours] = &tallies;
    let spreads = [&peer.pauses_us, &ours.pauses_us].map(|all| Spread::of(all.clone()));
    let verdict = Verdict::new("bench-failover-g4")
        .count("kills", ours.pauses_us.len())
        .figure("p50_ms", ms(spreads[1].p50_us))
        .figure("p99_ms", ms(spreads[1].p99_us))
        .figure("max_ms", ms(spreads[1].max_us))
        .figure("peer_p50_ms", ms(spreads[0].p50_us))
        .figure("peer_p99_ms", ms(spreads[0].p99_us))
        .count("acked", ours.seen.acknowledged)
        .count("lost", ours.seen.lost)
        .count("peer_lost", peer.seen.lost);
    let head = ["", "kills", "p50", "p99", "max", "acknowledged", "lost", "errors"];
    let mut grid = vec![head.map(str::to_owned).to_vec()];
    for (name, tally, spread) in [
        ("etcd 3.6, three members", peer, &spreads[0]),
        ("Cairn, two global nodes and an acceptor", ours, &spreads[1]),
    ] {
        let mut cells = vec![name.to_owned()];
        cells.extend(spread_cells(spread));
        let seen = [tally.seen.acknowledged, tally.seen.lost, tally.seen.errors.len()];
        cells.extend(seen.map(|count| count.to_string()));
        grid.push(cells);
    }
    let notes = "The global master, or etcd's leader, is killed (SIGKILL) and stays down until a \
        put has succeeded without it. The\npause is the longest time between two acknowledged \
        puts around it. The clients are etcd's own (clientv3) with all\nendpoints, four putting \
        small keys with a rest of 5 ms and a patience of 250 ms. Both sides have their default \
        settings.\nAll that was acknowledged is read back."
        .to_owned();
    let title = "kill of the global master until an acknowledged write at the new one";
    Ok((Section { key: "G4", title, grid, notes }, verdict))
}

fn kill_masters(
    writer: &Path,
    side: &mut dyn Directory,
    kills: usize,
    turn: usize,
    tally: &mut Tally,
) -> Result<()> {
    let mut writer = Command::new(writer);
    writer.arg(format!("/bench/{turn}")).args(side.endpoints());
    let stock = Stock::start(&mut writer)?;
    for _ in 0..kills {
        wait(Duration::from_secs(1));
        let began_us = now_us();
        let victim = side.kill_master()?;
        let dead_us = now_us();
        let pauses = stock.pauses();
        let written = wait_until(WRITE_LIMIT, Duration::from_millis(10), || {
            pauses.first_after(0, dead_us + UNDER_WAY_US).is_some()
        });
        ensure!(written, "{}: no write succeeded after {victim} was killed", side.name());
        wait(Duration::from_secs(1));
        let pause_us = pauses.longest(0, began_us, dead_us + 1_000_000).unwrap_or(u64::MAX);
        println!("{}: writes paused {:.0} ms", side.name(), ms(pause_us));
        tally.pauses_us.push(pause_us);
        side.revive(&victim)?;
    }
    tally.seen.add(stock.finish()?);
    Ok(())
}
