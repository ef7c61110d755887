//! What replies wait for: copies, leases, confirmations.

use super::{FOREVER, Rig, pause};
use crate::clock;
use crate::data::link::{Answers, Config, FromData, Reads, ToData};
use cairn_logic::ids::{Epoch, Offset};
use std::time::Duration;

#[test]
fn a_write_is_answered_when_it_is_committed_and_not_before() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b 1");
    let batch = rig.batch();
    assert_eq!((batch.head.first, batch.head.count, batch.head.epoch), (Offset(1), 1, Epoch(1)));
    assert!(client.is_quiet());
    rig.link.commit(Offset(1));
    assert_eq!(client.say("PING"), "OK");
    assert_eq!(super::show(&client.reply()), "PONG");
}

#[test]
fn a_read_of_an_uncommitted_write_waits_and_another_does_not() {
    let mut rig = Rig::master();
    let (mut writer, mut reader) = (rig.client(), rig.client());
    writer.send("SET {b}x 1");
    rig.batch();
    reader.send("GET {b}x");
    assert!(reader.is_quiet());
    let mut other = rig.client();
    assert_eq!(other.say("GET {c}y"), "(nil)");
    rig.link.commit(Offset(1));
    assert_eq!(super::show(&reader.reply()), "1");
    assert_eq!(super::show(&writer.reply()), "OK");
}

#[test]
fn a_failed_condition_on_an_uncommitted_write_waits_too() {
    let mut rig = Rig::master();
    let (mut writer, mut other) = (rig.client(), rig.client());
    writer.send("SET b 1");
    rig.batch();
    other.send("SET b 2 NX");
    assert!(other.is_quiet());
    let mut counter = rig.client();
    counter.send("LPOP b");
    assert!(counter.is_quiet());
    rig.link.commit(Offset(1));
    assert_eq!(super::show(&other.reply()), "(nil)");
}

#[test]
fn commands_on_all_keys_wait_for_the_end_of_the_log() {
    let mut rig = Rig::master();
    let (mut writer, mut reader) = (rig.client(), rig.client());
    writer.send("SET b 1");
    rig.batch();
    reader.send("DBSIZE");
    assert!(reader.is_quiet());
    rig.link.commit(Offset(1));
    assert_eq!(super::show(&reader.reply()), "1");
}

#[test]
fn a_read_without_a_lease_waits_for_one() {
    let rig = Rig::master();
    let mut client = rig.client();
    assert_eq!(client.say("GET b"), "(nil)");
    rig.link.read_until(Some(clock::now()));
    client.send("GET b");
    assert!(client.is_quiet());
    rig.link.read_until(None);
    assert!(client.is_quiet());
    rig.link.read_until(Some(FOREVER));
    assert_eq!(super::show(&client.reply()), "(nil)");
}

#[test]
fn a_confirmed_read_waits_for_a_confirmation_asked_for_after_it_came() {
    let mut rig = Rig::master_with(Config::default(), Reads::Confirm, Answers::AtCommit);
    let (mut first, mut second) = (rig.client(), rig.client());
    first.send("GET b");
    let Some(FromData::NeedConfirm { token: one }) = rig.next() else { panic!("no token") };
    second.send("GET b");
    assert!(second.is_quiet());
    rig.link.send(ToData::ReadsConfirmed { token: one });
    assert_eq!(super::show(&first.reply()), "(nil)");
    let Some(FromData::NeedConfirm { token: two }) = rig.next() else { panic!("no token") };
    assert!(two > one);
    assert!(second.is_quiet());
    rig.link.send(ToData::ReadsConfirmed { token: two });
    assert_eq!(super::show(&second.reply()), "(nil)");
}

#[test]
fn a_write_without_copies_gets_noack_at_the_timeout() {
    let config = Config { ack_timeout: Duration::from_millis(80), ..Config::default() };
    let rig = Rig::master_with(config, Reads::Lease, Answers::AtCommit);
    let mut client = rig.client();
    assert!(client.say("SET b 1").starts_with("-NOACK "));
    // The write is in the log and may be read once it is committed after all.
    rig.link.commit(Offset(1));
    assert_eq!(client.say("GET b"), "1");
}

#[test]
fn a_read_that_cannot_be_proved_is_refused_at_the_timeout() {
    let config = Config { ack_timeout: Duration::from_millis(80), ..Config::default() };
    let rig = Rig::master_with(config, Reads::Lease, Answers::AtCommit);
    rig.link.read_until(None);
    assert!(rig.client().say("GET b").starts_with("-CLUSTERDOWN "));
}

#[test]
fn async_answers_at_append() {
    let mut rig = Rig::master_with(Config::default(), Reads::Lease, Answers::AtAppend);
    let mut client = rig.client();
    assert_eq!(client.say("SET b 1"), "OK");
    assert_eq!(client.say("GET b"), "1");
    assert_eq!(rig.batch().head.count, 1);
}

#[test]
fn the_commits_of_a_later_mastership_release_nothing_of_an_earlier_one() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b 1");
    rig.batch();
    rig.link.send(ToData::StepDown { epoch: Epoch(1) });
    rig.become_master(2, 2, Reads::Lease, Answers::AtCommit);
    rig.link.commit(Offset(9));
    rig.link.read_until(Some(FOREVER));
    assert!(super::show(&client.reply()).starts_with("-NOACK "));
}

#[test]
fn a_turn_is_one_batch_and_offsets_have_no_gaps() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    let mut frame = Vec::new();
    for _ in 0..10 {
        frame.extend_from_slice(b"*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n");
    }
    client.raw(&frame);
    let mut next = Offset(1);
    while next < Offset(11) {
        let head = rig.batch().head;
        assert_eq!(head.first, next);
        next = head.last_offset().next();
    }
    assert!(rig.appended.len() < 10, "{} batches for one write", rig.appended.len());
    rig.link.commit(Offset(10));
    let replies: Vec<String> = (0..10).map(|_| super::show(&client.reply())).collect();
    assert_eq!(replies.join(" "), "1 2 3 4 5 6 7 8 9 10");
}

#[test]
fn an_epoch_record_is_a_batch_of_its_own() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b 1");
    rig.commit_next();
    let record = bytes::Bytes::from_static(b"record");
    let (epoch, answers) = (Epoch(5), Answers::AtCommit);
    rig.link.send(ToData::OpenEpoch { epoch, record, answers });
    let head = rig.batch().head;
    assert!(head.opens_epoch && head.authority);
    assert_eq!((head.epoch, head.first, head.count), (Epoch(5), Offset(2), 1));
    client.send("SET b 2");
    let head = rig.batch().head;
    assert_eq!((head.epoch, head.first), (Epoch(5), Offset(3)));
    rig.link.commit(Offset(3));
    assert_eq!(super::show(&client.reply()), "OK");
    assert_eq!(super::show(&client.reply()), "OK");
}

#[test]
fn too_much_that_is_not_committed_stops_reading() {
    let config = Config { uncommitted_max_bytes: 1000, ..Config::default() };
    let mut rig = Rig::master_with(config, Reads::Lease, Answers::AtCommit);
    let mut client = rig.client();
    client.send(&format!("SET b {}", "x".repeat(2000)));
    let head = rig.batch().head;
    let mut other = rig.client();
    other.send("PING");
    assert!(other.is_quiet());
    rig.link.commit(head.last_offset());
    assert_eq!(super::show(&other.reply()), "PONG");
}

#[test]
fn wait_says_how_many_others_have_a_copy() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b 1");
    rig.commit_next();
    assert_eq!(super::show(&client.reply()), "OK");
    assert_eq!(client.say("WAIT 1 50"), "0");
    client.send("WAIT 2 0");
    rig.link.copies(&mut [Offset(1), Offset(0)]);
    assert!(client.is_quiet());
    rig.link.copies(&mut [Offset(1), Offset(1)]);
    assert_eq!(super::show(&client.reply()), "2");
    assert_eq!(client.say("WAIT 0 0"), "2");
    rig.link.committed_means(3);
    assert_eq!(client.say("WAIT 3 0"), "3");
}

#[test]
fn a_waiting_client_that_goes_away_is_forgotten() {
    let rig = Rig::master();
    let mut client = rig.client();
    client.send("WAIT 5 0");
    assert!(client.is_quiet());
    drop(client);
    let mut other = rig.client();
    for _ in 0..300 {
        if other.say("INFO clients").contains("connected_clients:1\r\n") {
            return;
        }
        pause(10);
    }
    panic!("it is still there");
}

#[test]
fn expired_keys_are_deleted_by_the_master_in_the_log() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b 1 PX 30");
    rig.commit_next();
    assert_eq!(super::show(&client.reply()), "OK");
    let deleted = rig.batch().head;
    assert_eq!((deleted.first, deleted.count), (Offset(2), 1));
    client.send("GET b");
    assert!(client.is_quiet());
    rig.link.commit(Offset(2));
    assert_eq!(super::show(&client.reply()), "(nil)");
}

#[test]
fn a_stop_answers_what_waits_and_says_when_it_is_done() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b 1");
    rig.batch();
    rig.link.send(ToData::Stop { within: Duration::from_secs(5) });
    pause(20);
    rig.link.commit(Offset(1));
    assert_eq!(super::show(&client.reply()), "OK");
    assert!(client.is_closed());
    assert!(matches!(rig.next(), Some(FromData::Stopped)));
}
