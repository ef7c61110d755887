//! A tiny cluster in memory: replicas, their disks, a network that delivers when told, one record.
//!
//! It performs effects at once and in order, as a host does, and checks after every step what may
//! never happen (docs/replication.md §12). It decides nothing: tests say what is delivered.

use cairn_logic::batch::BatchHead;
use cairn_logic::counting::Plane;
use cairn_logic::ids::{EntryId, Epoch, Incarnation, Life, NodeId, Offset, Version};
use cairn_logic::message::{Answer, Append, Message, Order, Position, Report, Sender};
use cairn_logic::record::{Durability, EpochRecord, Member, Record, Role, Rule};
use cairn_logic::replication::{Effect, Input, Reads, Recovered, Replica, Vote};
use cairn_logic::time::{Duration, Instant};
use cairn_logic::timing::Timing;
use std::collections::{BTreeMap, VecDeque};

/// A batch with the number that stands for its content.
pub type Stored = (BatchHead, u64);

/// One folder, with or without a process.
pub struct Node {
    pub me: Sender,
    pub replica: Option<Replica>,
    /// What follows `before`.
    pub log: Vec<Stored>,
    /// The entry before the log's first, and what a snapshot holds up to it.
    pub before: EntryId,
    gone: Vec<u64>,
    /// A snapshot that was fetched: its `from`, and what it holds.
    fetched: (EntryId, Vec<u64>),
    /// It needs a snapshot of at least this.
    pub wants: Option<EntryId>,
    /// Batches in the page cache, and on disk.
    pub written: usize,
    pub flushed: usize,
    pub vote: Vote,
    pub read_until: Option<Instant>,
    /// What the state machine holds.
    pub state: Vec<u64>,
    pub committed: Offset,
    pub admission: String,
    appending: Option<Epoch>,
}

/// A message under way.
#[derive(Clone, Debug)]
pub struct Letter {
    pub from: usize,
    pub to: usize,
    pub body: Message,
    pub contents: Vec<u64>,
}

/// Everything there is.
pub struct Cluster {
    pub now: Instant,
    pub nodes: Vec<Node>,
    pub record: Record,
    pub net: VecDeque<Letter>,
    pub answers: Vec<(usize, Answer)>,
    /// Changes asked for: who, which version it replaces, what.
    pub asks: Vec<(usize, Version, Record)>,
    /// What was acknowledged, by content, in order.
    pub acked: Vec<u64>,
    pub trace: Vec<String>,
    /// Entries of one append at most.
    pub frame: usize,
    timing: Timing,
    plane: Plane,
    contents: BTreeMap<(u64, u64), u64>,
    masters: BTreeMap<u64, usize>,
    /// In which zones the nodes are, if in any.
    pub zones: Vec<String>,
    next_content: u64,
    sealed: BTreeMap<usize, Epoch>,
    /// The first broken invariant.
    pub broken: Option<String>,
}

pub fn name(node: usize) -> NodeId {
    NodeId::new(format!("n{}", node + 1))
}

fn number(id: &NodeId) -> usize {
    id.as_str()[1..].parse::<usize>().expect("names are n1, n2, …") - 1
}

impl Cluster {
    /// `nodes` blank folders, the first `members` of which are named by a record of epoch 0.
    pub fn new(
        plane: Plane,
        nodes: usize,
        members: usize,
        rule: Rule,
        flushed: bool,
        timing: Timing,
    ) -> Self {
        let (role, incarnation) = (Role::Replica, Incarnation(100));
        let member = |i| Member { id: name(i), incarnation, role, zone: None };
        let record = Record {
            version: Version(1),
            epoch: Epoch::ZERO,
            master: None,
            members: (0..members).map(member).collect(),
            rule,
            wanted: u8::try_from(members).expect("few members"),
            durability: Durability { flushed, zones: 1 },
            attempt: Epoch::ZERO,
            open: false,
        };
        let mut cluster = Self {
            now: Instant::ZERO + Duration::from_secs(10),
            nodes: Vec::new(),
            record,
            net: VecDeque::new(),
            answers: Vec::new(),
            asks: Vec::new(),
            acked: Vec::new(),
            trace: Vec::new(),
            frame: 8,
            timing,
            plane,
            contents: BTreeMap::new(),
            masters: BTreeMap::new(),
            next_content: 1,
            zones: Vec::new(),
            sealed: BTreeMap::new(),
            broken: None,
        };
        for i in 0..nodes {
            let vote = Vote {
                sealed: Epoch::ZERO,
                intact: true,
                life: Life::ZERO,
                reserved: 0,
                unflushed: false,
            };
            cluster.nodes.push(Node {
                me: Sender { id: name(i), incarnation: Incarnation(100) },
                replica: None,
                log: Vec::new(),
                before: EntryId::ZERO,
                gone: Vec::new(),
                fetched: (EntryId::ZERO, Vec::new()),
                wants: None,
                written: 0,
                flushed: 0,
                vote,
                read_until: None,
                state: Vec::new(),
                committed: Offset::ZERO,
                admission: String::new(),
                appending: None,
            });
            cluster.start(i, true);
        }
        for i in 0..nodes {
            cluster.input(i, Input::Learners(cluster.learners()));
        }
        cluster
    }

    /// Starts a process on a folder.
    pub fn start(&mut self, i: usize, same_boot: bool) {
        if self.nodes[i].replica.is_some() {
            return;
        }
        let node = &mut self.nodes[i];
        let mut epochs: Vec<(Epoch, Offset)> = Vec::new();
        for (head, _) in &node.log {
            if epochs.last().is_none_or(|e| e.0 < head.epoch) {
                epochs.push((head.epoch, head.first));
            }
        }
        let recovered = Recovered {
            vote: node.vote.clone(),
            before: node.before,
            epochs,
            last: node.log.last().map_or(node.before, |b| b.0.last()),
            flushed: Offset((node.gone.len() + node.flushed) as u64),
            clean: None,
            same_boot,
            failed_disk: false,
            torn: false,
        };
        node.state = node.gone.clone();
        node.committed = node.before.offset;
        node.read_until = None;
        node.appending = None;
        let mut effects = Vec::new();
        let replica = Replica::start(
            node.me.clone(),
            self.plane,
            recovered,
            self.timing,
            Reads::Lease,
            self.now,
            &mut effects,
        );
        node.replica = Some(replica);
        self.perform(i, effects, &[]);
        let learners = self.learners();
        self.input(i, Input::Learners(learners));
    }

    /// All nodes claim to belong to this log.
    fn learners(&self) -> Vec<Member> {
        let role = Role::Replica;
        let member = |(at, node): (usize, &Node)| {
            let (id, incarnation) = (node.me.id.clone(), node.me.incarnation);
            Member { id, incarnation, role, zone: self.zones.get(at).cloned() }
        };
        self.nodes.iter().enumerate().map(member).collect()
    }

    /// Ends a process; with `machine` also its page cache, of which `keep` batches had been
    /// written back.
    pub fn crash(&mut self, i: usize, machine: Option<usize>) {
        let node = &mut self.nodes[i];
        if node.replica.take().is_none() {
            return;
        }
        let keep = machine.map_or(node.written, |k| (node.flushed + k).min(node.written));
        node.appending = None;
        node.log.truncate(keep);
        node.written = keep;
        if machine.is_some() {
            node.flushed = keep;
        }
        node.read_until = None;
    }

    /// Feeds one input and performs what follows.
    pub fn input(&mut self, i: usize, input: Input) {
        self.feed(i, input, &[]);
    }

    fn feed(&mut self, i: usize, input: Input, incoming: &[Stored]) {
        let now = self.now;
        let Some(replica) = self.nodes[i].replica.as_mut() else { return };
        let mut effects = Vec::new();
        replica.step(now, input, &mut effects);
        self.perform(i, effects, incoming);
        self.check();
    }

    fn perform(&mut self, i: usize, effects: Vec<Effect>, incoming: &[Stored]) {
        let mut later = Vec::new();
        for effect in effects {
            self.perform_one(i, effect, incoming, &mut later);
        }
        for input in later {
            self.input(i, input);
        }
    }

    fn perform_one(
        &mut self,
        i: usize,
        effect: Effect,
        incoming: &[Stored],
        later: &mut Vec<Input>,
    ) {
        match effect {
            Effect::Persist(vote) => self.nodes[i].vote = vote,
            Effect::Cut { after } => {
                self.say(i, format!("cuts after {after}"));
                let node = &mut self.nodes[i];
                node.log.truncate(after.0 as usize - node.gone.len());
                node.written = node.written.min(node.log.len());
                node.flushed = node.flushed.min(node.log.len());
                if after < node.committed {
                    self.breaks(format!("I8 n{} cuts after {after}, committed", i + 1));
                }
            }
            Effect::Restart { after, keep_above } => self.restart(i, after, keep_above),
            Effect::Fetch { at_least } => {
                self.say(i, format!("needs a snapshot of {at_least}"));
                self.nodes[i].wants = Some(at_least);
            }
            Effect::Rebuild => {
                self.say(i, "rebuilds".into());
                self.nodes[i].state = self.nodes[i].gone.clone();
            }
            Effect::Write { skip } => self.nodes[i].log.extend_from_slice(&incoming[skip..]),
            Effect::Flush => {}
            Effect::Send { to, body } => self.post(i, &to, body, Vec::new()),
            Effect::Replicate { to, epoch, prev, up_to, committed, flush } => {
                let gone = self.nodes[i].gone.len();
                let from = (prev.offset.0 as usize).checked_sub(gone).expect("it is still there");
                let end = (up_to.0 as usize - gone).min(from + self.frame);
                let part: Vec<Stored> = self.nodes[i].log[from..end].to_vec();
                let last = part.last().map_or(prev, |b| b.0.last());
                let batches = part.iter().map(|b| b.0).collect();
                let sent_at = self.now;
                let append = Append { epoch, prev, batches, committed, flush, sent_at };
                let contents = part.iter().map(|b| b.1).collect();
                self.post(i, &to, Message::Append(append), contents);
                later.push(Input::Sent { to, epoch, last });
            }
            Effect::Answer(answer) => self.answered(i, answer),
            Effect::OpenEpoch(record) => self.open_epoch(i, &record),
            Effect::Commit { up_to } => self.committed(i, up_to),
            Effect::BecomeMaster { epoch, .. } => self.mastered(i, epoch),
            Effect::StepDown { epoch } => {
                self.say(i, format!("steps down from {epoch}"));
                self.nodes[i].read_until = None;
                self.nodes[i].appending = None;
            }
            Effect::Admission(admission) => {
                self.nodes[i].admission = format!("{admission:?}");
                self.say(i, format!("admission {admission:?}"));
            }
            Effect::ReadUntil(until) => self.nodes[i].read_until = until,
            Effect::ReadsConfirmed { token } => self.say(i, format!("confirms reads {token}")),
            Effect::AskRecord { expected, record } => {
                let members: Vec<_> = record.members.iter().map(|m| m.id.as_str()).collect();
                self.say(i, format!("asks for {} epoch {}", members.join(","), record.epoch));
                self.asks.push((i, expected, record));
            }
            Effect::ReadRecord => {
                self.say(i, "reads the record".into());
                later.push(Input::Record(self.record.clone()));
            }
            Effect::Alarm(alarm) => self.say(i, format!("alarm {alarm:?}")),
        }
    }

    fn restart(&mut self, i: usize, after: EntryId, keep_above: Offset) {
        self.say(i, format!("begins its log anew after {after}, aside what is above {keep_above}"));
        let node = &mut self.nodes[i];
        let (from, holds) = std::mem::take(&mut node.fetched);
        node.log.clear();
        (node.written, node.flushed) = (0, 0);
        (node.before, node.gone, node.committed) = (after, holds, after.offset);
        if from != after {
            self.breaks(format!("n{} has no snapshot of {after}", i + 1));
        }
    }

    /// The entry at `offset` of a node's log.
    fn entry(&self, i: usize, offset: Offset) -> EntryId {
        let node = &self.nodes[i];
        let at = (offset.0 as usize).checked_sub(node.gone.len() + 1);
        at.map_or(node.before, |at| node.log[at].0.last())
    }

    /// A node has a durable snapshot of what it knows to be committed.
    pub fn snapshot(&mut self, i: usize) {
        let Some(committed) = self.nodes[i].replica.as_ref().map(Replica::committed) else {
            return;
        };
        let from = self.entry(i, committed);
        self.input(i, Input::Snapshot(from));
    }

    /// A node gives up as much of its log as it may.
    pub fn truncate(&mut self, i: usize, pressed: bool) {
        let Some(replica) = &self.nodes[i].replica else { return };
        let up_to = replica.may_truncate(pressed);
        if up_to == Offset::ZERO {
            self.say(i, "keeps its log".into());
            return;
        }
        let before = self.entry(i, up_to);
        let node = &mut self.nodes[i];
        let gone = up_to.0 as usize - node.gone.len();
        node.gone.extend(node.log.drain(..gone).map(|b| b.1));
        node.before = before;
        (node.written, node.flushed) = (node.written - gone, node.flushed - gone);
        self.say(i, format!("gives up its log up to {before}"));
        self.input(i, Input::Truncated(before));
    }

    /// A node begins to fetch a snapshot of what another knows to be committed, if that is enough.
    pub fn fetch(&mut self, i: usize, of: usize) {
        let Some(committed) = self.nodes[of].replica.as_ref().map(Replica::committed) else {
            return;
        };
        if self.nodes[i].wants.is_none_or(|wants| wants.offset > committed) {
            return;
        }
        let from = self.entry(of, committed);
        self.nodes[i].fetched = (from, self.contents_of(of, committed));
        self.input(i, Input::Fetching(Some(from)));
    }

    /// What a node fetches is there, durable.
    pub fn fetched(&mut self, i: usize) {
        let from = self.nodes[i].fetched.0;
        if from != EntryId::ZERO && self.nodes[i].replica.is_some() {
            self.nodes[i].wants = None;
            self.input(i, Input::Fetched(from));
        }
    }

    #[allow(dead_code, reason = "walks end where something is lost")]
    /// What this node's log lacks was never acknowledged, as far as anybody will know.
    pub fn lose(&mut self, i: usize) {
        let log = self.contents_of(i, Offset(u64::MAX));
        let both = self.acked.iter().zip(&log).take_while(|(a, b)| a == b).count();
        self.acked.truncate(both);
    }

    #[allow(dead_code, reason = "scenarios have no use for it")]
    /// Where a node's log ends, what was given up included.
    pub fn end(&self, i: usize) -> usize {
        self.nodes[i].gone.len() + self.nodes[i].log.len()
    }

    fn contents_of(&self, i: usize, up_to: Offset) -> Vec<u64> {
        let node = &self.nodes[i];
        let log = node.log.iter().map(|b| b.1);
        node.gone.iter().copied().chain(log).take(up_to.0 as usize).collect()
    }

    fn post(&mut self, from: usize, to: &NodeId, body: Message, contents: Vec<u64>) {
        if let Message::Ack(ack) = &body
            && self.sealed.get(&from).is_some_and(|t| ack.epoch < *t)
        {
            self.breaks(format!("I5 n{} acknowledges {} after its seal", from + 1, ack.epoch));
        }
        self.net.push_back(Letter { from, to: number(to), body, contents });
    }

    fn answered(&mut self, i: usize, answer: Answer) {
        match &answer {
            Answer::Sealed(s) => {
                self.sealed.insert(i, s.attempt);
                let intact = if s.intact { "intact" } else { "not intact" };
                self.say(i, format!("sealed {} last {} {intact}", s.attempt, s.last));
            }
            Answer::Ready { attempt } => self.say(i, format!("ready {attempt}")),
            Answer::NotElect { attempt } => self.say(i, format!("is not elect of {attempt}")),
            Answer::HandedOver { epoch, last } => {
                self.say(i, format!("handed over {epoch} at {last}"));
            }
        }
        self.answers.push((i, answer));
    }

    fn open_epoch(&mut self, i: usize, record: &EpochRecord) {
        self.append_in(i, record.epoch, true, true);
    }

    /// The appender of a master makes a batch.
    pub fn write(&mut self, i: usize, authority: bool) -> bool {
        let Some(epoch) = self.nodes[i].appending else { return false };
        self.append_in(i, epoch, authority, false);
        true
    }

    fn append_in(&mut self, i: usize, epoch: Epoch, authority: bool, opens_epoch: bool) {
        let content = self.next_content;
        self.next_content += 1;
        let node = &mut self.nodes[i];
        let first = Offset((node.gone.len() + node.log.len()) as u64 + 1);
        let head = BatchHead { epoch, first, count: 1, time_ms: 0, authority, opens_epoch };
        node.log.push((head, content));
        let sitting = node.appending.is_some();
        if sitting {
            node.state.push(content);
            node.appending = Some(epoch);
        }
        if sitting && opens_epoch {
            self.say(i, format!("goes on as master of {epoch}"));
        }
        if self.contents.insert((epoch.0, first.0), content).is_some() {
            self.breaks(format!("I2 {epoch}/{first} made twice"));
        }
        self.input(i, Input::Appended { head, bytes: 100 });
    }

    /// Everything under way to the page cache arrives there; with `flush` on the disk too.
    pub fn disk(&mut self, i: usize, flush: bool) {
        let node = &mut self.nodes[i];
        if node.replica.is_none() {
            return;
        }
        let Some(last) = node.log.last().map(|b| b.0.last()) else { return };
        if node.written < node.log.len() {
            node.written = node.log.len();
            self.input(i, Input::Written(last));
        }
        let node = &mut self.nodes[i];
        if flush && node.flushed < node.written && node.written == node.log.len() {
            node.flushed = node.written;
            let last = node.log[node.flushed - 1].0.last();
            self.input(i, Input::Flushed(last));
        }
    }

    fn committed(&mut self, i: usize, up_to: Offset) {
        self.nodes[i].committed = up_to;
        let master = matches!(self.position(i), Some(Position::Master(_)));
        let log = self.contents_of(i, up_to);
        if master {
            self.say(i, format!("commits {up_to}"));
            let both = log.len().min(self.acked.len());
            if log[..both] != self.acked[..both] {
                self.breaks(format!("I3 n{} commits against what was acknowledged", i + 1));
            }
            if log.len() > self.acked.len() {
                self.acked = log.clone();
            }
        } else {
            self.say(i, format!("applies {up_to}"));
        }
        if log.len() > self.acked.len() || log[..] != self.acked[..log.len()] {
            self.breaks(format!("I9 n{} applies what is not committed", i + 1));
        }
        if self.nodes[i].appending.is_none() {
            let done = self.nodes[i].state.len();
            if done < log.len() {
                self.nodes[i].state.extend_from_slice(&log[done..]);
            }
            if self.nodes[i].state[..log.len()] != log[..] {
                self.breaks(format!("I9 n{} holds state of entries that were cut", i + 1));
            }
        }
    }

    fn mastered(&mut self, i: usize, epoch: Epoch) {
        self.say(i, format!("is master of {epoch}"));
        self.nodes[i].appending = Some(epoch);
        if *self.masters.entry(epoch.0).or_insert(i) != i {
            self.breaks(format!("I1 two masters of {epoch}"));
        }
        let log = self.contents_of(i, Offset(u64::MAX));
        if !log.starts_with(&self.acked) {
            self.breaks(format!("I3 n{} masters {epoch} without what was acknowledged", i + 1));
        }
    }

    /// What a running node tells its judge.
    pub fn report(&self, i: usize) -> Report {
        self.nodes[i].replica.as_ref().expect("the node runs").report(self.now)
    }

    /// Where a node stands; `None` while it is down.
    pub fn position(&self, i: usize) -> Option<Position> {
        self.nodes[i].replica.as_ref().map(Replica::position)
    }

    /// Delivers one letter.
    pub fn deliver(&mut self, letter: Letter) {
        let from = self.nodes[letter.from].me.clone();
        let incoming: Vec<Stored> = match &letter.body {
            Message::Append(a) => a.batches.iter().copied().zip(letter.contents).collect(),
            _ => Vec::new(),
        };
        self.feed(letter.to, Input::Message { from, body: letter.body }, &incoming);
    }

    /// An order of a judge.
    pub fn order(&mut self, i: usize, order: Order) {
        self.input(i, Input::Order(order));
    }

    /// The keeper's compare-and-swap.
    pub fn swap(&mut self, expected: Version, mut record: Record) -> bool {
        if self.record.version != expected {
            return false;
        }
        record.version = expected.next();
        let members: Vec<_> = record.members.iter().map(|m| m.id.as_str()).collect();
        let master = record.master.as_ref().map_or("none", |m| m.as_str());
        self.trace.push(format!(
            "record: epoch {} master {master} members {} attempt {} open {}",
            record.epoch,
            members.join(","),
            record.attempt,
            record.open
        ));
        self.record = record;
        true
    }

    fn say(&mut self, i: usize, what: String) {
        self.trace.push(format!("n{}: {what}", i + 1));
    }

    fn breaks(&mut self, what: String) {
        self.trace.push(what.clone());
        self.broken.get_or_insert(what);
    }

    /// A lease read at every master that may answer one.
    fn check(&mut self) {
        for i in 0..self.nodes.len() {
            let node = &self.nodes[i];
            let Some(replica) = &node.replica else { continue };
            let may = node.read_until.is_some_and(|until| self.now < until);
            if may && (replica.committed().0 as usize) < self.acked.len() {
                self.breaks(format!("I11 n{} reads what is old", i + 1));
            }
        }
    }
}
