//! How fast a log's tail is applied at a start: by one thread, and by lanes.
//!
//! `cargo run --profile fast -p cairn-keyspace --example replay [KEYS [WRITES [LANES]]]`

#[path = "shared/commands.rs"]
mod commands;

use cairn_keyspace::{EffectLog, Keyspace, Lane, Mark};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{Epoch, Offset};
use commands::run;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Writes of a batch.
const BATCH: u64 = 20;
/// Batches that are applied together, as the node has it: 16 MiB.
const TOGETHER: usize = 8000;

fn written(writes: u64, key: impl Fn(u64) -> u64) -> Vec<Batch> {
    let (mut keyspace, mut log) = (Keyspace::new(7), EffectLog::new(Offset(1)));
    let mut batches = Vec::new();
    for number in 0..writes {
        let key = format!("key:{:012}", key(number));
        run(&mut keyspace, &mut log, &[b"SET", key.as_bytes(), &[b'v'; 64]]);
        if number % BATCH == BATCH - 1 || number + 1 == writes {
            batches.push(log.take().expect("something was written").into_batch(Epoch(1), 1));
        }
    }
    batches
}

fn one_by_one(keyspace: &mut Keyspace, batches: &[Batch]) {
    for batch in batches {
        keyspace.apply(&batch.body, batch.head.first).expect("it was written that way");
    }
}

fn by_lanes(keyspace: &mut Keyspace, batches: &[Batch], lanes: usize) {
    for some in batches.chunks(TOGETHER) {
        let work = |lent: &mut [Lane], from: Mark| {
            std::thread::scope(|scope| {
                let running: Vec<_> = lent
                    .iter_mut()
                    .map(|lane| scope.spawn(move || lane.apply(some, from, || {})))
                    .collect();
                let mut ended = running.into_iter().map(|it| it.join().expect("no lane panics"));
                ended.try_fold(from, |_, reached| reached)
            })
        };
        keyspace.apply_together(some, (lanes, 2_000), work).expect("it was written that way");
    }
}

fn main() {
    let number = |at, or| std::env::args().nth(at).map_or(or, |it| it.parse().unwrap_or(or));
    let (keys, writes, lanes) = (number(1, 2_000_000), number(2, 2_000_000), number(3, 2));
    let filled = written(keys, |number| number.wrapping_mul(2_654_435_761) % keys);
    let tail = written(writes, |number| number.wrapping_mul(40_503_000_017) % keys);
    for _ in 0..3 {
        let mut rates = Vec::new();
        for lanes in [1, lanes as usize] {
            let mut keyspace = Keyspace::new(7);
            one_by_one(&mut keyspace, &filled);
            let began = Instant::now();
            match lanes {
                1 => one_by_one(&mut keyspace, &tail),
                _ => by_lanes(&mut keyspace, &tail, lanes),
            }
            rates.push(writes as f64 / began.elapsed().as_secs_f64() / 1e6);
        }
        println!("{:.2}M writes/s by one thread, {:.2}M by {lanes} lanes", rates[0], rates[1]);
    }
}
