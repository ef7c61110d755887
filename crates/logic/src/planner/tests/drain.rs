//! What becomes of nodes that are to be empty, one sentence each.

use super::*;

fn drained(held: Held) -> Held {
    Held { node: Node { drained: true, ..held.node }, ..held }
}

/// A learner as it is told to the master.
fn learner(name: &str, zone: &str) -> Node {
    node(name, zone)
}

/// The next change of a group of three, all of whom are heard, while `gone` are to be empty.
fn change(record: &Record, gone: &[&str], learners: &[Node]) -> Option<Change> {
    let (heard, drained) = (all(record), gone.iter().map(NodeId::new).collect());
    let (spares, zones) = (NOBODY, NOWHERE);
    let standing = Standing { record, heard: &heard, spares, zones, drained: &drained };
    next_change(&asked(1, 1), standing, learners)
}

fn whole() -> Record {
    running(&[("t-0-0", Role::Master), ("t-0-1", Role::Replica), ("t-0-2", Role::Backup)], 3)
}

#[test]
fn a_node_that_is_drained_is_claimed_by_nobody_not_even_by_its_own_group() {
    let [a, b, c] = served();
    let gone = [a.clone(), given_up(b), c.clone()];
    let drained = |node: Node| Node { drained: true, ..node };
    let idle = [drained(node("s-0", "x")), drained(made_for("t-0", node("t-0-3", "x")))];
    assert_eq!(claims(&gone, &idle, None), None);
    let spare = held("s-1", Some(Role::Replica));
    assert_eq!(claims(&[a, spare, c], &idle, None), None, "nor to relieve a spare");
    assert_eq!(first(&asked(1, 0), &[idle[0].clone(), node("s-1", "x")]), None);
}

#[test]
fn a_member_that_is_drained_is_replaced_one_of_a_group_at_a_time() {
    let [a, b, c] = served();
    let (b, c) = (drained(b), drained(c));
    let spares = [node("s-1", "x")];
    assert_eq!(claims(&[a.clone(), b.clone(), c.clone()], &spares, None), Some("s-1"));
    let learns = held("s-0", None);
    let gone = [a, b, c, learns.clone()];
    assert!(is_for_drain(&asked(1, 1), &gone) && is_replacing(&asked(1, 1), &gone));
    assert_eq!(claims(&gone, &spares, None), None, "while one learns");
    let [a, b, c, _] = gone;
    let counts = Held { role: Some(Role::Replica), ..learns };
    assert_eq!(claims(&[a, b, c, counts], &spares, None), Some("s-1"));
}

#[test]
fn a_member_that_is_lost_is_replaced_whatever_is_drained() {
    let [a, b, c] = served();
    let gone = [a, drained(b), given_up(c)];
    assert!(!is_for_drain(&asked(1, 1), &gone), "it does not wait for others");
    assert_eq!(claims(&gone, &[node("s-0", "x")], None), Some("s-0"));
}

#[test]
fn another_node_counts_in_its_role_before_a_drained_member_leaves() {
    let mut record = whole();
    let join = change(&record, &["t-0-2"], &[learner("s-0", "x")]);
    let Some(Change::Join(member)) = join else { panic!("{join:?}") };
    assert_eq!((member.id.as_str(), member.role), ("s-0", Role::Backup));
    assert_eq!(change(&record, &["t-0-2"], &[]), None, "nothing is reduced");
    record.members.push(member);
    let leave = Some(Change::Remove(NodeId::new("t-0-2")));
    assert_eq!(change(&record, &["t-0-2"], &[]), leave);
}

#[test]
fn a_drained_learner_relieves_nobody_and_counts_only_where_somebody_is_missing() {
    let own = Node { drained: true, ..made_for("t-0", learner("t-0-3", "x")) };
    assert_eq!(change(&whole(), &["t-0-2", "t-0-3"], std::slice::from_ref(&own)), None);
    let short = running(&[("t-0-0", Role::Master), ("t-0-1", Role::Replica)], 3);
    let other = learner("s-0", "x");
    let joins = |learners: &[Node]| match change(&short, &["t-0-3"], learners) {
        Some(Change::Join(member)) => member.id.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(joins(std::slice::from_ref(&own)), "t-0-3", "better than nobody");
    assert_eq!(joins(&[own, other]), "s-0");
}

#[test]
fn nobody_goes_in_place_of_a_drained_master_that_has_not_handed_over() {
    let mut record = whole();
    let join = change(&record, &["t-0-0"], &[learner("s-0", "x")]);
    let Some(Change::Join(member)) = join else { panic!("{join:?}") };
    assert_eq!(member.role, Role::Replica);
    record.members.push(member);
    assert_eq!(change(&record, &["t-0-0"], &[]), None);
    (record.members[0].role, record.members[1].role) = (Role::Replica, Role::Master);
    record.master = Some(NodeId::new("t-0-1"));
    let leave = Some(Change::Remove(NodeId::new("t-0-0")));
    assert_eq!(change(&record, &["t-0-0"], &[]), leave);
}

#[test]
fn the_successor_is_kept_while_it_is_to_come_and_released_when_the_drain_is_over() {
    let (record, spare) = (whole(), held("s-0", None));
    let heard = all(&record);
    let release = |gone: &[&str], more: &Held| {
        let drained = gone.iter().map(NodeId::new).collect();
        let (record, spares, zones) = (&record, NOBODY, NOWHERE);
        let standing = Standing { record, heard: &heard, spares, zones, drained: &drained };
        let held = with(record, more.clone());
        next_release(&asked(1, 1), standing, &held).map(|node| node.id.to_string())
    };
    assert_eq!(release(&["t-0-1"], &spare), None);
    assert_eq!(release(&[], &spare).as_deref(), Some("s-0"), "all are here again");
    assert_eq!(release(&["s-0"], &drained(spare)).as_deref(), Some("s-0"), "it left its place");
}

#[test]
fn a_node_of_the_groups_own_keeps_its_claim_and_comes_back_when_the_drain_is_over() {
    let (record, spares) = with_a_spare();
    let heard = all(&record);
    let own = own(held("t-0-1", None));
    let gone = BTreeSet::from([NodeId::new("t-0-1")]);
    let standing = Standing {
        record: &record,
        heard: &heard,
        spares: &spares,
        zones: NOWHERE,
        drained: &gone,
    };
    let left = drained(own.clone());
    assert_eq!(next_change(&asked(1, 1), standing, std::slice::from_ref(&left.node)), None);
    assert_eq!(next_release(&asked(1, 1), standing, &with(&record, left)), None);
    let standing = Standing { drained: NOBODY, ..standing };
    let back = next_change(&asked(1, 1), standing, std::slice::from_ref(&own.node));
    assert!(matches!(back, Some(Change::Join(member)) if member.id.as_str() == "t-0-1"));
}

#[test]
fn a_drain_never_makes_members_lie_worse_in_the_zones_that_are_asked_for() {
    let mut asked = asked(1, 1);
    asked.mode.durability.zones = 2;
    let group = GroupId::new("t-0");
    let [a, b, c] = served();
    let in_y = Held { node: Node { zone: Some("y".to_owned()), ..c.node }, ..c };
    let members = [a, b, drained(in_y)];
    let claim = |idle: &[Node]| {
        next_claim(("t", &group), &asked, &members, idle, None).map(|node| node.id.to_string())
    };
    assert_eq!(claim(&[node("s-0", "x")]), None, "all would be in zone x");
    assert_eq!(claim(&[node("s-0", "x"), node("s-1", "z")]).as_deref(), Some("s-1"));
}
