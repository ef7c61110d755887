//! F4: a planned change of master, and what a stock client sees of it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_harness::client::{Client, Patience, slot_of};
use cairn_harness::clock::wait;
use cairn_harness::pauses::Spread;

use super::page::{Section, ms, spread_cells};
use super::share;
use super::side::{Cairn, Side};
use super::stock::{Seen, Stock, now_us};
use super::valkey::Valkey;
use crate::setup;
use crate::verdict::Verdict;

/// The slot range whose master is changed.
const RANGE: usize = 0;
/// How long is looked at before a handover, to know what a gap without one is like, and after it.
const QUIET: Duration = Duration::from_millis(500);

/// What one side's handovers came to.
#[derive(Debug, Default)]
struct Tally {
    gaps_us: Vec<u64>,
    quiet_us: Vec<u64>,
    seen: Seen,
}

/// Changes masters of both sides by turns; what is for the page, and the verdict.
///
/// # Errors
/// If a cluster does not start, or a handover fails.
pub fn run(
    programs: &Path,
    folder: &Path,
    (ours, turns): (usize, usize),
) -> Result<(Section, Verdict)> {
    let mut valkey = Valkey::start(folder, "Valkey", &[])?;
    let mut cairn = Cairn::start(programs, "bench-handover")?;
    let mut tallies = [Tally::default(), Tally::default()];
    for turn in 0..turns {
        hand_over(&mut valkey, 1, &mut tallies[0])?;
        hand_over(&mut cairn, share(ours, turns, turn), &mut tallies[1])?;
    }
    let [peer, ours] = &tallies;
    for error in ours.seen.errors.iter().take(10) {
        println!("Cairn's client got: {error}");
    }
    let spread = Spread::of(ours.gaps_us.clone());
    let verdict = Verdict::new("bench-failover-f4")
        .count("handovers", ours.gaps_us.len())
        .count("peer_handovers", peer.gaps_us.len())
        .figure("p50_ms", ms(spread.p50_us))
        .figure("p99_ms", ms(spread.p99_us))
        .figure("max_ms", ms(spread.max_us))
        .figure("quiet_p99_ms", ms(Spread::of(ours.quiet_us.clone()).p99_us))
        .figure("peer_p50_ms", ms(Spread::of(peer.gaps_us.clone()).p50_us))
        .figure("peer_p99_ms", ms(Spread::of(peer.gaps_us.clone()).p99_us))
        .count("acked", ours.seen.acknowledged)
        .count("errors", ours.seen.errors.len())
        .count("lost", ours.seen.lost)
        .count("peer_errors", peer.seen.errors.len());
    Ok((section(peer, ours), verdict))
}

fn section(peer: &Tally, ours: &Tally) -> Section {
    let head = ["", "times", "p50", "p99", "max", "errors", "lost of acknowledged"];
    let mut grid = vec![head.map(str::to_owned).to_vec()];
    let mut add = |name: &str, gaps: &[u64], seen: Option<&Seen>| {
        let mut cells = vec![name.to_owned()];
        cells.extend(spread_cells(&Spread::of(gaps.to_vec())));
        cells.push(seen.map_or_else(String::new, |seen| seen.errors.len().to_string()));
        let lost = |seen: &Seen| format!("{} of {}", seen.lost, seen.acknowledged);
        cells.push(seen.map_or_else(String::new, lost));
        grid.push(cells);
    };
    add("Valkey, `CLUSTER FAILOVER`", &peer.gaps_us, Some(&peer.seen));
    add("the same client without a handover", &peer.quiet_us, None);
    add("Cairn, `cairn failover`", &ours.gaps_us, Some(&ours.seen));
    add("the same client without a handover", &ours.quiet_us, None);
    let notes = "redis-py's `RedisCluster` as it comes writes to one group every millisecond \
        or so. The gap is the longest time between\ntwo acknowledged writes from the order until \
        half a second after it was carried out; without a handover, of half a\nsecond before the \
        order. Errors are exceptions that reach the application. What was acknowledged is read \
        back at the end."
        .to_owned();
    Section { key: "F4", title: "planned change of a group's master", grid, notes }
}

fn hand_over(side: &mut dyn Side, times: usize, tally: &mut Tally) -> Result<()> {
    side.wait_whole()?;
    let stock = Stock::start(&mut writer(side)?)?;
    wait(QUIET);
    for _ in 0..times {
        side.wait_whole()?;
        let quiet_us = now_us();
        wait(QUIET);
        let ordered_us = now_us();
        side.hand_over(RANGE)?;
        wait(QUIET);
        let done_us = now_us();
        let longest = |from, until| stock.pauses().longest(0, from, until).context("no writes");
        let gap_us = longest(ordered_us, done_us)?;
        println!("{}: a gap of {:.1} ms", side.name(), ms(gap_us));
        tally.gaps_us.push(gap_us);
        tally.quiet_us.push(longest(quiet_us, ordered_us)?);
    }
    tally.seen.add(stock.finish()?);
    Ok(())
}

/// redis-py, writing to keys of the range alone.
fn writer(side: &dyn Side) -> Result<Command> {
    let mut client = Client::new(&side.seeds(), Patience::default());
    client.wait_covered(Duration::from_secs(10));
    let in_range =
        |tag: &String| client.routes().range_number(slot_of(tag.as_bytes())) == Some(RANGE);
    let tag = (0..1000).map(|number| format!("handover{number}")).find(in_range);
    let mut command = Command::new(setup::python_program()?);
    command.arg(crate::root().join("xtask/python/redis_writer.py"));
    command.arg(tag.context("no key falls into the range")?).args(side.seeds());
    Ok(command)
}
