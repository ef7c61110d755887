//! A group's snapshots on this node: the newest good one is loaded at a start, another is written
//! now and then, or fetched where this node does not write any.
//!
//! Members that follow write. A master fetches what a follower wrote; only one that is alone in its
//! group writes itself.

mod load;
mod write;

use crate::clock;
use crate::data::link::{DataLink, ToData};
use crate::peer::Identity;
use crate::snapshots::{Fetcher, Figures, Holder, Purpose, Shown};
use crate::storage::{Notify, Storage};
use cairn_files::{Folder, RealDisk, Result, Snapshot, SnapshotFile, Snapshots};
use cairn_logic::ids::{EntryId, GroupId, Offset};
use cairn_logic::time::{Duration, Instant};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use write::Writer;

/// Portions between the data thread and the one that writes them.
const PIECES_MAX: usize = 4;
/// Between two looks whether another one is due, and after one that came to nothing.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A load under way, or over.
struct Loading {
    /// Counts the loads of this process.
    number: u64,
    busy: Arc<AtomicBool>,
    /// What the state began with.
    used: Option<PathBuf>,
    /// The state is one of the log from here on; nothing if there is nothing to begin with.
    whole_from: Option<Offset>,
}

/// A snapshot that is being written.
struct Writing {
    /// Raised at its end.
    ended: Arc<AtomicBool>,
    /// Raised when it must not become one.
    given_up: Arc<AtomicBool>,
    /// Whether it is of this node's mastership.
    mastered: bool,
    /// What the one before it needs the log from.
    newer_than: Offset,
}

/// What this node is to its group when it asks for a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It follows and holds the state: it writes.
    Follows,
    /// It masters others: it fetches.
    Masters,
    /// It masters nobody but itself: it writes.
    Alone,
    /// It can do neither now.
    Neither,
}

/// Where this node is in its log.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What it is to its group.
    pub standing: Standing,
    /// What is flushed and committed.
    pub covered: Offset,
    /// What is in the state, or in the log of a master.
    pub applied: Offset,
}

/// Whose they are.
pub struct Whose {
    /// This node.
    pub identity: Identity,
    /// The cluster.
    pub uid: u128,
    /// The group.
    pub group: GroupId,
}

/// A group's snapshots on this node.
pub struct GroupSnapshots {
    folder: Snapshots<RealDisk>,
    notify: Notify,
    loading: Loading,
    every: Duration,
    due: Instant,
    look: Instant,
    /// Up to where a state is flushed and committed, for the writer.
    covered: Arc<AtomicU64>,
    writing: Option<Writing>,
    fetcher: Fetcher,
    shown: Shown,
}

impl GroupSnapshots {
    /// Those of a group in `folder`; another one is to be had `every` so often. `notify` hears of
    /// good ones, and when one could not be loaded.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn open(
        folder: &Folder<RealDisk>,
        whose: Whose,
        every: Duration,
        notify: Notify,
    ) -> Result<Self> {
        let Whose { identity, uid, group } = whose;
        let folder = Snapshots::open(&RealDisk, &folder.snapshots(&group), uid, group.clone())?
            .with_content(cairn_keyspace::CONTENT);
        folder.tidy()?;
        let busy = Arc::new(AtomicBool::new(false));
        let shown = Shown::default();
        let content = cairn_keyspace::CONTENT;
        let (files, hears) = (folder.clone(), notify.clone());
        let fetcher = Fetcher::new(identity, group, files, content, hears, shown.clone());
        Ok(Self {
            folder,
            notify,
            loading: Loading { number: 0, busy, used: None, whole_from: None },
            every,
            due: clock::now() + every,
            look: clock::now(),
            covered: Arc::new(AtomicU64::new(0)),
            writing: None,
            fetcher,
            shown,
        })
    }

    /// The folder they are in, to be offered to other nodes.
    pub fn folder(&self) -> Snapshots<RealDisk> {
        self.folder.clone()
    }

    /// What there is to show of them.
    pub fn figures(&self) -> Figures {
        Figures { fetching: self.fetcher.progress(), ..self.shown.now() }
    }

    /// Drops the state and loads the newest snapshot that goes with a log that begins after
    /// `before` and ends with `last`; batches go on after the offset that is returned. It is less
    /// than that of `before` if there is nothing to begin with.
    pub fn rebuild(
        &mut self,
        data: &mut DataLink,
        holds: &dyn Fn(EntryId) -> bool,
        (before, last): (EntryId, EntryId),
    ) -> Offset {
        self.give_up_writing();
        let snapshot = self.newest_good(holds, before, last);
        let busy = Arc::new(AtomicBool::new(snapshot.is_some()));
        let load = self.loading.number + 1;
        self.loading = Loading {
            number: load,
            busy: busy.clone(),
            used: snapshot.as_ref().map(|found| found.path().to_owned()),
            whole_from: (before == EntryId::ZERO).then_some(Offset::ZERO),
        };
        data.send(ToData::Loading(true));
        data.send(ToData::Rebuild { load });
        let Some(snapshot) = snapshot else { return Offset::ZERO };
        let end = *snapshot.end();
        self.loading.whole_from = Some(end.upto.offset);
        let loaded = (self.notify.clone(), self.shown.clone());
        load::spawn(snapshot, data.feeder(), load, busy, loaded);
        end.from.offset
    }

    /// The newest whose head and index are whole and that goes with the log; what does not is set
    /// aside, but for those of a newer program, and those that only lack their log or have lost it.
    fn newest_good(
        &self,
        holds: &dyn Fn(EntryId) -> bool,
        before: EntryId,
        last: EntryId,
    ) -> Option<Snapshot<RealDisk>> {
        let listed = self.folder.list().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot list the snapshots");
            Vec::new()
        });
        for SnapshotFile { path, .. } in listed {
            match self.folder.read(&path) {
                Ok(found) if found.head().content != cairn_keyspace::CONTENT => {
                    let path = path.display();
                    tracing::error!(%path, "a newer program wrote this snapshot; it is not used");
                }
                Ok(found) => match fits(found.end(), holds, before, last) {
                    Fits::Yes => return Some(found),
                    Fits::NotNow => {
                        let (from, upto) = (found.end().from, found.end().upto);
                        tracing::info!(%from, %upto, %before, %last, "a snapshot without its log");
                    }
                    Fits::Never => {
                        let upto = found.end().upto;
                        tracing::warn!(%upto, "a snapshot of entries that are not in the log");
                        self.set_aside(&path);
                    }
                },
                Err(error @ cairn_files::Error::Format { .. }) => {
                    tracing::error!(%error, "this snapshot is not used");
                }
                Err(error) => {
                    tracing::error!(%error, "a snapshot is broken");
                    self.set_aside(&path);
                }
            }
        }
        None
    }

    fn set_aside(&self, path: &Path) {
        match self.folder.set_aside(path) {
            Ok(to) => {
                self.shown.set_aside();
                tracing::warn!(to = %to.display(), "the snapshot is set aside");
            }
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

    /// The offset from which on the state is one of the log; `None`: there is no state.
    pub fn whole_from(&self) -> Option<Offset> {
        self.loading.whole_from
    }

    /// Gets a snapshot without which the log cannot go on, from one of `holders`; says so through
    /// the events of a fetch.
    pub fn fetch(&mut self, at_least: Offset, holders: Vec<Holder>) {
        self.fetcher.fetch(Purpose::CatchUp, at_least, holders);
    }

    /// Another snapshot is here and good.
    pub fn is_good(&mut self) {
        self.due = clock::now() + self.every;
    }

    /// This node masters no more: what it has written of its own mastership is no snapshot.
    pub fn stepped_down(&mut self) {
        if self.writing.as_ref().is_some_and(|writing| writing.mastered) {
            self.give_up_writing();
        }
    }

    fn give_up_writing(&mut self) {
        if let Some(writing) = &self.writing {
            writing.given_up.store(true, Ordering::Release);
        }
    }

    /// Begins to write or to fetch another snapshot if it is time.
    pub fn tick(
        &mut self,
        data: &mut DataLink,
        storage: &Storage,
        place: Place,
        holders: impl FnOnce() -> Vec<Holder>,
    ) {
        self.covered.store(place.covered.0, Ordering::Release);
        let now = clock::now();
        let from = self.shown.now().newest.map_or(Offset::ZERO, |newest| newest.from.offset);
        if let Some(writing) = self.writing.take_if(|one| one.ended.load(Ordering::Acquire)) {
            self.due = now + self.every;
            self.look = now + if from > writing.newer_than { LOOK } else { LOOK_AGAIN };
        }
        if now < self.look || self.writing.is_some() || self.fetcher.is_at_work() {
            return;
        }
        self.look = now + LOOK;
        if place.applied <= from || (now < self.due && !storage.is_long_after(from)) {
            return;
        }
        match place.standing {
            Standing::Follows => self.write(data, from, false),
            Standing::Alone => self.write(data, from, true),
            Standing::Masters => {
                let mut members = holders();
                members.retain(|holder| holder.member);
                self.fetcher.fetch(Purpose::Keep, from.next(), members);
            }
            Standing::Neither => {}
        }
    }

    fn write(&mut self, data: &mut DataLink, newer_than: Offset, mastered: bool) {
        let (ended, given_up) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (to, pieces) = sync_channel(PIECES_MAX);
        let writer = Writer {
            folder: self.folder.clone(),
            pieces,
            covered: self.covered.clone(),
            ended: ended.clone(),
            given_up: Arc::clone(&given_up),
            notify: self.notify.clone(),
            shown: self.shown.clone(),
        };
        if writer.spawn() {
            self.writing = Some(Writing { ended, given_up, mastered, newer_than });
            data.send(ToData::Export(to));
        }
    }
}

/// Whether a snapshot goes with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fits {
    Yes,
    /// The entries that it needs are gone, or have not come yet.
    NotNow,
    /// It is of other entries.
    Never,
}

/// Whether a snapshot goes with a log that begins after `before` and ends with `last`.
fn fits(
    end: &cairn_files::snapshot::SnapshotEnd,
    holds: &dyn Fn(EntryId) -> bool,
    before: EntryId,
    last: EntryId,
) -> Fits {
    let (from, upto) = (end.from, end.upto);
    // Epochs never fall: what is above the log's end and of an older epoch was never in it.
    let other = |entry: EntryId| match entry.offset > last.offset {
        true => entry.epoch < last.epoch,
        false => !holds(entry),
    };
    if other(from) || other(upto) {
        return Fits::Never;
    }
    let reached = (before.offset..=last.offset).contains(&from.offset);
    if reached { Fits::Yes } else { Fits::NotNow }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_files::snapshot::SnapshotEnd;
    use cairn_logic::ids::Epoch;

    fn entry(epoch: u64, offset: u64) -> EntryId {
        EntryId::new(Epoch(epoch), Offset(offset))
    }

    /// Against a log of epoch 2 up to 20, then of epoch 4 up to 30, that begins after 10.
    fn judge(from: EntryId, upto: EntryId) -> Fits {
        let holds = |id: EntryId| match id.offset.0 {
            0..=20 => id.epoch.0 <= 2,
            21..=30 => id.epoch.0 == 4,
            _ => false,
        };
        let end = SnapshotEnd { from, upto, hash: 0, records: 0 };
        fits(&end, &holds, entry(2, 10), entry(4, 30))
    }

    #[test]
    fn a_snapshot_within_the_log_is_used() {
        assert_eq!(judge(entry(2, 10), entry(4, 25)), Fits::Yes);
        assert_eq!(judge(entry(4, 30), entry(4, 30)), Fits::Yes);
    }

    #[test]
    fn one_that_another_member_wrote_may_end_above_the_log() {
        assert_eq!(judge(entry(4, 30), entry(4, 44)), Fits::Yes);
        assert_eq!(judge(entry(4, 30), entry(5, 44)), Fits::Yes);
    }

    #[test]
    fn one_whose_log_is_gone_or_has_not_come_is_left_alone() {
        assert_eq!(judge(entry(2, 9), entry(4, 25)), Fits::NotNow);
        assert_eq!(judge(entry(4, 31), entry(4, 40)), Fits::NotNow);
    }

    #[test]
    fn one_of_entries_that_were_cut_is_never_used() {
        assert_eq!(judge(entry(2, 15), entry(3, 25)), Fits::Never);
        assert_eq!(judge(entry(3, 25), entry(3, 28)), Fits::Never);
        assert_eq!(judge(entry(4, 30), entry(3, 40)), Fits::Never);
    }
}
