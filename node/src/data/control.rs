//! What the thread does on control's messages.

use crate::data::conn::Pause;
use crate::data::core::Mastership;
use crate::data::leisure::SLICE_QUIET;
use crate::data::link::{Answers, Config, FromData, Query, Reads, ToData};
use crate::data::loans::is_apart;
use crate::data::replies::Kind;
use crate::data::routes::Routes;
use crate::data::server::Server;
use cairn_files::snapshot::rest;
use cairn_keyspace::{Keyspace, slot_of};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, Offset, Slot};
use cairn_logic::replication::Admission;
use std::sync::Arc;
use std::sync::mpsc::TryRecvError;

/// Messages handled before the sockets are looked at again.
const MESSAGES_MAX: usize = 256;

/// What a reply becomes when mastership ends before its write is committed.
const NOACK_SEALED: &str = "NOACK the master changed before enough copies were acknowledged; \
    the write may or may not be applied";
/// What a held read becomes when nobody is known to serve its slot.
const DOWN: &str = "CLUSTERDOWN The cluster is down";

/// Whether the inbox has more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbox {
    /// It was empty.
    Quiet,
    /// It is empty.
    Empty,
    /// There may be more.
    More,
    /// Control is gone.
    Gone,
}

impl Server {
    /// Handles what control has sent, up to a bound. While the node is loading it rests in between,
    /// for nobody waits for it yet.
    pub fn messages(&mut self) -> Inbox {
        let mut left = Inbox::Quiet;
        if let Some(message) = self.next_message.take() {
            if !self.may_handle(&message) {
                // Those behind it wait for their turn.
                self.next_message = Some(message);
                return left;
            }
            self.message(message);
            left = Inbox::Empty;
        }
        let now = self.core.clock.now;
        let began = self.core.loading.then(now);
        for _ in 0..MESSAGES_MAX {
            if began.is_some_and(|began| now().since(began) >= SLICE_QUIET) {
                rest();
                break;
            }
            match self.inbox.try_recv() {
                Ok(ToData::Apply(batch)) if began.is_some() => self.replay(batch),
                Ok(message) if !self.may_handle(&message) => {
                    self.next_message = Some(message);
                    return left;
                }
                Ok(message) => self.message(message),
                Err(TryRecvError::Empty) => return left,
                Err(TryRecvError::Disconnected) => return Inbox::Gone,
            }
            left = Inbox::Empty;
        }
        Inbox::More
    }

    /// Whether a message does not wait for a slot that is lent.
    pub(super) fn may_handle(&self, message: &ToData) -> bool {
        self.core.keyspace.lent().is_none() || is_apart(message)
    }

    pub(super) fn message(&mut self, message: ToData) {
        match message {
            ToData::Apply(batch) => self.apply(&batch),
            ToData::Rebuild { load } => self.rebuild(load),
            ToData::Adopt { load, built } => self.adopt(load, built),
            ToData::Imported { load, last } => self.imported(load, last),
            ToData::Export(to) => self.begin_export(to),
            ToData::BecomeMaster { epoch, next, reads, answers } => {
                self.become_master(epoch, next, reads, answers);
            }
            ToData::OpenEpoch { epoch, record, answers } => {
                self.core.append_record(epoch, record);
                if let Some(mastership) = &mut self.core.mastership {
                    mastership.answers = answers;
                }
            }
            ToData::StepDown { epoch } => self.step_down(epoch),
            ToData::Admission(admission) => self.set_admission(admission),
            ToData::ReadsConfirmed { token } => {
                let confirm = &mut self.core.confirm;
                confirm.confirmed = confirm.confirmed.max(token);
                confirm.under_way = confirm.confirmed < confirm.asked;
            }
            ToData::NoRoom(place) => self.core.no_room = place,
            ToData::Routes(routes) => self.set_routes(routes),
            ToData::Loading(loading) => self.core.loading = loading,
            ToData::Config(config) => self.set_config(config),
            ToData::Users(stored) => {
                self.core.doors.stored = stored;
                self.users_changed();
            }
            ToData::UsersChanged { token, outcome } => self.end_change(token, outcome),
            ToData::Repair(part) => self.repair(&part),
            ToData::KeptAside(count) => self.core.unkept.kept(count),
            ToData::MayMend(may) => {
                self.core.may_mend = may;
                self.core.keyspace.may_mend(may);
            }
            ToData::Publications(all) => self.arrived(&all.group, &all.publications),
            ToData::Move(order) => self.move_order(order),
            ToData::Query(query) => self.query(query),
            ToData::Stop { within } => {
                self.stopping = Some(self.core.now + within);
                self.net.close_listeners();
            }
        }
    }

    pub(super) fn apply(&mut self, batch: &Batch) {
        self.core.shared.applied(batch);
        let core = &mut self.core;
        if core.gap {
            return;
        }
        if core.mastership.is_some() || batch.head.first != core.last.offset.next() {
            return core.found_gap(batch.head.first);
        }
        if !batch.head.opens_epoch {
            match core.keyspace.apply(&batch.body, batch.head.first) {
                Ok(count) if count == batch.head.count => {}
                Ok(count) => {
                    tracing::error!(count, head = ?batch.head, "a batch has another count");
                    return core.found_gap(batch.head.first);
                }
                Err(error) => {
                    tracing::error!(%error, head = ?batch.head, "cannot apply a batch");
                    return core.found_gap(batch.head.first);
                }
            }
        }
        core.last = batch.head.last();
        core.committed = core.last.offset;
        core.dirty_tail = false;
        core.tell_compared();
        if !batch.head.opens_epoch && self.is_attended() {
            self.touched(&batch.body, None);
            self.serve_blocked();
        }
    }

    fn rebuild(&mut self, load: u64) {
        self.load = load;
        self.end_export();
        self.functions = None;
        let core = &mut self.core;
        debug_assert!(core.mastership.is_none(), "only a follower rebuilds");
        core.forget_compared();
        core.keyspace = Keyspace::new(core.seed);
        core.keyspace.may_mend(core.may_mend);
        core.config_changed();
        core.last = EntryId::ZERO;
        core.committed = Offset::ZERO;
        core.gap = false;
        core.dirty_tail = false;
        core.loading = true;
        self.touch_all_watched();
    }

    fn become_master(&mut self, epoch: Epoch, next: Offset, reads: Reads, answers: Answers) {
        self.end_limbo(DOWN);
        self.end_export();
        let core = &mut self.core;
        // The epoch record before `next` was appended by control: it changes no key.
        let follows = next == core.last.offset.next() || next == core.last.offset.next().next();
        if core.gap || !follows {
            return core.found_gap(next);
        }
        core.last = EntryId::new(epoch, Offset(next.0 - 1));
        core.committed = core.last.offset;
        core.dirty_tail = false;
        core.log.set_next(next);
        core.mastership = Some(Mastership { term: epoch, epoch, reads, answers });
        core.view.master = true;
        core.confirm.under_way = false;
        core.outgoing.forget();
        self.touch_all_watched();
        self.do_duties();
        self.resume_stalled();
        self.blocked.all_changed();
    }

    fn step_down(&mut self, epoch: Epoch) {
        self.end_export();
        self.end_moves();
        self.checking = None;
        let core = &mut self.core;
        if let Some(mastership) = core.mastership.take() {
            tracing::info!(%epoch, term = %mastership.term, last = %core.last, "stepped down");
        }
        core.view.master = false;
        core.admission = Admission::HandingOver;
        core.dirty_tail = core.last.offset > core.committed;
        core.outgoing.forget();
        core.confirm.wanted = false;
        core.hold();
        let mut noacks = 0;
        for index in self.net.held.clone() {
            let Some(conn) = self.net.conn(index) else { continue };
            conn.replies.replace(|mark| {
                (mark.kind == Kind::Write).then(|| {
                    noacks += 1;
                    NOACK_SEALED.to_owned()
                })
            });
            conn.replies.reads_to_limbo();
            self.net.flush.push(index);
        }
        let core = &mut self.core;
        core.stats.noacks += noacks;
        core.outgoing.send(FromData::SteppedDown { last: core.last });
        self.touch_all_watched();
        self.redirect_limbo();
        self.look_at_waits();
        self.redirect_blocked();
    }

    fn set_admission(&mut self, admission: Admission) {
        self.core.admission = admission;
        if admission != Admission::HandingOver {
            self.resume_stalled();
            self.serve_blocked();
            // The next message may end mastership.
            self.core.append();
        }
    }

    fn set_routes(&mut self, routes: Arc<Routes>) {
        let old = Arc::clone(&self.core.view.routes);
        if routes.slots != old.slots {
            // Who keeps or watches keys of slots that have moved would hear of no change any more.
            self.tracking.all_changed();
            let owner =
                |routes: &Routes, key: &[u8]| routes.owner(slot_of(key)).map(|it| it.id.clone());
            let moved = |key: &[u8]| owner(&routes, key) != owner(&old, key);
            let told = self.watchers.touched_where(moved);
            self.tell_watchers(&told);
        }
        self.core.set_routes(routes);
        self.do_duties();
        self.redirect_limbo();
        self.resume_stalled();
        self.forget_moved_channels();
        self.redirect_blocked();
    }

    fn set_config(&mut self, config: Config) {
        let before = self.core.config.fixed();
        self.core.config = config;
        if self.core.config.fixed() != before {
            self.users_changed();
        }
        self.core.config_changed();
    }

    fn query(&mut self, query: Query) {
        match query {
            Query::Digest(answer) => self.ask_digest(answer),
        }
    }

    /// Lets commands that waited for a handover try again.
    pub(super) fn resume_stalled(&mut self) {
        for index in std::mem::take(&mut self.stalled) {
            let Some(conn) = self.net.conn(index) else { continue };
            if matches!(conn.pause, Pause::HandOver { .. }) {
                conn.pause = Pause::None;
                self.net.list_ready(index);
            }
        }
    }

    /// Redirects held reads whose slot has another master that is known by now.
    fn redirect_limbo(&mut self) {
        for index in self.net.held.clone() {
            let Some(conn) = self.net.conn(index) else { continue };
            let view = &self.core.view;
            let mut redirected = false;
            conn.replies.replace(|mark| {
                let slot = Slot::try_from(mark.slot).ok().filter(|_| mark.kind == Kind::Limbo)?;
                let owner = view.routes.owner(slot)?.master()?;
                (owner.id != view.routes.me).then(|| {
                    redirected = true;
                    format!("MOVED {} {}:{}", mark.slot, owner.host, owner.port)
                })
            });
            if redirected {
                self.net.flush.push(index);
            }
        }
    }

    /// Gives every read in limbo an error.
    pub(super) fn end_limbo(&mut self, error: &str) {
        for index in self.net.held.clone() {
            let Some(conn) = self.net.conn(index) else { continue };
            conn.replies.replace(|mark| (mark.kind == Kind::Limbo).then(|| error.to_owned()));
            self.net.flush.push(index);
        }
    }
}
