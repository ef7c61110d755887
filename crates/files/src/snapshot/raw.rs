//! A snapshot as bytes, for one who sends it; nothing in it is looked at.

use super::store::{Snapshots, from_name};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, Result};
use std::io::ErrorKind;
use std::path::PathBuf;

/// The most that one read gives, in bytes.
pub const RAW_BYTES_MAX: usize = 4 << 20;

/// An open file; it can be read to its end also if it is removed meanwhile.
#[derive(Debug)]
pub struct RawSnapshot<D: Disk> {
    file: D::File,
    path: PathBuf,
    bytes: u64,
}

impl<D: Disk> Snapshots<D> {
    /// Opens a finished snapshot by its name, which may come from another node.
    ///
    /// # Errors
    /// [`Error::Name`] if it is no name of a snapshot, [`Error::Gone`] if there is none of it,
    /// [`Error::Io`].
    pub fn open_raw(&self, name: &str) -> Result<RawSnapshot<D>> {
        if from_name(name).is_none() {
            return Err(Error::Name { name: name.to_owned() });
        }
        let path = self.folder.join(name);
        let file = match self.disk.open_shared(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Gone { path }),
            opened => opened.map_err(Error::io("open", &path))?,
        };
        let bytes = file.bytes().map_err(Error::io("measure", &path))?;
        Ok(RawSnapshot { file, path, bytes })
    }
}

impl<D: Disk> RawSnapshot<D> {
    /// How long it is.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// At most `max` bytes, and at most [`RAW_BYTES_MAX`], from `position` on; none at the end.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn read_at(&self, position: u64, max: usize) -> Result<Vec<u8>> {
        let left = self.bytes.saturating_sub(position);
        let bytes = left.min(max.min(RAW_BYTES_MAX) as u64);
        read_up_to(&self.file, position, bytes).map_err(Error::io("read", &self.path))
    }
}
