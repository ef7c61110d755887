//! Streams of two members compared, and made equal.

use super::Stream;
use super::block::{Block, Entry};
use super::group::{Group, Pending};
use super::id::Id;
use crate::digest::chain;
use crate::hash::fixed;
use crate::snapshot::Touch;
use crate::value::listpack::Item;
use std::collections::BTreeMap;
use std::ops::Bound;

/// An entry that stands by itself: its ID, and its fields and values.
type Own = (Id, Vec<(Vec<u8>, Vec<u8>)>);

/// What an item counts for in bounds beside its bytes.
const ITEM_COST: usize = 16;

/// The IDs whose positions are in a range.
fn ids((from, to): (u64, u64)) -> (Bound<Id>, Bound<Id>) {
    let end = match to {
        u64::MAX => Bound::Unbounded,
        _ => Bound::Excluded(Id::at_position(to)),
    };
    (Bound::Included(Id::at_position(from)), end)
}

fn is_empty((from, to): (u64, u64)) -> bool {
    to != u64::MAX && Id::at_position(from) >= Id::at_position(to)
}

/// The last ID with a position before `to`.
fn last_before(to: u64) -> Option<Id> {
    if to == u64::MAX { Some(Id::MAX) } else { Id::at_position(to).before() }
}

fn own(entry: &Entry<'_>) -> Own {
    let pairs = entry.pairs().map(|(name, value)| (name.text().into(), value.text().into()));
    (entry.id, pairs.collect())
}

fn entry_digest(entry: &Entry<'_>, of: &dyn Fn(&[u8]) -> u64) -> u64 {
    let head = chain([1, entry.id.ms, entry.id.seq]);
    entry.pairs().fold(head, |sum, (name, value)| chain([sum, of(&name.text()), of(&value.text())]))
}

fn pending_digest(group: &[u8], id: Id, pending: &Pending) -> u64 {
    let Pending { consumer, delivered_ms, deliveries } = pending;
    chain([2, fixed(group), id.ms, id.seq, fixed(consumer), *delivered_ms, *deliveries])
}

impl Stream {
    /// The digest of what has positions in a range: 0 is that of the head and of all groups and
    /// consumers, the others are those of entries and of what is pending of them. `of` is the
    /// digest of a text. When a consumer was seen does not count.
    pub fn digest(&self, range: (u64, u64), of: &dyn Fn(&[u8]) -> u64) -> u64 {
        let mut sum = if range.0 == 0 { self.head_digest() } else { 0 };
        if is_empty(range) {
            return sum;
        }
        for entry in self.entries_at(range) {
            sum = sum.wrapping_add(entry_digest(&entry, of));
        }
        for (name, group) in &self.groups {
            for (id, pending) in group.pending_in(ids(range)) {
                sum = sum.wrapping_add(pending_digest(name, *id, pending));
            }
        }
        sum
    }

    fn head_digest(&self) -> u64 {
        let super::Head { last, max_deleted, added } = self.head;
        let parts = [last.ms, last.seq, max_deleted.ms, max_deleted.seq, added];
        self.groups.iter().fold(chain(parts), |sum, (name, group)| {
            let Group { last, read, .. } = group;
            let sum = chain([sum, fixed(name), last.ms, last.seq, *read as u64]);
            group.consumers().keys().fold(sum, |sum, name| chain([sum, fixed(name)]))
        })
    }

    /// The entries with positions in a range.
    pub fn entries_at(&self, range: (u64, u64)) -> impl Iterator<Item = Entry<'_>> {
        let (from, to) = (Id::at_position(range.0), last_before(range.1));
        to.into_iter().flat_map(move |to| self.range(from, to))
    }

    /// The same in blocks made anew.
    pub fn blocks_at(&self, range: (u64, u64)) -> BTreeMap<Id, Block> {
        let mut made: BTreeMap<Id, Block> = BTreeMap::new();
        for entry in self.entries_at(range) {
            let pairs: Vec<_> = entry.pairs().collect();
            let bytes = entry_cost(&entry);
            match made.last_entry().filter(|last| last.get().has_room(bytes)) {
                Some(mut last) => {
                    let first = *last.key();
                    last.get_mut().push(first, entry.id, &pairs);
                }
                None => {
                    let mut block = Block::new(entry.id, &pairs);
                    block.push(entry.id, entry.id, &pairs);
                    made.insert(entry.id, block);
                }
            }
        }
        made
    }

    /// What is pending with positions in a range.
    pub fn pending_at(group: &Group, range: (u64, u64)) -> impl Iterator<Item = (&Id, &Pending)> {
        let ids = (!is_empty(range)).then(|| ids(range));
        ids.into_iter().flat_map(|ids| group.pending_in(ids))
    }

    /// The bytes of entries and groups, or something above `most` if they are more.
    pub fn content_bytes(&self, most: usize) -> usize {
        let mut sum = 0;
        let groups = self.groups.iter().flat_map(|(name, group)| {
            let consumers = group.consumers().keys().map(|name| name.len());
            let pending = group.pending().values().map(|it| it.consumer.len() + ITEM_COST);
            std::iter::once(name.len()).chain(consumers).chain(pending)
        });
        let entries = self.range(Id::MIN, Id::MAX).map(|entry| entry_cost(&entry));
        for bytes in entries.chain(groups) {
            sum += bytes + ITEM_COST;
            if sum > most {
                break;
            }
        }
        sum
    }

    /// Where a part ends that begins at a position and has about so many items, or bytes, of each
    /// kind; the largest number if it has all that is left.
    pub fn part_end(&self, from: u64, items_max: usize, bytes_max: usize) -> u64 {
        let mut bytes = 0;
        let entries = self.range(Id::at_position(from), Id::MAX).take_while(|entry| {
            let goes_on = bytes < bytes_max;
            bytes += entry_cost(entry);
            goes_on
        });
        let mut counted = 0;
        let last = entries.take(items_max).inspect(|_| counted += 1).last().map(|it| it.id);
        let all = last
            .is_none_or(|last| last.next().is_none_or(|n| self.range(n, Id::MAX).next().is_none()));
        let mut end = match last {
            Some(last) if !all => last.position() + 1,
            _ => u64::MAX,
        };
        for group in self.groups.values() {
            let mut pending = group.pending_in(Id::at_position(from)..).skip(items_max);
            if let Some((id, _)) = pending.next() {
                end = end.min(id.position().max(from + 1));
            }
        }
        end
    }

    /// Has what `theirs` has in a range of positions; all else stays.
    pub fn mend(&mut self, touch: &mut Touch<'_>, theirs: &Self, range: (u64, u64)) {
        if range.0 == 0 {
            self.mend_heads(touch, theirs);
        }
        self.mend_entries(touch, theirs, range);
        self.mend_pending(touch, theirs, range);
    }

    fn mend_heads(&mut self, touch: &mut Touch<'_>, theirs: &Self) {
        let gone: Vec<_> =
            self.groups.keys().filter(|it| !theirs.groups.contains_key(*it)).cloned().collect();
        for name in gone {
            self.drop_group(touch, &name);
        }
        for (name, other) in &theirs.groups {
            self.put_group(name, other.last, other.read);
            let Some(group) = self.groups.get_mut(name) else { continue };
            let own: Vec<_> = group.consumers().keys().cloned().collect();
            for consumer in own.iter().filter(|it| !other.consumers().contains_key(*it)) {
                group.drop_consumer(touch, name, consumer);
            }
            for (consumer, it) in other.consumers() {
                group.see(consumer, it.seen_ms);
            }
        }
        self.head = theirs.head;
    }

    /// Makes the blocks anew that have entries in the range, and keeps what of them is not in it.
    fn mend_entries(&mut self, touch: &mut Touch<'_>, theirs: &Self, range: (u64, u64)) {
        let (from, Some(to)) = (Id::at_position(range.0), last_before(range.1)) else { return };
        let begin = self.blocks.range(..=from).next_back().map_or(from, |(first, _)| *first);
        touch.blocks(&self.blocks);
        let firsts: Vec<Id> =
            self.blocks.range(begin..=to.max(begin)).map(|(first, _)| *first).collect();
        let mut entries: Vec<Own> = theirs.entries_at(range).map(|entry| own(&entry)).collect();
        for first in firsts {
            let Some(block) = self.blocks.remove(&first) else { continue };
            let outside =
                block.entries(first).filter(|it| !it.is_dead && (it.id < from || it.id > to));
            entries.extend(outside.map(|entry| own(&entry)));
            self.bytes -= block.memory_bytes();
            self.len -= block.live();
        }
        entries.sort_unstable_by_key(|(id, _)| *id);
        let mut made = Self::default();
        for (id, pairs) in &entries {
            let pairs: Vec<_> = pairs.iter().map(|(n, v)| (Item::of(n), Item::of(v))).collect();
            made.push(&mut Touch::nobody(touch.hasher()), *id, &pairs);
        }
        let head = self.head;
        for (first, block) in made.blocks {
            self.put_block(touch, first, block);
        }
        self.head = head;
    }

    fn mend_pending(&mut self, touch: &mut Touch<'_>, theirs: &Self, range: (u64, u64)) {
        for (name, group) in &mut self.groups {
            let own: Vec<Id> = Self::pending_at(group, range).map(|(id, _)| *id).collect();
            for id in own {
                group.acknowledge(touch, name, id);
            }
        }
        for (name, other) in &theirs.groups {
            if !self.groups.contains_key(name) {
                self.put_group(name, other.last, other.read);
            }
            let Some(group) = self.groups.get_mut(name) else { continue };
            for (id, it) in Self::pending_at(other, range) {
                let Pending { consumer, delivered_ms, deliveries } = it;
                group.deliver(touch, name, *id, (consumer, *delivered_ms, *deliveries));
            }
        }
    }
}

fn entry_cost(entry: &Entry<'_>) -> usize {
    entry.pairs().map(|(name, value)| name.text_len() + value.text_len()).sum()
}
