//! The world: one queue of events in time, and what each of them does.

mod disk;
mod faults;
mod judging;
mod keeper;
mod network;
mod node;
mod perform;
mod register;

use crate::folder::{Digest, Folder};
use crate::place::{ClientOp, Clock, Local, Place};
use crate::rng::Rng;
use crate::scenario::{Faults, Options, Scenario};
use crate::{Outcome, Stats, Verdict};
use cairn_logic::arbiter::{Ballot, Seat};
use cairn_logic::counting::Plane;
use cairn_logic::ids::{Epoch, Version};
use cairn_logic::invariants::{Broken, Held, Witness};
use cairn_logic::planner::Asked;
use cairn_logic::record::{Member, Record, Role};
use network::Links;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

/// Nanoseconds of a millisecond and of a microsecond.
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const US: u64 = 1_000;

/// Lines of the trace that are kept without [`Options::trace`].
const TRACE_LINES: usize = 60;

/// Events of one world, at most; far more than any run needs.
const EVENTS_MAX: u64 = 20_000_000;

/// Something that happens in the world.
#[derive(Clone, Debug)]
pub(crate) enum Ev {
    /// At one place; `generation` is that of the process it is meant for, if it is.
    Local { place: usize, generation: Option<u64>, what: Local },
    /// At the keeper of a group's record.
    Keeper(keeper::Ask),
    /// Something may go wrong.
    Fault,
    /// From now on other things go wrong.
    Weather,
    /// A node is told to stop.
    Stop(usize),
    /// Whoever is master now is hit.
    Strike,
    /// A place is cut off.
    Isolate(usize),
    /// The planner looks around.
    Plan,
    /// A client does something.
    Client,
    /// A place starts again.
    Restart(usize),
    /// A paused place goes on.
    Resume(usize),
    /// A link works again.
    Mend(usize, usize),
    /// The world looks whether it has healed.
    Look,
}

/// One seeded world.
pub(crate) struct World {
    seed: u64,
    options: Options,
    scenario: Scenario,
    rng: Rng,
    now: u64,
    sequence: u64,
    queue: BTreeMap<(u64, u64), Ev>,
    places: Vec<Place>,
    links: Links,
    witness: Witness,
    faults: Faults,
    asked: Asked,
    /// Many messages to this place linger until this time.
    slow: Option<(usize, u64)>,
    /// A chaotic wish, until this time.
    odd_wish: Option<(cairn_logic::replication::Change, u64)>,
    /// Who ever accepted each of the last rounds of the register.
    accepted: BTreeMap<Ballot, BTreeSet<Seat>>,
    /// The acceptor that lost its folder and is not replaced yet.
    lost_acceptor: Option<usize>,
    serial: u64,
    incarnations: u64,
    /// When faults stopped; writes answered before that.
    calm: Option<(u64, u64)>,
    healed: bool,
    stats: Stats,
    digest: Digest,
    trace: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::of(options, &mut rng);
        let record = first_record(&scenario);
        let asked =
            Asked { replicas: scenario.replicas, backups: scenario.backups, mode: scenario.mode };
        let mut world = Self {
            seed,
            options: *options,
            rng,
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            places: Vec::new(),
            links: Links::default(),
            witness: Witness::new(scenario.plane, record),
            faults: scenario.faults,
            asked,
            slow: None,
            odd_wish: None,
            accepted: BTreeMap::new(),
            lost_acceptor: None,
            serial: 0,
            incarnations: 100,
            calm: None,
            healed: false,
            stats: Stats::default(),
            digest: Digest::new(seed),
            trace: VecDeque::new(),
            scenario,
        };
        world.furnish();
        world
    }

    /// Puts machines and first events into the world.
    fn furnish(&mut self) {
        let nodes = self.scenario.nodes;
        for n in 0..nodes {
            let mut place = Place::new(&format!("n{n}"), self.clock());
            place.folder = Some(Folder::new(n as u64 + 1));
            place.has_judge = self.scenario.plane == Plane::Global;
            self.places.push(place);
        }
        let others: &[&str] = match self.scenario.plane {
            Plane::Group => &["judge-a", "judge-b"],
            Plane::Global if nodes == 1 => &["acceptor-b", "acceptor-c"],
            Plane::Global => &["acceptor-c"],
        };
        for name in others {
            let mut place = Place::new(name, self.clock());
            place.has_judge = self.scenario.plane == Plane::Group;
            self.places.push(place);
        }
        if self.scenario.plane == Plane::Global {
            for at in self.acceptors() {
                self.places[at].kept = Some(Default::default());
            }
        }
        for at in 0..self.places.len() {
            self.push(0, Ev::Restart(at));
        }
        let faulty = self.options.faulty_ms * MS;
        self.push(300 * MS, Ev::Fault);
        self.push(12_000 * MS, Ev::Weather);
        self.push(20 * MS, Ev::Plan);
        self.push(10 * MS, Ev::Client);
        self.push(faulty, Ev::Look);
        if self.scenario.plane == Plane::Global {
            self.push(MS, Ev::Keeper(keeper::Ask::Found));
        }
    }

    fn clock(&mut self) -> Clock {
        let (offset, rate) = (self.rng.between(1 << 40, 1 << 45), self.rng.between(900, 1100));
        let wall = i64::try_from(self.rng.below(4000)).expect("a few seconds") - 2000;
        Clock::new(offset, rate, wall)
    }

    /// Where the acceptors of the global plane are.
    pub(crate) fn acceptors(&self) -> Vec<usize> {
        match self.scenario.nodes {
            1 => vec![0, 1, 2],
            nodes => vec![0, 1, nodes],
        }
    }

    /// Puts an event `after` nanoseconds from now.
    pub(crate) fn push(&mut self, after: u64, event: Ev) {
        self.sequence += 1;
        self.queue.insert((self.now + after, self.sequence), event);
    }

    /// Puts an event of the process that runs at `place` now.
    pub(crate) fn push_own(&mut self, place: usize, after: u64, what: Local) {
        let generation = Some(self.places[place].generation);
        self.push(after, Ev::Local { place, generation, what });
    }

    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        let mut text = String::new();
        let at = self.now / US;
        let _ = write!(text, "{:>7}.{:03} ms  {}", at / 1000, at % 1000, line());
        self.digest.add_bytes(text.as_bytes());
        if !self.options.trace && self.trace.len() >= TRACE_LINES {
            self.trace.pop_front();
        }
        self.trace.push_back(text);
    }

    /// A line of a whole trace that is no part of the world's digest.
    pub(crate) fn note_aside(&mut self, line: impl FnOnce() -> String) {
        let at = self.now / US;
        self.trace.push_back(format!("{:>7}.{:03} ms    {}", at / 1000, at % 1000, line()));
    }

    /// Runs to the end.
    pub(crate) fn run(mut self) -> Outcome {
        let verdict = loop {
            let Some(((at, _), event)) = self.queue.pop_first() else {
                break Verdict::Broken(Broken { rule: "L1 Heals", facts: "nothing moves".into() });
            };
            self.now = at;
            self.stats.events += 1;
            if let Err(broken) = self.happen(event) {
                break Verdict::Broken(broken);
            }
            if self.healed {
                let lossy = self.witness.is_lossy();
                break if lossy { Verdict::Lossy } else { Verdict::Held };
            }
            if self.stats.events >= EVENTS_MAX {
                break Verdict::Broken(Broken { rule: "L1 Heals", facts: "too busy".into() });
            }
        };
        if let Verdict::Broken(broken) = &verdict {
            let line = broken.to_string();
            self.note(|| line);
        }
        let scenario = &self.scenario;
        let mode = &scenario.mode;
        let flushed = if mode.durability.flushed { " flushed" } else { "" };
        Outcome {
            seed: self.seed,
            verdict,
            digest: self.digest.0,
            stats: self.stats,
            scenario: format!(
                "{:?} {:?}{flushed} members={} nodes={} reads={:?}",
                scenario.plane, mode.rule, scenario.members, scenario.nodes, scenario.reads
            ),
            trace: self.trace.into(),
        }
    }

    fn happen(&mut self, event: Ev) -> Held {
        self.digest.add(self.now);
        match event {
            Ev::Local { place, generation, what } => {
                let there = &mut self.places[place];
                if !there.up || generation.is_some_and(|g| g != there.generation) {
                    return Ok(());
                }
                if let Some(waiting) = &mut there.paused {
                    waiting.push_back(what);
                    return Ok(());
                }
                self.digest.add(place as u64);
                self.local(place, what)
            }
            Ev::Keeper(ask) => self.keeper(ask),
            Ev::Fault => self.go_wrong(),
            Ev::Weather => {
                self.weather();
                Ok(())
            }
            Ev::Stop(place) => {
                if self.calm.is_none() {
                    self.stop(place);
                }
                Ok(())
            }
            Ev::Strike => self.strike(),
            Ev::Isolate(place) => {
                if self.calm.is_none() {
                    self.isolate(place);
                }
                Ok(())
            }
            Ev::Plan => self.plan(),
            Ev::Client => {
                self.client();
                Ok(())
            }
            Ev::Restart(place) => self.restart(place),
            Ev::Resume(place) => {
                self.resume(place);
                Ok(())
            }
            Ev::Mend(from, to) => {
                self.links.mend(from, to);
                Ok(())
            }
            Ev::Look => self.look(),
        }
    }

    /// A client goes to some node, more often to one that is, or believes it is, master.
    fn client(&mut self) {
        let gap = self.scenario.client_gap_us;
        let wait = self.rng.between(gap / 4, gap * 2) * US;
        self.push(wait, Ev::Client);
        let op = match self.rng.below(10) {
            0..=4 => ClientOp::Write,
            5..=8 => ClientOp::Read { began: self.witness.read_begins() },
            _ => ClientOp::Stale,
        };
        let place = self.some_server();
        let late = self.rng.between(50, 400) * US;
        self.stats.operations += 1;
        self.push(late, Ev::Local { place, generation: None, what: Local::Client(op) });
    }

    fn some_server(&mut self) -> usize {
        let nodes = self.scenario.nodes;
        let believes =
            |at: &usize| self.places[*at].process.as_ref().is_some_and(|p| p.data.is_master());
        let masters: Vec<usize> = (0..nodes).filter(believes).collect();
        match self.rng.pick(&masters).copied() {
            Some(place) if self.rng.chance(750) => place,
            _ => self.rng.index(nodes),
        }
    }
}

/// A configuration nobody has mastered yet.
fn first_record(scenario: &Scenario) -> Record {
    let serving = scenario.members - usize::from(scenario.backups);
    let member = |n: usize| Member {
        id: cairn_logic::ids::NodeId::new(format!("n{n}")),
        incarnation: cairn_logic::ids::Incarnation(n as u64 + 1),
        role: if n < serving { Role::Replica } else { Role::Backup },
    };
    Record {
        version: Version(1),
        epoch: Epoch::ZERO,
        master: None,
        members: (0..scenario.members).map(member).collect(),
        rule: scenario.mode.rule,
        wanted: scenario.mode.wanted,
        durability: scenario.mode.durability,
        attempt: Epoch::ZERO,
        open: false,
    }
}
