//! Each step lowers what is uneven, and it ends.

use super::*;
use crate::moves::Moves;
use crate::slots::{given, spread_evenly};
use std::collections::BTreeMap;

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

fn group(n: usize) -> Candidate {
    Candidate { id: GroupId::new(format!("t-{n}")), ready: true }
}

fn groups(from: usize, to: usize) -> Vec<Candidate> {
    (from..to).map(group).collect()
}

/// A keyspace on paper.
struct Paper {
    wanted: Vec<Candidate>,
    leaving: Vec<Candidate>,
    owners: Vec<Range>,
    moves: Moves,
    /// What each slot has: bytes and commands.
    slots: Vec<(u64, u64)>,
    hands: Vec<Hand>,
}

impl Paper {
    /// `count` groups that have all slots.
    fn of(count: usize) -> Self {
        let wanted = groups(0, count);
        let ids: Vec<GroupId> = wanted.iter().map(|group| group.id.clone()).collect();
        Self {
            wanted,
            leaving: Vec::new(),
            owners: spread_evenly(&ids),
            moves: Moves::default(),
            slots: vec![(0, 0); usize::from(SLOTS)],
            hands: Vec::new(),
        }
    }

    /// The same, and then so many groups are asked for.
    fn scaled(mut self, count: usize) -> Self {
        let known = self.wanted.len().max(self.leaving.len() + self.wanted.len());
        self.wanted = groups(0, count);
        self.leaving = groups(count, known.max(count));
        self
    }

    fn owner(&self, at: usize) -> &GroupId {
        let slot = slot(u16::try_from(at).unwrap());
        let mut ranges = self.owners.iter();
        let range = ranges.find(|(first, last, _)| *first <= slot && slot <= *last);
        range.map(|(_, _, group)| group).expect("all slots have owners")
    }

    /// As masters would say it.
    fn weights(&self) -> Weights {
        let mut said: BTreeMap<GroupId, Parts> = BTreeMap::new();
        for (first, last, group) in &self.owners {
            for part in part_of(*first)..=part_of(*last) {
                let begin = u16::from(part) * PART_SLOTS;
                let own = first.get().max(begin)..=last.get().min(begin + (PART_SLOTS - 1));
                let load = said.entry(group.clone()).or_default().entry(part).or_default();
                own.for_each(|number| self.adds(load, number));
            }
        }
        Weights::of(&said)
    }

    fn adds(&self, load: &mut Load, number: u16) {
        let (bytes, commands) = self.slots[usize::from(number)];
        load.slots += 1;
        load.bytes += bytes;
        load.commands += commands;
        let known = load.top.map_or(0, |top| top.bytes + (top.commands << 16));
        if bytes + (commands << 16) > known {
            load.top = Some(Top { slot: slot(number), bytes, commands });
        }
    }

    fn step(&self) -> Step {
        let weights = self.weights();
        next(&self.facts(&weights))
    }

    fn facts<'a>(&'a self, weights: &'a Weights) -> Facts<'a> {
        Facts {
            wanted: &self.wanted,
            leaving: &self.leaving,
            owners: &self.owners,
            moves: self.moves.all(),
            weights,
            hands: &self.hands,
            paused: false,
        }
    }

    /// Does it at once.
    fn does(&mut self, next: &Next) {
        match next {
            Next::Move { first, last, source, target } => {
                assert!(last.get() - first.get() < PART_SLOTS && first <= last);
                for at in [*first, *last] {
                    assert_eq!(self.owner(usize::from(at.get())), source);
                }
                assert!(self.wanted.iter().any(|group| group.id == *target && group.ready));
                self.owners = given(&self.owners, (*first, *last), target);
            }
            Next::Retire(id) => {
                assert!(self.owners.iter().all(|(_, _, owner)| owner != id));
                self.leaving.retain(|group| group.id != *id);
            }
            Next::Cancel(id) => assert!(self.moves.abort(*id)),
        }
    }

    /// Slots of groups that are to go, and how uneven the others are, by what is said now.
    fn unevenness(&self, weights: &Weights) -> (usize, u128) {
        let facts = self.facts(weights);
        let leaving = self.leaving.iter().map(|group| owned(&facts, &group.id)).sum();
        let all = carried(&facts, &self.wanted);
        (leaving, all.iter().map(|it| u128::from(it.weight).pow(2)).sum())
    }

    /// Until nothing is left to do; says how many moves that took.
    fn settles(&mut self) -> usize {
        for count in 0..5_000 {
            match self.step() {
                Step { next: Some(next), .. } => self.does(&next),
                Step { next: None, .. } => return count,
            }
        }
        panic!("it does not end: {:?}", self.step());
    }

    fn counts(&self) -> Vec<usize> {
        let weights = Weights::even();
        let facts = self.facts(&weights);
        self.wanted.iter().map(|group| owned(&facts, &group.id)).collect()
    }
}

#[test]
fn a_second_group_gets_half_of_all_slots_in_one_piece_and_gives_them_back() {
    let mut paper = Paper::of(1).scaled(2);
    assert_eq!(paper.step().why, "t-1 has no slots yet");
    assert_eq!(paper.settles(), 32);
    assert_eq!(paper.owners.len(), 2, "{:?}", paper.owners);
    assert_eq!(paper.counts(), [8192, 8192]);
    assert_eq!(paper.step().why, "balanced: t-0 carries 100 % of the mean");
    paper = paper.scaled(1);
    assert_eq!(paper.step().why, "t-1 is to go, and has 8192 slots");
    assert_eq!(paper.settles(), 33, "and it is retired");
    assert!(paper.leaving.is_empty());
    assert_eq!(paper.counts(), [16384]);
}

#[test]
fn one_to_eight_to_two_groups() {
    let mut paper = Paper::of(1).scaled(8);
    paper.settles();
    let counts = paper.counts();
    assert!(counts.iter().all(|count| (2020..=2080).contains(count)), "{counts:?}");
    paper = paper.scaled(2);
    paper.settles();
    assert_eq!((paper.counts(), paper.leaving.len()), (vec![8192, 8192], 0));
}

#[test]
fn a_scale_in_that_is_taken_back_in_the_middle_ends_as_it_began() {
    for after in [1, 5, 20] {
        let mut paper = Paper::of(2).scaled(1);
        for _ in 0..after {
            let next = paper.step().next.expect("slots are left");
            paper.does(&next);
        }
        paper = paper.scaled(2);
        paper.settles();
        assert_eq!(paper.counts(), [8192, 8192]);
    }
}

#[test]
fn a_hot_part_is_alone_with_its_group_and_a_hot_slot_is_not_moved_about() {
    let mut paper = Paper::of(2);
    (0..256).for_each(|at| paper.slots[at] = (1 << 20, 0));
    paper.settles();
    let weights = paper.weights();
    let all = paper.counts();
    assert!(all[1] > all[0], "bytes weigh: {all:?}");
    let facts = paper.facts(&weights);
    let carried: Vec<u64> = carried(&facts, &paper.wanted).iter().map(|it| it.weight).collect();
    assert!(carried[0].abs_diff(carried[1]) < (carried[0] + carried[1]) / 20, "{carried:?}");

    let mut paper = Paper::of(2);
    paper.slots[77] = (1 << 40, 1_000_000);
    assert!(paper.settles() < 70);
    assert_eq!(paper.step().next, None);
}

#[test]
fn whatever_slots_have_each_move_lowers_what_is_uneven_and_it_ends() {
    for seed in 1..16 {
        let mut dice = Dice(seed * 7919);
        let count = 1 + usize::try_from(dice.below(9)).unwrap();
        let mut paper = Paper::of(count);
        for part in 0..usize::from(PARTS) {
            let of = (dice.below(1 << 22), dice.below(400));
            let begin = part * usize::from(PART_SLOTS);
            paper.slots[begin..begin + usize::from(PART_SLOTS)].fill(of);
        }
        for turn in 0..3 {
            paper = paper.scaled(1 + usize::try_from(dice.below(9)).unwrap());
            // Taken back in the middle, but for the last turn.
            let steps = if turn == 2 { 5_000 } else { dice.below(40) };
            let mut ended = false;
            for _ in 0..steps {
                let weights = paper.weights();
                let step = next(&paper.facts(&weights));
                assert_eq!(step, next(&paper.facts(&weights)), "the same facts, the same step");
                let Some(next) = step.next else {
                    ended = true;
                    break;
                };
                let before = paper.unevenness(&weights);
                paper.does(&next);
                let after = paper.unevenness(&weights);
                let is_move = matches!(next, Next::Move { .. });
                let lower = after.0 < before.0 || after.0 == before.0 && after.1 < before.1;
                assert!(lower || !is_move, "seed {seed}: {next:?}: {before:?} {after:?}");
            }
            assert!(ended || turn < 2, "seed {seed} does not end");
        }
        assert!(paper.leaving.is_empty());
    }
}

#[test]
fn it_ends_too_where_slots_of_one_part_differ() {
    for seed in 1..10 {
        let mut dice = Dice(seed * 104_729);
        let mut paper = Paper::of(2 + usize::try_from(dice.below(4)).unwrap());
        for at in 0..usize::from(SLOTS) {
            let hot = dice.below(50) == 0;
            paper.slots[at] = if hot { (dice.below(1 << 26), 300) } else { (1000, 0) };
        }
        let moves = paper.settles();
        assert!(moves < 200, "seed {seed}: {moves} moves");
    }
}

#[test]
fn what_a_person_has_moved_stays_and_what_was_cancelled_is_not_emptied() {
    let mut paper = Paper::of(2);
    let target = paper.wanted[1].id.clone();
    let mine = (slot(0), slot(1023));
    paper.owners = given(&paper.owners, mine, &target);
    let hand = Hand { first: mine.0, last: mine.1, at_ms: 0, cancelled: false };
    paper.hands = vec![hand.clone()];
    paper.settles();
    assert_eq!(paper.owner(500), &target);
    assert_eq!(paper.counts(), [8192, 8192], "others made up for it");
    paper.hands = vec![Hand { cancelled: true, ..hand }];
    paper = paper.scaled(1);
    paper.settles();
    assert_eq!((paper.owner(500), paper.leaving.len()), (&target, 1));
    assert!(paper.step().why.contains("cancelled"), "{}", paper.step().why);
    paper.hands[0].cancelled = false;
    paper.settles();
    assert_eq!(paper.leaving.len(), 0, "to scale in is what was asked for last");
}

#[test]
fn one_move_at_a_time_and_none_to_a_group_that_is_to_go() {
    let mut paper = Paper::of(2);
    let (first, second) = (paper.wanted[0].id.clone(), paper.wanted[1].id.clone());
    let id = paper.moves.begin((slot(5), slot(9)), &first, &second).unwrap();
    assert_eq!(paper.step(), Step::none("waits for move 1: slots 5-9 to t-1"));
    paper = paper.scaled(1);
    assert_eq!(paper.step().next, Some(Next::Cancel(id)));
    paper.moves.abort(id);
    let Some(Next::Move { source, .. }) = paper.step().next else { panic!("{:?}", paper.step()) };
    assert_eq!(source, second);
    paper.owners = given(&paper.owners, (slot(0), slot(SLOTS - 1)), &first);
    assert_eq!(paper.step().next, None, "remains of a move: {:?}", paper.step());
    paper.moves.forget(id);
    assert_eq!(paper.step().next, Some(Next::Retire(second)));
}

#[test]
fn who_has_no_master_gives_and_gets_nothing() {
    let mut paper = Paper::of(2).scaled(3);
    paper.wanted[2].ready = false;
    assert_eq!(paper.step(), Step::none("t-2 has no master yet"));
    paper = paper.scaled(1);
    paper.leaving[0].ready = false;
    let step = paper.step();
    assert_eq!(step.next, Some(Next::Retire(GroupId::new("t-2"))));
    paper.leaving.truncate(1);
    assert_eq!(paper.step(), Step::none("t-1 is to go, and has no master"));
}

#[test]
fn the_outlook_says_all_steps_until_nothing_is_left_to_do() {
    let paper = Paper::of(1).scaled(2);
    let weights = Weights::even();
    let steps = outlook(&paper.facts(&weights));
    assert_eq!(steps.len(), 33);
    assert!(steps[32].why.starts_with("balanced"), "{steps:?}");
    let facts = Facts { paused: true, ..paper.facts(&weights) };
    assert_eq!(outlook(&facts).len(), 1);
}
