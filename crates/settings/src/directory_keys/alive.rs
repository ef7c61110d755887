//! `/cairn/alive/<node>`: bound to the node's lease, gone when the node is.

use super::{ALIVE, DecodeError, decode, encode, name_after};
use cairn_logic::ids::{Incarnation, Life, NodeId};
use serde::{Deserialize, Serialize};

/// The key of a node's sign of life.
#[must_use]
pub fn alive_key(id: &NodeId) -> String {
    format!("{ALIVE}{id}")
}

/// The node whose sign of life is at `key`.
#[must_use]
pub fn node_of_alive_key(key: &[u8]) -> Option<NodeId> {
    name_after(ALIVE, key).map(NodeId::new)
}

/// Which run of which folder is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alive {
    /// The folder.
    pub incarnation: Incarnation,
    /// The run of its process.
    pub life: Life,
}

impl Alive {
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
        decode("alive", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_of_life_reads_back_and_names_its_node() {
        let alive = Alive { incarnation: Incarnation(9), life: Life(2) };
        assert_eq!(Alive::decode(&alive.encode()).unwrap(), alive);
        let id = NodeId::new("a-0");
        assert_eq!(node_of_alive_key(alive_key(&id).as_bytes()), Some(id));
    }
}
