//! What the master's slots weigh: bytes and commands by part of 256 slots, for the planner.
//!
//! One part is looked at in each round of chores, 256 sums that are there already; all 64 take some
//! seconds. A command costs one addition.

use cairn_keyspace::Keyspace;
use cairn_logic::balance::{Load, PART_SLOTS, PARTS, Top};
use cairn_logic::ids::{SLOTS, Slot};
use cairn_logic::time::Instant;
use std::sync::{Mutex, PoisonError};

/// Loads of all parts, as last looked at.
#[derive(Debug, Default)]
pub struct Loads(Mutex<Vec<Load>>);

impl Loads {
    /// Those of parts that have slots.
    pub fn read(&self) -> Vec<(u8, Load)> {
        let loads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = (0..PARTS).zip(loads.iter().copied());
        all.filter(|(_, load)| load.slots > 0).collect()
    }

    fn set(&self, part: u8, load: Load) {
        // Whoever reads them holds them for a moment; the next round is as good.
        if let Ok(mut loads) = self.0.try_lock() {
            loads.resize(usize::from(PARTS), Load::default());
            loads[usize::from(part)] = load;
        }
    }
}

/// Counts commands by slot and goes from part to part.
pub struct Weighing {
    commands: Vec<u32>,
    looked: Vec<Instant>,
    next: u8,
}

impl Weighing {
    /// Nothing was counted before `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            commands: vec![0; usize::from(SLOTS)],
            looked: vec![now; usize::from(PARTS)],
            next: 0,
        }
    }

    /// A command on keys of `slot` was executed.
    #[inline]
    pub fn count(&mut self, slot: Slot) {
        let count = &mut self.commands[usize::from(slot.get())];
        *count = count.wrapping_add(1);
    }

    /// Looks at the next part; `mine`: whether this node masters a slot.
    pub fn look(
        &mut self,
        now: Instant,
        keyspace: &Keyspace,
        mine: impl Fn(Slot) -> bool,
        loads: &Loads,
    ) {
        let part = self.next;
        self.next = (part + 1) % PARTS;
        let begin = u16::from(part) * PART_SLOTS;
        let at = &mut self.looked[usize::from(part)];
        let ms = u64::try_from(now.since(*at).as_millis()).unwrap_or(u64::MAX).max(1);
        *at = now;
        let (mut load, mut executed, mut most) = (Load::default(), 0, 0);
        let per_sec = |count: u64| count * 1000 / ms;
        for number in begin..begin + PART_SLOTS {
            let counted = std::mem::take(&mut self.commands[usize::from(number)]);
            let Some(slot) = Slot::try_from(number).ok().filter(|slot| mine(*slot)) else {
                continue;
            };
            let bytes = keyspace.slot_bytes(slot) as u64;
            let commands = per_sec(u64::from(counted));
            load.slots += 1;
            load.bytes += bytes;
            executed += u64::from(counted);
            // A command per second is held against 64 KiB.
            let heavy = bytes + (commands << 16);
            if heavy > most {
                most = heavy;
                load.top = Some(Top { slot, bytes, commands });
            }
        }
        // Of all together: each may have less than one a second.
        load.commands = per_sec(executed);
        loads.set(part, load);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::time::Duration;

    fn slot(number: u16) -> Slot {
        Slot::try_from(number).unwrap()
    }

    #[test]
    fn parts_say_what_their_slots_have_and_which_has_most() {
        let start = Instant::from_nanos(1_000_000_000);
        let (mut weighing, keyspace, loads) =
            (Weighing::new(start), Keyspace::new(1), Loads::default());
        for _ in 0..3000 {
            weighing.count(slot(300));
        }
        weighing.count(slot(301));
        let now = start + Duration::from_secs(2);
        for _ in 0..PARTS {
            weighing.look(now, &keyspace, |slot| slot.get() >= 256 && slot.get() < 400, &loads);
        }
        let top = Some(Top {
            slot: slot(300),
            bytes: keyspace.slot_bytes(slot(300)) as u64,
            commands: 1500,
        });
        let said = loads.read();
        assert_eq!(said.len(), 1, "{said:?}");
        let (part, load) = said[0];
        assert_eq!((part, load.slots, load.commands, load.top), (1, 144, 1500, top));
        for _ in 0..PARTS {
            weighing.look(now + Duration::from_secs(1), &keyspace, |_| true, &loads);
        }
        let said = loads.read();
        assert_eq!((said.len(), said[1].1.commands), (64, 0), "counted once");
    }

    #[test]
    fn slots_with_less_than_a_command_a_second_count_together() {
        let start = Instant::from_nanos(1_000_000_000);
        let (mut weighing, keyspace, loads) =
            (Weighing::new(start), Keyspace::new(1), Loads::default());
        (0..PART_SLOTS).for_each(|number| weighing.count(slot(number)));
        weighing.look(start + Duration::from_secs(2), &keyspace, |_| true, &loads);
        assert_eq!(loads.read()[0].1.commands, 128);
    }
}
