//! When this node writes a snapshot of the directory, and its part of the writing: a portion in
//! each turn of the loop that the writing thread asks for.

use super::role::Role;
use super::snapshots::{Piece, Writer, Written};
use crate::clock;
use cairn_logic::ids::Offset;
use cairn_logic::message::Position;
use cairn_logic::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// The size of a portion, in bytes, about.
const PORTION_BYTES: usize = 128 << 10;
/// How long a snapshot waits at most for a state whose hash every copy keeps for long.
const MARK_WAIT: Duration = Duration::from_secs(10);

/// The snapshot that is being written, or when the next one is.
pub(super) struct Exports {
    to: UnboundedSender<Written>,
    every: Duration,
    due: Instant,
    /// Since when the next one waits for a state to begin with.
    wanted: Option<Instant>,
    writer: Option<Writer>,
    /// The thread of the last one has not ended.
    busy: bool,
    /// The state is handed over to its end.
    ended: bool,
    /// It is one of this node's own mastership.
    own: bool,
    /// Bytes of the log below the snapshot that is being written and above the one before.
    log_bytes: u64,
}

impl Exports {
    /// The next one is written after `every`; the thread's words go to `to`.
    pub fn new(every: Duration, to: UnboundedSender<Written>) -> Self {
        Self {
            to,
            every,
            due: clock::now() + every,
            wanted: None,
            writer: None,
            busy: false,
            ended: false,
            own: false,
            log_bytes: 0,
        }
    }
}

impl Role {
    /// Begins another snapshot if one is due, and gives up one that is of no use any more.
    pub(super) fn tend_snapshot(&mut self) {
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
        if exports.busy {
            return;
        }
        if self.snapshot_is_due() && self.may_write() {
            self.begin_snapshot();
        } else if self.exports.wanted.take().is_some() {
            self.host.world.desk.core.end_export();
        }
    }

    fn snapshot_is_due(&self) -> bool {
        let world = &self.host.world;
        let new = self.host.applied() > world.snapshots.newest().offset;
        let large = world.log_bytes > self.boot.settings.log.bytes_max / 4;
        new && (large || clock::now() >= self.exports.due)
    }

    /// Whether it is this node that writes: one that follows, or a master that has nobody else.
    fn may_write(&self) -> bool {
        if self.host.world.snapshots.is_loading() {
            return false;
        }
        match self.host.replica().position() {
            Position::Follower => self.loaded,
            Position::Master(_) => self.serving && self.is_alone(),
            Position::Learner | Position::Elect(_) => false,
        }
    }

    fn is_alone(&self) -> bool {
        self.record.as_ref().is_some_and(|record| record.members.len() == 1)
    }

    fn begin_snapshot(&mut self) {
        let (exports, world) = (&mut self.exports, &mut self.host.world);
        let (now, core) = (clock::now(), &mut world.desk.core);
        let since = *exports.wanted.get_or_insert(now);
        if core.is_master() || now.since(since) >= MARK_WAIT.min(exports.every / 2) {
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
        exports.log_bytes = world.log_bytes;
        if !exports.busy {
            core.end_export();
        }
    }

    /// The thread that writes a snapshot wants another portion, or has ended.
    pub(super) fn written(&mut self, written: Written) {
        let (exports, world) = (&mut self.exports, &mut self.host.world);
        match written {
            Written::More => {
                let Some(writer) = exports.writer.as_ref().filter(|_| !exports.ended) else {
                    return;
                };
                if world.desk.core.export_at() != Some(writer.at()) {
                    exports.writer = None;
                    return;
                }
                match world.desk.core.export_more(PORTION_BYTES) {
                    Some(portion) => writer.give(Piece::Portion(portion)),
                    None => {
                        writer.give(Piece::End);
                        exports.ended = true;
                        world.desk.core.end_export();
                    }
                }
            }
            Written::Done(made) => {
                (exports.writer, exports.busy) = (None, false);
                exports.due = clock::now() + exports.every;
                if let Some((_, end)) = made {
                    world.log_bytes = world.log_bytes.saturating_sub(exports.log_bytes);
                    world.snapshots.made(end.from);
                }
            }
        }
    }

    /// How far a snapshot that is being loaded is, for people.
    pub(super) fn loading(&self) -> Option<String> {
        self.host.world.snapshots.progress()
    }

    /// Whether the state is one of the log up to everything that is known to be committed.
    pub(super) fn is_whole(&self) -> bool {
        let committed = self.host.replica().committed();
        let loading = self.host.world.snapshots.is_loading();
        !loading && committed > Offset::ZERO && self.host.applied() >= committed
    }
}
