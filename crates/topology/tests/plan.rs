//! From resources to nodes: names, settings, and faults.

use cairn_crd::{Cluster, ClusterSpec, Keyspace, KeyspaceSpec, SparePool, SparePoolSpec};
use cairn_logic::ids::NodeId;
use cairn_logic::record::Rule;
use cairn_settings::{Addresses, ListenAddresses, NodeRole, Timing};
use cairn_topology::{Options, Place, PlanError, Resources, check, plan, roster};
use std::collections::BTreeMap;

fn resources() -> Resources {
    Resources {
        cluster: Cluster::new("demo", ClusterSpec::default()),
        keyspaces: vec![Keyspace::new("tweets", KeyspaceSpec::of("demo"))],
        pools: Vec::new(),
        secrets: BTreeMap::new(),
    }
}

fn options(resources: &Resources) -> Options {
    let place = |n: usize, id: &NodeId| {
        let port = |k: usize| format!("127.0.0.1:{}", 20_000 + 5 * n + k);
        Place {
            folder: format!("/data/{id}").into(),
            listen: ListenAddresses::default(),
            advertise: Addresses {
                client: port(0),
                etcd: port(1),
                peer: port(2),
                heartbeat: port(3),
                metrics: port(4),
            },
            zone: None,
            machine: None,
        }
    };
    let nodes = roster(resources, "");
    Options {
        cluster_uid: "0123456789abcdef0123456789abcdef".to_owned(),
        prefix: String::new(),
        secret_file: "/data/secret".into(),
        places: nodes.iter().enumerate().map(|(n, r)| (r.id.clone(), place(n, &r.id))).collect(),
    }
}

#[test]
fn the_smallest_cluster_has_three_acceptors_and_a_group_of_three() {
    let resources = resources();
    let names: Vec<_> = roster(&resources, "").iter().map(|n| n.id.to_string()).collect();
    let expected = ["global-0", "global-1", "acceptor-0", "tweets-0-0", "tweets-0-1", "tweets-0-2"];
    assert_eq!(names, expected);
    let plan = plan(&resources, &options(&resources)).unwrap();
    let founding = &plan.founding;
    assert_eq!(founding.first.as_str(), "global-0");
    assert_eq!(founding.members.len(), 2);
    let acceptors: Vec<_> = founding.acceptors.iter().map(NodeId::as_str).collect();
    assert_eq!(acceptors, ["acceptor-0", "global-0", "global-1"]);
    assert_eq!(plan.keyspaces["tweets"].wanted(), 3);
    assert_eq!(plan.keyspaces["tweets"].ack, Rule::One);
}

#[test]
fn every_node_knows_its_group_its_folder_and_all_seeds() {
    let mut resources = resources();
    resources.keyspaces[0].spec.groups = 2;
    resources.keyspaces[0].spec.limits.maxclients = Some(77);
    let plan = plan(&resources, &options(&resources)).unwrap();
    let last = plan.nodes.last().unwrap();
    assert_eq!(last.node.as_str(), "tweets-1-2");
    assert_eq!(last.preferred_group.as_ref().unwrap().as_str(), "tweets-1");
    assert_eq!(last.folder.to_str(), Some("/data/tweets-1-2"));
    assert_eq!(last.limits.maxclients, 77);
    assert_eq!(plan.nodes[0].limits.maxclients, 10_000);
    for node in &plan.nodes {
        assert_eq!(node.seeds.len(), 3);
        assert_eq!(node.seeds.values().filter(|s| s.role == NodeRole::Acceptor).count(), 1);
    }
}

#[test]
fn the_first_checkpoint_node_takes_the_acceptors_seat() {
    let mut resources = resources();
    resources.cluster.spec.acceptor = false;
    resources.cluster.spec.checkpoint.replicas = 2;
    let names: Vec<_> = roster(&resources, "demo-").iter().map(|n| n.id.to_string()).collect();
    let system = ["demo-global-0", "demo-global-1", "demo-checkpoint-0", "demo-checkpoint-1"];
    assert_eq!(names[..4], system);
    let made = plan(&resources, &options(&resources)).unwrap();
    let acceptors: Vec<_> = made.founding.acceptors.iter().map(NodeId::as_str).collect();
    assert_eq!(acceptors, ["checkpoint-0", "global-0", "global-1"]);
    assert_eq!(made.founding.members.len(), 2, "a checkpoint node is no member");
    let checkpoint = made.nodes.iter().find(|n| n.node.as_str() == "checkpoint-1").unwrap();
    assert_eq!((checkpoint.role, checkpoint.is_acceptor()), (NodeRole::Checkpoint, false));
    assert!(made.nodes[0].seeds[&checkpoint.node].etcd.is_empty(), "it has no door for etcd");
    resources.cluster.spec.acceptor = true;
    let beside = plan(&resources, &options(&resources)).unwrap().founding;
    assert!(beside.acceptors.iter().any(|id| id.as_str() == "acceptor-0"));
}

#[test]
fn bounds_on_logs_reach_the_nodes_they_are_about() {
    let mut resources = resources();
    resources.cluster.spec.checkpoint.replicas = 1;
    resources.cluster.spec.checkpoint.interval = Some("30s".to_owned());
    resources.cluster.spec.log.bytes_max = Some("400Mi".to_owned());
    let keyspace = &mut resources.keyspaces[0].spec;
    keyspace.snapshot_interval = Some("1m".to_owned());
    keyspace.check_interval = Some("90s".to_owned());
    keyspace.log.bytes_kept = Some("1Mi".to_owned());
    keyspace.log.bytes_max = Some("5Mi".to_owned());
    keyspace.log.fetch_bytes_per_second = Some("1Gi".to_owned());
    let nodes = plan(&resources, &options(&resources)).unwrap().nodes;
    let log = |node: &str| nodes.iter().find(|n| n.node.as_str() == node).unwrap().log;
    for node in ["global-1", "checkpoint-0"] {
        assert_eq!((log(node).bytes_max, log(node).bytes_kept), (400 << 20, 100 << 20), "{node}");
        assert_eq!(log(node).segment_bytes, 50 << 20, "{node}");
        assert_eq!(log(node).snapshot_interval.as_secs(), 30, "{node}");
    }
    let data = log("tweets-0-2");
    assert_eq!((data.bytes_kept, data.bytes_max), (1 << 20, 5 << 20));
    assert_eq!((data.segment_bytes, data.fetch_bytes_per_sec), (1 << 20, 1 << 30));
    assert_eq!((data.snapshot_interval.as_secs(), data.check_interval.as_secs()), (60, 90));
}

#[test]
fn the_words_of_resources_about_absent_bounds_are_the_settings_defaults() {
    let log = cairn_settings::LogSettings::default();
    let bytes = cairn_crd::quantity::size_bytes;
    assert_eq!(bytes(cairn_crd::log::BYTES_MAX), Some(log.bytes_max));
    let resources = resources();
    for node in plan(&resources, &options(&resources)).unwrap().nodes {
        assert_eq!(node.log, log);
    }
}

#[test]
fn the_presets_of_resources_are_those_of_settings() {
    let mut resources = resources();
    let timing = |r: &Resources| plan(r, &options(r)).unwrap().nodes[0].timing;
    assert_eq!(timing(&resources), Timing::DEFAULT);
    resources.cluster.spec.timing.preset = cairn_crd::timing::TimingPreset::Noisy;
    assert_eq!(timing(&resources), Timing::noisy());
    resources.cluster.spec.timing.silence_max = Some("2s".to_owned());
    assert_eq!(timing(&resources).silence_max.as_millis(), 2000);
}

#[test]
fn system_names_carry_the_prefix_and_data_names_do_not() {
    let names: Vec<_> = roster(&resources(), "demo-").iter().map(|n| n.id.to_string()).collect();
    assert_eq!(names[0], "demo-global-0");
    assert_eq!(names[2], "demo-acceptor-0");
    assert_eq!(names[3], "tweets-0-0");
}

#[test]
fn faults_name_their_resource_and_come_all_at_once() {
    let mut resources = resources();
    resources.cluster.spec.global_replicas = 9;
    resources.keyspaces.push(Keyspace::new("tweets", KeyspaceSpec::of("other")));
    resources.keyspaces[0].spec.auth = Some(cairn_crd::keyspace::Auth {
        password_secret_ref: Some(cairn_crd::keyspace::SecretKey {
            name: "s".to_owned(),
            key: "password".to_owned(),
        }),
        ..Default::default()
    });
    let faults = check(&resources).unwrap_err().0;
    let lines: Vec<_> =
        faults.iter().map(|f| format!("{} {}", f.resource, f.problem.path)).collect();
    let expected = [
        "Cluster/demo spec.globalReplicas",
        "Keyspace/tweets spec.auth.passwordSecretRef",
        "Keyspace/tweets metadata.name",
        "Keyspace/tweets spec.cluster",
    ];
    assert_eq!(lines, expected);
    assert!(matches!(plan(&resources, &options(&resources)), Err(PlanError::Resources(_))));
}

#[test]
fn a_password_reaches_the_directory_as_its_digest_alone() {
    let mut resources = resources();
    resources.secrets.insert(("s".to_owned(), "p".to_owned()), "abc".to_owned());
    resources.keyspaces[0].spec.auth = Some(cairn_crd::keyspace::Auth {
        password_secret_ref: Some(cairn_crd::keyspace::SecretKey {
            name: "s".to_owned(),
            key: "p".to_owned(),
        }),
        ..Default::default()
    });
    let plan = plan(&resources, &options(&resources)).unwrap();
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(plan.keyspaces["tweets"].password_sha256.as_deref(), Some(digest));
}

#[test]
fn users_reach_it_with_every_password_that_is_good_for_them() {
    let mut resources = resources();
    for (key, password) in [("old", "abc"), ("new", "def")] {
        resources.secrets.insert(("s".to_owned(), key.to_owned()), password.to_owned());
    }
    let user = |key: &str| cairn_crd::keyspace::User {
        name: "app".to_owned(),
        password_secret_ref: cairn_crd::keyspace::SecretKey {
            name: "s".to_owned(),
            key: key.to_owned(),
        },
    };
    let users = vec![user("old"), user("new")];
    let auth = cairn_crd::keyspace::Auth { users, ..Default::default() };
    resources.keyspaces[0].spec.auth = Some(auth.clone());
    let plan = plan(&resources, &options(&resources)).unwrap();
    let config = &plan.keyspaces["tweets"];
    let good = ["abc", "def"].map(cairn_topology::password_digest);
    assert_eq!(config.users["app"], good.into());
    assert_eq!(config.password_sha256.as_deref(), Some("*"), "the default user is locked out");
    let gone = cairn_crd::keyspace::Auth { users: vec![user("gone")], ..auth };
    resources.keyspaces[0].spec.auth = Some(gone);
    let faults = check(&resources).unwrap_err().to_string();
    assert!(faults.contains("spec.auth.users") && faults.contains("the key gone"), "{faults}");
}

/// Whatever the resources' rules allow, the nodes' settings allow too.
#[test]
fn the_edges_of_the_rules_make_valid_settings() {
    let mut resources = resources();
    let keyspace = &mut resources.keyspaces[0].spec;
    keyspace.limits.max_value = Some("1Ki".to_owned());
    keyspace.limits.query_buffer = Some("64Ki".to_owned());
    keyspace.limits.output_buffer = Some("4Gi".to_owned());
    keyspace.limits.maxmemory = Some("1Mi".to_owned());
    keyspace.limits.maxmemory_samples = Some(64);
    keyspace.limits.maxclients = Some(1);
    keyspace.limits.client_commands_per_second = Some(1);
    keyspace.limits.user_commands_per_second = Some(10_000_000);
    keyspace.log.bytes_kept = Some("1Mi".to_owned());
    keyspace.log.bytes_max = Some("4Mi".to_owned());
    keyspace.log.fetch_bytes_per_second = Some("64Ki".to_owned());
    resources.cluster.spec.log.bytes_kept = Some("1Ti".to_owned());
    resources.cluster.spec.log.bytes_max = Some("16Ti".to_owned());
    resources.cluster.spec.log.fetch_bytes_per_second = Some("64Gi".to_owned());
    resources.cluster.spec.checkpoint.replicas = 3;
    let timing = &mut resources.cluster.spec.timing;
    timing.heartbeat = Some("10ms".to_owned());
    timing.read_lease = Some("30ms".to_owned());
    timing.silence_max = Some("30ms".to_owned());
    timing.seal_wait = Some("0s".to_owned());
    timing.stuck_max = Some("1s".to_owned());
    timing.ack_timeout = Some("50ms".to_owned());
    timing.node_lease = Some("1s".to_owned());
    plan(&resources, &options(&resources)).unwrap();
    let timing = &mut resources.cluster.spec.timing;
    timing.heartbeat = Some("10s".to_owned());
    timing.read_lease = Some("60s".to_owned());
    timing.silence_max = Some("60s".to_owned());
    timing.seal_wait = Some("10s".to_owned());
    timing.stuck_max = Some("600s".to_owned());
    timing.ack_timeout = Some("60s".to_owned());
    timing.node_lease = Some("600s".to_owned());
    plan(&resources, &options(&resources)).unwrap();
}

fn with_pool(name: &str, spec: SparePoolSpec) -> Resources {
    Resources { pools: vec![SparePool::new(name, spec)], ..resources() }
}

#[test]
fn spares_are_data_nodes_made_for_nobody_in_their_pools_size_class() {
    let mut spec = SparePoolSpec { size: 2, ..SparePoolSpec::of("demo") };
    spec.size_class = Some("large".to_owned());
    spec.replace_after = Some("2s".to_owned());
    let resources = with_pool("warm", spec);
    let plan = plan(&resources, &options(&resources)).unwrap();
    let spares: Vec<_> =
        plan.nodes.iter().filter(|n| n.node.as_str().starts_with("warm")).collect();
    let names: Vec<_> = spares.iter().map(|spare| spare.node.as_str()).collect();
    assert_eq!(names, ["warm-spare-0", "warm-spare-1"]);
    for spare in spares {
        assert_eq!((spare.role, spare.size_class.as_str()), (NodeRole::Data, "large"));
        assert_eq!((&spare.preferred_keyspace, &spare.preferred_group), (&None, &None));
        assert_eq!(spare.pool.as_deref(), Some("warm"));
    }
    let pool = &plan.pools["warm"];
    assert_eq!((pool.size, pool.idle_min, pool.replace_after_ms), (2, 1, 2000));
}

#[test]
fn a_pool_is_of_this_cluster_and_its_nodes_names_are_nobody_elses() {
    let other = with_pool("warm", SparePoolSpec::of("other"));
    let faults = check(&other).unwrap_err().to_string();
    assert!(faults.contains("SparePool/warm spec.cluster: must be the Cluster's name"), "{faults}");
    let mut twice = with_pool("tweets", SparePoolSpec::of("demo"));
    twice.keyspaces.push(Keyspace::new("tweets-spare", KeyspaceSpec::of("demo")));
    let faults = check(&twice).unwrap_err().to_string();
    assert!(faults.contains("SparePool/tweets metadata.name: has nodes of the same"), "{faults}");
}
