//! What a master writes into its log because of what it has read of moves.

use super::{Move, MoveId, Phase};
use crate::ids::{GroupId, Slot};
use crate::mutant::{Mutant, broken};
use std::collections::BTreeMap;

/// A slot of a group's state that is shown to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// By which move.
    pub id: MoveId,
    /// Whether it was given away: it is empty, and comes back only by another move. Otherwise what
    /// is being carried here is in it.
    pub gone: bool,
}

/// The hidden slots of a group's state.
pub type Marks = BTreeMap<Slot, Mark>;

/// An entry of the log, or what follows once that entry is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// What was carried here is the group's: show it.
    Show(MoveId),
    /// It never will be: delete it.
    DropImport(MoveId),
    /// It is another group's: delete what is left of it.
    DropSource(MoveId),
    /// Nothing is left of it: say so in the directory.
    Forget(MoveId),
}

/// What the master of `group` has to do. `owned` says which slots the directory gives it, as read
/// at the same moment as `moves`, which must not be older than the master's own record: then an
/// import that is owned is whole, and one of which no move is left never will be.
#[must_use]
pub fn duties(
    group: &GroupId,
    moves: &[Move],
    owned: impl Fn(Slot) -> bool,
    marks: &Marks,
) -> Vec<Duty> {
    let mut duties = Vec::new();
    let mut add = |duty: Duty| {
        if !duties.contains(&duty) {
            duties.push(duty);
        }
    };
    for (slot, mark) in marks.iter().filter(|(_, mark)| !mark.gone) {
        // It comes still, or came; whatever else was read: what came is never deleted.
        let stays = |it: &Move| it.id == mark.id && it.phase != Phase::Aborted;
        if owned(*slot) {
            add(Duty::Show(mark.id));
        } else if !moves.iter().any(stays) {
            add(Duty::DropImport(mark.id));
        }
    }
    for it in moves {
        let left = match it.phase {
            Phase::Copy => continue,
            // Whatever else was read: what this group owns is never deleted.
            Phase::Done if it.source == *group && it.slots().any(&owned) => continue,
            Phase::Done if it.source == *group => {
                let gone = |(_, mark): (&Slot, &Mark)| mark.gone && mark.id >= it.id;
                let here = marks.range(it.first..=it.last).filter(|one| gone(*one)).count();
                here <= usize::from(it.last.get() - it.first.get())
            }
            Phase::Aborted if it.target == *group => {
                marks.values().any(|mark| mark.id == it.id && !mark.gone)
            }
            Phase::Done | Phase::Aborted => continue,
        };
        match (left, it.phase) {
            (true, Phase::Done) if !broken(Mutant::KeepsMoved) => add(Duty::DropSource(it.id)),
            (true, _) => {}
            (false, _) => add(Duty::Forget(it.id)),
        }
    }
    duties
}
