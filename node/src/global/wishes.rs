//! Founding, wishes of people, and what this node says of itself.

use super::role::{Role, now};
use crate::boot::Boot;
use crate::clock;
use crate::peer::Reply;
use crate::status;
use cairn_logic::arbiter::{Founding, Outcome};
use cairn_logic::ids::{Epoch, GroupId, NodeId, Version};
use cairn_logic::judge::{Hint, JudgeInput};
use cairn_logic::record::{Member, Record, Rule};
use cairn_settings::NodeCondition;
use cairn_wire::peer::pb;
use tonic::Status;

/// What the register begins with.
pub fn founding(boot: &Boot, request: &pb::FoundRequest, members: Vec<Member>) -> Founding {
    let wanted = u8::try_from(request.wanted).unwrap_or(u8::MAX).max(1);
    Founding {
        uid: boot.settings.cluster_uid.clone(),
        record: Record {
            version: Version(1),
            epoch: Epoch::ZERO,
            master: None,
            members,
            rule: Rule::All,
            wanted,
            durability: boot.settings.durability,
            attempt: Epoch::ZERO,
            open: false,
        },
        acceptors: request.acceptors.iter().map(NodeId::new).collect(),
    }
}

/// Answers who asked for the founding.
pub fn founded(reply: Reply<pb::FoundReply>, outcome: Outcome) {
    let answer = match outcome {
        Outcome::Is(value) | Outcome::Changed(value) | Outcome::Refused(value) => {
            let record = serde_json::to_vec(&value.record).expect("a record is plain data");
            tracing::info!(members = value.record.members.len(), "the cluster is founded");
            Ok(pb::FoundReply { record: record.into() })
        }
        Outcome::Missing => Err(Status::unavailable("the acceptors are blank")),
        Outcome::Busy => Err(Status::unavailable("the arbiter is busy")),
        Outcome::Unknown { silent } => {
            let silent: Vec<&str> = silent.iter().map(NodeId::as_str).collect();
            Err(Status::unavailable(format!("waiting for acceptors {}", silent.join(", "))))
        }
    };
    reply.send(answer).ok();
}

impl Role {
    /// Answers a wish, now or when the arbiter has answered.
    pub(super) fn wished(&mut self, request: pb::WishRequest, reply: Reply<pb::WishReply>) {
        match request.body {
            Some(pb::wish_request::Body::Recover(wish))
                if wish.group == GroupId::global().as_str() =>
            {
                self.recover_plane(&wish, reply);
            }
            Some(pb::wish_request::Body::WriteSnapshot(wish))
                if wish.group == GroupId::global().as_str() =>
            {
                self.snapshot_now(reply);
            }
            Some(pb::wish_request::Body::MoveSlots(wish)) if self.serving => {
                self.move_slots(&wish, reply);
            }
            Some(pb::wish_request::Body::CancelMove(wish)) if self.serving => {
                self.cancel_move(&wish, reply);
            }
            Some(pb::wish_request::Body::Rebalance(wish)) if self.serving => {
                self.rebalance(&wish, reply);
            }
            _ if self.is_checkpoint() => {
                let text = "this is a checkpoint node; ask a node of role global";
                reply.send(Err(Status::failed_precondition(text))).ok();
            }
            _ => drop(reply.send(self.wish(request))),
        }
    }

    /// A wish, which only the global master takes, or a hint, which every judge does.
    fn wish(&mut self, request: pb::WishRequest) -> Result<pb::WishReply, Status> {
        use pb::wish_request::Body;
        if let Some(Body::Hint(hint)) = &request.body {
            return Ok(self.hint(hint));
        }
        if !self.serving {
            let master = self.record.as_ref().and_then(|record| record.master.clone());
            let master = master.map_or("nobody yet".to_owned(), |id| id.as_str().to_owned());
            let text = format!("the global master is {master}; ask there");
            return Err(Status::failed_precondition(text));
        }
        match request.body {
            Some(Body::Switchover(wish)) => self.switchover(&wish),
            Some(Body::Why(why)) => Ok(pb::WishReply::said(self.why(&why.group)?)),
            Some(Body::Recover(wish)) => self.recover_group(&wish),
            Some(Body::WriteSnapshot(wish)) => {
                let text = format!("{} is not the log of this node", wish.group);
                Err(Status::invalid_argument(text))
            }
            Some(Body::RepairPart(_)) => {
                Err(Status::invalid_argument("no group has its log on this node"))
            }
            Some(Body::MoveSlots(_) | Body::CancelMove(_) | Body::Rebalance(_) | Body::Hint(_))
            | None => Err(Status::invalid_argument("an empty wish")),
        }
    }

    /// Lets this node's judges look at once instead of after a silence.
    fn hint(&mut self, hint: &pb::Hint) -> pb::WishReply {
        tracing::info!(node = %hint.node, seen = %hint.seen, "hint");
        let gone = JudgeInput::Hint(Hint::Gone(NodeId::new(&hint.node)));
        self.judge(gone.clone());
        if self.serving {
            self.tell_all(&gone);
        }
        pb::WishReply::said(vec!["noted".to_owned()])
    }

    fn switchover(&mut self, wish: &pb::Switchover) -> Result<pb::WishReply, Status> {
        let group = GroupId::new(&wish.group);
        let own = group == GroupId::global();
        let record = if own { self.record.as_ref() } else { self.master.view().groups.get(&group) };
        let record = record.ok_or_else(|| Status::not_found(format!("no group {group}")))?;
        let target = (!wish.target.is_empty()).then(|| NodeId::new(&wish.target));
        if let Some(target) = &target
            && record.member(target).is_none()
        {
            let members: Vec<&str> = record.members.iter().map(|m| m.id.as_str()).collect();
            let text =
                format!("{target} is no member of {group}; those are {}", members.join(", "));
            return Err(Status::invalid_argument(text));
        }
        let is_there = target.is_some() && record.master == target;
        let said = match is_there {
            true => format!("{} stays master of {group}", wish.target),
            false => format!("switchover of {group} begun"),
        };
        if own {
            self.judge(JudgeInput::Wish { target });
        } else {
            let acts = self.master.hand_over(now(), &group, target);
            self.act(acts);
        }
        Ok(pb::WishReply::said(vec![said]))
    }

    fn why(&self, group: &str) -> Result<Vec<String>, Status> {
        let group = GroupId::new(group);
        let own = group == GroupId::global();
        let court = if own { Some(&self.court) } else { self.master.courts().get(&group) };
        let court = court.ok_or_else(|| {
            let known = self.master.view().groups.keys();
            let known: Vec<&str> = known.map(GroupId::as_str).collect();
            Status::not_found(format!("no group {group}; there are {}", known.join(", ")))
        })?;
        let mut lines = self.history(&group);
        lines.extend(court.lines(clock::now()));
        Ok(lines)
    }

    pub(super) fn status(&self) -> pb::StatusReply {
        let me = &self.boot.identity.me;
        let mut waiting = self.host.world.alarms.clone();
        waiting.extend(self.court.conditions.iter().cloned());
        waiting.extend(self.arbiter.lost().map(|gone| super::recover::record_missing(&gone)));
        waiting.extend(self.loading());
        let room = self.host.world.storage.room();
        let (group, now) = (GroupId::global(), clock::now());
        let log = status::log_status(&group, &self.host, now, waiting, &room.tails);
        let log = pb::LogStatus { loaded_percent: self.loaded_percent(), ..log };
        let mut conditions = room.conditions(group.as_str());
        conditions.extend(self.differ.clone().map(|message| pb::Condition {
            reason: NodeCondition::CopiesDiffer.as_str().to_owned(),
            group: group.as_str().to_owned(),
            message,
        }));
        conditions.extend(self.acceptor_missing());
        conditions.extend(self.pools_exhausted());
        conditions.extend(self.draining());
        conditions.extend(self.autoscale_limited());
        let (peer_tls_digest, client_tls_digest) = self.boot.identity.tls.digests();
        pb::StatusReply {
            node: me.id.as_str().to_owned(),
            incarnation: me.incarnation.0,
            life: self.boot.identity.life().0,
            role: self.boot.settings.role.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            logs: vec![log],
            load: None,
            rss_bytes: status::rss_bytes(),
            disk_free_bytes: room.free_bytes,
            conditions,
            peer_tls_digest,
            client_tls_digest,
        }
    }
}
