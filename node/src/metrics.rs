//! The metrics port: probes and figures, from what the control loop knows of itself.
//!
//! Nothing is counted for it while nobody asks: a request makes control answer with [`Facts`],
//! which are turned into text here. A control loop that does not answer is not alive.

pub mod lag;
pub mod names;

use crate::clock;
use crate::data::link::Shared;
use crate::data::turns::Part;
use crate::peer::Inbound;
use crate::snapshots::Figures;
use crate::storage::Room;
use cairn_directory::core::Status as DirectoryStatus;
use cairn_global::Pool;
use cairn_logic::ids::{GroupId, Offset};
use cairn_logic::record::Record;
use cairn_logic::time::{Duration, Instant};
use cairn_pages::Page;
use cairn_settings::NodeCondition;
use cairn_settings::directory_keys as keys;
use cairn_wire::peer::pb;
use names::{Kind, Metric};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// How long the control loop may take to answer.
const CONTROL_MAX: Duration = Duration::from_secs(3);
/// How long the data thread may take for a turn; it looks around each second when idle.
const TURN_MAX: Duration = Duration::from_secs(10);

/// What a control loop says of its node at a moment.
#[derive(Debug, Default)]
pub struct Facts {
    /// As `cairn status` shows it, without digests.
    pub status: pb::StatusReply,
    /// Why the node is not ready; nothing if it is.
    pub unready: Option<String>,
    /// The disk of its log.
    pub room: Option<Room>,
    /// The snapshots of its log.
    pub snapshots: Option<Figures>,
    /// The entry before the first that its log has.
    pub before: Option<Offset>,
    /// Entries behind the master, and for how long.
    pub lag: Option<(u64, Duration)>,
    /// The data thread's figures.
    pub data: Option<Arc<Shared>>,
    /// The directory, and its revision.
    pub directory: Option<(DirectoryStatus, u64)>,
    /// The pools of spares, as the global master knows.
    pub pools: Vec<Pool>,
    /// Nodes that are to be empty and still count, as the global master knows.
    pub drained: Option<usize>,
}

/// Answers on `listener` for as long as the process runs.
pub fn spawn(listener: TcpListener, inbox: mpsc::Sender<Inbound>) {
    tokio::spawn(cairn_pages::serve(listener, move |path| {
        let inbox = inbox.clone();
        async move { answer(&path, &inbox).await }
    }));
}

async fn answer(path: &str, inbox: &mpsc::Sender<Inbound>) -> Page {
    if !["/livez", "/readyz", "/startupz", "/metrics"].contains(&path) {
        return Page::unknown("/livez, /readyz, /startupz and /metrics");
    }
    let Some(facts) = ask(inbox).await else {
        return Page::unwell("the control loop does not turn");
    };
    let stuck = stuck(&facts, clock::now());
    let why = match path {
        "/metrics" => return figures(facts),
        "/livez" => stuck,
        "/readyz" => stuck.or(facts.unready),
        _ => None,
    };
    Page::of(why.as_deref())
}

async fn ask(inbox: &mpsc::Sender<Inbound>) -> Option<Facts> {
    let (reply, facts) = oneshot::channel();
    let exchange = async {
        inbox.send(Inbound::Facts(reply)).await.ok()?;
        facts.await.ok()?.ok()
    };
    timeout(CONTROL_MAX, exchange).await.ok().flatten()
}

/// Why the data thread is not alive, if there is one and it is not.
fn stuck(facts: &Facts, now: Instant) -> Option<String> {
    let turned_at = facts.data.as_ref()?.gauges.turned_at.load(Ordering::Relaxed);
    let since = now.since(Instant::from_nanos(turned_at));
    (since > TURN_MAX).then(|| format!("the data thread has not turned for {since:?}"))
}

fn figures(facts: Facts) -> Page {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Lines(samples(&facts))));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Page::text(kind, text)
        }
        Err(error) => Page::unwell(&format!("cannot write the figures: {error}")),
    }
}

/// One value of one metric.
#[derive(Debug)]
struct Sample {
    metric: Metric,
    labels: Vec<String>,
    value: f64,
}

fn sample(metric: Metric, value: f64) -> Sample {
    Sample { metric, labels: Vec::new(), value }
}

fn samples(facts: &Facts) -> Vec<Sample> {
    let status = &facts.status;
    let labels = vec![status.role.clone(), status.version.clone()];
    let ready = facts.unready.is_none() && stuck(facts, clock::now()).is_none();
    let mut all = vec![
        Sample { metric: names::INFO, labels, value: 1.0 },
        sample(names::READY, f64::from(u8::from(ready))),
        sample(names::RESIDENT, status.rss_bytes as f64),
    ];
    if let Some(room) = &facts.room {
        of_room(room, status, &mut all);
    }
    if let Some(figures) = &facts.snapshots {
        of_snapshots(figures, facts, &mut all);
    }
    if let Some(log) = status.logs.first() {
        of_log(log, facts, &mut all);
    }
    if let Some(data) = &facts.data {
        of_data(data, &mut all);
    }
    if let Some((directory, revision)) = &facts.directory {
        all.extend([
            sample(names::REVISION, *revision as f64),
            sample(names::DIRECTORY_KEYS, directory.keys as f64),
            sample(names::DIRECTORY_BYTES, directory.bytes as f64),
            sample(names::LEASES, directory.leases as f64),
            sample(names::WATCHES, directory.watches as f64),
            sample(names::WAITING, directory.waiting as f64),
        ]);
    }
    if let Some(drained) = facts.drained {
        all.push(sample(names::DRAINED, drained as f64));
    }
    if !facts.pools.is_empty() {
        of_pools(&facts.pools, &mut all);
    }
    all
}

fn of_pools(pools: &[Pool], all: &mut Vec<Sample>) {
    let sum = |count: fn(&Pool) -> usize| pools.iter().map(count).sum::<usize>();
    let states = [
        ("idle", sum(|pool| pool.idle)),
        ("claimed", sum(|pool| pool.claimed)),
        ("releasing", sum(|pool| pool.releasing)),
        ("away", sum(|pool| pool.away)),
        ("drained", sum(|pool| pool.drained)),
    ];
    all.extend(states.map(|(state, count)| {
        let labels = vec![state.to_owned()];
        Sample { metric: names::SPARES, labels, value: count as f64 }
    }));
    let exhausted = pools.iter().filter(|pool| pool.has_too_few()).count();
    all.push(sample(names::POOLS_EXHAUSTED, exhausted as f64));
    let mut missing: BTreeMap<&str, usize> = BTreeMap::new();
    for pool in pools {
        let zones = pool.zones.keys().map(|zone| (zone.as_str(), 0));
        for (zone, count) in zones.chain(pool.short_zones()) {
            *missing.entry(zone).or_default() += count;
        }
    }
    all.extend(missing.into_iter().map(|(zone, count)| {
        let labels = vec![zone.to_owned()];
        Sample { metric: names::ZONE_SPARES_MISSING, labels, value: count as f64 }
    }));
}

fn of_room(room: &Room, status: &pb::StatusReply, all: &mut Vec<Sample>) {
    all.push(sample(names::LIFE, status.life as f64));
    let told = [
        NodeCondition::DiskLow,
        NodeCondition::DiskFull,
        NodeCondition::CutTailsFull,
        NodeCondition::LogNearBound,
        NodeCondition::CopiesDiffer,
        NodeCondition::AutoscaleLimited,
    ];
    all.extend(told.map(|reason| {
        let holds = status.conditions.iter().any(|c| c.reason == reason.as_str());
        let labels = vec![reason.as_str().to_owned()];
        Sample { metric: names::CONDITION, labels, value: f64::from(u8::from(holds)) }
    }));
    all.extend([
        sample(names::DISK_FREE, room.free_bytes as f64),
        sample(names::DISK_RESERVE, room.reserve_bytes as f64),
        sample(names::LOG_BYTES, room.log_bytes as f64),
        sample(names::LOG_BOUND, room.log_bytes_max as f64),
    ]);
}

fn of_snapshots(figures: &Figures, facts: &Facts, all: &mut Vec<Sample>) {
    let last = facts.status.logs.first().and_then(|log| log.last).unwrap_or_default().offset;
    let from = figures.newest.map_or(0, |newest| newest.from.offset.0);
    if let Some(before) = facts.before {
        all.push(sample(names::LOG_BEFORE, before.0 as f64));
    }
    if let Some(newest) = figures.newest {
        let age_ms = clock::unix_ms().saturating_sub(newest.made_ms);
        all.push(sample(names::SNAPSHOT_AGE, age_ms as f64 / 1000.0));
        all.push(sample(names::SNAPSHOT_BYTES, newest.bytes as f64));
    }
    all.push(sample(names::SNAPSHOT_BEHIND, last.saturating_sub(from) as f64));
    if let Some(took_ms) = figures.took_ms {
        all.push(sample(names::SNAPSHOT_SECONDS, took_ms as f64 / 1000.0));
    }
    all.push(sample(names::SNAPSHOTS_ASIDE, figures.set_aside as f64));
    if let Some(fetching) = figures.fetching {
        all.push(sample(names::FETCH_BYTES, fetching.bytes as f64));
        all.push(sample(names::FETCH_TOTAL, fetching.total_bytes as f64));
    }
}

fn of_log(log: &pb::LogStatus, facts: &Facts, all: &mut Vec<Sample>) {
    let position = log.position.unwrap_or_default();
    for (kind, name) in [
        (pb::PositionKind::Follower, "follower"),
        (pb::PositionKind::Learner, "learner"),
        (pb::PositionKind::Elect, "elect"),
        (pb::PositionKind::Master, "master"),
    ] {
        let value = f64::from(u8::from(position.kind() == kind));
        all.push(Sample { metric: names::POSITION, labels: vec![name.to_owned()], value });
    }
    let last = log.last.unwrap_or_default();
    all.extend([
        sample(names::EPOCH, position.epoch.max(last.epoch) as f64),
        sample(names::LAST, last.offset as f64),
        sample(names::COMMITTED, log.committed as f64),
        sample(names::APPLIED, log.applied as f64),
    ]);
    let master = position.kind() == pb::PositionKind::Master;
    let silence = if master { 0.0 } else { log.master_silence_ms as f64 / 1000.0 };
    all.push(sample(names::SILENCE, silence));
    if let Some((entries, age)) = facts.lag.filter(|_| !master) {
        all.push(sample(names::LAG, entries as f64));
        all.push(sample(names::LAG_SECONDS, age.as_secs_f64()));
    }
    if let Some(it) = log.moves.first() {
        all.push(sample(names::MOVE, it.since_ms as f64 / 1000.0));
    }
    if let Some(record) = keys::decode_group(&log.record).ok().filter(|_| master) {
        let worst = |log: &pb::LogStatus| log.members.iter().map(|m| m.lag_entries).max();
        all.extend([
            sample(names::MEMBERS, record.members.len() as f64),
            sample(names::WANTED, f64::from(record.wanted)),
            sample(names::MEMBERS_LAG, worst(log).unwrap_or(0) as f64),
        ]);
    }
}

fn of_data(data: &Shared, all: &mut Vec<Sample>) {
    let gauges = &data.gauges;
    let figures = [
        (names::COMMANDS, &gauges.commands),
        (names::KEYS, &gauges.keys),
        (names::KEYSPACE, &gauges.memory_bytes),
        (names::CLIENTS, &gauges.clients),
        (names::CONNECTIONS, &gauges.connections),
        (names::REFUSED, &gauges.refused),
        (names::SLOWED, &gauges.slowed),
        (names::UNCOMMITTED, &gauges.uncommitted_bytes),
        (names::NOACKS, &gauges.noacks),
        (names::CHECKS, &gauges.checks),
        (names::DIFFERENCES, &gauges.differences),
        (names::REPAIRS, &gauges.repairs),
        (names::EVICTED, &gauges.evicted),
        (names::LOST_MESSAGES, &gauges.lost_messages),
    ];
    all.extend(figures.map(|(metric, value)| sample(metric, value.load(Ordering::Relaxed) as f64)));
    all.extend(Part::ALL.into_iter().zip(&gauges.long_turns).map(|(part, value)| Sample {
        metric: names::LONG_TURNS,
        labels: vec![part.name().to_owned()],
        value: value.load(Ordering::Relaxed) as f64,
    }));
}

/// Samples as Prometheus reads them; those of one metric stand together.
#[derive(Debug)]
struct Lines(Vec<Sample>);

impl Collector for Lines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for samples in self.0.chunk_by(|one, next| one.metric == next.metric) {
            let metric = samples[0].metric;
            // The encoder adds what ends the name of a counter.
            let (name, kind) = match metric.kind {
                Kind::Counter => (metric.name.trim_end_matches("_total"), MetricType::Counter),
                Kind::Gauge => (metric.name, MetricType::Gauge),
            };
            let help = metric.help.trim_end_matches('.');
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            if metric.labels.is_empty() {
                write(metric.kind, samples[0].value, family)?;
                continue;
            }
            for sample in samples {
                let labels: Vec<(&str, &str)> = metric
                    .labels
                    .iter()
                    .zip(&sample.labels)
                    .map(|(label, value)| (*label, value.as_str()))
                    .collect();
                write(metric.kind, sample.value, family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn write(kind: Kind, value: f64, encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
    match kind {
        Kind::Counter => ConstCounter::new(value).encode(encoder),
        Kind::Gauge => ConstGauge::new(value).encode(encoder),
    }
}

/// Why a replica in `log` is not ready; nothing if it is: a master, or a member that has loaded
/// what it has, hears its master and lags less than `age_max`.
#[must_use]
pub fn unready(
    log: &pb::LogStatus,
    record: Option<&Record>,
    loading: bool,
    lag: (u64, Duration),
    (silence_max, age_max): (Duration, Duration),
) -> Option<String> {
    let group = GroupId::new(&log.group);
    let silence = Duration::from_millis(log.master_silence_ms);
    match log.position.unwrap_or_default().kind() {
        _ if loading => Some(format!("the log of {group} is being loaded")),
        pb::PositionKind::Master => None,
        pb::PositionKind::Elect => Some(format!("about to master {group}")),
        pb::PositionKind::Learner => Some(format!("no member of {group} yet: it learns")),
        pb::PositionKind::Follower if record.is_none() => {
            Some(format!("has not read the record of {group} yet"))
        }
        pb::PositionKind::Follower if silence > silence_max => {
            Some(format!("has not heard the master of {group} for {silence:?}"))
        }
        pb::PositionKind::Follower if lag.1 > age_max => {
            let (entries, age) = lag;
            Some(format!("is {entries} entries and {age:?} behind the master of {group}"))
        }
        pb::PositionKind::Follower => None,
    }
}

#[cfg(test)]
mod tests;
