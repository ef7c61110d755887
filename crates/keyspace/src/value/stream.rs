//! A stream: entries in the order of their IDs, and the groups of consumers that read them.
//!
//! Entries lie in blocks of about a hundred, found by the ID of their first one. Whoever changes
//! something that a snapshot has not written yet says so first ([`Touch`]); entries behind the last
//! one are new to every snapshot that is being written.

pub(crate) mod block;
pub(crate) mod group;
pub(crate) mod id;
mod mend;

use crate::snapshot::Touch;
use block::{Block, Entry, Pairs};
use group::Group;
use id::Id;
use std::collections::BTreeMap;

/// What a block takes beside its bytes, and a stream beside its blocks.
const BLOCK_BYTES: usize = 96;
const STREAM_BYTES: usize = 64;

/// What is known of a stream beside its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The ID that was given last; new ones are larger.
    pub last: Id,
    /// The largest ID of an entry that was deleted by itself.
    pub max_deleted: Id,
    /// How many entries were ever added.
    pub added: u64,
}

/// How much is to be trimmed.
#[derive(Clone, Copy, Debug)]
pub enum Trim {
    /// All but so many entries.
    ToLength(u64),
    /// What is before this ID.
    Before(Id),
}

/// Entries and groups.
#[derive(Clone, Default)]
pub struct Stream {
    blocks: BTreeMap<Id, Block>,
    len: usize,
    bytes: usize,
    pub head: Head,
    groups: BTreeMap<Vec<u8>, Group>,
}

impl Stream {
    /// One that has only this group, which another one has given up.
    pub fn of_group(name: Vec<u8>, group: Group) -> Self {
        Self { groups: BTreeMap::from([(name, group)]), ..Self::default() }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The room it takes, an estimate.
    pub fn memory_bytes(&self) -> usize {
        let groups: usize =
            self.groups.iter().map(|(name, it)| name.len() + it.memory_bytes()).sum();
        STREAM_BYTES + self.bytes + self.blocks.len() * BLOCK_BYTES + groups
    }

    /// The blocks by the IDs of their first entries.
    pub fn blocks(&self) -> &BTreeMap<Id, Block> {
        &self.blocks
    }

    /// The groups by their names.
    pub fn groups(&self) -> &BTreeMap<Vec<u8>, Group> {
        &self.groups
    }

    /// A group to be changed; its consumers are told from those of others by its name.
    pub fn group_mut(&mut self, name: &[u8]) -> Option<&mut Group> {
        self.groups.get_mut(name)
    }

    /// Adds a group, or says of one that is there up to where it has read.
    pub fn put_group(&mut self, name: &[u8], last: Id, read: i64) {
        match self.groups.get_mut(name) {
            Some(group) => (group.last, group.read) = (last, read),
            None => {
                self.groups.insert(name.to_vec(), Group::new(last, read));
            }
        }
    }

    /// Gives up a group, which a snapshot may still need: what is left of it. Dropping it takes
    /// time by its size.
    pub fn drop_group(&mut self, touch: &mut Touch<'_>, name: &[u8]) -> Option<Option<Self>> {
        let (name, group) = self.groups.remove_entry(name)?;
        Some(touch.group(&name, group).map(|group| Self::of_group(name, group)))
    }

    /// The entries from one ID to another, both included, that are not deleted.
    pub fn range(&self, from: Id, to: Id) -> impl Iterator<Item = Entry<'_>> {
        let begin = self.blocks.range(..=from).next_back().map_or(from, |(first, _)| *first);
        let blocks = (begin <= to).then(|| self.blocks.range(begin..=to)).into_iter().flatten();
        let entries = blocks.flat_map(|(first, block)| block.entries(*first));
        let entries = entries.skip_while(move |entry| entry.id < from);
        entries.take_while(move |entry| entry.id <= to).filter(|entry| !entry.is_dead)
    }

    /// The same backwards.
    pub fn range_back(&self, from: Id, to: Id) -> impl Iterator<Item = Entry<'_>> {
        let blocks = self.blocks.range(..=to).rev();
        let entries = blocks.flat_map(|(first, block)| {
            let all: Vec<_> = block.entries(*first).filter(|entry| !entry.is_dead).collect();
            all.into_iter().rev()
        });
        let entries = entries.skip_while(move |entry| entry.id > to);
        entries.take_while(move |entry| entry.id >= from)
    }

    /// The first entry's ID.
    pub fn first(&self) -> Option<Id> {
        self.range(Id::MIN, Id::MAX).next().map(|entry| entry.id)
    }

    /// The last entry's ID.
    pub fn top(&self) -> Option<Id> {
        self.range_back(Id::MIN, Id::MAX).next().map(|entry| entry.id)
    }

    /// The entry with this ID.
    pub fn find(&self, id: Id) -> Option<Entry<'_>> {
        let (first, block) = self.blocks.range(..=id).next_back()?;
        block.find(*first, id)
    }

    /// Whether an entry with this ID would be the last one.
    pub fn takes(&self, id: Id) -> bool {
        let last = self.blocks.last_key_value().map(|(_, block)| block.last());
        let behind = last.is_none_or(|last| last < id) || self.top().is_none_or(|top| top < id);
        id > Id::MIN && behind
    }

    /// Adds an entry, which the stream takes.
    pub fn push(&mut self, touch: &mut Touch<'_>, id: Id, pairs: &Pairs<'_>) {
        touch.entry(id, &self.blocks);
        self.forget_dead_from(id);
        let bytes = pairs.iter().map(|(name, value)| name.text_len() + value.text_len()).sum();
        let last = self.blocks.last_entry();
        let mut entry = match last {
            Some(mut last) if !last.get().has_room(bytes) => {
                let before = last.get().memory_bytes();
                last.get_mut().close();
                self.bytes = self.bytes - before + last.get().memory_bytes();
                None
            }
            last => last,
        };
        let (first, block) = match &mut entry {
            Some(last) => (*last.key(), last.get_mut()),
            None => (id, self.blocks.entry(id).or_insert_with(|| Block::new(id, pairs))),
        };
        let before = if first == id { 0 } else { block.memory_bytes() };
        block.push(first, id, pairs);
        self.bytes = self.bytes - before + block.memory_bytes();
        self.len += 1;
        self.head.added += 1;
        self.head.last = id;
    }

    /// IDs that were deleted are given once more: nothing is left of them.
    fn forget_dead_from(&mut self, id: Id) {
        while let Some(mut last) = self.blocks.last_entry().filter(|last| last.get().last() >= id) {
            let first = *last.key();
            self.bytes -= last.get().memory_bytes();
            if first >= id {
                last.remove();
                continue;
            }
            let block = last.get().up_to(first, id.before().unwrap_or_default());
            self.bytes += block.memory_bytes();
            last.insert(block);
        }
    }

    /// Adds a block as it is; false, and nothing is done, if it does not lie between others.
    pub fn put_block(&mut self, touch: &mut Touch<'_>, first: Id, block: Block) -> bool {
        let before = self.blocks.range(..=first).next_back();
        let behind = self.blocks.range(first..).next();
        let fits = before.is_none_or(|(_, before)| before.last() < first)
            && behind.is_none_or(|(behind, _)| block.last() < *behind);
        if fits {
            touch.entry(first, &self.blocks);
            self.len += block.live();
            self.bytes += block.memory_bytes();
            self.head.last = self.head.last.max(block.last());
            self.blocks.insert(first, block);
        }
        fits
    }

    /// Deletes an entry; whether it was there. The head knows nothing of it.
    pub fn delete(&mut self, touch: &mut Touch<'_>, id: Id) -> bool {
        let Some((first, block)) = self.blocks.range_mut(..=id).next_back() else { return false };
        if block.find(*first, id).is_none() {
            return false;
        }
        let first = *first;
        touch.block(first, block);
        block.delete(first, id);
        if block.live() == 0 {
            self.bytes -= block.memory_bytes();
            self.blocks.remove(&first);
        }
        self.len -= 1;
        true
    }

    /// Up to which ID everything goes if it is trimmed so; none if nothing does. Only whole blocks
    /// go if `whole`, and about `limit` entries at most unless that is 0.
    pub fn trim_end(&self, trim: Trim, whole: bool, limit: u64) -> Option<Id> {
        let (mut left, mut gone, mut end) = (self.len as u64, 0, None);
        for (first, block) in &self.blocks {
            let live = block.live() as u64;
            let enough = matches!(trim, Trim::ToLength(max) if left <= max);
            if enough || (limit > 0 && gone + live > limit) {
                break;
            }
            let goes = match trim {
                Trim::ToLength(max) => left - live >= max,
                Trim::Before(id) => block.last() < id,
            };
            if !goes {
                return if whole { end } else { trim_within(*first, block, trim, left).or(end) };
            }
            (left, gone, end) = (left - live, gone + live, Some(block.last()));
        }
        end
    }

    /// Removes everything up to an ID, that one included; how many entries.
    pub fn cut(&mut self, touch: &mut Touch<'_>, to: Id) -> usize {
        let before = self.len;
        while let Some(first) = self.blocks.first_entry().filter(|it| it.get().last() <= to) {
            let (first, block) = first.remove_entry();
            self.bytes -= block.memory_bytes();
            self.len -= block.live();
            touch.block_gone(first, block);
        }
        if let Some(mut entry) = self.blocks.first_entry().filter(|entry| *entry.key() <= to) {
            let first = *entry.key();
            touch.block(first, entry.get());
            self.len -= entry.get_mut().delete_to(first, to);
        }
        before - self.len
    }

    /// Whether an entry behind this one, or this one, was deleted by itself.
    fn has_gaps_from(&self, id: Id) -> bool {
        let gap = self.head.max_deleted;
        gap != Id::MIN && id <= gap && self.first().is_some_and(|first| first <= gap)
    }

    /// How many entries of the stream's life come up to this ID, if that can be told.
    fn count_to(&self, id: Id) -> Option<i64> {
        let Head { last, max_deleted, added } = self.head;
        let added = added as i64;
        let first = self.first();
        if added == 0 || (first.is_none() && id <= last) || id == last {
            return Some(added);
        }
        // An empty stream counts as beginning at the smallest ID.
        let first = first.unwrap_or(Id::MIN);
        let whole = max_deleted == Id::MIN || max_deleted < first;
        let before = added.wrapping_sub(self.len as i64);
        match id.cmp(&first) {
            _ if id > last || !whole => None,
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before.wrapping_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }

    /// How many entries a group has read that has read up to this ID, or that it is not known.
    pub fn read_to(&self, id: Id) -> i64 {
        self.count_to(id).unwrap_or(group::UNKNOWN)
    }

    /// How many entries a group that has read so many has read when it gets this one, too.
    pub fn read_after(&self, read: i64, id: Id) -> i64 {
        if read != group::UNKNOWN && !self.has_gaps_from(id) {
            return read.wrapping_add(1);
        }
        match self.head.added {
            0 => read,
            _ => self.read_to(id),
        }
    }

    /// How many entries a group has not read yet, if that can be told.
    pub fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.head.added as i64;
        if added == 0 {
            return Some(0);
        }
        if group.read != group::UNKNOWN && !self.has_gaps_from(group.last) {
            return Some(added.wrapping_sub(group.read));
        }
        self.count_to(group.last).map(|read| added.wrapping_sub(read))
    }
}

/// The same within the first block that stays.
fn trim_within(first: Id, block: &Block, trim: Trim, left: u64) -> Option<Id> {
    let mut left = left;
    let goes = block.entries(first).take_while(|entry| match trim {
        Trim::ToLength(max) => {
            let goes = left > max;
            left -= u64::from(goes && !entry.is_dead);
            goes
        }
        Trim::Before(id) => entry.id < id,
    });
    goes.filter(|entry| !entry.is_dead).last().map(|entry| entry.id)
}
