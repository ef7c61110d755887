//! A keyspace lends its slots to lanes, each of which another thread may change.

use super::Keyspace;
use cairn_logic::ids::{Offset, SLOTS};
use std::ops::Range;

/// Some slots of a keyspace, as a keyspace of their own.
pub struct Lane {
    pub(crate) keyspace: Keyspace,
    slots: Range<u16>,
    /// How many slots each lane has; the last one may have less.
    each: u16,
    /// What the lane's sums began with: those of the whole keyspace, so that none falls below 0.
    lent: Sums,
    /// The last check that was applied here.
    pub(crate) checked_at: Offset,
}

#[derive(Clone, Copy)]
struct Sums {
    keys: usize,
    used: usize,
    expiring: usize,
}

impl Lane {
    /// Whether some lane has both slots, and so all between them.
    pub(crate) fn some_has(&self, first: u16, last: u16) -> bool {
        first / self.each == last / self.each
    }

    /// Whether this one has the slot.
    pub(crate) fn has(&self, slot: u16) -> bool {
        self.slots.contains(&slot)
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lane({:?})", self.slots)
    }
}

impl Keyspace {
    /// Lends all slots to `count` lanes; none if there is no use in it, or if what happens to one
    /// slot matters to another: a snapshot is being written, or something is known to differ.
    pub(crate) fn lend(&mut self, count: usize) -> Option<Vec<Lane>> {
        if count < 2 || self.export.is_some() || !self.found.is_quiet() {
            return None;
        }
        let each = usize::from(SLOTS).div_ceil(count) as u16;
        let slots = (0..SLOTS).step_by(usize::from(each));
        Some(slots.map(|first| self.lane(first..SLOTS.min(first + each), each)).collect())
    }

    pub(super) fn lane(&mut self, slots: Range<u16>, each: u16) -> Lane {
        let Self { keys, used, expiring, .. } = *self;
        let mut lane = Lane {
            keyspace: Keyspace::new(self.seed),
            slots,
            each,
            lent: Sums { keys, used, expiring },
            checked_at: Offset::ZERO,
        };
        self.exchange(&mut lane);
        let of_lane = &mut lane.keyspace;
        (of_lane.keys, of_lane.used, of_lane.expiring) = (keys, used, expiring);
        of_lane.floors.clone_from(&self.floors);
        of_lane.part_max = self.part_max;
        of_lane.found.keep = self.found.keep;
        of_lane.usage = self.usage.clone();
        lane
    }

    /// Takes back what [`Keyspace::lend`] gave.
    pub(crate) fn take_back(&mut self, lanes: Vec<Lane>) {
        let mut checked_at = Offset::ZERO;
        for mut lane in lanes {
            self.exchange(&mut lane);
            let Lane { mut keyspace, lent, checked_at: last, .. } = lane;
            self.keys = self.keys + keyspace.keys - lent.keys;
            self.used = self.used + keyspace.used - lent.used;
            self.expiring = self.expiring + keyspace.expiring - lent.expiring;
            self.trash.append(keyspace.take_trash());
            self.found.append(std::mem::take(&mut keyspace.found));
            if last > checked_at {
                (checked_at, self.checked) = (last, keyspace.checked);
            }
        }
    }

    fn exchange(&mut self, lane: &mut Lane) {
        let slots = usize::from(lane.slots.start)..usize::from(lane.slots.end);
        self.slots[slots.clone()].swap_with_slice(&mut lane.keyspace.slots[slots.clone()]);
        self.sums[slots.clone()].swap_with_slice(&mut lane.keyspace.sums[slots]);
    }
}
