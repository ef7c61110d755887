//! Where members lie, one sentence each.

use super::*;

/// `wanted` members under `rule`, none a backup, with copies in so many zones.
fn zoned(rule: Rule, wanted: u8, zones: u8) -> Asked {
    let durability = Durability { flushed: false, zones };
    Asked { replicas: wanted - 1, backups: 0, mode: Mode { rule, wanted, durability } }
}

/// A group of members in these zones, mastered by the first; `-` is not known.
fn lying(asked: &Asked, places: &[(&str, &str)]) -> Record {
    let role = |at: usize| if at == 0 { Role::Master } else { Role::Replica };
    let names: Vec<(&str, Role)> =
        places.iter().enumerate().map(|(at, place)| (place.0, role(at))).collect();
    let mut record = running(&names, asked.mode.wanted);
    (record.rule, record.durability) = (asked.mode.rule, asked.mode.durability);
    for (member, (_, zone)) in record.members.iter_mut().zip(places) {
        member.zone = (*zone != "-").then(|| (*zone).to_owned());
    }
    record
}

fn holding(places: &[(&str, &str)]) -> Vec<Held> {
    let role = |at: usize| if at == 0 { Role::Master } else { Role::Replica };
    let held = |(at, (name, zone)): (usize, &(&str, &str))| Held {
        node: node(name, zone),
        role: Some(role(at)),
        here: true,
        given_up: false,
    };
    places.iter().enumerate().map(held).collect()
}

fn claim<'a>(asked: &Asked, held: &[Held], idle: &'a [Node]) -> Option<&'a str> {
    let group = GroupId::new("t-0");
    next_claim(("t", &group), asked, held, idle, None).map(|node| node.id.as_str())
}

fn most_in_a_zone(record: &Record) -> usize {
    let count =
        |zone: &str| record.members.iter().filter(|m| m.zone.as_deref() == Some(zone)).count();
    ["a", "b", "c"].map(count).into_iter().max().unwrap()
}

#[test]
fn five_members_in_three_zones_are_two_in_each_at_most() {
    for zones in 1..=3 {
        let all = ["a1", "a2", "a3", "a4", "b1", "b2", "b3", "c1", "c2", "c3"];
        let idle = all.map(|name| node(name, &name[..1]));
        let record = first(&zoned(Rule::Quorum, 5, zones), &idle).expect("enough");
        assert_eq!(most_in_a_zone(&record), 2, "{:?}", names(&record));
    }
}

#[test]
fn a_zone_that_is_asked_for_comes_before_nodes_of_the_groups_own() {
    let own = |name: &str, zone: &str| made_for("t-0", node(name, zone));
    let idle = [own("o1", "a"), own("o2", "a"), own("o3", "a"), node("s1", "b")];
    let of = |zones| first(&zoned(Rule::One, 3, zones), &idle).expect("enough");
    assert_eq!(names(&of(1)), ["o1", "o2", "o3"]);
    assert_eq!(names(&of(2)), ["o1", "o2", "s1"]);
}

#[test]
fn whoever_is_replaced_in_a_lost_zone_leaves_the_others_even() {
    let asked = zoned(Rule::Quorum, 5, 2);
    let mut held = holding(&[("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")]);
    held[4] = given_up(held[4].clone());
    let idle = [node("a3", "a"), node("b3", "b"), node("c2", "c")];
    assert_eq!(claim(&asked, &held, &idle), Some("c2"));
    held[2] = given_up(held[2].clone());
    assert_eq!(claim(&asked, &held, &idle[..2]), Some("b3"), "fewer are there");
}

#[test]
fn a_group_in_too_few_zones_gets_a_node_in_another_one() {
    let asked = zoned(Rule::One, 3, 2);
    let places = [("a1", "a"), ("a2", "a"), ("a3", "a")];
    let idle = [node("a4", "a"), node("b1", "b")];
    assert_eq!(claim(&asked, &holding(&places), &idle), Some("b1"));
    assert_eq!(claim(&asked, &holding(&places), &idle[..1]), None);
    assert_eq!(claim(&zoned(Rule::One, 3, 1), &holding(&places), &idle), None, "not asked for");

    let record = lying(&asked, &places);
    let heard = all(&record);
    let joins = wished(&asked, &record, &idle[1..], &heard);
    assert!(matches!(&joins, Some(Change::Join(m)) if m.zone.as_deref() == Some("b")), "{joins:?}");
    let four = lying(&asked, &[places[0], places[1], places[2], ("b1", "b")]);
    let leaves = wished(&asked, &four, &[], &all(&four));
    assert_eq!(leaves, Some(Change::Remove(NodeId::new("a3"))), "the last zone of two stays");
}

#[test]
fn a_zone_whose_loss_would_stop_writes_is_relieved_by_another_one() {
    let asked = zoned(Rule::Quorum, 5, 2);
    let places = [("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b"), ("b2", "b")];
    let back = [node("c1", "c")];
    assert_eq!(claim(&asked, &holding(&places), &back), Some("c1"));
    let even = [("a1", "a"), ("a2", "a"), ("b1", "b"), ("b2", "b"), ("c1", "c")];
    assert_eq!(claim(&asked, &holding(&even), &[node("d1", "d")]), None, "well enough");
    let mut six = places.to_vec();
    six.push(("c1", "c"));
    let six = lying(&asked, &six);
    let leaves = wished(&asked, &six, &[], &all(&six));
    assert_eq!(leaves, Some(Change::Remove(NodeId::new("a3"))));
}

#[test]
fn a_spare_that_is_the_second_zone_is_not_relieved_by_the_first() {
    let asked = zoned(Rule::One, 3, 2);
    let mut held = holding(&[("o1", "a"), ("o2", "a"), ("s1", "b")]);
    held[..2].iter_mut().for_each(|held| *held = own(held.clone()));
    let own = |name: &str, zone: &str| made_for("t-0", node(name, zone));
    assert_eq!(claim(&asked, &held, &[own("o3", "a")]), None);
    assert_eq!(claim(&asked, &held, &[own("o3", "b")]), Some("o3"));
    assert_eq!(claim(&zoned(Rule::One, 3, 1), &held, &[own("o3", "a")]), Some("o3"));
}

#[test]
fn more_zones_are_promised_only_when_members_are_in_them() {
    let (one, two) = (zoned(Rule::One, 3, 1), zoned(Rule::One, 3, 2));
    let narrow = lying(&one, &[("a1", "a"), ("a2", "a"), ("a3", "a")]);
    assert_eq!(wished(&two, &narrow, &[], &all(&narrow)), None, "the members first");
    let wide = lying(&one, &[("a1", "a"), ("a2", "a"), ("b1", "b")]);
    assert_eq!(wished(&two, &wide, &[], &all(&wide)), Some(Change::Mode(two.mode)));
    let promised = lying(&two, &[("a1", "a"), ("a2", "a"), ("b1", "b")]);
    assert_eq!(wished(&one, &promised, &[], &all(&promised)), Some(Change::Mode(one.mode)));
}

#[test]
fn members_count_in_the_zones_that_their_nodes_say() {
    let asked = zoned(Rule::One, 3, 2);
    let mut record = lying(&asked, &[("a1", "-"), ("b1", "b"), ("b2", "b")]);
    let heard = all(&record);
    let zone = |name: &str, zone: &str| (NodeId::new(name), zone.to_owned());
    let zones = BTreeMap::from([zone("a1", "a"), zone("b1", "b"), zone("b2", "b")]);
    let wish = |record: &Record| {
        let standing =
            Standing { record, heard: &heard, spares: NOBODY, zones: &zones, drained: NOBODY };
        next_change(&asked, standing, &[])
    };
    let Some(Change::Role(member)) = wish(&record) else {
        panic!("the zone of a1 is known now");
    };
    assert_eq!((member.id.as_str(), member.role), ("a1", Role::Master));
    record.members[0] = member;
    assert_eq!(wish(&record), None);
}
