//! Custom resources to nodes and their settings.
//!
//! Pure: [`check`] says what is wrong, [`roster`] names the nodes, [`plan`] writes their settings
//! and what the directory is to hold. The operator and `cairn up` do the rest: they give each node
//! of the roster a [`Place`] and start it.

mod check;
mod keyspace;
mod plan;
mod pool;
mod roster;

pub use check::{Fault, Faults, check};
pub use keyspace::{keyspace_config, password_digest};
pub use plan::{Founding, Options, Place, Plan, PlanError, plan};
pub use pool::pool_config;
pub use roster::{Prefers, RosterNode, group_id, roster, spare_set};

use cairn_crd::{Cluster, Keyspace, SparePool};
use std::collections::BTreeMap;

/// What people wrote: one cluster, its keyspaces, and the secrets these refer to.
#[derive(Clone, Debug)]
pub struct Resources {
    /// The cluster.
    pub cluster: Cluster,
    /// Its keyspaces, in the order they were written.
    pub keyspaces: Vec<Keyspace>,
    /// Its pools of spares.
    pub pools: Vec<SparePool>,
    /// Values of Secrets by (name of the Secret, key).
    pub secrets: BTreeMap<(String, String), String>,
}

/// The name of a resource; empty if it has none, which [`check`] reports.
fn name(metadata: &cairn_crd::ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}
