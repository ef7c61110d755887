//! The control loop's state and what it does with each thing that happens.

use super::arbiter::Arbiter;
use super::courts::{self, Court, Courts, Effects};
use super::lines::LineTo;
use super::planning::{self, Planning};
use super::world::GlobalWorld;
use crate::acceptor::AcceptorHandle;
use crate::boot::Boot;
use crate::clock;
use crate::etcd;
use crate::metrics::lag::Lag;
use crate::status;
use crate::view::{Changed, View};
use bytes::Bytes;
use cairn_directory::core::{Reply, Request, Response};
use cairn_directory::watch::{Notice, StreamId, Wish};
use cairn_directory::{Answer as DirectoryAnswer, EventKind, KeyRange, Op};
use cairn_host::{Event, Host};
use cairn_logic::arbiter::{Operation, Token};
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{GroupId, NodeId, Offset};
use cairn_logic::judge::{JudgeEffect, JudgeInput};
use cairn_logic::message::{Relief, Sender};
use cairn_logic::record::{EpochRecord, Record};
use cairn_logic::time::{Duration, Instant};
use cairn_settings::directory_keys::{self as keys, ClusterInfo};
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

/// How a change the system asked of the directory ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All comparisons held: it is committed.
    Held,
    /// A comparison failed: nothing happened.
    Failed,
    /// Nobody can say.
    Unknown,
}

/// Why the system asked.
#[derive(Clone, Debug)]
pub enum Why {
    /// A group's judge.
    Judge(GroupId, cairn_logic::ids::Version),
    /// The planner.
    Planner,
    /// The first Txn of the cluster.
    Cluster,
    /// What is kept for people.
    History,
}

/// What an operation on the arbiter was for.
#[derive(Debug)]
pub(super) enum ArbiterWish {
    Read,
    /// Asked by this plane's judge.
    Judge(cairn_logic::ids::Version),
    /// Asked by the sitting master.
    Master,
    Found(crate::peer::Reply<pb::FoundReply>),
}

/// A global node's control loop.
pub struct Role {
    pub(super) boot: Boot,
    pub(super) host: Host<GlobalWorld>,
    pub(super) arbiter: Arbiter,
    pub(super) acceptor: Option<AcceptorHandle>,
    /// This plane's judge: each global node judges for itself.
    pub(super) court: Court,
    pub(super) courts: Courts,
    pub(super) planning: Planning,
    pub(super) view: View,
    pub(super) others: BTreeMap<NodeId, LineTo>,
    /// Lines that others keep to us: data nodes and global nodes.
    pub(super) lines: BTreeMap<NodeId, (Caller, mpsc::Sender<pb::Down>)>,
    pub(super) loads: BTreeMap<NodeId, pb::Load>,
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
    pub(super) planner_busy: bool,
    pub(super) watches: i64,
    pub(super) wishes: BTreeMap<Token, ArbiterWish>,
    pub(super) plans: BTreeMap<GroupId, control::Plan>,
    pub(super) read_at: Instant,
    pub(super) planned_at: Instant,
    pub(super) reported: Instant,
}

/// What [`Role::new`] is given.
pub struct Parts {
    pub boot: Boot,
    pub host: Host<GlobalWorld>,
    pub arbiter: Arbiter,
    pub acceptor: Option<AcceptorHandle>,
    pub court: Court,
    pub courts: Courts,
    pub others: BTreeMap<NodeId, LineTo>,
    pub plane: watch::Sender<Arc<etcd::Plane>>,
    pub asked: mpsc::Sender<(Why, Asked)>,
    pub notices: mpsc::Sender<Notice>,
}

impl Role {
    /// A follower that knows nothing yet.
    pub fn new(parts: Parts) -> Self {
        Self {
            boot: parts.boot,
            host: parts.host,
            arbiter: parts.arbiter,
            acceptor: parts.acceptor,
            court: parts.court,
            courts: parts.courts,
            planning: Planning::default(),
            view: View::default(),
            others: parts.others,
            lines: BTreeMap::new(),
            loads: BTreeMap::new(),
            leaving: BTreeSet::new(),
            plane: parts.plane,
            asked: parts.asked,
            notices: parts.notices,
            record: None,
            serving: false,
            loaded: false,
            disk_low: false,
            lag: Lag::default(),
            planner_busy: false,
            watches: 0,
            wishes: BTreeMap::new(),
            plans: BTreeMap::new(),
            read_at: Instant::ZERO,
            planned_at: Instant::ZERO,
            reported: Instant::ZERO,
        }
    }

    pub(super) fn me(&self) -> Sender {
        self.boot.identity.me.clone()
    }

    /// Feeds the host, then does what it may not do itself.
    pub(super) fn event(&mut self, event: Event) {
        self.host.handle(event);
        self.settle();
    }

    /// Repeats until nothing is left: what the directory made goes to the log, what the replica
    /// asked for goes to the arbiter and the judges.
    pub(super) fn settle(&mut self) {
        loop {
            self.append();
            let todo = std::mem::take(&mut self.host.world.todo);
            let idle = todo.answers.is_empty() && todo.swaps.is_empty() && !todo.read;
            if idle && todo.open.is_none() && todo.began.is_none() && !todo.ended && !todo.astray {
                break;
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
        self.courts = Courts::new(self.me(), self.timing());
        self.loads.clear();
        self.plans.clear();
        self.planning = Planning::default();
        self.planner_busy = false;
        self.read_view();
        let info = ClusterInfo {
            uid: self.boot.settings.cluster_uid.clone(),
            format: cairn_settings::FORMAT,
        };
        if self.view.cluster.is_none() {
            self.propose(Why::Cluster, planning::swap(keys::CLUSTER, 0, info.encode()));
        }
        self.publish_plane();
    }

    /// This node is not global master any more: data nodes look for another.
    pub(super) fn ended(&mut self) {
        self.serving = false;
        let others = &self.others;
        self.lines.retain(|id, _| others.contains_key(id));
        self.publish_plane();
    }

    /// Reads all of `/cairn/` as committed, and watches it from there on.
    pub(super) fn read_view(&mut self) {
        let desk = &mut self.host.world.desk;
        let at = desk.core.committed_revision();
        let range = KeyRange::prefix(keys::PREFIX);
        let query = cairn_directory::op::RangeQuery::all(range.clone());
        self.view = View::default();
        match desk.core.directory().range(&query, at) {
            Ok(found) => found.kvs.iter().for_each(|kv| {
                let value = Some((kv.value.to_vec(), kv.version));
                self.view.change(&Changed { key: kv.key.to_vec(), value });
            }),
            Err(error) => tracing::error!(%error, "cannot read the system's keys"),
        }
        self.view.revision = at.0;
        let stream = etcd::Asked::OpenStream(SYSTEM_STREAM, self.notices.clone());
        desk.accept(clock::now(), stream);
        let (id, before) = (self.watches + 1, self.watches);
        self.watches = id;
        let cancel = Request::CancelWatch { stream: SYSTEM_STREAM, id: before };
        desk.accept(clock::now(), etcd::Asked::Request(cancel, oneshot::channel().0));
        let wish = Wish { range, no_put: false, no_delete: false, prev_kv: false };
        let start = Some(at.next());
        let request = Request::Watch { stream: SYSTEM_STREAM, id, wish, start, progress: false };
        desk.accept(clock::now(), etcd::Asked::Request(request, oneshot::channel().0));
        let effects = self.courts.records(&self.view);
        self.perform(effects);
    }

    /// The directory says what changed below `/cairn/`.
    pub(super) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Events { watches, revision, events } => {
                if !watches.contains(&self.watches) || !self.serving {
                    return;
                }
                for event in events.iter() {
                    let value = (event.kind == EventKind::Put)
                        .then(|| (event.kv.value.to_vec(), event.kv.version));
                    self.view.change(&Changed { key: event.kv.key.to_vec(), value });
                }
                self.view.revision = revision.0;
                let effects = self.courts.records(&self.view);
                self.perform(effects);
                self.plan();
            }
            Notice::Cancelled { .. } => self.read_view(),
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
            let outcome = match outcome.await {
                Ok(Ok(Reply { response: Response::Answer(answer), .. })) => match answer {
                    DirectoryAnswer::Txn { succeeded: false, .. } => Asked::Failed,
                    _ => Asked::Held,
                },
                Ok(Ok(_)) | Ok(Err(_)) | Err(_) => Asked::Unknown,
            };
            asked.send((why, outcome)).await.ok();
        });
    }

    /// A request of the system has ended.
    pub(super) fn was_asked(&mut self, why: Why, outcome: Asked) {
        match why {
            Why::Judge(group, expected) => {
                let outcome = courts::outcome(&outcome);
                let effects = self.courts.tell(&group, JudgeInput::CasDone { expected, outcome });
                self.perform(effects);
            }
            Why::Planner => self.planner_busy = false,
            Why::Cluster | Why::History => {}
        }
        self.settle();
    }

    /// Performs what groups' judges want.
    pub(super) fn perform(&mut self, effects: Effects) {
        for (group, effect) in effects {
            match effect {
                JudgeEffect::Cas { expected, record } => {
                    let key = keys::group_key(&group);
                    let op = planning::swap(&key, expected.0, keys::encode_group(&record));
                    self.propose(Why::Judge(group, expected), op);
                }
                JudgeEffect::ReadRecord => {
                    let record = self.view.groups.get(&group).cloned();
                    let input = record.map(JudgeInput::Record);
                    let effects = input.map(|input| self.courts.tell(&group, input));
                    self.perform(effects.unwrap_or_default());
                }
                effect => {
                    if let Some((to, order)) = courts::order(effect) {
                        self.send_down(&to, control::order_out(group.as_str(), &order));
                    }
                }
            }
        }
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
        let claim = self.host.world.desk.core.directory().revision().next().0;
        if !self.planner_busy
            && let Some(step) = self.planning.next(clock::now(), &self.view, claim)
        {
            tracing::info!(step = %step.what, "planner");
            self.planner_busy = true;
            self.propose(Why::Planner, step.op);
        }
        for (group, record) in &self.view.groups {
            let heard: BTreeSet<NodeId> = self
                .courts
                .get(group)
                .map(|court| court.judge.reports().keys().cloned().collect())
                .unwrap_or_default();
            let Some(plan) = planning::plan(&self.view, group, &heard) else { continue };
            let Some(master) = &record.master else { continue };
            if self.plans.get(group) != Some(&plan) {
                tracing::info!(%group, ?plan, "plan");
            }
            self.send_down(master, control::plan_out(group.as_str(), &plan));
            self.plans.insert(group.clone(), plan);
        }
    }

    pub(super) fn tick(&mut self) {
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
        if self.serving {
            let effects = self.courts.tell_all(&JudgeInput::Tick);
            self.perform(effects);
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
        let committed = self.host.replica().committed();
        if committed > Offset::ZERO && self.host.applied() >= committed && !self.serving {
            let desk = &mut self.host.world.desk;
            desk.core.loaded(&mut desk.streams);
            self.loaded = true;
        }
    }

    /// Keeps the flushed bound above every revision in use, on whoever may be asked for it.
    pub(super) fn reserve(&mut self) {
        if !self.host.has_begun() {
            return;
        }
        const AHEAD: u64 = 1 << 20;
        let used = self.host.world.desk.core.directory().revision().0;
        if used + AHEAD / 2 > self.host.replica().vote().reserved {
            self.host.handle(Event::Reserve(used + AHEAD));
        }
    }

    pub(super) fn report(&mut self) {
        if !self.host.has_begun() {
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
