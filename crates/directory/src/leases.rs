//! Leases as the log knows them: what was granted and which keys hang on it. When they run out is
//! volatile and lives in [`crate::lessor`].

use std::collections::{BTreeMap, BTreeSet};

/// The longest time to live, in seconds (about 285 years).
pub const TTL_SECS_MAX: u64 = 9_000_000_000;

/// The name of a lease; 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub i64);

impl LeaseId {
    /// No lease.
    pub const NONE: Self = Self(0);
}

impl std::fmt::Display for LeaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Lease {
    pub ttl_secs: u64,
    pub keys: BTreeSet<Box<[u8]>>,
    /// How many were granted before it.
    nth: u64,
}

/// The leases of one moment, which are told in pieces while others come and go.
#[derive(Debug)]
struct Telling {
    /// Those granted since are not told.
    granted: u64,
    /// Those below it are told; none: all.
    next: Option<LeaseId>,
    /// Those that ended before they were told.
    ended: Vec<(LeaseId, u64)>,
}

/// All leases that were granted and not revoked.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    all: BTreeMap<LeaseId, Lease>,
    granted: u64,
    telling: Option<Telling>,
}

impl Leases {
    pub fn get(&self, id: LeaseId) -> Option<&Lease> {
        self.all.get(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (LeaseId, &Lease)> {
        self.all.iter().map(|(id, lease)| (*id, lease))
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn grant(&mut self, id: LeaseId, ttl_secs: u64) {
        self.all.insert(id, Lease { ttl_secs, keys: BTreeSet::new(), nth: self.granted });
        self.granted += 1;
    }

    pub fn revoke(&mut self, id: LeaseId) -> Option<Lease> {
        let lease = self.all.remove(&id)?;
        if let Some(telling) = &mut self.telling {
            let untold = telling.next.is_some_and(|next| next <= id);
            if untold && lease.nth < telling.granted {
                telling.ended.push((id, lease.ttl_secs));
            }
        }
        Some(lease)
    }

    /// Begins to tell the present ones, in place of what was told before.
    pub fn begin_telling(&mut self) {
        let next = Some(LeaseId(i64::MIN));
        self.telling = Some(Telling { granted: self.granted, next, ended: Vec::new() });
    }

    /// Those of the beginning that come next, with their times to live, after looking at `most`;
    /// `None` when all were told.
    pub fn tell(&mut self, most: usize) -> Option<Vec<(LeaseId, u64)>> {
        let telling = self.telling.as_mut()?;
        let Some(from) = telling.next else {
            let ended = &mut telling.ended;
            let rest = ended.split_off(ended.len().saturating_sub(most));
            if rest.is_empty() {
                self.telling = None;
            }
            return (!rest.is_empty()).then_some(rest);
        };
        let mut ahead = self.all.range(from..);
        let looked = ahead.by_ref().take(most).filter(|(_, lease)| lease.nth < telling.granted);
        let told = looked.map(|(id, lease)| (*id, lease.ttl_secs)).collect();
        telling.next = ahead.next().map(|(id, _)| *id);
        Some(told)
    }

    /// Moves `key` from one lease to another; 0 is none.
    pub fn attach(&mut self, key: &[u8], from: LeaseId, to: LeaseId) {
        if from == to {
            return;
        }
        if let Some(lease) = self.all.get_mut(&from) {
            lease.keys.remove(key);
        }
        if let Some(lease) = self.all.get_mut(&to) {
            lease.keys.insert(key.into());
        }
    }
}
