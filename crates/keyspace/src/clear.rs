//! Slots that lose all their keys at once, however many: what was in them is freed elsewhere.

use crate::keyspace::Keyspace;
use cairn_logic::ids::{Offset, SLOTS, Slot};

impl Keyspace {
    /// Deletes all keys, but for slots that were imported after that, and those that are hidden;
    /// every other slot counts as written at `offset`.
    pub(crate) fn clear(&mut self, offset: Offset) {
        for number in 0..SLOTS {
            let slot = Slot::try_from(number).expect("a number below 16384 is a slot");
            // What a move brings is another group's until then.
            if self.holds(slot, offset) || self.marks().contains_key(&slot) {
                continue;
            }
            self.clear_slot(slot);
            self.mark_written(slot, offset);
        }
    }

    /// Deletes all keys of a slot.
    pub(crate) fn clear_slot(&mut self, slot: Slot) {
        let number = slot.get();
        let sums = std::mem::take(&mut self.sums[usize::from(number)]);
        self.expiring -= sums.expiring as usize;
        self.used -= sums.objects_bytes;
        let table = self.change(slot, |table, _| std::mem::take(table));
        if number == self.watched
            && let Some(export) = &mut self.export
        {
            export.keep_all(table);
            self.watched = SLOTS;
        } else {
            self.trash.table(table);
        }
    }
}
