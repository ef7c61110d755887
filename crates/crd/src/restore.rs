//! `Restore`: a keyspace as it was at a moment is written into another, empty one, once.

#![allow(clippy::duplicated_attributes, reason = "printer columns share types and paths")]

use crate::archive::ArchivePlace;
use crate::pods::Pods;
use crate::problem::Problem;
use crate::rules;
use crate::shared::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of a restore.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cairn.dev",
    version = "v1alpha1",
    kind = "Restore",
    plural = "restores",
    namespaced,
    status = "RestoreStatus",
    derive = "PartialEq",
    shortname = "cre",
    category = "cairn",
    doc = "A keyspace as it was at a moment is written into another, empty one, once.",
    printcolumn(name = "Into", type_ = "string", json_path = ".spec.into"),
    printcolumn(
        name = "Complete",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Complete')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Complete')].reason"
    ),
    printcolumn(name = "Moment", type_ = "string", json_path = ".status.moment"),
    printcolumn(name = "Keys", type_ = "integer", json_path = ".status.keys"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreSpec {
    /// What is restored. Cannot change.
    pub source: RestoreSource,
    /// The moment, as 2026-11-28T20:15:00Z; absent: all that is in the newest backup. Cannot
    /// change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub at: Option<String>,
    /// The Keyspace of the same namespace that is written into: it must hold nothing. Cannot
    /// change.
    #[schemars(length(max = 63))]
    pub into: String,
    /// The pod that does it; image and how it is pulled are the keyspace's if absent. It needs as
    /// much memory as the data of the largest group.
    #[serde(default)]
    pub pods: Pods,
}

/// What is restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RestoreSource {
    /// Where its archive is.
    pub from: ArchivePlace,
    /// The name of the keyspace that was backed up.
    #[schemars(length(max = 63))]
    pub keyspace: String,
    /// The uid of its cluster, if several have such a keyspace in the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub cluster_uid: Option<String>,
}

/// What is seen of a restore.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// The generation of the spec this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When its pod was asked for; it never is again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was complete or had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// The backup that it rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backup: Option<String>,
    /// Up to when everything is in the keyspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moment: Option<String>,
    /// Keys that were written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<i64>,
    /// The digest of the data, the same in the archive and in the keyspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// What is true of it now, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

impl Restore {
    /// Everything that is wrong with a new restore.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        rules::problems(&rules::restore(), self, None)
    }

    /// Everything that is wrong with this restore as a change of `old`.
    #[must_use]
    pub fn problems_changing(&self, old: &Self) -> Vec<Problem> {
        rules::problems(&rules::restore(), self, Some(old))
    }

    /// Whether it is over, well or not: then nothing is done about it any more.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| &status.conditions);
        let ends = |c: &Condition| matches!(c.type_.as_str(), "Complete" | "Failed");
        conditions.into_iter().any(|c| ends(c) && c.status == "True")
    }
}
