//! `Cluster`: a global plane and what all its keyspaces share.

#![allow(clippy::duplicated_attributes, reason = "printer columns share types and paths")]

use crate::checkpoint::CheckpointSpec;
use crate::log::LogSpec;
use crate::pods::Pods;
use crate::problem::Problem;
use crate::rules;
use crate::shared::{Condition, Storage};
use crate::timing::TimingSpec;
use crate::tls::{CertificateStatus, Tls};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is asked of a cluster.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "cairn.dev",
    version = "v1alpha1",
    kind = "Cluster",
    plural = "clusters",
    namespaced,
    status = "ClusterStatus",
    derive = "PartialEq",
    shortname = "cc",
    category = "cairn",
    doc = "A Cairn cluster: the global plane, and what all its keyspaces share.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(name = "Master", type_ = "string", json_path = ".status.master"),
    printcolumn(name = "Epoch", type_ = "integer", json_path = ".status.epoch"),
    printcolumn(name = "Nodes", type_ = "integer", json_path = ".status.readyNodes"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterSpec {
    /// Global replicas beside the global master, 1 to 4; 1 makes two global nodes.
    #[serde(default = "one")]
    pub global_replicas: i32,
    /// Whether a node of its own is the arbiter's third acceptor; false where a checkpoint node or
    /// a third global node is it. Cannot change.
    #[serde(default = "yes")]
    pub acceptor: bool,
    /// Nodes that follow the global log and write snapshots of the directory.
    #[serde(default)]
    pub checkpoint: CheckpointSpec,
    /// How fast failover is.
    #[serde(default)]
    pub timing: TimingSpec,
    /// Where the global nodes keep their folders.
    #[serde(default)]
    pub storage: Storage,
    /// Bounds on the global log, on every node that keeps it.
    #[serde(default)]
    pub log: LogSpec,
    /// What an acknowledged change of the directory survives.
    #[serde(default)]
    pub durability: GlobalDurability,
    /// Who speaks TLS, with which certificates.
    #[serde(default)]
    pub tls: Tls,
    /// The pods of its nodes; those of its keyspaces have the same where they say nothing else.
    #[serde(default)]
    pub pods: Pods,
}

/// What an acknowledged change of the directory survives, beside the loss of all nodes but one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct GlobalDurability {
    /// Whether a copy of an ordinary key counts only when it is flushed to disk.
    pub flushed: bool,
}

/// What is seen of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The generation of the spec this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The cluster's random name, made once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Whether the founding call was answered; it is never made again.
    #[serde(default)]
    pub founded: bool,
    /// The image its pods run; kept when the operator's own default changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The global master.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<String>,
    /// The global plane's epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Global nodes that are in sync.
    #[serde(default)]
    pub ready_nodes: i32,
    /// Checkpoint nodes that follow the global log.
    #[serde(default)]
    pub ready_checkpoints: i32,
    /// The certificates that its global nodes, checkpoint nodes and acceptor show.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<CertificateStatus>,
    /// What is true of it now, and since when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

fn one() -> i32 {
    1
}

fn yes() -> bool {
    true
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            global_replicas: one(),
            acceptor: yes(),
            checkpoint: CheckpointSpec::default(),
            timing: TimingSpec::default(),
            storage: Storage::default(),
            log: LogSpec::default(),
            durability: GlobalDurability::default(),
            tls: Tls::default(),
            pods: Pods::default(),
        }
    }
}

impl ClusterSpec {
    /// Where checkpoint nodes keep their folders.
    #[must_use]
    pub fn checkpoint_storage(&self) -> &Storage {
        self.checkpoint.storage.as_ref().unwrap_or(&self.storage)
    }
}

impl Cluster {
    /// Everything that is wrong with a new cluster.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        rules::problems(&rules::cluster(), self, None)
    }

    /// Everything that is wrong with this cluster as a change of `old`.
    #[must_use]
    pub fn problems_changing(&self, old: &Self) -> Vec<Problem> {
        rules::problems(&rules::cluster(), self, Some(old))
    }
}
