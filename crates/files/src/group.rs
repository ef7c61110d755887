//! The log of one group: one logical file in preallocated, recycled segments.
//!
//! [`GroupFile::open`] gives three handles for three threads: the writer appends to the page
//! cache, the flusher makes what was appended durable without stopping the writer, readers see
//! everything that was appended. The unit is the [`cairn_logic::batch::Batch`].

mod cut;
mod flusher;
mod flushmark;
pub(crate) mod inspect;
mod marks;
mod reader;
mod record;
mod recover;
mod restart;
mod segment;
mod shared;
mod tails;
mod tear;
mod walk;
mod writer;

pub use flusher::{GivenUp, LogFlusher};
pub use reader::LogReader;
pub(crate) use segment::is_segment;
pub use tails::CutTail;
pub(crate) use tails::folder as tails_folder;
pub use writer::LogWriter;

use crate::disk::Disk;
use crate::error::{Error, Result};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, Offset};
use segment::Owner;
use std::path::{Path, PathBuf};

/// The default size of a segment, in bytes.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// The smallest size of a segment, in bytes.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// Whose log it is, and its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// The cluster.
    pub uid: u128,
    /// The folder's incarnation.
    pub incarnation: Incarnation,
    /// The group.
    pub group: GroupId,
    /// Size of a segment, at least [`SEGMENT_BYTES_MIN`]; may differ from one start to the next.
    pub segment_bytes: u64,
    /// At most so many cut tails are kept aside; then nothing is cut until a person has looked.
    pub tails_max: u64,
    /// No further tail is cut while those kept have so many bytes.
    pub tails_bytes_max: u64,
}

impl LogOptions {
    /// The usual sizes.
    #[must_use]
    pub fn new(uid: u128, incarnation: Incarnation, group: GroupId) -> Self {
        Self {
            uid,
            incarnation,
            group,
            segment_bytes: SEGMENT_BYTES,
            tails_max: 256,
            tails_bytes_max: 4 << 30,
        }
    }

    /// With segments of another size.
    #[must_use]
    pub fn with_segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes.max(SEGMENT_BYTES_MIN);
        self
    }

    fn owner(&self) -> Owner {
        Owner { uid: self.uid, incarnation: self.incarnation, group: self.group.clone() }
    }
}

/// What [`GroupFile::open`] found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The last entry.
    pub last: EntryId,
    /// The entry before the first that is kept; [`EntryId::ZERO`] if all are kept. `last` is the
    /// same if none is kept.
    pub before: EntryId,
    /// Each epoch with the first offset of it that is kept; ascending, none below `before.epoch`.
    /// Empty if no entry is kept. About the entry `before` itself it says nothing, nor about those
    /// below: their epochs are at most `before.epoch`, and more is not known here. The first
    /// epoch may be `before.epoch` again, with the offset after `before` and not where it began.
    pub epochs: Vec<(Epoch, Offset)>,
    /// Known to have been flushed before this start. After `open` everything is.
    pub flushed: Offset,
    /// The clean mark as found. See [`Recovered::stopped_cleanly`].
    pub clean: Option<EntryId>,
    /// An unreadable tail that was cut.
    pub torn: Option<Torn>,
    /// A write or flush of an earlier process failed, or it found records behind a hole, and
    /// nobody has taken note yet ([`LogWriter::remove_clean_mark`]): the tail may be lost.
    pub untrusted: bool,
    /// Bytes of log that are kept.
    pub bytes: u64,
}

/// An unreadable tail above everything that is known to have been flushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The first entry that could not be read.
    pub first: Offset,
    /// How many bytes were cut.
    pub bytes: u64,
    /// How many records behind the damage were whole. 0 after a process crash, which can leave
    /// no more than its last write half done; more means that pages were lost.
    pub records_behind: u64,
    /// The files that keep what was cut.
    pub kept: Vec<PathBuf>,
}

impl Recovered {
    /// Whether the last process flushed everything, said so, and all of it is here.
    #[must_use]
    pub fn stopped_cleanly(&self) -> bool {
        self.clean == Some(self.last) && self.torn.is_none() && !self.untrusted
    }

    /// Whether no entry that counted as a copy can be missing (docs/replication.md §8).
    ///
    /// `same_boot`: the vote's boot id is that of the running kernel. `flushed`: copies counted
    /// only when flushed.
    #[must_use]
    pub fn is_intact(&self, same_boot: bool, flushed: bool) -> bool {
        if self.untrusted {
            return false;
        }
        let half_written_at_most = self.torn.as_ref().is_none_or(|torn| torn.records_behind == 0);
        self.stopped_cleanly() || flushed || (same_boot && half_written_at_most)
    }
}

/// Facts about room, for deciding whether to admit writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSpace {
    /// What the file system still has for us.
    pub disk_free_bytes: u64,
    /// What the file system has in all.
    pub disk_bytes: u64,
    /// Already reserved for the log: the rest of the segment in use and the next one.
    pub ahead_bytes: u64,
    /// What the log uses.
    pub log_bytes: u64,
    /// Whether the next segment is reserved; if not, the disk is full.
    pub spare_ready: bool,
    /// What was cut from it and is kept aside.
    pub tails: Vec<CutTail>,
}

impl LogSpace {
    /// Whether admission should stop: the next segment cannot be had, or the disk has less than
    /// `floor_bytes` left.
    #[must_use]
    pub fn is_low(&self, floor_bytes: u64) -> bool {
        !self.spare_ready || self.disk_free_bytes < floor_bytes
    }
}

/// What `open` returns: one handle for each thread, and what was found.
pub type Opened<D> = (LogWriter<D>, LogFlusher<D>, LogReader<D>, Recovered);

/// The log as a whole; see the module.
#[derive(Clone, Copy, Debug)]
pub struct GroupFile;

impl GroupFile {
    /// Opens the log in `dir`, or makes it; everything found is verified and then flushed.
    ///
    /// The folder's lock must be held. Reads the whole log once. A tail above what is known to be
    /// flushed is cut and kept aside if it cannot be read. If the process dies in the middle, the
    /// next call does the rest.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged), [`Error::Foreign`](crate::Error::Foreign),
    /// [`Error::Format`](crate::Error::Format), [`Error::Missing`](crate::Error::Missing),
    /// [`Error::BothCopiesBad`](crate::Error::BothCopiesBad): nothing was changed, the node must
    /// stop and say so. [`Error::TailsFull`](crate::Error::TailsFull),
    /// [`Error::Full`](crate::Error::Full), [`Error::Io`](crate::Error::Io).
    pub fn open<D: Disk>(disk: &D, dir: &Path, options: &LogOptions) -> Result<Opened<D>> {
        recover::open(disk, dir, options)
    }

    /// Whether a log was ever made in `dir`.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn exists<D: Disk>(disk: &D, dir: &Path) -> Result<bool> {
        let listed = match disk.list(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            other => other.map_err(Error::io("list", dir))?,
        };
        Ok(listed.iter().any(|file| file.name == marks::NAME))
    }

    /// What was cut from the log in `dir` and is kept aside; needs no lock.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn tails<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<CutTail>> {
        tails::list(disk, dir)
    }

    /// The batches of a tail that can still be read, in order; needs no lock. At most what one
    /// segment holds is in memory.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format), [`Error::Io`](crate::Error::Io).
    pub fn read_tail<D: Disk>(disk: &D, tail: &CutTail) -> Result<Vec<Batch>> {
        tails::read(disk, &tail.path)
    }
}
