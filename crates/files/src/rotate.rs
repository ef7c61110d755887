//! Small state that may be a little old: two files, written in turn.
//!
//! For the applied offset and the route cache. If the newer file is damaged, the older one is
//! used; so never for anything that was promised.

use crate::copy::{self, Copy, HEAD_BYTES, Kind};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, Result};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

/// The largest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// A payload in two files, `<path>.0` and `<path>.1`, of which the older is overwritten.
#[derive(Debug)]
pub struct RotateFile<D: Disk> {
    disk: D,
    paths: [PathBuf; 2],
    number: u64,
    next: usize,
}

/// What [`RotateFile::open`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing was ever completely written.
    Nothing,
    /// The newest payload that can be read.
    Newest(Vec<u8>),
    /// The other file cannot be read: this is the newest payload, or the one before it.
    MaybeOlder(Vec<u8>),
    /// Both files are there and neither can be read; the next write replaces one of them.
    BothBad,
}

impl Found {
    /// The payload, if there is one.
    #[must_use]
    pub fn payload(self) -> Option<Vec<u8>> {
        match self {
            Self::Newest(payload) | Self::MaybeOlder(payload) => Some(payload),
            Self::Nothing | Self::BothBad => None,
        }
    }
}

enum Read {
    Absent,
    Bad,
    Whole(Copy),
}

impl<D: Disk> RotateFile<D> {
    /// Looks at both files; makes none.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::Io`].
    pub fn open(disk: &D, path: &Path) -> Result<(Self, Found)> {
        let paths = [path.with_added_extension("0"), path.with_added_extension("1")];
        let reads = (read(disk, &paths[0])?, read(disk, &paths[1])?);
        let (number, next, found) = match reads {
            (Read::Whole(a), Read::Whole(b)) if b.number > a.number => {
                (b.number, 0, Found::Newest(b.payload))
            }
            (Read::Whole(a), Read::Whole(_) | Read::Absent) => {
                (a.number, 1, Found::Newest(a.payload))
            }
            (Read::Whole(a), Read::Bad) => (a.number, 1, Found::MaybeOlder(a.payload)),
            (Read::Bad | Read::Absent, Read::Whole(b)) => {
                (b.number, 0, Found::MaybeOlder(b.payload))
            }
            (Read::Bad, Read::Bad) => (0, 0, Found::BothBad),
            // The very first write was interrupted.
            (Read::Bad | Read::Absent, _) => (0, 0, Found::Nothing),
        };
        // The number grows by two: a damaged copy may have had the next one.
        Ok((Self { disk: disk.clone(), paths, number: number + 2, next }, found))
    }

    /// Replaces the older of the two; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::Full`], [`Error::Io`]; the last good payload stays readable, and
    /// the write may be tried again.
    pub fn write(&mut self, payload: &[u8]) -> Result<()> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let limit_bytes = PAYLOAD_BYTES_MAX as u64;
            return Err(Error::Size { what: "payload", bytes: payload.len() as u64, limit_bytes });
        }
        let path = &self.paths[self.next];
        let bytes = copy::encode(Kind::Rotate, self.number, payload);
        let file = match self.disk.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let file = self.disk.create(path).map_err(Error::room(path, bytes.len() as u64))?;
                let folder = path.parent().unwrap_or(Path::new("."));
                self.disk.sync_dir(folder).map_err(Error::io("flush folder", folder))?;
                file
            }
            other => other.map_err(Error::io("open", path))?,
        };
        file.write_at(&mut [IoSlice::new(&bytes)], 0)
            .map_err(Error::room(path, bytes.len() as u64))?;
        file.truncate(bytes.len() as u64).map_err(Error::io("shorten", path))?;
        file.sync().map_err(Error::io("flush", path))?;
        self.number += 1;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn read<D: Disk>(disk: &D, path: &Path) -> Result<Read> {
    let file = match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::Absent),
        other => other.map_err(Error::io("open", path))?,
    };
    let bytes = file.bytes().map_err(Error::io("read", path))?;
    let bytes = bytes.min((HEAD_BYTES + PAYLOAD_BYTES_MAX) as u64);
    let content = read_up_to(&file, 0, bytes).map_err(Error::io("read", path))?;
    Ok(copy::decode(Kind::Rotate, &content, path)?.map_or(Read::Bad, Read::Whole))
}
