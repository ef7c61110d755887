//! Snapshots of a folder, and the front of its log that was given up behind them.
//!
//! A directory's snapshot is the log up to its `from`, which the folder of the simulation never
//! forgets; what is given up is only out of reach. A group's has what was in memory, as
//! [`crate::store`] wrote it.

use super::{Applied, Folder};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Offset};
use cairn_logic::invariants::{self, Broken, Copy, Held};

/// How many snapshots are kept.
const KEPT: usize = 2;

/// One snapshot file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// It holds everything up to here, and some of what follows.
    pub from: EntryId,
    pub upto: EntryId,
    pub durable: bool,
    /// It cannot be read any more.
    pub bad: bool,
    /// Which of the world's contents it has, a group's.
    pub content: usize,
    /// The hash that it says its state has, a directory's.
    pub hash: Option<u64>,
    /// The directory in it is not what the log makes.
    pub wrong: bool,
}

/// A snapshot that was fetched, with what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub snapshot: Snapshot,
    pub log: Vec<Batch>,
    pub copies: Vec<Copy>,
}

impl Folder {
    /// The entry before the first that can be read.
    pub(crate) fn before(&self) -> EntryId {
        self.gone.checked_sub(1).map_or(EntryId::ZERO, |at| self.copies[at].last)
    }

    /// The last offset of the first `batches`.
    pub(crate) fn end_of(&self, batches: usize) -> Offset {
        batches.checked_sub(1).map_or(Offset::ZERO, |at| self.copies[at].last.offset)
    }

    fn holds(&self, entry: EntryId) -> bool {
        entry == EntryId::ZERO || self.copies.binary_search_by_key(&entry, |c| c.last).is_ok()
    }

    /// Whether a state can begin with this snapshot.
    pub(crate) fn is_usable(&self, snapshot: &Snapshot) -> bool {
        snapshot.durable && !snapshot.bad && self.holds(snapshot.from)
    }

    /// Those with which a state can begin, the newest last.
    pub(crate) fn usable(&self) -> Vec<Snapshot> {
        // One that came before the log was written up to it is as good as any.
        let received = self.received.iter().map(|received| &received.snapshot);
        let all = self.snapshots.iter().chain(received);
        let mut usable: Vec<Snapshot> = all.filter(|s| self.is_usable(s)).copied().collect();
        usable.sort_by_key(|snapshot| snapshot.from);
        usable
    }

    /// The newest of them.
    pub(crate) fn newest(&self) -> Option<Snapshot> {
        self.usable().pop()
    }

    /// Adds a snapshot; the oldest goes.
    pub(crate) fn keep(&mut self, snapshot: Snapshot) {
        self.snapshots.retain(|old| old.from != snapshot.from && !old.bad);
        self.snapshots.push(snapshot);
        self.snapshots.sort_by_key(|kept| kept.from);
        let old = self.snapshots.len().saturating_sub(KEPT);
        self.snapshots.drain(..old);
    }

    /// Gives up whole batches up to `up_to`; how many.
    pub(crate) fn truncate(&mut self, up_to: Offset) -> usize {
        let gone = self.copies_to(up_to).len().max(self.gone);
        assert!(gone <= self.durable, "only what is flushed is given up");
        gone - std::mem::replace(&mut self.gone, gone)
    }

    /// I21 Covered: what the log gave up is in a durable snapshot of the same folder.
    pub(crate) fn is_covered(&self, name: &invariants::Folder) -> Held {
        let before = self.before();
        let newest = self.newest().map_or(Offset::ZERO, |snapshot| snapshot.from.offset);
        match newest >= before.offset {
            true => Ok(()),
            false => {
                let facts = format!("{} gave up {before}, beyond {:?}", name.0, self.snapshots);
                Err(Broken { rule: "I21 Covered", facts })
            }
        }
    }

    /// Begins anew with what was received; what of the former log is nowhere in it.
    pub(crate) fn restart(
        &mut self,
        after: EntryId,
        keep_above: Offset,
    ) -> Result<Vec<Copy>, Broken> {
        let name = self.incarnation;
        let broken = |facts: String| Err(Broken { rule: "I21 Covered", facts });
        let is_it = |r: &Received| r.snapshot.durable && r.snapshot.from == after;
        let Some(at) = self.received.iter().position(is_it) else {
            return broken(format!("folder {} begins after {after} without a snapshot", name));
        };
        let Received { snapshot, log, copies } = self.received.remove(at);
        let former = std::mem::replace(&mut self.copies, copies);
        self.log = log;
        (self.gone, self.durable) = (self.log.len(), self.log.len());
        self.marked = after.offset;
        self.cuts += 1;
        self.keep(snapshot);
        let lost = |copy: &Copy| !self.holds(copy.last);
        let lost: Vec<Copy> = former.into_iter().filter(lost).collect();
        match lost.iter().find(|copy| copy.last.offset <= keep_above) {
            Some(copy) => broken(format!("folder {} drops {}, committed", name, copy.last)),
            None => Ok(lost),
        }
    }

    /// The state after everything up to `from`.
    pub(crate) fn state_at(&self, from: Offset) -> Applied {
        let mut applied = Applied::default();
        for batch in &self.log[..self.copies_to(from).len()] {
            applied.apply(batch);
        }
        applied
    }

    /// A snapshot with what it holds, for another node.
    pub(crate) fn send(&self, mut snapshot: Snapshot) -> Received {
        snapshot.durable = false;
        let end = self.copies_to(snapshot.from.offset).len();
        Received { snapshot, log: self.log[..end].to_vec(), copies: self.copies[..end].to_vec() }
    }

    /// Another folder's snapshot has come.
    pub(crate) fn receive(&mut self, received: Received) {
        for old in std::mem::take(&mut self.received) {
            match self.is_usable(&old.snapshot) {
                true => self.keep(old.snapshot),
                false if old.snapshot.from != received.snapshot.from => self.received.push(old),
                false => {}
            }
        }
        self.received.push(received);
        let old = self.received.len().saturating_sub(KEPT);
        self.received.drain(..old);
    }

    /// It is flushed; what it then is.
    pub(crate) fn received(&mut self, from: EntryId) -> Option<Snapshot> {
        let at = self.received.iter().position(|r| r.snapshot.from == from)?;
        self.received[at].snapshot.durable = true;
        let snapshot = self.received[at].snapshot;
        if self.is_usable(&snapshot) {
            // The log goes on from it already.
            self.received.remove(at);
            self.keep(snapshot);
        }
        Some(snapshot)
    }
}
