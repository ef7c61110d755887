//! Being polite to those on the same cores.
//!
//! A thread that never sleeps keeps its core until the scheduler's next tick, 4 to 10 ms later,
//! whoever was woken meanwhile; an answer that needs several threads on such cores waits for
//! several ticks.

use crate::disk::DiskFile;
use crate::error::{Error, Result};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// So much may be compressed, decompressed or taken at one go; about half a millisecond.
const WORK_BYTES: usize = 128 << 10;
/// Long enough for a thread that was woken meanwhile to get this core.
const REST: Duration = Duration::from_micros(50);

/// So much of a snapshot's file is written between two flushes: a flush of the log that falls into
/// one of these waits for it, about a millisecond.
const FLUSH_BYTES: u64 = 1 << 20;

/// Up to where a snapshot's file is flushed, or is being flushed.
#[derive(Debug)]
pub(super) struct Flushed(pub u64);

impl Flushed {
    /// Begins to flush `file`, which is written up to `position`, if that is far enough.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn follow(&mut self, position: u64, file: &impl DiskFile, path: &Path) -> Result<()> {
        if position - self.0 >= FLUSH_BYTES {
            file.sync_soon().map_err(Error::io("flush", path))?;
            self.0 = position;
        }
        Ok(())
    }
}

/// Sleeps for 50 us: after a piece of work that nobody in particular waits for.
pub fn rest() {
    thread::park_timeout(REST);
}

/// The same, after so many bytes of a section if these are many.
pub fn rest_after(bytes: usize) {
    if bytes >= WORK_BYTES {
        rest();
    }
}
