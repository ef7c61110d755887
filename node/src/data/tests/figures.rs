//! What monitoring reads: slow commands, spans, counts of commands and errors; and what is refused.

use super::{Committing, show};
use cairn_resp::Reply;

#[test]
fn slow_commands_are_kept_with_their_arguments() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("SLOWLOG LEN"), "0");
    assert_eq!(client.say("CONFIG SET slowlog-log-slower-than 0"), "OK");
    assert_eq!(client.say("CLIENT SETNAME me"), "OK");
    assert_eq!(client.say("SET b 1"), "OK");
    for words in ["MULTI", "GET b", "EXEC"] {
        client.say(words);
    }
    assert_eq!(client.say("CONFIG SET slowlog-log-slower-than -1"), "OK");
    let Reply::Array(entries) = client.ask("SLOWLOG GET -1") else { panic!("entries") };
    let commands: Vec<String> = entries
        .iter()
        .map(|entry| match entry {
            Reply::Array(parts) => {
                assert_eq!((parts.len(), show(&parts[5])), (6, "me".to_owned()));
                show(&parts[3])
            }
            other => panic!("{other:?}"),
        })
        .take(4)
        .collect();
    assert_eq!(commands[..3], ["[GET b]", "[MULTI]", "[SET b 1]"]);
    assert_eq!(client.say("SLOWLOG GET -2"), "-ERR count should be greater than or equal to -1");
    assert_eq!(client.say("SLOWLOG RESET"), "OK");
    assert_eq!(client.say("SLOWLOG LEN"), "0");
}

#[test]
fn commands_and_errors_are_counted() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.say("SET b 1");
    client.raw(b"GET b\r\nGET b\r\nLPUSH b 1\r\nGET foo\r\nNOSUCH\r\n");
    (0..5).for_each(|_| drop(client.reply()));
    let stats = client.say("INFO commandstats errorstats latencystats");
    let line = |name: &str| {
        let line = stats.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("no {name}: {stats}")).to_owned()
    };
    assert!(line("cmdstat_get:").contains("calls=2,"));
    assert!(line("cmdstat_get:").ends_with("rejected_calls=1,failed_calls=0"));
    assert!(line("cmdstat_lpush:").ends_with("rejected_calls=0,failed_calls=1"));
    assert!(line("latency_percentiles_usec_get:").contains("p99.9="));
    assert_eq!(line("errorstat_MOVED"), "errorstat_MOVED:count=1");
    assert_eq!(line("errorstat_WRONGTYPE"), "errorstat_WRONGTYPE:count=1");
    assert_eq!(line("errorstat_ERR"), "errorstat_ERR:count=1");
    assert!(!client.say("INFO").contains("cmdstat_"));
    let Reply::Array(parts) = client.ask("LATENCY HISTOGRAM get nosuch") else { panic!("pairs") };
    assert_eq!((parts.len(), show(&parts[0])), (2, "get".to_owned()));
    assert_eq!(client.say("CONFIG RESETSTAT"), "OK");
    assert!(!client.say("INFO commandstats").contains("cmdstat_get"));
}

#[test]
fn a_long_turn_is_counted_with_what_it_was_spent_on() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.say("CONFIG SET latency-monitor-threshold 1");
    client.say("CONFIG RESETSTAT");
    // As long a script as it takes to make a turn of 20 ms.
    let mut rounds = 1_000_000;
    while client.say("INFO stats").contains("\nlong_turns:0\r") {
        rounds *= 2;
        let text = format!("for_n=1,{rounds}_do_end");
        client.say(&format!("EVAL {} 0", text.replace('_', "\n").replace("for\n", "for\t")));
    }
    let stats = client.say("INFO stats");
    let longest = stats.lines().find_map(|line| line.strip_prefix("longest_turn_usec:"));
    assert!(longest.unwrap().trim().parse::<u64>().unwrap() >= 20_000);
    let events = client.say("LATENCY LATEST");
    assert!(events.contains("[turn ") && events.contains("[turn-commands "), "{events}");
}

#[test]
fn events_that_take_long_are_kept_once_asked_for() {
    let rig = Committing::new();
    let mut client = rig.client();
    assert_eq!(client.say("LATENCY LATEST"), "[]");
    assert!(client.say("LATENCY DOCTOR").starts_with("Nothing is watched"));
    assert_eq!(client.say("CONFIG SET latency-monitor-threshold 1"), "OK");
    client.say("RPUSH b x");
    // As long a walk as it takes until one of them needs a millisecond.
    let mut items = 1;
    while !client.say("LATENCY LATEST").contains("[command ") {
        items *= 2;
        let many = "LPUSH b ".to_owned() + &["y"; 500].join(" ");
        (0..items).for_each(|_| drop(client.say(&many)));
        client.say("LRANGE b 0 -1");
    }
    assert!(client.say("LATENCY HISTORY command").starts_with("[["));
    assert!(client.say("LATENCY DOCTOR").contains("command: "));
    assert_ne!(client.say("LATENCY RESET"), "0");
    assert_eq!(client.say("LATENCY HISTORY command"), "[]");
}

#[test]
fn commands_are_listed_and_their_keys_told() {
    let rig = Committing::new();
    let mut client = rig.client();
    for (words, want) in [
        ("COMMAND LIST FILTERBY PATTERN getr*", "[getrange]"),
        ("COMMAND LIST FILTERBY PATTERN config|*t", "[config|get config|resetstat config|set]"),
        ("COMMAND LIST FILTERBY ACLCAT nosuch", "[]"),
        ("COMMAND LIST FILTERBY MODULE x", "[]"),
        ("COMMAND LIST FILTERBY", "-ERR syntax error"),
        ("COMMAND GETKEYSANDFLAGS lpush a b", "[[a [RW insert]]]"),
        ("COMMAND GETKEYS blpop a b 0", "[a b]"),
        ("COMMAND GETKEYS blmpop 0 2 a b LEFT", "[a b]"),
        ("COMMAND GETKEYS ping x", "-ERR The command has no key arguments"),
        ("COMMAND GETKEYS get", "-ERR wrong number of arguments for 'command|getkeys' command"),
    ] {
        assert_eq!(client.say(words), want, "{words}");
    }
}

#[test]
fn a_client_is_told_of_with_its_figures_and_may_be_killed_for_its_age() {
    let rig = Committing::new();
    let (mut client, mut other) = (rig.client(), rig.client());
    client.say("CLIENT SETINFO LIB-NAME lettuce");
    client.say("RESET");
    client.say("PING");
    let line = client.say("CLIENT INFO");
    assert!(line.contains(" cmd=client|info "), "{line}");
    assert!(line.contains(" lib-name=lettuce "), "{line}");
    // What is in hand is not counted yet: its three before are.
    assert!(line.trim_end().ends_with(" tot-cmds=3"), "{line}");
    assert!(!line.contains(" tot-net-in=0 ") && !line.contains(" tot-net-out=0 "), "{line}");
    assert_eq!(other.say("PING"), "PONG");
    assert_eq!(client.say("CLIENT KILL MAXAGE 1000"), "0");
    assert_eq!(client.say("CLIENT KILL MAXAGE 0"), "-ERR maxage should be greater than 0");
    let refused = "-ERR maxage is not an integer or out of range";
    assert_eq!(client.say("CLIENT KILL MAXAGE old"), refused);
    assert_eq!(other.say("PING"), "PONG");
}

#[test]
fn values_that_another_thread_drops_are_counted() {
    let rig = Committing::new();
    let mut client = rig.client();
    let memory = |client: &mut super::Client| client.say("INFO memory");
    assert!(memory(&mut client).contains("lazyfreed_objects:0\r\n"));
    for part in 0..20 {
        let items: Vec<String> = (0..500).map(|n| format!("{part}-{n}-and-more")).collect();
        client.say(&format!("SADD b {}", items.join(" ")));
    }
    client.say("SET {b}small 1");
    assert_eq!(client.say("UNLINK b {b}small"), "2");
    while !memory(&mut client).contains("lazyfreed_objects:1\r\n") {
        super::pause(1);
    }
    assert!(memory(&mut client).contains("lazyfree_pending_objects:0\r\n"));
    client.say("CONFIG RESETSTAT");
    assert!(memory(&mut client).contains("lazyfreed_objects:0\r\n"));
}

#[test]
fn what_is_done_in_another_way_says_in_which() {
    let rig = Committing::new();
    let mut client = rig.client();
    for (words, want) in [
        ("REPLICAOF a 1", "REPLICAOF is not for clients of Cairn: the directory's record says"),
        ("SHUTDOWN", "SHUTDOWN is not for clients of Cairn: nodes are started and ended by"),
        ("BGSAVE", "BGSAVE is not for clients of Cairn: members write snapshots"),
        ("DEBUG SLEEP 1", "DEBUG is not for clients of Cairn: `cairn status`"),
    ] {
        let told = client.say(words);
        assert!(told.starts_with(&format!("-ERR {want}")), "{told}");
    }
    let wrong = "-ERR wrong number of arguments for 'replicaof' command";
    assert_eq!(client.say("REPLICAOF a"), wrong);
}
