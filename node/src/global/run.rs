//! Starts the replica, the acceptor, the ports and the lines; then the control loop.

use super::arbiter::{Arbiter, Replied};
use super::lines::{LineTo, Ordered};
use super::rebuild::{Rebuilding, Rebuilt};
use super::role::{Parts, Role};
use super::snapshots::{PlaneSnapshots, Written};
use super::world::{GlobalWorld, Todo};
use crate::acceptor::AcceptorHandle;
use crate::boot::{self, Boot, StopSignals};
use crate::clock;
use crate::etcd;
use crate::metrics;
use crate::peer::links::{AddressBook, Links, PeerAddress};
use crate::peer::{self, Identity, Inbound};
use crate::snapshots::Holder;
use crate::storage::{Notify, Storage};
use anyhow::{Context, Result};
use cairn_directory::core::Limits;
use cairn_directory::watch::Notice;
use cairn_global::{Asked, Court, GlobalMaster, Why};
use cairn_host::{Event, Host};
use cairn_logic::counting::Plane;
use cairn_logic::ids::{Epoch, GroupId, NodeId};
use cairn_logic::record::Record;
use cairn_logic::replication::{Reads, Replica};
use cairn_logic::time::Duration;
use cairn_settings::directory_keys::ClusterInfo;
use cairn_settings::{NodeRole, NodeSettings};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

/// Things that may wait for the control loop, of each kind.
const QUEUE: usize = 4096;
/// Between two ticks: half a heartbeat. A takeover goes on by messages, and waits for a tick only
/// to begin; an idle node's processor time is mostly that of waking up.
const TICK: Duration = Duration::from_millis(50);
/// How long a stopping master waits to be relieved.
const STOP_MAX: Duration = Duration::from_secs(8);
/// Bodies of recent batches kept in memory, in bytes.
const TAIL_BYTES_MAX: usize = 64 << 20;

struct Inputs {
    events: mpsc::UnboundedReceiver<Event>,
    inbox: mpsc::Receiver<Inbound>,
    asks: mpsc::Receiver<etcd::Asked>,
    replies: mpsc::Receiver<Replied>,
    ordered: mpsc::Receiver<Ordered>,
    asked: mpsc::Receiver<(Why, Asked)>,
    notices: mpsc::Receiver<Notice>,
    written: mpsc::UnboundedReceiver<Written>,
    rebuilt: mpsc::Receiver<Rebuilt>,
}

/// Runs a global node, or a checkpoint node, until it is asked to stop.
///
/// # Errors
/// Whatever keeps it from starting, or makes going on unsafe.
pub async fn run(boot: Boot) -> Result<()> {
    let settings = boot.settings.clone();
    let (inbox, inbox_queue) = mpsc::channel(QUEUE);
    let (events, event_queue) = mpsc::unbounded_channel();
    let (replies, reply_queue) = mpsc::channel(QUEUE);
    let (orders, order_queue) = mpsc::channel(QUEUE);
    let (asked, asked_queue) = mpsc::channel(QUEUE);
    let (notices, notice_queue) = mpsc::channel(QUEUE);
    let (written, written_queue) = mpsc::unbounded_channel();
    let (rebuilt, rebuilt_queue) = mpsc::channel(1);
    let (plane, plane_seen) = watch::channel(Arc::new(etcd::Plane::default()));
    let (handle, asks) = etcd::channel(plane_seen);
    let handle = handle.with_tls(boot.identity.tls.clients.clone());

    let start = || AcceptorHandle::start(&boot.folder, &boot.identity.me);
    let acceptor = settings.is_acceptor().then(start).transpose()?;
    let host = open(&boot, events, inbox.clone())?;
    let acceptors = settings.acceptors();
    let addresses = settings.seeds.iter().filter(|(id, _)| acceptors.contains(id));
    let addresses = addresses.map(|(id, seed)| (id.clone(), seed.peer.clone())).collect();
    let life = host.replica().vote().life;
    boot.identity.set_life(life);
    let identity = boot.identity.clone();
    let arbiter = Arbiter::new(identity.clone(), life, addresses, acceptor.clone(), replies);

    let listener = boot::listen("peers", settings.listen.peer).await?;
    let follows = settings.role == NodeRole::Checkpoint;
    let mut routes = peer::peer_routes(&identity, inbox.clone(), &boot.shelf);
    if !follows {
        etcd::add_routes(&mut routes, &handle.for_system());
    }
    peer::spawn(&identity, listener, inbox.clone(), routes);
    metrics::spawn(boot::listen("metrics", settings.listen.metrics).await?, inbox.clone());
    let listener = boot::listen("heartbeats", settings.listen.heartbeat).await?;
    let routes = peer::peer_routes(&identity, inbox.clone(), &boot.shelf);
    peer::spawn(&identity, listener, inbox, routes);
    if !follows {
        serve_clients(&settings, &identity, &handle).await?;
    }
    identity.tls.watch();
    let timing = settings.timing.for_logic(&settings.lag);
    let cluster = ClusterInfo { uid: settings.cluster_uid.clone(), format: cairn_settings::FORMAT };
    let role = Role::new(Parts {
        court: Court::new(Plane::Global, identity.me.clone(), timing),
        master: GlobalMaster::new(identity.me.clone(), timing, cluster),
        others: lines(&boot, &settings, &orders),
        boot,
        host,
        arbiter,
        acceptor,
        plane,
        asked,
        notices,
        written,
        rebuilding: Rebuilding::new(rebuilt),
    });
    let inputs = Inputs {
        events: event_queue,
        inbox: inbox_queue,
        asks,
        replies: reply_queue,
        ordered: order_queue,
        asked: asked_queue,
        notices: notice_queue,
        written: written_queue,
        rebuilt: rebuilt_queue,
    };
    serve(role, inputs).await
}

/// Answers etcd clients.
async fn serve_clients(
    settings: &NodeSettings,
    identity: &Identity,
    handle: &etcd::Handle,
) -> Result<()> {
    let listener = boot::listen("etcd clients", settings.listen.etcd).await?;
    let server = peer::server().add_routes(etcd::routes(handle));
    let clients = peer::incoming(listener, identity.tls.clients.clone(), None);
    tokio::spawn(server.serve_with_incoming(clients));
    Ok(())
}

fn global_nodes(settings: &NodeSettings) -> impl Iterator<Item = (&NodeId, &cairn_settings::Seed)> {
    settings.seeds.iter().filter(|(_, seed)| seed.role == NodeRole::Global)
}

/// Who has the global log: global nodes, and checkpoint nodes.
fn replicas(settings: &NodeSettings) -> impl Iterator<Item = (&NodeId, &cairn_settings::Seed)> {
    let has_log = |role| matches!(role, NodeRole::Global | NodeRole::Checkpoint);
    settings.seeds.iter().filter(move |(_, seed)| has_log(seed.role))
}

/// All others that may have snapshots. Checkpoint nodes are asked as members are.
pub(super) fn holders(settings: &NodeSettings, record: Option<&Record>) -> Vec<Holder> {
    let others = replicas(settings).filter(|(id, _)| **id != settings.node);
    let holder = |(id, seed): (&NodeId, &cairn_settings::Seed)| Holder {
        id: id.clone(),
        peer: seed.peer.clone(),
        member: true,
        master: record.is_some_and(|record| record.master.as_ref() == Some(id)),
    };
    others.map(holder).collect()
}

fn lines(
    boot: &Boot,
    settings: &NodeSettings,
    orders: &mpsc::Sender<Ordered>,
) -> BTreeMap<NodeId, LineTo> {
    let others = global_nodes(settings).filter(|(id, _)| **id != settings.node);
    let open = |id: &NodeId, address: &str| {
        LineTo::open(boot.identity.clone(), id.clone(), address.to_owned(), orders.clone())
    };
    others.map(|(id, seed)| (id.clone(), open(id, &seed.peer))).collect()
}

/// Opens the files and starts the replica.
fn open(
    boot: &Boot,
    events: mpsc::UnboundedSender<Event>,
    inbox: mpsc::Sender<Inbound>,
) -> Result<Host<GlobalWorld>> {
    let (settings, group) = (&boot.settings, GroupId::global());
    let notify: Notify = Arc::new(move |event| drop(events.send(event)));
    let (folder, uid) = (&boot.folder, boot.uid);
    let snapshots = PlaneSnapshots::open(boot, notify.clone())
        .context("cannot open the snapshots of the global plane")?;
    let (storage, recovered) = Storage::open(folder, uid, &group, settings.log, notify)
        .context("cannot open the files of the global plane")?;
    boot.shelf.offer(&group, snapshots.folder().clone(), storage.reader());
    let book = AddressBook::default();
    for (id, seed) in replicas(settings) {
        let (peer, heartbeat) = (seed.peer.clone(), seed.heartbeat.clone());
        book.set(id.clone(), PeerAddress { peer, heartbeat });
    }
    let world = GlobalWorld {
        storage,
        links: Links::new(group, boot.identity.clone(), book, inbox),
        desk: etcd::Desk::new(Limits::default()),
        todo: Todo::default(),
        read_until: None,
        epoch: Epoch::ZERO,
        snapshots,
        holders: holders(settings, None),
        gap: false,
        alarms: Vec::new(),
    };
    let mut effects = Vec::new();
    let replica = Replica::start(
        boot.identity.me.clone(),
        Plane::Global,
        recovered,
        settings.timing.for_logic(&settings.lag),
        Reads::Lease,
        clock::now(),
        &mut effects,
    );
    Ok(Host::new(world, replica, effects, TAIL_BYTES_MAX))
}

async fn serve(mut role: Role, mut inputs: Inputs) -> Result<()> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = StopSignals::listen()?;
    loop {
        tokio::select! {
            () = stop.asked() => break,
            _ = tick.tick() => role.tick(),
            turn = inputs.turn(&mut role) => turn?,
        }
    }
    tracing::info!("stopping");
    let deadline = clock::now() + STOP_MAX;
    while !role.is_relieved() && clock::now() < deadline {
        let end = tokio::time::sleep(TICK * 2);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                turn = inputs.turn(&mut role) => turn?,
            }
        }
    }
    role.host.world.storage.close();
    tracing::info!("stopped");
    Ok(())
}

impl Inputs {
    /// Waits for one thing and handles it; requests that wait together are handled together.
    async fn turn(&mut self, role: &mut Role) -> Result<()> {
        tokio::select! {
            event = self.events.recv() => role.event(event.context("storage ended")?),
            inbound = self.inbox.recv() => role.inbound(inbound.context("ports ended")?),
            ask = self.asks.recv() => {
                let now = clock::now();
                role.host.world.desk.accept(now, ask.context("the etcd port ended")?);
                while let Ok(ask) = self.asks.try_recv() {
                    role.host.world.desk.accept(now, ask);
                }
                role.settle();
            }
            replied = self.replies.recv() => {
                role.replied(replied.context("the arbiter ended")?);
            }
            ordered = self.ordered.recv() => role.ordered(&ordered.context("lines ended")?),
            asked = self.asked.recv() => {
                let (why, outcome) = asked.context("the loop ended")?;
                role.was_asked(why, outcome);
            }
            written = self.written.recv() => role.written(written.context("the loop ended")?),
            rebuilt = self.rebuilt.recv() => role.rebuilt(rebuilt.context("the loop ended")?),
            notice = self.notices.recv() => role.noticed(notice.context("the watch ended")?),
        }
        Ok(())
    }
}
