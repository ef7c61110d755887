//! Making a part equal to the master's: the master writes what it holds as an entry of the log,
//! and whoever holds something else takes it and gives up its own, which it shows to its caller.
//!
//! The content of keys is, for each slot that has some: its number, the digest of what it has in
//! the part, records as in a snapshot, and of large values the key, the type and the expiry. That
//! of items is the value's type, length and expiry, and records.

use crate::compare::{LARGE_BYTES, code, content_bytes, each_item, items_of, piece, shape};
use crate::effects::{Bytes, EffectLog, Op};
use crate::keyspace::{At, Keyspace};
use crate::part::{Lens, Part, each_between, slots_between};
use crate::records::{Pieces, Records};
use crate::table::{Entry, View};
use crate::value::Value;
use cairn_logic::ids::Slot;

/// What is replaced must be kept aside; more than this is left as it is, in bytes.
const ASIDE_BYTES_MAX: usize = 32 << 20;

impl Keyspace {
    /// Writes what a part holds as an entry of the log, for those that hold something else; which
    /// part that is: a smaller one if it has become large. None, and nothing is written, if it is
    /// about items of a value that is not large. It must be a master's log, which has all that the
    /// keyspace holds.
    pub fn repair(&self, part: &Part, log: &mut EffectLog) -> Option<Part> {
        let part = match part {
            Part::Keys { from, to } => {
                Part::Keys { from: *from, to: self.bounded(*from, *to, |_| {}) }
            }
            Part::Items { key, from, to } => match self.items_part(key, *from)? {
                Part::Items { key, from, to: bound } => {
                    Part::Items { key, from, to: bound.min(*to) }
                }
                Part::Keys { .. } => return None,
            },
        };
        let lens = self.lens(self.seed);
        let content = match &part {
            Part::Keys { from, to } => self.keys_content(*from, *to, &lens),
            Part::Items { key, from, to } => self.items_content(key, (*from, *to), &lens)?,
        };
        let digest = self.part_digest(&part, &lens).to_le_bytes();
        let seed = self.seed.to_le_bytes();
        log.texts(Op::Repair, &[&part.encode(), &seed, &digest, &content]);
        log.command_done();
        Some(part)
    }

    fn keys_content(&self, from: u64, to: u64, lens: &Lens) -> Vec<u8> {
        let mut out = Bytes::default();
        for (slot, from, to) in
            slots_between(from, to).filter(|(slot, ..)| self.slot_len(*slot) > 0)
        {
            let mut small = Records::new();
            let (mut large, mut count) = (Bytes::default(), 0);
            each_between(self.table(slot), lens, (from, to), |entry| {
                let value = entry.value();
                if content_bytes(&value) <= LARGE_BYTES {
                    return small.entry(&entry);
                }
                large.text(entry.key());
                large.byte(code(shape(&value).0));
                large.varint(entry.expiry().unwrap_or(0));
                count += 1;
            });
            let digest = self.slot_part(slot, lens, (from, to));
            if digest == 0 {
                continue;
            }
            out.varint(u64::from(slot.get()));
            out.number(digest);
            out.text(&small.take().1);
            out.varint(count);
            out.text(&large.done());
        }
        out.done()
    }

    fn items_content(&self, key: &[u8], range: (u64, u64), lens: &Lens) -> Option<Vec<u8>> {
        let at = self.locate(key);
        let entry = self.table(at.slot).entry(self.find(at, key)?);
        let (kind, len) = shape(&entry.value());
        let mut out = Bytes::default();
        out.byte(code(kind));
        out.varint(len as u64);
        out.varint(entry.expiry().unwrap_or(0));
        out.text(&items_records(&entry, range, lens));
        Some(out.done())
    }

    /// What a slot has between two positions, but for keys that `spared` wants left out, as
    /// records; with how many keys. None: it is too much.
    pub(crate) fn own_keys(
        &self,
        slot: Slot,
        lens: &Lens,
        range: (u64, u64),
        spared: impl Fn(&Entry<'_, Value>) -> bool,
    ) -> Option<(u32, Vec<u8>)> {
        let (mut keys, mut bytes) = (0, 0);
        let mut records = Records::new();
        each_between(self.table(slot), lens, range, |entry| {
            if spared(&entry) {
                return;
            }
            bytes += entry.key().len() + memory_bytes(&entry.value());
            if bytes <= ASIDE_BYTES_MAX {
                records.entry(&entry);
                keys += 1;
            }
        });
        (bytes <= ASIDE_BYTES_MAX).then(|| (keys, records.take().1))
    }

    /// Items of a value as records; none if that is too much.
    pub(crate) fn own_items(
        &self,
        at: At,
        key: &[u8],
        range: (u64, u64),
        lens: &Lens,
    ) -> Option<Vec<u8>> {
        let Some(place) = self.find(at, key) else { return Some(Vec::new()) };
        let entry = self.table(at.slot).entry(place);
        let records = items_records(&entry, range, lens);
        (records.len() <= ASIDE_BYTES_MAX).then_some(records)
    }
}

fn memory_bytes(value: &View<'_, Value>) -> usize {
    match value {
        View::Bytes(bytes) => bytes.len(),
        View::Object(value) => value.memory_bytes(),
    }
}

/// Some items of a value, as a snapshot has them.
fn items_records(entry: &Entry<'_, Value>, range: (u64, u64), lens: &Lens) -> Vec<u8> {
    let mut records = Records::new();
    let key = entry.key();
    let value = match entry.value() {
        View::Bytes(text) => {
            records.piece(key, range.0, piece(range, text));
            return records.take().1;
        }
        View::Object(value) => value,
    };
    let op = match value {
        Value::Text(text) => {
            records.piece(key, range.0, piece(range, text));
            return records.take().1;
        }
        Value::Stream(stream) => {
            records.stream(key, stream, range);
            return records.take().1;
        }
        Value::Hash(_) => Op::HashSet,
        Value::List(_) => Op::PushBack,
        Value::Set(_) => Op::SetAdd,
        Value::Sorted(_) => Op::SortedAdd,
    };
    let mut pieces = Pieces::begin(&mut records, op, key);
    match value {
        Value::List(list) => items_of(list, range).for_each(|item| pieces.item(&[item], None)),
        _ => each_item(value, lens, range, &mut |name, bytes| pieces.entry(name, bytes)),
    }
    pieces.end();
    records.take().1
}
