//! What can happen to a host: inputs of the replica, and completions of what the world was asked.

use bytes::Bytes;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, NodeId, Offset, Version};
use cairn_logic::message::{Message, Order, Relief, Sender};
use cairn_logic::record::{Member, Record};
use cairn_logic::replication::Change;

/// Why the log is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadFor {
    /// To apply committed batches.
    Apply,
    /// To send them to a member.
    Peer(Replicate),
}

/// A replication effect that waits for the log to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicate {
    /// To whom.
    pub to: NodeId,
    /// The sender's epoch.
    pub epoch: Epoch,
    /// The entry before the first batch.
    pub prev: EntryId,
    /// The last offset to send.
    pub up_to: Offset,
    /// What is committed.
    pub committed: Offset,
    /// Whether copies count only when flushed.
    pub flush: bool,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed; every 10 to 25 ms.
    Tick,
    /// From a member or learner whose Hello was checked.
    Message {
        /// Who sent it.
        from: Sender,
        /// What.
        body: Message,
        /// The bodies of an append's batches, one per head.
        bodies: Vec<Bytes>,
    },
    /// From a judge.
    Order(Order),
    /// The record as committed by its keeper.
    Record(Record),
    /// Nodes that hold a claim of this log and do not count yet.
    Learners(Vec<Member>),
    /// The planner's wish.
    Wish(Option<Change>),
    /// The change asked for of this version of the record can never come into force any more.
    Refused(Version),
    /// The appender made this batch and has applied it.
    Appended(Batch),
    /// The appender has heard that its mastership is over: it makes no more batches.
    SteppedDown,
    /// The state machine holds something else than the log: it must be rebuilt.
    Astray,
    /// The vote given to [`crate::World::persist_vote`] is flushed.
    VotePersisted,
    /// The cut asked for is physical and flushed.
    CutDone,
    /// The log is empty and begins where [`crate::World::restart`] said, durably.
    RestartDone,
    /// The front of the log was given up, at most up to what
    /// [`cairn_logic::replication::Replica::may_truncate`] allowed: it begins after this entry.
    Truncated(EntryId),
    /// A snapshot with this `from` is durable here and known good.
    Snapshot(EntryId),
    /// A snapshot with this `from` is being fetched; `None`: no longer.
    Fetching(Option<EntryId>),
    /// The fetched snapshot with this `from` is durable here and known good.
    Fetched(EntryId),
    /// Everything up to here is in the page cache.
    Written(EntryId),
    /// Everything up to here is flushed.
    Flushed(EntryId),
    /// The batches asked for by [`crate::World::read`]; empty when there are none.
    Read {
        /// Why they were read.
        why: ReadFor,
        /// Whole batches in order.
        batches: Vec<Batch>,
    },
    /// Linearizable reads wait for a proof of mastership.
    ConfirmReads {
        /// Returned with the proof.
        token: u64,
    },
    /// The node cannot be a good master, or can again.
    Relief(Option<Relief>),
    /// Raise the flushed bound of revisions and tokens.
    Reserve(u64),
}
