//! Which group's data count where slots were moving at the moment that is restored.

use anyhow::{Result, ensure};
use cairn_logic::ids::Slot;
use cairn_logic::moves::{Marks, MoveId};
use std::collections::BTreeSet;

/// What the groups of a keyspace hold at one moment.
#[derive(Default)]
pub struct Owners {
    shown: BTreeSet<Slot>,
    gone: BTreeSet<(Slot, MoveId)>,
    coming: BTreeSet<(Slot, MoveId)>,
}

const WAY: &str = "was on its way to another group at that moment: restore to one some seconds \
                   earlier or later";

impl Owners {
    /// Adds a group: slots in which it shows keys, and those it hides.
    ///
    /// # Errors
    /// Another group shows keys of one of them, too: nobody can say whose count.
    pub fn add(&mut self, shown: impl Iterator<Item = Slot>, marks: &Marks) -> Result<()> {
        for slot in shown {
            ensure!(self.shown.insert(slot), "slot {} {WAY}", slot.get());
        }
        for (slot, mark) in marks {
            let these = if mark.gone { &mut self.gone } else { &mut self.coming };
            these.insert((*slot, mark.id));
        }
        Ok(())
    }

    /// Whether every slot's keys are somewhere.
    ///
    /// # Errors
    /// One group had deleted them, and the other did not show them yet.
    pub fn check(&self) -> Result<()> {
        let lost = self.coming.intersection(&self.gone).next();
        ensure!(lost.is_none(), "slot {} {WAY}", lost.map_or(0, |(slot, _)| slot.get()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::moves::Mark;

    fn slot(number: u16) -> Slot {
        Slot::try_from(number).unwrap()
    }

    fn marks(id: u64, gone: bool) -> Marks {
        [(slot(7), Mark { id: MoveId(id), gone })].into()
    }

    #[test]
    fn slots_that_were_moving_are_told_from_those_that_had_moved() {
        let none = Marks::default();
        let all = |groups: [(&[u16], &Marks); 2]| {
            let mut owners = Owners::default();
            for (shown, marks) in groups {
                owners.add(shown.iter().map(|number| slot(*number)), marks)?;
            }
            owners.check()
        };
        let (coming, gone) = (marks(2, false), marks(2, true));
        assert!(all([(&[1, 7], &none), (&[2], &none)]).is_ok());
        assert!(all([(&[7], &none), (&[2], &coming)]).is_ok(), "the source has it");
        assert!(all([(&[1], &gone), (&[7], &none)]).is_ok(), "the target has it");
        assert!(all([(&[7], &none), (&[7], &none)]).is_err(), "both show it");
        assert!(all([(&[1], &gone), (&[2], &coming)]).is_err(), "neither does");
        assert!(all([(&[1], &marks(1, true)), (&[2], &coming)]).is_ok(), "of an earlier move");
    }
}
