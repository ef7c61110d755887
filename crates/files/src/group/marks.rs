//! What a log remembers beside its segments: where it begins, a clean stop, a failure.
//!
//! Written in place and twice, so it needs no room when the disk is full. It is made after the
//! first segment: where it exists, a segment that begins at `first` must exist.

use crate::copy::u64_at;
use crate::disk::Disk;
use crate::double::DoubleWriteFile;
use crate::error::{Error, Result};
use cairn_logic::ids::{EntryId, Epoch, Offset};
use std::path::{Path, PathBuf};

/// The name of the file in the log's folder.
pub(crate) const NAME: &str = "marks";
const BYTES: usize = 32;

/// The content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The first entry that is kept.
    pub first: Offset,
    /// Set at a graceful stop: all is flushed, and this is the last entry.
    pub clean: Option<EntryId>,
    /// Set when a write or flush failed, or when whole records behind a hole were cut.
    pub untrusted: bool,
}

/// The file.
#[derive(Debug)]
pub(crate) struct MarkFile<D: Disk> {
    file: DoubleWriteFile<D>,
    pub now: Marks,
}

impl Marks {
    fn encode(&self) -> [u8; BYTES] {
        let clean = self.clean.unwrap_or_default();
        let flags = u64::from(self.clean.is_some()) | u64::from(self.untrusted) << 1;
        let mut bytes = [0; BYTES];
        let fields = [flags, self.first.0, clean.epoch.0, clean.offset.0];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != BYTES {
            return None;
        }
        let flags = u64_at(bytes, 0);
        let clean = EntryId::new(Epoch(u64_at(bytes, 16)), Offset(u64_at(bytes, 24)));
        Some(Self {
            first: Offset(u64_at(bytes, 8)),
            clean: (flags & 1 != 0).then_some(clean),
            untrusted: flags & 2 != 0,
        })
    }
}

impl<D: Disk> MarkFile<D> {
    pub fn create(disk: &D, dir: &Path, marks: Marks) -> Result<Self> {
        let file = DoubleWriteFile::create(disk, &path(dir), &marks.encode())?;
        Ok(Self { file, now: marks })
    }

    pub fn open_if_made(disk: &D, dir: &Path) -> Result<Option<Self>> {
        let path = path(dir);
        let Some((file, payload)) = DoubleWriteFile::open_if_made(disk, &path)? else {
            return Ok(None);
        };
        let Some(now) = Marks::decode(&payload) else {
            return Err(Error::BothCopiesBad { path });
        };
        Ok(Some(Self { file, now }))
    }

    /// Changes the marks; durable when this returns, without a write if nothing changes.
    pub fn set(&mut self, change: impl FnOnce(&mut Marks)) -> Result<()> {
        let mut new = self.now;
        change(&mut new);
        if new != self.now {
            self.file.write(&new.encode())?;
            self.now = new;
        }
        Ok(())
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}
