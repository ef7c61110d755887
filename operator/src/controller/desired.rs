//! What is wanted, checked: the only thing that [`super::build`] reads.

use super::certificates::{ClientDoor, WantedTls};
use crate::names;
use crate::object::Owner;
use cairn_crd::pods::Pods;
use cairn_crd::{Backup, Cluster, Keyspace, Restore, SparePool};
use cairn_logic::ids::NodeId;
use cairn_settings::directory_keys::{KeyspaceConfig, PoolConfig};
use cairn_settings::{NodeRole, NodeSettings};
use cairn_topology::Founding;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A cluster with its keyspaces, as it is to be now.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The resource.
    pub cluster: Arc<Cluster>,
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// The cluster's random name.
    pub uid: String,
    /// What the cluster's own pods are like; the image is always there.
    pub pods: Pods,
    /// Global nodes that are to run.
    pub globals: i32,
    /// The global plane's epoch and master, as last seen.
    pub mastership: Option<Mastership>,
    /// Settings of every node that is to run, by node.
    pub settings: BTreeMap<NodeId, NodeSettings>,
    /// Whom to found it with.
    pub founding: Founding,
    /// The keyspaces that passed all checks.
    pub keyspaces: Vec<WantedKeyspace>,
    /// The Backups and Restores that something is made for now.
    pub workers: Vec<WantedWorker>,
    /// Why the others did not, by name.
    pub refused: BTreeMap<String, String>,
    /// The pools of spares that passed all checks.
    pub pools: Vec<WantedPool>,
    /// Why the other pools did not, by name.
    pub refused_pools: BTreeMap<String, String>,
    /// Certificates, and who speaks TLS.
    pub tls: WantedTls,
    /// Sizes that volume claim templates have and cannot change, by StatefulSet.
    pub claim_sizes: BTreeMap<String, String>,
}

/// One keyspace as it is to be.
#[derive(Clone, Debug)]
pub struct WantedKeyspace {
    /// The resource.
    pub resource: Arc<Keyspace>,
    /// Its name.
    pub name: String,
    /// What its pods are like; the image is always there.
    pub pods: Pods,
    /// What the directory is to hold.
    pub config: KeyspaceConfig,
    /// How its clients speak.
    pub clients: ClientDoor,
    /// Its groups, also those that are still to be emptied.
    pub groups: Vec<WantedGroup>,
}

/// One pool of spares as it is to be.
#[derive(Clone, Debug)]
pub struct WantedPool {
    /// The resource.
    pub resource: Arc<SparePool>,
    /// Its name.
    pub name: String,
    /// Its StatefulSet.
    pub set: String,
    /// What its pods are like; the image is always there.
    pub pods: Pods,
    /// What the directory is to hold; nothing of a pool that is going.
    pub config: Option<PoolConfig>,
    /// Nodes asked for: none of a pool that is going.
    pub size: i32,
    /// Nodes that are to run: more than asked for while one that is to go is claimed.
    pub nodes: i32,
}

/// A pod that archives or restores, as it is to be.
#[derive(Clone, Debug)]
pub struct WantedWorker {
    /// What it is for.
    pub work: Work,
    /// Its keyspace, one of those that passed all checks.
    pub keyspace: String,
    /// What the pod is like; the image is always there.
    pub pods: Pods,
}

/// What a pod that is no node is for.
#[derive(Clone, Debug)]
pub enum Work {
    /// To send a keyspace to its archive.
    Backup(Arc<Backup>),
    /// To write what is in an archive into a keyspace, once.
    Restore(Arc<Restore>),
}

/// One group as it is to be.
#[derive(Clone, Debug)]
pub struct WantedGroup {
    /// Its name, which is also its id in the directory.
    pub name: String,
    /// Its number in the keyspace.
    pub index: i32,
    /// Members asked for.
    pub members: i32,
    /// Nodes that are to run: more than members while one that is to go still counts.
    pub nodes: i32,
    /// The Group, once it exists.
    pub owner: Option<Owner>,
    /// Its epoch and master, as last seen.
    pub mastership: Option<Mastership>,
}

/// Who masters what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mastership {
    /// The master.
    pub master: NodeId,
    /// Of which epoch.
    pub epoch: u64,
}

impl Desired {
    /// Who the cluster's own objects belong to.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::of(crate::object::Kind::Cluster, self.cluster.as_ref())
    }

    /// The keyspace `name`, if it passed all checks.
    #[must_use]
    pub fn keyspace(&self, name: &str) -> Option<&WantedKeyspace> {
        self.keyspaces.iter().find(|keyspace| keyspace.name == name)
    }

    /// The headless Service that names the node of `settings`.
    #[must_use]
    pub fn service_of(&self, settings: &NodeSettings) -> String {
        if let Some(pool) = &settings.pool {
            return names::spares(pool);
        }
        match (settings.role, &settings.preferred_keyspace) {
            (NodeRole::Acceptor, _) => names::acceptor(&self.name),
            (NodeRole::Checkpoint, _) => names::checkpoint(&self.name),
            (NodeRole::Data, Some(keyspace)) => names::nodes(keyspace),
            _ => names::global(&self.name),
        }
    }

    /// How clients speak with the node of `settings`.
    #[must_use]
    pub fn clients_of(&self, settings: &NodeSettings) -> &ClientDoor {
        let name = settings.preferred_keyspace.as_ref();
        let keyspace = self.keyspaces.iter().find(|keyspace| Some(&keyspace.name) == name);
        keyspace.map_or(&self.tls.clients, |keyspace| &keyspace.clients)
    }

    /// Settings of the nodes of the StatefulSet `set`, by pod.
    pub fn settings_of<'a>(&'a self, set: &'a str) -> impl Iterator<Item = &'a NodeSettings> {
        self.settings.values().filter(move |settings| {
            settings.node.as_str().rsplit_once('-').is_some_and(|(stem, _)| stem == set)
        })
    }
}

impl WantedPool {
    /// Who the pool's objects belong to.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::of(crate::object::Kind::SparePool, self.resource.as_ref())
    }

    /// Its nodes that are to run.
    pub fn nodes(&self) -> impl Iterator<Item = String> + use<'_> {
        (0..self.nodes).map(|ordinal| format!("{}-{ordinal}", self.set))
    }

    /// Its nodes that are asked for no longer and cannot go yet.
    pub fn leaving(&self) -> impl Iterator<Item = String> + use<'_> {
        (self.size..self.nodes).map(|ordinal| format!("{}-{ordinal}", self.set))
    }
}

impl WantedKeyspace {
    /// Who the keyspace's objects belong to.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::of(crate::object::Kind::Keyspace, self.resource.as_ref())
    }
}
