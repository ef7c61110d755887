//! The thread's whole state, and its turn: read, parse, prefetch, execute, append, answer.

use crate::data::blocked::Blocked;
use crate::data::changing::Changing;
use crate::data::channels::Channels;
use crate::data::commands::config::Kept;
use crate::data::commands::function::Functions;
use crate::data::commands::pause::Paused;
use crate::data::conn::{Conn, Feed, Pause, ReadEnd};
use crate::data::core::{BATCH_BYTES, Core, REQUEST_BYTES_MAX};
use crate::data::denials::Denials;
use crate::data::digests::Digests;
use crate::data::dispatch::Flow;
use crate::data::dropper::Dropper;
use crate::data::export::Exporting;
use crate::data::figures::Figures;
use crate::data::leisure::Leisure;
use crate::data::link::{FromData, ToData};
use crate::data::loans::{Lender, Place};
use crate::data::moving::Incoming;
use crate::data::net::{Gone, Net};
use crate::data::post::{Post, Publication};
use crate::data::rates::Rates;
use crate::data::replies::Gate;
use crate::data::slow::{Latency, SlowLog};
use crate::data::tracking::Tracking;
use crate::data::turns::{Part, Turns};
use crate::data::watchers::Watchers;
use cairn_keyspace::Checking;
use cairn_logic::ids::Offset;
use cairn_logic::time::{Duration, Instant};
use cairn_resp::{Limits, ReplyBuf};
use std::sync::Arc;
use std::sync::mpsc;

/// Connections looked at in one turn; the others come in the next.
const TURN_CONNS_MAX: usize = 256;

/// Bytes read in one turn after which the rest waits for the next: about a millisecond's work.
const TURN_BYTES_MAX: u64 = 1 << 20;

/// A turn that has executed commands for so long begins none any more, but one for each client.
const SERVE_MAX: Duration = Duration::from_millis(8);

/// Sockets, state, and who waits for what.
pub struct Server {
    /// The sockets.
    pub net: Net,
    /// The state.
    pub core: Core,
    /// From control.
    pub(super) inbox: mpsc::Receiver<ToData>,
    /// Taken from it and not handled yet.
    pub(super) next_message: Option<ToData>,
    /// Connections of this turn.
    touched: Vec<usize>,
    /// Connections in WAIT.
    pub waits: Vec<usize>,
    /// Connections whose next command waits for a handover to end.
    pub stalled: Vec<usize>,
    /// Who watches which key.
    pub watchers: Watchers,
    /// Who is told when which key changes.
    pub tracking: Tracking,
    /// What commands have cost.
    pub figures: Figures,
    /// Commands that took long.
    pub slow: SlowLog,
    /// Events that took long.
    pub latency: Latency,
    /// Settings that change nothing here.
    pub kept: Kept,
    /// What was refused to whom.
    pub denials: Denials,
    /// Clients that wait for what becomes of a change of users.
    pub(super) changing: Changing,
    /// When this turn began to execute commands.
    serving_since: Instant,
    /// When the command, or the run of commands, that is executed now began.
    pub(super) began: Instant,
    /// Whether the last request was queued or refused, not executed.
    pub(super) not_executed: bool,
    /// What turns spend their time on.
    pub(super) turns: Turns,
    /// Who waits for which key.
    pub blocked: Blocked,
    /// When those who wait are looked at next because their group has no master.
    pub(super) blocked_recheck: Option<Instant>,
    /// Whose commands wait because a client has asked for it, and for how long.
    pub paused: Option<Paused>,
    /// Who listens to which channel.
    pub channels: Channels,
    /// What was published and not handed out yet.
    pub published: Vec<Arc<Publication>>,
    /// The way of messages to other nodes.
    pub post: Post,
    /// Whether a transaction is being executed: nothing in it waits.
    pub in_unit: bool,
    /// Set when the thread is to end: the moment at which it ends at the latest.
    pub stopping: Option<Instant>,
    /// What was committed when held replies were last looked at.
    seen: (Offset, Instant, u64),
    /// The port clients connect to, for INFO.
    pub port: u16,
    /// Commands per second, lately.
    pub rate: u64,
    /// Who waits because commands a second are bounded.
    pub(super) rates: Rates,
    /// Whether the expiry cycle left due keys over.
    pub(super) expiring: bool,
    /// When, and at which count of commands, the rate was measured last.
    pub(super) rate_from: (Instant, u64),
    /// When clients are looked at next.
    pub(super) clients_at: Instant,
    /// Whether it holds so much that huge pages pay.
    pub(super) grown: bool,
    /// When the next look at timeouts and expiries is due.
    pub(super) chores_at: Instant,
    /// Which load the portions of a snapshot have to be of.
    pub(super) load: u64,
    /// The snapshot that is being written.
    pub(super) export: Option<Exporting>,
    /// A master's checks.
    pub(super) checking: Option<Checking>,
    /// Digests that somebody has asked for.
    pub(super) digests: Digests,
    /// How much time all three may take.
    pub(super) leisure: Leisure,
    /// Moves towards this master's group.
    pub(super) incoming: Incoming,
    /// The scripts of clients; made for the first one.
    pub(super) scripts: Option<Box<cairn_script::Engine>>,
    /// The functions of this group; loaded when the first one is called.
    pub(super) functions: Option<Box<Functions>>,
    /// Where large values are dropped.
    pub(super) dropper: Dropper,
    /// Who executes what takes long.
    pub(super) lender: Lender,
}

impl Server {
    /// Puts the parts together.
    #[must_use]
    pub fn new(
        net: Net,
        core: Core,
        inbox: mpsc::Receiver<ToData>,
        (post, lender): (Post, Lender),
    ) -> Self {
        Self {
            net,
            core,
            inbox,
            next_message: None,
            touched: Vec::new(),
            waits: Vec::new(),
            stalled: Vec::new(),
            watchers: Watchers::default(),
            tracking: Tracking::default(),
            figures: Figures::default(),
            slow: SlowLog::default(),
            latency: Latency::default(),
            kept: Kept::default(),
            denials: Denials::default(),
            changing: Changing::default(),
            serving_since: Instant::ZERO,
            began: Instant::ZERO,
            not_executed: false,
            turns: Turns::default(),
            blocked: Blocked::default(),
            blocked_recheck: None,
            paused: None,
            channels: Channels::default(),
            published: Vec::new(),
            post,
            in_unit: false,
            stopping: None,
            seen: (Offset::ZERO, Instant::ZERO, 0),
            port: 0,
            rate: 0,
            rates: Rates::default(),
            expiring: false,
            rate_from: (Instant::ZERO, 0),
            clients_at: Instant::ZERO,
            grown: false,
            chores_at: Instant::ZERO,
            load: 0,
            export: None,
            checking: None,
            digests: Digests::default(),
            leisure: Leisure::default(),
            incoming: Incoming::default(),
            scripts: None,
            functions: None,
            dropper: Dropper::start(),
            lender,
        }
    }

    /// The connection that is being served.
    #[inline]
    pub fn conn(&mut self, index: usize) -> &mut Conn {
        self.net.conn(index).expect("a connection is open while it is served")
    }

    /// Where the replies of a connection that is being served are written.
    #[inline]
    pub fn out(&mut self, index: usize) -> &mut ReplyBuf {
        &mut self.conn(index).replies.buf
    }

    /// Whether no request is read at the moment, because too much is not committed.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.core.outgoing.is_behind()
            || self.core.outgoing.outstanding_bytes() > self.core.config.uncommitted_max_bytes
    }

    /// Whether control has sent or allowed something that was not looked at yet.
    pub(super) fn has_news(&mut self) -> bool {
        let released = self.core.shared.released(self.core.term());
        let confirmed = self.core.confirm.confirmed;
        let committed = released.committed.max(self.core.committed);
        if self.next_message.is_none() {
            self.next_message = self.inbox.try_recv().ok();
        }
        let message = self.next_message.as_ref().is_some_and(|it| self.may_handle(it));
        (committed, released.read_until, confirmed) != self.seen || message || self.has_wait_done()
    }

    /// One turn over the sockets that are ready.
    pub fn turn(&mut self) {
        self.forget_gone();
        self.look_at_loan();
        self.look_at_blocked();
        self.look_at_pause();
        self.look_at_slowed();
        self.evict_on();
        self.touched.clear();
        let before = self.core.stats.input_bytes;
        if !self.is_full() && self.stopping.is_none() {
            for _ in 0..self.net.ready.len().min(TURN_CONNS_MAX) {
                let Some(index) = self.net.ready.pop_front() else { break };
                self.receive(index);
                self.touched.push(index);
                if self.core.stats.input_bytes - before > TURN_BYTES_MAX {
                    break;
                }
            }
        }
        let touched = std::mem::take(&mut self.touched);
        self.core.prefetch();
        if !touched.is_empty() {
            self.began = (self.core.clock.now)();
            self.serving_since = self.began;
        }
        for &index in &touched {
            if self.has_served_long() {
                // The others are served in the next turn.
                self.net.list_ready(index);
                continue;
            }
            self.serve(index);
        }
        self.core.append();
        if self.tracking.has_pending() {
            self.tell_trackers();
        }
        // Of keys that expired, and of waits that ended.
        if self.core.keyspace.has_events() {
            self.tell_events();
        }
        self.dropper.take(self.core.keyspace.take_trash());
        self.ask_confirmation();
        let mut touched = touched;
        touched.append(&mut self.net.flush);
        self.answer(&touched);
        self.look_at_waits();
        self.touched = touched;
    }

    /// Whether this turn has executed commands for so long that the others wait for the next one.
    #[inline]
    fn has_served_long(&self) -> bool {
        self.began.since(self.serving_since) > SERVE_MAX
    }

    /// Forgets what connections that were closed have left.
    pub(super) fn forget_gone(&mut self) {
        for Gone { who, watched, listens, waiting, tracks } in std::mem::take(&mut self.net.gone) {
            let watched = watched.map_or(Vec::new(), |watched| watched.keys);
            watched.iter().for_each(|known| self.watchers.remove(&known.key, who));
            if let Some(listens) = listens {
                self.channels.remove_all(&listens, who);
            }
            if let Some(waiting) = waiting {
                self.blocked.remove(&waiting);
            }
            if let Some(tracks) = tracks {
                self.tracking.end(who, &tracks);
            }
        }
    }

    fn limits(&self, unauthenticated: bool) -> Limits {
        let config = &self.core.config;
        Limits {
            bulk_bytes_max: u32::try_from(config.value_max_bytes).unwrap_or(u32::MAX),
            request_bytes_max: REQUEST_BYTES_MAX as u64,
            unauthenticated,
            ..Limits::default()
        }
    }

    /// Reads and parses what a connection has sent.
    fn receive(&mut self, index: usize) {
        let Some(conn) = self.net.conn(index) else { return };
        conn.listed_ready = false;
        if conn.pause == Pause::Lent {
            // What it sends is read once its command is done.
            return;
        }
        let waits =
            matches!(conn.pause, Pause::Copies { .. } | Pause::Blocked | Pause::Users { .. });
        if conn.hung_up && waits {
            conn.pause = Pause::Closing;
        }
        if conn.pause != Pause::None && !conn.hung_up {
            return;
        }
        let unauthenticated = self.core.is_shut_out(&conn.session);
        let limits = self.limits(unauthenticated);
        let mut feed = match self.conn(index).feed.take() {
            Some(mut feed) => {
                // It may have authenticated since.
                feed.parser.set_limits(limits);
                feed
            }
            None => self.net.lend_feed(limits),
        };
        let now = self.core.now;
        let conn = self.conn(index);
        let before = feed.len();
        let end = feed.read(&mut conn.stream, conn.hung_up);
        let count = feed.len() - before;
        if count > 0 {
            conn.active = now;
            conn.read_bytes += count as u64;
        }
        if feed.parse() > feed.items.len() {
            for request in feed.items.len()..feed.parser.len() {
                let item = self.core.look_up(feed.parser.args(request, feed.bytes()));
                feed.items.push(item);
            }
        }
        let conn = self.conn(index);
        conn.feed = Some(feed);
        match end {
            ReadEnd::Drained => {}
            ReadEnd::Full => self.net.list_ready(index),
            ReadEnd::Closed => conn.hung_up = true,
        }
        self.core.stats.input_bytes += count as u64;
    }

    /// Executes what a connection has asked, in order.
    fn serve(&mut self, index: usize) {
        let Some(conn) = self.net.conn(index) else { return };
        let Some(mut feed) = conn.feed.take() else { return };
        let (mut run, first) = (feed.next, feed.next);
        let room = self.room_of(index);
        while feed.next < feed.items.len() && self.conn(index).pause == Pause::None {
            if feed.next - first >= room {
                break;
            }
            let args = feed.parser.args(feed.next, feed.bytes());
            let item = feed.items[feed.next];
            let apart = self.is_measured_apart(item, args);
            if apart {
                self.charge(&feed.items[run..feed.next]);
                run = feed.next;
                match self.place_of(index, args, item) {
                    Place::Here => {}
                    Place::Later => {
                        self.put_off(index);
                        break;
                    }
                    Place::There(loan) => {
                        self.conn(index).commands += (feed.next - first) as u64;
                        self.count_for_rates(index, feed.next - first + 1);
                        return self.send_away(index, feed, loan);
                    }
                }
            }
            if self.request(index, args, item) == Flow::Again {
                break;
            }
            let executed = !std::mem::take(&mut self.not_executed);
            let alone = apart || feed.items.len() == 1;
            match (executed, alone) {
                (true, true) => self.charge_one(index, item, args),
                (true, false) => {}
                (false, _) => self.charge(&feed.items[run..feed.next]),
            }
            feed.next += 1;
            if alone || !executed {
                run = feed.next;
            }
            if self.core.log.body_bytes() > BATCH_BYTES {
                self.core.append();
            }
            if alone && feed.next < feed.items.len() && self.has_served_long() {
                // Others come between, and so does what was answered.
                self.net.list_ready(index);
                break;
            }
        }
        if run < feed.next {
            self.charge(&feed.items[run..feed.next]);
        }
        self.count_for_rates(index, feed.next - first);
        let more = feed.next < feed.items.len() && self.conn(index).pause == Pause::None;
        if more && feed.next - first >= room {
            self.slow_down(index);
        }
        self.end_serving(index, feed, first);
    }

    /// Keeps what of a connection's requests was not executed, or ends it.
    fn end_serving(&mut self, index: usize, mut feed: Box<Feed>, first: usize) {
        let conn = self.conn(index);
        // What waits counts once it is served.
        let waits = usize::from(conn.pause == Pause::Blocked);
        conn.commands += (feed.next - first).saturating_sub(waits) as u64;
        let at_error = feed.next >= feed.items.len() && conn.pause == Pause::None;
        if let Some(error) = feed.error.filter(|_| at_error) {
            let from = conn.replies.buf.len();
            conn.replies.buf.error(&format!("ERR {error}"));
            conn.replies.free(from);
            conn.pause = Pause::Closing;
        }
        feed.consume();
        if conn.hung_up && feed.items.is_empty() {
            conn.pause = Pause::Closing;
        }
        if feed.is_blank() || conn.pause == Pause::Closing {
            self.net.return_feed(feed);
        } else {
            conn.feed = Some(feed);
        }
    }

    /// Asks control to prove mastership for the reads that came since it was last asked.
    pub(super) fn ask_confirmation(&mut self) {
        let confirm = &mut self.core.confirm;
        if confirm.wanted && !confirm.under_way {
            confirm.asked = confirm.next();
            (confirm.wanted, confirm.under_way) = (false, true);
            let token = confirm.asked;
            self.core.outgoing.send(FromData::NeedConfirm { token });
        }
    }

    /// Releases and writes replies: of the turn, and the held ones if anything has changed.
    fn answer(&mut self, touched: &[usize]) {
        let released = self.core.look();
        let confirmed = self.core.confirm.confirmed;
        let seen = (released.committed, released.read_until, confirmed);
        if touched.is_empty() && seen == self.seen {
            return;
        }
        // Read after the commands were executed and after the deadline.
        let now = (self.core.clock.now)();
        self.turns.passed(Part::Commands, now);
        let gate = Gate::new(released, now, confirmed as u32);
        for &index in touched {
            self.send(index, &gate);
        }
        if seen != self.seen && !self.net.held.is_empty() {
            let mut held = std::mem::take(&mut self.net.held);
            held.retain(|&index| {
                let Some(conn) = self.net.conn(index) else { return false };
                conn.listed_held = false;
                self.send(index, &gate);
                false
            });
        }
        self.seen = seen;
    }

    /// Releases what `gate` lets through, writes it, and closes what is done or cannot go on.
    pub(super) fn send(&mut self, index: usize, gate: &Gate) {
        let output_max = self.core.config.output_buffer_max_bytes;
        let Some(conn) = self.net.conn(index) else { return };
        conn.listed_flush = false;
        conn.replies.release(gate);
        let before = conn.replies.pending_bytes();
        let alive = conn.flush();
        let after = conn.replies.pending_bytes();
        let held = conn.replies.is_held();
        conn.written_bytes += (before - after) as u64;
        let slow = after > output_max || conn.overrun;
        if slow {
            let client = conn.peer;
            tracing::warn!(%client, bytes = after, "closing a client that does not read");
            self.core.stats.refused += 1;
        }
        let more = !conn.choked && !conn.replies.sendable().is_empty();
        let done = !alive || slow || conn.is_done();
        self.core.stats.output_bytes += (before - after) as u64;
        if done {
            return self.net.close(index);
        }
        if held {
            self.net.list_held(index);
        }
        if more {
            self.net.list_flush(index);
        }
    }
}
