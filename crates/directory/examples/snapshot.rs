//! Measures how fast a directory is written to a snapshot and read back, and how fast a log is
//! replayed: `cargo run --release -p cairn-directory --example snapshot [keys]`.
//!
//! Keys of 48 bytes, values of 256, transactions of 32 puts; a part of the keys is written again
//! after the compaction, as while clients write. No disk and no compression; rates are
//! those of the processor, of one thread; steps are measured by the clock.

#[path = "shared/process.rs"]
mod process;

use cairn_directory::directory::{Checked, Portion};
use cairn_directory::op::{Op, Put, Txn, TxnOp};
use cairn_directory::{Directory, body};
use process::{Clock, resident_bytes};
use std::time::Instant;

const PORTION_BYTES: usize = 32 << 10;
const PUTS: u64 = 32;

/// A small generator: the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.0 >> 33
    }

    fn value(&mut self) -> Vec<u8> {
        (0..64).flat_map(|_| (self.next() as u32).to_le_bytes()).collect()
    }
}

fn key(number: u64) -> Vec<u8> {
    format!("/bench/{number:041}").into_bytes()
}

fn transaction(random: &mut Random, number: impl Fn(&mut Random, u64) -> u64) -> Op {
    let put = |n| TxnOp::Put(Put::new(key(number(random, n)), random.value()));
    let success = (0..PUTS).map(put).collect();
    Op::Txn(Txn { success, ..Txn::default() })
}

fn say(what: &str, count: u64, began: Clock) {
    let micros = began.micros().max(1);
    println!("{what}: {} ms, {} per second", micros / 1000, count * 1_000_000 / micros);
}

fn fill(keys: u64, random: &mut Random) -> Directory {
    let mut directory = Directory::new();
    // Each key once, in no order.
    let spread = |n: u64| n.wrapping_mul(0x9e37_79b1) % keys;
    let began = Clock::now();
    for first in (0..keys).step_by(PUTS as usize) {
        let op = transaction(random, |_, n| spread(first + n));
        directory.apply(&op).expect("plain puts");
    }
    say("new keys", keys, began);
    let revision = directory.revision();
    directory.apply(&Op::Compact { revision }).expect("a revision of its own");
    while !directory.sweep(10_000) {}
    directory
}

fn export(directory: &mut Directory) -> (Vec<Portion>, u64) {
    let (mut portions, mut steps_us) = (Vec::new(), Vec::new());
    let mut export = directory.export();
    let began = Clock::now();
    loop {
        let step = Instant::now();
        let Some(portion) = directory.export_more(&mut export, PORTION_BYTES) else { break };
        steps_us.push(step.elapsed().as_micros());
        portions.push(portion);
    }
    say("exported", directory.keys() as u64, began);
    steps_us.sort_unstable();
    let part = |thousandths: usize| steps_us[(steps_us.len() - 1) * thousandths / 1000];
    println!(
        "{} steps: half of them within {} us, 999 of 1000 within {} us, the longest {} us",
        steps_us.len(),
        part(500),
        part(999),
        part(1000)
    );
    (portions, export.hash())
}

fn import(portions: Vec<Portion>) -> Directory {
    let records = portions.iter().map(|portion| u64::from(portion.records)).sum();
    let began = Clock::now();
    let check = |portion: Portion| Checked::new(portion.bytes.into()).expect("as it was written");
    let checked: Vec<_> = portions.into_iter().map(check).collect();
    say("checked", records, began);
    let before = resident_bytes();
    let (mut copy, began) = (Directory::new(), Clock::now());
    checked.iter().for_each(|portion| copy.take(portion).expect("in their order"));
    say("taken", records, began);
    println!("{} bytes more resident", resident_bytes() - before);
    copy
}

fn main() {
    let keys: u64 = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1 << 20);
    let mut random = Random(7);
    let mut directory = fill(keys, &mut random);
    // What was written since the last compaction, and a log after it.
    let mut writes = |count: u64| -> Vec<Op> {
        (0..count / PUTS).map(|_| transaction(&mut random, |r, _| r.next() % keys)).collect()
    };
    for op in writes(keys / 10) {
        directory.apply(&op).expect("plain puts");
    }
    let (portions, hash) = export(&mut directory);
    drop(directory);
    let mut copy = import(portions);
    assert_eq!(copy.state_hash().hash, hash);
    let log: Vec<Vec<u8>> = writes(keys)
        .chunks(100)
        .map(|ops| {
            let mut bytes = Vec::new();
            ops.iter().for_each(|op| body::push(op, &mut bytes));
            bytes
        })
        .collect();
    let began = Clock::now();
    for bytes in log {
        for op in body::ops(bytes.into()) {
            copy.replay(&op.expect("as it was written")).expect("plain puts");
        }
    }
    say("replayed", keys, began);
}
