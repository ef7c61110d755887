//! What kind of world a seed makes.

use crate::rng::Rng;
use cairn_logic::counting::Plane;
use cairn_logic::ids::NodeId;
use cairn_logic::message::Mode;
use cairn_logic::mutant::Mutant;
use cairn_logic::record::{Durability, Rule};
use cairn_logic::replication::Reads;
use cairn_logic::time::Duration;
use cairn_logic::timing::Timing;
use cairn_settings::Reads as ReadsSetting;
use cairn_settings::directory_keys::KeyspaceConfig;
use std::fmt;

/// What the caller of [`crate::run`] asks for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The kind of world; by the seed if `None`.
    pub kind: Option<WorldKind>,
    /// How long faults go on, in milliseconds of the world's time.
    pub faulty_ms: u64,
    /// How long the world may take to heal afterwards, in milliseconds of its time.
    pub healing_ms: u64,
    /// The rule to break, if any (needs the feature `mutants`).
    pub mutant: Option<Mutant>,
    /// Whether to keep the whole trace instead of its end.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { kind: None, faulty_ms: 60_000, healing_ms: 90_000, mutant: None, trace: false }
    }
}

/// What a world is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorldKind {
    /// One group, with a keeper of its record and two judges.
    Group,
    /// The global plane alone, with its arbiter.
    Global,
    /// The global plane with a directory, and two groups whose records are in it.
    Cluster,
    /// Slots that move between two groups; only if it is asked for.
    Moves,
}

impl fmt::Display for WorldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Group => "group",
            Self::Global => "global",
            Self::Cluster => "cluster",
            Self::Moves => "moves",
        })
    }
}

impl WorldKind {
    /// Every third seed makes a cluster.
    fn of(seed: u64, rng: &mut Rng) -> Self {
        match rng.chance(250) {
            _ if seed % 3 == 2 => Self::Cluster,
            true => Self::Global,
            false => Self::Group,
        }
    }
}

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    ProcessCrash,
    MachineCrash,
    CleanStop,
    RollingRestart,
    PowerCut,
    Pause,
    Cut,
    Isolate,
    Storm,
    DiskFails,
    DiskFlushStalls,
    DiskStalls,
    DiskSlow,
    DiskFull,
    FolderLost,
    ClockRate,
    ClockLeap,
    WallClockJump,
    JudgeCrash,
    Wish,
    Switchover,
    Hint,
    AcceptorLost,
    AcceptorRestored,
    SilentDifference,
    ZoneGone,
}

impl Kind {
    /// All of them, with how often each may happen at most, in events per hundred seconds of the
    /// world's time.
    pub(crate) const ALL: [(Self, u64); 26] = [
        (Self::ProcessCrash, 60),
        (Self::MachineCrash, 20),
        (Self::CleanStop, 20),
        (Self::RollingRestart, 8),
        (Self::PowerCut, 6),
        (Self::Pause, 30),
        (Self::Cut, 120),
        (Self::Isolate, 40),
        (Self::Storm, 60),
        (Self::DiskFails, 6),
        (Self::DiskFlushStalls, 20),
        (Self::DiskStalls, 20),
        (Self::DiskSlow, 20),
        (Self::DiskFull, 16),
        (Self::FolderLost, 8),
        (Self::ClockRate, 20),
        (Self::ClockLeap, 20),
        (Self::WallClockJump, 20),
        (Self::JudgeCrash, 40),
        (Self::Wish, 60),
        (Self::Switchover, 30),
        (Self::Hint, 60),
        (Self::AcceptorLost, 30),
        (Self::AcceptorRestored, 20),
        (Self::SilentDifference, 30),
        // Only where there are zones, always as often: other worlds draw nothing for it.
        (Self::ZoneGone, 20),
    ];
}

/// How often things go wrong for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    /// Events per hundred seconds of the world's time, in the order of [`Kind::ALL`].
    pub rates: [u64; Kind::ALL.len()],
    /// Messages lost, per mille.
    pub loss: u64,
    /// Messages repeated, per mille.
    pub repeat: u64,
    /// Messages much delayed, per mille.
    pub delay: u64,
}

impl Faults {
    /// Another mixture: each kind is away two times of five.
    pub(crate) fn of(rng: &mut Rng) -> Self {
        let mut maybe = |most: u64| if rng.chance(600) { rng.between(0, most) } else { 0 };
        let rates = Kind::ALL.map(|(kind, most)| match kind {
            Kind::ZoneGone => most,
            _ => maybe(most),
        });
        Self { rates, loss: maybe(60), repeat: maybe(60), delay: maybe(40) }
    }
}

/// How the nodes that may be members lie in zones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zones {
    /// How many zones there are.
    pub number: usize,
    /// Nodes that follow each other in the same zone.
    beside: usize,
    /// Whether the first record of a group does not say where its members are.
    pub unsaid: bool,
}

/// Sets the chances of zones apart from all others.
const ZONES_SEED: u64 = 0x5a4f_4e45_5300_0000;

/// The world of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub kind: WorldKind,
    /// The plane of its first log.
    pub plane: Plane,
    /// Global nodes of a cluster.
    pub globals: usize,
    /// Keyspaces of a cluster, of one group each.
    pub keyspaces: Vec<KeyspaceConfig>,
    /// Data (or global) nodes, members and others.
    pub nodes: usize,
    /// Members at the beginning.
    pub members: usize,
    pub replicas: u8,
    pub backups: u8,
    pub mode: Mode,
    pub reads: Reads,
    pub timing: Timing,
    pub tail_bytes: usize,
    /// How often snapshots are begun and fronts given up, in thousandths of all ticks.
    pub fronts: u64,
    pub faults: Faults,
    /// Mean time between two operations of clients, in microseconds.
    pub client_gap_us: u64,
    pub zones: Option<Zones>,
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A plane that lives some three times as fast as the default one: more happens in a run.
fn timing(rng: &mut Rng) -> Timing {
    Timing {
        heartbeat: ms(30),
        read_lease: ms(150),
        silence_max: ms(180),
        seal_wait: ms(50),
        stuck_max: ms(2000),
        clock_drift_percent: 10,
        join_after: ms(rng.between(100, 400)),
        lag_bytes_max: 1 << 20,
        lag_max: ms(300),
        remove_after: ms(rng.between(400, 900)),
        attempt_backoff: ms(60),
        attempt_backoff_max: ms(2000),
    }
}

/// How many members, and which rule.
fn group_mode(rng: &mut Rng) -> (u64, Rule) {
    match rng.below(10) {
        0..=1 => (2, Rule::One),
        2..=4 => (3, Rule::One),
        5..=6 => (3, Rule::Quorum),
        7 => (5, Rule::Quorum),
        8 => (rng.between(2, 4), Rule::All),
        9 if rng.chance(500) => (rng.between(2, 4), Rule::Async),
        _ => (4, Rule::Quorum),
    }
}

/// A keyspace of one group of three to five.
fn keyspace(rng: &mut Rng) -> KeyspaceConfig {
    let (wanted, ack) = match rng.below(10) {
        0..=3 => (3, Rule::One),
        4..=6 => (3, Rule::Quorum),
        7 => (4, Rule::Quorum),
        8 => (5, Rule::Quorum),
        _ => (3, Rule::All),
    };
    let backups = u8::from(rng.chance(500));
    KeyspaceConfig {
        groups: 1,
        replicas: wanted - 1 - backups,
        backups,
        ack,
        durability: Durability { flushed: rng.chance(300), zones: 1 },
        reads: if rng.chance(150) { ReadsSetting::Confirm } else { ReadsSetting::Lease },
        limits: Default::default(),
        notify_keyspace_events: String::new(),
        password_sha256: None,
        users: Default::default(),
        masters_interval_ms: 4_000,
        autoscale: None,
    }
}

impl Scenario {
    pub(crate) fn of(seed: u64, options: &Options, rng: &mut Rng) -> Self {
        let by_seed = WorldKind::of(seed, rng);
        let mut scenario = match options.kind.unwrap_or(by_seed) {
            WorldKind::Cluster => Self::cluster(rng),
            kind => Self::of_one(kind, rng),
        };
        scenario.lay_out(&mut Rng::new(seed ^ ZONES_SEED));
        scenario
    }

    /// In every third world with groups the nodes are in zones, and copies have to be in two.
    fn lay_out(&mut self, rng: &mut Rng) {
        let groups = matches!(self.kind, WorldKind::Group | WorldKind::Cluster);
        if !groups || !rng.chance(333) {
            return;
        }
        let number = 2 + usize::from(rng.chance(500));
        let beside = if self.kind == WorldKind::Group { 1 + rng.index(2) } else { 1 };
        self.zones = Some(Zones { number, beside, unsaid: rng.chance(300) });
        if (self.kind, self.mode.rule, self.members) == (WorldKind::Group, Rule::One, 3) {
            // Two members beside each other, and nodes elsewhere with whom the third goes on.
            self.zones = Some(Zones { number: 3, beside: 2, unsaid: false });
            self.nodes = 5;
        }
        if self.zone(self.nodes - 1) == self.zone(self.globals) && self.nodes <= 2 {
            // Two nodes side by side are in one zone only.
            self.zones = None;
            return;
        }
        match self.kind {
            WorldKind::Cluster => {
                self.keyspaces.iter_mut().for_each(|config| config.durability.zones = 2);
            }
            _ => self.mode.durability.zones = 1 + u8::from(rng.chance(800)),
        }
    }

    /// The zone of a node by its place; the plane's nodes are in none.
    pub(crate) fn zone(&self, at: usize) -> Option<String> {
        let zones = self.zones?;
        let at = at.checked_sub(self.globals).filter(|_| at < self.nodes)?;
        Some(format!("z{}", at / zones.beside % zones.number))
    }

    /// How many logs there are once all groups are formed.
    pub(crate) fn logs(&self) -> usize {
        1 + self.keyspaces.len()
    }

    /// The name of a keyspace of a cluster.
    pub(crate) fn keyspace(at: usize) -> &'static str {
        ["a", "b"][at]
    }

    fn cluster(rng: &mut Rng) -> Self {
        let globals = 2 + usize::from(rng.chance(300));
        let keyspaces = vec![keyspace(rng), keyspace(rng)];
        let members: u8 = keyspaces.iter().map(KeyspaceConfig::wanted).sum();
        let idle = rng.between(1, 3);
        let wanted = u8::try_from(globals).expect("few");
        let durability = Durability { flushed: rng.chance(150), zones: 1 };
        Self {
            kind: WorldKind::Cluster,
            plane: Plane::Global,
            globals,
            nodes: globals + usize::from(members) + usize::try_from(idle).expect("few"),
            keyspaces,
            members: globals,
            replicas: wanted - 1,
            backups: 0,
            mode: Mode { rule: Rule::All, wanted, durability },
            reads: Reads::Lease,
            timing: timing(rng),
            tail_bytes: if rng.chance(300) { 256 } else { 1 << 16 },
            fronts: rng.between(1, 20),
            faults: Faults::of(rng),
            client_gap_us: rng.between(5000, 25_000),
            zones: None,
        }
    }

    fn of_one(kind: WorldKind, rng: &mut Rng) -> Self {
        let plane = if kind == WorldKind::Global { Plane::Global } else { Plane::Group };
        let (members, rule) = match plane {
            Plane::Global => (rng.between(1, 3), Rule::All),
            Plane::Group => group_mode(rng),
        };
        let members = usize::try_from(members).expect("few");
        let backups = u8::from(members > 2 && rng.chance(500));
        let wanted = u8::try_from(members).expect("few");
        let flushed = rng.chance(300);
        let durability = Durability { flushed, zones: 1 };
        Self {
            kind,
            plane,
            globals: 0,
            keyspaces: Vec::new(),
            // The global plane's nodes all want to be in the set.
            nodes: members + if plane == Plane::Global { 0 } else { rng.index(3) },
            members,
            replicas: wanted - 1 - backups,
            backups,
            mode: Mode { rule, wanted, durability },
            reads: if rng.chance(150) { Reads::Confirm } else { Reads::Lease },
            timing: timing(rng),
            tail_bytes: if rng.chance(300) { 256 } else { 1 << 16 },
            fronts: rng.between(1, 20),
            faults: Faults::of(rng),
            client_gap_us: rng.between(3000, 25_000),
            zones: None,
        }
    }
}

impl Scenario {
    /// The name of a node by its place.
    pub(crate) fn node(&self, at: usize) -> NodeId {
        match at.checked_sub(self.globals) {
            _ if self.kind != WorldKind::Cluster => NodeId::new(format!("n{at}")),
            None => NodeId::new(format!("g{at}")),
            Some(at) => NodeId::new(format!("d{at}")),
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flushed = |flushed: bool| if flushed { " flushed" } else { "" };
        let (mode, text) = (&self.mode, flushed(self.mode.durability.flushed));
        write!(f, "{:?} {:?}{text}", self.kind, mode.rule)?;
        write!(f, " members={} nodes={} reads={:?}", self.members, self.nodes, self.reads)?;
        if let Some(zones) = &self.zones {
            write!(f, " zones={}x{}", zones.number, zones.beside)?;
        }
        for (at, config) in self.keyspaces.iter().enumerate() {
            let (name, text) = (Self::keyspace(at), flushed(config.durability.flushed));
            let (wanted, reads) = (config.wanted(), config.reads);
            write!(f, " {name}={:?}{text} members={wanted} reads={reads:?}", config.ack)?;
        }
        Ok(())
    }
}
