//! What is seen of a cluster, from Kubernetes and from its own nodes.

use super::certificates::Certificates;
use crate::object::Id;
use cairn_crd::{Backup, Cluster, Group, Keyspace, Restore, SparePool};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Record;
use cairn_settings::directory_keys::{
    Claim, Drain, Drained, KeyspaceConfig, NodeInfo, PoolConfig, SlotOwners,
};
use cairn_settings::report::BackupReport;
use cairn_wire::peer::pb::{LogStatus, MemberStatus, PositionKind, StatusReply};
use kube::core::DynamicObject;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything that a reconcile knows; nothing else is looked at later.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The resource.
    pub cluster: Arc<Cluster>,
    /// The keyspaces that name it.
    pub keyspaces: Vec<Arc<Keyspace>>,
    /// Their groups, by name.
    pub groups: BTreeMap<String, Arc<Group>>,
    /// Backups of its keyspaces, and those of keyspaces that do not exist.
    pub backups: Vec<Arc<Backup>>,
    /// Restores into its keyspaces, and those into keyspaces that do not exist.
    pub restores: Vec<Arc<Restore>>,
    /// The pools of spares that name it, also those that are going.
    pub pools: Vec<Arc<SparePool>>,
    /// Pods that archive or restore, by name.
    pub workers: BTreeMap<String, WorkerSeen>,
    /// What pods that archive say of themselves, by Backup; absent for those that do not answer.
    pub reports: BTreeMap<String, BackupReport>,
    /// What Backups and Restores refer to that is not there or not what it should be, in words.
    pub lacking: BTreeMap<Id, String>,
    /// What was made for it before.
    pub live: BTreeMap<Id, Arc<DynamicObject>>,
    /// Pods of its nodes, by name.
    pub pods: BTreeMap<String, PodSeen>,
    /// Machines, by name.
    pub machines: BTreeMap<String, Machine>,
    /// Volume claims of its nodes, by name.
    pub claims: BTreeMap<String, ClaimSeen>,
    /// Passwords that keyspaces refer to, by (Secret, key); absent if not found.
    pub passwords: BTreeMap<(String, String), String>,
    /// What its doors show and trust.
    pub certificates: Certificates,
    /// Who the cluster is; absent before it was decided.
    pub identity: Option<Identity>,
    /// What its nodes say.
    pub plane: PlaneSeen,
    /// Seconds since 1970.
    pub now_sec: i64,
}

/// Who a cluster is: made once, kept in a Secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its random name.
    pub uid: String,
    /// What its processes prove to each other.
    pub secret: String,
    /// Whether its processes speak mutual TLS among themselves: decided with the rest.
    pub tls: bool,
    /// Whether the founding call was answered.
    pub founded: bool,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Identity of {} (founded: {})", self.uid, self.founded)
    }
}

/// What matters of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Tells it from another of the same name.
    pub uid: String,
    /// The hash of the template it was made from.
    pub template: String,
    /// The machine it is on.
    pub machine: Option<String>,
    /// Whether its container runs.
    pub running: bool,
    /// Whether the node says it is in sync.
    pub ready: bool,
    /// Whether it is being stopped.
    pub deleting: bool,
    /// When it was made, in seconds since 1970.
    pub created_sec: i64,
    /// What it waits for, in words; empty for nothing.
    pub waits: String,
    /// How often its container ended.
    pub exits: i32,
    /// How it ended last.
    pub last_exit: String,
    /// Of a spare: the group that its labels say it serves, and that group's keyspace.
    pub labelled: Option<(String, String)>,
}

/// What matters of a pod that archives or restores.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSeen {
    /// [`crate::names::ARCHIVE`] or [`crate::names::RESTORES`].
    pub role: String,
    /// The Backup or Restore that it is for.
    pub of: String,
    /// What it shares with pods of nodes.
    pub pod: PodSeen,
    /// Its address; absent before it has one.
    pub address: Option<String>,
    /// What its container left behind when it ended.
    pub message: Option<String>,
}

/// What matters of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its zone.
    pub zone: Option<String>,
    /// Whether its kubelet says that it is well.
    pub ready: bool,
    /// Whether it takes no more pods: it is being drained.
    pub cordoned: bool,
}

/// What matters of a volume claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimSeen {
    /// The size asked for.
    pub wanted: String,
    /// The size there is; empty before it is bound.
    pub there: String,
    /// The uid of the cluster whose data it holds.
    pub cluster_uid: Option<String>,
}

/// What the directory holds, as far as the operator is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    /// What is wanted of each keyspace.
    pub keyspaces: BTreeMap<String, KeyspaceConfig>,
    /// What is wanted of each pool of spares.
    pub pools: BTreeMap<String, PoolConfig>,
    /// Nodes and machines that are to be empty.
    pub drains: BTreeMap<Drained, Drain>,
    /// The groups' records.
    pub groups: BTreeMap<GroupId, Record>,
    /// Who owns which slots.
    pub slots: BTreeMap<String, SlotOwners>,
    /// Nodes that registered.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Those whose lease lives.
    pub alive: BTreeSet<NodeId>,
    /// The revision at which each key was changed last.
    pub revisions: BTreeMap<String, i64>,
}

impl Directory {
    /// The group that `node` is claimed by, or is on its way back from.
    #[must_use]
    pub fn holder(&self, node: &str) -> Option<&GroupId> {
        match &self.nodes.get(&NodeId::new(node))?.claim {
            Claim::Idle => None,
            Claim::Claimed { group, .. } | Claim::Releasing { group, .. } => Some(group),
        }
    }

    /// Whether `node`, or the machine that it says it is on, is to be empty.
    #[must_use]
    pub fn is_drained(&self, node: &NodeId) -> bool {
        let machine = self.nodes.get(node).and_then(|info| info.machine.clone());
        self.drains.contains_key(&Drained::Node(node.clone()))
            || machine.is_some_and(|name| self.drains.contains_key(&Drained::Machine(name)))
    }

    /// The group that `node` is claimed by.
    #[must_use]
    pub fn claimed_by(&self, node: &str) -> Option<&GroupId> {
        match &self.nodes.get(&NodeId::new(node))?.claim {
            Claim::Claimed { group, .. } => Some(group),
            Claim::Idle | Claim::Releasing { .. } => None,
        }
    }
}

/// What the cluster's nodes say.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlaneSeen {
    /// The directory; absent when the global plane does not serve.
    pub directory: Option<Directory>,
    /// Why it is absent.
    pub error: String,
    /// What each node says of itself; absent for those that did not answer.
    pub nodes: BTreeMap<NodeId, StatusReply>,
    /// What judges say that a person must know, by group.
    pub alarms: BTreeMap<GroupId, Vec<String>>,
    /// Passwords' digests and other settings that were written just now.
    pub wrote: bool,
}

impl PlaneSeen {
    /// What `node` says of its log of `group`.
    #[must_use]
    pub fn log(&self, node: &NodeId, group: &GroupId) -> Option<&LogStatus> {
        self.nodes.get(node)?.logs.iter().find(|log| log.group == group.as_str())
    }

    /// The record of `group`: the directory's, or the newest that a global node has read.
    #[must_use]
    pub fn record(&self, group: &GroupId) -> Option<Record> {
        if *group != GroupId::global() {
            return self.directory.as_ref()?.groups.get(group).cloned();
        }
        let logs = self.nodes.keys().filter_map(|node| self.log(node, group));
        let records = logs.filter_map(|log| serde_json::from_slice::<Record>(&log.record).ok());
        records.max_by_key(|record| record.version)
    }

    /// Whether the master of `record` says itself that it masters it.
    #[must_use]
    pub fn serves(&self, group: &GroupId, record: &Record) -> bool {
        let log = record.master.as_ref().and_then(|master| self.log(master, group));
        log.and_then(|log| log.position).is_some_and(|position| {
            position.kind() == PositionKind::Master && position.epoch == record.epoch.0
        })
    }

    /// How far `node` is, as the master of `record` sees it; the master itself is never behind.
    #[must_use]
    pub fn progress(
        &self,
        group: &GroupId,
        record: &Record,
        node: &NodeId,
    ) -> Option<MemberStatus> {
        let master = record.master.as_ref()?;
        let log = self.log(master, group)?;
        if node == master {
            return Some(MemberStatus { node: node.to_string(), ..MemberStatus::default() });
        }
        log.members.iter().find(|member| member.node == node.as_str()).cloned()
    }
}

/// A member that its master has not heard for this long is not in sync, in milliseconds.
pub const HEARD_MS_MAX: u64 = 1_000;
/// Entries behind above which a member is not in sync for the operator's purposes: nothing is
/// taken away while it is so. A fifth of a second of writes at full speed.
pub const LAG_ENTRIES_MAX: u64 = 20_000;

/// Whether this is the progress of a member in sync.
#[must_use]
pub fn in_sync(progress: &MemberStatus) -> bool {
    progress.heard_ms <= HEARD_MS_MAX && progress.lag_entries <= LAG_ENTRIES_MAX
}

impl Observed {
    /// The cluster's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.cluster.metadata.name.as_deref().unwrap_or_default()
    }

    /// The namespace of all of it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.cluster.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Whether the founding call was answered, by either of the two places that say so.
    #[must_use]
    pub fn is_founded(&self) -> bool {
        let status = self.cluster.status.as_ref().is_some_and(|status| status.founded);
        status || self.identity.as_ref().is_some_and(|identity| identity.founded)
    }

    /// How many pods the StatefulSet `set` asks for now.
    #[must_use]
    pub fn replicas(&self, set: &str) -> Option<i32> {
        let live = self.live.get(&(crate::object::Kind::StatefulSet, set.to_owned()))?;
        i32::try_from(live.data.pointer("/spec/replicas")?.as_i64()?).ok()
    }

    /// The machine that a node's pod is on.
    #[must_use]
    pub fn machine_of(&self, node: &NodeId) -> Option<(&String, &Machine)> {
        let name = self.pods.get(node.as_str())?.machine.as_ref()?;
        Some((name, self.machines.get(name)?))
    }

    /// The keyspace `name`, if its resource exists.
    #[must_use]
    pub fn keyspace(&self, name: &str) -> Option<&Arc<Keyspace>> {
        self.keyspaces.iter().find(|keyspace| keyspace.metadata.name.as_deref() == Some(name))
    }

    /// The newest pod of role `role` for the resource `name`.
    #[must_use]
    pub fn worker(&self, role: &str, name: &str) -> Option<&WorkerSeen> {
        let ours = self.workers.values().filter(|worker| worker.of == name && worker.role == role);
        ours.max_by_key(|worker| (!worker.pod.deleting, worker.pod.created_sec))
    }

    /// The zone that a node's pod is in.
    #[must_use]
    pub fn zone_of(&self, node: &NodeId) -> Option<&String> {
        self.machine_of(node)?.1.zone.as_ref()
    }
}
