//! The world of the global plane's replica: storage threads, links, the directory, the arbiter.

use super::snapshots::PlaneSnapshots;
use crate::clock;
use crate::etcd::Desk;
use crate::peer::links::Links;
use crate::snapshots::Holder;
use crate::storage::Storage;
use bytes::Bytes;
use cairn_host::{ReadFor, World};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, NodeId, Offset, Version};
use cairn_logic::message::{Answer, Message};
use cairn_logic::record::{EpochRecord, Record};
use cairn_logic::replication::{Admission, Alarm, Vote};
use cairn_logic::time::Instant;

/// What the role has to do after an event, because the world may not call back into the host.
#[derive(Debug, Default)]
pub struct Todo {
    /// Answers to judges.
    pub answers: Vec<Answer>,
    /// Changes of the record to ask of the arbiter.
    pub swaps: Vec<(Version, Record)>,
    /// The record is to be read.
    pub read: bool,
    /// The epoch record the sitting master is to append.
    pub open: Option<EpochRecord>,
    /// Mastership began in this epoch.
    pub began: Option<Epoch>,
    /// Mastership ended.
    pub ended: bool,
    /// The directory holds what was cut or never logged: it must be rebuilt.
    pub astray: bool,
    /// The state of this entry was loaded from a good snapshot.
    pub loaded: Option<EntryId>,
    /// Reads were proved up to this token.
    pub confirmed: Option<u64>,
}

/// What the replica of the global plane acts on.
pub struct GlobalWorld {
    /// Its vote and log.
    pub storage: Storage,
    /// The other global nodes.
    pub links: Links,
    /// The directory.
    pub desk: Desk,
    /// For the role.
    pub todo: Todo,
    /// Reads may be released until then.
    pub read_until: Option<Instant>,
    /// The epoch in which the directory appends, while master.
    pub epoch: Epoch,
    /// Snapshots of the directory.
    pub snapshots: PlaneSnapshots,
    /// All other nodes that may have snapshots, with the present record in mind.
    pub holders: Vec<Holder>,
    /// The directory does not fit the log; nothing is applied until it is built anew.
    pub gap: bool,
    /// Alarms since the start, for status.
    pub alarms: Vec<String>,
}

/// Alarms kept for status.
const ALARMS_MAX: usize = 16;

impl GlobalWorld {
    /// Takes the state of a snapshot if it is whole; entries behind it can be applied then.
    pub fn take_loaded(&mut self) {
        if let Some((directory, at)) = self.snapshots.loaded() {
            self.desk.core.install(directory, at);
            self.todo.loaded = Some(at);
        }
    }

    /// Releases the reads for which mastership is proved.
    pub fn release_reads(&mut self) {
        let Some(reads) = self.desk.core.take_unproven() else { return };
        // A fresh look at the clock, after the reads were evaluated.
        let now = clock::now();
        if self.read_until.is_some_and(|until| now < until) {
            reads.release(&mut self.desk.streams);
        } else {
            // They wait in the directory, which bounds how long and how many.
            self.desk.core.keep_unproven(reads);
        }
    }
}

impl World for GlobalWorld {
    fn now(&mut self) -> Instant {
        clock::now()
    }

    fn unix_ms(&mut self) -> u64 {
        clock::unix_ms()
    }

    fn persist_vote(&mut self, vote: &Vote) {
        self.storage.persist_vote(vote);
    }

    fn write(&mut self, batches: Vec<Batch>) {
        self.storage.write(batches);
    }

    fn flush(&mut self) {
        self.storage.flush();
    }

    fn cut(&mut self, after: Offset) {
        self.storage.cut(after);
    }

    fn restart(&mut self, after: EntryId, keep_above: Offset) {
        self.storage.restart(after, keep_above);
    }

    fn fetch(&mut self, at_least: EntryId) {
        self.snapshots.fetch(at_least.offset, self.holders.clone());
    }

    fn read(&mut self, from: Offset, up_to: Offset, bytes_max: usize, why: ReadFor) {
        self.storage.read(from, up_to, bytes_max, why);
    }

    fn send(&mut self, to: &NodeId, message: Message, bodies: Vec<Bytes>) {
        self.links.send(to, message, bodies);
    }

    fn answer(&mut self, answer: Answer) {
        self.todo.answers.push(answer);
    }

    fn ask_record(&mut self, expected: Version, record: Record) {
        self.todo.swaps.push((expected, record));
    }

    fn read_record(&mut self) {
        self.todo.read = true;
    }

    fn rebuild(&mut self, holds: &dyn Fn(EntryId) -> bool) -> Offset {
        let old = self.desk.core.clear();
        // To drop millions of keys takes longer than anybody may wait here.
        let dropped = std::thread::Builder::new().name("drop".into()).spawn(move || drop(old));
        drop(dropped);
        self.gap = false;
        let log = self.storage.reader();
        let (before, last) = (log.before(), log.last());
        let from = self.snapshots.rebuild(holds, (before, last));
        tracing::info!(%from, %before, %last, "building the directory");
        from
    }

    fn apply_room(&mut self) -> bool {
        !self.gap && !self.snapshots.is_loading()
    }

    fn apply(&mut self, batch: &Batch) {
        if self.gap {
            return;
        }
        let Err(error) = self.desk.core.apply_batch(batch, &mut self.desk.streams) else { return };
        tracing::error!(%error, "the directory cannot follow its log");
        if self.snapshots.distrust() {
            (self.gap, self.todo.astray) = (true, true);
            return;
        }
        eprintln!("cairn-node: the directory cannot follow its log: {error}");
        std::process::abort();
    }

    fn committed(&mut self, up_to: Offset) {
        if self.desk.core.is_master() {
            self.desk.core.committed(up_to, &mut self.desk.streams);
        }
    }

    fn become_master(&mut self, epoch: Epoch, last: EntryId, _record: &Record) {
        tracing::info!(%epoch, %last, "became global master");
        let now = clock::now();
        self.epoch = epoch;
        self.desk.core.loaded(&mut self.desk.streams);
        self.desk.core.became_master(now, epoch, last.offset);
        let directory = self.desk.core.directory();
        let (above, revision) = (directory.above(), directory.revision());
        if above > revision {
            self.desk.core.jump_revision(now, above);
        }
        self.todo.began = Some(epoch);
    }

    fn open_epoch(&mut self, record: &EpochRecord) {
        tracing::info!(epoch = %record.epoch, members = record.members.len(), "opened an epoch");
        self.todo.open = Some(record.clone());
    }

    fn step_down(&mut self, epoch: Epoch) {
        tracing::info!(%epoch, "stepped down as global master");
        self.todo.astray |= self.desk.core.lost_mastership(&mut self.desk.streams);
        self.todo.ended = true;
    }

    fn admission(&mut self, admission: Admission) {
        tracing::info!(?admission, "admission of directory writes changed");
    }

    fn read_until(&mut self, deadline: Option<Instant>) {
        self.read_until = deadline;
    }

    fn reads_confirmed(&mut self, token: u64) {
        self.todo.confirmed = Some(token);
    }

    fn alarm(&mut self, alarm: Alarm) {
        tracing::error!(?alarm, "alarm");
        if self.alarms.len() < ALARMS_MAX {
            self.alarms.push(format!("{alarm:?}"));
        }
    }
}
