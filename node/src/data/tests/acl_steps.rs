//! Steps of several clients about users, each reply held byte by byte against that of redis-server
//! 7.0, in RESP2 and RESP3.
//!
//! `acl_steps.txt` has the replies. To hold it against a redis-server, or to write it anew:
//! `redis-server --port 7000 --save ""`, then `REDIS=127.0.0.1:7000 cargo test -p cairn-node --lib
//! acl_steps`, with `UPDATE_EXPECT=1` to write.

use super::{Client, Committing};
use cairn_resp::Reply;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/data/tests/acl_steps.txt");

/// One request, and the replies in RESP2 and RESP3.
struct Step {
    client: char,
    words: String,
    /// As redis-server replies.
    theirs: [String; 2],
    /// As we do, where that differs.
    ours: Option<[String; 2]>,
    /// Comments before it.
    before: String,
}

/// Reads the file: `a COMMAND …`, then `= ` and a reply, or `2 ` and `3 ` if they differ; `ours` in
/// front of those of ours that are others.
fn steps(text: &str) -> Vec<Step> {
    let (mut steps, mut before): (Vec<Step>, String) = (Vec::new(), String::new());
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            writeln!(before, "{line}").unwrap();
            continue;
        }
        let (line, is_ours) = match line.strip_prefix("ours ") {
            Some(rest) => (rest, true),
            None => (line, false),
        };
        let (head, rest) = line.split_at(1);
        let rest = rest.strip_prefix(' ').unwrap_or_default().to_owned();
        let places: &[usize] = match head {
            "=" => &[0, 1],
            "2" => &[0],
            "3" => &[1],
            client => {
                let client = client.chars().next().unwrap();
                let before = std::mem::take(&mut before);
                let theirs = Default::default();
                steps.push(Step { client, words: rest, theirs, ours: None, before });
                continue;
            }
        };
        let step = steps.last_mut().expect("a reply follows its request");
        let of = if is_ours { step.ours.get_or_insert_default() } else { &mut step.theirs };
        places.iter().for_each(|place| of[*place] = rest.clone());
    }
    steps
}

fn told(prefix: &str, [two, three]: &[String; 2], out: &mut String) {
    match two == three {
        true => writeln!(out, "{prefix}= {two}").unwrap(),
        false => writeln!(out, "{prefix}2 {two}\n{prefix}3 {three}").unwrap(),
    }
}

/// The bytes of a reply in one line; what differs from run to run is left out.
fn shown(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply);
    let mut lines: Vec<&str> = text.split("\r\n").collect();
    for at in 1..lines.len() {
        let is_client = lines[at].starts_with("id=");
        let is_age = lines[at - 1] == "age-seconds";
        if is_client {
            (lines[at - 1], lines[at]) = ("$?", "id=?");
        } else if is_age && lines[at].starts_with('$') {
            (lines[at], lines[at + 1]) = ("$?", "?");
        } else if is_age {
            lines[at] = ",?";
        }
    }
    lines.join("\\r\\n").replace('\n', "\\n")
}

/// The next reply as it comes; what a server says before it closes ends with `closed`.
fn raw_reply(client: &mut Client) -> Vec<u8> {
    client.stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    loop {
        if let Some((_, len)) = Reply::parse(&client.buf).unwrap() {
            return client.buf.drain(..len).collect();
        }
        let mut room = [0; 65536];
        match client.stream.read(&mut room) {
            Ok(0) => return b"closed".to_vec(),
            Ok(count) => client.buf.extend_from_slice(&room[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return b"closed".to_vec(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The replies of a server, all clients in one protocol.
fn run(address: SocketAddr, steps: &[Step], version: u8) -> Vec<String> {
    let mut clients: BTreeMap<char, Client> = BTreeMap::new();
    let open = || {
        let stream = TcpStream::connect(address).unwrap();
        let mut client = Client { stream, buf: Vec::new() };
        if version == 3 {
            client.send("HELLO 3");
            raw_reply(&mut client);
        }
        client
    };
    let reply = |step: &Step| {
        if step.words == "NEW" {
            clients.insert(step.client, open());
            return String::new();
        }
        let client = clients.entry(step.client).or_insert_with(open);
        if step.words == "HEARS" {
            return shown(&raw_reply(client));
        }
        client.send(&step.words);
        shown(&raw_reply(client))
    };
    steps.iter().map(reply).collect()
}

#[test]
fn replies_are_those_of_redis() {
    let mut steps = steps(&std::fs::read_to_string(FILE).unwrap());
    if let Ok(address) = std::env::var("REDIS") {
        let address: SocketAddr = address.parse().expect("REDIS is an address");
        for (place, version) in [2, 3].into_iter().enumerate() {
            let replies = run(address, &steps, version);
            for (step, reply) in steps.iter_mut().zip(replies) {
                if std::env::var_os("UPDATE_EXPECT").is_some() {
                    step.theirs[place] = reply;
                } else {
                    assert_eq!(reply, step.theirs[place], "redis says to {}", step.words);
                }
            }
        }
        let mut text = String::new();
        for step in &steps {
            write!(text, "{}", step.before).unwrap();
            writeln!(text, "{} {}", step.client, step.words).unwrap();
            if step.words != "NEW" {
                told("", &step.theirs, &mut text);
                step.ours.iter().for_each(|ours| told("ours ", ours, &mut text));
            }
        }
        std::fs::write(FILE, text).unwrap();
    }
    let mut wrong = String::new();
    for (place, version) in [2, 3].into_iter().enumerate() {
        let rig = Committing::new();
        let replies = run(rig.address, &steps, version);
        for (step, reply) in steps.iter().zip(replies) {
            let expected = &step.ours.as_ref().unwrap_or(&step.theirs)[place];
            if reply != *expected {
                let words = &step.words;
                writeln!(wrong, "RESP{version} {words}\n  is {reply}\n  not {expected}").unwrap();
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
