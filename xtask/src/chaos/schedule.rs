//! Which faults happen when: a pure function of the seed.
//!
//! A step disturbs at most one member of each group and at most one global node, so that every
//! write that was acknowledged must survive it. Faults that hit everybody come alone.

use std::time::Duration;

use cairn_harness::dice::Dice;

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
    /// The third acceptor.
    Acceptor,
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
                Who::GlobalMaster | Who::GlobalReplica | Who::Acceptor => None,
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
            | Self::Clock(who, _) => Some(who),
            Self::CutClients(group) => Some(Who::Master(group)),
            Self::Link(..) | Self::Split(_) | Self::Blackout | Self::KillAll | Self::StopAll => {
                None
            }
        }
    }

    /// Whether it needs nodes built with the fault layer below their files.
    #[cfg(test)]
    pub fn needs_layer(self) -> bool {
        matches!(self, Self::Disk(..) | Self::Power(_) | Self::Clock(..))
    }
}

impl Who {
    fn kind(self) -> &'static str {
        match self {
            Self::Master(_) => "master",
            Self::Member(..) => "member",
            Self::GlobalMaster => "global master",
            Self::GlobalReplica => "global replica",
            Self::Acceptor => "acceptor",
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
}

/// Step `number` of the campaign of `seed`; needs no step before it.
pub fn step(seed: u64, number: u64, scope: Scope) -> Step {
    let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
    // The first numbers of neighbouring seeds are alike.
    (0..8).for_each(|_| _ = dice.below(2));
    let quiet = Duration::from_millis(200 + dice.below(1500));
    let mut faults = match (scope.stalls_only, dice.below(16)) {
        (true, _) => vec![stall(&mut dice, scope)],
        (false, 0) => vec![everybody(&mut dice, scope)],
        (false, 1..=3) => vec![global(&mut dice, scope)],
        (false, 4) => {
            let group = index(&mut dice, scope.groups);
            vec![global(&mut dice, scope), member(&mut dice, group, scope)]
        }
        (false, 5..=8) => {
            let group = index(&mut dice, scope.groups);
            vec![member(&mut dice, group, scope)]
        }
        (false, _) => (0..scope.groups).map(|group| member(&mut dice, group, scope)).collect(),
    };
    faults.sort_by_key(|timed| timed.after);
    Step { number, quiet, faults }
}

fn index(dice: &mut Dice, bound: usize) -> usize {
    usize::try_from(dice.below(u64::try_from(bound).unwrap_or(u64::MAX))).unwrap_or(0)
}

/// From 1 s to `most_ms`, mostly short.
fn span(dice: &mut Dice, most_ms: u64) -> Duration {
    let most = match dice.below(8) {
        0 => most_ms,
        1 | 2 => most_ms / 4,
        _ => most_ms / 12,
    };
    Duration::from_millis(1000 + dice.below(most.saturating_sub(1000).max(1)))
}

fn timed(dice: &mut Dice, fault: Fault, time: Duration) -> Timed {
    Timed { fault, after: Duration::from_millis(dice.below(1200)), time }
}

fn stall(dice: &mut Dice, scope: Scope) -> Timed {
    let group = index(dice, scope.groups);
    let (master, other) = (Who::Master(group), Who::Member(group, index(dice, 2)));
    let who = if dice.below(2) == 0 { master } else { other };
    let second = Duration::from_secs;
    let (fault, time) = match dice.below(if scope.layer { 8 } else { 5 }) {
        0 | 1 => (Fault::StopAll, second(5)),
        2 => (Fault::Blackout, second(45)),
        3 | 4 => (Fault::Starve(who), second(10)),
        5 => (Fault::Clock(who, 3_600_000), second(5)),
        _ => (Fault::Disk(who, DiskFault::Slow), second(2)),
    };
    Timed { fault, after: Duration::ZERO, time }
}

fn everybody(dice: &mut Dice, scope: Scope) -> Timed {
    let sides = u32::try_from(dice.below(1 << scope.nodes.min(31))).unwrap_or(1);
    let (fault, time) = match dice.below(8) {
        0 => (Fault::Blackout, span(dice, 45_000)),
        1 | 2 => (Fault::StopAll, span(dice, 20_000)),
        3 | 4 => (Fault::KillAll, Duration::ZERO),
        _ => (Fault::Split(sides), span(dice, 45_000)),
    };
    Timed { fault, after: Duration::ZERO, time }
}

fn global(dice: &mut Dice, scope: Scope) -> Timed {
    let who = match dice.below(8) {
        0..=4 => Who::GlobalMaster,
        5 | 6 => Who::GlobalReplica,
        _ => Who::Acceptor,
    };
    one_node(dice, who, scope)
}

fn member(dice: &mut Dice, group: usize, scope: Scope) -> Timed {
    let other = index(dice, 2);
    match dice.below(12) {
        0 => {
            let (fault, time) = (Fault::Link(group, other), span(dice, 20_000));
            timed(dice, fault, time)
        }
        1 => {
            let time = span(dice, 20_000);
            timed(dice, Fault::CutClients(group), time)
        }
        2..=4 => one_node(dice, Who::Member(group, other), scope),
        _ => one_node(dice, Who::Master(group), scope),
    }
}

fn one_node(dice: &mut Dice, who: Who, scope: Scope) -> Timed {
    const ERRORS: [DiskFault; 6] = [
        DiskFault::WriteError,
        DiskFault::ReadError,
        DiskFault::FlushOnce,
        DiskFault::Stall,
        DiskFault::Slow,
        DiskFault::Full,
    ];
    let way = *dice.pick(&[Way::Both, Way::In, Way::Out, Way::Cable]).unwrap_or(&Way::Both);
    let percent = u8::try_from(5 + dice.below(60)).unwrap_or(5);
    let disk = *dice.pick(&ERRORS).unwrap_or(&DiskFault::Full);
    let offset = i64::try_from(dice.below(7_200_000)).unwrap_or(0) - 3_600_000;
    // An acceptor has no log, so a slow or lossy one shows little.
    let kinds = if scope.layer { 24 } else { 16 };
    let (fault, most) = match dice.below(kinds) {
        0..=4 => (Fault::Kill(who), 0),
        5 | 6 => (Fault::Empty(who), 6_000),
        7 | 8 => (Fault::Stop(who), 60_000),
        9..=11 => (Fault::Isolate(who, way), 45_000),
        12 => (Fault::Loss(who, percent), 20_000),
        13 | 14 => (Fault::SlowLink(who), 20_000),
        15 => (Fault::Starve(who), 15_000),
        16..=18 => (Fault::Power(who), 0),
        19 => (Fault::Clock(who, offset), 10_000),
        _ => (Fault::Disk(who, disk), 20_000),
    };
    let time = if most == 0 { Duration::ZERO } else { span(dice, most) };
    timed(dice, fault, time)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SCOPE: Scope = Scope { groups: 2, nodes: 9, layer: true, stalls_only: false };

    #[test]
    fn the_same_seed_gives_the_same_steps_and_another_one_others() {
        let steps = |seed| (0..200).map(|at| step(seed, at, SCOPE)).collect::<Vec<_>>();
        assert_eq!(steps(3), steps(3));
        assert_ne!(steps(3), steps(4));
    }

    #[test]
    fn a_step_disturbs_one_member_of_a_group_at_most_and_everybody_alone() {
        for at in 0..2000 {
            let faults = step(1, at, SCOPE).faults;
            let groups: Vec<_> = faults.iter().filter_map(|timed| timed.fault.group()).collect();
            let once: BTreeSet<_> = groups.iter().collect();
            assert_eq!(once.len(), groups.len(), "{faults:?}");
            let globals = faults.len() - groups.len();
            assert!(globals <= 1, "{faults:?}");
            let broad = |timed: &Timed| timed.fault.group().or(timed.fault.who().map(|_| 0));
            assert!(faults.len() == 1 || faults.iter().all(|t| broad(t).is_some()), "{faults:?}");
        }
    }

    #[test]
    fn every_kind_of_fault_comes_up_and_none_lasts_longer_than_a_minute() {
        let mut kinds = BTreeSet::new();
        for at in 0..2000 {
            for timed in step(7, at, SCOPE).faults {
                assert!(timed.time <= Duration::from_secs(60), "{timed:?}");
                kinds.insert(timed.fault.kind());
            }
        }
        for kind in [
            "kill all",
            "stop all",
            "split",
            "blackout",
            "power master",
            "full disk member",
            "empty global master",
            "deafen acceptor",
            "link master-member",
            "clock member",
        ] {
            assert!(kinds.contains(kind), "{kind} of {kinds:?}");
        }
    }

    #[test]
    fn without_the_layer_nothing_asks_for_it() {
        let scope = Scope { layer: false, ..SCOPE };
        let quiet = Scope { stalls_only: true, ..scope };
        for at in 0..1000 {
            for scope in [scope, quiet] {
                let faults = step(5, at, scope).faults;
                assert!(faults.iter().all(|timed| !timed.fault.needs_layer()));
            }
        }
    }
}
