//! Starts the data thread, the ports and the line to the global plane; then the control loop.

use super::cache::Cache;
use super::courier::{self, Targets};
use super::moving::{LineNews, Moving};
use super::role::Role;
use crate::aside;
use crate::boot::{self, Boot, StopSignals};
use crate::clock;
use crate::data::link::{Clock, Config, FromData, ToData};
use crate::data::rates::{Bounds, Rate};
use crate::data::{Options, start};
use crate::follow::{self, Follow, Heard};
use crate::metrics;
use crate::peer::links::AddressBook;
use crate::peer::{self, Inbound};
use anyhow::{Context, Result};
use cairn_host::Event;
use cairn_keyspace::{Classes, Eviction, Policy};
use cairn_logic::ids::Version;
use cairn_logic::time::{Duration, Instant};
use cairn_settings::directory_keys::{Claim, KeyspaceConfig, KeyspaceUsers, Make, NodeInfo};
use cairn_settings::{Limits, NodeRole, NodeSettings};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

/// Things that may wait for the control loop, of each kind.
const QUEUE: usize = 1024;
/// Between two ticks of the replica.
const TICK: Duration = Duration::from_millis(25);
/// How long a stopping master waits to be relieved, and the data thread to answer what waits.
const STOP_MAX: (Duration, Duration) = (Duration::from_secs(8), Duration::from_secs(1));

/// The data thread's limits, from settings and from the keyspace.
pub(super) fn config(settings: &NodeSettings, limits: Limits, keyspace: &KeyspaceConfig) -> Config {
    Config {
        password_sha256: keyspace.password_sha256.clone(),
        users: keyspace.users.clone(),
        // One that a newer resource may ask for is none here.
        events: Classes::parse(keyspace.notify_keyspace_events.as_bytes()).unwrap_or_default(),
        ..plain_config(settings, limits)
    }
}

fn plain_config(settings: &NodeSettings, limits: Limits) -> Config {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    Config {
        zone: settings.zone.clone(),
        ack_timeout: settings.timing.ack_timeout,
        clients_max: size(u64::from(boot::clients_max(limits.maxclients))),
        query_buffer_max_bytes: size(limits.query_buffer_bytes_max),
        output_buffer_max_bytes: size(limits.output_buffer_bytes_max),
        value_max_bytes: size(limits.bulk_bytes_max),
        memory_max_bytes: limits.maxmemory_bytes,
        eviction: Eviction {
            policy: Policy::parse(limits.maxmemory_policy.name().as_bytes()).unwrap_or_default(),
            samples: limits.maxmemory_samples,
            ..Eviction::default()
        },
        rates: Bounds {
            client: Rate::per_second(limits.client_commands_per_sec),
            user: Rate::per_second(limits.user_commands_per_sec),
        },
        check_interval: settings.log.check_interval,
        ..Config::default()
    }
}

/// What the node says of itself; its claim is not known here.
pub(super) fn info(boot: &Boot) -> NodeInfo {
    let settings = &boot.settings;
    NodeInfo {
        incarnation: boot.identity.me.incarnation,
        life: boot.identity.life(),
        role: NodeRole::Data,
        addresses: settings.advertise.clone(),
        zone: settings.zone.clone(),
        machine: settings.machine.clone(),
        preferred_keyspace: settings.preferred_keyspace.clone(),
        preferred_group: settings.preferred_group.clone(),
        pool: settings.pool.clone(),
        priority: settings.priority,
        make: make(settings),
        claim: Claim::Idle,
    }
}

/// What it has in common with the nodes whose group it may join.
fn make(settings: &NodeSettings) -> Make {
    let doors = settings.tls.clients.is_some();
    let shared = (settings.timing, settings.lag, doors);
    let shared = serde_json::to_vec(&shared).expect("plain data");
    let digest = Sha256::digest(&shared);
    Make {
        size_class: settings.size_class.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        settings: digest[..8].iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

struct Inputs {
    events: mpsc::UnboundedReceiver<Event>,
    inbox: mpsc::Receiver<Inbound>,
    heard: mpsc::Receiver<Heard>,
    from_data: mpsc::Receiver<FromData>,
    lines: mpsc::Receiver<LineNews>,
}

/// Why a data node's run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was asked to stop.
    Stopped,
    /// Its group has given its folder back: the next run sets that aside and begins with a new one.
    Released,
}

/// Runs a data node until it is asked to stop, or its group has given it back.
///
/// # Errors
/// Whatever keeps it from starting, or makes going on unsafe.
pub async fn run(boot: Boot) -> Result<End> {
    let settings = boot.settings.clone();
    let data = start(Options {
        listen: vec![settings.listen.client],
        me: settings.node.clone(),
        seed: boot.uid as u64,
        config: plain_config(&settings, settings.limits),
        clock: Clock { now: clock::now, unix_ms: clock::unix_ms },
        tls: boot.identity.tls.clients.clone(),
    })?;
    let (inbox, inbox_queue) = mpsc::channel(QUEUE);
    let (events, event_queue) = mpsc::unbounded_channel();
    let ((asks, ask_queue), (heard, heard_queue)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
    for (what, address) in
        [("peers", settings.listen.peer), ("heartbeats", settings.listen.heartbeat)]
    {
        let listener = boot::listen(what, address).await?;
        let routes = peer::peer_routes(&boot.identity, inbox.clone(), &boot.shelf);
        peer::spawn(&boot.identity, listener, inbox.clone(), routes);
    }
    metrics::spawn(boot::listen("metrics", settings.listen.metrics).await?, inbox.clone());
    let (cache, view) = Cache::open(&boot.folder)?;
    let (listeners, targets) = watch::channel(Targets::default());
    let (book, (said, lines)) = (AddressBook::default(), mpsc::channel(QUEUE));
    tokio::spawn(courier::run(boot.identity.clone(), book.clone(), targets, data.published));
    let mut role = Role {
        zone: crate::zone::watch(boot.file.clone(), settings.zone.clone()),
        data: data.link,
        host: None,
        group: None,
        view,
        cache,
        events,
        inbox,
        asks,
        book,
        routes: None,
        listeners,
        config: plain_config(&settings, settings.limits),
        users: KeyspaceUsers::default(),
        record: Version::ZERO,
        reported: Instant::ZERO,
        counted: (clock::now(), 0),
        stopped: false,
        disk_low: false,
        bounded: Instant::ZERO,
        lag: metrics::lag::Lag::default(),
        online: false,
        released: false,
        moving: Moving::new(said),
        boot,
    };
    role.boot.identity.tls.watch();
    role.resume()?;
    let follow = follow_of(&role);
    tokio::spawn(follow::run(follow, ask_queue, heard));
    let inputs = Inputs {
        events: event_queue,
        inbox: inbox_queue,
        heard: heard_queue,
        from_data: data.from,
        lines,
    };
    serve(role, inputs).await
}

/// Whom this node follows, and what it says of itself.
fn follow_of(role: &Role) -> Follow {
    let settings = &role.boot.settings;
    let global = settings.seeds.iter().filter(|(_, seed)| seed.role == NodeRole::Global);
    Follow {
        identity: role.boot.identity.clone(),
        seeds: global.map(|(id, seed)| (id.clone(), seed.peer.clone())).collect(),
        info: info(&role.boot),
        lease: settings.timing.node_lease,
        zone: role.zone.clone(),
    }
}

async fn serve(mut role: Role, mut inputs: Inputs) -> Result<End> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stop = StopSignals::listen()?;
    while !role.released {
        tokio::select! {
            () = stop.asked() => break,
            _ = tick.tick() => role.tick(),
            turn = inputs.turn(&mut role) => turn?,
        }
    }
    if role.released {
        return release(role);
    }
    tracing::info!("stopping");
    let deadline = clock::now() + STOP_MAX.0;
    while !role.is_relieved() && clock::now() < deadline {
        turn_for(&mut role, &mut inputs, TICK * 5).await?;
    }
    role.data.send(ToData::Stop { within: STOP_MAX.1 });
    let deadline = clock::now() + STOP_MAX.1 * 2;
    while !role.stopped && clock::now() < deadline {
        turn_for(&mut role, &mut inputs, TICK).await?;
    }
    if let Some(host) = role.host {
        host.world.storage.close();
    }
    tracing::info!("stopped");
    Ok(End::Stopped)
}

/// No record names this folder, so nobody waits for it. What it holds is made whole, for whoever
/// may want to look at it, and marked.
fn release(role: Role) -> Result<End> {
    let group = role.group.as_ref().map_or("", |group| group.as_str());
    tracing::info!(group, "released: the folder is set aside");
    if let Some(host) = role.host {
        host.world.storage.close();
    }
    let Boot { settings, identity, .. } = &role.boot;
    aside::mark(&settings.folder, identity.me.incarnation)?;
    Ok(End::Released)
}

/// Goes on with everything for about `span`.
async fn turn_for(role: &mut Role, inputs: &mut Inputs, span: Duration) -> Result<()> {
    let end = tokio::time::sleep(span);
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            turn = inputs.turn(role) => turn?,
        }
    }
    role.tick();
    Ok(())
}

impl Inputs {
    /// Waits for one thing and handles it.
    async fn turn(&mut self, role: &mut Role) -> Result<()> {
        tokio::select! {
            event = self.events.recv() => role.event(event.context("storage ended")?),
            inbound = self.inbox.recv() => role.inbound(inbound.context("ports ended")?),
            news = self.lines.recv() => role.hear_line(news.context("lines ended")?),
            heard = self.heard.recv() => role.heard(heard.context("the line ended")?)?,
            from = self.from_data.recv() => match from {
                Some(from) => role.hear_data(from),
                None if role.stopped => tokio::task::yield_now().await,
                None => anyhow::bail!("the data thread ended"),
            },
        }
        Ok(())
    }
}
