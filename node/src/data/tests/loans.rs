//! Commands that take long are executed elsewhere: their clients, those of the same slot and those
//! who ask for all keys see what they would have seen; the others do not wait.

use super::*;

/// Items of a list that takes long to be sorted.
const ITEMS: usize = 40_000;

/// Fills the list `{b}l`, of a slot of this group, and the key `zap` of another one.
fn fill(client: &mut Client) {
    for from in (0..ITEMS).step_by(1000) {
        let items: Vec<String> = (from..from + 1000).map(|n| format!("i{n}")).collect();
        client.say(&format!("RPUSH {{b}}l {}", items.join(" ")));
    }
    client.say("SET zap other");
}

/// How many commands have been executed elsewhere.
fn done(client: &mut Client) -> u64 {
    count_of(client, "long_commands")
}

/// Waits until one is, or has been since `before` were.
pub(super) fn begun(client: &mut Client, before: u64) {
    while count_of(client, "long_commands_running") == 0 && done(client) == before {}
}

/// A figure of `INFO stats`.
fn count_of(client: &mut Client, name: &str) -> u64 {
    let stats = client.say("INFO stats");
    let value = stats.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.strip_prefix(':')?.trim().parse().ok()).expect("a figure")
}

#[test]
fn what_takes_long_is_answered_as_ever_and_small_commands_stay_where_they_are() {
    let rig = Committing::new();
    let mut client = rig.client();
    fill(&mut client);
    let before = done(&mut client);
    client.say("LRANGE {b}l 0 9");
    client.say("ZRANGE {b}z 0 -1");
    assert_eq!(done(&mut client), before);
    client.say("CONFIG SET slowlog-log-slower-than 0");
    assert_eq!(client.say("SORT {b}l ALPHA LIMIT 0 2"), "[i0 i1]");
    assert_eq!(client.say("CONFIG SET slowlog-log-slower-than -1"), "OK");
    assert!(client.say("SLOWLOG GET -1").contains("[SORT {b}l ALPHA LIMIT 0 2]"));
    assert_eq!(client.say("SORT {b}l ALPHA STORE {b}d"), ITEMS.to_string());
    assert_eq!(client.say("LINDEX {b}d -1"), "i9999");
    assert_eq!(client.say("COPY {b}l {b}d"), "0");
    assert_eq!(client.say("COPY {b}l {b}d REPLACE"), "1");
    assert!(client.say("SORT {b}l").starts_with("-ERR One or more scores"));
    let Reply::Bulk(payload) = client.ask("DUMP {b}l") else { panic!("a payload") };
    let head = format!("*4\r\n$7\r\nRESTORE\r\n$4\r\n{{b}}r\r\n$1\r\n0\r\n${}\r\n", payload.len());
    // Behind it, in one go, two commands of the same slot.
    let behind = b"\r\nLLEN {b}r\r\nLPOP {b}r\r\n";
    client.raw(&[head.as_bytes(), &payload, behind].concat());
    let replies = [(); 3].map(|()| show(&client.reply()));
    assert_eq!(replies, ["OK".to_owned(), ITEMS.to_string(), "i0".to_owned()]);
    let Reply::Array(items) = client.ask("LRANGE {b}l 0 -1") else { panic!("items") };
    assert_eq!(items.len(), ITEMS);
    assert_eq!(done(&mut client), before + 7);
    assert!(client.say("INFO commandstats").contains("cmdstat_dump:calls=1,"));
}

#[test]
fn others_go_on_and_those_of_the_slot_or_of_all_keys_wait() {
    let rig = Committing::new();
    let (mut long, mut other) = (rig.client(), rig.client());
    fill(&mut long);
    for _ in 0..5 {
        long.say("DEL {b}d");
        let mut all =
            ["DBSIZE", "LLEN {b}d", "EVAL return_redis.call('llen','{b}d') 1 {b}d"].map(|words| {
                let mut client = rig.client();
                assert_eq!(client.say("PING"), "PONG");
                (words, client)
            });
        let mut unit = rig.client();
        ["MULTI", "LLEN {b}d", "EXISTS {b}d"].iter().for_each(|words| drop(unit.say(words)));
        let before = done(&mut other);
        long.send("SORT {b}l ALPHA STORE {b}d");
        begun(&mut other, before);
        assert_eq!(other.say("GET zap"), "other");
        all.iter_mut().for_each(|(words, client)| {
            let parts: Vec<String> = words.split(' ').map(|word| word.replace('_', " ")).collect();
            let parts = parts.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
            let frame = format!("*{}\r\n{}", words.split(' ').count(), parts.collect::<String>());
            client.raw(frame.as_bytes());
        });
        unit.send("EXEC");
        assert_eq!(other.say("GET zap"), "other");
        assert_eq!(show(&long.reply()), ITEMS.to_string());
        let told = all.map(|(_, mut client)| show(&client.reply()));
        let items = ITEMS.to_string();
        assert_eq!(told, ["3".to_owned(), items.clone(), items]);
        assert_eq!(show(&unit.reply()), format!("[{ITEMS} 1]"));
    }
    assert!(done(&mut other) >= 5);
}

#[test]
fn a_client_that_goes_away_leaves_what_it_has_asked_for() {
    let rig = Committing::new();
    let (mut other, mut gone) = (rig.client(), rig.client());
    fill(&mut other);
    let before = done(&mut other);
    gone.send("COPY {b}l {b}d");
    begun(&mut other, before);
    drop(gone);
    // Whoever comes in its place is not told what it has asked for.
    let mut next = rig.client();
    assert_eq!(next.say("LLEN {b}d"), ITEMS.to_string());
    assert!(next.is_quiet());
    assert_eq!(other.say("RPUSH {b}d x"), (ITEMS + 1).to_string());
}

#[test]
fn who_waits_watches_or_tracks_hears_of_what_was_written_elsewhere() {
    let rig = Committing::new();
    let (mut long, mut waits, mut watches) = (rig.client(), rig.client(), rig.client());
    let mut tracks = rig.client();
    fill(&mut long);
    tracks.say("HELLO 3");
    tracks.say("CLIENT TRACKING on");
    tracks.say("LLEN {b}d");
    waits.send("BLPOP {b}d 0");
    watches.say("WATCH {b}d");
    watches.say("MULTI");
    watches.say("PING");
    assert!(waits.is_quiet());
    assert_eq!(long.say("SORT {b}l ALPHA STORE {b}d"), ITEMS.to_string());
    assert_eq!(show(&waits.reply()), "[{b}d i0]");
    assert_eq!(watches.say("EXEC"), "(nil)");
    assert!(show(&tracks.reply()).contains("invalidate"));
}

#[test]
fn a_change_of_mastership_waits_for_a_command_that_has_begun() {
    let mut rig = Rig::master();
    let (mut long, mut other) = (rig.client(), rig.client());
    for from in (0..ITEMS).step_by(1000) {
        let items: Vec<String> = (from..from + 1000).map(|n| format!("i{n}")).collect();
        long.send(&format!("RPUSH {{b}}l {}", items.join(" ")));
        rig.commit_next();
        long.reply();
    }
    let before = done(&mut other);
    long.send("SORT {b}l ALPHA STORE {b}d");
    begun(&mut other, before);
    // Mastership ends after it.
    rig.link.send(ToData::StepDown { epoch: Epoch(2) });
    let batch = rig.batch();
    let last = batch.head.last();
    match rig.next() {
        Some(FromData::SteppedDown { last: told }) => assert_eq!(told, last),
        other => panic!("{other:?}"),
    }
    assert!(show(&long.reply()).starts_with("-NOACK"), "nobody knows whether it stays");
    let mut copy = Keyspace::new(1);
    for batch in &rig.appended {
        assert_eq!(copy.apply(&batch.body, batch.head.first), Ok(batch.head.count));
    }
    assert_eq!(copy.len(), 2);
}

#[test]
fn at_a_replica_what_is_applied_waits_for_what_is_read() {
    let rig = Rig::replica(Role::Replica);
    let (mut long, mut other) = (rig.client(), rig.client());
    let mut next = 1;
    let mut apply = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        let mut batch = batch(&words);
        batch.head.first = Offset(next);
        next += u64::from(batch.head.count);
        rig.link.send(ToData::Apply(batch));
    };
    for from in (0..ITEMS).step_by(1000) {
        let items: Vec<String> = (from..from + 1000).map(|n| format!("i{n}")).collect();
        apply(&format!("RPUSH {{b}}l {}", items.join(" ")));
    }
    apply("SET {b}n 1");
    other.say("READONLY");
    long.say("READONLY");
    let before = done(&mut other);
    long.send("SORT_RO {b}l ALPHA");
    begun(&mut other, before);
    (0..20).for_each(|n| apply(&format!("RPUSH {{b}}l new{n}")));
    let Reply::Array(items) = long.reply() else { panic!("items") };
    assert_eq!(items.len(), ITEMS);
    for _ in 0..300 {
        if other.say("LLEN {b}l") == (ITEMS + 20).to_string() {
            return;
        }
    }
    panic!("what came meanwhile is never applied");
}

#[test]
fn a_long_pipeline_of_commands_lets_others_come_between() {
    let rig = Committing::new();
    let (mut long, mut other) = (rig.client(), rig.client());
    let items: Vec<String> = (0..2000).map(|n| format!("i{n}")).collect();
    long.say(&format!("RPUSH {{b}}l {}", items.join(" ")));
    long.say("CONFIG RESETSTAT");
    // Each takes less than is executed elsewhere, together they take long.
    long.raw(b"SORT {b}l ALPHA LIMIT 0 1\r\n".repeat(400).as_slice());
    assert_eq!(other.say("SET zap 1"), "OK");
    (0..400).for_each(|_| assert_eq!(show(&long.reply()), "[i0]"));
    assert_eq!(done(&mut long), 0);
}
