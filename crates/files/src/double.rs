//! Small state that must never go back: written twice, flushed twice, before the call returns.
//!
//! For votes, identity and acceptor state. One preallocated file with two copies in different
//! pages; the second is touched only when the first is on stable storage, so a crash at any byte
//! leaves one good copy. A full disk does not hinder it: nothing is allocated after it was made.

use crate::copy::{self, Copy, Kind};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, Result};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

/// The largest payload, in bytes.
pub const PAYLOAD_BYTES_MAX: usize = 4096;
/// Room for one copy: two pages.
const COPY_BYTES: u64 = 8192;
/// What the file takes.
pub(crate) const FILE_BYTES: u64 = 2 * COPY_BYTES;

/// A small file in two copies (docs/replication.md §1: vote, identity, acceptor state).
#[derive(Debug)]
pub struct DoubleWriteFile<D: Disk> {
    path: PathBuf,
    file: D::File,
    number: u64,
    trusted: bool,
}

impl<D: Disk> DoubleWriteFile<D> {
    /// Makes the file, and its folder, with a first payload; it exists whole and durable or not at
    /// all.
    ///
    /// # Errors
    /// [`Error::Size`], [`Error::Full`], [`Error::Io`] (also if it exists already).
    pub fn create(disk: &D, path: &Path, payload: &[u8]) -> Result<Self> {
        check_size(payload)?;
        if disk.open(path).is_ok() {
            let exists = io::ErrorKind::AlreadyExists.into();
            return Err(Error::Io { what: "create", path: path.to_owned(), source: exists });
        }
        let folder = path.parent().unwrap_or(Path::new("."));
        disk.create_dir(folder).map_err(Error::io("make folder", folder))?;
        let unfinished = path.with_added_extension("new");
        match disk.remove(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &unfinished)(error));
            }
            _ => {}
        }
        let file = disk.create(&unfinished).map_err(Error::room(&unfinished, 2 * COPY_BYTES))?;
        file.allocate(2 * COPY_BYTES).map_err(Error::room(&unfinished, 2 * COPY_BYTES))?;
        let mut made = Self { path: unfinished.clone(), file, number: 1, trusted: true };
        // Nothing is there yet that a torn write could take away: one flush for both copies.
        let bytes = copy::encode(Kind::Double, made.number, payload);
        for index in 0..2 {
            let (mut copy, at) = ([IoSlice::new(&bytes)], index * COPY_BYTES);
            made.file.write_at(&mut copy, at).map_err(Error::io("write", &unfinished))?;
        }
        made.file.sync().map_err(Error::io("flush", &unfinished))?;
        disk.rename(&unfinished, path).map_err(Error::io("rename", &unfinished))?;
        disk.sync_dir(folder).map_err(Error::io("flush folder", folder))?;
        made.path = path.to_owned();
        Ok(made)
    }

    /// Opens the file and returns its newest payload, after making both copies durable again.
    ///
    /// # Errors
    /// [`Error::BothCopiesBad`], [`Error::Format`], [`Error::Io`] (`NotFound` as its source if
    /// there is no such file; see [`DoubleWriteFile::open_if_made`]).
    pub fn open(disk: &D, path: &Path) -> Result<(Self, Vec<u8>)> {
        let file = disk.open(path).map_err(Error::io("open", path))?;
        let read = |index: u64| -> Result<Option<Copy>> {
            let bytes = read_up_to(&file, index * COPY_BYTES, COPY_BYTES)
                .map_err(Error::io("read", path))?;
            copy::decode(Kind::Double, &bytes, path)
        };
        let copies = [read(0)?, read(1)?];
        let same = copies[0] == copies[1];
        let newest = usize::from(
            copies[1].as_ref().map(|copy| copy.number) > copies[0].as_ref().map(|copy| copy.number),
        );
        let [first, second] = copies;
        let found = if newest == 0 { first } else { second };
        let Some(found) = found else {
            return Err(Error::BothCopiesBad { path: path.to_owned() });
        };
        let mut opened = Self { path: path.to_owned(), file, number: found.number, trusted: true };
        if !same {
            // A write was interrupted. Its copy may be in the page cache only (also after a flush
            // that failed): write it again before the other one is given up.
            let bytes = copy::encode(Kind::Double, found.number, &found.payload);
            opened.put(newest as u64, &bytes)?;
            opened.put(1 - newest as u64, &bytes)?;
        }
        Ok((opened, found.payload))
    }

    /// As [`DoubleWriteFile::open`]; `None` if the file was never made.
    ///
    /// # Errors
    /// As [`DoubleWriteFile::open`].
    pub fn open_if_made(disk: &D, path: &Path) -> Result<Option<(Self, Vec<u8>)>> {
        match Self::open(disk, path) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Replaces the payload; when this returns, both copies are on stable storage.
    ///
    /// A crash in the middle leaves the old or the new payload.
    ///
    /// # Errors
    /// [`Error::Size`] changes nothing. After [`Error::Io`] the file is untrusted: the next open
    /// may find the old or the new payload, and every call until then is [`Error::Untrusted`].
    pub fn write(&mut self, payload: &[u8]) -> Result<()> {
        check_size(payload)?;
        if !self.trusted {
            return Err(Error::Untrusted { path: self.path.clone() });
        }
        self.number += 1;
        let bytes = copy::encode(Kind::Double, self.number, payload);
        self.put(0, &bytes)?;
        self.put(1, &bytes)
    }

    fn put(&mut self, index: u64, bytes: &[u8]) -> Result<()> {
        self.trusted = false;
        self.file
            .write_at(&mut [IoSlice::new(bytes)], index * COPY_BYTES)
            .map_err(Error::io("write", &self.path))?;
        self.file.sync().map_err(Error::io("flush", &self.path))?;
        self.trusted = true;
        Ok(())
    }
}

fn check_size(payload: &[u8]) -> Result<()> {
    if payload.len() <= PAYLOAD_BYTES_MAX {
        return Ok(());
    }
    Err(Error::Size {
        what: "payload",
        bytes: payload.len() as u64,
        limit_bytes: PAYLOAD_BYTES_MAX as u64,
    })
}
