//! `notify-keyspace-events`: who listens is told by the master, on the channels that are wanted.

use super::{Client, Committing, Rig, show};
use crate::data::link::ToData;
use cairn_logic::record::Role;

/// The next `count` messages, each without what all have in common.
fn heard(client: &mut Client, count: usize) -> Vec<String> {
    let next = |_| show(&client.reply()).replace("pmessage __key* ", "").replace("@0__", "");
    (0..count).map(next).collect()
}

#[test]
fn listeners_are_told_of_the_classes_that_are_wanted() {
    let rig = Committing::new();
    let (mut listener, mut client) = (rig.client(), rig.client());
    assert_eq!(client.say("CONFIG GET notify-keyspace-events"), "[notify-keyspace-events ]");
    assert_eq!(listener.say("PSUBSCRIBE __key*"), "[psubscribe __key* 1]");
    client.say("SET b 0");
    assert_eq!(client.say("CONFIG SET notify-keyspace-events g$lKEx"), "OK");
    let shown = "[notify-keyspace-events g$lxKE]";
    assert_eq!(client.say("CONFIG GET notify-keyspace-events"), shown);
    client.say("SET b 1 EX 100");
    client.say("HSET {b}h f v");
    client.say("RPUSH {b}l x");
    client.say("RENAME b {b}c");
    let told = heard(&mut listener, 10);
    let want = [
        "[__keyspace:b set]",
        "[__keyevent:set b]",
        "[__keyspace:b expire]",
        "[__keyevent:expire b]",
        "[__keyspace:{b}l rpush]",
        "[__keyevent:rpush {b}l]",
        "[__keyspace:b rename_from]",
        "[__keyevent:rename_from b]",
        "[__keyspace:{b}c rename_to]",
        "[__keyevent:rename_to {b}c]",
    ];
    assert_eq!(told, want);
    assert_eq!(
        client.say("CONFIG SET notify-keyspace-events KEAmnq"),
        "-ERR CONFIG SET failed \
        (possibly related to argument 'notify-keyspace-events') - Invalid event class character. \
        Use 'Ag$lshzxeKEtmdn'."
    );
}

#[test]
fn a_key_that_expires_is_told_of_and_so_is_what_others_waited_for() {
    let rig = Committing::new();
    let (mut listener, mut client, mut waiting) = (rig.client(), rig.client(), rig.client());
    assert_eq!(client.say("CONFIG SET notify-keyspace-events EAmn"), "OK");
    assert_eq!(listener.say("PSUBSCRIBE __key*"), "[psubscribe __key* 1]");
    client.say("SET b 1 PX 1");
    let told = heard(&mut listener, 4);
    let want = ["[__keyevent:new b]", "[__keyevent:set b]", "[__keyevent:expire b]"];
    assert_eq!(told[..3], want);
    // By the cycle, for nobody looks.
    assert_eq!(told[3], "[__keyevent:expired b]");
    client.say("GET b");
    assert_eq!(heard(&mut listener, 1), ["[__keyevent:keymiss b]"]);
    waiting.send("BLPOP {b}l 0");
    while client.say("INFO clients").contains("blocked_clients:0") {}
    client.say("RPUSH {b}l x");
    let want = ["new", "rpush", "lpop", "del"].map(|it| format!("[__keyevent:{it} {{b}}l]"));
    assert_eq!(heard(&mut listener, 4), want);
}

#[test]
fn a_transaction_is_told_of_behind_its_reply() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.say("HELLO 3");
    client.say("CONFIG SET notify-keyspace-events E$");
    client.say("SUBSCRIBE __keyevent@0__:set");
    client.say("MULTI");
    client.say("SET b 1");
    client.say("SET b 2");
    assert_eq!(client.say("EXEC"), "[OK OK]");
    assert_eq!(show(&client.reply()), "[message __keyevent@0__:set b]");
    assert_eq!(show(&client.reply()), "[message __keyevent@0__:set b]");
}

#[test]
fn what_a_replica_applies_is_told_by_its_master() {
    let rig = Rig::replica(Role::Replica);
    let mut client = rig.client();
    client.say("HELLO 3");
    client.say("CONFIG SET notify-keyspace-events EAmn");
    client.say("PSUBSCRIBE __key*");
    rig.link.send(ToData::Apply(super::batch(&["SET", "b", "1"])));
    client.say("READONLY");
    while client.say("GET b") != "1" {
        // Not there yet: a read of a replica that finds nothing is an event like any other.
        assert_eq!(heard(&mut client, 1), ["[__keyevent:keymiss b]"]);
    }
    assert!(client.is_quiet());
}
