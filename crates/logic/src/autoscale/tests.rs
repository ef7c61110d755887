//! A load that stays changes little, bounds hold, and keys fit.

use super::*;

const WINDOW_MS: u64 = 300_000;

fn policy(min: u16, max: u16, commands: u64) -> Policy {
    Policy { min, max, commands: Some(commands), bytes: None, window_ms: WINDOW_MS }
}

fn commands(commands: u64) -> Load {
    Load { commands, ..Load::default() }
}

/// A keyspace that gets at once what is asked for.
struct Paper {
    scaler: Scaler,
    policy: Policy,
    groups: u16,
    secs: u64,
}

impl Paper {
    fn new(policy: Policy, groups: u16) -> Self {
        Self { scaler: Scaler::default(), policy, groups, secs: 1000 }
    }

    /// What changes in so many seconds of a load, and after how many of them.
    fn runs(&mut self, secs: u64, load: &Load) -> Vec<(u64, u16)> {
        let mut changes = Vec::new();
        for second in 1..=secs {
            self.secs += 1;
            let now = Instant::ZERO + Duration::from_secs(self.secs);
            let now_at = (self.groups, true);
            if let Some(change) = self.scaler.next(now, &self.policy, load, now_at) {
                assert_ne!(change.to, self.groups, "{change:?}");
                self.groups = change.to;
                changes.push((second, change.to));
            }
        }
        changes
    }
}

#[test]
fn more_load_brings_more_groups_soon_and_less_load_fewer_after_the_window() {
    let mut paper = Paper::new(policy(1, 8, 1000), 1);
    assert_eq!(paper.runs(60, &commands(900)), []);
    assert_eq!(paper.runs(60, &commands(1050)), [], "a little more is borne");
    assert_eq!(paper.runs(60, &commands(1900)), [(31, 2)]);
    assert_eq!(paper.runs(400, &commands(1900)), []);
    let changes = paper.runs(400, &commands(500));
    assert!(matches!(changes[..], [(300..320, 1)]), "{changes:?}");
}

#[test]
fn a_short_fall_of_the_load_changes_nothing() {
    let mut paper = Paper::new(policy(1, 8, 1000), 4);
    for _ in 0..20 {
        assert_eq!(paper.runs(250, &commands(100)), []);
        assert_eq!(paper.runs(2, &commands(3900)), []);
    }
}

#[test]
fn a_great_load_doubles_the_groups_until_they_are_enough_or_as_many_as_there_may_be() {
    let mut paper = Paper::new(policy(1, 6, 1000), 1);
    let to: Vec<u16> = paper.runs(600, &commands(90_000)).into_iter().map(|(_, to)| to).collect();
    assert_eq!(to, [2, 4, 6]);
}

#[test]
fn other_bounds_hold_at_once() {
    let mut paper = Paper::new(policy(3, 6, 1000), 1);
    assert_eq!(paper.runs(10, &commands(0)), [(1, 3)]);
    paper.policy.max = 2;
    paper.policy.min = 2;
    assert_eq!(paper.runs(10, &commands(90_000)), [(1, 2)]);
}

#[test]
fn nothing_gets_more_while_groups_that_were_asked_for_are_missing() {
    let mut scaler = Scaler::default();
    let policy = policy(1, 8, 1000);
    for secs in 0..600 {
        let now = Instant::ZERO + Duration::from_secs(secs);
        assert_eq!(scaler.next(now, &policy, &commands(9_000), (2, false)), None);
    }
    let now = Instant::ZERO + Duration::from_secs(600);
    let change = scaler.next(now, &policy, &commands(9_000), (2, true)).expect("it is due");
    assert_eq!(change.why, "each of 2 groups has 4500 of 1000 commands/s");
}

#[test]
fn keys_that_would_not_fit_keep_their_groups() {
    let bytes_max = Some(1 << 30);
    let load = Load { commands: 0, bytes: 2 << 30, bytes_max };
    let mut paper = Paper::new(policy(1, 8, 1000), 4);
    assert_eq!(paper.runs(600, &load), [(301, 3)], "two would be full");
    let load = Load { bytes: 1 << 29, ..load };
    let changes = paper.runs(900, &load);
    assert!(matches!(changes[..], [(300..320, 2), (600..640, 1)]), "by halves: {changes:?}");
}

#[test]
fn nothing_is_taken_away_for_a_window_that_was_not_seen() {
    let (mut scaler, policy) = (Scaler::default(), policy(1, 8, 1000));
    let mut next = |secs: u64| {
        let now = Instant::ZERO + Duration::from_secs(secs);
        scaler.next(now, &policy, &commands(10), (4, true)).map(|change| change.to)
    };
    assert!((0..100).all(|secs| next(secs).is_none()));
    assert!((400..690).all(|secs| next(secs).is_none()), "from 100 to 400 nobody looked");
    assert_eq!((690..720).find_map(next), Some(2));
}

#[test]
fn a_load_that_needs_more_groups_than_there_may_be_is_known_and_does_not_flicker() {
    let (mut scaler, policy) = (Scaler::default(), policy(1, 2, 1000));
    let mut limited = |secs: std::ops::Range<u64>, load: u64| {
        for secs in secs {
            let now = Instant::ZERO + Duration::from_secs(secs);
            assert_eq!(scaler.next(now, &policy, &commands(load), (2, true)), None);
        }
        scaler.is_limited()
    };
    assert!(!limited(0..100, 2100));
    assert!(!limited(100..120, 2500));
    assert!(limited(120..200, 2500));
    assert!(limited(200..300, 2100), "it is still more than two should carry");
    assert!(!limited(300..310, 1900));
}

#[test]
fn a_short_window_takes_nothing_away_before_the_load_has_settled() {
    let mut paper = Paper::new(Policy { window_ms: 4_000, ..policy(1, 8, 1000) }, 1);
    assert_eq!(paper.runs(2, &commands(1900)), [(2, 2)]);
    assert_eq!(paper.runs(119, &commands(100)), [], "slots have just moved");
    assert!(matches!(paper.runs(10, &commands(100))[..], [(_, 1)]));
}

#[test]
fn memory_and_commands_count_whichever_needs_more() {
    let both = Policy { bytes: Some(1 << 30), ..policy(1, 8, 1000) };
    let mut paper = Paper::new(both, 1);
    let load = Load { commands: 2_500, bytes: 5 << 30, bytes_max: None };
    assert_eq!(paper.runs(100, &load).last(), Some(&(93, 5)), "by doubling");
}

/// Numbers that look arbitrary and are the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }
}

#[test]
fn whatever_the_load_bounds_hold_keys_fit_and_what_stays_changes_one_way_only() {
    for seed in 1..300 {
        let mut dice = Dice(seed * 7919);
        let min = 1 + u16::try_from(dice.below(4)).unwrap();
        let max = min + u16::try_from(dice.below(12)).unwrap();
        let policy = Policy {
            min,
            max,
            commands: (dice.below(3) > 0).then(|| 1 + dice.below(5000)),
            bytes: Some(1 + dice.below(1 << 30)),
            window_ms: 20_000,
        };
        let mut paper = Paper::new(policy, min + u16::try_from(dice.below(12)).unwrap());
        for _ in 0..6 {
            let load = Load {
                commands: dice.below(20_000),
                bytes: dice.below(4 << 30),
                bytes_max: (dice.below(2) == 0).then(|| 1 + dice.below(1 << 31)),
            };
            let before = paper.groups;
            let changes = paper.runs(700, &load);
            let all: Vec<u16> =
                std::iter::once(before).chain(changes.iter().map(|it| it.1)).collect();
            let one_way = all.is_sorted() || all.iter().rev().is_sorted();
            assert!(one_way || before > max, "seed {seed}: {policy:?} {load:?} {all:?}");
            assert!(paper.runs(700, &load).is_empty(), "seed {seed}: {policy:?} {load:?}");
            assert!((min..=max).contains(&paper.groups));
            let fewer = all.windows(2).any(|two| two[1] < two[0] && two[0] <= max);
            assert!(!fewer || paper.groups >= load.fits().min(max), "seed {seed}: {load:?}");
        }
    }
}
