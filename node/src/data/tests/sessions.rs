//! Sessions: greetings, passwords, transactions, and what tools ask.

use super::{Committing, Rig, show};
use crate::data::link::Config;
use cairn_logic::record::Role;
use cairn_resp::Reply;
use sha2::{Digest, Sha256};

#[test]
fn role_and_time_are_told() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.say("SET b 1");
    assert_eq!(client.say("ROLE"), "[master 1 [[10.0.0.1 2 1] [10.0.0.1 3 1]]]");
    let replica = Rig::replica(Role::Replica);
    assert_eq!(replica.client().say("ROLE"), "[slave 10.0.0.1 2 connected 0]");
    let time = client.say("TIME");
    let seconds = time.trim_start_matches('[').split(' ').next().unwrap();
    assert!(seconds.parse::<u64>().unwrap() > 1_700_000_000, "{time}");
}

#[test]
fn the_usual_first_commands_work() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("PING"), "PONG");
    assert_eq!(client.say("ECHO hi"), "hi");
    assert_eq!(client.say("SELECT 0"), "OK");
    assert_eq!(client.say("SELECT 1"), "-ERR SELECT is not allowed in cluster mode");
    assert_eq!(client.say("CLIENT SETNAME me"), "OK");
    assert_eq!(client.say("CLIENT GETNAME"), "me");
    assert_eq!(client.say("CLIENT SETINFO LIB-NAME test"), "OK");
    assert!(client.say("CLIENT LIST").contains(" name=me "));
    assert_eq!(client.say("SET b 1"), "OK");
    assert_eq!(client.say("get b"), "1");
    let Reply::Map(hello) = client.ask("HELLO 3") else { panic!("a map in RESP3") };
    assert!(hello.iter().any(|(key, value)| show(key) == "proto" && show(value) == "3"));
    assert_eq!(client.say("HELLO 4"), "-NOPROTO unsupported protocol version");
    assert_eq!(client.say("RESET"), "RESET");
    assert_eq!(client.say("QUIT"), "OK");
    assert!(client.is_closed());
}

#[test]
fn nothing_is_answered_without_the_password() {
    // The SHA-256 of "secret".
    let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let password_sha256 = Some(digest.to_owned());
    let rig = Committing::with(Config { password_sha256, ..Config::default() });
    let mut client = rig.client();
    assert_eq!(client.say("GET b"), "-NOAUTH Authentication required.");
    assert!(client.say("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(client.say("AUTH guess"), wrong);
    assert_eq!(client.say("AUTH root secret"), wrong);
    assert_eq!(client.say("AUTH secret"), "OK");
    assert_eq!(client.say("GET b"), "(nil)");
    let mut other = rig.client();
    assert!(matches!(other.ask("HELLO 3 AUTH default secret SETNAME x"), Reply::Map(_)));
    assert_eq!(other.say("CLIENT GETNAME"), "x");
    let mut early = rig.client();
    early.raw(b"*1000\r\n");
    assert_eq!(show(&early.reply()), "-ERR Protocol error: unauthenticated multibulk length");
}

#[test]
fn users_come_in_with_any_of_their_passwords_and_the_default_user_only_with_its_own() {
    let digest = |text: &str| -> String {
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    let app = ("app".to_owned(), ["old", "new"].map(digest).into());
    let users = [app, ("other".to_owned(), [digest("else")].into())].into();
    let rig = Committing::with(Config { users, ..Config::default() });
    let mut client = rig.client();
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(client.say("GET b"), "-NOAUTH Authentication required.");
    let guesses = ["old", "default old", "app else", "nobody old", "app x"];
    for guess in guesses.map(|guess| format!("AUTH {guess}")) {
        assert_eq!(client.say(&guess), wrong, "{guess}");
    }
    for good in ["AUTH app old", "AUTH app new", "AUTH other else"] {
        assert_eq!(rig.client().say(good), "OK", "{good}");
    }
    assert!(matches!(rig.client().ask("HELLO 3 AUTH app new"), Reply::Map(_)));
    assert_eq!(client.say("AUTH other else"), "OK");
    assert_eq!(client.say("GET b"), "(nil)");
    assert!(client.say("CLIENT LIST").contains(" user=other "));
    let mut app = rig.client();
    assert_eq!(app.say("AUTH app new"), "OK");
    assert_eq!(client.say("CLIENT KILL USER nobody"), "-ERR No such user 'nobody'");
    assert_eq!(client.say("CLIENT KILL USER app TYPE pubsub"), "0");
    assert_eq!(client.say("CLIENT KILL USER app TYPE normal"), "1");
    assert!(app.is_closed());
    assert_eq!(client.say("CLIENT KILL TYPE odd ID 1"), "-ERR Unknown client type 'odd'");
}

#[test]
fn auth_without_a_password_says_so() {
    let rig = Committing::new();
    assert!(rig.client().say("AUTH x").starts_with("-ERR AUTH <password> called without any"));
}

#[test]
fn a_transaction_is_one_entry_of_the_log() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    assert_eq!(client.say("MULTI"), "OK");
    assert_eq!(client.say("SET {b}1 x"), "QUEUED");
    assert_eq!(client.say("INCR {b}2"), "QUEUED");
    assert_eq!(client.say("GET {b}1"), "QUEUED");
    client.send("EXEC");
    let head = rig.batch().head;
    assert_eq!(head.count, 1);
    assert!(client.is_quiet());
    rig.link.commit(head.last_offset());
    assert_eq!(show(&client.reply()), "[OK 1 x]");
}

#[test]
fn a_refused_command_aborts_its_transaction() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("EXEC"), "-ERR EXEC without MULTI");
    assert_eq!(client.say("DISCARD"), "-ERR DISCARD without MULTI");
    for bad in ["NOSUCH", "GET", "GET foo", "CLIENT FOO", "CONFIG GET", "SAVE", "SHUTDOWN"] {
        assert_eq!(client.say("MULTI"), "OK");
        assert!(client.say(bad).starts_with('-'), "{bad}");
        let abort = "-EXECABORT Transaction discarded because of previous errors.";
        assert_eq!(client.say("EXEC"), abort);
    }
    assert_eq!(client.say("MULTI"), "OK");
    assert_eq!(client.say("MULTI"), "-ERR MULTI calls can not be nested");
    assert_eq!(client.say("WATCH b"), "-ERR WATCH inside MULTI is not allowed");
    assert_eq!(client.say("SET b 1"), "QUEUED");
    assert_eq!(client.say("DISCARD"), "OK");
    assert_eq!(client.say("GET b"), "(nil)");
    assert_eq!(client.say("MULTI"), "OK");
    assert_eq!(client.say("SET b 1"), "QUEUED");
    assert_eq!(client.say("SET c 1"), "QUEUED");
    assert!(client.say("EXEC").starts_with("-CROSSSLOT"));
    assert_eq!(client.say("GET b"), "(nil)");
}

#[test]
fn a_touched_watched_key_voids_the_transaction() {
    let rig = Committing::new();
    let (mut client, mut other) = (rig.client(), rig.client());
    for (touch, want) in [
        ("SET b 2", "(nil)"),
        ("GET b", "[OK]"),
        ("SET {b}2 1", "[OK]"),
        ("DEL b", "(nil)"),
        ("MSET {b}2 1 b 1", "(nil)"),
        ("FLUSHALL", "(nil)"),
    ] {
        assert_eq!(client.say("SET b 1"), "OK");
        assert_eq!(client.say("WATCH b"), "OK");
        other.ask(touch);
        assert_eq!(client.say("MULTI"), "OK");
        assert_eq!(client.say("SET b 3"), "QUEUED");
        assert_eq!(client.say("EXEC"), want, "{touch}");
    }
    assert_eq!(client.say("WATCH b"), "OK");
    other.ask("SET b 9");
    assert_eq!(client.say("UNWATCH"), "OK");
    assert_eq!(client.say("MULTI"), "OK");
    assert_eq!(client.say("GET b"), "QUEUED");
    assert_eq!(client.say("EXEC"), "[9]");
}

#[test]
fn errors_inside_a_transaction_stay_inside() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("SET b text"), "OK");
    assert_eq!(client.say("MULTI"), "OK");
    assert_eq!(client.say("INCR b"), "QUEUED");
    assert_eq!(client.say("GET b"), "QUEUED");
    assert_eq!(client.say("EXEC"), "[-ERR value is not an integer or out of range text]");
}

#[test]
fn replies_can_be_switched_off() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.send("CLIENT REPLY OFF");
    client.send("SET b 1");
    client.send("GET b");
    client.send("NOSUCH");
    assert_eq!(client.say("CLIENT REPLY ON"), "OK");
    client.send("CLIENT REPLY SKIP");
    client.send("GET b");
    assert_eq!(client.say("PING"), "PONG");
}

#[test]
fn routes_are_told_in_every_form() {
    let rig = Committing::new();
    let mut client = rig.client();
    let slots = client.say("CLUSTER SLOTS");
    assert!(slots.starts_with("[[0 9999 [10.0.0.1 1 "), "{slots}");
    assert!(slots.contains("[10000 15999 [10.0.0.1 9 "), "{slots}");
    let nodes = client.say("CLUSTER NODES");
    let me = client.say("CLUSTER MYID");
    assert!(
        nodes.contains(&format!("{me} 10.0.0.1:1@7400 myself,master - 0 0 1 connected 0-9999"))
    );
    assert_eq!(nodes.lines().count(), 4);
    assert!(client.say("CLUSTER INFO").contains("cluster_slots_assigned:16000\r\n"));
    assert!(client.say("CLUSTER SHARDS").contains("10000 15999"));
    assert_eq!(client.say("CLUSTER KEYSLOT foo"), "12182");
    assert_eq!(client.say("SET {b}1 x"), "OK");
    assert_eq!(client.say("CLUSTER COUNTKEYSINSLOT 3300"), "1");
    assert_eq!(client.say("CLUSTER GETKEYSINSLOT 3300 10"), "[{b}1]");
    assert!(client.say("CLUSTER MEET 1.2.3.4 5").contains("Keyspace resource"));
    assert!(client.say("CLUSTER NOSUCH").starts_with("-ERR unknown subcommand 'NOSUCH'"));
    assert!(client.say(&format!("CLUSTER REPLICAS {me}")).contains(":2@7400 slave"));
}

#[test]
fn tools_get_the_fields_they_read() {
    let rig = Committing::new();
    let mut client = rig.client();
    for _ in 0..5 {
        client.ask("SET b 1");
    }
    let info = client.say("INFO");
    for field in ["redis_version:", "role:master\r\n", "cluster_enabled:1", "used_memory:"] {
        assert!(info.contains(field), "{field}");
    }
    let before = client.say("INFO stats");
    assert!(before.contains("total_commands_processed:6\r\n"), "{before}");
    assert_eq!(client.say("CONFIG GET save"), "[save ]");
    assert_eq!(client.say("CONFIG GET maxclients"), "[maxclients 10000]");
    assert_eq!(client.say("CONFIG SET maxmemory 100mb"), "OK");
    assert_eq!(client.say("CONFIG GET maxmemor?"), "[maxmemory 104857600]");
    assert!(client.say("CONFIG SET nosuch 1").starts_with("-ERR Unknown option"));
    let count: usize = client.say("COMMAND COUNT").parse().unwrap();
    assert!(count > 50);
    assert!(client.say("COMMAND INFO get nosuch").starts_with("[[get 2 [readonly fast] 1 1 1"));
    assert_eq!(client.say("COMMAND GETKEYS MSET a 1 b 2"), "[a b]");
}

#[test]
fn another_client_can_be_closed() {
    let rig = Committing::new();
    let (mut client, mut other) = (rig.client(), rig.client());
    let id = other.say("CLIENT ID");
    assert_eq!(client.say(&format!("CLIENT KILL ID {id}")), "1");
    assert!(other.is_closed());
    assert_eq!(client.say("CLIENT KILL 1.2.3.4:5"), "-ERR No such client");
}

#[test]
fn memory_above_the_limit_refuses_growth_only() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("SET b 1"), "OK");
    assert_eq!(client.say("CONFIG SET maxmemory 1"), "OK");
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.";
    assert_eq!(client.say("SET b 2"), oom);
    assert_eq!(client.say("GET b"), "1");
    assert_eq!(client.say("DEL b"), "1");
    assert_eq!(client.say("SET b 2"), oom);
}
