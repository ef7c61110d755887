//! `cairn checkpoint` on a cluster that runs.

use crate::support::{GROUP, World, connect, say};
use std::path::PathBuf;

/// What `cairn checkpoint` prints.
fn checkpoint(world: &World, words: &[&str]) -> String {
    let all: Vec<&str> = [&["checkpoint"], words].concat();
    world.cluster.cairn(all).expect("it succeeds")
}

/// Why `cairn checkpoint` fails.
fn refused(world: &World, words: &[&str]) -> String {
    let all: Vec<&str> = [&["checkpoint"], words].concat();
    world.cluster.cairn(all).expect_err("it fails").to_string()
}

/// The snapshots that a node is said to have: the files, the newest first.
fn listed(world: &World, node: &str) -> Vec<PathBuf> {
    let text = checkpoint(world, &["list"]);
    let rows = text.lines().filter(|line| line.starts_with(&format!("{node} ")));
    let file = |line: &str| line.split_whitespace().last().map(str::to_owned);
    let folder = world.folder().join("data").join(node).join("groups").join(GROUP);
    rows.filter_map(file).map(|name| folder.join("snapshots").join(name)).collect()
}

/// Whether a node's newest snapshot has all that is committed: it writes no other then.
fn is_done(world: &World, node: &str) -> bool {
    let text = checkpoint(world, &["list"]);
    let newest = text.lines().find(|line| line.starts_with(&format!("{node} ")));
    newest.is_some_and(|line| line.split_whitespace().nth(6) == Some("0"))
}

#[test]
fn the_snapshots_of_a_running_cluster_are_listed_fetched_and_verified() {
    let world = World::with_keyspace("snapshotInterval: 1s");
    let master = world.master();
    let mut members = vec!["t-0-0", "t-0-1", "t-0-2"];
    members.retain(|id| *id != master.id);
    let member = members[0];
    let mut client = connect(&master);
    for number in 0..2000 {
        assert_eq!(say(&mut client, &format!("SET key:{number} value:{number}")), "OK");
    }
    world.eventually("snapshots", |w| members.iter().all(|member| is_done(w, member)));
    let text = checkpoint(&world, &["list"]);
    assert!(text.starts_with("NODE") && text.contains("BEHIND"), "{text}");
    assert!(text.contains("without a snapshot") && text.contains("global-0 (global)"), "{text}");

    let text = checkpoint(&world, &["verify", "--node", member]);
    assert!(text.contains(&format!("{member} {GROUP}")) && text.contains(": whole, "), "{text}");
    let text = checkpoint(&world, &["verify", "--log", GROUP]);
    assert!(text.matches(": whole, ").count() >= 2, "of both that follow: {text}");
    assert!(checkpoint(&world, &["verify"]).contains("whole"), "the files here");
    assert!(refused(&world, &["verify", "--node", "t-9"]).contains("t-9 is no node"));
    assert!(refused(&world, &["verify", "--log", "t-9"]).contains("no node has such a snapshot"));

    // Nothing is written any more, so the newest stays the newest.
    let newest = listed(&world, member).swap_remove(0);
    let mut bytes = std::fs::read(&newest).expect("readable");
    let middle = bytes.len() / 3;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).expect("writable");
    let why = refused(&world, &["verify", "--node", member]);
    assert!(why.contains("1 of 1 snapshots cannot be used"), "{why}");

    world.cluster.cairn(["down"]).expect("it stops");
    let text = checkpoint(&world, &["list"]);
    assert!(text.contains("CHECKED"), "of a cluster that is down the folders are read: {text}");
}

#[test]
fn a_checkpoint_node_writes_one_of_the_directory_when_it_is_asked_to() {
    let world = World::with_cluster("acceptor: false, checkpoint: {replicas: 1, interval: 168h}");
    let row = |world: &World| {
        let text = checkpoint(world, &["list"]);
        text.lines().find(|line| line.starts_with("checkpoint-0 ")).map(str::to_owned)
    };
    assert_eq!(row(&world), None, "nothing is due for a week");
    let text = checkpoint(&world, &["now"]);
    assert!(text.starts_with("checkpoint-0: "), "{text}");
    let written = row(&world).expect("it is durable");
    assert_eq!(written.split_whitespace().nth(1), Some("global"), "{written}");
    world.eventually("the others fetch it, though none is due", |w| {
        let text = checkpoint(w, &["list"]);
        let has = |node: &str| text.lines().any(|line| line.starts_with(&format!("{node} ")));
        has("global-0") && has("global-1")
    });
    let text = checkpoint(&world, &["verify", "--log", "global"]);
    assert!(text.contains("checkpoint-0 global ") && text.contains(": whole, "), "{text}");

    let state = |world: &World| {
        let status = world.status();
        let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
        let found = nodes.into_iter().find(|node| node["id"] == "checkpoint-0");
        let found = found.expect("status shows it");
        (found["role"].clone(), found["process"].clone(), found["answers"] == true)
    };
    assert_eq!(state(&world), ("checkpoint".into(), "running".into(), true));
    world.cluster.cairn(["stop", "checkpoint-0"]).expect("it stops");
    assert_eq!(state(&world), ("checkpoint".into(), "stopped".into(), false));
    let why = refused(&world, &["now", "--node", "checkpoint-0"]);
    assert!(why.contains("cannot reach checkpoint-0"), "{why}");
    world.cluster.cairn(["start", "checkpoint-0"]).expect("it starts");
    world.eventually("it is back", |w| state(w).2);
    assert!(row(&world).is_some(), "what it wrote is there");
}

#[test]
fn a_member_writes_a_snapshot_of_its_group_when_it_is_asked_to() {
    let world = World::with_keyspace("snapshotInterval: 168h");
    let master = world.master();
    let mut client = connect(&master);
    for number in 0..500 {
        assert_eq!(say(&mut client, &format!("SET key:{number} value")), "OK");
    }
    let status = world.status();
    let members = status["groups"][0]["members"].as_array().cloned().unwrap_or_default();
    let backup = members.iter().find(|member| member["role"] == "backup").expect("a backup");
    let backup = backup["id"].as_str().expect("a name");
    let text = checkpoint(&world, &["now", GROUP]);
    assert!(text.starts_with(&format!("{backup}: ")) && text.contains(" bytes"), "{text}");
    assert_eq!(listed(&world, backup).len(), 1, "it is durable");
    assert!(is_done(&world, backup), "it has everything");
    let text = checkpoint(&world, &["verify", "--node", backup]);
    assert!(text.contains(": whole, "), "{text}");
    let text = checkpoint(&world, &["now", GROUP]);
    assert!(text.contains("nothing has changed since"), "{text}");
    let why = refused(&world, &["now", GROUP, "--node", &master.id]);
    assert!(why.contains("ask another member"), "{why}");
    let why = refused(&world, &["now", "t-9"]);
    assert!(why.contains("no node that has the log of t-9 answers"), "{why}");
    let why = refused(&world, &["now", "t-9", "--node", backup]);
    assert!(why.contains("t-9 is not the log of this node"), "{why}");
}
