//! `Backup`: a keyspace is kept in an archive, so that any moment of it can be restored.

#![allow(clippy::duplicated_attributes, reason = "printer columns share types and paths")]

use crate::archive::ArchivePlace;
use crate::pods::Pods;
use crate::problem::Problem;
use crate::rules;
use crate::shared::Condition;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of a backup.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cairn.dev",
    version = "v1alpha1",
    kind = "Backup",
    plural = "backups",
    namespaced,
    status = "BackupStatus",
    derive = "PartialEq",
    shortname = "cb",
    category = "cairn",
    doc = "A keyspace is kept in an archive: any moment of it can be restored.",
    printcolumn(name = "Keyspace", type_ = "string", json_path = ".spec.keyspace"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "Since", type_ = "string", json_path = ".status.restorableSince"),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.restorableUntil"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackupSpec {
    /// The name of the Keyspace, in the same namespace. Cannot change.
    #[schemars(length(max = 63))]
    pub keyspace: String,
    /// Where its archive is.
    pub to: ArchivePlace,
    /// How often the log is sent, 1s to 1h; as much is lost with the cluster.
    #[serde(default = "every")]
    #[schemars(length(max = 32))]
    pub every: String,
    /// How often a newer snapshot is sent, 10s to 168h; the more often, the less log a restore has
    /// to apply.
    #[serde(default = "snapshot_every")]
    #[schemars(length(max = 32))]
    pub snapshot_every: String,
    /// What is kept; absent: everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// Nothing is sent while this is true; what is in the archive stays.
    #[serde(default)]
    pub suspend: bool,
    /// The pod that does it; image and how it is pulled are the keyspace's if absent.
    #[serde(default)]
    pub pods: Pods,
}

/// Which backups are kept: those that one of the two says, and the newest always.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Retention {
    /// The last so many, 1 to 100000. Another one begins with each newer snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_last: Option<i32>,
    /// All that reach into the last so many days, 1 to 36500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_days: Option<i32>,
}

/// What is seen of a backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackupStatus {
    /// The generation of the spec this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The earliest moment from which on every one can be restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restorable_since: Option<String>,
    /// The latest moment that can be restored; written once a minute, so it is a little more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restorable_until: Option<String>,
    /// Why the last round failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// What is true of it now, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

fn every() -> String {
    "10s".to_owned()
}

fn snapshot_every() -> String {
    "1h".to_owned()
}

impl BackupSpec {
    /// A backup of `keyspace` to `to` with every default.
    #[must_use]
    pub fn of(keyspace: impl Into<String>, to: ArchivePlace) -> Self {
        Self {
            keyspace: keyspace.into(),
            to,
            every: every(),
            snapshot_every: snapshot_every(),
            retention: None,
            suspend: false,
            pods: Pods::default(),
        }
    }
}

impl Backup {
    /// Everything that is wrong with a new backup.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        rules::problems(&rules::backup(), self, None)
    }

    /// Everything that is wrong with this backup as a change of `old`.
    #[must_use]
    pub fn problems_changing(&self, old: &Self) -> Vec<Problem> {
        rules::problems(&rules::backup(), self, Some(old))
    }
}
