//! When this node writes a snapshot of the directory or fetches one, and its part of the writing: a
//! portion in each turn of the loop that the writing thread asks for.
//!
//! Checkpoint nodes write. Where there is none, or none gives anything, those that follow do; a
//! master does only where nobody else can.

use super::role::Role;
use super::snapshots::{Piece, Writer, Written};
use crate::clock;
use crate::peer::Reply;
use crate::snapshots::Newest;
use crate::status;
use cairn_logic::ids::Offset;
use cairn_logic::message::Position;
use cairn_logic::time::{Duration, Instant};
use cairn_settings::NodeRole;
use cairn_wire::peer::pb;
use tokio::sync::mpsc::UnboundedSender;
use tonic::Status;

/// The size of a portion, in bytes, about: what is handed over in a small part of a millisecond.
const PORTION_BYTES: usize = 32 << 10;
/// How long a snapshot waits at most for a state whose hash every copy keeps for long.
const MARK_WAIT: Duration = Duration::from_secs(10);
/// The same if a person waits for it.
const MARK_WAIT_ASKED: Duration = Duration::from_secs(1);
/// The shortest and longest waits between two looks for a snapshot to fetch.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// Between two tries to give up the front of the log.
const CUT: Duration = Duration::from_secs(1);
/// How long a person waits for a snapshot; it is written all the same.
const ASKED_MAX: Duration = Duration::from_secs(60);
/// Those of whom it is known who wait.
const ASKS_MAX: usize = 16;

/// What this node does about snapshots now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Writes,
    Fetches,
    Neither,
}

/// The snapshot that is being written, or when the next one is.
pub(super) struct Exports {
    to: UnboundedSender<Written>,
    every: Duration,
    /// When the next one is written or fetched.
    due: Instant,
    look: Instant,
    /// Since when the next one waits for a state to begin with.
    wanted: Option<Instant>,
    writer: Option<Writer>,
    /// The thread of the last one has not ended.
    busy: bool,
    /// The state is handed over to its end.
    ended: bool,
    /// It is one of this node's own mastership.
    own: bool,
    /// When the front of the log was last looked at.
    cut: Instant,
    /// Who waits for a snapshot, and until when.
    asks: Vec<(Instant, Reply<pb::WishReply>)>,
}

impl Exports {
    /// The next one is written after `every`; the thread's words go to `to`.
    pub fn new(every: Duration, to: UnboundedSender<Written>) -> Self {
        let now = clock::now();
        Self {
            to,
            every,
            due: now + every,
            look: now,
            wanted: None,
            writer: None,
            busy: false,
            ended: false,
            own: false,
            cut: now,
            asks: Vec::new(),
        }
    }

    /// Another snapshot is here and good.
    pub fn is_good(&mut self) {
        self.due = clock::now() + self.every;
    }

    /// Answers all that wait.
    fn answer(&mut self, answer: &Result<pb::WishReply, Status>) {
        for (_, reply) in self.asks.drain(..) {
            reply.send(answer.clone()).ok();
        }
    }
}

impl Role {
    /// Writes or fetches a snapshot if it is time, and gives up the front of the log behind one.
    pub(super) fn bound_log(&mut self) {
        self.tend_snapshot();
        self.time_out_asks();
        let now = clock::now();
        if now.since(self.exports.cut) < CUT {
            return;
        }
        self.exports.cut = now;
        let world = &self.host.world;
        let allowed = |pressed| self.host.replica().may_truncate(pressed);
        world.storage.bound_front(&world.snapshots.figures(), allowed);
    }

    fn tend_snapshot(&mut self) {
        let replica = self.host.replica();
        let durable = replica.flushed().min(replica.committed());
        let (exports, core) = (&mut self.exports, &mut self.host.world.desk.core);
        if let Some(writer) = &exports.writer {
            writer.durable(durable.0);
            let lost = exports.own && !core.is_master();
            if lost || (!exports.ended && core.export_at() != Some(writer.at())) {
                exports.writer = None;
                core.end_export();
            }
        }
        if exports.busy || self.host.world.snapshots.is_fetching() {
            return;
        }
        let standing = self.standing();
        if standing == Standing::Writes && self.snapshot_is_due() {
            return self.begin_snapshot();
        }
        if self.exports.wanted.take().is_some() {
            self.host.world.desk.core.end_export();
        }
        let now = clock::now();
        if standing == Standing::Fetches && now >= self.exports.look {
            // Also before one is due: whoever writes may have been asked to.
            self.exports.look = now + (self.exports.every / 10).clamp(LOOK.0, LOOK.1);
            if self.host.applied() > self.host.world.snapshots.newest().offset {
                let world = &mut self.host.world;
                world.snapshots.fetch_newer(world.holders.clone());
            }
        }
    }

    fn snapshot_is_due(&self) -> bool {
        let world = &self.host.world;
        let newest = world.snapshots.newest().offset;
        let asked = !self.exports.asks.is_empty();
        let due = asked || clock::now() >= self.exports.due;
        self.host.applied() > newest && (due || world.storage.is_long_after(newest))
    }

    /// Whether it is this node that writes. Where others do, it waits twice as long as they should
    /// take, or until its log has become large, and then does without them.
    fn standing(&self) -> Standing {
        let world = &self.host.world;
        if world.snapshots.is_loading() || world.storage.room().low {
            return Standing::Neither;
        }
        let asked = !self.exports.asks.is_empty();
        let pressed = world.storage.is_pressed();
        let long = world.storage.is_long_after(world.snapshots.newest().offset);
        let (age, every) = (world.snapshots.age(), self.exports.every);
        let overdue = age >= every * 2;
        let late = overdue || (pressed && long && age >= every / 2);
        let there = self.has_checkpoint_nodes();
        let writes = match self.host.replica().position() {
            Position::Learner if self.is_checkpoint() => self.loaded,
            Position::Follower if !self.loaded => return Standing::Neither,
            Position::Follower => asked || late || !there,
            Position::Master(_) if !self.serving => return Standing::Neither,
            Position::Master(_) if self.is_alone() => asked || late || !there,
            Position::Master(_) => overdue && pressed,
            Position::Learner | Position::Elect(_) => return Standing::Neither,
        };
        if writes { Standing::Writes } else { Standing::Fetches }
    }

    /// Whether this node is one of role checkpoint: it follows the log and never counts.
    pub(super) fn is_checkpoint(&self) -> bool {
        self.boot.settings.role == NodeRole::Checkpoint
    }

    fn has_checkpoint_nodes(&self) -> bool {
        self.boot.settings.seeds.values().any(|seed| seed.role == NodeRole::Checkpoint)
    }

    fn is_alone(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.members.len() == 1)
    }

    fn begin_snapshot(&mut self) {
        let (exports, world) = (&mut self.exports, &mut self.host.world);
        let (now, core) = (clock::now(), &mut world.desk.core);
        let since = *exports.wanted.get_or_insert(now);
        let patience = if exports.asks.is_empty() { MARK_WAIT } else { MARK_WAIT_ASKED };
        let waited = now.since(since) >= patience.min(exports.every / 2);
        if core.is_master() || waited {
            core.begin_export();
        } else {
            core.want_export();
        }
        let Some((at, hash)) = core.export_at().zip(core.export_hash()) else { return };
        exports.wanted = None;
        exports.writer = Writer::spawn(world.snapshots.folder(), at, hash, exports.to.clone());
        exports.busy = exports.writer.is_some();
        exports.due = now + exports.every;
        (exports.ended, exports.own) = (false, core.is_master());
        if !exports.busy {
            core.end_export();
        }
    }

    /// The thread that writes a snapshot wants another portion, or has ended.
    pub(super) fn written(&mut self, written: Written) {
        let (exports, world) = (&mut self.exports, &mut self.host.world);
        let (newest, took_ms) = match written {
            Written::More => return self.give_portion(),
            Written::Done(made) => {
                (exports.writer, exports.busy) = (None, false);
                exports.is_good();
                let Some(made) = made else { return };
                made
            }
        };
        world.snapshots.took(took_ms);
        let (at, bytes) = (newest.from, newest.bytes);
        let name = world.snapshots.name(at);
        exports.answer(&Ok(said(&name, &format!("entry {at}, {bytes} bytes"))));
        self.has_snapshot(newest);
    }

    fn give_portion(&mut self) {
        let (exports, core) = (&mut self.exports, &mut self.host.world.desk.core);
        let Some(writer) = exports.writer.as_ref().filter(|_| !exports.ended) else { return };
        if core.export_at() != Some(writer.at()) {
            exports.writer = None;
            return;
        }
        match core.export_more(PORTION_BYTES) {
            Some(portion) => writer.give(Piece::Portion(portion)),
            None => {
                writer.give(Piece::End);
                exports.ended = true;
                core.end_export();
            }
        }
    }

    /// A good snapshot is durable here.
    pub(super) fn has_snapshot(&mut self, newest: Newest) {
        self.host.world.snapshots.made(newest);
        self.exports.is_good();
        self.host.handle(cairn_host::Event::Snapshot(newest.from));
    }

    /// A person wants a snapshot now.
    pub(super) fn snapshot_now(&mut self, reply: Reply<pb::WishReply>) {
        if self.exports.asks.len() >= ASKS_MAX {
            let text = "too many wait for a snapshot already";
            return drop(reply.send(Err(Status::resource_exhausted(text))));
        }
        let master = matches!(self.host.replica().position(), Position::Master(_));
        if master && !self.is_alone() {
            let text = "this is the global master, which writes none; ask another global node";
            return drop(reply.send(Err(Status::failed_precondition(text))));
        }
        let world = &self.host.world;
        let newest = world.snapshots.newest();
        if newest.offset > Offset::ZERO && self.host.applied() <= newest.offset {
            let name = world.snapshots.name(newest);
            let text = format!("entry {newest}; nothing has changed since");
            return drop(reply.send(Ok(said(&name, &text))));
        }
        self.exports.asks.push((clock::now() + ASKED_MAX, reply));
        self.tend_snapshot();
    }

    fn time_out_asks(&mut self) {
        let now = clock::now();
        let asks = &mut self.exports.asks;
        while let Some(place) = asks.iter().position(|(until, _)| now >= *until) {
            let (_, reply) = asks.swap_remove(place);
            let lines = vec!["it is not durable yet, and goes on".to_owned()];
            reply.send(Ok(pb::WishReply::said(lines))).ok();
        }
    }

    /// How far a snapshot that is being loaded is, for people.
    pub(super) fn loading(&self) -> Option<String> {
        self.host.world.snapshots.progress()
    }

    /// How much of the state there is, while it is not whole.
    pub(super) fn loaded_percent(&self) -> Option<u32> {
        let committed = self.host.replica().committed();
        if self.serving || self.is_whole() || committed == Offset::ZERO {
            return None;
        }
        let before = self.host.replica().before().offset.0;
        let share = |at: Offset| at.0.saturating_sub(before);
        let replayed = status::percent(share(self.host.applied()), share(committed));
        Some(self.host.world.snapshots.loaded_percent().unwrap_or(replayed))
    }

    /// Whether the state is one of the log up to everything that is known to be committed.
    pub(super) fn is_whole(&self) -> bool {
        let committed = self.host.replica().committed();
        let loading = self.host.world.snapshots.is_loading();
        !loading && committed > Offset::ZERO && self.host.applied() >= committed
    }
}

fn said(name: &str, text: &str) -> pb::WishReply {
    pb::WishReply::said(vec![format!("{name}: {text}")])
}
