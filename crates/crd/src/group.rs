//! `Group`: one part of a keyspace; made by the operator, read by people.

#![allow(clippy::duplicated_attributes, reason = "printer columns share types and paths")]

use crate::problem::Problem;
use crate::rules;
use crate::shared::{Condition, Lag};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a keyspace asks of one of its groups.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cairn.dev",
    version = "v1alpha1",
    kind = "Group",
    plural = "groups",
    namespaced,
    status = "GroupStatus",
    derive = "PartialEq",
    shortname = "cg",
    category = "cairn",
    doc = "A group: the nodes that hold one part of a keyspace. Made by its Keyspace.",
    printcolumn(name = "Keyspace", type_ = "string", json_path = ".spec.keyspace"),
    printcolumn(name = "Master", type_ = "string", json_path = ".status.master"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Lag", type_ = "integer", json_path = ".status.lag.entries"),
    printcolumn(name = "Slots", type_ = "integer", json_path = ".status.slots"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GroupSpec {
    /// The name of its Keyspace. Cannot change.
    #[schemars(length(max = 63))]
    pub keyspace: String,
    /// Its number in the keyspace, from 0. Cannot change.
    pub index: i32,
    /// Members wanted: the master, replicas and backups, 1 to 7.
    pub members: i32,
}

/// What is seen of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// The generation of the spec this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The master of `epoch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The configuration in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// How far behind the slowest member is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// Slots it owns.
    #[serde(default)]
    pub slots: i32,
    /// The members that count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberStatus>,
    /// What is true of it now, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// One member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// The node's id, which is its pod's name.
    pub node: String,
    /// `master`, `replica` or `backup`.
    pub role: String,
    /// How far behind it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag: Option<Lag>,
    /// The machine its pod is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<String>,
    /// The zone of its machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

impl Group {
    /// Everything that is wrong with a new group.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        rules::problems(&rules::group(), self, None)
    }

    /// Everything that is wrong with this group as a change of `old`.
    #[must_use]
    pub fn problems_changing(&self, old: &Self) -> Vec<Problem> {
        rules::problems(&rules::group(), self, Some(old))
    }
}
