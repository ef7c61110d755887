//! Settings files: what is read, what is refused, and by which key.

use cairn_settings::{LoadError, NodeRole, NodeSettings, Seed, Timing};
use std::time::Duration;

const LEAST: &str = r#"{
  "role": "data", "clusterUid": "c0ffee00c0ffee00c0ffee00c0ffee00", "node": "tweets-0-0",
  "folder": "/var/lib/cairn", "secretFile": "/etc/cairn/secret",
  "seeds": {
    "global-0": {"role": "global", "peer": "global-0:7400", "heartbeat": "global-0:7401"},
    "global-1": {"role": "global", "peer": "global-1:7400", "heartbeat": "global-1:7401"},
    "acceptor-0": {"role": "acceptor", "peer": "10.0.0.1:7400", "heartbeat": "[::1]:7401"}
  },
  "advertise": {"client": "h:6379", "etcd": "h:2379", "peer": "h:7400",
                "heartbeat": "h:7401", "metrics": "h:9400"}
}"#;

/// Settings, and the keys that were not understood.
fn read(text: &str) -> (NodeSettings, Vec<String>) {
    let mut unknown = Vec::new();
    (NodeSettings::from_json(text, &mut unknown).expect("the file is valid"), unknown)
}

fn least() -> NodeSettings {
    read(LEAST).0
}

#[test]
fn a_short_file_has_the_documented_defaults() {
    let settings = least();
    assert_eq!(settings.timing, Timing::DEFAULT);
    assert_eq!(settings.timing.silence_max, Duration::from_millis(600));
    assert_eq!(settings.listen.client.port(), 6379);
    assert_eq!(settings.lag.bytes_max, 1 << 20);
    assert_eq!(settings.durability.zones, 1);
    assert_eq!(settings.limits.maxclients, 10_000);
    let log = settings.log;
    let bounds = (log.bytes_kept, log.bytes_max, log.fetch_bytes_per_sec);
    assert_eq!(bounds, (1 << 30, 4 << 30, 64 << 20));
}

#[test]
fn a_file_that_was_written_is_read_back() {
    let mut settings = least();
    settings.timing = Timing::noisy();
    settings.zone = Some("a".to_owned());
    assert_eq!(read(&settings.to_json()), (settings.clone(), Vec::new()));
    assert!(settings.to_json().contains(r#""readLease": "1500ms""#));
}

#[test]
fn what_a_newer_operator_says_is_passed_over_and_named() {
    let settings = least();
    let mut newer: serde_json::Value = serde_json::from_str(&settings.to_json()).unwrap();
    newer["shards"] = serde_json::json!({"count": 7});
    let places = ["/listen", "/seeds/global-0", "/timing", "/lag", "/log", "/limits", "/tls"];
    for place in places {
        newer.pointer_mut(place).expect(place)["later"] = serde_json::json!([1, {"more": null}]);
    }
    let (read, mut unknown) = read(&newer.to_string());
    assert_eq!(read, settings, "what is known is as it was written");
    unknown.sort();
    let mut expected: Vec<String> =
        places.map(|place| format!("{}.later", place[1..].replace('/', "."))).into();
    expected.push("shards".to_owned());
    expected.sort();
    assert_eq!(unknown, expected);
}

#[test]
fn a_misspelt_key_is_named_and_what_follows_the_file_is_refused() {
    let text = LEAST.replacen("\"role\": \"data\"", "\"roel\": 1, \"role\": \"data\"", 1);
    assert_eq!(read(&text).1, ["roel"]);
    let twice = format!("{LEAST} {{}}");
    let refused = NodeSettings::from_json(&twice, &mut Vec::new());
    assert!(matches!(refused, Err(LoadError::Syntax(_))));
}

#[test]
fn both_presets_are_valid() {
    for timing in [Timing::DEFAULT, Timing::noisy()] {
        let mut problems = Vec::new();
        timing.problems("timing", &mut problems);
        assert_eq!(problems, []);
    }
    assert_eq!(Timing::noisy().read_lease, Duration::from_millis(1500));
}

type Change = fn(&mut NodeSettings);

/// One change to valid settings each, and the key that must be named.
const REFUSED: &[(&str, Change)] = &[
    ("clusterUid", |s| s.cluster_uid = "C".repeat(32)),
    ("clusterUid", |s| s.cluster_uid = "short".to_owned()),
    ("node", |s| s.node = cairn_logic::ids::NodeId::new("-a")),
    ("folder", |s| s.folder = "relative".into()),
    ("secretFile", |s| s.secret_file = "relative".into()),
    ("seeds", |s| s.seeds.clear()),
    ("seeds", |s| s.role = NodeRole::Global),
    ("seeds", |s| s.role = NodeRole::Checkpoint),
    ("seeds", |s| s.seeds.values_mut().for_each(|x| x.role = NodeRole::Acceptor)),
    ("seeds.global-0.role", |s| seed(s).role = NodeRole::Data),
    ("seeds.global-0.peer", |s| seed(s).peer = "no-port".to_owned()),
    ("seeds.global-0.heartbeat", |s| seed(s).heartbeat = "h:0".to_owned()),
    ("preferredGroup", |s| s.preferred_group = Some(cairn_logic::ids::GroupId::new("A"))),
    ("listen.etcd", |s| s.listen.etcd = s.listen.client),
    ("listen.peer", |s| s.listen.peer.set_port(0)),
    ("advertise.client", |s| s.advertise.client = "::1:6379".to_owned()),
    ("tls.verifyClients", |s| s.tls.verify_clients = true),
    ("timing.heartbeat", |s| s.timing.heartbeat = Duration::from_millis(1)),
    ("timing.readLease", |s| s.timing.read_lease = Duration::from_millis(200)),
    ("timing.silenceMax", |s| s.timing.silence_max = Duration::from_millis(499)),
    ("timing.stuckMax", |s| s.timing.stuck_max = Duration::from_millis(1100)),
    ("timing.nodeLease", |s| s.timing.node_lease = Duration::from_millis(1100)),
    ("timing.ackTimeout", |s| s.timing.ack_timeout = Duration::ZERO),
    ("lag.bytesMax", |s| s.lag.bytes_max = 1),
    ("lag.steadyFor", |s| s.lag.steady_for = Duration::ZERO),
    ("log.segmentBytes", |s| s.log.segment_bytes = 1),
    ("log.flushInterval", |s| s.log.flush_interval = Duration::ZERO),
    ("log.diskReserveBytes", |s| s.log.disk_reserve_bytes = 0),
    ("log.snapshotInterval", |s| s.log.snapshot_interval = Duration::ZERO),
    ("log.checkInterval", |s| s.log.check_interval = Duration::ZERO),
    ("log.cutTailsMax", |s| s.log.cut_tails_max = 0),
    ("log.bytesKept", |s| s.log.bytes_kept = 0),
    ("log.bytesKept", |s| s.log.bytes_kept = s.log.bytes_max / 2),
    ("log.bytesKept", |s| s.log.bytes_kept = u64::MAX),
    ("log.bytesMax", |s| s.log.bytes_max = 3 << 20),
    ("log.bytesMax", |s| s.log.bytes_max = u64::MAX),
    ("log.bytesMax", |s| s.log.bytes_max = 4 * s.log.segment_bytes - 1),
    ("log.fetchBytesPerSec", |s| s.log.fetch_bytes_per_sec = 0),
    ("limits.maxclients", |s| s.limits.maxclients = 0),
    ("limits.maxmemoryBytes", |s| s.limits.maxmemory_bytes = 5),
    ("limits.maxmemorySamples", |s| s.limits.maxmemory_samples = 0),
    ("limits.bulkBytesMax", |s| s.limits.bulk_bytes_max = 33 << 20),
    ("limits.clientCommandsPerSec", |s| s.limits.client_commands_per_sec = 10_000_001),
    ("limits.userCommandsPerSec", |s| s.limits.user_commands_per_sec = u32::MAX),
    ("limits.queryBufferBytesMax", |s| s.limits.query_buffer_bytes_max = 32 << 20),
    ("priority", |s| s.priority = 101),
    ("durability.zones", |s| s.durability.zones = 0),
];

fn seed(settings: &mut NodeSettings) -> &mut Seed {
    settings.seeds.values_mut().nth(1).expect("three seeds")
}

#[test]
fn each_wrong_value_is_refused_by_its_full_key() {
    for (at, (key, change)) in REFUSED.iter().enumerate() {
        let mut settings = least();
        change(&mut settings);
        let problems = settings.validate().expect_err(&format!("row {at}, {key}")).0;
        assert!(problems.iter().any(|p| p.key == *key), "row {at}, {key}: {problems:?}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let mut settings = least();
    settings.cluster_uid.clear();
    settings.timing.silence_max = Duration::from_millis(100);
    settings.log.segment_bytes = 0;
    settings.limits.maxclients = 0;
    settings.priority = 255;
    let problems = settings.validate().unwrap_err();
    assert!(problems.0.len() >= 5, "{problems}");
    assert!(problems.to_string().lines().count() >= 5);
}

#[test]
fn a_global_node_names_itself_among_the_seeds_by_its_own_address() {
    let mut settings = least();
    settings.role = NodeRole::Global;
    settings.node = cairn_logic::ids::NodeId::new("global-1");
    let problems = settings.validate().unwrap_err().0;
    assert_eq!(problems[0].key, "advertise.peer");
    settings.advertise.peer = "global-1:7400".to_owned();
    settings.validate().unwrap();
}

#[test]
fn three_acceptors_are_chosen_or_one_never_two() {
    let settings = least();
    let names = |s: &NodeSettings| s.acceptors().iter().map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(names(&settings), ["acceptor-0", "global-0", "global-1"]);
    let mut two = settings.clone();
    two.seeds.remove(&cairn_logic::ids::NodeId::new("acceptor-0"));
    assert_eq!(names(&two), ["global-0"]);
    assert!(!two.is_acceptor());
}

#[test]
fn the_first_checkpoint_node_is_the_third_acceptor_where_no_node_is_one() {
    let with = |changed: &[(&str, Option<NodeRole>)]| {
        let mut settings = least();
        for (name, role) in changed {
            let id = cairn_logic::ids::NodeId::new(name);
            let mut seed = seed(&mut settings).clone();
            match role {
                Some(role) => {
                    seed.role = *role;
                    settings.seeds.insert(id, seed);
                }
                None => drop(settings.seeds.remove(&id)),
            }
        }
        settings.validate().unwrap();
        settings.acceptors().iter().map(|n| n.to_string()).collect::<Vec<_>>()
    };
    let checkpoint = Some(NodeRole::Checkpoint);
    let two = [("checkpoint-0", checkpoint), ("checkpoint-1", checkpoint)];
    let chosen = ["checkpoint-0", "global-0", "global-1"];
    assert_eq!(with(&[two[0], two[1], ("acceptor-0", None)]), chosen);
    let third = ("global-2", Some(NodeRole::Global));
    assert_eq!(with(&[two[0], two[1], third, ("acceptor-0", None)]), chosen);
    assert_eq!(with(&two), ["acceptor-0", "global-0", "global-1"], "one of role acceptor is first");
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.json");
    let error = NodeSettings::load(&path, &mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("node.json"));
    std::fs::write(&path, least().to_json()).unwrap();
    assert_eq!(NodeSettings::load(&path, &mut Vec::new()).unwrap(), least());
}

#[test]
fn the_reserve_fits_the_disk() {
    let log = cairn_settings::LogSettings::default();
    let mib = 1 << 20;
    // A small disk, a usual one, a large one, a huge one.
    assert_eq!(log.reserve_of(320 * mib), 64 * mib);
    assert_eq!(log.reserve_of(4096 * mib), 256 * mib);
    assert_eq!(log.reserve_of(20_480 * mib), 1024 * mib);
    assert_eq!(log.reserve_of(1 << 44), 2048 * mib);
}
