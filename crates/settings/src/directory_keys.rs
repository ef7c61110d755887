//! The values under `/cairn/` and their keys, shared by nodes, the command line and the operator.
//!
//! JSON, so that `etcdctl get --prefix /cairn/` can be read by people. Unknown fields are ignored
//! on reading: a node of the version before must live with what a newer one wrote. One file per
//! kind.

mod alive;
mod cluster;
mod drains;
mod group;
mod history;
mod keyspace;
mod moves;
mod node;
mod pins;
mod pool;
mod slots;
mod users;

pub use alive::{Alive, alive_key, node_of_alive_key};
pub use cluster::ClusterInfo;
pub use drains::{Drain, Drained, DrainedBy};
pub use group::{
    decode_group, encode_group, group_key, group_of, group_of_key, keyspace_of, number_of,
};
pub use history::{Sealed, TRANSITIONS_MAX, Transition, history_prefix, transition_key};
pub use keyspace::{
    KeyspaceConfig, KeyspaceLimits, keyspace_key, keyspace_of_key, masters_interval_ms,
};
pub use moves::{decode_moves, encode_moves, moves_key, moves_of_key};
pub use node::{Claim, Make, NodeInfo, node_key, node_of_key};
pub use pins::{decode_pin, encode_pin, pin_key, pin_of_key};
pub use pool::{PoolConfig, pool_key, pool_of_key};
pub use slots::{SlotOwners, SlotRange, slots_key, slots_of_key};
pub use users::{KeyspaceUsers, users_key, users_of_key};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// All that only the system may write.
pub const PREFIX: &str = "/cairn/";
/// The one key of [`ClusterInfo`]; its creation is the first Txn of a cluster.
pub const CLUSTER: &str = "/cairn/cluster";
/// Before the names of keyspaces.
pub const KEYSPACES: &str = "/cairn/keyspaces/";
/// Before the ids of nodes.
pub const NODES: &str = "/cairn/nodes/";
/// Before the ids of nodes whose lease lives.
pub const ALIVE: &str = "/cairn/alive/";
/// Before the ids of groups.
pub const GROUPS: &str = "/cairn/groups/";
/// Before the groups whose transitions they are.
pub const HISTORY: &str = "/cairn/history/";
/// Before the names of pools of spares.
pub const SPARES: &str = "/cairn/spares/";
/// Before `node/` or `machine/` and the name of what is drained.
pub const DRAINS: &str = "/cairn/drains/";
/// Before the ids of groups that were handed over by hand.
pub const PINS: &str = "/cairn/pins/";
/// Before the names of the keyspaces whose moves they are.
pub const MOVES: &str = "/cairn/moves/";
/// Before the names of the keyspaces whose slots they are.
pub const SLOTS: &str = "/cairn/slots/";
/// Before the names of the keyspaces whose users they are.
pub const USERS: &str = "/cairn/users/";

/// A value that is not of the kind its key says.
#[derive(Debug, thiserror::Error)]
#[error("{kind} in the directory is not readable")]
pub struct DecodeError {
    /// Which kind of value.
    pub kind: &'static str,
    /// Where the JSON breaks.
    pub source: serde_json::Error,
}

fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("directory values are plain data")
}

fn decode<T: DeserializeOwned>(kind: &'static str, bytes: &[u8]) -> Result<T, DecodeError> {
    serde_json::from_slice(bytes).map_err(|source| DecodeError { kind, source })
}

/// The name after `prefix`, if `key` is one level below it.
fn name_after<'k>(prefix: &str, key: &'k [u8]) -> Option<&'k str> {
    let name = std::str::from_utf8(key).ok()?.strip_prefix(prefix)?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}
