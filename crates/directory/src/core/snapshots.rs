//! Snapshots of a directory that goes on: written in pieces, taken instead of a log.
//!
//! Copies of one log know each other's states by hashes: each notes its own after a batch, under
//! the offset of the batch's last entry. Batches are the same everywhere, so two copies that noted
//! the same offset must have noted the same hash.

use super::{Core, Role};
use crate::directory::{Directory, Export, Portion};
use cairn_logic::ids::{EntryId, Offset, Revision};
use cairn_logic::mutant::{Mutant, broken};
use std::collections::VecDeque;

/// A hash is kept for long when a batch passes a multiple of so many entries.
const MARK_EVERY: u64 = 1 << 10;
/// How many of those are kept.
const MARKS_MAX: usize = 1 << 12;
/// For how many of the last batches a hash is kept: those of two minutes where a mark is slow to
/// come (fewer than so many entries a second), for a snapshot takes long to be written and sent.
const RECENT_MAX: usize = 1 << 17;

/// Hashes of this copy's states.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    marks: VecDeque<(Offset, u64)>,
    recent: VecDeque<(Offset, u64)>,
}

impl Hashes {
    /// The state's hash after the batch from `first` to `last`; whether it is a mark.
    fn note(&mut self, first: Offset, last: Offset, hash: u64) -> bool {
        push(&mut self.recent, RECENT_MAX, (last, hash));
        let mark = first.0.saturating_sub(1) / MARK_EVERY != last.0 / MARK_EVERY;
        if mark {
            push(&mut self.marks, MARKS_MAX, (last, hash));
        }
        mark
    }

    fn at(&self, offset: Offset) -> Option<u64> {
        let find = |noted: &VecDeque<(Offset, u64)>| {
            let place = noted.binary_search_by_key(&offset, |(at, _)| *at).ok()?;
            Some(noted[place].1)
        };
        find(&self.recent).or_else(|| find(&self.marks))
    }
}

fn push(to: &mut VecDeque<(Offset, u64)>, max: usize, one: (Offset, u64)) {
    if to.back().is_some_and(|(last, _)| *last >= one.0) {
        return;
    }
    if to.len() == max {
        to.pop_front();
    }
    to.push_back(one);
}

/// A snapshot that is wanted or being written.
#[derive(Debug, Default)]
pub(super) enum Exporting {
    #[default]
    No,
    /// It is to begin at the next mark.
    Wanted,
    /// Of the state after this entry.
    Of(EntryId, Export),
}

/// What this copy knows of the state in a snapshot that another one wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It was the same here.
    Same,
    /// This copy does not know its hash any more, or the snapshot is gone.
    Forgotten,
    /// It was another one here: one of the two is wrong.
    Other,
}

impl<T> Core<T> {
    /// Compares the hash that a snapshot `said` its state has with the one that this copy noted
    /// itself at `at`; `holds`: whether the snapshot's entry is in this log.
    #[must_use]
    pub fn compare(&self, at: Offset, said: Option<u64>, holds: bool) -> Compared {
        match (said, self.hash_at(at)) {
            (Some(_), Some(_)) if broken(Mutant::BelievesAnyState) => Compared::Same,
            (Some(said), Some(noted)) if said == noted && holds => Compared::Same,
            (Some(_), Some(_)) => Compared::Other,
            // Not the newest any more, or older than what is remembered.
            (None, _) | (_, None) => Compared::Forgotten,
        }
    }

    /// The hash of this copy's state after the batch that ended with `offset`, if it is still
    /// known: one for each of the last batches, and one in about a thousand entries before.
    #[must_use]
    pub fn hash_at(&self, offset: Offset) -> Option<u64> {
        self.noted.at(offset)
    }

    /// Notes the hash after the batch from `first` to `last`, which ends in `hash`.
    pub(super) fn note_hash(&mut self, first: Offset, last: EntryId, hash: u64) {
        let mark = self.noted.note(first, last.offset, hash);
        if mark && matches!(self.exporting, Exporting::Wanted) && !self.is_master() {
            self.exporting = Exporting::Of(last, self.directory.export());
        }
    }

    /// A snapshot is to begin at the next state whose hash every copy keeps for long.
    pub fn want_export(&mut self) {
        if matches!(self.exporting, Exporting::No) {
            self.exporting = Exporting::Wanted;
        }
    }

    /// Begins a snapshot of the present state, in place of one that is being written. Nothing may
    /// be left to take ([`Core::take_batch`]). A master's may hold what is not committed yet: it
    /// counts once that is, and not at all if mastership ends before.
    pub fn begin_export(&mut self) {
        debug_assert!(self.building.is_empty(), "the log has everything");
        let at = EntryId::new(self.epoch, self.applied_offset);
        self.exporting = Exporting::Of(at, self.directory.export());
    }

    /// The entry after which the state was as it is being written; `None` before it has begun.
    #[must_use]
    pub fn export_at(&self) -> Option<EntryId> {
        match &self.exporting {
            Exporting::Of(at, _) => Some(*at),
            Exporting::No | Exporting::Wanted => None,
        }
    }

    /// The state that is being written: its hash.
    #[must_use]
    pub fn export_hash(&self) -> Option<u64> {
        match &self.exporting {
            Exporting::Of(_, export) => Some(export.hash()),
            Exporting::No | Exporting::Wanted => None,
        }
    }

    /// What the sweep has to stay behind.
    pub(super) fn export_reader(&self) -> Option<Revision> {
        match &self.exporting {
            Exporting::Of(_, export) => Some(export.reader()),
            Exporting::No | Exporting::Wanted => None,
        }
    }

    /// The next portion of what is being written, as [`Directory::export_more`].
    pub fn export_more(&mut self, bytes: usize) -> Option<Portion> {
        let Exporting::Of(_, export) = &mut self.exporting else { return None };
        self.directory.export_more(export, bytes)
    }

    /// Nothing is being written any more: the sweep may go on.
    pub fn end_export(&mut self) {
        self.exporting = Exporting::No;
    }

    /// Takes the state after `at`, which a snapshot held; batches behind it come next. As after
    /// [`Core::reset`], nothing is answered before [`Core::loaded`].
    pub fn install(&mut self, directory: Directory, at: EntryId) {
        debug_assert!(matches!(self.role, Role::Loading), "reset before");
        self.directory = directory;
        self.epoch = self.epoch.max(at.epoch);
        (self.applied_offset, self.committed_offset) = (at.offset, at.offset);
        self.committed = self.directory.revision();
        self.sweeping = true;
        (self.swept_for, self.sweeps_due) = (self.directory.versions_made(), 0);
        self.noted = Hashes::default();
        let hash = self.directory.state_hash().hash;
        self.noted.note(at.offset, at.offset, hash);
    }

    /// Empties the directory, to be loaded anew; gives what it held, because to drop that takes
    /// long. Watches stay and go on where they were.
    pub fn clear(&mut self) -> Directory {
        self.role = Role::Loading;
        self.abandoned.extend(self.scans.drain(..).map(super::scans::LongRead::into_token));
        self.committed = Revision(1);
        self.committed_offset = Offset::ZERO;
        self.applied_offset = Offset::ZERO;
        self.exporting = Exporting::No;
        self.noted = Hashes::default();
        (self.swept_for, self.sweeps_due) = (0, 0);
        std::mem::take(&mut self.directory)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_outlive_the_hashes_of_the_last_batches() {
        let mut hashes = Hashes::default();
        let last = 3 * RECENT_MAX as u64;
        for offset in 1..=last {
            hashes.note(Offset(offset), Offset(offset), offset * 7);
        }
        assert_eq!(hashes.at(Offset(MARK_EVERY)), Some(MARK_EVERY * 7));
        assert_eq!(hashes.at(Offset(MARK_EVERY + 1)), None);
        assert_eq!(hashes.at(Offset(last - 5)), Some((last - 5) * 7));
        assert_eq!(hashes.at(Offset(last + 1)), None);
    }

    #[test]
    fn a_batch_that_passes_a_multiple_is_a_mark_on_every_copy() {
        let mut hashes = Hashes::default();
        assert!(!hashes.note(Offset(1), Offset(1000), 1));
        assert!(hashes.note(Offset(1001), Offset(1030), 2));
        assert!(!hashes.note(Offset(1031), Offset(2047), 3));
        assert!(hashes.note(Offset(2048), Offset(2048), 4));
    }
}
