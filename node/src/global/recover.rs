//! What a person decides: to go on with what is left (docs/recover.md).

use super::role::{ArbiterWish, Role};
use crate::clock;
use crate::peer::Reply;
use cairn_logic::arbiter::{Founding, Operation, Outcome, Recovery};
use cairn_logic::ids::{EntryId, Epoch, GroupId, NodeId, Version};
use cairn_logic::judge::{Hint, JudgeInput};
use cairn_logic::record::{Member, Record, Role as MemberRole, Rule};
use cairn_wire::peer::pb;
use std::collections::BTreeSet;
use tonic::Status;

/// The condition, in words, while the folders of `gone` are missing.
pub fn record_missing(gone: &[NodeId]) -> String {
    let names: Vec<&str> = gone.iter().map(NodeId::as_str).collect();
    format!(
        "RecordMissing: the folders of {} are gone, so no majority of the arbiter is left",
        names.join(", ")
    )
}

impl Role {
    /// A group goes on with the members that are left.
    pub(super) fn recover_group(&mut self, wish: &pb::Recover) -> Result<pb::WishReply, Status> {
        let group = GroupId::new(&wish.group);
        let record = self.master.view().groups.get(&group);
        let record = record.ok_or_else(|| Status::not_found(format!("no group {group}")))?;
        let left: BTreeSet<NodeId> = wish.left.iter().map(NodeId::new).collect();
        if left.is_empty() || left.iter().any(|id| record.member(id).is_none()) {
            let members: Vec<&str> = record.members.iter().map(|m| m.id.as_str()).collect();
            let text = format!("name some of {group}'s members: {}", members.join(", "));
            return Err(Status::invalid_argument(text));
        }
        let now = clock::now();
        if !self.master.courts().get(&group).is_some_and(|court| court.judge.needs_person(now)) {
            let text = format!("{group} does not wait for a person; see `cairn why {group}`");
            return Err(Status::failed_precondition(text));
        }
        tracing::warn!(%group, ?left, "a person accepts the loss of what the others hold");
        self.tell(&group, JudgeInput::Hint(Hint::AcceptLoss(left)));
        Ok(pb::WishReply::said(vec![format!("{group} goes on with what is left")]))
    }

    /// This node makes the arbiter's record again, and goes on as or becomes global master.
    pub(super) fn recover_plane(&mut self, wish: &pb::Recover, reply: Reply<pb::WishReply>) {
        match self.recovery(wish) {
            Ok(recovery) => {
                tracing::warn!(?recovery, "a person has the arbiter's record made again");
                let operation = Operation::Recover(Box::new(recovery));
                self.ask_arbiter(operation, ArbiterWish::Recover(reply));
            }
            Err(status) => drop(reply.send(Err(status))),
        }
    }

    fn recovery(&self, wish: &pb::Recover) -> Result<Recovery, Status> {
        if self.is_checkpoint() {
            let text = "this is a checkpoint node, which never masters; ask a node of role global";
            return Err(Status::failed_precondition(text));
        }
        if self.host.replica().last() == EntryId::ZERO && !self.serving {
            let text = "this node has no log, so the directory would be empty; `cairn recover \
                        global --rebuild` makes it again from what the groups know";
            return Err(Status::failed_precondition(text));
        }
        let known = self.boot.settings.acceptors();
        let left: BTreeSet<NodeId> = wish.acceptors.iter().map(NodeId::new).collect();
        let acceptors: Vec<NodeId> = known.iter().filter(|id| left.contains(id)).cloned().collect();
        if acceptors.len() <= known.len() / 2 {
            let names: Vec<&str> = known.iter().map(NodeId::as_str).collect();
            let text = format!("more than half of the acceptors must answer: {}", names.join(", "));
            return Err(Status::failed_precondition(text));
        }
        if self.arbiter.lost().is_none() && self.has_master() {
            let text = "there is a global master, and the arbiter has its record";
            return Err(Status::failed_precondition(text));
        }
        let record = match &self.record {
            Some(record) if self.serving => record.clone(),
            known => self.first_of_itself(known.as_ref()),
        };
        let own = self.record.as_ref().map_or(Version(0), |record| record.version);
        let uid = self.boot.settings.cluster_uid.clone();
        Ok(Recovery {
            founding: Founding { uid, record, acceptors },
            version: own.max(Version(wish.version)),
            epoch: Epoch(wish.epoch).max(self.host.replica().last().epoch),
            attempt: Epoch(wish.attempt).max(self.host.replica().vote().sealed),
        })
    }

    /// Whether this node is global master, or hears one.
    pub(super) fn has_master(&self) -> bool {
        let settings = &self.boot.settings;
        let silence_max = settings.timing.for_logic(&settings.lag).silence_max;
        let silence = self.host.replica().report(clock::now()).master_silence;
        self.serving || (silence < silence_max && self.record.is_some())
    }

    /// A record of this node alone, with an attempt open that it may finish.
    fn first_of_itself(&self, known: Option<&Record>) -> Record {
        let me = self.me();
        let globals = u8::try_from(self.others.len() + 1).unwrap_or(u8::MAX);
        Record {
            version: Version(0),
            epoch: Epoch::ZERO,
            master: None,
            members: vec![Member {
                id: me.id,
                incarnation: me.incarnation,
                role: MemberRole::Replica,
                zone: None,
            }],
            rule: Rule::All,
            wanted: known.map_or(globals, |record| record.wanted),
            durability: self.boot.settings.durability,
            attempt: Epoch::ZERO,
            open: true,
        }
    }

    /// The arbiter has answered what [`Role::recover_plane`] asked.
    pub(super) fn recovered(&mut self, reply: Reply<pb::WishReply>, outcome: Outcome) {
        let answer = match outcome {
            Outcome::Changed(value) => {
                if !self.serving {
                    let me = [self.boot.identity.me.id.clone()].into();
                    self.judge(JudgeInput::Hint(Hint::AcceptLoss(me)));
                }
                let line = format!("the arbiter's record is made again: {}", value.record.version);
                Ok(pb::WishReply::said(vec![line]))
            }
            Outcome::Unknown { silent } => {
                let silent: Vec<&str> = silent.iter().map(NodeId::as_str).collect();
                Err(Status::unavailable(format!("waiting for acceptors {}", silent.join(", "))))
            }
            Outcome::Is(_) | Outcome::Refused(_) | Outcome::Missing | Outcome::Busy => {
                Err(Status::unavailable("the arbiter is busy; try again"))
            }
        };
        reply.send(answer).ok();
    }
}
