//! Watches: who is told of which change.
//!
//! A watch that has been told everything is *synced*: it belongs to a group of watches with the
//! same range and the same wishes, and shares one list of events with them. One whose stream did
//! not take a notice *lags*: it is told from the change log again, a bounded piece at a time, until
//! it is synced. So a slow client costs no memory, and gets its events late or, after a compaction,
//! a cancellation that says so; it never misses one.

use crate::answer::{Event, EventKind};
use crate::directory::Directory;
use crate::item::Item;
use crate::range::KeyRange;
use cairn_logic::ids::Revision;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

mod index;

use index::RangeIndex;

/// One client's stream of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// The id in answers to a progress request, which concern a whole stream.
pub const ALL_WATCHES: i64 = -1;
/// The most watches on one stream.
pub const WATCHES_PER_STREAM_MAX: usize = 20_000;
/// The most watches in all.
pub const WATCHES_MAX: usize = 200_000;

/// Versions looked at before notices are sent; a revision is never divided.
const CHUNK_ITEMS: usize = 1000;
/// Bytes of keys and values in one chunk, likewise.
const CHUNK_BYTES: usize = 1 << 20;
/// Lagging watches that share one look through the change log.
const LAGGING_AT_ONCE: usize = 512;
/// Lagging watches looked at to find some whose stream is ready.
const LAGGING_LOOKED_AT: usize = 4096;

/// What a watch wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wish {
    /// Of which keys.
    pub range: KeyRange,
    /// Leave puts out.
    pub no_put: bool,
    /// Leave deletions out.
    pub no_delete: bool,
    /// With the version before.
    pub prev_kv: bool,
}

/// What a stream is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Changes, in order; those of one revision are all in one notice.
    Events {
        /// The watches they concern.
        watches: Vec<i64>,
        /// The committed revision.
        revision: Revision,
        /// The changes.
        events: Arc<[Event]>,
    },
    /// Nothing was left out up to this revision.
    Progress {
        /// The watches this holds for, or [`ALL_WATCHES`].
        watches: Vec<i64>,
        /// Up to where.
        revision: Revision,
    },
    /// The watch is over: what it would have to be told next is compacted.
    Cancelled {
        /// Which.
        watch: i64,
        /// The oldest revision that can be watched.
        compacted: Revision,
    },
}

/// Where notices go.
pub trait Sink {
    /// Whether the stream would take a notice now.
    fn is_ready(&self, stream: StreamId) -> bool;

    /// Takes a notice, or refuses it because the stream has not taken the last ones yet.
    fn notify(&mut self, stream: StreamId, notice: Notice) -> bool;
}

/// Why a watch was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It would start below the compaction.
    Compacted(Revision),
    /// The id is in use on this stream.
    Duplicate,
    /// [`WATCHES_PER_STREAM_MAX`] or [`WATCHES_MAX`] is reached.
    TooMany,
}

type WatchKey = (StreamId, i64);

#[derive(Debug)]
struct Watch {
    wish: Wish,
    progress: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Told everything; a member of this group.
    Synced(usize),
    /// To be told from this revision on, from the change log.
    Lagging(u64),
    /// Begins at this revision, which is not committed yet.
    Future(u64),
}

#[derive(Debug)]
struct Group {
    wish: Wish,
    members: BTreeMap<StreamId, BTreeSet<i64>>,
}

/// All watches of one node.
#[derive(Debug, Default)]
pub struct Watches {
    all: BTreeMap<WatchKey, Watch>,
    /// How many watches each stream has.
    on_stream: BTreeMap<StreamId, usize>,
    groups: BTreeMap<usize, Group>,
    group_of: BTreeMap<Wish, usize>,
    index: RangeIndex,
    lagging: BTreeSet<WatchKey>,
    future: BTreeSet<(u64, WatchKey)>,
    /// Streams that asked for progress while some of their watches lag.
    asked: BTreeSet<StreamId>,
    /// The lagging watch that was looked at last.
    turn: Option<WatchKey>,
    /// Synced watches were told everything up to here.
    told: u64,
}

impl Watches {
    /// No watches, nothing told.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many watches there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether some watch has to be told of the past: [`Watches::catch_up`] has work.
    #[must_use]
    pub fn is_lagging(&self) -> bool {
        !self.lagging.is_empty()
    }

    /// Adds a watch that is told everything from `start` on, or from the next revision on.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn create(
        &mut self,
        directory: &Directory,
        (stream, id): (StreamId, i64),
        wish: Wish,
        start: Option<Revision>,
        progress: bool,
    ) -> Result<(), Refused> {
        let key = (stream, id);
        if self.all.contains_key(&key) {
            return Err(Refused::Duplicate);
        }
        let on_stream = self.on_stream.get(&stream).copied().unwrap_or(0);
        if self.all.len() >= WATCHES_MAX || on_stream >= WATCHES_PER_STREAM_MAX {
            return Err(Refused::TooMany);
        }
        let next = start.map_or(self.told + 1, |start| start.0);
        // What was told last is no past, also below a jump that is not committed yet.
        if next < directory.compacted().0.min(self.told + 1) {
            return Err(Refused::Compacted(directory.compacted()));
        }
        let place = match next.cmp(&(self.told + 1)) {
            std::cmp::Ordering::Equal => Place::Synced(self.join(key, &wish)),
            std::cmp::Ordering::Less => {
                self.lagging.insert(key);
                Place::Lagging(next)
            }
            std::cmp::Ordering::Greater => {
                self.future.insert((next, key));
                Place::Future(next)
            }
        };
        self.all.insert(key, Watch { wish, progress, place });
        *self.on_stream.entry(stream).or_default() += 1;
        Ok(())
    }

    /// Removes a watch; whether there was one.
    pub fn cancel(&mut self, stream: StreamId, id: i64) -> bool {
        let key = (stream, id);
        let Some(watch) = self.all.remove(&key) else { return false };
        if let Some(left) = self.on_stream.get_mut(&stream) {
            *left -= 1;
        }
        match watch.place {
            Place::Synced(group) => self.leave(key, group),
            Place::Lagging(_) => {
                self.lagging.remove(&key);
            }
            Place::Future(next) => {
                self.future.remove(&(next, key));
            }
        }
        true
    }

    /// Removes all watches of a stream.
    pub fn close(&mut self, stream: StreamId) {
        let of_stream = self.all.range((stream, i64::MIN)..=(stream, i64::MAX));
        let ids: Vec<i64> = of_stream.map(|((_, id), _)| *id).collect();
        for id in ids {
            self.cancel(stream, id);
        }
        self.asked.remove(&stream);
        self.on_stream.remove(&stream);
    }

    /// Tells the stream how far all its watches have come, as soon as none of them lags.
    pub fn ask_progress(&mut self, stream: StreamId, sink: &mut impl Sink) {
        self.asked.insert(stream);
        self.answer_progress(sink);
    }

    /// Tells the watches that wished for it how far they have come.
    pub fn tell_progress(&self, sink: &mut impl Sink) {
        let mut due: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
        for ((stream, id), watch) in &self.all {
            if watch.progress && matches!(watch.place, Place::Synced(_)) {
                due.entry(*stream).or_default().push(*id);
            }
        }
        for (stream, watches) in due {
            // Whoever does not take it has other notices to read.
            let _taken =
                sink.notify(stream, Notice::Progress { watches, revision: Revision(self.told) });
        }
    }

    /// Tells synced watches what has been committed since.
    pub fn advance(&mut self, directory: &Directory, committed: Revision, sink: &mut impl Sink) {
        if committed.0 <= self.told {
            return;
        }
        if self.told + 1 < directory.compacted().0 {
            self.lag_all();
        }
        if self.groups.is_empty() {
            self.told = committed.0;
        }
        while self.told < committed.0 {
            let from = self.told + 1;
            let (hits, upto) = look(directory, &self.index, from, committed.0);
            self.told = upto;
            for (number, items) in hits {
                let group = &self.groups[&number];
                let events = events(directory, &group.wish, &items, from);
                if events.is_empty() {
                    continue;
                }
                let members = group.members.clone();
                for (stream, ids) in members {
                    let watches = ids.iter().copied().collect();
                    let (revision, events) = (committed, Arc::clone(&events));
                    if !sink.notify(stream, Notice::Events { watches, revision, events }) {
                        ids.iter().for_each(|id| self.lag((stream, *id), from));
                    }
                }
            }
        }
        while let Some(&(next, key)) = self.future.first() {
            if next > self.told + 1 {
                break;
            }
            self.future.pop_first();
            self.lagging.insert(key);
            if let Some(watch) = self.all.get_mut(&key) {
                watch.place = Place::Lagging(next);
            }
        }
    }

    /// Tells lagging watches one more piece of the past; whether any stream was ready for it. Call
    /// it again while so, but let other work in between.
    pub fn catch_up(&mut self, directory: &Directory, sink: &mut impl Sink) -> bool {
        let chosen = self.choose(sink);
        let any = !chosen.is_empty();
        self.tell_past(directory, chosen, sink);
        self.answer_progress(sink);
        any
    }

    fn tell_past(&mut self, directory: &Directory, chosen: Vec<WatchKey>, sink: &mut impl Sink) {
        let mut starts: BTreeMap<(Wish, u64), Vec<WatchKey>> = BTreeMap::new();
        for key in chosen {
            let Some(Watch { wish, place: Place::Lagging(next), .. }) = self.all.get(&key) else {
                continue;
            };
            if *next < directory.compacted().0 {
                let compacted = directory.compacted();
                if sink.notify(key.0, Notice::Cancelled { watch: key.1, compacted }) {
                    self.cancel(key.0, key.1);
                }
            } else {
                starts.entry((wish.clone(), *next)).or_default().push(key);
            }
        }
        let Some(from) = starts.keys().map(|(_, next)| *next).min() else { return };
        let mut index = RangeIndex::default();
        let numbered: BTreeMap<usize, (Wish, u64, Vec<WatchKey>)> = starts
            .into_iter()
            .map(|((wish, next), keys)| (index.insert(wish.range.clone()), (wish, next, keys)))
            .collect();
        let (hits, upto) = look(directory, &index, from, self.told.max(from - 1));
        for (number, (wish, next, keys)) in numbered {
            if next > upto + 1 {
                continue;
            }
            let items = hits.get(&number).map_or(&[][..], |items| items);
            let events = events(directory, &wish, items, next);
            self.tell_lagging(&keys, &events, upto, sink);
        }
    }

    fn tell_lagging(
        &mut self,
        keys: &[WatchKey],
        events: &Arc<[Event]>,
        upto: u64,
        sink: &mut impl Sink,
    ) {
        let mut streams: BTreeMap<StreamId, Vec<i64>> = BTreeMap::new();
        for (stream, id) in keys {
            streams.entry(*stream).or_default().push(*id);
        }
        for (stream, ids) in streams {
            if !events.is_empty() {
                let (watches, events) = (ids.clone(), Arc::clone(events));
                let revision = Revision(self.told);
                if !sink.notify(stream, Notice::Events { watches, revision, events }) {
                    continue;
                }
            }
            for id in ids {
                self.told_up_to((stream, id), upto);
            }
        }
    }

    /// Notes that a lagging watch has been told everything up to `upto`.
    fn told_up_to(&mut self, key: WatchKey, upto: u64) {
        let Some(watch) = self.all.get(&key) else { return };
        let place = if upto >= self.told {
            let wish = watch.wish.clone();
            self.lagging.remove(&key);
            Place::Synced(self.join(key, &wish))
        } else {
            Place::Lagging(upto + 1)
        };
        if let Some(watch) = self.all.get_mut(&key) {
            watch.place = place;
        }
    }

    /// The lagging watch whose turn it is, and others that may share its look through the log.
    fn choose(&mut self, sink: &impl Sink) -> Vec<WatchKey> {
        let after = self.turn.map_or(Bound::Unbounded, Bound::Excluded);
        let rest = self.lagging.range((after, Bound::Unbounded));
        let upto = self.turn.map_or(Bound::Unbounded, Bound::Included);
        let again = self.turn.map(|_| self.lagging.range((Bound::Unbounded, upto)));
        let mut last = None;
        let mut is_ready = |stream: StreamId| match last {
            Some((known, ready)) if known == stream => ready,
            _ => {
                let ready = sink.is_ready(stream);
                last = Some((stream, ready));
                ready
            }
        };
        let mut chosen = Vec::new();
        let mut base = 0;
        let mut last_looked_at = None;
        for key in rest.chain(again.into_iter().flatten()).take(LAGGING_LOOKED_AT) {
            last_looked_at = Some(*key);
            let Some(Watch { place: Place::Lagging(next), .. }) = self.all.get(key) else {
                continue;
            };
            if *next >= base && is_ready(key.0) {
                base = if chosen.is_empty() { *next } else { base };
                chosen.push(*key);
                if chosen.len() == LAGGING_AT_ONCE {
                    break;
                }
            }
        }
        self.turn = chosen.first().copied().or(last_looked_at);
        chosen
    }

    fn answer_progress(&mut self, sink: &mut impl Sink) {
        let (all, told) = (&self.all, self.told);
        self.asked.retain(|stream| {
            let mut on_stream = all.range((*stream, i64::MIN)..=(*stream, i64::MAX));
            if on_stream.any(|(_, watch)| matches!(watch.place, Place::Lagging(_))) {
                return true;
            }
            let watches = vec![ALL_WATCHES];
            !sink.notify(*stream, Notice::Progress { watches, revision: Revision(told) })
        });
    }

    fn join(&mut self, (stream, id): WatchKey, wish: &Wish) -> usize {
        let number = self.group_of.get(wish).copied().unwrap_or_else(|| {
            let number = self.index.insert(wish.range.clone());
            self.group_of.insert(wish.clone(), number);
            self.groups.insert(number, Group { wish: wish.clone(), members: BTreeMap::new() });
            number
        });
        let group = self.groups.get_mut(&number).expect("groups are numbered by the index");
        group.members.entry(stream).or_default().insert(id);
        number
    }

    fn leave(&mut self, (stream, id): WatchKey, number: usize) {
        let Some(group) = self.groups.get_mut(&number) else { return };
        if let Some(ids) = group.members.get_mut(&stream) {
            ids.remove(&id);
            if ids.is_empty() {
                group.members.remove(&stream);
            }
        }
        if group.members.is_empty() {
            self.group_of.remove(&group.wish);
            self.groups.remove(&number);
            self.index.remove(number);
        }
    }

    /// Lets a synced watch lag: it is told again from `next` on.
    fn lag(&mut self, key: WatchKey, next: u64) {
        let Some(watch) = self.all.get_mut(&key) else { return };
        let Place::Synced(group) = watch.place else { return };
        watch.place = Place::Lagging(next);
        self.lagging.insert(key);
        self.leave(key, group);
    }

    /// After a loss the next revisions of all watches are gone; catching up tells them so.
    fn lag_all(&mut self) {
        let keys: Vec<WatchKey> = self.all.keys().copied().collect();
        let next = self.told + 1;
        keys.into_iter().for_each(|key| self.lag(key, next));
    }
}

/// The versions from revision `from` on that some range of the index holds, by the range's number,
/// and the revision up to which it looked: `upto`, or less if that is much.
fn look<'a>(
    directory: &'a Directory,
    index: &RangeIndex,
    from: u64,
    upto: u64,
) -> (BTreeMap<usize, Vec<Item<'a>>>, u64) {
    let store = &directory.store;
    let mut hits: BTreeMap<usize, Vec<Item<'a>>> = BTreeMap::new();
    let (mut looked, mut bytes, mut last) = (0, 0, from);
    let mut numbers = Vec::new();
    for item in store.changes(store.place_of(from)) {
        let full = looked >= CHUNK_ITEMS || bytes >= CHUNK_BYTES;
        if item.modified > upto {
            break;
        }
        if full && item.modified > last {
            return (hits, last);
        }
        last = item.modified;
        looked += 1;
        index.holding(item.key, &mut numbers);
        for number in &numbers {
            bytes += item.len;
            hits.entry(*number).or_default().push(item);
        }
    }
    (hits, upto)
}

/// What a watch with this wish is told of `items`.
fn events(directory: &Directory, wish: &Wish, items: &[Item<'_>], from: u64) -> Arc<[Event]> {
    let wanted = |event: &Event| match event.kind {
        EventKind::Put => !wish.no_put,
        EventKind::Delete => !wish.no_delete,
    };
    items
        .iter()
        .filter(|item| item.modified >= from)
        .map(|item| directory.store.event(item, wish.prev_kv))
        .filter(wanted)
        .collect()
}
