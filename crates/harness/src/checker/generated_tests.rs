//! Long histories made by a store that is correct by construction, and the same with one lie.

use super::*;
use crate::dice::Dice;
use crate::history::Reply;

const CLIENTS: u32 = 8;

/// Falsifies an operation; whether it could.
type Lie = fn(&mut Operation) -> bool;

/// One copy of three objects.
#[derive(Default)]
struct Store {
    register: Option<String>,
    sum: i64,
    items: Vec<String>,
}

impl Store {
    fn execute(&mut self, action: &Action) -> Reply {
        match action {
            Action::Get => Reply::Value(self.register.clone()),
            Action::GetItems => Reply::Items(self.items.clone()),
            Action::Delete => {
                self.register = None;
                Reply::Done
            }
            Action::Set { value } => {
                self.register = Some(value.clone());
                Reply::Done
            }
            Action::SetIf { expected, value } => {
                let fits = self.register == *expected;
                if fits {
                    self.register = Some(value.clone());
                }
                Reply::Applied(fits)
            }
            Action::Add { by } => {
                self.sum += by;
                Reply::Number(self.sum)
            }
            Action::Together { steps } => {
                Reply::Each(steps.iter().map(|step| self.execute(&step.action)).collect())
            }
            Action::Append { item } => {
                self.items.push(item.clone());
                Reply::Number(i64::try_from(self.items.len()).unwrap())
            }
        }
    }
}

/// A history of `count` operations, each executed at one instant between its call and its return.
fn honest(seed: u64, count: usize) -> Vec<Operation> {
    let mut dice = Dice::new(seed);
    let mut free_at = [0_u64; CLIENTS as usize];
    let mut planned = Vec::new();
    for number in 0..count {
        let client = usize::try_from(dice.below(u64::from(CLIENTS))).unwrap();
        let called = free_at[client] + 1 + dice.below(20);
        let executed = called + dice.below(60);
        let returned = executed + 1 + dice.below(60);
        free_at[client] = returned;
        planned.push((executed, number, client, called, returned));
    }
    planned.sort_unstable();
    let mut store = Store::default();
    let mut history = Vec::new();
    for (_, number, client, called_us, returned_us) in planned {
        let (key, action) = action(&mut dice, number, &store);
        let unknown = dice.below(100) < 3;
        // What is not known has been done, or not.
        let reply = (!unknown || dice.below(2) == 0).then(|| match key {
            "counter" if action == Action::Get => Reply::Value(Some(store.sum.to_string())),
            _ => store.execute(&action),
        });
        let outcome = match reply {
            Some(reply) if !unknown => Outcome::Ok(reply),
            _ => Outcome::Unknown("closed".into()),
        };
        let (client, key) = (u32::try_from(client).unwrap(), key.to_owned());
        let (connection, readonly) = (u64::from(client), false);
        history.push(Operation {
            client,
            connection,
            readonly,
            key,
            action,
            called_us,
            returned_us,
            outcome,
        });
    }
    history
}

fn action(dice: &mut Dice, number: usize, store: &Store) -> (&'static str, Action) {
    let value = format!("v{number}");
    match dice.below(9) {
        0 | 1 => ("register", Action::Set { value }),
        2 => ("register", Action::SetIf { expected: store.register.clone(), value }),
        3 => ("register", Action::SetIf { expected: Some("never".into()), value }),
        4 => ("register", Action::Get),
        5 => ("counter", Action::Add { by: 1 }),
        6 => ("counter", Action::Get),
        7 => ("list", Action::Append { item: value }),
        _ => ("list", Action::GetItems),
    }
}

#[test]
fn honest_histories_pass() {
    for seed in 1..=40 {
        let report = check(&honest(seed, 600));
        let list: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
        assert!(list.is_empty(), "seed {seed}: {}", list.join("\n"));
        assert!(report.acknowledged > 200 && report.unknown > 0 && report.reads > 100);
    }
}

#[test]
fn one_lie_in_a_long_history_is_found() {
    let lies: [(&str, Lie); 5] = [
        ("a write that is told as refused", |operation| {
            let lies = matches!(operation.action, Action::Append { .. })
                && operation.is_acknowledged_write();
            operation.outcome = Outcome::Failed("lie".into());
            lies
        }),
        ("a sum that is one too low", |operation| match &mut operation.outcome {
            Outcome::Ok(Reply::Number(sum)) if operation.action == (Action::Add { by: 1 }) => {
                *sum -= 1;
                true
            }
            _ => false,
        }),
        ("a list without its second half", |operation| match &mut operation.outcome {
            Outcome::Ok(Reply::Items(items)) if items.len() > 20 => {
                items.truncate(items.len() / 2);
                true
            }
            _ => false,
        }),
        ("a register that is empty", |operation| match &mut operation.outcome {
            Outcome::Ok(Reply::Value(value)) if operation.key == "register" => {
                value.take().is_some()
            }
            _ => false,
        }),
        ("a swap that was refused without a reason", |operation| {
            let lies = operation.outcome == Outcome::Ok(Reply::Applied(false));
            operation.outcome = Outcome::Ok(Reply::Applied(true));
            lies
        }),
    ];
    for (name, lie) in lies {
        let mut found = 0;
        for seed in 1..=20 {
            let mut history = honest(seed, 600);
            let told = history.iter().enumerate().skip(300).find_map(|(at, operation)| {
                let mut copy = operation.clone();
                lie(&mut copy).then_some((at, copy))
            });
            let (at, copy) = told.expect("there is an operation to lie about");
            history[at] = copy;
            let report = check(&history);
            found += usize::from(report.violations.len() > report.count(&[Kind::Undecided]));
        }
        // What a read missed may really not have been there yet, if the write was in flight.
        let least = if name.starts_with("a register") { 12 } else { 20 };
        assert!(found >= least, "{name} was believed by {} of 20", 20 - found);
    }
}

#[test]
fn a_long_history_is_judged_quickly() {
    let history = honest(7, 20_000);
    // The processor's time, for a busy machine says nothing of the checker.
    let now = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let started = now();
    let report = check(&history);
    let list: Vec<String> = report.violations.iter().map(ToString::to_string).collect();
    assert!(list.is_empty(), "{}", list.join("\n"));
    let took_secs = now().tv_sec - started.tv_sec;
    assert!(took_secs < 20, "{took_secs} s");
}
