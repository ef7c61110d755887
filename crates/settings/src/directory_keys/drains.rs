//! `/cairn/drains/node/<id>` and `/cairn/drains/machine/<name>`: which nodes are to be empty, and
//! who said so.

use super::{DRAINS, DecodeError, decode, encode, name_after};
use cairn_logic::ids::NodeId;
use serde::{Deserialize, Serialize};

/// What is drained.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Drained {
    /// One node.
    Node(NodeId),
    /// Every node that says it is on this machine.
    Machine(String),
}

/// Who says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DrainedBy {
    /// A person, who alone takes it back.
    #[default]
    Person,
    /// The operator: the machine of the node's pod takes no more pods. It takes it back itself.
    Operator,
}

/// The fact that something is drained.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Who says so.
    #[serde(default)]
    pub by: DrainedBy,
    /// The machine for whose sake a node is drained, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
}

impl Drained {
    /// The key that says that it is drained.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Node(id) => format!("{DRAINS}node/{id}"),
            Self::Machine(name) => format!("{DRAINS}machine/{name}"),
        }
    }

    /// What `key` is about.
    #[must_use]
    pub fn of_key(key: &[u8]) -> Option<Self> {
        let after = |kind| name_after(&format!("{DRAINS}{kind}/"), key);
        let node = after("node").map(|id| Self::Node(NodeId::new(id)));
        node.or_else(|| after("machine").map(|name| Self::Machine(name.to_owned())))
    }
}

impl std::fmt::Display for Drained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(id) => f.write_str(id.as_str()),
            Self::Machine(name) => write!(f, "machine {name}"),
        }
    }
}

impl Drain {
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
        decode("drain", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_says_what_is_drained_and_the_value_by_whom() {
        for drained in
            [Drained::Node(NodeId::new("t-0-1")), Drained::Machine("rack-1.example".to_owned())]
        {
            assert_eq!(Drained::of_key(drained.key().as_bytes()), Some(drained));
        }
        assert_eq!(Drained::of_key(b"/cairn/drains/zone/a"), None);
        let drain = Drain { by: DrainedBy::Operator, machine: Some("m1".to_owned()) };
        assert_eq!(drain.encode(), br#"{"by":"operator","machine":"m1"}"#);
        assert_eq!(Drain::decode(&drain.encode()).unwrap(), drain);
        assert_eq!(Drain::decode(b"{}").unwrap(), Drain::default());
    }
}
