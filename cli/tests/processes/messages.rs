//! Messages between the groups of a keyspace, commands that wait while their master is lost, and
//! users that all nodes know.

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

    users_are_known_at_all_nodes(&world, &here, &there);
}

/// Also after a restart while the global plane is away, which keeps them.
fn users_are_known_at_all_nodes(world: &World, here: &[Node], there: &[Node]) {
    let denied = "-NOPERM this user has no permissions to run the 'set' command";
    let set = "ACL SETUSER app on >secret -@all +get ~b";
    assert_eq!(say(&mut connect(&here[1]), set), "OK");
    let comes_in = |node: &Node| {
        let second = Duration::from_secs(1);
        let open = Connection::open(&node.redis(), second, second);
        let mut client = open.ok()?;
        let said = client.call(&[b"AUTH", b"app", b"secret"]).ok().map(|reply| show(&reply))?;
        (said == "OK").then_some(client)
    };
    for node in here.iter().chain(there) {
        let began = Instant::now();
        world.eventually("a node knows the user", |_| comes_in(node).is_some());
        eprintln!("{} knew the user after {:?}", node.id, began.elapsed());
        let mut client = comes_in(node).expect("it knows the user");
        assert_eq!(say(&mut client, "SET b 1"), denied, "{}", node.id);
    }

    // Two nodes change users at once: none of the changes is lost.
    std::thread::scope(|scope| {
        for (name, node) in [("x", &here[0]), ("y", &there[0])] {
            scope.spawn(move || {
                let mut admin = connect(node);
                for n in 0..10 {
                    assert_eq!(say(&mut admin, &format!("ACL SETUSER {name}{n} on")), "OK");
                }
            });
        }
    });
    let mut admin = connect(&here[0]);
    world.eventually("all users are known", |_| {
        let users = admin.call(&[b"ACL", b"USERS"]).expect("an answer");
        // Those, the default user and `app`.
        users.elements().is_some_and(|users| users.len() == 22)
    });

    for global in ["global-0", "global-1"] {
        world.cluster.kill(global, true).expect("a global node");
    }
    world.eventually("users cannot be changed", |_| {
        say(&mut admin, "ACL SETUSER app +set").contains("the global plane cannot be reached")
    });
    let node = there.last().expect("a member");
    world.cluster.kill(&node.id, false).expect("it runs");
    world.eventually("it is back and knows the user", |_| comes_in(node).is_some());
    let mut client = comes_in(node).expect("it knows the user");
    assert_eq!(say(&mut client, "SET b 1"), denied);
}
