//! Digests that do not depend on order, so that members can be compared.

use crate::hash::fixed;
use crate::keyspace::Keyspace;
use crate::table::{Entry, View};
use crate::value::Value;
use cairn_logic::ids::{SLOTS, Slot};

/// Mixes parts in their order into one number.
pub(crate) fn chain<const N: usize>(parts: [u64; N]) -> u64 {
    let mut bytes = [[0_u8; 8]; N];
    for (room, part) in bytes.iter_mut().zip(parts) {
        *room = part.to_le_bytes();
    }
    fixed(bytes.as_flattened())
}

impl Keyspace {
    /// The digest of a slot's keys, values and expiries; equal data gives equal digests on every
    /// node, whatever the seed and the order of writes. Reads all of the slot's data.
    #[must_use]
    pub fn slot_digest(&self, slot: Slot) -> u64 {
        let entries = self.table(slot).iter().map(|entry| entry_digest(&entry));
        entries.fold(0, u64::wrapping_add)
    }

    /// What a slot adds to [`Keyspace::digest`]. Reads all of the slot's data.
    #[must_use]
    pub fn slot_share(&self, slot: Slot) -> u64 {
        match self.slot_len(slot) {
            0 => 0,
            _ => chain([u64::from(slot.get()), self.slot_digest(slot)]),
        }
    }

    /// The digest of everything: the sum of all slots' shares. Reads all data: for tests and small
    /// keyspaces; add up slot by slot elsewhere.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let slots = (0..SLOTS).filter_map(|number| Slot::try_from(number).ok());
        slots.fold(0, |sum: u64, slot| sum.wrapping_add(self.slot_share(slot)))
    }
}

/// The digest of a key, its value and its expiry.
pub(crate) fn entry_digest(entry: &Entry<'_, Value>) -> u64 {
    let value = match entry.value() {
        View::Bytes(bytes) => [1, fixed(bytes)],
        View::Object(value) => value_digest(value),
    };
    chain([fixed(entry.key()), value[0], value[1], entry.expiry().unwrap_or(0)])
}

fn value_digest(value: &Value) -> [u64; 2] {
    let mut sum = 0_u64;
    match value {
        Value::Text(text) => [1, fixed(text)],
        Value::Hash(hash) => {
            hash.for_each(|field, value| {
                sum = sum.wrapping_add(chain([fixed(field), fixed(value)]));
            });
            [2, sum]
        }
        Value::List(list) => {
            list.iter_from(0).for_each(|item| sum = chain([sum, fixed(item)]));
            [3, sum]
        }
        Value::Set(set) => {
            set.for_each(|member| sum = sum.wrapping_add(chain([fixed(member)])));
            [4, sum]
        }
        Value::Sorted(sorted) => {
            sorted.for_each(0, sorted.len(), |score, member| {
                sum = sum.wrapping_add(chain([score.to_bits(), fixed(member)]));
            });
            [5, sum]
        }
        Value::Stream(stream) => [6, stream.digest((0, u64::MAX), &fixed)],
    }
}
