//! What people see: statuses of Cluster, Keyspaces, Groups and all else. Pure.
//!
//! Every condition has a reason of the closed list in `cairn_crd::conditions`. A condition whose
//! status does not change keeps the moment since when it is so.

mod backup;
mod certificates;
mod cluster;
mod conditions;
mod group;
mod keyspace;
mod pool;
mod restore;

pub use backup::{backup, backup_without};
pub use cluster::{cluster, refused};
pub use conditions::{Conditions, Verdict};
pub use group::group;
pub use keyspace::{keyspace, without_cluster};
pub use pool::{pool, pool_without_cluster};
pub use restore::{restore, restore_without};

use super::desired::Desired;
use super::observed::Observed;
use super::steps::Steps;
use cairn_crd::{
    BackupStatus, ClusterStatus, GroupStatus, KeyspaceStatus, RestoreStatus, SparePoolStatus,
};
use kube::ResourceExt as _;
use std::collections::BTreeMap;

/// The statuses of a cluster and of all that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Statuses {
    /// The Cluster's.
    pub cluster: ClusterStatus,
    /// The Keyspaces', by name.
    pub keyspaces: BTreeMap<String, KeyspaceStatus>,
    /// The Groups', by name.
    pub groups: BTreeMap<String, GroupStatus>,
    /// The Backups', by name.
    pub backups: BTreeMap<String, BackupStatus>,
    /// The Restores', by name.
    pub restores: BTreeMap<String, RestoreStatus>,
    /// The SparePools', by name.
    pub pools: BTreeMap<String, SparePoolStatus>,
}

/// What is said of everything; `taken` names objects that belong to somebody else.
#[must_use]
pub fn statuses(
    desired: &Desired,
    observed: &Observed,
    steps: &Steps,
    taken: &[String],
) -> Statuses {
    let mut groups = BTreeMap::new();
    let mut keyspaces = BTreeMap::new();
    for keyspace in &desired.keyspaces {
        let mut seen = BTreeMap::new();
        for group in keyspace.groups.iter().filter(|group| group.owner.is_some()) {
            let status = self::group(desired, keyspace, group, observed, steps);
            seen.insert(group.name.clone(), status);
        }
        let status = self::keyspace(desired, keyspace, &seen, observed, steps);
        keyspaces.insert(keyspace.name.clone(), status);
        groups.append(&mut seen);
    }
    for resource in &observed.keyspaces {
        let name = resource.metadata.name.clone().unwrap_or_default();
        if let Some(why) = desired.refused.get(&name) {
            keyspaces.insert(name, keyspace::refused(resource, why, observed.now_sec));
        }
    }
    let backups = observed.backups.iter();
    let backups = backups.map(|b| (b.name_any(), backup(desired, observed, b, taken)));
    let restores = observed.restores.iter();
    let restores = restores.map(|r| (r.name_any(), restore(desired, observed, r, taken)));
    Statuses {
        cluster: cluster(desired, observed, steps, taken),
        keyspaces,
        groups,
        backups: backups.collect(),
        restores: restores.collect(),
        pools: pools(desired, observed, steps),
    }
}

fn pools(
    desired: &Desired,
    observed: &Observed,
    steps: &Steps,
) -> BTreeMap<String, SparePoolStatus> {
    let fine = desired.pools.iter();
    let fine = fine.map(|wanted| (wanted.name.clone(), pool(wanted, observed, steps)));
    let refused = observed.pools.iter().filter_map(|resource| {
        let why = desired.refused_pools.get(&resource.name_any())?;
        Some((resource.name_any(), pool::refused(resource, why, observed.now_sec)))
    });
    fine.chain(refused).collect()
}

#[cfg(test)]
mod tests;
