//! Measures the hot path alone: GET and SET on random keys, one by one and as a batch that is
//! prefetched, and the memory that keys take. Run it with `--release`. Times are of the processor,
//! not of the clock on the wall.
//!
//! Usage: `hot [keys] [memory_keys]`

use cairn_keyspace::command::{Command, lookup};
use cairn_keyspace::{At, Ctx, EffectLog, Keyspace};
use cairn_logic::ids::Offset;
use cairn_resp::{Args, ArgsBuf, Limits, Parser, ReplyBuf, Version};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 64;
const VALUE: [u8; 64] = [b'v'; 64];
const CTX: Ctx = Ctx { now_ms: 1, may_write: true, value_bytes_max: 512 << 20 };

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }
}

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let text = format!("{number:012}");
    key[4..].copy_from_slice(text.as_bytes());
    key
}

fn fill(keys: u64) -> Keyspace {
    let mut ks = Keyspace::new(0x5eed);
    let set = lookup(b"SET").expect("a command");
    let mut log = EffectLog::new(Offset(1));
    let mut reply = ReplyBuf::new(Version::Resp2);
    for number in 0..keys {
        let args: ArgsBuf = [b"SET".as_slice(), &key(number), &VALUE].into_iter().collect();
        ks.execute(&CTX, set, args.as_args(), None, &mut reply, &mut log);
        if number % 64 == 0 {
            reply.clear();
            drop(log.take());
        }
    }
    ks
}

/// Requests as bytes, `BATCH` to a buffer.
fn batches(keys: u64, count: usize, value: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut dice = Dice(7);
    let make = |dice: &mut Dice| {
        let mut bytes = Vec::new();
        for _ in 0..BATCH {
            let key = key(dice.below(keys));
            match value {
                None => bytes.extend_from_slice(b"*2\r\n$3\r\nGET\r\n$16\r\n"),
                Some(_) => bytes.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$16\r\n"),
            }
            bytes.extend_from_slice(&key);
            if let Some(value) = value {
                bytes.extend_from_slice(format!("\r\n${}\r\n", value.len()).as_bytes());
                bytes.extend_from_slice(value);
            }
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    };
    (0..count).map(|_| make(&mut dice)).collect()
}

fn turn(
    ks: &mut Keyspace,
    work: &[(&'static Command, Args<'_>, At)],
    prefetch: bool,
    reply: &mut ReplyBuf,
    log: &mut EffectLog,
) {
    if prefetch {
        ks.prefetch(&work.iter().map(|(_, _, at)| *at).collect::<Vec<_>>());
    }
    for (command, args, at) in work {
        ks.execute(&CTX, command, *args, Some(*at), reply, log);
    }
}

fn measure(name: &str, ks: &mut Keyspace, mut input: Vec<Vec<u8>>, prefetch: bool) {
    let mut parser = Parser::new(Limits::default());
    let mut reply = ReplyBuf::new(Version::Resp2);
    let mut log = EffectLog::new(Offset(1_000_000_000));
    let begin = cpu_nanos();
    let mut operations = 0;
    for buffer in &mut input {
        let count = parser.parse(buffer).expect("well-formed requests");
        let mut work: Vec<(&'static Command, Args<'_>, At)> = Vec::with_capacity(count);
        for index in 0..count {
            let args = parser.args(index, buffer);
            let command = lookup(args.name()).expect("a known command");
            let at = ks.locate(command.first_key(args).expect("a key"));
            work.push((command, args, at));
        }
        turn(ks, &work, prefetch, &mut reply, &mut log);
        operations += count;
        drop(work);
        parser.consume();
        reply.clear();
        drop(log.take());
    }
    let nanos = (cpu_nanos() - begin) as f64 / operations as f64;
    println!("hot: {name} prefetch={prefetch} ns_per_op={nanos:.0}");
}

/// How long this process has run on a processor.
fn cpu_nanos() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

/// The commands on one large collection each that benchmarks of such servers use.
fn families(keys: u64) {
    let mut ks = Keyspace::new(0x5eed);
    let mut log = EffectLog::new(Offset(1));
    let mut reply = ReplyBuf::new(Version::Resp2);
    let mut dice = Dice(3);
    for name in ["INCR", "LPUSH", "SADD", "HSET", "ZADD"] {
        let command = lookup(name.as_bytes()).expect("a known command");
        let mut work = Vec::new();
        for _ in 0..keys {
            let member = format!("element:{:012}", dice.below(keys));
            let score = dice.below(keys).to_string();
            let parts: Vec<&str> = match name {
                "INCR" => vec![name, &member],
                "HSET" => vec![name, "myhash", &member, "value"],
                "ZADD" => vec![name, "myzset", &score, &member],
                "SADD" => vec![name, "myset", &member],
                _ => vec![name, "mylist", &member],
            };
            work.push(parts.iter().collect::<ArgsBuf>());
        }
        for round in 0..2 {
            let begin = cpu_nanos();
            for (number, args) in work.iter().enumerate() {
                ks.execute(&CTX, command, args.as_args(), None, &mut reply, &mut log);
                if number % BATCH == 0 {
                    reply.clear();
                    drop(log.take());
                }
            }
            let nanos = (cpu_nanos() - begin) as f64 / keys as f64;
            println!("hot: {name} round={round} ns_per_op={nanos:.0}");
        }
    }
}

fn rss_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn main() {
    let mut args = std::env::args().skip(1).map(|arg| arg.parse::<u64>());
    let keys = args.next().and_then(Result::ok).unwrap_or(1_000_000);
    let memory_keys = args.next().and_then(Result::ok).unwrap_or(5_000_000);

    let before = rss_bytes();
    let begin = cpu_nanos();
    let ks = fill(memory_keys);
    let per_second = memory_keys as f64 * 1e9 / (cpu_nanos() - begin) as f64;
    let rss = (rss_bytes() - before) as f64 / memory_keys as f64;
    let estimate = ks.used_bytes() as f64 / memory_keys as f64;
    println!(
        "hot: keys={memory_keys} rss_per_key={rss:.1} estimate_per_key={estimate:.1} \
         fill_per_s={per_second:.0}",
    );
    drop(ks);

    let mut ks = fill(keys);
    for round in 0..2 {
        for prefetch in [false, true] {
            let count = 30_000;
            measure(&format!("GET round={round}"), &mut ks, batches(keys, count, None), prefetch);
            let input = batches(keys, count, Some(&VALUE));
            measure(&format!("SET round={round}"), &mut ks, input, prefetch);
        }
    }
    drop(ks);
    families(keys);
}
