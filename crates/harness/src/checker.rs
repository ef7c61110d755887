//! Says whether a history could be that of a store that never loses, repeats or invents a write.
//!
//! Two judges look at each key. The *search* finds an order of all operations that one copy of
//! the data could have executed (linearizability). The *ledgers* check counters and lists in one
//! pass for what an operator would ask first: is every acknowledged write there, once, in order.
//! They overlap on purpose. Reads at replicas are judged apart: they may be old, but must show
//! committed data and may not go back within one connection.
//!
//! Keys are independent of one another, so each is judged alone; but those with one `{tag}`, which
//! one transaction may touch, are judged together: a transaction is one operation on all of them.

mod counter;
mod effect;
mod list;
mod replica;
mod search;
mod slot;
mod violation;

use std::collections::BTreeMap;

pub use search::{CONCURRENT_MAX, CONFIGURATIONS_MAX};
pub use violation::{Kind, Violation};

use crate::history::{Action, Operation, Outcome};

/// What the checker looked at, and what it found.
#[derive(Debug, Default)]
pub struct Report {
    /// Operations looked at.
    pub operations: usize,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes whose outcome is not known.
    pub unknown: usize,
    /// Transactions of several steps that were answered.
    pub transactions: usize,
    /// Reads answered by masters.
    pub reads: usize,
    /// Reads answered by replicas.
    pub replica_reads: usize,
    /// Every violation, by key.
    pub violations: Vec<Violation>,
}

impl Report {
    /// How many violations are of one of these kinds.
    pub fn count(&self, kinds: &[Kind]) -> usize {
        self.violations.iter().filter(|violation| kinds.contains(&violation.kind)).count()
    }

    /// Acknowledged writes that are gone.
    pub fn lost(&self) -> usize {
        self.count(&[Kind::LostWrite])
    }

    /// Values that were read and are gone, or were read after a newer one.
    pub fn stale(&self) -> usize {
        self.count(&[Kind::StaleRead, Kind::DirtyRead, Kind::BackwardsRead])
    }
}

/// What kind of object a key holds, by the writes it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Object {
    Register,
    Counter,
    List,
}

/// Judges a whole history, key by key. The order of `history` does not matter.
pub fn check(history: &[Operation]) -> Report {
    let mut report = Report { operations: history.len(), ..Report::default() };
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(tag_of(&operation.key).unwrap_or(&operation.key)).or_default().push(operation);
        report.acknowledged += usize::from(operation.is_acknowledged_write());
        let open = matches!(operation.outcome, Outcome::Unknown(_));
        report.unknown += usize::from(open && !operation.action.is_read());
        let whole = matches!(operation.action, Action::Together { .. });
        report.transactions += usize::from(whole && operation.reply().is_some());
        let read = operation.action.is_read() && operation.reply().is_some();
        report.reads += usize::from(read && !operation.readonly);
        report.replica_reads += usize::from(read && operation.readonly);
    }
    for (key, mut operations) in keys {
        operations.sort_by_key(|operation| (operation.called_us, operation.returned_us));
        match operations.iter().any(|operation| tag_of(&operation.key).is_some()) {
            true => slot::check(key, &operations, &mut report.violations),
            false => check_key(key, &operations, &mut report.violations),
        }
    }
    report
}

/// The part of a key in braces, which alone decides its slot.
fn tag_of(key: &str) -> Option<&str> {
    let (tag, _) = key.split_once('{')?.1.split_once('}')?;
    (!tag.is_empty()).then_some(tag)
}

fn check_key(key: &str, operations: &[&Operation], violations: &mut Vec<Violation>) {
    let before = violations.len();
    let (object, master) = check_ledgers(key, operations, violations);
    // The ledgers say it more plainly; the search has the last word only when they are silent.
    if violations.len() == before {
        violations.extend(search::check(key, object, &master));
    }
}

/// What one key holds, and its operations at masters, after a look at its ledger.
fn check_ledgers<'a>(
    key: &str,
    operations: &[&'a Operation],
    violations: &mut Vec<Violation>,
) -> (Object, Vec<&'a Operation>) {
    let (replica, master): (Vec<&Operation>, Vec<&Operation>) =
        operations.iter().partition(|operation| operation.readonly);
    let object = object_of(operations);
    match object {
        Object::Register => {}
        Object::Counter => counter::check(key, &master, violations),
        Object::List => list::check(key, &master, violations),
    }
    replica::check(key, object, &master, &replica, violations);
    (object, master)
}

fn object_of(operations: &[&Operation]) -> Object {
    for operation in operations {
        match operation.action {
            Action::Add { .. } => return Object::Counter,
            Action::Append { .. } | Action::GetItems => return Object::List,
            _ => {}
        }
    }
    Object::Register
}

#[cfg(test)]
mod generated_tests;
#[cfg(test)]
mod slot_tests;
#[cfg(test)]
mod tests;
