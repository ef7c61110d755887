//! Copies of a group are compared while clients write: one that differs is found and mended, and
//! none is said to differ that does not.

use crate::probes::figure;
use crate::support::{GROUP, LONG, World, connect, say};
use cairn_files::{RealDisk, Snapshots};
use cairn_harness::client::{Answer, Client, Patience};
use cairn_harness::clock::{wait, wait_until};
use cairn_harness::cluster::Node;
use cairn_logic::ids::GroupId;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const MEMBERS: [&str; 3] = ["t-0-0", "t-0-1", "t-0-2"];
const CHECKED: &str = "snapshotInterval: 1s, checkInterval: 1s";
/// What is in the snapshot, and what is put into its place.
const RIGHT: &[u8] = b"the value that clients wrote";
const WRONG: &[u8] = b"the value that nobody wrote.";

fn folder(world: &World, node: &str) -> PathBuf {
    world.folder().join("data").join(node).join("groups").join(GROUP)
}

/// The finished snapshots in a folder, the newest last.
fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<_> = listed.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "snap"));
    found.sort();
    found
}

/// Writes a node's newest snapshot anew, with another value under the same keys.
fn forge(world: &World, node: &str) {
    let path = folder(world, node).join("snapshots");
    let newest = snapshots(&path).pop().expect("a snapshot");
    let read = cairn_files::Snapshot::open(&RealDisk, &newest).expect("whole");
    let files = Snapshots::open(&RealDisk, &path, read.head().uid, GroupId::new(GROUP));
    let files = files.expect("it is there");
    let mut draft = files.begin(read.head().content, 1, "a test").expect("room");
    let mut changed = 0;
    for section in read.sections() {
        let mut records = read.read(section).expect("whole");
        let places: Vec<usize> = (0..records.len().saturating_sub(RIGHT.len()))
            .filter(|at| records[*at..].starts_with(RIGHT))
            .collect();
        for at in &places {
            records[*at..at + RIGHT.len()].copy_from_slice(WRONG);
        }
        changed += places.len();
        draft.section(&section.label, section.at, section.records, &records).expect("room");
    }
    assert_eq!(changed, 3, "the canaries are in the snapshot");
    let (end, hash) = (*read.end(), read.end().hash);
    let (file, written) = files.finish(draft, end.from, hash).expect("room");
    assert_eq!((file.path, written.upto), (newest, end.upto), "the same entries");
}

/// Whether all members of the group hold the same after the same entry.
fn agree(world: &World) -> bool {
    let status = world.status_with_digests();
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let logs = nodes.iter().map(|node| &node["logs"][0]).filter(|log| log["group"] == GROUP);
    let mut states: Vec<_> = logs.map(|log| (&log["applied"], &log["digest"])).collect();
    states.dedup();
    states.len() == 1
}

/// Clients that write until they are told to stop, and what was acknowledged last under each key.
struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, u64>>,
}

impl Load {
    fn begin(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (ended, seeds) = (stop.clone(), world.cluster.seeds());
        let thread = std::thread::spawn(move || {
            let mut client = Client::new(&seeds, Patience::default());
            let (mut written, mut round) = (BTreeMap::new(), 0_u64);
            while !ended.load(Ordering::Acquire) {
                round += 1;
                write(&mut client, round, &mut written);
            }
            written
        });
        Self { stop, thread }
    }

    /// Ends it and reads back what was acknowledged; how many keys that were.
    fn end(self, world: &World) -> usize {
        self.stop.store(true, Ordering::Release);
        let written = self.thread.join().expect("it ends");
        let mut client = Client::new(&world.cluster.seeds(), Patience::default());
        for (key, round) in &written {
            let answer = client.call(key, &[b"GET", key.as_bytes()]);
            let found = text(&answer).and_then(|text| text.parse::<u64>().ok());
            assert!(found >= Some(*round), "{key}: {found:?} instead of {round}");
        }
        written.len()
    }
}

fn text(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Reply(frame) => frame.text(),
        Answer::Failed(_) | Answer::Unknown(_) => None,
    }
}

/// One round of writes of all types, small and large, some of which expire or go.
fn write(client: &mut Client, round: u64, written: &mut BTreeMap<String, u64>) {
    let (small, field) = ((round * 7919) % 3000, format!("f{}", round % 2000));
    let key = format!("w:{small}");
    let number = round.to_string();
    let answer = client.call(&key, &[b"SET", key.as_bytes(), number.as_bytes()]);
    if text(&answer).is_some_and(|answer| answer == "OK") {
        written.insert(key, round);
    }
    let lines = [
        vec!["SET".to_owned(), format!("soon:{small}"), number.clone(), "PX".into(), "700".into()],
        vec!["HSET".to_owned(), "large".into(), field.clone(), "x".repeat(40)],
        vec!["HSET".to_owned(), format!("small:{}", round % 50), field, number.clone()],
        vec!["RPUSH".to_owned(), "items".into(), number.clone()],
        vec!["LPOP".to_owned(), format!("items{}", round % 3)],
        vec!["LPUSH".to_owned(), format!("items{}", round % 3), number.clone(), number.clone()],
        vec!["ZADD".to_owned(), "scores".into(), number, format!("m{}", round % 1500)],
        vec!["DEL".to_owned(), format!("w:gone{}", round % 9)],
    ];
    for line in lines {
        let words: Vec<&[u8]> = line.iter().map(String::as_bytes).collect();
        client.call(&line[1], &words);
    }
}

/// What `cairn inspect --list` prints of a file.
fn inspected(file: &Path) -> String {
    let program = crate::support::program();
    let output = Command::new(program).arg("inspect").arg("--list").arg(file).output();
    let output = output.expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

/// The sum of a figure over the members.
fn sum(world: &World, name: &str) -> f64 {
    let figures = MEMBERS.map(|id| figure(&world.node(id), name).unwrap_or(0.0));
    figures.into_iter().sum()
}

fn replica(world: &World) -> Node {
    let master = world.master();
    let id = MEMBERS.into_iter().find(|id| *id != master.id).expect("three");
    world.node(id)
}

#[test]
fn a_copy_that_differs_is_found_kept_aside_and_mended_under_load() {
    let world = World::with_keyspace(CHECKED);
    let mut client = connect(&world.master());
    for words in [
        &[&b"SET"[..], b"canary", RIGHT][..],
        &[b"HSET", b"canaries", b"field", RIGHT],
        &[b"RPUSH", b"canary:list", RIGHT],
    ] {
        client.call(words).expect("an answer");
    }
    let load = Load::begin(&world);
    let node = replica(&world);
    let path = folder(&world, &node.id).join("snapshots");
    world.eventually("a snapshot", |_| !snapshots(&path).is_empty());
    world.eventually("checks", |w| sum(w, "cairn_node_checks_total") > 30.0);

    world.cluster.kill(&node.id, true).expect("it runs");
    forge(&world, &node.id);
    world.cluster.start(&node.id).expect("it is started");
    world.eventually("a person is told", |w| {
        w.conditions().contains(&format!("CopiesDiffer {}", node.id))
    });
    world.whole();

    let differs = "this copy differs from the master's";
    assert!(world.log(&node.id).contains(differs), "{}", world.log(&node.id));
    let mut reader = connect(&node);
    assert_eq!(say(&mut reader, "READONLY"), "OK");
    let right = String::from_utf8_lossy(RIGHT).into_owned();
    world.eventually("the right value", |_| {
        let all = ["GET canary", "HGET canaries field", "LINDEX canary:list 0"];
        all.iter().all(|words| say(&mut reader, words) == right)
    });
    let aside = folder(&world, &node.id).join("aside");
    for (kind, value) in [("own", WRONG), ("master", RIGHT)] {
        let files = snapshots(&aside.join(kind));
        assert!(!files.is_empty(), "{kind}");
        let holds = |bytes: &[u8], key: &str| {
            files.iter().any(|file| {
                let read = cairn_files::Snapshot::open(&RealDisk, file).expect("whole");
                let mut records = read.sections().iter().map(|one| read.read(one).expect("whole"));
                let found = records.any(|one| one.windows(bytes.len()).any(|some| some == bytes));
                found && inspected(file).lines().any(|line| line.trim() == key)
            })
        };
        ["canary", "canaries", "canary:list"].iter().for_each(|key| {
            assert!(holds(value, key), "{kind} of {key}");
        });
    }
    for name in ["cairn_node_differences_total", "cairn_node_repairs_total"] {
        world.eventually(name, |_| figure(&node, name).is_some_and(|count| count > 0.0));
    }

    world.eventually("nothing to say", |w| w.conditions().is_empty());
    assert!(load.end(&world) > 500);
    world.eventually("the same state", agree);
    let others = MEMBERS.iter().filter(|id| **id != node.id);
    others.for_each(|id| assert!(!world.log(id).contains(differs), "{}", world.log(id)));
}

#[test]
fn no_copy_is_said_to_differ_that_does_not_while_masters_change() {
    // `CAIRN_LOAD_SECONDS` makes it longer.
    let seconds = std::env::var("CAIRN_LOAD_SECONDS").ok().and_then(|text| text.parse().ok());
    let span = Duration::from_secs(seconds.unwrap_or(20));
    let world = World::with_keyspace(CHECKED);
    let load = Load::begin(&world);
    let (began, mut failovers, mut checks) = (Instant::now(), 0, 0.0);
    while began.elapsed() < span {
        wait(Duration::from_secs(6));
        checks += sum(&world, "cairn_node_checks_total");
        // It starts again at once; mastership ends with its process all the same.
        let (master, (_, epoch)) = (world.master(), world.epochs());
        world.cluster.kill(&master.id, false).expect("it runs");
        failovers += 1;
        let came = wait_until(LONG, Duration::from_millis(200), || world.epochs().1 > epoch);
        assert!(came, "another mastership");
    }
    world.whole();
    checks += sum(&world, "cairn_node_checks_total");
    let keys = load.end(&world);
    world.eventually("the same state", agree);
    for id in MEMBERS {
        assert!(!world.log(id).contains("differs from the master's"), "{}", world.log(id));
    }
    assert_eq!(sum(&world, "cairn_node_differences_total"), 0.0);
    assert!(checks > 300.0, "{checks} checks, {failovers} failovers, {keys} keys");
    println!("{checks} checks, {failovers} failovers, {keys} keys, no difference");
}
