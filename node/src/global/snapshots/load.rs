//! Loading: a thread builds the directory beside everything else, out of sections that others read,
//! decompress and check; the control loop takes it when it is whole and its hash is right.

use crate::clock;
use crate::cores::workers;
use crate::snapshots::{Newest, Stock};
use crate::status;
use crate::storage::Notify;
use cairn_directory::Directory;
use cairn_directory::directory::Checked;
use cairn_files::snapshot::Section;
use cairn_files::{Error, RealDisk, Result, Snapshot};
use cairn_host::Event;
use cairn_logic::time::{Duration, Instant};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Sections that one of them has ready before those are taken, beside the one it is at.
const SECTIONS_AHEAD: usize = 4;
/// Between two lines that say how far it is.
const TELL: Duration = Duration::from_secs(5);

/// A load under way, or over and not taken.
pub(super) struct Load {
    newest: Newest,
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
        let newest = Newest::from(&snapshot);
        let shared = Arc::new(Progress::new(snapshot.bytes()));
        let (path, at, bytes) = (snapshot.path().display().to_string(), newest.from, newest.bytes);
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
        Self { newest, shared }
    }

    /// What is being loaded.
    pub fn newest(&self) -> Newest {
        self.newest
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

    /// Says now and then how far it is.
    fn tell(&self, told: &mut Instant) {
        if clock::now().since(*told) >= TELL {
            *told = clock::now();
            let (bytes, of) = (self.bytes.load(Ordering::Relaxed), self.total_bytes);
            tracing::info!(bytes, of, left_ms = self.left_ms(), "loading a snapshot");
        }
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
    let readers = workers();
    let (mut directory, mut told) = (Directory::new(), clock::now());
    let taken = thread::scope(|scope| {
        let start = |nth| {
            let (give, take) = sync_channel(SECTIONS_AHEAD);
            scope.spawn(move || check_some(snapshot, (nth, readers), &give));
            take
        };
        let readers: Vec<_> = (0..readers).map(start).collect();
        for (section, reader) in snapshot.sections().iter().zip(readers.iter().cycle()) {
            let checked = reader.recv().expect("each says what became of its sections")?;
            directory.take(&checked).map_err(|_| broken(snapshot, "a section is no state"))?;
            shared.bytes.fetch_add(u64::from(section.stored_bytes), Ordering::Relaxed);
            shared.records.fetch_add(u64::from(section.records), Ordering::Relaxed);
            if shared.given_up.load(Ordering::Acquire) {
                return Ok(false);
            }
            shared.tell(&mut told);
        }
        Ok(true)
    });
    if !taken? {
        return Ok(None);
    }
    if directory.state_hash().hash != snapshot.end().hash {
        return Err(broken(snapshot, "its state has another hash than it says"));
    }
    Ok(Some(directory))
}

/// Reads and checks every section whose number is `nth` beyond a multiple of `of`, until one is
/// broken or nobody takes them any more.
fn check_some(
    snapshot: &Snapshot<RealDisk>,
    (nth, of): (usize, usize),
    give: &SyncSender<Result<Checked>>,
) {
    for section in snapshot.sections().iter().skip(nth).step_by(of) {
        let checked = check(snapshot, section);
        let failed = checked.is_err();
        if give.send(checked).is_err() || failed {
            return;
        }
    }
}

fn check(snapshot: &Snapshot<RealDisk>, section: &Section) -> Result<Checked> {
    let checked = Checked::new(snapshot.read(section)?.into())
        .map_err(|_| broken(snapshot, "a section is no state"))?;
    if checked.records() != section.records as usize {
        return Err(broken(snapshot, "a section holds another number of records than it says"));
    }
    Ok(checked)
}

fn broken(snapshot: &Snapshot<RealDisk>, found: &'static str) -> Error {
    Error::Broken { path: snapshot.path().to_owned(), found }
}
