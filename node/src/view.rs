//! What is under `/cairn/`, as one process last read it.
//!
//! Fed by a watch over the network, or by the directory itself.

use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::record::Record;
use cairn_settings::directory_keys as keys;
use keys::{Alive, Claim, ClusterInfo, KeyspaceConfig, NodeInfo, SlotOwners};
use std::collections::BTreeMap;

/// One changed key; no value: it was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The key.
    pub key: Vec<u8>,
    /// Its value and version.
    pub value: Option<(Vec<u8>, u64)>,
}

/// The system's part of the directory at one revision.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The revision it is of.
    pub revision: u64,
    /// Who the cluster is; absent before its first Txn.
    pub cluster: Option<ClusterInfo>,
    /// Registered nodes.
    pub nodes: BTreeMap<NodeId, NodeInfo>,
    /// Nodes whose lease lives.
    pub alive: BTreeMap<NodeId, Alive>,
    /// Keyspaces as configured.
    pub keyspaces: BTreeMap<String, KeyspaceConfig>,
    /// The groups' records.
    pub groups: BTreeMap<GroupId, Record>,
    /// Slots by keyspace.
    pub slots: BTreeMap<String, SlotOwners>,
    versions: BTreeMap<Vec<u8>, u64>,
}

impl View {
    /// The version of a key, 0 if it is absent: what a Txn compares.
    #[must_use]
    pub fn version(&self, key: &str) -> u64 {
        self.versions.get(key.as_bytes()).copied().unwrap_or(0)
    }

    /// Takes one change. A value that cannot be read is logged and treated as absent.
    pub fn change(&mut self, changed: &Changed) {
        match &changed.value {
            Some((value, version)) => {
                self.versions.insert(changed.key.clone(), *version);
                if let Err(error) = self.put(&changed.key, value) {
                    let key = String::from_utf8_lossy(&changed.key).into_owned();
                    tracing::error!(%error, key, "unreadable value in the directory");
                }
            }
            None => {
                self.versions.remove(&changed.key);
                self.delete(&changed.key);
            }
        }
    }

    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), keys::DecodeError> {
        if key == keys::CLUSTER.as_bytes() {
            self.cluster = Some(ClusterInfo::decode(value)?);
        } else if let Some(id) = keys::node_of_key(key) {
            self.nodes.insert(id, NodeInfo::decode(value)?);
        } else if let Some(id) = keys::node_of_alive_key(key) {
            self.alive.insert(id, Alive::decode(value)?);
        } else if let Some(name) = keys::keyspace_of_key(key) {
            self.keyspaces.insert(name.to_owned(), KeyspaceConfig::decode(value)?);
        } else if let Some(id) = keys::group_of_key(key) {
            self.groups.insert(id, keys::decode_group(value)?);
        } else if let Some(name) = keys::slots_of_key(key) {
            self.slots.insert(name.to_owned(), SlotOwners::decode(value)?);
        }
        Ok(())
    }

    fn delete(&mut self, key: &[u8]) {
        if let Some(id) = keys::node_of_key(key) {
            self.nodes.remove(&id);
        } else if let Some(id) = keys::node_of_alive_key(key) {
            self.alive.remove(&id);
        } else if let Some(name) = keys::keyspace_of_key(key) {
            self.keyspaces.remove(name);
        } else if let Some(id) = keys::group_of_key(key) {
            self.groups.remove(&id);
        } else if let Some(name) = keys::slots_of_key(key) {
            self.slots.remove(name);
        }
    }

    /// Whether the registered folder of `id` is the one whose lease lives.
    #[must_use]
    pub fn is_alive(&self, id: &NodeId) -> bool {
        let (node, alive) = (self.nodes.get(id), self.alive.get(id));
        matches!((node, alive), (Some(n), Some(a)) if n.incarnation == a.incarnation)
    }

    /// Nodes claimed by `group`, by name.
    pub fn claimed<'v>(
        &'v self,
        group: &'v GroupId,
    ) -> impl Iterator<Item = (&'v NodeId, &'v NodeInfo)> {
        self.nodes
            .iter()
            .filter(move |(_, n)| matches!(&n.claim, Claim::Claimed { group: g, .. } if g == group))
    }

    /// The keyspace a group belongs to: groups are named `<keyspace>-<n>`.
    #[must_use]
    pub fn keyspace_of(group: &GroupId) -> Option<&str> {
        group.as_str().rsplit_once('-').map(|(keyspace, _)| keyspace)
    }
}
