//! A group's snapshots on this node: the newest good one is loaded at a start, another is written
//! now and then, or fetched where this node does not write any.
//!
//! Members that follow write. A master fetches what a follower wrote; only one that is alone in its
//! group writes itself.

mod asks;
mod load;
mod write;

use crate::clock;
use crate::data::link::{DataLink, ToData};
use crate::peer::{Identity, Reply};
use crate::snapshots::{Fetcher, Figures, Holder, Purpose, Shown, Stock};
use crate::storage::{Notify, Storage};
use asks::{Asks, said};
use cairn_files::{Folder, RealDisk, Result, Snapshots};
use cairn_logic::ids::{EntryId, GroupId, Offset};
use cairn_logic::time::{Duration, Instant};
use cairn_wire::peer::pb;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use tonic::Status;
use write::Writer;

/// Portions between the data thread and the one that writes them.
const PIECES_MAX: usize = 32;
/// Between two looks whether another one is due, and after one that came to nothing.
const LOOK: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// A load under way, or over.
struct Loading {
    /// Counts the loads of this process.
    number: u64,
    busy: Arc<AtomicBool>,
    /// How much of it is there.
    percent: Arc<AtomicU32>,
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
    stock: Stock,
    notify: Notify,
    loading: Loading,
    every: Duration,
    due: Instant,
    look: Instant,
    /// Up to where a state is flushed and committed, for the writer.
    covered: Arc<AtomicU64>,
    writing: Option<Writing>,
    fetcher: Fetcher,
    asks: Asks,
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
        let (content, shown) = (cairn_keyspace::CONTENT, Shown::default());
        let stock = Stock { group, folder, content, one_moment: false, shown };
        let fetcher = Fetcher::new(identity, stock.clone(), notify.clone());
        Ok(Self {
            stock,
            notify,
            loading: Loading {
                number: 0,
                busy,
                percent: Arc::default(),
                used: None,
                whole_from: None,
            },
            every,
            due: clock::now() + every,
            look: clock::now(),
            covered: Arc::new(AtomicU64::new(0)),
            writing: None,
            fetcher,
            asks: Asks::default(),
        })
    }

    /// The folder they are in, to be offered to other nodes.
    pub fn folder(&self) -> Snapshots<RealDisk> {
        self.stock.folder.clone()
    }

    /// What there is to show of them.
    pub fn figures(&self) -> Figures {
        Figures { fetching: self.fetcher.progress(), ..self.stock.shown.now() }
    }

    /// Drops the state and loads the newest snapshot that goes with a log that begins after
    /// `before` and ends with `last`; batches go on after the offset that is returned. It is less
    /// than that of `before` if there is nothing to begin with.
    pub fn rebuild(
        &mut self,
        data: &DataLink,
        holds: &dyn Fn(EntryId) -> bool,
        (before, last): (EntryId, EntryId),
    ) -> Offset {
        self.give_up_writing();
        let snapshot = self.stock.newest_good(holds, before, last);
        let busy = Arc::new(AtomicBool::new(snapshot.is_some()));
        let load = self.loading.number + 1;
        self.loading = Loading {
            number: load,
            busy: busy.clone(),
            percent: Arc::default(),
            used: snapshot.as_ref().map(|found| found.path().to_owned()),
            whole_from: (before == EntryId::ZERO).then_some(Offset::ZERO),
        };
        data.send(ToData::Loading(true));
        data.send(ToData::Rebuild { load });
        let Some(snapshot) = snapshot else { return Offset::ZERO };
        self.due = clock::now() + left_of(self.every, snapshot.head().made_ms, clock::unix_ms());
        let end = *snapshot.end();
        self.loading.whole_from = Some(end.upto.offset);
        let loaded = (self.notify.clone(), self.stock.shown.clone());
        let percent = self.loading.percent.clone();
        load::spawn(snapshot, data.feeder(), load, (busy, percent), loaded);
        end.from.offset
    }

    /// The state that the last load made does not fit the log: that snapshot is not used again.
    pub fn distrust(&mut self) {
        if let Some(path) = self.loading.used.take() {
            self.stock.set_aside(&path);
        }
    }

    /// Whether portions are still being sent: no batch may come between them.
    pub fn is_loading(&self) -> bool {
        self.loading.busy.load(Ordering::Acquire)
    }

    /// How much of the snapshot is in the state, while it is being loaded.
    pub fn loaded_percent(&self) -> u32 {
        self.loading.percent.load(Ordering::Relaxed)
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
        data: &DataLink,
        storage: &Storage,
        place: Place,
        holders: impl FnOnce() -> Vec<Holder>,
    ) {
        self.covered.store(place.covered.0, Ordering::Release);
        let now = clock::now();
        let from = self.stock.shown.now().newest.map_or(Offset::ZERO, |newest| newest.from.offset);
        if let Some(writing) = self.writing.take_if(|one| one.ended.load(Ordering::Acquire)) {
            self.due = now + self.every;
            self.look = now + if from > writing.newer_than { LOOK } else { LOOK_AGAIN };
            self.answer(from > writing.newer_than);
        }
        self.asks.time_out();
        if now < self.look || self.writing.is_some() || self.fetcher.is_at_work() {
            return;
        }
        self.look = now + LOOK;
        let due = now >= self.due || !self.asks.is_empty() || storage.is_long_after(from);
        if place.applied <= from || !due {
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

    /// A person wants a snapshot now; `place` is where this node is.
    pub fn snapshot_now(&mut self, place: Place, reply: Reply<pb::WishReply>) {
        let newest =
            self.stock.shown.now().newest.map_or(Offset::ZERO, |newest| newest.from.offset);
        let refused = match place.standing {
            Standing::Masters => Some(Status::failed_precondition(
                "this is the group's master, which writes none; ask another member",
            )),
            Standing::Neither => Some(Status::unavailable(
                "this node does not hold its group's state, or its disk is full",
            )),
            Standing::Follows | Standing::Alone => None,
        };
        if let Some(status) = refused {
            drop(reply.send(Err(status)));
        } else if newest > Offset::ZERO && place.applied <= newest {
            let line = format!("{}; nothing has changed since", self.newest_in_words());
            drop(reply.send(Ok(said(line))));
        } else {
            self.asks.add(reply);
            self.look = clock::now();
        }
    }

    /// Tells who waits what came of a snapshot.
    fn answer(&mut self, made: bool) {
        let answer = match made {
            true => Ok(said(self.newest_in_words())),
            false => Err(Status::unavailable("no snapshot was made; this node's log says why")),
        };
        self.asks.answer(&answer);
    }

    /// Name, entry and bytes of the newest.
    fn newest_in_words(&self) -> String {
        let Some(newest) = self.stock.shown.now().newest else { return "none".to_owned() };
        let listed = self.stock.folder.list().unwrap_or_default();
        let file = listed.into_iter().find(|file| file.from == newest.from);
        let name = file.map(|file| file.name()).unwrap_or_default();
        format!("{name}: entry {}, {} bytes", newest.from, newest.bytes)
    }

    fn write(&mut self, data: &DataLink, newer_than: Offset, mastered: bool) {
        let (ended, given_up) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (to, pieces) = sync_channel(PIECES_MAX);
        let writer = Writer {
            stock: self.stock.clone(),
            pieces,
            covered: self.covered.clone(),
            ended: ended.clone(),
            given_up: Arc::clone(&given_up),
            notify: self.notify.clone(),
        };
        if writer.spawn() {
            self.writing = Some(Writing { ended, given_up, mastered, newer_than });
            data.send(ToData::Export(to));
        }
    }
}

/// The time until another snapshot is due after one that was made at that moment. Whoever starts
/// again and again would have ever more of the log to apply if each start counted from itself.
fn left_of(every: Duration, made_ms: u64, now_ms: u64) -> Duration {
    every.saturating_sub(Duration::from_millis(now_ms.saturating_sub(made_ms)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_does_not_put_off_the_next_snapshot() {
        let every = Duration::from_secs(20);
        assert_eq!(left_of(every, 1_000, 6_000), Duration::from_secs(15));
        assert_eq!(left_of(every, 1_000, 60_000), Duration::ZERO);
        // The clock was put back.
        assert_eq!(left_of(every, 6_000, 1_000), every);
    }
}
