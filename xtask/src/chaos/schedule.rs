//! Which faults happen when: a pure function of the seed.
//!
//! A step disturbs at most one member of each group and at most one global node, so that every
//! write that was acknowledged must survive it. Faults that hit everybody come alone.

mod draw;

use std::time::Duration;

pub use draw::step;

/// Who is hit; which node that is, is seen when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The master of a group, by the order of the slots.
    Master(usize),
    /// Another member of a group, by its place among those that are not master.
    Member(usize, usize),
    /// The global master.
    GlobalMaster,
    /// The other global node.
    GlobalReplica,
    /// The node that follows the global log and is the third acceptor.
    Checkpoint,
}

/// Which of a node's packets are dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All, by a rule.
    Both,
    /// Only those that come in.
    In,
    /// Only those that go out.
    Out,
    /// All, because its cable is out.
    Cable,
}

/// What a node's disk does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// Every write fails.
    WriteError,
    /// Every read fails.
    ReadError,
    /// The next flush fails, once.
    FlushOnce,
    /// Flushes do not return.
    Stall,
    /// Every write and flush takes long.
    Slow,
    /// There is no room.
    Full,
}

/// What happens while a node writes a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amid {
    /// `kill -9` of it.
    Kill,
    /// Its disk is full.
    Full,
    /// Its wall clock jumps by so many milliseconds.
    Clock(i64),
}

/// What happens while a node fetches a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// `kill -9` of the one that fetches.
    KillFetcher,
    /// `kill -9` of the one that sends.
    KillHolder,
    /// The cable of the one that fetches is out.
    Cut,
    /// The disk of the one that fetches is full.
    Full,
}

/// What becomes of a snapshot in the folder of a node that is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// One bit of it is another one.
    Flip,
    /// Its end is missing.
    Cut,
}

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `kill -9`; started again at once.
    Kill(Who),
    /// `kill -9`; started again after its end, with an empty folder.
    Empty(Who),
    /// `kill -9`, and what was not flushed is lost or torn, as after a loss of power.
    Power(Who),
    /// SIGSTOP, SIGCONT at its end.
    Stop(Who),
    /// A node that runs one millisecond of every twenty.
    Starve(Who),
    /// A node that nobody hears, or that hears nobody, or both.
    Isolate(Who, Way),
    /// Two members of one group that do not hear one another: the master and another member.
    Link(usize, usize),
    /// A group's master and its clients do not hear one another.
    CutClients(usize),
    /// Packets of a node are lost, this many of a hundred.
    Loss(Who, u8),
    /// A node's link is so slow that packets queue for long.
    SlowLink(Who),
    /// A node's disk does something wrong.
    Disk(Who, DiskFault),
    /// A node's wall clock is off by so many milliseconds.
    Clock(Who, i64),
    /// Something happens to a node so many milliseconds after it has begun to write a snapshot.
    Writing(Who, Amid, u16),
    /// A node begins with an empty folder; something happens so many milliseconds after it has
    /// begun to fetch a snapshot.
    Fetching(Who, Between, u16),
    /// `kill -9`; its newest snapshot is damaged before it is started again, after the fault's end.
    Damage(Who, Harm),
    /// `kill -9`; started again after its end, when the others' logs may have left it behind.
    Away(Who),
    /// Nodes on two sides: bit N of the number is the side of node N in starting order.
    Split(u32),
    /// No node hears another one.
    Blackout,
    /// `kill -9` of all nodes at once.
    KillAll,
    /// SIGSTOP of all nodes at once, SIGCONT at its end.
    StopAll,
}

impl Fault {
    /// The kind under which pauses are counted.
    pub fn kind(self) -> String {
        let of = |what: &str, who: Who| format!("{what} {}", who.kind());
        match self {
            Self::Kill(who) => of("kill", who),
            Self::Empty(who) => of("empty", who),
            Self::Power(who) => of("power", who),
            Self::Stop(who) => of("stop", who),
            Self::Starve(who) => of("starve", who),
            Self::Isolate(who, way) => of(way.kind(), who),
            Self::Link(..) => "link master-member".into(),
            Self::CutClients(_) => "cut clients master".into(),
            Self::Loss(who, _) => of("loss", who),
            Self::SlowLink(who) => of("slow link", who),
            Self::Disk(who, fault) => of(fault.kind(), who),
            Self::Clock(who, _) => of("clock", who),
            Self::Writing(who, amid, _) => of(amid.kind(), who),
            Self::Fetching(who, between, _) => of(between.kind(), who),
            Self::Damage(who, Harm::Flip) => of("flipped snapshot", who),
            Self::Damage(who, Harm::Cut) => of("cut snapshot", who),
            Self::Away(who) => of("away", who),
            Self::Split(_) => "split".into(),
            Self::Blackout => "blackout".into(),
            Self::KillAll => "kill all".into(),
            Self::StopAll => "stop all".into(),
        }
    }

    /// The group it is aimed at, if it is one.
    pub fn group(self) -> Option<usize> {
        match self {
            Self::Link(group, _) | Self::CutClients(group) => Some(group),
            _ => match self.who()? {
                Who::Master(group) | Who::Member(group, _) => Some(group),
                Who::GlobalMaster | Who::GlobalReplica | Who::Checkpoint => None,
            },
        }
    }

    /// The one node it is aimed at, if it is one.
    pub fn who(self) -> Option<Who> {
        match self {
            Self::Kill(who)
            | Self::Empty(who)
            | Self::Power(who)
            | Self::Stop(who)
            | Self::Starve(who)
            | Self::Isolate(who, _)
            | Self::Loss(who, _)
            | Self::SlowLink(who)
            | Self::Disk(who, _)
            | Self::Clock(who, _)
            | Self::Writing(who, ..)
            | Self::Fetching(who, ..)
            | Self::Damage(who, _)
            | Self::Away(who) => Some(who),
            Self::CutClients(group) => Some(Who::Master(group)),
            Self::Link(..) | Self::Split(_) | Self::Blackout | Self::KillAll | Self::StopAll => {
                None
            }
        }
    }

    /// Whether it keeps packets of one node from others, or lets them be late.
    pub fn is_of_network(self) -> bool {
        matches!(self, Self::Isolate(..) | Self::Loss(..) | Self::SlowLink(_))
    }

    /// Whether it needs nodes built with the fault layer below their files.
    #[cfg(test)]
    pub fn needs_layer(self) -> bool {
        let amid = matches!(self, Self::Writing(_, Amid::Full | Amid::Clock(_), _));
        let between = matches!(self, Self::Fetching(_, Between::Full, _));
        amid || between || matches!(self, Self::Disk(..) | Self::Power(_) | Self::Clock(..))
    }
}

impl Who {
    fn kind(self) -> &'static str {
        match self {
            Self::Master(_) => "master",
            Self::Member(..) => "member",
            Self::GlobalMaster => "global master",
            Self::GlobalReplica => "global replica",
            Self::Checkpoint => "checkpoint node",
        }
    }
}

impl Amid {
    fn kind(self) -> &'static str {
        match self {
            Self::Kill => "kill writing",
            Self::Full => "full disk writing",
            Self::Clock(_) => "clock writing",
        }
    }
}

impl Between {
    fn kind(self) -> &'static str {
        match self {
            Self::KillFetcher => "kill fetching",
            Self::KillHolder => "kill sender of",
            Self::Cut => "unplug fetching",
            Self::Full => "full disk fetching",
        }
    }
}

impl Way {
    fn kind(self) -> &'static str {
        match self {
            Self::Both => "isolate",
            Self::In => "deafen",
            Self::Out => "silence",
            Self::Cable => "unplug",
        }
    }
}

impl DiskFault {
    fn kind(self) -> &'static str {
        match self {
            Self::WriteError => "write error",
            Self::ReadError => "read error",
            Self::FlushOnce => "flush error",
            Self::Stall => "stalled flush",
            Self::Slow => "slow disk",
            Self::Full => "full disk",
        }
    }
}

/// A fault and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timed {
    /// What happens.
    pub fault: Fault,
    /// When it begins, after the beginning of the step.
    pub after: Duration,
    /// How long it lasts.
    pub time: Duration,
}

/// What happens together, after a quiet time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its number, from 0.
    pub number: u64,
    /// Quiet before it.
    pub quiet: Duration,
    /// The faults, in the order of their beginnings.
    pub faults: Vec<Timed>,
}

/// What a schedule may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// How many groups there are.
    pub groups: usize,
    /// How many nodes there are.
    pub nodes: u32,
    /// Whether nodes have the fault layer.
    pub layer: bool,
    /// Only what may not take a mastership away from anybody.
    pub stalls_only: bool,
    /// Only what happens around snapshots.
    pub snapshots_only: bool,
}
