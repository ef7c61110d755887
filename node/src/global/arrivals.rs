//! What arrives on the peer port, and what others are told of the plane.

use super::role::Role;
use crate::clock;
use crate::etcd;
use crate::metrics::{Facts, unready};
use crate::peer::Inbound;
use cairn_host::Event;
use cairn_logic::ids::{Epoch, GroupId, NodeId};
use cairn_logic::judge::JudgeInput;
use cairn_logic::message::Message;
use cairn_logic::record::{Member, Role as MemberRole};
use cairn_settings::NodeRole;
use cairn_settings::directory_keys::Transition;
use cairn_wire::hello::Caller;
use cairn_wire::peer::control::{self};
use cairn_wire::peer::pb;
use std::sync::Arc;
use tokio::sync::mpsc;

impl Role {
    pub(super) fn inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Frame { from, frame, beat, back } => {
                if frame.group == GroupId::global() {
                    if let Message::Heartbeat(beat) = &frame.message {
                        let own = self.host.replica().last().offset;
                        self.lag.beat(clock::now(), beat.last.offset, own);
                    }
                    self.host.world.links.came(&from.id, beat, back);
                    let (body, bodies) = (frame.message, frame.bodies);
                    self.host.handle(Event::Message { from, body, bodies });
                }
            }
            Inbound::Line { caller, down } => self.line(caller, down),
            Inbound::Up { caller, up } => self.up(caller, &up),
            Inbound::LineClosed { caller, down } => self.line_closed(&caller, &down),
            Inbound::Where(reply) => drop(reply.send(Ok(self.r#where()))),
            Inbound::Found(_, reply) if self.is_checkpoint() => {
                let text = "this is a checkpoint node; ask a node of role global";
                reply.send(Err(tonic::Status::failed_precondition(text))).ok();
            }
            Inbound::Found(request, reply) => self.found(request, reply),
            Inbound::Accept(request, reply) => match &self.acceptor {
                Some(acceptor) => acceptor.call(request, reply),
                None => {
                    let text = "no acceptor on this node";
                    reply.send(Err(tonic::Status::failed_precondition(text))).ok();
                }
            },
            Inbound::Status(_, reply) => drop(reply.send(Ok(self.status()))),
            Inbound::Facts(reply) => drop(reply.send(Ok(self.facts()))),
            Inbound::Wish(request, reply) => self.wished(request, reply),
            // No client listens here.
            Inbound::Publications(_) | Inbound::Carried { .. } => {}
            Inbound::Known(reply) => {
                let text = "this is no data node; it knows the directory itself";
                reply.send(Err(tonic::Status::failed_precondition(text))).ok();
            }
            Inbound::Rebuild(parts, reply) => self.rebuild(parts, reply),
        }
        self.settle();
    }

    /// What the metrics port shows.
    fn facts(&mut self) -> Facts {
        let status = self.status();
        let settings = &self.boot.settings;
        let bounds = (settings.timing.stuck_max, settings.lag.age_max);
        let replica = self.host.replica();
        let lag = self.lag.now(clock::now(), replica.last().offset);
        let loading = !self.serving && !self.loaded;
        let log = status.logs.first();
        let unready = match log {
            Some(_) if self.is_checkpoint() => {
                loading.then(|| "the log is being loaded".to_owned())
            }
            log => log.and_then(|log| unready(log, replica.record(), loading, lag, bounds)),
        };
        let world = &self.host.world;
        let revision = world.desk.core.directory().revision().0;
        let directory = Some((world.desk.core.status(), revision));
        let room = Some(world.storage.room());
        let snapshots = Some(world.snapshots.figures());
        let before = Some(replica.before().offset);
        let lag = Some(lag);
        let (pools, data) = (self.pools(), None);
        let drained = self.serving.then(|| self.drains().len());
        Facts { status, unready, room, snapshots, before, lag, data, directory, pools, drained }
    }

    pub(super) fn line(&mut self, caller: Caller, down: mpsc::Sender<pb::Down>) {
        let id = caller.sender.id.clone();
        let role = self.boot.settings.seeds.get(&id).map(|seed| seed.role);
        let checkpoint = role == Some(NodeRole::Checkpoint);
        if !self.serving && !checkpoint && !self.others.contains_key(&id) {
            // Dropping our end closes the line: the node looks for the master again.
            return;
        }
        tracing::info!(node = %id, incarnation = %caller.sender.incarnation, "line opened");
        if checkpoint {
            let incarnation = caller.sender.incarnation;
            let member =
                Member { id: id.clone(), incarnation, role: MemberRole::Backup, zone: None };
            self.checkpoints.insert(id.clone(), member);
        }
        self.lines.insert(id, (caller, down));
    }

    pub(super) fn line_closed(&mut self, caller: &Caller, down: &mpsc::WeakSender<pb::Down>) {
        let id = &caller.sender.id;
        let closed = down.upgrade();
        let is_it = |known: &mpsc::Sender<_>| closed.is_some_and(|c| c.same_channel(known));
        let same = self.lines.get(id).is_some_and(|(_, known)| is_it(known));
        if same {
            self.lines.remove(id);
            let gone = JudgeInput::Gone(id.clone());
            self.tell_all(&gone);
            if self.others.contains_key(id) {
                self.judge(gone);
            }
        }
    }

    pub(super) fn up(&mut self, caller: Caller, up: &pb::Up) {
        let from = caller.sender;
        let group = GroupId::new(&up.group);
        let input = match &up.body {
            Some(pb::up::Body::Report(report)) => {
                if let Some(load) = report.load {
                    self.loads.insert(from.id.clone(), load);
                }
                let parts = control::parts_in(&report.parts);
                if self.serving && !parts.is_empty() {
                    self.master.hears(&from.id, &group, parts);
                }
                let report = control::report_in(report);
                if group == GroupId::global() {
                    self.may_leave(&from.id, report.relief);
                }
                JudgeInput::Report { from, report }
            }
            Some(pb::up::Body::Answer(answer)) => match control::answer_in(answer) {
                Ok(answer) => JudgeInput::Answer { from, answer },
                Err(error) => return tracing::error!(%error, "unreadable answer"),
            },
            Some(pb::up::Body::Transition(made)) => match Transition::decode(made) {
                Ok(made) if self.serving => return self.keep_transition(&group, made),
                // Its sender knew earlier than this node that this node is to be master.
                Ok(made) => return self.court.keep(made),
                Err(error) => return tracing::error!(%error, "unreadable transition"),
            },
            None => return,
        };
        if group == GroupId::global() {
            self.judge(input);
        } else if self.serving {
            self.tell(&group, input);
        }
    }

    pub(super) fn publish_plane(&self) {
        let seeds = &self.boot.settings.seeds;
        let number = |id: &NodeId| etcd::Plane::number_of(id.as_str());
        let record = self.record.as_ref();
        let master = record.and_then(|record| record.master.clone());
        let etcd_of = |id: &NodeId| seeds.get(id).map(|seed| seed.etcd.clone()).unwrap_or_default();
        let global = seeds.iter().filter(|(_, s)| s.role == NodeRole::Global);
        let members = global.map(|(id, seed)| etcd::MemberAt {
            member_id: number(id),
            name: id.as_str().to_owned(),
            peer: seed.peer.clone(),
            etcd: etcd_of(id),
            learner: record.is_some_and(|record| record.member(id).is_none()),
        });
        let me = &self.boot.identity.me.id;
        let known = master.filter(|master| master != me || self.serving);
        let plane = etcd::Plane {
            cluster_id: etcd::Plane::number_of(&self.boot.settings.cluster_uid),
            member_id: number(me),
            master: known.map(|id| etcd::MasterAt { member_id: number(&id), etcd: etcd_of(&id) }),
            epoch: record.map_or(Epoch::ZERO, |record| record.epoch),
            members: members.collect(),
        };
        self.plane.send_replace(Arc::new(plane));
    }

    pub(super) fn r#where(&self) -> pb::WhereReply {
        let Some(record) = &self.record else { return pb::WhereReply::default() };
        let master = record.master.clone();
        let seed = master.as_ref().and_then(|id| self.boot.settings.seeds.get(id));
        let me = &self.boot.identity.me.id;
        pb::WhereReply {
            epoch: record.epoch.0,
            peer: seed.map(|seed| seed.peer.clone()).unwrap_or_default(),
            serving: self.serving && master.as_ref() == Some(me),
            master: master.map(|id| id.as_str().to_owned()).unwrap_or_default(),
        }
    }
}
