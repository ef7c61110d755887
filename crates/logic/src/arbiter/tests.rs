//! Rules of the register, one sentence each.

use super::*;
use crate::ids::{Epoch, Version};
use crate::record::{Durability, Member, Role, Rule};
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;

fn id(name: &str) -> NodeId {
    NodeId::new(name)
}

fn record(version: u64) -> Record {
    let member =
        Member { id: id("global-0"), incarnation: Incarnation(1), role: Role::Replica, zone: None };
    Record {
        version: Version(version),
        epoch: Epoch(0),
        master: None,
        members: vec![member],
        rule: Rule::All,
        wanted: 2,
        durability: Durability::default(),
        attempt: Epoch(0),
        open: false,
    }
}

fn swap(expected: u64) -> Operation {
    let record = Box::new(record(expected + 1));
    Operation::Swap { expected: Version(expected), record }
}

fn seat(name: &str, incarnation: u64) -> Seat {
    Seat { id: id(name), incarnation: Incarnation(incarnation) }
}

/// Acceptors and proposers with a network that delivers at once, but where told not to.
struct Plane {
    acceptors: BTreeMap<NodeId, Acceptor>,
    proposers: BTreeMap<NodeId, Proposer>,
    cut: Vec<NodeId>,
    now: Instant,
    done: Vec<(Token, Outcome)>,
}

impl Plane {
    fn blank() -> Self {
        let seats = ["a", "b", "c"].map(|name| (id(name), acceptor(name, 1)));
        let seeds: Vec<NodeId> = ["a", "b", "c"].map(id).to_vec();
        let proposers = ["p", "q"].map(|name| {
            let patience = Patience::default();
            (id(name), Proposer::new(id(name), Life(1), seeds.clone(), patience))
        });
        Self {
            acceptors: seats.into(),
            proposers: proposers.into(),
            cut: Vec::new(),
            now: Instant::ZERO,
            done: Vec::new(),
        }
    }

    fn founded() -> Self {
        let mut plane = Self::blank();
        assert!(matches!(plane.ask("p", found()), Outcome::Changed(_)));
        plane
    }

    /// Asks and runs until an answer comes, for at most ten seconds.
    fn ask(&mut self, proposer: &str, operation: Operation) -> Outcome {
        let mut effects = Vec::new();
        let token = self.done.len() as u64;
        let mut asked = self.proposers.remove(&id(proposer)).expect("it exists");
        asked.ask(self.now, token, operation, &mut effects);
        for _ in 0..1000 {
            self.exchange(&mut asked, &mut effects);
            if !self.done.is_empty() {
                break;
            }
            self.now = self.now + Duration::from_millis(10);
            asked.tick(self.now, &mut effects);
        }
        self.proposers.insert(id(proposer), asked);
        self.done.pop().expect("an operation ends").1
    }

    fn exchange(&mut self, asked: &mut Proposer, effects: &mut Vec<ProposerEffect>) {
        while let Some(effect) = (!effects.is_empty()).then(|| effects.remove(0)) {
            match effect {
                ProposerEffect::Done { token, outcome } => self.done.push((token, outcome)),
                ProposerEffect::Send { to, body } if !self.cut.contains(&to) => {
                    let Some(acceptor) = self.acceptors.get_mut(&to) else { continue };
                    let from = acceptor.seat().clone();
                    let mut answers = Vec::new();
                    acceptor.step(&id("p"), body, &mut answers);
                    for answer in answers {
                        if let AcceptorEffect::Reply { body, .. } = answer {
                            asked.reply(self.now, &from, body, effects);
                        }
                    }
                }
                ProposerEffect::Send { .. } => {}
            }
        }
    }
}

fn acceptor(name: &str, incarnation: u64) -> Acceptor {
    Acceptor::new(seat(name, incarnation), AcceptorState::default())
}

fn found() -> Operation {
    let acceptors = ["a", "b", "c"].map(id).to_vec();
    Operation::Found(Box::new(Founding { uid: "u".into(), record: record(1), acceptors }))
}

fn version(outcome: &Outcome) -> u64 {
    match outcome {
        Outcome::Is(value) | Outcome::Changed(value) | Outcome::Refused(value) => {
            value.record.version.0
        }
        _ => 0,
    }
}

#[test]
fn founding_needs_every_acceptor() {
    let mut plane = Plane::blank();
    plane.cut = vec![id("c")];
    assert_eq!(plane.ask("p", found()), Outcome::Unknown { silent: vec![id("c")] });
    plane.cut.clear();
    assert!(matches!(plane.ask("p", found()), Outcome::Changed(_)));
}

#[test]
fn founding_again_finds_what_was_founded() {
    let mut plane = Plane::founded();
    assert!(matches!(plane.ask("p", swap(1)), Outcome::Changed(_)));
    assert_eq!(version(&plane.ask("q", found())), 2);
}

#[test]
fn a_blank_register_is_missing_and_nobody_makes_it_by_changing_it() {
    let mut plane = Plane::blank();
    assert_eq!(plane.ask("p", Operation::Read), Outcome::Missing);
    assert_eq!(plane.ask("p", swap(1)), Outcome::Missing);
}

#[test]
fn a_swap_is_refused_when_the_version_has_moved() {
    let mut plane = Plane::founded();
    assert!(matches!(plane.ask("p", swap(1)), Outcome::Changed(_)));
    assert!(matches!(plane.ask("q", swap(1)), Outcome::Refused(_)));
    assert_eq!(version(&plane.ask("q", Operation::Read)), 2);
}

#[test]
fn two_of_three_decide_and_one_does_not() {
    let mut plane = Plane::founded();
    plane.cut = vec![id("c")];
    assert!(matches!(plane.ask("p", swap(1)), Outcome::Changed(_)));
    plane.cut = vec![id("b"), id("c")];
    assert!(matches!(plane.ask("p", swap(2)), Outcome::Unknown { .. }));
}

#[test]
fn a_change_accepted_by_one_is_finished_or_lost_but_never_both() {
    let mut plane = Plane::founded();
    plane.cut = vec![id("b"), id("c")];
    assert!(matches!(plane.ask("p", swap(1)), Outcome::Unknown { .. }));
    plane.cut = vec![id("a")];
    assert_eq!(version(&plane.ask("q", Operation::Read)), 1);
    plane.cut.clear();
    assert_eq!(version(&plane.ask("q", Operation::Read)), 1);
}

#[test]
fn an_acceptor_that_lost_its_folder_does_not_count() {
    let mut plane = Plane::founded();
    plane.acceptors.insert(id("a"), acceptor("a", 2));
    plane.cut = vec![id("b")];
    assert!(matches!(plane.ask("p", swap(1)), Outcome::Unknown { .. }));
    plane.cut.clear();
    assert!(matches!(plane.ask("p", swap(1)), Outcome::Changed(_)));
}

#[test]
fn a_lost_acceptor_is_replaced_and_its_successor_counts() {
    let mut plane = Plane::founded();
    plane.acceptors.insert(id("a"), acceptor("a", 2));
    let replace = Operation::Replace { out: id("a"), seat: seat("a", 2) };
    let Outcome::Changed(value) = plane.ask("p", replace) else { panic!("not replaced") };
    assert_eq!(value.roster.former, None);
    plane.cut = vec![id("b")];
    assert!(matches!(plane.ask("q", swap(1)), Outcome::Changed(_)));
}

#[test]
fn a_late_replacement_does_not_bring_back_a_lost_folder() {
    let mut plane = Plane::founded();
    assert_eq!(version(&plane.ask("q", Operation::Read)), 1);
    for folder in [2, 3] {
        plane.acceptors.insert(id("a"), acceptor("a", folder));
        let replace = Operation::Replace { out: id("a"), seat: seat("a", folder) };
        assert!(matches!(plane.ask("p", replace), Outcome::Changed(_)));
    }
    // q was asked while it knew the first folder, and the second is lost since.
    let late = Operation::Replace { out: id("a"), seat: seat("a", 2) };
    let Outcome::Refused(value) = plane.ask("q", late) else { panic!("replaced") };
    assert!(value.roster.seats.contains(&seat("a", 3)));
}

#[test]
fn a_reader_who_knows_the_old_list_is_sent_to_the_new_one() {
    let mut plane = Plane::founded();
    assert_eq!(version(&plane.ask("q", Operation::Read)), 1);
    plane.acceptors.insert(id("d"), acceptor("d", 1));
    let replace = Operation::Replace { out: id("a"), seat: seat("d", 1) };
    assert!(matches!(plane.ask("p", replace), Outcome::Changed(_)));
    plane.cut = vec![id("c")];
    assert!(matches!(plane.ask("p", swap(1)), Outcome::Changed(_)));
    plane.cut.clear();
    assert_eq!(version(&plane.ask("q", Operation::Read)), 2);
}

#[test]
fn a_replacement_seen_by_one_acceptor_needs_a_majority_of_both_lists() {
    let mut plane = Plane::founded();
    let (a, d) = (seat("a", 1), seat("d", 1));
    let old = vec![a.clone(), seat("b", 1), seat("c", 1)];
    let new = vec![a.clone(), seat("b", 1), d.clone()];
    let roster = Roster { seats: new, former: Some(old) };
    assert!(!roster.is_quorum(&BTreeSet::from([a.clone(), d.clone()])));
    assert!(roster.is_quorum(&BTreeSet::from([a, d, seat("c", 1)])));
    // And it can be finished by anyone who finds it.
    plane.acceptors.insert(id("d"), acceptor("d", 1));
    let replace = Operation::Replace { out: id("c"), seat: seat("d", 1) };
    plane.cut = vec![id("b"), id("d")];
    assert!(matches!(plane.ask("p", replace.clone()), Outcome::Unknown { .. }));
    plane.cut.clear();
    assert!(matches!(plane.ask("q", swap(1)), Outcome::Changed(_)));
    let Outcome::Changed(value) = plane.ask("q", replace) else { panic!("not replaced") };
    assert_eq!((value.roster.former, value.record.version), (None, Version(2)));
}

#[test]
fn a_promise_is_flushed_before_the_answer() {
    let mut acceptor = acceptor("a", 1);
    let ballot = Ballot { counter: 1, node: id("p"), life: Life(1) };
    let mut effects = Vec::new();
    acceptor.step(&id("p"), Request::Prepare { ballot, blank_may_promise: true }, &mut effects);
    assert!(matches!(
        effects[..],
        [AcceptorEffect::Persist(_), AcceptorEffect::Reply { body: Reply::Promised { .. }, .. }]
    ));
}

#[test]
fn an_older_round_is_refused_after_a_promise() {
    let mut acceptor = acceptor("a", 1);
    let ballot = |counter| Ballot { counter, node: id("p"), life: Life(1) };
    let prepare = |counter| Request::Prepare { ballot: ballot(counter), blank_may_promise: true };
    let mut effects = Vec::new();
    acceptor.step(&id("p"), prepare(2), &mut effects);
    effects.clear();
    acceptor.step(&id("p"), prepare(1), &mut effects);
    let body = Reply::Conflict { ballot: ballot(1), promised: ballot(2) };
    assert_eq!(effects, [AcceptorEffect::Reply { to: id("p"), body }]);
}

fn recover(acceptors: &[&str]) -> Operation {
    let acceptors = acceptors.iter().map(|name| id(name)).collect();
    let founding = Founding { uid: "u".into(), record: record(0), acceptors };
    let (version, epoch, attempt) = (Version(7), Epoch(4), Epoch(5));
    Operation::Recover(Box::new(Recovery { founding, version, epoch, attempt }))
}

#[test]
fn a_register_without_a_majority_is_made_again_by_a_person_alone() {
    let mut plane = Plane::founded();
    plane.acceptors.insert(id("a"), acceptor("a", 2));
    plane.acceptors.insert(id("b"), acceptor("b", 2));
    assert!(matches!(plane.ask("p", Operation::Read), Outcome::Unknown { .. }));
    assert!(
        !matches!(plane.ask("q", found()), Outcome::Changed(value) if value.author.node == id("q"))
    );
    let Outcome::Changed(value) = plane.ask("p", recover(&["a", "b", "c"])) else {
        panic!("it is not made")
    };
    let record = &value.record;
    assert_eq!((record.version, record.epoch, record.attempt), (Version(8), Epoch(4), Epoch(5)));
    assert_eq!(value.roster, Roster::settled(vec![seat("a", 2), seat("b", 2), seat("c", 1)]));
    assert_eq!(version(&plane.ask("q", Operation::Read)), 8);
}

#[test]
fn who_is_not_left_keeps_its_seat_and_is_replaced_when_it_comes_back() {
    let mut plane = Plane::founded();
    plane.acceptors.insert(id("a"), acceptor("a", 2));
    plane.cut = vec![id("c")];
    let Outcome::Changed(value) = plane.ask("p", recover(&["a", "b"])) else {
        panic!("two are enough")
    };
    assert_eq!(value.roster, Roster::settled(vec![seat("a", 2), seat("b", 1), seat("c", 1)]));
    plane.cut = Vec::new();
    plane.acceptors.insert(id("c"), acceptor("c", 2));
    let back = Operation::Replace { out: id("c"), seat: seat("c", 2) };
    assert!(matches!(plane.ask("p", back), Outcome::Changed(_)));
}
