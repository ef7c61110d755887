//! What a host needs of the outside: clock, disk, network, keeper of the record, state machine.

use crate::event::ReadFor;
use bytes::Bytes;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, NodeId, Offset, Version};
use cairn_logic::message::{Answer, Message};
use cairn_logic::record::{EpochRecord, Record};
use cairn_logic::replication::{Admission, Alarm, Vote};
use cairn_logic::time::Instant;

/// Clock, disk, network, keeper and state machine of one replica.
///
/// Nothing here may block: what takes time completes as an [`crate::Event`]. Disk requests of one
/// world are carried out in the order they were made. A failed write, cut, vote or flush ends the
/// process (docs/replication.md §8): there is no event for it.
pub trait World {
    /// A fresh reading of this node's monotonic clock.
    fn now(&mut self) -> Instant;
    /// The wall clock in milliseconds since 1970.
    fn unix_ms(&mut self) -> u64;

    /// Flushes the vote; completes as [`crate::Event::VotePersisted`].
    fn persist_vote(&mut self, vote: &Vote);
    /// Writes batches to the end of the log; completes as [`crate::Event::Written`].
    fn write(&mut self, batches: Vec<Batch>);
    /// Flushes the log soon; completes as [`crate::Event::Flushed`].
    fn flush(&mut self);
    /// Cuts the log after `after`, keeps the cut aside; completes as [`crate::Event::CutDone`].
    fn cut(&mut self, after: Offset);
    /// Keeps the entries above `keep_above` aside, then empties the log in one durable step: it
    /// begins after `after`; completes as [`crate::Event::RestartDone`].
    fn restart(&mut self, after: EntryId, keep_above: Offset);
    /// Gets a snapshot from another node with a `from` at or above this offset; tells of it with
    /// [`crate::Event::Fetching`] and, perhaps much later, [`crate::Event::Fetched`]. While one is
    /// under way, asking again does nothing.
    fn fetch(&mut self, at_least: EntryId);
    /// Reads whole batches from `from`, none that begins beyond `up_to`, at least one if there
    /// is one and else at most `bytes_max`; completes as [`crate::Event::Read`].
    fn read(&mut self, from: Offset, up_to: Offset, bytes_max: usize, why: ReadFor);

    /// Sends a message; may lose it, keeps the order per receiver.
    fn send(&mut self, to: &NodeId, message: Message, bodies: Vec<Bytes>);
    /// Answers the judge whose order was handled last.
    fn answer(&mut self, answer: Answer);

    /// Asks the keeper to replace the record of version `expected`.
    fn ask_record(&mut self, expected: Version, record: Record);
    /// Asks the keeper for the record.
    fn read_record(&mut self);

    /// Drops the state and begins with the best there is beside the log, or nothing. A snapshot is
    /// usable if the log `holds` its `from`, and its `upto` too unless the log ends below that.
    /// Batches are applied after the offset that is returned. One below the log's begin says that
    /// there is no usable state: nothing is applied until a later call has one.
    fn rebuild(&mut self, holds: &dyn Fn(EntryId) -> bool) -> Offset;
    /// Whether the state machine takes another mebibyte now; asked again at the next tick.
    fn apply_room(&mut self) -> bool;
    /// Applies a committed batch; in order, each once since the last rebuild.
    fn apply(&mut self, batch: &Batch);
    /// Everything up to here is committed: replies that wait for it may go.
    fn committed(&mut self, up_to: Offset);
    /// The state machine holds everything up to `last`; it may append after it in `epoch`.
    fn become_master(&mut self, epoch: Epoch, last: EntryId, record: &Record);
    /// The sitting master appends this record, alone in its batch, and goes on in its epoch.
    fn open_epoch(&mut self, record: &EpochRecord);
    /// Mastership of `epoch` is over: nothing is admitted, read or answered with OK any more.
    fn step_down(&mut self, epoch: Epoch);
    /// Whether client writes are admitted.
    fn admission(&mut self, admission: Admission);
    /// Linearizable reads may be released until then, by a fresh clock.
    fn read_until(&mut self, deadline: Option<Instant>);
    /// Reads that came before `token` was given may be released.
    fn reads_confirmed(&mut self, token: u64);
    /// A broken invariant or a loss; logged as an error, shown as a condition.
    fn alarm(&mut self, alarm: Alarm);
}
