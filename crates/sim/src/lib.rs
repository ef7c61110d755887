//! The real decision code in a seeded world: clocks, network, disks, faults, clients.
//!
//! [`run`] makes one world from a seed: nodes that run [`cairn_host::Host`], rival judges, a keeper
//! of the record (or, in the global plane, the arbiter's register), clients. Every third seed is a
//! whole cluster: acceptors, global nodes with the real directory, judges and planner of
//! [`cairn_global`] wherever the global master is, two groups whose records are keys of that
//! directory, idle nodes to claim. Messages are lost,
//! late, repeated and out of order, links break one way, processes and machines crash, disks fail,
//! clocks run at different rates. Members of groups hold a real keyspace, some of which goes wrong
//! in silence, and their masters have them compared. After every event the invariants of
//! [`cairn_logic::invariants`] hold; once faults stop, the world heals within a bound. The same
//! seed gives the same world, byte for byte.

mod data;
mod desk;
mod folder;
mod moves;
pub mod mutants;
mod place;
mod rng;
mod scenario;
mod session;
mod shell;
mod store;
mod world;

pub use scenario::{Options, WorldKind};

use cairn_logic::invariants::Broken;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many kinds of fault there are.
pub const FAULT_KINDS: usize = scenario::Kind::ALL.len();

/// How a world ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Every rule held, and the world healed.
    Held,
    /// Every rule held until a judge reported, as it must, that entries may be lost: more had
    /// failed than the rule bears.
    Lossy,
    /// A rule is broken.
    Broken(Broken),
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Faults of each kind, in the order of their kinds.
    pub faults: [u64; FAULT_KINDS],
    /// What clients tried to do.
    pub operations: u64,
    /// Tails of logs that were cut.
    pub cut_tails: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Fetches of snapshots that were begun.
    pub fetches: u64,
    /// Fronts of logs that were given up.
    pub truncations: u64,
    /// Logs that began anew with a fetched snapshot.
    pub restarts: u64,
    /// Checks that masters wrote into their logs.
    pub checks: u64,
    /// Parts of copies that were found to differ.
    pub differences: u64,
    /// Repairs that changed a copy.
    pub repairs: u64,
    /// Events handled.
    pub events: u64,
    /// Attempts that became epochs of groups.
    pub takeovers: u64,
    /// Attempts that became epochs of the global plane.
    pub plane_takeovers: u64,
    /// Idle nodes that were claimed by groups.
    pub claims: u64,
    /// Claimed nodes that were given back, and set their folders aside.
    pub releases: u64,
    /// Changes of configuration in which the master stayed.
    pub changes: u64,
    /// Writes answered with OK.
    pub writes: u64,
    /// Linearizable reads answered.
    pub reads: u64,
    /// Reads of replicas answered.
    pub stale_reads: u64,
    /// Processes and machines that crashed or were stopped.
    pub crashes: u64,
    /// Zones that lost power, or all their folders.
    pub zones_lost: u64,
    /// Groups that a person had go on with what was left.
    pub recoveries: u64,
    /// Groups that had to serve while the plane was gone.
    pub alone: u64,
    /// From the end of the faults to the healed world, in milliseconds.
    pub healed_ms: u64,
}

impl Stats {
    /// Faults of all kinds.
    #[must_use]
    pub fn faults_all(&self) -> u64 {
        self.faults.iter().sum()
    }

    /// How often each kind of fault happened, by its name.
    pub fn faults_by_kind(&self) -> impl Iterator<Item = (String, u64)> + '_ {
        let names = scenario::Kind::ALL.iter().map(|(kind, _)| format!("{kind:?}"));
        names.zip(self.faults.iter().copied())
    }
}

/// What became of one seed.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How it ended.
    pub verdict: Verdict,
    /// A digest of everything that happened.
    pub digest: u64,
    /// How much happened.
    pub stats: Stats,
    /// The world's kind in a few words.
    pub scenario: String,
    /// What happened, one line each: the last 60 lines, or all with [`Options::trace`].
    pub trace: Vec<String>,
}

impl Outcome {
    /// Whether nothing is broken.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !matches!(self.verdict, Verdict::Broken(_))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match &self.verdict {
            Verdict::Held => "held".to_owned(),
            Verdict::Lossy => "held until a reported loss".to_owned(),
            Verdict::Broken(broken) => broken.to_string(),
        };
        write!(f, "seed {}: {verdict} ({})", self.seed, self.scenario)
    }
}

/// Runs the world of `seed` to its end.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Outcome {
    let _broken = mutants::Breaking::begin(options.mutant);
    if options.kind == Some(WorldKind::Moves) {
        return moves::run(seed, options);
    }
    world::World::new(seed, options).run()
}

/// What became of many seeds.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Seeds run.
    pub seeds: u64,
    /// Seeds that ended with a reported loss.
    pub lossy: u64,
    /// Sums over all seeds (of `healed_ms`: the greatest).
    pub stats: Stats,
    /// The fewest operations and the fewest faults of a seed.
    pub least: Option<(u64, u64)>,
    /// How many seeds broke a rule.
    pub violations: u64,
    /// The first of them, at most ten.
    pub broken: Vec<Outcome>,
}

impl Summary {
    /// Adds one seed.
    pub fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.lossy += u64::from(outcome.verdict == Verdict::Lossy);
        let (sum, one) = (&mut self.stats, outcome.stats);
        let (operations, faults) = (one.operations, one.faults_all());
        let least = self.least.unwrap_or((operations, faults));
        self.least = Some((least.0.min(operations), least.1.min(faults)));
        sum.faults.iter_mut().zip(one.faults).for_each(|(sum, one)| *sum += one);
        sum.operations += operations;
        sum.cut_tails += one.cut_tails;
        sum.snapshots += one.snapshots;
        sum.fetches += one.fetches;
        sum.truncations += one.truncations;
        sum.restarts += one.restarts;
        sum.checks += one.checks;
        sum.differences += one.differences;
        sum.repairs += one.repairs;
        sum.events += one.events;
        sum.takeovers += one.takeovers;
        sum.plane_takeovers += one.plane_takeovers;
        sum.changes += one.changes;
        sum.claims += one.claims;
        sum.releases += one.releases;
        sum.writes += one.writes;
        sum.reads += one.reads;
        sum.stale_reads += one.stale_reads;
        sum.crashes += one.crashes;
        sum.recoveries += one.recoveries;
        sum.alone += one.alone;
        sum.healed_ms = sum.healed_ms.max(one.healed_ms);
        if !outcome.is_good() {
            self.violations += 1;
            if self.broken.len() < 10 {
                self.broken.push(outcome);
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, least) = (&self.stats, self.least.unwrap_or_default());
        write!(
            f,
            "sim: seeds={} violations={} lossy={} recoveries={} alone={} zones_lost={} \
             takeovers={} plane_takeovers={} changes={} claims={} releases={} cut_tails={} \
             snapshots={} truncations={} fetches={} restarts={} checks={} differences={} \
             repairs={} faults={} faults_min={} \
             operations={} operations_min={} writes={} reads={} stale_reads={} crashes={} \
             events={} healed_ms_max={}",
            self.seeds,
            self.violations,
            self.lossy,
            s.recoveries,
            s.alone,
            s.zones_lost,
            s.takeovers,
            s.plane_takeovers,
            s.changes,
            s.claims,
            s.releases,
            s.cut_tails,
            s.snapshots,
            s.truncations,
            s.fetches,
            s.restarts,
            s.checks,
            s.differences,
            s.repairs,
            s.faults_all(),
            least.1,
            s.operations,
            least.0,
            s.writes,
            s.reads,
            s.stale_reads,
            s.crashes,
            s.events,
            s.healed_ms
        )
    }
}

/// Runs `count` seeds from `first`, stopping after `stop_after` broken ones.
#[must_use]
pub fn run_many(first: u64, count: u64, stop_after: usize, options: &Options) -> Summary {
    let mut summary = Summary::default();
    for seed in first..first.saturating_add(count) {
        summary.add(run(seed, options));
        if summary.broken.len() >= stop_after.clamp(1, 10) {
            break;
        }
    }
    summary
}

/// Runs `count` seeds from `first` on `jobs` threads; `said` hears of each world as it ends and
/// says whether to go on. Every seed gives the same world however many threads there are.
pub fn campaign(
    first: u64,
    count: u64,
    jobs: usize,
    options: &Options,
    mut said: impl FnMut(&Outcome) -> bool,
) -> Summary {
    let (next, end) = (AtomicU64::new(first), first.saturating_add(count));
    let stop = AtomicBool::new(false);
    let mut summary = Summary::default();
    std::thread::scope(|scope| {
        let (sender, outcomes) = std::sync::mpsc::sync_channel(64);
        for _ in 0..jobs.clamp(1, 64) {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || sender.send(run(seed, options)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(sender);
        for outcome in outcomes {
            if !said(&outcome) {
                stop.store(true, Ordering::Relaxed);
            }
            summary.add(outcome);
        }
    });
    summary
}
