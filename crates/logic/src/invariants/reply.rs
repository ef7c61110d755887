//! What clients may be told.

use super::{Copy, Held, Witness, broken};
use crate::counting::{Plane, Sets};
use crate::ids::Offset;
use std::collections::BTreeSet;

impl Witness {
    /// I4 `HonestAck`, I10 `NoDirty`, I23 Zoned: a client is answered OK for a write in this batch.
    ///
    /// # Errors
    /// The batch is not committed, or in fewer zones than the durability says.
    pub fn answers_write(&mut self, copy: &Copy) -> Held {
        if self.answers_wait() && !self.has_committed(copy) {
            return broken("I4 HonestAck", format_args!("{} is answered", copy.last));
        }
        self.is_zoned(copy)?;
        self.answered = self.answered.max(copy.last.offset);
        Ok(())
    }

    /// Nodes that hold it, by where they are and not by what the record says, are in as many zones
    /// as are asked for. A configuration that is in too few admits no writes; what it had admitted
    /// when it was larger it may commit.
    fn is_zoned(&self, copy: &Copy) -> Held {
        let (record, asked) = (self.record(), usize::from(self.record().durability.zones));
        let members = !record.members.is_empty() && self.plane == Plane::Group;
        if !members || !self.answers_wait() || !Sets::of(self.plane, record).has_zones() {
            return Ok(());
        }
        let held = self.holders.get(&copy.last).into_iter().flatten();
        let zones: BTreeSet<&String> = held.filter_map(|(node, _)| self.places.get(node)).collect();
        if asked > 1 && zones.len() < asked {
            let facts = format_args!("{} is answered from {zones:?} of {asked}", copy.last);
            return broken("I23 Zoned", facts);
        }
        Ok(())
    }

    /// I16 `NoReuse`: a client learns that its write, in this batch, has this revision.
    ///
    /// # Errors
    /// Another write had it.
    pub fn gives_out(&mut self, revision: u64, copy: &Copy) -> Held {
        let known = *self.given.entry(revision).or_insert(*copy);
        if known == *copy {
            return Ok(());
        }
        broken("I16 NoReuse", format_args!("{revision} of {} and {}", known.last, copy.last))
    }

    /// What a linearizable read that begins now must see.
    #[must_use]
    pub fn read_begins(&self) -> Offset {
        self.answered
    }

    /// I10 `NoDirty`, I11 Fresh: a linearizable read that began when `began` was answered shows
    /// the state after `seen`.
    ///
    /// # Errors
    /// It shows something uncommitted, or misses something acknowledged.
    pub fn answers_read(&self, seen: Option<&Copy>, began: Offset) -> Held {
        if !self.answers_wait() {
            return Ok(());
        }
        if seen.is_some_and(|copy| !self.has_committed(copy)) {
            return broken("I10 NoDirty", format_args!("a read shows {seen:?}"));
        }
        let upto = seen.map_or(Offset::ZERO, |copy| copy.last.offset);
        if upto < began {
            return broken("I11 Fresh", format_args!("a read shows {upto}, {began} was answered"));
        }
        Ok(())
    }

    /// I10 `NoDirty`: a read that may be stale shows the state after `seen`.
    ///
    /// # Errors
    /// It shows something uncommitted.
    pub fn answers_stale_read(&self, seen: Option<&Copy>) -> Held {
        if self.is_lossy() || seen.is_none_or(|copy| self.has_committed(copy)) {
            return Ok(());
        }
        broken("I10 NoDirty", format_args!("a replica shows {seen:?}"))
    }

    fn has_committed(&self, copy: &Copy) -> bool {
        let committed = self.committed();
        let at = committed.binary_search_by_key(&copy.last, |c| c.last);
        at.is_ok_and(|at| committed[at] == *copy)
    }
}
