//! Which epoch each entry of the log belongs to: all that is needed to compare two logs.

use crate::batch::BatchHead;
use crate::ids::{EntryId, Epoch, Offset};

/// The first offset of each epoch in the log, and the log's end.
///
/// An epoch has one master, so two logs that hold the same (epoch, offset) are equal up to there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// Ascending in both.
    runs: Vec<(Epoch, Offset)>,
    last: EntryId,
}

impl Index {
    /// What the files said.
    ///
    /// # Panics
    /// If the epochs do not ascend, or do not end with the last entry's.
    pub(super) fn new(runs: Vec<(Epoch, Offset)>, last: EntryId) -> Self {
        assert!(
            runs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1),
            "epochs of a log ascend"
        );
        let end = runs.last().map_or(Epoch::ZERO, |r| r.0);
        assert_eq!(end, last.epoch, "the last entry belongs to the last epoch");
        Self { runs, last }
    }

    /// The last entry.
    pub(super) fn last(&self) -> EntryId {
        self.last
    }

    /// The epoch of the entry at `offset`; `None` outside the log.
    pub(super) fn epoch_of(&self, offset: Offset) -> Option<Epoch> {
        if offset > self.last.offset {
            return None;
        }
        let after = self.runs.partition_point(|r| r.1 <= offset);
        self.runs[..after].last().map(|r| r.0)
    }

    /// The entry at `offset`, or the one before all for 0 and anything outside the log.
    pub(super) fn entry(&self, offset: Offset) -> EntryId {
        self.epoch_of(offset).map_or(EntryId::ZERO, |epoch| EntryId::new(epoch, offset))
    }

    /// Whether the log holds this entry (it always holds the one before all).
    pub(super) fn has(&self, entry: EntryId) -> bool {
        entry == EntryId::ZERO || self.epoch_of(entry.offset) == Some(entry.epoch)
    }

    /// The first offset of `epoch`, if it has entries here.
    pub(super) fn first_of(&self, epoch: Epoch) -> Option<Offset> {
        let at = self.runs.binary_search_by_key(&epoch, |r| r.0).ok()?;
        Some(self.runs[at].1)
    }

    /// The greatest entry, as ids are ordered, that ends an epoch here and is at or before
    /// `bound`; clipped to `bound` when that lies within its own epoch.
    ///
    /// With a refused `prev` on a member's log this is the hint; with a hint on a master's log this
    /// is where to go on. Both end a batch: the ends of epochs and logs do.
    pub(super) fn at_or_before(&self, bound: EntryId) -> EntryId {
        let upto = self.runs.partition_point(|r| r.0 <= bound.epoch);
        let Some(&(epoch, first)) = self.runs[..upto].last() else { return EntryId::ZERO };
        let end = self.runs.get(upto).map_or(self.last.offset, |next| Offset(next.1.0 - 1));
        if epoch < bound.epoch {
            return EntryId::new(epoch, end);
        }
        if bound.offset < first {
            // Only a damaged peer says this: an epoch begins at one offset everywhere.
            return self.at_or_before(EntryId::new(Epoch(epoch.0 - 1), Offset(u64::MAX)));
        }
        EntryId::new(epoch, end.min(bound.offset))
    }

    /// Adds a batch at the end.
    ///
    /// # Panics
    /// If it does not follow, or its epoch is older than the log's.
    pub(super) fn append(&mut self, head: &BatchHead) {
        assert_eq!(head.first, self.last.offset.next(), "batches follow each other");
        assert!(head.epoch >= self.last.epoch, "epochs never go down");
        assert!(head.count > 0, "a batch has an entry");
        if head.epoch > self.last.epoch {
            self.runs.push((head.epoch, head.first));
        }
        self.last = head.last();
    }

    /// Forgets everything after `after`.
    pub(super) fn cut(&mut self, after: Offset) {
        self.runs.retain(|r| r.1 <= after);
        let epoch = self.runs.last().map_or(Epoch::ZERO, |r| r.0);
        self.last = EntryId::new(epoch, after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(epoch: u64, offset: u64) -> EntryId {
        EntryId::new(Epoch(epoch), Offset(offset))
    }

    /// Epoch 2 at 1..=3, epoch 5 at 4..=6.
    fn index() -> Index {
        Index::new(vec![(Epoch(2), Offset(1)), (Epoch(5), Offset(4))], id(5, 6))
    }

    #[test]
    fn entries_are_known_by_epoch_and_offset() {
        let index = index();
        assert!(index.has(EntryId::ZERO) && index.has(id(2, 3)) && index.has(id(5, 4)));
        assert!(!index.has(id(2, 4)) && !index.has(id(5, 7)) && !index.has(id(5, 3)));
        assert_eq!(index.first_of(Epoch(5)), Some(Offset(4)));
        assert_eq!(index.first_of(Epoch(3)), None);
    }

    #[test]
    fn a_hint_is_smaller_than_what_was_refused() {
        let index = index();
        assert_eq!(index.at_or_before(id(5, 9)), id(5, 6));
        assert_eq!(index.at_or_before(id(7, 5)), id(5, 6));
        assert_eq!(index.at_or_before(id(4, 9)), id(2, 3));
        assert_eq!(index.at_or_before(id(2, 2)), id(2, 2));
        assert_eq!(index.at_or_before(id(1, 9)), EntryId::ZERO);
    }

    #[test]
    fn a_cut_forgets_epochs_that_began_after_it() {
        let mut index = index();
        index.cut(Offset(3));
        assert_eq!(index.last(), id(2, 3));
        index.cut(Offset(0));
        assert_eq!(index.last(), EntryId::ZERO);
    }
}
