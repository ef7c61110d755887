//! Custom resources of `cairn.dev/v1alpha1`: what people write, what is allowed, what they see.
//!
//! The same rules are in the CRDs, as CEL that the API server runs, and in `problems()`, which
//! `cairn up` runs; [`rules`] has both side by side and a test holds them together. No Kubernetes
//! client is used here. [`crds`] renders the files in `crds/`.

pub mod archive;
pub mod backup;
pub mod checkpoint;
pub mod cluster;
pub mod conditions;
pub mod group;
pub mod keyspace;
pub mod log;
pub mod pods;
pub mod problem;
pub mod quantity;
mod render;
pub mod restore;
pub mod rules;
pub mod shared;
pub mod spare_pool;
pub mod timing;
pub mod tls;

pub use archive::ArchivePlace;
pub use backup::{Backup, BackupSpec, BackupStatus};
pub use cluster::{Cluster, ClusterSpec, ClusterStatus};
pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

pub use conditions::{ConditionType, Reason};
pub use group::{Group, GroupSpec, GroupStatus};
pub use keyspace::{Keyspace, KeyspaceSpec, KeyspaceStatus};
pub use problem::Problem;
pub use render::crds;
pub use restore::{Restore, RestoreSource, RestoreSpec, RestoreStatus};
pub use spare_pool::{SparePool, SparePoolSpec, SparePoolStatus};

/// The API group of all kinds.
pub const API_GROUP: &str = "cairn.dev";
/// Their version.
pub const API_VERSION: &str = "v1alpha1";
