//! The client against nodes that answer from a script.

use std::io::BufReader;
use std::io::Write;
use std::net::TcpListener;
use std::thread::{JoinHandle, spawn};

use super::*;

/// A node that gives one canned answer to each command and notes the commands.
///
/// An empty answer closes the connection instead. `{me}` stands for the node's own address.
fn node(listener: TcpListener, answers: Vec<String>) -> JoinHandle<Vec<String>> {
    spawn(move || {
        let me = listener.local_addr().unwrap().to_string();
        let mut answers = answers.into_iter().peekable();
        let mut heard = Vec::new();
        while answers.peek().is_some() {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while let Ok(command) = Frame::read(&mut reader) {
                let words = command.elements().unwrap().iter().map(|part| part.text().unwrap());
                heard.push(words.collect::<Vec<_>>().join(" "));
                match answers.next() {
                    Some(answer) if !answer.is_empty() => {
                        stream.write_all(answer.replace("{me}", &me).as_bytes()).unwrap();
                    }
                    _ => break,
                }
            }
        }
        heard
    })
}

fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// `CLUSTER SLOTS` of a cluster with one node.
fn slots(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let length = host.len();
    format!("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n${length}\r\n{host}\r\n:{port}\r\n$1\r\nx\r\n")
}

fn client(seed: &str) -> Client {
    let patience = Patience { answer: Duration::from_millis(500), ..Patience::default() };
    Client::new(&[seed.to_owned()], patience)
}

/// The outcome of `INCR k` when the node answers it with `answer`.
fn outcome(answer: &str) -> Answer {
    let (listener, address) = listen();
    let thread = node(listener, vec![slots(&address), answer.to_owned()]);
    let mut client = client(&address);
    let answer = client.call("k", &[b"INCR", b"k"]);
    client.disconnect();
    drop(thread);
    answer
}

#[test]
fn what_was_refused_is_told_from_what_is_not_known() {
    assert_eq!(outcome(":1\r\n"), Answer::Reply(Frame::Integer(1)));
    let refused = "NOREPLICAS Not enough good replicas to write.";
    assert_eq!(outcome(&format!("-{refused}\r\n")), Answer::Failed(refused.into()));
    let open = "NOACK not acknowledged in time";
    assert_eq!(outcome(&format!("-{open}\r\n")), Answer::Unknown(open.into()));
    assert!(matches!(outcome(""), Answer::Unknown(_)));
    assert!(matches!(outcome("?"), Answer::Unknown(_)));
}

#[test]
fn nobody_listening_is_a_failure() {
    let (listener, address) = listen();
    drop(listener);
    assert!(matches!(client(&address).call("k", &[b"GET", b"k"]), Answer::Failed(_)));
}

#[test]
fn a_client_goes_where_it_is_sent() {
    let (first, first_address) = listen();
    let (second, second_address) = listen();
    let moved = format!("-MOVED 12706 {second_address}\r\n");
    let first = node(first, vec![slots(&first_address), moved]);
    let second = node(second, vec![":1\r\n".into(), ":2\r\n".into()]);
    let mut client = client(&first_address);
    assert_eq!(client.call("k", &[b"INCR", b"k"]), Answer::Reply(Frame::Integer(1)));
    assert_eq!(client.call("k", &[b"INCR", b"k"]), Answer::Reply(Frame::Integer(2)));
    client.disconnect();
    assert_eq!(first.join().unwrap(), ["CLUSTER SLOTS", "INCR k"]);
    assert_eq!(second.join().unwrap(), ["INCR k", "INCR k"]);
}

#[test]
fn a_client_asks_once_where_it_is_told_to() {
    let (first, first_address) = listen();
    let (second, second_address) = listen();
    let ask = format!("-ASK 12706 {second_address}\r\n");
    let first = node(first, vec![slots(&first_address), ask, ":2\r\n".into()]);
    let second = node(second, vec!["+OK\r\n".into(), ":1\r\n".into()]);
    let mut client = client(&first_address);
    assert_eq!(client.call("k", &[b"INCR", b"k"]), Answer::Reply(Frame::Integer(1)));
    assert_eq!(client.call("k", &[b"INCR", b"k"]), Answer::Reply(Frame::Integer(2)));
    client.disconnect();
    assert_eq!(first.join().unwrap(), ["CLUSTER SLOTS", "INCR k", "INCR k"]);
    assert_eq!(second.join().unwrap(), ["ASKING", "INCR k"]);
}

#[test]
fn each_command_asks_but_a_transaction_asks_once() {
    let asked = |commands: &[&[&[u8]]], answers: &[&str]| {
        let (first, first_address) = listen();
        let (second, second_address) = listen();
        let ask = format!("-ASK 12706 {second_address}\r\n");
        let asks = commands.iter().map(|_| ask.clone());
        let first = node(first, std::iter::once(slots(&first_address)).chain(asks).collect());
        let second = node(second, answers.iter().map(|it| (*it).to_owned()).collect());
        let mut client = client(&first_address);
        let (_, answer) = client.call_all("k", commands);
        client.disconnect();
        first.join().unwrap();
        (answer, second.join().unwrap())
    };
    let (watch, get): (&[&[u8]], &[&[u8]]) = (&[b"WATCH", b"k"], &[b"GET", b"k"]);
    let (answer, heard) = asked(&[watch, get], &["+OK\r\n", "+OK\r\n", "+OK\r\n", ":7\r\n"]);
    assert_eq!(answer, Answer::Reply(Frame::Integer(7)));
    assert_eq!(heard, ["ASKING", "WATCH k", "ASKING", "GET k"]);
    let (_, heard) =
        asked(&[&[b"MULTI"], get, &[b"EXEC"]], &["+OK\r\n", "+OK\r\n", "+QUEUED\r\n", "*0\r\n"]);
    assert_eq!(heard, ["ASKING", "MULTI", "GET k", "EXEC"]);
}

#[test]
fn a_transaction_that_is_held_open_ends_where_it_began() {
    let open = |answers: &[&str]| {
        let (listener, address) = listen();
        let all = std::iter::once(slots(&address)).chain(answers.iter().map(|it| (*it).to_owned()));
        let thread = node(listener, all.collect());
        let mut client = client(&address);
        let commands: &[&[&[u8]]] = &[&[b"MULTI"], &[b"INCR", b"k"], &[b"EXEC"]];
        let answer = client.call_open("k", commands, Duration::from_millis(1));
        client.disconnect();
        (answer, thread.join().unwrap())
    };
    let (answer, heard) = open(&["+OK\r\n", "+QUEUED\r\n", "*1\r\n:1\r\n"]);
    assert_eq!(answer, Answer::Reply(Frame::Array(vec![Frame::Integer(1)])));
    assert_eq!(heard, ["CLUSTER SLOTS", "MULTI", "INCR k", "EXEC"]);
    let (answer, _) = open(&["+OK\r\n", "+QUEUED\r\n", "-MOVED 12706 b:1\r\n"]);
    assert_eq!(answer, Answer::Failed("the slot has moved".into()));
    let (answer, heard) = open(&["+OK\r\n", "-TRYAGAIN the slot moves\r\n"]);
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    assert_eq!(heard.len(), 3, "nothing is executed: {heard:?}");
    let (answer, _) = open(&["+OK\r\n", "+QUEUED\r\n", ""]);
    assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
}
