//! Moves of slots, as the data thread has a part in them (docs/replication.md §10).
//!
//! At the source [`Carrying`] hands over what slots hold, then every entry about them, and holds
//! commands on them when it is told to; at the target [`Incoming`] writes into the log what comes.
//! What a master has to show or to delete by what the directory says is decided by
//! [`cairn_logic::moves::duties`].

mod carrying;
mod incoming;

pub use carrying::Carrying;
pub use incoming::{Arrived, Incoming};

use crate::data::core::Core;
use crate::data::dispatch::Refused;
use crate::data::link::FromData;
use crate::data::routes::NOBODY;
use crate::data::routing::{Ask, Verdict};
use crate::data::server::Server;
use cairn_keyspace::Verb;
use cairn_logic::ids::{GroupId, Offset, SLOTS, Slot};
use cairn_logic::moves::{Duty, MoveId, Phase, duties};
use cairn_wire::peer::pb;
use tokio::sync::mpsc;

const TRYAGAIN: &str = "TRYAGAIN The slot is being moved, and the global plane does not say how \
                        that has ended";

/// What control orders.
#[derive(Debug)]
pub enum MoveOrder {
    /// Hand over what these slots hold, and then what changes in them. In place of another try.
    Carry {
        /// Of which move.
        id: MoveId,
        /// In which try.
        session: u64,
        /// The slots, both ends included.
        slots: (Slot, Slot),
        /// Where to.
        to: mpsc::Sender<pb::MoveFrame>,
    },
    /// So many frames of that try are safe at the target.
    Safe {
        /// Which try.
        session: u64,
        /// How many.
        frames: u64,
    },
    /// Admit no command on the slots, and say since when.
    Hold {
        /// In which try.
        session: u64,
    },
    /// The move is over, or this try of it: nothing is handed over or held any more.
    End,
    /// A part of a move to this node's group.
    Arrived(Box<Arrived>),
}

/// What control is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveNews {
    /// Everything that the slots held is handed over.
    Copied {
        /// Of which move.
        id: MoveId,
        /// In which try.
        session: u64,
    },
    /// No entry above `at` is about the slots.
    Held {
        /// Of which move.
        id: MoveId,
        /// The end of the log then.
        at: Offset,
    },
    /// This try has come to nothing.
    Failed {
        /// Of which move.
        id: MoveId,
        /// Which.
        session: u64,
        /// In words.
        why: &'static str,
    },
    /// Nothing is left of a move that has ended.
    Ended(MoveId),
}

impl Core {
    /// Whether some slots are held, lent or hidden.
    #[inline]
    pub fn is_guarded(&self) -> bool {
        self.carrying.is_some()
            || self.keyspace.lent().is_some()
            || !self.keyspace.marks().is_empty()
    }

    /// Whether commands on a slot wait for the end of a move, or until it is back that is lent.
    pub fn holds(&self, slot: Slot) -> bool {
        self.keyspace.lent() == Some(slot) || self.carries(slot)
    }

    fn carries(&self, slot: Slot) -> bool {
        self.carrying.as_ref().is_some_and(|carrying| carrying.holds(slot))
    }

    /// Refuses a command on a slot that is held or not shown; one without a key waits for any hold.
    #[cold]
    pub(super) fn guard(&self, slot: Option<Slot>) -> Result<(), Refused> {
        let lent = self.keyspace.lent();
        if lent.is_some() && slot.is_none_or(|slot| lent == Some(slot)) {
            return Err(Refused::Stalled);
        }
        let held = match slot {
            Some(slot) => self.carries(slot),
            None => self.carrying.as_ref().is_some_and(|carrying| carrying.is_held()),
        };
        if held {
            // It lasts only while nobody can say how the move has ended.
            let since = self.carrying.as_ref().and_then(|carrying| carrying.held_since());
            let long = since.is_some_and(|at| self.now.since(at) > self.config.ack_timeout);
            let late = || Refused::Error(TRYAGAIN.to_owned());
            return Err(if long { late() } else { Refused::Stalled });
        }
        let Some(slot) = slot.filter(|slot| self.keyspace.is_hidden(*slot)) else { return Ok(()) };
        // A replica that has not applied yet what its routes say: its master has.
        let other = self.view.of_slot(slot, Ask { write: true, readonly: false });
        let verdict = if other == Verdict::Here { Verdict::Down } else { other };
        Err(Refused::Error(self.view.error(verdict, slot.get())))
    }

    /// The first and the last slot that a move is bringing.
    fn brought_by(&self, id: MoveId) -> Option<(Slot, Slot)> {
        let marks = self.keyspace.marks().iter();
        let mut brought = marks.filter(|(_, mark)| mark.id == id && !mark.gone);
        let first = *brought.next()?.0;
        Some((first, brought.next_back().map_or(first, |(slot, _)| *slot)))
    }

    fn home(&self) -> Option<&GroupId> {
        let home = self.view.home?;
        self.view.routes.groups.get(home).map(|group| &group.id)
    }

    /// Whether the routes give a slot to this node's group.
    fn owns(&self, slot: Slot) -> bool {
        let owner = self.view.routes.slots.get(usize::from(slot.get())).copied();
        self.view.home.is_some() && owner.map(usize::from) == self.view.home
    }
}

impl Server {
    /// What control orders.
    pub(super) fn move_order(&mut self, order: MoveOrder) {
        match order {
            MoveOrder::Carry { id, session, slots, to } => {
                self.end_carrying();
                self.core.begin_carrying(Carrying::new(id, session, slots, to));
            }
            MoveOrder::Safe { session, frames } => {
                if let Some(carrying) = self.core.carrying.as_mut() {
                    carrying.safe(session, frames);
                }
            }
            MoveOrder::Hold { session } => self.core.hold_slots(session),
            MoveOrder::End => self.end_carrying(),
            MoveOrder::Arrived(arrived) => self.arrived_of_move(*arrived),
        }
    }

    /// Nothing is handed over or held any more: who waited for that goes on.
    fn end_carrying(&mut self) {
        let Some(carrying) = self.core.carrying.take() else { return };
        if carrying.is_copying() {
            self.core.keyspace.end_export();
        }
        if carrying.is_held() {
            self.core.keyspace.keep_still(None);
            self.resume_stalled();
            self.blocked.all_changed();
            self.serve_blocked();
        }
    }

    /// Mastership is over: whoever is next begins anew.
    pub(super) fn end_moves(&mut self) {
        if self.core.carrying.take().is_some_and(|carrying| carrying.is_copying()) {
            self.core.keyspace.end_export();
        }
        self.core.keyspace.keep_still(None);
        self.incoming = Incoming::default();
        // Whoever masters next has in its log what is committed.
        self.core.slots_written = Offset::ZERO;
    }

    /// Whether a commit lets a move go on.
    pub(super) fn is_moving(&self) -> bool {
        self.core.carrying.is_some() || !self.incoming.is_empty()
    }

    /// Goes on with moves, after each turn.
    pub(super) fn look_at_moves(&mut self) {
        if self.core.carrying.is_some() {
            self.core.pump();
        }
        if !self.incoming.is_empty() {
            let epoch = self.core.mastership.map(|mastership| mastership.epoch);
            self.incoming.committed(self.core.committed, epoch.unwrap_or_default());
        }
    }

    /// Writes what follows from what the directory says of slots and moves, while it is master.
    pub(super) fn do_duties(&mut self) {
        let core = &self.core;
        if core.mastership.is_none() || core.gap || core.loading || core.keyspace.lent().is_some() {
            return;
        }
        let routes = core.view.routes.clone();
        if routes.moves.is_empty() && !core.keyspace.is_bringing() {
            return;
        }
        let Some(group) = core.home().cloned() else { return };
        if routes.slots.iter().all(|owner| *owner == NOBODY) {
            // Who owns what is not known.
            return;
        }
        let copies = |id| routes.moves.iter().any(|it| it.id == id && it.phase == Phase::Copy);
        self.incoming.retain(copies);
        let core = &self.core;
        let marks = core.keyspace.marks();
        let due = duties(&group, &routes.moves, |slot| core.owns(slot), marks);
        for duty in due {
            self.do_duty(duty);
        }
    }

    fn do_duty(&mut self, duty: Duty) {
        let (verb, id) = match duty {
            Duty::Show(id) => (Verb::Show, id),
            Duty::DropImport(id) => (Verb::DropImport, id),
            Duty::DropSource(id) => (Verb::DropSource, id),
            Duty::Forget(id) => {
                // As far as it is committed that nothing is left.
                if self.core.slots_written <= self.core.committed {
                    self.core.outgoing.send(FromData::Move(MoveNews::Ended(id)));
                }
                return;
            }
        };
        let slots = match verb {
            Verb::DropSource => {
                let known = self.core.view.routes.moves.iter().find(|it| it.id == id);
                known.map(|it| (it.first, it.last))
            }
            _ => self.core.brought_by(id),
        };
        let Some(slots) = slots else { return };
        tracing::info!(%id, first = slots.0.get(), last = slots.1.get(), ?verb, "slots of a move");
        self.core.write_slots(verb, id, slots);
        if verb == Verb::Show {
            self.blocked.all_changed();
        }
    }
}

impl Core {
    /// Writes what becomes of slots into the log.
    pub(super) fn write_slots(&mut self, verb: Verb, id: MoveId, slots: (Slot, Slot)) {
        debug_assert!(slots.1.get() < SLOTS, "a slot is below 16384");
        self.append();
        self.keyspace.write_slots(verb, id, slots, &mut self.log);
        self.append();
        self.slots_written = self.last.offset;
    }
}
