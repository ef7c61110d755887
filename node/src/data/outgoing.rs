//! What goes to control, in order, and how much of it is not committed yet.

use crate::data::link::FromData;
use cairn_logic::batch::Batch;
use cairn_logic::ids::Offset;
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// The way to control: never blocks, never reorders, and counts what is outstanding.
#[derive(Debug)]
pub struct Outgoing {
    sender: mpsc::Sender<FromData>,
    /// What the channel had no room for.
    unsent: VecDeque<FromData>,
    /// (last offset, bytes) of batches that are not committed.
    outstanding: VecDeque<(Offset, u64)>,
    outstanding_bytes: u64,
}

impl Outgoing {
    /// Sends by `sender`.
    #[must_use]
    pub fn new(sender: mpsc::Sender<FromData>) -> Self {
        Self { sender, unsent: VecDeque::new(), outstanding: VecDeque::new(), outstanding_bytes: 0 }
    }

    /// Sends a batch that was appended.
    pub fn append(&mut self, batch: Batch) {
        let bytes = batch.body.len() as u64 + 64;
        self.outstanding.push_back((batch.head.last_offset(), bytes));
        self.outstanding_bytes += bytes;
        self.send(FromData::Appended(batch));
    }

    /// Sends anything else.
    pub fn send(&mut self, message: FromData) {
        self.unsent.push_back(message);
        self.push();
    }

    /// Sends what there was no room for before.
    pub fn push(&mut self) {
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
        !self.unsent.is_empty()
    }
}
