//! The world of a group's replica: storage threads, links, the data thread, the directory.

use super::entropy::Entropy;
use super::snapshots::{GroupSnapshots, Place};
use crate::clock;
use crate::data::link::{Answers, DataLink, Reads, ToData};
use crate::follow::Ask;
use crate::peer::links::{AddressBook, Links, PeerAddress};
use crate::snapshots::{CommittedLog, Holder};
use crate::storage::Storage;
use bytes::Bytes;
use cairn_host::{ReadFor, World};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, GroupId, NodeId, Offset, Version};
use cairn_logic::message::{Answer, Message};
use cairn_logic::record::{EpochRecord, Member, Record, Rule};
use cairn_logic::replication::{Admission, Alarm, Vote};
use cairn_logic::time::Instant;
use cairn_wire::peer::{control, pb};
use tokio::sync::mpsc;

/// What the replica of a group acts on.
pub struct GroupWorld {
    /// This node.
    pub me: NodeId,
    /// Which group.
    pub group: GroupId,
    /// Its vote and log.
    pub storage: Storage,
    /// Its snapshots.
    pub snapshots: GroupSnapshots,
    /// What of its copy differs.
    pub entropy: Entropy,
    /// Whether clients get LOADING: the state is not known to hold what is committed.
    pub loading: bool,
    /// Its members.
    pub links: Links,
    /// The keyspace.
    pub data: DataLink,
    /// The global plane.
    pub asks: mpsc::Sender<Ask>,
    /// How linearizable reads are made safe.
    pub reads: Reads,
    /// When writes are answered, by the record in force.
    pub answers: Answers,
    /// The record, as far as this node has read it.
    pub record: Option<Record>,
    /// Where other nodes are.
    pub book: AddressBook,
    /// Alarms since the start, for status.
    pub alarms: Vec<String>,
    /// The log as others may have it.
    pub committed: CommittedLog,
}

/// Alarms kept for status.
const ALARMS_MAX: usize = 16;

/// When writes are answered under `rule`.
pub fn answers_of(rule: Rule) -> Answers {
    match rule {
        Rule::Async => Answers::AtAppend,
        Rule::One | Rule::Quorum | Rule::All => Answers::AtCommit,
    }
}

impl GroupWorld {
    fn tell(&self, message: ToData) {
        self.data.send(message);
    }

    /// Another snapshot, if it is time.
    pub fn snapshot(&mut self, place: Place) {
        let Self { record, book, me, .. } = self;
        let holders = || holders(me, record.as_ref(), book);
        self.snapshots.tick(&self.data, &self.storage, place, holders);
    }

    /// Has parts that differ written anew by the master, if this node follows one.
    pub fn heal(&mut self, follows: bool) {
        let master = self.record.as_ref().and_then(|record| record.master.clone());
        let master = master.filter(|id| follows && *id != self.me);
        let master = master.and_then(|id| self.book.get(&id).map(|address| (id, address.peer)));
        self.entropy.tick(&self.data, master);
    }

    fn ask(&self, ask: Ask) {
        // A full queue means the global plane is away or slow: the replica asks again.
        self.asks.try_send(ask).ok();
    }
}

/// All other nodes, as those that may have snapshots of a group.
fn holders(me: &NodeId, record: Option<&Record>, book: &AddressBook) -> Vec<Holder> {
    let members = record.map_or(&[][..], |record| &record.members);
    let others = book.all().into_iter().filter(|(id, _)| id != me);
    let holder = |(id, address): (NodeId, PeerAddress)| Holder {
        member: members.iter().any(|member| member.id == id),
        master: record.is_some_and(|record| record.master.as_ref() == Some(&id)),
        peer: address.peer,
        id,
    };
    others.map(holder).collect()
}

impl World for GroupWorld {
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

    fn read(&mut self, from: Offset, up_to: Offset, bytes_max: usize, why: ReadFor) {
        self.storage.read(from, up_to, bytes_max, why);
    }

    fn send(&mut self, to: &NodeId, message: Message, bodies: Vec<Bytes>) {
        self.links.send(to, message, bodies);
    }

    fn answer(&mut self, answer: Answer) {
        let body = pb::up::Body::Answer(control::answer_out(&answer));
        let group = self.group.as_str().to_owned();
        self.ask(Ask::Up(pb::Up { group, body: Some(body) }));
    }

    fn ask_record(&mut self, expected: Version, record: Record) {
        let group = self.group.clone();
        let known = self.record.as_ref();
        let joins = |m: &&Member| known.is_none_or(|known| !known.names(&m.id, m.incarnation));
        let joiners = record.members.iter().filter(joins).cloned().collect();
        self.ask(Ask::Cas { group, expected, record: Box::new(record), joiners });
    }

    fn read_record(&mut self) {
        self.ask(Ask::Read(self.group.clone()));
    }

    fn rebuild(&mut self, holds: &dyn Fn(EntryId) -> bool) -> Offset {
        self.loading = true;
        let log = self.storage.reader();
        let (before, last) = (log.before(), log.last());
        let from = self.snapshots.rebuild(&self.data, holds, (before, last));
        tracing::info!(group = %self.group, %from, %before, %last, "building the state");
        from
    }

    fn restart(&mut self, after: EntryId, keep_above: Offset) {
        self.storage.restart(after, keep_above);
    }

    fn fetch(&mut self, at_least: EntryId) {
        let holders = holders(&self.me, self.record.as_ref(), &self.book);
        self.snapshots.fetch(at_least.offset, holders);
    }

    fn apply_room(&mut self) -> bool {
        !self.snapshots.is_loading() && !self.data.apply_full()
    }

    fn apply(&mut self, batch: &Batch) {
        self.tell(ToData::Apply(batch.clone()));
    }

    fn committed(&mut self, up_to: Offset) {
        self.data.commit(up_to);
    }

    fn become_master(&mut self, epoch: Epoch, last: EntryId, record: &Record) {
        tracing::info!(group = %self.group, %epoch, %last, "became master");
        self.answers = answers_of(record.rule);
        self.loading = false;
        self.tell(ToData::Loading(false));
        self.tell(ToData::BecomeMaster {
            epoch,
            next: last.offset.next(),
            reads: self.reads,
            answers: self.answers,
        });
        self.data.commit(last.offset);
    }

    fn open_epoch(&mut self, record: &EpochRecord) {
        tracing::info!(group = %self.group, epoch = %record.epoch, "opened an epoch");
        let bytes = Bytes::from(record.encode());
        let (epoch, answers) = (record.epoch, self.answers);
        self.tell(ToData::OpenEpoch { epoch, record: bytes, answers });
    }

    fn step_down(&mut self, epoch: Epoch) {
        tracing::info!(group = %self.group, %epoch, "stepped down");
        self.snapshots.stepped_down();
        self.tell(ToData::StepDown { epoch });
    }

    fn admission(&mut self, admission: Admission) {
        tracing::info!(group = %self.group, ?admission, "admission of writes changed");
        self.tell(ToData::Admission(admission));
    }

    fn read_until(&mut self, deadline: Option<Instant>) {
        self.data.read_until(deadline);
    }

    fn reads_confirmed(&mut self, token: u64) {
        self.tell(ToData::ReadsConfirmed { token });
    }

    fn alarm(&mut self, alarm: Alarm) {
        tracing::error!(group = %self.group, ?alarm, "alarm");
        if self.alarms.len() < ALARMS_MAX {
            self.alarms.push(format!("{alarm:?}"));
        }
    }
}
