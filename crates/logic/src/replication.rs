//! One replica of one log: follower, learner, elect or master (docs/replication.md §§1-9).
//!
//! `step(now, input, effects)` is the only door. Effects are performed strictly in order; an effect
//! marked *barrier* is finished (flushed) before the ones after it, of this and later steps, begin.

mod change;
mod commit;
mod effect;
mod elect;
mod front;
mod index;
mod keeper;
mod lead;
mod member;
mod progress;
mod reads;
mod report;
mod seal;
mod send;
mod start;

pub use effect::{Admission, Alarm, Effect};
pub use report::{PeerStatus, Status};

use crate::batch::BatchHead;
use crate::counting::Plane;
use crate::ids::{EntryId, Epoch, Incarnation, Life, NodeId, Offset, Version};
use crate::message::{Message, Mode, Order, Position, Relief, Sender};
use crate::mutant::{Mutant, broken};
use crate::record::{Member, Record};
use crate::time::{Duration, Instant};
use crate::timing::Timing;
use index::Index;
use lead::{Lead, Stage};
use std::collections::{BTreeMap, VecDeque};

/// What is flushed before any answer that depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vote {
    /// Every append of an older epoch is refused.
    pub sealed: Epoch,
    /// Whether the tail of the log can be vouched for.
    pub intact: bool,
    /// Counts the runs of this folder's process.
    pub life: Life,
    /// No revision or token above it was ever given out by this folder.
    pub reserved: u64,
    /// Whether copies of this folder may have been counted before they were flushed: then a power
    /// cut costs `intact` (docs/replication.md §8).
    pub unflushed: bool,
}

/// How linearizable reads are proved (docs/replication.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// By live promises: [`Effect::ReadUntil`].
    Lease,
    /// By a round of acknowledgements: [`Input::ConfirmReads`]; for hosts that may be paused.
    Confirm,
}

/// What the files said at the start of a process (docs/replication.md §8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The vote as last flushed; its life is that of the former process.
    pub vote: Vote,
    /// The entry before the first of the log: what lies before was given up behind a snapshot.
    pub before: EntryId,
    /// The first offset of each epoch in the log, ascending; the first follows `before`.
    pub epochs: Vec<(Epoch, Offset)>,
    /// The end of the log.
    pub last: EntryId,
    /// How far it is known to be flushed.
    pub flushed: Offset,
    /// The clean mark, if it was found; the host removes it durably with the first
    /// [`Effect::Persist`].
    pub clean: Option<EntryId>,
    /// Whether the machine has not rebooted since the former process.
    pub same_boot: bool,
    /// Whether a write or flush failed in the former process.
    pub failed_disk: bool,
    /// Whether a torn tail was cut while opening; for people, it decides nothing.
    pub torn: bool,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Time passed; at least every 25 ms.
    Tick,
    /// From a member or learner of this log; Hello was checked.
    Message {
        /// Who sent it.
        from: Sender,
        /// What.
        body: Message,
    },
    /// From a judge. Attempts are unique to a judge: answers are routed back by their number.
    Order(Order),
    /// The record, as committed by its keeper (also its first reading).
    Record(Record),
    /// Nodes that hold a claim of this log and do not count yet.
    Learners(Vec<Member>),
    /// The planner's next wish, or none.
    Wish(Option<Change>),
    /// The change asked for of this version of the record was refused and can never come into force
    /// any more, for a node that was to join has lost its claim; the version has not moved.
    Refused(Version),
    /// The appender made a batch and it was queued for writing (masters and elects only). It
    /// follows [`Replica::last`]; a batch of an appender that has not yet heard of its `StepDown`
    /// is dropped by the host and costs the state machine a rebuild.
    Appended {
        /// The batch.
        head: BatchHead,
        /// The size of its body, for the lag in bytes.
        bytes: u64,
    },
    /// Everything up to here is in the page cache. Never delivered for writes from before a
    /// [`Effect::Cut`] once that is done; the same for `Flushed`.
    Written(EntryId),
    /// Everything up to here is flushed.
    Flushed(EntryId),
    /// The answer to every [`Effect::Replicate`] of the present epoch: one frame of whole batches
    /// left, ending here (`prev` itself when nothing could be sent). What lies between `last` and
    /// the effect's `up_to` did not fit and is asked for anew.
    Sent {
        /// To whom.
        to: NodeId,
        /// The epoch of the effect.
        epoch: Epoch,
        /// The last entry in the frame.
        last: EntryId,
    },
    /// `reads: confirm`: prove mastership for reads that have arrived by now.
    ConfirmReads {
        /// Returned with [`Effect::ReadsConfirmed`].
        token: u64,
    },
    /// The node cannot be a good master; `None` when it can again.
    Relief(Option<Relief>),
    /// Raise the flushed bound of revisions and tokens.
    Reserve(u64),
    /// The log's front was given up: it now begins after this entry. Only what
    /// [`Replica::may_truncate`] allowed.
    Truncated(EntryId),
    /// A durable snapshot of this folder, known good, holds everything up to this entry. Also the
    /// older one, when the newest was found broken.
    Snapshot(EntryId),
    /// A snapshot is being fetched with which the log would begin after this entry; `None`: no
    /// longer.
    Fetching(Option<EntryId>),
    /// A fetched snapshot is durable here, verified as a whole, and holds everything up to this
    /// entry.
    Fetched(EntryId),
}

/// A change of configuration in which the master stays; one at a time (§7).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Change {
    /// Make a caught-up learner a member.
    Join(Member),
    /// Remove a member.
    Remove(NodeId),
    /// Change a member's role between replica and backup, or the zone it counts in.
    Role(Member),
    /// Change rule, wanted or durability.
    Mode(Mode),
}

/// What a follower knows of its master.
#[derive(Clone, Debug)]
struct Following {
    /// The epoch of the sender it last listened to.
    epoch: Epoch,
    /// That sender; `None` after a seal.
    master: Option<NodeId>,
    /// End of what matched in this epoch.
    verified: Offset,
    /// What the sender said is committed.
    told: Offset,
    /// When the sender was last heard.
    heard: Instant,
    /// Since when the sender has said that its commits make no progress.
    stuck_since: Option<Instant>,
    /// It will not seal before.
    promised_until: Instant,
    /// Appends that wait to be acknowledged.
    pending: VecDeque<PendingAck>,
    /// When a snapshot was last asked for.
    fetch_at: Option<Instant>,
}

/// An append that is acknowledged once its copies exist.
#[derive(Clone, Copy, Debug)]
struct PendingAck {
    end: Offset,
    flush: bool,
    sent_at: Instant,
}

/// A forced seal that waits for the last promise to run out.
#[derive(Clone, Copy, Debug)]
struct PendingSeal {
    attempt: Epoch,
}

/// One replica of one log.
#[derive(Debug)]
pub struct Replica {
    me: Sender,
    plane: Plane,
    timing: Timing,
    reads: Reads,
    /// Of the step under way.
    now: Instant,
    /// Effects of the step under way.
    out: Vec<Effect>,
    vote: Vote,
    /// This life is never master or elect of an epoch up to this one.
    sealed_at_start: Epoch,
    index: Index,
    /// End of what is in the page cache.
    written: Offset,
    /// End of what is flushed.
    flushed: Offset,
    /// A flush is owed up to here.
    flush_wanted: Offset,
    /// A flush was asked for and has not come back.
    flush_open: bool,
    committed: Offset,
    /// Everything up to here is in a durable snapshot of this folder.
    snapshot: Option<EntryId>,
    /// Where the log would begin with the snapshot that is being fetched.
    fetching: Option<EntryId>,
    /// What the state machine may hold; beyond `committed` only on a former master.
    applied: Offset,
    record: Option<Record>,
    record_read_at: Option<Instant>,
    learners: Vec<Member>,
    wish: Option<Change>,
    relief: Option<Relief>,
    following: Following,
    seal: Option<PendingSeal>,
    /// Whether this life was master when it sealed `vote.sealed`.
    sealed_as_master: bool,
    lead: Option<Lead>,
    flaps: BTreeMap<NodeId, change::Flap>,
    /// Foreign folders already complained of.
    foreign: BTreeMap<NodeId, Incarnation>,
    /// Stopped taking part after an alarm.
    halted: bool,
}

impl Replica {
    /// Takes one thing that happened; `effects` gets what is to be done, in order.
    ///
    /// `now` must be read after `input` was taken from wherever it waited: promises run from here.
    ///
    /// # Panics
    /// If the host breaks the contract of [`Input::Appended`]; mastership then ends with the
    /// process.
    pub fn step(&mut self, now: Instant, input: Input, effects: &mut Vec<Effect>) {
        let stood = now.since(self.now);
        self.now = self.now.max(now);
        if self.halted {
            return;
        }
        std::mem::swap(&mut self.out, effects);
        if stood >= self.timing.silence_max && !broken(Mutant::StandstillIsSilence) {
            self.stood_still(stood);
        }
        match input {
            Input::Tick => self.on_tick(),
            Input::Message { from, body } => self.on_message(&from, &body),
            Input::Order(order) => self.on_order(order),
            Input::Record(record) => self.on_record(record),
            Input::Learners(learners) => self.on_learners(learners),
            Input::Wish(wish) => self.wish = wish,
            Input::Refused(expected) => self.on_refused(expected),
            Input::Appended { head, bytes } => self.on_appended(&head, bytes),
            Input::Written(entry) => self.on_written(entry),
            Input::Flushed(entry) => self.on_flushed(entry),
            Input::Sent { to, epoch, last } => self.on_sent(&to, epoch, last),
            Input::ConfirmReads { token } => self.on_confirm_reads(token),
            Input::Relief(relief) => self.relief = relief,
            Input::Reserve(bound) => self.on_reserve(bound),
            Input::Truncated(before) => self.index.truncate(before),
            Input::Snapshot(from) => self.snapshot = Some(from),
            Input::Fetching(from) => self.fetching = from,
            Input::Fetched(from) => self.on_fetched(from),
        }
        self.check();
        std::mem::swap(&mut self.out, effects);
    }

    fn on_message(&mut self, from: &Sender, body: &Message) {
        match body {
            Message::Append(append) => self.on_append(&from.id, append),
            Message::Heartbeat(beat) => self.on_heartbeat(&from.id, beat),
            Message::Ack(ack) => self.on_ack(from, ack),
            Message::Refuse(refuse) => self.on_refuse(from, refuse),
            Message::Healed { epoch, life } => self.on_healed(&from.id, *epoch, *life),
        }
    }

    fn on_order(&mut self, order: Order) {
        match order {
            Order::Seal { attempt, forced, released } => self.on_seal(attempt, forced, released),
            Order::Elect { attempt, life, last, members, mode, above } => {
                self.on_elect(elect::Election { attempt, life, last, members, mode, above });
            }
            Order::HandOver { epoch, target } => self.on_hand_over(epoch, target),
            Order::Record(record) => self.on_record(*record),
        }
    }

    fn on_tick(&mut self) {
        self.seal_when_released();
        let (now, idle) = (self.now, self.committed == self.index.last().offset);
        if let Some(lead) = self.lead.as_mut().filter(|l| idle && l.opened.is_some()) {
            lead.moved_at = now;
        }
        self.end_hand_over();
        self.beat_when_due();
        self.measure_lag();
        self.retry_all();
        self.pump_all();
        if self.is_master() {
            self.after_acks();
            self.change_when_due();
        }
    }

    /// Nothing at all happened here for `span`, not even a tick: this process stood still, and what
    /// others said meanwhile still waits. So that time is nobody's silence, lag or standstill; else
    /// a master that goes on would at once have all others removed, and a member its master.
    fn stood_still(&mut self, span: Duration) {
        self.following.heard = self.following.heard + span;
        let Some(lead) = &mut self.lead else { return };
        lead.moved_at = lead.moved_at + span;
        for peer in lead.peers.values_mut() {
            peer.stood_still(span);
        }
    }

    fn on_written(&mut self, entry: EntryId) {
        if self.index.has(entry) {
            self.written = self.written.max(entry.offset);
            self.on_copies();
        }
    }

    fn on_flushed(&mut self, entry: EntryId) {
        self.flush_open = false;
        if self.index.has(entry) {
            self.written = self.written.max(entry.offset);
            self.flushed = self.flushed.max(entry.offset);
        }
        self.flush_if_owed();
        self.on_copies();
        self.forget_unflushed();
    }

    /// More of the log is written or flushed here.
    fn on_copies(&mut self) {
        if self.lead.is_some() {
            self.ready_when_opened();
            self.advance();
            self.after_acks();
            self.pump_all();
        } else {
            self.acknowledge_what_is_done();
            self.commit_what_is_verified();
        }
    }

    /// Owes a flush of everything up to `up_to`.
    fn want_flush(&mut self, up_to: Offset) {
        self.flush_wanted = self.flush_wanted.max(up_to);
        self.flush_if_owed();
    }

    fn flush_if_owed(&mut self) {
        if self.flush_wanted > self.flushed && !self.flush_open {
            self.flush_open = true;
            self.out.push(Effect::Flush);
        }
    }

    fn on_reserve(&mut self, bound: u64) {
        if bound > self.vote.reserved {
            self.vote.reserved = bound;
            self.persist();
        }
    }

    fn persist(&mut self) {
        self.out.push(Effect::Persist(self.vote.clone()));
    }

    fn send(&mut self, to: &NodeId, body: Message) {
        self.out.push(Effect::Send { to: to.clone(), body });
    }

    /// What must hold after every step; each breach would lose data.
    fn check(&self) {
        let last = self.index.last();
        assert!(self.flushed <= self.written && self.written <= last.offset, "copies are entries");
        assert!(self.committed <= self.written, "what is committed is written");
        assert!(
            self.index.before().offset <= self.committed,
            "only what is committed was given up"
        );
        debug_assert!(self.following.verified <= last.offset, "what is verified is held");
        if let Some(lead) = &self.lead {
            assert_eq!(lead.epoch, self.vote.sealed, "who leads has sealed its epoch and no other");
        }
    }

    fn is_master(&self) -> bool {
        self.lead.as_ref().is_some_and(|l| l.stage == Stage::Master)
    }

    /// Where this replica stands.
    #[must_use]
    pub fn position(&self) -> Position {
        match &self.lead {
            Some(lead) if lead.stage == Stage::Master => Position::Master(lead.epoch),
            Some(lead) => Position::Elect(lead.epoch),
            None => {
                let me = &self.me;
                let named = self.record.as_ref().is_some_and(|r| r.names(&me.id, me.incarnation));
                if named { Position::Follower } else { Position::Learner }
            }
        }
    }

    /// The last entry of the log, written or about to be.
    #[must_use]
    pub fn last(&self) -> EntryId {
        self.index.last()
    }

    /// The entry before the log's first: the last one when the log is empty.
    #[must_use]
    pub fn before(&self) -> EntryId {
        self.index.before()
    }

    /// What is known to be committed.
    #[must_use]
    pub fn committed(&self) -> Offset {
        self.committed
    }

    /// The epoch of the entry at `offset`, the one before the log's first included; `None`
    /// outside.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<Epoch> {
        self.index.epoch_of(offset)
    }

    /// Whether the log has this entry, or was given up with it: then it has all before it, too.
    #[must_use]
    pub fn holds(&self, entry: EntryId) -> bool {
        self.index.has(entry)
    }

    /// Up to where the log is flushed here.
    #[must_use]
    pub fn flushed(&self) -> Offset {
        self.flushed
    }

    /// The vote as last given out to be flushed.
    #[must_use]
    pub fn vote(&self) -> &Vote {
        &self.vote
    }

    /// The record as last read.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }
}
