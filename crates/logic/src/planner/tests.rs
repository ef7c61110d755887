//! Rules of placement, one sentence each.

mod drain;
mod zones;

use super::*;
use crate::record::{Durability, Rule};
use std::collections::{BTreeMap, BTreeSet};

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
        make: String::new(),
        drained: false,
        last: false,
    }
}

fn held(name: &str, role: Option<Role>) -> Held {
    Held { node: node(name, "x"), role, here: true, given_up: false }
}

fn own(held: Held) -> Held {
    Held { node: made_for("t-0", held.node), ..held }
}

fn given_up(held: Held) -> Held {
    Held { here: false, given_up: true, ..held }
}

fn claims<'a>(held: &[Held], idle: &'a [Node], like: Option<&str>) -> Option<&'a str> {
    let group = GroupId::new("t-0");
    next_claim(("t", &group), &asked(1, 1), held, idle, like).map(|node| node.id.as_str())
}

const NOBODY: &BTreeSet<NodeId> = &BTreeSet::new();
const NOWHERE: &BTreeMap<NodeId, String> = &BTreeMap::new();

/// The next change of a group whose members in `heard` report and none of whom is a spare.
fn wished(
    asked: &Asked,
    record: &Record,
    learners: &[Node],
    heard: &BTreeSet<NodeId>,
) -> Option<Change> {
    next_change(
        asked,
        Standing { record, heard, spares: NOBODY, zones: NOWHERE, drained: NOBODY },
        learners,
    )
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
        zone: None,
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
    let three = ["a", "b", "c"].map(|name| held(name, Some(Role::Replica)));
    let idle = [node("d", "x"), node("e", "z")];
    assert_eq!(claims(&three, &idle, None), None);
    assert_eq!(claims(&three[..2], &idle, None), Some("e"), "another zone first");
}

#[test]
fn nothing_changes_in_a_group_that_is_as_asked_or_being_taken_over() {
    let mut record = running(&[("a", Role::Master), ("b", Role::Replica)], 2);
    assert_eq!(wished(&asked(1, 0), &record, &[], &all(&record)), None);
    record.open = true;
    assert_eq!(wished(&asked(1, 1), &record, &[node("c", "z")], &all(&record)), None);
}

#[test]
fn growing_adds_members_first_and_raises_wanted_last() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica)], 2);
    let asked = asked(1, 1);
    let change = wished(&asked, &record, &[node("c", "z")], &all(&record));
    let member = Member {
        id: NodeId::new("c"),
        incarnation: Incarnation(1),
        role: Role::Backup,
        zone: Some("z".to_owned()),
    };
    assert_eq!(change, Some(Change::Join(member)));
    let record = running(&[("a", Role::Master), ("b", Role::Replica), ("c", Role::Backup)], 2);
    assert_eq!(wished(&asked, &record, &[], &all(&record)), Some(Change::Mode(asked.mode)));
}

#[test]
fn shrinking_lowers_wanted_first_and_then_removes_the_surplus() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica), ("c", Role::Backup)], 3);
    let asked = asked(1, 0);
    assert_eq!(wished(&asked, &record, &[], &all(&record)), Some(Change::Mode(asked.mode)));
    let record = Record { wanted: 2, ..record };
    let change = wished(&asked, &record, &[], &all(&record));
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
    let change = wished(&asked(2, 1), &record, &[], &all(&record));
    assert_eq!(change, Some(Change::Remove(NodeId::new("a-10"))));
}

#[test]
fn a_surplus_member_that_is_not_heard_goes_first() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica), ("c", Role::Replica)], 2);
    let heard = BTreeSet::from([NodeId::new("a"), NodeId::new("c")]);
    let change = wished(&asked(1, 0), &record, &[], &heard);
    assert_eq!(change, Some(Change::Remove(NodeId::new("b"))));
}

#[test]
fn a_missing_backup_is_made_of_a_replica() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica), ("c", Role::Replica)], 3);
    let change = wished(&asked(1, 1), &record, &[], &all(&record));
    assert!(matches!(change, Some(Change::Role(m)) if m.role == Role::Backup));
}

#[test]
fn a_change_of_rule_is_wished_before_members_are_added() {
    let record = running(&[("a", Role::Master), ("b", Role::Replica)], 2);
    let mode = Mode { rule: Rule::Quorum, ..asked(1, 1).mode };
    let asked = Asked { mode, ..asked(1, 1) };
    let change = wished(&asked, &record, &[node("c", "z")], &all(&record));
    assert_eq!(change, Some(Change::Mode(Mode { wanted: 2, ..mode })));
}

fn served() -> [Held; 3] {
    [
        own(held("t-0-0", Some(Role::Master))),
        own(held("t-0-1", Some(Role::Replica))),
        own(held("t-0-2", Some(Role::Backup))),
    ]
}

#[test]
fn who_is_given_up_is_replaced_by_a_spare_and_who_is_only_away_is_not() {
    let [a, b, c] = served();
    let spares = [node("s-0", "x"), node("s-1", "x")];
    let away = Held { here: false, ..b.clone() };
    assert_eq!(claims(&[a.clone(), away, c.clone()], &spares, None), None);
    assert_eq!(claims(&[a, given_up(b), c], &spares, None), Some("s-0"));
}

#[test]
fn one_node_of_a_group_is_replaced_at_a_time() {
    let [a, b, c] = served();
    let spares = [node("s-1", "x")];
    let learner = held("s-0", None);
    let gone = [a, given_up(b), given_up(c), learner.clone()];
    assert_eq!(claims(&gone, &spares, None), None, "while one learns");
    let member = Held { role: Some(Role::Replica), ..learner };
    let gone = [gone[0].clone(), gone[1].clone(), gone[2].clone(), member];
    assert_eq!(claims(&gone, &spares, None), Some("s-1"));
}

#[test]
fn a_spare_of_another_make_joins_nobody_and_a_node_of_the_groups_own_does() {
    let [a, b, c] = served();
    let gone = [a, given_up(b), c];
    let mut spare = node("s-0", "x");
    spare.make = "2".to_owned();
    assert_eq!(claims(&gone, &[spare.clone()], Some("1")), None);
    assert_eq!(claims(&gone, &[spare.clone()], Some("2")), Some("s-0"));
    assert_eq!(claims(&gone, &[made_for("t-0", spare)], Some("1")), Some("s-0"));
}

#[test]
fn an_idle_node_of_the_groups_own_is_claimed_to_relieve_a_spare() {
    let [a, b, c] = served();
    let idle = [made_for("t-0", node("t-0-2", "x")), node("s-1", "x")];
    let spare = held("s-0", Some(Role::Backup));
    assert_eq!(claims(&[a.clone(), b.clone(), c], &idle, None), None);
    let with_a_spare = [a, b, spare, own(held("t-0-3", None))];
    assert_eq!(claims(&with_a_spare[..3], &idle, None), Some("t-0-2"));
    assert_eq!(claims(&with_a_spare, &idle, None), None, "one for each spare");
}

#[test]
fn a_spare_that_is_master_stays_and_whoever_will_relieve_it_is_kept() {
    let members = [("s-0", Role::Master), ("a", Role::Replica), ("b", Role::Backup)];
    let (record, spares) = (running(&members, 3), BTreeSet::from([NodeId::new("s-0")]));
    let heard = all(&record);
    let standing = Standing {
        record: &record,
        heard: &heard,
        spares: &spares,
        zones: NOWHERE,
        drained: NOBODY,
    };
    let back = own(held("t-0-1", None));
    assert_eq!(next_change(&asked(1, 1), standing, std::slice::from_ref(&back.node)), None);
    assert_eq!(next_release(&asked(1, 1), standing, &with(&record, back)), None);
    let spare = with(&record, held("s-1", None));
    assert!(next_release(&asked(1, 1), standing, &spare).is_some(), "another spare is not needed");
}

/// A group of master a, replica s-0 (a spare) and backup b.
fn with_a_spare() -> (Record, BTreeSet<NodeId>) {
    let members = [("a", Role::Master), ("b", Role::Backup), ("s-0", Role::Replica)];
    (running(&members, 3), BTreeSet::from([NodeId::new("s-0")]))
}

#[test]
fn a_spare_leaves_after_the_node_that_relieves_it_has_joined_in_its_role() {
    let (mut record, spares) = with_a_spare();
    let heard = all(&record);
    let standing = Standing {
        record: &record,
        heard: &heard,
        spares: &spares,
        zones: NOWHERE,
        drained: NOBODY,
    };
    let back = [made_for("t-0", node("t-0-1", "x"))];
    let join = next_change(&asked(1, 1), standing, &back);
    let role = Role::Replica;
    let member = Member {
        id: NodeId::new("t-0-1"),
        incarnation: Incarnation(1),
        role,
        zone: Some("x".to_owned()),
    };
    assert_eq!(join, Some(Change::Join(member.clone())));
    record.members.push(member);
    let heard = all(&record);
    let standing = Standing {
        record: &record,
        heard: &heard,
        spares: &spares,
        zones: NOWHERE,
        drained: NOBODY,
    };
    let leave = next_change(&asked(1, 1), standing, &[]);
    assert_eq!(leave, Some(Change::Remove(NodeId::new("s-0"))));
}

/// All members of a record, and one node more.
fn with(record: &Record, more: Held) -> Vec<Held> {
    let members = record.members.iter().map(|m| held(m.id.as_str(), Some(m.role)));
    members.chain([more]).collect()
}

fn releases<'a>(record: &Record, heard: &BTreeSet<NodeId>, held: &'a [Held]) -> Option<&'a str> {
    let standing = Standing { record, heard, spares: NOBODY, zones: NOWHERE, drained: NOBODY };
    next_release(&asked(1, 1), standing, held).map(|node| node.id.as_str())
}

#[test]
fn a_surplus_node_is_released_only_while_every_member_is_there() {
    let members = [("a", Role::Master), ("b", Role::Replica), ("c", Role::Backup)];
    let record = running(&members, 3);
    let mut claimed: Vec<Held> = members.map(|(name, role)| held(name, Some(role))).to_vec();
    claimed.push(held("s-0", None));
    let heard = all(&record);
    assert_eq!(releases(&record, &heard, &claimed), Some("s-0"));
    let deaf = BTreeSet::from([NodeId::new("a"), NodeId::new("b")]);
    assert_eq!(releases(&record, &deaf, &claimed), None, "one member is not heard");
    let open = Record { open: true, ..record.clone() };
    assert_eq!(releases(&open, &heard, &claimed), None, "a takeover is under way");
    let short = running(&members[..2], 3);
    assert_eq!(releases(&short, &heard, &claimed), None, "one member is missing");
    claimed[1].here = false;
    assert_eq!(releases(&record, &heard, &claimed), None, "one node lease is out");
    claimed[1].here = true;
    claimed[3].here = false;
    assert_eq!(releases(&record, &heard, &claimed), None, "it would not hear of it");
    claimed[3].here = true;
    assert_eq!(releases(&record, &heard, &claimed), Some("s-0"));
    claimed.remove(1);
    assert_eq!(releases(&record, &heard, &claimed), None, "a member came back with another folder");
}

#[test]
fn who_is_to_relieve_a_spare_is_not_released() {
    let (record, spares) = with_a_spare();
    let heard = all(&record);
    let standing = Standing {
        record: &record,
        heard: &heard,
        spares: &spares,
        zones: NOWHERE,
        drained: NOBODY,
    };
    let back = with(&record, own(held("t-0-1", None)));
    assert_eq!(next_release(&asked(1, 1), standing, &back), None);
    let spare = with(&record, held("s-1", None));
    assert!(next_release(&asked(1, 1), standing, &spare).is_some(), "another spare is not needed");
}
