//! Writes statuses that changed, and tells the transitions as Events.

use super::Error;
use super::observed::Observed;
use super::status::Statuses;
use crate::context::{Context, reference};
use crate::events::{News, mastership, transitions};
use crate::object::Kind;
use cairn_crd::shared::Condition;
use cairn_crd::{
    Backup, BackupStatus, ClusterStatus, Group, GroupStatus, Keyspace, KeyspaceStatus, Restore,
    RestoreStatus, SparePool, SparePoolStatus,
};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use std::sync::Arc;

/// One resource whose status may have changed.
struct Publication<'a, T, S> {
    kind: Kind,
    resource: &'a T,
    old: Option<&'a S>,
    new: &'a S,
}

/// Publishes everything that is new.
///
/// # Errors
/// The API refused.
pub async fn publish(ctx: &Context, observed: &Observed, statuses: &Statuses) -> Result<(), Error> {
    for (name, status) in &statuses.groups {
        if let Some(resource) = observed.groups.get(name) {
            group(ctx, resource, status).await?;
        }
    }
    for resource in &observed.keyspaces {
        if let Some(status) = statuses.keyspaces.get(&resource.name_any()) {
            keyspace(ctx, resource, status).await?;
        }
    }
    for resource in &observed.backups {
        if let Some(status) = statuses.backups.get(&resource.name_any()) {
            backup(ctx, resource, status).await?;
        }
    }
    for resource in &observed.restores {
        if let Some(status) = statuses.restores.get(&resource.name_any()) {
            restore(ctx, resource, status).await?;
        }
    }
    for resource in &observed.pools {
        if let Some(status) = statuses.pools.get(&resource.name_any()) {
            pool(ctx, resource, status).await?;
        }
    }
    cluster(ctx, observed, &statuses.cluster).await
}

/// Publishes a SparePool's status.
///
/// # Errors
/// The API refused.
pub async fn pool(ctx: &Context, resource: &SparePool, new: &SparePoolStatus) -> Result<(), Error> {
    let old = resource.status.as_ref();
    let news = news(old.map(|old| (&old.conditions[..], None)), (&new.conditions, None));
    one(ctx, Publication { kind: Kind::SparePool, resource, old, new }, news).await
}

/// Publishes a Backup's status.
///
/// # Errors
/// The API refused.
pub async fn backup(ctx: &Context, resource: &Backup, new: &BackupStatus) -> Result<(), Error> {
    let old = resource.status.as_ref();
    let news = news(old.map(|old| (&old.conditions[..], None)), (&new.conditions, None));
    one(ctx, Publication { kind: Kind::Backup, resource, old, new }, news).await
}

/// Publishes a Restore's status.
///
/// # Errors
/// The API refused.
pub async fn restore(ctx: &Context, resource: &Restore, new: &RestoreStatus) -> Result<(), Error> {
    let old = resource.status.as_ref();
    let news = news(old.map(|old| (&old.conditions[..], None)), (&new.conditions, None));
    one(ctx, Publication { kind: Kind::Restore, resource, old, new }, news).await
}

/// Publishes a Cluster's status.
///
/// # Errors
/// The API refused.
pub async fn cluster(ctx: &Context, observed: &Observed, new: &ClusterStatus) -> Result<(), Error> {
    let resource = observed.cluster.as_ref();
    let old = resource.status.as_ref();
    let held = |s: &ClusterStatus| Some((s.master.clone()?, s.epoch?));
    let news = news(old.map(|old| (&old.conditions[..], held(old))), (&new.conditions, held(new)));
    one(ctx, Publication { kind: Kind::Cluster, resource, old, new }, news).await
}

/// Publishes a Keyspace's status.
///
/// # Errors
/// The API refused.
pub async fn keyspace(
    ctx: &Context,
    resource: &Arc<Keyspace>,
    new: &KeyspaceStatus,
) -> Result<(), Error> {
    let resource = resource.as_ref();
    let old = resource.status.as_ref();
    let news = news(old.map(|old| (&old.conditions[..], None)), (&new.conditions, None));
    one(ctx, Publication { kind: Kind::Keyspace, resource, old, new }, news).await
}

async fn group(ctx: &Context, resource: &Arc<Group>, new: &GroupStatus) -> Result<(), Error> {
    let resource = resource.as_ref();
    let old = resource.status.as_ref();
    let held = |s: &GroupStatus| Some((s.master.clone()?, s.epoch?));
    let news = news(old.map(|old| (&old.conditions[..], held(old))), (&new.conditions, held(new)));
    one(ctx, Publication { kind: Kind::Group, resource, old, new }, news).await
}

type Held = Option<(String, i64)>;

fn news(old: Option<(&[Condition], Held)>, new: (&[Condition], Held)) -> Vec<News> {
    let (conditions, held) = old.unwrap_or_default();
    let mut news = transitions(conditions, new.0);
    news.extend(mastership(held, new.1));
    news
}

async fn one<T, S>(
    ctx: &Context,
    publication: Publication<'_, T, S>,
    news: Vec<News>,
) -> Result<(), Error>
where
    T: Resource<DynamicType = ()>,
    S: Serialize + PartialEq,
{
    let Publication { kind, resource, old, new } = publication;
    if old == Some(new) {
        return Ok(());
    }
    let status = serde_json::to_value(new).expect("a status is plain data");
    let namespace = resource.namespace().unwrap_or_default();
    ctx.writer.status(&namespace, kind, &resource.name_any(), &status).await?;
    let about = reference(kind, resource);
    for item in news {
        ctx.teller.tell(&about, &item).await;
    }
    Ok(())
}
