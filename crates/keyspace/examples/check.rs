//! What one check of a part costs, for a master that writes it and a member that compares.
//!
//! `cargo run --profile fast -p cairn-keyspace --example check [KEYS]`

#[path = "shared/commands.rs"]
mod commands;

use cairn_keyspace::{Checker, EffectLog, Keyspace};
use cairn_logic::ids::Offset;
use commands::run;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A large hash beside the keys has so many fields.
const FIELDS: u64 = 1_000_000;

fn show(what: &str, mut spans: Vec<Duration>) {
    spans.sort();
    let at = |part: usize| spans[(spans.len() - 1) * part / 1000].as_nanos() as f64 / 1000.0;
    let (count, p50, p99, most) = (spans.len(), at(500), at(990), at(1000));
    println!("{what}: {count} parts, p50 {p50:.1} us, p99 {p99:.1} us, max {most:.1} us");
}

fn main() {
    let keys = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_000_000_u64);
    let (mut master, mut log) = (Keyspace::new(7), EffectLog::new(Offset(1)));
    let mut copy = Keyspace::new(7);
    let mut sync = |log: &mut EffectLog| {
        let entries = log.take().expect("something was written");
        let began = Instant::now();
        copy.apply(&entries.body, entries.first).expect("it is a master's");
        (began.elapsed(), entries.body.len())
    };
    for number in 0..keys {
        let key = format!("key:{number:012}");
        run(&mut master, &mut log, &[b"SET", key.as_bytes(), &[b'v'; 64]]);
        if number % 1000 == 999 {
            sync(&mut log);
        }
    }
    for number in 0..FIELDS {
        let field = format!("field:{number:010}");
        run(&mut master, &mut log, &[b"HSET", b"large", field.as_bytes(), &[b'v'; 64]]);
        if number % 1000 == 999 {
            sync(&mut log);
        }
    }
    let (mut wrote, mut compared, mut bytes) = (Vec::new(), Vec::new(), 0);
    let mut checker = Checker::new(&master);
    loop {
        let began = Instant::now();
        let ended = checker.step(&mut master, &mut log);
        wrote.push(began.elapsed());
        let (took, more) = sync(&mut log);
        compared.push(took);
        bytes += more;
        if ended {
            break;
        }
    }
    println!("{keys} keys of 16+64 bytes, one hash of {FIELDS} fields of 16+64 bytes");
    println!("a walk: {} checks, {bytes} bytes of log", wrote.len());
    println!("a walk: {:?} of the master's thread", wrote.iter().sum::<Duration>());
    show("the master writes one", wrote);
    show("a member compares", compared);
}
