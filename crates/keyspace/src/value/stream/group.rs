//! A consumer group: up to where it has read, and what its consumers have not acknowledged.

use super::id::Id;
use crate::snapshot::Touch;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;
use std::sync::Arc;

/// How many entries a group has read, if that is not known.
pub const UNKNOWN: i64 = -1;

/// What an entry of a group takes beside what is counted, in bytes: two trees know it.
const PENDING_BYTES: usize = 96;
const CONSUMER_BYTES: usize = 128;
const GROUP_BYTES: usize = 160;

/// An entry that was delivered and not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    pub consumer: Arc<[u8]>,
    /// When it was delivered last, in milliseconds since 1970.
    pub delivered_ms: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// One that reads for its group.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    /// When it last read or claimed something, in milliseconds since 1970.
    pub seen_ms: u64,
    pending: BTreeSet<Id>,
}

impl Consumer {
    /// What it has not acknowledged, in order.
    pub fn pending(&self) -> &BTreeSet<Id> {
        &self.pending
    }
}

/// Consumers that share a stream's entries.
#[derive(Clone, Debug)]
pub struct Group {
    /// The last entry that was delivered.
    pub last: Id,
    /// How many entries of the stream's life were read, or [`UNKNOWN`].
    pub read: i64,
    consumers: BTreeMap<Arc<[u8]>, Consumer>,
    pending: BTreeMap<Id, Pending>,
}

impl Group {
    /// One without consumers.
    pub fn new(last: Id, read: i64) -> Self {
        Self { last, read, consumers: BTreeMap::new(), pending: BTreeMap::new() }
    }

    /// The room it takes, an estimate.
    pub fn memory_bytes(&self) -> usize {
        GROUP_BYTES + self.consumers.len() * CONSUMER_BYTES + self.pending.len() * PENDING_BYTES
    }

    /// The consumers in the order of their names.
    pub fn consumers(&self) -> &BTreeMap<Arc<[u8]>, Consumer> {
        &self.consumers
    }

    /// What is not acknowledged, in order.
    pub fn pending(&self) -> &BTreeMap<Id, Pending> {
        &self.pending
    }

    /// A consumer is there, and was seen at this time.
    pub fn see(&mut self, name: &[u8], now_ms: u64) {
        match self.consumers.get_mut(name) {
            Some(consumer) => consumer.seen_ms = now_ms,
            None => {
                let consumer = Consumer { seen_ms: now_ms, pending: BTreeSet::new() };
                self.consumers.insert(name.into(), consumer);
            }
        }
    }

    /// Removes a consumer with what it has not acknowledged; how much that was. `own` is the
    /// group's name.
    pub fn drop_consumer(
        &mut self,
        touch: &mut Touch<'_>,
        own: &[u8],
        name: &[u8],
    ) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        for id in &consumer.pending {
            touch.pending(own, *id, self.pending.get(id));
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// An entry is delivered to a consumer, which is made if it is not there.
    pub fn deliver(
        &mut self,
        touch: &mut Touch<'_>,
        own: &[u8],
        id: Id,
        (consumer, delivered_ms, deliveries): (&[u8], u64, u64),
    ) {
        let old = self.pending.get(&id);
        touch.pending(own, id, old);
        if let Some(former) = old.map(|old| old.consumer.clone())
            && *former != *consumer
            && let Some(former) = self.consumers.get_mut(&former)
        {
            former.pending.remove(&id);
        }
        let name = match self.consumers.get_key_value(consumer) {
            Some((name, _)) => name.clone(),
            None => Arc::from(consumer),
        };
        self.consumers.entry(name.clone()).or_default().pending.insert(id);
        self.pending.insert(id, Pending { consumer: name, delivered_ms, deliveries });
    }

    /// An entry is not waited for any more; whether it was.
    pub fn acknowledge(&mut self, touch: &mut Touch<'_>, own: &[u8], id: Id) -> bool {
        touch.pending(own, id, self.pending.get(&id));
        let Some(pending) = self.pending.remove(&id) else { return false };
        if let Some(consumer) = self.consumers.get_mut(&pending.consumer) {
            consumer.pending.remove(&id);
        }
        true
    }

    /// What is not acknowledged between two IDs.
    pub fn pending_in(&self, ids: impl RangeBounds<Id>) -> impl Iterator<Item = (&Id, &Pending)> {
        self.pending.range(ids)
    }
}
