//! A set of members.

use super::packed::{ITEM_BYTES_MAX, ITEMS_MAX, Packed};
use crate::dice::{Dice, sample};
use crate::hash::Hasher;
use crate::snapshot::Touch;
use crate::table::{Never, Payload, Table};

/// Members: few and short ones packed, more in a table.
pub enum Set {
    /// The members in a row.
    Small(Packed),
    /// Entries whose keys are members.
    Large(Table<Never>),
}

impl Default for Set {
    fn default() -> Self {
        Set::Small(Packed::default())
    }
}

impl Set {
    /// How many members there are.
    pub fn len(&self) -> usize {
        match self {
            Set::Small(packed) => packed.len(),
            Set::Large(table) => table.len(),
        }
    }

    /// The room it takes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Set::Small(packed) => packed.memory_bytes(),
            Set::Large(table) => table.memory_bytes(),
        }
    }

    /// Whether `member` is in it.
    pub fn contains(&self, hasher: &Hasher, member: &[u8]) -> bool {
        match self {
            Set::Small(packed) => packed.find(member, 0, 1).is_some(),
            Set::Large(table) => table.find(hasher.hash(member), member).is_some(),
        }
    }

    /// Adds a member; whether it is new.
    pub fn add(&mut self, touch: &mut Touch<'_>, member: &[u8]) -> bool {
        let hasher = touch.hasher();
        match self {
            Set::Small(packed) => {
                if packed.find(member, 0, 1).is_some() {
                    return false;
                }
                if member.len() <= ITEM_BYTES_MAX && packed.len() < ITEMS_MAX {
                    packed.push(member);
                    return true;
                }
                let mut table = Table::default();
                for old in packed.iter() {
                    table.insert(hasher, hasher.hash(old), old, Payload::Bytes(b""), None);
                }
                let hash = hasher.hash(member);
                table.insert(hasher, hash, member, Payload::Bytes(b""), None);
                *self = Set::Large(table);
                true
            }
            Set::Large(table) => {
                let hash = hasher.hash(member);
                if table.find(hash, member).is_some() {
                    return false;
                }
                touch.item(table, hash);
                table.insert(hasher, hash, member, Payload::Bytes(b""), None);
                true
            }
        }
    }

    /// Removes a member; whether it was there.
    pub fn remove(&mut self, touch: &mut Touch<'_>, member: &[u8]) -> bool {
        match self {
            Set::Small(packed) => {
                let Some((_, place)) = packed.find(member, 0, 1) else { return false };
                packed.remove(place, place, 1);
                true
            }
            Set::Large(table) => {
                let hash = touch.hasher().hash(member);
                let Some(place) = table.find(hash, member) else { return false };
                touch.item(table, hash);
                table.remove(place);
                true
            }
        }
    }

    /// The members.
    pub fn members(&self) -> Box<dyn Iterator<Item = &[u8]> + '_> {
        match self {
            Set::Small(packed) => Box::new(packed.iter()),
            Set::Large(table) => Box::new(table.iter().map(|entry| entry.key())),
        }
    }

    /// A member drawn at random.
    pub fn random(&self, dice: &mut Dice) -> Option<&[u8]> {
        match self {
            Set::Small(packed) => {
                packed.place(dice.below(packed.len().max(1))).map(|place| packed.get(place))
            }
            Set::Large(table) => table.random(dice).map(|entry| entry.key()),
        }
    }

    /// `count` members drawn at random, or all if there are no more.
    pub fn sample(&self, count: usize, dice: &mut Dice) -> Vec<&[u8]> {
        sample((count, self.len()), dice, self.members(), |dice| self.random(dice))
    }

    /// Visits members from a scan position on, about `count` of them, or all that are packed;
    /// where to go on.
    pub fn scan(&self, from: u64, count: usize, mut visit: impl FnMut(&[u8])) -> Option<u64> {
        match self {
            Set::Small(packed) => {
                packed.iter().for_each(visit);
                None
            }
            Set::Large(table) => table.scan(from, count, |entry| visit(entry.key())),
        }
    }

    /// Visits the members.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8])) {
        match self {
            Set::Small(packed) => packed.iter().for_each(visit),
            Set::Large(table) => table.iter().for_each(|entry| visit(entry.key())),
        }
    }
}
