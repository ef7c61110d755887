//! What is said of a pool of spares.

use super::{Row, find, of, pair};
use crate::controller::status::pool_without_cluster;
use crate::testing::{NOW_SEC, Seen};
use cairn_crd::{ConditionType, Reason};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_settings::directory_keys::Claim;

fn pool(seen: &Seen, about: ConditionType) -> (String, String) {
    let statuses = of(seen);
    let (status, reason) = find(&statuses.pools["warm"].conditions, about);
    (status.to_owned(), reason.to_owned())
}

fn whole() -> Seen {
    Seen::new().pool(|_| ()).whole()
}

/// A node's lease has run out.
fn away(node: &str) -> Seen {
    let mut seen = whole();
    seen.observed.plane.directory.as_mut().unwrap().alive.remove(&NodeId::new(node));
    seen
}

fn taken() -> Seen {
    whole().claimed("warm-spare-0", "tweets-0").claimed("warm-spare-1", "tweets-0")
}

fn drained() -> Seen {
    whole().told_drained("warm-spare-0").told_drained("warm-spare-1")
}

/// One is to be idle in each zone, and the pool's two nodes are in one of them.
fn zone() -> Seen {
    let mut seen = Seen::new().pool(|pool| pool.spec.min_idle_per_zone = 1).whole();
    let directory = seen.observed.plane.directory.as_mut().unwrap();
    for (node, zone) in [("warm-spare-0", "a"), ("warm-spare-1", "a")] {
        directory.nodes.get_mut(&NodeId::new(node)).unwrap().zone = Some(zone.to_owned());
    }
    let mut member = directory.nodes[&NodeId::new("warm-spare-0")].clone();
    (member.pool, member.zone) = (None, Some("b".to_owned()));
    directory.nodes.insert(NodeId::new("tweets-0-0"), member);
    seen
}

/// None has to be idle, but a member is to be empty.
fn awaited() -> Seen {
    let seen = Seen::new().pool(|pool| pool.spec.idle_min = 0).whole();
    let seen = seen.told_drained("warm-spare-0").told_drained("warm-spare-1");
    seen.told_drained("tweets-0-1")
}

pub(super) fn rows() -> Vec<Row> {
    use ConditionType::{PoolExhausted, Progressing, Ready};
    let new = || Seen::new().pool(|_| ());
    let pending =
        || away("warm-spare-1").pod("warm-spare-1", |pod| pod.waits = "no machine".to_owned());
    let fewer = || taken().pool(|pool| pool.spec.size = 1);
    let rolled = || whole().pool(|pool| pool.spec.pods.image = Some("cairn:2".to_owned()));
    let invalid = || whole().pool(|pool| pool.spec.size = 0);
    vec![
        Row("whole", whole(), pool, Ready, "True", Reason::SparesThere),
        Row("whole", whole(), pool, Progressing, "False", Reason::Settled),
        Row("whole", whole(), pool, PoolExhausted, "False", Reason::EnoughIdle),
        Row("claimed", taken(), pool, Ready, "True", Reason::SparesThere),
        Row("claimed", taken(), pool, PoolExhausted, "True", Reason::TooFewIdle),
        Row("drained", drained(), pool, PoolExhausted, "True", Reason::TooFewIdle),
        Row("awaited", awaited(), pool, PoolExhausted, "True", Reason::TooFewIdle),
        Row("zone", zone(), pool, PoolExhausted, "True", Reason::TooFewIdleInZone),
        Row("new", new(), pool, Ready, "False", Reason::Founding),
        Row("away", away("warm-spare-1"), pool, Ready, "False", Reason::WaitingForNodes),
        Row("away", away("warm-spare-1"), pool, PoolExhausted, "False", Reason::EnoughIdle),
        Row("pending", pending(), pool, Ready, "False", Reason::PodsPending),
        Row("pending", pending(), pool, Progressing, "True", Reason::PodsPending),
        Row("fewer", fewer(), pool, Progressing, "True", Reason::SparesClaimed),
        Row("rolling", rolled(), pool, Progressing, "True", Reason::RollingOut),
        Row("deaf", whole().deaf(), pool, Ready, "Unknown", Reason::PlaneUnreachable),
        Row("deaf", whole().deaf(), pool, PoolExhausted, "Unknown", Reason::PlaneUnreachable),
        Row("invalid", invalid(), pool, Ready, "False", Reason::SpecInvalid),
        Row("going", taken().pool_deleted(), pool, Progressing, "True", Reason::SparesClaimed),
        Row("going", taken().pool_deleted(), pool, PoolExhausted, "False", Reason::Settled),
    ]
}

#[test]
fn nodes_are_counted_that_are_there_and_idle_or_claimed() {
    let releasing = Claim::Releasing { group: GroupId::new("tweets-0"), claim: 9 };
    let counts = |seen: &Seen| {
        let status = &of(seen).pools["warm"];
        (status.idle, status.claimed, status.observed_generation)
    };
    let one = whole().claimed("warm-spare-0", "tweets-0");
    assert_eq!(counts(&whole()), (2, 0, Some(1)));
    assert_eq!(counts(&one), (1, 1, Some(1)));
    assert_eq!(counts(&one.claim("warm-spare-1", releasing)), (0, 1, Some(1)));
    assert_eq!(counts(&away("warm-spare-1")), (1, 0, Some(1)));
}

#[test]
fn counts_stay_while_nobody_answers() {
    let last = of(&whole().claimed("warm-spare-0", "tweets-0")).pools["warm"].clone();
    let deaf = whole().deaf().pool(|pool| pool.status = Some(last));
    let now = &of(&deaf).pools["warm"];
    assert_eq!((now.idle, now.claimed), (1, 1));
}

#[test]
fn a_pool_without_its_cluster_says_so() {
    let seen = Seen::new().pool(|_| ());
    let status = pool_without_cluster(&seen.observed.pools[0], NOW_SEC);
    let (status, reason) = find(&status.conditions, ConditionType::Ready);
    assert_eq!((status.to_owned(), reason.to_owned()), pair("False", Reason::ClusterMissing));
}
