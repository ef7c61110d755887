//! A load generator for RESP servers that costs little itself: one thread, one epoll, requests
//! prepared once and only their keys rewritten.
//!
//! Each connection sends a batch of commands in one piece, waits for all answers, and sends the
//! next; so a batch is the pipeline. The same generator loads both sides of every comparison. Its
//! other half, [`open`], sends by the clock instead, whatever has been answered.

mod answers;
mod mix;
pub mod open;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::dice::Dice;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

pub use mix::Mix;
use mix::{KEY_DIGITS, template};
use wire::Wire;

/// How long a server may answer nothing at all.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Between two looks whether the load is to end.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Between two looks whether a connection may go on that has to wait for its turn.
const PACE_EVERY: Duration = Duration::from_millis(1);

/// What load to make.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub address: SocketAddr,
    /// How many connections.
    pub connections: usize,
    /// Commands per batch, the `WAIT` not counted.
    pub pipeline: usize,
    /// Which commands.
    pub mix: Mix,
    /// Keys are drawn from this many.
    pub keys: u64,
    /// Bytes per value.
    pub value_bytes: usize,
    /// If set, keys are not drawn: each is written once, and then the load ends.
    pub fill: bool,
    /// Batches begun per second at most, by all connections together; as many as are answered if
    /// not set.
    pub batches_per_second: Option<u64>,
}

/// What the connections saw while they were measured.
#[derive(Debug)]
pub struct Seen {
    /// Answers, those to `WAIT` not counted.
    pub answers: u64,
    /// Answers that were errors, and waits that no replica acknowledged.
    pub errors: u64,
    /// Time from sending a batch to its last answer, in microseconds.
    pub batch_us: Histogram<u64>,
    /// When the load began.
    pub began: Instant,
    /// Each batch, if [`Signals::tracing`] was set.
    pub samples: Vec<Sample>,
}

/// One batch: when its last answer came, since the load began, and how long that took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// In microseconds.
    pub at_us: u64,
    /// In microseconds.
    pub took_us: u32,
}

/// Tells a running load when to count and when to end.
#[derive(Debug, Default)]
pub struct Signals {
    /// Set while answers count.
    pub measuring: AtomicBool,
    /// Set while each batch is remembered that counts.
    pub tracing: AtomicBool,
    /// Set when the load is to end.
    pub stop: AtomicBool,
    /// Answers so far, counted or not.
    pub answers: AtomicU64,
}

/// Makes load until told to stop, or until everything is filled.
///
/// # Errors
/// If the server cannot be reached, closes a connection, talks no RESP, or falls silent.
pub fn run(load: &Load, signals: &Signals) -> Result<Seen> {
    let mut poll = Poll::new().context("cannot make an epoll")?;
    let mut connections = Vec::with_capacity(load.connections);
    for number in 0..load.connections {
        let mut connection = Connection::open(load, number)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(connection.wire.source(), Token(number), interest)?;
        connections.push(connection);
    }
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 256 << 10];
    let batch_us = Histogram::new_with_bounds(1, 60_000_000, 3)?;
    let (began, samples) = (Instant::now(), Vec::new());
    let mut seen = Seen { answers: 0, errors: 0, batch_us, began, samples };
    let mut next_key = 0;
    let mut turns = Turns::new(load);
    for connection in &mut connections {
        connection.begin(load, &mut next_key)?;
    }
    let mut heard = Instant::now();
    while !signals.stop.load(Ordering::Relaxed) {
        poll.poll(&mut events, Some(turns.look_every()))?;
        let measuring = signals.measuring.load(Ordering::Relaxed);
        for event in &events {
            let connection = &mut connections[event.token().0];
            if event.is_writable() {
                connection.wire.write(&connection.batch)?;
            }
            if !event.is_readable() {
                continue;
            }
            // Once each: a server that answers at once must not keep the others waiting here.
            let waited = connection.waits();
            while connection.waits() && connection.wire.read(&mut buffer)? {
                heard = Instant::now();
            }
            if connection.waits() || !waited {
                continue;
            }
            signals.answers.fetch_add(connection.commands, Ordering::Relaxed);
            if measuring {
                seen.note(connection, signals.tracing.load(Ordering::Relaxed));
            }
            turns.rested.push_back(event.token().0);
        }
        while let Some(number) = turns.next() {
            connections[number].begin(load, &mut next_key)?;
        }
        if load.fill && !connections.iter().any(Connection::waits) {
            break;
        }
        ensure!(heard.elapsed() < SILENCE_MAX, "{} fell silent", load.address);
    }
    Ok(seen)
}

/// Whose turn it is to send.
struct Turns {
    /// They have been answered and send nothing yet.
    rested: VecDeque<usize>,
    per_second: Option<u64>,
    /// How many may have begun, and have, since then.
    began: Instant,
    begun: u64,
}

impl Turns {
    fn new(load: &Load) -> Self {
        let (rested, per_second) = (VecDeque::new(), load.batches_per_second);
        Self { rested, per_second, began: Instant::now(), begun: 0 }
    }

    fn look_every(&self) -> Duration {
        if self.rested.is_empty() { LOOK_EVERY } else { PACE_EVERY }
    }

    /// The next one, if it is due. What a slow server left undone for longer than a moment is not
    /// made up for.
    fn next(&mut self) -> Option<usize> {
        if let Some(per_second) = self.per_second {
            if self.rested.is_empty() {
                return None;
            }
            let due = (self.began.elapsed().as_secs_f64() * per_second as f64) as u64;
            if self.begun >= due {
                return None;
            }
            self.begun = (self.begun + 1).max(due.saturating_sub(per_second / 100));
        }
        self.rested.pop_front()
    }
}

impl Seen {
    fn note(&mut self, connection: &Connection, trace: bool) {
        let now = Instant::now();
        let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let took_us = us(now - connection.sent);
        self.answers += connection.commands;
        self.errors += connection.wire.answers.errors;
        self.batch_us.saturating_record(took_us);
        if trace {
            let took_us = u32::try_from(took_us).unwrap_or(u32::MAX);
            self.samples.push(Sample { at_us: us(now - self.began), took_us });
        }
    }
}

struct Connection {
    wire: Wire,
    batch: Vec<u8>,
    /// Where in the batch the digits of each key are.
    keys: Vec<usize>,
    commands: u64,
    sent: Instant,
    dice: Dice,
}

impl Connection {
    fn open(load: &Load, number: usize) -> Result<Self> {
        let (batch, keys) = template(load);
        Ok(Self {
            wire: Wire::open(load.address, load.mix == Mix::SetWait)?,
            batch,
            keys,
            commands: 0,
            sent: Instant::now(),
            dice: Dice::new(u64::try_from(number).unwrap_or(0)),
        })
    }

    /// Writes new keys into the batch and sends it; does nothing if everything is filled.
    fn begin(&mut self, load: &Load, next_key: &mut u64) -> Result<()> {
        if load.fill && *next_key >= load.keys {
            return Ok(());
        }
        for &at in &self.keys {
            let key = if load.fill { *next_key % load.keys } else { self.dice.below(load.keys) };
            *next_key += 1;
            write_digits(&mut self.batch[at..at + KEY_DIGITS], key);
        }
        self.commands = u64::try_from(load.pipeline)?;
        self.sent = Instant::now();
        let answers = self.commands + u64::from(load.mix == Mix::SetWait);
        self.wire.begin(&self.batch, answers)
    }

    fn waits(&self) -> bool {
        self.wire.answers.waiting > 0
    }
}

fn write_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    const NOWHERE: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

    fn load(mix: Mix, pipeline: usize, address: SocketAddr) -> Load {
        Load {
            address,
            connections: 1,
            pipeline,
            mix,
            keys: 10,
            value_bytes: 3,
            fill: true,
            batches_per_second: None,
        }
    }

    /// Answers each batch with `answer`, in pieces of `piece` bytes, for as long as it is asked.
    fn serve(answer: &'static [u8], piece: usize) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            let mut heard = [0; 4096];
            while stream.read(&mut heard).unwrap_or(0) > 0 {
                answer.chunks(piece).for_each(|part| stream.write_all(part).unwrap());
            }
        });
        address
    }

    #[test]
    fn answers_are_counted_however_they_are_cut() {
        let answer = b"$3\r\na\n:\r\n$-1\r\n$0\r\n\r\n-ERR no\r\n+OK\r\n";
        for piece in 1..answer.len() {
            let signals = Signals::default();
            signals.measuring.store(true, Ordering::Relaxed);
            let seen = run(&load(Mix::Get, 5, serve(answer, piece)), &signals).unwrap();
            assert_eq!((seen.answers, seen.errors), (10, 2), "pieces of {piece}");
            assert_eq!(seen.batch_us.len(), 2);
        }
    }

    #[test]
    fn a_wait_without_replicas_is_an_error() {
        let signals = Signals::default();
        signals.measuring.store(true, Ordering::Relaxed);
        let seen = run(&load(Mix::SetWait, 1, serve(b"+OK\r\n:0\r\n", 4)), &signals).unwrap();
        assert_eq!((seen.answers, seen.errors), (10, 10));
    }

    #[test]
    fn a_number_is_no_error_where_nobody_waits() {
        let signals = Signals::default();
        signals.measuring.store(true, Ordering::Relaxed);
        let seen = run(&load(Mix::HashSet, 2, serve(b":0\r\n:1\r\n", 3)), &signals).unwrap();
        assert_eq!((seen.answers, seen.errors), (10, 0));
        let (batch, keys) = template(&load(Mix::SlotSet, 1, "127.0.0.1:1".parse().unwrap()));
        assert_eq!(batch, b"*3\r\n$3\r\nSET\r\n$16\r\n{s}:000000000000\r\n$3\r\nxxx\r\n");
        assert_eq!(&batch[keys[0] - 4..keys[0]], b"{s}:");
    }

    #[test]
    fn a_bounded_load_begins_no_more_than_it_may() {
        let mut turns = Turns { per_second: Some(100), ..Turns::new(&load(Mix::Set, 1, NOWHERE)) };
        turns.rested.extend(0..1000);
        let began = Instant::now();
        let mut begun = 0;
        while began.elapsed() < Duration::from_millis(60) {
            begun += usize::from(turns.next().is_some());
        }
        assert!((1..=7).contains(&begun), "{begun} in 60 ms");
        turns.per_second = None;
        assert_eq!(std::iter::from_fn(|| turns.next()).count(), 1000 - begun);
    }

    #[test]
    fn a_server_that_closes_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || drop(listener.accept()));
        assert!(run(&load(Mix::Get, 1, address), &Signals::default()).is_err());
    }
}
