//! A group's snapshots on this node: the newest good one is loaded at a start, and members that do
//! not master the group write another now and then.

mod load;
mod write;

use crate::clock;
use crate::data::link::{DataLink, ToData};
use crate::storage::Notify;
use cairn_files::{Folder, RealDisk, Result, Snapshot, Snapshots};
use cairn_logic::ids::{EntryId, GroupId, Offset};
use cairn_logic::time::{Duration, Instant};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use write::Writer;

/// How many are kept: should the newest be found broken, the one before it is used.
pub(super) const KEPT: usize = 2;
/// Portions between the data thread and the one that writes them.
const PIECES_MAX: usize = 4;

/// A load under way, or over.
struct Loading {
    /// Counts the loads of this process.
    number: u64,
    busy: Arc<AtomicBool>,
    /// What the state began with.
    used: Option<PathBuf>,
    /// The state is one of the log from here on.
    whole_from: Offset,
}

/// A group's snapshots on this node.
pub struct GroupSnapshots {
    folder: Snapshots<RealDisk>,
    notify: Notify,
    loading: Loading,
    every: Duration,
    due: Instant,
    /// The last entry of the newest one that this process wrote or loaded.
    newest: Offset,
    /// Up to where the log is flushed, for the writer.
    flushed: Arc<AtomicU64>,
    /// Raised when the present writer has ended.
    writing: Option<Arc<AtomicBool>>,
}

impl GroupSnapshots {
    /// Those of `group` in `folder`; another one is written `every` so often. `notify` hears when
    /// one could not be loaded.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(
        folder: &Folder<RealDisk>,
        uid: u128,
        group: &GroupId,
        every: Duration,
        notify: Notify,
    ) -> Result<Self> {
        let folder = Snapshots::open(&RealDisk, &folder.snapshots(group), uid, group.clone())?;
        let busy = Arc::new(AtomicBool::new(false));
        let loading = Loading { number: 0, busy, used: None, whole_from: Offset::ZERO };
        Ok(Self {
            folder,
            notify,
            loading,
            every,
            due: clock::now() + every,
            newest: Offset::ZERO,
            flushed: Arc::new(AtomicU64::new(0)),
            writing: None,
        })
    }

    /// Drops the state and loads the newest snapshot that the log reaches; batches go on after the
    /// offset that is returned.
    pub fn rebuild(&mut self, data: &mut DataLink, holds: &dyn Fn(EntryId) -> bool) -> Offset {
        let snapshot = self.newest_good(holds);
        let busy = Arc::new(AtomicBool::new(snapshot.is_some()));
        let load = self.loading.number + 1;
        self.loading = Loading {
            number: load,
            busy: busy.clone(),
            used: snapshot.as_ref().map(|found| found.path().to_owned()),
            whole_from: Offset::ZERO,
        };
        data.send(ToData::Loading(true));
        data.send(ToData::Rebuild { load });
        let Some(snapshot) = snapshot else { return Offset::ZERO };
        let end = *snapshot.end();
        (self.loading.whole_from, self.newest) = (end.upto.offset, end.upto.offset);
        load::spawn(snapshot, data.feeder(), load, busy, self.notify.clone());
        end.from.offset
    }

    /// The newest whose head and index are whole and whose last entry is in the log; others are set
    /// aside, but for those of a newer program.
    fn newest_good(&self, holds: &dyn Fn(EntryId) -> bool) -> Option<Snapshot<RealDisk>> {
        let listed = self.folder.list().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot list the snapshots; the whole log is replayed");
            Vec::new()
        });
        for file in listed {
            match self.folder.read(&file.path) {
                Ok(found) if found.head().content != cairn_keyspace::CONTENT => {
                    let path = file.path.display();
                    tracing::error!(%path, "a newer program wrote this snapshot; it is not used");
                }
                Ok(found) if holds(found.end().upto) => return Some(found),
                Ok(found) => {
                    let upto = found.end().upto;
                    tracing::warn!(%upto, "a snapshot of entries that are not in the log");
                    self.set_aside(&file.path);
                }
                Err(error @ cairn_files::Error::Format { .. }) => {
                    tracing::error!(%error, "this snapshot is not used");
                }
                Err(error) => {
                    tracing::error!(%error, "a snapshot is broken");
                    self.set_aside(&file.path);
                }
            }
        }
        None
    }

    fn set_aside(&self, path: &std::path::Path) {
        match self.folder.set_aside(path) {
            Ok(to) => tracing::warn!(to = %to.display(), "the snapshot is set aside"),
            Err(error) => tracing::error!(%error, "cannot set a snapshot aside"),
        }
    }

    /// The state that the last load made does not fit the log: that snapshot is not used again.
    pub fn distrust(&mut self) {
        if let Some(path) = self.loading.used.take() {
            self.set_aside(&path);
        }
    }

    /// Whether portions are still being sent: no batch may come between them.
    pub fn is_loading(&self) -> bool {
        self.loading.busy.load(Ordering::Acquire)
    }

    /// The offset from which on the state is one of the log.
    pub fn whole_from(&self) -> Offset {
        self.loading.whole_from
    }

    /// Begins another snapshot if one is due. `follows`: this node holds the state, and another one
    /// is master.
    pub fn tick(&mut self, data: &mut DataLink, flushed: Offset, applied: Offset, follows: bool) {
        self.flushed.store(flushed.0, Ordering::Release);
        if self.writing.as_ref().is_some_and(|ended| ended.load(Ordering::Acquire)) {
            self.writing = None;
            self.due = clock::now() + self.every;
        }
        let due = clock::now() >= self.due && applied > self.newest;
        if self.writing.is_some() || !follows || !due {
            return;
        }
        let ended = Arc::new(AtomicBool::new(false));
        let (to, pieces) = sync_channel(PIECES_MAX);
        let writer = Writer {
            folder: self.folder.clone(),
            pieces,
            flushed: self.flushed.clone(),
            ended: ended.clone(),
        };
        if writer.spawn() {
            self.newest = applied;
            self.writing = Some(ended);
            data.send(ToData::Export(to));
        } else {
            self.due = clock::now() + self.every;
        }
    }
}
