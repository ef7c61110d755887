//! The unit of writing, replication and cutting.

use crate::ids::{EntryId, Epoch, Offset};
use bytes::Bytes;

/// What is known of a batch without looking into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHead {
    /// The epoch all its entries were written in.
    pub epoch: Epoch,
    /// The offset of its first entry.
    pub first: Offset,
    /// How many entries it holds; at least 1.
    pub count: u32,
    /// The master's wall clock when it was made, in milliseconds since 1970; for people and expiry.
    pub time_ms: u64,
    /// Whether an entry in it carries authority: copies count only when flushed
    /// (docs/replication.md §1).
    pub authority: bool,
    /// Whether it is the record that opens an epoch (one entry, its body an encoded
    /// [`crate::record::EpochRecord`]).
    pub opens_epoch: bool,
}

impl BatchHead {
    /// The offset of its last entry.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        Offset(self.first.0 + u64::from(self.count) - 1)
    }

    /// Its last entry.
    #[must_use]
    pub fn last(&self) -> EntryId {
        EntryId::new(self.epoch, self.last_offset())
    }
}

/// Entries that were appended together; immutable, stored and sent verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Epoch, offsets, flags.
    pub head: BatchHead,
    /// The entries; opaque to all but the state machine they feed. At most 64 MiB.
    pub body: Bytes,
}

/// The largest body of a batch, in bytes.
pub const BODY_BYTES_MAX: usize = 64 << 20;
