//! F3: a master is killed; how long until its group takes writes again. F5: what is lost, and what
//! a master that was stopped and goes on still answers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_harness::checker::{Report, check};
use cairn_harness::clock::{wait, wait_until};
use cairn_harness::history::Recorder;
use cairn_harness::pauses::Spread;
use cairn_harness::traffic::{Plan, Traffic};

use super::page::{Section, ms, spread_cells};
use super::share;
use super::side::{Cairn, Side};
use super::valkey::Valkey;
use crate::traffic::print_violations;
use crate::verdict::Verdict;

/// How long a group may take until a write succeeds again.
const WRITE_LIMIT: Duration = Duration::from_secs(90);
/// How long after a kill a pause may begin and still be its doing.
const PAUSE_BEGINS_US: u64 = 3_000_000;
/// Answers that were under way when the master died are no sign of recovery.
const UNDER_WAY_US: u64 = 20_000;
/// For how long a master stands still: longer than any takeover here.
const FREEZE: Duration = Duration::from_secs(8);

/// How often who is killed.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    /// Kills of ours.
    pub ours: usize,
    /// Kills of the peer with its default settings, by turns with ours.
    pub peer: usize,
    /// Kills of the peer with a timeout of 500 ms, and masters of each that stop for a while.
    pub short: usize,
}

/// What is done to a master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Kill,
    Freeze,
}

/// What the kills of one side came to.
#[derive(Debug, Default)]
struct Tally {
    pauses_us: Vec<u64>,
    acknowledged: usize,
    lost: usize,
    stale: usize,
    unread: usize,
}

/// Kills masters of both sides by turns; what is for the page, and the verdict.
///
/// # Errors
/// If a cluster does not start, or does not recover.
pub fn run(programs: &Path, folder: &Path, counts: Counts) -> Result<(Section, Verdict)> {
    let mut ours = Tally::default();
    let mut peer = Tally::default();
    let mut short = Tally::default();
    let mut frozen = [Tally::default(), Tally::default()];
    {
        let more = ["--cluster-node-timeout", "500"];
        let mut valkey = Valkey::start(folder, "Valkey, node timeout 500 ms", &more)?;
        hit_masters(&mut valkey, Deed::Kill, counts.short, 0, &mut short)?;
        hit_masters(&mut valkey, Deed::Freeze, counts.short, 1, &mut frozen[0])?;
    }
    {
        let mut cairn = Cairn::start(programs, "bench-failover")?;
        hit_masters(&mut cairn, Deed::Freeze, counts.short, 2, &mut frozen[1])?;
    }
    {
        let mut valkey = Valkey::start(folder, "Valkey, defaults", &[])?;
        let mut cairn = Cairn::start(programs, "bench-failover")?;
        for turn in 0..counts.peer {
            hit_masters(&mut valkey, Deed::Kill, 1, turn, &mut peer)?;
            let kills = share(counts.ours, counts.peer, turn);
            hit_masters(&mut cairn, Deed::Kill, kills, turn, &mut ours)?;
        }
    }
    let rows = [
        ("Valkey, defaults", &peer),
        ("Valkey, cluster-node-timeout 500", &short),
        ("Cairn, defaults", &ours),
        ("Valkey, timeout 500, stopped for 8 s", &frozen[0]),
        ("Cairn, stopped for 8 s", &frozen[1]),
    ];
    let spread = Spread::of(ours.pauses_us.clone());
    let verdict = Verdict::new("bench-failover-f3")
        .count("kills", ours.pauses_us.len())
        .count("peer_kills", peer.pauses_us.len())
        .figure("p50_ms", ms(spread.p50_us))
        .figure("p99_ms", ms(spread.p99_us))
        .figure("max_ms", ms(spread.max_us))
        .figure("peer_p50_ms", ms(Spread::of(peer.pauses_us.clone()).p50_us))
        .count("acked", ours.acknowledged + frozen[1].acknowledged)
        .count("lost", ours.lost + frozen[1].lost)
        .count("stale", ours.stale + frozen[1].stale)
        .count("unread", ours.unread + frozen[1].unread)
        .count("peer_lost", peer.lost + short.lost + frozen[0].lost)
        .count("peer_stale", peer.stale + short.stale + frozen[0].stale);
    Ok((section(&rows), verdict))
}

fn section(rows: &[(&str, &Tally)]) -> Section {
    let head = ["", "masters", "p50", "p99", "max", "acknowledged", "lost", "stale"];
    let mut grid = vec![head.map(str::to_owned).to_vec()];
    for (name, tally) in rows {
        let mut cells = vec![(*name).to_owned()];
        cells.extend(spread_cells(&Spread::of(tally.pauses_us.clone())));
        cells.extend([tally.acknowledged, tally.lost, tally.stale].map(|n| n.to_string()));
        grid.push(cells);
    }
    let notes = "A group's master is killed (SIGKILL) and stays down until a write has succeeded \
        without it. The pause is the\nlongest gap between two acknowledged writes to its slots, \
        as eight clients saw it that follow `MOVED` and\n`CLUSTER SLOTS`. Then it is started, and \
        the next kill waits until nothing is missing. Cairn: two groups of\nthree, two global \
        nodes, an acceptor. Valkey: three masters with a replica each. *Lost* (F5) are \
        acknowledged\nwrites that are gone, *stale* are values read that were gone or old by then, \
        both by the checker of the fault\ntests. A process that is killed leaves what it sent in \
        the kernel, so a kill alone shows little of asynchronous\nreplication; the last two rows \
        stop a master (SIGSTOP), and it goes on when another has taken over; there the pause is \
        the clients' patience of\n1.3 s for an answer. What is behind \
        Cairn's zeros is in [proof.md](../proof.md)."
        .to_owned();
    Section { key: "F3", title: "kill of a group's master until a write succeeds", grid, notes }
}

fn hit_masters(
    side: &mut dyn Side,
    deed: Deed,
    times: usize,
    turn: usize,
    tally: &mut Tally,
) -> Result<()> {
    let seed = 100 + u64::try_from(turn)?;
    let mut plan = Plan::new(&side.seeds(), seed);
    plan.watches_fail = true;
    let mut traffic = Traffic::start(plan, Recorder::in_memory());
    wait(Duration::from_secs(2));
    for number in 0..times {
        let pause_us = hit_master(side, &traffic, (turn + number) % 2, deed)?;
        println!("{}: writes paused {:.0} ms ({deed:?})", side.name(), ms(pause_us));
        tally.pauses_us.push(pause_us);
        wait(Duration::from_millis(300));
    }
    let (history, unread) = traffic.finish(Duration::from_secs(60));
    let report: Report = check(&history);
    print_violations(&report);
    tally.acknowledged += report.acknowledged;
    tally.lost += report.lost();
    tally.stale += report.stale();
    tally.unread += unread;
    Ok(())
}

/// Kills or stops one master; for how long writes to its slots paused, in microseconds.
fn hit_master(side: &mut dyn Side, traffic: &Traffic, range: usize, deed: Deed) -> Result<u64> {
    side.wait_whole()?;
    let victim = side.master(range)?;
    let began_us = traffic.now_us();
    match deed {
        Deed::Kill => side.kill(&victim)?,
        Deed::Freeze => side.freeze(&victim, true)?,
    }
    let hit_us = traffic.now_us();
    let pauses = traffic.pauses();
    let written = wait_until(WRITE_LIMIT, Duration::from_millis(10), || {
        pauses.first_after(range, hit_us + UNDER_WAY_US).is_some()
    });
    if deed == Deed::Freeze {
        let stood = Duration::from_micros(traffic.now_us() - hit_us);
        wait(FREEZE.saturating_sub(stood));
        side.freeze(&victim, false)?;
    }
    ensure!(written, "{}: no write succeeded in time after {victim} was hit", side.name());
    let pause_us = pauses.longest(range, began_us, hit_us + PAUSE_BEGINS_US);
    if deed == Deed::Kill {
        side.revive(&victim)?;
    }
    side.wait_whole()?;
    Ok(pause_us.unwrap_or(u64::MAX))
}
