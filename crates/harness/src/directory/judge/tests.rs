//! Planted violations of each kind, and what looks like one and is none.

use super::*;
use crate::directory::history::{Holding, Life, Operation, Sign, State, Told};

fn told(revision: i64, applied: bool, state: Option<State>) -> Outcome {
    Outcome::Done(Told { revision, term: 1, applied, state })
}

fn state(value: &str, changed: i64, version: i64) -> Option<State> {
    Some(State { value: value.to_owned(), changed, created: 2, version })
}

fn op(times: (u64, u64), deed: Deed, outcome: Outcome) -> Operation {
    let (called_us, returned_us) = times;
    Operation { client: 1, key: "k".into(), deed, called_us, returned_us, outcome }
}

fn put(times: (u64, u64), value: &str, revision: i64, before: Option<State>) -> Operation {
    op(times, Deed::Put { value: value.into() }, told(revision, true, before))
}

fn get(times: (u64, u64), revision: i64, found: Option<State>) -> Operation {
    op(times, Deed::Get { stale: false }, told(revision, false, found))
}

fn open(times: (u64, u64), value: &str) -> Operation {
    op(times, Deed::Put { value: value.into() }, Outcome::Unknown("no answer".into()))
}

fn swap(times: (u64, u64), seen: i64, value: &str, outcome: Outcome) -> Operation {
    op(times, Deed::Swap { seen, value: value.into() }, outcome)
}

/// Two writes, one after the other, and a read of the second.
fn whole() -> Vec<Operation> {
    vec![
        put((0, 10), "a", 2, None),
        put((20, 30), "b", 3, state("a", 2, 1)),
        get((40, 50), 3, state("b", 3, 2)),
    ]
}

fn kinds(operations: Vec<Operation>) -> Vec<Kind> {
    let report = judge(&History { operations, ..History::default() });
    let mut kinds: Vec<Kind> = report.violations.iter().map(|one| one.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

fn kinds_with(more: impl IntoIterator<Item = Operation>) -> Vec<Kind> {
    kinds(whole().into_iter().chain(more).collect())
}

#[test]
fn what_can_be_so_is_not_held_against_anybody() {
    assert_eq!(kinds(whole()), []);
    // A write without an answer came into force later, or never.
    let late = get((70, 80), 4, state("x", 4, 3));
    assert_eq!(kinds_with([open((60, 65), "x"), late]), []);
    assert_eq!(kinds_with([open((60, 65), "x"), get((70, 80), 3, state("b", 3, 2))]), []);
    // It was there for a moment, and only the version tells.
    assert_eq!(kinds_with([open((60, 65), "x"), put((70, 80), "c", 5, state("x", 4, 3))]), []);
    assert_eq!(kinds_with([open((60, 65), "x"), get((90, 95), 9, state("b", 3, 2))]), []);
    // Questions at one time may be answered in any order.
    let first = put((60, 90), "d", 4, state("b", 3, 2));
    assert_eq!(kinds_with([put((60, 90), "c", 5, state("d", 4, 3)), first]), []);
    let old = op((60, 70), Deed::Get { stale: true }, told(2, false, state("a", 2, 1)));
    assert_eq!(kinds_with([old]), [], "who asks for old states gets them");
    let refused = swap((60, 70), 2, "c", told(3, false, state("b", 3, 2)));
    let done = swap((80, 90), 3, "c", told(4, true, state("b", 3, 2)));
    assert_eq!(kinds_with([refused, done]), []);
}

#[test]
fn an_acknowledged_write_that_is_gone_is_found() {
    assert_eq!(kinds_with([get((60, 70), 3, state("a", 2, 1))]), [Kind::Lost]);
    assert_eq!(kinds_with([get((60, 70), 9, None)]), [Kind::Lost]);
    let over = put((60, 70), "c", 4, state("a", 2, 1));
    assert_eq!(kinds_with([over]), [Kind::Lost], "the next write found an older state");
    let old = op((60, 70), Deed::Get { stale: true }, told(3, false, state("a", 2, 1)));
    assert_eq!(kinds_with([old]), [Kind::Lost], "an older state is whole as of its revision");
    let rewritten = get((60, 70), 4, state("c", 4, 2));
    assert_eq!(kinds_with([open((52, 55), "c"), rewritten]), [Kind::Lost], "by its version");
}

#[test]
fn stale_reads_are_found() {
    assert_eq!(kinds_with([get((60, 70), 2, state("a", 2, 1))]), [Kind::Stale]);
    let refused = swap((60, 70), 3, "c", told(2, false, state("a", 2, 1)));
    assert_eq!(kinds_with([refused]), [Kind::Stale]);
    // An old state that shows a revision shows that it is committed.
    let ahead = op((60, 70), Deed::Get { stale: true }, told(8, false, state("b", 3, 2)));
    assert_eq!(kinds_with([ahead, get((80, 90), 7, state("b", 3, 2))]), [Kind::Stale]);
}

#[test]
fn values_that_nobody_wrote_are_found() {
    assert_eq!(kinds_with([get((60, 70), 4, state("z", 4, 3))]), [Kind::Invented]);
    let refused = op((52, 55), Deed::Put { value: "r".into() }, Outcome::Failed("full".into()));
    let shown = get((60, 70), 4, state("r", 4, 3));
    assert!(kinds_with([refused, shown]).contains(&Kind::Invented));
    let before_it_was_asked = [get((60, 70), 4, state("x", 4, 3)), open((80, 90), "x")];
    assert_eq!(kinds_with(before_it_was_asked), [Kind::Invented]);
    let changed = get((60, 70), 3, state("q", 3, 2));
    assert!(kinds_with([changed]).contains(&Kind::Invented));
    assert_eq!(kinds_with([get((60, 70), 3, state("b", 3, 5))]), [Kind::Invented]);
}

#[test]
fn writes_that_took_effect_twice_are_found() {
    let again = put((60, 70), "c", 5, state("b", 4, 3));
    assert!(kinds_with([again]).contains(&Kind::Invented), "an acknowledged one");
    let open = open((52, 55), "x");
    let twice = [get((60, 70), 4, state("x", 4, 3)), get((80, 90), 6, state("x", 6, 4))];
    assert_eq!(kinds_with([open].into_iter().chain(twice)), [Kind::Twice]);
    let unseen = put((60, 70), "c", 6, state("b", 3, 2));
    let counted = get((80, 90), 6, state("c", 6, 5));
    assert_eq!(kinds_with([unseen, counted]), [Kind::Twice], "only the version tells");
    let same = put((25, 35), "e", 3, state("a", 2, 1));
    assert!(kinds_with([same]).contains(&Kind::Twice), "one revision, two writes");
}

#[test]
fn an_order_against_the_clock_is_found() {
    let late = put((60, 70), "c", 3, None);
    assert!(kinds(vec![put((0, 10), "a", 5, None), late]).contains(&Kind::Disorder));
}

#[test]
fn conditions_that_were_judged_wrongly_are_found() {
    let applied = swap((60, 70), 2, "c", told(4, true, state("b", 3, 2)));
    assert_eq!(kinds_with([applied]), [Kind::Condition]);
    let refused = swap((60, 70), 3, "c", told(3, false, state("b", 3, 2)));
    assert_eq!(kinds_with([refused]), [Kind::Condition]);
}

const SECOND: u64 = 1_000_000;

fn promise(asked: u64) -> Sign {
    Sign::Promised { asked_us: asked * SECOND, answered_us: asked * SECOND + 9, ttl_us: 3 * SECOND }
}

fn seen(at: u64, term: u64, there: bool) -> Sign {
    Sign::Seen { called_us: at * SECOND / 10, returned_us: at * SECOND / 10 + 9, term, there }
}

fn life(signs: Vec<Sign>) -> Life {
    Life { client: 4, key: "l".into(), ttl_us: 3 * SECOND, signs }
}

fn life_kinds(signs: Vec<Sign>, calm: Option<u64>) -> Vec<Kind> {
    let calm_us = calm.map(|at| at * SECOND);
    let report = judge(&History { lives: vec![life(signs)], calm_us, ..History::default() });
    report.violations.iter().map(|one| one.kind).collect()
}

/// Looks at a key four times a second, from and up to tenths of seconds.
fn looks(from: u64, to: u64, term: u64) -> impl Iterator<Item = Sign> {
    (from..to).step_by(2).map(move |at| seen(at, term, true))
}

#[test]
fn a_lease_that_ends_before_its_promise_is_found() {
    assert_eq!(life_kinds(vec![promise(0), promise(1), seen(41, 1, false)], None), []);
    assert_eq!(life_kinds(vec![promise(0), promise(1), seen(39, 1, false)], None), [Kind::Early]);
    let ended = Sign::Ended { called_us: SECOND };
    assert_eq!(life_kinds(vec![promise(0), ended, seen(15, 1, false)], None), []);
    let touched = Sign::Touched { returned_us: SECOND };
    assert_eq!(life_kinds(vec![promise(0), touched, seen(35, 1, false)], None), []);
}

#[test]
fn a_lease_that_outlives_its_promises_is_found() {
    let with = |looks: Vec<Sign>, calm| life_kinds([vec![promise(0)], looks].concat(), calm);
    // Three seconds of life and three of grace.
    assert_eq!(with(looks(0, 60, 1).collect(), Some(0)), []);
    assert_eq!(with(looks(0, 66, 1).collect(), Some(0)), [Kind::Late]);
    assert_eq!(with(looks(0, 66, 1).collect(), None), [], "faults hold: thirty of grace");
    assert_eq!(with(looks(0, 340, 1).collect(), None), [Kind::Late]);
    let new_master: Vec<Sign> = looks(0, 40, 1).chain(looks(40, 96, 2)).collect();
    assert_eq!(with(new_master, Some(0)), [], "it gives the time again");
    let stood_still: Vec<Sign> = looks(0, 20, 1).chain(looks(60, 110, 1)).collect();
    assert_eq!(with(stood_still, Some(0)), []);
    let touched = [Sign::Touched { returned_us: 4 * SECOND }];
    let touched: Vec<Sign> = looks(0, 40, 1).chain(touched).chain(looks(40, 98, 1)).collect();
    assert_eq!(with(touched, Some(0)), [], "it may have been kept alive");
}

fn holding(token: i64, from: u64, signs: Vec<Sign>) -> Holding {
    Holding { lock: "lock".into(), token, from_us: from * SECOND, life: life(signs) }
}

fn under_lock(times: (u64, u64), token: i64, revision: i64) -> Operation {
    let deed = Deed::Guarded { lock: "lock".into(), token, value: format!("v{revision}") };
    op(times, deed, told(revision, true, None))
}

fn lock_kinds(holdings: Vec<Holding>, operations: Vec<Operation>) -> Vec<Kind> {
    let report = judge(&History { holdings, operations, ..History::default() });
    report.violations.iter().map(|one| one.kind).collect()
}

#[test]
fn two_holders_at_a_time_are_found() {
    let first = || holding(5, 1, vec![promise(0)]);
    assert_eq!(lock_kinds(vec![first(), holding(9, 3, vec![promise(3)])], Vec::new()), []);
    let overlap = vec![first(), holding(9, 2, vec![promise(2)])];
    assert_eq!(lock_kinds(overlap, Vec::new()), [Kind::TwoHolders]);
    let given_back = vec![promise(0), Sign::Ended { called_us: SECOND + 5 }];
    let next = || holding(9, 2, vec![promise(2)]);
    assert_eq!(lock_kinds(vec![holding(5, 1, given_back), next()], Vec::new()), []);
    let long = holding(3, 0, vec![promise(0), promise(9)]);
    let short = holding(4, 1, vec![promise(1), Sign::Ended { called_us: SECOND }]);
    let third = holding(6, 8, vec![promise(8)]);
    let kinds = lock_kinds(vec![long, short, third], Vec::new());
    assert_eq!(kinds, [Kind::TwoHolders], "also when another came between");
    let same = vec![first(), holding(5, 7, vec![promise(7)])];
    assert_eq!(lock_kinds(same, Vec::new()), [Kind::TwoHolders], "one token for two");
}

#[test]
fn who_writes_under_a_lock_that_another_took_since_is_found() {
    let held = || vec![holding(5, 1, vec![promise(0)]), holding(9, 4, vec![promise(4)])];
    let fine = under_lock((2, 3), 5, 7);
    assert_eq!(lock_kinds(held(), vec![fine]), []);
    let late = under_lock((2, 3), 5, 10);
    assert_eq!(lock_kinds(held(), vec![late]), [Kind::TwoHolders]);
}

#[test]
fn a_report_counts_what_was_seen() {
    let operations = whole().into_iter().chain([open((60, 61), "x")]).collect();
    let history = History {
        operations,
        lives: vec![life(vec![promise(0)])],
        holdings: vec![holding(5, 1, vec![promise(0)])],
        unread: 3,
        ..History::default()
    };
    let report = judge(&history);
    let counts = (report.operations, report.acknowledged, report.unknown, report.unread);
    assert_eq!(counts, (4, 2, 1, 3));
    assert_eq!((report.leases, report.locks, report.lost(), report.stale()), (1, 1, 0, 0));
}
