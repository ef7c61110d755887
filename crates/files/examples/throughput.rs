//! Measures append and flush: `cargo run --release -p cairn-files --example throughput -- DIR`.
//!
//! Prints, for batches of 64 KiB and of 4 KiB: appends alone (page cache), appends with a flusher
//! thread beside them, and a flush after each append; then how fast a snapshot is written.

use bytes::Bytes;
use cairn_files::{GroupFile, LogOptions, LogWriter, RealDisk, Result, Snapshots};
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, Offset};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

fn batch(first: u64, body: &Bytes) -> Batch {
    let (epoch, count, first) = (Epoch(1), 1, Offset(first));
    let head = BatchHead { epoch, first, count, time_ms: 0, authority: false, opens_epoch: false };
    Batch { head, body: body.clone() }
}

fn append(writer: &mut LogWriter, body: &Bytes) -> Result<Duration> {
    let next = batch(writer.last().offset.0 + 1, body);
    let start = Instant::now();
    writer.append(&[next])?;
    Ok(start.elapsed())
}

fn report(what: &str, bytes: usize, times: &mut [Duration], whole: Duration) {
    times.sort();
    let count = times.len();
    let mib_per_s = (bytes * count) as f64 / whole.as_secs_f64() / f64::from(1 << 20);
    println!(
        "{what}: batch_bytes={bytes} appends={count} mib_per_s={mib_per_s:.0} p50_us={} p99_us={} \
         max_us={}",
        times[count / 2].as_micros(),
        times[count * 99 / 100].as_micros(),
        times[count - 1].as_micros(),
    );
}

fn run(dir: &Path, bytes: usize, count: usize) -> Result<()> {
    let options = LogOptions::new(1, Incarnation(1), GroupId::new("bench"));
    let (mut writer, flusher, reader, _) = GroupFile::open(&RealDisk, dir, &options)?;
    let body = Bytes::from(vec![7; bytes]);

    let mut times = Vec::new();
    let start = Instant::now();
    for _ in 0..count {
        times.push(append(&mut writer, &body)?);
    }
    report("append", bytes, &mut times, start.elapsed());
    flusher.flush()?;

    let stop = AtomicBool::new(false);
    let mut times = Vec::new();
    std::thread::scope(|scope| -> Result<()> {
        let flushing = scope.spawn(|| {
            let mut flushes = 0;
            while !stop.load(Ordering::Relaxed) {
                flushes += u64::from(flusher.flush().is_ok());
            }
            flushes
        });
        let start = Instant::now();
        for _ in 0..count {
            times.push(append(&mut writer, &body)?);
        }
        flusher.flush()?;
        let whole = start.elapsed();
        stop.store(true, Ordering::Relaxed);
        report("append beside flushes", bytes, &mut times, whole);
        println!("  flushes={}", flushing.join().unwrap_or_default());
        Ok(())
    })?;

    let mut times = Vec::new();
    let start = Instant::now();
    for _ in 0..count.min(2000) {
        let begun = Instant::now();
        append(&mut writer, &body)?;
        flusher.flush()?;
        times.push(begun.elapsed());
    }
    report("append and flush", bytes, &mut times, start.elapsed());

    let start = Instant::now();
    let (mut next, mut read) = (Offset(1), 0);
    while next <= reader.last().offset {
        let batches = reader.read(next, 1 << 20)?;
        read += batches.iter().map(|batch| batch.body.len()).sum::<usize>();
        next = batches.last().map_or(next, |batch| batch.head.last_offset()).next();
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("read: bytes={read} mib_per_s={:.0}", read as f64 / seconds / f64::from(1 << 20));
    drop((writer, flusher, reader));
    let start = Instant::now();
    let (_, _, _, recovered) = GroupFile::open(&RealDisk, dir, &options)?;
    println!("open: bytes={} ms={}", recovered.bytes, start.elapsed().as_millis());
    Ok(())
}

/// A snapshot of `sections` sections of 256 KiB, half of which is noise.
fn snapshot(dir: &Path, sections: u32) -> Result<()> {
    let store = Snapshots::open(&RealDisk, dir, 1, GroupId::new("bench"))?;
    let mut noise = 1_u64;
    let mut raw = vec![7; 256 << 10];
    for byte in raw.iter_mut().step_by(2) {
        noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = (noise >> 56) as u8;
    }
    let start = Instant::now();
    let mut draft = store.begin(1, 0, "throughput")?;
    for section in 0..sections {
        draft.section(&section.to_be_bytes(), EntryId::ZERO, 1, &raw)?;
    }
    let (file, _) = store.finish(draft, EntryId::ZERO, 0)?;
    let (bytes, seconds) = (u64::from(sections) * raw.len() as u64, start.elapsed().as_secs_f64());
    let mib_per_s = bytes as f64 / seconds / f64::from(1 << 20);
    println!("snapshot: bytes={bytes} stored={} mib_per_s={mib_per_s:.0}", file.bytes);
    store.prune(0)
}

fn main() -> Result<()> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "/tmp/cairn-throughput".to_owned());
    run(&Path::new(&dir).join("64k"), 64 << 10, 8 << 10)?;
    run(&Path::new(&dir).join("4k"), 4 << 10, 32 << 10)?;
    snapshot(&Path::new(&dir).join("snapshots"), 2000)
}
