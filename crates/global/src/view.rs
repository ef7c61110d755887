//! What is under `/cairn/`, as one process last read it.
//!
//! Fed by a watch over the network, or by the directory itself.

use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::masters::Pin;
use cairn_logic::moves::Moves;
use cairn_logic::record::Record;
use cairn_settings::directory_keys as keys;
use keys::{Alive, Claim, ClusterInfo, Drain, Drained, KeyspaceConfig, KeyspaceUsers, NodeInfo};
use keys::{PoolConfig, SlotOwners};
use serde::{Deserialize, Serialize};
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
    /// What is left of groups that were retired: records without members.
    pub retired: BTreeMap<GroupId, Record>,
    /// Pools of spares as configured.
    pub pools: BTreeMap<String, PoolConfig>,
    /// Slots by keyspace.
    pub slots: BTreeMap<String, SlotOwners>,
    /// Moves of slots by keyspace.
    pub moves: BTreeMap<String, Moves>,
    /// Nodes and machines that are to be empty.
    pub drains: BTreeMap<Drained, Drain>,
    /// Groups that were handed over by hand.
    pub pins: BTreeMap<GroupId, Pin>,
    /// Users of clients by keyspace.
    pub users: BTreeMap<String, KeyspaceUsers>,
    /// Everything as it was read: values and versions.
    raw: BTreeMap<Vec<u8>, (Vec<u8>, u64)>,
}

/// The view on disk.
#[derive(Serialize, Deserialize)]
struct Stored {
    revision: u64,
    keys: Vec<(String, String, u64)>,
}

impl View {
    /// The version of a key, 0 if it is absent: what a Txn compares.
    #[must_use]
    pub fn version(&self, key: &str) -> u64 {
        self.raw.get(key.as_bytes()).map_or(0, |(_, version)| *version)
    }

    /// Every key with its value and version, in the order of keys; signs of life come too, if there
    /// are any.
    pub fn raw(&self) -> impl Iterator<Item = (&[u8], &[u8], u64)> {
        self.raw.iter().map(|(key, (value, version))| (&key[..], &value[..], *version))
    }

    /// Takes one change. A value that cannot be read is logged and treated as absent.
    pub fn change(&mut self, changed: &Changed) {
        if changed.key.starts_with(keys::HISTORY.as_bytes()) {
            // For people: nobody decides by it.
            return;
        }
        match &changed.value {
            Some((value, version)) => {
                self.raw.insert(changed.key.clone(), (value.clone(), *version));
                if let Err(error) = self.put(&changed.key, value) {
                    let key = String::from_utf8_lossy(&changed.key).into_owned();
                    tracing::error!(%error, key, "unreadable value in the directory");
                }
            }
            None => {
                self.raw.remove(&changed.key);
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
        } else if let Some(name) = keys::pool_of_key(key) {
            self.pools.insert(name.to_owned(), PoolConfig::decode(value)?);
        } else if let Some(id) = keys::group_of_key(key) {
            let record = keys::decode_group(value)?;
            let (is, was) = match record.is_retired() {
                true => (&mut self.retired, &mut self.groups),
                false => (&mut self.groups, &mut self.retired),
            };
            was.remove(&id);
            is.insert(id, record);
        } else if let Some(name) = keys::slots_of_key(key) {
            self.slots.insert(name.to_owned(), SlotOwners::decode(value)?);
        } else if let Some(name) = keys::moves_of_key(key) {
            self.moves.insert(name.to_owned(), keys::decode_moves(value)?);
        } else if let Some(drained) = Drained::of_key(key) {
            // The key alone says it; whatever its value is, it is better not to claim.
            let drain = Drain::decode(value);
            let known = drain.as_ref().map_or_else(|_| Drain::default(), Clone::clone);
            self.drains.insert(drained, known);
            drain?;
        } else if let Some(group) = keys::pin_of_key(key) {
            self.pins.insert(group, keys::decode_pin(value)?);
        } else if let Some(name) = keys::users_of_key(key) {
            // Better nobody comes in than everybody.
            let users = KeyspaceUsers::decode(value);
            let known = users.as_ref().map_or_else(|_| KeyspaceUsers::nobody(), Clone::clone);
            self.users.insert(name.to_owned(), known);
            users?;
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
        } else if let Some(name) = keys::pool_of_key(key) {
            self.pools.remove(name);
        } else if let Some(id) = keys::group_of_key(key) {
            self.groups.remove(&id);
            self.retired.remove(&id);
        } else if let Some(name) = keys::slots_of_key(key) {
            self.slots.remove(name);
        } else if let Some(name) = keys::moves_of_key(key) {
            self.moves.remove(name);
        } else if let Some(drained) = Drained::of_key(key) {
            self.drains.remove(&drained);
        } else if let Some(group) = keys::pin_of_key(key) {
            self.pins.remove(&group);
        } else if let Some(name) = keys::users_of_key(key) {
            self.users.remove(name);
        }
    }

    /// The view as bytes, for a file: a restarted node knows its routes while the directory is
    /// away. Signs of life are left out: they say nothing later.
    #[must_use]
    pub fn store(&self) -> Vec<u8> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let lasting = self.raw.iter().filter(|(key, _)| !key.starts_with(keys::ALIVE.as_bytes()));
        let keys = lasting.map(|(key, (value, version))| (text(key), text(value), *version));
        let stored = Stored { revision: self.revision, keys: keys.collect() };
        serde_json::to_vec(&stored).expect("a view is plain data")
    }

    /// The view that [`View::store`] wrote; an empty one if the bytes are not that.
    #[must_use]
    pub fn restore(bytes: &[u8]) -> Self {
        let mut view = Self::default();
        if let Ok(stored) = serde_json::from_slice::<Stored>(bytes) {
            for (key, value, version) in stored.keys {
                let value = Some((value.into_bytes(), version));
                view.change(&Changed { key: key.into_bytes(), value });
            }
            view.revision = stored.revision;
        }
        view
    }

    /// Whether the registered folder of `id` is the one whose lease lives.
    #[must_use]
    pub fn is_alive(&self, id: &NodeId) -> bool {
        let (node, alive) = (self.nodes.get(id), self.alive.get(id));
        matches!((node, alive), (Some(n), Some(a)) if n.incarnation == a.incarnation)
    }

    /// Whether `id`, or the machine that it says it is on, is to be empty.
    #[must_use]
    pub fn is_drained(&self, id: &NodeId) -> bool {
        if self.drains.is_empty() {
            return false;
        }
        let machine = self.nodes.get(id).and_then(|info| info.machine.clone());
        self.drains.contains_key(&Drained::Node(id.clone()))
            || machine.is_some_and(|name| self.drains.contains_key(&Drained::Machine(name)))
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(view: &mut View, key: &str, value: &[u8]) {
        let value = Some((value.to_vec(), 3));
        view.change(&Changed { key: key.as_bytes().to_vec(), value });
    }

    #[test]
    fn a_stored_view_comes_back_without_signs_of_life() {
        let mut view = View { revision: 9, ..View::default() };
        put(&mut view, "/cairn/cluster", br#"{"uid":"c0ffee00","format":1}"#);
        put(&mut view, "/cairn/alive/a", br#"{"incarnation":1,"life":1}"#);
        assert_eq!(view.alive.len(), 1);
        let back = View::restore(&view.store());
        assert_eq!(back.cluster, view.cluster);
        assert_eq!((back.revision, back.version("/cairn/cluster")), (9, 3));
        assert!(back.alive.is_empty());
    }

    #[test]
    fn torn_bytes_are_an_empty_view_and_an_unreadable_value_is_absent() {
        assert_eq!(View::restore(b"{\"revision\":").revision, 0);
        let mut view = View::default();
        put(&mut view, "/cairn/cluster", b"{}");
        assert!(view.cluster.is_none());
        put(&mut view, "/cairn/users/t", b"[");
        assert_eq!(view.users["t"], KeyspaceUsers::nobody());
    }
}
