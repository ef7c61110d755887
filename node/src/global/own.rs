//! This plane's own replica, its judge on this node, and the arbiter.

use super::arbiter::Replied;
use super::lines::Ordered;
use super::role::{ArbiterWish, Role, now};
use super::run::holders;
use crate::clock;
use cairn_global::{Drain, Pool, members_wish};
use cairn_host::Event;
use cairn_logic::arbiter::{Operation, Outcome, Token};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::judge::{JudgeEffect, JudgeInput};
use cairn_logic::message::{Answer, Order, Relief};
use cairn_logic::record::{Member, Record, Role as MemberRole};
use cairn_logic::time::Duration;
use cairn_settings::NodeCondition;
use cairn_settings::directory_keys::group_of;
use cairn_wire::peer::control::{self, Instruction};
use cairn_wire::peer::pb;
use std::collections::BTreeSet;

/// How often a sitting master looks at the acceptors, and while one has lost its folder.
const SEATS_INTERVAL: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(1));

impl Role {
    /// An answer of our replica goes to every judge; each knows its own attempts.
    pub(super) fn answer(&mut self, answer: &Answer) {
        let body = pb::up::Body::Answer(control::answer_out(answer));
        let group = GroupId::global().as_str().to_owned();
        let up = pb::Up { group, body: Some(body) };
        self.others.values().for_each(|line| line.send(up.clone()));
        let (from, answer) = (self.me(), answer.clone());
        self.judge(JudgeInput::Answer { from, answer });
    }

    /// Tells this plane's judge on this node; not before there is a life to judge in
    /// (docs/decisions/0007).
    pub(super) fn judge(&mut self, input: JudgeInput) {
        if !self.host.has_begun() || self.is_checkpoint() {
            return;
        }
        let mut effects = Vec::new();
        self.court.judge.step(clock::now(), input, &mut effects);
        for effect in self.court.note(&GroupId::global(), now().unix_ms, effects) {
            match effect {
                JudgeEffect::Cas { expected, record } => {
                    let swap = Operation::Swap { expected, record: Box::new(record) };
                    self.ask_arbiter(swap, ArbiterWish::Judge(expected));
                }
                JudgeEffect::ReadRecord => self.read_record(),
                effect => {
                    let JudgeEffect::Order { to, order } = effect else { continue };
                    if to == self.boot.identity.me.id {
                        self.host.handle(Event::Order(order));
                    } else {
                        let group = GroupId::global();
                        self.send_down(&to, control::order_out(group.as_str(), &order));
                    }
                }
            }
        }
    }

    /// Asks the arbiter, in the name of this life; whoever asks before it has begun asks again.
    pub(super) fn ask_arbiter(&mut self, operation: Operation, wish: ArbiterWish) {
        if !self.host.has_begun() {
            return;
        }
        let (token, done) = self.arbiter.ask(operation);
        self.wishes.insert(token, wish);
        self.arbitrated(done);
    }

    pub(super) fn read_record(&mut self) {
        let reading = self.wishes.values().any(|wish| matches!(wish, ArbiterWish::Read));
        if !reading && self.host.has_begun() {
            self.read_at = clock::now();
            self.ask_arbiter(Operation::Read, ArbiterWish::Read);
        }
    }

    /// Puts the new folder of an acceptor that lost its old one in that one's place; only the
    /// sitting master may, and one at a time.
    pub(super) fn tend_acceptors(&mut self) {
        let idle = self.wishes.is_empty();
        let interval = match self.unseated().is_empty() {
            true => SEATS_INTERVAL.0,
            false => SEATS_INTERVAL.1,
        };
        if let Some((out, seat)) = self.arbiter.lost_seat().filter(|_| idle) {
            let folder = seat.incarnation;
            tracing::warn!(acceptor = %out, incarnation = %folder, "replacing an acceptor");
            self.ask_arbiter(Operation::Replace { out, seat }, ArbiterWish::Master);
        } else if clock::now().since(self.read_at) >= interval {
            self.read_record();
        }
    }

    fn unseated(&self) -> BTreeSet<NodeId> {
        self.arbiter.unseated(|id| self.lines.get(id).map(|(caller, _)| caller.sender.incarnation))
    }

    /// The condition while an acceptor without its folder is not replaced by its new one.
    pub(super) fn acceptor_missing(&self) -> Option<pb::Condition> {
        let gone = if self.serving { self.unseated() } else { BTreeSet::new() };
        let names: Vec<&str> = gone.iter().map(NodeId::as_str).collect();
        let message = format!("{} lost the folder and does not count yet", names.join(", "));
        (!names.is_empty()).then(|| pb::Condition {
            reason: NodeCondition::AcceptorMissing.as_str().to_owned(),
            group: GroupId::global().as_str().to_owned(),
            message,
        })
    }

    /// Pools that have too few idle nodes, as the global master knows.
    pub(super) fn pools_exhausted(&self) -> Vec<pb::Condition> {
        let condition = |pool: Pool| {
            let Pool { name, idle, idle_min, claimed, away, drained, .. } = &pool;
            let mut message = format!(
                "pool {name} has {idle} idle spares, {idle_min} are wanted \
                 ({claimed} claimed, {away} away, {drained} drained)"
            );
            let short: Vec<&str> = pool.short_zones().map(|(zone, _)| zone).collect();
            if !short.is_empty() {
                let (zones, min) = (short.join(", "), pool.zone_min);
                message += &format!("; fewer than {min} in zone {zones}");
            }
            if let Some(group) = pool.waited_for.first() {
                let count = pool.waited_for.len();
                message += &format!("; {count} groups with drained members wait, {group} first");
            }
            pb::Condition {
                reason: NodeCondition::PoolExhausted.as_str().to_owned(),
                group: GroupId::global().as_str().to_owned(),
                message,
            }
        };
        self.pools().into_iter().filter(Pool::is_exhausted).map(condition).collect()
    }

    /// Keyspaces that would need more groups than they may have, as the global master knows.
    pub(super) fn autoscale_limited(&self) -> Vec<pb::Condition> {
        let condition = |(keyspace, max): (&str, u16)| pb::Condition {
            reason: NodeCondition::AutoscaleLimited.as_str().to_owned(),
            // The last one that there may be.
            group: group_of(keyspace, max.saturating_sub(1)).as_str().to_owned(),
            message: format!(
                "the load of keyspace {keyspace} needs more groups than {max}, which is \
                 autoscale.max"
            ),
        };
        let serving = self.serving.then(|| self.master.limited().map(condition));
        serving.into_iter().flatten().collect()
    }

    /// The pools of spares; none if this node is not global master.
    pub(super) fn pools(&self) -> Vec<Pool> {
        if self.serving { self.master.pools(now()) } else { Vec::new() }
    }

    /// Nodes that are to be empty and still count; none if this node is not global master.
    pub(super) fn drains(&self) -> Vec<Drain> {
        if self.serving { self.master.draining(now()) } else { Vec::new() }
    }

    /// How far drained nodes are, as the global master knows.
    pub(super) fn draining(&self) -> Option<pb::Condition> {
        /// So many are named.
        const NAMED_MAX: usize = 4;
        let drains = self.drains();
        let mut message =
            drains.iter().take(NAMED_MAX).map(ToString::to_string).collect::<Vec<_>>();
        if drains.len() > NAMED_MAX {
            message.push(format!("and {} more", drains.len() - NAMED_MAX));
        }
        (!drains.is_empty()).then(|| pb::Condition {
            reason: NodeCondition::Draining.as_str().to_owned(),
            group: GroupId::global().as_str().to_owned(),
            message: message.join("; "),
        })
    }

    /// An acceptor answered.
    pub(super) fn replied(&mut self, replied: Replied) {
        let done = self.arbiter.replied(replied);
        self.arbitrated(done);
        self.settle();
    }

    pub(super) fn arbitrated(&mut self, done: Vec<(Token, Outcome)>) {
        for (token, outcome) in done {
            let Some(wish) = self.wishes.remove(&token) else { continue };
            tracing::debug!(?wish, ?outcome, "arbiter");
            if let Outcome::Is(value) | Outcome::Changed(value) | Outcome::Refused(value) = &outcome
            {
                self.saw_record(value.record.clone());
            }
            match wish {
                ArbiterWish::Judge(expected) => {
                    use cairn_logic::judge::CasOutcome;
                    let outcome = match outcome {
                        Outcome::Changed(_) => CasOutcome::Won,
                        Outcome::Refused(_) | Outcome::Busy => CasOutcome::Lost,
                        Outcome::Is(_) | Outcome::Missing | Outcome::Unknown { .. } => {
                            CasOutcome::Unknown
                        }
                    };
                    self.judge(JudgeInput::CasDone { expected, outcome });
                }
                ArbiterWish::Found(reply) => super::wishes::founded(reply, outcome),
                ArbiterWish::Recover(reply) => self.recovered(reply, outcome),
                ArbiterWish::Read | ArbiterWish::Master => {
                    if matches!(outcome, Outcome::Missing) && self.record.is_some() {
                        tracing::error!("the arbiter's record is missing: a person must look");
                    }
                }
            }
        }
    }

    /// The record as the arbiter has it; others learn of it from us, too.
    pub(super) fn saw_record(&mut self, record: Record) {
        if self.record.as_ref().is_some_and(|known| known.version >= record.version) {
            return;
        }
        self.record = Some(record.clone());
        let group = GroupId::global();
        let down = control::order_out(group.as_str(), &Order::Record(Box::new(record.clone())));
        for id in self.others.keys().chain(self.checkpoints.keys()) {
            self.send_down(id, down.clone());
        }
        self.host.world.holders = holders(&self.boot.settings, Some(&record));
        self.judge(JudgeInput::Record(record.clone()));
        self.host.handle(Event::Record(record));
        self.publish_plane();
    }

    /// What another global node's judge orders.
    pub(super) fn ordered(&mut self, ordered: &Ordered) {
        match control::instruction_in(&ordered.down) {
            // A record that came by word of mouth is a hint to read it.
            Ok(Instruction::Order(Order::Record(record))) => {
                if self.record.as_ref().is_none_or(|known| known.version < record.version) {
                    self.read_record();
                }
            }
            Ok(Instruction::Order(order)) => self.host.handle(Event::Order(order)),
            Ok(Instruction::Plan(_)) => {}
            Err(error) => tracing::error!(%error, judge = %ordered.judge, "unreadable order"),
        }
        self.settle();
    }

    pub(super) fn found(
        &mut self,
        request: pb::FoundRequest,
        reply: crate::peer::Reply<pb::FoundReply>,
    ) {
        let members = match self.founders(&request) {
            Ok(members) => members,
            Err(status) => return drop(reply.send(Err(status))),
        };
        let founding = super::wishes::founding(&self.boot, &request, members);
        self.ask_arbiter(Operation::Found(Box::new(founding)), ArbiterWish::Found(reply));
        self.settle();
    }

    /// The folders behind the names of the first members, as their Hello proved them.
    pub(super) fn founders(
        &self,
        request: &pb::FoundRequest,
    ) -> Result<Vec<Member>, tonic::Status> {
        let me = self.me();
        let folder = |name: &String| {
            let id = NodeId::new(name);
            let incarnation = match self.lines.get(&id) {
                _ if id == me.id => me.incarnation,
                Some((caller, _)) => caller.sender.incarnation,
                None => return Err(tonic::Status::unavailable(format!("waiting for {id}"))),
            };
            Ok(Member { id, incarnation, role: MemberRole::Replica, zone: None })
        };
        let mut members = request.members.iter().map(folder).collect::<Result<Vec<_>, _>>()?;
        members.sort();
        Ok(members)
    }

    /// Takes note of whether a global node is being stopped; the sitting master then lets it go at
    /// once, because each write waits for every member.
    pub(super) fn may_leave(&mut self, id: &NodeId, relief: Option<Relief>) {
        let changed = match relief {
            Some(Relief::Stopping) => self.leaving.insert(id.clone()),
            _ => self.leaving.remove(id),
        };
        if changed && self.serving {
            self.tend_members();
        }
    }

    /// Global nodes that follow without counting, and the wish that they count again; one that is
    /// being stopped is to leave first.
    pub(super) fn tend_members(&mut self) {
        let Some(record) = self.record.clone() else { return };
        let callers = self.others.keys().filter_map(|id| self.lines.get(id));
        let present = callers.map(|(caller, _)| Member {
            id: caller.sender.id.clone(),
            incarnation: caller.sender.incarnation,
            role: MemberRole::Replica,
            zone: None,
        });
        let (mut outside, wish) = members_wish(&record, present.collect(), &self.leaving);
        // These follow for ever. One that is away keeps what it needs, within the log's bound.
        outside.extend(self.checkpoints.values().cloned());
        self.host.handle(Event::Learners(outside));
        self.host.handle(Event::Wish(wish));
    }
}
