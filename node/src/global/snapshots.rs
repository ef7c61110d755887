//! The global plane's snapshots on this node: the newest good one is loaded at a start, and another
//! is written now and then, or fetched where this node does not write any.

mod load;
mod write;

use crate::boot::Boot;
use crate::clock;
use crate::snapshots::{Fetcher, Figures, Holder, Newest, Purpose, Shown};
use crate::storage::Notify;
use cairn_directory::Directory;
use cairn_directory::directory::CONTENT;
use cairn_files::snapshot::SnapshotEnd;
use cairn_files::{RealDisk, Result, Snapshot, SnapshotFile, Snapshots};
use cairn_logic::ids::{EntryId, GroupId, Offset};
use cairn_logic::time::{Duration, Instant};
use load::Load;
use std::path::{Path, PathBuf};

pub use write::{Piece, Writer, Written};

/// How many are kept: should the newest be found broken, the one before it is used.
pub const KEPT: usize = 2;

/// What became of a load.
pub enum Loaded {
    /// Nothing is being loaded.
    Nothing,
    /// It goes on.
    Not,
    /// The state after this entry.
    State(Box<Directory>, EntryId),
}

/// The snapshots in this node's folder, the one the state began with, and the way to others.
pub struct PlaneSnapshots {
    folder: Snapshots<RealDisk>,
    notify: Notify,
    fetcher: Fetcher,
    shown: Shown,
    loading: Option<Load>,
    /// What the state began with.
    used: Option<PathBuf>,
    /// The newest that is known to be good, and since when.
    best: Option<Newest>,
    since: Instant,
    /// Fetched ones up to here were not believed.
    refused: Offset,
}

impl PlaneSnapshots {
    /// Those in the folder of `boot`, which others may have from now on. `notify` hears when one is
    /// loaded, or could not be.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(boot: &Boot, notify: Notify) -> Result<Self> {
        let group = GroupId::global();
        let path = boot.folder.snapshots(&group);
        let folder = Snapshots::open(&RealDisk, &path, boot.uid, group.clone())?;
        let folder = folder.with_content(CONTENT);
        folder.discard()?;
        boot.shelf.offer(&group, folder.clone());
        let (shown, identity) = (Shown::default(), boot.identity.clone());
        let (files, hears) = (folder.clone(), notify.clone());
        let fetcher = Fetcher::new(identity, group, files, CONTENT, hears, shown.clone());
        Ok(Self {
            folder,
            notify,
            fetcher,
            shown,
            loading: None,
            used: None,
            best: None,
            since: clock::now(),
            refused: Offset::ZERO,
        })
    }

    /// The folder.
    pub fn folder(&self) -> &Snapshots<RealDisk> {
        &self.folder
    }

    /// What there is to show of them.
    pub fn figures(&self) -> Figures {
        Figures { fetching: self.fetcher.progress(), ..self.shown.now() }
    }

    /// The last entry of the newest one that is known to be good.
    pub fn newest(&self) -> EntryId {
        self.best.map_or(EntryId::ZERO, |newest| newest.from)
    }

    /// For how long that has been the newest.
    pub fn age(&self) -> Duration {
        clock::now().since(self.since)
    }

    /// The one of `at` is durable and known to be good; older ones than the last two go.
    pub fn made(&mut self, at: EntryId) {
        let file = self.file(at).and_then(|file| self.folder.read(&file.path).ok());
        let Some(newest) = file.map(|snapshot| Newest::from(&snapshot)) else { return };
        self.shown.good(newest);
        (self.best, self.since) = (Some(newest), clock::now());
        let folder = self.folder.clone();
        let prune = move || {
            if let Err(error) = folder.prune(KEPT) {
                tracing::warn!(%error, "cannot remove an older snapshot");
            }
        };
        // What is not removed now is when the next one is made.
        std::thread::Builder::new().name("prune".into()).spawn(prune).ok();
    }

    /// The file of the snapshot of `at`.
    pub fn file(&self, at: EntryId) -> Option<SnapshotFile> {
        self.folder.list().ok()?.into_iter().find(|file| file.from == at)
    }

    /// The hash that the snapshot of `at` says its state has.
    pub fn hash(&self, at: EntryId) -> Option<u64> {
        let found = self.folder.read(&self.file(at)?.path).ok()?;
        Some(found.end().hash)
    }

    /// Writing one took so long.
    pub fn took(&self, took_ms: u64) {
        self.shown.took(took_ms);
    }

    /// A fetched one is not believed; with `aside` its file is kept out of the way.
    pub fn refuse(&mut self, at: EntryId, aside: bool) {
        self.refused = self.refused.max(at.offset);
        self.shown.forget();
        if let Some(best) = self.best {
            self.shown.good(best);
        }
        if let Some(file) = self.file(at).filter(|_| aside) {
            set_aside(&self.folder, &self.shown, &file.path);
        }
    }

    /// Gets a snapshot without which the log cannot go on, from one of `holders`.
    pub fn fetch(&mut self, at_least: Offset, holders: Vec<Holder>) {
        self.fetcher.fetch(Purpose::CatchUp, at_least, holders);
    }

    /// Gets a newer one than there is here, if one of `holders` has it.
    pub fn fetch_newer(&mut self, holders: Vec<Holder>) {
        let at_least = self.newest().offset.max(self.refused).next();
        self.fetcher.fetch(Purpose::Keep, at_least, holders);
    }

    /// Whether one is being fetched.
    pub fn is_fetching(&self) -> bool {
        self.fetcher.is_at_work()
    }

    /// Begins to load the newest snapshot from which the log goes on, beside everything else;
    /// batches go on after the offset that is returned. The log begins after the first of `log` and
    /// ends with the second.
    pub fn rebuild(&mut self, holds: &dyn Fn(EntryId) -> bool, log: (Offset, EntryId)) -> Offset {
        (self.loading, self.used, self.best) = (None, None, None);
        self.shown.forget();
        let Some(snapshot) = self.newest_good(holds, log) else { return Offset::ZERO };
        let at = snapshot.end().from;
        self.used = Some(snapshot.path().to_owned());
        let (folder, shown) = (self.folder.clone(), self.shown.clone());
        self.loading = Some(Load::spawn(snapshot, folder, shown, self.notify.clone()));
        at.offset
    }

    /// The newest whose head and index are whole and from which the log goes on. What does not fit
    /// the log is set aside, but for what a newer program wrote, and what only lacks its log.
    fn newest_good(
        &self,
        holds: &dyn Fn(EntryId) -> bool,
        log: (Offset, EntryId),
    ) -> Option<Snapshot<RealDisk>> {
        let listed = self.folder.list().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot list the snapshots");
            Vec::new()
        });
        for file in listed {
            match self.folder.read(&file.path) {
                Ok(found) if found.head().content > CONTENT => {
                    let path = file.path.display();
                    tracing::error!(%path, "a newer program wrote this snapshot; it is not used");
                }
                Ok(found) => match fits(found.end(), holds, log) {
                    Fits::Yes => return Some(found),
                    Fits::NotNow => {
                        let (at, before, last) = (found.end().from, log.0, log.1);
                        tracing::info!(%at, %before, %last, "a snapshot without its log");
                    }
                    Fits::Never => {
                        let at = found.end().from;
                        tracing::warn!(%at, "a snapshot of entries that are not in the log");
                        set_aside(&self.folder, &self.shown, &file.path);
                    }
                },
                Err(error @ cairn_files::Error::Format { .. }) => {
                    tracing::error!(%error, "this snapshot is not used");
                }
                Err(error) => {
                    tracing::error!(%error, "a snapshot is broken");
                    set_aside(&self.folder, &self.shown, &file.path);
                }
            }
        }
        None
    }

    /// The state that the last load made does not fit the log: that snapshot is not used again.
    /// Whether there was one.
    pub fn distrust(&mut self) -> bool {
        let used = self.used.take();
        if let Some(path) = &used {
            set_aside(&self.folder, &self.shown, path);
        }
        used.is_some()
    }

    /// Whether a state is being loaded: nothing may be applied meanwhile.
    pub fn is_loading(&self) -> bool {
        self.loading.is_some()
    }

    /// How far a load is, in words.
    pub fn progress(&self) -> Option<String> {
        self.loading.as_ref().map(Load::progress)
    }

    /// Takes what was loaded; each state once.
    pub fn loaded(&mut self) -> Loaded {
        let Some(load) = &self.loading else { return Loaded::Nothing };
        match load.take() {
            Some(directory) => {
                let at = load.at();
                self.loading = None;
                self.made(at);
                Loaded::State(Box::new(directory), at)
            }
            None => Loaded::Not,
        }
    }
}

/// Whether a snapshot goes with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fits {
    Yes,
    /// The entries that it needs are gone, or have not come yet.
    NotNow,
    /// It is of other entries, or of no one moment.
    Never,
}

fn fits(end: &SnapshotEnd, holds: &dyn Fn(EntryId) -> bool, log: (Offset, EntryId)) -> Fits {
    let (at, before, last) = (end.from, log.0, log.1);
    // Epochs never fall: what is above the log's end and of an older epoch was never in it.
    let other = match at.offset > last.offset {
        true => at.epoch < last.epoch,
        false => !holds(at),
    };
    if other || at != end.upto {
        return Fits::Never;
    }
    if at.offset >= before && holds(at) { Fits::Yes } else { Fits::NotNow }
}

/// Keeps a snapshot that is not to be used out of the way.
fn set_aside(folder: &Snapshots<RealDisk>, shown: &Shown, path: &Path) {
    match folder.set_aside(path) {
        Ok(to) => {
            shown.set_aside();
            tracing::warn!(to = %to.display(), "the snapshot is set aside");
        }
        Err(error) => tracing::error!(%error, "cannot set a snapshot aside"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::Epoch;

    fn entry(epoch: u64, offset: u64) -> EntryId {
        EntryId::new(Epoch(epoch), Offset(offset))
    }

    /// Against a log of epoch 2 up to 20, then of epoch 4 up to 30, that begins after 10.
    fn judge(at: EntryId) -> Fits {
        let holds = |id: EntryId| match id.offset.0 {
            0..=20 => id.epoch.0 <= 2,
            21..=30 => id.epoch.0 == 4,
            _ => false,
        };
        let end = SnapshotEnd { from: at, upto: at, hash: 0, records: 0 };
        fits(&end, &holds, (Offset(10), entry(4, 30)))
    }

    #[test]
    fn a_snapshot_within_the_log_is_used() {
        assert_eq!(judge(entry(2, 10)), Fits::Yes);
        assert_eq!(judge(entry(4, 30)), Fits::Yes);
    }

    #[test]
    fn one_that_lacks_its_log_is_left_where_it_is() {
        assert_eq!(judge(entry(2, 9)), Fits::NotNow);
        assert_eq!(judge(entry(4, 31)), Fits::NotNow);
    }

    #[test]
    fn one_of_another_history_is_never_used() {
        assert_eq!(judge(entry(3, 25)), Fits::Never);
        assert_eq!(judge(entry(3, 31)), Fits::Never);
        assert_eq!(judge(entry(3, 9)), Fits::Never);
    }
}
