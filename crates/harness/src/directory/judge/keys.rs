//! Reads and writes: revisions against clocks, and contents against revisions.

use std::collections::{BTreeMap, BTreeSet};

use super::{Kind, Violation};
use crate::directory::history::{Deed, Operation, Outcome, State};

/// Judges all reads and writes.
pub fn check(operations: &[Operation], violations: &mut Vec<Violation>) {
    check_order(operations, violations);
    let mut keys: BTreeMap<&str, Vec<&Operation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    for (key, operations) in keys {
        Key::new(key, &operations, violations).check(&operations);
    }
}

/// What is known before a question is asked has a number that the answer may not fall behind.
fn check_order(operations: &[Operation], violations: &mut Vec<Violation>) {
    let answered = || operations.iter().filter_map(|one| one.told().map(|told| (one, told)));
    let mut by_end: Vec<_> = answered().collect();
    by_end.sort_by_key(|(one, _)| one.returned_us);
    let mut by_call: Vec<_> = answered().collect();
    by_call.sort_by_key(|(one, _)| one.called_us);
    let (mut ended, mut known) = (by_end.into_iter().peekable(), 0);
    let mut written: BTreeMap<i64, &Operation> = BTreeMap::new();
    for (one, told) in by_call {
        while let Some((_, told)) = ended.next_if(|(end, _)| end.returned_us < one.called_us) {
            known = known.max(told.revision);
        }
        let (kind, wrong) = match &one.deed {
            Deed::Get { stale: true } => continue,
            _ if told.applied => (Kind::Disorder, told.revision <= known),
            _ => (Kind::Stale, told.revision < known),
        };
        if wrong {
            let what = format!("revision {known} was known before {one:?}");
            violations.push(Violation { kind, key: one.key.clone(), what });
        }
        if let Some(revision) = one.written()
            && let Some(other) = written.insert(revision, one)
        {
            let what = format!("revision {revision} was given to {other:?} and to {one:?}");
            violations.push(Violation { kind: Kind::Twice, key: one.key.clone(), what });
        }
    }
}

/// One key's writes, and where violations go.
struct Key<'a> {
    name: &'a str,
    /// What acknowledged writes wrote, by revision.
    written: BTreeMap<i64, &'a str>,
    /// Values that may have been written at any time after these questions.
    open: BTreeMap<&'a str, &'a Operation>,
    violations: &'a mut Vec<Violation>,
}

/// That the key held `state` as of `revision`.
struct Sight<'a> {
    revision: i64,
    state: Option<&'a State>,
    by: &'a Operation,
}

impl<'a> Key<'a> {
    fn new(
        name: &'a str,
        operations: &[&'a Operation],
        violations: &'a mut Vec<Violation>,
    ) -> Self {
        let (mut written, mut open) = (BTreeMap::new(), BTreeMap::new());
        for one in operations {
            let Some(value) = one.deed.value() else { continue };
            match &one.outcome {
                Outcome::Done(told) if told.applied => {
                    written.insert(told.revision, value);
                }
                Outcome::Unknown(_) => {
                    open.insert(value, *one);
                }
                Outcome::Done(_) | Outcome::Failed(_) => {}
            }
        }
        Self { name, written, open, violations }
    }

    fn report(&mut self, kind: Kind, what: String) {
        self.violations.push(Violation { kind, key: self.name.to_owned(), what });
    }

    fn check(&mut self, operations: &[&'a Operation]) {
        let told = |one: &&'a Operation| one.told().map(|told| (*one, told));
        let sights: Vec<Sight<'a>> = operations
            .iter()
            .filter_map(told)
            .map(|(by, told)| Sight {
                // A write tells what was there before it.
                revision: told.revision - i64::from(told.applied),
                state: told.state.as_ref(),
                by,
            })
            .collect();
        let mut seen: BTreeMap<i64, &'a State> = BTreeMap::new();
        for sight in &sights {
            self.check_sight(sight);
            self.check_condition(sight);
            let Some(state) = sight.state else { continue };
            let first = seen.entry(state.changed).or_insert(state);
            if *first != state {
                let what = format!("{first:?} was seen, and now {:?}", sight.by);
                self.report(Kind::Invented, what);
            }
        }
        self.check_versions(&seen);
    }

    /// What is there is what the last write left.
    fn check_sight(&mut self, sight: &Sight<'a>) {
        let shown = sight.state.map_or(0, |state| state.changed);
        let mut up_to = self.written.range(..=sight.revision);
        if let Some((last, value)) = up_to.next_back()
            && *last > shown
        {
            let what = format!("{value:?} was written at revision {last}; {:?}", sight.by);
            return self.report(Kind::Lost, what);
        }
        let Some(state) = sight.state else { return };
        let explained = match self.written.get(&state.changed) {
            Some(value) => *value == state.value,
            None => {
                let open = self.open.get(state.value.as_str());
                open.is_some_and(|one| one.called_us <= sight.by.returned_us)
            }
        };
        if state.changed > sight.revision || !explained {
            self.report(Kind::Invented, format!("nobody wrote that: {:?}", sight.by));
        }
    }

    fn check_condition(&mut self, sight: &Sight<'a>) {
        let (Deed::Swap { seen, .. }, Some(told)) = (&sight.by.deed, sight.by.told()) else {
            return;
        };
        let found = sight.state.map_or(0, |state| state.changed);
        if told.applied != (found == *seen) {
            self.report(Kind::Condition, format!("found revision {found}: {:?}", sight.by));
        }
    }

    /// Versions count all writes: those that nobody saw must be ones without an answer.
    fn check_versions(&mut self, seen: &BTreeMap<i64, &'a State>) {
        let mut known: BTreeSet<i64> = self.written.keys().copied().collect();
        known.extend(seen.keys());
        let (mut before, mut version, mut unseen) = (0_i64, 0_i64, 0_i64);
        for revision in known {
            before += 1;
            let Some(state) = seen.get(&revision) else { continue };
            let more = state.version - version - before;
            if more < 0 {
                let what = format!("{before} writes from version {version} on, now {state:?}");
                self.report(Kind::Lost, what);
            }
            unseen += more.max(0);
            (before, version) = (0, state.version);
        }
        let mut values: BTreeMap<&str, i64> = BTreeMap::new();
        for (revision, state) in seen {
            if let Some(other) = values.insert(&state.value, *revision) {
                let what = format!("{:?} at revisions {other} and {revision}", state.value);
                self.report(Kind::Twice, what);
            }
        }
        let silent = self.open.keys().filter(|value| !values.contains_key(**value)).count();
        if unseen > i64::try_from(silent).unwrap_or(i64::MAX) {
            let what = format!("{unseen} writes that nobody saw, {silent} without an answer");
            self.report(Kind::Twice, what);
        }
    }
}
