//! What each request does when it comes.

use super::scans::Purpose;
use super::{Core, LeaseState, Outbox, Read, Refusal, Request, Response, Role, Status, Waiting};
use crate::error::Error;
use crate::leases::{LeaseId, TTL_SECS_MAX};
use crate::op::Op;
use bytes::Bytes;
use cairn_logic::ids::Revision;
use cairn_logic::time::Instant;

/// The shortest time to live that is granted, in seconds.
const TTL_SECS_MIN: u64 = 1;
/// The most leases at a time.
const LEASES_MAX: usize = 1_000_000;
/// How many low bits of a lease's id count the grants of one epoch.
const LEASE_ID_BITS: u32 = 32;

impl<T> Core<T> {
    /// Takes a request. Its reply comes at once, or later from another call.
    pub fn request(
        &mut self,
        now: Instant,
        token: T,
        request: Request,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        if matches!(self.role, Role::Loading) && !request.is_about_streams() {
            return outbox.reply(token, Err(Refusal::NotReady));
        }
        match request {
            Request::Propose { op, system } => self.propose(now, token, op, system, outbox),
            Request::Grant { id, ttl_secs, system } => {
                self.grant(now, token, (id, ttl_secs, system), outbox);
            }
            Request::Range { query, serializable } => {
                let scan = self.directory.begin_scan(&query, self.committed);
                self.read_long(now, token, Purpose::Range { serializable }, scan, outbox);
            }
            Request::ReadTxn { txn, serializable } => {
                let found = self.directory.read_txn(&txn, self.committed).map(Response::Answer);
                self.answer_read(now, token, serializable, self.committed, found, outbox);
            }
            Request::KeepAlive { id } => self.keep_alive(now, token, id, outbox),
            Request::TimeToLive { id, keys } => self.time_to_live(now, token, id, keys, outbox),
            Request::Leases => {
                let all = self.directory.leases().map(|(id, _)| id).collect();
                self.answer_dirty(now, token, Response::Leases(all), outbox);
            }
            Request::HashKeys { at } => {
                let at = at.unwrap_or(self.committed);
                let scan = self.directory.begin_hash(at, self.committed);
                self.read_long(now, token, Purpose::Hash, scan, outbox);
            }
            Request::Status => {
                self.answer_now(token, Response::Status(self.status()), outbox);
            }
            Request::Watch { stream, id, wish, start, progress } => {
                let created =
                    self.watches.create(&self.directory, (stream, id), wish, start, progress);
                let response = created.map_or_else(Response::NotWatching, |()| Response::Watching);
                self.answer_now(token, response, outbox);
            }
            Request::CancelWatch { stream, id } => {
                let done = self.watches.cancel(stream, id);
                self.answer_now(token, Response::Done(done), outbox);
            }
            Request::AskProgress { stream } => {
                self.answer_now(token, Response::Done(true), outbox);
                self.watches.ask_progress(stream, outbox);
            }
            Request::CloseStream { stream } => {
                self.watches.close(stream);
                self.answer_now(token, Response::Done(true), outbox);
            }
        }
    }

    fn answer_now(&self, token: T, response: Response, outbox: &mut impl Outbox<Token = T>) {
        outbox.reply(token, Ok(self.reply(self.committed, response)));
    }

    fn propose(
        &mut self,
        now: Instant,
        token: T,
        op: Op,
        system: bool,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        if !self.is_master() {
            return outbox.reply(token, Err(Refusal::NotMaster));
        }
        if self.waiting.len() + self.dirty.len() >= self.limits.waiting_max {
            return outbox.reply(token, Err(Refusal::TooManyRequests));
        }
        if let Err(error) = self.admit(&op, system) {
            return outbox.reply(token, Err(error.into()));
        }
        self.append(now, Some(token), op);
    }

    /// Checks that need no look at single keys.
    fn admit(&self, op: &Op, system: bool) -> Result<(), Error> {
        op.validate()?;
        let ends_system_lease =
            matches!(op, Op::LeaseRevoke { id, .. } if self.directory.holds_system_keys(*id));
        if !system && (op.writes_system_keys() || ends_system_lease) {
            return Err(Error::PermissionDenied);
        }
        // A master may have applied more than it may show; what is not shown is the future.
        if matches!(op, Op::Compact { revision } if *revision > self.committed) {
            return Err(Error::FutureRevision);
        }
        let full = match op {
            Op::Put(_) | Op::Txn(_) => {
                let over = self.directory.bytes() > self.limits.quota_bytes;
                (over || self.disk_low) && !system
            }
            Op::LeaseGrant { .. } => {
                self.directory.lease_count() >= LEASES_MAX || (self.disk_low && !system)
            }
            // It frees memory, but it makes the log longer.
            Op::DeleteRange(_) => self.disk_low && !system,
            Op::Noop | Op::Compact { .. } | Op::LeaseRevoke { .. } | Op::Jump { .. } => false,
        };
        if full {
            return Err(Error::NoSpace);
        }
        Ok(())
    }

    /// Applies a change and adds it to the log; one that is refused is not logged, but the refusal
    /// may rest on changes that are not committed, so it waits for them.
    pub(super) fn append(&mut self, now: Instant, token: Option<T>, op: Op) {
        let applied = match self.directory.apply(&op) {
            Ok(applied) => applied,
            Err(error) => {
                if let Some(token) = token {
                    self.hold(now, token, Err(error.into()));
                }
                return;
            }
        };
        if let Role::Master { lessor } = &mut self.role {
            match &op {
                Op::LeaseGrant { id, ttl_secs } => lessor.grant(now, *id, *ttl_secs),
                Op::LeaseRevoke { id, .. } => lessor.revoke(*id),
                Op::Compact { .. } | Op::Jump { .. } => self.sweeping = true,
                Op::Noop | Op::Put(_) | Op::DeleteRange(_) | Op::Txn(_) => {}
            }
        }
        let reply = token.map(|token| (token, Response::Answer(applied.answer)));
        let waiting = Waiting { offset: None, revision: applied.revision, since: now, reply };
        self.enlist(&op, waiting);
    }

    /// Goes on above `to`, the greatest revision that a lost log may have given out. For a master
    /// that started without proof of what was before, ahead of every request.
    pub fn jump_revision(&mut self, now: Instant, to: Revision) {
        debug_assert!(self.is_master(), "only a master adds to the log");
        self.append(now, None, Op::Jump { to });
    }

    fn grant(
        &mut self,
        now: Instant,
        token: T,
        (id, ttl_secs, system): (Option<LeaseId>, u64, bool),
        outbox: &mut impl Outbox<Token = T>,
    ) {
        if ttl_secs > TTL_SECS_MAX {
            return outbox.reply(token, Err(Error::LeaseTtlTooLarge.into()));
        }
        let id = id.unwrap_or_else(|| self.new_lease_id());
        let op = Op::LeaseGrant { id, ttl_secs: ttl_secs.max(TTL_SECS_MIN) };
        self.propose(now, token, op, system, outbox);
    }

    /// Whether the disk has too little room: then only the system writes, and reads go on.
    pub fn set_disk_low(&mut self, low: bool) {
        self.disk_low = low;
    }

    /// An id that no lease had before: the epoch is this master's alone.
    fn new_lease_id(&mut self) -> LeaseId {
        loop {
            self.next_lease += 1;
            let id = self.epoch.0 << LEASE_ID_BITS | self.next_lease;
            let id = LeaseId((id & (u64::MAX >> 1)).cast_signed());
            if self.directory.lease(id).is_none() {
                return id;
            }
        }
    }

    pub(super) fn answer_read(
        &mut self,
        now: Instant,
        token: T,
        serializable: bool,
        revision: Revision,
        found: Result<Response, Error>,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        let result = found.map(|response| self.reply(revision, response)).map_err(Refusal::from);
        if serializable {
            return outbox.reply(token, result);
        }
        if !self.is_master() {
            return outbox.reply(token, Err(Refusal::NotMaster));
        }
        if self.unproven.len() >= self.limits.waiting_max {
            return outbox.reply(token, Err(Refusal::TooManyRequests));
        }
        // It shows committed revisions only, so it waits for the proof alone.
        self.unproven.push(Read { sequence: self.done, since: now, token, result });
    }

    /// Answers from the applied state, once that is committed and mastership is proven.
    fn answer_dirty(
        &mut self,
        now: Instant,
        token: T,
        response: Response,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        if !self.is_master() {
            return outbox.reply(token, Err(Refusal::NotMaster));
        }
        if self.dirty.len() + self.unproven.len() >= self.limits.waiting_max {
            return outbox.reply(token, Err(Refusal::TooManyRequests));
        }
        let revision = self.directory.revision();
        let reply = self.reply(revision, response);
        self.hold(now, token, Ok(reply));
    }

    fn keep_alive(
        &mut self,
        now: Instant,
        token: T,
        id: LeaseId,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        let Role::Master { lessor } = &mut self.role else {
            return outbox.reply(token, Err(Refusal::NotMaster));
        };
        let ttl_secs = lessor.renew(now, id).unwrap_or(0);
        let response = Response::KeptAlive { ttl_secs };
        if ttl_secs == 0 {
            return self.answer_dirty(now, token, response, outbox);
        }
        let reply = self.reply(self.committed, response);
        self.unproven.push(Read { sequence: self.done, since: now, token, result: Ok(reply) });
    }

    fn time_to_live(
        &mut self,
        now: Instant,
        token: T,
        id: LeaseId,
        keys: bool,
        outbox: &mut impl Outbox<Token = T>,
    ) {
        let Role::Master { lessor } = &self.role else {
            return outbox.reply(token, Err(Refusal::NotMaster));
        };
        let state = self.directory.lease(id).map(|(granted_secs, attached)| LeaseState {
            ttl_secs: lessor.remaining(now, id).map_or(0, |left| left.as_secs()),
            granted_secs,
            keys: attached.filter(|_| keys).map(Bytes::copy_from_slice).collect(),
        });
        self.answer_dirty(now, token, Response::TimeToLive(state), outbox);
    }

    /// What the directory is like now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            master: self.is_master(),
            committed_offset: self.committed_offset,
            applied_offset: self.applied_offset,
            bytes: self.directory.bytes() as u64,
            quota_bytes: self.limits.quota_bytes as u64,
            keys: self.directory.keys() as u64,
            leases: self.directory.lease_count() as u64,
            watches: self.watches.len() as u64,
            disk_low: self.disk_low,
            waiting: (self.waiting.len() + self.dirty.len() + self.unproven.len()) as u64,
        }
    }
}

impl Request {
    /// Whether it can be taken while the log is being read.
    fn is_about_streams(&self) -> bool {
        matches!(self, Self::CancelWatch { .. } | Self::CloseStream { .. } | Self::Status)
    }
}
