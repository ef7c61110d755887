//! What judges and planners may decide.

use super::{Broken, Held, Witness, broken};
use crate::counting::Sets;
use crate::ids::{EntryId, NodeId, Version};
use crate::record::Record;

impl Witness {
    /// I20 `Committed effects`: somebody asks to replace version `expected` by `record`.
    ///
    /// # Errors
    /// It rests on a record that was never committed.
    pub fn rests_on(&self, expected: Version, record: &Record) -> Held {
        let Some(base) = self.records.get(&expected) else {
            return broken("I20 Committed effects", format_args!("{record:?} on {expected}"));
        };
        if record.version != expected.next() || record.attempt < base.attempt {
            return broken("I20 Committed effects", format_args!("{record:?} on {base:?}"));
        }
        Ok(())
    }

    /// I14 Counted: a judge took these seals for proof of the choice that `new` records.
    ///
    /// # Errors
    /// Too few of those that the record named were intact, and that was not said.
    pub fn decides(&self, new: &Record, sealed: &[(NodeId, EntryId, bool)], lossy: bool) -> Held {
        let Some(open) = self.records.get(&Version(new.version.0.saturating_sub(1))) else {
            return broken("I20 Committed effects", format_args!("{new:?} on nothing"));
        };
        let intact = |id: &NodeId| sealed.iter().any(|(who, _, intact)| who == id && *intact);
        let sets = Sets::of(self.plane, open);
        if !lossy && !sets.proves(|at| intact(&open.members[at].id)) {
            let facts = format!("no proof of {}: {sealed:?} of {open:?}", new.attempt);
            return Err(Broken { rule: "I14 Counted", facts });
        }
        Ok(())
    }
}
