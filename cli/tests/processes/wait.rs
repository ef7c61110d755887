//! WAIT: at once when there are enough copies, and with the true number when its time is over.

use crate::support::{GROUP, World, connect, say};
use std::time::{Duration, Instant};

fn timed(client: &mut cairn_harness::client::Connection, words: &str) -> (String, Duration) {
    let began = Instant::now();
    (say(client, words), began.elapsed())
}

#[test]
fn wait_counts_the_copies_there_are_and_waits_no_longer_than_needed() {
    let world = World::up();
    let master = world.master();
    let mut client = connect(&master);
    assert_eq!(say(&mut client, "SET a 1"), "OK");
    let (copies, took) = timed(&mut client, "WAIT 2 5000");
    assert_eq!(copies, "2");
    assert!(took < Duration::from_secs(1), "{took:?} although both have it");
    // Both have it by now, so that there is nothing to wait for.
    let (copies, took) = timed(&mut client, "WAIT 2 5000");
    assert_eq!(copies, "2");
    assert!(took < Duration::from_millis(300), "{took:?} although both have it");

    let status = world.cluster.status().expect("status");
    let group = status.groups.iter().find(|group| group.id == GROUP).expect("a group");
    let frozen = group.members.iter().find(|m| m.id != master.id).expect("a member").id.clone();
    world.cluster.freeze(&frozen).expect("it runs");
    let began = Instant::now();
    assert_eq!(say(&mut client, "SET a 2"), "OK", "the other member has it");
    let (copies, took) = timed(&mut client, "WAIT 1 5000");
    assert_eq!(copies, "1");
    assert!(took < Duration::from_millis(300), "{took:?} although one has it");
    let (copies, took) = timed(&mut client, "WAIT 2 400");
    assert_eq!(copies, "1", "one of two is frozen");
    assert!(took >= Duration::from_millis(400) && took < Duration::from_secs(2), "{took:?}");
    eprintln!("WAIT 2 400 with one member frozen: {copies} after {took:?} ({:?})", began.elapsed());

    assert_eq!(say(&mut client, "SET a 3"), "OK");
    let mut second = connect(&master);
    assert_eq!(say(&mut second, "SET b 1"), "OK");
    world.cluster.thaw(&frozen).expect("it is there");
    let (copies, took) = timed(&mut second, "WAIT 2 60000");
    assert_eq!(copies, "2", "it has caught up");
    assert!(took < Duration::from_secs(50), "{took:?}");
    // A client that never wrote waits for nothing.
    let mut reader = connect(&master);
    let (copies, took) = timed(&mut reader, "WAIT 2 5000");
    assert_eq!(copies, "2");
    assert!(took < Duration::from_millis(300), "{took:?}");
}
