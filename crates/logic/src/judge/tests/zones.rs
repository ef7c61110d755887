//! What a judge must hear where copies lie in zones.

use super::*;

/// A group whose members are in these zones, with copies in so many of them.
fn zoned(places: &str, zones: u8) -> Group {
    group_with(places.len() as u64, Rule::One, |record| {
        record.durability.zones = zones;
        for (member, place) in record.members.iter_mut().zip(places.chars()) {
            member.zone = Some(place.to_string());
        }
    })
}

#[test]
fn a_whole_zone_may_be_gone_with_the_master_and_most_members() {
    let mut group = zoned("aab", 2).silent(3);
    assert!(group.opens(), "the one in the other zone is enough");
    group.win();
    let effects = group.seals(3, 10, true);
    let (elect, members, above) = elected(&effects).expect("proof");
    assert_eq!((elect, members.len(), above), (id(3), 1, 0), "and nothing is lost");
}

#[test]
fn without_zones_one_of_three_proves_nothing() {
    assert!(!zoned("aab", 1).silent(3).opens());
}

#[test]
fn half_of_a_zone_proves_nothing_while_the_rest_can_commit() {
    let mut group = zoned("aabb", 2).silent(3);
    assert!(!group.opens(), "n4 and the master go on");
    assert!(group.silent(4).opens());
}

#[test]
fn a_master_that_would_not_count_by_zones_is_recorded_without_any() {
    let group = zoned("aab", 2);
    let answer = |zones| Sealed {
        attempt: Epoch(2),
        life: Life(1),
        last: EntryId::new(Epoch(1), Offset(10)),
        intact: true,
        reserved: 0,
        was_master: false,
        zones,
    };
    for known in [true, false] {
        let sealed = BTreeMap::from([(id(2), answer(known)), (id(3), answer(true))]);
        let preferred = id(2);
        let chosen = choose(&group.record, &sealed, false, Some(&preferred), None).expect("two");
        assert_eq!(chosen.elect, id(2));
        assert!(chosen.members.iter().all(|member| member.zone.is_some() == known));
    }
}
