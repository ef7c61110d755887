//! Writing: what the control loop hands over goes into a draft; it becomes a snapshot once the log
//! below it is flushed and committed, so that no state is ever ahead of its log.

use crate::clock;
use crate::snapshots::Newest;
use cairn_directory::directory::{CONTENT, Portion};
use cairn_files::{RealDisk, Result, SnapshotDraft, Snapshots};
use cairn_logic::ids::EntryId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Between two looks whether the log is flushed.
const PAUSE: Duration = Duration::from_millis(10);
/// Between two portions: whoever waits for the control loop comes first.
const STEP: Duration = Duration::from_micros(500);
/// The size of a section, in bytes, about: the more, the better it is compressed.
const SECTION_BYTES: usize = 512 << 10;
/// Portions under way between the loop and the thread.
const AHEAD: usize = 2;
/// What is said to have made a snapshot.
const PROGRAM: &str = concat!("cairn-node ", env!("CARGO_PKG_VERSION"));

/// What the control loop hands over.
pub enum Piece {
    /// A portion of the state.
    Portion(Portion),
    /// There is no more.
    End,
}

/// What the thread says.
#[derive(Debug)]
pub enum Written {
    /// Another portion is wanted.
    More,
    /// It is over: the snapshot and how many milliseconds it took, or none.
    Done(Option<(Newest, u64)>),
}

/// The control loop's end of a snapshot that is being written; dropping it before [`Piece::End`]
/// gives the snapshot up.
pub struct Writer {
    pieces: SyncSender<Piece>,
    /// Up to where the log is flushed and committed.
    durable: Arc<AtomicU64>,
    given_up: Arc<AtomicBool>,
    at: EntryId,
}

impl Writer {
    /// Starts the thread that writes the state after `at`, whose hash is `hash`; it asks for each
    /// portion by `to`. `None` if there can be no thread.
    pub fn spawn(
        folder: &Snapshots<RealDisk>,
        at: EntryId,
        hash: u64,
        to: UnboundedSender<Written>,
    ) -> Option<Self> {
        // The loop gives no more than it was asked for, and one end.
        let (pieces, queue) = sync_channel(AHEAD + 1);
        let durable = Arc::new(AtomicU64::new(0));
        let given_up = Arc::new(AtomicBool::new(false));
        let thread = Thread {
            folder: folder.clone(),
            pieces: queue,
            durable: durable.clone(),
            given_up: given_up.clone(),
            at,
            hash,
            to,
        };
        match thread::Builder::new().name("snapshot".into()).spawn(move || thread.run()) {
            Ok(_) => Some(Self { pieces, durable, given_up, at }),
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that writes a snapshot");
                None
            }
        }
    }

    /// The entry after which the state was as it is being written.
    pub fn at(&self) -> EntryId {
        self.at
    }

    /// Hands over what was asked for.
    pub fn give(&self, piece: Piece) {
        self.pieces.try_send(piece).ok();
    }

    /// The log is flushed and committed up to here.
    pub fn durable(&self, offset: u64) {
        self.durable.store(offset, Ordering::Release);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.given_up.store(true, Ordering::Release);
    }
}

/// Puts portions together, which are as small as the control loop wants them, to sections.
pub struct Sections {
    at: EntryId,
    open: Option<Portion>,
}

impl Sections {
    /// Those of the state after `at`.
    pub fn new(at: EntryId) -> Self {
        Self { at, open: None }
    }

    /// Adds the next portion.
    ///
    /// # Errors
    /// As [`SnapshotDraft::section`].
    pub fn add(&mut self, draft: &mut SnapshotDraft<RealDisk>, next: Portion) -> Result<()> {
        if next.is_empty() {
            return Ok(());
        }
        self.open = Some(match self.open.take() {
            None => next,
            Some(mut open) => match open.join(next, SECTION_BYTES) {
                Ok(()) => open,
                Err(next) => {
                    draft.section(&open.label, self.at, open.records, &open.bytes)?;
                    next
                }
            },
        });
        Ok(())
    }

    /// There is no more.
    ///
    /// # Errors
    /// As [`SnapshotDraft::section`].
    pub fn end(self, draft: &mut SnapshotDraft<RealDisk>) -> Result<()> {
        let Some(open) = self.open else { return Ok(()) };
        draft.section(&open.label, self.at, open.records, &open.bytes)
    }
}

struct Thread {
    folder: Snapshots<RealDisk>,
    pieces: Receiver<Piece>,
    durable: Arc<AtomicU64>,
    given_up: Arc<AtomicBool>,
    at: EntryId,
    hash: u64,
    to: UnboundedSender<Written>,
}

impl Thread {
    fn run(self) {
        let made = self.write().unwrap_or_else(|error| {
            tracing::error!(%error, "no snapshot was written; the next try is later");
            self.folder.discard().ok();
            None
        });
        self.to.send(Written::Done(made)).ok();
    }

    fn write(&self) -> Result<Option<(Newest, u64)>> {
        let began = clock::now();
        let mut draft = self.folder.begin(CONTENT, clock::unix_ms(), PROGRAM)?;
        if !self.take(&mut draft)? || !self.is_durable() {
            tracing::info!("a snapshot was given up: the state began anew, or another masters");
            drop(draft);
            self.folder.discard()?;
            return Ok(None);
        }
        let (file, end) = self.folder.finish(draft, self.at, self.hash)?;
        let newest = Newest::from(&self.folder.read(&file.path)?);
        let took_ms = clock::now().since(began).as_millis() as u64;
        let (at, records, bytes) = (end.from, end.records, file.bytes);
        tracing::info!(%at, records, bytes, took_ms, "wrote a snapshot");
        Ok(Some((newest, took_ms)))
    }

    /// Takes all pieces; whether there was an end.
    fn take(&self, draft: &mut SnapshotDraft<RealDisk>) -> Result<bool> {
        for _ in 0..AHEAD {
            self.to.send(Written::More).ok();
        }
        let mut sections = Sections::new(self.at);
        loop {
            match self.pieces.recv() {
                Ok(Piece::Portion(portion)) => {
                    sections.add(draft, portion)?;
                    thread::park_timeout(STEP);
                    self.to.send(Written::More).ok();
                }
                Ok(Piece::End) => return sections.end(draft).map(|()| true),
                Err(_) => return Ok(false),
            }
        }
    }

    /// Waits until the log holds what was written; whether it does.
    fn is_durable(&self) -> bool {
        loop {
            if self.durable.load(Ordering::Acquire) >= self.at.offset.0 {
                return true;
            }
            if self.given_up.load(Ordering::Acquire) {
                return false;
            }
            thread::park_timeout(PAUSE);
        }
    }
}
