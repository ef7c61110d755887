//! A move step by step: what each side does when the other, or the directory, fails it.

use super::*;
use crate::ids::{Epoch, NodeId, Offset};
use crate::time::{Duration, Instant};

fn slot(number: u16) -> Slot {
    Slot::try_from(number).unwrap()
}

fn group(name: &str) -> GroupId {
    GroupId::new(name)
}

/// A source's master in epoch 4, and the target's, `x`, in epoch 7.
struct Stage {
    source: Source,
    facts: Facts,
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        let facts = Facts {
            phase: Some(Phase::Copy),
            source: Epoch(4),
            target: Epoch(7),
            to: Some(NodeId::new("x")),
        };
        Self { source: Source::new(MoveId(1)), facts, now: Instant::from_nanos(1_000_000_000) }
    }

    fn step(&mut self, input: SourceInput) -> Vec<SourceEffect> {
        let mut effects = Vec::new();
        self.source.step(self.now, input, &mut effects);
        effects
    }

    fn read(&mut self) -> Vec<SourceEffect> {
        let facts = self.facts.clone();
        self.step(SourceInput::Read { facts, mine: Epoch(4) })
    }

    fn report(&mut self, covered: u64, last: u64) -> Vec<SourceEffect> {
        let (session, epoch) = (self.source.session(), self.facts.target);
        let (covered, last) = (Offset(covered), Offset(last));
        self.step(SourceInput::Report(Report { session, epoch, covered, last }))
    }

    fn later(&mut self, ms: u64) -> Vec<SourceEffect> {
        self.now = self.now + Duration::from_millis(ms);
        self.step(SourceInput::Tick)
    }

    /// Until the range is held, from offset 100 on.
    fn held() -> Self {
        let mut stage = Self::new();
        assert_eq!(stage.read(), [begin(1)]);
        assert_eq!(stage.report(0, 90), []);
        assert_eq!(stage.step(SourceInput::Copied { session: 1 }), []);
        assert_eq!(stage.report(95, 99), [SourceEffect::Hold]);
        assert!(stage.source.holds());
        assert_eq!(stage.step(SourceInput::Held { at: Offset(100) }), []);
        stage
    }
}

fn begin(session: u64) -> SourceEffect {
    SourceEffect::Begin { session, to: NodeId::new("x") }
}

const SWITCH: SourceEffect = SourceEffect::Switch { source: Epoch(4), target: Epoch(7) };

#[test]
fn the_range_is_held_when_little_is_left_and_switched_when_all_of_it_is_over_there() {
    let mut stage = Stage::held();
    assert_eq!(stage.report(99, 100), []);
    assert_eq!(stage.report(100, 100), [SWITCH]);
    assert_eq!(stage.later(10), [], "it was proposed just now");
    assert_eq!(stage.later(50), [SWITCH]);
    stage.facts.phase = Some(Phase::Done);
    assert_eq!(stage.read(), [SourceEffect::End]);
    assert!(stage.source.is_over() && !stage.source.holds());
    assert_eq!(stage.later(1000), []);
}

#[test]
fn a_target_far_behind_is_waited_for() {
    let mut stage = Stage::new();
    stage.read();
    stage.step(SourceInput::Copied { session: 1 });
    assert_eq!(stage.report(10, 5000), []);
    assert_eq!(stage.report(4000, 5000), [SourceEffect::Hold]);
}

#[test]
fn another_master_of_the_target_is_given_everything_again() {
    let mut stage = Stage::new();
    assert_eq!(stage.read(), [begin(1)]);
    stage.facts.to = None;
    assert_eq!(stage.read(), []);
    assert_eq!(stage.later(60), []);
    (stage.facts.to, stage.facts.target) = (Some(NodeId::new("y")), Epoch(8));
    let again = SourceEffect::Begin { session: 2, to: NodeId::new("y") };
    assert_eq!(stage.read(), [again]);
    assert_eq!(stage.step(SourceInput::Copied { session: 1 }), [], "that was the first try");
}

#[test]
fn a_target_that_masters_anew_is_given_everything_again() {
    let mut stage = Stage::new();
    assert_eq!(stage.read(), [begin(1)]);
    stage.facts.target = Epoch(8);
    assert_eq!(stage.read(), []);
    assert_eq!(stage.report(100, 100), [], "what it said in its former mastership");
    assert_eq!(stage.later(50), [begin(2)]);
}

#[test]
fn a_target_that_fails_in_the_hold_ends_it_by_a_renewal_and_is_never_given_anything_again() {
    let mut stage = Stage::held();
    assert_eq!(stage.report(100, 100), [SWITCH]);
    stage.step(SourceInput::Lost { session: 1 });
    assert_eq!(stage.later(50), [SourceEffect::Renew]);
    assert!(stage.source.holds(), "no time ends it");
    stage.now = stage.now + Duration::from_secs(100);
    assert_eq!(stage.later(0), [SourceEffect::Renew]);
    stage.facts.phase = None;
    assert_eq!(stage.read(), [SourceEffect::End]);
}

#[test]
fn a_report_of_another_epoch_than_the_directory_knows_switches_nothing() {
    let mut stage = Stage::held();
    stage.facts.target = Epoch(8);
    stage.read();
    let report = Report { session: 1, epoch: Epoch(7), covered: Offset(100), last: Offset(100) };
    assert_eq!(stage.step(SourceInput::Report(report)), []);
    assert_eq!(stage.read(), []);
    assert_eq!(
        stage.report(100, 100),
        [SourceEffect::Switch { source: Epoch(4), target: Epoch(8) }]
    );
}

#[test]
fn a_master_whose_own_epoch_the_directory_does_not_know_switches_nothing() {
    let mut stage = Stage::held();
    stage.facts.source = Epoch(5);
    stage.read();
    assert_eq!(stage.report(100, 100), []);
}

#[test]
fn a_cancelled_move_ends_in_every_step() {
    for held in [false, true] {
        let mut stage = if held { Stage::held() } else { Stage::new() };
        stage.read();
        stage.facts.phase = Some(Phase::Aborted);
        assert_eq!(stage.read(), [SourceEffect::End]);
        assert!(!stage.source.holds());
    }
}

#[test]
fn what_is_not_committed_at_the_target_is_not_covered() {
    let order = |epoch, session| Order { epoch: Epoch(epoch), session };
    let mut target = Target::new(order(4, 1));
    target.took(Offset(10), Offset::ZERO);
    assert!(target.expects(order(4, 1), 2) && !target.expects(order(4, 1), 3), "one is left out");
    target.took(Offset(12), Offset(90));
    assert_eq!(target.committed(Offset(9)), None);
    assert_eq!(target.committed(Offset(11)), Some((1, Offset::ZERO)));
    assert_eq!(target.committed(Offset(20)), Some((2, Offset(90))));
    assert!(!target.begin(order(4, 1)) && !target.begin(order(3, 9)), "late words of another try");
    assert!(target.begin(order(5, 1)));
    assert_eq!(target.committed(Offset(20)), None);
}

#[test]
fn no_slot_is_in_two_moves_and_no_number_comes_twice() {
    let (a, b, mut moves) = (group("t-0"), group("t-1"), Moves::default());
    let range = |first, last| (slot(first), slot(last));
    let id = moves.begin(range(10, 20), &a, &b).unwrap();
    let met = Refused::Moving { id, first: 10, last: 20 };
    assert_eq!(moves.begin(range(20, 30), &a, &b), Err(met.clone()));
    assert!(moves.switch(id) && !moves.switch(id) && !moves.abort(id) && !moves.renew(id));
    assert_eq!(moves.begin(range(0, 10), &b, &a), Err(met), "the source has it still");
    assert!(moves.forget(id));
    let next = moves.begin(range(0, 10), &b, &a).unwrap();
    assert!(next > id && moves.renew(next) && moves.get(next).is_none());
    assert!(moves.all()[0].id > next);
    assert!(matches!(moves.begin(range(0, 256), &a, &b), Err(Refused::Range { .. })));
    assert_eq!(moves.begin(range(50, 51), &a, &a), Err(Refused::Same));
}

/// A move of slots 10 and 11 from t-0 to t-1.
fn one(phase: Phase) -> Vec<Move> {
    let (source, target) = (group("t-0"), group("t-1"));
    vec![Move { id: MoveId(5), first: slot(10), last: slot(11), source, target, phase }]
}

fn marks(of: &[(u16, u64, bool)]) -> Marks {
    of.iter().map(|&(at, id, gone)| (slot(at), Mark { id: MoveId(id), gone })).collect()
}

#[test]
fn a_source_deletes_what_it_gave_away_before_the_move_is_forgotten() {
    let (me, owned) = (group("t-0"), |_| false);
    let due = |moves: &[Move], marks: &Marks| duties(&me, moves, owned, marks);
    assert_eq!(due(&one(Phase::Copy), &marks(&[])), []);
    let half = marks(&[(10, 5, true)]);
    assert_eq!(due(&one(Phase::Done), &half), [Duty::DropSource(MoveId(5))]);
    let all = marks(&[(10, 5, true), (11, 5, true)]);
    assert_eq!(due(&one(Phase::Done), &all), [Duty::Forget(MoveId(5))]);
    let mine = |moves: &[Move]| duties(&me, moves, |at| at == slot(11), &half);
    assert_eq!(mine(&one(Phase::Done)), [], "a directory that contradicts itself deletes nothing");
}

#[test]
fn nothing_is_brought_to_where_it_would_replace_what_is_owned() {
    let (to, from, id) = (group("t-1"), group("t-0"), MoveId(5));
    let of = |phase, id, group, own| coming(&one(phase), id, group, |at| at == slot(own)).is_some();
    assert!(of(Phase::Copy, id, &to, 12));
    assert!(!of(Phase::Copy, id, &to, 11), "it owns one of them");
    assert!(!of(Phase::Copy, id, &from, 12), "it is not meant for this group");
    assert!(!of(Phase::Copy, MoveId(4), &to, 12) && !of(Phase::Done, id, &to, 12));
}

#[test]
fn a_target_shows_what_it_owns_and_deletes_what_it_never_will() {
    let me = group("t-1");
    let here = marks(&[(10, 5, false), (11, 5, false)]);
    assert_eq!(duties(&me, &one(Phase::Copy), |_| false, &here), []);
    assert_eq!(duties(&me, &one(Phase::Done), |_| true, &here), [Duty::Show(MoveId(5))]);
    assert_eq!(duties(&me, &one(Phase::Done), |_| false, &here), [], "it contradicts itself");
    assert_eq!(duties(&me, &[], |_| true, &here), [Duty::Show(MoveId(5))]);
    let drop = [Duty::DropImport(MoveId(5))];
    assert_eq!(duties(&me, &one(Phase::Aborted), |_| false, &here), drop);
    assert_eq!(duties(&me, &[], |_| false, &here), drop, "renewed or forgotten");
    let gone = marks(&[(10, 5, true), (11, 5, true)]);
    assert_eq!(duties(&me, &one(Phase::Aborted), |_| false, &gone), [Duty::Forget(MoveId(5))]);
}
