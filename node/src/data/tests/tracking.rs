//! CLIENT TRACKING: who is told of which change, in which form, and when it may be forgotten.

use super::{Client, Committing, Rig, batch, pause, show};
use crate::data::link::ToData;
use cairn_logic::record::Role;
use cairn_resp::Reply;

fn resp3(rig: &Committing) -> Client {
    let mut client = rig.client();
    client.ask("HELLO 3");
    client
}

/// The next push, as a text.
fn pushed(client: &mut Client) -> String {
    let reply = client.reply();
    assert!(matches!(reply, Reply::Push(_)), "{reply:?}");
    show(&reply)
}

#[test]
fn a_client_is_told_once_when_what_it_has_read_changes() {
    let rig = Committing::new();
    let (mut client, mut other) = (resp3(&rig), rig.client());
    assert_eq!(client.say("CLIENT TRACKING ON"), "OK");
    assert_eq!(client.say("CLIENT GETREDIR"), "0");
    client.say("GET {b}1");
    client.say("MGET {b}1 {b}2");
    assert_eq!(other.say("SET {b}2 x"), "OK");
    assert_eq!(pushed(&mut client), "[invalidate [{b}2]]");
    assert_eq!(other.say("SET {b}2 y"), "OK");
    assert_eq!(other.say("SET {b}3 y"), "OK");
    assert!(client.is_quiet());
    // Also of its own changes, and of keys read in a transaction.
    assert_eq!(client.say("INCR {b}1"), "1");
    assert_eq!(pushed(&mut client), "[invalidate [{b}1]]");
    for words in ["MULTI", "GET {b}1", "EXEC"] {
        client.say(words);
    }
    assert_eq!(other.say("RENAME {b}2 {b}1"), "OK");
    assert_eq!(pushed(&mut client), "[invalidate [{b}1]]");
    client.say("GET {b}1");
    assert_eq!(other.say("FLUSHALL"), "OK");
    assert_eq!(pushed(&mut client), "[invalidate (nil)]");
    client.say("GET {b}1");
    assert_eq!(client.say("CLIENT TRACKING OFF"), "OK");
    assert_eq!(other.say("SET {b}1 z"), "OK");
    assert!(client.is_quiet());
    assert_eq!(client.say("CLIENT GETREDIR"), "-1");
}

#[test]
fn expired_keys_are_changed_keys() {
    let rig = Committing::new();
    let (mut client, mut other) = (resp3(&rig), rig.client());
    client.say("CLIENT TRACKING ON");
    other.say("SET b 1 PX 60");
    client.say("GET b");
    assert_eq!(pushed(&mut client), "[invalidate [b]]");
}

#[test]
fn prefixes_are_told_of_every_change_and_nobody_of_its_own_who_does_not_want_it() {
    let rig = Committing::new();
    let (mut client, mut other) = (resp3(&rig), rig.client());
    let ask = "CLIENT TRACKING ON BCAST PREFIX {b}u PREFIX {b}v NOLOOP";
    assert_eq!(client.say(ask), "OK");
    assert_eq!(other.say("MSET {b}u1 1 {b}x 1 {b}v1 1"), "OK");
    assert_eq!(pushed(&mut client), "[invalidate [{b}u1]]");
    assert_eq!(pushed(&mut client), "[invalidate [{b}v1]]");
    assert_eq!(other.say("MSET {b}u1 1 {b}u2 1"), "OK");
    assert_eq!(pushed(&mut client), "[invalidate [{b}u1 {b}u2]]");
    assert_eq!(client.say("SET {b}u1 2"), "OK");
    assert!(client.is_quiet());
    let info = client.ask("CLIENT TRACKINGINFO");
    let Reply::Map(info) = info else { panic!("a map in RESP3") };
    let Reply::Set(flags) = &info[0].1 else { panic!("a set of flags") };
    assert_eq!(flags.iter().map(show).collect::<Vec<_>>(), ["on", "bcast", "noloop"]);
    assert_eq!(show(&info[2].1), "[{b}u {b}v]");
}

#[test]
fn a_client_chooses_what_is_remembered() {
    let rig = Committing::new();
    let (mut client, mut other) = (resp3(&rig), rig.client());
    assert_eq!(client.say("CLIENT TRACKING ON OPTIN"), "OK");
    client.say("GET {b}1");
    assert_eq!(client.say("CLIENT CACHING YES"), "OK");
    client.say("GET {b}2");
    client.say("GET {b}3");
    assert_eq!(other.say("MSET {b}1 1 {b}2 1 {b}3 1"), "OK");
    assert_eq!(pushed(&mut client), "[invalidate [{b}2]]");
    assert!(client.is_quiet());
}

#[test]
fn another_connection_may_be_told_instead_and_its_end_is_said() {
    let rig = Committing::new();
    let (mut reader, mut other) = (rig.client(), rig.client());
    let mut hears = rig.client();
    let id = hears.say("CLIENT ID");
    assert_eq!(hears.say("SUBSCRIBE __redis__:invalidate"), "[subscribe __redis__:invalidate 1]");
    assert_eq!(reader.say(&format!("CLIENT TRACKING ON REDIRECT {id}")), "OK");
    reader.say("GET b");
    assert_eq!(other.say("SET b 1"), "OK");
    assert_eq!(show(&hears.reply()), "[message __redis__:invalidate [b]]");
    let mut reader = resp3(&rig);
    assert_eq!(reader.say(&format!("CLIENT TRACKING ON REDIRECT {id}")), "OK");
    reader.say("GET b");
    drop(hears);
    while other.say("PUBSUB CHANNELS") != "[]" {
        pause(1);
    }
    assert_eq!(other.say("SET b 2"), "OK");
    assert_eq!(pushed(&mut reader), format!("[tracking-redir-broken {id}]"));
}

#[test]
fn wrong_modes_are_refused_in_the_usual_words() {
    let rig = Committing::new();
    let mut client = rig.client();
    let overlap = "overlaps with another provided prefix 'ab'. Prefixes for a single client must \
        not overlap.";
    for (words, want) in [
        ("ON PREFIX a", "PREFIX option requires BCAST mode to be enabled"),
        ("ON OPTIN OPTOUT", "You can't specify both OPTIN mode and OPTOUT mode"),
        ("ON BCAST OPTIN", "OPTIN and OPTOUT are not compatible with BCAST"),
        ("ON REDIRECT 999", "The client ID you want redirect to does not exist"),
        ("ON BCAST PREFIX a PREFIX ab", &format!("Prefix 'a' {overlap}")),
        ("ON FOO", "syntax error"),
        ("MAYBE", "syntax error"),
    ] {
        assert_eq!(client.say(&format!("CLIENT TRACKING {words}")), format!("-ERR {want}"));
    }
    assert!(client.say("CLIENT CACHING YES").starts_with("-ERR CLIENT CACHING can be called"));
    assert_eq!(client.say("CLIENT TRACKING ON BCAST PREFIX foo"), "OK");
    let text = client.say("CLIENT TRACKING ON BCAST PREFIX fo");
    assert!(text.starts_with("-ERR Prefix 'fo' overlaps with an existing prefix 'foo'."), "{text}");
    assert!(client.say("CLIENT TRACKING ON").starts_with("-ERR You can't switch BCAST mode"));
}

#[test]
fn who_reads_at_a_replica_is_told_when_the_change_is_applied() {
    let mut rig = Rig::replica(Role::Replica);
    let mut client = rig.client();
    client.ask("HELLO 3");
    client.say("READONLY");
    client.say("CLIENT TRACKING ON");
    assert_eq!(client.say("GET b"), "(nil)");
    rig.link.send(ToData::Apply(batch(&["SET", "b", "1"])));
    assert_eq!(pushed(&mut client), "[invalidate [b]]");
    assert_eq!(client.say("GET b"), "1");
    // Whoever masters from now on: what was read before may have changed unseen.
    rig.become_master(2, 2, crate::data::link::Reads::Lease, crate::data::link::Answers::AtCommit);
    assert_eq!(pushed(&mut client), "[invalidate (nil)]");
}
