//! What writing and loading a snapshot cost the thread that owns the keys: keys per second, and the
//! longest step.
//!
//! `cargo run --profile fast -p cairn-keyspace --example export [KEYS [FIELDS]]`

use cairn_keyspace::command::lookup;
use cairn_keyspace::{Ctx, EffectLog, Export, Keyspace, Portion};
use cairn_logic::ids::{EntryId, Offset};
use cairn_resp::{ArgsBuf, ReplyBuf, Version};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Keys of a step, as the node has it.
const STEP: usize = 64;

fn run(keyspace: &mut Keyspace, log: &mut EffectLog, words: &[&[u8]]) {
    let args: ArgsBuf = words.iter().copied().collect();
    let command = lookup(words[0]).expect("a command");
    let ctx = Ctx { now_ms: 1, may_write: true, value_bytes_max: 32 << 20 };
    let mut reply = ReplyBuf::new(Version::Resp2);
    keyspace.execute(&ctx, command, args.as_args(), None, &mut reply, log);
}

/// Writes all of it; what each step took, and the portions.
fn write(keyspace: &mut Keyspace) -> (Vec<Duration>, Vec<Portion>) {
    let (mut spans, mut portions) = (Vec::new(), Vec::new());
    let mut export = Export::new(1 << 20);
    loop {
        let began = Instant::now();
        let more = export.advance(keyspace, EntryId::ZERO, STEP);
        spans.push(began.elapsed());
        portions.extend(export.take().into_iter().map(|(_, portion)| portion));
        if !more {
            return (spans, portions);
        }
    }
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
    }
}
