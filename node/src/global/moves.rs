//! Moves of slots that people ask for: what they change in the directory is decided by
//! [`cairn_global::moving`].

use super::role::{Role, now};
use crate::clock;
use crate::etcd;
use crate::peer::Reply;
use cairn_directory::core::Request;
use cairn_global::Asked;
use cairn_global::moving::{self, Swap};
use cairn_global::planning::Outlook;
use cairn_logic::ids::{GroupId, Slot};
use cairn_logic::moves::{MoveId, Phase};
use cairn_wire::peer::pb;
use tokio::sync::oneshot;
use tonic::Status;

fn slot(number: u32) -> Result<Slot, Status> {
    let slot = u16::try_from(number).ok().and_then(|number| Slot::try_from(number).ok());
    slot.ok_or_else(|| Status::invalid_argument(format!("{number} is no slot: 0 to 16383")))
}

fn refused(error: moving::Error) -> Status {
    Status::failed_precondition(error.to_string())
}

impl Role {
    pub(super) fn move_slots(&mut self, wish: &pb::MoveSlots, reply: Reply<pb::WishReply>) {
        let begun = slot(wish.first).and_then(|first| {
            let (slots, target) = ((first, slot(wish.last)?), GroupId::new(&wish.target));
            let view = self.master.view();
            let unix_ms = clock::unix_ms();
            moving::begin_by_hand(view, &wish.keyspace, slots, &target, unix_ms).map_err(refused)
        });
        match begun {
            Err(status) => drop(reply.send(Err(status))),
            Ok((swap, ids)) => {
                let line = |id: MoveId| format!("move {id} begun");
                self.swap(&swap, ids.into_iter().map(line).collect(), reply);
            }
        }
    }

    pub(super) fn cancel_move(&mut self, wish: &pb::CancelMove, reply: Reply<pb::WishReply>) {
        let moves = self.master.view().moves.get(&wish.keyspace);
        let copies = moves.into_iter().flat_map(|moves| moves.all());
        let copies = copies.filter(|it| it.phase == Phase::Copy).map(|it| it.id);
        let ids = match wish.r#move {
            0 => copies.collect(),
            id => vec![MoveId(id)],
        };
        let (view, unix_ms) = (self.master.view(), clock::unix_ms());
        match moving::cancel_by_hand(view, &wish.keyspace, &ids, unix_ms).map_err(refused) {
            Err(status) => drop(reply.send(Err(status))),
            Ok(swap) => {
                let line = |id: &MoveId| format!("move {id} cancelled");
                self.swap(&swap, ids.iter().map(line).collect(), reply);
            }
        }
    }

    pub(super) fn rebalance(&mut self, wish: &pb::Rebalance, reply: Reply<pb::WishReply>) {
        use pb::rebalance::Action;
        let name = &wish.keyspace;
        let Some(Outlook { lines, slots_rest }) = self.master.outlook(name, now()) else {
            reply.send(Err(Status::not_found(format!("there is no keyspace {name}")))).ok();
            return;
        };
        let paused = match wish.action() {
            Action::Plan => return drop(reply.send(Ok(pb::WishReply { lines, slots_rest }))),
            Action::Pause => true,
            Action::Resume => false,
        };
        let swap = moving::pause(self.master.view(), name, paused);
        let what = if paused { "paused; moves under way go on" } else { "goes on" };
        self.swap(&swap, vec![format!("the planner of {name} {what}")], reply);
    }

    /// Proposes a change, and answers with `lines` once it is committed.
    fn swap(&mut self, swap: &Swap, lines: Vec<String>, reply: Reply<pb::WishReply>) {
        let (outcome, done) = oneshot::channel();
        let request = Request::Propose { op: swap.op(), system: true };
        let desk = &mut self.host.world.desk;
        desk.accept(clock::now(), etcd::Asked::Request(request, outcome));
        tokio::spawn(async move {
            let answer = match Asked::of(done.await.ok().as_ref()) {
                Asked::Held => Ok(pb::WishReply::said(lines)),
                Asked::Failed => Err(Status::aborted("the directory has changed; ask again")),
                Asked::Unknown => {
                    Err(Status::unavailable("the directory does not answer; look at the slots"))
                }
            };
            reply.send(answer).ok();
        });
    }
}
