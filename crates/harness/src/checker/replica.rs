//! Reads at replicas (`READONLY`): old is allowed, uncommitted is not, and a connection never sees
//! time run backwards.

use std::collections::{BTreeMap, HashMap};

use super::{Kind, Object, Violation, counter, list};
use crate::history::{Action, Operation, Outcome, Reply};

/// Checks the replica reads of one key against what happened at its masters.
///
/// Of a register only the origin of each value can be checked, as its order is not written in it.
pub fn check(
    key: &str,
    object: Object,
    master: &[&Operation],
    replica: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let reads: Vec<&Operation> =
        replica.iter().filter(|operation| operation.reply().is_some()).copied().collect();
    match object {
        Object::Register => check_origin(key, master, &reads, violations),
        Object::Counter => {
            check_sums(key, master, &reads, violations);
            check_forwards(key, &reads, counter::shown, violations);
        }
        Object::List => {
            check_beginnings(key, master, &reads, violations);
            let length = |read: &Operation| {
                list::items(read).map(|items| i64::try_from(items.len()).unwrap_or(i64::MAX))
            };
            check_forwards(key, &reads, length, violations);
        }
    }
}

/// Within one connection nothing gets smaller.
fn check_forwards(
    key: &str,
    reads: &[&Operation],
    shown: impl Fn(&Operation) -> Option<i64>,
    violations: &mut Vec<Violation>,
) {
    let mut seen: BTreeMap<(u32, u64), (i64, &Operation)> = BTreeMap::new();
    for read in reads {
        let Some(now) = shown(read) else { continue };
        let by = (read.client, read.connection);
        if let Some((before, earlier)) = seen.get(&by)
            && now < *before
        {
            let what = format!("a connection saw {now} after {before}");
            violations.push(Violation::new(key, Kind::BackwardsRead, what, &[earlier, read]));
        }
        seen.insert(by, (now, read));
    }
}

/// A replica shows at most what masters acknowledged, or may yet: no more than the last sum.
fn check_sums(
    key: &str,
    master: &[&Operation],
    reads: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let last = master.iter().filter(|operation| operation.action.is_read());
    let last = last.filter(|read| counter::shown(read).is_some()).max_by_key(|op| op.called_us);
    let Some(last) = last else { return };
    let sum = counter::shown(last).unwrap_or_default();
    let earlier = reads.iter().filter(|read| read.returned_us <= last.called_us);
    for read in earlier.filter(|read| counter::shown(read).is_some_and(|shown| shown > sum)) {
        let what = format!("a replica showed more than the last sum {sum}");
        violations.push(Violation::new(key, Kind::DirtyRead, what, &[read, last]));
    }
}

/// A replica shows a beginning of the last read at a master.
fn check_beginnings(
    key: &str,
    master: &[&Operation],
    reads: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let last = master.iter().filter(|operation| list::items(operation).is_some());
    let Some(last) = last.max_by_key(|operation| operation.called_us) else { return };
    let all = list::items(last).unwrap_or_default();
    for read in reads.iter().filter(|read| read.returned_us <= last.called_us) {
        if list::items(read).is_some_and(|items| !all.starts_with(items)) {
            let what = "a replica showed items that are not at those places later".to_owned();
            violations.push(Violation::new(key, Kind::DirtyRead, what, &[read, last]));
        }
    }
}

/// Each value shown was asked for before, and not refused.
fn check_origin(
    key: &str,
    master: &[&Operation],
    reads: &[&Operation],
    violations: &mut Vec<Violation>,
) {
    let writes: HashMap<&str, &Operation> = master
        .iter()
        .filter_map(|operation| match &operation.action {
            Action::Set { value } | Action::SetIf { value, .. } => {
                Some((value.as_str(), *operation))
            }
            _ => None,
        })
        .collect();
    for read in reads {
        let Some(Reply::Value(Some(value))) = read.reply() else { continue };
        let write = writes.get(value.as_str());
        let refused = write.is_some_and(|write| {
            matches!(write.outcome, Outcome::Failed(_) | Outcome::Ok(Reply::Applied(false)))
        });
        if refused || write.is_none_or(|write| write.called_us > read.returned_us) {
            let what = format!("a replica showed {value:?}, which was not written by then");
            violations.push(Violation::new(key, Kind::DirtyRead, what, &[read]));
        }
    }
}
