//! The world: one queue of events in time, and what each of them does.

mod desk;
mod disk;
mod entropy;
mod faults;
mod judging;
mod keeper;
mod lines;
mod network;
mod node;
mod perform;
mod register;
mod session;
mod snapshots;
mod truth;

use crate::folder::{Digest, Folder};
use crate::place::{ClientOp, Clock, Local, Place, Process};
use crate::rng::Rng;
use crate::scenario::{Faults, Options, Scenario, WorldKind};
use crate::store::Portions;
use crate::{Outcome, Stats, Verdict};
use cairn_logic::arbiter::{Ballot, Seat};
use cairn_logic::counting::Plane;
use cairn_logic::ids::{Epoch, GroupId, Incarnation, Offset, Version};
use cairn_logic::invariants::{Broken, Held, Witness};
use cairn_logic::message::Mode;
use cairn_logic::planner::Asked;
use cairn_logic::record::{Member, Record, Role};
use cairn_logic::replication::{Change, Reads};
use cairn_settings::directory_keys::KeyspaceConfig;
use lines::Lines;
use network::Links;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use truth::Truth;

/// Nanoseconds of a millisecond and of a microsecond.
pub(crate) const MS: u64 = 1_000_000;
pub(crate) const US: u64 = 1_000;

/// Lines of the trace that are kept without [`Options::trace`].
const TRACE_LINES: usize = 60;

/// Events of one world, at most; far more than any run needs.
const EVENTS_MAX: u64 = 2_000_000;

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

/// One replicated log of the world: the global plane's, or a group's.
pub(crate) struct Log {
    pub group: GroupId,
    pub plane: Plane,
    pub witness: Witness,
    /// What is wanted of its members.
    pub asked: Asked,
    pub reads: Reads,
    /// A chaotic wish, until this time.
    pub odd_wish: Option<(Change, u64)>,
    /// Writes answered.
    pub writes: u64,
    /// Writes answered before everything was well.
    pub calm_writes: u64,
    /// Writes answered when it had to serve without the plane.
    pub alone: Option<u64>,
    /// The last change that its master asked for, and what it was to replace.
    pub change: Option<(Version, Record)>,
    /// Whether a person is needed.
    pub needs: faults::Needs,
    /// What masters held at checks and repairs, by the chains of these.
    pub told: BTreeMap<u64, entropy::Told>,
    /// When a copy went wrong last.
    pub wrong_at: u64,
}

impl Log {
    pub(crate) fn new(group: GroupId, plane: Plane, record: Record, asked: Asked) -> Self {
        Self {
            group,
            plane,
            witness: Witness::new(plane, record),
            asked,
            reads: Reads::Lease,
            odd_wish: None,
            writes: 0,
            calm_writes: 0,
            alone: None,
            change: None,
            needs: faults::Needs::default(),
            told: BTreeMap::new(),
            wrong_at: 0,
        }
    }
}

/// What is asked of a keyspace's groups.
pub(crate) fn asked_of(config: &KeyspaceConfig) -> Asked {
    let mode = Mode { rule: config.ack, wanted: config.wanted(), durability: config.durability };
    Asked { replicas: config.replicas, backups: config.backups, mode }
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
    /// The first one is the group's or the global plane's; those of a cluster's groups follow as
    /// they are formed.
    logs: Vec<Log>,
    /// Lines between data nodes and global ones.
    lines: Lines,
    /// What is committed in the directory of a cluster.
    truth: Truth,
    faults: Faults,
    /// What snapshots hold; the first holds nothing.
    contents: Vec<Portions>,
    /// Many messages to this place linger until this time.
    slow: Option<(usize, u64)>,
    /// Who ever accepted each of the last rounds of the register.
    accepted: BTreeMap<Ballot, BTreeSet<Seat>>,
    /// The acceptor that lost its folder and is not replaced yet.
    lost_acceptor: Option<usize>,
    serial: u64,
    incarnations: u64,
    /// When faults stopped.
    calm: Option<u64>,
    /// Whether the plane is there, before that.
    dark: faults::Dark,
    healed: bool,
    stats: Stats,
    digest: Digest,
    trace: VecDeque<String>,
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::new(seed);
        let scenario = Scenario::of(seed, options, &mut rng);
        let record = first_record(&scenario);
        let asked =
            Asked { replicas: scenario.replicas, backups: scenario.backups, mode: scenario.mode };
        let group = match scenario.plane {
            Plane::Group => GroupId::new("group-0"),
            Plane::Global => GroupId::global(),
        };
        let mut world = Self {
            seed,
            options: *options,
            rng,
            now: 0,
            sequence: 0,
            queue: BTreeMap::new(),
            places: Vec::new(),
            links: Links::default(),
            logs: vec![Log {
                reads: scenario.reads,
                ..Log::new(group, scenario.plane, record, asked)
            }],
            lines: Lines::default(),
            truth: Truth::default(),
            faults: scenario.faults,
            contents: vec![Portions::default()],
            slow: None,
            accepted: BTreeMap::new(),
            lost_acceptor: None,
            serial: 0,
            incarnations: 100,
            calm: None,
            dark: faults::Dark::default(),
            healed: false,
            stats: Stats::default(),
            digest: Digest::new(seed),
            trace: VecDeque::new(),
            scenario,
        };
        world.furnish();
        tell_places(&world.scenario, &mut world.logs[0].witness);
        world
    }

    /// Puts machines and first events into the world.
    fn furnish(&mut self) {
        let nodes = self.scenario.nodes;
        for n in 0..nodes {
            let mut place = Place::new(self.scenario.node(n).as_str(), self.clock());
            place.folder = Some(Folder::new(n as u64 + 1));
            let cluster = self.scenario.kind == WorldKind::Cluster;
            let counts = !cluster || n < self.scenario.globals;
            place.has_judge = self.scenario.plane == Plane::Global && counts;
            place.log = counts.then_some(0);
            self.places.push(place);
        }
        let others: &[&str] = match self.scenario.plane {
            Plane::Group => &["judge-a", "judge-b"],
            Plane::Global if self.scenario.members == 1 => &["acceptor-b", "acceptor-c"],
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
            _ if self.scenario.kind == WorldKind::Cluster => vec![0, 1, self.scenario.nodes],
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
            if self.truth.rolled_back {
                break Verdict::Lossy;
            }
            if self.healed {
                let lossy = self.logs.iter().any(|log| log.witness.is_lossy());
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
        let text = self.scenario.to_string();
        Outcome {
            seed: self.seed,
            verdict,
            digest: self.digest.0,
            stats: self.stats,
            scenario: text,
            trace: self.trace.into(),
        }
    }
    fn happen(&mut self, event: Ev) -> Held {
        self.digest.add(self.now);
        if self.is_kept_away(&event) {
            return Ok(());
        }
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
                if self.is_faulty() {
                    self.stop(place);
                }
                Ok(())
            }
            Ev::Strike => self.strike(),
            Ev::Isolate(place) => {
                if self.is_faulty() {
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
            5..=8 => ClientOp::Read { began: Offset::ZERO },
            _ => ClientOp::Stale,
        };
        let log = self.some_log();
        let place = self.some_server(log);
        let op = match op {
            ClientOp::Read { .. } => ClientOp::Read { began: self.read_begins(log) },
            op => op,
        };
        let late = self.rng.between(50, 400) * US;
        self.stats.operations += 1;
        self.push(late, Ev::Local { place, generation: None, what: Local::Client(op) });
    }

    fn some_server(&mut self, log: usize) -> usize {
        let nodes = self.scenario.nodes;
        let nodes: Vec<usize> = (0..nodes).filter(|at| self.places[*at].log == Some(log)).collect();
        let believes =
            |at: &usize| self.places[*at].process.as_ref().is_some_and(Process::is_master);
        let masters: Vec<usize> = nodes.iter().copied().filter(believes).collect();
        match self.rng.pick(&masters).copied() {
            Some(place) if self.rng.chance(750) => place,
            _ => self.rng.pick(&nodes).copied().unwrap_or(0),
        }
    }

    /// The log that `place` has a copy of; of an idle node, which has none, the first.
    pub(crate) fn log_of(&self, place: usize) -> usize {
        self.places[place].log.unwrap_or(0)
    }

    /// What linearizable reads rest on at a place.
    fn reads_of(&self, place: usize) -> Reads {
        match self.scenario.kind {
            WorldKind::Cluster => {
                self.places[place].log.map_or(Reads::Lease, |at| self.logs[at].reads)
            }
            WorldKind::Group | WorldKind::Global | WorldKind::Moves => self.scenario.reads,
        }
    }
}

/// Tells where nodes are, whatever records say.
fn tell_places(scenario: &Scenario, witness: &mut Witness) {
    for at in 0..scenario.nodes {
        if let Some(zone) = scenario.zone(at) {
            witness.lies(scenario.node(at), zone);
        }
    }
}

/// A configuration nobody has mastered yet.
fn first_record(scenario: &Scenario) -> Record {
    let serving = scenario.members - usize::from(scenario.backups);
    let member = |n: usize| Member {
        id: scenario.node(n),
        incarnation: Incarnation(n as u64 + 1),
        role: if n < serving { Role::Replica } else { Role::Backup },
        zone: scenario.zone(n).filter(|_| scenario.zones.is_some_and(|zones| !zones.unsaid)),
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
