//! The ledger of a counter: every acknowledged addition counts once, and sums only grow.
//!
//! For counters that only grow by one, which is how the harness uses them.

use super::{Kind, Violation};
use crate::history::{Action, Operation, Outcome, Reply};

/// Checks one counter in one pass over its operations, sorted by the time of their call.
pub fn check(key: &str, operations: &[&Operation], violations: &mut Vec<Violation>) {
    let grows_by_one = |operation: &&Operation| match operation.action {
        Action::Add { by } => by == 1,
        _ => operation.action.is_read(),
    };
    if !operations.iter().all(grows_by_one) {
        return;
    }
    check_distinct(key, operations, violations);
    check_real_time(key, operations, violations);
    check_last(key, operations, violations);
}

/// The sum that an operation showed.
pub fn shown(operation: &Operation) -> Option<i64> {
    match operation.reply()? {
        Reply::Number(sum) => Some(*sum),
        Reply::Value(None) => Some(0),
        Reply::Value(Some(text)) => text.parse().ok(),
        _ => None,
    }
}

/// Two additions never get the same sum.
fn check_distinct(key: &str, operations: &[&Operation], violations: &mut Vec<Violation>) {
    let mut sums: Vec<(i64, &Operation)> = operations
        .iter()
        .filter(|operation| !operation.action.is_read())
        .filter_map(|operation| Some((shown(operation)?, *operation)))
        .collect();
    sums.sort_by_key(|(sum, operation)| (*sum, operation.called_us));
    for pair in sums.windows(2) {
        if pair[0].0 == pair[1].0 {
            let what = format!("two additions were told the same sum {}", pair[0].0);
            let window = [pair[0].1, pair[1].1];
            violations.push(Violation::new(key, Kind::LostWrite, what, &window));
        }
    }
}

/// Each sum shown is at least every sum known before the call, and at most all that was asked for.
fn check_real_time(key: &str, operations: &[&Operation], violations: &mut Vec<Violation>) {
    let mut returns: Vec<&Operation> =
        operations.iter().filter(|operation| shown(operation).is_some()).copied().collect();
    returns.sort_by_key(|operation| operation.returned_us);
    let mut returned = returns.iter().peekable();
    let mut highest: Option<(i64, &Operation)> = None;
    for operation in operations {
        while let Some(earlier) = returned.next_if(|r| r.returned_us < operation.called_us) {
            let sum = shown(earlier).unwrap_or_default();
            if highest.is_none_or(|(most, _)| sum > most) {
                highest = Some((sum, earlier));
            }
        }
        let (Some(sum), Some((most, earlier))) = (shown(operation), highest) else { continue };
        let least = most + i64::from(!operation.action.is_read());
        if sum < least {
            let kind = if operation.action.is_read() { Kind::StaleRead } else { Kind::LostWrite };
            let what = format!("{sum} was shown after {most} had been");
            violations.push(Violation::new(key, kind, what, &[earlier, operation]));
        }
    }
    check_ceiling(key, operations, &returns, violations);
}

/// No sum exceeds the number of additions asked for, and not refused, by the time it was shown.
fn check_ceiling(
    key: &str,
    operations: &[&Operation],
    returns: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let mut asked = 0;
    let mut calls = operations
        .iter()
        .filter(|op| !op.action.is_read() && !matches!(op.outcome, Outcome::Failed(_)))
        .peekable();
    for operation in returns {
        while calls.next_if(|call| call.called_us <= operation.returned_us).is_some() {
            asked += 1;
        }
        let sum = shown(operation).unwrap_or_default();
        if sum > asked {
            let what = format!("{sum} was shown when only {asked} additions had been asked for");
            violations.push(Violation::new(key, Kind::Repeated, what, &[operation]));
            return;
        }
    }
}

/// The last sum has every acknowledged addition, and everything that was ever shown.
fn check_last(key: &str, operations: &[&Operation], violations: &mut Vec<Violation>) {
    let last_end = operations
        .iter()
        .filter(|operation| operation.is_acknowledged_write())
        .map(|operation| operation.returned_us)
        .max();
    let is_final = |op: &&&Operation| {
        op.action.is_read() && shown(op).is_some() && Some(op.called_us) >= last_end
    };
    let Some(last) = operations.iter().rfind(is_final) else { return };
    let sum = shown(last).unwrap_or_default();
    let acknowledged = operations.iter().filter(|op| op.is_acknowledged_write()).count();
    let acknowledged = i64::try_from(acknowledged).unwrap_or(i64::MAX);
    for _ in sum..acknowledged {
        let what = format!("the last sum is {sum} but {acknowledged} additions were acknowledged");
        violations.push(Violation::new(key, Kind::LostWrite, what, &[last]));
    }
    let highest = operations.iter().filter(|op| op.returned_us <= last.called_us);
    let highest = highest.max_by_key(|op| shown(op));
    if let Some(highest) = highest
        && let Some(most) = shown(highest)
        && most > sum
        && highest.action.is_read()
    {
        let what = format!("{most} was read, and the last sum is {sum}");
        violations.push(Violation::new(key, Kind::DirtyRead, what, &[highest, last]));
    }
}
