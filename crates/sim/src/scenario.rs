//! What kind of world a seed makes.

use crate::rng::Rng;
use cairn_logic::counting::Plane;
use cairn_logic::message::Mode;
use cairn_logic::mutant::Mutant;
use cairn_logic::record::{Durability, Rule};
use cairn_logic::replication::Reads;
use cairn_logic::time::Duration;
use cairn_logic::timing::Timing;

/// What the caller of [`crate::run`] asks for.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The plane; by the seed if `None`.
    pub plane: Option<Plane>,
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
        Self { plane: None, faulty_ms: 60_000, healing_ms: 90_000, mutant: None, trace: false }
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
}

impl Kind {
    /// All of them, with how often each may happen at most, in events per hundred seconds of the
    /// world's time.
    pub(crate) const ALL: [(Self, u64); 24] = [
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
        let rates = Kind::ALL.map(|(_, most)| maybe(most));
        Self { rates, loss: maybe(60), repeat: maybe(60), delay: maybe(40) }
    }
}

/// The world of one seed.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub plane: Plane,
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
    pub faults: Faults,
    /// Mean time between two operations of clients, in microseconds.
    pub client_gap_us: u64,
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

impl Scenario {
    pub(crate) fn of(options: &Options, rng: &mut Rng) -> Self {
        let by_seed = if rng.chance(250) { Plane::Global } else { Plane::Group };
        let plane = options.plane.unwrap_or(by_seed);
        let (members, rule) = match plane {
            Plane::Global => (rng.between(1, 3), Rule::All),
            Plane::Group => match rng.below(10) {
                0..=1 => (2, Rule::One),
                2..=4 => (3, Rule::One),
                5..=6 => (3, Rule::Quorum),
                7 => (5, Rule::Quorum),
                8 => (rng.between(2, 4), Rule::All),
                9 if rng.chance(500) => (rng.between(2, 4), Rule::Async),
                _ => (4, Rule::Quorum),
            },
        };
        let members = usize::try_from(members).expect("few");
        let backups = u8::from(members > 2 && rng.chance(500));
        let wanted = u8::try_from(members).expect("few");
        let flushed = rng.chance(300);
        let durability = Durability { flushed, zones: 1 };
        Self {
            plane,
            // The global plane's nodes all want to be in the set.
            nodes: members + if plane == Plane::Global { 0 } else { rng.index(3) },
            members,
            replicas: wanted - 1 - backups,
            backups,
            mode: Mode { rule, wanted, durability },
            reads: if rng.chance(150) { Reads::Confirm } else { Reads::Lease },
            timing: timing(rng),
            tail_bytes: if rng.chance(300) { 64 } else { 1 << 16 },
            faults: Faults::of(rng),
            client_gap_us: rng.between(3000, 25_000),
        }
    }
}
