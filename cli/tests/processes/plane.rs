//! Global nodes write snapshots of the directory, and start from them.

use crate::etcd::Etcd;
use crate::support::World;
use serde_json::Value;
use std::path::PathBuf;

const PLANE: [&str; 2] = ["global-0", "global-1"];

/// A cluster whose plane has other settings of its log.
fn with_log(log: &Value) -> World {
    let world = World::up();
    change(&world, &PLANE, log);
    world.whole();
    world
}

/// Stops nodes, sets what `log` names in their settings, starts them again.
fn change(world: &World, nodes: &[&str], log: &Value) {
    stop(world, nodes);
    for node in nodes {
        let path = world.folder().join("settings").join(format!("{node}.json"));
        let text = std::fs::read_to_string(&path).expect("readable");
        let mut settings: Value = serde_json::from_str(&text).expect("JSON");
        for (name, value) in log.as_object().expect("an object") {
            settings["log"][name] = value.clone();
        }
        std::fs::write(&path, settings.to_string()).expect("writable");
    }
    start(world, nodes);
}

fn stop(world: &World, nodes: &[&str]) {
    nodes.iter().for_each(|id| world.cluster.kill(id, true).expect("it runs"));
}

fn start(world: &World, nodes: &[&str]) {
    nodes.iter().for_each(|id| world.cluster.start(id).expect("it is started"));
}

/// How often a node has said something.
fn said(world: &World, node: &str, words: &str) -> usize {
    world.log(node).matches(words).count()
}

/// The finished snapshots of a node, the newest last.
fn snapshots(world: &World, node: &str) -> Vec<PathBuf> {
    let folder = world.folder().join("data").join(node).join("groups").join("global");
    let listed = std::fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten();
    let mut found: Vec<_> = listed.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "snap"));
    found.sort();
    found
}

fn master(world: &World) -> String {
    world.status()["globalMaster"].as_str().expect("a master").to_owned()
}

fn other(node: &str) -> &'static str {
    if node == PLANE[0] { PLANE[1] } else { PLANE[0] }
}

/// Keys that are written over, taken away and put on a lease.
fn write(etcd: &Etcd, round: usize, lease: i64) -> i64 {
    let mut last = 0;
    for number in 0..300 {
        let value = format!("{round}-{number}");
        last = etcd.put(&format!("/k/{:03}", number % 200), value.as_bytes(), 0);
    }
    etcd.put(&format!("/leased/{round}"), b"here", lease);
    last
}

#[test]
fn a_global_node_starts_from_its_snapshot_with_history_and_leases() {
    let world = with_log(&serde_json::json!({"snapshotInterval": "1s"}));
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    let lease = etcd.grant(600);
    let first = write(&etcd, 1, lease);
    let old = etcd.range("/", first).0;
    let replica = other(&master(&world));
    let before = said(&world, replica, "wrote a snapshot");
    world.eventually("a snapshot", |w| said(w, replica, "wrote a snapshot") > before + 1);
    assert_eq!(said(&world, other(replica), "wrote a snapshot"), 0, "a master never writes one");
    let last = write(&etcd, 2, lease);
    let events = etcd.watch("/k/", first, 300);

    // All at once: the replica has a snapshot and the log after it, the master had its log alone.
    stop(&world, &PLANE);
    start(&world, &PLANE);
    world.whole();
    assert!(said(&world, replica, "loaded a snapshot") > 0, "{}", world.log(replica));
    let (now, revision) = etcd.range("/k/", 0);
    assert!(revision > last && now.len() == 200, "{revision} {last}");
    assert_eq!(etcd.range("/", first).0, old, "the past is as it was");
    assert_eq!(etcd.watch("/k/", first, 300), events, "watches go back as far as before");

    // The one that started from the snapshot is master alone.
    stop(&world, &[other(replica)]);
    world.eventually("it masters", |w| w.status()["globalMaster"] == replica);
    assert_eq!(etcd.range("/", first).0, old);
    assert_eq!(etcd.watch("/k/", first, 300), events);
    assert_eq!(etcd.range("/leased/", 0).0.len(), 2);
    etcd.revoke(lease);
    assert_eq!(etcd.range("/leased/", 0).0.len(), 0, "its keys hang on the lease");
    assert!(etcd.put("/k/000", b"after", 0) > revision, "revisions go on");
    start(&world, &[other(replica)]);
    world.whole();
}

#[test]
fn a_broken_snapshot_of_the_directory_is_set_aside_and_the_one_before_used() {
    let world = with_log(&serde_json::json!({"snapshotInterval": "1s"}));
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    let replica = other(&master(&world));
    for round in 0..40 {
        write(&etcd, round, 0);
        if snapshots(&world, replica).len() == 2 {
            break;
        }
    }
    let found = snapshots(&world, replica);
    assert_eq!(found.len(), 2, "{}", world.log(replica));
    world.cluster.kill(replica, true).expect("it runs");
    let newest = snapshots(&world, replica).pop().expect("a snapshot");
    let mut bytes = std::fs::read(&newest).expect("readable");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).expect("writable");
    let loaded = said(&world, replica, "loaded a snapshot");
    world.cluster.start(replica).expect("it is started");
    world.whole();
    assert!(said(&world, replica, "the snapshot is set aside") > 0, "{}", world.log(replica));
    assert_eq!(said(&world, replica, "loaded a snapshot"), loaded + 1, "the one before is used");
    let all = etcd.range("/k/", 0).0;
    world.cluster.kill(other(replica), true).expect("it runs");
    world.eventually("it masters", |w| w.status()["globalMaster"] == replica);
    assert_eq!(etcd.range("/k/", 0).0, all);
}
