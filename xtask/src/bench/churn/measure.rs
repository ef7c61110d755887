//! One turn of a side: a thousand clients and the chores beside them.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Error, Result, ensure};
use hdrhistogram::Histogram;

use super::Pace;
use super::chores::{self, Done};
use super::data;
use super::found::{Found, Spread, Turn};
use super::mix::{KINDS, Mix};
use super::side::{Counts, Memory, Side, longest, watch};
use crate::bench::load::open::{self, Open, Outcome, SetAtEnd};
use crate::bench::server::{Server, cpu_seconds};

/// Before anything counts.
const WARM_UP: Duration = Duration::from_secs(1);
/// Turns that may end by an error.
const BROKEN_MAX: u32 = 2;

/// A side under measurement.
pub struct Run {
    pub side: Side,
    found: Found,
    /// Times of all turns, by kind.
    kinds: Vec<Histogram<u64>>,
    master: Option<String>,
    /// Turns that ended by an error.
    broken: u32,
}

impl Run {
    /// Writes everything once, and waits until it is quiet.
    ///
    /// # Errors
    /// If the side refuses it.
    pub fn begin(side: Side, pace: Pace) -> Result<Self> {
        let keys = data::keys_in_all(pace.keys);
        println!("{}: writing {keys} keys", side.name);
        data::fill(&side.master()?.address.to_string(), pace.keys)?;
        let histogram = || Histogram::new_with_bounds(1, open::LONGEST_US, 3);
        let kinds = KINDS.iter().map(|_| histogram()).collect::<Result<_, _>>()?;
        let mut found = Found::new(pace);
        found.keys = keys;
        found.start = side.settle(keys, pace.quiet)?;
        Ok(Self { side, found, kinds, master: None, broken: 0 })
    }

    /// Makes one turn and says what it showed.
    ///
    /// # Errors
    /// If the side cannot be reached, or falls silent.
    pub fn turn(&mut self, pace: Pace) -> Result<()> {
        let (master, replica) = (self.side.master()?, self.side.replica()?);
        let address = master.address.to_string();
        if self.master.as_ref().is_some_and(|before| *before != address) {
            self.found.masters_changed += 1;
        }
        self.master = Some(address);
        watch(&master)?;
        let (counts, cpu) = (Counts::of(&master)?, cpu_seconds(master.pid)?);
        let (outcome, done) = load(&master, pace, self.found.turns.len())?;
        let cpu = cpu_seconds(master.pid)? - cpu;
        let later = Counts::of(&master)?;
        let (busy_ms, busy_with) = longest(&master)?;
        let times = all_kinds(&outcome.kinds)?;
        let turn = Turn {
            per_second: times.len() as f64 / outcome.took.as_secs_f64(),
            times: Spread::of(&times),
            worst_ms: outcome.worst_us.iter().map(|us| *us as f64 / 1000.0).collect(),
            busy_ms,
            busy_with,
            long_turns: later.long_turns.saturating_sub(counts.long_turns),
            cpu_us: cpu * 1e6 / times.len().max(1) as f64,
            least: outcome.least,
            memory: Memory::of(&master, &replica)?,
        };
        self.found.refused += later.refused.saturating_sub(counts.refused);
        say(self.side.name, self.found.turns.len() + 1, &turn, &outcome);
        self.found.turns.push(turn);
        self.add(outcome, done)
    }

    /// A turn ended by an error: it counts as one, and the others go on.
    ///
    /// # Errors
    /// If it is not the first time, but one of many.
    pub fn broke(&mut self, error: &Error) -> Result<()> {
        println!("{}: a turn broke off: {error:#}", self.side.name);
        open::note(&mut self.found.errors, format!("a turn broke off: {error:#}"), 1);
        self.broken += 1;
        ensure!(self.broken <= BROKEN_MAX, "{} breaks off again and again", self.side.name);
        Ok(())
    }

    fn add(&mut self, outcome: Outcome, mut done: Done) -> Result<()> {
        for (all, kind) in self.kinds.iter_mut().zip(&outcome.kinds) {
            all.add(kind).context("histograms of one kind fit")?;
        }
        let found = &mut self.found;
        found.unanswered += outcome.unanswered;
        let errors = outcome.errors.into_iter().chain(std::mem::take(&mut done.errors));
        errors.for_each(|(text, times)| open::note(&mut found.errors, text, times));
        found.ended += done.ended;
        found.remade += done.remade;
        found.delete_ms = found.delete_ms.max(done.delete_ms);
        Ok(())
    }

    /// Makes the large keys what they were, waits until all that was to end has, and sums up.
    ///
    /// # Errors
    /// If the side cannot be reached.
    pub fn finish(mut self, pace: Pace) -> Result<Found> {
        println!("{}: waiting until nothing short-lived is left", self.side.name);
        chores::remake_all(&self.side.master()?.address.to_string())?;
        self.found.end = self.side.settle(self.found.keys, pace.quiet)?;
        self.found.keys_end = self.side.keys()?;
        self.found.kinds = self.kinds.iter().map(Spread::of).collect();
        self.found.all = Spread::of(&all_kinds(&self.kinds)?);
        Ok(self.found)
    }
}

fn all_kinds(kinds: &[Histogram<u64>]) -> Result<Histogram<u64>> {
    let mut all = Histogram::new_with_bounds(1, open::LONGEST_US, 3)?;
    kinds.iter().try_for_each(|kind| all.add(kind)).context("histograms of one kind fit")?;
    Ok(all)
}

/// The clients and the chores beside them, together.
fn load(master: &Server, pace: Pace, number: usize) -> Result<(Outcome, Done)> {
    let open = Open {
        address: master.address,
        connections: pace.clients,
        per_second: pace.rate,
        warm_up: WARM_UP,
        time: pace.turn,
    };
    let address = master.address.to_string();
    let mut mix = Mix::new(number as u64 + 1, pace.keys);
    // What was remade in turns before; about, as it only says with which to go on.
    let first = number as u64 * (pace.turn.as_secs() / pace.remake.as_secs().max(1));
    let (stop, never) = (AtomicBool::new(false), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let storms =
            scope.spawn(|| chores::storms(&address, pace.storms, pace.turn + WARM_UP, &stop));
        let remake = scope.spawn(|| chores::remake(&address, first, pace.remake, &stop));
        let until = SetAtEnd(&stop);
        let outcome = open::run(&open, &mut mix, &never);
        drop(until);
        let mut done = storms.join().ok().context("the storms panicked")??;
        done.add(remake.join().ok().context("the chores panicked")??);
        anyhow::Ok((outcome?, done))
    })
}

fn say(name: &str, number: usize, turn: &Turn, outcome: &Outcome) {
    let mib = |bytes: u64| bytes >> 20;
    let times = turn.times;
    println!(
        "{name} {number}: {:.0}/s p50 {:.2} p99 {:.2} p99.9 {:.2} max {:.1} ms; busy {} ms ({}), \
         {} long turns; cpu {:.1} us; memory {} and {} MiB",
        turn.per_second,
        times.p50_ms,
        times.p99_ms,
        times.p999_ms,
        times.max_ms,
        turn.busy_ms,
        turn.busy_with,
        turn.long_turns,
        turn.cpu_us,
        mib(turn.memory.master),
        mib(turn.memory.replica)
    );
    for (text, times) in &outcome.errors {
        println!("{name} {number}: {times} times {text}");
    }
}
