//! The loop's body: one event in, effects performed in order.

use crate::event::{Event, ReadFor, Replicate};
use crate::tail::Tail;
use crate::world::World;
use bytes::Bytes;
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, Offset};
use cairn_logic::message::{Append, Message, Position};
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::record::{EpochRecord, Record};
use cairn_logic::replication::{Effect, Input, Replica};
use cairn_logic::time::{Duration, Instant};
use std::collections::VecDeque;

/// Body bytes of one append, at most (but at least one batch).
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// How often a snapshot is asked for while there is no usable state.
const FETCH_AGAIN: Duration = Duration::from_secs(1);

/// An effect, with the batches it writes.
#[derive(Debug)]
struct Task {
    effect: Effect,
    batches: Vec<Batch>,
}

/// A mastership that waits for the state to be applied.
#[derive(Debug)]
struct Coming {
    epoch: Epoch,
    record: Record,
    opened: EntryId,
    /// It has gone on to another epoch meanwhile, which its state machine is to open.
    next: Option<EpochRecord>,
}

/// One replica, its log's tail, and what it still has to do.
pub struct Host<W> {
    /// Clock, disk, network, keeper, state machine.
    pub world: W,
    replica: Replica,
    tail: Tail,
    effects: Vec<Effect>,
    queue: VecDeque<Task>,
    /// A persist or cut is under way; nothing after it begins.
    blocked: bool,
    /// The life of this process is flushed.
    begun: bool,
    /// Batches this host made itself (the epoch record of an elect).
    made: VecDeque<Batch>,
    applied: Offset,
    committed: Offset,
    reading: bool,
    coming: Option<Coming>,
    /// The epoch in which the sitting mastership began.
    appending: Option<Epoch>,
    /// The state machine applied batches that never reached the log.
    dirty: bool,
    /// Where the log is being cut.
    cutting: Option<Offset>,
    /// There is no usable state, though the log begins after one: when a snapshot was asked for.
    lacking: Option<Instant>,
}

impl<W: World> Host<W> {
    /// Wraps a replica that was just started, with the effects of its start; `tail_bytes_max`
    /// bounds the bodies kept in memory.
    pub fn new(world: W, replica: Replica, start: Vec<Effect>, tail_bytes_max: usize) -> Self {
        let committed = replica.committed();
        let mut host = Self {
            world,
            replica,
            tail: Tail::new(tail_bytes_max),
            effects: start,
            queue: VecDeque::new(),
            blocked: false,
            begun: false,
            made: VecDeque::new(),
            applied: Offset::ZERO,
            committed,
            reading: false,
            coming: None,
            appending: None,
            dirty: false,
            cutting: None,
            lacking: None,
        };
        host.enqueue(Vec::new());
        host.rebuild();
        host.perform();
        host
    }

    /// The replica, for reports and status.
    #[must_use]
    pub fn replica(&self) -> &Replica {
        &self.replica
    }

    /// Whether the life of this process is flushed. Before that nothing may be said in its name,
    /// neither a report nor a round of the arbiter: the next process could have the same life.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// How far the state machine has been given the log.
    #[must_use]
    pub fn applied(&self) -> Offset {
        self.applied
    }

    /// Takes one event and performs all that follows from it.
    pub fn handle(&mut self, event: Event) {
        match event {
            Event::Appended(batch) => self.appended(batch),
            Event::SteppedDown => self.rebuild_if_dirty(),
            Event::Astray => {
                self.dirty = true;
                self.rebuild_if_dirty();
            }
            Event::VotePersisted => (self.begun, self.blocked) = (true, false),
            Event::CutDone => self.cut_done(),
            Event::RestartDone => self.blocked = false,
            Event::Read { why: ReadFor::Apply, batches } => self.read_to_apply(&batches),
            Event::Read { why: ReadFor::Peer(what), batches } => self.replicate(&what, &batches),
            Event::Message { from, body, bodies } => {
                let incoming = incoming(&body, bodies);
                self.step(Input::Message { from, body }, incoming);
            }
            Event::Tick => {
                self.fetch_if_lacking();
                self.apply_more();
                self.step(Input::Tick, Vec::new());
            }
            Event::Order(order) => self.step(Input::Order(order), Vec::new()),
            Event::Record(record) => self.step(Input::Record(record), Vec::new()),
            Event::Learners(learners) => self.step(Input::Learners(learners), Vec::new()),
            Event::Wish(wish) => self.step(Input::Wish(wish), Vec::new()),
            Event::Refused(expected) => self.step(Input::Refused(expected), Vec::new()),
            Event::Written(up_to) => self.step(Input::Written(up_to), Vec::new()),
            Event::Flushed(up_to) => self.step(Input::Flushed(up_to), Vec::new()),
            Event::ConfirmReads { token } => self.step(Input::ConfirmReads { token }, Vec::new()),
            Event::Relief(relief) => self.step(Input::Relief(relief), Vec::new()),
            Event::Reserve(bound) => self.step(Input::Reserve(bound), Vec::new()),
            Event::Truncated(before) => self.truncated(before),
            Event::Snapshot(from) => self.step(Input::Snapshot(from), Vec::new()),
            Event::Fetching(from) => self.step(Input::Fetching(from), Vec::new()),
            Event::Fetched(from) => self.fetched(from),
        }
        self.perform();
    }

    fn step(&mut self, input: Input, incoming: Vec<Batch>) {
        let now = self.world.now();
        self.replica.step(now, input, &mut self.effects);
        self.enqueue(incoming);
        while let Some(batch) = self.made.pop_front() {
            let bytes = batch.body.len() as u64;
            let input = Input::Appended { head: batch.head, bytes };
            self.replica.step(now, input, &mut self.effects);
            self.enqueue(Vec::new());
        }
    }

    /// Moves the effects of a step to the queue; `incoming` are the batches it may write.
    fn enqueue(&mut self, incoming: Vec<Batch>) {
        let mut incoming = Some(incoming);
        for effect in std::mem::take(&mut self.effects) {
            match effect {
                Effect::Write { skip } => {
                    let batches = incoming.take().unwrap_or_default().split_off(skip);
                    self.queue_write(batches);
                }
                Effect::OpenEpoch(record) if self.electing(record.epoch) => self.open(&record),
                effect => self.queue.push_back(Task { effect, batches: Vec::new() }),
            }
        }
    }

    fn electing(&self, epoch: Epoch) -> bool {
        self.replica.position() == Position::Elect(epoch)
    }

    /// Makes the epoch record of an elect, whose state machine does not append yet.
    fn open(&mut self, record: &EpochRecord) {
        let body = record.encode();
        let head = BatchHead {
            epoch: record.epoch,
            first: self.replica.last().offset.next(),
            count: 1,
            time_ms: self.world.unix_ms(),
            authority: true,
            opens_epoch: true,
        };
        let batch = Batch { head, body: Bytes::from(body) };
        self.queue_write(vec![batch.clone()]);
        self.made.push_back(batch);
    }

    fn queue_write(&mut self, batches: Vec<Batch>) {
        self.queue.push_back(Task { effect: Effect::Write { skip: 0 }, batches });
    }

    /// The appender made a batch. One that comes after mastership ended never reaches the log, and
    /// the state machine, which has applied it, is rebuilt.
    fn appended(&mut self, batch: Batch) {
        let follows = batch.head.first == self.replica.last().offset.next();
        let mine = self.appending.is_some_and(|began| batch.head.epoch >= began);
        let master =
            matches!(self.replica.position(), Position::Master(e) if batch.head.epoch <= e);
        if !(follows && mine && master) {
            self.dirty = true;
            return;
        }
        self.applied = batch.head.last_offset();
        let (head, bytes) = (batch.head, batch.body.len() as u64);
        self.queue_write(vec![batch]);
        self.step(Input::Appended { head, bytes }, Vec::new());
    }

    fn rebuild_if_dirty(&mut self) {
        if self.dirty && self.appending.is_none() {
            self.rebuild();
        }
    }

    fn rebuild(&mut self) {
        self.dirty = false;
        let replica = &self.replica;
        self.applied = self.world.rebuild(&|entry| replica.holds(entry));
        let before = self.replica.before();
        // What lies between the state and the log is nowhere on this node.
        self.lacking = (self.applied < before.offset).then(|| self.world.now());
        match self.lacking {
            Some(_) => self.world.fetch(before),
            None => self.apply_more(),
        }
    }

    /// Asks for a snapshot while there is no usable state, once a second.
    fn fetch_if_lacking(&mut self) {
        let now = self.world.now();
        let comes = self.queue.iter().any(|task| task.effect == Effect::Rebuild);
        if !comes && self.lacking.is_some_and(|at| now.since(at) >= FETCH_AGAIN) {
            self.lacking = Some(now);
            self.world.fetch(self.replica.before());
        }
    }

    /// The log's front is gone. A state that was slower than the snapshots begins with one.
    fn truncated(&mut self, before: EntryId) {
        self.step(Input::Truncated(before), Vec::new());
        let behind = self.applied < self.replica.before().offset;
        if behind && !self.blocked && self.appending.is_none() && self.lacking.is_none() {
            self.rebuild();
        }
    }

    /// A fetched snapshot is here. Where log and state are well without it, it is one more that
    /// this folder has.
    fn fetched(&mut self, from: EntryId) {
        let spare = self.replica.holds(from) && self.lacking.is_none();
        self.step(Input::Fetching(None), Vec::new());
        let input = if spare { Input::Snapshot(from) } else { Input::Fetched(from) };
        self.step(input, Vec::new());
    }

    /// The log is cut. A state that began with a snapshot may hold more than the replica knew.
    fn cut_done(&mut self) {
        self.blocked = false;
        let held = self.cutting.take().is_some_and(|after| self.applied > after);
        let known = self.queue.front().is_some_and(|task| task.effect == Effect::Rebuild);
        if held && !known && !broken(Mutant::NoRebuild) {
            self.rebuild();
        }
    }

    fn perform(&mut self) {
        while !self.blocked {
            let Some(task) = self.queue.pop_front() else { break };
            self.perform_one(task);
        }
    }

    fn perform_one(&mut self, task: Task) {
        match task.effect {
            Effect::Persist(vote) => {
                self.blocked = true;
                self.world.persist_vote(&vote);
            }
            Effect::Cut { after } => {
                self.blocked = true;
                self.cutting = Some(after);
                self.tail.cut(after);
                self.world.cut(after);
            }
            Effect::Restart { after, keep_above } => {
                self.blocked = true;
                self.tail.clear();
                self.world.restart(after, keep_above);
            }
            // A sitting master's state is never the one that is missing.
            Effect::Rebuild if self.appending.is_some() => {}
            Effect::Rebuild => self.rebuild(),
            Effect::Fetch { at_least } => self.world.fetch(at_least),
            Effect::Write { .. } => self.write(task.batches),
            Effect::Flush => self.world.flush(),
            Effect::Send { to, body } => self.world.send(&to, body, Vec::new()),
            Effect::Replicate { to, epoch, prev, up_to, committed, flush } => {
                self.start_replicate(Replicate { to, epoch, prev, up_to, committed, flush });
            }
            Effect::Answer(answer) => self.world.answer(answer),
            Effect::OpenEpoch(record) => match &mut self.coming {
                Some(coming) => coming.next = Some(record),
                None => self.world.open_epoch(&record),
            },
            Effect::Commit { up_to } => self.commit(up_to),
            Effect::BecomeMaster { epoch, record } => {
                let opened = self.replica.last();
                self.coming = Some(Coming { epoch, record, opened, next: None });
                self.apply_more();
            }
            Effect::StepDown { epoch } => self.step_down(epoch),
            Effect::Admission(admission) => self.world.admission(admission),
            Effect::ReadUntil(deadline) => self.world.read_until(deadline),
            Effect::ReadsConfirmed { token } => self.world.reads_confirmed(token),
            Effect::AskRecord { expected, record } => self.world.ask_record(expected, record),
            Effect::ReadRecord => self.world.read_record(),
            Effect::Alarm(alarm) => self.world.alarm(alarm),
        }
    }

    fn write(&mut self, batches: Vec<Batch>) {
        if batches.is_empty() {
            return;
        }
        for batch in &batches {
            self.tail.push(batch.clone());
        }
        self.world.write(batches);
    }

    fn start_replicate(&mut self, what: Replicate) {
        let from = what.prev.offset.next();
        match self.tail.read(from, what.up_to, FRAME_BYTES_MAX) {
            Some(batches) => self.replicate(&what, &batches),
            None => self.world.read(from, what.up_to, FRAME_BYTES_MAX, ReadFor::Peer(what)),
        }
    }

    fn replicate(&mut self, what: &Replicate, batches: &[Batch]) {
        let epoch = match self.replica.position() {
            Position::Master(epoch) | Position::Elect(epoch) => epoch,
            Position::Follower | Position::Learner => return,
        };
        if epoch != what.epoch {
            return;
        }
        // What was asked for may have been given up meanwhile.
        let follow = batches.first().is_some_and(|b| b.head.first == what.prev.offset.next());
        let batches = if follow { batches } else { &[] };
        let last = batches.last().map_or(what.prev, |b| b.head.last());
        if batches.is_empty() {
            self.step(Input::Sent { to: what.to.clone(), epoch, last }, Vec::new());
            return;
        }
        let append = Append {
            epoch,
            prev: what.prev,
            batches: batches.iter().map(|b| b.head).collect(),
            committed: what.committed,
            flush: what.flush,
            sent_at: self.world.now(),
        };
        let bodies = batches.iter().map(|b| b.body.clone()).collect();
        self.world.send(&what.to, Message::Append(append), bodies);
        self.step(Input::Sent { to: what.to.clone(), epoch, last }, Vec::new());
    }

    fn commit(&mut self, up_to: Offset) {
        self.committed = self.committed.max(up_to);
        self.apply_more();
        self.world.committed(up_to);
    }

    fn step_down(&mut self, epoch: Epoch) {
        self.coming = None;
        if self.appending.take().is_some() {
            self.world.step_down(epoch);
        }
    }

    fn may_apply(&self) -> bool {
        !self.reading && self.lacking.is_none() && self.applied < self.committed
    }

    /// Gives the state machine what is committed and not applied, from memory or from files.
    fn apply_more(&mut self) {
        while self.may_apply() && self.world.apply_room() {
            let from = self.applied.next();
            let Some(batches) = self.tail.read(from, self.committed, FRAME_BYTES_MAX) else {
                self.reading = true;
                self.world.read(from, self.committed, FRAME_BYTES_MAX, ReadFor::Apply);
                return;
            };
            if batches.is_empty() {
                return;
            }
            self.apply(&batches);
        }
        self.become_master();
    }

    fn read_to_apply(&mut self, batches: &[Batch]) {
        self.reading = false;
        self.apply(batches);
        if !batches.is_empty() {
            self.apply_more();
        }
    }

    fn apply(&mut self, batches: &[Batch]) {
        for batch in batches {
            let head = batch.head;
            if head.first == self.applied.next() && head.last_offset() <= self.committed {
                self.world.apply(batch);
                self.applied = head.last_offset();
            }
        }
    }

    fn become_master(&mut self) {
        let ready = self.coming.as_ref().is_some_and(|c| self.applied >= c.opened.offset);
        if ready && let Some(Coming { epoch, record, opened, next }) = self.coming.take() {
            self.appending = Some(epoch);
            self.world.become_master(epoch, opened, &record);
            if let Some(next) = next {
                self.world.open_epoch(&next);
            }
        }
    }
}

/// The batches of an append, or none.
fn incoming(body: &Message, bodies: Vec<Bytes>) -> Vec<Batch> {
    match body {
        Message::Append(append) => append
            .batches
            .iter()
            .zip(bodies)
            .map(|(head, body)| Batch { head: *head, body })
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
