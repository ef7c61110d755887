//! Global nodes write snapshots of the directory, and start from them.

use crate::etcd::Etcd;
use crate::support::{World, end_of_log};
use cairn_directory::Directory;
use cairn_directory::directory::CONTENT;
use cairn_directory::op::{Op, Put};
use cairn_files::{RealDisk, Snapshots};
use cairn_harness::clock::wait_until;
use cairn_logic::ids::{EntryId, GroupId, Offset};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PLANE: [&str; 2] = ["global-0", "global-1"];
const CHECKPOINT: &str = "checkpoint-0";

/// Snapshots all the time.
const OFTEN: &str = "checkpoint: {interval: 1s}";
/// Logs that are cut at the front after a few mebibytes.
const SMALL: &str = "checkpoint: {interval: 1s}, log: {bytesKept: 1Mi, bytesMax: 16Mi}";
/// The same with a checkpoint node, which is the third acceptor; a fetch takes seconds.
const FOLLOWED: &str = "acceptor: false, checkpoint: {replicas: 1, interval: 5s}, \
    log: {bytesKept: 1Mi, bytesMax: 16Mi, fetchBytesPerSecond: 2Mi}";

/// Puts a snapshot of another state into a node's folder.
fn forge(world: &World, node: &str, at: EntryId) {
    let settings = world.folder().join("settings").join(format!("{node}.json"));
    let text = std::fs::read_to_string(settings).expect("readable");
    let settings: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let uid = settings["clusterUid"].as_str().expect("a text");
    let uid = u128::from_str_radix(uid, 16).expect("a number");
    let folder = world.folder().join("data").join(node).join("groups").join("global");
    let files = Snapshots::open(&RealDisk, &folder.join("snapshots"), uid, GroupId::global());
    let files = files.expect("it is there");
    let mut directory = Directory::new();
    directory.apply(&Op::Put(Put::new("/k/000", "another"))).expect("a good one");
    let mut draft = files.begin(CONTENT, 1, "a test").expect("room");
    let mut export = directory.export();
    while let Some(one) = directory.export_more(&mut export, 1 << 20) {
        if !one.is_empty() {
            draft.section(&one.label, at, one.records, &one.bytes).expect("room");
        }
    }
    files.finish(draft, at, export.hash()).expect("room");
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
    let world = World::with_cluster(OFTEN);
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    let lease = etcd.grant(600);
    let first = write(&etcd, 1, lease);
    let old = etcd.range("/", first).0;
    let replica = other(&master(&world));
    let done = end_of_log(&world, replica).offset;
    world.eventually("a snapshot of all", |w| {
        let newest = snapshots(w, replica).pop();
        let name = newest.as_deref().and_then(|path| path.file_name());
        let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.get(..20).and_then(|offset| offset.parse().ok()) >= Some(done.0)
    });
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
    let world = World::with_cluster(OFTEN);
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

/// Six mebibytes that do not become shorter, in few keys.
fn fill(etcd: &Etcd, round: u64) {
    let mut noise = 0x9e37_79b9_7f4a_7c15 ^ round;
    let mut byte = || {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        (noise >> 32) as u8
    };
    for number in 0..96 {
        let value: Vec<u8> = std::iter::repeat_with(&mut byte).take(64 << 10).collect();
        etcd.put(&format!("/fill/{}", number % 8), &value, 0);
    }
}

/// Fills every `seconds` until something is so: a log is cut behind the older of two snapshots.
fn fill_until(
    (world, etcd, seconds): (&World, &Etcd, u64),
    what: &str,
    done: impl Fn(&World) -> bool,
) {
    for round in 0..20 {
        fill(etcd, round);
        if wait_until(Duration::from_secs(seconds), Duration::from_millis(200), || done(world)) {
            return;
        }
    }
    panic!("never: {what}: {:#}", world.status());
}

/// After which entry a node's log begins, as it said when it last gave up its front; 0 before that.
fn front(world: &World, node: &str) -> u64 {
    let log = world.log(node);
    let last = log.lines().rfind(|line| line.contains("gave up the front of the log"));
    let after = last.and_then(|line| line.split_once("before")).map_or("", |(_, rest)| rest);
    let number = after.split_once('/').map_or("", |(_, rest)| rest);
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number[..end].parse().unwrap_or(0)
}

fn has_cut(world: &World, node: &str, before: usize) -> bool {
    said(world, node, "gave up the front of the log") > before
}

#[test]
fn global_nodes_start_from_a_log_that_was_cut_at_the_front() {
    let world = World::with_cluster(SMALL);
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    let lease = etcd.grant(600);
    let first = write(&etcd, 1, lease);
    let cut = |w: &World| PLANE.iter().all(|node| has_cut(w, node, 0));
    fill_until((&world, &etcd, 2), "both cut", cut);
    let last = write(&etcd, 2, lease);
    let (all, old) = (etcd.range("/k/", 0).0, etcd.range("/", first).0);
    let events = etcd.watch("/k/", first, 300);
    let fetched = said(&world, &master(&world), "fetched a snapshot");
    assert!(fetched > 0, "a master has what its replica wrote");

    stop(&world, &PLANE);
    start(&world, &PLANE);
    world.whole();
    for node in PLANE {
        assert!(said(&world, node, "loaded a snapshot") > 0, "{}", world.log(node));
        // One after the other, each has everything.
        stop(&world, &[other(node)]);
        world.eventually("it masters", |w| w.status()["globalMaster"] == node);
        assert_eq!(etcd.range("/k/", 0).0, all);
        assert_eq!(etcd.range("/leased/", 0).0.len(), 2);
        assert_eq!(etcd.range("/", first).0, old, "the past is as it was");
        assert_eq!(etcd.watch("/k/", first, 300), events);
        assert!(etcd.put("/after", node.as_bytes(), lease) > last, "revisions go on");
        start(&world, &[other(node)]);
        world.whole();
    }
}

#[test]
fn a_global_node_without_its_folder_fetches_a_snapshot_and_counts_again() {
    let world = World::with_cluster(SMALL);
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    let first = write(&etcd, 1, 0);
    let cut = |w: &World| PLANE.iter().all(|node| has_cut(w, node, 0));
    fill_until((&world, &etcd, 2), "both cut", cut);
    let stays = master(&world);
    let replica = other(&stays);
    stop(&world, &[replica]);
    world.cluster.empty_folder(replica).expect("it is down");
    // Alone, the master writes for itself, and gives up what the other would need.
    let before = said(&world, &stays, "gave up the front of the log");
    fill_until((&world, &etcd, 2), "it cuts", |w| has_cut(w, &stays, before));
    let (all, old) = (etcd.range("/", 0).0, etcd.range("/", first).0);
    let fetched = said(&world, replica, "fetched a snapshot");
    start(&world, &[replica]);
    world.whole();
    assert!(said(&world, replica, "fetched a snapshot") > fetched, "{}", world.log(replica));

    stop(&world, &[&stays]);
    world.eventually("it masters", |w| w.status()["globalMaster"] == replica);
    let keys = all.into_iter().filter(|(key, _)| key.starts_with("/k/")).collect::<Vec<_>>();
    assert_eq!(etcd.range("/k/", 0).0, keys);
    assert_eq!(etcd.range("/fill/", 0).0.len(), 8);
    assert_eq!(etcd.range("/", first).0, old, "the past is as it was");
}

#[test]
fn nothing_that_was_answered_is_lost_when_all_global_nodes_die_at_once() {
    let world = World::with_cluster(SMALL);
    let endpoints = world.cluster.etcd_endpoints();
    let stopped = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (etcd, stopped) = (Etcd::new(&endpoints), stopped.clone());
            std::thread::spawn(move || {
                let mut answered = Vec::new();
                for number in 0.. {
                    if stopped.load(Ordering::Acquire) {
                        break;
                    }
                    let key = format!("/w/{writer}/{number:06}");
                    answered.push((etcd.put(&key, &[writer; 2000], 0), key));
                }
                answered
            })
        })
        .collect();
    for round in 1..=3 {
        world.eventually("snapshots", |w| {
            PLANE.iter().any(|node| said(w, node, "wrote a snapshot") > round)
        });
        PLANE.iter().for_each(|node| world.cluster.crash(node).expect("it runs"));
        world.whole();
    }
    stopped.store(true, Ordering::Release);
    let answered = writers.into_iter().map(|writer| writer.join().expect("it ends"));
    let answered: Vec<_> = answered.flatten().collect();
    let etcd = Etcd::new(&endpoints);
    let (found, revision) = etcd.range("/w/", 0);
    let found: std::collections::BTreeSet<String> = found.into_iter().map(|(key, _)| key).collect();
    let lost: Vec<_> = answered.iter().filter(|(_, key)| !found.contains(key)).collect();
    assert!(lost.is_empty(), "{} of {} lost: {lost:?}", lost.len(), answered.len());
    let greatest = answered.iter().map(|(revision, _)| *revision).max().expect("some");
    assert!(revision >= greatest && etcd.put("/w/after", b"", 0) > greatest, "revisions go on");
}

#[test]
fn a_checkpoint_node_writes_for_all_dies_is_left_behind_and_comes_back() {
    let world = World::with_cluster(FOLLOWED);
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    let first = write(&etcd, 1, 0);
    let old = etcd.range("/", first).0;
    let all = [PLANE[0], PLANE[1], CHECKPOINT];
    let cut = |w: &World| all.iter().all(|node| has_cut(w, node, 0));
    fill_until((&world, &etcd, 10), "all cut", cut);
    for node in PLANE {
        assert!(said(&world, node, "fetched a snapshot") > 0, "{}", world.log(node));
        assert_eq!(said(&world, node, "wrote a snapshot"), 0, "{}", world.log(node));
    }

    // It dies while the master takes its next one.
    let master = master(&world);
    let begun = said(&world, &master, "fetching a snapshot");
    fill(&etcd, 1);
    world.eventually("a fetch", |w| said(w, &master, "fetching a snapshot") > begun);
    let has = end_of_log(&world, CHECKPOINT).offset.0;
    stop(&world, &[CHECKPOINT]);
    // The others do without it: a replica writes, and nobody keeps the log for it for ever.
    fill_until((&world, &etcd, 2), "it is left behind", |w| {
        PLANE.iter().all(|node| front(w, node) > has)
    });
    let wrote = PLANE.iter().map(|node| said(&world, node, "wrote a snapshot"));
    assert!(wrote.sum::<usize>() > 0, "{}", world.log(PLANE[1]));

    let (fetched, wrote) = ("fetched a snapshot", "wrote a snapshot");
    let before = [fetched, wrote].map(|words| said(&world, CHECKPOINT, words));
    start(&world, &[CHECKPOINT]);
    world.whole();
    world.eventually("it fetches", |w| said(w, CHECKPOINT, fetched) > before[0]);
    let last = write(&etcd, 2, 0);
    world.eventually("it writes again", |w| said(w, CHECKPOINT, wrote) > before[1]);
    world.eventually("nothing to say", |w| w.conditions().is_empty());

    stop(&world, &all);
    start(&world, &all);
    world.whole();
    assert_eq!(etcd.range("/", first).0, old, "the past is as it was");
    assert!(etcd.put("/after", b"", 0) > last, "revisions go on");
}

#[test]
fn a_snapshot_of_another_state_is_set_aside_and_a_person_told() {
    let world = World::with_cluster("checkpoint: {interval: 3s}");
    let etcd = Etcd::new(&world.cluster.etcd_endpoints());
    write(&etcd, 1, 0);
    let master = master(&world);
    let told = || world.conditions().iter().any(|known| known.starts_with("CopiesDiffer "));
    // It is of a moment that is still to come, so it is the newest until then; unless the master
    // looks too late, when the replica has written a newer one.
    for round in 0.. {
        let end = end_of_log(&world, &master);
        forge(&world, other(&master), EntryId::new(end.epoch, Offset(end.offset.0 + 200)));
        write(&etcd, round, 0);
        if wait_until(Duration::from_secs(6), Duration::from_millis(200), told) {
            break;
        }
        assert!(round < 10, "nobody is told: {}", world.log(&master));
    }
    assert!(said(&world, &master, "the snapshot is set aside") > 0, "{}", world.log(&master));
    // The next one is good, and the word is taken back.
    write(&etcd, 98, 0);
    write(&etcd, 99, 0);
    world.eventually("nothing to say", |w| w.conditions().is_empty());
}
