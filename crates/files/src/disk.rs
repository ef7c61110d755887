//! What is asked of a file system, and nothing more.

#[cfg(feature = "fault-disk")]
pub mod faulty;
#[cfg(any(test, feature = "mem-disk"))]
pub mod mem;
pub mod real;

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;

/// A file system. Cheap to clone; all clones are the same disk.
pub trait Disk: Debug + Clone + Send + Sync + 'static {
    /// An open file.
    type File: DiskFile;
    /// Holds a lock until dropped.
    type Lock: Debug + Send + Sync + 'static;

    /// Makes a folder and its parents, durably; content with one that exists.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Opens a file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn open(&self, path: &Path) -> io::Result<Self::File>;
    /// Makes an empty file; its name is durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// `AlreadyExists`, or as the system says.
    fn create(&self, path: &Path) -> io::Result<Self::File>;
    /// Renames a file, replacing `to`; durable after [`Disk::sync_dir`] of both folders.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a file that nobody needs any more, so that they hardly wait who flush other files
    /// of this disk meanwhile: a large one may take seconds. Who reads it by
    /// [`Disk::open_shared`] reads it to its end.
    ///
    /// # Errors
    /// As the system says.
    fn retire(&self, path: &Path) -> io::Result<()> {
        self.remove(path)
    }
    /// Opens a file for reading it to its end, also if it is removed meanwhile.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn open_shared(&self, path: &Path) -> io::Result<Self::File> {
        self.open(path)
    }
    /// Makes all changes of names in a folder durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The files (not folders) in a folder, sorted by name.
    ///
    /// # Errors
    /// `NotFound`, or as the system says.
    fn list(&self, path: &Path) -> io::Result<Vec<Listed>>;
    /// Takes an exclusive lock on a file, making it if need be.
    ///
    /// # Errors
    /// `WouldBlock` if another holds it, or as the system says.
    fn lock(&self, path: &Path) -> io::Result<Self::Lock>;
    /// How many bytes an unprivileged process can still write where `path` is.
    ///
    /// # Errors
    /// As the system says.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// How many bytes the whole file system has where `path` is.
    ///
    /// # Errors
    /// As the system says.
    fn all_bytes(&self, path: &Path) -> io::Result<u64>;
}

/// An open file; closed when dropped. All methods may be called from several threads.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from byte `position` on; returns less only at the end of the file.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `buffers`, one after the other, at byte `position`.
    ///
    /// # Errors
    /// As the system says; then any part of it may have been written.
    fn write_at(&self, buffers: &mut [IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Makes the file at least `bytes` long with room on disk for all of it; new bytes are zero.
    ///
    /// # Errors
    /// `StorageFull`, or as the system says.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Shortens the file to `bytes`; atomic with respect to a crash.
    ///
    /// # Errors
    /// As the system says.
    fn truncate(&self, bytes: u64) -> io::Result<()>;
    /// Returns when all content written before is on stable storage, and the length with it.
    ///
    /// # Errors
    /// As the system says; then nobody knows what is on disk, and asking again does not help.
    fn sync(&self) -> io::Result<()>;
    /// Begins to bring the content written before to stable storage, once what was begun before
    /// has ended: at most one flush is under way, and whoever writes goes on meanwhile. Nothing is
    /// stable before [`DiskFile::sync`] has returned.
    ///
    /// # Errors
    /// As the system says, also of what was begun before, which [`DiskFile::sync`] tells as well.
    fn sync_soon(&self) -> io::Result<()> {
        self.sync()
    }
}

/// A file in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// Reads up to `bytes` at `position`: shorter only at the end of the file.
pub(crate) fn read_up_to<F: DiskFile>(file: &F, position: u64, bytes: u64) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?];
    let got = file.read_at(&mut buffer, position)?;
    buffer.truncate(got);
    Ok(buffer)
}
