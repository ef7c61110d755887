//! Loading: sections are read and decompressed on all cores, and taken in their order.

use crate::clock;
use crate::data::link::Feeder;
use crate::snapshots::{Newest, Shown};
use crate::status;
use crate::storage::Notify;
use cairn_files::snapshot::Section;
use cairn_files::{Error, RealDisk, Result, Snapshot};
use cairn_host::Event;
use cairn_keyspace::Portion;
use cairn_logic::time::{Duration, Instant};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;

/// Threads that read and decompress, at most.
const READERS_MAX: usize = 8;
/// Between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// Loads `snapshot` in a thread of its own, which says in `percent` how far it is and lowers `busy`
/// at the end. `notify` hears that it is good, or, if it cannot be loaded, that the state does not
/// fit.
pub(super) fn spawn(
    snapshot: Snapshot<RealDisk>,
    feeder: Feeder,
    load: u64,
    (busy, percent): (Arc<AtomicBool>, Arc<AtomicU32>),
    (notify, shown): (Notify, Shown),
) {
    let ended = busy.clone();
    let failed = notify.clone();
    let body = move || {
        let end = *snapshot.end();
        match feed(&snapshot, &feeder, load, &percent) {
            Ok(()) => {
                feeder.done(load, end.from);
                shown.good(Newest::from(&snapshot));
                notify(Event::Snapshot(end.from));
            }
            Err(error) => {
                tracing::error!(%error, "a snapshot cannot be loaded");
                notify(Event::Astray);
            }
        }
        busy.store(false, Ordering::Release);
    };
    if let Err(error) = thread::Builder::new().name("load".into()).spawn(body) {
        tracing::error!(%error, "cannot start the thread that loads a snapshot");
        ended.store(false, Ordering::Release);
        failed(Event::Astray);
    }
}

fn feed(
    snapshot: &Snapshot<RealDisk>,
    feeder: &Feeder,
    load: u64,
    percent: &AtomicU32,
) -> Result<()> {
    let readers = thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX);
    let mut progress = Progress::new(snapshot);
    for window in snapshot.sections().chunks(readers) {
        let portions = thread::scope(|scope| {
            let read = |section| scope.spawn(move || portion(snapshot, section));
            let reading: Vec<_> = window.iter().map(read).collect();
            let joined = reading.into_iter().map(|one| one.join().expect("reading does not panic"));
            joined.collect::<Result<Vec<Portion>>>()
        })?;
        for (section, portion) in window.iter().zip(portions) {
            progress.done(section, &portion);
            percent.store(status::percent(progress.bytes, progress.total_bytes), Ordering::Relaxed);
            if !feeder.portion(load, portion, section.at.offset) {
                return Ok(());
            }
        }
    }
    progress.end();
    Ok(())
}

fn portion(snapshot: &Snapshot<RealDisk>, section: &Section) -> Result<Portion> {
    let records = snapshot.read(section)?;
    let slots = |at: usize| {
        let bytes = section.label.get(at..at + 2)?;
        Some(u16::from_le_bytes(bytes.try_into().ok()?))
    };
    match (slots(0), slots(2)) {
        (Some(first), Some(last)) => Ok(Portion { first, last, keys: section.records, records }),
        _ => Err(Error::Broken {
            path: snapshot.path().to_owned(),
            found: "a section does not say which slots it has",
        }),
    }
}

/// How far a load is, told now and then.
struct Progress {
    began: Instant,
    told: Instant,
    total_bytes: u64,
    bytes: u64,
    keys: u64,
}

impl Progress {
    fn new(snapshot: &Snapshot<RealDisk>) -> Self {
        let (now, end) = (clock::now(), snapshot.end());
        let total_bytes = snapshot.bytes();
        let path = snapshot.path().display();
        tracing::info!(%path, upto = %end.upto, bytes = total_bytes, "loading a snapshot");
        Self { began: now, told: now, total_bytes, bytes: 0, keys: 0 }
    }

    fn done(&mut self, section: &Section, portion: &Portion) {
        self.bytes += u64::from(section.stored_bytes);
        self.keys += u64::from(portion.keys);
        let now = clock::now();
        if now.since(self.told) < PROGRESS {
            return;
        }
        self.told = now;
        let took_ms = now.since(self.began).as_millis();
        let left = u128::from(self.total_bytes.saturating_sub(self.bytes));
        let left_ms = left * u128::from(took_ms as u64) / u128::from(self.bytes.max(1));
        let (bytes, of, keys) = (self.bytes, self.total_bytes, self.keys);
        tracing::info!(bytes, of, keys, left_ms = left_ms as u64, "loading a snapshot");
    }

    fn end(&self) {
        let took_ms = clock::now().since(self.began).as_millis() as u64;
        tracing::info!(bytes = self.bytes, keys = self.keys, took_ms, "loaded a snapshot");
    }
}
