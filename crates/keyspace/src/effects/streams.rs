//! Effects on streams.

use super::{EffectLog, Op, Reader};
use crate::value::listpack::Item;
use crate::value::stream::Head;
use crate::value::stream::block::Pairs;
use crate::value::stream::id::Id;

/// An entry that is waited for: when it was delivered last, in milliseconds, and how often it was.
pub(crate) type Delivery = (Id, u64, u64);

impl EffectLog {
    fn id(&mut self, id: Id) {
        self.varint(id.ms);
        self.varint(id.seq);
    }

    pub(crate) fn stream_add(&mut self, key: &[u8], id: Id, pairs: &Pairs<'_>) {
        self.texts(Op::StreamAdd, &[key]);
        self.id(id);
        self.varint(pairs.len() as u64);
        for (name, value) in pairs {
            self.item(*name);
            self.item(*value);
        }
    }

    fn item(&mut self, item: Item<'_>) {
        match item {
            Item::Text(text) => self.text(text),
            Item::Int(_) => self.text(&item.text()),
        }
    }

    /// IDs that are deleted, or acknowledged by a group: at least one.
    pub(crate) fn stream_ids(&mut self, op: Op, names: &[&[u8]], ids: &[Id]) {
        self.texts(op, names);
        self.varint(ids.len() as u64);
        ids.iter().for_each(|id| self.id(*id));
    }

    pub(crate) fn stream_cut(&mut self, key: &[u8], to: Id, count: usize) {
        self.texts(Op::StreamCut, &[key]);
        self.id(to);
        self.varint(count as u64);
    }

    pub(crate) fn stream_head(&mut self, key: &[u8], head: &Head) {
        self.texts(Op::StreamHead, &[key]);
        self.id(head.last);
        self.id(head.max_deleted);
        self.varint(head.added);
    }

    pub(crate) fn stream_block(&mut self, key: &[u8], first: Id, row: &[u8]) {
        self.texts(Op::StreamBlock, &[key]);
        self.id(first);
        self.text(row);
    }

    pub(crate) fn stream_group(&mut self, key: &[u8], name: &[u8], last: Id, read: i64) {
        self.texts(Op::StreamGroup, &[key, name]);
        self.id(last);
        self.varint(read.wrapping_add(1) as u64);
    }

    pub(crate) fn stream_consumer(&mut self, names: [&[u8]; 3], seen_ms: u64) {
        self.texts(Op::StreamConsumer, &names);
        self.varint(seen_ms);
    }

    /// What a consumer has not acknowledged: at least one entry.
    pub(crate) fn stream_pending(&mut self, names: [&[u8]; 3], all: &[Delivery]) {
        self.texts(Op::StreamPending, &names);
        self.varint(all.len() as u64);
        for (id, delivered_ms, deliveries) in all {
            self.id(*id);
            self.varint(*delivered_ms);
            self.varint(*deliveries);
        }
    }
}

impl<'a> Reader<'a> {
    /// An ID.
    pub(crate) fn id(&mut self) -> Option<Id> {
        Some(Id::new(self.varint()?, self.varint()?))
    }

    pub(crate) fn delivery(&mut self) -> Option<Delivery> {
        Some((self.id()?, self.varint()?, self.varint()?))
    }

    /// What is known of a stream.
    pub(crate) fn head(&mut self) -> Option<Head> {
        Some(Head { last: self.id()?, max_deleted: self.id()?, added: self.varint()? })
    }

    /// How many entries a group has read.
    pub(crate) fn read_count(&mut self) -> Option<i64> {
        Some((self.varint()? as i64).wrapping_sub(1))
    }

    /// Fields and values: at least one pair.
    pub(crate) fn pairs(&mut self) -> Option<Vec<(Item<'a>, Item<'a>)>> {
        let count = self.count().filter(|count| *count > 0)?;
        let pair = |_| Some((Item::of(self.text()?), Item::of(self.text()?)));
        (0..count).map(pair).collect()
    }

    /// So many IDs: at least one.
    pub(crate) fn ids(&mut self) -> Option<Vec<Id>> {
        let count = self.count().filter(|count| *count > 0)?;
        (0..count).map(|_| self.id()).collect()
    }

    /// Reads the arguments of an effect on a stream, without the key; none if it is no such effect.
    pub(crate) fn pass_over_stream(&mut self, op: Op) -> Option<()> {
        match op {
            Op::StreamAdd => self.id().and_then(|_| self.pairs()).map(drop),
            Op::StreamDelete => self.ids().map(drop),
            Op::StreamCut => self.id().and_then(|_| self.varint()).map(drop),
            Op::StreamHead => self.head().map(drop),
            Op::StreamBlock => self.id().and_then(|_| self.text()).map(drop),
            Op::StreamGroup => {
                self.text()?;
                self.id().and_then(|_| self.varint()).map(drop)
            }
            Op::StreamGroupDrop => self.text().map(drop),
            Op::StreamConsumer => {
                self.text()?;
                self.text().and_then(|_| self.varint()).map(drop)
            }
            Op::StreamConsumerDrop => self.text().and_then(|_| self.text()).map(drop),
            Op::StreamPending => {
                self.text()?;
                self.text()?;
                let count = self.count()?;
                (0..count).try_for_each(|_| self.delivery().map(drop))
            }
            Op::StreamAcknowledge => self.text().and_then(|_| self.ids()).map(drop),
            _ => None,
        }
    }
}
