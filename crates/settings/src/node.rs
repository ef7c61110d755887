//! The settings file of one node.

use crate::{LagBounds, Limits, LogSettings, Problems, Timing, TlsSettings};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Durability;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What a node is for; also the sub-command of `cairn-node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeRole {
    /// Keeps the directory; an acceptor of the arbiter when its settings say so.
    Global,
    /// Keeps the data of a group, or waits to be claimed.
    Data,
    /// Keeps the arbiter's value and nothing else.
    Acceptor,
    /// Follows the global log, writes snapshots of the directory and hands them out; never master.
    /// The first of them is the third acceptor of a cluster that has no node of role acceptor.
    Checkpoint,
}

impl NodeRole {
    /// The sub-command of `cairn-node`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Data => "data",
            Self::Acceptor => "acceptor",
            Self::Checkpoint => "checkpoint",
        }
    }
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a linearizable read waits for (docs/replication.md §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reads {
    /// Live promises of the members; relies on clock rates.
    #[default]
    Lease,
    /// A round of acknowledgements sent after the read came; relies on no clock.
    Confirm,
}

/// The five doors of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Port {
    /// RESP.
    Client,
    /// etcd v3 gRPC.
    Etcd,
    /// Peers, the command line and the operator.
    Peer,
    /// Heartbeats and hello.
    Heartbeat,
    /// Metrics and probes.
    Metrics,
}

impl Port {
    /// All five, in the order of [`Addresses`].
    pub const ALL: [Self; 5] =
        [Self::Client, Self::Etcd, Self::Peer, Self::Heartbeat, Self::Metrics];

    /// The port number where nobody says otherwise.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::Client => 6379,
            Self::Etcd => 2379,
            Self::Peer => 7400,
            Self::Heartbeat => 7401,
            Self::Metrics => 9400,
        }
    }

    /// Its key in [`Addresses`] and [`ListenAddresses`].
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Etcd => "etcd",
            Self::Peer => "peer",
            Self::Heartbeat => "heartbeat",
            Self::Metrics => "metrics",
        }
    }
}

/// Where a node listens. Doors its role does not use stay closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenAddresses {
    /// RESP; default `0.0.0.0:6379`.
    pub client: SocketAddr,
    /// etcd v3 gRPC; default `0.0.0.0:2379`.
    pub etcd: SocketAddr,
    /// Peers; default `0.0.0.0:7400`.
    pub peer: SocketAddr,
    /// Heartbeats; default `0.0.0.0:7401`.
    pub heartbeat: SocketAddr,
    /// Metrics and probes; default `0.0.0.0:9400`.
    pub metrics: SocketAddr,
}

impl ListenAddresses {
    /// The address of one door.
    #[must_use]
    pub const fn get(&self, port: Port) -> SocketAddr {
        match port {
            Port::Client => self.client,
            Port::Etcd => self.etcd,
            Port::Peer => self.peer,
            Port::Heartbeat => self.heartbeat,
            Port::Metrics => self.metrics,
        }
    }
}

impl Default for ListenAddresses {
    fn default() -> Self {
        let any = |port: Port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.number()));
        Self {
            client: any(Port::Client),
            etcd: any(Port::Etcd),
            peer: any(Port::Peer),
            heartbeat: any(Port::Heartbeat),
            metrics: any(Port::Metrics),
        }
    }
}

/// Where others reach a node: `host:port`, a name or an address (IPv6 in brackets).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Addresses {
    /// RESP.
    pub client: String,
    /// etcd v3 gRPC.
    pub etcd: String,
    /// Peers.
    pub peer: String,
    /// Heartbeats.
    pub heartbeat: String,
    /// Metrics and probes.
    pub metrics: String,
}

impl Addresses {
    /// The address of one door.
    #[must_use]
    pub fn get(&self, port: Port) -> &str {
        match port {
            Port::Client => &self.client,
            Port::Etcd => &self.etcd,
            Port::Peer => &self.peer,
            Port::Heartbeat => &self.heartbeat,
            Port::Metrics => &self.metrics,
        }
    }
}

/// Where to find the global plane at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seed {
    /// Any role but [`NodeRole::Data`].
    pub role: NodeRole,
    /// Its peer port, `host:port`.
    pub peer: String,
    /// Its heartbeat port, `host:port`.
    pub heartbeat: String,
    /// Its etcd port, `host:port`; empty for all but global nodes.
    #[serde(default)]
    pub etcd: String,
}

/// All a node is told; one JSON file. Everything else it learns from its folder and the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSettings {
    /// What the node is for.
    pub role: NodeRole,
    /// The cluster's random name, made once: 32 of `0-9 a-f`.
    pub cluster_uid: String,
    /// The node's stable name; a DNS label of at most 63 characters.
    pub node: NodeId,
    /// Where its files are; one process at a time.
    pub folder: PathBuf,
    /// Every global node, acceptor and checkpoint node by name; 1 to 16, this node among them if
    /// it is one.
    pub seeds: BTreeMap<NodeId, Seed>,
    /// The file with the cluster's secret, at least 16 bytes; readable by the owner alone.
    pub secret_file: PathBuf,
    /// Where it listens.
    #[serde(default)]
    pub listen: ListenAddresses,
    /// Where others reach it.
    pub advertise: Addresses,
    /// Certificates; without any, all doors speak plain text.
    #[serde(default)]
    pub tls: TlsSettings,
    /// Spans of time; the same on every node.
    #[serde(default)]
    pub timing: Timing,
    /// When a member counts as in sync.
    #[serde(default)]
    pub lag: LagBounds,
    /// The log's files.
    #[serde(default)]
    pub log: LogSettings,
    /// Bounds on clients; the keyspace's own values replace them when the node is claimed.
    #[serde(default)]
    pub limits: Limits,
    /// Data nodes: the keyspace this node was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_keyspace: Option<String>,
    /// Data nodes: the group this node was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_group: Option<GroupId>,
    /// Data nodes: the pool of spares this node was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Data nodes: the class of machine and volume; nodes of one class may stand in for each other.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub size_class: String,
    /// The zone the machine is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The machine it runs on: masters are spread over machines. Absent: it shares one with nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// Among equals the greater one becomes master; 0 to 100, default 0.
    #[serde(default)]
    pub priority: u8,
    /// What linearizable reads wait for in the global plane; a group's come from its keyspace.
    #[serde(default)]
    pub reads: Reads,
    /// What an acknowledgement promises in the global plane; a group's comes from its record.
    #[serde(default = "plain_durability")]
    pub durability: Durability,
}

/// Copies in memory, anywhere: what a durability says that nobody wrote.
#[must_use]
pub const fn plain_durability() -> Durability {
    Durability { flushed: false, zones: 1 }
}

impl NodeSettings {
    /// Reads settings from JSON text and checks them; `unknown` gets the keys that this version
    /// does not know, each by its full path. Programs write these files: a newer operator may say
    /// more than an older node understands, and the node must start all the same.
    ///
    /// # Errors
    /// [`LoadError::Syntax`] names the line, [`LoadError::Invalid`] lists every problem.
    pub fn from_json(text: &str, unknown: &mut Vec<String>) -> Result<Self, LoadError> {
        let mut json = serde_json::Deserializer::from_str(text);
        let note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
        let settings: Self =
            serde_ignored::deserialize(&mut json, note).map_err(LoadError::Syntax)?;
        json.end().map_err(LoadError::Syntax)?;
        settings.validate().map_err(LoadError::Invalid)?;
        Ok(settings)
    }

    /// Reads and checks the settings file at `path`; `unknown` as in [`Self::from_json`].
    ///
    /// # Errors
    /// [`LoadError::Read`] if it cannot be read, else as [`Self::from_json`].
    pub fn load(path: &Path, unknown: &mut Vec<String>) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        Self::from_json(&text, unknown)
    }

    /// The file's text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("settings are plain data");
        text.push('\n');
        text
    }

    /// The cluster's random name as a number, as files keep it.
    ///
    /// # Panics
    /// If the settings were not validated.
    #[must_use]
    pub fn uid(&self) -> u128 {
        u128::from_str_radix(&self.cluster_uid, 16).expect("validated: 32 hexadecimal digits")
    }

    /// Whether the node is among those that [`Self::acceptors`] names.
    #[must_use]
    pub fn is_acceptor(&self) -> bool {
        self.acceptors().contains(&self.node)
    }

    /// Who is to keep the arbiter's value when the cluster is founded: nodes of role acceptor, or
    /// the first checkpoint node if there is none, then global nodes by name, [`ACCEPTORS`] of
    /// them; the first global node alone if there are only two.
    #[must_use]
    pub fn acceptors(&self) -> Vec<NodeId> {
        acceptors(&self.seeds)
    }
}

/// How many acceptors keep the arbiter's value.
pub const ACCEPTORS: usize = 3;

fn acceptors(seeds: &BTreeMap<NodeId, Seed>) -> Vec<NodeId> {
    let of = |role| seeds.iter().filter(move |(_, s)| s.role == role).map(|(id, _)| id.clone());
    let mut chosen: Vec<NodeId> = of(NodeRole::Acceptor).collect();
    if chosen.is_empty() {
        chosen.extend(of(NodeRole::Checkpoint).next());
    }
    chosen.extend(of(NodeRole::Global));
    chosen.truncate(ACCEPTORS);
    if chosen.len() == 2 {
        // Two acceptors survive nothing that one would not; and both must always be up.
        chosen.truncate(1);
    }
    chosen.sort();
    chosen
}

/// Why a settings file was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is not there or not readable.
    #[error("cannot read settings file {path:?}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not the JSON of settings.
    #[error("settings are not valid JSON of this version")]
    Syntax(#[source] serde_json::Error),
    /// Values that do not go together.
    #[error("settings are not valid:\n{0}")]
    Invalid(Problems),
}
