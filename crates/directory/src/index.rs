//! Keys in order, each with the handle of its newest version: leaves of handles under a map of
//! their lower bounds. The keys themselves lie in the items, each a cache miss away: a byte of each
//! key's hash stands beside its handle, so that a known key is found without a search.

use crate::heap::{Handle, Heap};
use crate::item;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Handles of one leaf.
const LEAF_MAX: usize = 256;
/// How many places a full leaf grows by; doubling would waste half of them.
const LEAF_STEP: usize = 32;
/// Tags that are looked at together.
const TAGS_AT_ONCE: usize = 32;

#[derive(Debug, Default)]
struct Leaf {
    /// In the order of keys.
    handles: Vec<Handle>,
    /// One byte of the hash of each key.
    tags: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Index {
    /// By lower bound; the first leaf's is empty. Only the first leaf may be empty itself.
    leaves: BTreeMap<Box<[u8]>, Leaf>,
    len: usize,
}

impl Index {
    pub fn new() -> Self {
        Self { leaves: BTreeMap::from([(Box::default(), Leaf::default())]), len: 0 }
    }

    /// Keys in it, those whose newest version is a deletion included.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, heap: &Heap, key: &[u8]) -> Option<Handle> {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (_, leaf) = self.leaves.range::<[u8], _>(upto).next_back()?;
        leaf.find(heap, key).map(|place| leaf.handles[place])
    }

    /// Gives `key` the version that `make` returns; `make` gets the version before or none.
    pub fn put(
        &mut self,
        heap: &mut Heap,
        key: &[u8],
        make: impl FnOnce(&mut Heap, Handle) -> Handle,
    ) -> Handle {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let leaf = self.leaves.range_mut::<[u8], _>(upto).next_back();
        let (_, leaf) = leaf.expect("the first leaf's bound is the empty key");
        if let Some(found) = leaf.find(heap, key) {
            leaf.handles[found] = make(heap, leaf.handles[found]);
            return leaf.handles[found];
        }
        let place = leaf.place_of(heap, key);
        let handle = make(heap, Handle::NONE);
        self.len += 1;
        if leaf.handles.len() < LEAF_MAX {
            leaf.insert(place, handle, key);
            return handle;
        }
        // Keys that come in order fill their leaves; others split them in the middle.
        let cut = if place == LEAF_MAX { LEAF_MAX } else { LEAF_MAX / 2 };
        let mut upper = leaf.split_off(cut);
        if place > cut || cut == LEAF_MAX {
            upper.insert(place - cut, handle, key);
        } else {
            leaf.insert(place, handle, key);
        }
        let bound = item::key(heap, upper.handles[0]).into();
        self.leaves.insert(bound, upper);
        handle
    }

    /// Adds a key that is greater than all others.
    pub fn push(&mut self, key: &[u8], handle: Handle) {
        self.len += 1;
        let mut last = self.leaves.last_entry().expect("the first leaf is never removed");
        let leaf = last.get_mut();
        if leaf.handles.len() < LEAF_MAX {
            return leaf.push(handle, key);
        }
        let mut leaf = Leaf::with_room(LEAF_MAX);
        leaf.push(handle, key);
        self.leaves.insert(key.into(), leaf);
    }

    /// The newest version of the greatest key.
    pub fn last(&self) -> Option<Handle> {
        self.leaves.last_key_value()?.1.handles.last().copied()
    }

    /// Removes `key` and gives back its newest version.
    pub fn remove(&mut self, heap: &Heap, key: &[u8]) -> Option<Handle> {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (bound, leaf) = self.leaves.range_mut::<[u8], _>(upto).next_back()?;
        let place = leaf.find(heap, key)?;
        let handle = leaf.handles.remove(place);
        leaf.tags.remove(place);
        self.len -= 1;
        if leaf.handles.is_empty() && !bound.is_empty() {
            let bound = bound.clone();
            self.leaves.remove(&bound);
        }
        Some(handle)
    }

    /// Newest versions of the keys from `start` on, in the order of keys.
    pub fn from<'a>(
        &'a self,
        heap: &'a Heap,
        start: &'a [u8],
    ) -> impl Iterator<Item = Handle> + 'a {
        let upto = (Bound::Unbounded, Bound::Included(start));
        let first = self.leaves.range::<[u8], _>(upto).next_back();
        let head = first.map_or(&[][..], |(_, leaf)| &leaf.handles[leaf.place_of(heap, start)..]);
        let after = (Bound::Excluded(start), Bound::Unbounded);
        let rest = self.leaves.range::<[u8], _>(after).flat_map(|(_, leaf)| &leaf.handles);
        head.iter().chain(rest).copied()
    }
}

fn tag(key: &[u8]) -> u8 {
    crc32c::crc32c(key).to_le_bytes()[0]
}

impl Leaf {
    fn with_room(places: usize) -> Self {
        Self { handles: Vec::with_capacity(places), tags: Vec::with_capacity(places) }
    }

    fn find(&self, heap: &Heap, key: &[u8]) -> Option<usize> {
        let wanted = tag(key);
        let mut first = 0;
        for tags in self.tags.chunks(TAGS_AT_ONCE) {
            // Without a branch for each, several are compared by one instruction.
            if tags.iter().fold(false, |any, tag| any | (*tag == wanted)) {
                let mut alike = (0..tags.len()).filter(|place| tags[*place] == wanted);
                let is_it = |place: &usize| item::key(heap, self.handles[first + place]) == key;
                if let Some(place) = alike.find(is_it) {
                    return Some(first + place);
                }
            }
            first += tags.len();
        }
        None
    }

    fn push(&mut self, handle: Handle, key: &[u8]) {
        self.make_room();
        self.handles.push(handle);
        self.tags.push(tag(key));
    }

    /// Where `key` is or would be.
    fn place_of(&self, heap: &Heap, key: &[u8]) -> usize {
        self.handles.partition_point(|handle| item::key(heap, *handle) < key)
    }

    fn make_room(&mut self) {
        if self.handles.len() == self.handles.capacity() {
            self.handles.reserve_exact(LEAF_STEP);
            self.tags.reserve_exact(LEAF_STEP);
        }
    }

    fn insert(&mut self, place: usize, handle: Handle, key: &[u8]) {
        self.make_room();
        self.handles.insert(place, handle);
        self.tags.insert(place, tag(key));
    }

    fn split_off(&mut self, cut: usize) -> Self {
        let upper = Self { handles: self.handles.split_off(cut), tags: self.tags.split_off(cut) };
        self.handles.shrink_to_fit();
        self.tags.shrink_to_fit();
        upper
    }
}
