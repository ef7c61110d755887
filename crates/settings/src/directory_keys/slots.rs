//! `/cairn/slots/<keyspace>`: which group owns which slots.
//!
//! `[[0,8191,"tweets-0"],[8192,16383,"tweets-1"]]`: first slot, last slot, owner; sorted, without
//! overlap, neighbours of one owner joined.

use super::{DecodeError, SLOTS, decode, encode, name_after};
use cairn_logic::ids::{GroupId, Slot};
use cairn_logic::slots::{Range, given};
use serde::{Deserialize, Serialize};

/// The key of a keyspace's slots.
#[must_use]
pub fn slots_key(keyspace: &str) -> String {
    format!("{SLOTS}{keyspace}")
}

/// The keyspace whose slots are at `key`.
#[must_use]
pub fn slots_of_key(key: &[u8]) -> Option<&str> {
    name_after(SLOTS, key)
}

/// Neighbouring slots of one owner, both ends included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "(Slot, Slot, GroupId)", into = "(Slot, Slot, GroupId)")]
pub struct SlotRange {
    /// The first slot.
    pub first: Slot,
    /// The last slot, not before `first`.
    pub last: Slot,
    /// Who owns them.
    pub group: GroupId,
}

impl From<(Slot, Slot, GroupId)> for SlotRange {
    fn from((first, last, group): (Slot, Slot, GroupId)) -> Self {
        Self { first, last, group }
    }
}

impl From<SlotRange> for (Slot, Slot, GroupId) {
    fn from(range: SlotRange) -> Self {
        (range.first, range.last, range.group)
    }
}

/// The owners of a keyspace's slots; slots in no range have none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<SlotRange>", into = "Vec<SlotRange>")]
pub struct SlotOwners(Vec<SlotRange>);

/// Ranges that contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SlotRangesError {
    /// A range that ends before it begins.
    #[error("slot range {first}-{last} is empty")]
    Empty {
        /// Its first slot.
        first: u16,
        /// Its last slot.
        last: u16,
    },
    /// A slot in two ranges.
    #[error("slot {slot} is in two ranges")]
    Overlap {
        /// Which slot.
        slot: u16,
    },
}

impl SlotOwners {
    /// Takes ranges in any order; joins neighbours of one owner.
    ///
    /// # Errors
    /// A range that is empty, or a slot in two of them.
    pub fn new(mut ranges: Vec<SlotRange>) -> Result<Self, SlotRangesError> {
        ranges.sort_by_key(|r| r.first);
        let mut joined: Vec<SlotRange> = Vec::with_capacity(ranges.len());
        for range in ranges {
            if range.last < range.first {
                let (first, last) = (range.first.get(), range.last.get());
                return Err(SlotRangesError::Empty { first, last });
            }
            match joined.last_mut() {
                Some(before) if range.first <= before.last => {
                    return Err(SlotRangesError::Overlap { slot: range.first.get() });
                }
                Some(before)
                    if before.group == range.group
                        && before.last.get() + 1 == range.first.get() =>
                {
                    before.last = range.last;
                }
                _ => joined.push(range),
            }
        }
        Ok(Self(joined))
    }

    /// The ranges, sorted.
    #[must_use]
    pub fn ranges(&self) -> &[SlotRange] {
        &self.0
    }

    /// Who owns `slot`.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&GroupId> {
        let after = self.0.partition_point(|r| r.first <= slot);
        let range = self.0[..after].last()?;
        (slot <= range.last).then_some(&range.group)
    }

    /// How many slots have an owner.
    #[must_use]
    pub fn owned(&self) -> usize {
        self.0.iter().map(SlotRange::len).sum()
    }

    /// How many slots `group` owns.
    #[must_use]
    pub fn owned_by(&self, group: &GroupId) -> usize {
        self.0.iter().filter(|r| r.group == *group).map(SlotRange::len).sum()
    }

    /// The same, but that `group` owns the slots from `first` to `last`.
    #[must_use]
    pub fn with(&self, slots: (Slot, Slot), group: &GroupId) -> Self {
        let ranges: Vec<_> = self.0.iter().cloned().map(Range::from).collect();
        Self(given(&ranges, slots, group).into_iter().map(SlotRange::from).collect())
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Bytes that are no such value, also ranges that contradict each other.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("slots", bytes)
    }
}

impl SlotRange {
    /// How many slots it has; 0 only if it ends before it begins.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.last.get() + 1).saturating_sub(usize::from(self.first.get()))
    }

    /// Whether it ends before it begins, which no range in a [`SlotOwners`] does.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl TryFrom<Vec<SlotRange>> for SlotOwners {
    type Error = SlotRangesError;

    fn try_from(ranges: Vec<SlotRange>) -> Result<Self, SlotRangesError> {
        Self::new(ranges)
    }
}

impl From<SlotOwners> for Vec<SlotRange> {
    fn from(owners: SlotOwners) -> Self {
        owners.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16, group: &str) -> SlotRange {
        let slot = |n| Slot::try_from(n).unwrap();
        SlotRange { first: slot(first), last: slot(last), group: GroupId::new(group) }
    }

    #[test]
    fn slots_read_back_what_was_written() {
        let owners =
            SlotOwners::new(vec![range(8192, 16383, "t-1"), range(0, 8191, "t-0")]).unwrap();
        let text = br#"[[0,8191,"t-0"],[8192,16383,"t-1"]]"#;
        assert_eq!(owners.encode(), text);
        assert_eq!(SlotOwners::decode(text).unwrap(), owners);
        assert_eq!(owners.owned(), 16384);
    }

    #[test]
    fn every_slot_has_one_owner_or_none() {
        let owners = SlotOwners::new(vec![range(0, 9, "a"), range(20, 29, "b")]).unwrap();
        let owner = |n| owners.owner(Slot::try_from(n).unwrap()).map(|g| g.as_str().to_owned());
        assert_eq!(owner(0).as_deref(), Some("a"));
        assert_eq!(owner(9).as_deref(), Some("a"));
        assert_eq!(owner(10), None);
        assert_eq!(owner(20).as_deref(), Some("b"));
        assert_eq!(owner(30), None);
        assert_eq!(owners.owned_by(&GroupId::new("b")), 10);
    }

    #[test]
    fn neighbours_of_one_owner_are_joined() {
        let owners = SlotOwners::new(vec![range(5, 9, "a"), range(0, 4, "a")]).unwrap();
        assert_eq!(owners.ranges(), [range(0, 9, "a")]);
    }

    #[test]
    fn a_range_gets_another_owner_and_all_others_keep_theirs() {
        let owners = SlotOwners::new(vec![range(0, 99, "a"), range(200, 299, "b")]).unwrap();
        let slot = |n| Slot::try_from(n).unwrap();
        let with = |first, last| owners.with((slot(first), slot(last)), &GroupId::new("c"));
        let whole =
            [range(0, 9, "a"), range(10, 19, "c"), range(20, 99, "a"), range(200, 299, "b")];
        assert_eq!(with(10, 19).ranges(), whole);
        assert_eq!(with(0, 99).ranges(), [range(0, 99, "c"), range(200, 299, "b")]);
        assert_eq!(
            with(90, 209).ranges(),
            [range(0, 89, "a"), range(90, 209, "c"), range(210, 299, "b")]
        );
        assert_eq!(with(0, 16383).ranges(), [range(0, 16383, "c")]);
    }

    #[test]
    fn contradictions_are_refused() {
        for text in [r#"[[0,9,"a"],[9,12,"b"]]"#, r#"[[3,2,"a"]]"#, r#"[[0,16384,"a"]]"#] {
            assert!(SlotOwners::decode(text.as_bytes()).is_err(), "{text}");
        }
    }
}
