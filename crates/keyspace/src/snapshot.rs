//! A keyspace's data as effects: what a snapshot keeps, and how it comes back.
//!
//! A slot is written as it was at one moment, and different slots as they were at different ones,
//! while the keyspace goes on. So whoever loads them replays the log from the oldest of these
//! moments, and each slot passes over the entries that it holds already ([`Keyspace::apply`] does
//! so by itself).
//!
//! No slot and no value is too large for that: they are written part by part, and whoever changes
//! what was not written yet has it written first. Tables of the slot that is being written, and
//! they alone, ask for that: one comparison per change of a key.

mod large;
mod parts;
mod streams;

pub(crate) use large::{Large, Touch, address_of};

use crate::compare::{LARGE_BYTES, content_bytes};
use crate::hash::Hasher;
use crate::keyspace::Keyspace;
use crate::libraries::Libraries;
use crate::records::Records;
use crate::table::{Table, View};
use crate::trash::Trash;
use crate::value::Value;
use cairn_logic::ids::{EntryId, SLOTS, Slot};
use parts::Parts;
use std::collections::VecDeque;

/// How records of snapshots are written; another number for each way.
pub const CONTENT: u32 = 1;

/// Some slots as they were at one moment. A slot of many bytes takes several of these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The first slot.
    pub first: u16,
    /// The last slot; what lies between is in it, too, be it empty.
    pub last: u16,
    /// How many keys end in it.
    pub keys: u32,
    /// For [`Keyspace::import`].
    pub records: Vec<u8>,
}

impl Portion {
    /// Which slots it has, as a section of a file says it: the first and the last.
    #[must_use]
    pub fn label(&self) -> [u8; 4] {
        let ([a, b], [c, d]) = (self.first.to_le_bytes(), self.last.to_le_bytes());
        [a, b, c, d]
    }

    /// The first and the last slot of a label; `None` if it is none.
    #[must_use]
    pub fn slots(label: &[u8]) -> Option<(u16, u16)> {
        let &[a, b, c, d] = label else { return None };
        let (first, last) = (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d]));
        (first <= last && last < SLOTS).then_some((first, last))
    }
}

/// What is written of a keyspace.
pub struct Export {
    out: Out,
    /// The slot that comes next, or is being written.
    next: u16,
    /// The slot behind the last.
    end: u16,
    open: Option<Open>,
}

/// The slot that is being written.
struct Open {
    keys: Parts,
    /// Large values that were come across.
    large: VecDeque<Large>,
    /// The slot's table as it was when all keys were deleted.
    kept: Option<Table<Value>>,
}

/// What was written.
pub(crate) struct Out {
    records: Records,
    /// The first slot of the portion, and the one that is being written.
    first: u16,
    slot: u16,
    /// The entry after which the portion's slots are as they are in it.
    at: EntryId,
    portion_bytes: usize,
    ready: Vec<(EntryId, Portion)>,
    /// What was kept until it was written.
    trash: Trash,
}

impl Out {
    /// A slot begins, as it is after entry `at`; in front of the first one stand the libraries.
    fn begin(&mut self, slot: u16, at: EntryId, libraries: &Libraries) {
        if self.at != at && slot > self.first {
            self.close(slot - 1);
            self.first = slot;
        }
        (self.slot, self.at) = (slot, at);
        if slot == 0 {
            libraries.each(|name, text| {
                self.records.library(name, text);
                self.piece_done();
            });
        }
    }

    /// Says of a hidden slot that begins by which move it is.
    fn mark(&mut self, keyspace: &Keyspace, slot: Slot) {
        if let Some(mark) = keyspace.marks().get(&slot) {
            self.records.mark(slot, *mark);
        }
    }

    fn close(&mut self, last: u16) {
        let (keys, records) = self.records.take();
        self.ready.push((self.at, Portion { first: self.first, last, keys, records }));
    }

    /// The slot is written: ends the portion with it if it is large enough, so that the next one,
    /// which another thread may load, has nothing of this slot.
    fn end_slot(&mut self) {
        if self.records.bytes() >= self.portion_bytes {
            self.close(self.slot);
            self.first = self.slot + 1;
        }
    }

    /// What was written last is an entry. Ends a portion in the middle of a slot that is too large
    /// for one: whoever writes ends with this.
    fn piece_done(&mut self) {
        self.records.piece_done();
        if self.records.bytes() / 2 >= self.portion_bytes {
            self.close(self.slot);
            self.first = self.slot;
        }
    }
}

/// What an entry of so many bytes counts for in the bound of a step.
fn cost(bytes: usize) -> usize {
    1 + bytes / 256
}

impl Open {
    fn new(table: &Table<Value>) -> Self {
        Self { keys: Parts::of_table(table.len()), large: VecDeque::new(), kept: None }
    }

    /// Writes some of the slot: what it counts for, or none if that was all.
    fn step(&mut self, live: &Table<Value>, hasher: &Hasher, out: &mut Out) -> Option<usize> {
        let kept = self.kept.take();
        let table = kept.as_ref().unwrap_or(live);
        let wrote = if let Some(large) = self.large.front_mut() {
            let found = table.find(hasher.hash(large.live_key()), large.live_key());
            let value = found.and_then(|place| match table.entry(place).value() {
                View::Object(value) => Some(value),
                View::Bytes(_) => None,
            });
            let wrote = large.step(value, out);
            if wrote.is_none() {
                let large = self.large.pop_front();
                if let Some(value) = large.and_then(|large| large.kept) {
                    out.trash.value(*value);
                }
            }
            Some(wrote.unwrap_or(1))
        } else {
            self.keys.take_next().map(|part| self.write(table, part, out))
        };
        self.kept = kept;
        wrote
    }

    /// Writes a part of the keys, and begins with the large values in it.
    fn write(&mut self, table: &Table<Value>, part: usize, out: &mut Out) -> usize {
        let mut sum = 1;
        table.scan_between(self.keys.positions(part), |entry| {
            let bytes = match entry.value() {
                View::Bytes(bytes) => bytes.len(),
                View::Object(_) => content_bytes(&entry.value()),
            };
            sum += cost(entry.key().len() + bytes);
            match if bytes > LARGE_BYTES { Large::begin(&entry) } else { None } {
                Some(large) => self.large.push_back(large),
                None => out.records.entry(&entry),
            }
        });
        out.piece_done();
        sum
    }
}

impl Export {
    /// Begins with the first slot; portions have about `portion_bytes`, up to twice as many in a
    /// large slot, and a MiB more at most beyond what one item takes.
    ///
    /// For a keyspace that stays as it is until the end; one that goes on writes by itself
    /// ([`Keyspace::begin_export`]).
    #[must_use]
    pub fn new(portion_bytes: usize) -> Self {
        Self::of((0, SLOTS - 1), portion_bytes)
    }

    /// The same of the slots from `first` to `last`.
    #[must_use]
    pub fn of((first, last): (u16, u16), portion_bytes: usize) -> Self {
        let (records, at, ready) = (Records::new(), EntryId::ZERO, Vec::new());
        let trash = Trash::default();
        let out = Out { records, first, slot: first, at, portion_bytes, ready, trash };
        Self { out, next: first, end: last + 1, open: None }
    }

    /// The slots from the first one to this one, without it, have begun: what changes in them from
    /// now on is not written.
    #[must_use]
    pub fn begun(&self) -> u16 {
        self.next + u16::from(self.open.is_some())
    }

    /// The slot in which a change must be told; [`SLOTS`] if there is none.
    pub(crate) fn watches(&self) -> u16 {
        match &self.open {
            Some(Open { kept: None, .. }) => self.next,
            Some(_) | None => SLOTS,
        }
    }

    /// Writes what counts for `cost_max`, and a little more; whether there is more to be written.
    ///
    /// A slot that begins is as it is after entry `at`. A key of a few bytes counts for one; a call
    /// does 64 such keys more at most, or 64 values of 16 KiB, or a piece of a larger one. Nothing
    /// of a slot that is lent.
    pub fn advance(&mut self, keyspace: &Keyspace, at: EntryId, cost_max: usize) -> bool {
        let mut sum = 0;
        while self.next < self.end && sum < cost_max {
            let slot = Slot::try_from(self.next).expect("it is below 16384");
            if keyspace.lent() == Some(slot) {
                return true;
            }
            let (table, out) = (keyspace.table(slot), &mut self.out);
            if self.open.is_none() && table.len() == 0 {
                out.begin(slot.get(), at, &keyspace.libraries);
                out.mark(keyspace, slot);
                (self.next, sum) = (self.next + 1, sum + 1);
                continue;
            }
            let open = self.open.get_or_insert_with(|| {
                out.begin(slot.get(), at, &keyspace.libraries);
                out.mark(keyspace, slot);
                Open::new(table)
            });
            match open.step(table, keyspace.hasher(), out) {
                Some(wrote) => sum += wrote,
                None => {
                    let open = self.open.take();
                    if let Some(table) = open.and_then(|open| open.kept) {
                        out.trash.table(table);
                    }
                    out.end_slot();
                    self.next += 1;
                }
            }
        }
        if self.next == self.end && self.out.first < self.end {
            self.out.close(self.end - 1);
            self.out.first = self.end;
        }
        self.next < self.end
    }

    /// The portions that are whole since the last call, each with the entry after which its slots
    /// were so; all of them, once there is no more to be written.
    pub fn take(&mut self) -> Vec<(EntryId, Portion)> {
        std::mem::take(&mut self.out.ready)
    }

    /// A key with this hash is about to change in the slot that is being written.
    #[cold]
    pub(crate) fn before(&mut self, table: &Table<Value>, hash: u64) {
        let Some(open) = &mut self.open else { return };
        let part = open.keys.of_hash(hash);
        if open.keys.take(part) {
            open.write(table, part, &mut self.out);
        }
    }

    /// The large value at this address, if it is being written.
    pub(crate) fn large(&mut self, address: usize) -> Option<(&mut Large, &mut Out)> {
        let open = self.open.as_mut()?;
        let large = open.large.iter_mut().find(|large| large.address == address)?;
        Some((large, &mut self.out))
    }

    /// The value at this address has another key of the same slot from now on.
    pub(crate) fn renamed(&mut self, address: usize, key: &[u8]) {
        if let Some((large, _)) = self.large(address) {
            large.renamed = Some(key.to_vec());
        }
    }

    /// Takes a value that the keyspace gives up, if it is not written yet; else gives it back.
    #[cold]
    pub(crate) fn keep(&mut self, value: Box<Value>) -> Option<Box<Value>> {
        match self.large(address_of(&value)) {
            Some((large, _)) => {
                large.kept = Some(value);
                None
            }
            None => Some(value),
        }
    }

    /// Takes the table of the slot that is being written: all keys are deleted.
    pub(crate) fn keep_all(&mut self, table: Table<Value>) {
        if let Some(open) = &mut self.open {
            open.kept = Some(table);
        }
    }
}

impl Keyspace {
    /// Begins to write all slots, in place of what is being written; portions as in
    /// [`Export::new`].
    pub fn begin_export(&mut self, portion_bytes: usize) {
        self.set_export(Some(Box::new(Export::new(portion_bytes))));
    }

    /// Begins to write the slots from `first` to `last`, in place of what is being written.
    pub fn begin_export_of(&mut self, slots: (Slot, Slot), portion_bytes: usize) {
        let slots = (slots.0.get(), slots.1.get());
        self.set_export(Some(Box::new(Export::of(slots, portion_bytes))));
    }

    /// As [`Export::begun`], of what is being written.
    #[must_use]
    pub fn export_begun(&self) -> Option<u16> {
        self.export.as_ref().map(|export| export.begun())
    }

    /// Nothing is written any more.
    pub fn end_export(&mut self) {
        self.set_export(None);
    }

    /// Goes on with it, as [`Export::advance`]. Whatever comes between two calls, a slot is written
    /// as it was when it began.
    pub fn export_some(&mut self, at: EntryId, cost_max: usize) -> bool {
        let Some(mut export) = self.export.take() else { return false };
        let more = export.advance(self, at, cost_max);
        self.trash.append(std::mem::take(&mut export.out.trash));
        self.set_export(Some(export));
        more
    }

    /// As [`Export::take`].
    pub fn take_exported(&mut self) -> Vec<(EntryId, Portion)> {
        self.export.as_mut().map_or_else(Vec::new, |export| export.take())
    }

    fn set_export(&mut self, export: Option<Box<Export>>) {
        self.watched = export.as_ref().map_or(SLOTS, |export| export.watches());
        self.export = export;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyspace::At;
    use crate::value::hash::Hash;
    use crate::value::list::{List, Side};
    use cairn_logic::ids::Offset;

    fn put<C: crate::value::Collection>(
        keyspace: &mut Keyspace,
        key: &[u8],
    ) -> (At, crate::table::Place) {
        let at = keyspace.locate(key);
        (at, keyspace.put_collection::<C>(at, key))
    }

    #[test]
    fn large_values_are_written_in_pieces_that_belong_together() {
        let mut keyspace = Keyspace::new(1);
        let at = keyspace.locate(b"text");
        let text: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
        keyspace.put_text(at, b"text", None, &text, Some(77));
        let (at, place) = put::<Hash>(&mut keyspace, b"hash");
        keyspace.update(at, place, |hash: &mut Hash, touch| {
            (0..90_000_u32).for_each(|n| {
                hash.set(touch, &n.to_le_bytes(), &[7; 40]);
            });
        });
        let (at, place) = put::<List>(&mut keyspace, b"list");
        keyspace.update(at, place, |list: &mut List, touch| {
            (0..90_000_u32).for_each(|n| list.push(touch, Side::Back, &n.to_le_bytes().repeat(8)));
        });
        // Items of which a step takes more than an entry holds.
        let (at, place) = put::<List>(&mut keyspace, b"long");
        keyspace.update(at, place, |list: &mut List, touch| {
            (0..600_u32).for_each(|n| list.push(touch, Side::Back, &n.to_le_bytes().repeat(5000)));
        });
        let mut export = Export::new(1 << 19);
        assert!(!export.advance(&keyspace, EntryId::ZERO, usize::MAX));
        let portions: Vec<_> = export.take().into_iter().map(|(_, portion)| portion).collect();
        assert!(portions.len() > 8, "{}", portions.len());
        assert!(portions.iter().all(|portion| portion.records.len() < 3 << 20));
        assert_eq!(portions.iter().map(|portion| portion.keys).sum::<u32>(), 4);
        assert_eq!((portions[0].first, portions.last().map(|p| p.last)), (0, Some(SLOTS - 1)));
        let mut copy = Keyspace::new(2);
        for portion in &portions {
            copy.import(portion, Offset(9)).expect("what was written is taken");
        }
        assert_eq!(copy.digest(), keyspace.digest());
        assert!(export.take().is_empty());
    }

    #[test]
    fn portions_stay_small_while_clients_are_faster_than_the_writer() {
        let mut keyspace = Keyspace::new(1);
        let (at, place) = put::<Hash>(&mut keyspace, b"hash");
        let set = |keyspace: &mut Keyspace, from: u32| {
            keyspace.update(at, place, |hash: &mut Hash, touch| {
                (from..from + 100).for_each(|n| {
                    hash.set(touch, &n.to_le_bytes(), &[7; 100]);
                });
            });
        };
        (0..200_u32).for_each(|n| set(&mut keyspace, n * 100));
        let digest = keyspace.digest();
        keyspace.begin_export(1 << 16);
        while keyspace.watched == SLOTS || keyspace.take_exported().is_empty() {
            assert!(keyspace.export_some(EntryId::ZERO, 1));
        }
        // Everything is changed before the writer comes again.
        (0..200_u32).for_each(|n| set(&mut keyspace, 19_900 - n * 100));
        let portions = keyspace.take_exported();
        assert!(portions.len() > 10, "{}", portions.len());
        assert!(portions.iter().all(|(_, portion)| portion.records.len() < 1 << 18));
        assert_eq!(keyspace.digest(), digest);
    }
}
