//! Leases and locks: promises against clocks.

use std::collections::BTreeMap;

use super::{Kind, Violation};
use crate::directory::history::{Deed, Holding, Life, Operation, Sign};

/// How long after its time a lease may end when nothing disturbs.
const LATE_CALM_US: u64 = 3_000_000;
/// How long after its time it may end while faults hold: longer than any fault of a disk.
const LATE_US: u64 = 30_000_000;
/// Answers further apart say nothing about the time between.
const APART_US: u64 = 1_000_000;

/// Judges one lease.
pub fn check_life(life: &Life, calm_us: Option<u64>, violations: &mut Vec<Violation>) {
    let mut report = |kind: Kind, what: String| {
        violations.push(Violation { kind, key: life.key.clone(), what });
    };
    let certain_us = life.certain_us();
    // From when on time runs out for it, as far as the client can know.
    let (mut from_us, mut last): (u64, Option<(u64, u64)>) = (0, None);
    let mut kept = true;
    for sign in &life.signs {
        let (called_us, returned_us, term, there) = match *sign {
            Sign::Promised { answered_us, .. } => {
                from_us = from_us.max(answered_us);
                continue;
            }
            Sign::Touched { returned_us } => {
                from_us = from_us.max(returned_us);
                continue;
            }
            Sign::Seen { called_us, returned_us, term, there } => {
                (called_us, returned_us, term, there)
            }
            Sign::Ended { .. } => return,
        };
        if !there && kept && returned_us < certain_us {
            kept = false;
            report(Kind::Early, format!("gone at {returned_us}, promised up to {certain_us}"));
        }
        // A new master gives every lease its time again, and one that stood still does, too.
        if last.is_none_or(|(at, of)| of != term || called_us > at + APART_US) {
            from_us = from_us.max(returned_us);
        }
        last = Some((returned_us, term));
        let calm = calm_us.filter(|calm_us| called_us > *calm_us);
        let (since_us, late_us) = match calm {
            Some(calm_us) => (from_us.max(calm_us), LATE_CALM_US),
            None => (from_us, LATE_US),
        };
        if there && called_us > since_us + life.ttl_us + late_us {
            let what = format!("there at {called_us}, its time began at {since_us}");
            return report(Kind::Late, what);
        }
    }
}

/// Judges all locks: each has one holder at a time, and only it writes under the lock.
pub fn check_locks(
    holdings: &[Holding],
    operations: &[Operation],
    violations: &mut Vec<Violation>,
) {
    let mut locks: BTreeMap<&str, Vec<&Holding>> = BTreeMap::new();
    for holding in holdings {
        locks.entry(&holding.lock).or_default().push(holding);
    }
    for (lock, mut held) in locks {
        held.sort_by_key(|holding| (holding.token, holding.from_us));
        let mut report = |what: String| {
            violations.push(Violation { kind: Kind::TwoHolders, key: lock.to_owned(), what });
        };
        let mut longest: Option<&Holding> = None;
        for holding in &held {
            let both = |other: &&Holding| {
                let until_us = holding.life.certain_us().min(other.life.certain_us());
                holding.from_us.max(other.from_us) < until_us
            };
            if let Some(other) = longest.filter(both) {
                report(format!("{other:?} and {holding:?} at a time"));
            }
            let ends = |one: &&Holding| one.life.certain_us();
            longest = longest.into_iter().chain([*holding]).max_by_key(ends);
        }
        for pair in held.windows(2).filter(|pair| pair[0].token == pair[1].token) {
            report(format!("{:?} and {:?} have one token", pair[0], pair[1]));
        }
        for (written, token, by) in fenced(lock, operations) {
            let next = held.iter().map(|holding| holding.token).find(|other| *other > token);
            if written <= token || next.is_some_and(|next| written > next) {
                report(format!("the lock was taken again at revision {next:?}, and then {by:?}"));
            }
        }
    }
}

/// What was written under a lock: at which revision, under which token.
fn fenced<'a>(
    lock: &'a str,
    operations: &'a [Operation],
) -> impl Iterator<Item = (i64, i64, &'a Operation)> {
    operations.iter().filter_map(move |one| match &one.deed {
        Deed::Guarded { lock: of, token, .. } if of == lock => {
            one.written().map(|revision| (revision, *token, one))
        }
        _ => None,
    })
}
