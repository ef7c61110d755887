//! One request: who may answer it, who executes it, and what its reply waits for.

use crate::data::broken::{ACK_WAIT, READ_WAIT, without};
use crate::data::channels::Scope;
use crate::data::commands::subcommands::check;
use crate::data::conn::Pause;
use crate::data::core::Core;
use crate::data::denials::Context;
use crate::data::link::{Answers, NoRoom, Reads};
use crate::data::replies::{Kind, Mark};
use crate::data::routing::{Ask, Verdict};
use crate::data::server::Server;
use crate::data::session::ReplyMode;
use cairn_keyspace::command::{Command, Flags, Session, lookup};
use cairn_keyspace::{At, unknown_command, wrong_arity};
use cairn_logic::ids::{Offset, Slot};
use cairn_logic::replication::Admission;
use cairn_resp::Args;

/// What is known of a request before its turn to be executed.
#[derive(Clone, Copy)]
pub struct Item {
    /// The command, if there is one of that name.
    pub command: Option<&'static Command>,
    /// Where its first key belongs.
    pub at: Option<At>,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = self.command.map_or("?", |command| command.name);
        write!(f, "{name} at {:?}", self.at)
    }
}

/// How a connection goes on after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next one.
    Next,
    /// With the same one, later.
    Again,
}

/// What a mark says when the reply spoke of no single slot.
pub const NO_SLOT: u16 = u16::MAX;

const NOREPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
const NOZONES: &str = "NOREPLICAS The group's members are in fewer zones than durability.zones.";
pub(super) const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
const MISCONF: &str = "MISCONF The disk of this node is almost full: commands that write are \
    refused until there is room on it, reads go on.";
const LOG_FULL: &str = "MISCONF The log of this node has reached its bound: commands that write \
    are refused until a snapshot is written and the log is shorter, reads go on.";
const LOADING: &str = "LOADING Redis is loading the dataset in memory";
pub(super) const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";

/// Why a command is not executed now.
#[derive(Debug)]
pub(super) enum Refused {
    /// It is answered with this error.
    Error(String),
    /// There is no room for what it needs, unless keys are taken away.
    NoMemory,
    /// It waits for a handover to end.
    Stalled,
}

impl Core {
    /// Finds a request's command and where its first key belongs; all its keys will be loaded.
    #[inline]
    pub fn look_up(&mut self, args: Args<'_>) -> Item {
        let Some(command) = lookup(args.name()) else { return Item { command: None, at: None } };
        let Some(key) = command.first_key(args) else {
            return Item { command: Some(command), at: None };
        };
        let at = self.keyspace.locate(key);
        self.wanted.push(at);
        if command.keys.at_most_one() {
            if let Some(member) = command.likely_member(args) {
                self.wanted_members.push(self.keyspace.locate_member(at, member));
            }
        } else {
            for key in command.keys_of(args).skip(1) {
                let at = self.keyspace.locate(key);
                self.wanted.push(at);
            }
        }
        Item { command: Some(command), at: Some(at) }
    }

    /// Loads what the turn's commands will read.
    pub fn prefetch(&mut self) {
        self.keyspace.prefetch(&self.wanted);
        self.wanted.clear();
        let members = &mut self.wanted_members;
        members.iter().for_each(|member| self.keyspace.prefetch_member_line(*member));
        members.iter().for_each(|member| self.keyspace.prefetch_member_entry(*member));
        members.clear();
    }

    /// Whether a data command may be executed here and now.
    #[inline]
    pub(super) fn admit(
        &self,
        command: &Command,
        args: Args<'_>,
        at: Option<At>,
        readonly: bool,
    ) -> Result<(), Refused> {
        let ask = Ask { write: command.flags.has(Flags::WRITE), readonly };
        let verdict = match at {
            Some(at) => {
                if !command.keys.at_most_one() && !same_slot(command, args, at.slot) {
                    return Err(Refused::Error(CROSSSLOT.into()));
                }
                self.view.of_slot(at.slot, ask)
            }
            None if ask.write || command.flags.has(Flags::READONLY) => self.view.of_no_slot(ask),
            None => return Ok(()),
        };
        if verdict != Verdict::Here {
            return Err(self.refuse(verdict, at));
        }
        if self.is_guarded() {
            self.guard(at.map(|at| at.slot))?;
        }
        self.ready(command, ask.write)
    }

    #[cold]
    pub(super) fn refuse(&self, verdict: Verdict, at: Option<At>) -> Refused {
        if verdict == Verdict::Down && self.now < self.limbo_until {
            return Refused::Stalled;
        }
        if self.loading && verdict == Verdict::Down && self.view.home.is_some() {
            return Refused::Error(LOADING.into());
        }
        Refused::Error(self.view.error(verdict, at.map_or(0, |at| at.slot.get())))
    }

    /// Whether this node, which owns what the command asks for, can execute it now.
    #[inline]
    pub(super) fn ready(&self, command: &Command, write: bool) -> Result<(), Refused> {
        if self.loading || self.gap || self.dirty_tail {
            return Err(Refused::Error(LOADING.into()));
        }
        if !write {
            return Ok(());
        }
        if self.is_full_for(command) {
            return Err(Refused::NoMemory);
        }
        match self.no_room {
            None => {}
            Some(NoRoom::Disk) => return Err(Refused::Error(MISCONF.into())),
            Some(NoRoom::Log) => return Err(Refused::Error(LOG_FULL.into())),
        }
        match self.admission {
            Admission::Open => Ok(()),
            Admission::HandingOver => Err(Refused::Stalled),
            Admission::TooFewMembers | Admission::TooFewHeard => {
                Err(Refused::Error(NOREPLICAS.into()))
            }
            Admission::TooFewZones => Err(Refused::Error(NOZONES.into())),
        }
    }

    /// Whether there is no memory for a command that may need some.
    #[inline]
    fn is_full_for(&self, command: &Command) -> bool {
        self.is_full() && command.flags.has(Flags::DENY_OOM) && !self.evicting.goes_on
    }

    /// What a reply waits for: `wrote` says whether its command appended, `depends_on` what it saw.
    #[inline]
    pub(super) fn mark(&mut self, wrote: bool, depends_on: Offset, slot: u16) -> Option<Mark> {
        let mastership = self.mastership.as_ref()?;
        let early = mastership.answers == Answers::AtAppend || without(ACK_WAIT);
        if (wrote && early) || (!wrote && without(READ_WAIT)) {
            return None;
        }
        let dirty = depends_on > self.committed && !early;
        let need = if dirty { depends_on } else { Offset::ZERO };
        let mut token = 0;
        if !wrote && mastership.reads == Reads::Confirm {
            token = self.confirm.next() as u32;
            self.confirm.wanted = true;
        }
        let kind = if wrote { Kind::Write } else { Kind::Read };
        Some(Mark { need, len: 0, made_ms: self.turn_ms, token, slot, kind })
    }
}

pub(super) fn same_slot(command: &Command, args: Args<'_>, slot: Slot) -> bool {
    command.keys_of(args).skip(1).all(|key| cairn_keyspace::slot_of(key) == slot)
}

impl Server {
    /// Executes one request and queues its reply.
    #[inline]
    pub fn request(&mut self, index: usize, args: Args<'_>, item: Item) -> Flow {
        let conn = self.conn(index);
        let plain = conn.session.free
            && conn.session.multi.is_none()
            && conn.session.reply == ReplyMode::On
            && conn.session.listens.is_none()
            && conn.session.tracks.is_none()
            && self.paused.is_none();
        match item.command {
            Some(command) if plain && command.session().is_none() => {
                self.data(index, command, args, item.at)
            }
            _ => self.unusual(index, args, item),
        }
    }

    /// A data command outside of a transaction.
    #[inline]
    fn data(
        &mut self,
        index: usize,
        command: &'static Command,
        args: Args<'_>,
        at: Option<At>,
    ) -> Flow {
        let conn = self.net.conn(index).expect("a connection is open while it is served");
        let from = conn.replies.buf.len();
        conn.session.last_command = command.name;
        if let Err(refused) = self.core.admit(command, args, at, conn.session.readonly) {
            if matches!(refused, Refused::NoMemory) && self.make_room() {
                return self.data(index, command, args, at);
            }
            return self.refused(index, command, args, refused);
        }
        let ctx = self.core.ctx();
        let replies = &mut conn.replies;
        let core = &mut self.core;
        let logged = core.log.body_bytes();
        let done = core.keyspace.execute(&ctx, command, args, at, &mut replies.buf, &mut core.log);
        core.stats.commands += 1;
        if let Some(at) = at {
            core.weighing.count(at.slot);
        }
        let shows_data = at.is_some() || command.flags.has(Flags::READONLY) || done.wrote;
        let slot = at.map_or(NO_SLOT, |at| at.slot.get());
        if let Some(wait) = done.waits {
            return self.block(index, command, args, *wait, from);
        }
        let mark = if shows_data { core.mark(done.wrote, done.depends_on, slot) } else { None };
        if done.wrote {
            conn.session.last_write = Offset(core.log.next_offset().0 - 1);
        }
        match mark {
            Some(mark) => replies.held(from, mark),
            None => replies.free(from),
        }
        if replies.buf.as_bytes().get(from) == Some(&b'-') {
            self.count_error(index, Some(command), from, true);
        }
        if done.wrote && self.is_attended() {
            self.touch_since(logged, Some(index));
            self.serve_blocked();
        }
        if self.core.keyspace.has_events() {
            self.tell_events();
        }
        Flow::Next
    }

    /// Whether anybody wants to know of writes.
    #[inline]
    pub(super) fn is_attended(&self) -> bool {
        !self.watchers.is_empty() || !self.blocked.is_empty() || !self.tracking.is_empty()
    }

    #[cold]
    fn refused(
        &mut self,
        index: usize,
        command: &'static Command,
        args: Args<'_>,
        refused: Refused,
    ) -> Flow {
        let conn = self.conn(index);
        let from = conn.replies.buf.len();
        match refused {
            _ if !command.takes(args.len()) => wrong_arity(command.name, &mut conn.replies.buf),
            Refused::Error(text) => conn.replies.buf.error(&text),
            Refused::NoMemory => conn.replies.buf.error(OOM),
            Refused::Stalled => {
                self.stall(index);
                return Flow::Again;
            }
        }
        conn.replies.free(from);
        self.count_error(index, Some(command), from, false);
        Flow::Next
    }

    /// Keeps a connection's next request until a handover ends.
    pub(super) fn stall(&mut self, index: usize) {
        let until = self.core.limbo_until.max(self.core.now + self.core.config.ack_timeout);
        self.conn(index).pause = Pause::HandOver { until };
        self.stalled.push(index);
    }

    /// Everything but a data command of an authenticated client outside of a transaction.
    #[cold]
    fn unusual(&mut self, index: usize, args: Args<'_>, item: Item) -> Flow {
        let conn = self.conn(index);
        let (point, from) = (conn.replies.point(), conn.replies.buf.len());
        let errors = self.core.stats.errors;
        let flow = self.judge(index, args, item);
        if flow == Flow::Again {
            return flow;
        }
        let conn = self.conn(index);
        let failed = conn.replies.buf.as_bytes().get(from) == Some(&b'-');
        if failed && self.core.stats.errors == errors {
            let executed = item.command.is_some_and(|command| command.session().is_some());
            self.count_error(index, item.command, from, executed);
        }
        self.forget_caching(index, item.command);
        let conn = self.conn(index);
        let (answered, next) = conn.session.reply.after_command();
        conn.session.reply = next;
        let confirms = Flags::PUBSUB.and(Flags::NO_SCRIPT);
        let confirms = item.command.is_some_and(|command| command.flags.has(confirms));
        if !answered && !confirms {
            conn.replies.take_back(point);
        }
        conn.replies.free_rest();
        if self.core.keyspace.has_events() {
            self.tell_events();
        }
        if !self.published.is_empty() {
            self.deliver();
        }
        Flow::Next
    }

    fn judge(&mut self, index: usize, args: Args<'_>, item: Item) -> Flow {
        let Some(command) = item.command else {
            unknown_command(args, self.out(index));
            self.refuse_transaction(index);
            return Flow::Next;
        };
        if !command.takes(args.len()) {
            wrong_arity(command.name, self.out(index));
            self.refuse_transaction(index);
            return Flow::Next;
        }
        self.session(index).last_command = cairn_acl::full_name(command, args);
        if let Err(text) = self.may(index, command, args) {
            if command.session() == Some(Session::Exec) {
                self.abort(index, &text);
                return Flow::Next;
            }
            self.out(index).error(&text);
            self.refuse_transaction(index);
            return Flow::Next;
        }
        if self.is_paused(index, command, args) {
            return Flow::Again;
        }
        if self.answered_listener(index, command, args) {
            return Flow::Next;
        }
        let in_multi = self.session(index).multi.is_some();
        match command.session() {
            Some(Session::Exec) => return self.exec(index),
            Some(Session::Discard) => self.discard(index),
            Some(Session::Multi) => self.multi(index),
            Some(Session::Watch) => return self.watch(index, command, args, item.at),
            Some(Session::Reset) => self.reset(index),
            Some(Session::Quit) => self.quit(index),
            Some(Session::Eval) if !in_multi => return self.eval(index, command, args, item.at),
            Some(Session::Function) if !in_multi => return self.function_alone(index, args),
            _ if in_multi => return self.queue(index, command, args, item.at),
            Some(Session::Cluster) if self.core.keyspace.lent().is_some() => {
                // It may count the keys of a slot.
                self.stall(index);
                return Flow::Again;
            }
            Some(session) => self.session_command(index, session, args),
            None => {
                let from = self.out(index).len();
                let flow = self.data(index, command, args, item.at);
                let failed = self.out(index).as_bytes().get(from) == Some(&b'-');
                if flow == Flow::Next && !failed {
                    self.remember_read(index, command, args);
                }
                return flow;
            }
        }
        self.core.stats.commands += 1;
        Flow::Next
    }

    /// Whether there is such a subcommand, and the client may have it executed.
    fn may(&mut self, index: usize, command: &Command, args: Args<'_>) -> Result<(), String> {
        if let Some(session) = command.session() {
            check(session, args)?;
        }
        if self.must_come_in(index, command) {
            return Err("NOAUTH Authentication required.".to_owned());
        }
        let in_multi = self.session(index).multi.is_some();
        if in_multi && command.flags.has(Flags::NO_MULTI) {
            return Err("ERR Command not allowed inside a transaction".to_owned());
        }
        let context = if in_multi { Context::Multi } else { Context::Toplevel };
        self.allow(index, command, args, context)
    }

    /// A command of the session, outside of a transaction or as a part of it.
    pub(super) fn session_command(&mut self, index: usize, session: Session, args: Args<'_>) {
        match session {
            Session::Acl => self.acl(index, args),
            Session::Asking => self.asking(index),
            Session::Latency => self.latency(index, args),
            Session::Lolwut => self.lolwut(index, args),
            Session::Nowhere => self.refuse_command(index, args),
            Session::Slowlog => self.slowlog(index, args),
            Session::Subscribe => self.subscribe(index, Scope::Channel, args),
            Session::Psubscribe => self.subscribe(index, Scope::Pattern, args),
            Session::Ssubscribe => self.subscribe(index, Scope::Shard, args),
            Session::Unsubscribe => self.unsubscribe(index, Scope::Channel, args),
            Session::Punsubscribe => self.unsubscribe(index, Scope::Pattern, args),
            Session::Sunsubscribe => self.unsubscribe(index, Scope::Shard, args),
            Session::Publish => self.publish(index, false, args),
            Session::Spublish => self.publish(index, true, args),
            Session::Pubsub => self.pubsub(index, args),
            Session::Auth => self.auth(index, args),
            Session::Client => self.client(index, args),
            Session::Cluster => self.cluster(index, args),
            Session::Command => self.command(index, args),
            Session::Config => self.config(index, args),
            Session::Function => self.function(index, args),
            Session::Hello => self.hello(index, args),
            Session::Info => self.info(index, args),
            Session::Readonly => self.set_readonly(index, true),
            Session::Readwrite => self.set_readonly(index, false),
            Session::Role => self.role(index),
            Session::Script => self.script(index, args),
            Session::Select => self.select(index, args),
            Session::Unwatch => self.unwatch(index),
            Session::Wait => self.wait(index, args),
            Session::Quit => self.quit(index),
            Session::Reset => self.reset(index),
            // These have been handled before a transaction is looked at.
            Session::Eval | Session::Discard | Session::Exec | Session::Multi | Session::Watch => {}
        }
    }
}
