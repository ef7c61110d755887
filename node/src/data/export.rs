//! Snapshots of the keyspace: written a little in each turn, taken back at a start.

use crate::data::link::Piece;
use crate::data::server::Server;
use cairn_keyspace::Built;
use cairn_logic::ids::EntryId;
use cairn_logic::time::{Duration, Instant};
use std::collections::VecDeque;
use std::sync::mpsc::{SyncSender, TrySendError};

/// What a step does, in small keys; some microseconds.
const COST_MAX: usize = 64;
/// Until it is looked again whether a snapshot may go on.
const PAUSE: Duration = Duration::from_millis(1);
/// The size of a portion, in bytes; the room for a larger one costs more than what is written.
const PORTION_BYTES: usize = 256 << 10;

/// A snapshot that is being written.
pub struct Exporting {
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
        self.core.stop_copying();
        self.core.keyspace.begin_export(PORTION_BYTES);
        let (waiting, due) = (VecDeque::new(), self.core.now);
        self.export = Some(Exporting { to, waiting, more: true, due });
    }

    /// No snapshot is written any more.
    pub(super) fn end_export(&mut self) {
        if self.export.take().is_some() {
            self.core.keyspace.end_export();
        }
    }

    /// Writes a few keys, as they are after the last entry; whether it may go on at once.
    pub(super) fn export_some(&mut self) -> bool {
        let due = |it: &&mut Exporting| self.core.now >= it.due;
        if self.export.as_mut().filter(due).is_none() {
            return false;
        }
        // Of a master: what this turn has changed already is an entry like all before it.
        self.core.append();
        let core = &mut self.core;
        let Some(exporting) = &mut self.export else { return false };
        // What was replaced is kept aside before a snapshot has its place.
        let held = core.keyspace.export_rests()
            || core.loading
            || core.gap
            || core.dirty_tail
            || !core.unkept.may_export();
        match if held { Some(false) } else { exporting.send() } {
            Some(false) => exporting.due = core.now + PAUSE,
            Some(true) if exporting.more => {
                exporting.more = core.keyspace.export_some(core.last, COST_MAX);
                let portions = core.keyspace.take_exported().into_iter();
                exporting.waiting.extend(portions.map(|(at, one)| Piece::Portion(one, at)));
                if !exporting.more {
                    exporting.waiting.push_back(Piece::End);
                }
                return true;
            }
            Some(true) | None => self.end_export(),
        }
        false
    }

    /// Takes slots of the snapshot that is being loaded.
    pub(super) fn adopt(&mut self, load: u64, built: Built) {
        if load != self.load || self.core.gap {
            return;
        }
        let at = built.at();
        if let Err(error) = self.core.keyspace.adopt(built) {
            tracing::error!(%error, "cannot load these slots");
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
