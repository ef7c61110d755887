//! What a replica asks its host to do, in order.

use super::Vote;
use crate::ids::{EntryId, Epoch, Incarnation, Life, NodeId, Offset, Version};
use crate::message::{Answer, Message};
use crate::record::{EpochRecord, Record};
use crate::time::Instant;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Barrier: flush the vote.
    Persist(Vote),
    /// Barrier: cut the log after `after`, keep the cut aside, flush.
    Cut {
        /// The last offset that stays.
        after: Offset,
    },
    /// Barrier: empty the log in one durable step, so that it begins after `after`; entries above
    /// `keep_above` are kept aside first.
    Restart {
        /// The entry before the first that will be written.
        after: EntryId,
        /// What is above was not known to be committed.
        keep_above: Offset,
    },
    /// The state machine holds what was cut, or lacks what was given up: drop its state, begin with
    /// the best snapshot the log goes on from, and apply anew.
    Rebuild,
    /// Get a snapshot from another node that holds at least everything up to this offset. Said
    /// again every second while it is needed; answered with [`super::Input::Fetching`] and
    /// [`super::Input::Fetched`].
    Fetch {
        /// Where the master's log begins.
        at_least: EntryId,
    },
    /// Write the batches of the append being handled to the log, without the first `skip`;
    /// answered with [`super::Input::Written`].
    Write {
        /// Batches at the front that are already held.
        skip: usize,
    },
    /// Flush the log as soon as possible, answer with [`super::Input::Flushed`].
    Flush,
    /// Send a message without entries.
    Send {
        /// To whom.
        to: NodeId,
        /// What.
        body: Message,
    },
    /// Send entries: read batches after `prev` from the log (whole batches, at least one, at most
    /// the host's frame size, none beyond `up_to`) and send them as one
    /// [`crate::message::Append`]; answered with [`super::Input::Sent`]. At most one of these is
    /// open for each peer, and at most four frames are unacknowledged.
    Replicate {
        /// To whom.
        to: NodeId,
        /// The sender's epoch.
        epoch: Epoch,
        /// The entry before the first batch to send.
        prev: EntryId,
        /// The last offset to send; written locally already.
        up_to: Offset,
        /// What is committed.
        committed: Offset,
        /// Whether copies count only when flushed.
        flush: bool,
    },
    /// Answer the judge.
    Answer(Answer),
    /// Append this as the first entry of its epoch, one batch with `authority` and `opens_epoch`,
    /// then go on in that epoch. For an elect it is the next entry of the log. A sitting master's
    /// appender puts it right after whatever it appended last: batches of its former epoch may
    /// still come before it.
    OpenEpoch(EpochRecord),
    /// The state machine may apply up to here, all of it written (masters have, and release
    /// replies).
    Commit {
        /// Committed.
        up_to: Offset,
    },
    /// Everything up to the epoch record is committed (a `Commit` came before): serve once that
    /// is applied.
    BecomeMaster {
        /// The epoch.
        epoch: Epoch,
        /// Who counts, and how.
        record: Record,
    },
    /// Leave the position of master or elect: drop replies that wait, admit nothing, read nothing.
    StepDown {
        /// The epoch that ended here.
        epoch: Epoch,
    },
    /// Whether client writes are admitted, when that changes.
    Admission(Admission),
    /// Linearizable reads may be released until then by a fresh clock; `None`: not at all. Said
    /// when it changes; `StepDown` includes `None`.
    ReadUntil(Option<Instant>),
    /// Reads that came before this token was given may be released.
    ReadsConfirmed {
        /// From [`super::Input::ConfirmReads`].
        token: u64,
    },
    /// Try once to replace the record (compare-and-swap on `expected`); the outcome arrives as
    /// [`super::Input::Record`], by the watch or by reading after the try. The replica repeats it
    /// until the version has moved.
    AskRecord {
        /// The version it replaces.
        expected: Version,
        /// The new record, `version` raised by one.
        record: Record,
    },
    /// Read the record anew, without waiting for the watch.
    ReadRecord,
    /// Something is broken or lost; say so.
    Alarm(Alarm),
}

/// Whether client writes are admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Open,
    /// No: fewer members than the rule needs.
    TooFewMembers,
    /// No: the members are in fewer zones than the durability asks for.
    TooFewZones,
    /// No: fewer members are heard than an acknowledgement needs, or in too few zones.
    TooFewHeard,
    /// No: mastership is being handed over.
    HandingOver,
}

/// Broken invariants and losses: logged as errors, shown as conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// A master's append would cut a committed entry; the member stopped taking part.
    CutBelowCommitted {
        /// What would be cut.
        at: EntryId,
        /// What is committed.
        committed: Offset,
    },
    /// A member may have lost its tail.
    NotIntact {
        /// Its life.
        life: Life,
    },
    /// A folder that counts was replaced by another.
    ForeignIncarnation {
        /// The node.
        id: NodeId,
        /// Its folder now.
        incarnation: Incarnation,
    },
}
