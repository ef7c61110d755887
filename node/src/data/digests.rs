//! What all the data adds up to, for who asks: slot by slot, at leisure, because it reads
//! everything.

use crate::data::link::Digest;
use crate::data::server::Server;
use cairn_logic::ids::{SLOTS, Slot};
use std::collections::VecDeque;
use tokio::sync::oneshot::Sender;

/// So few keys are read at once.
const FEW_KEYS: usize = 1000;
/// More questions than that are not answered.
const ASKED_MAX: usize = 16;

/// Digests that were asked for; the first one is being made.
#[derive(Debug, Default)]
pub struct Digests {
    asked: VecDeque<Sender<Digest>>,
    /// The next slot, and the sum of those before.
    next: u16,
    sum: u64,
}

impl Digests {
    /// Whether somebody waits.
    pub fn is_due(&self) -> bool {
        !self.asked.is_empty()
    }
}

impl Server {
    /// Makes a digest for `answer`, soon; one that is not sent is no answer.
    pub(super) fn ask_digest(&mut self, answer: Sender<Digest>) {
        if self.digests.asked.len() < ASKED_MAX {
            self.digests.asked.push_back(answer);
        }
        if self.core.keyspace.len() <= FEW_KEYS {
            while self.sum_some() {}
        }
    }

    /// Adds a slot that has keys to the digest that is being made; whether one is.
    pub(super) fn sum_some(&mut self) -> bool {
        // Whoever asked may have gone.
        self.digests.asked.retain(|answer| !answer.is_closed());
        let (digests, keyspace) = (&mut self.digests, &self.core.keyspace);
        if digests.asked.is_empty() {
            (digests.next, digests.sum) = (0, 0);
            return false;
        }
        let mut slots = (digests.next..SLOTS).filter_map(|number| Slot::try_from(number).ok());
        if let Some(slot) = slots.find(|slot| keyspace.slot_len(*slot) > 0) {
            digests.sum = digests.sum.wrapping_add(keyspace.slot_share(slot));
            digests.next = slot.get() + 1;
            return true;
        }
        let digest = Digest {
            applied: self.core.last.offset,
            digest: digests.sum,
            keys: keyspace.len() as u64,
        };
        (digests.next, digests.sum) = (0, 0);
        if let Some(answer) = digests.asked.pop_front() {
            answer.send(digest).ok();
        }
        true
    }
}
