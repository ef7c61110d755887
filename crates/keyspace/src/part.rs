//! Parts of a keyspace that are compared between members: the same keys on all of them.
//!
//! Keys are walked slot by slot and, in a slot, in the order of their hashes; a *cursor* is a place
//! in that walk: the slot, then the leading bits of the hash. Tables of other sizes walk in the
//! same order, so a range of cursors names the same keys everywhere, if the hash has one seed.

use crate::effects::Reader;
use crate::hash::Hasher;
use crate::slot::slot_of;
use crate::table::{Entry, SCAN_BITS, Table};
use cairn_logic::ids::{SLOTS, Slot};

/// Behind the last key.
pub const END: u64 = (SLOTS as u64) << SCAN_BITS;
/// Behind the last position of a slot, or of a collection's items.
pub(crate) const POSITIONS_END: u64 = 1 << SCAN_BITS;
/// Entries looked at between two looks at a bound.
pub(crate) const CHUNK: usize = 16;

/// A part of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// All keys from one cursor to another; of a large value its type, its length and its expiry.
    Keys {
        /// The first cursor.
        from: u64,
        /// Behind the last; at most [`END`].
        to: u64,
    },
    /// Some of a large value.
    Items {
        /// The value's key.
        key: Vec<u8>,
        /// Where it begins: a byte of a string, an index of a list, or leading bits of the hash of
        /// a field or member.
        from: u64,
        /// Where it ends.
        to: u64,
    },
}

impl Part {
    /// As the log keeps it and nodes send it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = crate::effects::Bytes::default();
        match self {
            Part::Keys { from, to } => {
                out.byte(0);
                out.varint(*from);
                out.varint(*to);
            }
            Part::Items { key, from, to } => {
                out.byte(1);
                out.text(key);
                out.varint(*from);
                out.varint(*to);
            }
        }
        out.done()
    }

    /// What [`Part::encode`] wrote; none for other bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let part = match reader.byte()? {
            0 => {
                let (from, to) = (reader.varint()?, reader.varint()?);
                (from < to && to <= END).then_some(Part::Keys { from, to })?
            }
            1 => {
                let key = reader.text()?.to_vec();
                let (from, to) = (reader.varint()?, reader.varint()?);
                (from < to).then_some(Part::Items { key, from, to })?
            }
            _ => return None,
        };
        reader.is_empty().then_some(part)
    }

    /// The first and the last slot that has something of it.
    #[must_use]
    pub fn slots(&self) -> (Slot, Slot) {
        match self {
            Part::Keys { from, to } => {
                let slot = |cursor: u64| {
                    let number = (cursor >> SCAN_BITS).min(u64::from(SLOTS) - 1);
                    Slot::try_from(number as u16).expect("it is below 16384")
                };
                (slot(*from), slot(to.saturating_sub(1)))
            }
            Part::Items { key, .. } => (slot_of(key), slot_of(key)),
        }
    }
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (first, last) = self.slots();
        match self {
            Part::Keys { from: 0, to: END } => write!(f, "all keys"),
            Part::Keys { from, to } if first == last => {
                let of = |cursor: u64| cursor - (u64::from(first.get()) << SCAN_BITS);
                match (of(*from), of(*to)) {
                    (0, POSITIONS_END) => write!(f, "slot {}", first.get()),
                    (from, to) => write!(f, "slot {} from {from:012x} to {to:012x}", first.get()),
                }
            }
            Part::Keys { .. } => write!(f, "slots {} to {}", first.get(), last.get()),
            Part::Items { key, from, to } => {
                let key = String::from_utf8_lossy(&key[..key.len().min(64)]).into_owned();
                write!(f, "slot {}, {key:?} from {from} to {to}", first.get())
            }
        }
    }
}

/// The hash by which positions of a part count.
pub(crate) struct Lens {
    pub hasher: Hasher,
    /// Whether the tables are in its order.
    pub native: bool,
}

impl Lens {
    pub fn position(&self, key: &[u8]) -> u64 {
        self.hasher.hash(key) >> (64 - SCAN_BITS)
    }
}

/// The slots between two cursors, each with the positions in it.
pub(crate) fn slots_between(from: u64, to: u64) -> impl Iterator<Item = (Slot, u64, u64)> {
    let slots = from >> SCAN_BITS..(to + POSITIONS_END - 1) >> SCAN_BITS;
    slots.map(move |number| {
        let base = number << SCAN_BITS;
        let slot = Slot::try_from(number as u16).expect("cursors end with the last slot");
        (slot, from.max(base) - base, to.min(base + POSITIONS_END) - base)
    })
}

/// Visits the entries of a table whose positions are in `from..to`.
pub(crate) fn each_between<'a, T>(
    table: &'a Table<T>,
    lens: &Lens,
    (from, to): (u64, u64),
    mut visit: impl FnMut(Entry<'a, T>),
) {
    let inside = |entry: &Entry<'_, T>| (from..to).contains(&lens.position(entry.key()));
    if !lens.native {
        return table.iter().filter(inside).for_each(visit);
    }
    let mut at = from;
    loop {
        let next = table.scan(at, CHUNK, |entry| {
            if inside(&entry) {
                visit(entry);
            }
        });
        match next {
            Some(next) if next < to => at = next,
            Some(_) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_as_it_was_written() {
        for part in [
            Part::Keys { from: 0, to: END },
            Part::Keys { from: 5 << SCAN_BITS | 77, to: 5 << SCAN_BITS | 78 },
            Part::Items { key: b"".to_vec(), from: 0, to: u64::MAX },
        ] {
            let bytes = part.encode();
            assert_eq!(Part::decode(&bytes), Some(part));
            (0..bytes.len()).for_each(|len| assert_eq!(Part::decode(&bytes[..len]), None));
        }
        assert_eq!(Part::decode(&Part::Keys { from: 7, to: 7 }.encode()), None);
        assert_eq!(Part::decode(&Part::Keys { from: 7, to: END + 1 }.encode()), None);
    }

    #[test]
    fn cursors_name_slots_and_positions() {
        let all: Vec<_> = slots_between(3 << SCAN_BITS | 9, 5 << SCAN_BITS)
            .map(|(slot, from, to)| (slot.get(), from, to))
            .collect();
        assert_eq!(all, [(3, 9, POSITIONS_END), (4, 0, POSITIONS_END)]);
        assert_eq!(slots_between(0, END).count(), usize::from(SLOTS));
        assert_eq!(slots_between(7, 8).map(|(_, from, to)| (from, to)).next(), Some((7, 8)));
    }
}
