//! The target's end of moves: what comes is written into the log.

use crate::data::server::Server;
use cairn_keyspace::{Policy, Verb};
use cairn_logic::ids::{Epoch, Offset, Slot};
use cairn_logic::moves::{MoveId, Order, Target, coming};
use cairn_logic::replication::Admission;
use cairn_wire::peer::pb;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

const FULL: &str = "maxmemory is reached there";
const NOT_EMPTY: &str = "that group has keys in these slots which the directory says are not its \
                         own: nothing is deleted";

/// A part of a move, and where answers go.
#[derive(Debug)]
pub struct Arrived {
    /// What.
    pub frame: pb::MoveFrame,
    /// Where to answer.
    pub back: mpsc::Sender<pb::MoveReply>,
}

/// Moves towards this master's group.
#[derive(Debug, Default)]
pub struct Incoming {
    moves: BTreeMap<MoveId, (Target, mpsc::Sender<pb::MoveReply>)>,
}

impl Incoming {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.moves.is_empty()
    }

    /// Tells what is safe by now.
    pub fn committed(&mut self, committed: Offset, epoch: Epoch) {
        for (target, back) in self.moves.values_mut() {
            let Some((frames, covered)) = target.committed(committed) else { continue };
            let (epoch, covered) = (epoch.0, covered.0);
            let reply = pb::MoveReply { epoch, covered, frames, refused: String::new() };
            // It has room for more replies than frames are on their way.
            back.try_send(reply).ok();
        }
    }

    /// Which try counts is known for as long as the move goes on: an earlier one must not begin
    /// again, whatever became of its connection.
    pub fn retain(&mut self, goes_on: impl Fn(MoveId) -> bool) {
        self.moves.retain(|id, _| goes_on(*id));
    }
}

impl Server {
    /// A part of a move to this node's group has come.
    pub(super) fn arrived_of_move(&mut self, Arrived { frame, back }: Arrived) {
        if let Err(refused) = self.take_of_move(&frame, &back) {
            let id = frame.r#move;
            // It is asked again and again; the source says so once.
            tracing::debug!(id, refused, "a part of a move is refused");
            let order = Order { epoch: Epoch(frame.epoch), session: frame.session };
            let current = self.incoming.moves.get_mut(&MoveId(id));
            if let Some((target, _)) = current.filter(|(target, _)| target.is(order)) {
                // Nothing after it counts, whatever comes.
                target.fail();
            }
            back.try_send(pb::MoveReply { refused: refused.to_owned(), ..Default::default() }).ok();
        }
    }

    fn take_of_move(
        &mut self,
        frame: &pb::MoveFrame,
        back: &mpsc::Sender<pb::MoveReply>,
    ) -> Result<(), &'static str> {
        let id = MoveId(frame.r#move);
        let order = Order { epoch: Epoch(frame.epoch), session: frame.session };
        let core = &self.core;
        if core.mastership.is_none() || core.gap || core.loading {
            return Err("this node is not master");
        }
        let moves = &core.view.routes.moves;
        let known = core.home().and_then(|home| coming(moves, id, home, |slot| core.owns(slot)));
        // What was not read yet will be when it is tried again.
        let slots = known.map(|it| (it.first, it.last)).ok_or("no such move is known here")?;
        let known = self.incoming.moves.get(&id);
        let next = known.is_some_and(|(target, _)| target.expects(order, frame.number));
        if core.no_room.is_some() {
            return Err("the log or the disk is full");
        }
        if core.admission == Admission::HandingOver {
            return Err("the group is handing over");
        }
        let full = core.is_full() && core.config.eviction.policy == Policy::NoEviction;
        if full && frame.begins {
            return Err(FULL);
        }
        if frame.begins {
            self.begin_of_move(id, order, slots, back)?;
        } else if !next {
            return Err("this try has not begun here, is over, or lacks a part");
        }
        if full && !frame.entries.is_empty() {
            self.give_up(id, slots);
            return Err(FULL);
        }
        let covers = Offset(frame.covers);
        let core = &mut self.core;
        if !frame.entries.is_empty() {
            if let Err(error) = core.keyspace.take_brought(id, &frame.entries, &mut core.log) {
                tracing::error!(%id, %error, "what a move brings does not fit");
                self.give_up(id, slots);
                return Err("what came does not fit to what came before");
            }
            core.append();
        }
        let log = core.last.offset;
        if let Some((target, _)) = self.incoming.moves.get_mut(&id) {
            target.took(log, covers);
        }
        Ok(())
    }

    /// This try covers nothing any more: what it has brought is deleted.
    fn give_up(&mut self, id: MoveId, slots: (Slot, Slot)) {
        self.core.write_slots(Verb::DropImport, id, slots);
        if let Some((target, _)) = self.incoming.moves.get_mut(&id) {
            target.fail();
        }
    }

    /// Another try begins: what an earlier one has brought is deleted.
    fn begin_of_move(
        &mut self,
        id: MoveId,
        order: Order,
        slots: (Slot, Slot),
        back: &mpsc::Sender<pb::MoveReply>,
    ) -> Result<(), &'static str> {
        if !self.core.keyspace.may_take(slots) {
            return Err(NOT_EMPTY);
        }
        match self.incoming.moves.get_mut(&id) {
            Some((target, old)) => {
                if !target.begin(order) {
                    return Err("a later try has begun");
                }
                *old = back.clone();
            }
            None => {
                self.incoming.moves.insert(id, (Target::new(order), back.clone()));
            }
        }
        tracing::info!(%id, first = slots.0.get(), last = slots.1.get(), "slots are coming");
        self.core.write_slots(Verb::Take, id, slots);
        Ok(())
    }
}
