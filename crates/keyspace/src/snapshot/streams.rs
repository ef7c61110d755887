//! A large stream on its way into a snapshot: its blocks in the order of IDs, then what is known of
//! it and of its groups, then what each group waits for.
//!
//! What is about to change and is not written yet is kept aside until its turn comes; so a change
//! costs what it touches, a block or an entry that is waited for. Entries that came after the
//! moment are behind the last one of then, and are left out.

use super::Out;
use super::large::{Large, PIECE_BYTES, Rest, Touch};
use crate::effects::Delivery;
use crate::records::Heads;
use crate::value::stream::Stream;
use crate::value::stream::block::Block;
use crate::value::stream::group::{Group, Pending};
use crate::value::stream::id::Id;
use std::collections::BTreeMap;

/// What groups wait for in one step, at most.
const PENDING_MAX: usize = 256;

/// What is not written yet.
pub(super) struct StreamRest {
    /// The last entry at the moment.
    end: Id,
    /// Blocks before it are written, as are all if there is none.
    next: Option<Id>,
    /// Blocks as they were.
    kept: BTreeMap<Id, Block>,
    /// All that are to be written are kept.
    frozen: bool,
    heads: Option<Heads>,
    groups: BTreeMap<Vec<u8>, GroupRest>,
}

/// What is not written yet of a group's pending entries.
#[derive(Default)]
struct GroupRest {
    /// Those before it are written.
    next: Id,
    /// What was waited for, or not, where that has changed.
    kept: BTreeMap<Id, Option<Pending>>,
    /// The group, if the stream has it no more.
    gone: Option<Group>,
}

impl StreamRest {
    pub fn begin(stream: &Stream) -> Self {
        let last = stream.blocks().last_key_value().map(|(_, block)| block.last());
        let groups = stream.groups().keys().map(|name| (name.clone(), GroupRest::default()));
        Self {
            end: last.unwrap_or_default(),
            next: last.map(|_| Id::MIN),
            kept: BTreeMap::new(),
            frozen: false,
            heads: Some(Heads::of(stream)),
            groups: groups.collect(),
        }
    }

    /// Writes some: what it counts for, or none if that was all.
    pub fn write(&mut self, key: &[u8], stream: &Stream, out: &mut Out) -> Option<usize> {
        if let Some(bytes) = self.write_blocks(key, stream, out) {
            return Some(super::cost(bytes));
        }
        if let Some(heads) = self.heads.take() {
            out.records.stream_heads(key, &heads);
            out.piece_done();
            return Some(heads.len());
        }
        while let Some(mut entry) = self.groups.first_entry() {
            let name = entry.key().clone();
            let wrote = entry.get_mut().write(key, &name, stream, out);
            if wrote.is_some() {
                return wrote;
            }
            entry.remove();
        }
        None
    }

    fn write_blocks(&mut self, key: &[u8], stream: &Stream, out: &mut Out) -> Option<usize> {
        let mut bytes = 0;
        while bytes < PIECE_BYTES {
            let Some(next) = self.next else { break };
            let kept = self.kept.range(next..).next();
            let live = stream.blocks().range(next..=self.end.max(next)).next();
            let live = live.filter(|_| !self.frozen);
            let (first, block) = match (kept, live) {
                (Some(kept), Some(live)) if kept.0 > live.0 => live,
                (Some(kept), _) => kept,
                (None, Some(live)) => live,
                (None, None) => {
                    self.next = None;
                    break;
                }
            };
            let first = *first;
            bytes += match block.last() > self.end {
                true => out.records.stream_block(key, first, &block.up_to(first, self.end)),
                false => out.records.stream_block(key, first, block),
            };
            self.kept.remove(&first);
            self.next = first.next();
        }
        out.piece_done();
        (bytes > 0).then_some(bytes)
    }

    fn waits_for(&self, first: Id) -> bool {
        !self.frozen
            && first <= self.end
            && self.next.is_some_and(|next| next <= first)
            && !self.kept.contains_key(&first)
    }

    fn keep_all(&mut self, blocks: &BTreeMap<Id, Block>) {
        if self.frozen {
            return;
        }
        for (first, block) in blocks {
            if self.waits_for(*first) {
                self.kept.insert(*first, block.clone());
            }
        }
        self.frozen = true;
    }
}

impl GroupRest {
    fn write(&mut self, key: &[u8], name: &[u8], stream: &Stream, out: &mut Out) -> Option<usize> {
        let group = self.gone.as_ref().or_else(|| stream.groups().get(name));
        let live = group.into_iter().flat_map(|group| group.pending_in(self.next..));
        let mut some: BTreeMap<Id, Option<&Pending>> =
            live.take(PENDING_MAX).map(|(id, pending)| (*id, Some(pending))).collect();
        let last = some.last_key_value().map(|(id, _)| *id);
        let last = last.filter(|_| some.len() == PENDING_MAX).unwrap_or(Id::MAX);
        for (id, pending) in self.kept.range(self.next..=last) {
            some.insert(*id, pending.as_ref());
        }
        let mut by_consumer: BTreeMap<&[u8], Vec<Delivery>> = BTreeMap::new();
        for (id, pending) in &some {
            if let Some(Pending { consumer, delivered_ms, deliveries }) = pending {
                let all = by_consumer.entry(consumer).or_default();
                all.push((*id, *delivered_ms, *deliveries));
            }
        }
        let wrote: usize = by_consumer.values().map(Vec::len).sum();
        out.records.stream_pending(key, name, &by_consumer);
        out.piece_done();
        // The largest ID is not given to entries that are delivered: nothing is behind it.
        let next = last.next();
        self.kept.retain(|id, _| *id > last);
        self.next = next.unwrap_or(Id::MAX);
        (next.is_some() || wrote > 0).then_some(wrote.max(1))
    }
}

impl Touch<'_> {
    fn stream(&mut self) -> Option<&mut StreamRest> {
        match self.writing() {
            Some((Large { rest: Rest::Stream(rest), .. }, _)) => Some(rest),
            _ => None,
        }
    }

    /// An entry of this ID is about to be added to a stream of these blocks.
    #[inline]
    pub fn entry(&mut self, id: Id, blocks: &BTreeMap<Id, Block>) {
        if let Some(rest) = self.stream().filter(|rest| id <= rest.end) {
            rest.keep_all(blocks);
        }
    }

    /// A block is about to change, or to go.
    #[inline]
    pub fn block(&mut self, first: Id, block: &Block) {
        if let Some(rest) = self.stream().filter(|rest| rest.waits_for(first)) {
            rest.kept.insert(first, block.clone());
        }
    }

    /// A block has gone.
    #[inline]
    pub fn block_gone(&mut self, first: Id, block: Block) {
        if let Some(rest) = self.stream().filter(|rest| rest.waits_for(first)) {
            rest.kept.insert(first, block);
        }
    }

    /// Any of these blocks may change, go, or come anew.
    pub fn blocks(&mut self, blocks: &BTreeMap<Id, Block>) {
        if let Some(rest) = self.stream() {
            rest.keep_all(blocks);
        }
    }

    /// What a group waits for is about to change: what was known of this entry.
    #[inline]
    pub fn pending(&mut self, group: &[u8], id: Id, old: Option<&Pending>) {
        let Some(rest) = self.stream() else { return };
        if let Some(rest) = rest.groups.get_mut(group)
            && rest.gone.is_none()
            && rest.next <= id
        {
            rest.kept.entry(id).or_insert_with(|| old.cloned());
        }
    }

    /// Takes a group that the stream gives up, if it is not written yet; else gives it back.
    pub fn group(&mut self, name: &[u8], group: Group) -> Option<Group> {
        let rest = self.stream().and_then(|rest| rest.groups.get_mut(name));
        match rest.filter(|rest| rest.gone.is_none()) {
            Some(rest) => {
                rest.gone = Some(group);
                None
            }
            None => Some(group),
        }
    }
}
