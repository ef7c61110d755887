//! Parts that several kinds have.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// Where a node keeps its folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storage {
    /// Size of each node's volume, for example `10Gi`; may grow, never shrink.
    #[serde(default = "default_size")]
    #[schemars(length(max = 32))]
    pub size: String,
    /// The storage class; absent means the Kubernetes cluster's default. Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub class_name: Option<String>,
    /// What becomes of the volumes when the resource is deleted.
    #[serde(default)]
    pub on_delete: OnDelete,
}

/// What becomes of volumes whose resource is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnDelete {
    /// They stay, with all data, until a person deletes them.
    #[default]
    Keep,
    /// They are deleted with it.
    Delete,
}

fn default_size() -> String {
    "10Gi".to_owned()
}

impl Default for Storage {
    fn default() -> Self {
        Self { size: default_size(), class_name: None, on_delete: OnDelete::Keep }
    }
}

/// How many copies an acknowledged write has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ack {
    /// Answered at once; a failover may lose the last writes.
    Async,
    /// Two copies: survives the loss of any one node.
    #[default]
    One,
    /// A majority of the members.
    Quorum,
    /// Every member.
    All,
}

/// What an acknowledged write survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Durability {
    /// How many copies: `async`, `one` (two copies), `quorum` or `all`.
    pub ack: Ack,
    /// Copies in at least this many zones; 1 means anywhere.
    pub zones: i32,
    /// Whether a copy counts only when it is flushed to disk.
    pub flushed: bool,
}

impl Default for Durability {
    fn default() -> Self {
        Self { ack: Ack::One, zones: 1, flushed: false }
    }
}

/// How far behind a member is, as its master sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lag {
    /// Entries of the log not yet acknowledged.
    pub entries: i64,
}
