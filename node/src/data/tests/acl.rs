//! Users: what each may do, wherever it asks for it, and what happens to its clients when that
//! changes.

use super::{Client, Committing, Rig, show};
use crate::data::link::{Config, FromData, ToData};
use cairn_resp::Reply;

const NO_GET: &str = "-NOPERM this user has no permissions to run the 'get' command";
const NO_KEY: &str = "-NOPERM this user has no permissions to access one of the keys used as \
    arguments";
const NO_CHANNEL: &str = "-NOPERM this user has no permissions to access one of the channels used \
    as arguments";

/// A client that has come in as `user`, who was given `rules` and needs no password.
fn user(rig: &Committing, rules: &str) -> Client {
    let set = format!("ACL SETUSER app on nopass {rules}");
    assert_eq!(rig.client().say(&set), "OK", "{rules}");
    let mut client = rig.client();
    assert_eq!(client.say("AUTH app x"), "OK");
    client
}

#[test]
fn commands_keys_and_channels_are_refused_to_those_who_may_not() {
    let rig = Committing::new();
    let mut app = user(&rig, "-@all +set +get +copy +client|id");
    assert_eq!(app.say("GET b"), NO_KEY);
    rig.client().say("ACL SETUSER app ~b %R~{b}r %W~{b}w");
    for (words, reply) in [
        ("GET b", "(nil)"),
        ("GET c", NO_KEY),
        ("SET {b}w 1", "OK"),
        ("SET {b}w 1 GET", NO_KEY),
        ("GET {b}w", NO_KEY),
        ("SET {b}r 1", NO_KEY),
        ("GET {b}r", "(nil)"),
        ("COPY {b}r {b}w", "0"),
        ("COPY {b}w {b}r", NO_KEY),
        ("DEL b", "-NOPERM this user has no permissions to run the 'del' command"),
        ("CLIENT LIST", "-NOPERM this user has no permissions to run the 'client|list' command"),
        ("PING", "-NOPERM this user has no permissions to run the 'ping' command"),
        ("ACL WHOAMI", "-NOPERM this user has no permissions to run the 'acl|whoami' command"),
        ("CLIENT NOTHING", "-ERR unknown subcommand 'NOTHING'. Try CLIENT HELP."),
    ] {
        assert_eq!(app.say(words), reply, "{words}");
    }
    assert!(matches!(app.ask("CLIENT ID"), Reply::Integer(_)));
    assert_eq!(app.say("RESET"), "RESET");
    assert_eq!(app.say("ACL WHOAMI"), "default");
}

#[test]
fn what_a_user_may_changes_at_once_for_those_who_are_in() {
    let rig = Committing::new();
    let mut app = user(&rig, "+@all allkeys allchannels");
    assert_eq!(app.say("GET b"), "(nil)");
    let mut admin = rig.client();
    assert_eq!(admin.say("ACL SETUSER app -get"), "OK");
    assert_eq!(app.say("GET b"), NO_GET);
    assert_eq!(admin.say("ACL SETUSER app +get resetkeys ~c"), "OK");
    assert_eq!(app.say("GET b"), NO_KEY);
    assert_eq!(admin.say("ACL SETUSER app allkeys"), "OK");
    assert_eq!(app.say("GET b"), "(nil)");
    assert!(admin.say("CLIENT LIST").contains(" user=app "));
}

#[test]
fn the_rules_of_the_default_user_hold_for_who_never_said_a_name() {
    let rig = Committing::new();
    let (mut first, mut admin) = (rig.client(), user(&rig, "+@all allkeys allchannels"));
    assert_eq!(first.say("GET b"), "(nil)");
    assert_eq!(admin.say("ACL SETUSER default -get"), "OK");
    assert_eq!(first.say("GET b"), NO_GET);
    assert_eq!(rig.client().say("GET b"), NO_GET);
    assert_eq!(admin.say("ACL SETUSER default reset +@all allkeys on >secret"), "OK");
    assert_eq!(first.say("GET b"), "(nil)", "it came in when no password was needed");
    let mut late = rig.client();
    assert_eq!(late.say("GET b"), "-NOAUTH Authentication required.");
    assert_eq!(late.say("AUTH secret"), "OK");
    assert_eq!(late.say("GET b"), "(nil)");
    assert_eq!(admin.say("ACL SETUSER default off"), "OK");
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    assert_eq!(rig.client().say("AUTH secret"), wrong);
    assert_eq!(late.say("GET b"), "(nil)", "who is in stays");
}

#[test]
fn clients_of_a_user_that_is_deleted_are_closed_and_the_one_that_did_it_is_answered() {
    let rig = Committing::new();
    let mut app = user(&rig, "+@all allkeys allchannels");
    let mut other = rig.client();
    assert_eq!(other.say("AUTH app x"), "OK");
    assert_eq!(app.say("ACL DELUSER app nobody"), "1");
    assert!(app.is_closed() && other.is_closed());
    let mut admin = rig.client();
    assert_eq!(admin.say("ACL DELUSER app"), "0");
    assert_eq!(admin.say("ACL DELUSER default"), "-ERR The 'default' user cannot be removed");
    assert_eq!(admin.say("ACL USERS"), "[default]");
}

#[test]
fn channels_are_heard_and_spoken_on_by_those_who_may() {
    let rig = Committing::new();
    let mut app = user(&rig, "+@all &news* &b");
    for (words, reply) in [
        ("PUBLISH news:1 x", "0"),
        ("PUBLISH other x", NO_CHANNEL),
        ("SPUBLISH b x", "0"),
        ("SPUBLISH d x", NO_CHANNEL),
        ("PSUBSCRIBE news:*", NO_CHANNEL),
        ("SUBSCRIBE news other", NO_CHANNEL),
        ("PSUBSCRIBE news*", "[psubscribe news* 1]"),
    ] {
        assert_eq!(app.say(words), reply, "{words}");
    }
    let mut admin = rig.client();
    assert_eq!(admin.say("ACL SETUSER app &more"), "OK");
    assert_eq!(app.say("PING"), "[pong ]", "it may still hear what it listens to");
    assert_eq!(admin.say("ACL SETUSER app resetchannels &more"), "OK");
    assert!(app.is_closed());
}

#[test]
fn a_command_that_waits_is_refused_when_its_user_may_no_more() {
    let rig = Committing::new();
    let mut app = user(&rig, "+@all allkeys");
    app.send("BLPOP b 0");
    assert!(app.is_quiet());
    assert_eq!(rig.client().say("ACL SETUSER app resetkeys ~c"), "OK");
    assert_eq!(show(&app.reply()), NO_KEY);
    assert_eq!(app.say("GET c"), "(nil)");
}

#[test]
fn a_transaction_is_judged_when_it_is_queued_and_again_when_it_is_executed() {
    let rig = Committing::new();
    let mut app = user(&rig, "+@all ~b");
    assert_eq!(app.say("MULTI"), "OK");
    assert_eq!(app.say("GET c"), NO_KEY);
    let aborted = "-EXECABORT Transaction discarded because of previous errors.";
    assert_eq!(app.say("EXEC"), aborted);
    for words in ["MULTI", "SET b 1", "GET b"] {
        app.say(words);
    }
    assert_eq!(rig.client().say("ACL SETUSER app -get"), "OK");
    let late = "-NOPERM ACLs rules changed between the moment the transaction was accumulated and \
                the EXEC call. This command is no longer allowed for the following reason: no \
                permission to execute the command or subcommand";
    assert_eq!(app.say("EXEC"), format!("[OK {late}]"));
    app.say("MULTI");
    assert!(app.say("ACL SETUSER x").starts_with("-ERR users cannot be changed inside"));
    assert_eq!(app.say("ACL WHOAMI"), "QUEUED");
    assert_eq!(app.say("EXEC"), aborted);
}

#[test]
fn a_script_may_what_its_user_may() {
    let rig = Committing::new();
    let mut app = user(&rig, "+@all -set ~b &news");
    let mut run = |text: &str| {
        let frame = format!("*3\r\n$4\r\nEVAL\r\n${}\r\n{text}\r\n$1\r\n0\r\n", text.len());
        app.raw(frame.as_bytes());
        show(&app.reply())
    };
    for (text, reply) in [
        ("return redis.pcall('get', 'b')", "(nil)"),
        ("return redis.pcall('set', 'b', '1')", "can't run this command or subcommand"),
        ("return redis.pcall('get', 'c')", "can't access at least one of the keys"),
        ("return redis.pcall('publish', 'x', '1')", "can't publish to the channel"),
        ("return redis.acl_check_cmd('get', 'b')", "1"),
        ("return redis.acl_check_cmd('set', 'b', '1')", "(nil)"),
        ("return redis.acl_check_cmd('nothing')", "Invalid command passed to redis.acl_check_cmd"),
        ("return redis.acl_check_cmd()", "Please specify at least one argument"),
    ] {
        let said = run(text);
        assert!(said.contains(reply), "{text}: {said}");
    }
}

#[test]
fn who_tracks_and_who_wants_no_replies_is_judged_too() {
    let rig = Committing::new();
    let mut app = user(&rig, "+@all ~b");
    app.ask("HELLO 3");
    assert_eq!(app.say("CLIENT TRACKING ON"), "OK");
    assert_eq!(app.say("GET b"), "(nil)");
    assert_eq!(app.say("GET c"), NO_KEY);
    app.send("CLIENT REPLY OFF");
    app.send("SET c 1");
    app.send("CLIENT REPLY ON");
    assert_eq!(show(&app.reply()), "OK");
    assert_eq!(rig.client().say("EXISTS c"), "0");
}

#[test]
fn refusals_and_wrong_passwords_are_kept_for_acl_log() {
    let rig = Committing::new();
    let mut app = user(&rig, "+@all -del ~b");
    for words in ["GET c", "GET c", "DEL b", "AUTH app2 y", "MULTI", "GET d", "DISCARD"] {
        app.say(words);
    }
    let mut admin = rig.client();
    let Reply::Array(entries) = admin.ask("ACL LOG") else { panic!("entries") };
    let texts: Vec<String> = entries.iter().map(show).collect();
    for (text, begin) in texts.iter().zip([
        "[count 1 reason key context multi object d username app age-seconds ",
        "[count 1 reason auth context toplevel object AUTH username app2 age-seconds ",
        "[count 1 reason command context toplevel object del username app age-seconds ",
        "[count 2 reason key context toplevel object c username app age-seconds ",
    ]) {
        assert!(text.starts_with(begin), "{text}");
        assert!(text.contains(" user=app "), "{text}");
    }
    assert_eq!(texts.len(), 4);
    assert_eq!(admin.say("ACL LOG 1").matches("[count").count(), 1);
    assert_eq!(admin.say("ACL LOG RESET"), "OK");
    assert_eq!(admin.say("ACL LOG"), "[]");
    assert_eq!(admin.say("CONFIG SET acllog-max-len 0"), "OK");
    app.say("GET c");
    assert_eq!(admin.say("ACL LOG"), "[]");
}

#[test]
fn passwords_of_the_resource_are_changed_there_and_rules_here() {
    let digest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
    let users = [("app".to_owned(), [digest.to_owned()].into())].into();
    let rig = Committing::with(Config {
        password_sha256: Some(digest.to_owned()),
        users,
        ..Config::default()
    });
    let mut admin = rig.client();
    assert_eq!(admin.say("AUTH secret"), "OK");
    for words in ["SETUSER app >x", "SETUSER app nopass", "SETUSER default reset", "DELUSER app"] {
        let said = admin.say(&format!("ACL {words}"));
        assert!(said.contains("spec.auth of the Keyspace"), "{words}: {said}");
    }
    assert_eq!(admin.say("ACL SETUSER app -@all +get resetkeys ~b"), "OK");
    let mut app = rig.client();
    assert_eq!(app.say("AUTH app secret"), "OK");
    assert_eq!(app.say("GET b"), "(nil)");
    assert_eq!(app.say("GET c"), NO_KEY);
    let line = format!("user app on #{digest} ~b resetchannels -@all +get");
    assert!(admin.say("ACL LIST").contains(&line), "{}", admin.say("ACL LIST"));
}

#[test]
fn a_change_waits_for_the_directory_and_says_why_it_fails() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("ACL SETUSER app on");
    let Some(FromData::ChangeUsers { token, .. }) = rig.next() else { panic!("a change") };
    assert!(client.is_quiet());
    assert_eq!(rig.client().say("ACL USERS"), "[default]", "nobody else waits");
    rig.link.send(ToData::UsersChanged { token, outcome: Err("ERR away".into()) });
    assert_eq!(show(&client.reply()), "-ERR away");
    client.send("ACL SETUSER app on");
    let Some(FromData::ChangeUsers { token, .. }) = rig.next() else { panic!("a change") };
    drop(client);
    let mut other = rig.client();
    assert_eq!(other.say("PING"), "PONG");
    rig.link.send(ToData::UsersChanged { token, outcome: Ok(0) });
    assert_eq!(other.say("PING"), "PONG");
}

#[test]
fn rules_that_are_wrong_change_nothing() {
    let rig = Committing::new();
    let mut client = rig.client();
    for (rules, why) in [
        ("on foo", "modifier 'foo': Syntax error"),
        ("on +nothing", "modifier '+nothing': Unknown command or category name in ACL"),
        ("on ~* ~b", "modifier '~b': Adding a pattern after the * pattern"),
        ("on (+get", "-ERR Unmatched parenthesis in acl selector starting at '(+get'."),
        ("on #12", "modifier '#12': The password hash must be exactly 64 characters"),
        ("on <none", "modifier '<none': The password you are trying to remove"),
        ("on +client|list|x", "Allowing first-arg of a subcommand is not supported"),
    ] {
        let said = client.say(&format!("ACL SETUSER app {rules}"));
        assert!(said.contains(why), "{rules}: {said}");
        assert_eq!(client.say("ACL GETUSER app"), "(nil)");
    }
}
