//! What goes to control, in order, and how much of it is not committed yet.

use crate::data::link::FromData;
use cairn_logic::batch::Batch;
use cairn_logic::ids::Offset;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Batches that nobody waits for go to control when they have so many bytes together, ...
const GATHER_BYTES: u64 = 256 << 10;
/// ... or after so many turns, or before the thread sleeps: each wakes control and the writer.
const GATHER_TURNS: u32 = 8;

/// The way to control: never blocks, never reorders, and counts what is outstanding.
#[derive(Debug)]
pub struct Outgoing {
    sender: mpsc::Sender<FromData>,
    /// What the channel had no room for.
    unsent: VecDeque<FromData>,
    /// (last offset, bytes) of batches that are not committed.
    outstanding: VecDeque<(Offset, u64)>,
    outstanding_bytes: u64,
    /// Of what waits, that which only waits for more.
    gathered_bytes: u64,
    /// The turns since something was gathered.
    turns: u32,
}

impl Outgoing {
    /// Sends by `sender`.
    #[must_use]
    pub fn new(sender: mpsc::Sender<FromData>) -> Self {
        let (unsent, outstanding) = (VecDeque::new(), VecDeque::new());
        Self { sender, unsent, outstanding, outstanding_bytes: 0, gathered_bytes: 0, turns: 0 }
    }

    /// Sends a batch that was appended; soon, if nobody waits for it.
    pub fn append(&mut self, batch: Batch, waited_for: bool) {
        let bytes = batch.body.len() as u64 + 64;
        self.outstanding.push_back((batch.head.last_offset(), bytes));
        self.outstanding_bytes += bytes;
        let behind = self.is_behind();
        self.unsent.push_back(FromData::Appended(batch));
        if behind || waited_for {
            return self.push();
        }
        self.gathered_bytes += bytes;
        if self.gathered_bytes >= GATHER_BYTES {
            self.push();
        }
    }

    /// A turn begins: sends what there was no room for before, and what has waited long enough.
    pub fn turn(&mut self) {
        self.turns += 1;
        if self.is_behind() || self.turns >= GATHER_TURNS {
            self.push();
        }
    }

    /// Sends anything else.
    pub fn send(&mut self, message: FromData) {
        self.unsent.push_back(message);
        self.push();
    }

    /// Sends all that waits, as far as there is room.
    pub fn push(&mut self) {
        (self.gathered_bytes, self.turns) = (0, 0);
        while let Some(message) = self.unsent.pop_front() {
            match self.sender.try_send(message) {
                // Control has ended: so will this thread, by its Stop or a dropped link.
                Ok(()) | Err(TrySendError::Closed(_)) => {}
                Err(TrySendError::Full(message)) => {
                    self.unsent.push_front(message);
                    return;
                }
            }
        }
    }

    /// Everything up to `committed` is safe.
    pub fn committed(&mut self, committed: Offset) {
        while let Some(&(last, bytes)) = self.outstanding.front() {
            if last > committed {
                return;
            }
            self.outstanding_bytes -= bytes;
            self.outstanding.pop_front();
        }
    }

    /// Mastership ended: nothing is waited for.
    pub fn forget(&mut self) {
        self.outstanding.clear();
        self.outstanding_bytes = 0;
    }

    /// Appended and not committed, in bytes.
    #[must_use]
    pub fn outstanding_bytes(&self) -> u64 {
        self.outstanding_bytes
    }

    /// Whether control is behind with taking what it is sent.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.gathered_bytes == 0 && !self.unsent.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cairn_logic::batch::BatchHead;
    use cairn_logic::ids::Epoch;

    fn batch(first: u64, bytes: usize) -> Batch {
        let (epoch, first) = (Epoch(1), Offset(first));
        let (count, time_ms) = (1, 0);
        let head = BatchHead { epoch, first, count, time_ms, authority: false, opens_epoch: false };
        Batch { head, body: Bytes::from(vec![0; bytes]) }
    }

    fn arrived(control: &mut mpsc::Receiver<FromData>) -> Vec<u64> {
        let mut firsts = Vec::new();
        while let Ok(FromData::Appended(batch)) = control.try_recv() {
            firsts.push(batch.head.first.0);
        }
        firsts
    }

    #[test]
    fn what_is_waited_for_goes_at_once_with_all_before_it() {
        let (sender, mut control) = mpsc::channel(8);
        let mut outgoing = Outgoing::new(sender);
        outgoing.append(batch(1, 10), false);
        assert!(arrived(&mut control).is_empty());
        assert!(!outgoing.is_behind(), "requests are read on");
        outgoing.append(batch(2, 10), true);
        assert_eq!(arrived(&mut control), [1, 2]);
    }

    #[test]
    fn what_nobody_waits_for_goes_with_more_or_after_some_turns() {
        let (sender, mut control) = mpsc::channel(8);
        let mut outgoing = Outgoing::new(sender);
        outgoing.append(batch(1, 10), false);
        outgoing.append(batch(2, GATHER_BYTES as usize), false);
        assert_eq!(arrived(&mut control), [1, 2]);
        outgoing.append(batch(3, 10), false);
        (1..GATHER_TURNS).for_each(|_| outgoing.turn());
        assert!(arrived(&mut control).is_empty());
        outgoing.turn();
        assert_eq!(arrived(&mut control), [3]);
    }

    #[test]
    fn what_finds_no_room_is_behind_until_it_is_taken() {
        let (sender, mut control) = mpsc::channel(1);
        let mut outgoing = Outgoing::new(sender);
        outgoing.append(batch(1, 10), true);
        outgoing.append(batch(2, 10), false);
        outgoing.push();
        assert!(outgoing.is_behind());
        outgoing.append(batch(3, 10), false);
        assert_eq!(arrived(&mut control), [1]);
        outgoing.turn();
        assert_eq!(arrived(&mut control), [2]);
        assert!(outgoing.is_behind());
        outgoing.turn();
        assert_eq!(arrived(&mut control), [3]);
        assert!(!outgoing.is_behind());
    }
}
