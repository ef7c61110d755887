//! Does what [`super::steps`] decided, and tells the directory what keyspaces want.

use super::Error;
use super::desired::Desired;
use super::drains;
use super::observed::Observed;
use super::pools;
use super::retire::retired;
use super::steps::{Action, Steps};
use crate::context::{Context, Key};
use crate::events::News;
use crate::metrics::Failure;
use crate::object::Kind;
use crate::plane::Plane;
use cairn_settings::directory_keys::{keyspace_key, pool_key};
use cairn_wire::peer::pb::Switchover;
use cairn_wire::peer::pb::wish_request::Body;
use kube::ResourceExt;
use serde_json::json;

/// Performs every step that is due.
///
/// # Errors
/// The Kubernetes API refused. What the nodes refuse is tried again with the next look.
pub async fn perform(
    ctx: &Context,
    key: &Key,
    desired: &Desired,
    observed: &Observed,
    plane: &Plane,
    steps: &Steps,
) -> Result<(), Error> {
    write_keyspaces(ctx, desired, observed, plane).await;
    write_pools(ctx, desired, observed, plane).await;
    write_drains(ctx, observed, plane).await;
    hold_pools(ctx, observed).await?;
    forget_keyspaces(ctx, observed, plane).await;
    for action in &steps.actions {
        one(ctx, key, desired, observed, plane, action).await?;
    }
    Ok(())
}

/// The directory holds what keyspaces want; the planner does the rest.
async fn write_keyspaces(ctx: &Context, desired: &Desired, observed: &Observed, plane: &Plane) {
    let Some(directory) = &observed.plane.directory else { return };
    for keyspace in &desired.keyspaces {
        if directory.keyspaces.get(&keyspace.name) == Some(&keyspace.config) {
            continue;
        }
        let (path, value) = (keyspace_key(&keyspace.name), keyspace.config.encode());
        // The planner may have found another number of groups since: the next look sees it.
        match plane.swap(&observed.plane, &path, &value).await {
            Ok(true) => tracing::info!(keyspace = %keyspace.name, "wrote the keyspace"),
            Ok(false) => {}
            Err(error) => {
                ctx.metrics.failed(Failure::Plane);
                tracing::warn!(keyspace = %keyspace.name, %error, "the keyspace is not written");
            }
        }
    }
}

/// The directory holds what pools of spares are asked for.
async fn write_pools(ctx: &Context, desired: &Desired, observed: &Observed, plane: &Plane) {
    let Some(directory) = &observed.plane.directory else { return };
    for pool in &desired.pools {
        let Some(config) = &pool.config else { continue };
        if directory.pools.get(&pool.name) == Some(config) {
            continue;
        }
        match plane.set(&observed.plane, &pool_key(&pool.name), &config.encode()).await {
            Ok(_) => tracing::info!(pool = %pool.name, "wrote the pool"),
            Err(error) => {
                ctx.metrics.failed(Failure::Plane);
                tracing::warn!(pool = %pool.name, %error, "the pool is not written");
            }
        }
    }
}

/// The directory holds which nodes are to be empty.
async fn write_drains(ctx: &Context, observed: &Observed, plane: &Plane) {
    let drains::Changes { new, over } = drains::changes(observed);
    for (drained, drain) in &new {
        let machine = drain.machine.as_deref().unwrap_or_default();
        match plane.set(&observed.plane, &drained.key(), &drain.encode()).await {
            Ok(_) => tracing::info!(node = %drained, machine, "its machine is drained"),
            Err(error) => {
                ctx.metrics.failed(Failure::Plane);
                tracing::warn!(node = %drained, machine, %error, "the drain is not written");
            }
        }
    }
    if over.is_empty() {
        return;
    }
    match plane.forget(&observed.plane, &over).await {
        Ok(true) => tracing::info!(keys = ?over, "drained no longer"),
        // Something changed meanwhile: the next look decides anew.
        Ok(false) => {}
        Err(error) => {
            ctx.metrics.failed(Failure::Plane);
            tracing::warn!(%error, "drains that are over are not taken back");
        }
    }
}

/// Pools do not go while groups have nodes of them.
async fn hold_pools(ctx: &Context, observed: &Observed) -> Result<(), Error> {
    for pool in &observed.pools {
        if let Some(patch) = pools::finalizers(observed, pool) {
            let (namespace, name) = (observed.namespace(), pool.name_any());
            ctx.writer.merge(namespace, Kind::SparePool, &name, &patch).await?;
        }
    }
    Ok(())
}

/// What is gone for ever is not in the way of what comes after it.
async fn forget_keyspaces(ctx: &Context, observed: &Observed, plane: &Plane) {
    let keys = retired(observed);
    if keys.is_empty() {
        return;
    }
    match plane.forget(&observed.plane, &keys).await {
        Ok(true) => tracing::info!(?keys, "the directory forgot what is gone"),
        // Something changed meanwhile: the next look decides anew.
        Ok(false) => {}
        Err(error) => {
            ctx.metrics.failed(Failure::Plane);
            tracing::warn!(%error, "the directory still holds what is gone");
        }
    }
}

async fn one(
    ctx: &Context,
    key: &Key,
    desired: &Desired,
    observed: &Observed,
    plane: &Plane,
    action: &Action,
) -> Result<(), Error> {
    let namespace = &desired.namespace;
    let tell = |reason: &str, note: String| {
        let news = News { warning: false, reason: reason.to_owned(), note };
        let about = crate::context::reference(Kind::Cluster, desired.cluster.as_ref());
        async move { ctx.teller.tell(&about, &news).await }
    };
    match action {
        Action::DeletePod { pod, uid } => {
            ctx.writer.delete(namespace, Kind::Pod, pod, uid, false).await?;
            tell("PodReplaced", format!("{pod} is replaced")).await;
        }
        Action::Switchover { group, target, why } => {
            if !ctx.may_wish(key, group) {
                return Ok(());
            }
            let (log, to) = (group.to_string(), target.to_string());
            let wish = Body::Switchover(Switchover { group: log, target: to });
            match plane.wish(&observed.plane, wish).await {
                Ok(_) => {
                    ctx.metrics.wished();
                    tell("Switchover", format!("{group} to {target}: {why}")).await;
                }
                Err(error) => tracing::warn!(%group, %target, %error, "no switchover"),
            }
        }
        Action::Label { pod, uid, of } => {
            let patch = pools::label_patch(uid, of.as_ref());
            ctx.writer.merge(namespace, Kind::Pod, pod, &patch).await?;
        }
        Action::GrowClaim { claim, size } => {
            let patch = json!({ "spec": { "resources": { "requests": { "storage": size } } } });
            ctx.writer.merge(namespace, Kind::PersistentVolumeClaim, claim, &patch).await?;
            tell("VolumeGrows", format!("{claim} is to have {size}")).await;
        }
        Action::Scale { keyspace, groups } => {
            ctx.writer.scale(namespace, Kind::Keyspace, keyspace, *groups).await?;
            tell("Autoscaled", format!("{keyspace} is to have {groups} groups")).await;
        }
        Action::OrphanSet { set } => {
            let live = observed.live.get(&(Kind::StatefulSet, set.clone()));
            let uid = live.and_then(|live| live.uid()).unwrap_or_default();
            ctx.writer.delete(namespace, Kind::StatefulSet, set, &uid, true).await?;
        }
    }
    Ok(())
}
