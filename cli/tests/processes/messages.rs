//! Messages between the groups of a keyspace, and commands that wait while their master is lost.

use crate::support::{World, connect, say, show};
use cairn_harness::client::{Connection, Frame};
use cairn_harness::cluster::Node;
use std::time::{Duration, Instant};

/// The members of a group, its master first.
fn members(world: &World, group: &str) -> Vec<Node> {
    let status = world.cluster.status().expect("status");
    let group = status.groups.into_iter().find(|found| found.id == group).expect("a group");
    let master = group.master.expect("a master");
    let mut ids: Vec<String> = group.members.into_iter().map(|member| member.id).collect();
    ids.sort_by_key(|id| *id != master);
    ids.iter().map(|id| world.node(id)).collect()
}

fn hear(listener: &mut Connection) -> String {
    let parts = listener.hear().expect("a message");
    let parts = parts.elements().expect("an array").iter().map(show);
    parts.collect::<Vec<_>>().join(" ")
}

/// Publishes until it is heard: the first message makes the connection between the nodes.
fn publish(from: &mut Connection, words: &str, listener: &mut Connection) -> (String, Duration) {
    let began = Instant::now();
    say(from, words);
    (hear(listener), began.elapsed())
}

#[test]
fn messages_cross_groups_and_a_waiting_pop_goes_on_at_the_next_master() {
    let world = World::two_groups();
    let (here, there) = (members(&world, "t-0"), members(&world, "t-1"));
    // At a replica of the other group.
    let mut listener = connect(&there[1]);
    listener.send(&[b"PSUBSCRIBE", b"news.*"]).expect("sent");
    assert_eq!(hear(&mut listener), "psubscribe news.* 1");
    let mut publisher = connect(&here[0]);
    for n in 0..3 {
        let (heard, took) = publish(&mut publisher, &format!("PUBLISH news.a {n}"), &mut listener);
        assert_eq!(heard, format!("pmessage news.* news.a {n}"));
        eprintln!("a message to a replica of the other group took {took:?}");
    }

    // Whichever group has the slot: its replica hears, the other group's nodes are no place to be.
    // Another channel of that slot, for this message may come later than the subscription.
    let owner = match say(&mut publisher, "SPUBLISH {b}asked x") {
        refused if refused.starts_with("-MOVED") => &there,
        _ => &here,
    };
    let mut listener = owner[1..]
        .iter()
        .find_map(|node| {
            let mut listener = connect(node);
            let told = listener.call(&[b"SSUBSCRIBE", b"b"]).expect("an answer");
            told.elements().is_some().then_some(listener)
        })
        .expect("a replica; a backup answers no client");
    let mut publisher = connect(&owner[0]);
    let (heard, took) = publish(&mut publisher, "SPUBLISH b y", &mut listener);
    assert_eq!(heard, "smessage b y");
    eprintln!("a message of a slot to a replica of its group took {took:?}");

    // A planned change of master: who waits is sent on, and is served there.
    let mut waiting = connect(&owner[0]);
    waiting.send(&[b"BLPOP", b"b", b"0"]).expect("sent");
    let mut asking = connect(&owner[0]);
    world.eventually("it waits", |_| {
        say(&mut asking, "INFO clients").contains("blocked_clients:1\r\n")
    });
    let group = owner[0].id.rsplit_once('-').expect("a group's name").0;
    world.cluster.cairn(["failover", group]).expect("a failover");
    let told = waiting.hear().expect("it is told");
    let Frame::Error(told) = told else { panic!("{told:?}") };
    let address = told.strip_prefix("MOVED 3300 ").unwrap_or_else(|| panic!("{told}"));
    let second = Duration::from_secs(1);
    let mut moved = Connection::open(address, second, second * 20).expect("it listens");
    moved.send(&[b"BLPOP", b"b", b"0"]).expect("sent");
    let mut pushing = Connection::open(address, second, second * 20).expect("it listens");
    assert_eq!(say(&mut pushing, "RPUSH b item"), "1");
    let popped = moved.hear().expect("an item");
    let popped: Vec<String> = popped.elements().expect("two").iter().map(show).collect();
    assert_eq!(popped, ["b", "item"]);
    assert_eq!(say(&mut pushing, "LLEN b"), "0");
}
