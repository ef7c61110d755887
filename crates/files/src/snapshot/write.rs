//! Writing: section by section, never more than one of them in memory.

use super::format::{
    LABEL_BYTES_MAX, NAME_BYTES_MAX, Section, SnapshotEnd, SnapshotHead, encode_head, encode_index,
};
use super::rest::{Flushed, rest_after};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use cairn_logic::ids::EntryId;
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

/// The most that one section may hold, in bytes before compression. Around one MiB is a good size.
pub const SECTION_BYTES_MAX: usize = 64 << 20;
/// zstd's level: the fastest that still halves text.
const LEVEL: i32 = 1;

/// A snapshot that is being written; without [`super::Snapshots::finish`] it never becomes one.
pub struct SnapshotDraft<D: Disk> {
    disk: D,
    file: D::File,
    path: PathBuf,
    position: u64,
    flushed: Flushed,
    sections: Vec<Section>,
    records: u64,
    compressor: zstd::bulk::Compressor<'static>,
    stored: Vec<u8>,
}

impl<D: Disk> SnapshotDraft<D> {
    /// Begins one at `path`, in place of a draft that an earlier process left there.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub(super) fn begin(disk: &D, path: &Path, head: &SnapshotHead) -> Result<Self> {
        let names = head.group.as_str().len().max(head.program.len());
        if names > NAME_BYTES_MAX {
            return Err(Error::Size {
                what: "name in a snapshot",
                bytes: names as u64,
                limit_bytes: NAME_BYTES_MAX as u64,
            });
        }
        match disk.remove(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("remove", path)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let file = disk.create(path).map_err(Error::room(path, 0))?;
        let compressor = zstd::bulk::Compressor::new(LEVEL).map_err(Error::io("compress", path))?;
        let mut draft = Self {
            disk: disk.clone(),
            file,
            path: path.to_owned(),
            position: 0,
            flushed: Flushed(0),
            sections: Vec::new(),
            records: 0,
            compressor,
            stored: Vec::new(),
        };
        draft.write(&encode_head(head))?;
        Ok(draft)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let needed_bytes = bytes.len() as u64;
        let written = self.file.write_at(&mut [IoSlice::new(bytes)], self.position);
        written.map_err(Error::full_or("write", &self.path, needed_bytes))?;
        self.position += needed_bytes;
        self.flushed.follow(self.position, &self.file, &self.path)
    }

    /// Adds a section: `records` records in `raw`, true after entry `at`.
    ///
    /// # Errors
    /// [`Error::Size`] for a section that is too large, [`Error::Full`], [`Error::Io`]: the
    /// draft is of no use any more.
    pub fn section(&mut self, label: &[u8], at: EntryId, records: u32, raw: &[u8]) -> Result<()> {
        let size = |what, bytes: usize, limit: usize| Error::Size {
            what,
            bytes: bytes as u64,
            limit_bytes: limit as u64,
        };
        if raw.len() > SECTION_BYTES_MAX {
            return Err(size("section of a snapshot", raw.len(), SECTION_BYTES_MAX));
        }
        if label.len() > LABEL_BYTES_MAX {
            return Err(size("label of a section", label.len(), LABEL_BYTES_MAX));
        }
        let mut stored = std::mem::take(&mut self.stored);
        stored.resize(zstd::zstd_safe::compress_bound(raw.len()), 0);
        let bytes = self.compressor.compress_to_buffer(raw, &mut stored);
        let bytes = bytes.map_err(Error::io("compress", &self.path))?;
        let short = |bytes: usize| u32::try_from(bytes).expect("sections are bounded");
        self.sections.push(Section {
            label: label.to_vec(),
            at,
            records,
            raw_bytes: short(raw.len()),
            stored_bytes: short(bytes),
            position: self.position,
            crc: crc32c::crc32c(&stored[..bytes]),
        });
        self.records += u64::from(records);
        let written = self.write(&stored[..bytes]);
        self.stored = stored;
        rest_after(raw.len());
        written
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.position
    }

    /// The entry above which the log is needed beside what was written so far.
    pub(super) fn from(&self) -> Option<EntryId> {
        self.sections.iter().map(|section| section.at).min_by_key(|at| at.offset)
    }

    /// Ends the file, makes it durable and names it `to`; nothing is left to lose then. What it
    /// holds, and its length. Without a section, `from` and `upto` are `empty`.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`]: there is no such snapshot then, or (if only its name could
    /// not be made durable) perhaps there is.
    pub(super) fn finish(
        mut self,
        to: &Path,
        empty: EntryId,
        hash: u64,
    ) -> Result<(SnapshotEnd, u64)> {
        let newest = self.sections.iter().map(|section| section.at).max_by_key(|at| at.offset);
        let end = SnapshotEnd {
            from: self.from().unwrap_or(empty),
            upto: newest.unwrap_or(empty),
            hash,
            records: self.records,
        };
        let index = encode_index(&self.sections, &end, self.position);
        self.write(&index)?;
        self.file.sync().map_err(Error::io("flush", &self.path))?;
        self.disk.rename(&self.path, to).map_err(Error::io("rename", &self.path))?;
        let folder = to.parent().unwrap_or(Path::new("."));
        self.disk.sync_dir(folder).map_err(Error::io("flush folder", folder))?;
        Ok((end, self.position))
    }
}

impl<D: Disk> std::fmt::Debug for SnapshotDraft<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (path, sections, bytes) = (&self.path, self.sections.len(), self.position);
        write!(f, "SnapshotDraft({path:?}, {sections} sections, {bytes} bytes)")
    }
}
