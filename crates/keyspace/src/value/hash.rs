//! A hash: fields and their values.

use super::packed::{ITEM_BYTES_MAX, ITEMS_MAX, Packed};
use crate::dice::{Dice, sample};
use crate::hash::Hasher;
use crate::snapshot::Touch;
use crate::table::{Never, Payload, Table};

/// Fields and their values: few and short ones packed, more in a table.
pub enum Hash {
    /// Field, value, field, value, …
    Small(Packed),
    /// Entries whose keys are fields.
    Large(Table<Never>),
}

impl Default for Hash {
    fn default() -> Self {
        Hash::Small(Packed::default())
    }
}

impl Hash {
    /// How many fields there are.
    pub fn len(&self) -> usize {
        match self {
            Hash::Small(packed) => packed.len() / 2,
            Hash::Large(table) => table.len(),
        }
    }

    /// The room it takes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Hash::Small(packed) => packed.memory_bytes(),
            Hash::Large(table) => table.memory_bytes(),
        }
    }

    /// The value of a field.
    pub fn get(&self, hasher: &Hasher, field: &[u8]) -> Option<&[u8]> {
        match self {
            Hash::Small(packed) => {
                let (index, _) = packed.find(field, 0, 2)?;
                packed.place(index + 1).map(|place| packed.get(place))
            }
            Hash::Large(table) => {
                let place = table.find(hasher.hash(field), field)?;
                Some(table.entry(place).bytes())
            }
        }
    }

    /// Sets a field; whether it is new.
    pub fn set(&mut self, touch: &mut Touch<'_>, field: &[u8], value: &[u8]) -> bool {
        if let Hash::Small(packed) = self {
            let found = packed.find(field, 0, 2);
            let fits = field.len().max(value.len()) <= ITEM_BYTES_MAX;
            match found.and_then(|(index, _)| packed.place(index + 1)) {
                Some(place) if fits => {
                    packed.replace(place, value);
                    return false;
                }
                None if fits && packed.len() < ITEMS_MAX * 2 => {
                    packed.push(field);
                    packed.push(value);
                    return true;
                }
                _ => {}
            }
        }
        let hasher = touch.hasher();
        let table = self.enlarge(hasher);
        let hash = hasher.hash(field);
        touch.item(table, hash);
        match table.find(hash, field) {
            Some(place) => {
                table.set_bytes(place, value, None);
                false
            }
            None => {
                table.insert(hasher, hash, field, Payload::Bytes(value), None);
                true
            }
        }
    }

    fn enlarge(&mut self, hasher: &Hasher) -> &mut Table<Never> {
        if let Hash::Small(packed) = self {
            let mut table = Table::default();
            let mut items = packed.iter();
            while let (Some(field), Some(value)) = (items.next(), items.next()) {
                table.insert(hasher, hasher.hash(field), field, Payload::Bytes(value), None);
            }
            drop(items);
            *self = Hash::Large(table);
        }
        match self {
            Hash::Large(table) => table,
            Hash::Small(_) => unreachable!("it was made large just now"),
        }
    }

    /// Removes a field; whether it was there.
    pub fn remove(&mut self, touch: &mut Touch<'_>, field: &[u8]) -> bool {
        match self {
            Hash::Small(packed) => {
                let Some((index, first)) = packed.find(field, 0, 2) else { return false };
                let last = packed.place(index + 1).expect("a field has a value");
                packed.remove(first, last, 2);
                true
            }
            Hash::Large(table) => {
                let hash = touch.hasher().hash(field);
                let Some(place) = table.find(hash, field) else { return false };
                touch.item(table, hash);
                table.remove(place);
                true
            }
        }
    }

    /// Fields and values.
    pub fn pairs(&self) -> Box<dyn Iterator<Item = (&[u8], &[u8])> + '_> {
        match self {
            Hash::Small(packed) => {
                let mut items = packed.iter();
                Box::new(std::iter::from_fn(move || Some((items.next()?, items.next()?))))
            }
            Hash::Large(table) => Box::new(table.iter().map(|e| (e.key(), e.bytes()))),
        }
    }

    /// A field drawn at random, and its value.
    pub fn random(&self, dice: &mut Dice) -> Option<(&[u8], &[u8])> {
        match self {
            Hash::Small(_) => self.pairs().nth(dice.below(self.len().max(1))),
            Hash::Large(table) => table.random(dice).map(|entry| (entry.key(), entry.bytes())),
        }
    }

    /// `count` fields drawn at random with their values, or all if there are no more.
    pub fn sample(&self, count: usize, dice: &mut Dice) -> Vec<(&[u8], &[u8])> {
        sample((count, self.len()), dice, self.pairs(), |dice| self.random(dice))
    }

    /// Visits fields and values from a scan position on, about `count` of them, or all that are
    /// packed; where to go on.
    pub fn scan(
        &self,
        from: u64,
        count: usize,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Option<u64> {
        match self {
            Hash::Small(_) => {
                self.for_each(visit);
                None
            }
            Hash::Large(table) => table.scan(from, count, |e| visit(e.key(), e.bytes())),
        }
    }

    /// Visits fields and values.
    pub fn for_each(&self, mut visit: impl FnMut(&[u8], &[u8])) {
        match self {
            Hash::Small(packed) => {
                let mut items = packed.iter();
                while let (Some(field), Some(value)) = (items.next(), items.next()) {
                    visit(field, value);
                }
            }
            Hash::Large(table) => table.iter().for_each(|e| visit(e.key(), e.bytes())),
        }
    }
}
