//! The ledger of a list: every acknowledged item is there once, in an order that time allows, and
//! every read saw a beginning of the last one.

use std::collections::{HashMap, HashSet};

use super::effect::longest_read;
use super::{Kind, Violation};
use crate::history::{Action, Operation, Outcome, Reply};

/// Checks one list in one pass over its operations, sorted by the time of their call.
pub fn check(key: &str, operations: &[&Operation], violations: &mut Vec<Violation>) {
    let appends: HashMap<&str, &Operation> = operations
        .iter()
        .filter_map(|operation| Some((appended(operation)?, *operation)))
        .collect();
    let reads: Vec<(&[String], &Operation)> =
        operations.iter().filter_map(|operation| Some((items(operation)?, *operation))).collect();
    let Some(&(last, last_read)) = reads.iter().max_by_key(|(_, read)| read.called_us) else {
        return;
    };
    check_content(key, last, last_read, &appends, violations);
    check_order(key, last, &appends, violations);
    check_reads(key, last, last_read, &reads, violations);
    check_freshness(key, operations, &reads, violations);
}

/// What a read of a list showed.
pub fn items(operation: &Operation) -> Option<&[String]> {
    match operation.reply()? {
        Reply::Items(items) => Some(items),
        _ => None,
    }
}

fn appended(operation: &Operation) -> Option<&str> {
    match &operation.action {
        Action::Append { item } => Some(item),
        _ => None,
    }
}

/// The last read has each acknowledged item, each item once, and none that nobody appended.
fn check_content(
    key: &str,
    last: &[String],
    read: &Operation,
    appends: &HashMap<&str, &Operation>,
    violations: &mut Vec<Violation>,
) {
    let mut there = HashSet::new();
    for item in last {
        let mut report = |kind, what: &str, window: &[&Operation]| {
            let what = format!("item {item:?} {what}");
            violations.push(Violation::new(key, kind, what, window));
        };
        match appends.get(item.as_str()) {
            None => report(Kind::DirtyRead, "was appended by nobody", &[read]),
            Some(append) if !there.insert(item.as_str()) => {
                report(Kind::Repeated, "is there twice", &[append, read]);
            }
            Some(append) if matches!(append.outcome, Outcome::Failed(_)) => {
                report(Kind::RefusedButApplied, "was refused and is there", &[append, read]);
            }
            Some(_) => {}
        }
    }
    let mut lost: Vec<_> = appends
        .iter()
        .filter(|(item, append)| !there.contains(*item) && append.is_acknowledged_write())
        .filter(|(_, append)| append.returned_us < read.called_us)
        .collect();
    lost.sort_by_key(|(item, _)| **item);
    for (item, append) in lost {
        let what = format!("item {item:?} was acknowledged and is gone");
        violations.push(Violation::new(key, Kind::LostWrite, what, &[append, read]));
    }
}

/// An item that was acknowledged before another was asked for stands before it.
fn check_order(
    key: &str,
    last: &[String],
    appends: &HashMap<&str, &Operation>,
    violations: &mut Vec<Violation>,
) {
    let mut latest: Option<&Operation> = None;
    for append in last.iter().filter_map(|item| appends.get(item.as_str()).copied()) {
        if let Some(before) = latest
            && append.is_acknowledged_write()
            && append.returned_us < before.called_us
        {
            let what = "an item stands behind one that was asked for after it".to_owned();
            violations.push(Violation::new(key, Kind::NotLinearizable, what, &[append, before]));
            return;
        }
        if latest.is_none_or(|before| append.called_us > before.called_us) {
            latest = Some(append);
        }
    }
}

/// Each read is a beginning of the last one.
fn check_reads(
    key: &str,
    last: &[String],
    last_read: &Operation,
    reads: &[(&[String], &Operation)],
    violations: &mut Vec<Violation>,
) {
    for (seen, read) in reads.iter().filter(|(_, read)| read.returned_us < last_read.called_us) {
        if !last.starts_with(seen) {
            let same = seen.iter().zip(last).take_while(|(a, b)| a == b).count();
            let what = format!("from place {same} on, what a read showed is gone");
            violations.push(Violation::new(key, Kind::DirtyRead, what, &[read, last_read]));
        }
    }
}

/// A read shows at least as much as any operation that had ended before it began.
fn check_freshness(
    key: &str,
    operations: &[&Operation],
    reads: &[(&[String], &Operation)],
    violations: &mut Vec<Violation>,
) {
    let places: HashMap<&str, usize> =
        longest_read(operations).iter().enumerate().map(|(at, item)| (item.as_str(), at)).collect();
    let shown = |operation: &Operation| {
        let placed = appended(operation).and_then(|item| places.get(item)).map(|at| at + 1);
        items(operation).map(<[String]>::len).or(placed).filter(|_| operation.reply().is_some())
    };
    let mut ended: Vec<&Operation> =
        operations.iter().filter(|operation| shown(operation).is_some()).copied().collect();
    ended.sort_by_key(|operation| operation.returned_us);
    let mut ended = ended.into_iter().peekable();
    let mut most: Option<(usize, &Operation)> = None;
    for (seen, read) in reads {
        while let Some(earlier) = ended.next_if(|earlier| earlier.returned_us < read.called_us) {
            let length = shown(earlier).unwrap_or_default();
            if most.is_none_or(|(longest, _)| length > longest) {
                most = Some((length, earlier));
            }
        }
        if let Some((longest, earlier)) = most
            && seen.len() < longest
        {
            let what = format!("{} items were shown after {longest} were there", seen.len());
            violations.push(Violation::new(key, Kind::StaleRead, what, &[earlier, read]));
        }
    }
}
