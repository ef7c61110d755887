//! Rules of placement, one sentence each.

use super::*;
use crate::record::{Durability, Rule};

fn asked(replicas: u8, backups: u8) -> Asked {
    let wanted = 1 + replicas + backups;
    let mode = Mode { rule: Rule::One, wanted, durability: Durability::default() };
    Asked { replicas, backups, mode }
}

fn node(name: &str, zone: &str) -> Node {
    Node {
        id: NodeId::new(name),
        incarnation: Incarnation(1),
        zone: Some(zone.to_owned()),
        keyspace: None,
        group: None,
        priority: 0,
    }
}

fn made_for(group: &str, node: Node) -> Node {
    Node { keyspace: Some("t".into()), group: Some(GroupId::new(group)), ..node }
}

fn first(asked: &Asked, idle: &[Node]) -> Option<Record> {
    let wanted = usize::from(asked.mode.wanted);
    first_members("t", &GroupId::new("t-0"), asked, idle, wanted)
}

/// A group in epoch 1 mastered by its first member.
fn running(members: &[(&str, Role)], wanted: u8) -> Record {
    let member = |(name, role): &(&str, Role)| Member {
        id: NodeId::new(name),
        incarnation: Incarnation(1),
        role: *role,
    };
    Record {
        version: Version(3),
        epoch: Epoch(1),
        master: Some(NodeId::new(members[0].0)),
        members: members.iter().map(member).collect(),
        rule: Rule::One,
        wanted,
        durability: Durability::default(),
        attempt: Epoch(1),
        open: false,
    }
}

fn names(record: &Record) -> Vec<&str> {
    record.members.iter().map(|m| m.id.as_str()).collect()
}

fn all(record: &Record) -> BTreeSet<NodeId> {
    record.members.iter().map(|m| m.id.clone()).collect()
}

#[test]
fn nodes_made_for_the_group_are_taken_before_spares() {
    let idle = [node("a", "x"), made_for("t-0", node("b", "x")), made_for("t-1", node("c", "y"))];
    let record = first(&asked(1, 0), &idle).expect("two may be taken");
    assert_eq!(names(&record), ["a", "b"]);
}

#[test]
fn members_are_spread_over_zones() {
    let idle = [node("a", "x"), node("b", "x"), node("c", "y")];
    assert_eq!(names(&first(&asked(1, 0), &idle).expect("enough")), ["a", "c"]);
}

#[test]
fn a_group_does_not_begin_with_too_few() {
    assert_eq!(first(&asked(1, 1), &[node("a", "x"), node("b", "y")]), None);
}

#[test]
fn a_new_group_has_no_master_and_the_backups_asked_for() {
    let idle = [node("a", "x"), node("b", "y"), node("c", "z")];
    let record = first(&asked(1, 1), &idle).expect("enough");
    let roles: Vec<Role> = record.members.iter().map(|m| m.role).collect();
    assert_eq!(roles, [Role::Replica, Role::Replica, Role::Backup]);
    assert_eq!((record.master, record.epoch, record.version), (None, Epoch(0), Version(1)));
}

#[test]
fn a_group_that_has_enough_claims_nobody() {
    let claimed = [node("a", "x"), node("b", "y")];
    let (group, idle) = (GroupId::new("t-0"), [node("c", "y"), node("d", "z")]);
    assert_eq!(next_claim("t", &group, &asked(1, 0), &claimed, &idle), None);
    let next = next_claim("t", &group, &asked(1, 1), &claimed, &idle);
    assert_eq!(next.map(|n| n.id.as_str()), Some("d"), "another zone first");
}

#[test]
fn nothing_changes_in_a_group_that_is_as_asked_or_being_taken_over() {
    let mut record = running(&[("a", Role::Master), ("b", Role::Replica)], 2);
    assert_eq!(next_change(&asked(1, 0), &record, &[], &all(&record)), None);
    record.open = true;
    assert_eq!(next_change(&asked(1, 1), &record, &[node("c", "z")], &all(&record)), None);
}

#[test]
fn growing_adds_members_first_and_raises_wanted_last() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica)], 2);
    let asked = asked(1, 1);
    let change = next_change(&asked, &record, &[node("c", "z")], &all(&record));
    let member = Member { id: NodeId::new("c"), incarnation: Incarnation(1), role: Role::Backup };
    assert_eq!(change, Some(Change::Join(member)));
    let record = running(&[("a", Role::Master), ("b", Role::Replica), ("c", Role::Backup)], 2);
    assert_eq!(next_change(&asked, &record, &[], &all(&record)), Some(Change::Mode(asked.mode)));
}

#[test]
fn shrinking_lowers_wanted_first_and_then_removes_the_surplus() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica), ("c", Role::Backup)], 3);
    let asked = asked(1, 0);
    assert_eq!(next_change(&asked, &record, &[], &all(&record)), Some(Change::Mode(asked.mode)));
    let record = Record { wanted: 2, ..record };
    let change = next_change(&asked, &record, &[], &all(&record));
    assert_eq!(change, Some(Change::Remove(NodeId::new("c"))));
}

#[test]
fn the_last_number_is_surplus_whatever_its_role() {
    let members = [
        ("a-11", Role::Master),
        ("a-0", Role::Replica),
        ("a-2", Role::Backup),
        ("a-9", Role::Replica),
        ("a-10", Role::Backup),
    ];
    let record = running(&members, 4);
    let change = next_change(&asked(2, 1), &record, &[], &all(&record));
    assert_eq!(change, Some(Change::Remove(NodeId::new("a-10"))));
}

#[test]
fn a_surplus_member_that_is_not_heard_goes_first() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica), ("c", Role::Replica)], 2);
    let heard = BTreeSet::from([NodeId::new("a"), NodeId::new("c")]);
    let change = next_change(&asked(1, 0), &record, &[], &heard);
    assert_eq!(change, Some(Change::Remove(NodeId::new("b"))));
}

#[test]
fn a_missing_backup_is_made_of_a_replica() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica), ("c", Role::Replica)], 3);
    let change = next_change(&asked(1, 1), &record, &[], &all(&record));
    assert!(matches!(change, Some(Change::Role(m)) if m.role == Role::Backup));
}

#[test]
fn a_change_of_rule_is_wished_before_members_are_added() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica)], 2);
    let mode = Mode { rule: Rule::Quorum, ..asked(1, 1).mode };
    let asked = Asked { mode, ..asked(1, 1) };
    let change = next_change(&asked, &record, &[node("c", "z")], &all(&record));
    assert_eq!(change, Some(Change::Mode(Mode { wanted: 2, ..mode })));
}
