//! MULTI, EXEC, DISCARD, WATCH, UNWATCH: a transaction is one unit of the log.

use crate::data::commands::acl;
use crate::data::conn::Pause;
use crate::data::core::REQUEST_BYTES_MAX;
use crate::data::denials::Context;
use crate::data::dispatch::{CROSSSLOT, Flow, Item, NO_SLOT, OOM, Refused};
use crate::data::server::Server;
use crate::data::session::{Multi, Watched, WatchedKey};
use crate::data::watchers::Watcher;
use cairn_acl::{Denied, Reason};
use cairn_keyspace::command::{Command, Flags, Session, lookup};
use cairn_keyspace::{At, Ctx, slot_of};
use cairn_logic::ids::{Offset, Slot};
use cairn_resp::{Args, ArgsBuf};

/// Keys one client may watch.
const WATCHED_MAX: usize = 10_000;

const RULES_CHANGED: &str = "NOPERM ACLs rules changed between the moment the transaction was \
    accumulated and the EXEC call. This command is no longer allowed for the following reason: ";

/// What a transaction's reply waits for.
#[derive(Default)]
pub(in crate::data) struct Sum {
    pub depends_on: Offset,
    pub shows_data: bool,
}

impl Server {
    /// `MULTI`
    pub fn multi(&mut self, index: usize) {
        let session = self.session(index);
        if session.multi.is_some() {
            return self.out(index).error("ERR MULTI calls can not be nested");
        }
        session.multi = Some(Box::default());
        self.out(index).ok();
    }

    /// `DISCARD`
    pub fn discard(&mut self, index: usize) {
        let session = self.session(index);
        if session.multi.take().is_none() {
            return self.out(index).error("ERR DISCARD without MULTI");
        }
        self.forget_watched(index);
        self.out(index).ok();
    }

    /// `WATCH key …`; says OK only where the keys can be read.
    pub fn watch(
        &mut self,
        index: usize,
        command: &Command,
        args: Args<'_>,
        at: Option<At>,
    ) -> Flow {
        let session = self.session(index);
        if session.multi.is_some() {
            self.out(index).error("ERR WATCH inside MULTI is not allowed");
            return Flow::Next;
        }
        let readonly = session.readonly;
        match self.core.admit(command, args, at, readonly) {
            Ok(()) => self.begin_watch(index, command, args),
            Err(Refused::Error(text)) => self.out(index).error(&text),
            Err(Refused::NoMemory) => self.out(index).error(OOM),
            // A read behind it would stall, too, and must not run without its watch.
            Err(Refused::Stalled) => {
                self.stall(index);
                return Flow::Again;
            }
        }
        self.core.stats.commands += 1;
        Flow::Next
    }

    fn begin_watch(&mut self, index: usize, command: &Command, args: Args<'_>) {
        let now_ms = self.core.unix_ms;
        let watcher = (index, self.conn(index).id);
        let mut watched = self.session(index).watched.take().unwrap_or_default();
        for key in command.keys_of(args) {
            if watched.keys.iter().any(|known| known.key == key) {
                continue;
            }
            if watched.keys.len() >= WATCHED_MAX {
                return self.out(index).error("ERR too many keys are watched");
            }
            let version = self.core.keyspace.key_version(key, now_ms);
            watched.keys.push(WatchedKey { key: key.to_vec(), version });
            self.watchers.add(key, watcher);
        }
        self.session(index).watched = Some(watched);
        self.out(index).ok();
    }

    /// `UNWATCH`
    pub fn unwatch(&mut self, index: usize) {
        self.forget_watched(index);
        self.out(index).ok();
    }

    /// Notes that a command of the open transaction was refused.
    pub(in crate::data) fn refuse_transaction(&mut self, index: usize) {
        if let Some(multi) = &mut self.session(index).multi {
            multi.refused = true;
        }
    }

    /// An EXEC that is refused ends its transaction.
    pub(in crate::data) fn abort(&mut self, index: usize, why: &str) {
        self.session(index).multi = None;
        self.forget_watched(index);
        let text = format!("EXECABORT Transaction discarded because of: {why}");
        self.out(index).error(&text);
    }

    /// Queues a command between MULTI and EXEC.
    pub(in crate::data) fn queue(
        &mut self,
        index: usize,
        command: &'static Command,
        args: Args<'_>,
        at: Option<At>,
    ) -> Flow {
        if command.session() == Some(Session::Acl) && acl::changes(args) {
            let text = "ERR users cannot be changed inside a transaction: all nodes of the \
                        keyspace have to hear of it";
            self.out(index).error(text);
            self.refuse_transaction(index);
            return Flow::Next;
        }
        if matches!(command.name, "save" | "shutdown" | "psync") {
            self.out(index).error("ERR Command not allowed inside a transaction");
            self.refuse_transaction(index);
            return Flow::Next;
        }
        let readonly = self.session(index).readonly;
        let admitted = match command.session() {
            None => self.with_room(|core| core.admit(command, args, at, readonly)),
            Some(Session::Eval) => self.core.admit_script(command, args, at, readonly),
            Some(Session::Ssubscribe) => self.core.admit_channels(args.from(1).iter()),
            Some(Session::Spublish) => self.core.admit_channels(std::iter::once(args.get(1))),
            Some(_) => Ok(()),
        };
        if let Err(refused) = admitted {
            match refused {
                Refused::Error(text) => self.out(index).error(&text),
                Refused::NoMemory => self.out(index).error(OOM),
                Refused::Stalled => {
                    self.stall(index);
                    return Flow::Again;
                }
            }
            self.refuse_transaction(index);
            return Flow::Next;
        }
        let Some(multi) = &mut self.session(index).multi else { return Flow::Next };
        let owned = ArgsBuf::from(args);
        multi.bytes += owned.memory_bytes();
        if multi.bytes > REQUEST_BYTES_MAX {
            multi.refused = true;
            multi.queue.clear();
            self.out(index).error("ERR the transaction is larger than 32 MiB, the log's limit");
            return Flow::Next;
        }
        multi.queue.push(owned);
        self.not_executed = true;
        self.out(index).simple("QUEUED");
        Flow::Next
    }

    /// `EXEC`
    pub(in crate::data) fn exec(&mut self, index: usize) -> Flow {
        let now_ms = self.core.unix_ms;
        let session = self.session(index);
        let Some(multi) = session.multi.take() else {
            self.out(index).error("ERR EXEC without MULTI");
            return Flow::Next;
        };
        if multi.refused {
            self.forget_watched(index);
            let text = "EXECABORT Transaction discarded because of previous errors.";
            self.out(index).error(text);
            return Flow::Next;
        }
        match self.admit_all(index, &multi).and_then(|()| self.admit_watched(index)) {
            Ok(()) => {}
            Err(refused @ (Refused::Error(_) | Refused::NoMemory)) => {
                let text = if let Refused::Error(text) = &refused { text } else { OOM };
                self.forget_watched(index);
                self.out(index).error(&aborted(text));
                return Flow::Next;
            }
            Err(Refused::Stalled) => {
                self.session(index).multi = Some(multi);
                self.stall(index);
                return Flow::Again;
            }
        }
        if let Some(watched) = self.forget_watched(index) {
            // A master is told of every write; a replica looks at the slots.
            let bits = if self.core.mastership.is_some() { 1 } else { u64::MAX };
            let mut depends_on = Offset::ZERO;
            let touched = |known: &WatchedKey| {
                let keyspace = &self.core.keyspace;
                depends_on = depends_on.max(keyspace.slot_last_write(slot_of(&known.key)));
                (keyspace.key_version(&known.key, now_ms) ^ known.version) & bits != 0
            };
            if is_touched(&watched, touched) {
                let from = self.conn(index).replies.buf.len();
                self.out(index).null_array();
                let sum = Sum { depends_on, shows_data: true };
                self.finish(index, from, false, &sum, NO_SLOT);
                return Flow::Next;
            }
        }
        self.run_all(index, &multi);
        Flow::Next
    }

    /// Whether this node can say of what the client watches that it did not change: elsewhere it
    /// may have, where a move has not been heard to end.
    fn admit_watched(&mut self, index: usize) -> Result<(), Refused> {
        if !self.core.is_guarded() {
            return Ok(());
        }
        let watched = self.session(index).watched.take();
        let keys = watched.iter().flat_map(|watched| &watched.keys);
        let mut slots = keys.map(|known| slot_of(&known.key)).filter(|slot| self.core.holds(*slot));
        let admitted = slots.next().map_or(Ok(()), |slot| self.core.guard(Some(slot)));
        self.session(index).watched = watched;
        admitted
    }

    /// Whether this node may execute all of a transaction, whose keys must be of one slot.
    fn admit_all(&mut self, index: usize, multi: &Multi) -> Result<(), Refused> {
        let readonly = self.session(index).readonly;
        let mut slot: Option<Slot> = None;
        for queued in &multi.queue {
            let args = queued.as_args();
            let Some(command) = lookup(args.name()) else { continue };
            let at = command.first_key(args).map(|key| self.core.keyspace.locate(key));
            match command.session() {
                None => self.with_room(|core| core.admit(command, args, at, readonly))?,
                Some(Session::Eval) => self.core.admit_script(command, args, at, readonly)?,
                Some(Session::Cluster) if self.core.keyspace.lent().is_some() => {
                    return Err(Refused::Stalled);
                }
                Some(_) => continue,
            }
            if let Some(at) = at {
                if slot.is_some_and(|slot| slot != at.slot) {
                    return Err(Refused::Error(CROSSSLOT.into()));
                }
                slot = Some(at.slot);
            }
        }
        Ok(())
    }

    fn run_all(&mut self, index: usize, multi: &Multi) {
        let ctx = self.core.ctx();
        self.as_unit(index, |server, sum, slot| {
            server.out(index).array(multi.queue.len());
            for queued in &multi.queue {
                let args = queued.as_args();
                let Some(command) = lookup(args.name()) else { continue };
                if let Some(denied) = server.denied(index, command, args) {
                    let why = reason(&denied);
                    server.note_denied(index, Context::Multi, denied);
                    server.out(index).error(&format!("{RULES_CHANGED}{why}"));
                    continue;
                }
                match command.session() {
                    Some(Session::Eval) => server.run_script(index, command, args, sum, slot),
                    Some(session) => server.session_in_unit(index, session, args),
                    None => server.run_one(index, &ctx, command, args, sum, slot),
                }
                server.charge_one(index, Item { command: Some(command), at: None }, args);
            }
        });
    }

    /// Does `work`, whose effects become one unit of the log, and whose replies wait for them. It
    /// adds to what they wait for, and says of which slot they speak.
    pub(in crate::data) fn as_unit(
        &mut self,
        index: usize,
        work: impl FnOnce(&mut Self, &mut Sum, &mut u16),
    ) {
        let from = self.conn(index).replies.buf.len();
        let (mut sum, mut slot) = (Sum::default(), NO_SLOT);
        let room = self.makes_room();
        let logged = self.core.log.body_bytes();
        let goes_on = self.core.evicting.goes_on;
        // Nothing goes while it lasts, and nothing of it is refused where there was room before.
        self.core.evicting.goes_on |= room;
        self.core.log.begin_unit();
        self.in_unit = true;
        work(self, &mut sum, &mut slot);
        self.in_unit = false;
        self.core.evicting.goes_on = goes_on;
        let wrote = self.core.log.end_unit();
        if wrote && self.is_attended() {
            self.touch_since(logged, Some(index));
        }
        self.core.stats.commands += 1;
        if wrote {
            let last = Offset(self.core.log.next_offset().0 - 1);
            self.session(index).last_write = last;
            sum.depends_on = sum.depends_on.max(last);
        }
        self.finish(index, from, wrote, &sum, slot);
        self.serve_blocked();
    }

    fn session_in_unit(&mut self, index: usize, session: Session, args: Args<'_>) {
        self.core.stats.commands += 1;
        self.session_command(index, session, args);
        // Nothing inside of a transaction waits.
        debug_assert!(!matches!(self.conn(index).pause, Pause::Copies { .. }));
    }

    fn run_one(
        &mut self,
        index: usize,
        ctx: &Ctx,
        command: &'static Command,
        args: Args<'_>,
        sum: &mut Sum,
        slot: &mut u16,
    ) {
        let at = command.first_key(args).map(|key| self.core.keyspace.locate(key));
        if let Some(at) = at {
            *slot = at.slot.get();
        }
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        let core = &mut self.core;
        let out = &mut conn.replies.buf;
        let from = out.len();
        let done = core.keyspace.execute(ctx, command, args, at, out, &mut core.log);
        let out_is_error = out.as_bytes().get(from) == Some(&b'-');
        core.stats.commands += 1;
        sum.depends_on = sum.depends_on.max(done.depends_on);
        sum.shows_data |= at.is_some() || done.wrote || command.flags.has(Flags::READONLY);
        if out_is_error {
            self.count_error(index, Some(command), from, true);
        } else {
            self.remember_read(index, command, args);
        }
    }

    fn finish(&mut self, index: usize, from: usize, wrote: bool, sum: &Sum, slot: u16) {
        let mark = match sum.shows_data || wrote {
            true => self.core.mark(wrote, sum.depends_on, slot),
            false => None,
        };
        let replies = &mut self.conn(index).replies;
        match mark {
            Some(mark) => replies.held(from, mark),
            None => replies.free(from),
        }
    }

    /// Ends a connection's watch and gives what it watched.
    pub(in crate::data) fn forget_watched(&mut self, index: usize) -> Option<Box<Watched>> {
        let conn = self.conn(index);
        let id = conn.id;
        let watched = conn.session.watched.take()?;
        watched.keys.iter().for_each(|known| self.watchers.remove(&known.key, (index, id)));
        Some(watched)
    }

    /// A client has written what the log holds behind its first `logged` bytes.
    #[cold]
    pub(in crate::data) fn touch_since(&mut self, logged: usize, writer: Option<usize>) {
        let entries = self.core.log.entries_since(logged).to_vec();
        self.touched(&entries, writer);
    }

    /// The state was changed in another way: what was watched may have been written.
    pub(in crate::data) fn touch_all_watched(&mut self) {
        let told = self.watchers.all_touched();
        self.tell_watchers(&told);
        self.tracking.all_changed();
    }

    pub(in crate::data) fn tell_watchers(&mut self, told: &[Watcher]) {
        for &(index, id) in told {
            let Some(conn) = self.net.conn(index).filter(|conn| conn.id == id) else { continue };
            if let Some(watched) = &mut conn.session.watched {
                watched.dirty = true;
            }
        }
    }
}

/// What EXEC says when the transaction cannot be executed for this reason: that it is at an end,
/// unless the client is sent elsewhere with it.
fn aborted(reason: &str) -> String {
    const ELSEWHERE: [&str; 5] = ["MOVED ", "ASK ", "CROSSSLOT ", "CLUSTERDOWN ", "TRYAGAIN "];
    match ELSEWHERE.iter().any(|word| reason.starts_with(word)) {
        true => reason.to_owned(),
        false => format!("EXECABORT Transaction discarded because of: {reason}"),
    }
}

/// Why a command that was queued is not executed.
const fn reason(denied: &Denied) -> &'static str {
    match denied.reason {
        Reason::Command => "no permission to execute the command or subcommand",
        Reason::Key => "no permission to touch the specified keys",
        Reason::Channel => "no permission to access one of the channels used as arguments",
    }
}

/// Whether a watched key was touched; looks at all of them, so that all dependencies are seen.
fn is_touched(watched: &Watched, touched: impl FnMut(&WatchedKey) -> bool) -> bool {
    let count = watched.keys.iter().map(touched).filter(|touched| *touched).count();
    watched.dirty || count > 0
}
