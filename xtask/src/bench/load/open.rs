//! An open load: requests are due by the clock, whatever has been answered, and what a client waits
//! for counts from the moment its request was due. A server that stands still for a second makes
//! all that was due in it late, not one request of each connection.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::clock::wait;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token, Waker};

use super::SILENCE_MAX;
use super::wire::Wire;

/// Requests are due at such steps of the clock.
const TICK: Duration = Duration::from_millis(1);
/// For answers after the last request was due.
const DRAIN_MAX: Duration = Duration::from_secs(15);
/// Times above this count as this, in microseconds.
pub const LONGEST_US: u64 = 120_000_000;
/// Different errors that are told apart, and connections that may break.
const ERRORS_MAX: usize = 32;
const BREAKS_MAX: u64 = 5000;

/// Where the requests come from.
pub trait Requests {
    /// How many kinds of them there are.
    fn kinds(&self) -> usize;
    /// Writes the next one into `out`, which is empty.
    fn next(&mut self, out: &mut Vec<u8>) -> Request;
}

/// A request that is about to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Which of the kinds.
    pub kind: usize,
    /// How many answers it gets.
    pub answers: u64,
}

/// What load to make.
#[derive(Debug, Clone, Copy)]
pub struct Open {
    /// The server.
    pub address: SocketAddr,
    /// How many connections, who take turns.
    pub connections: usize,
    /// Requests due per second, by all connections together.
    pub per_second: u64,
    /// What is due before this does not count.
    pub warm_up: Duration,
    /// What is due in this time afterwards does.
    pub time: Duration,
}

/// What the clients saw.
#[derive(Debug)]
pub struct Outcome {
    /// By kind: from when a request was due to its last answer, in microseconds.
    pub kinds: Vec<Histogram<u64>>,
    /// For each second: the longest time of those that were due in it, in microseconds.
    pub worst_us: Vec<u64>,
    /// Texts of errors and how often each came; broken connections among them.
    pub errors: BTreeMap<String, u64>,
    /// Of the client that was answered least: how many requests.
    pub least: u64,
    /// Requests that were due and have no answer.
    pub unanswered: u64,
    /// From the first moment that counts until the last answer.
    pub took: Duration,
}

struct Client {
    wire: Wire,
    batch: Vec<u8>,
    /// The kind of what it waits for, and when that was due.
    asked: Option<(usize, Instant)>,
    /// When those were due that still have to be sent.
    queue: VecDeque<Instant>,
    answered: u64,
    /// Whether it is among those to be read.
    ready: bool,
}

struct Running<'a> {
    open: &'a Open,
    poll: Poll,
    clients: Vec<Client>,
    ready: VecDeque<usize>,
    began: Instant,
    /// How many requests were due so far, and how many of them are neither answered nor lost.
    due: u64,
    left: u64,
    heard: Instant,
    breaks: u64,
    outcome: Outcome,
}

/// Makes the load; ends early if `stop` is set.
///
/// # Errors
/// If the server cannot be reached, talks no RESP, falls silent, or closes too many connections.
pub fn run(open: &Open, requests: &mut impl Requests, stop: &AtomicBool) -> Result<Outcome> {
    const WAKER: Token = Token(usize::MAX - 1);
    let mut running = Running::begin(open, requests.kinds())?;
    let waker = Waker::new(running.poll.registry(), WAKER).context("cannot make a waker")?;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = SetAtEnd(&over);
        // A poll waits for whole milliseconds, and rounds up.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                wait(TICK);
                let _ = waker.wake();
            }
        });
        running.go(requests, stop)
    })?;
    Ok(running.finish())
}

/// Sets a flag when it is dropped, also if something panics: others wait for it.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<'a> Running<'a> {
    fn begin(open: &'a Open, kinds: usize) -> Result<Self> {
        ensure!(open.per_second > 0 && open.connections > 0, "no load is asked for");
        let poll = Poll::new().context("cannot make an epoll")?;
        let histogram = || Histogram::new_with_bounds(1, LONGEST_US, 3);
        let outcome = Outcome {
            kinds: (0..kinds).map(|_| histogram()).collect::<Result<_, _>>()?,
            worst_us: Vec::new(),
            errors: BTreeMap::new(),
            least: 0,
            unanswered: 0,
            took: Duration::ZERO,
        };
        let now = Instant::now();
        let mut running = Self {
            open,
            poll,
            clients: Vec::with_capacity(open.connections),
            ready: VecDeque::new(),
            began: now,
            due: 0,
            left: 0,
            heard: now,
            breaks: 0,
            outcome,
        };
        for number in 0..open.connections {
            let wire = running.connect(number)?;
            let (batch, queue) = (Vec::new(), VecDeque::new());
            running.clients.push(Client {
                wire,
                batch,
                asked: None,
                queue,
                answered: 0,
                ready: false,
            });
        }
        (running.began, running.heard) = (Instant::now(), Instant::now());
        Ok(running)
    }

    fn connect(&self, number: usize) -> Result<Wire> {
        let mut wire = Wire::open(self.open.address, false)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(wire.source(), Token(number), interest)?;
        Ok(wire)
    }

    fn go(&mut self, requests: &mut impl Requests, stop: &AtomicBool) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; 256 << 10];
        let end = self.open.warm_up + self.open.time;
        while !stop.load(Ordering::Relaxed) {
            let patience = if self.ready.is_empty() { TICK * 100 } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(patience)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            for event in &events {
                let number = event.token().0;
                if number >= self.clients.len() {
                    continue;
                }
                if event.is_writable() {
                    self.try_on(number, |client, _| client.wire.write(&client.batch))?;
                }
                if event.is_readable() && !self.clients[number].ready {
                    self.clients[number].ready = true;
                    self.ready.push_back(number);
                }
            }
            self.read(&mut buffer, requests)?;
            let elapsed = self.began.elapsed();
            self.make_due(elapsed.min(end), requests)?;
            if elapsed >= end && (self.left == 0 || elapsed >= end + DRAIN_MAX) {
                break;
            }
            ensure!(self.heard.elapsed() < SILENCE_MAX, "{} fell silent", self.open.address);
        }
        Ok(())
    }

    /// Reads once from each client that has something; who has more comes again after the others.
    fn read(&mut self, buffer: &mut [u8], requests: &mut impl Requests) -> Result<()> {
        for _ in 0..self.ready.len() {
            let Some(number) = self.ready.pop_front() else { break };
            let client = &mut self.clients[number];
            client.ready = false;
            let waited = client.wire.answers.waiting > 0;
            let mut came = false;
            self.try_on(number, |client, _| {
                came = client.wire.read(buffer)?;
                Ok(())
            })?;
            let client = &mut self.clients[number];
            if came {
                self.heard = Instant::now();
            }
            if client.wire.answers.waiting > 0 {
                if came {
                    client.ready = true;
                    self.ready.push_back(number);
                }
            } else if waited {
                self.answered(number);
                self.send(number, requests)?;
            }
        }
        Ok(())
    }

    /// Notes that a client has all its answers.
    fn answered(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some((kind, due)) = client.asked.take() else { return };
        client.answered += 1;
        self.left -= 1;
        let from = self.began + self.open.warm_up;
        if due >= from {
            let us = u64::try_from(due.elapsed().as_micros()).unwrap_or(LONGEST_US);
            self.outcome.kinds[kind].saturating_record(us);
            let second = (due - from).as_secs() as usize;
            if self.outcome.worst_us.len() <= second {
                self.outcome.worst_us.resize(second + 1, 0);
            }
            self.outcome.worst_us[second] = self.outcome.worst_us[second].max(us);
        }
        for text in client.wire.answers.complaints.drain(..) {
            note(&mut self.outcome.errors, text, 1);
        }
    }

    /// Puts in their queues what has become due, and sends what can be.
    fn make_due(&mut self, elapsed: Duration, requests: &mut impl Requests) -> Result<()> {
        let ticks = elapsed.as_nanos() / TICK.as_nanos();
        let per_tick = |due: u64| u128::from(due) * 1000 / u128::from(self.open.per_second);
        let mut begun = Vec::new();
        while per_tick(self.due) < ticks {
            let tick = u32::try_from(per_tick(self.due)).context("that is too long a load")?;
            let number = (self.due % self.open.connections as u64) as usize;
            self.clients[number].queue.push_back(self.began + TICK * tick);
            begun.push(number);
            self.due += 1;
        }
        // Who was asked nothing is not silent.
        if self.left == 0 {
            self.heard = Instant::now();
        }
        self.left += begun.len() as u64;
        begun.into_iter().try_for_each(|number| self.send(number, requests))
    }

    /// Sends a client's next request, if it has one and waits for nothing.
    fn send(&mut self, number: usize, requests: &mut impl Requests) -> Result<()> {
        let client = &mut self.clients[number];
        if client.asked.is_some() {
            return Ok(());
        }
        let Some(due) = client.queue.pop_front() else { return Ok(()) };
        client.batch.clear();
        let request = requests.next(&mut client.batch);
        // Who got eight megabytes to send once need not keep the room.
        client.batch.shrink_to(64 << 10);
        client.asked = Some((request.kind, due));
        self.try_on(number, |client, _| client.wire.begin(&client.batch, request.answers))
    }

    /// Does something with a connection; one that is broken is replaced, and what it waited for has
    /// no answer.
    fn try_on(
        &mut self,
        number: usize,
        work: impl FnOnce(&mut Client, usize) -> Result<()>,
    ) -> Result<()> {
        let client = &mut self.clients[number];
        let Err(error) = work(client, number) else { return Ok(()) };
        let lost = u64::from(client.asked.take().is_some());
        self.outcome.unanswered += lost;
        self.left -= lost;
        note(&mut self.outcome.errors, format!("connection broken: {error:#}"), 1);
        self.breaks += 1;
        if self.breaks > BREAKS_MAX {
            bail!("{} breaks one connection after the other: {error:#}", self.open.address);
        }
        self.clients[number].wire = self.connect(number)?;
        Ok(())
    }

    fn finish(mut self) -> Outcome {
        self.outcome.unanswered += self.left;
        self.outcome.least = self.clients.iter().map(|client| client.answered).min().unwrap_or(0);
        self.outcome.took = self.began.elapsed().saturating_sub(self.open.warm_up);
        self.outcome
    }
}

/// Counts an error; of very many different ones the last are told together.
pub fn note(errors: &mut BTreeMap<String, u64>, text: String, times: u64) {
    let known = errors.len() < ERRORS_MAX || errors.contains_key(&text);
    *errors.entry(if known { text } else { "others".to_owned() }).or_default() += times;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    struct Pings;

    impl Requests for Pings {
        fn kinds(&self) -> usize {
            1
        }

        fn next(&mut self, out: &mut Vec<u8>) -> Request {
            out.extend(b"PING\r\n");
            Request { kind: 0, answers: 1 }
        }
    }

    /// Answers each request of each connection with `answer`, the `slow`th of all after a while.
    fn serve(answer: &'static [u8], slow: usize, pause: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut heard = [0; 6];
                    let mut count = 0;
                    while stream.read_exact(&mut heard).is_ok() {
                        count += 1;
                        if count == slow {
                            wait(pause);
                        }
                        if answer.is_empty() || stream.write_all(answer).is_err() {
                            break;
                        }
                    }
                });
            }
        });
        address
    }

    fn open(address: SocketAddr) -> Open {
        let (warm_up, time) = (Duration::from_millis(20), Duration::from_millis(400));
        Open { address, connections: 4, per_second: 1000, warm_up, time }
    }

    #[test]
    fn what_waits_behind_a_slow_answer_is_late_too() {
        let address = serve(b"+PONG\r\n", 50, Duration::from_millis(100));
        let outcome = run(&open(address), &mut Pings, &AtomicBool::new(false)).unwrap();
        let times = &outcome.kinds[0];
        assert!((390..=401).contains(&times.len()), "{}", times.len());
        // Each of four clients is held up once for a quarter of the time.
        let late = times.count_between(20_000, LONGEST_US);
        assert!(late > times.len() / 10, "{late} of {}", times.len());
        assert!(outcome.worst_us[0] >= 90_000, "{:?}", outcome.worst_us);
        assert!(outcome.errors.is_empty() && outcome.unanswered == 0, "{outcome:?}");
        assert!((100..=106).contains(&outcome.least), "{}", outcome.least);
    }

    #[test]
    fn errors_and_broken_connections_are_named() {
        let address = serve(b"-ERR no\r\n", 0, Duration::ZERO);
        let outcome = run(&open(address), &mut Pings, &AtomicBool::new(false)).unwrap();
        assert!(outcome.errors["ERR no"] >= 390, "{:?}", outcome.errors);
        let address = serve(b"", 0, Duration::ZERO);
        let outcome = run(&open(address), &mut Pings, &AtomicBool::new(false)).unwrap();
        assert!(outcome.errors.keys().all(|text| text.starts_with("connection broken: ")));
        assert!(outcome.unanswered >= 390, "{outcome:?}");
        let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert!(run(&open(nobody), &mut Pings, &AtomicBool::new(false)).is_err());
    }

    #[test]
    fn errors_told_apart_are_bounded() {
        let mut errors = BTreeMap::new();
        (0..100).for_each(|number| note(&mut errors, format!("ERR {number}"), 2));
        assert_eq!((errors.len(), errors["others"]), (ERRORS_MAX + 1, 136));
    }
}
