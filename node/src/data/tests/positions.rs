//! Master, replica, backup, and what happens when that changes.

use super::{FOREVER, Rig, routes, show};
use crate::data::link::{Answers, Config, FromData, Query, Reads, ToData};
use bytes::Bytes;
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{Epoch, Offset};
use cairn_logic::record::Role;
use cairn_logic::replication::Admission;

// Slots: a 15495, b 3300, c 7365, foo 12182, {b}… as b.
const ELSEWHERE: &str = "foo";
const NOBODYS: &str = "{kk}";

fn batch(first: u64, key: &str, value: &str) -> Batch {
    let mut source = Rig::master();
    let mut client = source.client();
    client.send(&format!("SET {key} {value}"));
    let made = source.batch();
    let head = BatchHead { first: Offset(first), ..made.head };
    Batch { head, body: made.body }
}

#[test]
fn keys_of_other_groups_are_sent_there() {
    let rig = Rig::master();
    let mut client = rig.client();
    assert_eq!(client.say(&format!("GET {ELSEWHERE}")), "-MOVED 12182 10.0.0.1:9");
    assert_eq!(client.say("MGET b foo"), "-CROSSSLOT Keys in request don't hash to the same slot");
    assert_eq!(client.say("MGET {b}1 {b}2"), "[(nil) (nil)]");
    for line in ["ZUNION 2 b foo", "ZINTERSTORE b 1 foo", "GEORADIUS b 1 1 1 m STORE foo"] {
        assert!(client.say(line).starts_with("-CROSSSLOT "), "{line}");
    }
    assert_eq!(client.say("ZMPOP 1 foo MIN"), "-MOVED 12182 10.0.0.1:9");
    assert_eq!(client.say("ZUNION 2 {b}1 {b}2"), "[]");
    assert_eq!(client.say("ZUNION 9 {b}1"), "-ERR syntax error");
    let slot = cairn_keyspace::slot_of(NOBODYS.as_bytes()).get();
    if slot >= 16_000 {
        assert_eq!(client.say(&format!("GET {NOBODYS}")), "-CLUSTERDOWN Hash slot not served");
    }
}

#[test]
fn a_replica_shows_what_was_applied_to_those_who_want_it() {
    let rig = Rig::replica(Role::Replica);
    rig.link.send(ToData::Apply(batch(1, "b", "old")));
    let mut client = rig.client();
    assert_eq!(client.say("GET b"), "-MOVED 3300 10.0.0.1:2");
    assert_eq!(client.say("READONLY"), "OK");
    assert_eq!(client.say("GET b"), "old");
    assert_eq!(client.say("SET b new"), "-MOVED 3300 10.0.0.1:2");
    assert_eq!(client.say("READWRITE"), "OK");
    assert_eq!(client.say("GET b"), "-MOVED 3300 10.0.0.1:2");
    assert!(client.say("FLUSHALL").starts_with("-READONLY "));
}

#[test]
fn a_backup_shows_nothing() {
    let rig = Rig::replica(Role::Backup);
    rig.link.send(ToData::Apply(batch(1, "b", "old")));
    let mut client = rig.client();
    assert_eq!(client.say("READONLY"), "OK");
    assert_eq!(client.say("GET b"), "-MOVED 3300 10.0.0.1:2");
    assert!(client.say("DBSIZE").starts_with("-CLUSTERDOWN"));
}

#[test]
fn a_replica_that_builds_its_state_says_so() {
    let rig = Rig::replica(Role::Replica);
    rig.link.send(ToData::Rebuild { load: 0 });
    let mut client = rig.client();
    assert_eq!(client.say("READONLY"), "OK");
    assert!(client.say("GET b").starts_with("-LOADING "));
    rig.link.send(ToData::Apply(batch(1, "b", "x")));
    rig.link.send(ToData::Loading(false));
    assert_eq!(client.say("GET b"), "x");
}

#[test]
fn a_batch_that_does_not_follow_is_told_and_hides_the_state() {
    let mut rig = Rig::replica(Role::Replica);
    rig.link.send(ToData::Apply(batch(3, "b", "x")));
    let Some(FromData::Gap { last, came }) = rig.next() else { panic!("no gap was told") };
    assert_eq!((last.offset, came), (Offset(0), Offset(3)));
    let mut client = rig.client();
    assert_eq!(client.say("READONLY"), "OK");
    assert!(client.say("GET b").starts_with("-LOADING "));
}

#[test]
fn a_master_without_enough_members_refuses_writes_and_shows_data() {
    let rig = Rig::master();
    rig.link.send(ToData::Admission(Admission::TooFewHeard));
    let mut client = rig.client();
    assert_eq!(client.say("SET b 1"), "-NOREPLICAS Not enough good replicas to write.");
    assert_eq!(client.say("GET b"), "(nil)");
}

#[test]
fn a_master_whose_members_are_in_too_few_zones_says_so() {
    let rig = Rig::master();
    rig.link.send(ToData::Admission(Admission::TooFewZones));
    let mut client = rig.client();
    let few = "-NOREPLICAS The group's members are in fewer zones than durability.zones.";
    assert_eq!(client.say("SET b 1"), few);
    assert_eq!(client.say("GET b"), "(nil)");
}

#[test]
fn a_new_master_lets_writes_wait_until_it_knows_whether_they_are_admitted() {
    let mut rig = Rig::follower(Config::default());
    rig.routes("a");
    rig.link.send(ToData::Loading(false));
    let mut client = rig.client();
    for (epoch, next) in [(1, 1), (2, 2)] {
        let (reads, answers) = (Reads::Lease, Answers::AtCommit);
        let (epoch, next) = (Epoch(epoch), Offset(next));
        rig.link.send(ToData::BecomeMaster { epoch, next, reads, answers });
        client.send("SET b 1");
        assert!(client.is_quiet());
        rig.link.send(ToData::Admission(Admission::Open));
        rig.commit_next();
        assert_eq!(show(&client.reply()), "OK");
        rig.link.send(ToData::StepDown { epoch });
        assert!(matches!(rig.next(), Some(FromData::SteppedDown { .. })));
    }
}

#[test]
fn a_write_during_a_handover_is_redirected_once_the_new_master_is_known() {
    let mut rig = Rig::master();
    rig.link.send(ToData::Admission(Admission::HandingOver));
    let mut client = rig.client();
    client.send("SET b 1");
    assert!(client.is_quiet());
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    assert!(matches!(rig.next(), Some(FromData::SteppedDown { .. })));
    assert!(client.is_quiet());
    rig.routes("b");
    assert_eq!(show(&client.reply()), "-MOVED 3300 10.0.0.1:2");
    assert!(rig.appended.is_empty());
}

#[test]
fn a_handover_that_is_called_off_lets_the_write_through() {
    let mut rig = Rig::master();
    rig.link.send(ToData::Admission(Admission::HandingOver));
    let mut client = rig.client();
    client.send("SET b 1");
    assert!(client.is_quiet());
    rig.link.send(ToData::Admission(Admission::Open));
    rig.commit_next();
    assert_eq!(show(&client.reply()), "OK");
}

#[test]
fn stepping_down_answers_writes_with_noack_and_redirects_held_reads() {
    let mut rig = Rig::master();
    let (mut writer, mut reader) = (rig.client(), rig.client());
    writer.send("SET b 1");
    rig.batch();
    reader.send("GET b");
    assert!(reader.is_quiet());
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    assert!(show(&writer.reply()).starts_with("-NOACK "));
    assert!(reader.is_quiet());
    rig.routes("b");
    assert_eq!(show(&reader.reply()), "-MOVED 3300 10.0.0.1:2");
    let Some(FromData::SteppedDown { last }) = rig.next() else { panic!("not told") };
    assert_eq!(last.offset, Offset(1));
}

#[test]
fn a_command_after_stepping_down_waits_for_the_new_master_but_not_for_ever() {
    let ack_timeout = std::time::Duration::from_millis(150);
    let config = Config { ack_timeout, ..Config::default() };
    let rig = Rig::master_with(config, Reads::Lease, Answers::AtCommit);
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    let mut client = rig.client();
    client.send("GET b");
    assert!(client.is_quiet());
    assert_eq!(show(&client.reply()), "-CLUSTERDOWN The cluster is down");
    assert_eq!(client.say("SET b 1"), "-CLUSTERDOWN The cluster is down");
}

#[test]
fn a_command_that_comes_before_mastership_does_waits_for_it() {
    let mut rig = Rig::replica(Role::Replica);
    let mut client = rig.client();
    rig.routes("a");
    client.send("GET b");
    assert!(client.is_quiet());
    rig.link.read_until(Some(FOREVER));
    rig.link.send(ToData::Admission(Admission::Open));
    let (epoch, next) = (Epoch(3), Offset(1));
    let answers = Answers::AtCommit;
    rig.link.send(ToData::BecomeMaster { epoch, next, reads: Reads::Lease, answers });
    assert_eq!(show(&client.reply()), "(nil)");
}

#[test]
fn an_early_deadline_and_admission_belong_to_the_mastership_that_follows() {
    let mut rig = Rig::replica(Role::Replica);
    rig.link.read_until(Some(FOREVER));
    rig.link.send(ToData::Admission(Admission::Open));
    let (epoch, next) = (Epoch(3), Offset(1));
    let answers = Answers::AtCommit;
    rig.link.send(ToData::BecomeMaster { epoch, next, reads: Reads::Lease, answers });
    let mut client = rig.client();
    assert_eq!(client.say("GET b"), "(nil)");
    client.send("SET b 1");
    rig.commit_next();
    assert_eq!(show(&client.reply()), "OK");
}

#[test]
fn an_uncommitted_tail_is_not_shown_after_stepping_down() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b dirty");
    rig.batch();
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    rig.routes("b");
    assert!(show(&client.reply()).starts_with("-NOACK "));
    assert_eq!(client.say("READONLY"), "OK");
    assert!(client.say("GET b").starts_with("-LOADING "));
    // What follows it is committed: so was the tail.
    rig.link.send(ToData::Apply(batch(2, "{b}2", "x")));
    assert_eq!(client.say("GET b"), "dirty");
}

#[test]
fn a_replica_that_becomes_master_goes_on_where_the_log_ended() {
    let mut rig = Rig::replica(Role::Replica);
    rig.link.send(ToData::Apply(batch(1, "b", "1")));
    rig.become_master(4, 3, Reads::Lease, Answers::AtCommit);
    rig.link.read_until(Some(FOREVER));
    rig.link.send(ToData::Routes(routes("a", Role::Replica)));
    let mut client = rig.client();
    client.send("INCR b");
    let head = rig.batch().head;
    assert_eq!((head.epoch, head.first), (Epoch(4), Offset(3)));
    rig.link.commit(Offset(3));
    assert_eq!(show(&client.reply()), "2");
}

#[test]
fn copies_have_equal_digests() {
    let mut master = Rig::master();
    let mut client = master.client();
    for n in 0..20 {
        client.send(&format!("SET {{b}}{n} {n}"));
    }
    client.send("EXPIRE {b}1 1000");
    client.send("DEL {b}2");
    let mut replica = Rig::replica(Role::Replica);
    while master.appended.last().is_none_or(|batch| batch.head.last_offset() < Offset(22)) {
        let batch = master.batch();
        replica.link.send(ToData::Apply(batch));
    }
    let ask = |rig: &mut Rig| {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        rig.link.send(ToData::Query(Query::Digest(sender)));
        receiver.blocking_recv().unwrap()
    };
    let (one, two) = (ask(&mut master), ask(&mut replica));
    assert_eq!(one, two);
    assert_eq!((one.applied, one.keys), (Offset(22), 19));
}

#[test]
fn an_epoch_record_is_applied_as_nothing() {
    let rig = Rig::replica(Role::Replica);
    let mut made = batch(1, "b", "1");
    made.body = Bytes::from_static(b"{\"epoch\":1}");
    made.head.opens_epoch = true;
    rig.link.send(ToData::Apply(made));
    rig.link.send(ToData::Apply(batch(2, "b", "2")));
    let mut client = rig.client();
    assert_eq!(client.say("READONLY"), "OK");
    assert_eq!(client.say("GET b"), "2");
}
