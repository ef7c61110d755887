//! What control and the data thread tell each other.
//!
//! Control holds a [`DataLink`] and the receiving end of [`FromData`]; neither side ever blocks on
//! the other. What changes with every commit (committed, read deadline, copies) is in atomics, the
//! rest are messages. A commit or deadline is tagged with the *term* (the epoch in which mastership
//! began), so that one of a later mastership can never release a reply of an earlier one.

pub use crate::data::checks::Compared;
pub use crate::data::config::Config;
pub use crate::data::gauges::Gauges;
pub use crate::data::moving::{Arrived, MoveNews, MoveOrder};
pub use crate::data::post::Publications;
use crate::data::routes::Routes;
use bytes::Bytes;
use cairn_acl::{Change, Fixed, Stored};
use cairn_keyspace::{Built, Part, Portion};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, Offset};
use cairn_logic::replication::Admission;
use cairn_logic::time::{Duration, Instant};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc::{self, SyncSender};
use tokio::sync::{Notify, oneshot};

/// How linearizable reads are made safe (docs/replication.md §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// By members' promises: released while a fresh clock is below the read deadline.
    Lease,
    /// By a round of acknowledgements asked for after the read came.
    Confirm,
}

/// When a write is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Once committed (one, quorum, all).
    AtCommit,
    /// Once appended (async): what was answered can be lost with the master.
    AtAppend,
}

/// Where there is no room for what clients write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// The disk has less than its reserve.
    Disk,
    /// The log has reached its bound.
    Log,
}

/// To the data thread, handled in order.
#[derive(Debug)]
pub enum ToData {
    /// A committed batch on a node that is not master (also when the log is replayed at a start).
    /// Batches come without gaps, from offset 1 or from the last one applied.
    Apply(Batch),
    /// Drop all keys and be loading; the slots of load `load` follow, if there is a snapshot,
    /// and batches after it.
    Rebuild {
        /// Slots of another load, which came late, are dropped.
        load: u64,
    },
    /// Slots of a snapshot, in any order.
    Adopt {
        /// Of which load.
        load: u64,
        /// The slots, and the entry after which they were so.
        built: Built,
    },
    /// All slots came: batches go on after `last`.
    Imported {
        /// Of which load.
        load: u64,
        /// The last entry that all slots hold.
        last: EntryId,
    },
    /// Write all slots there, a little in each turn. Ends early, with the sender, when this node
    /// becomes master or is master no longer, or its state is dropped. What a master writes may
    /// hold entries that are not committed yet.
    Export(SyncSender<Piece>),
    /// Everything below `next` was applied (the epoch record, which control appended as elect,
    /// included): serve as master, append from `next` on in `epoch`.
    BecomeMaster {
        /// The epoch; also the term of this mastership.
        epoch: Epoch,
        /// The offset of the next entry.
        next: Offset,
        /// How reads are made safe.
        reads: Reads,
        /// When writes are answered.
        answers: Answers,
    },
    /// While master: append `record` as a batch of its own and go on in `epoch`.
    OpenEpoch {
        /// The new epoch.
        epoch: Epoch,
        /// The encoded epoch record.
        record: Bytes,
        /// When writes are answered from now on.
        answers: Answers,
    },
    /// Mastership ended: waiting writes get NOACK, waiting reads a redirect or CLUSTERDOWN.
    StepDown {
        /// The epoch that ended.
        epoch: Epoch,
    },
    /// Whether client writes are admitted, now or once this node is master. [`ToData::StepDown`]
    /// ends it: until it is said again, writes wait, as during a handover.
    Admission(Admission),
    /// Reads that came before this token was asked for may be released.
    ReadsConfirmed {
        /// From [`FromData::NeedConfirm`].
        token: u64,
    },
    /// Whether there is no room for more: client writes are refused, reads go on.
    NoRoom(Option<NoRoom>),
    /// New routes.
    Routes(Arc<Routes>),
    /// Whether the state is being built (LOADING) or may be shown.
    Loading(bool),
    /// New limits and password.
    Config(Config),
    /// The users that clients have made or changed.
    Users(Stored),
    /// What became of [`FromData::ChangeUsers`]; the users after it were sent before.
    UsersChanged {
        /// From there.
        token: u64,
        /// How many were deleted, or the text of the error reply.
        outcome: Result<usize, String>,
    },
    /// While master: write what a part holds into the log, for a member whose copy differs.
    Repair(Part),
    /// So many of [`FromData::Compared`] were kept aside, durably, as far as it was asked.
    KeptAside(u32),
    /// Whether what differs may be replaced: there is room to keep it aside.
    MayMend(bool),
    /// What clients of another node have published.
    Publications(Box<Publications>),
    /// Of a move of slots to another group, or from one.
    Move(MoveOrder),
    /// A question for status and tests.
    Query(Query),
    /// Accept nobody new, admit nothing new, answer what waits (at most `within`), then end.
    Stop {
        /// The longest wait for replies that are held.
        within: Duration,
    },
}

/// A part of a snapshot that is being written.
#[derive(Debug)]
pub enum Piece {
    /// Some slots, and the entry after which they were so.
    Portion(Portion, EntryId),
    /// There are no more.
    End,
}

/// Questions that only the owner of the keyspace can answer.
#[derive(Debug)]
pub enum Query {
    /// The digest of all slots and the offset it stands for.
    Digest(oneshot::Sender<Digest>),
}

/// What a state machine holds, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The last entry that is in the state.
    pub applied: Offset,
    /// Equal on members that hold the same keys and values.
    pub digest: u64,
    /// How many keys.
    pub keys: u64,
}

/// From the data thread.
#[derive(Debug)]
pub enum FromData {
    /// Appended by this master, in order, without gaps: write it, send it.
    ///
    /// Batches of an epoch that has ended may still come until [`FromData::SteppedDown`]: control
    /// drops them, and because they are in this state and in no log, it rebuilds.
    Appended(Batch),
    /// [`ToData::StepDown`] was handled: no more batches of that mastership come.
    SteppedDown {
        /// The last entry in the state.
        last: EntryId,
    },
    /// A batch to apply, or the start of a mastership, does not follow the state. Clients get
    /// LOADING and batches are ignored until [`ToData::Rebuild`].
    Gap {
        /// The last entry in the state.
        last: EntryId,
        /// The offset that came.
        came: Offset,
    },
    /// Comparing with the master's checks has found something, or something else differs. No
    /// snapshot is written before [`ToData::KeptAside`] has answered it.
    Compared(Box<Compared>),
    /// `reads: confirm`: prove mastership for the reads that have come.
    NeedConfirm {
        /// Returned with [`ToData::ReadsConfirmed`].
        token: u64,
    },
    /// A client changes users: answered by [`ToData::UsersChanged`].
    ChangeUsers {
        /// Returned with the answer.
        token: u64,
        /// The users whose passwords are the resource's.
        fixed: Fixed,
        /// What it changes.
        change: Change,
    },
    /// Of a move of slots.
    Move(MoveNews),
    /// All is answered and appended; the thread ends. Nothing comes after it.
    Stopped,
}

/// The clocks the thread reads, once per turn.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The monotonic clock that control's deadlines are on.
    pub now: fn() -> Instant,
    /// Milliseconds since 1970.
    pub unix_ms: fn() -> u64,
}

/// More other members than a group may have.
pub const COPIES_MAX: usize = 16;

/// The atomics both sides see.
#[derive(Debug)]
pub struct Shared {
    /// The term `committed`, `read_until` and `copies` belong to; 0: not master.
    term: AtomicU64,
    committed: AtomicU64,
    read_until: AtomicU64,
    /// `copies[k]`: the greatest offset that k + 1 other members have acknowledged.
    copies: [AtomicU64; COPIES_MAX],
    /// How many other members have a copy of whatever is committed.
    committed_others: AtomicU64,
    /// Bytes of [`ToData::Apply`] sent and not yet applied.
    apply_bytes: AtomicU64,
    /// Told when `apply_bytes` has fallen.
    apply_room: Notify,
    /// The thread waits in epoll, or is about to: a change must wake it.
    sleeping: AtomicBool,
    /// The thread has replies that wait for a commit or a deadline.
    waiting: AtomicBool,
    /// For reports and metrics.
    pub gauges: Gauges,
}

/// Sent and unapplied bytes above which [`DataLink::apply_full`] says to wait.
pub const APPLY_MAX_BYTES: u64 = 64 << 20;

/// Control's side of the data thread; its clones are one and the same.
#[derive(Clone, Debug)]
pub struct DataLink {
    sender: mpsc::Sender<ToData>,
    waker: Arc<mio::Waker>,
    shared: Arc<Shared>,
    /// Keys the hash of keys.
    seed: u64,
    announced: Arc<Announced>,
}

/// What only control looks at.
#[derive(Debug, Default)]
struct Announced {
    /// The term of the mastership that was last announced; 0 when it is over.
    term: AtomicU64,
    /// A deadline that was given before the mastership it belongs to was announced.
    early_read_until: AtomicU64,
}

/// The thread's end of the messages to it.
#[derive(Debug)]
pub struct DataEnd {
    pub(super) receiver: mpsc::Receiver<ToData>,
    pub(super) shared: Arc<Shared>,
}

/// Makes both ends; `waker` ends the thread's wait, `seed` keys its hash of keys.
#[must_use]
pub fn pair(waker: Arc<mio::Waker>, seed: u64) -> (DataLink, DataEnd) {
    let (sender, receiver) = mpsc::channel();
    let shared = Arc::new(Shared {
        term: AtomicU64::new(0),
        committed: AtomicU64::new(0),
        read_until: AtomicU64::new(0),
        copies: std::array::from_fn(|_| AtomicU64::new(0)),
        committed_others: AtomicU64::new(0),
        apply_bytes: AtomicU64::new(0),
        apply_room: Notify::new(),
        sleeping: AtomicBool::new(false),
        waiting: AtomicBool::new(false),
        gauges: Gauges::default(),
    });
    let end = DataEnd { receiver, shared: Arc::clone(&shared) };
    (DataLink { sender, waker, shared, seed, announced: Arc::default() }, end)
}

impl DataLink {
    /// Sends a message; it is handled after all that were sent before. Never blocks. After the
    /// thread has ended, messages are dropped.
    ///
    /// A sender of many [`ToData::Apply`] waits for [`DataLink::apply_room`] when
    /// [`DataLink::apply_full`] says so; that is what bounds the queue.
    pub fn send(&self, message: ToData) {
        match &message {
            ToData::BecomeMaster { epoch, .. } => {
                self.announced.term.store(epoch.0, Ordering::Relaxed);
                self.open_term();
                let early = self.announced.early_read_until.load(Ordering::Relaxed);
                self.shared.read_until.store(early, Ordering::Release);
            }
            ToData::StepDown { .. } => self.close_term(),
            ToData::Apply(batch) => {
                self.shared.apply_bytes.fetch_add(cost(batch), Ordering::Relaxed);
            }
            _ => {}
        }
        if self.sender.send(message).is_ok() {
            self.shared.wake(&self.waker);
        }
    }

    /// For the thread that loads a snapshot.
    #[must_use]
    pub fn feeder(&self) -> Feeder {
        let (sender, waker) = (self.sender.clone(), Arc::clone(&self.waker));
        Feeder { sender, waker, shared: Arc::clone(&self.shared), seed: self.seed }
    }

    /// Mastership is over from this moment, whatever is still queued: nothing is released.
    fn close_term(&self) {
        self.announced.term.store(0, Ordering::Relaxed);
        self.announced.early_read_until.store(0, Ordering::Relaxed);
        self.shared.term.store(0, Ordering::Release);
        self.shared.read_until.store(0, Ordering::Release);
    }

    /// While master: everything up to `offset` is committed. Replies that waited for it go out.
    pub fn commit(&self, offset: Offset) {
        self.open_term();
        self.shared.committed.store(offset.0, Ordering::Release);
        self.wake_waiting();
    }

    /// Linearizable reads may be released until then by a fresh clock. It may be said shortly
    /// before [`ToData::BecomeMaster`], too, and belongs to that mastership then.
    pub fn read_until(&self, deadline: Option<Instant>) {
        let nanos = deadline.map_or(0, Instant::as_nanos);
        if self.announced.term.load(Ordering::Relaxed) == 0 {
            return self.announced.early_read_until.store(nanos, Ordering::Relaxed);
        }
        self.open_term();
        self.shared.read_until.store(nanos, Ordering::Release);
        self.wake_waiting();
    }

    /// While master: `acked` has, for each *other* member, the greatest offset it acknowledged (in
    /// any order; at most [`COPIES_MAX`] count). Only WAIT reads it.
    pub fn copies(&self, acked: &mut [Offset]) {
        acked.sort_unstable_by(|a, b| b.cmp(a));
        self.open_term();
        for (k, cell) in self.shared.copies.iter().enumerate() {
            cell.store(acked.get(k).map_or(0, |offset| offset.0), Ordering::Release);
        }
        self.wake_waiting();
    }

    /// While master: whatever is committed has a copy at so many other members at least (one less
    /// than the copies that commit an entry). WAIT counts them when [`DataLink::copies`] says less.
    pub fn committed_means(&self, others: u64) {
        self.shared.committed_others.store(others, Ordering::Release);
    }

    /// Whether the thread has much left to apply: send no more batches, wait for room.
    #[must_use]
    pub fn apply_full(&self) -> bool {
        self.shared.apply_bytes.load(Ordering::Acquire) > APPLY_MAX_BYTES
    }

    /// Returns once [`DataLink::apply_full`] is (or may have become) false.
    pub async fn apply_room(&self) {
        let notified = self.shared.apply_room.notified();
        if self.apply_full() {
            notified.await;
        }
    }

    /// Figures of the thread.
    #[must_use]
    pub fn gauges(&self) -> &Gauges {
        &self.shared.gauges
    }

    /// What both sides share, for tasks that outlive a borrow of the link (metrics).
    #[must_use]
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    fn open_term(&self) {
        let term = self.announced.term.load(Ordering::Relaxed);
        if self.shared.term.load(Ordering::Relaxed) != term {
            // What an earlier mastership left is void before the new term shows.
            self.shared.committed.store(0, Ordering::Release);
            self.shared.read_until.store(0, Ordering::Release);
            self.shared.copies.iter().for_each(|cell| cell.store(0, Ordering::Release));
            self.shared.term.store(term, Ordering::Release);
        }
    }

    fn wake_waiting(&self) {
        // Pairs with the one in `Shared::sleep`: either we see that it waits, or it sees the store.
        fence(Ordering::SeqCst);
        if self.shared.waiting.load(Ordering::SeqCst) {
            self.shared.wake(&self.waker);
        }
    }
}

/// Feeds the data thread with a snapshot, from a thread that may wait.
#[derive(Debug)]
pub struct Feeder {
    sender: mpsc::Sender<ToData>,
    waker: Arc<mio::Waker>,
    shared: Arc<Shared>,
    seed: u64,
}

impl Feeder {
    /// What keys the thread's hash of keys.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Sends slots of a snapshot; whether the thread is still there.
    #[must_use]
    pub fn built(&self, load: u64, built: Built) -> bool {
        self.send(ToData::Adopt { load, built })
    }

    /// What `count` findings had replaced is kept aside.
    pub fn kept_aside(&self, count: u32) {
        self.send(ToData::KeptAside(count));
    }

    /// All slots were sent.
    pub fn done(&self, load: u64, last: EntryId) {
        self.send(ToData::Imported { load, last });
    }

    fn send(&self, message: ToData) -> bool {
        let sent = self.sender.send(message).is_ok();
        self.shared.wake(&self.waker);
        sent
    }
}

/// What the thread may release at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    pub(super) committed: Offset,
    pub(super) read_until: Instant,
}

impl Shared {
    /// What control allows in `term`; nothing, if it speaks of another one.
    ///
    /// The values are read before the term: control stores the term first, so a value of a later
    /// mastership is never seen under the earlier one's number.
    pub(super) fn released(&self, term: Epoch) -> Released {
        let committed = self.committed.load(Ordering::Acquire);
        let read_until = self.read_until.load(Ordering::Acquire);
        if self.term.load(Ordering::Acquire) != term.0 || term == Epoch::ZERO {
            return Released::default();
        }
        Released { committed: Offset(committed), read_until: Instant::from_nanos(read_until) }
    }

    /// How many other members have acknowledged `offset`.
    pub(super) fn copies_of(&self, term: Epoch, offset: Offset) -> usize {
        let has = |cell: &&AtomicU64| cell.load(Ordering::Acquire) >= offset.0.max(1);
        let mut count = self.copies.iter().take_while(has).count();
        if self.committed.load(Ordering::Acquire) >= offset.0 {
            let others = self.committed_others.load(Ordering::Acquire);
            count = count.max(usize::try_from(others).unwrap_or(0));
        }
        if self.term.load(Ordering::Acquire) == term.0 { count } else { 0 }
    }

    /// A batch was applied.
    pub(super) fn applied(&self, batch: &Batch) {
        let bytes = cost(batch);
        let before = self.apply_bytes.fetch_sub(bytes, Ordering::AcqRel);
        if before > APPLY_MAX_BYTES / 2 && before - bytes <= APPLY_MAX_BYTES / 2 {
            self.apply_room.notify_waiters();
        }
    }

    fn wake(&self, waker: &mio::Waker) {
        fence(Ordering::SeqCst);
        if self.sleeping.swap(false, Ordering::SeqCst) {
            // A failed wake is a full counter: the thread is being woken already.
            waker.wake().ok();
        }
    }

    /// The thread is about to wait: from now on every change wakes it. It looks once more at the
    /// queue and at [`Shared::released`] between this call and the wait.
    pub(super) fn sleep(&self, waiting: bool) {
        self.waiting.store(waiting, Ordering::SeqCst);
        self.sleeping.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// The thread is awake.
    pub(super) fn awake(&self) {
        self.sleeping.store(false, Ordering::SeqCst);
    }
}

fn cost(batch: &Batch) -> u64 {
    batch.body.len() as u64 + 64
}
