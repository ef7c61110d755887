//! Commands that take long: another thread executes them, on the slot that is lent to it.
//!
//! Meanwhile clients of all other slots are served. What needs the slot, or all keys, waits as for
//! the end of a handover, and so does what control says of the state: to all of these the thread is
//! as if it were executing the command itself (docs/decisions/0031). One slot is lent at a time.

use crate::data::conn::{Feed, Pause};
use crate::data::dispatch::Item;
use crate::data::link::ToData;
use crate::data::server::Server;
use crate::data::session::ReplyMode;
use crate::data::watchers::Watcher;
use cairn_keyspace::command::Command;
use cairn_keyspace::{At, Ctx, Done, Loan};
use cairn_logic::time::{Duration, Instant};
use cairn_resp::{Args, ReplyBuf, Version};
use mio::Waker;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

/// A command that passes so many items, or pieces of 256 bytes, takes long: a millisecond and more.
const LONG: usize = 16_384;

/// A command, and all that is needed to execute it elsewhere.
struct Job {
    loan: Box<Loan>,
    /// The requests of its connection; this one is the next.
    feed: Box<Feed>,
    who: Watcher,
    command: &'static Command,
    ctx: Ctx,
    version: Version,
}

/// What became of it.
struct Finished {
    loan: Box<Loan>,
    feed: Box<Feed>,
    who: Watcher,
    command: &'static Command,
    reply: ReplyBuf,
    done: Done,
    took: Duration,
}

/// The way to the thread and back.
#[derive(Debug)]
pub struct Lender {
    /// None: there is no such thread, and everything is executed at once.
    way: Option<Sender<Job>>,
    back: Receiver<Finished>,
}

/// Whether a command is executed elsewhere.
#[derive(Debug)]
pub(super) enum Place {
    /// No: here and now.
    Here,
    /// Yes, but another one is, or control has to be heard before.
    Later,
    /// Yes.
    There(Box<Loan>),
}

fn execute(job: Job, now: fn() -> Instant) -> Finished {
    let Job { mut loan, feed, who, command, ctx, version } = job;
    let began = now();
    let mut reply = ReplyBuf::new(version);
    let args = feed.parser.args(feed.next, feed.bytes());
    let done = loan.execute(&ctx, command, args, &mut reply);
    Finished { loan, feed, who, command, reply, done, took: now().since(began) }
}

impl Lender {
    /// Starts the thread; it ends with this. `waker` ends the wait of the thread that lends.
    pub fn start(waker: Arc<Waker>, now: fn() -> Instant) -> Self {
        let (way, jobs) = channel::<Job>();
        let (sender, back) = channel();
        let body = move || {
            for job in jobs {
                let finished = execute(job, now);
                if sender.send(finished).is_err() || waker.wake().is_err() {
                    return;
                }
            }
        };
        let started = std::thread::Builder::new().name("long".into()).spawn(body);
        if let Err(error) = &started {
            tracing::warn!(%error, "cannot start the thread for commands that take long");
        }
        Self { way: started.ok().map(|_| way), back }
    }
}

impl Server {
    /// Whether a command takes long, and is executed elsewhere.
    #[inline]
    pub(super) fn place_of(&mut self, index: usize, args: Args<'_>, item: Item) -> Place {
        let (Some(command), Some(at)) = (item.command, item.at) else { return Place::Here };
        if command.session().is_some() || self.core.keyspace.reach(command, args, at) < LONG {
            return Place::Here;
        }
        self.lend(index, command, args, at)
    }

    /// Lends the slot of a command that would be executed now; what is refused, or belongs to a
    /// transaction, is not.
    #[cold]
    fn lend(&mut self, index: usize, command: &'static Command, args: Args<'_>, at: At) -> Place {
        let Some(conn) = self.net.get(index) else { return Place::Here };
        let session = &conn.session;
        let plain = session.multi.is_none()
            && session.reply == ReplyMode::On
            && session.listens.is_none()
            && session.tracks.is_none();
        let refused = !command.takes(args.len())
            || self.must_come_in(index, command)
            || self.denied(index, command, args).is_some();
        if !plain || refused || self.paused.is_some() || self.lender.way.is_none() {
            return Place::Here;
        }
        // What control has sent meanwhile comes before another loan.
        if self.core.keyspace.lent().is_some() || self.next_message.is_some() {
            return Place::Later;
        }
        if self.core.admit(command, args, Some(at), session.readonly).is_err() {
            return Place::Here;
        }
        // What others wrote in this turn comes before it.
        self.core.append();
        match self.core.keyspace.lend_slot(at.slot) {
            Some(loan) => Place::There(Box::new(loan)),
            None => Place::Here,
        }
    }

    /// A command that is to be executed elsewhere, but not yet, is looked at again.
    pub(super) fn put_off(&mut self, index: usize) {
        match self.core.keyspace.lent() {
            Some(_) => self.stall(index),
            None => self.net.list_ready(index),
        }
    }

    /// Has the next request of a connection executed elsewhere.
    pub(super) fn send_away(&mut self, index: usize, feed: Box<Feed>, loan: Box<Loan>) {
        let command = feed.items[feed.next].command.expect("a request that is lent to is known");
        let ctx = self.core.ctx();
        let conn = self.conn(index);
        conn.pause = Pause::Lent;
        conn.session.last_command = command.name;
        let (who, version) = ((index, conn.id), conn.replies.buf.version());
        let job = Job { loan, feed, who, command, ctx, version };
        let way = self.lender.way.as_ref().expect("nothing is lent where there is no way");
        way.send(job).expect("the thread for long commands lives as long as this one");
    }

    /// Takes back the slot that is lent, if what it was lent for is done.
    pub(super) fn look_at_loan(&mut self) {
        if self.core.keyspace.lent().is_none() {
            return;
        }
        match self.lender.back.try_recv() {
            Ok(finished) => self.take_back(finished),
            Err(TryRecvError::Empty) => {}
            // It has what it was lent: nothing goes on without it.
            Err(TryRecvError::Disconnected) => panic!("the thread for long commands has ended"),
        }
    }

    fn take_back(&mut self, finished: Finished) {
        let Finished { loan, mut feed, who, command, reply, done, took } = finished;
        let slot = loan.slot();
        self.core.append();
        let logged = self.core.log.body_bytes();
        let depends_on = self.core.keyspace.take_slot(*loan, &mut self.core.log);
        self.core.stats.commands += 1;
        self.core.stats.long_commands += 1;
        self.core.weighing.count(slot);
        let here = |pause: Pause| pause == Pause::Lent;
        let waits = self.net.conn(who.0).filter(|it| it.id == who.1 && here(it.pause)).is_some();
        let writer = waits.then_some(who.0);
        if waits {
            self.conn(who.0).pause = Pause::None;
            let done = Done { depends_on, ..done };
            self.answer_lent(who.0, (command, slot.get()), &feed, (reply, done, took));
            feed.next += 1;
            feed.consume();
            match feed.is_blank() {
                true => self.net.return_feed(feed),
                false => self.conn(who.0).feed = Some(feed),
            }
            self.net.list_flush(who.0);
            self.net.list_ready(who.0);
        }
        if self.core.log.body_bytes() > logged && self.is_attended() {
            self.touch_since(logged, writer);
        }
        if self.core.keyspace.has_events() {
            self.tell_events();
        }
        if !self.blocked.is_empty() {
            // What was given to those who wait in this slot has waited, too.
            self.blocked.all_changed();
            self.serve_blocked();
        }
        self.resume_stalled();
        self.core.append();
    }

    /// The reply to a command that was executed elsewhere, as if it had been here and now.
    fn answer_lent(
        &mut self,
        index: usize,
        (command, slot): (&'static Command, u16),
        feed: &Feed,
        (mut reply, done, took): (ReplyBuf, Done, Duration),
    ) {
        let args = feed.parser.args(feed.next, feed.bytes());
        let conn = self.conn(index);
        let from = conn.replies.buf.len();
        if let Some(wait) = done.waits {
            self.block(index, command, args, *wait, from);
            self.not_executed = false;
            return;
        }
        if conn.replies.is_empty() {
            std::mem::swap(&mut conn.replies.buf, &mut reply);
        } else {
            conn.replies.buf.raw(reply.as_bytes());
        }
        conn.commands += 1;
        if done.wrote {
            conn.session.last_write = done.depends_on;
        }
        match self.core.mark(done.wrote, done.depends_on, slot) {
            Some(mark) => {
                self.conn(index).replies.held(from, mark);
                self.net.list_held(index);
            }
            None => self.conn(index).replies.free(from),
        }
        if self.conn(index).replies.buf.as_bytes().get(from) == Some(&b'-') {
            self.count_error(index, Some(command), from, true);
        }
        self.note(index, command, args, took);
    }
}

/// Whether a message of control may be handled while a slot is lent: it touches no key, and what it
/// says depends on none.
pub(super) fn is_apart(message: &ToData) -> bool {
    matches!(
        message,
        ToData::ReadsConfirmed { .. }
            | ToData::Admission(_)
            | ToData::NoRoom(_)
            | ToData::Publications(_)
            | ToData::Users(_)
            | ToData::UsersChanged { .. }
            | ToData::KeptAside(_)
    )
}
