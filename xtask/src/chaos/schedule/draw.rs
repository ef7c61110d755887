//! Draws a step: who is hit together, what hits them, for how long.

use std::time::Duration;

use cairn_harness::dice::Dice;

use super::{Amid, Between, DiskFault, Fault, Harm, Scope, Step, Timed, Way, Who};

/// Step `number` of the campaign of `seed`; needs no step before it.
///
/// Who is hit together and what hits them is dealt from shuffled decks, so that nothing that can
/// happen fails to happen for long.
pub fn step(seed: u64, number: u64, scope: Scope) -> Step {
    let mut dice = dice(seed, number);
    let quiet = Duration::from_millis(100 + dice.below(600));
    let mut faults = if scope.stalls_only {
        vec![stall(&mut dice, scope)]
    } else if scope.snapshots_only {
        vec![snapshot(&mut dice, (seed, number), scope)]
    } else {
        let hit = deal(&SHAPES, seed ^ 0x5a5a, number);
        match hit {
            Shape::Everybody => vec![everybody(&mut dice, (seed, number), scope)],
            Shape::Snapshot => vec![snapshot(&mut dice, (seed, number), scope)],
            Shape::Some { global, members } => {
                let first = index(&mut dice, scope.groups);
                let groups = (0..members.min(scope.groups)).map(|at| (first + at) % scope.groups);
                let groups = groups.collect::<Vec<_>>().into_iter();
                let global = global.then(|| self::global(&mut dice, (seed, number), scope));
                let members = groups.map(|at| member(&mut dice, (seed, number), at, scope));
                global.into_iter().chain(members).collect()
            }
        }
    };
    faults.sort_by_key(|timed| timed.after);
    Step { number, quiet, faults }
}

/// Who is hit in one step.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// All nodes.
    Everybody,
    /// One node that writes, fetches or needs a snapshot, alone.
    Snapshot,
    /// One node of the global plane or none, and one member of so many groups.
    Some { global: bool, members: usize },
}

const SHAPES: [Shape; 24] = {
    const fn of(global: bool, members: usize) -> Shape {
        Shape::Some { global, members }
    }
    let (both, all) = (of(false, 2), of(true, 2));
    [
        Shape::Everybody,
        of(true, 0),
        of(true, 1),
        of(true, 1),
        of(false, 1),
        of(false, 1),
        both,
        both,
        both,
        both,
        all,
        all,
        all,
        all,
        all,
        all,
        Shape::Snapshot,
        Shape::Snapshot,
        Shape::Snapshot,
        Shape::Snapshot,
        Shape::Snapshot,
        Shape::Snapshot,
        Shape::Snapshot,
        Shape::Snapshot,
    ]
};

/// What can be done to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Card {
    Kill,
    Empty,
    Stop,
    Starve,
    Isolate(Way),
    /// A member alone: the link to its master.
    Link,
    /// A member alone: the link to its clients.
    CutClients,
    Loss,
    SlowLink,
    Power,
    Clock,
    Disk(DiskFault),
}

/// Without the fault layer, only those before the first that needs it are dealt.
const CARDS: [Card; 28] = [
    Card::Kill,
    Card::Kill,
    Card::Kill,
    Card::Empty,
    Card::Empty,
    Card::Stop,
    Card::Stop,
    Card::Starve,
    Card::Isolate(Way::Both),
    Card::Isolate(Way::In),
    Card::Isolate(Way::Out),
    Card::Isolate(Way::Cable),
    Card::Link,
    Card::CutClients,
    Card::Loss,
    Card::SlowLink,
    Card::Power,
    Card::Power,
    Card::Power,
    Card::Clock,
    Card::Disk(DiskFault::WriteError),
    Card::Disk(DiskFault::WriteError),
    Card::Disk(DiskFault::ReadError),
    Card::Disk(DiskFault::FlushOnce),
    Card::Disk(DiskFault::FlushOnce),
    Card::Disk(DiskFault::Stall),
    Card::Disk(DiskFault::Slow),
    Card::Disk(DiskFault::Full),
];
const WITHOUT_LAYER: usize = 16;

const EVERYBODY: [Fault; 8] = [
    Fault::Blackout,
    Fault::StopAll,
    Fault::StopAll,
    Fault::KillAll,
    Fault::KillAll,
    Fault::Split(0),
    Fault::Split(0),
    Fault::Split(0),
];

/// What can be done around a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    Fetching(Between),
    Writing(Card),
    Damage(Harm),
    Away,
    Empty,
}

/// Without the fault layer, only those before the first that needs it are dealt.
const AROUND: [Around; 14] = [
    Around::Fetching(Between::KillFetcher),
    Around::Fetching(Between::KillHolder),
    Around::Fetching(Between::KillHolder),
    Around::Fetching(Between::Cut),
    Around::Writing(Card::Kill),
    Around::Writing(Card::Kill),
    Around::Damage(Harm::Flip),
    Around::Damage(Harm::Cut),
    Around::Away,
    Around::Away,
    Around::Empty,
    Around::Fetching(Between::Full),
    Around::Writing(Card::Disk(DiskFault::Full)),
    Around::Writing(Card::Clock),
];
const AROUND_WITHOUT_LAYER: usize = 11;

fn dice(seed: u64, number: u64) -> Dice {
    let mut dice = Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(number));
    // The first numbers of neighbouring seeds are alike.
    (0..8).for_each(|_| _ = dice.below(2));
    dice
}

/// The card at place `number` of an endless row of decks, each shuffled anew.
fn deal<T: Copy>(deck: &[T], seed: u64, number: u64) -> T {
    let size = u64::try_from(deck.len()).expect("a deck is small");
    let mut dice = dice(seed ^ 0x00de_c000, number / size);
    let mut order: Vec<usize> = (0..deck.len()).collect();
    for at in (1..order.len()).rev() {
        order.swap(at, index(&mut dice, at + 1));
    }
    let place = usize::try_from(number % size).expect("a deck is small");
    deck[order[place]]
}

fn index(dice: &mut Dice, bound: usize) -> usize {
    usize::try_from(dice.below(u64::try_from(bound).unwrap_or(u64::MAX))).unwrap_or(0)
}

/// From 1 s to `most_ms`, mostly short.
fn span(dice: &mut Dice, most_ms: u64) -> Duration {
    let most = match dice.below(24) {
        0 => most_ms,
        1..=3 => most_ms / 4,
        _ => most_ms / 12,
    };
    Duration::from_millis(1000 + dice.below(most.saturating_sub(1000).max(500)))
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

fn everybody(dice: &mut Dice, (seed, number): (u64, u64), scope: Scope) -> Timed {
    let sides = u32::try_from(dice.below(1 << scope.nodes.min(31))).unwrap_or(1);
    // One step of each deck is for everybody.
    let dealt = deal(&EVERYBODY, seed ^ 0xa11, number / SHAPES.len() as u64);
    let (fault, time) = match dealt {
        Fault::StopAll => (dealt, span(dice, 20_000)),
        Fault::KillAll => (dealt, Duration::ZERO),
        Fault::Split(_) => (Fault::Split(sides), span(dice, 45_000)),
        _ => (Fault::Blackout, span(dice, 45_000)),
    };
    Timed { fault, after: Duration::ZERO, time }
}

fn global(dice: &mut Dice, (seed, number): (u64, u64), scope: Scope) -> Timed {
    let who = match dice.below(8) {
        0..=3 => Who::GlobalMaster,
        4..=6 => Who::GlobalReplica,
        _ => Who::Checkpoint,
    };
    one_node(dice, who, card(seed ^ 0x610, number, scope))
}

fn member(dice: &mut Dice, (seed, number): (u64, u64), group: usize, scope: Scope) -> Timed {
    let other = index(dice, 2);
    let card = card(seed ^ (0x3e3 + group as u64), number, scope);
    let who = if dice.below(3) == 0 { Who::Member(group, other) } else { Who::Master(group) };
    match card {
        Card::Link => {
            let (fault, time) = (Fault::Link(group, other), span(dice, 20_000));
            timed(dice, fault, time)
        }
        Card::CutClients => {
            let time = span(dice, 20_000);
            timed(dice, Fault::CutClients(group), time)
        }
        card => one_node(dice, who, card),
    }
}

/// Something around a snapshot of a group's follower, a global replica or a checkpoint node.
fn snapshot(dice: &mut Dice, (seed, number): (u64, u64), scope: Scope) -> Timed {
    let deck = if scope.layer { &AROUND[..] } else { &AROUND[..AROUND_WITHOUT_LAYER] };
    // One step of three is about snapshots, whatever place it has among them.
    let around = deal(deck, seed ^ 0x54a9, number);
    let member = Who::Member(index(dice, scope.groups), index(dice, 2));
    // A global replica writes nothing as long as there is a checkpoint node.
    let plane = match dice.below(2) {
        0 if !matches!(around, Around::Writing(_)) => Who::GlobalReplica,
        _ => Who::Checkpoint,
    };
    let who = if dice.below(2) == 0 { member } else { plane };
    let offset = i64::try_from(dice.below(7_200_000)).unwrap_or(0) - 3_600_000;
    let after_ms = |most: u64, dice: &mut Dice| u16::try_from(dice.below(most)).unwrap_or(0);
    let (fault, time) = match around {
        Around::Fetching(between) => {
            let long = matches!(between, Between::Cut | Between::Full);
            let time = if long { span(dice, 20_000) } else { Duration::ZERO };
            (Fault::Fetching(who, between, after_ms(2500, dice)), time)
        }
        Around::Writing(Card::Clock) => {
            (Fault::Writing(who, Amid::Clock(offset), after_ms(60, dice)), span(dice, 10_000))
        }
        Around::Writing(Card::Disk(_)) => {
            (Fault::Writing(who, Amid::Full, after_ms(60, dice)), span(dice, 20_000))
        }
        Around::Writing(_) => {
            (Fault::Writing(who, Amid::Kill, after_ms(120, dice)), Duration::ZERO)
        }
        Around::Damage(harm) => (Fault::Damage(who, harm), span(dice, 12_000)),
        // Long enough for a log to leave it behind.
        Around::Away => (Fault::Away(who), Duration::from_millis(15_000 + dice.below(25_000))),
        Around::Empty => (Fault::Empty(who), span(dice, 6_000)),
    };
    Timed { fault, after: Duration::ZERO, time }
}

fn card(seed: u64, number: u64, scope: Scope) -> Card {
    deal(if scope.layer { &CARDS } else { &CARDS[..WITHOUT_LAYER] }, seed, number)
}

fn one_node(dice: &mut Dice, who: Who, card: Card) -> Timed {
    let percent = u8::try_from(5 + dice.below(60)).unwrap_or(5);
    let offset = i64::try_from(dice.below(7_200_000)).unwrap_or(0) - 3_600_000;
    let (fault, most) = match card {
        Card::Kill => (Fault::Kill(who), 0),
        Card::Empty => (Fault::Empty(who), 6_000),
        Card::Stop => (Fault::Stop(who), 60_000),
        Card::Starve => (Fault::Starve(who), 15_000),
        Card::Isolate(way) => (Fault::Isolate(who, way), 45_000),
        // What only a group has is a cable that is out for all others.
        Card::Link | Card::CutClients => (Fault::Isolate(who, Way::Cable), 45_000),
        Card::Loss => (Fault::Loss(who, percent), 20_000),
        Card::SlowLink => (Fault::SlowLink(who), 20_000),
        Card::Power => (Fault::Power(who), 0),
        Card::Clock => (Fault::Clock(who, offset), 10_000),
        Card::Disk(disk) => (Fault::Disk(who, disk), 20_000),
    };
    let time = if most == 0 { Duration::ZERO } else { span(dice, most) };
    timed(dice, fault, time)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Those that hit one node of a group first.
    const KINDS: [&str; 34] = [
        "kill",
        "empty",
        "power",
        "stop",
        "starve",
        "isolate",
        "deafen",
        "silence",
        "unplug",
        "cut clients",
        "loss",
        "slow link",
        "clock",
        "write error",
        "read error",
        "flush error",
        "stalled flush",
        "slow disk",
        "full disk",
        "link master-member",
        "split",
        "blackout",
        "kill all",
        "stop all",
        "kill fetching",
        "kill sender of",
        "unplug fetching",
        "full disk fetching",
        "kill writing",
        "full disk writing",
        "clock writing",
        "flipped snapshot",
        "cut snapshot",
        "away",
    ];

    const SCOPE: Scope =
        Scope { groups: 2, nodes: 9, layer: true, stalls_only: false, snapshots_only: false };

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

    /// The kind without who is hit.
    fn what(fault: Fault) -> String {
        let kind = fault.kind();
        let who = fault.who().map_or("", Who::kind);
        kind.trim_end_matches(who).trim().to_owned()
    }

    #[test]
    fn three_hundred_steps_bring_every_kind_of_fault_and_hit_every_kind_of_node() {
        for seed in 0..40 {
            let (mut kinds, mut masters, mut hit) =
                (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
            for timed in (0..300).flat_map(|at| step(seed, at, SCOPE).faults) {
                *kinds.entry(what(timed.fault)).or_insert(0) += 1;
                hit.extend(timed.fault.who().map(Who::kind));
                if matches!(timed.fault.who(), Some(Who::Master(_))) {
                    masters.insert(what(timed.fault));
                }
            }
            for kind in KINDS {
                let times = kinds.get(kind).copied().unwrap_or(0);
                assert!(times > 0, "seed {seed}: {kind} of {kinds:?}");
            }
            assert_eq!(kinds.len(), KINDS.len(), "{kinds:?}");
            assert_eq!(hit.len(), 5, "seed {seed}: {hit:?}");
            let all = KINDS[..19].iter().filter(|kind| masters.contains(**kind)).count();
            assert!(all == 19, "seed {seed}: of masters {masters:?}");
            let faults: usize = kinds.values().sum();
            assert!((450..560).contains(&faults), "seed {seed}: {faults} faults");
        }
    }

    #[test]
    fn fifty_steps_around_snapshots_bring_all_there_is_to_followers_of_both_planes() {
        let scope = Scope { snapshots_only: true, ..SCOPE };
        for seed in 0..40 {
            let faults = (0..50).flat_map(|at| step(seed, at, scope).faults);
            let all: Vec<Fault> = faults.map(|timed| timed.fault).collect();
            let kinds: BTreeSet<_> = all.iter().map(|fault| what(*fault)).collect();
            for kind in KINDS[24..].iter().chain(&["empty"]) {
                assert!(kinds.contains(*kind), "seed {seed}: {kind} of {kinds:?}");
            }
            let hit: BTreeSet<_> =
                all.iter().filter_map(|fault| fault.who()).map(Who::kind).collect();
            assert_eq!(hit.len(), 3, "seed {seed}: {hit:?}");
        }
    }

    #[test]
    fn no_fault_lasts_longer_than_a_minute_and_some_last_nearly_so() {
        let faults = (0..2000).flat_map(|at| step(7, at, SCOPE).faults);
        let longest = faults.map(|timed| timed.time).max().unwrap();
        assert!((40..=60).contains(&longest.as_secs()), "{longest:?}");
    }

    #[test]
    fn without_the_layer_nothing_asks_for_it() {
        let scope = Scope { layer: false, ..SCOPE };
        let quiet = Scope { stalls_only: true, ..scope };
        for at in 0..1000 {
            let around = Scope { snapshots_only: true, ..scope };
            for scope in [scope, quiet, around] {
                let faults = step(5, at, scope).faults;
                assert!(faults.iter().all(|timed| !timed.fault.needs_layer()));
            }
        }
    }
}
