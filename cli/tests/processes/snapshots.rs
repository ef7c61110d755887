//! Members that follow write snapshots, and start from them.

use crate::support::{GROUP, World, connect, say};
use cairn_harness::client::Connection;
use std::path::PathBuf;

fn write(client: &mut Connection, round: usize) {
    for number in 0..500 {
        for words in [
            format!("SET text:{number} {round}"),
            format!("HSET hash:{number} field{round} {number}"),
            format!("RPUSH list:{} {round}:{number}", number % 7),
            format!("DEL text:{}", number / 2),
        ] {
            assert!(!say(client, &words).starts_with('-'), "{words}");
        }
    }
}

/// How often a node has said something.
fn said(world: &World, node: &str, words: &str) -> usize {
    world.log(node).matches(words).count()
}

/// The finished snapshots of a node, the newest last.
fn snapshots(world: &World, node: &str) -> Vec<PathBuf> {
    let folder = world.folder().join("data").join(node).join("groups").join(GROUP);
    let listed = std::fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten();
    let mut found: Vec<_> = listed.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "snap"));
    found.sort();
    found
}

/// Whether all members of the group hold the same.
fn agree(world: &World) -> bool {
    let status = world.status_with_digests();
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let logs = nodes.iter().map(|node| &node["logs"][0]).filter(|log| log["group"] == GROUP);
    let mut states: Vec<_> = logs.map(|log| (&log["applied"], &log["digest"])).collect();
    states.dedup();
    states.len() == 1
}

#[test]
fn a_member_starts_from_its_snapshot_and_the_log_after_it() {
    let world = World::with_keyspace("snapshotInterval: 1s");
    let master = world.master();
    let member = ["t-0-0", "t-0-1", "t-0-2"].into_iter().find(|id| *id != master.id);
    let member = member.expect("the group has three");
    let mut client = connect(&master);
    write(&mut client, 1);
    world.eventually("a snapshot", |w| said(w, member, "wrote a snapshot") > 0);
    assert_eq!(said(&world, &master.id, "wrote a snapshot"), 0, "a master never writes one");
    write(&mut client, 2);

    world.cluster.kill(member, true).expect("it runs");
    write(&mut client, 3);
    world.cluster.start(member).expect("it is started");
    world.whole();
    assert_eq!(said(&world, member, "loaded a snapshot"), 1, "{}", world.log(member));
    world.eventually("the same state", agree);

    world.eventually("two snapshots", |w| snapshots(w, member).len() == 2);
    world.cluster.kill(member, true).expect("it runs");
    let newest = snapshots(&world, member).pop().expect("a snapshot");
    let mut bytes = std::fs::read(&newest).expect("readable");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).expect("writable");
    world.cluster.start(member).expect("it is started");
    world.whole();
    assert!(said(&world, member, "the snapshot is set aside") > 0, "{}", world.log(member));
    assert_eq!(said(&world, member, "loaded a snapshot"), 2, "the one before is used");
    world.eventually("the same state", agree);
}
