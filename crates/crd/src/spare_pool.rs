//! `SparePool`: nodes that run, empty, and can become members of any group.

#![allow(clippy::duplicated_attributes, reason = "printer columns share types and paths")]

use crate::pods::Pods;
use crate::problem::Problem;
use crate::rules;
use crate::shared::{Condition, Storage};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of a pool of spares.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cairn.dev",
    version = "v1alpha1",
    kind = "SparePool",
    plural = "sparepools",
    namespaced,
    status = "SparePoolStatus",
    derive = "PartialEq",
    shortname = "csp",
    category = "cairn",
    doc = "Nodes that run, empty, and can become members of any group of their Cluster.",
    printcolumn(name = "Cluster", type_ = "string", json_path = ".spec.cluster"),
    printcolumn(name = "Size", type_ = "integer", json_path = ".spec.size"),
    printcolumn(name = "Idle", type_ = "integer", json_path = ".status.idle"),
    printcolumn(name = "Claimed", type_ = "integer", json_path = ".status.claimed"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SparePoolSpec {
    /// The name of its Cluster, in the same namespace. Cannot change.
    #[schemars(length(max = 63))]
    pub cluster: String,
    /// How many nodes run for it, idle or claimed, 1 to 64 (1).
    #[serde(default = "one")]
    pub size: i32,
    /// How many of them should be idle, 0 to size (1); with fewer the pool is exhausted.
    #[serde(default = "one")]
    pub idle_min: i32,
    /// How many of them should be idle in each zone that has nodes of groups or spares, 0 to size
    /// (0); with fewer in one the pool is exhausted there.
    #[serde(default)]
    pub min_idle_per_zone: i32,
    /// The class of their machines and volumes: they join groups of Keyspaces with the same one.
    /// Cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub size_class: Option<String>,
    /// For how long a member may be away before a spare replaces it (10s), 2s to 1h. The shortest
    /// of a Cluster's pools holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub replace_after: Option<String>,
    /// Where its nodes keep their folders.
    #[serde(default)]
    pub storage: Storage,
    /// The pods of its nodes; what is absent is as the Cluster says.
    #[serde(default)]
    pub pods: Pods,
}

/// What is seen of a pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SparePoolStatus {
    /// The generation of the spec this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Nodes that may be claimed now.
    #[serde(default)]
    pub idle: i32,
    /// Nodes that belong to groups.
    #[serde(default)]
    pub claimed: i32,
    /// What is true of it now, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

const fn one() -> i32 {
    1
}

impl SparePoolSpec {
    /// A pool of `cluster` with every default.
    #[must_use]
    pub fn of(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            size: one(),
            idle_min: one(),
            min_idle_per_zone: 0,
            size_class: None,
            replace_after: None,
            storage: Storage::default(),
            pods: Pods::default(),
        }
    }
}

impl SparePool {
    /// Everything that is wrong with a new pool.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        rules::problems(&rules::spare_pool(), self, None)
    }

    /// Everything that is wrong with this pool as a change of `old`.
    #[must_use]
    pub fn problems_changing(&self, old: &Self) -> Vec<Problem> {
        rules::problems(&rules::spare_pool(), self, Some(old))
    }
}
