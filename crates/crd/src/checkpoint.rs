//! Checkpoint nodes of a cluster, as resources write them.

use crate::pods::Pods;
use crate::shared::Storage;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nodes that follow the global log, write snapshots of the directory and hand them out; none of
/// them is ever master.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CheckpointSpec {
    /// How many, 0 to 3 (0). With acceptor: false, the first is the arbiter's third acceptor: then
    /// there is always one.
    pub replicas: i32,
    /// Between two snapshots of the directory (5m), 1s to 168h: on checkpoint nodes and on global
    /// replicas.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub interval: Option<String>,
    /// Where they keep their folders; absent means as the global nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// Their pods; what is absent is as the Cluster says.
    pub pods: Pods,
}
