//! Which epoch each entry of the log belongs to: all that is needed to compare two logs.

use crate::batch::BatchHead;
use crate::ids::{EntryId, Epoch, Offset};
use crate::mutant::{Mutant, broken};
use std::cmp::Ordering;

/// Where the log begins, the first offset of each epoch in it, and where it ends.
///
/// An epoch has one master, so two logs that hold the same (epoch, offset) are equal up to there.
/// What lies before the log was given up behind a snapshot: committed history, so an entry there
/// is held if its epoch is not greater than that of the entry before the log's first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// The entry before the first.
    before: EntryId,
    /// Ascending in both; the first begins right after `before`.
    runs: Vec<(Epoch, Offset)>,
    last: EntryId,
}

impl Index {
    /// What the files said.
    ///
    /// # Panics
    /// If the epochs do not ascend, or do not end with the last entry's.
    pub(super) fn new(before: EntryId, runs: Vec<(Epoch, Offset)>, last: EntryId) -> Self {
        assert!(
            runs.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1),
            "epochs of a log ascend"
        );
        let first = runs
            .first()
            .map_or(EntryId::new(before.epoch, before.offset.next()), |r| EntryId::new(r.0, r.1));
        assert!(
            first.offset == before.offset.next() && first.epoch >= before.epoch,
            "the log begins after the entry before it"
        );
        let end = runs.last().map_or(before.epoch, |r| r.0);
        assert_eq!(end, last.epoch, "the last entry belongs to the last epoch");
        assert!(last.offset >= before.offset, "a log ends where it begins or later");
        Self { before, runs, last }
    }

    /// The entry before the first; the last one when there is none.
    pub(super) fn before(&self) -> EntryId {
        self.before
    }

    /// The last entry.
    pub(super) fn last(&self) -> EntryId {
        self.last
    }

    /// The epoch of the entry at `offset`, the one before the first included; `None` outside.
    pub(super) fn epoch_of(&self, offset: Offset) -> Option<Epoch> {
        if offset == self.before.offset {
            return Some(self.before.epoch);
        }
        if offset > self.last.offset {
            return None;
        }
        let after = self.runs.partition_point(|r| r.1 <= offset);
        self.runs[..after].last().map(|r| r.0)
    }

    /// The entry at `offset`, or the one before all for anything outside the log.
    pub(super) fn entry(&self, offset: Offset) -> EntryId {
        self.epoch_of(offset).map_or(EntryId::ZERO, |epoch| EntryId::new(epoch, offset))
    }

    /// Whether the log holds this entry, or was given up with all that it holds.
    pub(super) fn has(&self, entry: EntryId) -> bool {
        match entry.offset < self.before.offset {
            true => entry.epoch <= self.before.epoch || broken(Mutant::BelowFrontByOffset),
            false => self.epoch_of(entry.offset) == Some(entry.epoch),
        }
    }

    /// Whether no log can hold both this entry and the one before the first here.
    pub(super) fn contradicts(&self, entry: EntryId) -> bool {
        match entry.offset.cmp(&self.before.offset) {
            Ordering::Less => !self.has(entry),
            Ordering::Equal => entry != self.before,
            Ordering::Greater => entry.epoch < self.before.epoch,
        }
    }

    /// The first offset of `epoch`, if it has entries here.
    pub(super) fn first_of(&self, epoch: Epoch) -> Option<Offset> {
        let at = self.runs.binary_search_by_key(&epoch, |r| r.0).ok()?;
        Some(self.runs[at].1)
    }

    /// The greatest entry, as ids are ordered, that ends an epoch here and is at or before
    /// `bound`; clipped to `bound` when that lies within its own epoch. Never below the entry
    /// before the first, which is the answer for any bound below it.
    ///
    /// With a refused `prev` on a member's log this is the hint; with a hint on a master's log this
    /// is where to go on. Both end a batch: the ends of epochs and logs do.
    pub(super) fn at_or_before(&self, bound: EntryId) -> EntryId {
        let upto = self.runs.partition_point(|r| r.0 <= bound.epoch);
        let Some(&(epoch, first)) = self.runs[..upto].last() else { return self.before };
        let end = self.runs.get(upto).map_or(self.last.offset, |next| Offset(next.1.0 - 1));
        if epoch < bound.epoch {
            return EntryId::new(epoch, end);
        }
        if bound.offset < first {
            // Below the front, or said by a damaged peer: an epoch begins at one offset everywhere.
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
        if self.runs.last().is_none_or(|r| head.epoch > r.0) {
            self.runs.push((head.epoch, head.first));
        }
        self.last = head.last();
    }

    /// Forgets everything after `after`, which is not below the front.
    pub(super) fn cut(&mut self, after: Offset) {
        assert!(after >= self.before.offset, "a log is not cut below its front");
        self.runs.retain(|r| r.1 <= after);
        let epoch = self.runs.last().map_or(self.before.epoch, |r| r.0);
        self.last = EntryId::new(epoch, after);
    }

    /// The log now begins after `before`; an entry that is not in it changes nothing.
    pub(super) fn truncate(&mut self, before: EntryId) {
        if before.offset <= self.before.offset || !self.has(before) {
            return;
        }
        let first = before.offset.next();
        let run = self.runs.partition_point(|r| r.1 <= first).saturating_sub(1);
        self.runs.drain(..run);
        match self.runs.first_mut() {
            Some(_) if before == self.last => self.runs.clear(),
            Some(run) => run.1 = run.1.max(first),
            None => {}
        }
        self.before = before;
    }

    /// The log is empty and begins after `after`.
    pub(super) fn restart(&mut self, after: EntryId) {
        *self = Self { before: after, runs: Vec::new(), last: after };
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
        Index::new(EntryId::ZERO, vec![(Epoch(2), Offset(1)), (Epoch(5), Offset(4))], id(5, 6))
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

    /// Begins after the second of epoch 2.
    fn truncated() -> Index {
        let mut index = index();
        index.truncate(id(2, 2));
        index
    }

    #[test]
    fn what_lies_before_the_log_is_held_unless_its_epoch_is_greater() {
        let index = truncated();
        assert!(index.has(id(2, 1)) && index.has(EntryId::ZERO) && index.has(id(1, 1)));
        assert!(index.has(id(2, 2)) && index.has(id(2, 3)) && index.has(id(5, 6)));
        assert!(!index.has(id(3, 1)), "a loss was accepted without this folder");
        assert!(!index.has(id(1, 2)), "the entry before the first is known exactly");
    }

    #[test]
    fn a_log_that_contradicts_the_entry_before_the_first_is_another() {
        let index = truncated();
        for entry in [id(3, 1), id(1, 2), id(3, 2), id(1, 3)] {
            assert!(index.contradicts(entry), "{entry}");
        }
        for entry in [id(2, 1), id(2, 2), id(3, 3), id(9, 9)] {
            assert!(!index.contradicts(entry), "{entry}");
        }
    }

    #[test]
    fn a_hint_is_never_below_the_entry_before_the_first() {
        let index = truncated();
        assert_eq!(index.at_or_before(id(5, 5)), id(5, 5));
        assert_eq!(index.at_or_before(id(4, 9)), id(2, 3));
        for bound in [id(2, 1), id(1, 9), EntryId::ZERO, id(2, 2)] {
            assert_eq!(index.at_or_before(bound), id(2, 2), "{bound}");
        }
    }

    #[test]
    fn a_log_may_be_given_up_to_the_end_of_an_epoch_or_of_all() {
        let mut index = index();
        index.truncate(id(2, 3));
        assert_eq!(index, Index::new(id(2, 3), vec![(Epoch(5), Offset(4))], id(5, 6)));
        index.truncate(id(5, 6));
        assert_eq!(index, Index::new(id(5, 6), Vec::new(), id(5, 6)));
        index.append(&head(5, 7));
        assert_eq!(index, Index::new(id(5, 6), vec![(Epoch(5), Offset(7))], id(5, 7)));
        index.cut(Offset(6));
        assert_eq!(index.last(), id(5, 6));
    }

    #[test]
    fn giving_up_what_is_not_there_changes_nothing() {
        let mut index = truncated();
        for before in [id(2, 1), id(5, 7), id(2, 4)] {
            index.truncate(before);
            assert_eq!(index, truncated(), "{before}");
        }
    }

    #[test]
    fn a_restarted_log_is_empty_and_takes_what_follows() {
        let mut index = index();
        index.restart(id(7, 20));
        assert!(index.has(id(5, 6)) && index.has(id(7, 20)) && !index.has(id(8, 19)));
        assert_eq!((index.before(), index.last()), (id(7, 20), id(7, 20)));
        index.append(&head(8, 21));
        assert_eq!(index.last(), id(8, 21));
    }

    fn head(epoch: u64, first: u64) -> BatchHead {
        let (epoch, first) = (Epoch(epoch), Offset(first));
        BatchHead { epoch, first, count: 1, time_ms: 0, authority: false, opens_epoch: false }
    }
}
