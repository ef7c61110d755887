//! Names and numbers that identify things; a raw number never travels.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The stable name of a node (its pod name on Kubernetes), never an address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(Arc<str>);

impl NodeId {
    /// Wraps a name that was checked where it entered (settings, Hello).
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(Arc::from(name.as_ref()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a replicated log: `global`, or `<keyspace>-<n>`; never reused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupId(Arc<str>);

impl GroupId {
    /// Wraps a name that was checked where it entered.
    #[must_use]
    pub fn new(name: impl AsRef<str>) -> Self {
        Self(Arc::from(name.as_ref()))
    }

    /// The group of the global plane.
    #[must_use]
    pub fn global() -> Self {
        Self::new("global")
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// Nothing yet: smaller than every number given out.
            pub const ZERO: Self = Self(0);

            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// The number of a configuration; it only grows. Attempts share the number line: the attempt
    /// that succeeds becomes the epoch.
    Epoch
);
number!(
    /// The place of an entry in a log, counted in entries from 1; 0 is "before the first".
    Offset
);
number!(
    /// The version of a record: raised by one with every change (its compare-and-swap handle).
    Version
);
number!(
    /// One run of a node's process, counted in its vote; mastership ends with it.
    Life
);
number!(
    /// A revision of the directory.
    Revision
);

/// A folder's random identity, made with the folder; a node that lost its folder is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Names one entry for ever: no two contents share it, and equal ids mean equal logs up to there.
///
/// Ordered by epoch first, then by offset (docs/replication.md §6.5).
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct EntryId {
    /// The epoch the entry was written in.
    pub epoch: Epoch,
    /// Its place in the log.
    pub offset: Offset,
}

impl EntryId {
    /// Before the first entry of any log.
    pub const ZERO: Self = Self { epoch: Epoch::ZERO, offset: Offset::ZERO };

    /// The entry at `offset` written in `epoch`.
    #[must_use]
    pub const fn new(epoch: Epoch, offset: Offset) -> Self {
        Self { epoch, offset }
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.epoch, self.offset)
    }
}

/// One of the 16384 hash slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Slot(u16);

/// How many slots there are.
pub const SLOTS: u16 = 16384;

impl Slot {
    /// The slots from this one to `last`, both included.
    pub fn through(self, last: Self) -> impl Iterator<Item = Self> + use<> {
        (self.0..=last.0).map(Self)
    }

    /// The slot's number, below [`SLOTS`].
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Slot {
    type Error = SlotOutOfRange;

    fn try_from(number: u16) -> Result<Self, SlotOutOfRange> {
        if number < SLOTS { Ok(Self(number)) } else { Err(SlotOutOfRange { number }) }
    }
}

impl From<Slot> for u16 {
    fn from(slot: Slot) -> Self {
        slot.0
    }
}

/// A number that is no slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("slot {number} is not below 16384")]
pub struct SlotOutOfRange {
    /// What was given.
    pub number: u16,
}
