//! The disk of the machine.

use crate::disk::{Disk, DiskFile, Listed};
use crate::lock;
use rustix::fs::{FallocateFlags, fallocate, statvfs};
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// The file system of this machine; paths are as given.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

/// A file of this machine.
#[derive(Debug)]
pub struct RealFile {
    file: Arc<File>,
    /// What [`DiskFile::sync_soon`] has begun.
    flushing: Mutex<Option<JoinHandle<io::Result<()>>>>,
}

/// An advisory lock (`flock`); the kernel ends it with the process.
#[derive(Debug)]
pub struct RealLock {
    _file: File,
}

/// Only the owner reads what clients stored.
const FILE_MODE: u32 = 0o600;
/// Freeing more of a file at one go makes flushes of other files wait: with `discard`, ext4 gives
/// a gigabyte back to the device for about half a second.
const FREED_BYTES: u64 = 8 << 20;
/// Between two such pieces: 160 MB/s at most, for giving back keeps the device busy, too.
const REST: Duration = Duration::from_millis(50);
/// The kernel takes at most this many buffers in one call.
const BUFFERS_MAX: usize = 1024;

/// Folders, by path, device and inode, whose names this process has made durable: a flush takes
/// milliseconds, and whoever opens a log asks for the same folders again and again. A folder that
/// was moved away and made anew is another inode.
static DURABLE: Mutex<BTreeSet<(PathBuf, u64, u64)>> = Mutex::new(BTreeSet::new());
/// So many are known; with more, all are forgotten.
const DURABLE_MAX: usize = 1024;

fn is_durable(known: &(PathBuf, u64, u64)) -> bool {
    lock(&DURABLE).contains(known)
}

fn made_durable(path: &Path) -> io::Result<()> {
    let facts = fs::metadata(path)?;
    let mut known = lock(&DURABLE);
    if known.len() >= DURABLE_MAX {
        known.clear();
    }
    known.insert((path.to_owned(), facts.dev(), facts.ino()));
    Ok(())
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

impl Disk for RealDisk {
    type File = RealFile;
    type Lock = RealLock;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let above = parent(path);
        if let Some(facts) = fs::metadata(path).ok().filter(fs::Metadata::is_dir) {
            if is_durable(&(path.to_owned(), facts.dev(), facts.ino())) {
                return Ok(());
            }
            // A process may have died between making it and making that durable.
            return match self.sync_dir(&above) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
                Err(error) => Err(error),
                Ok(()) => made_durable(path),
            };
        }
        self.create_dir(&above)?;
        match fs::create_dir(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => self.sync_dir(&above)?,
        }
        made_durable(path)
    }

    fn open(&self, path: &Path) -> io::Result<RealFile> {
        OpenOptions::new().read(true).write(true).open(path).map(RealFile::new)
    }

    fn create(&self, path: &Path) -> io::Result<RealFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(FILE_MODE);
        options.open(path).map(RealFile::new)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn retire(&self, path: &Path) -> io::Result<()> {
        let file = self.open(path)?;
        // Where there are no locks it goes at once, which harms no reader.
        let alone = file.file.try_lock().is_ok();
        self.remove(path)?;
        let mut left = if alone { file.bytes()? } else { 0 };
        while left > FREED_BYTES {
            left -= FREED_BYTES;
            file.truncate(left)?;
            thread::park_timeout(REST);
        }
        Ok(())
    }

    fn open_shared(&self, path: &Path) -> io::Result<RealFile> {
        let file = self.open(path)?;
        match file.file.try_lock_shared() {
            // It is being removed.
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::NotFound.into()),
            _ => Ok(file),
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let facts = match entry.metadata() {
                // Gone meanwhile: lists are also made beside a running node.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            // A name that is not UTF-8 is none of ours.
            if let (true, Ok(name)) = (facts.is_file(), entry.file_name().into_string()) {
                listed.push(Listed { name, bytes: facts.len() });
            }
        }
        listed.sort();
        Ok(listed)
    }

    fn lock(&self, path: &Path) -> io::Result<RealLock> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let file = options.open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(RealLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let facts = statvfs(path)?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    fn all_bytes(&self, path: &Path) -> io::Result<u64> {
        let facts = statvfs(path)?;
        Ok(facts.f_blocks.saturating_mul(facts.f_frsize))
    }
}

impl DiskFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match FileExt::read_at(&*self.file, &mut buffer[done..], position + done as u64) {
                Ok(0) => break,
                Ok(got) => done += got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, buffers: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut position = position;
        let mut left = buffers;
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let now = left.len().min(BUFFERS_MAX);
            match rustix::io::pwritev(&self.file, &left[..now], position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position += written as u64;
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let now = self.bytes()?;
        if now >= bytes {
            return Ok(());
        }
        match fallocate(&self.file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(()),
            // A file system that cannot reserve: write the zeros, which reserves them.
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.fill(now, bytes),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        end_flush(&mut lock(&self.flushing))?;
        self.file.sync_data()
    }

    fn sync_soon(&self) -> io::Result<()> {
        let mut flushing = lock(&self.flushing);
        end_flush(&mut flushing)?;
        let file = Arc::clone(&self.file);
        let flush = thread::Builder::new().name("flush".into()).spawn(move || file.sync_data());
        *flushing = Some(flush?);
        Ok(())
    }
}

/// Waits for what was begun.
fn end_flush(flushing: &mut Option<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    let Some(flush) = flushing.take() else { return Ok(()) };
    flush.join().unwrap_or_else(|_| Err(io::Error::other("the thread that flushed panicked")))
}

impl RealFile {
    fn new(file: File) -> Self {
        Self { file: Arc::new(file), flushing: Mutex::default() }
    }

    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let zeros = vec![0; 1 << 20];
        let mut position = from;
        while position < to {
            let now = usize::try_from(to - position).unwrap_or(usize::MAX).min(zeros.len());
            self.write_at(&mut [IoSlice::new(&zeros[..now])], position)?;
            position += now as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: u64 = 3 * FREED_BYTES;

    fn large() -> (tempfile::TempDir, PathBuf, RealFile) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        let file = RealDisk.create(&path).unwrap();
        file.file.set_len(LARGE).unwrap();
        (folder, path, file)
    }

    #[test]
    fn who_writes_goes_on_while_a_flush_is_under_way() {
        let (_folder, _, file) = large();
        for n in 0..4 {
            file.write_at(&mut [IoSlice::new(&[n; 4096])], u64::from(n) * 4096).unwrap();
            file.sync_soon().unwrap();
            assert!(lock(&file.flushing).is_some());
        }
        file.sync().unwrap();
        assert!(lock(&file.flushing).is_none(), "what was begun has ended");
    }

    #[test]
    fn a_flush_that_failed_is_told_once() {
        let (_folder, _, file) = large();
        let fails = || thread::spawn(|| Err(io::Error::other("broken")));
        *lock(&file.flushing) = Some(fails());
        assert_eq!(file.sync_soon().unwrap_err().to_string(), "broken");
        *lock(&file.flushing) = Some(fails());
        assert_eq!(file.sync().unwrap_err().to_string(), "broken");
        file.sync().unwrap();
    }

    #[test]
    fn what_is_retired_goes_in_pieces() {
        let (_folder, path, file) = large();
        RealDisk.retire(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(file.bytes().unwrap(), FREED_BYTES);
        assert_eq!(RealDisk.retire(&path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn what_is_read_stays_whole_for_its_reader_when_it_is_retired() {
        let (_folder, path, _) = large();
        let (first, second) =
            (RealDisk.open_shared(&path).unwrap(), RealDisk.open_shared(&path).unwrap());
        drop(second);
        RealDisk.retire(&path).unwrap();
        assert!(!path.exists());
        assert_eq!(first.bytes().unwrap(), LARGE);
    }

    #[test]
    fn what_is_being_retired_is_not_there_for_a_reader() {
        let (_folder, path, _) = large();
        let retiring = RealDisk.open(&path).unwrap();
        retiring.file.try_lock().unwrap();
        let refused = RealDisk.open_shared(&path).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
