//! An hour of a thousand busy clients: many kinds of requests, large keys among them, scripts, and
//! keys that end all at once. What the slowest requests took, how long the data thread was held
//! up, and what the processes hold at the end, by what they held at the start; against Valkey.
//!
//! Both sides get as many turns, one after the other, in one run. Each side's figures are kept
//! beside the page; one alone may be measured again, the page is made of both.

mod chores;
mod data;
mod found;
mod measure;
mod mix;
mod page;
mod side;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::checkpoint::machine;
use super::report::{publish, table};
use super::scratch;
use crate::product;
use crate::verdict::Verdict;
use chores::Storms;
use found::Found;
use measure::Run;
use side::Side;

/// The sides by their names, the peer's first.
const SIDES: [&str; 2] = ["Valkey", "Cairn"];
/// Requests a second that two processors bear, with both members and the clients on them.
const RATE: u64 = 10_000;

/// Arguments of `cargo xtask bench churn`.
#[derive(clap::Args)]
pub struct Args {
    /// Minutes of churn for each side; the run takes twice as long, and some minutes more
    /// [default: 60, or 1 if it is to be quick]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1440))]
    minutes: Option<u64>,
    /// Requests a second, of all clients together
    #[arg(long, default_value_t = RATE)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Busy clients
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=9000))]
    clients: u64,
    /// Small keys [default: a million, or 200,000 if it is to be quick]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1000..=100_000_000))]
    keys: Option<u64>,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Pace {
    quick: bool,
    minutes: u64,
    turn: Duration,
    rate: u64,
    clients: usize,
    keys: u64,
    storms: Storms,
    /// A large key is deleted and made again so often.
    remake: Duration,
    /// Before memory is looked at.
    quiet: Duration,
}

impl Pace {
    fn new(args: &Args, quick: bool) -> Self {
        let seconds = Duration::from_secs;
        let clients = usize::try_from(args.clients).unwrap_or(usize::MAX);
        let (rate, minutes) = (args.rate, args.minutes);
        match quick {
            true => Self {
                quick,
                minutes: minutes.unwrap_or(1),
                turn: seconds(20),
                rate,
                clients,
                keys: args.keys.unwrap_or(200_000),
                storms: Storms { keys: 20_000, period: seconds(10) },
                remake: seconds(3),
                quiet: seconds(2),
            },
            false => Self {
                quick,
                minutes: minutes.unwrap_or(60),
                turn: seconds(60),
                rate,
                clients,
                keys: args.keys.unwrap_or(1_000_000),
                storms: Storms { keys: 50_000, period: seconds(30) },
                remake: seconds(5),
                quiet: seconds(10),
            },
        }
    }

    /// Turns of each side.
    fn turns(self) -> u64 {
        self.minutes * 60 / self.turn.as_secs()
    }

    /// What was asked for, in words that only the same request has.
    fn asked(self) -> String {
        let Self { minutes, rate, clients, keys, .. } = self;
        format!("{minutes} minutes, {rate} requests/s, {clients} clients, {keys} small keys")
    }
}

/// Measures both sides by turns, or `only` one; whether the bars hold.
///
/// # Errors
/// If a side does not start or falls silent, there is too little memory or disk, or there is no
/// such side.
pub fn run(args: &Args, quick: bool, only: Option<&str>) -> Result<bool> {
    let pace = Pace::new(args, quick);
    let wanted = |side: &&str| only.is_none_or(|only| only.eq_ignore_ascii_case(side));
    let names: Vec<&str> = SIDES.into_iter().filter(wanted).collect();
    ensure!(!names.is_empty(), "--only takes cairn or valkey");
    allow_files(args.clients)?;
    let programs = product::build_for_bench()?;
    println!("{} of churn for {}, by turns", pace.asked(), names.join(" and "));
    for (name, found) in names.iter().zip(measure_all(pace, &names, &programs)?) {
        found.store(name, quick)?;
        println!("{}", page::side(name, &found));
    }
    let [theirs, ours] = SIDES.map(|name| Found::kept(name, pace));
    match (theirs, ours) {
        (Some(theirs), Some(ours)) => {
            let sides = [("Cairn", &ours), ("Valkey", &theirs)];
            page::draw(pace, &sides)?;
            let notes = page::notes(pace, &sides)?;
            let rows = page::rows(&theirs, &ours);
            let verdict = publish("churn", "Valkey", &notes, quick, &rows)?;
            if quick {
                println!("\n{notes}\n");
            }
            judged(verdict.count("peer_errors", theirs.troubles() as usize), &ours).judge()
        }
        (_, Some(ours)) => {
            let rows = page::rows(&ours, &ours);
            println!("{}\nthe other side was not measured so yet", table("Cairn itself", &rows));
            judged(Verdict::new("bench-churn").count("pairs", 0), &ours).judge()
        }
        _ => {
            println!("the other side was not measured so yet");
            Ok(true)
        }
    }
}

fn measure_all(pace: Pace, names: &[&str], programs: &Path) -> Result<Vec<Found>> {
    let mut janitor = side::janitor(programs)?;
    let folder = scratch()?;
    // Two processes a side hold it, with what comes and goes; logs and snapshots are bounded.
    let bytes = pace.keys * 500 + (1 << 30);
    machine::need(&folder, bytes * 2 * names.len() as u64, 16 << 30)?;
    let mut runs = Vec::new();
    for name in names {
        let side = match *name {
            "Cairn" => Side::ours(programs)?,
            _ => Side::theirs(&folder, &mut janitor)?,
        };
        runs.push(Run::begin(side, pace)?);
    }
    for _ in 0..pace.turns() {
        for run in &mut runs {
            if let Err(error) = run.turn(pace) {
                run.broke(&error)?;
            }
        }
    }
    runs.into_iter().map(|run| run.finish(pace)).collect()
}

/// Ours, by its own figures.
fn judged(verdict: Verdict, ours: &Found) -> Verdict {
    let long: u64 = ours.turns.iter().map(|turn| turn.long_turns).sum();
    let least = ours.turns.iter().map(|turn| turn.least).min().unwrap_or(0);
    let [master, replica] = ours.growth().map(|growth| (growth * 100.0).round() / 100.0);
    verdict
        .count("requests", ours.all.count as usize)
        .count("least", least as usize)
        .figure("p999_ms", ours.all.p999_ms)
        .figure("max_ms", ours.all.max_ms)
        .figure("busy_ms", ours.busy().0)
        .count("long_turns", long as usize)
        .figure("master_growth", master)
        .figure("replica_growth", replica)
        .count("refused", ours.refused as usize)
        .count("errors", ours.troubles() as usize)
        .count("different_keys", ours.different_keys() as usize)
        .count("changed_masters", ours.masters_changed as usize)
}

/// Takes as many open files as the system allows.
fn allow_files(clients: u64) -> Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let most = maximum.unwrap_or(u64::MAX);
    ensure!(
        most > clients + 100,
        "the system allows {most} open files, too few for {clients} clients: raise `ulimit -Hn`"
    );
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
        .context("cannot take as many open files as the system allows")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(minutes: Option<u64>, quick: bool) -> Pace {
        Pace::new(&Args { minutes, rate: RATE, clients: 1000, keys: None }, quick)
    }

    #[test]
    fn turns_fill_the_minutes_and_storms_the_turns() {
        for quick in [false, true] {
            let pace = pace(Some(7), quick);
            assert_eq!(pace.turns() * pace.turn.as_secs(), 420);
            assert_eq!(pace.turn.as_secs() % pace.storms.period.as_secs(), 0);
        }
        assert_eq!((pace(None, false).minutes, pace(None, true).minutes), (60, 1));
        assert_ne!(pace(None, false).asked(), pace(Some(59), false).asked());
    }
}
