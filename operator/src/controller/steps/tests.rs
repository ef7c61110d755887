//! Each rule of replacing, leaving and growing, by what is seen.

use super::{Action, STEP_SEC_MAX, Steps, next};
use crate::controller::observed::{ClaimSeen, PodSeen};
use crate::object::Kind;
use crate::testing::{NOW_SEC, Seen};
use cairn_logic::ids::NodeId;
use cairn_settings::directory_keys::KeyspaceConfig;
use std::sync::Arc;

fn steps(seen: &Seen) -> Steps {
    next(&seen.desired(), &seen.observed, &seen.objects())
}

/// A new image for the keyspace's pods, which its StatefulSet has taken.
fn rolled(seen: Seen) -> Seen {
    taken(seen.keyspace(|k| k.spec.pods.image = Some("cairn:2".to_owned())))
}

/// The StatefulSets have the templates that were built.
fn taken(mut seen: Seen) -> Seen {
    for object in seen.objects().iter().filter(|o| o.kind == Kind::StatefulSet) {
        let live = Arc::make_mut(seen.observed.live.get_mut(&object.id()).unwrap());
        live.data["spec"]["template"] = object.value["spec"]["template"].clone();
    }
    seen
}

/// The pod was made anew from the template in force.
fn replaced(seen: Seen, pod: &str) -> Seen {
    let (set, _) = pod.rsplit_once('-').unwrap();
    let objects = seen.objects();
    let object = objects.iter().find(|o| o.kind == Kind::StatefulSet && o.name == set).unwrap();
    let hash = super::template_hash(&object.value);
    seen.pod(pod, |pod| pod.template = hash)
}

fn deleted(steps: &Steps) -> Option<&str> {
    steps.actions.iter().find_map(|action| match action {
        Action::DeletePod { pod, .. } => Some(pod.as_str()),
        _ => None,
    })
}

fn switched(steps: &Steps) -> Option<(&str, &str)> {
    steps.actions.iter().find_map(|action| match action {
        Action::Switchover { group, target, .. } => Some((group.as_str(), target.as_str())),
        _ => None,
    })
}

#[test]
fn a_whole_cluster_needs_nothing() {
    assert_eq!(steps(&Seen::new().whole()), Steps::default());
}

#[test]
fn replicas_go_first_and_the_master_last_after_a_switchover() {
    let mut seen = rolled(Seen::new().whole());
    for pod in ["tweets-0-2", "tweets-0-1"] {
        assert_eq!(deleted(&steps(&seen)), Some(pod));
        seen = replaced(seen, pod);
    }
    let last = steps(&seen);
    assert_eq!(deleted(&last), None);
    assert_eq!(switched(&last), Some(("tweets-0", "tweets-0-1")));
    let seen = seen.record("tweets-0", |record| {
        record.master = Some(NodeId::new("tweets-0-1"));
        record.epoch.0 += 1;
    });
    assert_eq!(deleted(&steps(&seen)), Some("tweets-0-0"));
    assert_eq!(steps(&replaced(seen, "tweets-0-0")), Steps::default());
}

#[test]
fn one_pod_at_a_time() {
    let seen = rolled(Seen::new().whole()).pod("tweets-0-2", |pod| pod.deleting = true);
    let waiting = steps(&seen);
    assert_eq!(deleted(&waiting), None);
    assert!(waiting.waits.contains("tweets-0-2 is stopping"), "{}", waiting.waits);
}

#[test]
fn a_pod_that_is_gone_and_not_made_again_is_waited_for() {
    let mut seen = rolled(Seen::new().whole());
    seen.observed.pods.remove("tweets-0-2");
    let waiting = steps(&seen);
    assert_eq!(waiting.actions, []);
    assert!(waiting.waits.contains("tweets-0-2 is not made yet"), "{}", waiting.waits);
}

#[test]
fn nothing_is_replaced_while_another_member_lags() {
    let seen = rolled(Seen::new().whole()).master("tweets-0", |status| {
        status.logs[0].members[0].lag_entries = 1_000_000;
    });
    let waiting = steps(&seen);
    assert_eq!(deleted(&waiting), None);
    assert!(waiting.waits.contains("tweets-0-1 is not in sync"), "{}", waiting.waits);
}

#[test]
fn nothing_is_replaced_while_a_member_is_missing_or_a_takeover_is_under_way() {
    let fewer = Seen::new().whole().record("tweets-0", |record| record.members.truncate(2));
    assert_eq!(deleted(&steps(&rolled(fewer))), None);
    let open = Seen::new().whole().record("tweets-0", |record| record.open = true);
    assert_eq!(deleted(&steps(&rolled(open))), None);
    assert_eq!(deleted(&steps(&rolled(Seen::new().whole()).deaf())), None);
}

#[test]
fn a_step_that_fails_stops_everything_and_says_why() {
    let seen = replaced(rolled(Seen::new().whole()), "tweets-0-2").pod("tweets-0-2", |pod| {
        pod.ready = false;
        pod.created_sec = NOW_SEC - STEP_SEC_MAX - 1;
        pod.waits = "CrashLoopBackOff: back-off".to_owned();
    });
    let stuck = steps(&seen);
    assert_eq!(deleted(&stuck), None);
    assert!(stuck.stuck.unwrap().contains("CrashLoopBackOff"));
}

#[test]
fn a_pod_that_does_not_run_is_replaced_at_once() {
    let seen = replaced(rolled(Seen::new().whole()), "tweets-0-2").pod("tweets-0-2", |pod| {
        (pod.ready, pod.running) = (false, false);
    });
    // The image was wrong; now another one is asked for.
    let seen = taken(seen.keyspace(|k| k.spec.pods.image = Some("cairn:3".to_owned())));
    assert_eq!(deleted(&steps(&seen)), Some("tweets-0-2"));
}

#[test]
fn a_pod_that_does_not_run_goes_before_any_other_set() {
    let seen = Seen::new().whole().cluster(|c| c.spec.pods.image = Some("cairn:2".to_owned()));
    let seen = taken(seen).pod("demo-global-1", |pod| (pod.ready, pod.running) = (false, false));
    assert_eq!(deleted(&steps(&seen)), Some("demo-global-1"));
}

#[test]
fn a_set_that_has_not_taken_the_template_is_waited_for() {
    let seen = Seen::new().whole().keyspace(|k| k.spec.pods.image = Some("cairn:2".to_owned()));
    let waiting = steps(&seen);
    assert_eq!(deleted(&waiting), None);
    assert!(waiting.waits.contains("has not taken the new template"), "{}", waiting.waits);
}

#[test]
fn the_global_plane_goes_before_groups_and_its_master_last() {
    let seen = Seen::new().whole().cluster(|c| c.spec.pods.image = Some("cairn:2".to_owned()));
    let mut seen = taken(seen);
    for pod in ["demo-acceptor-0", "demo-global-1"] {
        assert_eq!(deleted(&steps(&seen)), Some(pod));
        seen = replaced(seen, pod);
    }
    assert_eq!(switched(&steps(&seen)), Some(("global", "demo-global-1")));
}

#[test]
fn checkpoint_nodes_go_one_at_a_time_and_before_the_global_nodes() {
    let seen = Seen::new().checkpoints(2).whole();
    let mut seen = taken(seen.cluster(|c| c.spec.pods.image = Some("cairn:2".to_owned())));
    for pod in ["demo-checkpoint-1", "demo-checkpoint-0"] {
        assert_eq!(deleted(&steps(&seen)), Some(pod));
        seen = replaced(seen, pod);
        let away = seen.clone().pod(pod, |p| (p.ready, p.created_sec) = (false, NOW_SEC - 30));
        let waiting = steps(&away);
        assert_eq!(waiting.actions, [], "{pod} is not back");
        assert!(waiting.waits.contains("is not in sync yet"), "{}", waiting.waits);
    }
    assert_eq!(deleted(&steps(&seen)), Some("demo-global-1"));
}

#[test]
fn a_checkpoint_node_is_not_replaced_while_another_acceptor_is_away() {
    let seen = Seen::new().checkpoints(1).whole();
    let seen = taken(seen.cluster(|c| c.spec.pods.image = Some("cairn:2".to_owned())));
    assert_eq!(deleted(&steps(&seen)), Some("demo-checkpoint-0"));
    let silent = seen.clone().silent("demo-global-1");
    assert_eq!(deleted(&steps(&silent)), None);
    let mut gone = seen;
    gone.observed.pods.remove("demo-global-1");
    assert_eq!(deleted(&steps(&gone)), None);
}

#[test]
fn a_new_checkpoint_node_is_not_waited_for_by_those_that_must_learn_of_it() {
    let seen = Seen::new().whole().cluster(|c| c.spec.checkpoint.replicas = 1).applied();
    let waits = |pod: &mut PodSeen| (pod.ready, pod.created_sec) = (false, NOW_SEC - 90);
    let new = taken(seen).pod("demo-checkpoint-0", waits);
    assert_eq!(deleted(&steps(&new)), Some("demo-global-1"));
    let young = new.pod("demo-checkpoint-0", |pod| pod.created_sec = NOW_SEC - 30);
    assert_eq!(deleted(&steps(&young)), None);
    // Beside one that is to be replaced itself.
    let seen = Seen::new().checkpoints(1).whole().cluster(|c| {
        c.spec.checkpoint.replicas = 2;
        c.spec.pods.image = Some("cairn:2".to_owned());
    });
    let both = taken(seen.applied()).pod("demo-checkpoint-1", waits);
    assert_eq!(deleted(&steps(&both)), Some("demo-global-1"));
    // One that is an acceptor is never new.
    let seen = both.pod("demo-checkpoint-1", |pod| pod.ready = true);
    let seen = replaced(seen, "demo-checkpoint-0").pod("demo-checkpoint-0", waits);
    let waiting = steps(&seen);
    assert_eq!(deleted(&waiting), None);
    assert!(waiting.waits.contains("demo-checkpoint-0 is not in sync"), "{}", waiting.waits);
}

#[test]
fn volumes_of_checkpoint_nodes_grow_as_theirs_or_the_clusters() {
    let claim = ClaimSeen { wanted: "10Gi".to_owned(), ..ClaimSeen::default() };
    let with = |mut seen: Seen| {
        seen.observed.claims.insert("data-demo-checkpoint-0".to_owned(), claim.clone());
        steps(&seen).actions
    };
    let asked = |size: &str| Action::GrowClaim {
        claim: "data-demo-checkpoint-0".to_owned(),
        size: size.to_owned(),
    };
    let seen = Seen::new().checkpoints(1).whole();
    let seen = seen.cluster(|c| c.spec.storage.size = "20Gi".to_owned());
    assert!(with(seen.clone()).contains(&asked("20Gi")));
    let own = seen.cluster(|c| {
        let size = serde_json::json!({ "size": "30Gi" });
        c.spec.checkpoint.storage = Some(serde_json::from_value(size).unwrap());
    });
    assert!(with(own).contains(&asked("30Gi")));
}

#[test]
fn a_new_global_node_is_not_waited_for_by_those_that_must_learn_of_it() {
    let seen = Seen::new().whole().cluster(|c| c.spec.global_replicas = 2).applied();
    let seen = taken(seen).pod("demo-global-2", |pod| pod.ready = false);
    assert_eq!(deleted(&steps(&seen)), Some("demo-global-1"));
    let seen = replaced(seen, "demo-global-1").pod("demo-global-1", |pod| pod.ready = false);
    assert_eq!(steps(&seen).actions, []);
    let seen = seen.pod("demo-global-1", |pod| pod.ready = true);
    assert_eq!(switched(&steps(&seen)), Some(("global", "demo-global-1")));
}

#[test]
fn masters_leave_a_machine_that_is_drained_for_one_that_is_not() {
    let seen = Seen::new().whole().drained("tweets-0-0");
    assert_eq!(switched(&steps(&seen)), Some(("tweets-0", "tweets-0-1")));
    let both = seen.drained("tweets-0-1");
    assert_eq!(switched(&steps(&both)), Some(("tweets-0", "tweets-0-2")));
    let all = both.drained("tweets-0-2");
    assert_eq!(switched(&steps(&all)), None);
}

#[test]
fn a_node_goes_only_when_it_counts_no_more() {
    let fewer = |seen: Seen| seen.keyspace(|k| (k.spec.replicas, k.spec.backups) = (1, 0));
    let seen = fewer(Seen::new().whole());
    assert_eq!(seen.desired().keyspaces[0].groups[0].nodes, 3);
    assert_eq!(steps(&seen).leaving, ["tweets-0-2"]);
    let left = seen.record("tweets-0", |record| record.members.truncate(2));
    assert_eq!(left.desired().keyspaces[0].groups[0].nodes, 2);
    // Nobody says whether it counts: it stays.
    assert_eq!(fewer(Seen::new().whole()).deaf().desired().keyspaces[0].groups[0].nodes, 3);
}

#[test]
fn a_master_that_is_to_go_hands_over_first() {
    let seen = Seen::new().whole().record("tweets-0", |record| {
        record.master = Some(NodeId::new("tweets-0-2"));
    });
    let seen = seen.keyspace(|k| (k.spec.replicas, k.spec.backups) = (1, 0));
    let (group, target) =
        switched(&steps(&seen)).map(|(g, t)| (g.to_owned(), t.to_owned())).unwrap();
    assert_eq!((group.as_str(), target.as_str()), ("tweets-0", "tweets-0-0"));
}

#[test]
fn global_nodes_go_one_at_a_time_while_the_plane_is_whole() {
    let wide = Seen::new().cluster(|c| c.spec.global_replicas = 3).whole();
    let fewer = wide.cluster(|c| c.spec.global_replicas = 1);
    assert_eq!(fewer.desired().globals, 3);
    assert_eq!(fewer.silent("demo-global-1").desired().globals, 4);
}

#[test]
fn groups_that_hold_data_stay() {
    let seen = Seen::new().keyspace(|k| k.spec.groups = 3).whole();
    let seen = seen.keyspace(|k| k.spec.groups = 1);
    let keyspace = &seen.desired().keyspaces[0];
    assert_eq!(keyspace.groups.len(), 3, "their nodes stay");
    assert_eq!(keyspace.config.groups, 1, "the planner is told, and empties them");
}

#[test]
fn volumes_grow_claim_by_claim_and_then_the_template() {
    let seen = Seen::new().whole().keyspace(|k| k.spec.storage.size = "20Gi".to_owned());
    let claim = |wanted: &str, there: &str| ClaimSeen {
        wanted: wanted.to_owned(),
        there: there.to_owned(),
        cluster_uid: None,
    };
    let with = |mut seen: Seen, claim: ClaimSeen| {
        seen.observed.claims.insert("data-tweets-0-0".to_owned(), claim);
        seen
    };
    let asked = Action::GrowClaim { claim: "data-tweets-0-0".to_owned(), size: "20Gi".to_owned() };
    assert_eq!(steps(&with(seen.clone(), claim("10Gi", "10Gi"))).actions, [asked]);
    let under_way = steps(&with(seen, claim("20Gi", "10Gi")));
    assert_eq!(under_way.growing, ["data-tweets-0-0"]);
    assert_eq!(under_way.actions, [Action::OrphanSet { set: "tweets-0".to_owned() }]);
}

#[test]
fn the_resource_follows_the_number_of_groups_that_the_planner_has_found() {
    let policy = serde_json::json!({ "max": 4, "memory": "2Gi" });
    let scaled = Seen::new().keyspace(|k| {
        k.spec.autoscale = Some(serde_json::from_value(policy.clone()).unwrap());
    });
    let mut seen = scaled.whole();
    let written = seen.desired().keyspaces[0].config.clone();
    let directory = seen.observed.plane.directory.as_mut().unwrap();
    let found = KeyspaceConfig { groups: 3, ..written };
    directory.keyspaces.insert("tweets".to_owned(), found);
    let desired = seen.desired();
    assert_eq!((desired.keyspaces[0].config.groups, desired.keyspaces[0].groups.len()), (3, 3));
    let scale = Action::Scale { keyspace: "tweets".to_owned(), groups: 3 };
    assert!(steps(&seen).actions.contains(&scale), "{:?}", steps(&seen));
    seen = seen.keyspace(|k| k.spec.groups = 3);
    assert!(!steps(&seen).actions.contains(&scale), "it says so");
    seen = seen.keyspace(|k| k.spec.autoscale = None);
    assert_eq!(seen.desired().keyspaces[0].config.groups, 3, "and stays without autoscale");
}
