//! Many writes of ordinary keys, each one's time noted: for benchmarks, and to make logs grow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::Client;
use crate::dice::Dice;

/// How long a writer rests after a failure, so that a dead node is not asked all the time.
const AFTER_TROUBLE: Duration = Duration::from_millis(100);

/// What to write.
#[derive(Debug, Clone)]
pub struct Load {
    /// Where the directory is reached, `host:port`; each writer stays with one that answers.
    pub endpoints: Vec<String>,
    /// How many write side by side, each one transaction at a time.
    pub writers: u64,
    /// Puts in each transaction.
    pub puts: u64,
    /// Transactions per second, all writers together; 0: each as fast as it is answered.
    pub per_second: f64,
    /// How many keys there are.
    pub keys: u64,
    /// Length of every key.
    pub key_bytes: usize,
    /// Length of every value; they look random, so that nothing becomes shorter by compression.
    pub value_bytes: usize,
    /// If set, keys are not drawn: each is written once, and then the load ends.
    pub fill: bool,
    /// Begins every key.
    pub prefix: String,
    /// History is given up so often; never if absent.
    pub compact_every: Option<Duration>,
}

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When it was answered, since the load began, in microseconds.
    pub at_us: u64,
    /// How long after it was due, in microseconds: a writer that is late because of the one before
    /// counts what it was late.
    pub took_us: u32,
}

/// What the writers saw.
#[derive(Debug)]
pub struct Seen {
    /// When the load began.
    pub began: Instant,
    /// All transactions that were acknowledged.
    pub samples: Vec<Sample>,
    /// Transactions that were not.
    pub errors: u64,
    /// What the last of these was answered.
    pub last_error: Option<String>,
}

/// A load that is being made.
#[derive(Debug)]
pub struct Loading {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    load: Load,
    began: Instant,
    stop: AtomicBool,
    /// The first key that nobody has written yet.
    next: AtomicU64,
    revision: AtomicU64,
    seen: Mutex<Seen>,
}

impl Shared {
    fn note_error(&self, error: String) {
        let mut seen = self.seen.lock().expect("nobody panics while holding the lock");
        seen.errors += 1;
        seen.last_error = Some(error);
    }
}

impl Load {
    /// Begins.
    pub fn start(self) -> Loading {
        let began = Instant::now();
        let seen = Seen { began, samples: Vec::new(), errors: 0, last_error: None };
        let shared = Arc::new(Shared {
            load: self,
            began,
            stop: AtomicBool::new(false),
            next: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            seen: Mutex::new(seen),
        });
        let all = Arc::clone(&shared);
        let thread = std::thread::spawn(move || work(&all));
        Loading { shared, thread: Some(thread) }
    }
}

impl Loading {
    /// Whether it has come to its end by itself, as one that fills does.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Keys that were given out to be filled so far.
    pub fn filled(&self) -> u64 {
        self.shared.next.load(Ordering::Relaxed).min(self.shared.load.keys)
    }

    /// Ends it, or waits for the end of one that fills; what the writers saw.
    ///
    /// # Panics
    /// If a writer did.
    pub fn finish(mut self) -> Seen {
        if !self.shared.load.fill {
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        if let Some(thread) = self.thread.take() {
            thread.join().expect("writers do not panic");
        }
        let nothing =
            Seen { began: self.shared.began, samples: Vec::new(), errors: 0, last_error: None };
        std::mem::replace(&mut *self.shared.seen.lock().expect("nobody panics"), nothing)
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn work(shared: &Arc<Shared>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime of one thread starts");
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..shared.load.writers {
            tasks.spawn(write(Arc::clone(shared), number));
        }
        let compacting = shared.load.compact_every.map(|every| {
            let shared = Arc::clone(shared);
            tokio::spawn(async move { compact(&shared, every).await })
        });
        while tasks.join_next().await.is_some() {}
        if let Some(compacting) = compacting {
            compacting.abort();
        }
    });
}

async fn write(shared: Arc<Shared>, number: u64) {
    let load = &shared.load;
    let mut client = Client::new(&load.endpoints, usize::try_from(number).unwrap_or(0));
    let mut noise = Noise(Dice::new(number + 1));
    let every = match load.per_second > 0.0 {
        true => Duration::from_secs_f64(load.writers as f64 / load.per_second),
        false => Duration::ZERO,
    };
    // Writers begin one after the other, so that they do not write all at the same moment.
    let mut due = shared.began + every.mul_f64(number as f64 / load.writers.max(1) as f64);
    let mut samples = Vec::new();
    while !shared.stop.load(Ordering::Relaxed) {
        let Some(first) = first_key(&shared, &mut noise.0) else { break };
        if every.is_zero() {
            due = Instant::now();
        } else {
            tokio::time::sleep_until(due.into()).await;
        }
        let keys = (first..first + load.puts).map(|key| key % load.keys);
        let pairs = keys.map(|key| (key_text(load, key), noise.take(load.value_bytes))).collect();
        match client.put_all(pairs).await {
            Ok(revision) => {
                shared.revision.fetch_max(revision, Ordering::Relaxed);
                let us = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                let now = Instant::now();
                let took_us = u32::try_from(us(now - due)).unwrap_or(u32::MAX);
                samples.push(Sample { at_us: us(now - shared.began), took_us });
            }
            Err(trouble) => {
                shared.note_error(format!("{trouble:?}"));
                tokio::time::sleep(AFTER_TROUBLE).await;
                // What is overdue by then is not asked for all at once.
                due = due.max(Instant::now() - every);
            }
        }
        due += every;
    }
    shared.seen.lock().expect("nobody panics").samples.append(&mut samples);
}

/// The first key of the next transaction; none if all are filled.
fn first_key(shared: &Shared, dice: &mut Dice) -> Option<u64> {
    let load = &shared.load;
    if !load.fill {
        return Some(dice.below(load.keys));
    }
    let first = shared.next.fetch_add(load.puts, Ordering::Relaxed);
    (first < load.keys).then_some(first)
}

/// Key number `key`: as long as it should be, and no two alike.
fn key_text(load: &Load, key: u64) -> Vec<u8> {
    let digits = load.key_bytes.saturating_sub(load.prefix.len());
    format!("{}{key:0digits$}", load.prefix).into_bytes()
}

async fn compact(shared: &Shared, every: Duration) {
    let mut client = Client::new(&shared.load.endpoints, 0);
    loop {
        // What was the newest then is old enough to give up all before it.
        let revision = shared.revision.load(Ordering::Relaxed);
        tokio::time::sleep(every).await;
        if revision > 0 {
            // Whoever is asked may be away; the next time is soon.
            drop(client.compact(revision).await);
        }
    }
}

/// Bytes that look random.
struct Noise(Dice);

impl Noise {
    fn take(&mut self, count: usize) -> Vec<u8> {
        let mut state = self.0.below(u64::MAX) | 1;
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            bytes.extend(state.to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(fill: bool) -> Load {
        Load {
            endpoints: vec!["127.0.0.1:1".into()],
            writers: 2,
            puts: 4,
            per_second: 0.0,
            keys: 10,
            key_bytes: 16,
            value_bytes: 5,
            fill,
            prefix: "/k/".into(),
            compact_every: None,
        }
    }

    #[test]
    fn keys_have_their_length_and_differ() {
        assert_eq!(key_text(&load(true), 42), b"/k/0000000000042");
        assert_ne!(key_text(&load(true), 1), key_text(&load(true), 10));
    }

    #[test]
    fn values_do_not_repeat() {
        let mut noise = Noise(Dice::new(7));
        let (one, other) = (noise.take(13), noise.take(13));
        assert!(one.len() == 13 && one != other, "{one:?} {other:?}");
    }

    #[test]
    fn whoever_is_not_answered_counts_an_error_and_goes_on() {
        let loading = load(true).start();
        let seen = loading.finish();
        assert_eq!((seen.samples.len(), seen.errors), (0, 3), "{:?}", seen.last_error);
        let loading = load(false).start();
        crate::clock::wait(Duration::from_millis(450));
        let seen = loading.finish();
        assert!(seen.samples.is_empty() && (4..40).contains(&seen.errors), "{}", seen.errors);
    }
}
