//! Writing: what the data thread hands over goes into a draft; it becomes a snapshot once the log
//! below it is flushed and committed, so that no state is ever ahead of its log.

use crate::clock;
use crate::data::link::Piece;
use crate::snapshots::{Newest, Stock};
use crate::storage::Notify;
use cairn_files::{RealDisk, Result, SnapshotDraft};
use cairn_host::Event;
use cairn_logic::ids::EntryId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

/// Between two looks whether the log is flushed and committed.
const PAUSE: Duration = Duration::from_millis(10);
/// What is said to have made a snapshot.
const PROGRAM: &str = concat!("cairn-node ", env!("CARGO_PKG_VERSION"));

/// The thread of one snapshot.
pub(super) struct Writer {
    pub stock: Stock,
    pub pieces: Receiver<Piece>,
    /// Up to where the log is flushed and committed.
    pub covered: Arc<AtomicU64>,
    /// Raised at the end.
    pub ended: Arc<AtomicBool>,
    /// Raised by others: it must not become a snapshot.
    pub given_up: Arc<AtomicBool>,
    pub notify: Notify,
}

impl Writer {
    /// Whether the thread runs.
    pub fn spawn(self) -> bool {
        let body = move || {
            if let Err(error) = self.write() {
                tracing::error!(%error, "no snapshot was written; the next try is later");
                self.stock.folder.discard().ok();
            }
            self.ended.store(true, Ordering::Release);
        };
        match thread::Builder::new().name("snapshot".into()).spawn(body) {
            Ok(_) => true,
            Err(error) => {
                tracing::error!(%error, "cannot start the thread that writes a snapshot");
                false
            }
        }
    }

    fn write(&self) -> Result<()> {
        let began = clock::now();
        let mut draft =
            self.stock.folder.begin(cairn_keyspace::CONTENT, clock::unix_ms(), PROGRAM)?;
        let taken = self.take(&mut draft)?;
        let Some((last, keys)) = taken.filter(|(last, _)| self.is_covered(*last)) else {
            tracing::info!("a snapshot was given up: this node's mastership changed");
            drop(draft);
            return self.stock.folder.discard();
        };
        let (file, end) = self.stock.folder.finish(draft, last, 0)?;
        // What is read back whole is good, and only behind a good one is the log given up.
        let snapshot = self.stock.folder.read(&file.path)?;
        snapshot.verify()?;
        self.stock.prune();
        let took_ms = clock::now().since(began).as_millis() as u64;
        let (from, upto, bytes) = (end.from, end.upto, file.bytes);
        tracing::info!(%from, %upto, keys, bytes, took_ms, "wrote a snapshot");
        self.stock.shown.took(took_ms);
        self.stock.shown.good(Newest::from(&snapshot));
        (self.notify)(Event::Snapshot(from));
        Ok(())
    }

    /// Waits until everything up to `last` is flushed and committed; whether that came.
    fn is_covered(&self, last: EntryId) -> bool {
        loop {
            // In this order: once it is given up, what is covered may be other entries.
            let covered = self.covered.load(Ordering::Acquire) >= last.offset.0;
            if self.given_up.load(Ordering::Acquire) {
                return false;
            }
            if covered {
                return true;
            }
            thread::park_timeout(PAUSE);
        }
    }

    /// All pieces; the last entry and the keys, or `None` if there was no end.
    fn take(&self, draft: &mut SnapshotDraft<RealDisk>) -> Result<Option<(EntryId, u64)>> {
        let (mut last, mut keys) = (EntryId::ZERO, 0);
        loop {
            match self.pieces.recv() {
                Ok(Piece::Portion(portion, at)) => {
                    draft.section(&portion.label(), at, portion.keys, &portion.records)?;
                    (last, keys) = (at, keys + u64::from(portion.keys));
                }
                Ok(Piece::End) => return Ok(Some((last, keys))),
                Err(_) => return Ok(None),
            }
        }
    }
}
