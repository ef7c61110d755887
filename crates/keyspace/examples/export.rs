//! What writing and loading a snapshot cost the thread that owns the keys: keys per second, and the
//! longest step.
//!
//! `cargo run --profile fast -p cairn-keyspace --example export [KEYS [FIELDS]]`

#[path = "shared/commands.rs"]
mod commands;

use cairn_keyspace::{Builder, EffectLog, Keyspace, Portion};
use cairn_logic::ids::{EntryId, Offset};
use commands::run;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Small keys of a step, as the node has it.
const STEP: usize = 64;

/// Writes all of it; what each step took, and the portions.
fn write(keyspace: &mut Keyspace) -> (Vec<Duration>, Vec<Portion>) {
    let (mut spans, mut portions) = (Vec::new(), Vec::new());
    keyspace.begin_export(256 << 10);
    loop {
        let began = Instant::now();
        let more = keyspace.export_some(EntryId::ZERO, STEP);
        spans.push(began.elapsed());
        portions.extend(keyspace.take_exported().into_iter().map(|(_, portion)| portion));
        if !more {
            return (spans, portions);
        }
    }
}

/// Loads all of it by two threads, as a node's start does.
fn load(portions: &[Portion], keys: usize) -> Duration {
    let (began, next) = (Instant::now(), AtomicUsize::new(0));
    let (mut units, mut behind) = (Vec::new(), 0);
    for (at, portion) in portions.iter().enumerate() {
        if portion.first >= behind {
            units.push(at);
        }
        behind = portion.last + 1;
    }
    units.push(portions.len());
    let (sender, receiver) = channel();
    let build = || {
        let (mut builder, sender) = (Builder::new(7), sender.clone());
        while let Some([from, to]) =
            units.get(next.fetch_add(1, Relaxed)..).and_then(<[_]>::first_chunk)
        {
            for portion in &portions[*from..*to] {
                builder.add(portion, Offset(1)).expect("it was written that way");
            }
            sender.send(builder.take().expect("there was a portion")).expect("it listens");
        }
    };
    let mut keyspace = Keyspace::new(7);
    std::thread::scope(|scope| {
        scope.spawn(build);
        scope.spawn(build);
        while keyspace.len() < keys {
            let built = receiver.recv().expect("there are more");
            keyspace.adopt(built).expect("its slots are empty");
        }
    });
    began.elapsed()
}

fn main() {
    let number = |at, or| std::env::args().nth(at).map_or(or, |it| it.parse().unwrap_or(or));
    let (keys, fields) = (number(1, 1_000_000_u64), number(2, 1_000_000_u64));
    let (mut keyspace, mut log) = (Keyspace::new(7), EffectLog::new(Offset(1)));
    for number in 0..keys {
        // In no order of memory, as after a while of use.
        let key = format!("key:{:012}", number.wrapping_mul(2_654_435_761) % keys);
        run(&mut keyspace, &mut log, &[b"SET", key.as_bytes(), &[b'v'; 64]]);
        if number % 1000 == 999 {
            drop(log.take());
        }
    }
    for number in 0..fields {
        let field = format!("field:{number:010}");
        run(&mut keyspace, &mut log, &[b"HSET", b"large", field.as_bytes(), &[b'v'; 64]]);
        if number % 1000 == 999 {
            drop(log.take());
        }
    }
    let all = keyspace.len() as u64 + fields;
    println!("{} keys of 16+64 bytes, one hash of {fields} fields of 16+64 bytes", keyspace.len());
    for _ in 0..3 {
        let (mut spans, portions) = write(&mut keyspace);
        let took = spans.iter().sum::<Duration>();
        let rate = all as f64 / took.as_secs_f64() / 1e6;
        spans.sort();
        let (p99, max) = (spans[spans.len() * 99 / 100], spans[spans.len() - 1]);
        println!("written: {rate:.2} M keys and fields/s, a step's p99 {p99:?}, longest {max:?}");
        let began = Instant::now();
        let mut copy = Keyspace::new(7);
        for portion in &portions {
            copy.import(portion, Offset(1)).expect("it was written that way");
        }
        let rate = all as f64 / began.elapsed().as_secs_f64() / 1e6;
        println!("loaded by one thread: {rate:.2} M keys and fields/s");
        assert_eq!(copy.len(), keyspace.len());
        drop(copy);
        let rate = all as f64 / load(&portions, keyspace.len()).as_secs_f64() / 1e6;
        println!("loaded by two threads: {rate:.2} M keys and fields/s");
    }
}
