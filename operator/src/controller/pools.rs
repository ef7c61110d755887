//! Pools of spares: which nodes are to run, whose labels their pods carry, and when a pool that was
//! deleted may go. Pure.
//!
//! The directory says whose a spare is; here that is only followed. A pool that is deleted is held
//! by a finalizer until no group has one of its nodes.

use super::desired::{Desired, WantedPool};
use super::extent;
use super::observed::{Directory, Observed};
use super::steps::Action;
use crate::names;
use cairn_crd::SparePool;
use cairn_crd::pods::Pods;
use cairn_settings::directory_keys::{self as keys, Claim, keyspace_of};
use cairn_topology::pool_config;
use serde_json::{Value, json};
use std::sync::Arc;

/// Holds a SparePool while groups have nodes of it.
pub const FINALIZER: &str = "cairn.dev/spares";

/// A resource that is being deleted.
fn is_going(pool: &SparePool) -> bool {
    pool.metadata.deletion_timestamp.is_some()
}

/// Whether our finalizer is there.
fn is_held(pool: &SparePool) -> bool {
    pool.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == FINALIZER)
}

/// A pool that passed all checks, as it is to be.
#[must_use]
pub fn wanted(observed: &Observed, pool: &Arc<SparePool>, cluster: &Pods) -> WantedPool {
    let name = pool.metadata.name.clone().unwrap_or_default();
    let set = names::spares(&name);
    let going = is_going(pool);
    let size = if going { 0 } else { pool.spec.size };
    WantedPool {
        resource: pool.clone(),
        pods: pool.spec.pods.or(cluster),
        config: (!going).then(|| pool_config(pool)),
        size,
        nodes: extent::spares(observed, &set, size),
        set,
        name,
    }
}

/// The resource with as many nodes as are to run: those that cannot go yet keep their settings.
#[must_use]
pub fn extended(pool: &WantedPool) -> SparePool {
    let mut extended = pool.resource.as_ref().clone();
    // A pool has at least one; settings of one that does not run are dropped again.
    extended.spec.size = pool.nodes.max(1);
    (extended.spec.idle_min, extended.spec.min_idle_per_zone) = (0, 0);
    extended
}

/// Pods of spares whose labels are not those of the group that the directory says they are claimed
/// by: by them the keyspace's Services find a spare.
#[must_use]
pub fn labels(desired: &Desired, observed: &Observed) -> Vec<Action> {
    let Some(directory) = &observed.plane.directory else { return Vec::new() };
    let nodes = desired.pools.iter().flat_map(WantedPool::nodes);
    let label = |node: String| {
        let pod = observed.pods.get(&node).filter(|pod| !pod.deleting)?;
        let group = directory.claimed_by(&node);
        let of = group.and_then(|g| Some((g.to_string(), keyspace_of(g)?.to_owned())));
        let uid = pod.uid.clone();
        (pod.labelled != of).then_some(Action::Label { pod: node, uid, of })
    };
    nodes.filter_map(label).collect()
}

/// What brings a pod's labels to those of the group and keyspace `of`, of the pod with that uid
/// alone.
#[must_use]
pub fn label_patch(uid: &str, of: Option<&(String, String)>) -> Value {
    let (group, keyspace) = of.map(|(group, keyspace)| (group, keyspace)).unzip();
    json!({ "metadata": {
        "uid": uid, "labels": { names::SERVES: group, names::KEYSPACE: keyspace },
    }})
}

/// Pods of spares that are no group's.
pub fn idle<'a>(desired: &'a Desired, observed: &'a Observed) -> impl Iterator<Item = String> + 'a {
    let free = |directory: &Directory, node: &String| directory.holder(node).is_none();
    let nodes = desired.pools.iter().flat_map(WantedPool::nodes);
    nodes.filter(move |node| observed.plane.directory.as_ref().is_some_and(|d| free(d, node)))
}

/// A change of a pool's finalizers, if one is due.
///
/// Ours is there from the first look on; it goes when the pool is deleted, no pod of it is asked
/// for any more and no group has a node of it. Nobody else's is touched: the patch holds for the
/// version that was seen.
#[must_use]
pub fn finalizers(observed: &Observed, pool: &SparePool) -> Option<Value> {
    match (is_going(pool), is_held(pool)) {
        (false, false) => Some(with_finalizer(pool, true)),
        (true, true) if may_go(observed, pool) => Some(with_finalizer(pool, false)),
        _ => None,
    }
}

/// Lets go of a pool whose Cluster does not exist: there is nobody left whom its nodes could serve.
#[must_use]
pub fn released(pool: &SparePool) -> Option<Value> {
    (is_going(pool) && is_held(pool)).then(|| with_finalizer(pool, false))
}

fn may_go(observed: &Observed, pool: &SparePool) -> bool {
    let name = pool.metadata.name.as_deref().unwrap_or_default();
    if !observed.is_founded() {
        // There has been no group yet.
        return true;
    }
    let Some(directory) = &observed.plane.directory else { return false };
    let of_pool = |info: &&keys::NodeInfo| info.pool.as_deref() == Some(name);
    let mut nodes = directory.nodes.values().filter(of_pool);
    let scaled_in = observed.replicas(&names::spares(name)).unwrap_or(0) == 0;
    // One that breaks a rule is not scaled in; that no group has a node of it has to suffice.
    (scaled_in || !pool.problems().is_empty()) && nodes.all(|info| info.claim == Claim::Idle)
}

fn with_finalizer(pool: &SparePool, held: bool) -> Value {
    let mut all = pool.metadata.finalizers.clone().unwrap_or_default();
    all.retain(|finalizer| finalizer != FINALIZER);
    all.extend(held.then(|| FINALIZER.to_owned()));
    let version = &pool.metadata.resource_version;
    json!({ "metadata": { "finalizers": all, "resourceVersion": version } })
}

/// What the directory is to forget of pools, each key with the revision at which it was seen: pools
/// that are gone or going, and spares of which neither a pod nor a volume is left.
#[must_use]
pub fn retired(observed: &Observed, directory: &Directory) -> Vec<(String, i64)> {
    let stays = |name: &str| {
        let named = |pool: &&Arc<SparePool>| pool.metadata.name.as_deref() == Some(name);
        observed.pools.iter().find(named).is_some_and(|pool| !is_going(pool))
    };
    let pools = directory.pools.keys().filter(|name| !stays(name)).map(|name| keys::pool_key(name));
    let nodes = directory.nodes.iter().filter(|(id, info)| {
        let asked = || observed.replicas(&names::spares(info.pool.as_deref().unwrap_or_default()));
        let ordinal = names::ordinal(id.as_str()).unwrap_or(0);
        info.pool.is_some()
            && !matches!(info.claim, Claim::Claimed { .. })
            && !directory.alive.contains(*id)
            && !observed.pods.contains_key(id.as_str())
            && !observed.claims.contains_key(&names::claim(id.as_str()))
            && ordinal >= asked().unwrap_or(0)
    });
    let all = pools.chain(nodes.map(|(id, _)| keys::node_key(id)));
    all.filter_map(|key| directory.revisions.get(&key).map(|seen| (key, *seen))).collect()
}

#[cfg(test)]
mod tests;
