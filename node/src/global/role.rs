//! The control loop's state and what it does with each thing that happens.

use super::arbiter::Arbiter;
use super::exports::Exports;
use super::lines::LineTo;
use super::rebuild::Rebuilding;
use super::snapshots::Written;
use super::world::GlobalWorld;
use crate::acceptor::AcceptorHandle;
use crate::boot::Boot;
use crate::clock;
use crate::etcd;
use crate::metrics::lag::Lag;
use crate::status;
use bytes::Bytes;
use cairn_directory::core::Request;
use cairn_directory::watch::{Notice, StreamId, Wish};
use cairn_directory::{KeyRange, Op};
use cairn_global::courts::Now;
use cairn_global::{Act, Asked, Court, GlobalMaster, Told, Why};
use cairn_host::{Event, Host};
use cairn_logic::arbiter::{Operation, Token};
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, GroupId, NodeId, Offset, Revision};
use cairn_logic::judge::JudgeInput;
use cairn_logic::message::{Relief, Sender};
use cairn_logic::record::{EpochRecord, Member, Record};
use cairn_logic::time::{Duration, Instant};
use cairn_settings::directory_keys as keys;
use cairn_wire::hello::Caller;
use cairn_wire::peer::control::{self};
use cairn_wire::peer::pb;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot, watch};

/// The stream of the internal watch of `/cairn/`; clients' streams count from 1.
const SYSTEM_STREAM: StreamId = StreamId(0);
/// How often the arbiter's value is read when nothing happens.
const READ_INTERVAL: Duration = Duration::from_millis(500);
/// How often plans are sent to masters again.
const PLAN_INTERVAL: Duration = Duration::from_secs(1);

/// What an operation on the arbiter was for.
#[derive(Debug)]
pub(super) enum ArbiterWish {
    Read,
    /// Asked by this plane's judge.
    Judge(cairn_logic::ids::Version),
    /// Asked by the sitting master.
    Master,
    Found(crate::peer::Reply<pb::FoundReply>),
    /// Asked by a person.
    Recover(crate::peer::Reply<pb::WishReply>),
}

/// A global node's control loop.
pub struct Role {
    pub(super) boot: Boot,
    pub(super) host: Host<GlobalWorld>,
    pub(super) arbiter: Arbiter,
    pub(super) acceptor: Option<AcceptorHandle>,
    /// This plane's judge: each global node judges for itself.
    pub(super) court: Court,
    /// The judges of all groups and the planner, while this node is global master.
    pub(super) master: GlobalMaster,
    pub(super) others: BTreeMap<NodeId, LineTo>,
    /// Lines that others keep to us: data nodes and global nodes.
    pub(super) lines: BTreeMap<NodeId, (Caller, mpsc::Sender<pb::Down>)>,
    pub(super) loads: BTreeMap<NodeId, pb::Load>,
    /// Checkpoint nodes, as they last opened a line.
    pub(super) checkpoints: BTreeMap<NodeId, Member>,
    /// Global nodes that are being stopped.
    pub(super) leaving: BTreeSet<NodeId>,
    pub(super) plane: watch::Sender<Arc<etcd::Plane>>,
    pub(super) asked: mpsc::Sender<(Why, Asked)>,
    pub(super) notices: mpsc::Sender<Notice>,
    pub(super) record: Option<Record>,
    pub(super) serving: bool,
    pub(super) loaded: bool,
    /// Whether the directory was told to refuse writes for want of room.
    pub(super) disk_low: bool,
    /// How far this node is behind the global master.
    pub(super) lag: Lag,
    pub(super) watches: i64,
    pub(super) wishes: BTreeMap<Token, ArbiterWish>,
    pub(super) read_at: Instant,
    pub(super) planned_at: Instant,
    pub(super) reported: Instant,
    /// Up to where the log was flushed at the last tick.
    pub(super) flushed: Offset,
    pub(super) exports: Exports,
    /// The directory that is being made anew here.
    pub(super) rebuilding: Rebuilding,
    /// A fetched snapshot whose state was not compared yet.
    pub(super) unbelieved: Option<EntryId>,
    /// A fetched one held another state than this node had, in words.
    pub(super) differ: Option<String>,
}

/// What [`Role::new`] is given.
pub struct Parts {
    pub boot: Boot,
    pub host: Host<GlobalWorld>,
    pub arbiter: Arbiter,
    pub acceptor: Option<AcceptorHandle>,
    pub court: Court,
    pub master: GlobalMaster,
    pub others: BTreeMap<NodeId, LineTo>,
    pub plane: watch::Sender<Arc<etcd::Plane>>,
    pub asked: mpsc::Sender<(Why, Asked)>,
    pub notices: mpsc::Sender<Notice>,
    pub written: mpsc::UnboundedSender<Written>,
    pub rebuilding: Rebuilding,
}

/// The bound to flush now above the revision in use, if it is time.
///
/// Everything waits for a vote to be flushed, heartbeats too. So it is written long before it is
/// needed, and not while flushes stand still, unless only the last eighth is left.
fn reservation(used: u64, reserved: u64, flushes: bool) -> Option<u64> {
    const AHEAD: u64 = 1 << 20;
    let left = if flushes { AHEAD / 2 } else { AHEAD / 8 };
    (used + left > reserved).then_some(used + AHEAD)
}

/// Both clocks.
pub(super) fn now() -> Now {
    Now { monotonic: clock::now(), unix_ms: clock::unix_ms() }
}

impl Role {
    /// A follower that knows nothing yet.
    pub fn new(parts: Parts) -> Self {
        let every = parts.boot.settings.log.snapshot_interval;
        Self {
            boot: parts.boot,
            host: parts.host,
            arbiter: parts.arbiter,
            acceptor: parts.acceptor,
            court: parts.court,
            master: parts.master,
            others: parts.others,
            lines: BTreeMap::new(),
            loads: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            leaving: BTreeSet::new(),
            plane: parts.plane,
            asked: parts.asked,
            notices: parts.notices,
            record: None,
            serving: false,
            loaded: false,
            disk_low: false,
            lag: Lag::default(),
            watches: 0,
            wishes: BTreeMap::new(),
            read_at: Instant::ZERO,
            planned_at: Instant::ZERO,
            reported: Instant::ZERO,
            flushed: Offset::ZERO,
            exports: Exports::new(every, parts.written),
            rebuilding: parts.rebuilding,
            unbelieved: None,
            differ: None,
        }
    }

    pub(super) fn me(&self) -> Sender {
        self.boot.identity.me.clone()
    }

    /// Feeds the host, then does what it may not do itself.
    pub(super) fn event(&mut self, event: Event) {
        self.host.world.take_loaded();
        match event {
            // Another node wrote it; without which the log cannot go on is not compared.
            Event::Snapshot(at) => self.fetched(at),
            event => self.host.handle(event),
        }
        self.settle();
    }

    /// Repeats until nothing is left: what the directory made goes to the log, what the replica
    /// asked for goes to the arbiter and the judges.
    pub(super) fn settle(&mut self) {
        loop {
            self.append();
            let todo = std::mem::take(&mut self.host.world.todo);
            let idle = todo.answers.is_empty() && todo.swaps.is_empty() && !todo.read;
            let calm = todo.open.is_none() && todo.began.is_none() && todo.loaded.is_none();
            if idle && calm && !todo.ended && !todo.astray {
                break;
            }
            if let Some(at) = todo.loaded {
                self.exports.is_good();
                self.host.handle(Event::Snapshot(at));
            }
            for answer in todo.answers {
                self.answer(&answer);
            }
            if let Some(record) = todo.open {
                self.open_epoch(&record);
            }
            for (expected, record) in todo.swaps {
                let swap = Operation::Swap { expected, record: Box::new(record) };
                self.ask_arbiter(swap, ArbiterWish::Master);
            }
            if todo.read {
                self.read_record();
            }
            if todo.ended {
                self.ended();
            }
            if todo.astray {
                self.host.handle(Event::Astray);
            }
            if todo.began.is_some() {
                self.began();
            }
        }
        self.host.world.release_reads();
    }

    /// Hands the directory's batches to the log.
    pub(super) fn append(&mut self) {
        while self.host.world.desk.core.is_master() {
            let first = self.host.replica().last().offset.next();
            let Some(proposed) = self.host.world.desk.core.take_batch(first) else { break };
            let head = BatchHead {
                epoch: self.host.world.epoch,
                first,
                count: proposed.count,
                time_ms: clock::unix_ms(),
                authority: proposed.authority,
                opens_epoch: false,
            };
            self.host.handle(Event::Appended(Batch { head, body: proposed.body }));
        }
    }

    pub(super) fn open_epoch(&mut self, record: &EpochRecord) {
        self.append();
        let first = self.host.replica().last().offset.next();
        let head = BatchHead {
            epoch: record.epoch,
            first,
            count: 1,
            time_ms: clock::unix_ms(),
            authority: true,
            opens_epoch: true,
        };
        self.host.world.epoch = record.epoch;
        self.host.world.desk.core.changed_epoch(record.epoch, first);
        let batch = Batch { head, body: Bytes::from(record.encode()) };
        self.host.handle(Event::Appended(batch));
    }

    /// This node is global master now.
    pub(super) fn began(&mut self) {
        self.serving = true;
        self.loads.clear();
        let core = &self.host.world.desk.core;
        let acts = self.master.begin(now(), core.directory(), core.committed_revision());
        self.act(acts);
        self.publish_plane();
    }

    /// This node is not global master any more: data nodes look for another.
    pub(super) fn ended(&mut self) {
        self.serving = false;
        let (others, checkpoints) = (&self.others, &self.checkpoints);
        self.lines.retain(|id, _| others.contains_key(id) || checkpoints.contains_key(id));
        self.publish_plane();
    }

    /// Watches `/cairn/` from `start` on, and not from where it did before.
    fn watch_system(&mut self, start: Revision) {
        let desk = &mut self.host.world.desk;
        let stream = etcd::Asked::OpenStream(SYSTEM_STREAM, self.notices.clone());
        desk.accept(clock::now(), stream);
        let (id, before) = (self.watches + 1, self.watches);
        self.watches = id;
        let cancel = Request::CancelWatch { stream: SYSTEM_STREAM, id: before };
        desk.accept(clock::now(), etcd::Asked::Request(cancel, oneshot::channel().0));
        let range = KeyRange::prefix(keys::PREFIX);
        let wish = Wish { range, no_put: false, no_delete: false, prev_kv: false };
        let start = Some(start);
        let request = Request::Watch { stream: SYSTEM_STREAM, id, wish, start, progress: false };
        desk.accept(clock::now(), etcd::Asked::Request(request, oneshot::channel().0));
    }

    /// The directory says what changed below `/cairn/`.
    pub(super) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Events { watches, revision, events } => {
                if !watches.contains(&self.watches) || !self.serving {
                    return;
                }
                let acts = self.master.changed(now(), revision, &events);
                self.act(acts);
                self.plan();
            }
            Notice::Cancelled { .. } => {
                let core = &self.host.world.desk.core;
                let acts = self.master.read(now(), core.directory(), core.committed_revision());
                self.act(acts);
            }
            Notice::Progress { .. } => {}
        }
        self.settle();
    }

    /// A request of the system to the directory; its outcome comes back through the loop.
    pub(super) fn propose(&mut self, why: Why, op: Op) {
        let (reply, outcome) = oneshot::channel();
        let request = Request::Propose { op, system: true };
        let desk = &mut self.host.world.desk;
        desk.accept(clock::now(), etcd::Asked::Request(request, reply));
        let asked = self.asked.clone();
        tokio::spawn(async move {
            let outcome = Asked::of(outcome.await.ok().as_ref());
            asked.send((why, outcome)).await.ok();
        });
    }

    /// A request of the system has ended.
    pub(super) fn was_asked(&mut self, why: Why, outcome: Asked) {
        let acts = self.master.was_asked(now(), why, outcome);
        self.act(acts);
        self.settle();
    }

    /// Performs what groups' judges and the planner want.
    pub(super) fn act(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Propose(why, op) => self.propose(why, op),
                Act::Watch(start) => self.watch_system(start),
                Act::Noted(..) => {}
                Act::Tell { to, group, told: Told::Order(order) } => {
                    self.send_down(&to, control::order_out(group.as_str(), &order));
                }
                Act::Tell { to, group, told: Told::Plan(plan) } => {
                    let plan = control::Plan { learners: plan.learners, wish: plan.wish };
                    self.send_down(&to, control::plan_out(group.as_str(), &plan));
                }
            }
        }
    }

    /// Tells one group's judge.
    pub(super) fn tell(&mut self, group: &GroupId, input: JudgeInput) {
        let acts = self.master.tell(now(), group, input);
        self.act(acts);
    }

    /// Tells the judges of all groups.
    pub(super) fn tell_all(&mut self, input: &JudgeInput) {
        let acts = self.master.tell_all(now(), input);
        self.act(acts);
    }

    pub(super) fn send_down(&self, to: &NodeId, down: pb::Down) {
        if let Some((_, line)) = self.lines.get(to) {
            line.try_send(down).ok();
        }
    }

    /// Lets the planner take its next step, and masters know what is planned for them.
    pub(super) fn plan(&mut self) {
        if !self.serving || !self.host.world.desk.core.is_master() {
            return;
        }
        let claim = self.host.world.desk.core.directory().revision().next();
        let acts = self.master.plan(now(), claim);
        self.act(acts);
    }

    pub(super) fn tick(&mut self) {
        self.host.world.take_loaded();
        self.host.handle(Event::Tick);
        self.host.world.desk.core.tick(clock::now(), &mut self.host.world.desk.streams);
        let done = self.arbiter.tick();
        self.arbitrated(done);
        self.report();
        self.judge(JudgeInput::Tick);
        let now = clock::now();
        if now.since(self.read_at) >= READ_INTERVAL && !self.serving {
            self.read_record();
        }
        self.end_loading();
        self.watch_disk();
        self.believe();
        self.bound_log();
        if self.serving {
            self.tell_all(&JudgeInput::Tick);
            if now.since(self.planned_at) >= PLAN_INTERVAL {
                self.planned_at = now;
                self.plan();
                self.tend_members();
                self.tend_acceptors();
            }
        }
        self.keep_history();
        self.reserve();
        self.settle();
    }

    /// Lets the directory refuse clients' writes before the disk is full, and admit them again.
    fn watch_disk(&mut self) {
        let world = &mut self.host.world;
        if let Some(low) = world.storage.room().turned(&mut self.disk_low) {
            world.desk.core.set_disk_low(low);
        }
    }

    /// Requests are answered once everything that is known to be committed is in the directory.
    pub(super) fn end_loading(&mut self) {
        self.loaded &= !self.host.world.snapshots.is_loading();
        if self.is_whole() && !self.serving {
            let desk = &mut self.host.world.desk;
            desk.core.loaded(&mut desk.streams);
            self.loaded = true;
        }
    }

    /// Keeps the flushed bound above every revision in use, on whoever may be asked for it.
    pub(super) fn reserve(&mut self) {
        if !self.host.has_begun() || self.is_checkpoint() {
            return;
        }
        let replica = self.host.replica();
        let (flushed, last) = (replica.flushed(), replica.last().offset);
        let flushes = flushed == last || flushed > self.flushed;
        self.flushed = flushed;
        let used = self.host.world.desk.core.directory().revision().0;
        if let Some(bound) = reservation(used, replica.vote().reserved, flushes) {
            self.host.handle(Event::Reserve(bound));
        }
    }

    pub(super) fn report(&mut self) {
        if !self.host.has_begun() || self.is_checkpoint() {
            return;
        }
        let now = clock::now();
        let report = self.host.replica().report(now);
        let due = status::interval(report.master_silence, self.boot.settings.timing.silence_max);
        let from = self.me();
        self.judge(JudgeInput::Report { from, report });
        if now.since(self.reported) >= due {
            self.reported = now;
            let up = status::report(&GroupId::global(), &self.host, now, pb::Load::default());
            self.others.values().for_each(|line| line.send(up.clone()));
        }
    }

    /// Asks to be relieved of mastership and of membership; true once another node masters and this
    /// one does not count, or nobody could follow. Until then this node stays: its copy may be
    /// needed for the handing over, and every write waits for each member.
    pub(super) fn is_relieved(&mut self) -> bool {
        if self.is_checkpoint() {
            return true;
        }
        self.event(Event::Relief(Some(Relief::Stopping)));
        self.reported = Instant::ZERO;
        self.tick();
        self.read_record();
        let me = &self.boot.identity.me.id;
        let alone = !self.others.keys().any(|id| self.lines.contains_key(id));
        self.record
            .as_ref()
            .is_none_or(|record| alone || (!record.open && record.member(me).is_none()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_are_reserved_early_and_not_while_the_disk_stands_still() {
        let used = 3 << 20;
        let bound = used + (1 << 20);
        assert_eq!(reservation(used, 0, true), Some(bound));
        assert_eq!(reservation(used, bound, true), None);
        // Ten seconds of 20,000 revisions each second, from the moment when it would be written.
        let half = used + (1 << 19);
        let stalled = half + 1 + 200_000;
        assert_eq!(reservation(half + 1, bound, true), Some(half + 1 + (1 << 20)));
        assert_eq!(reservation(stalled, bound, false), None);
        assert!(reservation(bound - 1, bound, false).is_some(), "never past the bound");
    }
}
