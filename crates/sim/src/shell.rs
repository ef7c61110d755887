//! What a host asks of the simulated outside: collected, then performed by the world.

use crate::folder::{Applied, Snapshot};
use crate::store::Portions;
use bytes::Bytes;
use cairn_host::{ReadFor, World};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, NodeId, Offset, Version};
use cairn_logic::message::{Answer, Message};
use cairn_logic::record::{EpochRecord, Record};
use cairn_logic::replication::{Admission, Alarm, Vote};
use cairn_logic::time::Instant;

/// One request of a host, in the order of its effects.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Vote(Vote),
    Write(Vec<Batch>),
    Flush,
    Cut(Offset),
    Restart { after: EntryId, keep_above: Offset },
    Fetch { at_least: EntryId },
    Read { from: Offset, up_to: Offset, bytes_max: usize, why: ReadFor },
    Send { to: NodeId, message: Message, bodies: Vec<Bytes> },
    Answer(Answer),
    AskRecord { expected: Version, record: Record },
    ReadRecord,
    Data(DataCommand),
    Alarm(Alarm),
}

/// What control tells the data thread.
#[derive(Clone, Debug)]
pub(crate) enum DataCommand {
    /// The state begins after this offset; what it then is comes from the folder.
    Rebuild {
        from: Offset,
        state: Applied,
        snapshot: Option<Snapshot>,
        portions: Portions,
    },
    Apply(Batch),
    Committed(Offset),
    BecomeMaster {
        epoch: Epoch,
        last: EntryId,
    },
    OpenEpoch(EpochRecord),
    StepDown(Epoch),
    Admission(Admission),
    ReadUntil(Option<Instant>),
    ReadsConfirmed(u64),
}

/// The outside of one host.
#[derive(Debug, Default)]
pub(crate) struct Shell {
    pub now: Instant,
    pub unix_ms: u64,
    /// Snapshots that can be read, the newest last, and where the log ends.
    pub snapshots: Vec<Snapshot>,
    pub last: EntryId,
    pub commands: Vec<Command>,
}

impl Shell {
    fn ask(&mut self, command: Command) {
        self.commands.push(command);
    }

    fn tell(&mut self, command: DataCommand) {
        self.commands.push(Command::Data(command));
    }
}

impl World for Shell {
    fn now(&mut self) -> Instant {
        self.now
    }

    fn unix_ms(&mut self) -> u64 {
        self.unix_ms
    }

    fn persist_vote(&mut self, vote: &Vote) {
        self.ask(Command::Vote(vote.clone()));
    }

    fn write(&mut self, batches: Vec<Batch>) {
        self.ask(Command::Write(batches));
    }

    fn flush(&mut self) {
        self.ask(Command::Flush);
    }

    fn cut(&mut self, after: Offset) {
        self.ask(Command::Cut(after));
    }

    fn restart(&mut self, after: EntryId, keep_above: Offset) {
        self.ask(Command::Restart { after, keep_above });
    }

    fn fetch(&mut self, at_least: EntryId) {
        self.ask(Command::Fetch { at_least });
    }

    fn read(&mut self, from: Offset, up_to: Offset, bytes_max: usize, why: ReadFor) {
        self.ask(Command::Read { from, up_to, bytes_max, why });
    }

    fn send(&mut self, to: &NodeId, message: Message, bodies: Vec<Bytes>) {
        self.ask(Command::Send { to: to.clone(), message, bodies });
    }

    fn answer(&mut self, answer: Answer) {
        self.ask(Command::Answer(answer));
    }

    fn ask_record(&mut self, expected: Version, record: Record) {
        self.ask(Command::AskRecord { expected, record });
    }

    fn read_record(&mut self) {
        self.ask(Command::ReadRecord);
    }

    fn rebuild(&mut self, holds: &dyn Fn(EntryId) -> bool) -> Offset {
        let last = self.last.offset;
        let usable = |s: &&Snapshot| holds(s.from) && (holds(s.upto) || last < s.upto.offset);
        let newest = self.snapshots.iter().rev().find(usable);
        let from = newest.map_or(Offset::ZERO, |snapshot| snapshot.from.offset);
        let (state, snapshot, portions) =
            (Applied::default(), newest.copied(), Portions::default());
        self.tell(DataCommand::Rebuild { from, state, snapshot, portions });
        from
    }

    fn apply_room(&mut self) -> bool {
        true
    }

    fn apply(&mut self, batch: &Batch) {
        self.tell(DataCommand::Apply(batch.clone()));
    }

    fn committed(&mut self, up_to: Offset) {
        self.tell(DataCommand::Committed(up_to));
    }

    fn become_master(&mut self, epoch: Epoch, last: EntryId, _record: &Record) {
        self.tell(DataCommand::BecomeMaster { epoch, last });
    }

    fn open_epoch(&mut self, record: &EpochRecord) {
        self.tell(DataCommand::OpenEpoch(record.clone()));
    }

    fn step_down(&mut self, epoch: Epoch) {
        self.tell(DataCommand::StepDown(epoch));
    }

    fn admission(&mut self, admission: Admission) {
        self.tell(DataCommand::Admission(admission));
    }

    fn read_until(&mut self, deadline: Option<Instant>) {
        self.tell(DataCommand::ReadUntil(deadline));
    }

    fn reads_confirmed(&mut self, token: u64) {
        self.tell(DataCommand::ReadsConfirmed(token));
    }

    fn alarm(&mut self, alarm: Alarm) {
        self.ask(Command::Alarm(alarm));
    }
}
