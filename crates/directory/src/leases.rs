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
}

/// All leases that were granted and not revoked.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    all: BTreeMap<LeaseId, Lease>,
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
        self.all.insert(id, Lease { ttl_secs, keys: BTreeSet::new() });
    }

    pub fn revoke(&mut self, id: LeaseId) -> Option<Lease> {
        self.all.remove(&id)
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
