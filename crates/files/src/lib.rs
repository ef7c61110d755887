//! What a node keeps on disk: the segmented log, small files that survive a crash, the folder.
//!
//! Everything is synchronous and runs over a [`Disk`], so that the simulator can crash it. Read
//! [`disk`] for what is asked of a file system, [`double`] and [`rotate`] for small files,
//! [`group`] for the log, [`snapshot`] for what takes its place, [`folder`] for what holds them
//! together.
//!
//! The rules of trust (docs/replication.md §8):
//! * What `flush` returned is on stable storage, and stays readable or is reported as damage.
//! * A failed write or flush ends trust: every later call answers [`Error::Untrusted`], the caller
//!   ends its process, and the next `open` says so ([`Recovered::untrusted`]).
//! * Damage above what is known to be flushed is a tail: cut, kept aside, reported. Damage below
//!   is [`Error::Damaged`], and nothing is changed.
//! * A cut is physical and flushed before it returns; what was cut is kept aside.

mod copy;
pub mod disk;
pub mod double;
pub mod error;
pub mod folder;
pub mod group;
pub mod inspect;
pub mod rotate;
pub mod snapshot;

#[cfg(test)]
mod tests;

#[cfg(feature = "fault-disk")]
pub use disk::faulty::FaultyDisk as RealDisk;
#[cfg(any(test, feature = "mem-disk"))]
pub use disk::mem::MemDisk;
#[cfg(not(feature = "fault-disk"))]
pub use disk::real::RealDisk;
pub use disk::{Disk, DiskFile};
pub use double::DoubleWriteFile;
pub use error::{Error, Result};
pub use folder::{Folder, boot_id};
pub use group::{
    CutTail, GivenUp, GroupFile, LogFlusher, LogOptions, LogReader, LogSpace, LogWriter, Recovered,
    Torn,
};
pub use inspect::inspect;
pub use rotate::{Found, RotateFile};
pub use snapshot::{Incoming, RawSnapshot, Snapshot, SnapshotDraft, SnapshotFile, Snapshots};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A panic elsewhere ends the process soon enough; it leaves nothing half done under our locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
