//! Moves of slots from one group to another (docs/replication.md §10).
//!
//! Pure. [`Moves`] is what the directory keeps of a keyspace; every change of it is a
//! compare-and-swap. [`Source`] drives a move at the master of the group that owns the slots,
//! [`Target`] remembers at the other master what is safe there, and [`duties`] says what a master
//! has to write into its log by what it has read. The range of a move is held by its source from
//! the moment everything but the last entries was carried over; only something *read* ends that.

mod duty;
mod hands;
mod source;
mod target;
#[cfg(test)]
mod tests;

pub use duty::{Duty, Mark, Marks, duties};
pub use hands::{HAND_KEPT_MS, Hand};
pub use source::{Facts, Report, Source, SourceEffect, SourceInput};
pub use target::{Order, Target};

use crate::ids::{GroupId, Slot};
use crate::mutant::{Mutant, broken};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a move; never given out twice in a keyspace.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MoveId(pub u64);

impl fmt::Display for MoveId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Slots of one move at most: what was carried over is carried again if the target's master
/// changes meanwhile.
pub const SLOTS_MAX: u16 = 256;
/// Moves of one keyspace that may be under way or wait.
pub const MOVES_MAX: usize = 128;

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// The source owns the slots and their data are carried over.
    Copy,
    /// The target owns them; the source has to delete what it held.
    Done,
    /// The source goes on to own them; the target has to delete what it was given.
    Aborted,
}

/// One move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Its number.
    pub id: MoveId,
    /// The first slot.
    pub first: Slot,
    /// The last slot, not before `first`.
    pub last: Slot,
    /// Who owns them until it is done.
    pub source: GroupId,
    /// Who is to own them.
    pub target: GroupId,
    /// How far it is.
    pub phase: Phase,
}

impl Move {
    /// Whether `slot` is one of its slots.
    #[must_use]
    pub fn has(&self, slot: Slot) -> bool {
        self.first <= slot && slot <= self.last
    }

    /// All of them.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        self.first.through(self.last)
    }

    /// Whether it has a slot in common with `first..=last`.
    #[must_use]
    pub fn meets(&self, first: Slot, last: Slot) -> bool {
        self.first <= last && first <= self.last
    }
}

/// The move by which a master of `group` may be given slots, as the directory says: one that is in
/// its copy phase, and whose slots the group does not own, for what it brings replaces all that is
/// in them.
#[must_use]
pub fn coming<'a>(
    moves: &'a [Move],
    id: MoveId,
    group: &GroupId,
    owned: impl Fn(Slot) -> bool,
) -> Option<&'a Move> {
    let known = moves.iter().find(|it| it.id == id && it.phase == Phase::Copy);
    known.filter(|it| it.target == *group && !it.slots().any(&owned))
}

/// Why a move is not begun.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no such range.
    #[error("a move has 1 to {SLOTS_MAX} slots, not {first}-{last}")]
    Range {
        /// The first slot asked for.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// Some of the slots are on their way, or what an earlier move has left is not deleted yet.
    #[error("move {id} of slots {first}-{last} has not ended yet")]
    Moving {
        /// That move.
        id: MoveId,
        /// Its first slot.
        first: u16,
        /// Its last slot.
        last: u16,
    },
    /// Too many wait.
    #[error("{MOVES_MAX} moves are under way or wait; try again when some have ended")]
    TooMany,
    /// There is nothing to move.
    #[error("they are in that group already")]
    Same,
}

/// The moves of a keyspace, as its key in the directory has them. The key is never deleted, so that
/// no number comes twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moves {
    last_id: MoveId,
    moves: Vec<Move>,
    /// Whether the planner begins no moves.
    #[serde(default, skip_serializing_if = "is_false")]
    paused: bool,
    /// What people have done lately, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hands: Vec<Hand>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Moves {
    /// All that have not ended, the oldest first.
    #[must_use]
    pub fn all(&self) -> &[Move] {
        &self.moves
    }

    /// One of them.
    #[must_use]
    pub fn get(&self, id: MoveId) -> Option<&Move> {
        self.moves.iter().find(|it| it.id == id)
    }

    fn get_mut(&mut self, id: MoveId, phase: Phase) -> Option<&mut Move> {
        self.moves.iter_mut().find(|it| it.id == id && it.phase == phase)
    }

    fn next_id(&mut self) -> MoveId {
        self.last_id.0 += 1;
        self.last_id
    }

    /// Goes on with numbers above those that somebody may have been given who is not known of.
    pub fn skip(&mut self, count: u64) {
        self.last_id.0 = self.last_id.0.saturating_add(count);
    }

    /// Adds a move of slots that `source` owns.
    ///
    /// # Errors
    /// [`Refused`]; nothing was added.
    pub fn begin(
        &mut self,
        (first, last): (Slot, Slot),
        source: &GroupId,
        target: &GroupId,
    ) -> Result<MoveId, Refused> {
        let numbers = (first.get(), last.get());
        if last < first || numbers.1 - numbers.0 >= SLOTS_MAX {
            return Err(Refused::Range { first: numbers.0, last: numbers.1 });
        }
        if source == target {
            return Err(Refused::Same);
        }
        let other = self.moves.iter().find(|it| it.meets(first, last));
        if let Some(other) = other.filter(|_| !broken(Mutant::MovesTwice)) {
            let (first, last) = (other.first.get(), other.last.get());
            return Err(Refused::Moving { id: other.id, first, last });
        }
        if self.moves.len() >= MOVES_MAX {
            return Err(Refused::TooMany);
        }
        let (id, source, target) = (self.next_id(), source.clone(), target.clone());
        self.moves.push(Move { id, first, last, source, target, phase: Phase::Copy });
        Ok(id)
    }

    /// The owner changes with this; whether it may.
    pub fn switch(&mut self, id: MoveId) -> bool {
        self.get_mut(id, Phase::Copy).map(|it| it.phase = Phase::Done).is_some()
    }

    /// The source goes on to own the slots; whether it may.
    pub fn abort(&mut self, id: MoveId) -> bool {
        self.get_mut(id, Phase::Copy).map(|it| it.phase = Phase::Aborted).is_some()
    }

    /// The move begins anew with another number: what was proposed about this one changes nothing
    /// any more. Whether it may.
    pub fn renew(&mut self, id: MoveId) -> bool {
        let next = MoveId(self.last_id.0 + 1);
        let renewed = self.get_mut(id, Phase::Copy).map(|it| it.id = next).is_some();
        if renewed {
            self.last_id = next;
        }
        renewed
    }

    /// It has ended, and nothing is left of it; whether it may.
    pub fn forget(&mut self, id: MoveId) -> bool {
        let before = self.moves.len();
        self.moves.retain(|it| it.id != id || it.phase == Phase::Copy);
        self.moves.len() < before
    }

    /// The move that the source works on: one at a time, the oldest.
    #[must_use]
    pub fn current(&self, source: &GroupId) -> Option<&Move> {
        self.moves.iter().find(|it| it.source == *source && it.phase == Phase::Copy)
    }
}
