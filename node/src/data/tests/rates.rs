//! Clients that ask for more commands a second than they may.

use super::{Client, Committing, show};
use std::time::{Duration, Instant};

const CLIENTS: &str = "CONFIG SET client-commands-per-second";
const USERS: &str = "CONFIG SET user-commands-per-second";

fn ask(client: &mut Client, count: usize) {
    client.raw("*1\r\n$4\r\nPING\r\n".repeat(count).as_bytes());
}

fn answered(client: &mut Client, count: usize) {
    for _ in 0..count {
        assert_eq!(show(&client.reply()), "PONG");
    }
}

fn slowed(client: &mut Client) -> u64 {
    let info = client.say("INFO stats");
    let line = info.lines().find_map(|line| line.strip_prefix("slowed_clients:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
fn a_client_that_asks_for_too_much_waits_and_others_do_not() {
    let rig = Committing::new();
    let mut other = rig.client();
    // One at a time, however late the thread comes: so often it waits.
    assert_eq!(other.say(&format!("{CLIENTS} 10")), "OK");
    let (mut greedy, began) = (rig.client(), Instant::now());
    ask(&mut greedy, 22);
    answered(&mut greedy, 2);
    assert_eq!(other.say("PING"), "PONG");
    answered(&mut greedy, 20);
    assert!(began.elapsed() >= Duration::from_millis(2_095), "{:?}", began.elapsed());
    assert_eq!(other.say("CONFIG GET client-commands*"), "[client-commands-per-second 10]");
    assert_eq!(other.say(&format!("{CLIENTS} 0")), "OK");
    assert!(slowed(&mut other) >= 20);
}

#[test]
fn clients_of_a_user_share_its_bound_and_those_of_others_do_not() {
    let rig = Committing::new();
    let mut other = rig.client();
    assert_eq!(other.say("ACL SETUSER busy on nopass +@all"), "OK");
    let mut two = [rig.client(), rig.client()];
    two.iter_mut().for_each(|it| assert_eq!(it.say("AUTH busy any"), "OK"));
    assert_eq!(other.say(&format!("{USERS} 20")), "OK");
    let began = Instant::now();
    two.iter_mut().for_each(|it| ask(it, 11));
    assert_eq!(other.say("PING"), "PONG");
    two.iter_mut().for_each(|it| answered(it, 11));
    assert!(began.elapsed() >= Duration::from_millis(995), "{:?}", began.elapsed());
}

#[test]
fn whoever_waits_goes_on_when_the_bound_is_lifted_and_a_client_that_leaves_is_forgotten() {
    let rig = Committing::new();
    let mut other = rig.client();
    assert_eq!(other.say("ACL SETUSER admin on nopass +@all"), "OK");
    assert_eq!(other.say("AUTH admin any"), "OK");
    assert_eq!(other.say(&format!("{USERS} 1")), "OK");
    let (mut waits, mut leaves) = (rig.client(), rig.client());
    ask(&mut waits, 1_000);
    ask(&mut leaves, 1_000);
    drop(leaves);
    assert_eq!(other.say(&format!("{USERS} 0")), "OK");
    answered(&mut waits, 1_000);
}

#[test]
fn bounds_beyond_reason_are_refused() {
    let rig = Committing::new();
    let mut client = rig.client();
    for value in ["-1", "10000001", "many"] {
        let told = client.say(&format!("{CLIENTS} {value}"));
        assert!(told.contains("between 0 and 10000000"), "{told}");
    }
}
