//! Remembers how far the log was flushed, as evidence for the next start.
//!
//! Records say it only of those before them. This file says it of the last ones, too: written to
//! the page cache after each flush, it is exact after a process crash and a little old after a
//! power cut, but never too high. A cut lowers it durably first.

use crate::copy::{self, Kind, u64_at};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, Result};
use cairn_logic::ids::Offset;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

const NAME: &str = "flushed";
/// Each of the two copies has a page of its own.
const COPY_BYTES: u64 = 4096;

/// The file; its copies are written in turn.
#[derive(Debug)]
pub(crate) struct FlushMark<D: Disk> {
    path: PathBuf,
    file: D::File,
    number: u64,
    now: Offset,
}

impl<D: Disk> FlushMark<D> {
    /// Makes the file, blank; its name is durable after a flush of the folder.
    pub fn make(disk: &D, dir: &Path) -> Result<()> {
        let path = dir.join(NAME);
        let file = match disk.create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            other => other.map_err(Error::room(&path, 2 * COPY_BYTES))?,
        };
        file.allocate(2 * COPY_BYTES).map_err(Error::room(&path, 2 * COPY_BYTES))?;
        file.sync().map_err(Error::io("flush", &path))
    }

    /// Opens it; unreadable copies are no evidence, and no harm.
    pub fn open(disk: &D, dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        let file = match disk.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::Missing { path, because: "the log is there" });
            }
            other => other.map_err(Error::io("open", &path))?,
        };
        let mut mark = Self { path, file, number: 0, now: Offset::ZERO };
        for index in 0..2 {
            let bytes = read_up_to(&mark.file, index * COPY_BYTES, COPY_BYTES)
                .map_err(Error::io("read", &mark.path))?;
            let Some(found) = copy::decode(Kind::Flushed, &bytes, &mark.path)? else { continue };
            if found.number > mark.number && found.payload.len() == 8 {
                mark.number = found.number;
                mark.now = Offset(u64_at(&found.payload, 0));
            }
        }
        Ok(mark)
    }

    /// What it says.
    pub fn now(&self) -> Offset {
        self.now
    }

    /// Takes note of a flush; not itself flushed.
    pub fn note(&mut self, flushed: Offset) -> Result<()> {
        if flushed == self.now {
            return Ok(());
        }
        self.number += 1;
        let bytes = copy::encode(Kind::Flushed, self.number, &flushed.0.to_le_bytes());
        self.file
            .write_at(&mut [IoSlice::new(&bytes)], self.number % 2 * COPY_BYTES)
            .map_err(Error::io("write", &self.path))?;
        self.now = flushed;
        Ok(())
    }

    /// Says no more than `most`, durably: entries after it are about to be cut.
    pub fn lower(&mut self, most: Offset) -> Result<()> {
        if self.now <= most {
            return Ok(());
        }
        self.note(most)?;
        self.file.sync().map_err(Error::io("flush", &self.path))?;
        // The other copy still says more: it must not be the only one that survives.
        self.number += 1;
        let bytes = copy::encode(Kind::Flushed, self.number, &self.now.0.to_le_bytes());
        self.file
            .write_at(&mut [IoSlice::new(&bytes)], self.number % 2 * COPY_BYTES)
            .map_err(Error::io("write", &self.path))?;
        self.file.sync().map_err(Error::io("flush", &self.path))
    }
}
