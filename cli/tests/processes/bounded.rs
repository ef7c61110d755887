//! Logs are bounded: their fronts go behind snapshots, and who is too far behind fetches one.

use crate::probes::figure;
use crate::support::{GROUP, World, connect, say};
use cairn_harness::client::Connection;
use cairn_harness::clock::wait;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

const MEMBERS: [&str; 3] = ["t-0-0", "t-0-1", "t-0-2"];
const MIB: u64 = 1 << 20;
/// Bytes of a value; it cannot be compressed.
const VALUE_BYTES: usize = 16 << 10;
/// Keys that are written again and again.
const KEYS: usize = 256;

/// A cluster whose group has small logs, and what `more` says of them.
fn small_logs(more: &Value) -> World {
    let world = World::up();
    change(&world, &json!({"segmentBytes": MIB, "bytesKept": MIB, "snapshotInterval": "1s"}));
    change(&world, more);
    MEMBERS.iter().for_each(|id| world.cluster.kill(id, true).expect("it runs"));
    MEMBERS.iter().for_each(|id| world.cluster.start(id).expect("it is started"));
    world.whole();
    world
}

/// Sets what `log` names in the settings of all members; they count at their next start.
fn change(world: &World, log: &Value) {
    for node in MEMBERS {
        let path = world.folder().join("settings").join(format!("{node}.json"));
        let text = std::fs::read_to_string(&path).expect("readable");
        let mut settings: Value = serde_json::from_str(&text).expect("JSON");
        for (name, value) in log.as_object().expect("an object") {
            settings["log"][name] = value.clone();
        }
        std::fs::write(&path, settings.to_string()).expect("writable");
    }
}

/// What was acknowledged: each key's last round.
#[derive(Default)]
struct Written(BTreeMap<usize, u64>, u64);

impl Written {
    /// Writes another `bytes`, at most `per_sec` of them.
    fn more(&mut self, client: &mut Connection, bytes: u64, per_sec: u64) {
        let began = Instant::now();
        let mut done = 0;
        while done < bytes {
            self.1 += 1;
            let key = (self.1 as usize * 7) % KEYS;
            let value = value(key, self.1);
            let words: [&[u8]; 3] = [b"SET", &format!("key:{key}").into_bytes(), &value];
            let answer = crate::support::show(&client.call(&words).expect("an answer"));
            assert_eq!(answer, "OK", "after {done} bytes");
            self.0.insert(key, self.1);
            done += VALUE_BYTES as u64;
            let due = Duration::from_millis(done * 1000 / per_sec);
            wait(due.saturating_sub(began.elapsed()));
        }
    }

    /// All of it is there.
    fn check(&self, client: &mut Connection) {
        for (key, round) in &self.0 {
            let text = client.call(&[b"GET", &format!("key:{key}").into_bytes()]).expect("read");
            let found = text.text().unwrap_or_default();
            let expected = String::from_utf8(value(*key, *round)).expect("text");
            assert!(found == expected, "key:{key} of round {round}: {:.40}", found);
        }
    }
}

/// Text that looks random.
fn value(key: usize, round: u64) -> Vec<u8> {
    let mut seed = (key as u64) << 32 | round;
    let mut letter = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b'!' + ((seed >> 40) % 90) as u8
    };
    std::iter::repeat_with(&mut letter).take(VALUE_BYTES).collect()
}

fn said(world: &World, node: &str, words: &str) -> usize {
    world.log(node).matches(words).count()
}

/// A figure of a node; nothing if it has none, or does not answer.
fn shows(world: &World, node: &str, name: &str) -> Option<u64> {
    figure(&world.node(node), name).map(|value| value as u64)
}

/// Where the log of the group ends at a node.
fn last(world: &World, node: &str) -> u64 {
    shows(world, node, "cairn_node_last_offset").expect("it answers")
}

/// Waits until these members have given up all entries up to `offset`.
fn given_up(world: &World, members: &[&str], offset: u64) {
    for node in members {
        world.eventually("the front of the log goes", |w| {
            shows(w, node, "cairn_node_log_before_offset").is_some_and(|before| before > offset)
        });
    }
}

/// Whether all members of the group hold the same.
fn agree(world: &World) -> bool {
    let status = world.status_with_digests();
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let logs = nodes.iter().map(|node| &node["logs"][0]).filter(|log| log["group"] == GROUP);
    let mut states: Vec<_> = logs.map(|log| (&log["applied"], &log["digest"])).collect();
    let members = states.len();
    states.dedup();
    members == MEMBERS.len() && states.len() == 1
}

/// The snapshots of a node.
fn snapshots(world: &World, node: &str) -> Vec<PathBuf> {
    let folder = world.folder().join("data").join(node).join("groups").join(GROUP);
    let listed = std::fs::read_dir(folder.join("snapshots")).into_iter().flatten().flatten();
    let found = listed.map(|entry| entry.path());
    found.filter(|path| path.extension().is_some_and(|end| end == "snap")).collect()
}

/// Stops a member that does not master and writes until the others have given up what it needs;
/// `meanwhile` is done to it before it is started again.
fn left_behind(
    world: &World,
    written: &mut Written,
    meanwhile: impl FnOnce(&World, &str),
) -> String {
    let master = world.master();
    let others: Vec<&str> = MEMBERS.into_iter().filter(|id| *id != master.id).collect();
    let member = others[0];
    let end = last(world, member);
    world.cluster.kill(member, true).expect("it runs");
    written.more(&mut connect(&master), 12 * MIB, 4 * MIB);
    given_up(world, &[&master.id, others[1]], end);
    meanwhile(world, member);
    world.cluster.start(member).expect("it is started");
    member.to_owned()
}

#[test]
fn a_member_that_is_too_far_behind_fetches_a_snapshot_and_its_master_goes_on() {
    let world = small_logs(&json!({"bytesMax": 16 * MIB}));
    let (master, mut written) = (world.master(), Written::default());
    let member = left_behind(&world, &mut written, |_, _| {});
    written.more(&mut connect(&master), 2 * MIB, 2 * MIB);
    world.whole();
    assert_eq!(said(&world, &member, "fetched a snapshot"), 1, "{}", world.log(&member));
    world.eventually("the same state", agree);
    assert_eq!(world.master().id, master.id, "nothing happened to the master");

    let emptied = |world: &World, member: &str| {
        world.cluster.empty_folder(member).expect("it does not run");
    };
    let member = left_behind(&world, &mut written, emptied);
    world.whole();
    assert_eq!(said(&world, &member, "fetched a snapshot"), 2, "{}", world.log(&member));
    world.eventually("the same state", agree);
    assert_eq!(world.master().id, master.id, "nothing happened to the master");

    // Its log has lost its front; with its snapshots broken, what is left of it builds no state.
    world.eventually("a snapshot of its own", |w| said(w, &member, "wrote a snapshot") > 0);
    world.cluster.kill(&member, true).expect("it runs");
    let broken = snapshots(&world, &member);
    assert!(!broken.is_empty());
    for path in broken {
        let mut bytes = std::fs::read(&path).expect("readable");
        let middle = bytes.len() / 3;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).expect("writable");
    }
    world.cluster.start(&member).expect("it is started");
    world.eventually("a fetched one", |w| said(w, &member, "fetched a snapshot") > 2);
    assert!(said(&world, &member, "the snapshot is set aside") > 0, "{}", world.log(&member));
    world.whole();
    world.eventually("the same state", agree);
    written.check(&mut connect(&world.master()));
}

#[test]
fn a_fetch_outlives_both_its_ends() {
    // The state has 4 MiB: eight seconds, or more.
    let world = small_logs(&json!({"bytesMax": 16 * MIB, "fetchBytesPerSec": MIB / 2}));
    let mut written = Written::default();
    let member = left_behind(&world, &mut written, |_, _| {});
    let under_way =
        |w: &World| shows(w, &member, "cairn_node_fetch_bytes").is_some_and(|bytes| bytes > MIB);
    world.eventually("a fetch is under way", under_way);
    world.cluster.crash(&member).expect("it runs");
    world.eventually("it goes on", |w| said(w, &member, "fetching a snapshot") > 1);
    world.eventually("a fetch is under way", under_way);
    let sender =
        MEMBERS.into_iter().find(|id| *id != member && said(&world, id, "sending a snapshot") > 0);
    let sender = sender.expect("somebody sends");
    world.cluster.crash(sender).expect("it runs");
    world.whole();
    assert!(said(&world, &member, "fetched a snapshot") > 0, "{}", world.log(&member));
    world.eventually("the same state", agree);
    written.check(&mut connect(&world.master()));
}

#[test]
fn logs_stay_within_their_bound_and_all_members_come_back_at_once() {
    let bound = 16 * MIB;
    let world = small_logs(&json!({"bytesMax": bound}));
    let (master, mut written) = (world.master(), Written::default());
    let mut client = connect(&master);
    for _ in 0..24 {
        written.more(&mut client, 2 * MIB, 2 * MIB);
        for node in MEMBERS {
            let bytes = shows(&world, node, "cairn_node_log_bytes").expect("it answers");
            assert!(bytes < bound, "the log of {node} has {bytes} bytes");
        }
    }
    assert_eq!(world.master().id, master.id);
    MEMBERS.iter().for_each(|id| world.cluster.crash(id).expect("it runs"));
    world.whole();
    world.eventually("the same state", agree);
    written.check(&mut connect(&world.master()));
    assert_eq!(say(&mut connect(&world.master()), "SET after crash"), "OK");
}

#[test]
fn a_log_that_nothing_shortens_refuses_writes_at_its_bound_and_admits_them_again() {
    let world = small_logs(&json!({"bytesMax": 8 * MIB}));
    let (master, mut written) = (world.master(), Written::default());
    let mut client = connect(&master);
    // Where this stands no snapshot can be begun.
    let in_the_way = |node: &&str| {
        let folder = world.folder().join("data").join(node).join("groups").join(GROUP);
        folder.join("snapshots").join("draft")
    };
    let obstacles: Vec<PathBuf> = MEMBERS.iter().map(in_the_way).collect();
    for path in &obstacles {
        let made = || std::fs::create_dir(path).is_ok();
        world.eventually("no snapshot is being written", |_| made());
    }
    written.more(&mut client, 6 * MIB, 4 * MIB);
    let near = format!("LogNearBound {}", master.id);
    world.eventually("the bound is near", |w| w.conditions().contains(&near));
    let refusal = loop {
        let value = value(0, 1);
        let words: [&[u8]; 3] = [b"SET", b"filler", &value];
        match crate::support::show(&client.call(&words).expect("an answer")).as_str() {
            "OK" => wait(Duration::from_millis(2)),
            refusal => break refusal.to_owned(),
        }
    };
    assert!(
        refusal.starts_with("-MISCONF The log of this node has reached its bound"),
        "{refusal}"
    );
    written.check(&mut client);
    let table = world.cluster.cairn(["status"]).expect("status");
    assert!(table.contains("this node refuses writes until it is shorter"), "{table}");
    obstacles.iter().for_each(|path| std::fs::remove_dir(path).expect("it is empty"));
    world.eventually("writes are admitted", |_| say(&mut client, "SET after bound") == "OK");
    world.eventually("nothing to say", |w| w.conditions().is_empty());
    assert_eq!(world.master().id, master.id, "a full log is no reason for a takeover");
    written.check(&mut client);
    world.eventually("the same state", agree);
}
