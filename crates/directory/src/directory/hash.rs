//! Hashes that show whether two copies are identical.
//!
//! The hash of a state is the sum of digests of its live keys and leases, kept up to date with
//! every change: asking for it costs nothing, and copies note it at the same revisions.

use super::Directory;
use crate::error::Error;
use crate::item::mix;
use crate::leases::LeaseId;
use cairn_logic::ids::Revision;
use std::collections::VecDeque;

/// The hash is noted when the revision passes a multiple of this.
pub const HASH_EVERY: u64 = 1000;
/// How many noted hashes are kept.
const KEPT: usize = 64;

/// What one copy held at one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// After the change that made this revision.
    pub revision: Revision,
    /// Equal for equal keys, values, revisions and leases.
    pub hash: u64,
}

#[derive(Debug, Default)]
pub(super) struct History {
    leases: u64,
    noted: VecDeque<StateHash>,
}

impl Directory {
    /// The hash of the present state, uncommitted changes included.
    #[must_use]
    pub fn state_hash(&self) -> StateHash {
        let parts = [self.store.digest, self.hashes.leases, self.store.revision];
        let hash = parts.iter().fold(self.store.compacted, |hash, part| mix(hash ^ part));
        StateHash { revision: self.revision(), hash }
    }

    /// Hashes noted on the way, oldest first: one for each thousandth revision, 64 at most.
    /// Copies that noted the same revision must have noted the same hash.
    pub fn noted_hashes(&self) -> impl Iterator<Item = StateHash> {
        self.hashes.noted.iter().copied()
    }

    /// The hash of the keys a reader at `at` sees; walks all keys.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`] above `committed`.
    pub fn hash_keys(&self, at: Revision, committed: Revision) -> Result<u32, Error> {
        let mut scan = self.begin_hash(at, committed)?;
        self.scan(&mut scan, usize::MAX)?;
        Ok(Self::finish_hash(&scan))
    }

    pub(super) fn note_lease(&mut self, id: LeaseId, ttl_secs: u64, granted: bool) {
        let digest = mix(mix(id.0.cast_unsigned()) ^ ttl_secs);
        let leases = &mut self.hashes.leases;
        *leases = if granted { leases.wrapping_add(digest) } else { leases.wrapping_sub(digest) };
    }

    pub(super) fn remember_hash(&mut self, before: u64) {
        if before / HASH_EVERY == self.store.revision / HASH_EVERY {
            return;
        }
        let now = self.state_hash();
        if self.hashes.noted.len() == KEPT {
            self.hashes.noted.pop_front();
        }
        self.hashes.noted.push_back(now);
    }
}
