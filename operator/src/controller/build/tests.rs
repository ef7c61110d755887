//! What is built, and that it stays as it is.

use crate::controller::desired::Desired;
use crate::names;
use crate::object::{Kind, Object};
use crate::testing::Seen;
use cairn_crd::pods::{Pods, Spread};
use cairn_settings::NodeSettings;
use serde_json::{Value, json};

fn find<'a>(objects: &'a [Object], kind: Kind, name: &str) -> &'a Value {
    let found = objects.iter().find(|object| object.kind == kind && object.name == name);
    &found.unwrap_or_else(|| panic!("no {} {name}", kind.as_str())).value
}

fn hash(objects: &[Object], set: &str) -> String {
    let set = find(objects, Kind::StatefulSet, set);
    set["spec"]["template"]["metadata"]["annotations"][names::TEMPLATE].as_str().unwrap().to_owned()
}

/// An operator of this version replaces no pod of the version before: whoever changes a template
/// changes these lines, and writes in CHANGELOG.md that pods are replaced.
#[test]
fn the_pod_templates_are_those_of_the_version_before() {
    let objects = Seen::new().grouped().objects();
    let hashes = ["demo-global", "demo-acceptor", "tweets-0"].map(|set| hash(&objects, set));
    assert_eq!(hashes, ["89a19192048f29b4", "d349719be75438d3", "740e47d71cd86815"]);
}

/// The same of clusters whose processes speak TLS.
#[test]
fn the_pod_templates_with_tls_are_those_of_the_version_before() {
    let objects = Seen::new().grouped().tls().objects();
    let hashes = ["demo-global", "demo-acceptor", "tweets-0"].map(|set| hash(&objects, set));
    assert_eq!(hashes, ["f4312fd37d409e64", "2095746a00db689c", "fa0510822094a919"]);
}

#[test]
fn renewed_certificates_replace_no_pod() {
    let seen = Seen::new().grouped().tls().whole();
    let template = |seen: &Seen, set| hash(&seen.objects(), set);
    let before = ["demo-global", "demo-acceptor", "tweets-0"].map(|set| template(&seen, set));
    let secret = |seen: &Seen| find(&seen.objects(), Kind::Secret, "demo-global-tls").clone();
    let later = seen.clone().days_later(80).certified();
    assert_ne!(secret(&seen)["data"], secret(&later)["data"]);
    let after = ["demo-global", "demo-acceptor", "tweets-0"].map(|set| template(&later, set));
    assert_eq!(before, after);
}

#[test]
fn a_certificate_and_whom_to_trust_are_mounted_as_one_folder() {
    let seen = Seen::new().grouped().tls().keyspace(|k| {
        let tls = json!({ "secretName": "web" });
        k.spec.tls = Some(serde_json::from_value(tls).unwrap());
    });
    let objects = seen.objects();
    let pod = &find(&objects, Kind::StatefulSet, "tweets-0")["spec"]["template"]["spec"];
    let volume = |name: &str| {
        let volumes = pod["volumes"].as_array().unwrap();
        volumes.iter().find(|volume| volume["name"] == name).unwrap().clone()
    };
    let sources = &volume("tls")["projected"]["sources"];
    assert_eq!(sources[0]["secret"]["name"], "tweets-nodes-tls");
    assert_eq!(sources[1]["configMap"]["name"], "demo-ca");
    assert_eq!(volume("client-tls")["secret"]["secretName"], "web");
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let paths: Vec<&str> = mounts.iter().filter_map(|m| m["mountPath"].as_str()).collect();
    assert_eq!(paths[3..], ["/etc/cairn/tls", "/etc/cairn/client-tls"]);
    let keys = &find(&objects, Kind::Secret, "tweets-nodes-tls");
    assert_eq!(keys["metadata"]["ownerReferences"][0]["uid"], "u-keyspace");
    let map = &find(&objects, Kind::ConfigMap, "demo-ca")["data"];
    assert!(map["ca.crt"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn a_cluster_and_a_keyspace_become_these_objects() {
    let objects = Seen::new().grouped().objects();
    let names: Vec<String> =
        objects.iter().map(|o| format!("{} {}", o.kind.as_str(), o.name)).collect();
    let expected = [
        "ServiceAccount demo-node",
        "ServiceAccount tweets-node",
        "ConfigMap demo-global",
        "ConfigMap demo-acceptor",
        "ConfigMap tweets-0",
        "Service demo-global",
        "Service demo-etcd",
        "Service demo-acceptor",
        "Service tweets-nodes",
        "Service tweets",
        "NetworkPolicy demo-plane",
        "NetworkPolicy tweets-nodes",
        "PodDisruptionBudget demo-plane",
        "PodDisruptionBudget tweets-0",
        "Group tweets-0",
        "StatefulSet demo-global",
        "StatefulSet demo-acceptor",
        "StatefulSet tweets-0",
    ];
    assert_eq!(names, expected);
}

#[test]
fn a_pool_of_spares_becomes_these_objects() {
    let objects = Seen::new().pool(|_| ()).objects();
    let names: Vec<&str> =
        objects.iter().filter(|o| o.name == "warm-spare").map(|o| o.kind.as_str()).collect();
    let kinds = ["ConfigMap", "Service", "NetworkPolicy", "PodDisruptionBudget", "StatefulSet"];
    assert_eq!(names, kinds);
    let set = &find(&objects, Kind::StatefulSet, "warm-spare");
    assert_eq!(set["metadata"]["ownerReferences"][0]["uid"], "u-pool");
    assert_eq!(
        (&set["spec"]["replicas"], &set["spec"]["serviceName"]),
        (&json!(2), &json!("warm-spare"))
    );
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["args"][0], "data");
    let spread = pod["topologySpreadConstraints"].as_array().unwrap();
    let keys: Vec<&Value> = spread.iter().map(|s| &s["topologyKey"]).collect();
    assert_eq!(keys, ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]);
    let of = json!({ "matchLabels": { names::POOL: "warm" } });
    assert!(spread.iter().all(|s| s["labelSelector"] == of));
    let settings = &find(&objects, Kind::ConfigMap, "warm-spare")["data"]["warm-spare-1.json"];
    let settings: NodeSettings = serde_json::from_str(settings.as_str().unwrap()).unwrap();
    assert_eq!(settings.pool.as_deref(), Some("warm"));
    assert_eq!(settings.advertise.peer, "warm-spare-1.warm-spare.ns.svc.cluster.local:7400");
}

/// Kubernetes evicts no pod that two budgets select; a pod of the group that has to come back to
/// its machine must not be kept away by a spare there.
#[test]
fn by_no_label_is_a_claimed_spare_a_pod_of_the_group_itself() {
    let objects = Seen::new().grouped().pool(|_| ()).objects();
    let template = |set| &find(&objects, Kind::StatefulSet, set)["spec"]["template"];
    let mut labels = template("warm-spare")["metadata"]["labels"].clone();
    let of = ("tweets-0".to_owned(), "tweets".to_owned());
    let patch = crate::controller::pools::label_patch("u", Some(&of));
    let more = patch["metadata"]["labels"].as_object().unwrap().clone();
    labels.as_object_mut().unwrap().extend(more);
    let selects = |selector: &Value| crate::object::covers(&labels, selector);
    let budget = |name| &find(&objects, Kind::PodDisruptionBudget, name)["spec"]["selector"];
    assert!(!selects(&budget("tweets-0")["matchLabels"]));
    assert!(selects(&budget("warm-spare")["matchLabels"]));
    let spread = &template("tweets-0")["spec"]["topologySpreadConstraints"][0];
    assert!(!selects(&spread["labelSelector"]["matchLabels"]));
    let service = &find(&objects, Kind::Service, "tweets")["spec"]["selector"];
    assert!(selects(service), "clients come to it");
}

#[test]
fn a_spare_shows_the_names_of_the_keyspaces_whose_door_is_the_clusters() {
    let seen = Seen::new().pool(|_| ()).cluster(|c| {
        c.spec.tls.clients = Some(serde_json::from_value(json!({})).unwrap());
    });
    let leaf = |seen: &Seen| seen.desired().tls.leaves["warm-spare-tls"].names.clone();
    let names = leaf(&seen);
    assert!(names.contains(&"*.warm-spare.ns.svc.cluster.local".to_owned()), "{names:?}");
    assert!(names.contains(&"tweets.ns.svc".to_owned()), "{names:?}");
    let own = seen.keyspace(|k| {
        k.spec.tls = Some(serde_json::from_value(json!({ "secretName": "web" })).unwrap());
    });
    assert!(!leaf(&own).contains(&"tweets.ns.svc".to_owned()));
}

#[test]
fn checkpoint_nodes_take_the_acceptors_place() {
    let objects = Seen::new().checkpoints(2).objects();
    let names: Vec<String> = objects
        .iter()
        .filter(|o| o.name.starts_with("demo-checkpoint") || o.name.starts_with("demo-acceptor"))
        .map(|o| format!("{} {}", o.kind.as_str(), o.name))
        .collect();
    let kinds = ["ConfigMap", "Service", "StatefulSet"];
    assert_eq!(names, kinds.map(|kind| format!("{kind} demo-checkpoint")));
    let set = &find(&objects, Kind::StatefulSet, "demo-checkpoint")["spec"];
    assert_eq!(set["replicas"], 2);
    let template = &set["template"];
    assert_eq!(template["metadata"]["labels"][names::PLANE], "demo", "under the plane's budget");
    assert_eq!(template["spec"]["containers"][0]["args"][0], "checkpoint");
    let rule = "requiredDuringSchedulingIgnoredDuringExecution";
    let term = &template["spec"]["affinity"]["podAntiAffinity"][rule][0];
    assert_eq!(term["labelSelector"]["matchLabels"], json!({ names::PLANE: "demo" }));
    let map = &find(&objects, Kind::ConfigMap, "demo-checkpoint")["data"];
    let text = map["demo-checkpoint-1.json"].as_str().unwrap();
    let settings = NodeSettings::from_json(text, &mut Vec::new()).unwrap();
    let acceptors: Vec<String> = settings.acceptors().iter().map(ToString::to_string).collect();
    assert_eq!(acceptors, ["demo-checkpoint-0", "demo-global-0", "demo-global-1"]);
    let host = "demo-checkpoint-1.demo-checkpoint.ns.svc.cluster.local";
    assert_eq!(settings.advertise.peer, format!("{host}:7400"));
}

#[test]
fn checkpoint_nodes_have_storage_and_pods_of_their_own_if_that_is_said() {
    let seen = Seen::new().checkpoints(1).cluster(|c| {
        c.spec.storage.class_name = Some("fast".to_owned());
        c.spec.pods.priority_class_name = Some("high".to_owned());
    });
    let claim = |seen: &Seen| {
        let objects = seen.objects();
        let set = find(&objects, Kind::StatefulSet, "demo-checkpoint");
        let spec = &set["spec"]["volumeClaimTemplates"][0]["spec"];
        (spec["resources"]["requests"]["storage"].clone(), spec["storageClassName"].clone())
    };
    assert_eq!(claim(&seen), (json!("10Gi"), json!("fast")));
    let own = seen.cluster(|c| {
        let storage = json!({ "size": "50Gi", "className": "slow" });
        c.spec.checkpoint.storage = Some(serde_json::from_value(storage).unwrap());
        c.spec.checkpoint.pods.image = Some("cairn:3".to_owned());
    });
    assert_eq!(claim(&own), (json!("50Gi"), json!("slow")));
    let objects = own.objects();
    let set = find(&objects, Kind::StatefulSet, "demo-checkpoint");
    let pod = &set["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "cairn:3");
    assert_eq!(pod["priorityClassName"], "high", "what is absent is as the Cluster says");
}

#[test]
fn checkpoint_nodes_show_a_certificate_to_peers_alone() {
    let objects = Seen::new().checkpoints(1).tls().objects();
    let secret = find(&objects, Kind::Secret, "demo-checkpoint-tls");
    assert_eq!(secret["type"], "kubernetes.io/tls");
    let map = &find(&objects, Kind::ConfigMap, "demo-checkpoint")["data"];
    let text = map["demo-checkpoint-0.json"].as_str().unwrap();
    let settings = NodeSettings::from_json(text, &mut Vec::new()).unwrap();
    assert!(settings.tls.peers.is_some() && settings.tls.clients.is_none());
}

#[test]
fn a_groups_set_follows_its_group() {
    let objects = Seen::new().objects();
    assert!(objects.iter().any(|o| o.kind == Kind::Group));
    assert!(!objects.iter().any(|o| o.kind == Kind::StatefulSet && o.name == "tweets-0"));
}

#[test]
fn everything_belongs_to_whom_it_goes_with() {
    let objects = Seen::new().grouped().objects();
    let owner = |kind, name: &str| {
        let owners = &find(&objects, kind, name)["metadata"]["ownerReferences"];
        owners[0]["uid"].as_str().unwrap().to_owned()
    };
    assert_eq!(owner(Kind::StatefulSet, "demo-global"), "u-cluster");
    assert_eq!(owner(Kind::Group, "tweets-0"), "u-keyspace");
    assert_eq!(owner(Kind::StatefulSet, "tweets-0"), "u-tweets-0");
}

#[test]
fn nodes_run_without_any_right_they_do_not_need() {
    let objects = Seen::new().grouped().objects();
    for set in ["demo-global", "demo-acceptor", "tweets-0"] {
        let pod = &find(&objects, Kind::StatefulSet, set)["spec"]["template"]["spec"];
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        let context = &pod["containers"][0]["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
    }
    let account = find(&objects, Kind::ServiceAccount, "tweets-node");
    assert_eq!(account["automountServiceAccountToken"], false);
}

#[test]
fn every_pod_finds_its_own_valid_settings() {
    let seen = Seen::new().grouped();
    let objects = seen.objects();
    let map = &find(&objects, Kind::ConfigMap, "tweets-0")["data"];
    assert_eq!(map.as_object().unwrap().len(), 3);
    let text = map["tweets-0-2.json"].as_str().unwrap();
    let mut unknown = Vec::new();
    let settings = NodeSettings::from_json(text, &mut unknown).unwrap();
    assert_eq!(unknown, [""; 0]);
    assert_eq!(settings.node.as_str(), "tweets-0-2");
    let host = "tweets-0-2.tweets-nodes.ns.svc.cluster.local";
    assert_eq!(settings.advertise.peer, format!("{host}:7400"));
    let seeds: Vec<&str> = settings.seeds.keys().map(|id| id.as_str()).collect();
    assert_eq!(seeds, ["demo-acceptor-0", "demo-global-0", "demo-global-1"]);
    let pod = &find(&objects, Kind::StatefulSet, "tweets-0")["spec"]["template"]["spec"];
    let args = &pod["containers"][0]["args"];
    assert_eq!(*args, json!(["data", "--settings", "/etc/cairn/settings/$(POD_NAME).json"]));
}

#[test]
fn nodes_find_each_other_before_they_are_ready_and_clients_only_after() {
    let objects = Seen::new().grouped().objects();
    for name in ["demo-global", "demo-acceptor", "tweets-nodes"] {
        let spec = &find(&objects, Kind::Service, name)["spec"];
        assert_eq!(
            (&spec["clusterIP"], &spec["publishNotReadyAddresses"]),
            (&json!("None"), &json!(true))
        );
    }
    for name in ["demo-etcd", "tweets"] {
        let spec = &find(&objects, Kind::Service, name)["spec"];
        assert!(spec["publishNotReadyAddresses"].is_null() && spec["type"] == "ClusterIP");
    }
}

#[test]
fn the_operator_alone_replaces_pods_and_volumes_stay() {
    let objects = Seen::new().grouped().objects();
    let spec = &find(&objects, Kind::StatefulSet, "tweets-0")["spec"];
    assert_eq!(spec["updateStrategy"]["type"], "OnDelete");
    assert_eq!(spec["podManagementPolicy"], "Parallel");
    assert_eq!(
        spec["persistentVolumeClaimRetentionPolicy"],
        json!({ "whenDeleted": "Retain", "whenScaled": "Retain" })
    );
    let delete = Seen::new().grouped().keyspace(|k| {
        k.spec.storage.on_delete = cairn_crd::shared::OnDelete::Delete;
    });
    let objects = delete.objects();
    let spec = &find(&objects, Kind::StatefulSet, "tweets-0")["spec"];
    assert_eq!(spec["persistentVolumeClaimRetentionPolicy"]["whenDeleted"], "Delete");
}

#[test]
fn the_three_acceptors_are_on_three_machines_unless_that_is_relaxed() {
    let rule = "requiredDuringSchedulingIgnoredDuringExecution";
    let affinity = |objects: &[Object], set: &str| {
        let pod = &find(objects, Kind::StatefulSet, set)["spec"]["template"]["spec"];
        pod["affinity"]["podAntiAffinity"].clone()
    };
    let objects = Seen::new().grouped().objects();
    for set in ["demo-global", "demo-acceptor"] {
        let term = &affinity(&objects, set)[rule][0];
        assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
        assert_eq!(term["labelSelector"]["matchLabels"], json!({ names::PLANE: "demo" }));
    }
    let relaxed = Seen::new().cluster(|c| c.spec.pods.spread = Some(Spread::Relaxed));
    assert!(affinity(&relaxed.objects(), "demo-global")[rule].is_null());
}

#[test]
fn a_groups_nodes_are_spread_over_machines_and_zones() {
    let objects = Seen::new().grouped().objects();
    let pod = &find(&objects, Kind::StatefulSet, "tweets-0")["spec"]["template"]["spec"];
    let spread: Vec<_> = pod["topologySpreadConstraints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| (c["topologyKey"].as_str().unwrap(), c["whenUnsatisfiable"].as_str().unwrap()))
        .collect();
    let expected = [
        ("kubernetes.io/hostname", "DoNotSchedule"),
        ("topology.kubernetes.io/zone", "ScheduleAnyway"),
    ];
    assert_eq!(spread, expected);
}

#[test]
fn what_people_say_of_pods_is_said() {
    let seen = Seen::new().grouped().cluster(|c| {
        c.spec.pods = Pods {
            image_pull_secrets: vec!["pull".to_owned()],
            priority_class_name: Some("high".to_owned()),
            template: Some(json!({ "spec": { "tolerations": [{ "key": "k" }] } })),
            ..Pods::default()
        };
    });
    let seen = seen.keyspace(|k| k.spec.pods.image = Some("cairn:2".to_owned()));
    let objects = seen.objects();
    let pod = &find(&objects, Kind::StatefulSet, "tweets-0")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "cairn:2");
    assert_eq!(pod["imagePullSecrets"], json!([{ "name": "pull" }]));
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(pod["tolerations"], json!([{ "key": "k" }]));
    let pod = &find(&objects, Kind::StatefulSet, "demo-global")["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], "cairn:1");
}

#[test]
fn a_cluster_keeps_the_image_it_began_with() {
    let seen = Seen::new().cluster(|c| {
        let status = cairn_crd::ClusterStatus {
            image: Some("cairn:0".to_owned()),
            ..cairn_crd::ClusterStatus::default()
        };
        c.status = Some(status);
    });
    assert_eq!(seen.desired().pods.image.as_deref(), Some("cairn:0"));
    let seen = seen.cluster(|c| c.spec.pods.image = Some("cairn:9".to_owned()));
    assert_eq!(seen.desired().pods.image.as_deref(), Some("cairn:9"));
}

#[test]
fn only_what_running_nodes_must_follow_replaces_them() {
    let before = Seen::new().grouped();
    let hash = |seen: &Seen, set: &str| hash(&seen.objects(), set);
    let more = before.clone().keyspace(|k| k.spec.limits.maxclients = Some(7));
    assert_eq!(hash(&before, "tweets-0"), hash(&more, "tweets-0"));
    let wider = before.clone().cluster(|c| c.spec.global_replicas = 2);
    assert_eq!(hash(&before, "tweets-0"), hash(&wider, "tweets-0"));
    assert_ne!(hash(&before, "demo-global"), hash(&wider, "demo-global"));
    let watched = before.clone().cluster(|c| c.spec.checkpoint.replicas = 1);
    assert_ne!(hash(&before, "demo-global"), hash(&watched, "demo-global"));
    assert_eq!(hash(&before, "demo-acceptor"), hash(&watched, "demo-acceptor"));
    let shorter = before.clone().keyspace(|k| k.spec.log.bytes_max = Some("1Gi".to_owned()));
    assert_ne!(hash(&before, "tweets-0"), hash(&shorter, "tweets-0"));
    assert_eq!(hash(&before, "demo-global"), hash(&shorter, "demo-global"));
    let slower = before.clone().cluster(|c| {
        c.spec.timing.preset = cairn_crd::timing::TimingPreset::Noisy;
    });
    assert_ne!(hash(&before, "tweets-0"), hash(&slower, "tweets-0"));
}

#[test]
fn mastership_is_mirrored_to_leases() {
    let objects = Seen::new().whole().objects();
    for (lease, holder) in [("demo-global", "demo-global-0"), ("tweets-0", "tweets-0-0")] {
        let spec = &find(&objects, Kind::Lease, lease)["spec"];
        assert_eq!(*spec, json!({ "holderIdentity": holder, "leaseTransitions": 1 }));
    }
    assert!(!Seen::new().grouped().objects().iter().any(|o| o.kind == Kind::Lease));
}

#[test]
fn a_refused_keyspace_does_not_stop_the_others() {
    let seen = Seen::new().keyspace(|k| k.spec.groups = 0);
    let desired: Desired = seen.desired();
    assert!(desired.keyspaces.is_empty());
    assert!(desired.refused["tweets"].contains("spec.groups"));
    assert!(seen.objects().iter().any(|o| o.name == "demo-global"));
}
