//! Loading: a thread builds the directory beside everything else, out of sections that others read
//! and decompress; the control loop takes it when it is whole and its hash is right.

use crate::clock;
use crate::snapshots::Stock;
use crate::status;
use crate::storage::Notify;
use cairn_directory::Directory;
use cairn_files::snapshot::Section;
use cairn_files::{Error, RealDisk, Result, Snapshot};
use cairn_host::Event;
use cairn_logic::ids::EntryId;
use cairn_logic::time::{Duration, Instant};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Threads that read and decompress, at most.
const READERS_MAX: usize = 8;
/// Sections that one of them reads before those are taken.
const SECTIONS_EACH: usize = 8;
/// Between two lines that say how far it is.
const TELL: Duration = Duration::from_secs(5);

/// A load under way, or over and not taken.
pub(super) struct Load {
    at: EntryId,
    shared: Arc<Progress>,
}

struct Progress {
    state: Mutex<Option<Directory>>,
    bytes: AtomicU64,
    total_bytes: u64,
    records: AtomicU64,
    /// Nobody wants it any more.
    given_up: AtomicBool,
    began: Instant,
}

impl Load {
    /// Begins to load `snapshot`. At the end `notify` hears of it: as of time that has passed if it
    /// can be taken; else the file is set aside, and the state is to be built anew.
    pub fn spawn(snapshot: Snapshot<RealDisk>, stock: Stock, notify: Notify) -> Self {
        let at = snapshot.end().from;
        let shared = Arc::new(Progress::new(snapshot.bytes()));
        let (path, bytes) = (snapshot.path().display().to_string(), snapshot.bytes());
        tracing::info!(path, %at, bytes, "loading a snapshot");
        let (ours, failed) = (shared.clone(), notify.clone());
        let body = move || match read(&snapshot, &ours) {
            Ok(Some(directory)) => {
                ours.end();
                *ours.state.lock().unwrap_or_else(PoisonError::into_inner) = Some(directory);
                notify(Event::Tick);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::error!(%error, "a snapshot cannot be loaded");
                stock.set_aside(snapshot.path());
                notify(Event::Astray);
            }
        };
        if let Err(error) = thread::Builder::new().name("load".into()).spawn(body) {
            // Without threads nothing goes; the next try is at the next start of the state.
            tracing::error!(%error, "cannot start the thread that loads a snapshot");
            failed(Event::Astray);
        }
        Self { at, shared }
    }

    /// The entry after which the state is as it will be.
    pub fn at(&self) -> EntryId {
        self.at
    }

    /// The state, if it is whole.
    pub fn take(&self) -> Option<Directory> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// How much of it there is.
    pub fn percent(&self) -> u32 {
        status::percent(self.shared.bytes.load(Ordering::Relaxed), self.shared.total_bytes)
    }

    /// How far it is, in words.
    pub fn progress(&self) -> String {
        let shared = &self.shared;
        let bytes = shared.bytes.load(Ordering::Relaxed);
        let (of, records) = (shared.total_bytes, shared.records.load(Ordering::Relaxed));
        let left_ms = shared.left_ms();
        format!("loading a snapshot: {bytes} of {of} bytes, {records} records, {left_ms} ms left")
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.given_up.store(true, Ordering::Release);
    }
}

impl Progress {
    fn new(total_bytes: u64) -> Self {
        Self {
            state: Mutex::new(None),
            bytes: AtomicU64::new(0),
            total_bytes,
            records: AtomicU64::new(0),
            given_up: AtomicBool::new(false),
            began: clock::now(),
        }
    }

    fn left_ms(&self) -> u64 {
        let bytes = self.bytes.load(Ordering::Relaxed);
        let left = u128::from(self.total_bytes.saturating_sub(bytes));
        let took_ms = clock::now().since(self.began).as_millis();
        u64::try_from(left * took_ms / u128::from(bytes.max(1))).unwrap_or(u64::MAX)
    }

    fn end(&self) {
        let took_ms = clock::now().since(self.began).as_millis() as u64;
        let (bytes, records) =
            (self.bytes.load(Ordering::Relaxed), self.records.load(Ordering::Relaxed));
        tracing::info!(bytes, records, took_ms, "loaded a snapshot");
    }
}

/// The directory of a snapshot, on a thread that may wait.
///
/// # Errors
/// The file cannot be read, a section is no state, or the state has another hash than it says.
pub fn load_now(snapshot: &Snapshot<RealDisk>) -> Result<Directory> {
    let loaded = read(snapshot, &Progress::new(snapshot.bytes()))?;
    Ok(loaded.expect("nobody gives it up"))
}

/// The directory, `None` if nobody wants it any more.
fn read(snapshot: &Snapshot<RealDisk>, shared: &Progress) -> Result<Option<Directory>> {
    let readers = thread::available_parallelism().map_or(1, usize::from).min(READERS_MAX);
    let broken = |found| Error::Broken { path: snapshot.path().to_owned(), found };
    let (mut directory, mut told) = (Directory::new(), clock::now());
    let mut windows = snapshot.sections().chunks(readers * SECTIONS_EACH);
    let mut here = read_all(snapshot, windows.next().unwrap_or_default());
    loop {
        let next = windows.next();
        let portions = here?;
        // The next window is read while this one is taken.
        let (taken, ahead) = thread::scope(|scope| {
            let ahead = next.map(|window| scope.spawn(move || read_all(snapshot, window)));
            let taken = portions.into_iter().try_for_each(|(section, raw)| {
                directory.import(raw.into()).map_err(|_| broken("a section is no state"))?;
                shared.bytes.fetch_add(u64::from(section.stored_bytes), Ordering::Relaxed);
                shared.records.fetch_add(u64::from(section.records), Ordering::Relaxed);
                Ok(())
            });
            (taken, ahead.map(|one| one.join().expect("reading does not panic")))
        });
        taken?;
        if shared.given_up.load(Ordering::Acquire) {
            return Ok(None);
        }
        if clock::now().since(told) >= TELL {
            told = clock::now();
            let (bytes, of) = (shared.bytes.load(Ordering::Relaxed), shared.total_bytes);
            tracing::info!(bytes, of, left_ms = shared.left_ms(), "loading a snapshot");
        }
        match ahead {
            Some(ahead) => here = ahead,
            None => break,
        }
    }
    if directory.state_hash().hash != snapshot.end().hash {
        return Err(broken("its state has another hash than it says"));
    }
    Ok(Some(directory))
}

/// The records of `sections`, in their order, read by several threads.
fn read_all<'a>(
    snapshot: &Snapshot<RealDisk>,
    sections: &'a [Section],
) -> Result<Vec<(&'a Section, Vec<u8>)>> {
    let some = |part: &'a [Section]| -> Result<Vec<_>> {
        part.iter().map(|section| Ok((section, snapshot.read(section)?))).collect()
    };
    thread::scope(|scope| {
        let parts = sections.chunks(SECTIONS_EACH);
        let reading: Vec<_> = parts.map(|part| scope.spawn(move || some(part))).collect();
        let mut all = Vec::with_capacity(sections.len());
        for one in reading {
            all.extend(one.join().expect("reading does not panic")?);
        }
        Ok(all)
    })
}
