//! The state that the log of the global plane makes.
//!
//! [`Directory::apply`] is for the master, at append: it answers. [`Directory::replay`] is for
//! everybody else, at commit: it changes the same and answers nothing. What readers and watchers
//! see is bounded by the committed revision, which they pass in, because a master holds revisions
//! that may yet be taken back.

use crate::answer::{Answer, Applied};
use crate::error::Error;
use crate::leases::{LeaseId, Leases};
use crate::op::{Op, Put, SYSTEM_PREFIX};
use crate::store::{NEWEST, Store};
use cairn_logic::ids::Revision;
use std::ops::Bound;

mod hash;
mod import;
mod read;
mod restore;
mod scan;
mod snapshot;
mod write;

pub use hash::StateHash;
pub use import::Checked;
pub use restore::Restored;
pub use scan::Scan;
pub use snapshot::{CONTENT, Export, Portion, Seen, keys_of, revision_of, versions_of};

/// The multi-version map with its leases.
#[derive(Debug)]
pub struct Directory {
    pub(crate) store: Store,
    leases: Leases,
    hashes: hash::History,
    /// Revisions go on above it.
    above: u64,
}

impl Default for Directory {
    fn default() -> Self {
        Self::new()
    }
}

impl Directory {
    /// An empty directory, at revision 1 as etcd's.
    #[must_use]
    pub fn new() -> Self {
        let (store, leases) = (Store::new(), Leases::default());
        Self { store, leases, hashes: hash::History::default(), above: 0 }
    }

    /// The last revision given out, committed or not.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.store.revision)
    }

    /// Reads below it are refused.
    #[must_use]
    pub fn compacted(&self) -> Revision {
        Revision(self.store.compacted)
    }

    /// A master's revisions go on above it: the greatest that an epoch record of the log names.
    #[must_use]
    pub fn above(&self) -> Revision {
        Revision(self.above)
    }

    /// The log holds an epoch record that names it.
    pub fn raise_above(&mut self, above: Revision) {
        self.above = self.above.max(above.0);
    }

    /// Bytes held, without the allocator's own.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.store.bytes()
    }

    /// Keys held, those whose deletion is not yet swept included.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.store.keys()
    }

    /// Applies a validated operation and answers it.
    ///
    /// # Errors
    /// Those that depend on the state; nothing has changed then, and the operation must not be
    /// logged.
    pub fn apply(&mut self, op: &Op) -> Result<Applied, Error> {
        self.run(op, true)
    }

    /// Applies an operation from the log, without an answer.
    ///
    /// # Errors
    /// None for what a master logged: an error means that this copy differs from the master's.
    pub fn replay(&mut self, op: &Op) -> Result<(), Error> {
        self.run(op, false).map(drop)
    }

    fn run(&mut self, op: &Op, answering: bool) -> Result<Applied, Error> {
        let before = self.store.revision;
        let answer = match op {
            Op::Noop => Answer::Done,
            Op::Put(put) => self.put_alone(put, answering)?,
            Op::DeleteRange(delete) => self.change(answering, |change| change.delete(delete)),
            Op::Txn(txn) => self.txn(txn, answering)?,
            Op::Compact { revision } => self.compact(*revision)?,
            Op::LeaseGrant { id, ttl_secs } => self.grant(*id, *ttl_secs)?,
            Op::LeaseRevoke { id, .. } => self.revoke(*id)?,
            Op::Jump { to } => self.jump(*to),
        };
        self.remember_hash(before);
        Ok(Applied { revision: self.revision(), answer })
    }

    fn put_alone(&mut self, put: &Put, answering: bool) -> Result<Answer, Error> {
        self.check_put(put)?;
        Ok(self.change(answering, |change| change.put(put)))
    }

    fn compact(&mut self, revision: Revision) -> Result<Answer, Error> {
        if revision.0 <= self.store.compacted {
            return Err(Error::Compacted);
        }
        if revision.0 > self.store.revision {
            return Err(Error::FutureRevision);
        }
        self.store.compact(revision.0);
        Ok(Answer::Done)
    }

    fn jump(&mut self, to: Revision) -> Answer {
        if to.0 > self.store.revision {
            self.store.revision = to.0;
            self.store.compact(to.0);
        }
        Answer::Done
    }

    fn grant(&mut self, id: LeaseId, ttl_secs: u64) -> Result<Answer, Error> {
        if id == LeaseId::NONE || self.leases.get(id).is_some() {
            return Err(Error::LeaseExists);
        }
        self.leases.grant(id, ttl_secs);
        self.note_lease(id, ttl_secs, true);
        Ok(Answer::Lease { id, ttl_secs })
    }

    fn revoke(&mut self, id: LeaseId) -> Result<Answer, Error> {
        let lease = self.leases.revoke(id).ok_or(Error::LeaseNotFound)?;
        self.note_lease(id, lease.ttl_secs, false);
        self.change(false, |change| {
            lease.keys.iter().for_each(|key| change.delete_key(key));
        });
        Ok(Answer::Done)
    }

    /// The time to live that a lease was granted, in seconds, and the keys that hang on it now
    /// (uncommitted changes included).
    #[must_use]
    pub fn lease(&self, id: LeaseId) -> Option<(u64, impl Iterator<Item = &[u8]>)> {
        let lease = self.leases.get(id)?;
        Some((lease.ttl_secs, lease.keys.iter().map(|key| &key[..])))
    }

    /// All leases with the time to live each was granted, in seconds.
    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, u64)> {
        self.leases.iter().map(|(id, lease)| (id, lease.ttl_secs))
    }

    /// How many leases there are.
    #[must_use]
    pub fn lease_count(&self) -> usize {
        self.leases.len()
    }

    /// Whether ending the lease would delete keys that only the system writes.
    #[must_use]
    pub fn holds_system_keys(&self, id: LeaseId) -> bool {
        self.leases.get(id).is_some_and(|lease| {
            let from = (Bound::Included(SYSTEM_PREFIX), Bound::Unbounded);
            lease
                .keys
                .range::<[u8], _>(from)
                .next()
                .is_some_and(|key| key.starts_with(SYSTEM_PREFIX))
        })
    }

    /// Removes at most `items_max` versions that a compaction made unreadable; whether none is
    /// left. Call it until then, a few thousand at a time, whenever there is time.
    pub fn sweep(&mut self, items_max: usize) -> bool {
        self.store.sweep(items_max, NEWEST)
    }

    /// The same, but keeps what a scan of revision `reader` has to see.
    pub fn sweep_behind(&mut self, items_max: usize, reader: Revision) -> bool {
        self.store.sweep(items_max, reader.0)
    }

    /// How many versions this copy has taken, swept ones included.
    pub(crate) fn versions_made(&self) -> u64 {
        self.store.made
    }

    /// Whether `key` exists now, uncommitted changes included.
    fn exists(&self, key: &[u8]) -> bool {
        self.store.get(key, NEWEST).is_some()
    }
}
