//! As many clients as are admitted: nearly all of them idle, then a thousand of them busy at once.

use crate::support::{World, connect, say};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const CLIENTS: usize = 10_000;
const BUSY: usize = 1000;
/// For so long they work.
const WORK: Duration = Duration::from_millis(1500);
/// The longest that one of them may wait for an answer, where compilers may run beside.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Of the node's own memory; what the kernel keeps for a socket is not in it.
const BYTES_PER_CLIENT_MAX: u64 = 4096;

#[test]
fn ten_thousand_idle_clients_cost_little_and_disturb_nobody() {
    // The nodes begin with little and take what they may have; so does this test afterwards.
    let allowed = open_files(|_| Some(1024));
    assert!(allowed > CLIENTS as u64 + 500, "the system allows {allowed} open files only");
    let world = World::up();
    open_files(|most| most);
    let master = world.master();
    let mut busy = connect(&master);
    assert_eq!(say(&mut busy, "SET n 0"), "OK");
    let rss = || {
        let nodes = world.cluster.status().expect("status").nodes;
        let node = nodes.iter().find(|node| node.id == master.id);
        node.and_then(|node| node.rss_bytes).expect("it answers")
    };
    let before = rss();
    let address = master.redis();
    let mut idle = Vec::new();
    let mut answers = Vec::new();
    while idle.len() < CLIENTS - 1 {
        idle.push(TcpStream::connect(&address).expect("it is admitted"));
        if idle.len().is_multiple_of(100) {
            answers.push(timed(&mut busy));
        }
    }
    world.eventually("all are connected", |_| {
        say(&mut busy, "INFO clients").contains(&format!("connected_clients:{CLIENTS}\r\n"))
    });
    let mut refused = TcpStream::connect(&address).expect("it listens");
    refused.set_read_timeout(Some(Duration::from_secs(10))).expect("a socket");
    let mut told = String::new();
    refused.read_to_string(&mut told).expect("it is told and closed");
    assert_eq!(told, "-ERR max number of clients reached\r\n");

    let connected: Vec<Duration> = (0..100).map(|_| timed(&mut busy)).collect();
    let after = rss();
    answers.extend(connected);
    answers.sort_unstable();
    let (p50, most) = (answers[answers.len() / 2], answers[answers.len() - 1]);
    let each = after.saturating_sub(before) / CLIENTS as u64;
    eprintln!(
        "{CLIENTS} clients: {:.1} MiB before, {:.1} MiB after, {each} B each; a busy client's \
         writes: p50 {p50:?}, max {most:?}",
        before as f64 / 1048576.0,
        after as f64 / 1048576.0,
    );
    assert!(each <= BYTES_PER_CLIENT_MAX, "{each} B for each client");
    assert!(most < Duration::from_secs(2), "a busy client waited {most:?}");
    all_are_served(idle.split_off(idle.len() - BUSY));
    drop(idle);
    world.eventually("they are forgotten", |_| {
        say(&mut busy, "INFO clients").contains("connected_clients:1\r\n")
    });
}

/// Sets the limit on open files; what the system allows at most.
fn open_files(wanted: impl Fn(Option<u64>) -> Option<u64>) -> u64 {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit { current: wanted(maximum), maximum };
    setrlimit(Resource::Nofile, limit).expect("what the system allows");
    maximum.unwrap_or(u64::MAX)
}

/// A thousand clients work at once, each as fast as it is answered; none is closed, none waits for
/// long, and each gets the answers to its own requests.
fn all_are_served(clients: Vec<TcpStream>) {
    let work = |(number, mut stream): (usize, TcpStream)| {
        stream.set_read_timeout(Some(WAIT_MAX)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        let (began, mut count, mut longest) = (Instant::now(), 0_u64, Duration::ZERO);
        while began.elapsed() < WORK {
            count += 1;
            let asked = Instant::now();
            write!(stream, "INCR busy:{number}\r\n").expect("it is not closed");
            let expected = format!(":{count}\r\n");
            let mut answer = vec![0; expected.len()];
            stream.read_exact(&mut answer).expect("it is served in time");
            assert_eq!(String::from_utf8_lossy(&answer), expected);
            longest = longest.max(asked.elapsed());
        }
        (count, longest)
    };
    let served: Vec<(u64, Duration)> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            clients.into_iter().enumerate().map(|one| scope.spawn(move || work(one))).collect();
        threads.into_iter().map(|thread| thread.join().expect("it was served")).collect()
    });
    let (least, longest) = (served.iter().min().expect("clients"), served.iter().map(|one| one.1));
    let all: u64 = served.iter().map(|one| one.0).sum();
    let longest = longest.max().expect("clients");
    eprintln!("{BUSY} busy clients: {all} answers, {} at least to each, {longest:?}", least.0);
    assert!(least.0 >= 1 && longest < WAIT_MAX, "one was starved: {least:?}, {longest:?}");
}

fn timed(client: &mut cairn_harness::client::Connection) -> Duration {
    let began = Instant::now();
    let answer = say(client, "INCR n");
    assert!(answer.parse::<u64>().is_ok(), "{answer}");
    began.elapsed()
}
