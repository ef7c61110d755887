//! The digest of a part, and what of a value is in one.
//!
//! A value is *large* above 16 KiB of keys' and items' bytes: the keys' part has its type, length
//! and expiry, and its items are parts of their own. Whether it is large follows from its content
//! alone, so it is on every member whose copy is the same.

use crate::digest::{chain, entry_digest};
use crate::hash::{Hasher, fixed};
use crate::keyspace::Keyspace;
use crate::part::{CHUNK, Lens, Part, each_between, slots_between};
use crate::table::{Entry, Never, Table, View};
use crate::value::hash::Hash;
use crate::value::set::Set;
use crate::value::sorted::Sorted;
use crate::value::{Type, Value};
use cairn_logic::ids::Slot;

/// A value with more bytes than this is large.
pub(crate) const LARGE_BYTES: usize = 16 << 10;
/// Of an item with more bytes than this its length, its first and its last half count.
const ITEM_BYTES_MAX: usize = 64 << 10;
/// What an item takes beside its bytes, for bounds.
const ITEM_COST: usize = 16;

/// A collection's table, once it has outgrown being packed.
pub(crate) fn table_of(value: &Value) -> Option<&Table<Never>> {
    match value {
        Value::Hash(Hash::Large(table)) | Value::Set(Set::Large(table)) => Some(table),
        Value::Sorted(Sorted::Large(table)) => Some(table.entries()),
        Value::Text(_)
        | Value::List(_)
        | Value::Stream(_)
        | Value::Hash(Hash::Small(_))
        | Value::Set(Set::Small(_))
        | Value::Sorted(Sorted::Small(_)) => None,
    }
}

/// What a field or member with its value, or an item of a list, counts for in bounds.
pub(crate) fn cost(item: &Entry<'_, Never>) -> usize {
    item.key().len() + item.bytes().len() + ITEM_COST
}

/// The bytes of a value, or something above [`LARGE_BYTES`] if it has more than that.
pub(crate) fn content_bytes(value: &View<'_, Value>) -> usize {
    let value = match value {
        View::Bytes(bytes) => return bytes.len(),
        View::Object(value) => *value,
    };
    if let Some(table) = table_of(value) {
        let (mut sum, mut at) = (0, 0);
        loop {
            let next = table.scan(at, CHUNK, |item| sum += cost(&item));
            match next {
                Some(next) if sum <= LARGE_BYTES => at = next,
                Some(_) | None => return sum,
            }
        }
    }
    match value {
        Value::Text(text) => text.len(),
        Value::List(list) => {
            let mut sum = 0;
            for item in list.iter_from(0) {
                sum += item.len() + ITEM_COST;
                if sum > LARGE_BYTES {
                    break;
                }
            }
            sum
        }
        Value::Stream(stream) => stream.content_bytes(LARGE_BYTES),
        _ => {
            let mut sum = 0;
            each_small(value, &mut |key, bytes| sum += key.len() + bytes.len() + ITEM_COST);
            sum
        }
    }
}

/// Fields, members and what belongs to each (a score as eight bytes) of a packed collection.
fn each_small(value: &Value, visit: &mut dyn FnMut(&[u8], &[u8])) {
    match value {
        Value::Hash(hash) => hash.for_each(visit),
        Value::Set(set) => set.for_each(|member| visit(member, b"")),
        Value::Sorted(sorted) => sorted.for_each(0, sorted.len(), |score, member| {
            visit(member, &score.to_bits().to_le_bytes());
        }),
        Value::Text(_) | Value::List(_) | Value::Stream(_) => {}
    }
}

/// Visits the fields or members of a collection whose positions are in `range`.
pub(crate) fn each_item(
    value: &Value,
    lens: &Lens,
    range: (u64, u64),
    visit: &mut dyn FnMut(&[u8], &[u8]),
) {
    match table_of(value) {
        Some(table) => each_between(table, lens, range, |item| visit(item.key(), item.bytes())),
        None => each_small(value, &mut |key, bytes| {
            if (range.0..range.1).contains(&lens.position(key)) {
                visit(key, bytes);
            }
        }),
    }
}

/// Bytes `from..to` of a text, as far as it has them.
pub(crate) fn piece((from, to): (u64, u64), text: &[u8]) -> &[u8] {
    let at = |position: u64| usize::try_from(position).unwrap_or(usize::MAX).min(text.len());
    &text[at(from)..at(to)]
}

/// The items of a list between two indexes.
pub(crate) fn items_of(
    list: &crate::value::list::List,
    (from, to): (u64, u64),
) -> impl Iterator<Item = &[u8]> {
    let size = |index: u64| usize::try_from(index).unwrap_or(usize::MAX);
    list.iter_from(size(from)).take(size(to - from))
}

/// The type and the length of a value.
pub(crate) fn shape(value: &View<'_, Value>) -> (Type, usize) {
    match value {
        View::Bytes(bytes) => (Type::String, bytes.len()),
        View::Object(value) => {
            let len = match value {
                Value::Text(text) => text.len(),
                Value::Hash(hash) => hash.len(),
                Value::List(list) => list.len(),
                Value::Set(set) => set.len(),
                Value::Sorted(sorted) => sorted.len(),
                Value::Stream(stream) => stream.len(),
            };
            (value.kind(), len)
        }
    }
}

pub(crate) fn code(kind: Type) -> u8 {
    match kind {
        Type::String => 1,
        Type::Hash => 2,
        Type::List => 3,
        Type::Set => 4,
        Type::Sorted => 5,
        Type::Stream => 6,
    }
}

fn item_digest(bytes: &[u8]) -> u64 {
    if bytes.len() <= ITEM_BYTES_MAX {
        return fixed(bytes);
    }
    let half = ITEM_BYTES_MAX / 2;
    let (first, last) = (&bytes[..half], &bytes[bytes.len() - half..]);
    chain([bytes.len() as u64, fixed(first), fixed(last)])
}

/// The digest of a key in a part: all of it, or for a large value what it is.
fn key_digest(entry: &Entry<'_, Value>) -> u64 {
    let value = entry.value();
    if content_bytes(&value) <= LARGE_BYTES {
        return entry_digest(entry);
    }
    let (kind, len) = shape(&value);
    let (kind, expiry) = (u64::from(code(kind)), entry.expiry().unwrap_or(0));
    chain([fixed(entry.key()), kind, len as u64, expiry, u64::MAX])
}

impl Keyspace {
    /// How positions count by `seed`.
    pub(crate) fn lens(&self, seed: u64) -> Lens {
        Lens { hasher: Hasher::new(seed), native: seed == self.seed }
    }

    /// The digest of what a slot has between two positions; 0 if it has nothing there.
    pub(crate) fn slot_part(&self, slot: Slot, lens: &Lens, range: (u64, u64)) -> u64 {
        let mut sum = 0_u64;
        if self.slot_len(slot) > 0 {
            each_between(self.table(slot), lens, range, |entry| {
                sum = sum.wrapping_add(key_digest(&entry));
            });
        }
        sum
    }

    /// The digest of a part; equal parts give equal digests on every node, whatever the sizes of
    /// their tables and the order of writes. Of an item above 64 KiB its length, its first and its
    /// last 32 KiB count, of all else every byte.
    pub(crate) fn part_digest(&self, part: &Part, lens: &Lens) -> u64 {
        match part {
            Part::Keys { from, to } => {
                let mut sum = 0_u64;
                for (slot, from, to) in slots_between(*from, *to) {
                    let digest = self.slot_part(slot, lens, (from, to));
                    if digest != 0 {
                        sum = sum.wrapping_add(chain([u64::from(slot.get()), digest]));
                    }
                }
                sum
            }
            Part::Items { key, from, to } => {
                let at = self.locate(key);
                let Some(place) = self.find(at, key) else { return 0 };
                let value = self.table(at.slot).entry(place).value();
                items_digest(&value, lens, (*from, *to))
            }
        }
    }
}

fn items_digest(value: &View<'_, Value>, lens: &Lens, range: (u64, u64)) -> u64 {
    let kind = u64::from(code(shape(value).0));
    let sum = match value {
        View::Bytes(text) => item_digest(piece(range, text)),
        View::Object(Value::Text(text)) => item_digest(piece(range, text)),
        View::Object(Value::List(list)) => {
            items_of(list, range).fold(0, |sum, item| chain([sum, item_digest(item)]))
        }
        View::Object(Value::Stream(stream)) => stream.digest(range, &item_digest),
        View::Object(value) => {
            let mut sum = 0_u64;
            each_item(value, lens, range, &mut |key, bytes| {
                sum = sum.wrapping_add(chain([fixed(key), item_digest(bytes)]));
            });
            sum
        }
    };
    chain([kind, sum])
}
