//! Names, files and faults of a disk in memory.

use crate::disk::Listed;
use crate::disk::mem::content::{Begun, Inode};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
pub(super) enum NameChange {
    Create(PathBuf, u64),
    Rename(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Clone, Debug, Default)]
pub(super) struct World {
    /// Raised when the process is gone; handles of older runs are stale.
    pub run: u64,
    inodes: BTreeMap<u64, Inode>,
    last_inode: u64,
    names: BTreeMap<PathBuf, u64>,
    stable_names: BTreeMap<PathBuf, u64>,
    pending: Vec<NameChange>,
    pub folders: BTreeSet<PathBuf>,
    pub locks: BTreeSet<PathBuf>,
    pub capacity: Option<u64>,
    pub write_fails_in: Option<u64>,
    pub sync_fails_in: Option<u64>,
    /// Bytes until the machine stops.
    pub stops_in: Option<u64>,
    /// Changes (of content, sizes, names, or their flushes) until the machine stops.
    pub stops_before: Option<u64>,
    pub syncs_held: bool,
    pub syncs: u64,
    pub writes: u64,
    pub bytes_read: u64,
    down: bool,
}

fn apply(names: &mut BTreeMap<PathBuf, u64>, change: &NameChange) -> io::Result<()> {
    match change {
        NameChange::Create(path, inode) => {
            names.insert(path.clone(), *inode);
        }
        NameChange::Rename(from, to) => {
            let inode = names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            names.insert(to.clone(), inode);
        }
        NameChange::Remove(path) => {
            names.remove(path).ok_or(io::ErrorKind::NotFound)?;
        }
    }
    Ok(())
}

/// Counts down to a fault; true when it is due.
fn due(fault: &mut Option<u64>) -> bool {
    match fault {
        Some(0) => {
            *fault = None;
            true
        }
        Some(left) => {
            *left -= 1;
            false
        }
        None => false,
    }
}

impl World {
    pub fn check_up(&self) -> io::Result<()> {
        if self.down {
            return Err(io::Error::other("the machine is down"));
        }
        Ok(())
    }

    /// Before every change.
    pub fn step(&mut self) -> io::Result<()> {
        self.check_up()?;
        self.down = due(&mut self.stops_before);
        self.check_up()
    }

    pub fn inode(&mut self, number: u64) -> io::Result<&mut Inode> {
        self.inodes.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub fn inode_at(&mut self, path: &Path) -> io::Result<&mut Inode> {
        let number = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.inode(number)
    }

    pub fn open(&mut self, path: &Path) -> io::Result<u64> {
        let number = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.inode(number)?.handles += 1;
        Ok(number)
    }

    pub fn create(&mut self, path: &Path) -> io::Result<u64> {
        if self.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !path.parent().is_some_and(|folder| self.folders.contains(folder)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.last_inode += 1;
        let number = self.last_inode;
        self.inodes.insert(number, Inode::opened());
        self.change(NameChange::Create(path.to_owned(), number))?;
        Ok(number)
    }

    pub fn change(&mut self, change: NameChange) -> io::Result<()> {
        apply(&mut self.names, &change)?;
        self.pending.push(change);
        Ok(())
    }

    /// Makes changes of names durable up to the last one in this folder.
    pub fn sync_names(&mut self, folder: &Path) -> io::Result<()> {
        if !self.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = |path: &PathBuf| path.parent() == Some(folder);
        let touches = |change: &NameChange| match change {
            NameChange::Create(path, _) | NameChange::Remove(path) => inside(path),
            NameChange::Rename(from, to) => inside(from) || inside(to),
        };
        let count = self.pending.iter().rposition(touches).map_or(0, |last| last + 1);
        self.settle(count);
        self.collect();
        Ok(())
    }

    fn settle(&mut self, count: usize) {
        for change in self.pending.drain(..count) {
            apply(&mut self.stable_names, &change).expect("changes are applied in their order");
        }
    }

    /// Forgets files without name and handle.
    fn collect(&mut self) {
        if !self.pending.is_empty() {
            return;
        }
        let named: BTreeSet<u64> = self.names.values().copied().collect();
        self.inodes.retain(|number, inode| inode.handles > 0 || named.contains(number));
    }

    pub fn close(&mut self, number: u64) {
        if let Some(inode) = self.inodes.get_mut(&number) {
            inode.handles = inode.handles.saturating_sub(1);
        }
    }

    pub fn list(&self, folder: &Path) -> io::Result<Vec<Listed>> {
        if !self.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = self.names.iter().filter(|(path, _)| path.parent() == Some(folder));
        let listed = inside.filter_map(|(path, inode)| {
            let name = path.file_name()?.to_str()?.to_owned();
            Some(Listed { name, bytes: self.inodes.get(inode)?.now.bytes })
        });
        Ok(listed.collect())
    }

    pub fn used_bytes(&self) -> u64 {
        let files = self.names.values().filter_map(|inode| self.inodes.get(inode));
        files.map(|inode| inode.now.bytes).sum()
    }

    fn check_room(&mut self, number: u64, bytes: u64) -> io::Result<()> {
        let more = bytes.saturating_sub(self.inode(number)?.now.bytes);
        match self.capacity {
            Some(capacity) if more > 0 && self.used_bytes() + more > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    pub fn grow(&mut self, number: u64, bytes: u64) -> io::Result<()> {
        self.check_room(number, bytes)?;
        self.inode(number)?.grow(bytes);
        Ok(())
    }

    pub fn write(&mut self, number: u64, bytes: &[u8], position: u64) -> io::Result<()> {
        self.check_room(number, position + bytes.len() as u64)?;
        self.writes += 1;
        if due(&mut self.write_fails_in) {
            self.inode(number)?.write(&bytes[..bytes.len() / 2], position);
            return Err(io::Error::other("injected write error"));
        }
        if let Some(left) = self.stops_in {
            let fits = usize::try_from(left).unwrap_or(usize::MAX);
            if bytes.len() > fits {
                self.inode(number)?.write(&bytes[..fits], position);
                self.down = true;
                return self.check_up();
            }
            self.stops_in = Some(left - bytes.len() as u64);
        }
        self.inode(number)?.write(bytes, position);
        Ok(())
    }

    pub fn end_sync(&mut self, number: u64, begun: Begun) -> io::Result<()> {
        let failed = due(&mut self.sync_fails_in);
        self.inode(number)?.end_sync(begun, failed);
        if failed {
            return Err(io::Error::other("injected flush error"));
        }
        Ok(())
    }

    /// The process is gone.
    pub fn restart(&mut self) {
        self.run += 1;
        self.locks.clear();
        self.write_fails_in = None;
        self.sync_fails_in = None;
        self.stops_in = None;
        self.stops_before = None;
        self.syncs_held = false;
        self.down = false;
        for inode in self.inodes.values_mut() {
            inode.handles = 0;
        }
        self.collect();
    }

    /// The machine is gone.
    pub fn crash(&mut self, choose: &mut dyn FnMut(u64) -> u64) {
        let kept = choose(self.pending.len() as u64 + 1);
        self.settle(usize::try_from(kept).unwrap_or(usize::MAX).min(self.pending.len()));
        self.pending.clear();
        self.names = self.stable_names.clone();
        for inode in self.inodes.values_mut() {
            inode.crash(choose);
        }
        self.restart();
    }
}
