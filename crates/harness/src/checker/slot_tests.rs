//! Transactions over the keys of one slot, and conditional writes: honest histories pass, each
//! planted violation is found.

use super::*;
use crate::dice::Dice;
use crate::history::{Reply, Step};

const LEFT: &str = "{t}:left";
const RIGHT: &str = "{t}:right";
const SUM: &str = "{t}:sum";
const ONCE: &str = "{t}:once";

fn operation(from: u64, to: u64, key: &str, action: Action, outcome: Outcome) -> Operation {
    Operation {
        client: 1,
        connection: 1,
        readonly: false,
        key: key.to_owned(),
        action,
        called_us: from,
        returned_us: to,
        outcome,
    }
}

fn set(value: &str) -> Action {
    Action::Set { value: value.to_owned() }
}

fn claim(value: &str) -> Action {
    Action::SetIf { expected: None, value: value.to_owned() }
}

fn value(text: &str) -> Reply {
    Reply::Value((!text.is_empty()).then(|| text.to_owned()))
}

/// `LEFT` and `RIGHT` get the same value, `SUM` grows by one.
fn write_both(text: &str) -> Action {
    let steps = vec![
        Step::new(LEFT, set(text)),
        Step::new(RIGHT, set(text)),
        Step::new(SUM, Action::Add { by: 1 }),
    ];
    Action::Together { steps }
}

fn written(from: u64, to: u64, text: &str, sum: i64) -> Operation {
    let replies = vec![Reply::Done, Reply::Done, Reply::Number(sum)];
    operation(from, to, "{t}", write_both(text), Outcome::Ok(Reply::Each(replies)))
}

fn seen_both(from: u64, to: u64, left: &str, right: &str, sum: &str) -> Operation {
    let steps = [LEFT, RIGHT, SUM].map(|key| Step::new(key, Action::Get)).to_vec();
    let replies = vec![value(left), value(right), value(sum)];
    operation(from, to, "{t}", Action::Together { steps }, Outcome::Ok(Reply::Each(replies)))
}

fn seen(from: u64, to: u64, key: &str, text: &str) -> Operation {
    operation(from, to, key, Action::Get, Outcome::Ok(value(text)))
}

fn claimed(from: u64, to: u64, text: &str, applied: bool) -> Operation {
    operation(from, to, ONCE, claim(text), Outcome::Ok(Reply::Applied(applied)))
}

fn kinds(history: &[Operation]) -> Vec<Kind> {
    check(history).violations.into_iter().map(|violation| violation.kind).collect()
}

fn passes(history: &[Operation]) {
    let list: Vec<String> = check(history).violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{}", list.join("\n"));
}

#[test]
fn honest_transactions_pass() {
    let open = Outcome::Unknown("NOACK".into());
    let refused = Outcome::Failed("EXECABORT".into());
    passes(&[
        written(0, 9, "a", 1),
        // In flight with the first: before it or after it.
        seen_both(1, 8, "", "", ""),
        seen_both(2, 7, "a", "a", "1"),
        operation(10, 12, "{t}", write_both("b"), open),
        seen(13, 14, LEFT, "a"),
        // What nobody knew has happened only now.
        seen(15, 16, RIGHT, "b"),
        seen(17, 18, LEFT, "b"),
        operation(19, 20, "{t}", write_both("c"), refused),
        seen_both(21, 22, "b", "b", "2"),
    ]);
    let report = check(&[written(0, 9, "a", 1), seen_both(10, 11, "a", "a", "1")]);
    assert_eq!((report.acknowledged, report.reads, report.transactions), (1, 1, 2));
}

#[test]
fn a_transaction_of_which_one_half_is_done_is_found() {
    let half = [written(0, 1, "a", 1), seen_both(2, 3, "a", "", "1")];
    assert_eq!(kinds(&half), [Kind::NotLinearizable]);
    let text = check(&half).violations[0].to_string();
    assert!(text.contains("{t}:left \"a\""), "{text}");
    // Also when only one of the halves is ever looked at, or nobody knows the outcome.
    assert_eq!(kinds(&[written(0, 1, "a", 1), seen(2, 3, RIGHT, "")]), [Kind::NotLinearizable]);
    let open = operation(0, 1, "{t}", write_both("a"), Outcome::Unknown("NOACK".into()));
    assert_eq!(kinds(&[open, seen_both(2, 3, "a", "", "1")]), [Kind::NotLinearizable]);
}

#[test]
fn a_transaction_that_is_seen_by_halves_is_found() {
    // Each key alone has an order that explains it; both together have none.
    let history = [written(0, 20, "a", 1), seen(2, 3, LEFT, "a"), seen(4, 5, RIGHT, "")];
    assert_eq!(kinds(&history), [Kind::NotLinearizable]);
    let both = [written(0, 20, "a", 1), seen_both(2, 5, "a", "", "1")];
    assert_eq!(kinds(&both), [Kind::NotLinearizable]);
    passes(&[written(0, 20, "a", 1), seen(2, 3, LEFT, ""), seen(4, 5, RIGHT, "a")]);
}

#[test]
fn transactions_that_cross_each_other_are_found() {
    // The left says that b came last, the right that a did.
    let history = [written(0, 9, "a", 1), written(0, 9, "b", 2), seen_both(10, 11, "b", "a", "2")];
    assert_eq!(kinds(&history), [Kind::NotLinearizable]);
}

#[test]
fn a_step_that_is_lost_or_repeated_is_found_by_the_ledger() {
    let lost = [written(0, 1, "a", 1), written(2, 3, "b", 1), seen(4, 5, SUM, "1")];
    assert!(kinds(&lost).contains(&Kind::LostWrite));
    let repeated = [written(0, 1, "a", 1), seen(2, 3, SUM, "2")];
    assert!(!kinds(&repeated).is_empty());
    let refused = Outcome::Failed("EXECABORT".into());
    let applied = [operation(0, 1, "{t}", write_both("a"), refused), seen(2, 3, LEFT, "a")];
    assert_eq!(kinds(&applied), [Kind::NotLinearizable]);
}

#[test]
fn a_claim_that_succeeds_twice_is_found() {
    assert_eq!(
        kinds(&[claimed(0, 1, "a", true), claimed(2, 3, "b", true)]),
        [Kind::NotLinearizable]
    );
    // Also when both are in flight at once.
    assert_eq!(
        kinds(&[claimed(0, 9, "a", true), claimed(1, 8, "b", true)]),
        [Kind::NotLinearizable]
    );
    let removed = |count| operation(2, 3, ONCE, Action::Delete, Outcome::Ok(Reply::Number(count)));
    passes(&[claimed(0, 1, "a", true), removed(1), claimed(4, 5, "b", true)]);
    passes(&[claimed(0, 1, "a", true), claimed(2, 3, "b", false), seen(4, 5, ONCE, "a")]);
}

#[test]
fn a_claim_or_a_removal_that_lies_about_what_was_there_is_found() {
    assert_eq!(kinds(&[claimed(0, 1, "a", false)]), [Kind::NotLinearizable]);
    let removed = |count| operation(2, 3, ONCE, Action::Delete, Outcome::Ok(Reply::Number(count)));
    assert_eq!(kinds(&[claimed(0, 1, "a", true), removed(0)]), [Kind::NotLinearizable]);
    assert_eq!(kinds(&[removed(1)]), [Kind::NotLinearizable]);
    let answers = [claimed(0, 1, "a", true), claimed(2, 3, "b", false), seen(4, 5, ONCE, "b")];
    assert_eq!(kinds(&answers), [Kind::NotLinearizable]);
}

#[test]
fn a_claim_within_a_transaction_leaves_the_other_steps_alone() {
    let steps = vec![Step::new(ONCE, claim("b")), Step::new(SUM, Action::Add { by: 1 })];
    let both = Action::Together { steps };
    let open = operation(2, 3, "{t}", both.clone(), Outcome::Unknown("NOACK".into()));
    passes(&[claimed(0, 1, "a", true), open, seen(4, 5, SUM, "1"), seen(6, 7, ONCE, "a")]);
    let replies = vec![Reply::Applied(false), Reply::Number(1)];
    let known = operation(2, 3, "{t}", both, Outcome::Ok(Reply::Each(replies)));
    assert!(known.is_acknowledged_write());
    passes(&[claimed(0, 1, "a", true), known.clone(), seen(4, 5, SUM, "1")]);
    assert_eq!(kinds(&[known]), [Kind::NotLinearizable], "there was nothing in its way");
}

/// One copy of the four keys.
#[derive(Default)]
struct Store {
    left: Option<String>,
    right: Option<String>,
    once: Option<String>,
    sum: i64,
}

impl Store {
    fn execute(&mut self, key: &str, action: &Action) -> Reply {
        if let Action::Together { steps } = action {
            return Reply::Each(steps.iter().map(|s| self.execute(&s.key, &s.action)).collect());
        }
        let register = match key {
            LEFT => &mut self.left,
            RIGHT => &mut self.right,
            _ => &mut self.once,
        };
        match action {
            Action::Get if key == SUM => Reply::Value(Some(self.sum.to_string())),
            Action::Get => Reply::Value(register.clone()),
            Action::Set { value } => {
                *register = Some(value.clone());
                Reply::Done
            }
            Action::SetIf { value, .. } => {
                let free = register.is_none();
                register.get_or_insert_with(|| value.clone());
                Reply::Applied(free)
            }
            Action::Delete => Reply::Number(i64::from(register.take().is_some())),
            _ => {
                self.sum += 1;
                Reply::Number(self.sum)
            }
        }
    }
}

fn some_action(dice: &mut Dice, number: usize) -> (&'static str, Action) {
    let text = format!("v{number}");
    match dice.below(10) {
        0..=2 => ("{t}", write_both(&text)),
        3 | 4 => {
            let steps = [LEFT, RIGHT, SUM].map(|key| Step::new(key, Action::Get)).to_vec();
            ("{t}", Action::Together { steps })
        }
        5 => (LEFT, Action::Get),
        6 => (RIGHT, Action::Get),
        7 => (ONCE, claim(&text)),
        8 => (ONCE, Action::Delete),
        _ => {
            let steps = vec![Step::new(ONCE, claim(&text)), Step::new(SUM, Action::Add { by: 1 })];
            ("{t}", Action::Together { steps })
        }
    }
}

/// Operations of six clients, each executed at one instant between its call and its return.
fn honest(seed: u64, count: usize) -> Vec<Operation> {
    let mut dice = Dice::new(seed);
    let mut free_at = [0_u64; 6];
    let mut planned = Vec::new();
    for number in 0..count {
        let client = usize::try_from(dice.below(6)).unwrap();
        let called = free_at[client] + 1 + dice.below(20);
        let executed = called + dice.below(60);
        free_at[client] = executed + 1 + dice.below(60);
        planned.push((executed, number, client, called, free_at[client]));
    }
    planned.sort_unstable();
    let mut store = Store::default();
    let mut history = Vec::new();
    for (_, number, client, called, returned) in planned {
        let (key, action) = some_action(&mut dice, number);
        let unknown = dice.below(100) < 3;
        // What is not known has been done, or not.
        let reply = (!unknown || dice.below(2) == 0).then(|| store.execute(key, &action));
        let outcome = match reply {
            Some(reply) if !unknown => Outcome::Ok(reply),
            _ => Outcome::Unknown("closed".into()),
        };
        let mut operation = operation(called, returned, key, action, outcome);
        operation.client = u32::try_from(client).unwrap();
        history.push(operation);
    }
    history
}

#[test]
fn honest_histories_of_a_slot_pass() {
    for seed in 1..=20 {
        let report = check(&honest(seed, 500));
        let list: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "seed {seed}: {}", list.join("\n"));
        assert!(report.acknowledged > 150 && report.unknown > 0 && report.reads > 100);
    }
}

/// Falsifies what a transaction of reads saw, given what a later one saw; whether it could.
type Lie = fn(&mut Vec<Reply>, &[Reply]) -> bool;

#[test]
fn one_transaction_of_a_long_history_that_is_seen_by_halves_is_found() {
    let lies: [(&str, Lie); 3] = [
        ("the left half of a later time", |now, later| {
            let lies = now[0] != later[0];
            now[0] = later[0].clone();
            lies
        }),
        ("a sum of a later time", |now, later| {
            let lies = now[2] != later[2];
            now[2] = later[2].clone();
            lies
        }),
        ("halves of two transactions", |now, later| {
            let lies = now[0] != later[0];
            (now[0], now[2]) = (later[0].clone(), later[2].clone());
            lies
        }),
    ];
    for (name, lie) in lies {
        let mut found = 0;
        for seed in 1..=15 {
            let mut history = honest(seed, 400);
            let reads = |op: &Operation| match op.reply() {
                Some(Reply::Each(replies)) if op.action.is_read() => Some(replies.clone()),
                _ => None,
            };
            let seen: Vec<(usize, Vec<Reply>)> =
                (200..400).filter_map(|at| Some((at, reads(&history[at])?))).collect();
            let told = seen.windows(2).find_map(|pair| {
                let mut replies = pair[0].1.clone();
                lie(&mut replies, &pair[1].1).then_some((pair[0].0, replies))
            });
            let (at, replies) = told.expect("there is an operation to lie about");
            history[at].outcome = Outcome::Ok(Reply::Each(replies));
            let report = check(&history);
            found += usize::from(report.violations.len() > report.count(&[Kind::Undecided]));
        }
        // The sum also grows alone, so one of a later time may really have been there already.
        let least = if name.starts_with("a sum") { 10 } else { 15 };
        assert!(found >= least, "{name} was believed by {} of 15", 15 - found);
    }
}
