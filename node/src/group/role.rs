//! The control loop's state and what it does with each thing that happens.

use super::cache::Cache;
use super::courier::Targets;
use super::moving::Moving;
use super::opening::{self, Opened};
use super::world::{GroupWorld, answers_of};
use super::{claim, routes, users};
use crate::boot::Boot;
use crate::clock;
use crate::data::link::{Config, DataLink, FromData, NoRoom, Query, Reads, ToData};
use crate::data::routes::Routes;
use crate::follow::{Ask, Heard};
use crate::metrics::lag::Lag;
use crate::peer::Inbound;
use crate::peer::links::{AddressBook, Links, PeerAddress};
use crate::snapshots::CommittedLog;
use crate::status;
use anyhow::Result;
use cairn_global::{Changed, View};
use cairn_host::{Event, Host};
use cairn_logic::counting::{Counts, Plane};
use cairn_logic::ids::{GroupId, Offset, Version};
use cairn_logic::message::{Message, Position, Relief};
use cairn_logic::record::Record;
use cairn_logic::replication::Replica;
use cairn_logic::time::Instant;
use cairn_settings::Reads as ReadsSetting;
use cairn_settings::directory_keys::{Claim, KeyspaceUsers, keyspace_of};
use cairn_wire::peer::control::{self, Instruction};
use cairn_wire::peer::pb;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

/// Bodies of recent batches kept in memory, in bytes.
const TAIL_BYTES_MAX: usize = 64 << 20;

/// A data node's control loop.
pub struct Role {
    pub(super) boot: Boot,
    /// The zone of its machine, which may become known later.
    pub(super) zone: watch::Receiver<Option<String>>,
    pub(super) data: Rc<RefCell<DataLink>>,
    pub(super) host: Option<Host<GroupWorld>>,
    pub(super) group: Option<GroupId>,
    pub(super) view: View,
    pub(super) cache: Cache,
    pub(super) events: mpsc::UnboundedSender<Event>,
    pub(super) inbox: mpsc::Sender<Inbound>,
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) book: AddressBook,
    pub(super) routes: Option<Routes>,
    /// Whom messages of this node's clients go to.
    pub(super) listeners: watch::Sender<Targets>,
    pub(super) config: Config,
    /// The users that the data thread was told of.
    pub(super) users: KeyspaceUsers,
    pub(super) record: Version,
    pub(super) reported: Instant,
    pub(super) counted: (Instant, u64),
    pub(super) stopped: bool,
    /// Whether the data thread was told to refuse writes for want of room.
    pub(super) disk_low: bool,
    /// When the front of the log was last looked at.
    pub(super) bounded: Instant,
    /// How far this node is behind its master.
    pub(super) lag: Lag,
    /// Whether the group has given this folder back: it is set aside, and the node comes back with
    /// a new one.
    pub(super) released: bool,
    /// The move of slots that is under way from here.
    pub(super) moving: Moving,
    /// Whether the line to the global master is up; without it nobody relieves anybody.
    pub(super) online: bool,
}

impl Role {
    /// The group this folder was claimed by before, if any, begins at once.
    pub(super) fn resume(&mut self) -> Result<()> {
        if let Some(group) = claim::read(&self.boot.folder)? {
            self.join(group)?;
            // As the directory was when it was last seen: enough to serve what may be old.
            self.use_view()?;
        } else {
            self.data.borrow_mut().send(ToData::Loading(false));
        }
        Ok(())
    }

    /// Opens the files of `group` and starts its replica.
    fn join(&mut self, group: GroupId) -> Result<()> {
        let settings = &self.boot.settings;
        cairn_logs::set_keyspace(keyspace_of(&group).unwrap_or_default());
        let identity = self.boot.identity.clone();
        let Opened { storage, recovered, snapshots, entropy } =
            opening::open(&self.boot, &group, &self.events, self.data.borrow().feeder())?;
        self.boot.shelf.offer(&group, snapshots.folder(), storage.reader());
        let committed = CommittedLog::new(storage.reader());
        self.boot.shelf.offer_log(&group, committed.clone());
        tracing::info!(%group, last = %recovered.last, intact = recovered.vote.intact, "joined");
        let links =
            Links::new(group.clone(), identity.clone(), self.book.clone(), self.inbox.clone());
        let reads = self.reads(&group);
        let world = GroupWorld {
            me: identity.me.id.clone(),
            record: None,
            book: self.book.clone(),
            group: group.clone(),
            storage,
            snapshots,
            entropy,
            loading: true,
            links,
            data: self.data.clone(),
            asks: self.asks.clone(),
            reads,
            answers: answers_of(cairn_logic::record::Rule::One),
            alarms: Vec::new(),
            committed,
        };
        let logic_reads = match reads {
            Reads::Lease => cairn_logic::replication::Reads::Lease,
            Reads::Confirm => cairn_logic::replication::Reads::Confirm,
        };
        let mut effects = Vec::new();
        let replica = Replica::start(
            identity.me.clone(),
            Plane::Group,
            recovered,
            settings.timing.for_logic(&settings.lag),
            logic_reads,
            clock::now(),
            &mut effects,
        );
        identity.set_life(replica.vote().life);
        self.host = Some(Host::new(world, replica, effects, TAIL_BYTES_MAX));
        self.group = Some(group);
        Ok(())
    }

    fn reads(&self, group: &GroupId) -> Reads {
        let keyspace = keyspace_of(group).and_then(|name| self.view.keyspaces.get(name));
        match keyspace.map_or(self.boot.settings.reads, |config| config.reads) {
            ReadsSetting::Lease => Reads::Lease,
            ReadsSetting::Confirm => Reads::Confirm,
        }
    }

    pub(super) fn event(&mut self, event: Event) {
        let Some(host) = &mut self.host else { return };
        match &event {
            Event::Astray => host.world.snapshots.distrust(),
            Event::Snapshot(_) | Event::Fetched(_) => host.world.snapshots.is_good(),
            _ => {}
        }
        host.handle(event);
        host.world.committed.commit(host.replica().committed());
    }

    pub(super) fn hear_data(&mut self, from: FromData) {
        match from {
            FromData::Appended(batch) => self.event(Event::Appended(batch)),
            FromData::NeedConfirm { token } => self.event(Event::ConfirmReads { token }),
            FromData::SteppedDown { .. } => {
                self.moving.end();
                self.event(Event::SteppedDown);
            }
            FromData::Gap { last, came } => {
                tracing::error!(%last, %came, "the state and the log do not fit");
                self.event(Event::Astray);
            }
            FromData::Compared(compared) => {
                if let Some(host) = &mut self.host {
                    host.world.entropy.compared(*compared);
                }
            }
            FromData::ChangeUsers { token, fixed, change } => {
                self.change_users(token, fixed, change);
            }
            FromData::Move(news) => self.hear_move(news),
            FromData::Stopped => self.stopped = true,
        }
    }

    pub(super) fn inbound(&mut self, inbound: Inbound) {
        match inbound {
            Inbound::Frame { from, frame, beat, back } => {
                let Some(host) = &mut self.host else { return };
                if self.group.as_ref() != Some(&frame.group) {
                    return;
                }
                let acked = matches!(frame.message, Message::Ack(_));
                if let Message::Heartbeat(beat) = &frame.message {
                    let own = host.replica().last().offset;
                    self.lag.beat(clock::now(), beat.last.offset, own);
                }
                host.world.links.came(&from.id, beat, back);
                let (body, bodies) = (frame.message, frame.bodies);
                host.handle(Event::Message { from, body, bodies });
                if acked {
                    self.tell_copies();
                }
            }
            Inbound::Status(wanted, reply) => self.status(wanted, reply),
            Inbound::Facts(reply) => drop(reply.send(Ok(self.facts()))),
            Inbound::Where(reply) => drop(reply.send(Err(not_global()))),
            Inbound::Found(_, reply) => drop(reply.send(Err(not_global()))),
            Inbound::Accept(_, reply) => drop(reply.send(Err(not_global()))),
            Inbound::Wish(request, reply) => match request.body {
                Some(pb::wish_request::Body::WriteSnapshot(wish)) => {
                    self.snapshot_now(&wish.group, reply);
                }
                _ => drop(reply.send(self.wished(&request))),
            },
            Inbound::Publications(all) => {
                self.data.borrow_mut().send(ToData::Publications(all));
            }
            Inbound::Carried { frame, back } => self.carried(frame, back),
            Inbound::Known(reply) => drop(reply.send(Ok(self.known()))),
            Inbound::Rebuild(_, reply) => drop(reply.send(Err(not_global()))),
            Inbound::Line { .. } | Inbound::Up { .. } | Inbound::LineClosed { .. } => {}
        }
    }

    /// A member whose copy differs asks its master to write a part anew.
    fn wished(&mut self, request: &pb::WishRequest) -> Result<pb::WishReply, Status> {
        let Some(pb::wish_request::Body::RepairPart(wish)) = &request.body else {
            return Err(not_global());
        };
        let group = self.group.as_ref().filter(|group| group.as_str() == wish.group);
        let Some(host) = self.host.as_mut().filter(|_| group.is_some()) else {
            return Err(Status::not_found(format!("this node is not in group {}", wish.group)));
        };
        if !matches!(host.replica().position(), Position::Master(_)) {
            return Err(Status::failed_precondition("this node is not master"));
        }
        let part = host.world.entropy.grant(wish)?;
        let lines = vec![format!("{part} is written anew")];
        self.data.borrow_mut().send(ToData::Repair(part));
        Ok(pb::WishReply::said(lines))
    }

    /// Tells the data thread what WAIT may count.
    fn tell_copies(&mut self) {
        let Some(host) = &self.host else { return };
        if let Position::Master(_) = host.replica().position() {
            let peers = host.replica().status(clock::now()).peers;
            let mut acked: Vec<Offset> =
                peers.iter().filter(|p| p.member).map(|p| p.written).collect();
            let record = host.replica().record();
            let copies = record.map_or(1, |record| Counts::of(Plane::Group, record).copies);
            let data = self.data.borrow();
            data.committed_means(copies as u64 - 1);
            data.copies(&mut acked);
        }
    }

    pub(super) fn heard(&mut self, heard: Heard) -> Result<()> {
        match heard {
            Heard::All { revision, keys } => {
                self.view = View::default();
                self.online = true;
                self.changed(revision, &keys)
            }
            Heard::Changes { revision, keys } => self.changed(revision, &keys),
            Heard::Record(group, record) => {
                if self.group.as_ref() == Some(&group) && !self.waits_for_view(&group, &record) {
                    self.saw_record(record);
                }
                Ok(())
            }
            Heard::Refused(group, version) => {
                if self.group.as_ref() == Some(&group) {
                    tracing::warn!(%group, %version, "a change was refused: a claim is gone");
                    self.event(Event::Refused(version));
                }
                Ok(())
            }
            Heard::Users(heard) => {
                self.users_changed(heard);
                Ok(())
            }
            Heard::Down(down) => {
                self.down(&down);
                Ok(())
            }
            Heard::Lost => {
                self.online = false;
                Ok(())
            }
        }
    }

    fn down(&mut self, down: &pb::Down) {
        if self.group.as_ref().map(GroupId::as_str) != Some(down.group.as_str()) {
            return;
        }
        match control::instruction_in(down) {
            Ok(Instruction::Order(order)) => self.event(Event::Order(order)),
            Ok(Instruction::Plan(plan)) => {
                self.event(Event::Learners(plan.learners));
                self.event(Event::Wish(plan.wish));
            }
            Err(error) => tracing::error!(%error, "instruction that cannot be read"),
        }
    }

    fn changed(&mut self, revision: u64, keys: &[Changed]) -> Result<()> {
        for key in keys {
            if !users::is_behind(&self.view, key) {
                self.view.change(key);
            }
        }
        self.view.revision = revision;
        self.cache.changed();
        self.use_view()
    }

    fn use_view(&mut self) -> Result<()> {
        for (id, info) in &self.view.nodes {
            let addresses = &info.addresses;
            let (peer, heartbeat) = (addresses.peer.clone(), addresses.heartbeat.clone());
            self.book.set(id.clone(), PeerAddress { peer, heartbeat });
        }
        self.claimed()?;
        // Who becomes master by the record that was read serves by the slots that were.
        self.tell_routes();
        self.read_record();
        self.tell_config();
        self.tell_users();
        self.tend_moves();
        Ok(())
    }

    /// Joins the group that has claimed this folder, or leaves the one that has given it back.
    fn claimed(&mut self) -> Result<()> {
        let me = &self.boot.identity.me;
        let info = self.view.nodes.get(&me.id).filter(|n| n.incarnation == me.incarnation);
        let group = match info.map(|n| &n.claim) {
            Some(Claim::Claimed { group, .. }) => group,
            Some(Claim::Releasing { .. }) => {
                self.leave();
                return Ok(());
            }
            Some(Claim::Idle) | None => return Ok(()),
        };
        match &self.group {
            Some(mine) if mine != group => {
                tracing::error!(%group, %mine, "claimed by a group while a member of another");
                Ok(())
            }
            Some(_) => Ok(()),
            None => {
                let group = group.clone();
                claim::write(&self.boot.folder, &group)?;
                self.join(group)
            }
        }
    }

    /// The folder is to be set aside. A record that names it forbids that, whatever the claim says;
    /// what is read from the files of an earlier run is no word to act on.
    fn leave(&mut self) {
        let me = &self.boot.identity.me;
        let named = |record: &Record| record.names(&me.id, me.incarnation);
        if let Some((group, _)) = self.view.groups.iter().find(|(_, record)| named(record)) {
            tracing::error!(%group, "is being released while a record names it: it stays");
            return;
        }
        self.released |= self.online;
    }

    fn read_record(&mut self) {
        let record = self.group.as_ref().and_then(|group| self.view.groups.get(group));
        if let Some(record) = record.filter(|record| record.version > self.record).cloned() {
            self.saw_record(record);
        }
    }

    fn saw_record(&mut self, record: Record) {
        self.record = self.record.max(record.version);
        if let Some(host) = &mut self.host {
            host.world.answers = answers_of(record.rule);
            host.world.record = Some(record.clone());
        }
        self.event(Event::Record(record));
    }

    fn tell_routes(&mut self) {
        let Some(group) = &self.group else { return };
        let new = routes::routes(&self.view, &self.boot.identity.me.id, group);
        let old = self.routes.as_ref();
        if old.is_none_or(|old| {
            old.groups != new.groups || old.slots != new.slots || old.moves != new.moves
        }) {
            self.listeners.send_replace(Targets::of(&new));
            self.data.borrow_mut().send(ToData::Routes(new.clone().into()));
            self.routes = Some(new);
        }
    }

    pub(super) fn tell_config(&mut self) {
        let keyspace = self.group.as_ref().and_then(keyspace_of);
        let Some(keyspace) = keyspace.and_then(|name| self.view.keyspaces.get(name)) else {
            return;
        };
        let limits = keyspace.limits.over(self.boot.settings.limits);
        let config = super::run::config(&self.boot.settings, limits, keyspace);
        if config != self.config {
            self.config = config.clone();
            self.data.borrow_mut().send(ToData::Config(config));
        }
    }

    pub(super) fn tick(&mut self) {
        self.event(Event::Tick);
        let now = clock::now();
        self.cache.tick(&self.view);
        self.see_zone();
        self.tick_moves();
        self.end_loading();
        self.watch_disk();
        self.bound_log();
        if let Some(host) = &mut self.host {
            let follows = matches!(host.replica().position(), Position::Follower);
            host.world.heal(follows);
        }
        let Some(host) = &self.host else { return };
        let silence = host.replica().report(now).master_silence;
        let silence_max = self.boot.settings.timing.silence_max;
        let due = status::interval(silence, silence_max);
        if now.since(self.reported) >= due {
            if silence >= silence_max {
                self.asks.try_send(Ask::Suspect(silence_max)).ok();
            }
            self.report(now);
        }
    }

    /// Lets the data thread refuse writes before the disk is full, and admit them again.
    fn watch_disk(&mut self) {
        let Some(host) = &self.host else { return };
        let room = host.world.storage.room();
        if let Some(refused) = room.turned(&mut self.disk_low) {
            let place = if room.low { NoRoom::Disk } else { NoRoom::Log };
            self.data.borrow_mut().send(ToData::NoRoom(refused.then_some(place)));
        }
    }

    fn report(&mut self, now: Instant) {
        let (Some(host), Some(group)) = (&self.host, &self.group) else { return };
        if !host.has_begun() {
            // Nothing is said in the name of a life that is not flushed (docs/decisions/0007).
            return;
        }
        let load = self.load(now);
        let mut up = status::report(group, host, now, load);
        if let Some(pb::up::Body::Report(report)) = &mut up.body
            && matches!(host.replica().position(), Position::Master(_))
        {
            let loads = self.data.borrow().gauges().loads.read();
            report.parts =
                loads.iter().map(|(part, load)| control::part_out(*part, load)).collect();
        }
        self.asks.try_send(Ask::Up(up)).ok();
        self.reported = now;
        let commands = status::commands(&self.data.borrow());
        if now.since(self.counted.0).as_secs() >= 1 {
            self.counted = (now, commands);
        }
    }

    fn load(&self, now: Instant) -> pb::Load {
        let link = self.data.borrow();
        let (since, before) = self.counted;
        let span_ms = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX).max(1);
        let done = status::commands(&link).saturating_sub(before);
        status::load(link.gauges(), done.saturating_mul(1000) / span_ms)
    }

    /// Clients are let in once everything that is known to be committed is in the state.
    fn end_loading(&mut self) {
        let Some(host) = &mut self.host else { return };
        let Some(whole_from) = host.world.snapshots.whole_from() else { return };
        let committed = host.replica().committed();
        let needed = committed.max(whole_from);
        if host.world.loading && committed > Offset::ZERO && host.applied() >= needed {
            host.world.loading = false;
            self.data.borrow_mut().send(ToData::Loading(false));
        }
    }

    /// What this node says of itself, without what only the data thread can tell.
    pub(super) fn plain_status(&self) -> pb::StatusReply {
        let now = clock::now();
        let me = &self.boot.identity.me;
        let (peer_tls_digest, client_tls_digest) = self.boot.identity.tls.digests();
        let mut answer = pb::StatusReply {
            node: me.id.as_str().to_owned(),
            incarnation: me.incarnation.0,
            life: self.boot.identity.life().0,
            role: "data".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            logs: Vec::new(),
            load: Some(self.load(now)),
            rss_bytes: status::rss_bytes(),
            disk_free_bytes: 0,
            conditions: crate::aside::condition(&self.boot.settings.folder).into_iter().collect(),
            peer_tls_digest,
            client_tls_digest,
        };
        let (Some(host), Some(group)) = (&self.host, &self.group) else { return answer };
        let room = host.world.storage.room();
        answer.disk_free_bytes = room.free_bytes;
        answer.conditions.extend(room.conditions(group.as_str()));
        let masters = matches!(host.replica().position(), Position::Master(_));
        answer.conditions.extend(host.world.entropy.condition(masters));
        let waiting = host.world.alarms.clone();
        let log = status::log_status(group, host, now, waiting, &room.tails);
        let (loaded_percent, moves) = (self.loaded_percent(), self.move_status());
        answer.logs = vec![pb::LogStatus { loaded_percent, moves, ..log }];
        answer
    }

    /// How much of the state there is, while clients are told to wait for it.
    fn loaded_percent(&self) -> Option<u32> {
        let host = self.host.as_ref().filter(|host| host.world.loading)?;
        let snapshots = &host.world.snapshots;
        if snapshots.is_loading() {
            return Some(snapshots.loaded_percent());
        }
        let whole = snapshots.whole_from().unwrap_or_default().max(host.replica().committed());
        let before = host.replica().before().offset.0;
        let share = |at: Offset| at.0.saturating_sub(before);
        Some(status::percent(share(host.applied()), share(whole)))
    }

    fn status(&self, wanted: pb::StatusRequest, reply: crate::peer::Reply<pb::StatusReply>) {
        let mut answer = self.plain_status();
        let asked = answer.logs.pop_if(|_| wanted.digest);
        let Some(mut log) = asked else {
            reply.send(Ok(answer)).ok();
            return;
        };
        let (ask, digest) = oneshot::channel();
        self.data.borrow_mut().send(ToData::Query(Query::Digest(ask)));
        tokio::spawn(async move {
            if let Ok(digest) = digest.await {
                log.digest = Some(digest.digest);
                log.applied = digest.applied.0;
            }
            answer.logs.push(log);
            reply.send(Ok(answer)).ok();
        });
    }

    /// Asks to be relieved of mastership; true once another node masters, or nobody could follow.
    /// Until then this node stays: its copy may be needed for the handing over.
    pub(super) fn is_relieved(&mut self) -> bool {
        self.event(Event::Relief(Some(Relief::Stopping)));
        self.report(clock::now());
        let me = &self.boot.identity.me.id;
        let Some(host) = &self.host else { return true };
        let follows = |record: &Record| !record.open && record.master.as_ref() != Some(me);
        // A master that hears nobody has nobody to hand over to; one that is sealed by now has.
        let report = host.replica().report(clock::now());
        let alone = matches!(report.position, Position::Master(_)) && report.reaches == 0;
        host.replica().record().is_none_or(|record| follows(record) || alone) || !self.online
    }
}

fn not_global() -> Status {
    Status::failed_precondition("this is a data node; ask a node of role global")
}
