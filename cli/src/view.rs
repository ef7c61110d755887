//! What is known of a cluster at a moment: directory, nodes' own words, processes.

use crate::folder::{LocalNode, Roster};
use crate::plane::Plane;
use crate::supervise::Process;
use anyhow::{Context, Result};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::moves::Moves;
use cairn_logic::record::Record;
use cairn_settings::directory_keys as keys;
use cairn_settings::directory_keys::{
    Alive, Drain, Drained, KeyspaceConfig, NodeInfo, PoolConfig, SlotOwners,
};
use cairn_wire::peer::pb;
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The directory's topology.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    /// Keyspaces by name.
    pub keyspaces: BTreeMap<String, KeyspaceConfig>,
    /// Records of groups.
    pub groups: BTreeMap<GroupId, Record>,
    /// Owners of slots by keyspace.
    pub slots: BTreeMap<String, SlotOwners>,
    /// Moves of slots by keyspace.
    pub moves: BTreeMap<String, Moves>,
    /// Registered nodes.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Nodes whose lease lives.
    pub alive: BTreeMap<NodeId, Alive>,
    /// Pools of spares by name.
    pub pools: BTreeMap<String, PoolConfig>,
    /// Nodes and machines that are to be empty.
    pub drains: BTreeMap<Drained, Drain>,
}

impl Topology {
    /// Reads it from the global master.
    pub async fn read(plane: &Plane) -> Result<Self> {
        let mut topology = Self::default();
        for entry in plane.prefix(keys::PREFIX).await? {
            let (key, value) = (entry.key.as_slice(), entry.value.as_slice());
            if let Some(name) = keys::keyspace_of_key(key) {
                topology.keyspaces.insert(name.to_owned(), KeyspaceConfig::decode(value)?);
            } else if let Some(id) = keys::group_of_key(key) {
                let record = keys::decode_group(value)?;
                if !record.is_retired() {
                    topology.groups.insert(id, record);
                }
            } else if let Some(name) = keys::slots_of_key(key) {
                topology.slots.insert(name.to_owned(), SlotOwners::decode(value)?);
            } else if let Some(name) = keys::moves_of_key(key) {
                topology.moves.insert(name.to_owned(), keys::decode_moves(value)?);
            } else if let Some(id) = keys::node_of_alive_key(key) {
                topology.alive.insert(id, Alive::decode(value)?);
            } else if let Some(name) = keys::pool_of_key(key) {
                topology.pools.insert(name.to_owned(), PoolConfig::decode(value)?);
            } else if let Some(drained) = Drained::of_key(key) {
                topology.drains.insert(drained, Drain::decode(value)?);
            } else if let Some(id) = keys::node_of_key(key) {
                topology.nodes.insert(id, NodeInfo::decode(value)?);
            }
        }
        Ok(topology)
    }

    /// Whether `id`, or the machine that it says it is on, is to be empty.
    pub fn is_drained(&self, id: &NodeId) -> bool {
        let machine = self.nodes.get(id).and_then(|info| info.machine.clone());
        self.drains.contains_key(&Drained::Node(id.clone()))
            || machine.is_some_and(|name| self.drains.contains_key(&Drained::Machine(name)))
    }

    /// The record of a group, or which groups there are.
    pub fn group(&self, group: &GroupId) -> Result<&Record> {
        self.groups.get(group).with_context(|| {
            let known: Vec<_> = self.groups.keys().map(GroupId::as_str).collect();
            let name = group.as_str();
            format!("there is no group {name:?}; there are global, {}", known.join(", "))
        })
    }

    /// How many slots `group` owns.
    pub fn slots_of(&self, group: &GroupId) -> usize {
        self.slots.values().map(|owners| owners.owned_by(group)).sum()
    }
}

/// The epoch in which a node says that it masters this log.
pub fn masters(log: &pb::LogStatus) -> Option<u64> {
    let position = log.position?;
    (position.kind() == pb::PositionKind::Master).then_some(position.epoch)
}

/// A moment of a cluster.
pub struct View {
    /// What the supervisor or Kubernetes says, if it is there.
    pub processes: Option<BTreeMap<NodeId, Process>>,
    /// What nodes said; absent for those that did not answer.
    pub nodes: BTreeMap<NodeId, pb::StatusReply>,
    /// The directory, or why it could not be read.
    pub topology: Result<Topology>,
}

impl View {
    /// Asks everybody, at once; `processes` is what is known of them otherwise.
    pub async fn take(processes: Option<BTreeMap<NodeId, Process>>, plane: &Arc<Plane>) -> Self {
        Self::look(processes, plane, false).await
    }

    /// The same with the digests of all data, if `digests`.
    pub async fn look(
        processes: Option<BTreeMap<NodeId, Process>>,
        plane: &Arc<Plane>,
        digests: bool,
    ) -> Self {
        let mut calls = JoinSet::new();
        for node in plane.nodes().to_vec() {
            let plane = plane.clone();
            calls.spawn(async move {
                let status = match digests {
                    true => plane.status_with_digest(&node).await,
                    false => plane.status(&node).await,
                };
                (node.id, status)
            });
        }
        let topology = Topology::read(plane).await;
        let mut nodes = BTreeMap::new();
        while let Some(answer) = calls.join_next().await {
            if let Ok((id, Ok(status))) = answer {
                nodes.insert(id, status);
            }
        }
        Self { processes, nodes, topology }
    }

    /// The process of `node`.
    pub fn process(&self, node: &NodeId) -> Option<&Process> {
        self.processes.as_ref()?.get(node)
    }

    /// What `node` says of its log of `group`.
    pub fn log(&self, node: &NodeId, group: &str) -> Option<&pb::LogStatus> {
        self.nodes.get(node)?.logs.iter().find(|l| l.group == group)
    }

    /// Whether `group`'s master, as the record names it, says so itself.
    pub fn serves(&self, group: &GroupId, record: &Record) -> bool {
        let Some(master) = &record.master else { return false };
        self.log(master, group.as_str()).and_then(masters) == Some(record.epoch.0)
    }

    /// The greatest epoch in which a node says that it masters `group`, and that node.
    pub fn master_of(&self, group: &str) -> Option<(u64, String)> {
        let masters = self.nodes.keys().filter_map(|id| {
            let epoch = masters(self.log(id, group)?)?;
            Some((epoch, id.to_string()))
        });
        masters.max()
    }

    /// Whether the directory counts `node` among `group`'s members.
    pub fn belongs(&self, node: &NodeId, group: &str) -> bool {
        let topology = self.topology.as_ref().ok();
        let record = topology.and_then(|t| t.groups.get(&GroupId::new(group)));
        record.is_some_and(|record| record.member(node).is_some())
    }

    /// What is still missing until every slot of `state`'s keyspaces is served; empty when nothing.
    pub fn missing(&self, state: &Roster) -> Vec<String> {
        let topology = match &self.topology {
            Ok(topology) => topology,
            Err(error) => return vec![format!("the global plane does not serve: {error:#}")],
        };
        let mut missing = Vec::new();
        for name in &state.keyspaces {
            let owned = topology.slots.get(name).map_or(0, SlotOwners::owned);
            if owned != usize::from(cairn_logic::ids::SLOTS) {
                missing.push(format!("keyspace {name}: {owned} of 16384 slots have an owner"));
            }
            let ranges = topology.slots.get(name).map_or(&[][..], SlotOwners::ranges);
            for range in ranges {
                let record = topology.groups.get(&range.group);
                if !record.is_some_and(|record| self.serves(&range.group, record)) {
                    let line = format!("group {}: {}", range.group, self.waits(&range.group));
                    if !missing.contains(&line) {
                        missing.push(line);
                    }
                }
            }
        }
        missing
    }

    /// Configurations in which fewer members count than are wanted: those are served, but a fault
    /// may cost them more than it should.
    pub fn short(&self) -> Vec<String> {
        let short = |record: &Record| record.members.len() < usize::from(record.wanted);
        let line = |what: String, record: &Record| {
            let (count, wanted) = (record.members.len(), record.wanted);
            format!("{what}: {count} of {wanted} members count so far")
        };
        let mut lines = Vec::new();
        if let Some(record) = self.global_record().filter(short) {
            lines.push(line("global plane".to_owned(), &record));
        }
        let groups = self.topology.as_ref().into_iter().flat_map(|t| &t.groups);
        lines.extend(
            groups
                .filter(|(_, r)| short(r))
                .map(|(id, record)| line(format!("group {id}"), record)),
        );
        lines
    }

    /// The global plane's record, as its master last read it.
    pub fn global_record(&self) -> Option<Record> {
        let group = GroupId::global();
        let (_, master) = self.master_of(group.as_str())?;
        let log = self.log(&NodeId::new(master), group.as_str())?;
        keys::decode_group(&log.record).ok()
    }

    fn waits(&self, group: &GroupId) -> String {
        let logs = self.nodes.values().flat_map(|n| &n.logs);
        let lines: Vec<&str> = logs
            .filter(|l| l.group == group.as_str())
            .flat_map(|l| l.waiting.iter().map(String::as_str))
            .collect();
        if lines.is_empty() { "no master serves it".to_owned() } else { lines.join("; ") }
    }
}

/// Whether the RESP port of `node` answers a ping.
pub async fn answers_clients(node: &LocalNode) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ping = async {
        let address = node.address(cairn_settings::Port::Client);
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        stream.write_all(b"*1\r\n$4\r\nPING\r\n").await?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer).await?;
        // A keyspace with a password refuses the ping and serves all the same.
        std::io::Result::Ok(answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAU"))
    };
    let answered = tokio::time::timeout(std::time::Duration::from_secs(1), ping).await;
    matches!(answered, Ok(Ok(true)))
}
