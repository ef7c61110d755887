//! A global plane all of whose folders are gone is made again from what the groups know.

use crate::etcd::Etcd;
use crate::support::{World, connect, end_of_log, say};
use cairn_harness::checker;
use cairn_harness::history::Recorder;
use cairn_harness::traffic::{Plan, Traffic};
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

const FOLLOWED: &str = "acceptor: false, checkpoint: {replicas: 1, interval: 168h}";
/// A longer stop than one takeover's would be the loss's doing.
const STOP_MAX_US: u64 = 3_000_000;

fn stop(world: &World, nodes: &[&str]) {
    nodes.iter().for_each(|id| world.cluster.kill(id, true).expect("it runs"));
}

/// Takes everything from dead nodes, and starts them.
fn start_blank(world: &World, nodes: &[&str]) {
    for id in nodes {
        world.cluster.empty_folder(id).expect("it is dead");
        world.cluster.start(id).expect("it is started");
    }
}

fn rebuild(world: &World, words: &[&str]) -> Result<String, String> {
    let all = [&["recover", "global", "--rebuild"], words].concat();
    world.cluster.cairn(all).map_err(|error| error.to_string())
}

fn accepted(world: &World, words: &[&str]) -> String {
    let all = [words, &["--accept-loss", "--yes"]].concat();
    rebuild(world, &all).expect("it goes on")
}

fn refused(world: &World, words: &[&str]) -> String {
    let all = [words, &["--accept-loss", "--yes"]].concat();
    rebuild(world, &all).expect_err("it is refused")
}

/// Masters of groups, by group, with their epochs.
fn masters(world: &World) -> Vec<(String, String, u64)> {
    let status = world.status();
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let logs = nodes.iter().flat_map(|node| {
        node["logs"]
            .as_array()
            .into_iter()
            .flatten()
            .map(move |log| (node["id"].as_str().unwrap_or_default().to_owned(), log.clone()))
    });
    let masters = logs.filter(|(_, log)| log["position"] == "master" && log["group"] != "global");
    let mut found: Vec<_> = masters
        .map(|(id, log)| {
            let group = log["group"].as_str().unwrap_or_default().to_owned();
            (group, id, log["epoch"].as_u64().unwrap_or(0))
        })
        .collect();
    found.sort();
    found
}

fn snapshot_of(world: &World, node: &str) -> PathBuf {
    let folder = world.folder().join("data").join(node).join("groups/global/snapshots");
    let listed = fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path());
    let mut found: Vec<_> = listed.collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "snap"));
    found.sort();
    found.pop().expect("a snapshot")
}

fn traffic(world: &World, seed: u64) -> Traffic {
    Traffic::start(Plan::new(&world.cluster.seeds(), seed), Recorder::in_memory())
}

/// Waits until so many more writes were acknowledged.
fn goes_on(world: &World, traffic: &Traffic) {
    let before = traffic.acknowledged();
    world.eventually("writes go on", |_| traffic.acknowledged() > before + 500);
}

/// A master is killed, and another one of its group follows it: the judge has the groups again.
fn fails_over(world: &World) {
    let before = masters(world);
    let (group, id, epoch) = before.first().expect("a master").clone();
    stop(world, &[&id]);
    world.eventually("its group fails over", |w| {
        masters(w).iter().any(|(g, m, e)| *g == group && *m != id && *e > epoch)
    });
    world.cluster.start(&id).expect("it is started");
    world.whole();
}

/// Ends the clients and judges all that they saw.
fn judge(mut traffic: Traffic) {
    let (history, unread) = traffic.finish(Duration::from_secs(60));
    assert_eq!(unread, 0, "keys that could not be read back");
    let report = checker::check(&history);
    assert!(report.violations.is_empty(), "{:?}", report.violations);
}

#[test]
fn a_lost_plane_is_made_again_from_a_snapshot_and_what_the_groups_know() {
    let world = World::with_two_groups(FOLLOWED);
    let plane = ["global-0", "global-1", "checkpoint-0"];
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    let lease = etcd.grant(600);
    for number in 0..50 {
        etcd.put(&format!("/app/{number:02}"), b"saved", if number < 5 { lease } else { 0 });
    }
    // A checkpoint node follows; its snapshot is of what it has.
    let master = world.status()["globalMaster"].as_str().expect("a master").to_owned();
    let end = end_of_log(&world, &master).offset;
    world.eventually("it has all", |w| end_of_log(w, "checkpoint-0").offset >= end);
    world.cluster.cairn(["checkpoint", "now"]).expect("it is written");
    let kept = world.folder().join("kept.snap");
    fs::copy(snapshot_of(&world, "checkpoint-0"), &kept).expect("copied");
    let last = etcd.put("/app/late", b"lost", 0);
    // After the snapshot a group goes on to an epoch that only the groups know of.
    world.eventually("it hands over", |w| w.cluster.cairn(["failover", "t-1"]).is_ok());
    world.whole();

    let traffic = traffic(&world, 7);
    goes_on(&world, &traffic);
    let living = refused(&world, &["--from", kept.to_str().expect("text")]);
    assert!(living.contains("is global master: the directory is not lost"), "{living}");
    let before = masters(&world);
    let from_us = traffic.now_us();
    stop(&world, &plane);
    goes_on(&world, &traffic);
    start_blank(&world, &plane);
    goes_on(&world, &traffic);
    let kept = kept.to_str().expect("text");
    world.eventually("it would go on", |w| rebuild(w, &["--from", kept]).is_ok());
    // An empty directory is nobody's wish.
    let empty = world.cluster.cairn(["recover", "global", "--accept-loss", "--yes"]);
    let empty = empty.expect_err("it is refused").to_string();
    assert!(empty.contains("recover global --rebuild"), "{empty}");
    let shown = rebuild(&world, &["--from", kept]).expect("it is shown");
    assert!(shown.contains("t-1: epoch") && shown.contains("Nothing was done"), "{shown}");
    assert!(shown.contains("users' keys: as in a snapshot of revision"), "{shown}");

    let said = accepted(&world, &["--from", kept]);
    assert!(said.contains("every slot is served"), "{said}");
    let until_us = traffic.now_us();
    assert_eq!(masters(&world), before, "no group noticed");
    for range in 0..2 {
        let longest = traffic.pauses().longest(range, from_us, until_us).expect("writes");
        println!("range {range}: the longest pause was {} ms", longest / 1000);
        assert!(longest < STOP_MAX_US, "range {range} stood still for {longest} us");
    }
    world.whole();
    let (keys, revision) = etcd.range("/app/", 0);
    assert_eq!(keys.len(), 50, "users' keys are as they were saved");
    assert!(revision > last + 1_000_000_000, "{revision} after {last}");
    assert!(etcd.put("/app/new", b"new", lease) > revision);
    let compacted = world.cluster.etcd_endpoints();
    let compacted = Etcd::new(&compacted).watch_refused("/app/", last);
    assert!(compacted.contains("compacted"), "{compacted}");
    fails_over(&world);
    goes_on(&world, &traffic);
    judge(traffic);
    world.eventually("nothing needs anybody", |w| w.conditions().is_empty());
}

#[test]
fn a_lost_plane_is_made_again_from_the_groups_alone_and_from_a_node_that_has_a_snapshot() {
    let world = World::with_two_groups(FOLLOWED);
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    let last = etcd.put("/app/a", b"a", 0);
    let traffic = traffic(&world, 8);
    goes_on(&world, &traffic);

    // The checkpoint node is left, and knows all.
    stop(&world, &["global-0", "global-1"]);
    start_blank(&world, &["global-0", "global-1"]);
    world.eventually("it would go on", |w| rebuild(w, &["--from-node", "checkpoint-0"]).is_ok());
    let unsaid = refused(&world, &[]);
    assert!(unsaid.contains("--from-node checkpoint-0"), "{unsaid}");
    accepted(&world, &["--from-node", "checkpoint-0"]);
    world.whole();
    let (keys, revision) = etcd.range("/app/", 0);
    assert_eq!(keys, [("/app/a".to_owned(), b"a".to_vec())]);
    assert!(revision > last + 1_000_000_000, "{revision} after {last}");
    goes_on(&world, &traffic);

    // Nobody is left.
    let plane = ["global-0", "global-1", "checkpoint-0"];
    stop(&world, &plane);
    start_blank(&world, &plane);
    world.eventually("it would go on", |w| rebuild(w, &[]).is_ok());
    let shown = rebuild(&world, &[]).expect("it is shown");
    assert!(shown.contains("users' keys: none"), "{shown}");
    accepted(&world, &[]);
    world.whole();
    let (keys, above) = etcd.range("/app/", 0);
    assert_eq!(keys, []);
    assert!(above > revision + 1_000_000_000, "{above} after {revision}");
    etcd.put("/app/b", b"b", 0);
    fails_over(&world);
    goes_on(&world, &traffic);
    judge(traffic);
}

#[test]
fn what_only_a_person_can_know_is_refused_when_the_plane_is_rebuilt() {
    let world = World::up();
    assert_eq!(say(&mut connect(&world.master()), "SET colour blue"), "OK");
    let plane = ["global-0", "global-1", "acceptor-0"];
    let master = world.master().id;
    let others: Vec<&str> =
        ["t-0-0", "t-0-1", "t-0-2"].into_iter().filter(|id| *id != master).collect();
    stop(&world, &plane);
    start_blank(&world, &["global-0", "acceptor-0"]);
    world.eventually("it says who is silent", |w| refused(w, &[]).contains("--lost global-1"));
    let lost = ["--lost", "global-1"];
    world.eventually("it would go on", |w| rebuild(w, &lost).is_ok());
    let answers = refused(&world, &["--lost", "global-1", "--lost", &master]);
    assert!(answers.contains(&format!("{master} answers, so it is not lost")), "{answers}");

    // Two of three are silent: they may know a newer record.
    stop(&world, &others);
    let text = rebuild(&world, &lost).expect_err("it is refused");
    assert!(text.contains("may know a newer record"), "{text}");
    assert!(text.contains(&format!("--lost {}", others[0])), "{text}");
    let given_up: Vec<&str> = [&lost[..], &["--lost", others[0], "--lost", others[1]]].concat();
    let shown = rebuild(&world, &given_up).expect("a person has decided");
    assert!(shown.contains("too few are left for a takeover: `cairn recover t-0`"), "{shown}");

    // One of three is not.
    world.cluster.start(others[0]).expect("it is started");
    world.eventually("it would go on", |w| rebuild(w, &lost).is_ok());
    let shown = rebuild(&world, &lost).expect("it is shown");
    assert!(shown.contains(&format!("{} does not answer", others[1])), "{shown}");
    accepted(&world, &lost);
    let again = refused(&world, &lost);
    assert!(again.contains("is global master: the directory is not lost"), "{again}");
    world.cluster.start(others[1]).expect("it is started");
    start_blank(&world, &["global-1"]);
    world.whole();
    assert_eq!(say(&mut connect(&world.master()), "GET colour"), "blue");
    fails_over(&world);
    assert_eq!(say(&mut connect(&world.master()), "GET colour"), "blue");
}
