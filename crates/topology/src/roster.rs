//! The names of the nodes that resources ask for.

use crate::{Resources, name};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_settings::NodeRole;

/// One node, before it has a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RosterNode {
    /// Its stable name.
    pub id: NodeId,
    /// What it is for.
    pub role: NodeRole,
    /// Data nodes: what they are made for.
    pub prefers: Prefers,
}

/// What a node is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prefers {
    /// The global plane.
    Plane,
    /// A group of a keyspace.
    Group(String, GroupId),
    /// Whoever needs it: it is a spare of this pool.
    Pool(String),
}

/// The id of group `index` of a keyspace.
#[must_use]
pub fn group_id(keyspace: &str, index: u16) -> GroupId {
    GroupId::new(format!("{keyspace}-{index}"))
}

/// The name of the set of a pool's nodes, which are numbered from 0.
#[must_use]
pub fn spare_set(pool: &str) -> String {
    format!("{pool}-spare")
}

/// Every node in starting order: global nodes, the acceptor, checkpoint nodes, the groups' nodes,
/// then spares.
///
/// `prefix` comes before the names of all but data nodes (on Kubernetes the cluster's name
/// and a dash, so that several clusters share a namespace); the names of data nodes begin with
/// their keyspace or pool. The resources must have passed [`crate::check`].
#[must_use]
pub fn roster(resources: &Resources, prefix: &str) -> Vec<RosterNode> {
    let spec = &resources.cluster.spec;
    let system = |role: NodeRole, ordinal: i32| RosterNode {
        id: NodeId::new(format!("{prefix}{role}-{ordinal}")),
        role,
        prefers: Prefers::Plane,
    };
    let mut nodes: Vec<_> =
        (0..=spec.global_replicas).map(|n| system(NodeRole::Global, n)).collect();
    if spec.acceptor {
        nodes.push(system(NodeRole::Acceptor, 0));
    }
    nodes.extend((0..spec.checkpoint.replicas).map(|n| system(NodeRole::Checkpoint, n)));
    for keyspace in &resources.keyspaces {
        let name = name(&keyspace.metadata);
        for index in 0..u16::try_from(keyspace.spec.groups).unwrap_or(0) {
            let group = group_id(name, index);
            for ordinal in 0..keyspace.spec.members() {
                nodes.push(RosterNode {
                    id: NodeId::new(format!("{group}-{ordinal}")),
                    role: NodeRole::Data,
                    prefers: Prefers::Group(name.to_owned(), group.clone()),
                });
            }
        }
    }
    for pool in &resources.pools {
        let name = name(&pool.metadata);
        nodes.extend((0..pool.spec.size).map(|ordinal| RosterNode {
            id: NodeId::new(format!("{}-{ordinal}", spare_set(name))),
            role: NodeRole::Data,
            prefers: Prefers::Pool(name.to_owned()),
        }));
    }
    nodes
}
