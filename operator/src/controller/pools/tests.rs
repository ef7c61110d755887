//! Each rule about spares and their pods, by what is seen.

use super::{FINALIZER, finalizers, label_patch, released};
use crate::controller::apply::{Write, writes};
use crate::controller::observed::ClaimSeen;
use crate::controller::retire::retired;
use crate::controller::steps::{Action, Steps, next};
use crate::names;
use crate::object::Kind;
use crate::testing::Seen;
use cairn_logic::ids::{GroupId, Incarnation, NodeId};
use cairn_logic::record::{Member, Role};
use cairn_settings::directory_keys::Claim;
use serde_json::json;
use std::sync::Arc;

fn whole() -> Seen {
    Seen::new().pool(|_| ()).whole()
}

fn steps(seen: &Seen) -> Steps {
    next(&seen.desired(), &seen.observed, &seen.objects())
}

fn replicas(seen: &Seen) -> i64 {
    let objects = seen.objects();
    let set = objects.iter().find(|o| o.kind == Kind::StatefulSet && o.name == "warm-spare");
    set.unwrap().value["spec"]["replicas"].as_i64().unwrap()
}

fn releasing() -> Claim {
    Claim::Releasing { group: GroupId::new("tweets-0"), claim: 9 }
}

/// `warm-spare-1` is a member of the group in the place of `tweets-0-2`, and its pod says so.
fn serving(role: Role) -> Seen {
    let seen = whole().claimed("warm-spare-1", "tweets-0").pod("warm-spare-1", |pod| {
        pod.labelled = Some(("tweets-0".to_owned(), "tweets".to_owned()));
    });
    seen.record("tweets-0", |record| {
        let id = NodeId::new("warm-spare-1");
        record.members[2] =
            Member { id: id.clone(), incarnation: Incarnation(7), role, zone: None };
        if role == Role::Master {
            record.members[0].role = Role::Replica;
            record.master = Some(id);
        }
    })
}

/// The StatefulSets have the templates that were built.
fn taken(mut seen: Seen) -> Seen {
    for object in seen.objects().iter().filter(|o| o.kind == Kind::StatefulSet) {
        let live = Arc::make_mut(seen.observed.live.get_mut(&object.id()).unwrap());
        live.data["spec"]["template"] = object.value["spec"]["template"].clone();
    }
    seen
}

fn rolled(seen: Seen) -> Seen {
    taken(seen.pool(|pool| pool.spec.pods.image = Some("cairn:2".to_owned())))
}

fn deleted(steps: &Steps) -> Option<&str> {
    steps.actions.iter().find_map(|action| match action {
        Action::DeletePod { pod, .. } => Some(pod.as_str()),
        _ => None,
    })
}

fn switched(steps: &Steps) -> Option<&str> {
    steps.actions.iter().find_map(|action| match action {
        Action::Switchover { target, .. } => Some(target.as_str()),
        _ => None,
    })
}

#[test]
fn a_whole_pool_needs_nothing_and_a_second_look_writes_nothing() {
    let seen = whole().applied();
    assert_eq!(steps(&seen), Steps::default());
    assert_eq!(writes(&seen.desired(), &seen.observed, &seen.objects()), []);
}

#[test]
fn a_pool_shrinks_down_to_its_highest_node_that_a_group_holds() {
    let four = || Seen::new().pool(|pool| pool.spec.size = 4).whole();
    let one = |seen: Seen| seen.pool(|pool| pool.spec.size = 1);
    assert_eq!(replicas(&one(four())), 1);
    let held = one(four().claimed("warm-spare-2", "tweets-0"));
    assert_eq!(replicas(&held), 3);
    assert_eq!(steps(&held).leaving, ["warm-spare-1", "warm-spare-2"]);
    let settings = held.desired().settings;
    assert!(settings.contains_key(&NodeId::new("warm-spare-2")), "it keeps its settings");
    let gone = Seen::new().pool(|_| ()).whole().pool_deleted();
    assert_eq!(replicas(&gone), 0);
    assert!(gone.desired().settings.values().all(|settings| settings.pool.is_none()));
    assert_eq!(replicas(&one(four().claim("warm-spare-1", releasing()))), 2);
    assert_eq!(replicas(&one(four()).deaf()), 4, "the truth is not known");
    assert_eq!(replicas(&one(four().claimed("warm-spare-0", "tweets-0"))), 1);
}

#[test]
fn a_master_that_is_a_spare_and_is_to_go_hands_over() {
    assert_eq!(switched(&steps(&serving(Role::Master))), None);
    let going = serving(Role::Master).pool(|pool| pool.spec.size = 1);
    assert_eq!(switched(&steps(&going)), Some("tweets-0-0"));
}

#[test]
fn pods_have_the_labels_of_the_group_that_their_node_is_claimed_by() {
    let labels = |seen: &Seen| {
        let label = |action| match action {
            Action::Label { pod, of, .. } => Some((pod, of)),
            _ => None,
        };
        steps(seen).actions.into_iter().filter_map(label).collect::<Vec<_>>()
    };
    let of = Some(("tweets-0".to_owned(), "tweets".to_owned()));
    let claimed = whole().claimed("warm-spare-1", "tweets-0");
    assert_eq!(labels(&claimed), [("warm-spare-1".to_owned(), of.clone())]);
    assert_eq!(labels(&claimed.clone().pod("warm-spare-1", |pod| pod.deleting = true)), []);
    let labelled = claimed.pod("warm-spare-1", |pod| pod.labelled = of);
    assert_eq!(labels(&labelled), []);
    assert_eq!(labels(&labelled.clone().deaf()), [], "the truth is not known");
    let back = labelled.claim("warm-spare-1", releasing());
    assert_eq!(labels(&back), [("warm-spare-1".to_owned(), None)]);
}

#[test]
fn labels_are_taken_away_by_name_and_of_one_pod_alone() {
    let none = json!({ "metadata": {
        "uid": "u", "labels": { names::SERVES: null, names::KEYSPACE: null },
    }});
    assert_eq!(label_patch("u", None), none);
    let of = ("tweets-0".to_owned(), "tweets".to_owned());
    let both = json!({ names::SERVES: "tweets-0", names::KEYSPACE: "tweets" });
    assert_eq!(label_patch("u", Some(&of))["metadata"]["labels"], both);
}

#[test]
fn a_pool_is_held_from_the_first_look_and_until_no_group_has_a_node_of_it() {
    let finalizers = |seen: &Seen| finalizers(&seen.observed, &seen.observed.pools[0]);
    let added = json!({ "metadata": { "finalizers": [FINALIZER], "resourceVersion": "5" } });
    assert_eq!(finalizers(&whole()), Some(added));
    let removed = json!({ "metadata": { "finalizers": ["theirs"], "resourceVersion": "5" } });
    let scaled_in = |seen: Seen| seen.pool_deleted().applied();
    assert_eq!(finalizers(&whole().pool_deleted()), None, "its pods are still asked for");
    assert_eq!(finalizers(&scaled_in(whole())), Some(removed.clone()));
    assert_eq!(finalizers(&scaled_in(whole().claimed("warm-spare-1", "tweets-0"))), None);
    assert_eq!(finalizers(&scaled_in(whole().claim("warm-spare-0", releasing()))), None);
    assert_eq!(finalizers(&scaled_in(whole()).deaf()), None, "the truth is not known");
    let early = Seen::new().pool(|_| ()).pool_deleted();
    assert_eq!(finalizers(&early), Some(removed.clone()), "there has been no group yet");
    let pool = &whole().pool_deleted().observed.pools[0];
    assert_eq!(released(pool), Some(removed), "without a Cluster nobody is served");
    assert_eq!(released(&whole().observed.pools[0]), None);
}

#[test]
fn idle_spares_are_replaced_first_and_claimed_ones_as_members() {
    let seen = rolled(serving(Role::Replica));
    assert_eq!(deleted(&steps(&seen)), Some("warm-spare-0"));
    let new = {
        let objects = seen.objects();
        let set = objects.iter().find(|o| o.kind == Kind::StatefulSet && o.name == "warm-spare");
        let template = &set.unwrap().value["spec"]["template"]["metadata"]["annotations"];
        template[names::TEMPLATE].as_str().unwrap().to_owned()
    };
    let last = |role| {
        let new = new.clone();
        rolled(serving(role)).pod("warm-spare-0", |pod| pod.template = new)
    };
    assert_eq!(deleted(&steps(&last(Role::Replica))), Some("warm-spare-1"));
    let master = steps(&last(Role::Master));
    assert_eq!((deleted(&master), switched(&master)), (None, Some("tweets-0-0")));
    let behind = steps(&last(Role::Replica).silent("tweets-0-1"));
    assert_eq!(deleted(&behind), None);
    assert!(behind.waits.contains("tweets-0-1 is not in sync"), "{}", behind.waits);
    let back = steps(&last(Role::Replica).claim("warm-spare-1", releasing()));
    assert_eq!(deleted(&back), None);
    assert!(back.waits.contains("being released"), "{}", back.waits);
}

#[test]
fn a_spare_that_is_not_there_keeps_no_group_waiting_unless_it_is_a_member() {
    let rolled =
        |seen: Seen| taken(seen.keyspace(|k| k.spec.pods.image = Some("cairn:2".to_owned())));
    let sick = |seen: Seen| rolled(seen.pod("warm-spare-1", |pod| pod.ready = false));
    assert_eq!(deleted(&steps(&sick(whole()))), Some("tweets-0-2"));
    let member = steps(&sick(serving(Role::Replica)));
    assert_eq!(deleted(&member), None);
    let stuck = member.stuck.unwrap_or_default();
    assert!(stuck.contains("warm-spare-1 was replaced and is not back"), "{stuck}");
}

#[test]
fn larger_volumes_of_spares_are_asked_for() {
    let mut seen = whole().pool(|pool| pool.spec.storage.size = "20Gi".to_owned());
    let claim = ClaimSeen { wanted: "10Gi".to_owned(), ..ClaimSeen::default() };
    seen.observed.claims.insert("data-warm-spare-0".to_owned(), claim);
    let (claim, size) = ("data-warm-spare-0".to_owned(), "20Gi".to_owned());
    assert!(steps(&seen).actions.contains(&Action::GrowClaim { claim, size }));
}

#[test]
fn a_pool_that_is_refused_keeps_what_was_made_for_it() {
    for seen in [
        whole().applied().pool(|pool| pool.spec.idle_min = 9),
        whole().applied().keyspace(|k| k.metadata.name = Some("warm-spare".to_owned())),
    ] {
        let desired = seen.desired();
        assert_eq!(desired.refused_pools.keys().collect::<Vec<_>>(), ["warm"]);
        let objects = seen.objects();
        let all = writes(&desired, &seen.observed, &objects);
        let orphans = all
            .iter()
            .filter(|write| matches!(write, Write::Orphan((_, name), _) if name == "warm-spare"));
        assert_eq!(orphans.count(), 0);
    }
}

#[test]
fn the_directory_forgets_pools_that_are_gone_and_spares_without_pod_and_volume() {
    let forgotten = |seen: &Seen| {
        let keys = retired(&seen.observed).into_iter().map(|(key, _)| key);
        keys.collect::<Vec<_>>()
    };
    let mut seen = whole();
    let directory = seen.observed.plane.directory.as_mut().unwrap();
    for key in ["spares/warm", "nodes/warm-spare-0", "nodes/warm-spare-1"] {
        directory.revisions.insert(format!("/cairn/{key}"), 9);
    }
    assert_eq!(forgotten(&seen), [""; 0]);
    assert_eq!(forgotten(&seen.clone().pool_deleted()), ["/cairn/spares/warm"]);
    let mut seen = seen.pool(|pool| pool.spec.size = 1).applied();
    seen.observed.pods.remove("warm-spare-1");
    assert_eq!(forgotten(&seen), [""; 0], "its lease lives");
    let directory = seen.observed.plane.directory.as_mut().unwrap();
    directory.alive.remove(&NodeId::new("warm-spare-1"));
    assert_eq!(forgotten(&seen), ["/cairn/nodes/warm-spare-1"]);
    let mut kept = seen.clone();
    kept.observed.claims.insert("data-warm-spare-1".to_owned(), ClaimSeen::default());
    assert_eq!(forgotten(&kept), [""; 0], "its volume is there");
    assert_eq!(forgotten(&seen.claimed("warm-spare-1", "tweets-0")), [""; 0], "it is claimed");
}

#[test]
fn pods_of_spares_are_no_pods_of_a_keyspace_of_the_pools_name() {
    let mut seen = whole();
    let directory = seen.observed.plane.directory.as_mut().unwrap();
    let config = directory.keyspaces["tweets"].clone();
    directory.keyspaces.insert("warm".to_owned(), config);
    directory.revisions.insert("/cairn/keyspaces/warm".to_owned(), 9);
    let keys: Vec<String> = retired(&seen.observed).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["/cairn/keyspaces/warm"]);
}
