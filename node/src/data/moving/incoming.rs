//! The target's end of moves: what comes is written into the log.

use crate::data::server::Server;
use cairn_keyspace::Verb;
use cairn_logic::ids::{Epoch, Offset};
use cairn_logic::moves::{MoveId, Order, Phase, Target};
use cairn_wire::peer::pb;
use std::collections::BTreeMap;
use tokio::sync::mpsc;

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
            tracing::info!(id, refused, "a part of a move is refused");
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
        let routes = &core.view.routes;
        let home = core.home();
        let known = routes.moves.iter().find(|it| it.id == id && it.phase == Phase::Copy);
        let known = known.filter(|it| Some(&it.target) == home);
        // What was not read yet will be when it is tried again.
        let slots = known.map(|it| (it.first, it.last)).ok_or("no such move is known here")?;
        let same = self.incoming.moves.get(&id).is_some_and(|(target, _)| target.is(order));
        if frame.begins {
            self.begin_of_move(id, order, slots, back)?;
        } else if !same {
            return Err("this try has not begun here, or is over");
        }
        let covers = Offset(frame.covers);
        let core = &mut self.core;
        if !frame.entries.is_empty() {
            if let Err(error) = core.keyspace.take_brought(id, &frame.entries, &mut core.log) {
                tracing::error!(%id, %error, "what a move brings does not fit");
                core.write_slots(Verb::DropImport, id, slots);
                if let Some((target, _)) = self.incoming.moves.get_mut(&id) {
                    target.fail();
                }
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

    /// Another try begins: what an earlier one has brought is deleted.
    fn begin_of_move(
        &mut self,
        id: MoveId,
        order: Order,
        slots: (cairn_logic::ids::Slot, cairn_logic::ids::Slot),
        back: &mpsc::Sender<pb::MoveReply>,
    ) -> Result<(), &'static str> {
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
