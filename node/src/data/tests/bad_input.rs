//! Hostile and broken clients: each gets a clear error or is closed, and nobody else notices.

use super::{Committing, Rig, show};
use crate::data::link::{Config, NoRoom, ToData};
use std::time::Duration;

/// Sends bytes and returns the error and whether the connection was closed after it.
fn told(bytes: &[u8]) -> (String, bool) {
    let rig = Committing::new();
    let mut client = rig.client();
    client.raw(bytes);
    let told = show(&client.reply());
    let closed = client.is_closed();
    assert_eq!(rig.client().say("PING"), "PONG");
    (told, closed)
}

#[test]
fn broken_frames_are_told_and_closed() {
    for (bytes, want) in [
        (&b"*9999999999999999\r\n"[..], "-ERR Protocol error: invalid multibulk length"),
        (b"*2000000\r\n", "-ERR Protocol error: invalid multibulk length"),
        (b"*1\r\n$-5\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$999999999999\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$600000000\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$33554433\r\n", "-ERR Protocol error: invalid bulk length"),
        (b"*1\r\n*1\r\n*1\r\n", "-ERR Protocol error: expected '$', got '*'"),
        (b"GET \"unbalanced\r\n", "-ERR Protocol error: unbalanced quotes in request"),
    ] {
        assert_eq!(told(bytes), (want.to_owned(), true), "{bytes:?}");
    }
}

#[test]
fn what_came_before_a_broken_frame_is_answered() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.raw(b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n1\r\n*1\r\n!");
    assert_eq!(show(&client.reply()), "PONG");
    assert_eq!(show(&client.reply()), "OK");
    assert_eq!(show(&client.reply()), "-ERR Protocol error: expected '$', got '!'");
    assert!(client.is_closed());
}

#[test]
fn random_bytes_never_stop_the_thread() {
    let rig = Committing::new();
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let mut client = rig.client();
        let mut junk = Vec::new();
        for _ in 0..64 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let starts = [b'*', b'$', b'\r', b'\n', b'1', b'0', b'-', (state >> 33) as u8];
            junk.push(starts[(state >> 50) as usize % starts.len()]);
        }
        client.raw(&junk);
    }
    assert_eq!(rig.client().say("PING"), "PONG");
}

#[test]
fn a_request_in_single_bytes_is_understood() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.stream.set_nodelay(true).unwrap();
    for byte in b"*2\r\n$4\r\nECHO\r\n$5\r\nhello\r\n" {
        client.raw(&[*byte]);
        super::pause(1);
    }
    assert_eq!(show(&client.reply()), "hello");
}

#[test]
fn a_large_value_goes_in_and_out() {
    let rig = Committing::new();
    let mut client = rig.client();
    let value = "x".repeat(5_000_000);
    assert_eq!(client.say(&format!("SET b {value}")), "OK");
    assert_eq!(client.say("GET b"), value);
    assert_eq!(client.say("STRLEN b"), "5000000");
}

#[test]
fn a_half_request_is_not_held_for_ever() {
    let half_request_max = Duration::from_millis(50);
    let rig = Committing::with(Config { half_request_max, ..Config::default() });
    let mut client = rig.client();
    client.raw(b"*2\r\n$3\r\nGET\r\n");
    assert!(client.is_closed());
}

#[test]
fn too_many_clients_are_told() {
    let rig = Committing::with(Config { clients_max: 2, ..Config::default() });
    let (mut one, mut two) = (rig.client(), rig.client());
    assert_eq!(one.say("PING"), "PONG");
    assert_eq!(two.say("PING"), "PONG");
    let mut three = rig.client();
    assert_eq!(show(&three.reply()), "-ERR max number of clients reached");
    assert!(three.is_closed());
    assert_eq!(one.say("PING"), "PONG");
}

#[test]
fn a_client_that_does_not_read_is_closed() {
    let output_buffer_max_bytes = 1 << 20;
    let rig = Committing::with(Config { output_buffer_max_bytes, ..Config::default() });
    let mut client = rig.client();
    assert_eq!(client.say(&format!("SET b {}", "x".repeat(100_000))), "OK");
    let mut frame = Vec::new();
    for _ in 0..500 {
        frame.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$1\r\nb\r\n");
    }
    client.raw(&frame);
    let mut other = rig.client();
    let gone = |list: &str| list.lines().count() == 1;
    for _ in 0..300 {
        if gone(&other.say("CLIENT LIST")) {
            return;
        }
        super::pause(10);
    }
    panic!("the slow reader is still there");
}

#[test]
fn unknown_commands_and_wrong_counts_are_told() {
    let rig = Committing::new();
    let mut client = rig.client();
    let unknown = "-ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' ";
    assert_eq!(client.say("NOSUCH a b"), unknown);
    assert_eq!(client.say("GET"), "-ERR wrong number of arguments for 'get' command");
    let text = "-ERR wrong number of arguments for 'client|setname' command";
    assert_eq!(client.say("CLIENT SETNAME"), text);
    assert_eq!(client.say("SET b 1 NOSUCH"), "-ERR syntax error");
    client.raw(b"\r\n\r\nPING\r\n");
    assert_eq!(show(&client.reply()), "PONG");
    client.raw(b"*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(show(&client.reply()), "PONG");
}

#[test]
fn a_client_that_closes_at_once_still_has_its_writes_done() {
    let rig = Committing::new();
    let mut client = rig.client();
    client.send("SET b 1");
    client.send("INCR b");
    drop(client);
    let mut other = rig.client();
    for _ in 0..200 {
        if other.say("GET b") == "2" {
            return;
        }
        super::pause(5);
    }
    panic!("the writes were dropped");
}

#[test]
fn texts_grow_up_to_the_longest_argument_and_no_further() {
    let rig = Committing::with(Config { value_max_bytes: 1000, ..Config::default() });
    let mut client = rig.client();
    assert_eq!(client.say("CONFIG GET proto-max-bulk-len"), "[proto-max-bulk-len 1000]");
    assert_eq!(client.say(&format!("SET b {}", "x".repeat(1000))), "OK");
    let text = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    assert_eq!(client.say("APPEND b x"), text);
    assert_eq!(client.say("SETRANGE b 1000 x"), text);
    assert_eq!(client.say("SETRANGE b 999 y"), "1000");
    let mut other = rig.client();
    other.raw(b"*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1001\r\n");
    assert_eq!(show(&other.reply()), "-ERR Protocol error: invalid bulk length");
    assert!(other.is_closed());
}

/// The largest transaction and the largest command each fit into a batch of the log.
#[test]
fn what_one_transaction_changes_fits_into_a_batch() {
    // A debug build on a busy machine takes its time for so much.
    let ack_timeout = Duration::from_secs(60);
    let rig = Committing::with(Config { ack_timeout, ..Config::default() });
    let mut client = rig.client();
    let value = "x".repeat(15 << 20);
    assert_eq!(client.say("MULTI"), "OK");
    assert_eq!(client.say(&format!("SET b {value}")), "QUEUED");
    assert_eq!(client.say(&format!("SET b {value}")), "QUEUED");
    let text = "-ERR the transaction is larger than 32 MiB, the log's limit";
    assert_eq!(client.say(&format!("SET b {value}")), text);
    assert!(client.say("EXEC").starts_with("-EXECABORT"));
    assert_eq!(client.say("GET b"), "(nil)");
    assert_eq!(client.say(&format!("MSET b {value} b {value}")), "OK");
    assert_eq!(client.say("STRLEN b"), value.len().to_string());
}

#[test]
fn with_a_low_disk_writes_are_refused_and_reads_go_on() {
    let mut rig = Rig::master();
    let mut client = rig.client();
    client.send("SET b 1");
    rig.commit_next();
    assert_eq!(show(&client.reply()), "OK");
    rig.link.send(ToData::NoRoom(Some(NoRoom::Disk)));
    for write in ["SET b 2", "DEL b", "EXPIRE b 10", "FLUSHALL"] {
        assert!(client.say(write).starts_with("-MISCONF "), "{write}");
    }
    assert_eq!(client.say("GET b"), "1");
    assert_eq!(client.say("MULTI"), "OK");
    assert!(client.say("SET b 3").starts_with("-MISCONF "));
    assert!(client.say("EXEC").starts_with("-EXECABORT"));
    rig.link.send(ToData::NoRoom(None));
    client.send("INCR b");
    rig.commit_next();
    assert_eq!(show(&client.reply()), "2");
}

#[test]
fn more_clients_than_there_are_files_are_refused_when_they_are_asked_for() {
    let rig = Committing::new();
    let mut client = rig.client();
    let room = crate::boot::clients_room();
    let text = client.say(&format!("CONFIG SET maxclients {}", u64::from(room) + 1));
    if room < u32::MAX {
        assert!(text.ends_with(&format!("number of clients, try with {room}")), "{text}");
    }
    assert_eq!(client.say(&format!("CONFIG SET maxclients {room}")), "OK");
    assert!(client.say("CONFIG SET maxclients 0").contains("between 1 and 4294967295"));
}
