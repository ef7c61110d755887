//! The folder of a group's snapshots: `<last entry>.snap`, drafts, and those set aside.

use super::format::{SnapshotEnd, SnapshotHead};
use super::read::Snapshot;
use super::receive::{name_in, remove};
use super::write::SnapshotDraft;
use crate::disk::Disk;
use crate::error::{Error, Result};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Offset};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// What is being written here; one at a time.
const DRAFT: &str = "draft";
const SUFFIX: &str = ".snap";
const ASIDE: &str = "bad-";
/// At most so many snapshots that were found broken are kept for a person.
const ASIDE_MAX: usize = 4;

/// A snapshot by its name alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// The file.
    pub path: PathBuf,
    /// Entries above it are needed beside it.
    pub from: EntryId,
    /// Its length.
    pub bytes: u64,
}

impl SnapshotFile {
    /// Its name in its folder, by which other nodes ask for it.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// A folder of snapshots of one log.
#[derive(Clone, Debug)]
pub struct Snapshots<D: Disk> {
    pub(super) disk: D,
    pub(super) folder: PathBuf,
    uid: u128,
    group: GroupId,
    pub(super) content: Option<u32>,
}

impl<D: Disk> Snapshots<D> {
    /// The snapshots in `folder`, which is made if need be; what others than `uid` and `group`
    /// wrote is refused.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(disk: &D, folder: &Path, uid: u128, group: GroupId) -> Result<Self> {
        disk.create_dir(folder).map_err(Error::io("make folder", folder))?;
        Ok(Self { disk: disk.clone(), folder: folder.to_owned(), uid, group, content: None })
    }

    /// The same folder; [`Snapshots::accept`] then takes only snapshots of this content.
    #[must_use]
    pub fn with_content(self, content: u32) -> Self {
        Self { content: Some(content), ..self }
    }

    /// Removes what an earlier process left unfinished: a draft, and what it was receiving unless
    /// that is newer than all that is here and can be resumed. For a node's start: nothing may be
    /// written here meanwhile.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn tidy(&self) -> Result<()> {
        self.discard()?;
        let newest = self.list()?.first().map_or(Offset::ZERO, |file| file.from.offset);
        for partial in self.partials()? {
            let from = name_in(&partial).and_then(from_name);
            if from.is_none_or(|from| from.offset <= newest) {
                self.remove(&self.folder.join(partial))?;
            }
        }
        self.sync()
    }

    /// Those that were finished, newest first; none was read.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn list(&self) -> Result<Vec<SnapshotFile>> {
        let listed = self.disk.list(&self.folder).map_err(Error::io("list", &self.folder))?;
        let mut found: Vec<_> = listed
            .into_iter()
            .filter_map(|file| {
                let from = from_name(&file.name)?;
                Some(SnapshotFile { path: self.folder.join(&file.name), from, bytes: file.bytes })
            })
            .collect();
        found.sort_by_key(|file| std::cmp::Reverse((file.from.offset, file.from.epoch)));
        Ok(found)
    }

    /// Where the one with this `from` is, if it was finished here.
    #[must_use]
    pub fn path(&self, from: EntryId) -> PathBuf {
        self.folder.join(name_of(from))
    }

    /// Opens one and checks whose it is.
    ///
    /// # Errors
    /// [`Error::Foreign`], and those of [`Snapshot::open`].
    pub fn read(&self, path: &Path) -> Result<Snapshot<D>> {
        let snapshot = Snapshot::open(&self.disk, path)?;
        let head = snapshot.head();
        let foreign = |what, found: String, expected: String| {
            Err(Error::Foreign { path: path.to_owned(), what, found, expected })
        };
        if head.uid != self.uid {
            let (found, expected) = (format!("{:032x}", head.uid), format!("{:032x}", self.uid));
            return foreign("cluster", found, expected);
        }
        if head.group != self.group {
            return foreign("group", head.group.to_string(), self.group.to_string());
        }
        Ok(snapshot)
    }

    /// Begins another one. `content` and `made_ms` as in [`SnapshotHead`].
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn begin(&self, content: u32, made_ms: u64, program: &str) -> Result<SnapshotDraft<D>> {
        let head = SnapshotHead {
            uid: self.uid,
            group: self.group.clone(),
            content,
            made_ms,
            program: program.to_owned(),
        };
        SnapshotDraft::begin(&self.disk, &self.folder.join(DRAFT), &head)
    }

    /// Makes a draft a snapshot, durably. `empty` is the entry it is of if it has no section,
    /// `hash` that of the state, 0 if there is none.
    ///
    /// # Errors
    /// [`Error::Full`], [`Error::Io`].
    pub fn finish(
        &self,
        draft: SnapshotDraft<D>,
        empty: EntryId,
        hash: u64,
    ) -> Result<(SnapshotFile, SnapshotEnd)> {
        let from = draft.from().unwrap_or(empty);
        let path = self.path(from);
        let (end, bytes) = draft.finish(&path, empty, hash)?;
        Ok((SnapshotFile { path, from, bytes }, end))
    }

    /// Keeps a broken file out of the way under `bad-<name>`; the oldest goes when four are kept.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn set_aside(&self, path: &Path) -> Result<PathBuf> {
        let name = format!("{ASIDE}{}", path.file_name().unwrap_or_default().to_string_lossy());
        let to = self.folder.join(&name);
        self.disk.rename(path, &to).map_err(Error::io("rename", path))?;
        let listed = self.disk.list(&self.folder).map_err(Error::io("list", &self.folder))?;
        let mut others: Vec<_> = listed
            .into_iter()
            .filter(|file| file.name.starts_with(ASIDE) && file.name != name)
            .map(|file| (file.name.strip_prefix(ASIDE).and_then(from_name), file.name))
            .collect();
        others.sort_by_key(|(from, _)| from.map(|from| (from.offset, from.epoch)));
        for (_, other) in &others[..(others.len() + 1).saturating_sub(ASIDE_MAX)] {
            self.remove(&self.folder.join(other))?;
        }
        self.sync()?;
        Ok(to)
    }

    /// Removes all but the newest `keep`; takes seconds if they are large.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn prune(&self, keep: usize) -> Result<()> {
        for file in self.list()?.into_iter().skip(keep) {
            match self.disk.retire(&file.path) {
                // Another call was first.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                retired => retired.map_err(Error::io("remove", &file.path))?,
            }
        }
        self.sync()
    }

    /// Removes a draft that will not be finished, if there is one.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(&self) -> Result<()> {
        remove(&self.disk, &self.folder.join(DRAFT))
    }

    fn remove(&self, path: &Path) -> Result<()> {
        self.disk.remove(path).map_err(Error::io("remove", path))
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.disk.sync_dir(&self.folder).map_err(Error::io("flush folder", &self.folder))
    }
}

fn name_of(from: EntryId) -> String {
    format!("{:020}-{}{SUFFIX}", from.offset.0, from.epoch.0)
}

/// The entry in a name of [`name_of`]; `None` for every other name.
pub(super) fn from_name(name: &str) -> Option<EntryId> {
    let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let from = EntryId::new(Epoch(epoch.parse().ok()?), Offset(offset.parse().ok()?));
    (name_of(from) == name).then_some(from)
}
