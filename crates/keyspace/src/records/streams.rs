//! Streams as effects.

use super::{PIECE_BYTES, Records};
use crate::effects::Delivery;
use crate::value::stream::block::Block;
use crate::value::stream::group::Pending;
use crate::value::stream::id::Id;
use crate::value::stream::{Head, Stream};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is known of a stream and its groups, without what they wait for.
pub(crate) struct Heads {
    stream: Head,
    groups: Vec<GroupHead>,
}

struct GroupHead {
    name: Vec<u8>,
    last: Id,
    read: i64,
    /// Consumers, and when they were seen.
    consumers: Vec<(Arc<[u8]>, u64)>,
}

impl Heads {
    pub fn of(stream: &Stream) -> Self {
        let groups = stream.groups().iter().map(|(name, group)| {
            let consumers = group.consumers().iter();
            let consumers = consumers.map(|(name, it)| (name.clone(), it.seen_ms)).collect();
            GroupHead { name: name.clone(), last: group.last, read: group.read, consumers }
        });
        Self { stream: stream.head, groups: groups.collect() }
    }

    /// How many things are said.
    pub fn len(&self) -> usize {
        1 + self.groups.iter().map(|group| 1 + group.consumers.len()).sum::<usize>()
    }
}

impl Records {
    /// What a stream has between two positions: entries, what is known of it and its groups, and
    /// what these wait for.
    pub fn stream(&mut self, key: &[u8], stream: &Stream, range: (u64, u64)) {
        if range == (0, u64::MAX) {
            for (first, block) in stream.blocks() {
                self.stream_block(key, *first, block);
            }
        } else {
            for (first, block) in stream.blocks_at(range) {
                self.stream_block(key, first, &block);
            }
        }
        self.stream_heads(key, &Heads::of(stream));
        for (name, group) in stream.groups() {
            let mut by_consumer: BTreeMap<&[u8], Vec<Delivery>> = BTreeMap::new();
            for (id, pending) in Stream::pending_at(group, range) {
                let Pending { consumer, delivered_ms, deliveries } = pending;
                let all = by_consumer.entry(consumer).or_default();
                all.push((*id, *delivered_ms, *deliveries));
            }
            self.stream_pending(key, name, &by_consumer);
        }
    }

    /// A block; how many bytes that are.
    pub fn stream_block(&mut self, key: &[u8], first: Id, block: &Block) -> usize {
        let row = block.row();
        self.log.stream_block(key, first, &row);
        self.bound();
        row.len()
    }

    /// What is known of a stream and its groups.
    pub fn stream_heads(&mut self, key: &[u8], heads: &Heads) {
        self.log.stream_head(key, &heads.stream);
        for GroupHead { name, last, read, consumers } in &heads.groups {
            self.log.stream_group(key, name, *last, *read);
            for (consumer, seen_ms) in consumers {
                self.log.stream_consumer([key, name, consumer], *seen_ms);
                self.bound();
            }
        }
    }

    /// What a group waits for, by its consumers.
    pub fn stream_pending(
        &mut self,
        key: &[u8],
        group: &[u8],
        by_consumer: &BTreeMap<&[u8], Vec<Delivery>>,
    ) {
        for (consumer, all) in by_consumer {
            for some in all.chunks(PIECE_BYTES / 64) {
                self.log.stream_pending([key, group, consumer], some);
                self.bound();
            }
        }
    }

    /// Ends the entry if it is large.
    fn bound(&mut self) {
        if self.log.open_bytes() >= PIECE_BYTES {
            self.log.command_done();
        }
    }
}
