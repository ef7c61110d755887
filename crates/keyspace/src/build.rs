//! Slots built apart from their keyspace, so that a snapshot is loaded by several threads: each has
//! a builder, and who owns the keyspace only takes what they have made.

use crate::apply::Error;
use crate::keyspace::{Keyspace, SlotState, SlotSums};
use crate::libraries::Libraries;
use crate::snapshot::Portion;
use cairn_logic::ids::{Offset, SLOTS};
use cairn_logic::moves::Marks;

/// Builds some slots at a time.
pub struct Builder {
    keyspace: Keyspace,
    /// The slots begun so far, and the entry after which they were so.
    begun: Option<(u16, u16, Offset)>,
}

/// Slots with all that they hold, as they were after one entry.
pub struct Built {
    at: Offset,
    first: u16,
    slots: Vec<(SlotState, SlotSums)>,
    libraries: Libraries,
    keys: usize,
    used: usize,
    expiring: usize,
    marks: Marks,
}

impl Builder {
    /// For keyspaces with this `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { keyspace: Keyspace::new(seed), begun: None }
    }

    /// Adds a portion that was written after entry `at` behind the one before it.
    ///
    /// # Errors
    /// [`Error`]: it was not written that way. The builder is of no use any more.
    pub fn add(&mut self, portion: &Portion, at: Offset) -> Result<(), Error> {
        let Portion { first, last, .. } = *portion;
        let (begin, end, same) = self.begun.unwrap_or((first, first, at));
        if first < end || first > last || last >= SLOTS || same != at {
            return Err(Error::Malformed { offset: at });
        }
        self.begun = Some((begin, last, at));
        self.make_room(portion);
        self.keyspace.import(portion, at)
    }

    /// Slots have about as many keys each; a little less, for what is too little grows once, and
    /// what is too much stays.
    fn make_room(&mut self, portion: &Portion) {
        /// What no key takes less than.
        const RECORD_BYTES_MIN: usize = 4;
        let keys = (portion.keys as usize).min(portion.records.len() / RECORD_BYTES_MIN);
        let each = keys / (usize::from(portion.last - portion.first) + 1);
        self.keyspace.reserve(portion.first..=portion.last, each - each / 16);
    }

    /// The slots of the portions since this was last called, which must be all that these slots
    /// have; none if there was no portion.
    #[must_use]
    pub fn take(&mut self) -> Option<Built> {
        let (first, last, at) = self.begun.take()?;
        let from = &mut self.keyspace;
        from.trim(first..=last);
        let slots = (usize::from(first)..=usize::from(last)).map(|slot| {
            (std::mem::take(&mut from.slots[slot]), std::mem::take(&mut from.sums[slot]))
        });
        let slots = slots.collect();
        let (keys, used) = (std::mem::take(&mut from.keys), std::mem::take(&mut from.used));
        let expiring = std::mem::take(&mut from.expiring);
        let libraries = std::mem::take(&mut from.libraries);
        let marks = std::mem::take(&mut from.hidden).into_marks();
        Some(Built { at, first, slots, libraries, keys, used, expiring, marks })
    }
}

impl Built {
    /// The entry after which its slots were so.
    #[must_use]
    pub fn at(&self) -> Offset {
        self.at
    }
}

impl std::fmt::Debug for Built {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first, slots, keys, at, .. } = self;
        write!(f, "Built({} slots from {first}, {keys} keys, after {at})", slots.len())
    }
}

impl Keyspace {
    /// Takes slots that a [`Builder`] of the same seed has built; they must be empty here.
    ///
    /// # Errors
    /// [`Error::Malformed`]: one of them is not, and nothing was taken.
    pub fn adopt(&mut self, built: Built) -> Result<(), Error> {
        let Built { at, first, slots, libraries, keys, used, expiring, marks } = built;
        let last = usize::from(first) + slots.len() - 1;
        let here = self.slots.get_mut(usize::from(first)..=last);
        let Some(here) = here.filter(|here| here.iter().all(|slot| slot.table.len() == 0)) else {
            return Err(Error::Malformed { offset: at });
        };
        let sums = &mut self.sums[usize::from(first)..=last];
        for ((slot, sums), built) in here.iter_mut().zip(sums).zip(slots) {
            (*slot, *sums) = built;
        }
        self.keys += keys;
        self.used += used;
        self.expiring += expiring;
        self.libraries.adopt(libraries);
        marks.into_iter().for_each(|(slot, mark)| self.set_mark(slot, mark));
        self.set_floors(first..=last as u16, at);
        Ok(())
    }
}
