//! `/cairn/nodes/<id>`: a node that is up, and whose it is; bound to the node's lease.

use super::{DecodeError, NODES, decode, encode, name_after};
use crate::{Addresses, NodeRole};
use cairn_logic::ids::{GroupId, Incarnation, Life, NodeId};
use serde::{Deserialize, Serialize};

/// The key of a node's registration.
#[must_use]
pub fn node_key(id: &NodeId) -> String {
    format!("{NODES}{id}")
}

/// The node registered at `key`.
#[must_use]
pub fn node_of_key(key: &[u8]) -> Option<NodeId> {
    name_after(NODES, key).map(NodeId::new)
}

/// Whose a data node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub enum Claim {
    /// Nobody's: it may be claimed.
    #[default]
    Idle,
    /// A group's, by the Txn that gave out this number.
    Claimed {
        /// The group.
        group: GroupId,
        /// Unique among all claims ever made (the revision of the claim's Txn).
        claim: u64,
    },
    /// No longer the group's: no record names this folder, and none may any more. The node sets the
    /// folder aside and comes back with a new one, idle.
    Releasing {
        /// The group it was claimed by.
        group: GroupId,
        /// The number of that claim.
        claim: u64,
    },
}

/// What the nodes of one group must have in common, as far as the group's own nodes, which the
/// operator replaces one by one, do not see to it themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Make {
    /// The class of its machine and volume; empty where nobody says one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub size_class: String,
    /// The version of its program.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
    /// A digest of the settings that all nodes of a group must share: spans of time, bounds on lag,
    /// and whether clients speak TLS.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub settings: String,
}

/// What a node says of itself when it registers, and its claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeInfo {
    /// Its folder.
    pub incarnation: Incarnation,
    /// The run of its process.
    #[serde(default)]
    pub life: Life,
    /// What it is for.
    pub role: NodeRole,
    /// Where others reach it.
    pub addresses: Addresses,
    /// The zone of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The machine it runs on, where several nodes may share one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The keyspace it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_keyspace: Option<String>,
    /// The group it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_group: Option<GroupId>,
    /// The pool of spares it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Among equals the greater one becomes master; 0 to 100.
    #[serde(default)]
    pub priority: u8,
    /// What it has in common with the nodes that it may join.
    #[serde(default)]
    pub make: Make,
    /// Whose it is.
    #[serde(default)]
    pub claim: Claim,
}

impl NodeInfo {
    /// Whether this folder, and no other of its node, holds a claim of `group`.
    #[must_use]
    pub fn is_claimed_by(&self, group: &GroupId, incarnation: Incarnation) -> bool {
        self.incarnation == incarnation
            && matches!(&self.claim, Claim::Claimed { group: claimed, .. } if claimed == group)
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Bytes that are no such value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("node", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_reads_back_what_was_written_idle_claimed_or_releasing() {
        let group = GroupId::new("tweets-0");
        let claimed = Claim::Claimed { group: group.clone(), claim: 41 };
        let releasing = Claim::Releasing { group: group.clone(), claim: 41 };
        for claim in [Claim::Idle, claimed.clone(), releasing] {
            let info = NodeInfo {
                incarnation: Incarnation(7),
                life: Life(2),
                role: NodeRole::Data,
                addresses: Addresses { peer: "h:1".to_owned(), ..Addresses::default() },
                zone: Some("a".to_owned()),
                machine: Some("m".to_owned()),
                preferred_keyspace: Some("tweets".to_owned()),
                preferred_group: Some(GroupId::new("tweets-0")),
                pool: Some("warm".to_owned()),
                priority: 3,
                make: Make { version: "1.2.3".to_owned(), ..Make::default() },
                claim: claim.clone(),
            };
            assert_eq!(NodeInfo::decode(&info.encode()).unwrap(), info);
            let (this, other) = (Incarnation(7), Incarnation(8));
            assert_eq!(info.is_claimed_by(&group, this), claim == claimed);
            assert!(!info.is_claimed_by(&group, other));
        }
    }

    #[test]
    fn a_key_names_its_node() {
        let id = NodeId::new("tweets-0-1");
        assert_eq!(node_of_key(node_key(&id).as_bytes()), Some(id));
    }
}
