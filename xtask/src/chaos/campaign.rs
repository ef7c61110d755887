//! The loop of a campaign: quiet, faults, whole again; now and then the clients' histories are
//! judged and new clients begin.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::checker::check;
use cairn_harness::clock::{wait, wait_until};
use cairn_harness::cluster::Cluster;
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};
use cairn_harness::watch::{Ledger, Takeover};

use super::Args;
use super::act::Aimed;
use super::results::{Happened, Results, Stretch};
use super::schedule::{self, Fault, Step};
use super::stage::Stage;
use crate::traffic::print_violations;

/// How long a cluster may take until nothing is missing.
const WHOLE_LIMIT: Duration = Duration::from_secs(120);
/// How long a range may take until a write succeeds when all is whole.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// How long reading all keys back may take.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// How many steps one set of clients sees: a history is checked in memory.
const STRETCH_STEPS: u64 = 5;
/// Between two looks at what all nodes say.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// After so long a silence a takeover may come, though the fault is over.
const AFTERMATH: Duration = Duration::from_millis(300);

/// A campaign on its stage.
pub struct Campaign<'a> {
    stage: &'a Stage,
    args: &'a Args,
    results: &'a mut Results,
    began: Instant,
    /// Where the campaign's clock stood when this run began, in milliseconds.
    base_ms: u64,
    first: u64,
}

impl<'a> Campaign<'a> {
    /// A campaign that has not begun.
    pub fn new(stage: &'a Stage, args: &'a Args, results: &'a mut Results) -> Self {
        let (base_ms, first) = (results.end_ms(), results.next_step().max(args.from));
        Self { stage, args, results, began: Instant::now(), base_ms, first }
    }

    /// Runs stretch after stretch until the time is over.
    ///
    /// # Errors
    /// If the cluster does not heal, something cannot be done to it, or a history shows a
    /// violation; what is known by then is in the results.
    pub fn run(&mut self) -> Result<()> {
        self.began = Instant::now();
        let limit = Duration::from_secs(self.args.minutes.saturating_mul(60));
        let end = self.first.saturating_add(self.args.steps);
        let mut number = self.first;
        while number < end && self.began.elapsed() < limit {
            let until = end.min(number + STRETCH_STEPS);
            number = self.stretch(number, until, limit)?;
        }
        Ok(())
    }

    fn stretch(&mut self, first: u64, end: u64, limit: Duration) -> Result<u64> {
        let history = self.history_path(first);
        let recorder = Recorder::to_file(&history)?;
        let mut plan = Plan::new(&self.stage.field.cluster.seeds(), self.args.seed);
        plan.prefix = format!("c{}-{first}", self.args.seed);
        plan.rest = Duration::from_millis(10);
        plan.keys = 40;
        plan.watches_fail = true;
        let mut traffic = Traffic::start(plan, recorder);
        let watcher = Watcher::start(&self.stage.field.cluster);
        wait(Duration::from_secs(1));
        let mut explained = Explained::default();
        let mut number = first;
        let mut outcome = Ok(());
        while number < end && outcome.is_ok() && self.began.elapsed() < limit {
            let step = schedule::step(self.args.seed, number, self.args.scope());
            outcome = self.step(&step, &traffic, &watcher, &mut explained);
            number += 1;
        }
        if outcome.is_err() {
            self.stage.field.calm();
        }
        let (operations, unread) = traffic.finish(READ_LIMIT);
        let ledger = watcher.finish();
        let report = check(&operations);
        print_violations(&report);
        ledger.violations().iter().for_each(|what| println!("what nodes said: {what}"));
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let stretch = Stretch {
            operations: count(report.operations),
            acked: count(report.acknowledged),
            unknown: count(report.unknown),
            replica_reads: count(report.replica_reads),
            lost: count(report.lost()),
            stale: count(report.stale()),
            violations: count(report.violations.len() + ledger.violations().len()),
            unread: count(unread),
            takeovers: count(ledger.takeovers().len()),
            false_takeovers: explained.missing(ledger.takeovers()),
        };
        println!(
            "steps {first} to {}: {} acknowledged, {} unknown, {} lost, {} stale, {} violations, \
             {} takeovers, {} looks",
            number.saturating_sub(1),
            stretch.acked,
            stretch.unknown,
            stretch.lost,
            stretch.stale,
            stretch.violations,
            stretch.takeovers,
            ledger.looks()
        );
        self.results.close_stretch(stretch)?;
        outcome?;
        if stretch.violations > 0 || unread > 0 {
            bail!("steps {first} to {}: the history is in {}", number - 1, history.display());
        }
        std::fs::remove_file(&history).with_context(|| format!("cannot remove {history:?}"))?;
        Ok(number)
    }

    fn history_path(&self, first: u64) -> PathBuf {
        let folder = self.stage.field.cluster.folder();
        folder.with_file_name(format!("history-{}-{first}.jsonl", self.args.seed))
    }

    fn now_ms(&self) -> u64 {
        let elapsed = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base_ms + elapsed
    }

    fn step(
        &mut self,
        step: &Step,
        traffic: &Traffic,
        watcher: &Watcher,
        explained: &mut Explained,
    ) -> Result<()> {
        wait(step.quiet);
        let field = &self.stage.field;
        let mut aimed = match field.aim(step) {
            Ok(aimed) => aimed,
            // Something may have happened after the cluster was whole; it must heal, too.
            Err(_) => {
                let missing = field.cluster.wait_whole(WHOLE_LIMIT);
                ensure!(missing.is_empty(), "not whole in a quiet time: {}", missing.join("; "));
                field.aim(step)?
            }
        };
        let seen = watcher.takeovers();
        let (at_ms, at_us) = (self.now_ms(), traffic.now_us());
        let began = Instant::now();
        let performed = field.perform(&mut aimed);
        if performed.is_err() {
            field.calm();
        }
        performed?;
        wait(AFTERMATH);
        let missing = field.cluster.wait_whole(WHOLE_LIMIT);
        let whole = began.elapsed();
        let healed_us = traffic.now_us();
        let ranges = 0..super::stage::GROUPS;
        let written = wait_until(WRITE_LIMIT, Duration::from_millis(20), || {
            ranges.clone().all(|range| traffic.pauses().first_after(range, healed_us).is_some())
        });
        let global = aimed.iter().any(|one| one.fault.group().is_none()) && aimed.len() > 1;
        for one in &aimed {
            let happened = self.happened(step, one, global, traffic, (at_us, at_ms), whole);
            println!(
                "{:>4} {:24} {:22} pause {:>6} ms, whole after {:>6} ms",
                step.number,
                happened.kind,
                happened.victims.join(","),
                happened.pause_ms,
                happened.whole_ms
            );
            self.results.add(happened)?;
        }
        let touched: Vec<String> = aimed.iter().flat_map(|one| one.touched.clone()).collect();
        explained.add(seen, watcher.settle(), touched, aimed.iter().map(|one| one.fault));
        if !missing.is_empty() {
            bail!("{:?}: not whole after {WHOLE_LIMIT:?}: {}", step.faults, missing.join("; "));
        }
        if !written {
            bail!("{:?}: no write succeeded although all is whole", step.faults);
        }
        Ok(())
    }

    fn happened(
        &self,
        step: &Step,
        one: &Aimed,
        with_global: bool,
        traffic: &Traffic,
        (at_us, at_ms): (u64, u64),
        whole: Duration,
    ) -> Happened {
        let until_us = traffic.now_us();
        let gaps = one.ranges.iter();
        let longest = gaps.filter_map(|range| traffic.pauses().longest(*range, at_us, until_us));
        let pause_us = longest.max().unwrap_or(u64::MAX);
        let timed = step.faults.iter().find(|timed| timed.fault == one.fault);
        let (after, time) = timed.map_or_else(Default::default, |timed| (timed.after, timed.time));
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let mut kind = one.fault.kind();
        if with_global && one.fault.group().is_some() {
            kind += " + global";
        }
        Happened {
            step: step.number,
            kind,
            what: format!("{:?}", one.fault),
            victims: one.victims.clone(),
            at_ms: at_ms + ms(after),
            time_ms: ms(time),
            pause_ms: pause_us / 1000,
            whole_ms: ms(whole.saturating_sub(after)),
        }
    }
}

/// Which takeovers are explained by faults.
#[derive(Debug, Default)]
struct Explained {
    steps: Vec<(std::ops::Range<usize>, Vec<String>)>,
}

impl Explained {
    /// Takeovers `from` up to `to` were seen in a step that may have moved the masterships of
    /// `touched`.
    fn add(
        &mut self,
        from: usize,
        to: usize,
        touched: Vec<String>,
        faults: impl Iterator<Item = Fault>,
    ) {
        let stalls = faults.map(|fault| format!("{fault:?}")).collect::<Vec<_>>().join(", ");
        if touched.is_empty() && to > from {
            println!("     {} takeovers by {stalls}, which explains none", to - from);
        }
        self.steps.push((from..to, touched));
    }

    fn missing(&self, takeovers: &[Takeover]) -> u64 {
        let explained = |at: usize, takeover: &Takeover| {
            let step = self.steps.iter().find(|(range, _)| range.contains(&at));
            step.is_some_and(|(_, touched)| touched.contains(&takeover.group))
        };
        let missing = takeovers.iter().enumerate().filter(|(at, made)| !explained(*at, made));
        let missing: Vec<_> = missing.map(|(_, takeover)| takeover).collect();
        missing.iter().for_each(|takeover| println!("     unexplained: {takeover:?}"));
        u64::try_from(missing.len()).unwrap_or(u64::MAX)
    }
}

/// A thread that looks at what all nodes say, again and again.
struct Watcher {
    cluster: Arc<Cluster>,
    ledger: Arc<Mutex<Ledger>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Watcher {
    fn start(cluster: &Arc<Cluster>) -> Self {
        let (ledger, stop) = (Arc::new(Mutex::default()), Arc::new(AtomicBool::new(false)));
        let (own, stopped) = (Arc::clone(&ledger), Arc::clone(&stop));
        let (cluster, eye) = (Arc::clone(cluster), Arc::clone(cluster));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                look(&eye, &own);
                wait(LOOK_EVERY);
            }
        });
        Self { cluster, ledger, stop, thread }
    }

    fn takeovers(&self) -> usize {
        see(&self.ledger, |ledger| ledger.takeovers().len())
    }

    /// Looks once more, now; how many takeovers were seen by then.
    fn settle(&self) -> usize {
        look(&self.cluster, &self.ledger);
        self.takeovers()
    }

    fn finish(self) -> Ledger {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("looking does not panic");
        see(&self.ledger, std::mem::take)
    }
}

/// Asks all nodes and takes note, before anybody else asks: answers must be noted in the order in
/// which they were given.
fn look(cluster: &Cluster, ledger: &Mutex<Ledger>) {
    see(ledger, |ledger| {
        if let Ok(status) = cluster.status() {
            ledger.see(&status);
        }
    });
}

fn see<T>(ledger: &Mutex<Ledger>, look: impl FnOnce(&mut Ledger) -> T) -> T {
    look(&mut ledger.lock().expect("looking does not panic"))
}
