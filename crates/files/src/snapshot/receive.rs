//! Receiving a snapshot of another node: a partial file that is taken in when it is whole and good.

use super::format::SnapshotEnd;
use super::rest::Flushed;
use super::store::{SnapshotFile, Snapshots, from_name};
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use std::io::{ErrorKind, IoSlice};
use std::path::{Path, PathBuf};

/// How a file that is being received is called: `partial-<length>-<name>`.
const PARTIAL: &str = "partial-";

/// A snapshot that is being received; without [`Snapshots::accept`] it never becomes one.
///
/// When it is dropped, what was received stays for [`Snapshots::receive`] to resume.
#[derive(Debug)]
pub struct Incoming<D: Disk> {
    disk: D,
    file: D::File,
    path: PathBuf,
    name: String,
    bytes: u64,
    position: u64,
    flushed: Flushed,
}

impl<D: Disk> Incoming<D> {
    /// How much is there: where the next byte goes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// How much there will be.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The snapshot's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds what comes next. Flushes now and then; call it where that may take a while.
    ///
    /// # Errors
    /// [`Error::Size`] if it is more than there should be; nothing was written. [`Error::Full`]:
    /// what was received is removed, so that the log has the room. [`Error::Io`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let count = bytes.len() as u64;
        let left = self.bytes - self.position;
        if count > left {
            return Err(Error::Size {
                what: "rest of a snapshot",
                bytes: count,
                limit_bytes: left,
            });
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self.file.write_at(&mut [IoSlice::new(bytes)], self.position);
        let written = written.map_err(Error::full_or("write", &self.path, count));
        if let Err(error) = written {
            if matches!(error, Error::Full { .. }) {
                remove(&self.disk, &self.path)?;
            }
            return Err(error);
        }
        self.position += count;
        self.flushed.follow(self.position, &self.file, &self.path)
    }
}

impl<D: Disk> Snapshots<D> {
    /// Begins to receive the snapshot that another node calls `name` and that has `bytes` bytes, or
    /// goes on with it: [`Incoming::position`] says from where. What was received of any other one
    /// is removed. One at a time.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Size`] (of no byte), [`Error::Full`] if the disk has not the room
    /// for the rest, [`Error::Io`].
    pub fn receive(&self, name: &str, bytes: u64) -> Result<Incoming<D>> {
        if from_name(name).is_none() {
            return Err(Error::Name { name: name.to_owned() });
        }
        if bytes == 0 {
            return Err(Error::Size { what: "snapshot", bytes, limit_bytes: u64::MAX });
        }
        let wanted = format!("{PARTIAL}{bytes}-{name}");
        for other in self.partials()? {
            if other != wanted {
                remove(&self.disk, &self.folder.join(other))?;
            }
        }
        let path = self.folder.join(wanted);
        let file = match self.disk.open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.disk.create(&path).map_err(Error::room(&path, bytes))?
            }
            opened => opened.map_err(Error::io("open", &path))?,
        };
        let position = file.bytes().map_err(Error::io("measure", &path))?.min(bytes);
        let free = self.disk.free_bytes(&self.folder).map_err(Error::io("measure", &path))?;
        if free < bytes - position {
            remove(&self.disk, &path)?;
            return Err(Error::room(&path, bytes - position)(ErrorKind::StorageFull.into()));
        }
        let (disk, name) = (self.disk.clone(), name.to_owned());
        Ok(Incoming { disk, file, path, name, bytes, position, flushed: Flushed(position) })
    }

    /// Takes in a snapshot that was received: reads all of it, and only when every byte is good and
    /// it is of this log makes it durable and gives it its name. A crash in the middle leaves it
    /// received or taken in.
    ///
    /// # Errors
    /// [`Error::Refused`] if it is of no use, with the reason as its source; it is removed then.
    /// [`Error::Partial`] if bytes are missing; it stays. [`Error::Io`].
    pub fn accept(&self, incoming: Incoming<D>) -> Result<(SnapshotFile, SnapshotEnd)> {
        let Incoming { file, path, name, bytes, position, .. } = incoming;
        if position < bytes {
            return Err(Error::Partial { path, bytes: position, of_bytes: bytes });
        }
        let end = match self.judge(&path, &name) {
            Ok(end) => end,
            Err(error @ Error::Io { .. }) => return Err(error),
            Err(error) => {
                remove(&self.disk, &path)?;
                return Err(Error::Refused { path, source: Box::new(error) });
            }
        };
        file.sync().map_err(Error::io("flush", &path))?;
        let to = self.folder.join(&name);
        self.disk.rename(&path, &to).map_err(Error::io("rename", &path))?;
        self.sync()?;
        Ok((SnapshotFile { path: to, from: end.from, bytes }, end))
    }

    /// Whether a file is a whole snapshot of this log that may be called `name`.
    fn judge(&self, path: &Path, name: &str) -> Result<SnapshotEnd> {
        let snapshot = self.read(path)?;
        let found = snapshot.head().content;
        if let Some(known) = self.content.filter(|known| *known != found) {
            return Err(Error::Content { path: path.to_owned(), found, known });
        }
        let end = *snapshot.end();
        if from_name(name) != Some(end.from) {
            let found = "its name says another entry";
            return Err(Error::Broken { path: path.to_owned(), found });
        }
        snapshot.verify()?;
        Ok(end)
    }

    /// The names of files that are being received or were.
    pub(super) fn partials(&self) -> Result<Vec<String>> {
        let listed = self.disk.list(&self.folder).map_err(Error::io("list", &self.folder))?;
        let names = listed.into_iter().map(|file| file.name);
        Ok(names.filter(|name| name.starts_with(PARTIAL)).collect())
    }
}

/// The snapshot's name in that of a partial file.
pub(super) fn name_in(partial: &str) -> Option<&str> {
    partial.strip_prefix(PARTIAL)?.split_once('-').map(|(_, name)| name)
}

/// Removes a file; content if it is gone.
pub(super) fn remove<D: Disk>(disk: &D, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io("remove", path)),
    }
}
