//! Measures the directory by itself: memory of a million keys, changes and events per second of
//! processor time.
//!
//! `cargo run --release -p cairn-directory --example measure`

#[path = "shared/process.rs"]
mod process;

use cairn_directory::op::{Op, Put, RangeQuery, Txn, TxnOp};
use cairn_directory::watch::{Notice, Sink, StreamId, Watches, Wish};
use cairn_directory::{Directory, KeyRange, LeaseId, lessor::Lessor};
use cairn_logic::ids::Revision;
use cairn_logic::time::{Duration, Instant};
use process::{Clock, resident_bytes};

/// Takes and counts everything.
#[derive(Default)]
struct Count {
    events: usize,
}

impl Sink for Count {
    fn is_ready(&self, _stream: StreamId) -> bool {
        true
    }

    fn notify(&mut self, _stream: StreamId, notice: Notice) -> bool {
        if let Notice::Events { watches, events, .. } = notice {
            self.events += watches.len() * events.len();
        }
        true
    }
}

fn per_second(count: u64, since: Clock) -> u64 {
    count * 1_000_000 / since.micros().max(1)
}

fn key(number: u64) -> Vec<u8> {
    format!("/registry/{:054}", number.wrapping_mul(2_654_435_761) % 1_000_003).into_bytes()
}

fn fill(directory: &mut Directory) {
    let value = vec![7_u8; 256];
    let began = Clock::now();
    for number in 0..1_000_000 {
        let put = Op::Put(Put::new(key(number), value.clone()));
        directory.apply(&put).expect("a plain put");
    }
    println!("put of a new key: {} per second", per_second(1_000_000, began));
}

fn main() {
    let empty = resident_bytes();
    let mut directory = Directory::new();
    fill(&mut directory);
    let used = resident_bytes() - empty;
    println!("1M keys of 64 + 256 bytes, all revisions kept: {used} bytes resident");
    let began = Clock::now();
    let value = vec![8_u8; 256];
    for txn in 0..31_250_u64 {
        let success = (0..32).map(|n| TxnOp::Put(Put::new(key(txn * 32 + n), value.clone())));
        let success = success.collect();
        directory.apply(&Op::Txn(Txn { success, ..Txn::default() })).expect("a plain txn");
    }
    println!("put of a known key, 32 per txn: {} per second", per_second(1_000_000, began));
    let compaction = Op::Compact { revision: directory.revision() };
    directory.apply(&compaction).expect("not compacted yet");
    let (mut longest, mut steps) = (0, 0);
    loop {
        let began = Clock::now();
        let done = directory.sweep(5000);
        longest = longest.max(began.micros());
        steps += 1;
        if done {
            break;
        }
    }
    println!("sweep of 1M versions: {steps} steps, the longest {} us", longest);
    println!("bytes resident after it: {}", resident_bytes() - empty);
    let began = Clock::now();
    let count = RangeQuery { count_only: true, ..RangeQuery::all(KeyRange::prefix("/")) };
    let found = directory.range(&count, directory.revision()).expect("a plain range");
    println!("count of {} keys: {} ms", found.count, began.micros() / 1000);
    let began = Clock::now();
    let hash = directory.hash_keys(directory.revision(), directory.revision());
    println!("hash of all keys ({:?}): {} ms", hash, began.micros() / 1000);
    watch(&mut directory);
    leases();
}

fn watch(directory: &mut Directory) {
    let (mut watches, mut told) = (Watches::new(), Count::default());
    watches.advance(directory, directory.revision(), &mut told);
    for id in 0..10_000 {
        let range = KeyRange::prefix("/registry/");
        let wish = Wish { range, no_put: false, no_delete: false, prev_kv: false };
        let at = (StreamId(u64::from(id % 10 == 0) + id % 10), i64::try_from(id).unwrap_or(0));
        watches.create(directory, at, wish, None, false).expect("few watches");
    }
    let began = Clock::now();
    for number in 0..1000 {
        directory.apply(&Op::Put(Put::new(key(number), "v"))).expect("a plain put");
        watches.advance(directory, Revision(directory.revision().0), &mut told);
    }
    println!(
        "10k watchers of one prefix: {} events per second",
        per_second(told.events as u64, began)
    );
}

fn leases() {
    let began = Clock::now();
    let at = |secs: u64| Instant::ZERO + Duration::from_secs(secs);
    let mut lessor = Lessor::new(at(1), (1..=100_000).map(|id| (LeaseId(id), 10)));
    for id in 1..=100_000 {
        lessor.renew(at(2), LeaseId(id));
    }
    println!("100k leases granted and renewed: {} ms", began.micros() / 1000);
    let mut expired = 0;
    for secs in 2..14 {
        let began = Clock::now();
        let ended = lessor.expired(at(secs), 200_000).len();
        expired += ended;
        if ended > 0 {
            println!("{expired} ended at once: {} ms", began.micros() / 1000);
        }
    }
}
