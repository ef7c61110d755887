//! A disk in memory that knows the page cache from stable storage, and can lose the first.
//!
//! For tests and the simulator. It is as unkind as POSIX allows: pages that were not flushed
//! survive a crash in any combination, perhaps torn at a sector; names that were not flushed are
//! lost from the newest on; a failed flush leaves pages that look clean and never reached the
//! disk. No randomness of its own: whoever crashes it supplies the choices.

mod content;
mod world;

use crate::disk::{Disk, DiskFile, Listed};
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use world::{NameChange, World};

/// A disk in memory; clones are the same disk, [`MemDisk::fork`] makes another one.
#[derive(Clone, Debug, Default)]
pub struct MemDisk {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    world: Mutex<World>,
    released: Condvar,
}

/// An open file of a [`MemDisk`]; stale after a crash or kill.
#[derive(Debug)]
pub struct MemFile {
    disk: MemDisk,
    inode: u64,
    run: u64,
}

/// A lock of a [`MemDisk`]; ends when dropped, and with the process.
#[derive(Debug)]
pub struct MemLock {
    disk: MemDisk,
    path: std::path::PathBuf,
    run: u64,
}

impl MemDisk {
    /// An empty disk with endless room.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The machine loses power: what was not flushed is lost, wholly or in part.
    ///
    /// `choose(n)` returns a number below `n`; it decides what survives. Open files and locks are
    /// gone, faults are cleared.
    pub fn crash(&self, choose: &mut dyn FnMut(u64) -> u64) {
        self.world().crash(choose);
        self.shared.released.notify_all();
    }

    /// The process dies: open files and locks are gone, the page cache stays.
    pub fn kill(&self) {
        self.world().restart();
        self.shared.released.notify_all();
    }

    /// Another disk with the same content, cache and pending changes, and no open files.
    #[must_use]
    pub fn fork(&self) -> Self {
        let mut world = self.world().clone();
        world.restart();
        let shared = Shared { world: Mutex::new(world), released: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Limits the bytes of all files together; growing beyond fails with `StorageFull`.
    pub fn set_capacity(&self, bytes: u64) {
        self.world().capacity = Some(bytes);
    }

    /// The bytes of all files together.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.world().used_bytes()
    }

    /// The `nth` write from now (0 is the next) fails once with an I/O error, half done.
    pub fn fail_write(&self, nth: u64) {
        self.world().write_fails_in = Some(nth);
    }

    /// The `nth` flush of a file from now (0 is the next) fails once; its pages look clean then
    /// and are not on stable storage, as with Linux.
    pub fn fail_sync(&self, nth: u64) {
        self.world().sync_fails_in = Some(nth);
    }

    /// The machine stops in the middle of the write that passes `bytes` bytes from now; every
    /// call fails until [`MemDisk::crash`] or [`MemDisk::kill`].
    pub fn stop_after(&self, bytes: u64) {
        self.world().stops_in = Some(bytes);
    }

    /// The machine stops before the `nth` change from now (0 is the next): a write, a change of a
    /// size or name, or a flush; every call fails until [`MemDisk::crash`] or [`MemDisk::kill`].
    pub fn stop_before(&self, nth: u64) {
        self.world().stops_before = Some(nth);
    }

    /// Flushes stall until [`MemDisk::release_syncs`].
    pub fn hold_syncs(&self) {
        self.world().syncs_held = true;
    }

    /// Ends a stall.
    pub fn release_syncs(&self) {
        self.world().syncs_held = false;
        self.shared.released.notify_all();
    }

    /// How many flushes of files have begun.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.world().syncs
    }

    /// How many writes have begun.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.world().writes
    }

    /// How many bytes were read from files.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.world().bytes_read
    }

    /// Changes a byte in cache and on stable storage, as rot does.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn flip(&self, path: &Path, position: u64, mask: u8) -> io::Result<()> {
        self.world().inode_at(path)?.flip(position, mask);
        Ok(())
    }

    /// Shortens a file in cache and on stable storage.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn shorten(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.world().inode_at(path)?.shorten(bytes);
        Ok(())
    }
}

impl Disk for MemDisk {
    type File = MemFile;
    type Lock = MemLock;

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.check_up()?;
        world.folders.extend(path.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<MemFile> {
        let mut world = self.world();
        world.check_up()?;
        let inode = world.open(path)?;
        Ok(MemFile { disk: self.clone(), inode, run: world.run })
    }

    fn create(&self, path: &Path) -> io::Result<MemFile> {
        let mut world = self.world();
        world.step()?;
        let inode = world.create(path)?;
        Ok(MemFile { disk: self.clone(), inode, run: world.run })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        world.change(NameChange::Rename(from.to_owned(), to.to_owned()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        world.change(NameChange::Remove(path.to_owned()))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        world.sync_names(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Listed>> {
        let world = self.world();
        world.check_up()?;
        world.list(path)
    }

    fn lock(&self, path: &Path) -> io::Result<MemLock> {
        let mut world = self.world();
        world.check_up()?;
        if !world.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(MemLock { disk: self.clone(), path: path.to_owned(), run: world.run })
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let world = self.world();
        world.check_up()?;
        Ok(world.capacity.unwrap_or(u64::MAX >> 1).saturating_sub(world.used_bytes()))
    }

    fn all_bytes(&self, _path: &Path) -> io::Result<u64> {
        let world = self.world();
        world.check_up()?;
        Ok(world.capacity.unwrap_or(u64::MAX >> 1))
    }
}

impl MemFile {
    fn world(&self) -> io::Result<MutexGuard<'_, World>> {
        let world = self.disk.world();
        world.check_up()?;
        if world.run != self.run {
            return Err(io::Error::other("the process that opened this file is gone"));
        }
        Ok(world)
    }
}

impl DiskFile for MemFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.world()?.inode(self.inode)?.now.bytes)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut world = self.world()?;
        let read = world.inode(self.inode)?.now.read(buffer, position);
        world.bytes_read += read as u64;
        Ok(read)
    }

    fn write_at(&self, buffers: &mut [IoSlice<'_>], position: u64) -> io::Result<()> {
        let bytes: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.iter().copied()).collect();
        let mut world = self.world()?;
        world.step()?;
        world.write(self.inode, &bytes, position)
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.step()?;
        world.grow(self.inode, bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut world = self.world()?;
        world.step()?;
        world.inode(self.inode)?.truncate(bytes);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.world()?;
        world.step()?;
        world.syncs += 1;
        let begun = world.inode(self.inode)?.begin_sync();
        while world.syncs_held {
            world = self.disk.shared.released.wait(world).unwrap_or_else(PoisonError::into_inner);
        }
        drop(world);
        self.world()?.end_sync(self.inode, begun)
    }
}

impl Drop for MemFile {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.run == self.run {
            world.close(self.inode);
        }
    }
}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut world = self.disk.world();
        if world.run == self.run {
            world.locks.remove(&self.path);
        }
    }
}
