//! The operations that the log holds, and the queries that it does not.

use crate::error::Error;
use crate::leases::{LeaseId, TTL_SECS_MAX};
use crate::range::KeyRange;
use bytes::Bytes;
use cairn_logic::ids::{Epoch, Revision};
use std::collections::BTreeSet;
use std::ops::Bound;

/// The most operations in one branch, and comparisons in one transaction.
pub const TXN_OPS_MAX: usize = 128;
/// The most operations and comparisons in a transaction with all that nests in it.
pub const TXN_OPS_IN_ALL_MAX: usize = 4096;
/// How deep transactions may nest.
pub const TXN_DEPTH_MAX: usize = 8;
/// The most bytes of one encoded request (1.5 MiB).
pub const REQUEST_BYTES_MAX: usize = 3 << 19;
/// Keys that only the system writes.
pub const SYSTEM_PREFIX: &[u8] = b"/cairn/";

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Nothing; holds a place in the log.
    Noop,
    /// Sets one key.
    Put(Put),
    /// Deletes the keys of a range.
    DeleteRange(DeleteRange),
    /// Compares, then runs one of two branches, as one change.
    Txn(Txn),
    /// Forgets what was superseded before this revision.
    Compact {
        /// The oldest revision that can still be read.
        revision: Revision,
    },
    /// Makes a lease.
    LeaseGrant {
        /// Its id, chosen by the master when the client did not; not 0.
        id: LeaseId,
        /// Its time to live, in seconds.
        ttl_secs: u64,
    },
    /// Ends a lease and deletes its keys.
    LeaseRevoke {
        /// Which.
        id: LeaseId,
        /// The epoch whose master saw it run out; `None` if a client asked.
        expired_in: Option<Epoch>,
    },
    /// Goes on above `to`, and compacts what is older: a start without proof of what was before.
    Jump {
        /// No revision at or below it is given out again.
        to: Revision,
    },
}

/// Sets one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Put {
    /// The key; not empty.
    pub key: Bytes,
    /// Its new value.
    pub value: Bytes,
    /// The lease it hangs on; 0 for none.
    pub lease: LeaseId,
    /// Answer with the version before.
    pub prev_kv: bool,
    /// Keep the value; the key must exist.
    pub ignore_value: bool,
    /// Keep the lease; the key must exist.
    pub ignore_lease: bool,
}

/// Deletes the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteRange {
    /// Which.
    pub range: KeyRange,
    /// Answer with the versions before.
    pub prev_kv: bool,
}

/// Compares, then runs one branch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold for `success` to run.
    pub compare: Vec<Compare>,
    /// Runs when all comparisons hold.
    pub success: Vec<TxnOp>,
    /// Runs otherwise.
    pub failure: Vec<TxnOp>,
}

/// One operation of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOp {
    /// Reads.
    Range(RangeQuery),
    /// Sets one key.
    Put(Put),
    /// Deletes.
    DeleteRange(DeleteRange),
    /// Nests.
    Txn(Txn),
}

/// A condition on every key of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compare {
    /// The keys.
    pub range: KeyRange,
    /// How the key's side relates to the other.
    pub relation: Relation,
    /// What is compared, and with what.
    pub target: Target,
}

/// How two sides relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// The same.
    Equal,
    /// The key's is greater.
    Greater,
    /// The key's is less.
    Less,
    /// Not the same.
    NotEqual,
}

/// What of a key is compared, and with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Its version.
    Version(i64),
    /// The revision that made it.
    Created(i64),
    /// The revision of its last change.
    Modified(i64),
    /// Its value.
    Value(Bytes),
    /// Its lease.
    Lease(i64),
}

/// What a range's answer is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    #[default]
    Key,
    /// The version.
    Version,
    /// The revision that made it.
    Created,
    /// The revision of its last change.
    Modified,
    /// The value.
    Value,
}

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SortOrder {
    /// As kept: by key, or ascending by another target.
    #[default]
    None,
    /// Small first.
    Ascending,
    /// Great first.
    Descending,
}

/// Reads the keys of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeQuery {
    /// Which keys.
    pub range: KeyRange,
    /// As of this revision; `None` = now.
    pub at: Option<Revision>,
    /// At most this many; 0 = all.
    pub limit: u64,
    /// In which order.
    pub order: SortOrder,
    /// By what.
    pub sort_by: SortTarget,
    /// Leave the values out.
    pub keys_only: bool,
    /// Only count.
    pub count_only: bool,
    /// Smallest revision of the last change; 0 = any.
    pub modified_min: u64,
    /// Greatest revision of the last change; 0 = any.
    pub modified_max: u64,
    /// Smallest revision that made the key; 0 = any.
    pub created_min: u64,
    /// Greatest revision that made the key; 0 = any.
    pub created_max: u64,
}

impl RangeQuery {
    /// All keys of `range` as they are now.
    #[must_use]
    pub fn all(range: KeyRange) -> Self {
        Self {
            range,
            at: None,
            limit: 0,
            order: SortOrder::None,
            sort_by: SortTarget::Key,
            keys_only: false,
            count_only: false,
            modified_min: 0,
            modified_max: 0,
            created_min: 0,
            created_max: 0,
        }
    }

    /// Checks what needs no state.
    ///
    /// # Errors
    /// [`Error::EmptyKey`].
    pub fn validate(&self) -> Result<(), Error> {
        named(&self.range.start)
    }

    pub(crate) fn filters(&self) -> bool {
        self.modified_min > 0
            || self.modified_max > 0
            || self.created_min > 0
            || self.created_max > 0
    }
}

fn named(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() { Err(Error::EmptyKey) } else { Ok(()) }
}

impl Op {
    /// Checks what needs no state; the master does so before it applies.
    ///
    /// # Errors
    /// Those of a malformed request.
    pub fn validate(&self) -> Result<(), Error> {
        match self {
            Self::Put(put) => put.validate(),
            Self::DeleteRange(delete) => named(&delete.range.start),
            Self::Txn(txn) => txn.validate(),
            Self::LeaseGrant { ttl_secs, .. } if *ttl_secs > TTL_SECS_MAX => {
                Err(Error::LeaseTtlTooLarge)
            }
            Self::Noop
            | Self::Compact { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseRevoke { .. }
            | Self::Jump { .. } => Ok(()),
        }
    }

    /// Whether copies of it count only when flushed: everything under `/cairn/`, leases, and keys
    /// that hang on a lease, which is what locks and elections of stock clients are made of.
    #[must_use]
    pub fn carries_authority(&self) -> bool {
        match self {
            Self::Noop | Self::Compact { .. } => false,
            Self::LeaseGrant { .. } | Self::LeaseRevoke { .. } | Self::Jump { .. } => true,
            Self::Put(put) => put.carries_authority(),
            Self::DeleteRange(delete) => delete.range.touches_prefix(SYSTEM_PREFIX),
            Self::Txn(txn) => txn.any_op(&|op| match op {
                TxnOp::Put(put) => put.carries_authority(),
                TxnOp::DeleteRange(delete) => delete.range.touches_prefix(SYSTEM_PREFIX),
                TxnOp::Range(_) | TxnOp::Txn(_) => false,
            }),
        }
    }

    /// Whether it may change keys that only the system writes.
    #[must_use]
    pub fn writes_system_keys(&self) -> bool {
        match self {
            Self::Put(put) => put.key.starts_with(SYSTEM_PREFIX),
            Self::DeleteRange(delete) => delete.range.touches_prefix(SYSTEM_PREFIX),
            Self::Txn(txn) => txn.any_op(&|op| match op {
                TxnOp::Put(put) => put.key.starts_with(SYSTEM_PREFIX),
                TxnOp::DeleteRange(delete) => delete.range.touches_prefix(SYSTEM_PREFIX),
                TxnOp::Range(_) | TxnOp::Txn(_) => false,
            }),
            Self::Noop
            | Self::Compact { .. }
            | Self::LeaseGrant { .. }
            | Self::LeaseRevoke { .. }
            | Self::Jump { .. } => false,
        }
    }
}

impl Put {
    /// A plain put.
    #[must_use]
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), ..Self::default() }
    }

    fn validate(&self) -> Result<(), Error> {
        named(&self.key)?;
        if self.ignore_value && !self.value.is_empty() {
            return Err(Error::ValueProvided);
        }
        if self.ignore_lease && self.lease != LeaseId::NONE {
            return Err(Error::LeaseProvided);
        }
        Ok(())
    }

    fn carries_authority(&self) -> bool {
        self.key.starts_with(SYSTEM_PREFIX) || self.lease != LeaseId::NONE || self.ignore_lease
    }
}

/// The keys that some branch may write, to find those written twice.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Bytes>,
    deletes: Vec<KeyRange>,
}

impl Writes {
    fn may_put(&self, key: &Bytes) -> Result<(), Error> {
        let deleted = self.deletes.iter().any(|range| range.contains(key));
        if deleted || self.puts.contains(key) { Err(Error::DuplicateKey) } else { Ok(()) }
    }

    fn may_delete(&self, range: &KeyRange) -> Result<(), Error> {
        let from = (Bound::Included(range.start.clone()), Bound::Unbounded);
        let hit = self.puts.range(from).next().is_some_and(|key| range.contains(key));
        if hit { Err(Error::DuplicateKey) } else { Ok(()) }
    }

    fn put(&mut self, key: &Bytes) -> Result<(), Error> {
        self.may_put(key)?;
        self.puts.insert(key.clone());
        Ok(())
    }

    fn delete(&mut self, range: &KeyRange) -> Result<(), Error> {
        self.may_delete(range)?;
        self.deletes.push(range.clone());
        Ok(())
    }
}

impl Txn {
    /// Checks what needs no state.
    ///
    /// # Errors
    /// [`Error::TooManyOps`], [`Error::EmptyKey`], [`Error::DuplicateKey`] and those of puts.
    pub fn validate(&self) -> Result<(), Error> {
        self.check_shape(1)?;
        self.writes(&self.success)?;
        self.writes(&self.failure)?;
        Ok(())
    }

    /// Whether no branch writes; such a transaction is not logged.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        !self.any_op(&|op| matches!(op, TxnOp::Put(_) | TxnOp::DeleteRange(_)))
    }

    fn any_op(&self, holds: &dyn Fn(&TxnOp) -> bool) -> bool {
        self.success.iter().chain(&self.failure).any(|op| match op {
            TxnOp::Txn(nested) => nested.any_op(holds),
            TxnOp::Range(_) | TxnOp::Put(_) | TxnOp::DeleteRange(_) => holds(op),
        })
    }

    fn check_shape(&self, depth: usize) -> Result<usize, Error> {
        let most = self.compare.len().max(self.success.len()).max(self.failure.len());
        if most > TXN_OPS_MAX || depth > TXN_DEPTH_MAX {
            return Err(Error::TooManyOps);
        }
        self.compare.iter().try_for_each(|compare| named(&compare.range.start))?;
        let mut in_all = self.compare.len() + self.success.len() + self.failure.len();
        for op in self.success.iter().chain(&self.failure) {
            match op {
                TxnOp::Range(query) => query.validate()?,
                TxnOp::Put(put) => put.validate()?,
                TxnOp::DeleteRange(delete) => named(&delete.range.start)?,
                TxnOp::Txn(nested) => in_all += nested.check_shape(depth + 1)?,
            }
        }
        if in_all > TXN_OPS_IN_ALL_MAX { Err(Error::TooManyOps) } else { Ok(in_all) }
    }

    /// What a branch may write. The branches of one nested transaction exclude each other, so they
    /// may share keys; both must go with what stands beside it.
    fn writes(&self, branch: &[TxnOp]) -> Result<Writes, Error> {
        let mut all = Writes::default();
        for op in branch {
            match op {
                TxnOp::Range(_) => {}
                TxnOp::Put(put) => all.put(&put.key)?,
                TxnOp::DeleteRange(delete) => all.delete(&delete.range)?,
                TxnOp::Txn(nested) => {
                    let then = nested.writes(&nested.success)?;
                    let mut otherwise = nested.writes(&nested.failure)?;
                    otherwise.puts.iter().try_for_each(|key| all.may_put(key))?;
                    otherwise.deletes.iter().try_for_each(|range| all.may_delete(range))?;
                    then.puts.iter().try_for_each(|key| all.put(key))?;
                    then.deletes.iter().try_for_each(|range| all.delete(range))?;
                    all.puts.append(&mut otherwise.puts);
                    all.deletes.append(&mut otherwise.deletes);
                }
            }
        }
        Ok(all)
    }
}
