//! What the directory answers and what its watchers see.

use crate::leases::LeaseId;
use bytes::Bytes;
use cairn_logic::ids::Revision;

/// The most key and value bytes that one answer may hold.
pub const ANSWER_BYTES_MAX: usize = 256 << 20;

/// One version of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Bytes,
    /// Its value; empty when only keys were asked for.
    pub value: Bytes,
    /// The revision that made the key.
    pub created: Revision,
    /// The revision of this version.
    pub modified: Revision,
    /// Counted from 1 since the key was made; 0 for a deletion.
    pub version: u64,
    /// The lease it hangs on; 0 for none.
    pub lease: LeaseId,
}

impl KeyValue {
    /// The bytes of key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.value.len()
    }
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It got a value.
    Put,
    /// It was deleted.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The new version; of a deletion, key and revision only.
    pub kv: KeyValue,
    /// The version before, where it was asked for and is still kept.
    pub prev: Option<KeyValue>,
}

/// The keys of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeAnswer {
    /// Those that were asked for, in the order asked for.
    pub kvs: Vec<KeyValue>,
    /// How many keys the range holds in all, before limit and filters.
    pub count: u64,
    /// Whether the limit left some out.
    pub more: bool,
}

/// The answer to one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing to say.
    Done,
    /// The value before, where it was asked for.
    Put(Option<KeyValue>),
    /// How many keys are gone.
    DeleteRange {
        /// How many.
        deleted: u64,
        /// Which, where it was asked for.
        prev: Vec<KeyValue>,
    },
    /// A range read within a transaction.
    Range(RangeAnswer),
    /// Which branch ran and what it answered.
    Txn {
        /// Whether all comparisons held.
        succeeded: bool,
        /// One for each operation of the branch.
        answers: Vec<Answer>,
    },
    /// The lease as granted.
    Lease {
        /// Its id.
        id: LeaseId,
        /// Its time to live, in seconds.
        ttl_secs: u64,
    },
}

/// An operation's effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The directory's revision after it.
    pub revision: Revision,
    /// What to tell who asked.
    pub answer: Answer,
}
