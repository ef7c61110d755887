//! The loop of a campaign: quiet, faults, whole again; now and then the clients' histories are
//! judged and new clients begin.

mod explain;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::checker::check;
use cairn_harness::clock::{wait, wait_until};
use cairn_harness::directory::{self, Directory};
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};

use super::Args;
use super::act::Aimed;
use super::filler::Filler;
use super::machine::Machine;
use super::results::{Happened, Results, Stretch};
use super::schedule::{self, Step};
use super::snapshots::Spoken;
use super::stage::Stage;
use crate::traffic::print_violations;
use explain::{Explained, Watcher};

/// How long a cluster may take until nothing is missing.
const WHOLE_LIMIT: Duration = Duration::from_secs(120);
/// How long a range may take until a write succeeds when all is whole.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// How long reading all keys back may take.
const READ_LIMIT: Duration = Duration::from_secs(60);
/// How many steps one set of clients sees: a history is checked in memory.
const STRETCH_STEPS: u64 = 8;
/// After so long a silence a takeover may come, though the fault is over.
const AFTERMATH: Duration = Duration::from_millis(300);

/// A campaign on its stage.
pub struct Campaign<'a> {
    stage: &'a Stage,
    args: &'a Args,
    results: &'a mut Results,
    machine: Machine,
    began: Instant,
    /// Where the campaign's clock stood when this run began, in milliseconds.
    base_ms: u64,
    first: u64,
}

impl<'a> Campaign<'a> {
    /// A campaign that has not begun.
    pub fn new(stage: &'a Stage, args: &'a Args, results: &'a mut Results) -> Self {
        let (base_ms, first) = (results.end_ms(), results.next_step().max(args.from));
        let (machine, began) = (Machine::watch(), Instant::now());
        Self { stage, args, results, machine, began, base_ms, first }
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
        let traffic = self.traffic(first, Recorder::to_file(&history)?);
        let directory = self.directory(first);
        let filler = Filler::start(&self.stage.field.cluster);
        let said_before = Spoken::of(&self.stage.field.cluster)?;
        let watcher = Watcher::start(&self.stage.field.cluster);
        wait(Duration::from_secs(1));
        let began = Instant::now();
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
        drop(filler);
        directory.stop(outcome.is_ok());
        let mut stretch = self.judge_data(traffic);
        let directory = directory.judged(&history.with_extension("directory.jsonl"))?;
        directory.violations.iter().for_each(|what| println!("{what}"));
        add_directory(&mut stretch, &directory);
        let said = Spoken::of(&self.stage.field.cluster)?.since(said_before);
        (stretch.snapshots, stretch.fronts) = (said.written, said.fronts);
        (stretch.fetches, stretch.set_aside) = (said.fetched, said.set_aside);
        let seen = watcher.finish();
        seen.ledger.violations().iter().for_each(|what| println!("what nodes said: {what}"));
        stretch.violations += count(seen.ledger.violations().len());
        stretch.takeovers = count(seen.ledger.takeovers().len());
        let left = explained.missing(&seen, |at| self.machine.starved(at));
        (stretch.starved, stretch.false_takeovers) = (left.starved, left.false_ones);
        stretch.stall_ms = ms(self.machine.longest(began, Instant::now()));
        println!(
            "steps {first} to {}: {} acknowledged, {} in the directory, {} unknown, {} leases, \
             {} locks, {} lost, {} stale, {} violations, {} snapshots, {} fronts given up, {} \
             fetches, {} set aside, {} takeovers, {} looks, machine stood still for {} ms at most",
            number.saturating_sub(1),
            stretch.acked,
            stretch.directory_acked,
            stretch.unknown,
            stretch.leases,
            stretch.locks,
            stretch.lost,
            stretch.stale,
            stretch.violations,
            stretch.snapshots,
            stretch.fronts,
            stretch.fetches,
            stretch.set_aside,
            stretch.takeovers,
            seen.ledger.looks(),
            stretch.stall_ms
        );
        self.results.close_stretch(stretch)?;
        outcome?;
        if stretch.violations > 0 || stretch.unread > 0 {
            bail!("steps {first} to {}: the history is in {}", number - 1, history.display());
        }
        std::fs::remove_file(&history).with_context(|| format!("cannot remove {history:?}"))?;
        Ok(number)
    }

    fn traffic(&self, first: u64, recorder: Recorder) -> Traffic {
        let mut plan = Plan::new(&self.stage.field.cluster.seeds(), self.args.seed);
        plan.prefix = format!("c{}-{first}", self.args.seed);
        plan.rest = Duration::from_millis(10);
        plan.keys = 40;
        plan.watches_fail = true;
        Traffic::start(plan, recorder)
    }

    fn directory(&self, first: u64) -> Directory {
        let endpoints = self.stage.field.cluster.etcd_endpoints();
        let mut plan = directory::Plan::new(&endpoints, self.args.seed ^ (first << 8));
        plan.prefix = format!("d{}-{first}", self.args.seed);
        Directory::start(plan)
    }

    /// Ends the clients of the groups and judges what they saw.
    fn judge_data(&self, mut traffic: Traffic) -> Stretch {
        let (operations, unread) = traffic.finish(READ_LIMIT);
        let report = check(&operations);
        print_violations(&report);
        Stretch {
            operations: count(report.operations),
            acked: count(report.acknowledged),
            unknown: count(report.unknown),
            replica_reads: count(report.replica_reads),
            lost: count(report.lost()),
            stale: count(report.stale()),
            violations: count(report.violations.len()),
            unread: count(unread),
            ..Stretch::default()
        }
    }

    fn history_path(&self, first: u64) -> PathBuf {
        let folder = self.stage.field.cluster.folder();
        folder.with_file_name(format!("history-{}-{first}.jsonl", self.args.seed))
    }

    fn now_ms(&self) -> u64 {
        self.base_ms + ms(self.began.elapsed())
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
        // Something may have happened after the cluster was whole: a member that came back is taken
        // out and in again, say, and two members are no three. It must heal, too.
        let missing = field.cluster.wait_whole(WHOLE_LIMIT);
        ensure!(missing.is_empty(), "not whole in a quiet time: {}", missing.join("; "));
        let mut aimed = field.aim(step)?;
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
        let stall = self.machine.longest(began, Instant::now());
        let healed_us = traffic.now_us();
        let ranges = 0..super::stage::GROUPS;
        let written = wait_until(WRITE_LIMIT, Duration::from_millis(20), || {
            ranges.clone().all(|range| traffic.pauses().first_after(range, healed_us).is_some())
        });
        let global = aimed.iter().any(|one| one.fault.group().is_none()) && aimed.len() > 1;
        for one in &aimed {
            let happened =
                self.happened(step, one, global, traffic, (at_us, at_ms), (whole, stall));
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
        watcher.settle();
        explained.add(step.number, seen, touched);
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
        (whole, stall): (Duration, Duration),
    ) -> Happened {
        let until_us = traffic.now_us();
        let gaps = one.ranges.iter();
        let longest = gaps.filter_map(|range| traffic.pauses().longest(*range, at_us, until_us));
        let pause_us = longest.max().unwrap_or(u64::MAX);
        let timed = step.faults.iter().find(|timed| timed.fault == one.fault);
        let (after, time) = timed.map_or_else(Default::default, |timed| (timed.after, timed.time));
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
            stall_ms: ms(stall),
        }
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn add_directory(stretch: &mut Stretch, report: &directory::Report) {
    stretch.directory_acked = count(report.acknowledged);
    stretch.leases = count(report.leases);
    stretch.locks = count(report.locks);
    stretch.unknown += count(report.unknown);
    stretch.lost += count(report.lost());
    stretch.stale += count(report.stale());
    stretch.violations += count(report.violations.len());
    stretch.unread += count(report.unread);
}
