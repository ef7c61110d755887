//! What `cairn slots -o json` says of a keyspace: who owns which slots, and what is on its way.

use serde::Deserialize;

use crate::client::SLOTS;

/// The slots of a keyspace at a moment.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SlotMap {
    /// Who owns them.
    pub ranges: Vec<Owned>,
    /// Moves of which something is left.
    pub moves: Vec<Moving>,
}

/// Slots that a group owns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Owned {
    /// Which keyspace they are of.
    pub keyspace: String,
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// Whose they are.
    pub group: String,
}

/// A move that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Moving {
    /// Which keyspace it is of.
    pub keyspace: String,
    /// The first slot.
    pub first: u16,
    /// The last slot.
    pub last: u16,
    /// `copy` until the owner changes.
    pub phase: String,
}

impl SlotMap {
    /// What it says of one keyspace.
    pub fn of(mut self, keyspace: &str) -> Self {
        self.ranges.retain(|range| range.keyspace == keyspace);
        self.moves.retain(|it| it.keyspace == keyspace);
        self
    }

    /// Whose a slot is, if exactly one range has it.
    pub fn owner(&self, slot: u16) -> Option<&str> {
        let mut ranges = self.ranges.iter().filter(|it| (it.first..=it.last).contains(&slot));
        let range = ranges.next()?;
        ranges.next().is_none().then_some(&range.group)
    }

    /// Whose all slots from the first to the last are, if they are one group's.
    pub fn owner_of_all(&self, (first, last): (u16, u16)) -> Option<&str> {
        let owner = self.owner(first)?;
        (first..=last).all(|slot| self.owner(slot) == Some(owner)).then_some(owner)
    }

    /// How many slots nobody owns, or more than one.
    pub fn unowned(&self) -> usize {
        (0..SLOTS).filter(|slot| self.owner(*slot).is_none()).count()
    }

    /// How many moves of some of these slots have not changed their owner yet.
    pub fn under_way(&self, (first, last): (u16, u16)) -> usize {
        let meets = |it: &&Moving| it.first <= last && first <= it.last && it.phase == "copy";
        self.moves.iter().filter(meets).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"{"ranges": [
            {"keyspace": "t", "first": 0, "last": 99, "group": "t-0"},
            {"keyspace": "u", "first": 0, "last": 16383, "group": "u-0"},
            {"keyspace": "t", "first": 100, "last": 16383, "group": "t-1"}],
        "moves": [
            {"keyspace": "t", "id": 7, "first": 90, "last": 99, "source": "t-0", "target": "t-1",
             "phase": "copy", "step": "holds", "bytes": 5},
            {"keyspace": "t", "id": 6, "first": 100, "last": 120, "source": "t-0", "target": "t-1",
             "phase": "done", "step": null, "bytes": 0}], "planner": []}"#;

    #[test]
    fn slots_have_one_owner_of_their_keyspace() {
        let map: SlotMap = serde_json::from_str(TWO).unwrap();
        assert_eq!(map.owner(5), None, "two keyspaces have it");
        let map = map.of("t");
        assert_eq!((map.owner(5), map.owner(100)), (Some("t-0"), Some("t-1")));
        assert_eq!(map.owner_of_all((0, 99)), Some("t-0"));
        assert_eq!(map.owner_of_all((0, 100)), None);
        assert_eq!(map.unowned(), 0);
        let mut less = map;
        less.ranges.pop();
        assert_eq!(less.unowned(), 16_284);
    }

    #[test]
    fn a_move_is_under_way_until_the_owner_changes() {
        let map = serde_json::from_str::<SlotMap>(TWO).unwrap().of("t");
        assert_eq!(map.under_way((0, 4095)), 1);
        assert_eq!(map.under_way((100, 4095)), 0);
        assert_eq!(map.under_way((0, 89)), 0);
    }
}
