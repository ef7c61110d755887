//! Commands that wait: who is served, in which order, what is logged, and how a wait ends.

use super::{Client, Committing, FOREVER, Rig, batch, pause, show};
use crate::data::link::{Answers, Reads, ToData};
use cairn_keyspace::Keyspace;
use cairn_logic::ids::{Epoch, Offset};
use std::time::{Duration, Instant};

/// Waits until so many clients are blocked.
fn blocked(client: &mut Client, count: usize) {
    let line = format!("blocked_clients:{count}\r\n");
    while !client.say("INFO clients").contains(&line) {
        pause(1);
    }
}

/// A client that waits, after `others` that wait already.
fn waiting(rig: &Committing, asking: &mut Client, others: usize, words: &str) -> Client {
    let mut client = rig.client();
    client.send(words);
    blocked(asking, others + 1);
    client
}

#[test]
fn what_is_there_is_taken_at_once() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.say("RPUSH {b}l 1 2 3 4 5 6");
    client.say("ZADD {b}z 1 a 2 b 3 c 4 d");
    for (words, want) in [
        ("BLPOP {b}x {b}l 0", "[{b}l 1]"),
        ("BRPOP {b}l 0", "[{b}l 6]"),
        ("BLMOVE {b}l {b}m LEFT RIGHT 0", "2"),
        ("BRPOPLPUSH {b}l {b}m 0", "5"),
        ("LRANGE {b}m 0 -1", "[5 2]"),
        ("BLMPOP 0 2 {b}x {b}l LEFT COUNT 5", "[{b}l [3 4]]"),
        ("BZPOPMIN {b}x {b}z 0", "[{b}z a 1]"),
        ("BZPOPMAX {b}z 0", "[{b}z d 4]"),
        ("BZMPOP 0 1 {b}z MAX COUNT 5", "[{b}z [[c 3] [b 2]]]"),
    ] {
        assert_eq!(client.say(words), want, "{words}");
    }
}

#[test]
fn wrong_words_are_refused_as_redis_does() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.say("SET b 1");
    let wrong_type = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    for (words, want) in [
        ("BLPOP b", "-ERR wrong number of arguments for 'blpop' command"),
        ("BLPOP b x", "-ERR timeout is not a float or out of range"),
        ("BLPOP b -1", "-ERR timeout is negative"),
        ("BLPOP b 1e300", "-ERR timeout is out of range"),
        ("BLPOP b 9223372036854000", "-ERR timeout is out of range"),
        ("BLPOP b 0", wrong_type),
        ("BZPOPMIN b 0", wrong_type),
        ("BLMPOP 0 0 b LEFT", "-ERR numkeys should be greater than 0"),
        ("BLMPOP 0 1 b UP", "-ERR syntax error"),
        ("BLMPOP 0 1 b LEFT COUNT 0", "-ERR count should be greater than 0"),
        ("BLMOVE b b UP LEFT 0", "-ERR syntax error"),
        ("BLPOP b foo 0", "-CROSSSLOT Keys in request don't hash to the same slot"),
        ("BLPOP foo 0", "-MOVED 12182 10.0.0.1:9"),
    ] {
        assert_eq!(client.say(words), want, "{words}");
    }
}

#[test]
fn who_came_first_is_served_first_and_by_one_push_all_it_is_enough_for() {
    let rig = Committing::new();
    let mut other = rig.client();
    let mut one = waiting(&rig, &mut other, 0, "BLPOP b 0");
    let mut two = waiting(&rig, &mut other, 1, "BRPOP b 0");
    let mut three = waiting(&rig, &mut other, 2, "BLPOP b 0");
    let mut sorted = waiting(&rig, &mut other, 3, "BZPOPMIN b 0");
    assert_eq!(other.say("RPUSH b x y"), "2");
    assert_eq!(show(&one.reply()), "[b x]");
    assert_eq!(show(&two.reply()), "[b y]");
    assert!(three.is_quiet() && sorted.is_quiet());
    assert_eq!(other.say("EXISTS b"), "0");
    assert_eq!(other.say("ZADD b 1 m"), "1");
    assert_eq!(show(&sorted.reply()), "[b m 1]");
    assert_eq!(other.say("RPUSH b z"), "1");
    assert_eq!(show(&three.reply()), "[b z]");
    blocked(&mut other, 0);
}

#[test]
fn readers_of_streams_wait_for_what_comes_behind() {
    let rig = Committing::new();
    let mut other = rig.client();
    other.say("XADD b 1-0 old x");
    other.say("XGROUP CREATE b g $");
    let mut reader = waiting(&rig, &mut other, 0, "XREAD BLOCK 0 STREAMS b $");
    let mut one = waiting(&rig, &mut other, 1, "XREADGROUP GROUP g one BLOCK 0 STREAMS b >");
    let mut two = waiting(&rig, &mut other, 2, "XREADGROUP GROUP g two BLOCK 0 STREAMS b >");
    assert_eq!(other.say("XADD b 2-0 new x"), "2-0");
    assert_eq!(show(&reader.reply()), "[[b [[2-0 [new x]]]]]");
    assert_eq!(show(&one.reply()), "[[b [[2-0 [new x]]]]]");
    assert!(two.is_quiet(), "each entry goes to one of a group");
    assert_eq!(other.say("XPENDING b g - + 9 one").matches("2-0").count(), 1);
    assert_eq!(other.say("XGROUP DESTROY b g"), "1");
    let gone = "-NOGROUP No such key 'b' or consumer group 'g' in XREADGROUP with GROUP option";
    assert_eq!(show(&two.reply()), gone);
    other.say("XGROUP CREATE b g $");
    let mut one = waiting(&rig, &mut other, 0, "XREADGROUP GROUP g one BLOCK 0 STREAMS b >");
    assert_eq!(other.say("DEL b"), "1");
    assert_eq!(show(&one.reply()), gone);
    other.say("XGROUP CREATE b g $ MKSTREAM");
    let mut one = waiting(&rig, &mut other, 0, "XREADGROUP GROUP g one BLOCK 0 STREAMS b >");
    assert_eq!(other.say("SET b 1"), "OK");
    assert!(show(&one.reply()).starts_with("-WRONGTYPE"));
    assert_eq!(other.say("DEL b"), "1");
    let mut late = rig.client();
    assert_eq!(late.say("XREAD BLOCK 1 STREAMS b $"), "(nil)");
    blocked(&mut other, 0);
}

#[test]
fn what_comes_and_goes_within_a_transaction_wakes_nobody() {
    let rig = Committing::new();
    let mut other = rig.client();
    let mut one = waiting(&rig, &mut other, 0, "BLPOP b 0");
    for words in ["MULTI", "RPUSH b x", "DEL b", "SET b 1"] {
        other.say(words);
    }
    assert_eq!(other.say("EXEC"), "[1 1 OK]");
    assert!(one.is_quiet());
    for words in ["DEL b", "MULTI", "RPUSH b 1", "LPUSH b 0", "BLPOP x{b} 0"] {
        other.say(words);
    }
    assert_eq!(other.say("EXEC"), "[1 2 (nil)]", "nothing waits inside of it");
    assert_eq!(show(&one.reply()), "[b 0]");
}

#[test]
fn values_that_come_in_other_ways_are_taken_too_and_one_served_may_serve_another() {
    let rig = Committing::new();
    let mut other = rig.client();
    let mut last = waiting(&rig, &mut other, 0, "BLPOP {b}to 0");
    let mut first = waiting(&rig, &mut other, 1, "BLMOVE {b}from {b}to LEFT LEFT 0");
    other.say("RPUSH {b}x item");
    assert_eq!(other.say("RENAME {b}x {b}from"), "OK");
    assert_eq!(show(&first.reply()), "item");
    assert_eq!(show(&last.reply()), "[{b}to item]");
    // A target of another type: the item stays where it is.
    let mut first = waiting(&rig, &mut other, 0, "BLMOVE {b}from {b}to LEFT LEFT 0");
    other.say("SET {b}to 1");
    assert_eq!(other.say("RPUSH {b}from item"), "1");
    assert!(show(&first.reply()).starts_with("-WRONGTYPE"));
    assert_eq!(other.say("LRANGE {b}from 0 -1"), "[item]");
}

#[test]
fn a_wait_ends_in_time_and_what_was_sent_behind_it_goes_on() {
    let rig = Committing::new();
    let mut client = rig.client();
    for (words, want) in [
        ("BLPOP b 0.02", "(nil)"),
        ("BLMOVE b b LEFT LEFT 0.02", "(nil)"),
        ("BZMPOP 0.02 1 b MIN", "(nil)"),
    ] {
        let began = Instant::now();
        client.send(words);
        client.send("PING");
        assert_eq!(show(&client.reply()), want, "{words}");
        assert!(began.elapsed() >= Duration::from_millis(20));
        assert_eq!(show(&client.reply()), "PONG");
    }
    // In vain is nothing where an array was possible, also for those that reply with an item.
    client.raw(b"BLMOVE b b LEFT LEFT 0.01\r\nPING\r\n");
    let mut room = [0; 12];
    std::io::Read::read_exact(&mut client.stream, &mut room).unwrap();
    assert_eq!(&room, b"*-1\r\n+PONG\r\n");
    assert!(client.say("INFO commandstats").contains("cmdstat_blpop:calls=1,"));
}

#[test]
fn the_log_holds_the_push_and_the_pop_and_the_reply_waits_for_the_pop() {
    let mut rig = Rig::master();
    let (mut one, mut other) = (rig.client(), rig.client());
    one.send("BLPOP b 0");
    blocked(&mut other, 1);
    other.send("RPUSH b x y");
    let batch = rig.batch();
    assert_eq!(batch.head.count, 2, "two entries of one batch");
    let mut replica = Keyspace::new(1);
    assert_eq!(replica.apply(&batch.body, batch.head.first), Ok(2));
    assert_eq!(replica.len(), 1, "one item was taken, the other is there");
    rig.link.commit(Offset(1));
    assert_eq!(show(&other.reply()), "2");
    assert!(one.is_quiet(), "the pop is not committed yet");
    rig.link.commit(Offset(2));
    assert_eq!(show(&one.reply()), "[b x]");
    assert_eq!(one.say("LLEN b"), "1");
}

#[test]
fn who_is_gone_takes_nothing() {
    let rig = Committing::new();
    let mut other = rig.client();
    let gone = waiting(&rig, &mut other, 0, "BLPOP b 0");
    drop(gone);
    blocked(&mut other, 0);
    assert_eq!(other.say("RPUSH b x"), "1");
    assert_eq!(other.say("LLEN b"), "1");
}

#[test]
fn a_client_is_unblocked_by_another() {
    let rig = Committing::new();
    let (mut one, mut other) = (rig.client(), rig.client());
    let id = one.say("CLIENT ID");
    assert_eq!(other.say(&format!("CLIENT UNBLOCK {id}")), "0");
    one.send("BLPOP b 0");
    blocked(&mut other, 1);
    assert!(other.say("CLIENT LIST").contains(" flags=b "));
    assert_eq!(other.say(&format!("CLIENT UNBLOCK {id}")), "1");
    assert_eq!(show(&one.reply()), "(nil)");
    one.send("BLPOP b 0");
    blocked(&mut other, 1);
    assert_eq!(other.say(&format!("CLIENT UNBLOCK {id} ERROR")), "1");
    assert_eq!(show(&one.reply()), "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    one.send("WAIT 5 0");
    blocked(&mut other, 1);
    assert_eq!(other.say(&format!("CLIENT UNBLOCK {id} TIMEOUT")), "1");
    assert_ne!(show(&one.reply()), "5");
    let text = "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR";
    assert_eq!(other.say(&format!("CLIENT UNBLOCK {id} NOW")), text);
}

#[test]
fn at_a_failover_those_who_wait_are_sent_to_the_new_master() {
    let mut rig = Rig::master();
    let (mut one, mut other) = (rig.client(), rig.client());
    one.send("BLPOP b 0");
    blocked(&mut other, 1);
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    assert!(one.is_quiet(), "who is master now is not known yet");
    rig.routes("b");
    assert_eq!(show(&one.reply()), "-MOVED 3300 10.0.0.1:2");
}

#[test]
fn who_waits_through_a_short_loss_of_mastership_is_served_by_what_came_meanwhile() {
    let mut rig = Rig::master();
    let (mut one, mut other) = (rig.client(), rig.client());
    one.send("BLPOP b 0");
    blocked(&mut other, 1);
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    rig.become_master(3, 2, Reads::Lease, Answers::AtCommit);
    rig.link.read_until(Some(FOREVER));
    other.send("RPUSH b x");
    let head = loop {
        if let Some(crate::data::link::FromData::Appended(batch)) = rig.next() {
            break batch.head;
        }
    };
    rig.link.commit(head.last_offset());
    assert_eq!(show(&other.reply()), "1");
    assert_eq!(show(&one.reply()), "[b x]");
}

#[test]
fn what_a_short_mastership_took_for_a_client_is_not_acknowledged_by_the_next_one() {
    let mut rig = Rig::master();
    let (mut one, mut other) = (rig.client(), rig.client());
    one.send("BLPOP b 0");
    blocked(&mut other, 1);
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    rig.link.send(ToData::Apply(batch(&["RPUSH", "b", "x"])));
    // The item came while another was master: it is taken, and mastership ends at once.
    rig.become_master(3, 2, Reads::Lease, Answers::AtCommit);
    rig.link.send(ToData::StepDown { epoch: Epoch(3) });
    assert!(show(&one.reply()).starts_with("-NOACK the master changed"));
}

#[test]
fn a_pause_keeps_writes_or_everything_for_later() {
    let rig = Committing::new();
    let (mut one, mut other) = (rig.client(), rig.client());
    assert_eq!(other.say("CLIENT PAUSE 60000 WRITE"), "OK");
    assert_eq!(one.say("GET b"), "(nil)");
    // Scripts that say that they change nothing are reads.
    let reads = "EVAL #!lua\tflags=no-writes\nreturn\t7 0";
    assert_eq!(one.say(reads), "7");
    assert_eq!([one.say("MULTI"), one.say(reads), one.say("EXEC")], ["OK", "QUEUED", "[7]"]);
    one.send("EVAL return\t8 0");
    assert!(one.is_quiet());
    other.say("CLIENT UNPAUSE");
    assert_eq!(show(&one.reply()), "8");
    assert_eq!(other.say("CLIENT PAUSE 60000 WRITE"), "OK");
    one.send("SET b 1");
    assert!(one.is_quiet());
    assert_eq!(other.say("CLIENT UNPAUSE"), "OK");
    assert_eq!(show(&one.reply()), "OK");
    assert_eq!(other.say("CLIENT PAUSE 80"), "OK");
    let began = Instant::now();
    assert_eq!(one.say("GET b"), "1");
    assert!(began.elapsed() >= Duration::from_millis(70));
    for (words, want) in [
        ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range"),
        ("CLIENT PAUSE -1", "-ERR timeout is negative"),
        ("CLIENT PAUSE 1 SOME", "-ERR CLIENT PAUSE mode must be WRITE or ALL"),
    ] {
        assert_eq!(one.say(words), want);
    }
}
