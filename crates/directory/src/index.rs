//! Keys in order, each with the handle of its newest version: leaves of handles under a map of
//! their lower bounds. The keys themselves lie in the items.

use crate::heap::{Handle, Heap};
use crate::item;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Handles of one leaf.
const LEAF_MAX: usize = 256;
/// How many places a full leaf grows by; doubling would waste half of them.
const LEAF_STEP: usize = 32;

#[derive(Debug)]
pub(crate) struct Index {
    /// By lower bound; the first leaf's is empty. Only the first leaf may be empty itself.
    leaves: BTreeMap<Box<[u8]>, Vec<Handle>>,
    len: usize,
}

impl Index {
    pub fn new() -> Self {
        Self { leaves: BTreeMap::from([(Box::default(), Vec::new())]), len: 0 }
    }

    /// Keys in it, those whose newest version is a deletion included.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, heap: &Heap, key: &[u8]) -> Option<Handle> {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (_, leaf) = self.leaves.range::<[u8], _>(upto).next_back()?;
        search(heap, leaf, key).ok().map(|place| leaf[place])
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
        let place = match search(heap, leaf, key) {
            Ok(found) => {
                leaf[found] = make(heap, leaf[found]);
                return leaf[found];
            }
            Err(place) => place,
        };
        let handle = make(heap, Handle::NONE);
        self.len += 1;
        if leaf.len() == LEAF_MAX {
            // Keys that come in order fill their leaves; others split them in the middle.
            let cut = if place == LEAF_MAX { LEAF_MAX } else { LEAF_MAX / 2 };
            let mut upper = leaf.split_off(cut);
            leaf.shrink_to_fit();
            let bound: Box<[u8]> = if let Some(first) = upper.first() {
                item::key(heap, *first).into()
            } else {
                key.into()
            };
            if place > cut || cut == LEAF_MAX {
                insert(&mut upper, place - cut, handle);
            } else {
                insert(leaf, place, handle);
            }
            self.leaves.insert(bound, upper);
        } else {
            insert(leaf, place, handle);
        }
        handle
    }

    /// Removes `key` and gives back its newest version.
    pub fn remove(&mut self, heap: &Heap, key: &[u8]) -> Option<Handle> {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (bound, leaf) = self.leaves.range_mut::<[u8], _>(upto).next_back()?;
        let place = search(heap, leaf, key).ok()?;
        let handle = leaf.remove(place);
        self.len -= 1;
        if leaf.is_empty() && !bound.is_empty() {
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
        let skipped = first.map_or(0, |(_, leaf)| search(heap, leaf, start).unwrap_or_else(|p| p));
        let head = first.map_or(&[][..], |(_, leaf)| &leaf[skipped..]);
        let after = (Bound::Excluded(start), Bound::Unbounded);
        let rest = self.leaves.range::<[u8], _>(after).flat_map(|(_, leaf)| leaf);
        head.iter().chain(rest).copied()
    }
}

fn insert(leaf: &mut Vec<Handle>, place: usize, handle: Handle) {
    if leaf.len() == leaf.capacity() {
        leaf.reserve_exact(LEAF_STEP);
    }
    leaf.insert(place, handle);
}

fn search(heap: &Heap, leaf: &[Handle], key: &[u8]) -> Result<usize, usize> {
    leaf.binary_search_by(|handle| item::key(heap, *handle).cmp(key))
}
