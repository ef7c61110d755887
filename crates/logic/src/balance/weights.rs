//! What slots weigh, by what their masters say of them.

use crate::ids::{GroupId, SLOTS, Slot};
use std::collections::BTreeMap;

/// Slots of a part: masters sum up what they say by parts, so that it is bounded.
pub const PART_SLOTS: u16 = 256;
/// Parts of all slots.
pub const PARTS: u8 = (SLOTS / PART_SLOTS) as u8;

/// What a slot weighs by being one.
const BASE: u64 = 1000;
/// What all of a keyspace's bytes, or all of its commands, weigh together: as much as its slots.
const WHOLE: u64 = BASE * SLOTS as u64;
/// With less than so many bytes in all they do not count.
const BYTES_MIN: u64 = 64 << 20;
/// With fewer commands per second in all they do not count.
const COMMANDS_MIN: u64 = 1000;

/// The part that a slot is in.
#[must_use]
pub fn part_of(slot: Slot) -> u8 {
    u8::try_from(slot.get() / PART_SLOTS).expect("there are 64 parts")
}

/// What a master says of its slots in one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// How many of them it owns.
    pub slots: u16,
    /// Bytes that their values take.
    pub bytes: u64,
    /// Commands per second.
    pub commands: u64,
    /// The one of them that has most, and what it has of the above.
    pub top: Option<Top>,
}

/// The heaviest slot of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Top {
    /// Which.
    pub slot: Slot,
    /// Bytes that its values take.
    pub bytes: u64,
    /// Commands per second.
    pub commands: u64,
}

/// What a master says of all its slots, by part.
pub type Parts = BTreeMap<u8, Load>;

/// What a slot of each part weighs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// By part and by the group that says so.
    told: BTreeMap<u8, BTreeMap<GroupId, u64>>,
    /// The heaviest slots.
    tops: BTreeMap<Slot, u64>,
    /// Where nobody says anything.
    unknown: u64,
    /// Whether anything but the number of slots counts.
    loaded: bool,
}

impl Weights {
    /// All slots weigh the same.
    #[must_use]
    pub fn even() -> Self {
        Self { unknown: BASE, ..Self::default() }
    }

    /// As the groups' masters say. A slot weighs by being one, by its bytes and by its commands, a
    /// third each; bytes and commands do not count where there are few in all.
    #[must_use]
    pub fn of(said: &BTreeMap<GroupId, Parts>) -> Self {
        let all = || said.values().flat_map(BTreeMap::values);
        let bytes = all().map(|load| load.bytes).fold(0, u64::saturating_add);
        let commands = all().map(|load| load.commands).fold(0, u64::saturating_add);
        let bytes = if bytes >= BYTES_MIN { bytes } else { 0 };
        let commands = if commands >= COMMANDS_MIN { commands } else { 0 };
        if bytes == 0 && commands == 0 {
            return Self::even();
        }
        let share = |part: u64, whole: u64| {
            let scaled = u128::from(part) * u128::from(WHOLE);
            u64::try_from(scaled.checked_div(u128::from(whole)).unwrap_or(0)).unwrap_or(WHOLE)
        };
        let extra = |of: u64, per_sec: u64| share(of, bytes) + share(per_sec, commands);
        let mut weights = Self { loaded: true, ..Self::default() };
        let (mut sum, mut slots) = (0_u64, 0_u64);
        for (group, parts) in said {
            for (part, load) in parts.iter().filter(|(_, load)| load.slots > 0) {
                let top = load.top.map_or(0, |top| extra(top.bytes, top.commands));
                if let Some(Top { slot, .. }) = load.top {
                    let known = weights.tops.entry(slot).or_default();
                    *known = (*known).max(BASE + top);
                }
                let all = extra(load.bytes, load.commands);
                let others = u64::from(load.slots) - u64::from(load.top.is_some());
                let each = all.saturating_sub(top).checked_div(others).unwrap_or(0);
                weights.told.entry(*part).or_default().insert(group.clone(), BASE + each);
                sum += BASE * u64::from(load.slots) + all;
                slots += u64::from(load.slots);
            }
        }
        weights.unknown = sum.checked_div(slots).unwrap_or(BASE);
        weights
    }

    /// What `slot` weighs that `group` owns; if its master has not spoken of its part yet, what
    /// another one said.
    #[must_use]
    pub fn of_slot(&self, group: &GroupId, slot: Slot) -> u64 {
        if let Some(top) = self.tops.get(&slot) {
            return *top;
        }
        let Some(told) = self.told.get(&part_of(slot)) else { return self.unknown };
        let other = || told.values().next();
        told.get(group).or_else(other).copied().unwrap_or(self.unknown)
    }

    /// The slots from `first` to `last` that weigh more than their neighbours.
    pub(super) fn tops(&self, first: Slot, last: Slot) -> impl Iterator<Item = Slot> + '_ {
        self.tops.range(first..=last).map(|(slot, _)| *slot)
    }

    /// How far groups may be apart, in percent of the mean. Loads change by themselves; numbers of
    /// slots do not.
    #[must_use]
    pub const fn tolerance_percent(&self) -> u64 {
        if self.loaded { 10 } else { 2 }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slot;
    use super::*;

    fn said(loads: &[(&str, u8, Load)]) -> BTreeMap<GroupId, Parts> {
        let mut said: BTreeMap<GroupId, Parts> = BTreeMap::new();
        for (group, part, load) in loads {
            said.entry(GroupId::new(group)).or_default().insert(*part, *load);
        }
        said
    }

    #[test]
    fn little_data_and_few_commands_do_not_count() {
        let load = Load { slots: 256, bytes: 1 << 20, commands: 900, top: None };
        assert_eq!(Weights::of(&said(&[("t-0", 3, load)])), Weights::even());
    }

    #[test]
    fn bytes_and_commands_weigh_as_much_as_slots_each() {
        let (big, busy) = (
            Load { slots: 256, bytes: 1 << 30, ..Load::default() },
            Load { slots: 256, commands: 50_000, ..Load::default() },
        );
        let weights = Weights::of(&said(&[("t-0", 0, big), ("t-1", 63, busy)]));
        let (first, second) = (GroupId::new("t-0"), GroupId::new("t-1"));
        // 256 slots have what 16384 weigh.
        assert_eq!(weights.of_slot(&first, slot(0)), 1000 + 64_000);
        assert_eq!(weights.of_slot(&second, slot(16383)), 1000 + 64_000);
        assert_eq!(weights.of_slot(&second, slot(255)), 65_000, "as the other one said");
        assert_eq!(weights.of_slot(&first, slot(7000)), 65_000, "the mean of all that is known");
    }

    #[test]
    fn the_heaviest_slot_of_a_part_is_weighed_by_itself() {
        let top = Some(Top { slot: slot(7), bytes: 1 << 30, commands: 0 });
        let hot = Load { slots: 256, bytes: 1 << 30, commands: 0, top };
        let weights = Weights::of(&said(&[("t-0", 0, hot)]));
        let group = GroupId::new("t-0");
        assert_eq!(weights.of_slot(&group, slot(7)), 1000 + WHOLE);
        assert_eq!(weights.of_slot(&group, slot(8)), 1000);
        assert_eq!(weights.tops(slot(0), slot(255)).collect::<Vec<_>>(), [slot(7)]);
    }
}
