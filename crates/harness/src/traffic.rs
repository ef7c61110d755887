//! Clients at work: counters, lists, registers, transactions over the keys of a slot, reads at
//! masters and at replicas, all recorded.
//!
//! Every client is a thread with a [`Client`] of its own. It goes on through every fault, tells
//! honestly what it does not know, and never repeats a write. Lists are left for new ones after
//! a while, so that reading one stays cheap.

mod slots;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, Frame, Patience, Routes, slot_of};
use crate::clock::wait;
use crate::dice::Dice;
use crate::history::{Action, Operation, Outcome, Recorder, Reply};
use crate::pauses::Pauses;

/// For how long a reader waits for an answer: longer than any master stands still.
const PATIENT: Duration = Duration::from_secs(15);

/// What is recorded of a transaction whose watched key was touched, or may have been.
pub const GIVEN_UP: &str = "given up";

/// What the clients do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where clients ask for the routes, `host:port`.
    pub seeds: Vec<String>,
    /// How many clients read and write.
    pub clients: u32,
    /// How many more only read at masters, and wait long for each answer: a master that was
    /// stopped and goes on finds their questions before it learns anything else.
    pub readers: u32,
    /// How long each rests after each operation.
    pub rest: Duration,
    /// How many keys of each kind are in use at a time.
    pub keys: u64,
    /// How many items a list gets before the next one is begun.
    pub list_items: u64,
    /// Whether some commands are about several keys at once (`MSET`, `MGET`).
    pub several: bool,
    /// How long some transactions stay open before their `EXEC`; not at all if zero.
    pub open: Duration,
    /// Whether a transaction of a watched key may be given up although nobody touched the key, as
    /// when its master begins a new mastership; then only that it had no effect is held against it.
    pub watches_fail: bool,
    /// Begins every key, so that rounds do not meet.
    pub prefix: String,
    /// What the choices follow from.
    pub seed: u64,
}

impl Plan {
    /// Eight clients and two readers, about two thousand operations a second together.
    pub fn new(seeds: &[String], seed: u64) -> Self {
        Self {
            seeds: seeds.to_vec(),
            clients: 8,
            readers: 2,
            rest: Duration::from_millis(3),
            keys: 12,
            list_items: 100,
            several: false,
            open: Duration::ZERO,
            watches_fail: false,
            prefix: format!("t{seed}"),
            seed,
        }
    }
}

/// Running clients.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    recorder: Recorder,
    pauses: Pauses,
    stop: AtomicBool,
    appended: Vec<AtomicU64>,
    /// The ranges as they were when all slots had a master first: they keep their numbers when one
    /// of them has none for a while.
    ranges: OnceLock<Routes>,
}

impl Traffic {
    /// Starts the clients.
    pub fn start(plan: Plan, recorder: Recorder) -> Self {
        let (clients, all) = (plan.clients, plan.clients + plan.readers);
        let appended = (0..plan.keys).map(|_| AtomicU64::new(0)).collect();
        let (pauses, stop) = (Pauses::default(), AtomicBool::new(false));
        let shared =
            Arc::new(Shared { plan, recorder, pauses, stop, appended, ranges: OnceLock::new() });
        let start = |number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || match number < clients {
                true => Worker::new(number, &shared).work(),
                false => Worker::patient(number, &shared).only_read(),
            })
        };
        let threads = (0..all).map(start).collect();
        Self { shared, threads }
    }

    /// Microseconds since the history began.
    pub fn now_us(&self) -> u64 {
        self.shared.recorder.now_us()
    }

    /// When writes were acknowledged, by number of the slot range.
    pub fn pauses(&self) -> &Pauses {
        &self.shared.pauses
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.shared.recorder.acknowledged_writes()
    }

    /// Ends all clients after the operation they are at, reads every key back from its master
    /// (for `limit` at most), and returns the history and how many keys could not be read.
    pub fn finish(&mut self, limit: Duration) -> (Vec<Operation>, usize) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A client that panicked has shown a defect of the harness; do not hide it.
            thread.join().expect("no client panics");
        }
        let history = self.shared.recorder.operations();
        let keys: BTreeSet<&str> = history.iter().flat_map(Operation::keys).collect();
        let number = self.shared.plan.clients + self.shared.plan.readers;
        let mut worker = Worker::new(number, &self.shared);
        let deadline = Instant::now() + limit;
        let unread = keys.iter().filter(|key| !worker.read_back(key, deadline)).count();
        (self.shared.recorder.operations(), unread)
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// One client.
struct Worker<'a> {
    number: u32,
    shared: &'a Shared,
    client: Client,
    dice: Dice,
    written: u64,
}

impl<'a> Worker<'a> {
    fn new(number: u32, shared: &'a Shared) -> Self {
        let client = Client::new(&shared.plan.seeds, Patience::default());
        let dice = Dice::new(shared.plan.seed ^ (u64::from(number) << 32));
        Self { number, shared, client, dice, written: 0 }
    }

    fn patient(number: u32, shared: &'a Shared) -> Self {
        let patience = Patience { answer: PATIENT, ..Patience::default() };
        let client = Client::new(&shared.plan.seeds, patience);
        Self { client, ..Self::new(number, shared) }
    }

    fn only_read(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let at = self.dice.below(self.shared.plan.keys);
            let kind = if self.dice.below(2) == 0 { "register" } else { "counter" };
            let done = self.get(&self.key(kind, at), false);
            wait(if done { self.shared.plan.rest } else { self.shared.plan.rest * 5 });
        }
    }

    fn work(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let at = self.dice.below(self.shared.plan.keys);
            let done = match self.dice.below(20) {
                0..=3 => self.add(&self.key("counter", at)),
                4..=7 => self.append(at),
                8 | 9 => self.set(&self.key("register", at)),
                10 | 11 => self.swap(&self.key("register", at)),
                12 => self.get(&self.key("register", at), false),
                13 => self.get(&self.key("counter", at), false),
                14 => self.get_items(&self.list(at), false),
                15 => self.read_replica(at),
                _ => self.work_in_slot(at),
            };
            // A refusal comes at once; do not spend the processor on asking again and again.
            wait(if done { self.shared.plan.rest } else { self.shared.plan.rest * 5 });
        }
    }

    fn key(&self, kind: &str, at: u64) -> String {
        format!("{}:{kind}:{at}", self.shared.plan.prefix)
    }

    fn list(&self, at: u64) -> String {
        let slot = usize::try_from(at).unwrap_or(0);
        let appended = self.shared.appended[slot].load(Ordering::Relaxed);
        format!("{}:{}", self.key("list", at), appended / self.shared.plan.list_items)
    }

    /// A value that is written only once.
    fn value(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.number, self.written)
    }

    fn add(&mut self, key: &str) -> bool {
        let called_us = self.shared.recorder.now_us();
        let answer = self.client.call(key, &[b"INCR", key.as_bytes()]);
        let number = |frame: &Frame| frame.integer().map(Reply::Number);
        self.record(key, Action::Add { by: 1 }, called_us, answer, number)
    }

    fn append(&mut self, at: u64) -> bool {
        let key = self.list(at);
        let item = self.value();
        let slot = usize::try_from(at).unwrap_or(0);
        self.shared.appended[slot].fetch_add(1, Ordering::Relaxed);
        let called_us = self.shared.recorder.now_us();
        let answer = self.client.call(&key, &[b"RPUSH", key.as_bytes(), item.as_bytes()]);
        let number = |frame: &Frame| frame.integer().map(Reply::Number);
        self.record(&key, Action::Append { item }, called_us, answer, number)
    }

    fn set(&mut self, key: &str) -> bool {
        let value = self.value();
        let called_us = self.shared.recorder.now_us();
        let answer = self.client.call(key, &[b"SET", key.as_bytes(), value.as_bytes()]);
        let done = |frame: &Frame| (frame.text().as_deref() == Some("OK")).then_some(Reply::Done);
        self.record(key, Action::Set { value }, called_us, answer, done)
    }

    fn swap(&mut self, key: &str) -> bool {
        let value = self.value();
        let recorder = &self.shared.recorder;
        let called_us = recorder.now_us();
        let mut seen = None;
        let answer = self.client.swap(key, |answer| {
            let Answer::Reply(frame) = answer else { return None };
            let expected = content(frame)?;
            seen = Some((expected, recorder.now_us()));
            Some(value.clone())
        });
        let Some((expected, read_us)) = seen else { return false };
        let found = Answer::Reply(
            expected.clone().map_or(Frame::Null, |text| Frame::Bulk(text.into_bytes())),
        );
        let read = Draft { key, readonly: false, connection: 0, called_us };
        self.record_at(read, Action::Get, read_us, found, |frame| content(frame).map(Reply::Value));
        let answer = match answer {
            Answer::Reply(Frame::Null) if self.shared.plan.watches_fail => {
                Answer::Failed(GIVEN_UP.into())
            }
            answer => answer,
        };
        let applied = |frame: &Frame| match frame {
            Frame::Array(_) => Some(Reply::Applied(true)),
            Frame::Null => Some(Reply::Applied(false)),
            _ => None,
        };
        self.record(key, Action::SetIf { expected, value }, read_us, answer, applied)
    }

    fn get(&mut self, key: &str, readonly: bool) -> bool {
        self.read(key, Action::Get, readonly, &[b"GET", key.as_bytes()], |frame| {
            content(frame).map(Reply::Value)
        })
    }

    fn get_items(&mut self, key: &str, readonly: bool) -> bool {
        let command: &[&[u8]] = &[b"LRANGE", key.as_bytes(), b"0", b"-1"];
        self.read(key, Action::GetItems, readonly, command, |frame| {
            let items = frame.elements()?.iter().map(Frame::text);
            items.collect::<Option<_>>().map(Reply::Items)
        })
    }

    fn read_replica(&mut self, at: u64) -> bool {
        match self.dice.below(4) {
            0 => self.get(&self.key("register", at), true),
            1 => self.get(&self.key("counter", at), true),
            2 => self.get(&self.slot_key(at, "sum"), true),
            _ => self.get_items(&self.list(at), true),
        }
    }

    fn read(
        &mut self,
        key: &str,
        action: Action,
        readonly: bool,
        command: &[&[u8]],
        reply: impl Fn(&Frame) -> Option<Reply>,
    ) -> bool {
        let called_us = self.shared.recorder.now_us();
        let (connection, answer) = if readonly {
            self.client.call_replica(key, command)
        } else {
            self.client.call_all(key, &[command])
        };
        let draft = Draft { key, readonly, connection, called_us };
        let now_us = self.shared.recorder.now_us();
        self.record_at(draft, action, now_us, answer, reply)
    }

    /// Reads a key until its master answers; whether one did before `deadline`.
    fn read_back(&mut self, key: &str, deadline: Instant) -> bool {
        loop {
            let done = match key.contains(":list:") {
                true => self.get_items(key, false),
                false => self.get(key, false),
            };
            if done || Instant::now() > deadline {
                return done;
            }
            wait(Duration::from_millis(50));
            self.client.refresh();
        }
    }

    /// The number of the slot range that a key is in, the same from beginning to end.
    fn range(&self, key: &str) -> Option<usize> {
        let routes = self.client.routes();
        let ranges = match routes.is_covered() {
            true => self.shared.ranges.get_or_init(|| routes.clone()),
            false => self.shared.ranges.get()?,
        };
        ranges.range_number(slot_of(key.as_bytes()))
    }

    fn record(
        &self,
        key: &str,
        action: Action,
        called_us: u64,
        answer: Answer,
        reply: impl Fn(&Frame) -> Option<Reply>,
    ) -> bool {
        let draft = Draft { key, readonly: false, connection: 0, called_us };
        let now_us = self.shared.recorder.now_us();
        self.record_at(draft, action, now_us, answer, reply)
    }

    /// Writes down one operation; whether it was answered.
    fn record_at(
        &self,
        draft: Draft<'_>,
        action: Action,
        returned_us: u64,
        answer: Answer,
        reply: impl Fn(&Frame) -> Option<Reply>,
    ) -> bool {
        let outcome = match answer {
            Answer::Reply(frame) => match reply(&frame) {
                Some(reply) => Outcome::Ok(reply),
                None => Outcome::Unknown(format!("not an answer to this: {frame:?}")),
            },
            Answer::Failed(why) => Outcome::Failed(why),
            Answer::Unknown(why) => Outcome::Unknown(why),
        };
        let Draft { key, readonly, connection, called_us } = draft;
        let operation = Operation {
            client: self.number,
            connection,
            readonly,
            key: key.to_owned(),
            action,
            called_us,
            returned_us,
            outcome,
        };
        if operation.is_acknowledged_write()
            && let Some(range) = self.range(key)
        {
            self.shared.pauses.acknowledged(range, returned_us);
        }
        let answered = operation.reply().is_some();
        self.shared.recorder.add(operation);
        answered
    }
}

/// What is known of an operation before its answer.
struct Draft<'a> {
    key: &'a str,
    readonly: bool,
    connection: u64,
    called_us: u64,
}

/// The content of a string, or that there is none.
#[expect(clippy::option_option, reason = "no answer differs from no content")]
fn content(frame: &Frame) -> Option<Option<String>> {
    match frame {
        Frame::Null => Some(None),
        frame => frame.text().map(Some),
    }
}
