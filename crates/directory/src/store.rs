//! All versions of all keys: the index, the items, and the items again in the order of revisions.
//!
//! A version is removed when a newer one of the same key lies below the compaction too. Removing
//! goes along the change log, oldest first, in steps of bounded length; what readers may ask for
//! does not depend on how far it has come.

use crate::answer::{Event, EventKind, KeyValue};
use crate::heap::{Handle, Heap};
use crate::index::Index;
use crate::item::{self, Item};
use crate::leases::LeaseId;
use crate::range::KeyRange;
use crate::row::Row;
use bytes::Bytes;
use cairn_logic::ids::Revision;

/// Which version to read: the newest one at or below.
pub(crate) const NEWEST: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct Store {
    heap: Heap,
    index: Index,
    /// Every version above the sweep, in the order they were made.
    log: Row,
    /// How many versions were ever added to it.
    pub made: u64,
    /// How many versions at the front of the log are swept but stay, being of the compaction.
    cut: usize,
    /// The last revision given out; an empty store is at 1.
    pub revision: u64,
    /// Reads below it are refused.
    pub compacted: u64,
    /// The sum of the digests of all live keys.
    pub digest: u64,
    scratch: Vec<u8>,
}

/// What a key was before it was written.
#[derive(Debug, Default)]
pub(crate) struct Before {
    /// The lease it hung on.
    pub lease: LeaseId,
    /// Its version, where it was asked for.
    pub prev: Option<KeyValue>,
}

/// What became of a search among the versions of a key.
#[derive(Debug)]
pub(crate) enum Looked<'a> {
    /// Perhaps a deletion.
    Found(Item<'a>),
    Nothing,
    /// It goes on at this version.
    Later(Handle),
}

impl Store {
    pub fn new() -> Self {
        Self {
            heap: Heap::new(),
            index: Index::new(),
            log: Row::default(),
            made: 0,
            cut: 0,
            revision: 1,
            compacted: 0,
            digest: 0,
            scratch: Vec::new(),
        }
    }

    /// Bytes of keys and values with their heads.
    pub fn bytes(&self) -> usize {
        self.heap.bytes() + (self.index.len() + self.log.len()) * size_of::<Handle>()
    }

    /// Keys kept, those whose deletion is not yet swept included.
    pub fn keys(&self) -> usize {
        self.index.len()
    }

    /// The version of `key` that a reader at `at` sees.
    pub fn get(&self, key: &[u8], at: u64) -> Option<Item<'_>> {
        self.seen(self.index.get(&self.heap, key)?, at).map(|(_, item)| item)
    }

    /// What a reader at `at` sees of a range, in the order of keys.
    pub fn range<'a>(
        &'a self,
        range: &'a KeyRange,
        at: u64,
    ) -> impl Iterator<Item = Item<'a>> + 'a {
        let newest = self.newest_from(range, &range.start);
        newest.filter_map(move |newest| self.seen(newest, at)).map(|(_, item)| item)
    }

    /// The newest versions of the keys of a range, from the key `from` in it on.
    pub fn newest_from<'a>(
        &'a self,
        range: &'a KeyRange,
        from: &'a [u8],
    ) -> impl Iterator<Item = Handle> + 'a {
        let empty = range.is_empty();
        self.index
            .from(&self.heap, from)
            .take_while(move |newest| !empty && !range.ends_before(item::key(&self.heap, *newest)))
    }

    /// The version that a reader at `at` sees, given the newest one of the key.
    pub fn seen(&self, newest: Handle, at: u64) -> Option<(Handle, Item<'_>)> {
        let mut handle = newest;
        while !handle.is_none() {
            let item = Item::read(&self.heap, handle);
            if item.modified <= at {
                return (!item.tombstone).then_some((handle, item));
            }
            handle = item.prev;
        }
        None
    }

    /// Looks for the newest version at or below `at`, from `handle` on to older ones, and takes
    /// each look off `looks`.
    pub fn look(&self, mut handle: Handle, at: u64, looks: &mut usize) -> Looked<'_> {
        while !handle.is_none() {
            if *looks == 0 {
                return Looked::Later(handle);
            }
            *looks -= 1;
            let item = Item::read(&self.heap, handle);
            if item.modified <= at {
                return Looked::Found(item);
            }
            handle = item.prev;
        }
        Looked::Nothing
    }

    /// The version at `handle`.
    pub fn item(&self, handle: Handle) -> Item<'_> {
        Item::read(&self.heap, handle)
    }

    /// The key of the version at `handle`.
    pub fn key(&self, handle: Handle) -> &[u8] {
        item::key(&self.heap, handle)
    }

    /// Sets `key` at revision `modified`.
    pub fn put(
        &mut self,
        key: &[u8],
        value: &[u8],
        lease: LeaseId,
        modified: u64,
        want_prev: bool,
    ) -> Before {
        self.write(key, want_prev, |prev, before| Item {
            prev,
            key,
            tombstone: false,
            modified,
            created: before.map_or(modified, |item| item.created),
            version: before.map_or(0, |item| item.version) + 1,
            lease,
            value,
            len: 0,
        })
    }

    /// Deletes `key`, which exists, at revision `modified`.
    pub fn delete(&mut self, key: &[u8], modified: u64, want_prev: bool) -> Before {
        self.write(key, want_prev, |prev, _| Item {
            prev,
            key,
            tombstone: true,
            modified,
            created: modified,
            version: 0,
            lease: LeaseId::NONE,
            value: &[],
            len: 0,
        })
    }

    /// Sets `key` at revision `modified`, made at `created` and set `version` times since.
    pub fn restore(&mut self, key: &[u8], value: &[u8], numbers: (u64, u64, u64)) -> Before {
        let (modified, created, version) = numbers;
        self.write(key, false, |prev, _| Item {
            prev,
            key,
            tombstone: false,
            modified,
            created,
            version,
            lease: LeaseId::NONE,
            value,
            len: 0,
        })
    }

    /// Adds a version of a key that is greater than all others, from a snapshot; it is not in the
    /// change log.
    pub fn push_key(&mut self, key: &[u8], record: &[u8], digest: u64) {
        let handle = item::insert(&mut self.heap, Handle::NONE, record);
        self.index.push(key, handle);
        self.digest = self.digest.wrapping_add(digest);
    }

    /// The greatest key.
    pub fn last_key(&self) -> Option<&[u8]> {
        self.index.last().map(|handle| item::key(&self.heap, handle))
    }

    /// Adds a newer version of a key, or the first one, from a snapshot; the digest of a deletion
    /// is 0. The lease that the key hung on.
    pub fn push_change(&mut self, key: &[u8], record: &[u8], digest: u64) -> LeaseId {
        let (sum, mut lease) = (&mut self.digest, LeaseId::NONE);
        let handle = self.index.put(&mut self.heap, key, |heap, prev| {
            if let Some(before) = live(heap, prev) {
                lease = before.lease;
                *sum = sum.wrapping_sub(before.digest());
            }
            item::insert(heap, prev, record)
        });
        *sum = sum.wrapping_add(digest);
        self.log.push(handle);
        self.made += 1;
        lease
    }

    /// The revision of the newest version in the change log.
    pub fn newest_change(&self) -> Option<u64> {
        self.log.last().map(|handle| Item::read(&self.heap, handle).modified)
    }

    fn write<'k>(
        &mut self,
        key: &'k [u8],
        want_prev: bool,
        make: impl FnOnce(Handle, Option<&Item<'_>>) -> Item<'k>,
    ) -> Before {
        let (scratch, digest) = (&mut self.scratch, &mut self.digest);
        let mut was = Before::default();
        let handle = self.index.put(&mut self.heap, key, |heap, prev| {
            let before = live(heap, prev);
            if let Some(item) = &before {
                was.lease = item.lease;
                was.prev = want_prev.then(|| key_value(item, false));
                *digest = digest.wrapping_sub(item.digest());
            }
            let item = make(prev, before.as_ref());
            if !item.tombstone {
                *digest = digest.wrapping_add(item.digest());
            }
            scratch.clear();
            item.pack(scratch);
            item::insert(heap, prev, scratch)
        });
        self.log.push(handle);
        self.made += 1;
        was
    }

    /// Removes at most `items_max` versions that no reader at or above `reader` nor above the
    /// compaction can see; whether nothing is left to remove there.
    pub fn sweep(&mut self, items_max: usize, reader: u64) -> bool {
        let upto = self.compacted.min(reader);
        for _ in 0..items_max {
            let Some(handle) = self.log.get(self.cut) else { return true };
            let modified = Item::read(&self.heap, handle).modified;
            if modified > upto {
                return true;
            }
            self.cut_prev(handle);
            // A watch may start at the compaction itself, so its events stay.
            if modified == self.compacted {
                self.cut += 1;
                continue;
            }
            debug_assert_eq!(self.cut, 0, "revisions grow along the log");
            self.log.pop();
            self.remove_deletion(handle);
        }
        false
    }

    /// Frees the version before.
    fn cut_prev(&mut self, handle: Handle) {
        let prev = Item::read(&self.heap, handle).prev;
        if !prev.is_none() {
            let len = Item::read(&self.heap, prev).len;
            item::cut_prev(&mut self.heap, handle);
            self.heap.remove(prev, len);
        }
    }

    /// Forgets the key if its deletion is the last that is known of it. A deletion that a newer
    /// version follows is freed with the sweep of that one.
    fn remove_deletion(&mut self, handle: Handle) {
        let item = Item::read(&self.heap, handle);
        if item.tombstone && self.index.get(&self.heap, item.key) == Some(handle) {
            let (key, len) = (item.key.to_vec(), item.len);
            self.index.remove(&self.heap, &key);
            self.heap.remove(handle, len);
        }
    }

    /// Makes `revision` the oldest that can be read.
    pub fn compact(&mut self, revision: u64) {
        self.compacted = revision;
        self.cut = 0;
    }

    /// The place in the change log of the first version at or above `revision`.
    pub fn place_of(&self, revision: u64) -> usize {
        self.log.partition_point(|handle| Item::read(&self.heap, handle).modified < revision)
    }

    /// Versions from `place` in the change log on.
    pub fn changes(&self, place: usize) -> impl Iterator<Item = Item<'_>> {
        self.log.range_from(place).map(|handle| Item::read(&self.heap, handle))
    }

    /// What a watcher is told about a version.
    pub fn event(&self, item: &Item<'_>, prev_kv: bool) -> Event {
        let is_kept = item.modified > self.compacted && !item.prev.is_none();
        let prev = (prev_kv && is_kept)
            .then(|| Item::read(&self.heap, item.prev))
            .filter(|prev| !prev.tombstone)
            .map(|prev| key_value(&prev, false));
        let kind = if item.tombstone { EventKind::Delete } else { EventKind::Put };
        let mut kv = key_value(item, false);
        if item.tombstone {
            kv.created = Revision::ZERO;
        }
        Event { kind, kv, prev }
    }
}

/// The version at `handle`, if there is one and it is no deletion.
fn live(heap: &Heap, handle: Handle) -> Option<Item<'_>> {
    let item = (!handle.is_none()).then(|| Item::read(heap, handle));
    item.filter(|item| !item.tombstone)
}

/// Copies a version out.
pub(crate) fn key_value(item: &Item<'_>, keys_only: bool) -> KeyValue {
    let value = if keys_only { &[] } else { item.value };
    let mut both = Vec::with_capacity(item.key.len() + value.len());
    both.extend_from_slice(item.key);
    both.extend_from_slice(value);
    let mut key = Bytes::from(both);
    let value = key.split_off(item.key.len());
    KeyValue {
        key,
        value,
        created: Revision(item.created),
        modified: Revision(item.modified),
        version: item.version,
        lease: item.lease,
    }
}
