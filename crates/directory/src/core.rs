//! The directory at work: joins the map, its watches and its leases to a replicated log.
//!
//! Synchronous and without sockets; time is passed in. The loop that owns it appends what
//! [`Core::take_batch`] hands out, tells it what is committed, and feeds committed batches of other
//! masters to [`Core::apply_batch`]. Every request gets exactly one reply through the [`Outbox`]:
//! after its change is committed, or with an error. Nothing that rests on an uncommitted change is
//! ever answered.

use crate::directory::Directory;
use crate::error::Error;
use crate::leases::LeaseId;
use crate::lessor::Lessor;
use crate::op::{Op, RangeQuery, Txn};
use crate::watch::{Sink, StreamId, Watches, Wish};
use crate::{Answer, RangeAnswer};
use cairn_logic::ids::{Epoch, Offset, Revision};
use cairn_logic::time::{Duration, Instant};
use std::collections::VecDeque;

mod append;
mod requests;
mod scans;
mod snapshots;
mod tick;

pub use append::{ApplyError, Proposed};
pub use snapshots::Compared;

/// What a client may ask.
#[derive(Clone, Debug)]
pub enum Request {
    /// A change.
    Propose {
        /// Any operation but [`Op::LeaseGrant`] and [`Op::Jump`].
        op: Op,
        /// Whether it came over the peer port, which alone may write `/cairn/`.
        system: bool,
    },
    /// A new lease.
    Grant {
        /// Its id; `None` lets the master choose.
        id: Option<LeaseId>,
        /// Seconds; at least one is granted.
        ttl_secs: u64,
        /// Whether it came over the peer port: nodes register also when the disk is low.
        system: bool,
    },
    /// A range.
    Range {
        /// Which.
        query: RangeQuery,
        /// Whether an older state will do, so that any member may answer.
        serializable: bool,
    },
    /// A transaction that writes nothing ([`Txn::is_read_only`]).
    ReadTxn {
        /// What to compare and to read.
        txn: Txn,
        /// Whether an older state will do.
        serializable: bool,
    },
    /// Start a lease's time anew.
    KeepAlive {
        /// Which.
        id: LeaseId,
    },
    /// What is left of a lease.
    TimeToLive {
        /// Which.
        id: LeaseId,
        /// With the keys that hang on it.
        keys: bool,
    },
    /// All leases.
    Leases,
    /// A new watch; its notices go to the stream.
    Watch {
        /// The stream.
        stream: StreamId,
        /// Its number on the stream.
        id: i64,
        /// Of what.
        wish: Wish,
        /// From this revision on; `None` = from the next one on.
        start: Option<Revision>,
        /// Whether to tell it now and then how far it has come.
        progress: bool,
    },
    /// The end of a watch.
    CancelWatch {
        /// The stream.
        stream: StreamId,
        /// Its number on the stream.
        id: i64,
    },
    /// Tell the stream how far its watches have come.
    AskProgress {
        /// The stream.
        stream: StreamId,
    },
    /// The end of a stream.
    CloseStream {
        /// The stream.
        stream: StreamId,
    },
    /// What the directory is like.
    Status,
    /// The hash of all keys.
    HashKeys {
        /// As of this revision; `None` = now.
        at: Option<Revision>,
    },
}

/// What a request is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// To a change, and to a read-only transaction.
    Answer(Answer),
    /// To a range.
    Range(RangeAnswer),
    /// To a keep-alive: the time to live in seconds, 0 if the lease is gone.
    KeptAlive {
        /// Seconds.
        ttl_secs: u64,
    },
    /// To the question what is left of a lease; `None` if it is gone.
    TimeToLive(Option<LeaseState>),
    /// To the question for all leases.
    Leases(Vec<LeaseId>),
    /// The watch runs; its notices come from now on.
    Watching,
    /// The watch could not start.
    NotWatching(crate::watch::Refused),
    /// Whether there was something to do.
    Done(bool),
    /// What the directory is like.
    Status(Status),
    /// The hash of all keys.
    Hash {
        /// Of the state at `at`.
        hash: u32,
        /// As of which revision.
        at: Revision,
        /// The oldest revision that can be read.
        compacted: Revision,
    },
}

/// What is left of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseState {
    /// Whole seconds left.
    pub ttl_secs: u64,
    /// Seconds granted.
    pub granted_secs: u64,
    /// The keys that hang on it, where they were asked for.
    pub keys: Vec<bytes::Bytes>,
}

/// What the directory is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether this node may write.
    pub master: bool,
    /// The last committed offset of the log.
    pub committed_offset: Offset,
    /// The last applied offset of the log.
    pub applied_offset: Offset,
    /// Bytes held.
    pub bytes: u64,
    /// Puts are refused above so many bytes.
    pub quota_bytes: u64,
    /// Keys held.
    pub keys: u64,
    /// Leases held.
    pub leases: u64,
    /// Watches of this node.
    pub watches: u64,
    /// Requests that wait for a commit.
    pub waiting: u64,
    /// Whether clients' writes are refused because the disk has too little room.
    pub disk_low: bool,
}

/// A response and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The revision of the change, or the one that was read.
    pub revision: Revision,
    /// The epoch of the master that this node follows, or its own.
    pub epoch: Epoch,
    /// The response.
    pub response: Response,
}

/// Why a request got no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request cannot be done.
    #[error(transparent)]
    Invalid(#[from] Error),
    /// This node may not answer; the master may.
    #[error("etcdserver: not leader")]
    NotMaster,
    /// Mastership ended first: the change may or may not come into force.
    #[error("etcdserver: leader changed")]
    MasterChanged,
    /// There is no state to answer from yet: the log is being read.
    #[error("etcdserver: no leader")]
    NotReady,
    /// Not committed in time: the change may or may not come into force.
    #[error("etcdserver: request timed out")]
    TimedOut,
    /// [`Limits::waiting_max`] requests wait already.
    #[error("etcdserver: too many requests")]
    TooManyRequests,
}

/// Where replies and notices go.
pub trait Outbox: Sink {
    /// Names one request.
    type Token;

    /// Answers the request; called once for each.
    fn reply(&mut self, token: Self::Token, reply: Result<Reply, Refusal>);
}

/// Bounds and habits; the defaults are for a global node.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A request that is not committed for so long is answered with an error.
    pub commit_wait_max: Duration,
    /// Requests that may wait for a commit or a proof.
    pub waiting_max: usize,
    /// Puts are refused above so many bytes.
    pub quota_bytes: usize,
    /// Revisions kept for watches and old reads; the master compacts when there are twice as many.
    pub history_revisions: u64,
    /// How often idle watches that wished for it are told how far they have come.
    pub progress_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            commit_wait_max: Duration::from_secs(5),
            waiting_max: 1 << 17,
            quota_bytes: 4 << 30,
            history_revisions: 200_000,
            progress_every: Duration::from_secs(600),
        }
    }
}

#[derive(Debug)]
enum Role {
    /// Reads its log; answers nothing.
    Loading,
    /// Applies what is committed.
    Follower,
    /// Applies what it appends.
    Master { lessor: Lessor },
}

/// A change that is appended but not committed.
#[derive(Debug)]
struct Waiting<T> {
    /// Where it is in the log; `None` until the batch is taken.
    offset: Option<Offset>,
    /// The directory's revision after it.
    revision: Revision,
    since: Instant,
    reply: Option<(T, Response)>,
}

/// A response that was found before it may be given.
#[derive(Debug)]
struct Read<T> {
    /// Which change it may show, counted since mastership began.
    sequence: u64,
    since: Instant,
    token: T,
    result: Result<Reply, Refusal>,
}

/// The directory with its pending requests; `T` names a request.
#[derive(Debug)]
pub struct Core<T> {
    directory: Directory,
    watches: Watches,
    limits: Limits,
    role: Role,
    epoch: Epoch,
    committed: Revision,
    committed_offset: Offset,
    applied_offset: Offset,
    /// Whether the disk has too little room for clients' writes.
    disk_low: bool,
    building: VecDeque<append::Building>,
    /// Changes not committed, in the order of the log.
    waiting: VecDeque<Waiting<T>>,
    /// Changes made and changes committed since mastership began.
    made: u64,
    done: u64,
    /// Responses that rest on changes not committed, in the order of those.
    dirty: VecDeque<Read<T>>,
    /// Ranges too long for one go, the first one under way.
    scans: VecDeque<scans::LongRead<T>>,
    /// Long reads whose state is gone; told so at the next tick.
    abandoned: Vec<T>,
    /// Responses that wait for the proof that this node still is the master.
    unproven: Vec<Read<T>>,
    next_lease: u64,
    next_progress: Instant,
    next_compaction: Instant,
    sweeping: bool,
    /// Versions that were made when the last sweep began, and what is still to be swept for them.
    swept_for: u64,
    sweeps_due: usize,
    noted: snapshots::Hashes,
    exporting: snapshots::Exporting,
}

/// Responses that are right if this node was the master when they were taken, or later.
#[derive(Debug)]
#[must_use = "every request needs its reply"]
pub struct Unproven<T>(Vec<Read<T>>);

impl<T> Unproven<T> {
    /// Gives the responses: the proof was found.
    pub fn release(self, outbox: &mut impl Outbox<Token = T>) {
        for read in self.0 {
            outbox.reply(read.token, read.result);
        }
    }

    /// Gives errors instead.
    pub fn refuse(self, refusal: Refusal, outbox: &mut impl Outbox<Token = T>) {
        for read in self.0 {
            outbox.reply(read.token, Err(refusal));
        }
    }
}

impl<T> Core<T> {
    /// An empty directory that is about to read its log.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            directory: Directory::new(),
            watches: Watches::new(),
            limits,
            role: Role::Loading,
            epoch: Epoch::ZERO,
            committed: Revision(1),
            committed_offset: Offset::ZERO,
            applied_offset: Offset::ZERO,
            disk_low: false,
            building: VecDeque::new(),
            waiting: VecDeque::new(),
            made: 0,
            done: 0,
            dirty: VecDeque::new(),
            scans: VecDeque::new(),
            abandoned: Vec::new(),
            unproven: Vec::new(),
            next_lease: 0,
            next_progress: Instant::ZERO,
            next_compaction: Instant::ZERO,
            sweeping: false,
            swept_for: 0,
            sweeps_due: 0,
            noted: snapshots::Hashes::default(),
            exporting: snapshots::Exporting::default(),
        }
    }

    /// The map itself, to read; see [`Core::committed_revision`] for what may be shown.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The revision up to which everything may be shown.
    #[must_use]
    pub fn committed_revision(&self) -> Revision {
        self.committed
    }

    /// Whether this node appends.
    #[must_use]
    pub fn is_master(&self) -> bool {
        matches!(self.role, Role::Master { .. })
    }

    /// Takes the responses that wait for a proof of mastership. A clock look or a round of
    /// acknowledgements that *begins after* this call is such a proof. Without one, give them back
    /// with [`Core::keep_unproven`].
    pub fn take_unproven(&mut self) -> Option<Unproven<T>> {
        let taken = std::mem::take(&mut self.unproven);
        (!taken.is_empty()).then_some(Unproven(taken))
    }

    /// Takes back responses whose proof was not found: they wait on, but no longer than any
    /// request may, and count among those that wait.
    pub fn keep_unproven(&mut self, mut kept: Unproven<T>) {
        kept.0.append(&mut self.unproven);
        self.unproven = kept.0;
    }

    fn reply(&self, revision: Revision, response: Response) -> Reply {
        Reply { revision, epoch: self.epoch, response }
    }
}
