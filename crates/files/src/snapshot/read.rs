//! Reading: head and index at once, sections in any order and from several threads.

use super::format::{
    FOOT_BYTES, HEAD_BYTES_MAX, Section, SnapshotEnd, SnapshotHead, decode_foot, decode_head,
    decode_index,
};
use super::rest::rest_after;
use super::write::SECTION_BYTES_MAX;
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// An open snapshot whose head and index are whole; sections are checked when they are read.
#[derive(Debug)]
pub struct Snapshot<D: Disk> {
    file: D::File,
    path: PathBuf,
    bytes: u64,
    head: SnapshotHead,
    end: SnapshotEnd,
    sections: Vec<Section>,
}

impl<D: Disk> Snapshot<D> {
    /// Opens a snapshot wherever it is; needs no lock.
    ///
    /// # Errors
    /// [`Error::Format`] if a newer program wrote it or it is none, [`Error::Broken`] if it is not
    /// whole, [`Error::Io`].
    pub fn open(disk: &D, path: &Path) -> Result<Self> {
        let file = disk.open_shared(path).map_err(Error::io("open", path))?;
        let io = || Error::io("read", path);
        let broken = |found| Error::Broken { path: path.to_owned(), found };
        let bytes = file.bytes().map_err(io())?;
        let start = read_up_to(&file, 0, HEAD_BYTES_MAX as u64).map_err(io())?;
        let (head, head_bytes) = decode_head(&start, path)?;
        let foot_at = bytes.checked_sub(FOOT_BYTES as u64).filter(|at| *at >= head_bytes);
        let foot_at = foot_at.ok_or_else(|| broken("its end is missing"))?;
        let foot = read_up_to(&file, foot_at, FOOT_BYTES as u64).map_err(io())?;
        let (position, index_bytes, crc) = decode_foot(&foot).map_err(broken)?;
        if position < head_bytes || position.checked_add(index_bytes) != Some(foot_at) {
            return Err(broken("its index is elsewhere"));
        }
        let index = read_up_to(&file, position, index_bytes).map_err(io())?;
        if index.len() as u64 != index_bytes || crc32c::crc32c(&index) != crc {
            return Err(broken("its index was changed"));
        }
        let (sections, end) = decode_index(&index, head_bytes, position).map_err(broken)?;
        Ok(Self { file, path: path.to_owned(), bytes, head, end, sections })
    }

    /// What it is of.
    #[must_use]
    pub fn head(&self) -> &SnapshotHead {
        &self.head
    }

    /// What it holds as a whole.
    #[must_use]
    pub fn end(&self) -> &SnapshotEnd {
        &self.end
    }

    /// What its sections hold, in the order in which they were written.
    #[must_use]
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Bytes of the file.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The records of one of its sections.
    ///
    /// # Errors
    /// [`Error::Broken`], [`Error::Io`].
    pub fn read(&self, section: &Section) -> Result<Vec<u8>> {
        let broken = |found| Error::Broken { path: self.path.clone(), found };
        let stored = read_up_to(&self.file, section.position, u64::from(section.stored_bytes))
            .map_err(Error::io("read", &self.path))?;
        if crc32c::crc32c(&stored) != section.crc {
            return Err(broken("a section was changed"));
        }
        let limit = section.raw_bytes as usize;
        if limit > SECTION_BYTES_MAX {
            return Err(broken("a section says an impossible length"));
        }
        let raw = zstd::bulk::decompress(&stored, limit);
        let raw = raw.map_err(|_| broken("a section cannot be decompressed"))?;
        if raw.len() != limit {
            return Err(broken("a section is shorter than it says"));
        }
        rest_after(limit);
        Ok(raw)
    }

    /// Reads all of it, one section at a time.
    ///
    /// # Errors
    /// As [`Snapshot::read`].
    pub fn verify(&self) -> Result<()> {
        self.sections.iter().try_for_each(|section| self.read(section).map(drop))
    }
}
