//! Writing: what the data thread hands over goes into a draft; it becomes a snapshot once the log
//! below it is flushed, so that no state is ever ahead of its log.

use super::KEPT;
use crate::clock;
use crate::data::link::Piece;
use cairn_files::{RealDisk, Result, SnapshotDraft, Snapshots};
use cairn_logic::ids::EntryId;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::Duration;

/// Between two looks whether the log is flushed.
const PAUSE: Duration = Duration::from_millis(10);
/// What is said to have made a snapshot.
const PROGRAM: &str = concat!("cairn-node ", env!("CARGO_PKG_VERSION"));

/// The thread of one snapshot.
pub(super) struct Writer {
    pub folder: Snapshots<RealDisk>,
    pub pieces: Receiver<Piece>,
    /// Up to where the log is flushed.
    pub flushed: Arc<AtomicU64>,
    /// Raised at the end.
    pub ended: Arc<AtomicBool>,
}

impl Writer {
    /// Whether the thread runs.
    pub fn spawn(self) -> bool {
        let body = move || {
            if let Err(error) = self.write() {
                tracing::error!(%error, "no snapshot was written; the next try is later");
                self.folder.discard().ok();
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
        let mut draft = self.folder.begin(cairn_keyspace::CONTENT, clock::unix_ms(), PROGRAM)?;
        let Some((last, keys)) = self.take(&mut draft)? else {
            tracing::info!("a snapshot was given up: this node became master, or began anew");
            drop(draft);
            return self.folder.discard();
        };
        while self.flushed.load(Ordering::Acquire) < last.offset.0 {
            thread::park_timeout(PAUSE);
        }
        let (file, end) = self.folder.finish(draft, last, 0)?;
        self.folder.prune(KEPT)?;
        let took_ms = clock::now().since(began).as_millis() as u64;
        let (from, upto, bytes) = (end.from, end.upto, file.bytes);
        tracing::info!(%from, %upto, keys, bytes, took_ms, "wrote a snapshot");
        Ok(())
    }

    /// All pieces; the last entry and the keys, or `None` if there was no end.
    fn take(&self, draft: &mut SnapshotDraft<RealDisk>) -> Result<Option<(EntryId, u64)>> {
        let (mut last, mut keys) = (EntryId::ZERO, 0);
        loop {
            match self.pieces.recv() {
                Ok(Piece::Portion(portion, at)) => {
                    let label = [portion.first.to_le_bytes(), portion.last.to_le_bytes()].concat();
                    draft.section(&label, at, portion.keys, &portion.records)?;
                    (last, keys) = (at, keys + u64::from(portion.keys));
                }
                Ok(Piece::End) => return Ok(Some((last, keys))),
                Err(_) => return Ok(None),
            }
        }
    }
}
