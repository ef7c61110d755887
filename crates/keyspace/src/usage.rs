//! How it is noted when or how often keys are used, in 24 bits of an entry that are there anyway.
//!
//! Either when: seconds, as a clock that comes round after 194 days shows them. Or how often: the
//! minute in which that was last reckoned, 16 bits, and a counter of 8 that grows the slower the
//! larger it is and falls with time. 0 says that nothing is known, as of what was loaded.

use crate::dice::Dice;
use crate::keyspace::{At, Keyspace};
use crate::table::Place;

/// What 24 bits hold.
const MASK: u32 = (1 << 24) - 1;
/// The counter of a key that was just made: it must not be the first to go.
const COUNT_NEW: u8 = 5;

/// What counts as often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Often {
    /// The more, the more uses it takes until the counter is at its end.
    pub log_factor: u32,
    /// After so many minutes without use the counter falls by one; 0: it does not.
    pub decay_minutes: u32,
}

/// What is noted, and the time it is.
#[derive(Clone)]
pub(crate) struct Usage {
    /// Whether it is noted when keys are used that are there; when they were made always is.
    pub uses: bool,
    /// If how often a key is used is noted, and not when.
    pub often: Option<Often>,
    /// Seconds since 1970, their lowest 24 bits; never 0.
    clock: u32,
    /// The minute, its lowest 16 bits.
    minute: u16,
    /// The clock when it was first set.
    born: u32,
    dice: Dice,
}

impl Usage {
    pub fn new(seed: u64) -> Self {
        let dice = Dice::new(seed);
        Self { uses: false, often: None, clock: 1, minute: 0, born: 1, dice }
    }

    fn set_time(&mut self, now_ms: u64) {
        let seconds = now_ms / 1000;
        let first = self.clock == 1;
        self.clock = (seconds as u32 & MASK).max(1);
        self.minute = (seconds / 60) as u16;
        if first {
            self.born = self.clock;
        }
    }

    /// What a key has that is made now.
    #[inline]
    pub fn of_new(&self) -> u32 {
        match self.often {
            None => self.clock,
            Some(_) => packed(self.minute, COUNT_NEW),
        }
    }

    /// For how many seconds a key was not used.
    pub fn idle_s(&self, usage: u32) -> u32 {
        let since = if usage == 0 { self.born } else { usage };
        self.clock.wrapping_sub(since) & MASK
    }

    /// What a key has that was not used for so long.
    pub fn of_idle(&self, idle_s: u64) -> u32 {
        let idle = idle_s.min(u64::from(MASK - 1)) as u32;
        (self.clock.wrapping_sub(idle) & MASK).max(1)
    }

    /// What a key has that was used so often.
    pub fn of_count(&self, count: u8) -> u32 {
        packed(self.minute, count)
    }

    /// The counter of a key as it is now.
    pub fn count(&self, usage: u32, often: Often) -> u8 {
        if usage == 0 {
            return COUNT_NEW;
        }
        let minutes = self.minute.wrapping_sub((usage >> 8) as u16);
        let fallen = u32::from(minutes).checked_div(often.decay_minutes).unwrap_or(0);
        (usage as u8).saturating_sub(u8::try_from(fallen).unwrap_or(u8::MAX))
    }

    /// What a key has that is used now.
    fn used(&mut self, usage: u32) -> u32 {
        let Some(often) = self.often else { return self.clock };
        let count = self.count(usage, often);
        let above = u64::from(count.saturating_sub(COUNT_NEW));
        // One chance in so many.
        let chances = above * u64::from(often.log_factor) + 1;
        let chances = usize::try_from(chances).unwrap_or(usize::MAX);
        let grown = self.dice.below(chances) == 0;
        packed(self.minute, count.saturating_add(u8::from(grown)))
    }
}

fn packed(minute: u16, count: u8) -> u32 {
    u32::from(minute) << 8 | u32::from(count)
}

impl Keyspace {
    /// The time for what is noted from now on, in milliseconds since 1970: once a turn.
    #[inline]
    pub fn set_time(&mut self, now_ms: u64) {
        self.usage.set_time(now_ms);
    }

    /// From now on it is noted when keys are used, for somebody wants to know.
    pub(crate) fn note_uses(&mut self) {
        self.usage.uses = true;
    }

    /// A key is used.
    #[cold]
    pub(crate) fn note_use(&mut self, at: At, place: Place) {
        let table = &mut self.slots[usize::from(at.slot.get())].table;
        let known = table.entry(place).usage();
        let used = self.usage.used(known);
        if used != known {
            table.set_usage(place, used);
        }
    }

    /// A key was written; one that is new has not been used before.
    #[inline]
    pub(crate) fn note_write(&mut self, at: At, place: Place, new: bool) {
        if new || (self.usage.uses && self.usage.often.is_none()) {
            let usage = self.usage.of_new();
            self.slots[usize::from(at.slot.get())].table.set_usage(place, usage);
        }
    }

    /// What is noted of a key's use from now on.
    pub(crate) fn put_usage(&mut self, at: At, place: Place, usage: u32) {
        self.slots[usize::from(at.slot.get())].table.set_usage(place, usage);
    }

    /// What is noted of a key's use.
    pub(crate) fn usage_of(&self, at: At, place: Place) -> u32 {
        self.table(at.slot).entry(place).usage()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, often: Option<Often>) -> Usage {
        let mut usage = Usage { often, ..Usage::new(7) };
        usage.set_time(seconds * 1000);
        usage
    }

    #[test]
    fn a_clock_that_comes_round_counts_on() {
        let mut usage = at((1 << 24) - 10, None);
        let noted = usage.of_new();
        usage.set_time(((1 << 24) + 20) * 1000);
        assert_eq!(usage.idle_s(noted), 30);
        assert_eq!(usage.idle_s(usage.of_idle(100)), 100);
        // What nothing is known of was not used since the beginning.
        assert_eq!(usage.idle_s(0), 30);
    }

    #[test]
    fn a_counter_grows_slowly_and_falls_with_time() {
        let often = Often { log_factor: 10, decay_minutes: 1 };
        let mut usage = at(600, Some(often));
        let mut noted = usage.of_new();
        assert_eq!(usage.count(noted, often), 5);
        for _ in 0..1000 {
            noted = usage.used(noted);
        }
        // Redis's table says 18 for a thousand uses.
        let count = usage.count(noted, often);
        assert!((14..24).contains(&count), "{count}");
        usage.set_time((600 + 60 * 3) * 1000);
        assert_eq!(usage.count(noted, often), count - 3);
        usage.set_time((600 + 60 * 300) * 1000);
        assert_eq!(usage.count(noted, often), 0);
        let never = Often { decay_minutes: 0, ..often };
        assert_eq!(usage.count(noted, never), count);
    }

    #[test]
    fn a_counter_ends_where_it_ends() {
        let mut usage = at(600, Some(Often { log_factor: 0, decay_minutes: 0 }));
        let mut noted = usage.of_new();
        for _ in 0..300 {
            noted = usage.used(noted);
        }
        assert_eq!(noted & 255, 255);
    }
}
