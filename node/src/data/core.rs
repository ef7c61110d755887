//! What the thread owns besides sockets: the keyspace, its position in the group, the time of turn.

use crate::data::doors::Doors;
use crate::data::evict::Evicting;
use crate::data::link::{Answers, Clock, Config, FromData, NoRoom, Reads, Released, Shared};
use crate::data::moving::Carrying;
use crate::data::outgoing::Outgoing;
use crate::data::routes::Routes;
use crate::data::routing::{Ask, Verdict, View};
use crate::data::weighing::Weighing;
use bytes::Bytes;
use cairn_keyspace::{At, Ctx, EffectLog, Keyspace, Member, Unkept};
use cairn_logic::batch::{BODY_BYTES_MAX, Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, Offset};
use cairn_logic::replication::Admission;
use cairn_logic::time::Instant;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// State, position and time.
pub struct Core {
    /// The data.
    pub keyspace: Keyspace,
    /// Keys its hash.
    pub seed: u64,
    /// The effects of the turn.
    pub log: EffectLog,
    /// Where the keys of the turn's commands belong.
    pub wanted: Vec<At>,
    /// Where what they look up in large collections belongs.
    pub wanted_members: Vec<Member>,
    /// Routes and what follows from them.
    pub view: View,
    /// Set while this node is master.
    pub mastership: Option<Mastership>,
    /// Whether client writes are admitted while this node is master. Until control says it in a new
    /// mastership they wait: it says so only just after.
    pub admission: Admission,
    /// Where there is no room for client writes, if so.
    pub no_room: Option<NoRoom>,
    /// Whether the state is being built and must not be shown.
    pub loading: bool,
    /// Whether a batch did not follow the state: everything is ignored until it is rebuilt.
    pub gap: bool,
    /// Whether the state ends in entries of a mastership of this node that ended before they were
    /// committed: until what follows them is applied, nobody may see it.
    pub dirty_tail: bool,
    /// The last entry in the state.
    pub last: EntryId,
    /// Limits and password.
    pub config: Config,
    /// Who comes in.
    pub doors: Doors,
    /// Committed, as seen when the turn began.
    pub committed: Offset,
    /// The moment the turn began.
    pub now: Instant,
    /// The same on the wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The same in milliseconds since the thread started.
    pub turn_ms: u32,
    /// The way to control.
    pub outgoing: Outgoing,
    /// Until then a command of this group that nobody serves waits for a new master's address.
    pub limbo_until: Instant,
    /// What control sees.
    pub shared: Arc<Shared>,
    /// The clocks.
    pub clock: Clock,
    /// Findings whose replaced parts are not kept aside yet.
    pub unkept: Unkept,
    /// Whether what differs may be replaced.
    pub may_mend: bool,
    /// The move of slots to another group that is under way, at the master that has them.
    pub carrying: Option<Box<Carrying>>,
    /// The last entry that said what becomes of slots.
    pub slots_written: Offset,
    /// `reads: confirm`.
    pub confirm: Confirm,
    /// How far making room has got.
    pub evicting: Evicting,
    /// Counts for INFO.
    pub stats: Stats,
    /// What the slots weigh.
    pub weighing: Weighing,
    /// When the thread started.
    pub started: Instant,
}

/// What being master means here.
#[derive(Clone, Copy, Debug)]
pub struct Mastership {
    /// The epoch in which it began.
    pub term: Epoch,
    /// The epoch that is written in.
    pub epoch: Epoch,
    /// How reads are made safe.
    pub reads: Reads,
    /// When writes are answered.
    pub answers: Answers,
}

/// The confirmations of `reads: confirm`: one is under way at a time, later reads share the next.
#[derive(Clone, Copy, Debug, Default)]
pub struct Confirm {
    /// The last token asked for.
    pub asked: u64,
    /// The last token that came back.
    pub confirmed: u64,
    /// Whether reads wait for a token that was not asked for yet.
    pub wanted: bool,
    /// Whether a token was asked for and has not come back.
    pub under_way: bool,
}

impl Confirm {
    /// The token that reads executed now will wait for; never 0 in its low 32 bits.
    #[must_use]
    pub fn next(&self) -> u64 {
        let next = self.asked + 1;
        if next as u32 == 0 { next + 1 } else { next }
    }
}

/// Counts since the start of the thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Commands executed.
    pub commands: u64,
    /// Connections accepted.
    pub connections: u64,
    /// Connections refused or closed by a limit.
    pub refused: u64,
    /// How often a client had to wait because it asked for too many commands a second.
    pub slowed: u64,
    /// Replies of NOACK.
    pub noacks: u64,
    /// Keys deleted because they had expired.
    pub expired: u64,
    /// Keys deleted to make room.
    pub evicted: u64,
    /// Bytes read from clients.
    pub input_bytes: u64,
    /// Bytes written to clients.
    pub output_bytes: u64,
    /// Batches appended by this master.
    pub batches: u64,
    /// Replies that were errors.
    pub errors: u64,
    /// Commands that were executed elsewhere, for they took long.
    pub long_commands: u64,
    /// Messages that had no room on their way to other nodes.
    pub lost_messages: u64,
    /// Parts compared.
    pub checks: u64,
    /// Parts that differed.
    pub differences: u64,
    /// Slots of which something was replaced.
    pub repairs: u64,
}

/// All arguments of one command, or of one transaction, in bytes: what one of them changes must
/// fit into one batch of the log, whatever else it carries.
pub const REQUEST_BYTES_MAX: usize = BODY_BYTES_MAX / 2;
/// A batch is closed before it grows beyond this, so that no batch exceeds the log's limit.
pub const BATCH_BYTES: usize = 8 << 20;

impl Core {
    /// Reads the clocks for a new turn.
    pub fn begin_turn(&mut self) {
        self.now = (self.clock.now)();
        self.unix_ms = (self.clock.unix_ms)();
        self.keyspace.set_time(self.unix_ms);
        let since = self.now.since(self.started).as_millis();
        // Wraps after 49 days; only differences are used.
        self.turn_ms = since as u32;
    }

    /// Tells the keyspace what the configuration says of it.
    pub fn config_changed(&mut self) {
        if self.keyspace.wanted_events() != self.config.events {
            self.keyspace.want_events(self.config.events);
        }
        self.keyspace.set_eviction(self.config.eviction);
        self.keyspace.resident_bytes = || crate::memory::resident_bytes().unwrap_or(0);
    }

    /// The term, or zero when not master.
    #[must_use]
    pub fn term(&self) -> Epoch {
        self.mastership.map_or(Epoch::ZERO, |mastership| mastership.term)
    }

    /// Looks at what control allows.
    pub(super) fn look(&mut self) -> Released {
        let mut released = self.shared.released(self.term());
        if released.committed > self.committed {
            self.committed = released.committed;
            self.outgoing.committed(self.committed);
        }
        released.committed = self.committed;
        released
    }

    /// What commands may know of the world.
    #[must_use]
    #[inline]
    pub fn ctx(&self) -> Ctx {
        Ctx {
            now_ms: self.unix_ms,
            may_write: self.mastership.is_some(),
            value_bytes_max: self.config.value_max_bytes,
        }
    }

    /// Makes a batch of the effects so far and hands it to control.
    pub fn append(&mut self) {
        let Some(mastership) = self.mastership else {
            debug_assert!(self.log.is_empty(), "only masters write");
            return;
        };
        let Some(entries) = self.log.take() else { return };
        let batch = entries.into_batch(mastership.epoch, self.unix_ms);
        self.carry(&batch);
        self.hand_over(batch);
    }

    /// Appends an epoch record.
    pub fn append_record(&mut self, epoch: Epoch, record: Bytes) {
        self.append();
        let Some(mastership) = &mut self.mastership else { return };
        mastership.epoch = epoch;
        let head = BatchHead {
            epoch,
            first: self.log.next_offset(),
            count: 1,
            time_ms: self.unix_ms,
            authority: true,
            opens_epoch: true,
        };
        self.log.set_next(head.first.next());
        self.hand_over(Batch { head, body: record });
    }

    fn hand_over(&mut self, batch: Batch) {
        self.last = batch.head.last();
        self.stats.batches += 1;
        let early = self.mastership.is_some_and(|now| now.answers == Answers::AtAppend);
        let waited_for = batch.head.authority || !early;
        self.outgoing.append(batch, waited_for);
    }

    /// New routes.
    pub fn set_routes(&mut self, routes: Arc<Routes>) {
        let was = self.view.awaits_master();
        self.view = View::new(routes, self.mastership.is_some());
        if self.view.awaits_master() && !was {
            self.hold();
        }
    }

    /// From now on commands wait for the group's next master instead of being refused, for twice as
    /// long as a reply may wait.
    pub fn hold(&mut self) {
        self.limbo_until = self.now + self.config.ack_timeout * 2;
    }

    /// The state does not go on: shows nothing and tells control.
    pub fn found_gap(&mut self, came: Offset) {
        if !self.gap {
            tracing::error!(last = %self.last, %came, "what came does not follow the state");
            self.gap = true;
            self.outgoing.send(FromData::Gap { last: self.last, came });
        }
    }

    /// Looks at what some of the slots weigh.
    pub fn weigh(&mut self) {
        let view = &self.view;
        let ask = Ask { write: true, readonly: false };
        let mine = |slot| view.master && view.of_slot(slot, ask) == Verdict::Here;
        self.weighing.look(self.now, &self.keyspace, mine, &self.shared.gauges.loads);
    }

    /// Shows figures to control.
    pub fn publish(&mut self, clients: usize) {
        let gauges = &self.shared.gauges;
        gauges.applied.store(self.last.offset.0, Relaxed);
        gauges.commands.store(self.stats.commands, Relaxed);
        gauges.keys.store(self.keyspace.len() as u64, Relaxed);
        gauges.memory_bytes.store(self.keyspace.used_bytes() as u64, Relaxed);
        gauges.clients.store(clients as u64, Relaxed);
        gauges.connections.store(self.stats.connections, Relaxed);
        gauges.refused.store(self.stats.refused, Relaxed);
        gauges.slowed.store(self.stats.slowed, Relaxed);
        gauges.uncommitted_bytes.store(self.outgoing.outstanding_bytes(), Relaxed);
        gauges.noacks.store(self.stats.noacks, Relaxed);
        gauges.checks.store(self.stats.checks, Relaxed);
        gauges.differences.store(self.stats.differences, Relaxed);
        gauges.repairs.store(self.stats.repairs, Relaxed);
        gauges.evicted.store(self.stats.evicted, Relaxed);
        gauges.lost_messages.store(self.stats.lost_messages, Relaxed);
        gauges.turned_at.store(self.now.as_nanos(), Relaxed);
    }
}
