//! The data of a group: 16384 tables, and what is known of each.

mod ahead;
mod lanes;
mod loans;
mod moving;

pub use ahead::Member;
pub use lanes::Lane;
pub use loans::Loan;

use crate::check::{BYTES_MAX, KEYS_MAX};
use crate::differ::Found;
use crate::events::Events;
use crate::evict::Evictor;
use crate::hash::Hasher;
use crate::hidden::Hidden;
use crate::libraries::Libraries;
use crate::slot::slot_of;
use crate::snapshot::{Export, Touch, address_of};
use crate::table::{Entry, Payload, Place, SCAN_BITS, Table, View};
use crate::trash::Trash;
use crate::usage::Usage;
use crate::value::{Collection, INLINE_MAX, Type, Value};
use cairn_logic::ids::{Offset, SLOTS, Slot};
use std::ops::{Range, RangeInclusive};

/// Where a key belongs: computed once per command, used for routing, prefetching and executing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    /// The key's slot.
    pub slot: Slot,
    /// The key's hash in this keyspace.
    pub hash: u64,
}

/// A place in the order in which keys are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Walk {
    slot: u16,
    position: u64,
}

impl Walk {
    pub const START: Self = Self { slot: 0, position: 0 };

    /// What clients are given; never 0 but for the start.
    pub fn to_cursor(self) -> u64 {
        u64::from(self.slot) << SCAN_BITS | self.position
    }

    pub fn from_cursor(cursor: u64) -> Option<Self> {
        let slot = u16::try_from(cursor >> SCAN_BITS).ok().filter(|slot| *slot < SLOTS)?;
        Some(Self { slot, position: cursor & ((1 << SCAN_BITS) - 1) })
    }
}

/// One slot: a cache line.
#[derive(Default)]
pub(crate) struct SlotState {
    pub table: Table<Value>,
    last_write: Offset,
}

/// What is known of a slot beside its table.
#[derive(Clone, Copy, Default)]
pub(crate) struct SlotSums {
    /// How many keys have an expiry.
    pub expiring: u32,
    /// No key expires before this moment, in milliseconds since 1970.
    pub earliest_ms: u64,
    /// What values behind pointers take, in bytes.
    pub objects_bytes: usize,
}

/// The data of a group.
pub struct Keyspace {
    pub(crate) slots: Vec<SlotState>,
    pub(crate) sums: Vec<SlotSums>,
    hasher: Hasher,
    pub(crate) keys: usize,
    pub(crate) used: usize,
    /// How many keys have an expiry.
    pub(crate) expiring: usize,
    /// Where the expiry cycle goes on: a slot, and a position in it.
    pub(crate) expiry_cursor: (u16, u64),
    /// What random choices are drawn from.
    dice: u64,
    /// After which entry each slot was imported; empty once the log has passed all of them.
    floors: Vec<Offset>,
    /// What keys their hash.
    pub(crate) seed: u64,
    /// Behind how many keys or items, or bytes, a part ends.
    pub(crate) part_max: (usize, usize),
    /// The cursor up to which the last check went.
    pub(crate) checked: u64,
    /// Parts that were found to differ, and what else comparing has found.
    pub(crate) found: Found,
    /// The snapshot that is being written.
    pub(crate) export: Option<Box<Export>>,
    /// The slot of which it must hear before a key changes; [`SLOTS`] if there is none.
    pub(crate) watched: u16,
    /// What was given up and is large.
    pub(crate) trash: Trash,
    /// What keys underwent, if anybody wants to know.
    pub(crate) events: Option<Box<Events>>,
    /// What is noted of the use of keys.
    pub(crate) usage: Usage,
    /// How room is made.
    pub(crate) evictor: Evictor,
    /// Libraries of functions.
    pub(crate) libraries: Libraries,
    /// What memory the process has, in bytes; 0 if that is not known.
    pub resident_bytes: fn() -> u64,
    /// Slots that are shown to nobody.
    pub(crate) hidden: Hidden,
    /// The slot that another thread has.
    lent: Option<Slot>,
}

impl Keyspace {
    /// An empty keyspace.
    ///
    /// `seed` keys the hash. It must not be known to clients, and should be the same on all
    /// members of a group (derived from its identity): then a SCAN goes on after a failover.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            slots: (0..SLOTS).map(|_| SlotState::default()).collect(),
            sums: vec![SlotSums::default(); usize::from(SLOTS)],
            hasher: Hasher::new(seed),
            keys: 0,
            used: 0,
            expiring: 0,
            expiry_cursor: (0, 0),
            dice: seed | 1,
            floors: Vec::new(),
            seed,
            part_max: (KEYS_MAX, BYTES_MAX),
            checked: 0,
            found: Found::default(),
            export: None,
            watched: SLOTS,
            trash: Trash::default(),
            events: None,
            usage: Usage::new(seed),
            evictor: Evictor::default(),
            libraries: Libraries::default(),
            resident_bytes: || 0,
            hidden: Hidden::default(),
            lent: None,
        }
    }

    /// Slot and hash of a key.
    #[must_use]
    #[inline]
    pub fn locate(&self, key: &[u8]) -> At {
        At { slot: slot_of(key), hash: self.hasher.hash(key) }
    }

    /// How many keys there are, expired ones that are not deleted yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys == 0
    }

    /// How many keys have an expiry.
    #[must_use]
    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// How many keys a slot has.
    #[must_use]
    pub fn slot_len(&self, slot: Slot) -> usize {
        self.table(slot).len()
    }

    /// Up to `count` keys of a slot, for GETKEYSINSLOT.
    pub fn keys_in_slot(&self, slot: Slot, count: usize, mut visit: impl FnMut(&[u8])) {
        self.table(slot).iter().take(count).for_each(|entry| visit(entry.key()));
    }

    /// An estimate of the memory that data takes, in bytes, to be held against a limit.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used
    }

    /// What a slot's keys and values take, in bytes, as [`Self::used_bytes`] counts.
    #[must_use]
    pub fn slot_bytes(&self, slot: Slot) -> usize {
        self.table(slot).memory_bytes() + self.sums[usize::from(slot.get())].objects_bytes
    }

    /// The offset of the last entry that wrote to a slot; 0 if none did since the start.
    #[must_use]
    #[inline]
    pub fn slot_last_write(&self, slot: Slot) -> Offset {
        self.slots[usize::from(slot.get())].last_write
    }

    /// These slots have been imported as they were after entry `at`.
    pub(crate) fn set_floors(&mut self, slots: RangeInclusive<u16>, at: Offset) {
        self.floors.resize(usize::from(SLOTS), Offset::ZERO);
        for number in slots.map(usize::from) {
            self.floors[number] = at;
            self.slots[number].last_write = at;
        }
    }

    /// Whether the log has passed all that was imported.
    pub(crate) fn is_whole(&self) -> bool {
        self.floors.is_empty()
    }

    /// Whether what the slot was imported with has the entry `offset` in it.
    pub(crate) fn holds(&self, slot: Slot, offset: Offset) -> bool {
        self.floors.get(usize::from(slot.get())).is_some_and(|floor| offset <= *floor)
    }

    /// Entries below `next` have been applied.
    pub(crate) fn forget_floors(&mut self, next: Offset) {
        // The last slots were written last: mostly the first look at one of them decides.
        if self.floors.iter().rev().all(|floor| *floor < next) {
            self.floors = Vec::new();
        }
    }

    /// A fingerprint of a key for WATCH: it changes when the key is written, deleted or expires.
    ///
    /// Its lowest bit says whether the key is there at `now_ms`, the others are the slot's last
    /// write: a write to another
    /// key of the slot changes it too, so an EXEC may be refused that need not have been.
    #[must_use]
    pub fn key_version(&self, key: &[u8], now_ms: u64) -> u64 {
        let at = self.locate(key);
        let live = self.find(at, key).is_some_and(|place| !self.is_expired(at, place, now_ms));
        self.slot_last_write(at.slot).0 << 1 | u64::from(live)
    }

    pub(crate) fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    #[inline]
    pub(crate) fn table(&self, slot: Slot) -> &Table<Value> {
        &self.slots[usize::from(slot.get())].table
    }

    #[inline]
    pub(crate) fn find(&self, at: At, key: &[u8]) -> Option<Place> {
        self.table(at.slot).find(at.hash, key)
    }

    pub(crate) fn expiry(&self, at: At, place: Place) -> Option<u64> {
        self.table(at.slot).entry(place).expiry()
    }

    pub(crate) fn is_expired(&self, at: At, place: Place, now_ms: u64) -> bool {
        self.expiry(at, place).is_some_and(|expiry| expiry <= now_ms)
    }

    pub(crate) fn kind(&self, at: At, place: Place) -> Type {
        match self.table(at.slot).entry(place).value() {
            View::Bytes(_) => Type::String,
            View::Object(value) => value.kind(),
        }
    }

    /// The bytes of a string; none if it is another type.
    #[inline]
    pub(crate) fn text(&self, at: At, place: Place) -> Option<&[u8]> {
        match self.table(at.slot).entry(place).value() {
            View::Bytes(bytes) => Some(bytes),
            View::Object(Value::Text(text)) => Some(text),
            View::Object(_) => None,
        }
    }

    #[inline]
    pub(crate) fn mark_written(&mut self, slot: Slot, offset: Offset) {
        self.slots[usize::from(slot.get())].last_write = offset;
    }

    /// Makes room for so many keys in each of these slots that is empty.
    pub(crate) fn reserve(&mut self, slots: RangeInclusive<u16>, keys: usize) {
        let slots = slots.filter_map(|slot| Slot::try_from(slot).ok());
        slots.for_each(|slot| self.change(slot, |table, _| table.reserve(keys)));
    }

    /// Gives back what was reserved in vain.
    pub(crate) fn trim(&mut self, slots: RangeInclusive<u16>) {
        let slots = slots.filter_map(|slot| Slot::try_from(slot).ok());
        slots.for_each(|slot| self.change(slot, |table, _| table.trim()));
    }

    /// Changes a slot's table and keeps the sums right.
    pub(crate) fn change<R>(
        &mut self,
        slot: Slot,
        change: impl FnOnce(&mut Table<Value>, &Hasher) -> R,
    ) -> R {
        let table = &mut self.slots[usize::from(slot.get())].table;
        let (bytes, keys) = (table.memory_bytes(), table.len());
        let result = change(table, &self.hasher);
        self.used = self.used - bytes + table.memory_bytes();
        self.keys = self.keys - keys + table.len();
        result
    }

    /// A value behind a pointer that took `before` bytes takes `after` now.
    #[inline]
    fn count_object(&mut self, slot: Slot, before: usize, after: usize) {
        self.used = self.used - before + after;
        let held = &mut self.sums[usize::from(slot.get())].objects_bytes;
        *held = *held - before + after;
    }

    fn count_expiry(&mut self, slot: Slot, before: Option<u64>, after: Option<u64>) {
        let counts = &mut self.sums[usize::from(slot.get())];
        counts.expiring -= u32::from(before.is_some());
        self.expiring -= usize::from(before.is_some());
        if let Some(after) = after {
            counts.earliest_ms =
                if counts.expiring == 0 { after } else { counts.earliest_ms.min(after) };
            counts.expiring += 1;
            self.expiring += 1;
        }
    }

    /// A key, there or not, is about to change: every change begins with this.
    #[inline]
    fn before(&mut self, at: At) {
        if at.slot.get() == self.watched
            && let Some(export) = &mut self.export
        {
            export.before(&self.slots[usize::from(at.slot.get())].table, at.hash);
        }
    }

    fn dropped(&mut self, at: At, object: Option<Box<Value>>) {
        let Some(object) = object else { return };
        self.count_object(at.slot, object.memory_bytes(), 0);
        let export = self.export.as_mut().filter(|_| at.slot.get() == self.watched);
        let left = match export {
            Some(export) => export.keep(object),
            None => Some(object),
        };
        if let Some(object) = left {
            self.trash.value(*object);
        }
    }

    /// What was given up since this was last called and takes long to be dropped.
    #[must_use]
    pub fn take_trash(&mut self) -> Trash {
        std::mem::take(&mut self.trash)
    }

    /// Writes a string, whatever was there before.
    pub(crate) fn put_text(
        &mut self,
        at: At,
        key: &[u8],
        place: Option<Place>,
        text: &[u8],
        expiry: Option<u64>,
    ) -> Place {
        if text.len() > INLINE_MAX {
            return self.put_object(at, key, place, Value::Text(text.to_vec()), expiry);
        }
        self.before(at);
        let new = place.is_none();
        let before = place.and_then(|place| self.expiry(at, place));
        let (place, old) = self.change(at.slot, |table, hasher| match place {
            Some(place) => (place, table.set_bytes(place, text, expiry)),
            None => (table.insert(hasher, at.hash, key, Payload::Bytes(text), expiry), None),
        });
        self.note_write(at, place, new);
        self.dropped(at, old);
        if before.is_some() || expiry.is_some() {
            self.count_expiry(at.slot, before, expiry);
        }
        place
    }

    /// Writes a value behind a pointer, whatever was there before.
    pub(crate) fn put_object(
        &mut self,
        at: At,
        key: &[u8],
        place: Option<Place>,
        value: Value,
        expiry: Option<u64>,
    ) -> Place {
        self.before(at);
        self.count_object(at.slot, 0, value.memory_bytes());
        let before = place.and_then(|place| self.expiry(at, place));
        let (value, new) = (Box::new(value), place.is_none());
        let (place, old) = self.change(at.slot, |table, hasher| match place {
            Some(place) => (place, table.set_object(place, value, expiry)),
            None => (table.insert(hasher, at.hash, key, Payload::Object(value), expiry), None),
        });
        self.note_write(at, place, new);
        self.dropped(at, old);
        self.count_expiry(at.slot, before, expiry);
        place
    }

    /// Makes a string `len` bytes long (cut, or filled with zeros) and gives those bytes of it that
    /// are to be written.
    pub(crate) fn resize_text(
        &mut self,
        at: At,
        key: &[u8],
        place: Place,
        len: usize,
        wanted: Range<usize>,
    ) -> &mut [u8] {
        self.before(at);
        let inline = matches!(self.table(at.slot).entry(place).value(), View::Bytes(_));
        if inline && len <= INLINE_MAX {
            self.change(at.slot, |table, _| {
                table.resize_bytes(place, len);
            });
            let table = &mut self.slots[usize::from(at.slot.get())].table;
            return &mut table.resize_bytes(place, len)[wanted];
        }
        if inline {
            let text = self.table(at.slot).entry(place).bytes().to_vec();
            let expiry = self.expiry(at, place);
            self.put_object(at, key, Some(place), Value::Text(text), expiry);
        }
        let held = &mut self.sums[usize::from(at.slot.get())].objects_bytes;
        let table = &mut self.slots[usize::from(at.slot.get())].table;
        let Some(value) = table.object_mut(place) else { return &mut [] };
        let address = address_of(value);
        let Value::Text(text) = value else { return &mut [] };
        if at.slot.get() == self.watched
            && let Some((large, out)) = self.export.as_mut().and_then(|it| it.large(address))
        {
            large.before_bytes(text, wanted.clone(), out);
            large.before_bytes(text, len..text.len(), out);
        }
        let before = text.capacity();
        text.resize(len, 0);
        self.used = self.used - before + text.capacity();
        *held = *held - before + text.capacity();
        &mut text[wanted]
    }

    /// The collection at `place`; none if it is another type.
    pub(crate) fn collection<C: Collection>(&self, at: At, place: Place) -> Option<&C> {
        match self.table(at.slot).entry(place).value() {
            View::Bytes(_) => None,
            View::Object(value) => C::of(value),
        }
    }

    /// Changes a collection whose type has been checked; an empty one is deleted with its key.
    pub(crate) fn update<C: Collection, R>(
        &mut self,
        at: At,
        place: Place,
        change: impl FnOnce(&mut C, &mut Touch<'_>) -> R,
    ) -> R {
        self.before(at);
        let table = &mut self.slots[usize::from(at.slot.get())].table;
        let value = table.object_mut(place).expect("the type has been checked");
        let before = value.memory_bytes();
        let export = self.export.as_mut().filter(|_| at.slot.get() == self.watched);
        let writing = export.and_then(|export| export.large(address_of(value)));
        let collection = C::of_mut(value).expect("the type has been checked");
        let result = change(collection, &mut Touch::new(&self.hasher, writing));
        let empty = C::ENDS_EMPTY && collection.len() == 0;
        let after = value.memory_bytes();
        self.count_object(at.slot, before, after);
        if empty {
            self.remove(at, place);
        }
        result
    }

    /// Adds an empty collection under a key that is not there; it must be filled at once.
    pub(crate) fn put_collection<C: Collection>(&mut self, at: At, key: &[u8]) -> Place {
        self.put_object(at, key, None, C::default().into_value(), None)
    }

    /// Changes only the expiry.
    pub(crate) fn put_expiry(&mut self, at: At, place: Place, expiry: Option<u64>) {
        self.before(at);
        let before = self.expiry(at, place);
        self.change(at.slot, |table, _| table.set_expiry(place, expiry));
        self.count_expiry(at.slot, before, expiry);
    }

    /// Deletes a key.
    pub(crate) fn remove(&mut self, at: At, place: Place) {
        self.before(at);
        let before = self.expiry(at, place);
        let old = self.change(at.slot, |table, _| table.remove(place));
        self.dropped(at, old);
        self.count_expiry(at.slot, before, None);
    }

    /// Visits keys in a fixed order, from `walk` on, until `count` have been visited (those that
    /// share a position come together). Returns where to go on, none at the end; a key that is
    /// there all the time is visited, whatever changes between two calls.
    pub(crate) fn walk(
        &self,
        walk: Walk,
        count: usize,
        mut visit: impl FnMut(Entry<'_, Value>, Type),
    ) -> Option<Walk> {
        let mut left = count;
        let mut position = walk.position;
        for slot in walk.slot..SLOTS {
            let table = &self.slots[usize::from(slot)].table;
            if Slot::try_from(slot).is_ok_and(|slot| self.is_hidden(slot)) {
                position = 0;
                continue;
            }
            if left == 0 && table.len() > 0 {
                return Some(Walk { slot, position: 0 });
            }
            let next = table.scan(position, left, |entry| {
                left = left.saturating_sub(1);
                let kind = match entry.value() {
                    View::Bytes(_) => Type::String,
                    View::Object(value) => value.kind(),
                };
                visit(entry, kind);
            });
            if let Some(position) = next {
                return Some(Walk { slot, position });
            }
            position = 0;
        }
        None
    }

    /// A random place to begin a walk, weighted by the slots' sizes; none if there are no keys.
    pub(crate) fn random_start(&mut self) -> Option<Walk> {
        let (which, position) = (self.draw(), self.draw() >> (64 - SCAN_BITS));
        let mut left = which.checked_rem(self.keys as u64)? as usize;
        for (slot, state) in self.slots.iter().enumerate() {
            if left < state.table.len() {
                return Some(Walk { slot: slot as u16, position });
            }
            left -= state.table.len();
        }
        None
    }
}
