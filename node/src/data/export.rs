//! Snapshots of the keyspace: written a little in each turn, taken back at a start.

use crate::data::link::Piece;
use crate::data::server::Server;
use cairn_keyspace::{Export, Portion};
use cairn_logic::ids::{EntryId, Offset};
use cairn_logic::time::{Duration, Instant};
use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};

/// Keys written in one step, about; a slot is written whole, and empty slots cost little.
const KEYS_MAX: usize = 64;
/// Until it is looked again whether a snapshot may go on.
const PAUSE: Duration = Duration::from_millis(1);
/// The size of a portion, in bytes.
const PORTION_BYTES: usize = 1 << 20;

/// A snapshot that is being written.
pub struct Exporting {
    export: Export,
    to: SyncSender<Piece>,
    /// What there was no room for yet.
    waiting: VecDeque<Piece>,
    more: bool,
    due: Instant,
}

impl Exporting {
    /// When the next step is due.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Sends what waits; whether all of it went, or `None` if nobody takes it any more.
    fn send(&mut self) -> Option<bool> {
        while let Some(piece) = self.waiting.pop_front() {
            match self.to.try_send(piece) {
                Ok(()) => {}
                Err(TrySendError::Full(piece)) => {
                    self.waiting.push_front(piece);
                    return Some(false);
                }
                Err(TrySendError::Disconnected(_)) => return None,
            }
        }
        Some(true)
    }
}

impl Server {
    /// Begins to write a snapshot, in place of one that is being written.
    pub(super) fn begin_export(&mut self, to: SyncSender<Piece>) {
        let export = Export::new(PORTION_BYTES);
        let (waiting, due) = (VecDeque::new(), self.core.now);
        self.export = Some(Exporting { export, to, waiting, more: true, due });
    }

    /// Writes a few keys, as they are after the last entry; whether it may go on at once.
    pub(super) fn export_some(&mut self) -> bool {
        let due = |it: &&mut Exporting| self.core.now >= it.due;
        if self.export.as_mut().filter(due).is_none() {
            return false;
        }
        // Of a master: what this turn has changed already is an entry like all before it.
        self.core.append();
        let core = &self.core;
        let Some(exporting) = &mut self.export else { return false };
        // What was replaced is kept aside before a snapshot has its place.
        let held = core.loading || core.gap || core.dirty_tail || core.unkept > 0;
        match if held { Some(false) } else { exporting.send() } {
            Some(false) => exporting.due = core.now + PAUSE,
            Some(true) if exporting.more => {
                exporting.more = exporting.export.advance(&core.keyspace, core.last, KEYS_MAX);
                let portions = exporting.export.take().into_iter();
                exporting.waiting.extend(portions.map(|(at, one)| Piece::Portion(one, at)));
                if !exporting.more {
                    exporting.waiting.push_back(Piece::End);
                }
                return true;
            }
            Some(true) | None => self.export = None,
        }
        false
    }

    /// Takes a portion of the snapshot that is being loaded.
    pub(super) fn import(&mut self, load: u64, portion: &Portion, at: Offset) {
        self.core.shared.imported(portion);
        if load != self.load || self.core.gap {
            return;
        }
        if let Err(error) = self.core.keyspace.import(portion, at) {
            let (first, last) = (portion.first, portion.last);
            tracing::error!(%error, first, last, "cannot load these slots");
            self.core.found_gap(at);
        }
    }

    /// The snapshot is loaded: batches go on after `last`.
    pub(super) fn imported(&mut self, load: u64, last: EntryId) {
        if load == self.load && !self.core.gap {
            self.core.last = last;
            self.core.committed = last.offset;
        }
    }
}
