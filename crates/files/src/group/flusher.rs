//! Makes what was appended durable, without stopping the writer.

use crate::disk::Disk;
use crate::disk::real::RealDisk;
use crate::error::{Error, Result};
use crate::group::LogSpace;
use crate::group::shared::Shared;
use crate::lock;
use cairn_logic::ids::EntryId;
use std::path::PathBuf;
use std::sync::Arc;

/// Segments that are no part of a log any more.
#[derive(Debug)]
#[must_use = "their files are still there"]
pub struct GivenUp<D: Disk = RealDisk> {
    /// The entry before the first that is still kept.
    pub before: EntryId,
    pub(crate) segments: Vec<PathBuf>,
    pub(crate) disk: D,
}

impl<D: Disk> GivenUp<D> {
    /// Removes their files, which takes seconds if there are many: flushes, and whoever else uses
    /// the disk, come first. What is left by a crash or an error goes at the next open.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn remove(self) -> Result<()> {
        let retire = |path: &PathBuf| self.disk.retire(path).map_err(Error::io("remove", path));
        self.segments.iter().try_for_each(retire)
    }
}

/// Flushes a log; may be used by several threads, which then wait for each other.
#[derive(Debug)]
pub struct LogFlusher<D: Disk = RealDisk> {
    pub(crate) shared: Arc<Shared<D>>,
}

impl<D: Disk> Clone for LogFlusher<D> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<D: Disk> LogFlusher<D> {
    /// Makes everything durable that was appended before the call; returns what is durable now.
    ///
    /// Appends go on meanwhile. Also reserves the next segment, if the last one was taken; if
    /// there is no room for it, [`LogFlusher::space`] shows that.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) ends trust; then [`Error::Untrusted`](crate::Error).
    pub fn flush(&self) -> Result<EntryId> {
        let mut mark = lock(&self.shared.flushing);
        let flushed = self.shared.flush_held(&mut mark)?;
        drop(mark);
        // Not being able to reserve harms nothing yet; `space` tells, and `append` tries again.
        let _ = self.shared.make_ready();
        Ok(flushed)
    }

    /// Gives up the whole segments before what [`LogWriter::release_before`] named, without
    /// stopping the writer; one is kept for reuse. `None` if no segment went.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) ends trust; then [`Error::Untrusted`](crate::Error).
    ///
    /// [`LogWriter::release_before`]: crate::LogWriter::release_before
    pub fn give_up_front(&self) -> Result<Option<GivenUp<D>>> {
        let _alone = lock(&self.shared.flushing);
        self.shared.give_up_front()
    }

    /// Reserves the next segment if none is, without flushing anything: for a log that is at rest
    /// after its disk was full. Whether there is room shows in [`LogFlusher::space`].
    pub fn reserve(&self) {
        let _ = self.shared.make_ready();
    }

    /// What is known to be durable.
    #[must_use]
    pub fn flushed(&self) -> EntryId {
        lock(&self.shared.state).flushed
    }

    /// Facts about room.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) if the file system cannot be asked; trust goes on.
    pub fn space(&self) -> Result<LogSpace> {
        self.shared.space()
    }
}
