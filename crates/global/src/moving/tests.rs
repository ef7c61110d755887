//! Moves against a directory that changes meanwhile.

use super::*;
use crate::Changed;
use cairn_logic::ids::{Incarnation, Life, NodeId, Version};
use cairn_logic::moves::Phase;
use cairn_logic::record::{Durability, Member, Record, Role, Rule};
use cairn_settings::{Addresses, NodeRole};
use keys::{NodeInfo, SlotOwners, SlotRange};
use std::collections::BTreeMap;

/// Groups t-0 and t-1 in epoch 3, half of the slots each.
#[derive(Default)]
struct Town {
    view: View,
    versions: BTreeMap<String, u64>,
}

fn slot(number: u16) -> Slot {
    Slot::try_from(number).unwrap()
}

impl Town {
    fn new() -> Self {
        let mut town = Self::default();
        town.record("t-0", 3);
        town.record("t-1", 3);
        town.record("u-0", 3);
        let range = |first, last, group: &str| SlotRange {
            first: slot(first),
            last: slot(last),
            group: GroupId::new(group),
        };
        let owners = SlotOwners::new(vec![range(0, 8191, "t-0"), range(8192, 16383, "t-1")]);
        town.write("/cairn/slots/t", owners.unwrap().encode());
        town
    }

    /// A group with one member, which runs `version`.
    fn runs(&mut self, group: &str, version: &str) {
        let id = NodeId::new(format!("{group}-0"));
        let info = NodeInfo {
            incarnation: Incarnation(1),
            life: Life(1),
            role: NodeRole::Data,
            addresses: Addresses::default(),
            zone: None,
            machine: None,
            preferred_keyspace: None,
            preferred_group: None,
            pool: None,
            priority: 0,
            make: keys::Make { version: version.to_owned(), ..keys::Make::default() },
            claim: keys::Claim::Idle,
        };
        self.write(&keys::node_key(&id), info.encode());
        let member = Member { id, incarnation: Incarnation(1), role: Role::Master, zone: None };
        let mut record = self.view.groups[&GroupId::new(group)].clone();
        record.members = vec![member];
        self.write(&keys::group_key(&GroupId::new(group)), keys::encode_group(&record));
    }

    fn record(&mut self, group: &str, epoch: u64) {
        let record = Record {
            version: Version(epoch),
            epoch: Epoch(epoch),
            master: Some(NodeId::new("a")),
            members: Vec::new(),
            rule: Rule::One,
            wanted: 2,
            durability: Durability::default(),
            attempt: Epoch(epoch),
            open: false,
        };
        self.write(&keys::group_key(&GroupId::new(group)), keys::encode_group(&record));
    }

    fn write(&mut self, key: &str, value: Vec<u8>) {
        let version = self.versions.entry(key.to_owned()).or_default();
        *version += 1;
        let value = Some((value, *version));
        self.view.change(&Changed { key: key.as_bytes().to_vec(), value });
    }

    /// Whether all that it rests on is still so.
    fn commit(&mut self, swap: Swap) -> bool {
        let holds = swap.compare.iter().all(|(key, version)| self.view.version(key) == *version);
        if holds {
            swap.put.into_iter().for_each(|(key, value)| self.write(&key, value));
        }
        holds
    }

    fn begin(&mut self, first: u16, last: u16, to: &str) -> Result<Vec<MoveId>, Error> {
        let (swap, ids) = begin(&self.view, "t", (slot(first), slot(last)), &GroupId::new(to))?;
        assert!(self.commit(swap));
        Ok(ids)
    }

    fn move_of(&self, id: MoveId) -> Move {
        self.view.moves["t"].get(id).unwrap().clone()
    }

    fn owner(&self, at: u16) -> &str {
        self.view.slots["t"].owner(slot(at)).unwrap().as_str()
    }
}

#[test]
fn a_range_becomes_one_move_for_each_owner_and_each_256_slots() {
    let mut town = Town::new();
    let ids = town.begin(7900, 8300, "t-1").unwrap();
    let ranges: Vec<_> = ids.iter().map(|id| town.move_of(*id)).collect();
    let ranges: Vec<_> = ranges.iter().map(|it| (it.first.get(), it.last.get())).collect();
    assert_eq!(ranges, [(7900, 8155), (8156, 8191)]);
    assert!(matches!(town.begin(8191, 8191, "t-1"), Err(Error::Refused { .. })));
    assert!(matches!(
        town.begin(9000, 9000, "t-1"),
        Err(Error::Refused { why: Refused::Same, .. })
    ));
    assert!(matches!(town.begin(5, 5, "t-9"), Err(Error::NoGroup { .. })));
    assert!(matches!(town.begin(5, 5, "u-0"), Err(Error::Foreign { .. })));
}

#[test]
fn nothing_moves_while_nodes_of_either_group_run_different_versions() {
    let mut town = Town::new();
    town.runs("t-0", "1.1.0");
    town.runs("t-1", "1.0.9");
    town.runs("u-0", "1.0.0");
    let refused = town.begin(5, 9, "t-1").unwrap_err();
    assert!(matches!(refused, Error::Mixed { .. }), "{refused}");
    assert!(town.view.moves.is_empty());
    town.runs("t-1", "1.1.0");
    assert_eq!(town.begin(5, 9, "t-1").unwrap().len(), 1, "another keyspace has no part in it");
}

#[test]
fn the_owner_changes_only_while_both_epochs_are_as_they_were() {
    for failed in ["t-0", "t-1", "nobody"] {
        let mut town = Town::new();
        let id = town.begin(5, 9, "t-1").unwrap()[0];
        let swap = switch(&town.view, &town.move_of(id), Epoch(3), Epoch(3)).unwrap();
        if failed != "nobody" {
            town.record(failed, 4);
        }
        assert_eq!(town.commit(swap), failed == "nobody", "{failed}");
        assert_eq!(town.owner(7), if failed == "nobody" { "t-1" } else { "t-0" });
        if failed == "t-0" {
            assert_eq!(switch(&town.view, &town.move_of(id), Epoch(3), Epoch(3)), None);
            assert!(switch(&town.view, &town.move_of(id), Epoch(4), Epoch(3)).is_some());
        }
    }
}

#[test]
fn a_switch_and_a_cancellation_exclude_each_other() {
    let mut town = Town::new();
    let id = town.begin(5, 9, "t-1").unwrap()[0];
    let switched = switch(&town.view, &town.move_of(id), Epoch(3), Epoch(3)).unwrap();
    let cancelled = cancel(&town.view, "t", &[id]).unwrap();
    assert!(town.commit(cancelled) && !town.commit(switched));
    assert_eq!(town.move_of(id).phase, Phase::Aborted);
    assert_eq!(town.owner(7), "t-0");
    assert!(matches!(cancel(&town.view, "t", &[id]), Err(Error::NoMove { .. })));
    let end = forget(&town.view, "t", id).unwrap();
    assert!(town.commit(end));
    assert!(town.view.moves["t"].all().is_empty());
}

#[test]
fn a_renewed_move_is_switched_by_nothing_that_was_proposed_before() {
    let mut town = Town::new();
    let id = town.begin(5, 9, "t-1").unwrap()[0];
    let it = town.move_of(id);
    let old = switch(&town.view, &it, Epoch(3), Epoch(3)).unwrap();
    let renewed = renew(&town.view, "t", id).unwrap();
    assert!(town.commit(renewed) && !town.commit(old));
    assert_eq!(switch(&town.view, &it, Epoch(3), Epoch(3)), None);
    assert_eq!(renew(&town.view, "t", id), None);
}
