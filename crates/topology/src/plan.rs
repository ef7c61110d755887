//! Settings for every node, and what the directory is to hold.

use crate::roster::{Prefers, RosterNode};
use crate::{Faults, Resources, check, keyspace_config, name, pool_config, roster};
use cairn_crd::keyspace::Keyspace;
use cairn_crd::log::LogSpec;
use cairn_crd::quantity::{size_bytes, span_ms};
use cairn_crd::timing::{
    ACK_TIMEOUT, HEARTBEAT, NODE_LEASE, READ_LEASE, SEAL_WAIT, SILENCE_MAX, STUCK_MAX, Span,
};
use cairn_logic::ids::NodeId;
use cairn_logic::record::Durability;
use cairn_settings::directory_keys::{KeyspaceConfig, PoolConfig};
use cairn_settings::{
    Addresses, LagBounds, Limits, ListenAddresses, LogSettings, NodeRole, NodeSettings, Problems,
    Reads, Seed, Timing, TlsSettings,
};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Where a node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its folder; an absolute path on its machine.
    pub folder: PathBuf,
    /// Where it listens.
    pub listen: ListenAddresses,
    /// Where others reach it.
    pub advertise: Addresses,
    /// The zone of its machine.
    pub zone: Option<String>,
    /// Its machine, if other nodes may be on it, too.
    pub machine: Option<String>,
}

/// What the caller decides.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster's random name.
    pub cluster_uid: String,
    /// Before the names of all but data nodes; see [`roster`].
    pub prefix: String,
    /// The file with the cluster's secret, on every machine.
    pub secret_file: PathBuf,
    /// A place for every node of the roster.
    pub places: BTreeMap<NodeId, Place>,
}

/// The arguments of the founding call (docs/replication.md §9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The first global node: the one that is called.
    pub first: NodeId,
    /// All global nodes.
    pub members: Vec<NodeId>,
    /// Who keeps the arbiter's value.
    pub acceptors: Vec<NodeId>,
}

/// What resources become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Settings of each node, in starting order.
    pub nodes: Vec<NodeSettings>,
    /// Configurations of the keyspaces by name.
    pub keyspaces: BTreeMap<String, KeyspaceConfig>,
    /// Configurations of the pools of spares by name.
    pub pools: BTreeMap<String, PoolConfig>,
    /// Whom to found the cluster with.
    pub founding: Founding,
}

/// Why there is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The resources break rules.
    #[error("{0}")]
    Resources(Faults),
    /// A node of the roster has no place.
    #[error("node {node} has no place")]
    NoPlace {
        /// Which node.
        node: NodeId,
    },
    /// Settings that no node would accept; a rule of the resources is missing.
    #[error("settings of node {node} are not valid:\n{problems}")]
    Settings {
        /// Whose.
        node: NodeId,
        /// What is wrong with them.
        problems: Problems,
    },
}

/// Settings for every node of the roster, valid each.
///
/// # Errors
/// [`PlanError`]: resources that break rules, or a place that is missing.
pub fn plan(resources: &Resources, options: &Options) -> Result<Plan, PlanError> {
    check(resources).map_err(PlanError::Resources)?;
    let roster = roster(resources, &options.prefix);
    let mut seeds = BTreeMap::new();
    for node in roster.iter().filter(|n| n.role != NodeRole::Data) {
        let place = place(options, &node.id)?;
        let at = &place.advertise;
        let etcd = if node.role == NodeRole::Global { at.etcd.clone() } else { String::new() };
        let (peer, heartbeat) = (at.peer.clone(), at.heartbeat.clone());
        let seed = Seed { role: node.role, peer, heartbeat, etcd };
        seeds.insert(node.id.clone(), seed);
    }
    let common = Common { timing: timing(resources), seeds, resources, options };
    let nodes = roster
        .iter()
        .map(|node| common.settings(node, place(options, &node.id)?))
        .collect::<Result<Vec<_>, _>>()?;
    let of = |role| nodes.iter().filter(move |n| n.role == role).map(|n| n.node.clone());
    let members: Vec<_> = of(NodeRole::Global).collect();
    let first = nodes.first().expect("a checked cluster has a global node");
    let founding = Founding { first: first.node.clone(), members, acceptors: first.acceptors() };
    let keyspaces = resources
        .keyspaces
        .iter()
        .map(|k| (name(&k.metadata).to_owned(), keyspace_config(k, resources)))
        .collect();
    let pools = resources.pools.iter();
    let pools = pools.map(|p| (name(&p.metadata).to_owned(), pool_config(p))).collect();
    Ok(Plan { nodes, keyspaces, pools, founding })
}

fn place<'o>(options: &'o Options, node: &NodeId) -> Result<&'o Place, PlanError> {
    options.places.get(node).ok_or_else(|| PlanError::NoPlace { node: node.clone() })
}

/// What all nodes of a cluster share.
struct Common<'a> {
    timing: Timing,
    seeds: BTreeMap<NodeId, Seed>,
    resources: &'a Resources,
    options: &'a Options,
}

impl Common<'_> {
    fn settings(&self, node: &RosterNode, place: &Place) -> Result<NodeSettings, PlanError> {
        let cluster = &self.resources.cluster.spec;
        let (keyspace, group) = match &node.prefers {
            Prefers::Group(keyspace, group) => (Some(keyspace.clone()), Some(group.clone())),
            Prefers::Plane | Prefers::Pool(_) => (None, None),
        };
        let pool = match &node.prefers {
            Prefers::Pool(pool) => Some(pool.clone()),
            Prefers::Plane | Prefers::Group(..) => None,
        };
        let settings = NodeSettings {
            role: node.role,
            cluster_uid: self.options.cluster_uid.clone(),
            node: node.id.clone(),
            folder: place.folder.clone(),
            seeds: self.seeds.clone(),
            secret_file: self.options.secret_file.clone(),
            listen: place.listen,
            advertise: place.advertise.clone(),
            tls: TlsSettings::default(),
            timing: self.timing,
            lag: LagBounds::default(),
            log: self.log(keyspace.as_deref()),
            limits: self.limits(keyspace.as_deref()),
            preferred_keyspace: keyspace,
            preferred_group: group,
            pool,
            size_class: self.size_class(&node.prefers),
            zone: place.zone.clone(),
            machine: place.machine.clone(),
            priority: 0,
            reads: Reads::default(),
            durability: Durability { flushed: cluster.durability.flushed, zones: 1 },
        };
        settings
            .validate()
            .map_err(|problems| PlanError::Settings { node: node.id.clone(), problems })?;
        Ok(settings)
    }

    /// The keyspace's words about logs, or for nodes of no keyspace those of the cluster.
    fn log(&self, keyspace: Option<&str>) -> LogSettings {
        let cluster = &self.resources.cluster.spec;
        match self.keyspace(keyspace).map(|keyspace| &keyspace.spec) {
            Some(keyspace) => {
                let mut log = log(&keyspace.log, keyspace.snapshot_interval.as_deref());
                if let Some(ms) = keyspace.check_interval.as_deref().and_then(span_ms) {
                    log.check_interval = Duration::from_millis(ms);
                }
                log
            }
            None => log(&cluster.log, cluster.checkpoint.interval.as_deref()),
        }
    }

    fn size_class(&self, prefers: &Prefers) -> String {
        let written = match prefers {
            Prefers::Plane => None,
            Prefers::Group(name, _) => {
                self.keyspace(Some(name)).and_then(|keyspace| keyspace.spec.size_class.clone())
            }
            Prefers::Pool(pool) => {
                let mut pools = self.resources.pools.iter();
                let pool = pools.find(|p| name(&p.metadata) == pool);
                pool.and_then(|pool| pool.spec.size_class.clone())
            }
        };
        written.unwrap_or_default()
    }

    fn keyspace(&self, name: Option<&str>) -> Option<&Keyspace> {
        let named = |k: &&Keyspace| k.metadata.name.as_deref() == name;
        self.resources.keyspaces.iter().find(named).filter(|_| name.is_some())
    }

    fn limits(&self, keyspace: Option<&str>) -> Limits {
        match self.keyspace(keyspace) {
            Some(wanted) => keyspace_config(wanted, self.resources).limits.over(Limits::default()),
            None => Limits::default(),
        }
    }
}

/// A log is cut by whole segments: with a low bound they are small, so that there are eight.
const SEGMENTS: u64 = 8;
/// What their size is a multiple of.
const SEGMENT_STEP: u64 = 64 << 10;

fn log(spec: &LogSpec, interval: Option<&str>) -> LogSettings {
    let mut log = LogSettings::default();
    if let Some(ms) = interval.and_then(span_ms) {
        log.snapshot_interval = Duration::from_millis(ms);
    }
    let bytes = |written: &Option<String>| written.as_deref().and_then(size_bytes);
    log.bytes_max = bytes(&spec.bytes_max).unwrap_or(log.bytes_max);
    log.bytes_kept = bytes(&spec.bytes_kept).unwrap_or_else(|| LogSettings::kept_of(log.bytes_max));
    log.fetch_bytes_per_sec =
        bytes(&spec.fetch_bytes_per_second).unwrap_or(log.fetch_bytes_per_sec);
    let share = log.bytes_max / SEGMENTS / SEGMENT_STEP * SEGMENT_STEP;
    log.segment_bytes = share.clamp(1 << 20, log.segment_bytes);
    log
}

fn timing(resources: &Resources) -> Timing {
    let spec = &resources.cluster.spec.timing;
    let span = |span: Span| {
        Duration::from_millis(span.in_force_ms(spec).unwrap_or(span.preset_ms(spec.preset)))
    };
    Timing {
        heartbeat: span(HEARTBEAT),
        read_lease: span(READ_LEASE),
        silence_max: span(SILENCE_MAX),
        seal_wait: span(SEAL_WAIT),
        stuck_max: span(STUCK_MAX),
        ack_timeout: span(ACK_TIMEOUT),
        node_lease: span(NODE_LEASE),
    }
}
