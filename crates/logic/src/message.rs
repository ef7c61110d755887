//! What travels between members, and between a judge and members (docs/replication.md §3).
//!
//! Batches travel as heads; the host carries the bodies beside them.

use crate::batch::BatchHead;
use crate::ids::{EntryId, Epoch, Incarnation, Life, NodeId, Offset};
use crate::record::{Durability, Member, Record, Rule};
use crate::time::Instant;

/// Who sent a message, as proved by Hello.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sender {
    /// The node's stable name.
    pub id: NodeId,
    /// Its folder.
    pub incarnation: Incarnation,
}

/// Between members (and learners) of one log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Entries, in order.
    Append(Append),
    /// "I am master (or elect) of `epoch`", on a connection of its own.
    Heartbeat(Heartbeat),
    /// What the sender verifiably holds.
    Ack(Ack),
    /// The append did not fit, or its epoch is sealed.
    Refuse(Refuse),
    /// The receiver's copies reach the log's end of the moment this life first answered (§8).
    Healed {
        /// The master's epoch.
        epoch: Epoch,
        /// The life that is healed.
        life: Life,
    },
}

/// Entries, in order, from the one sender of `epoch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// The entry before the first batch.
    pub prev: EntryId,
    /// The batches' heads; their bodies travel beside.
    pub batches: Vec<BatchHead>,
    /// What the sender knows to be committed.
    pub committed: Offset,
    /// Whether copies of these entries count only when flushed.
    pub flush: bool,
    /// The sender's clock when it was sent; echoed.
    pub sent_at: Instant,
}

/// A sign of life that carries no entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The sender's epoch.
    pub epoch: Epoch,
    /// Where the sender's log begins: the entry before the first it has.
    pub before: EntryId,
    /// The end of the sender's log.
    pub last: EntryId,
    /// What the sender knows to be committed.
    pub committed: Offset,
    /// Whether commits make progress (or nothing waits).
    pub progressing: bool,
    /// The sender's clock when it was sent; echoed.
    pub sent_at: Instant,
}

/// What a member verifiably holds of its master's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// The epoch whose appends were verified.
    pub epoch: Epoch,
    /// The sender's life.
    pub life: Life,
    /// End of the verified prefix that is in the page cache.
    pub written: Offset,
    /// End of the verified prefix that is flushed.
    pub flushed: Offset,
    /// Where the sender's log ends, verified or not: a place to go on from, never a copy.
    pub last: EntryId,
    /// From where on it will need the log: the start of the snapshot it fetches; 0 when none.
    pub fetching: Offset,
    /// Whether the sender can vouch for its tail (§8).
    pub intact: bool,
    /// "I will not seal for `read_lease` after sending this."
    pub promise: bool,
    /// The append's or heartbeat's `sent_at`.
    pub sent_at: Instant,
}

/// Why an append was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuse {
    /// The sender's life.
    pub life: Life,
    /// The greatest epoch the sender has sealed.
    pub sealed: Epoch,
    /// Where to continue: an entry the sender has that ends a batch, smaller than the refused
    /// `prev`. Meaningless when `sealed` is greater than the refused epoch.
    pub hint: EntryId,
    /// The refused message's `sent_at`.
    pub sent_at: Instant,
}

/// From a judge to one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// Promise to refuse every append below `attempt`.
    Seal {
        /// The attempt.
        attempt: Epoch,
        /// Whether to stop promising at once instead of refusing while the master is heard.
        forced: bool,
        /// The master has sealed `attempt` or its life is over: answer at once.
        released: bool,
    },
    /// Become the next master of `attempt` if you are as you said.
    Elect {
        /// The attempt.
        attempt: Epoch,
        /// The life that answered the seal.
        life: Life,
        /// The last entry it had then.
        last: EntryId,
        /// The members of the new configuration.
        members: Vec<Member>,
        /// Its rule, wanted and durability.
        mode: Mode,
        /// After a start without proof: revisions and tokens go on above it (the greatest
        /// `reserved` of the sealed); 0 otherwise.
        above: u64,
    },
    /// Planned switchover: stop admitting, answer when `target` has everything.
    HandOver {
        /// The epoch that is to end.
        epoch: Epoch,
        /// Who is to follow.
        target: NodeId,
    },
    /// The record as committed by its keeper.
    Record(Box<Record>),
}

/// What a record asks of acknowledgements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mode {
    /// How many copies commit.
    pub rule: Rule,
    /// 1 + replicas + backups asked for.
    pub wanted: u8,
    /// What else is promised.
    pub durability: Durability,
}

/// A member's answer to a judge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The seal of `attempt` is flushed.
    Sealed(Sealed),
    /// The elect's epoch record has the copies it needs.
    Ready {
        /// The attempt.
        attempt: Epoch,
    },
    /// The elect is not as it said; the judge opens another attempt.
    NotElect {
        /// The attempt.
        attempt: Epoch,
    },
    /// Nothing is admitted any more and the target has everything.
    HandedOver {
        /// The epoch.
        epoch: Epoch,
        /// Where its log ends.
        last: EntryId,
    },
}

/// A flushed promise to refuse every append of an older epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The attempt.
    pub attempt: Epoch,
    /// The sender's life.
    pub life: Life,
    /// Its last entry.
    pub last: EntryId,
    /// Whether it can vouch for its tail.
    pub intact: bool,
    /// No revision or token above it was ever given out by this folder.
    pub reserved: u64,
    /// Whether the sender was the master and has left that position.
    pub was_master: bool,
    /// Whether the sender would count by zones as a master; one of before they counted would not.
    pub zones: bool,
}

/// What a member tells its judge: each second, each 100 ms while its master is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The sender's life.
    pub life: Life,
    /// The greatest epoch it has sealed.
    pub sealed: Epoch,
    /// Whether it can vouch for its tail.
    pub intact: bool,
    /// Its last entry.
    pub last: EntryId,
    /// What it knows to be committed.
    pub committed: Offset,
    /// How long it has not heard its master; zero at the master itself.
    pub master_silence: crate::time::Duration,
    /// Whether it is master, elect, follower or learner, and of which epoch.
    pub position: Position,
    /// Set by a master that cannot go on, and by any member that is being stopped.
    pub relief: Option<Relief>,
    /// Other members heard lately (masters only).
    pub reaches: u32,
}

/// Where a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Follows whoever masters.
    Follower,
    /// Receives, does not count.
    Learner,
    /// Chosen, not yet master.
    Elect(Epoch),
    /// Master of an epoch.
    Master(Epoch),
}

/// Why a master asks to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relief {
    /// Its disk is full or failing.
    Disk,
    /// Commits have been stuck for `stuck_max`.
    Stuck,
    /// Its process is being stopped.
    Stopping,
}
