//! One slot is lent to another thread, which executes a command on it that takes long.
//!
//! The slot is a lane of its own meanwhile ([`Lane`]). Whoever owns the keyspace executes nothing
//! on it, nor on all keys, until it is back; nothing in it expires, makes room or is written into a
//! snapshot. So the command sees and does what it would have at one instant: that in which the slot
//! comes back, and in which its effects get their place in the log.

use super::{Keyspace, Lane};
use crate::command::Command;
use crate::effects::{EffectLog, Entries};
use crate::exec::{Ctx, Done};
use cairn_logic::ids::{Offset, Slot};
use cairn_resp::{Args, ReplyBuf};

/// A slot that is lent, and what was done to it.
pub struct Loan {
    lane: Lane,
    slot: Slot,
    entries: Option<Entries>,
}

impl std::fmt::Debug for Loan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loan({:?})", self.slot)
    }
}

impl Loan {
    /// Which slot.
    #[must_use]
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// Executes one command whose keys are all of this slot, as [`Keyspace::execute`]. What the
    /// reply depends on is known when the slot is back ([`Keyspace::take_slot`]).
    pub fn execute(
        &mut self,
        ctx: &Ctx,
        command: &Command,
        args: Args<'_>,
        reply: &mut ReplyBuf,
    ) -> Done {
        let mut log = EffectLog::new(Offset(1));
        let done = self.lane.keyspace.execute(ctx, command, args, None, reply, &mut log);
        debug_assert!(self.entries.is_none(), "one command is executed");
        self.entries = log.take();
        done
    }
}

impl Keyspace {
    /// Lends a slot; none if that cannot be: another one is lent, it is hidden, or a snapshot is
    /// being made of it.
    pub fn lend_slot(&mut self, slot: Slot) -> Option<Loan> {
        let number = slot.get();
        let writes = self.export.as_ref().is_some_and(|export| export.begun() == number + 1);
        if self.lent.is_some() || self.is_hidden(slot) || writes {
            return None;
        }
        let mut lane = self.lane(number..number + 1, 1);
        lane.keyspace.dice = self.draw() | 1;
        lane.keyspace.want_events(self.wanted_events());
        // What is asked of the slot meanwhile is what it weighs, and when it was last written.
        let (at, of_lane) = (usize::from(number), &lane.keyspace);
        self.slots[at].last_write = of_lane.slots[at].last_write;
        self.sums[at].objects_bytes = of_lane.sums[at].objects_bytes;
        self.lent = Some(slot);
        Some(Loan { lane, slot, entries: None })
    }

    /// Takes back what [`Keyspace::lend_slot`] gave; what was written becomes an entry of the log.
    /// What the command's reply depends on.
    pub fn take_slot(&mut self, loan: Loan, log: &mut EffectLog) -> Offset {
        let Loan { mut lane, slot, entries } = loan;
        debug_assert_eq!(self.lent, Some(slot), "it comes back to where it was lent");
        let last = self.slot_last_write(slot);
        if let Some(events) = &mut self.events {
            events.append(lane.keyspace.take_events());
        }
        self.take_back(vec![lane]);
        self.lent = None;
        let last = match entries {
            Some(entries) => log.graft(entries),
            None => last,
        };
        self.mark_written(slot, last);
        last
    }

    /// The slot that is lent.
    #[must_use]
    #[inline]
    pub fn lent(&self) -> Option<Slot> {
        self.lent
    }

    /// Whether a snapshot cannot go on before the slot is back that is lent.
    #[must_use]
    pub fn export_rests(&self) -> bool {
        let next = self.export.as_ref().map(|export| export.begun());
        self.lent.is_some_and(|slot| next == Some(slot.get()))
    }
}
