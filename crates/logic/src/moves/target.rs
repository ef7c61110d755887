//! A move at the master of the group that is to own the slots.

use crate::ids::{Epoch, Offset};
use std::collections::VecDeque;

/// The place of a try among all that masters of the source have begun: later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Order {
    /// The epoch of the source's master.
    pub epoch: Epoch,
    /// Its count.
    pub session: u64,
}

/// What was taken and is not committed here yet.
#[derive(Clone, Copy, Debug)]
struct Taken {
    log: Offset,
    covers: Offset,
    frames: u64,
}

/// What a master remembers of one move towards its group: which try counts, and how far what came
/// is committed. It ends with the mastership: whoever masters next has everything carried again.
#[derive(Debug)]
pub struct Target {
    order: Order,
    taken: VecDeque<Taken>,
    covered: Offset,
    frames: u64,
    failed: bool,
}

impl Target {
    /// The first try.
    #[must_use]
    pub fn new(order: Order) -> Self {
        let (taken, covered) = (VecDeque::new(), Offset::ZERO);
        Self { order, taken, covered, frames: 0, failed: false }
    }

    /// Another try begins; false: it is none that is later than the one that counts.
    pub fn begin(&mut self, order: Order) -> bool {
        if order <= self.order {
            return false;
        }
        *self = Self::new(order);
        true
    }

    /// The try that counts.
    #[must_use]
    pub fn order(&self) -> Order {
        self.order
    }

    /// What came does not fit: this try covers nothing any more.
    pub fn fail(&mut self) {
        *self = Self { failed: true, ..Self::new(self.order) };
    }

    /// Whether this try counts, and may go on.
    #[must_use]
    pub fn is(&self, order: Order) -> bool {
        !self.failed && self.order == order
    }

    /// Whether a frame is the one that comes next: after one that is left out nothing counts.
    #[must_use]
    pub fn expects(&self, order: Order, number: u64) -> bool {
        self.is(order) && number == self.frames + 1
    }

    /// A frame was taken with entries up to `log` of this group's log; with it, this has all up to
    /// `covers` of the source's.
    pub fn took(&mut self, log: Offset, covers: Offset) {
        self.frames += 1;
        let frames = self.frames;
        self.taken.push_back(Taken { log, covers, frames });
    }

    /// This group's log is committed up to `committed`: how many frames are safe by now, and what
    /// they cover of the source's log, if that is more than before.
    pub fn committed(&mut self, committed: Offset) -> Option<(u64, Offset)> {
        let mut frames = None;
        while let Some(taken) = self.taken.front().filter(|it| it.log <= committed) {
            self.covered = self.covered.max(taken.covers);
            frames = Some(taken.frames);
            self.taken.pop_front();
        }
        frames.map(|frames| (frames, self.covered))
    }
}
