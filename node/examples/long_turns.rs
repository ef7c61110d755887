//! How long a data thread is held up by commands on large values, and those who ask for other keys
//! meanwhile: a row for each command.
//!
//! `cargo run --profile fast -p cairn-node --example long_turns -- [items] [clients]`

#[path = "shared/alone.rs"]
mod alone;

use cairn_node::data::link::Reads;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What is measured: `N` stands for the number of items, `@` for a payload of the hash, `K` and
/// `P` for many keys, without and with values.
const COMMANDS: &[&str] = &[
    "HGETALL {k}h",
    "DUMP {k}h",
    "RESTORE {k}r 0 @ REPLACE",
    "COPY {k}h {k}c REPLACE",
    "SMEMBERS {k}s",
    "SINTER {k}s {k}s2",
    "SUNION {k}s {k}s2",
    "SUNIONSTORE {k}d {k}s {k}s2",
    "SDIFFSTORE {k}d {k}s {k}s2",
    "SRANDMEMBER {k}s -N",
    "LRANGE {k}l 0 -1",
    "LPOS {k}l none",
    "LINSERT {k}l BEFORE none x",
    "LREM {k}l 0 none",
    "SORT {k}l ALPHA LIMIT 0 10",
    "SORT {k}l ALPHA STORE {k}d",
    "SORT {k}l BY {k}no* GET {k}no* ALPHA",
    "ZRANGE {k}z 0 -1 WITHSCORES",
    "ZRANGEBYSCORE {k}z -inf +inf",
    "ZRANGESTORE {k}d {k}z 0 -1",
    "ZUNION 2 {k}z {k}s",
    "ZUNIONSTORE {k}d 2 {k}z {k}s",
    "ZREMRANGEBYRANK {k}d 0 -1",
    "GEOSEARCHSTORE {k}d {k}g FROMLONLAT 0 0 BYRADIUS 20000 KM",
    "XRANGE {k}x - + COUNT 100000",
    "XREAD COUNT 100000 STREAMS {k}x 0",
    "XREADGROUP GROUP g c COUNT 100000 STREAMS {k}x >",
    "XTRIM {k}x MAXLEN 10",
    "BITOP NOT {k}d {k}t",
    "BITCOUNT {k}t",
    "SETRANGE {k}t2 33000000 x",
    "APPEND {k}t x",
    "GET {k}t",
    "PFCOUNT K",
    "MSET P",
    "MGET K",
    "DEL K",
    "KEYS *",
    "SCAN 0 COUNT 10000000",
    "EVAL return_#redis.call('smembers',KEYS[1]) 1 {k}s",
    "CLIENT LIST",
    "PUBLISH news x",
    "DEL {k}h",
    "FLUSHALL",
];

struct Client {
    stream: TcpStream,
    buf: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buf: Vec::new() })
    }

    /// The reply to a command, whatever it is: what stands before the one to a PING behind it.
    fn ask(&mut self, words: &[impl AsRef<[u8]>]) -> anyhow::Result<&[u8]> {
        let mut frame = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            frame.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            frame.extend_from_slice(word);
            frame.extend_from_slice(b"\r\n");
        }
        frame.extend_from_slice(b"PING\r\n");
        self.stream.write_all(&frame)?;
        self.buf.clear();
        let mut room = vec![0; 1 << 20];
        while !self.buf.ends_with(b"+PONG\r\n") {
            let count = self.stream.read(&mut room)?;
            anyhow::ensure!(count > 0, "the connection is closed");
            self.buf.extend_from_slice(&room[..count]);
        }
        Ok(&self.buf[..self.buf.len() - 7])
    }

    fn figure(&mut self, name: &str) -> anyhow::Result<u64> {
        let stats = String::from_utf8_lossy(self.ask(&["INFO", "stats"])?).into_owned();
        let line = stats.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.unwrap_or("0").trim().parse()?)
    }
}

/// Adds `items` items in pieces: `begin` and what `each` says of each of them.
fn fill(
    client: &mut Client,
    items: usize,
    begin: &str,
    each: impl Fn(usize) -> Vec<String>,
) -> anyhow::Result<()> {
    for from in (0..items).step_by(500) {
        let mut words: Vec<String> = begin.split(' ').map(str::to_owned).collect();
        (from..items.min(from + 500)).for_each(|n| words.extend(each(n)));
        let reply = client.ask(&words)?;
        anyhow::ensure!(!reply.starts_with(b"-"), "{}", String::from_utf8_lossy(reply));
    }
    Ok(())
}

fn fill_all(client: &mut Client, items: usize) -> anyhow::Result<()> {
    fill(client, items, "HSET {k}h", |n| vec![format!("field:{n:07}"), format!("value:{n:09}")])?;
    fill(client, items, "RPUSH {k}l", |n| vec![format!("item:{:07}", n * 7919 % items)])?;
    fill(client, items, "SADD {k}s", |n| vec![format!("member:{n:07}")])?;
    fill(client, items, "SADD {k}s2", |n| vec![format!("member:{:07}", n * 2)])?;
    fill(client, items, "ZADD {k}z", |n| vec![n.to_string(), format!("member:{n:07}")])?;
    let place = |n: usize| (n * 7919 % 170_000) as f64 / 1000.0 - 85.0;
    fill(client, items, "GEOADD {k}g", |n| {
        vec![place(n).to_string(), place(n * 3).to_string(), format!("place:{n:07}")]
    })?;
    for n in 0..items {
        client.ask(&["XADD", "{k}x", &format!("{}-1", n + 1), "field", "value"])?;
    }
    client.ask(&["XGROUP", "CREATE", "{k}x", "g", "0"])?;
    client.ask(&["SETRANGE", "{k}t", "33000000", "x"])?;
    client.ask(&["SET", "other", "value"])?;
    Ok(())
}

/// The words of a row, with what its letters stand for.
fn words(row: &str, items: usize, payload: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    for word in row.split(' ') {
        match word {
            "@" => words.push(payload.to_vec()),
            "K" => words.extend((0..items / 4).map(|n| format!("{{k}}key{n}").into_bytes())),
            "P" => words.extend(
                (0..items / 4)
                    .flat_map(|n| [format!("{{k}}key{n}").into_bytes(), b"value".to_vec()]),
            ),
            word => {
                let word = word.replace('_', " ").replace("-N", &format!("-{items}"));
                words.push(word.into_bytes());
            }
        }
    }
    words
}

fn main() -> anyhow::Result<()> {
    let number = |at, or| std::env::args().nth(at).map_or(or, |it| it.parse().unwrap_or(or));
    let (items, clients) = (number(1, 500_000_usize), number(2, 2_000_usize));
    let running = alone::start(0, Reads::Lease)?;
    let address = running.addresses[0];
    std::thread::spawn(move || alone::control(running));
    let mut client = Client::new(address)?;
    fill_all(&mut client, items)?;
    let payload = client.ask(&["DUMP", "{k}h"])?.to_vec();
    let head = payload.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let payload = payload[head..payload.len().saturating_sub(2)].to_vec();

    let (longest, (ends, ended)) = (Arc::new(AtomicU64::new(0)), channel::<()>());
    let of_other = Arc::clone(&longest);
    let mut other = Client::new(address)?;
    let asks = std::thread::spawn(move || {
        let pause = Duration::from_micros(500);
        while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            let began = Instant::now();
            if other.ask(&["GET", "other"]).is_err() {
                return;
            }
            of_other.fetch_max(began.elapsed().as_micros() as u64, Relaxed);
        }
    });
    let mut listeners = Vec::new();
    for _ in 0..clients {
        let mut listener = Client::new(address)?;
        listener.stream.write_all(b"SUBSCRIBE news\r\n")?;
        listeners.push(listener);
    }
    println!("{items} items, {clients} listening clients, payload of {} bytes\n", payload.len());
    println!("| command | its client waits, ms | longest turn, ms | others wait, ms | elsewhere |");
    println!("|---|---|---|---|---|");
    for row in COMMANDS {
        let words = words(row, items, &payload);
        client.ask(&["CONFIG", "RESETSTAT"])?;
        longest.store(0, Relaxed);
        let began = Instant::now();
        let failed = client.ask(&words)?.starts_with(b"-");
        let waited = began.elapsed().as_secs_f64() * 1e3;
        let turn = client.figure("longest_turn_usec")? as f64 / 1e3;
        let others = longest.load(Relaxed) as f64 / 1e3;
        let there = if client.figure("long_commands")? > 0 { "yes" } else { "no" };
        let row = if failed { format!("{row} (an error)") } else { (*row).to_owned() };
        println!("| `{row}` | {waited:.1} | {turn:.1} | {others:.1} | {there} |");
    }
    drop(ends);
    asks.join().ok();
    Ok(())
}
