//! The source's end of a move: what slots hold, then what changes in them.

use super::MoveNews;
use crate::data::core::Core;
use crate::data::link::FromData;
use cairn_keyspace::entries_about;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{Offset, Slot};
use cairn_logic::moves::MoveId;
use cairn_logic::time::{Duration, Instant};
use cairn_wire::peer::pb;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// What a step writes, in small keys; as for snapshots.
const COST_MAX: usize = 64;
/// The size of a frame, in bytes; one with a large item has more.
const FRAME_BYTES: usize = 256 << 10;
/// Frames that may be on their way.
const WINDOW: u64 = 8;
/// Frames that may wait for their entries to be committed before more is copied.
const WAITING_MAX: usize = 8;
/// Entries that may wait, in bytes: with more, the try is given up.
const TAIL_BYTES_MAX: usize = 64 << 20;
/// Between two frames that only say how far the log is.
const QUIET: Duration = Duration::from_millis(50);
const CLOSED: &str = "the line is closed";
/// Until it is looked again whether copying may go on.
const PAUSE: Duration = Duration::from_millis(1);

/// A try to hand over what slots hold.
#[derive(Debug)]
pub struct Carrying {
    id: MoveId,
    session: u64,
    slots: (Slot, Slot),
    to: mpsc::Sender<pb::MoveFrame>,
    /// What the slots held when each of them began, each with the entry after which it was so.
    copied: VecDeque<(Offset, Vec<u8>)>,
    /// Whether slots are still being written.
    copying: Copying,
    /// Entries about slots that have begun.
    tail: VecDeque<(Offset, Vec<u8>)>,
    tail_bytes: usize,
    sent: u64,
    safe: u64,
    covers: Offset,
    said: Instant,
    /// Since when commands wait.
    held: Option<Instant>,
    due: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Copying {
    /// Not begun: a snapshot is being written.
    Waits,
    Goes,
    /// All is written; not all of it is sent.
    Written,
    /// And sent.
    Sent,
}

impl Carrying {
    /// A try of the move `id`.
    pub fn new(
        id: MoveId,
        session: u64,
        slots: (Slot, Slot),
        to: mpsc::Sender<pb::MoveFrame>,
    ) -> Self {
        Self {
            id,
            session,
            slots,
            to,
            copied: VecDeque::new(),
            copying: Copying::Waits,
            tail: VecDeque::new(),
            tail_bytes: 0,
            sent: 0,
            safe: 0,
            covers: Offset::ZERO,
            said: Instant::ZERO,
            held: None,
            due: Instant::ZERO,
        }
    }

    /// Whether commands on `slot` wait.
    pub fn holds(&self, slot: Slot) -> bool {
        self.is_held() && self.slots.0 <= slot && slot <= self.slots.1
    }

    /// Whether commands on its slots wait.
    pub fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Since when they do.
    pub fn held_since(&self) -> Option<Instant> {
        self.held
    }

    /// Whether it is what the keyspace writes.
    pub fn is_copying(&self) -> bool {
        self.copying == Copying::Goes
    }

    /// When copying goes on; none: it is done.
    pub fn due(&self) -> Option<Instant> {
        matches!(self.copying, Copying::Waits | Copying::Goes).then_some(self.due)
    }

    /// So many frames are safe.
    pub fn safe(&mut self, session: u64, frames: u64) {
        if session == self.session {
            self.safe = self.safe.max(frames);
        }
    }

    /// Sends a frame, or gives it back if there is no room; an error if nobody takes any.
    fn send(&mut self, entries: Vec<u8>, covers: Offset) -> Result<Option<Vec<u8>>, ()> {
        if self.sent >= self.safe + WINDOW {
            return Ok(Some(entries));
        }
        let frame = pb::MoveFrame {
            r#move: self.id.0,
            session: self.session,
            entries: entries.into(),
            covers: covers.0,
            begins: self.sent == 0,
            number: self.sent + 1,
            // The group and the epoch are known to whoever takes it along.
            ..Default::default()
        };
        match self.to.try_send(frame) {
            Ok(()) => {
                self.sent += 1;
                self.covers = self.covers.max(covers);
                Ok(None)
            }
            Err(TrySendError::Full(frame)) => Ok(Some(frame.entries.into())),
            Err(TrySendError::Closed(_)) => Err(()),
        }
    }

    /// Sends what is committed of what was copied; whether all of it is.
    fn send_copied(&mut self, committed: Offset) -> Result<bool, ()> {
        while let Some((need, _)) = self.copied.front() {
            if *need > committed {
                return Ok(false);
            }
            let Some((need, records)) = self.copied.pop_front() else { break };
            if let Some(records) = self.send(records, Offset::ZERO)? {
                self.copied.push_front((need, records));
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sends entries that are committed, and how far that is.
    fn send_tail(&mut self, committed: Offset, now: Instant) -> Result<(), ()> {
        while self.sent < self.safe + WINDOW {
            let (mut entries, mut taken, mut last) = (Vec::new(), 0, committed);
            for (need, some) in &self.tail {
                if *need > committed || entries.len() >= FRAME_BYTES {
                    last = last.min(Offset(need.0.saturating_sub(1)));
                    break;
                }
                entries.extend_from_slice(some);
                taken += 1;
            }
            let quiet = entries.is_empty();
            let due = self.is_held() || now.since(self.said) >= QUIET;
            if quiet && (last <= self.covers || !due) {
                return Ok(());
            }
            let bytes = entries.len();
            if self.send(entries, last)?.is_some() {
                return Ok(());
            }
            self.said = now;
            self.tail.drain(..taken);
            self.tail_bytes -= bytes;
        }
        Ok(())
    }
}

impl Core {
    /// Begins a try.
    pub(super) fn begin_carrying(&mut self, carrying: Carrying) {
        let whole = self.keyspace.may_carry(carrying.slots);
        self.carrying = Some(Box::new(carrying));
        if self.mastership.is_none() {
            return self.fail_carrying("this node is not master");
        }
        if !whole {
            return self.fail_carrying("these slots are not whole at their owner");
        }
        // The first frame has nothing: whoever gets it makes room.
        let Some(carrying) = &mut self.carrying else { return };
        if carrying.send(Vec::new(), Offset::ZERO) != Ok(None) {
            self.fail_carrying(CLOSED);
        }
    }

    fn fail_carrying(&mut self, why: &'static str) {
        let Some(carrying) = self.carrying.as_mut() else { return };
        let (id, session) = (carrying.id, carrying.session);
        if carrying.is_held() {
            // It stays so until the directory says how the move has ended.
            (carrying.tail_bytes, carrying.tail) = (0, VecDeque::new());
        } else {
            self.stop_export_of_move();
            self.carrying = None;
        }
        self.outgoing.send(FromData::Move(MoveNews::Failed { id, session, why }));
    }

    fn stop_export_of_move(&mut self) {
        if self.carrying.as_ref().is_some_and(|carrying| carrying.is_copying()) {
            self.keyspace.end_export();
        }
    }

    /// A snapshot begins: what is being copied is copied anew after it.
    pub(in crate::data) fn stop_copying(&mut self) {
        if self.carrying.as_ref().is_some_and(|carrying| carrying.is_copying()) {
            self.fail_carrying("a snapshot begins");
        }
    }

    /// These entries were appended.
    pub(in crate::data) fn carry(&mut self, batch: &Batch) {
        let begun = self.keyspace.export_begun();
        let Some(carrying) = self.carrying.as_mut() else { return };
        let (from, to) = (carrying.slots.0.get(), carrying.slots.1.get());
        let slots = match (carrying.copying, begun) {
            (Copying::Waits, _) => return,
            (Copying::Goes, Some(begun)) if begun <= from => return,
            (Copying::Goes, Some(begun)) => from..=to.min(begun - 1),
            (Copying::Goes, None) | (Copying::Written | Copying::Sent, _) => from..=to,
        };
        match entries_about(&batch.body, &slots) {
            Ok(entries) if entries.is_empty() => {}
            Ok(entries) => {
                carrying.tail_bytes += entries.len();
                carrying.tail.push_back((batch.head.last_offset(), entries));
                if carrying.tail_bytes > TAIL_BYTES_MAX {
                    self.fail_carrying("clients write faster than the target takes");
                }
            }
            Err(error) => {
                tracing::error!(%error, "own entries that cannot be read");
                self.fail_carrying("own entries cannot be read");
            }
        }
    }

    /// Writes a few keys of the slots; whether it may go on at once.
    pub(in crate::data) fn carry_some(&mut self) -> bool {
        let Some(carrying) = self.carrying.as_mut() else { return false };
        if carrying.due().is_none_or(|due| self.now < due) {
            return false;
        }
        let full = carrying.copied.len() >= WAITING_MAX || self.keyspace.export_rests();
        let busy = carrying.copying == Copying::Waits && self.keyspace.export_begun().is_some();
        if full || busy || self.loading || self.gap {
            carrying.due = self.now + PAUSE;
            return false;
        }
        if carrying.copying == Copying::Waits {
            carrying.copying = Copying::Goes;
            self.keyspace.begin_export_of(carrying.slots, FRAME_BYTES);
        }
        // What this turn has changed already is an entry like all before it.
        self.append();
        let more = self.keyspace.export_some(self.last, COST_MAX);
        let portions = self.keyspace.take_exported();
        let Some(carrying) = self.carrying.as_mut() else { return false };
        let whole = portions.into_iter().filter(|(_, one)| !one.records.is_empty());
        carrying.copied.extend(whole.map(|(at, one)| (at.offset, one.records)));
        if !more {
            carrying.copying = Copying::Written;
            self.keyspace.end_export();
        }
        more
    }

    /// Sends what may be sent.
    pub(super) fn pump(&mut self) {
        let (committed, now) = (self.committed, self.now);
        let Some(carrying) = self.carrying.as_mut() else { return };
        let sent = carrying.send_copied(committed).and_then(|all| {
            if all && carrying.copying == Copying::Written {
                carrying.copying = Copying::Sent;
                let copied = MoveNews::Copied { id: carrying.id, session: carrying.session };
                self.outgoing.send(FromData::Move(copied));
            }
            match carrying.copying {
                Copying::Sent => carrying.send_tail(committed, now),
                Copying::Waits | Copying::Goes | Copying::Written => Ok(()),
            }
        });
        if sent.is_err() && !carrying.is_held() {
            self.fail_carrying(CLOSED);
        }
    }

    /// From now on commands on the slots wait.
    pub(super) fn hold_slots(&mut self, session: u64) {
        self.append();
        let (at, now) = (self.last.offset, self.now);
        let Some(carrying) = self.carrying.as_mut().filter(|it| it.session == session) else {
            return;
        };
        carrying.held = Some(now);
        // What is held changes no more, not even by time.
        self.keyspace.keep_still(Some(carrying.slots));
        let held = MoveNews::Held { id: carrying.id, at };
        self.outgoing.send(FromData::Move(held));
    }
}
