//! Channels: who hears what, in which form, and what comes from and goes to other nodes.

use super::{Client, Committing, Rig, routes, show};
use crate::data::link::{Publications, ToData};
use crate::data::post::Publication;
use cairn_logic::ids::GroupId;
use cairn_logic::record::Role;
use cairn_resp::Reply;
use std::sync::Arc;
use tokio::sync::Semaphore;

const ONLY: &str = "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in \
    this context";

#[test]
fn a_message_reaches_those_who_listen_to_its_channel_or_a_pattern() {
    let rig = Committing::new();
    let (mut one, mut two, mut other) = (rig.client(), rig.client(), rig.client());
    assert_eq!(one.say("SUBSCRIBE a b"), "[subscribe a 1]");
    assert_eq!(show(&one.reply()), "[subscribe b 2]");
    assert_eq!(two.say("PSUBSCRIBE a*"), "[psubscribe a* 1]");
    assert_eq!(other.say("PUBLISH a hello"), "2");
    assert_eq!(show(&one.reply()), "[message a hello]");
    assert_eq!(show(&two.reply()), "[pmessage a* a hello]");
    assert_eq!(other.say("PUBLISH c hello"), "0");
    assert_eq!(other.say("PUBSUB CHANNELS"), "[a b]");
    assert_eq!(other.say("PUBSUB CHANNELS b*"), "[b]");
    assert_eq!(other.say("PUBSUB NUMSUB a x"), "[a 1 x 0]");
    assert_eq!(other.say("PUBSUB NUMPAT"), "1");
    assert_eq!(one.say("UNSUBSCRIBE"), "[unsubscribe a 1]");
    assert_eq!(show(&one.reply()), "[unsubscribe b 0]");
    assert_eq!(one.say("UNSUBSCRIBE"), "[unsubscribe (nil) 0]");
    assert_eq!(one.say("GET b"), "(nil)");
    drop(two);
    while other.say("PUBSUB NUMPAT") != "0" {}
    assert_eq!(other.say("PUBLISH a hello"), "0");
}

#[test]
fn a_listener_of_resp2_may_ask_for_little_else() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("SUBSCRIBE a"), "[subscribe a 1]");
    assert_eq!(client.say("GET b"), format!("-ERR Can't execute 'get': {ONLY}"));
    assert_eq!(client.say("CLIENT ID"), format!("-ERR Can't execute 'client|id': {ONLY}"));
    assert_eq!(client.say("PING"), "[pong ]");
    assert_eq!(client.say("PING x"), "[pong x]");
    assert_eq!(client.say("RESET"), "RESET");
    assert_eq!(client.say("GET b"), "(nil)");
    assert_eq!(client.say("PUBLISH a x"), "0");
}

#[test]
fn a_listener_of_resp3_goes_on_as_before_and_is_told_beside_its_replies() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.ask("HELLO 3");
    let Reply::Push(parts) = client.ask("SUBSCRIBE a") else { panic!("a push in RESP3") };
    assert_eq!(parts.len(), 3);
    assert_eq!(client.say("GET b"), "(nil)");
    assert_eq!(client.say("PUBLISH a x"), "1");
    assert_eq!(show(&client.reply()), "[message a x]");
    // Not between the parts of a transaction's reply.
    assert_eq!(client.say("MULTI"), "OK");
    assert_eq!(client.say("PUBLISH a y"), "QUEUED");
    assert_eq!(client.say("SET b 1"), "QUEUED");
    assert_eq!(client.say("EXEC"), "[1 OK]");
    assert_eq!(show(&client.reply()), "[message a y]");
    client.send("CLIENT REPLY OFF");
    client.send("PUBLISH a z");
    assert_eq!(show(&client.reply()), "[message a z]");
}

#[test]
fn channels_of_slots_stay_with_the_group_that_owns_the_slot() {
    let mut rig = Rig::master();
    let (mut one, mut two) = (rig.client(), rig.client());
    // `b` belongs to this group, `foo` to the other one.
    assert_eq!(one.say("SSUBSCRIBE foo"), "-MOVED 12182 10.0.0.1:9");
    assert_eq!(two.say("SPUBLISH foo x"), "-MOVED 12182 10.0.0.1:9");
    assert!(one.say("SSUBSCRIBE b c").starts_with("-CROSSSLOT"));
    assert_eq!(one.say("SSUBSCRIBE b"), "[ssubscribe b 1]");
    assert_eq!(two.say("PUBLISH b x"), "0");
    assert_eq!(two.say("SPUBLISH b x"), "1");
    assert_eq!(show(&one.reply()), "[smessage b x]");
    assert_eq!(two.say("PUBSUB SHARDCHANNELS"), "[b]");
    assert_eq!(two.say("PUBSUB SHARDNUMSUB b"), "[b 1]");
    let sent: Vec<_> = std::iter::from_fn(|| rig.published.try_recv().ok()).collect();
    let scopes: Vec<_> = sent.iter().map(|posted| posted.publication.sharded).collect();
    assert_eq!(scopes, [false, true]);
    // The slot goes away: so does who listened to its channels.
    let mut moved = (*routes("a", Role::Replica)).clone();
    moved.slots[3300] = 1;
    rig.link.send(ToData::Routes(Arc::new(moved)));
    assert_eq!(show(&one.reply()), "[sunsubscribe b 0]");
    assert_eq!(one.say("GET foo"), "-MOVED 12182 10.0.0.1:9");
}

#[test]
fn channels_of_slots_are_served_by_replicas_too() {
    let rig = Rig::replica(Role::Replica);
    let (mut one, mut two) = (rig.client(), rig.client());
    assert_eq!(one.say("SSUBSCRIBE b"), "[ssubscribe b 1]");
    assert_eq!(two.say("SPUBLISH b x"), "1");
    assert_eq!(show(&one.reply()), "[smessage b x]");
}

/// What another node sends.
fn arrive(rig: &mut Rig, group: &str, channel: &str, sharded: bool) {
    let (channel, message) = (channel.as_bytes().to_vec(), b"x".to_vec());
    let room = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let publications = vec![Publication { channel, message, sharded }];
    let all = Publications { group: GroupId::new(group), publications, room };
    rig.link.send(ToData::Publications(Box::new(all)));
}

#[test]
fn messages_of_other_nodes_are_heard_unless_they_are_of_another_keyspace() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    assert_eq!(client.say("SUBSCRIBE a"), "[subscribe a 1]");
    arrive(&mut rig, "other-0", "a", false);
    arrive(&mut rig, "k-0", "a", true);
    arrive(&mut rig, "k-1", "a", false);
    assert_eq!(show(&client.reply()), "[message a x]");
    assert!(client.is_quiet());
    assert!(rig.published.try_recv().is_err(), "nothing goes back");
}

#[test]
fn a_listener_that_does_not_read_is_closed() {
    let rig = Committing::new();
    let (mut slow, mut other) = (rig.client(), rig.client());
    assert_eq!(slow.say("SUBSCRIBE a"), "[subscribe a 1]");
    let message = "m".repeat(4 << 20);
    while other.say(&format!("PUBLISH a {message}")) == "1" {}
    assert!(slow.is_closed());
}

#[test]
fn a_wrong_call_is_refused_in_the_usual_words() {
    let rig = Committing::new();
    let mut client = rig.client();
    for (words, want) in [
        ("SUBSCRIBE", "-ERR wrong number of arguments for 'subscribe' command"),
        ("PUBSUB NUMPAT x", "-ERR wrong number of arguments for 'pubsub|numpat' command"),
        ("PUBSUB NONE", "-ERR unknown subcommand 'NONE'. Try PUBSUB HELP."),
        ("SPUBLISH b", "-ERR wrong number of arguments for 'spublish' command"),
    ] {
        assert_eq!(client.say(words), want);
    }
    let mut transaction = |words: &str| {
        client.say("MULTI");
        (client.say(words), client.say("EXEC"))
    };
    let (queued, executed) = transaction("SSUBSCRIBE foo");
    assert!(queued.starts_with("-MOVED") && executed.starts_with("-EXECABORT"));
    let refused = "[-ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client]";
    assert_eq!(transaction("SSUBSCRIBE b"), ("QUEUED".into(), refused.into()));
}

#[test]
fn a_client_list_says_who_listens() {
    let rig = Committing::new();
    let mut client: Client = rig.client();
    client.say("HELLO 3");
    client.say("SUBSCRIBE a");
    client.say("PSUBSCRIBE b*");
    let line = client.say("CLIENT LIST TYPE pubsub");
    assert!(line.contains(" flags=P ") && line.contains(" sub=1 psub=1 ssub=0 "), "{line}");
    assert_eq!(client.say("CLIENT LIST TYPE normal"), "");
}
