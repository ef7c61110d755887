//! From custom resources to objects, in five steps: observe, validate, build, apply, status.

pub mod apply;
pub mod build;
pub mod certificates;
pub mod desired;
pub mod drains;
mod extent;
pub mod founding;
pub mod observe;
pub mod observed;
mod perform;
pub mod pools;
mod publish;
mod retire;
pub mod status;
pub mod steps;
pub mod validate;
pub mod workers;

use crate::context::{Context, Key};
use crate::metrics::Failure;
use crate::object::{Kind, is_owned_by};
use crate::plane::Plane;
use cairn_crd::{Backup, Cluster, Keyspace, Restore, SparePool};
use desired::Desired;
use kube::ResourceExt;
use observed::{Identity, Observed};
use std::sync::Arc;
use std::time::Duration;

/// When to look again while something is under way.
const SOON: Duration = Duration::from_secs(1);
/// When to look again while nothing is; costs no request to the Kubernetes API.
const LATER: Duration = Duration::from_secs(5);

/// Why a reconcile ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The Kubernetes API, or this replica's right to write.
    #[error(transparent)]
    Write(#[from] crate::writer::Error),
    /// A certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] crate::x509::Error),
    /// An identity that no node would accept.
    #[error("the identity of cluster {cluster} is damaged")]
    Identity {
        /// Whose.
        cluster: String,
        /// What is wrong.
        source: cairn_wire::hello::ShortSecret,
    },
}

impl Error {
    /// The label of the failure's metric.
    #[must_use]
    pub fn failure(&self) -> Failure {
        match self {
            Self::Write(crate::writer::Error::NotLeading) => Failure::NotLeading,
            Self::Write(_) => Failure::KubernetesApi,
            Self::Identity { .. } | Self::Certificate(_) => Failure::Plane,
        }
    }
}

/// Brings one cluster and its keyspaces a step nearer to what is asked for; when to look again.
///
/// # Errors
/// What stopped it; to be tried again.
pub async fn reconcile(ctx: &Context, key: &Key) -> Result<Duration, Error> {
    let Some(cluster) = ctx.cluster(key) else {
        orphans(ctx, key).await?;
        return Ok(Duration::from_secs(600));
    };
    let mut observed = observe::look(&ctx.store, cluster, ctx.now_sec()); // memory
    ctx.read_passwords(&mut observed).await; // I/O
    ctx.read_certificates(&mut observed).await; // I/O
    let Some(identity) = founding::identity(&ctx.writer, &observed).await? else {
        return Ok(SOON);
    };
    observed.identity = Some(identity.clone());
    let desired = match validate::validate(&observed, &identity, &ctx.defaults) {
        Ok(desired) => desired, // pure
        Err(refused) => return refuse(ctx, &observed, &refused.message).await,
    };
    let plane = plane(ctx, key, &identity, &desired)?;
    observed.plane = plane.look().await; // I/O
    ctx.read_references(&mut observed).await; // I/O
    crate::worker::ask(&mut observed).await; // I/O
    ctx.follow(key, &plane, &observed.plane);
    certificates::order(ctx, key, &desired, &mut observed).await; // I/O
    certificates::keep(&ctx.writer, &desired, &mut observed).await?; // I/O
    let desired = match validate::validate(&observed, &identity, &ctx.defaults) {
        Ok(desired) => desired, // pure, now that the truth is known
        Err(refused) => return refuse(ctx, &observed, &refused.message).await,
    };
    let objects = build::build(&desired); // pure
    let steps = steps::next(&desired, &observed, &objects); // pure
    let mut applied = apply::apply(&ctx.writer, &desired, &observed, &objects).await?; // I/O
    applied.taken.extend(observed.certificates.taken.clone());
    if founding::is_due(&desired, &observed)
        && founding::found(&ctx.writer, &desired, &plane).await?
    {
        return Ok(Duration::ZERO);
    }
    perform::perform(ctx, key, &desired, &observed, &plane, &steps).await?; // I/O
    let statuses = status::statuses(&desired, &observed, &steps, &applied.taken); // pure
    let settled = is_settled(&statuses);
    publish::publish(ctx, &observed, &statuses).await?; // I/O
    Ok(if settled && applied.writes == 0 { LATER } else { SOON })
}

fn is_settled(statuses: &status::Statuses) -> bool {
    let groups = statuses.groups.values().map(|s| &s.conditions);
    let keyspaces = statuses.keyspaces.values().map(|s| &s.conditions);
    let pools = statuses.pools.values().map(|s| &s.conditions);
    let all = groups.chain(keyspaces).chain(pools).chain([&statuses.cluster.conditions]);
    all.flatten().all(|condition| match condition.type_.as_str() {
        // Nothing that the operator does makes spares idle, or a load smaller.
        "PoolExhausted" | "AutoscaleLimited" => true,
        "Ready" => condition.status == "True",
        _ => condition.status == "False",
    })
}

async fn refuse(ctx: &Context, observed: &Observed, why: &str) -> Result<Duration, Error> {
    let status = status::refused(&observed.cluster, why, observed.now_sec);
    publish::cluster(ctx, observed, &status).await?;
    Ok(Duration::from_secs(600))
}

/// Keyspaces whose Cluster is not there: their nodes go with it, their volumes as they say.
async fn orphans(ctx: &Context, key: &Key) -> Result<(), Error> {
    if key.name.is_empty() {
        // No Cluster at all is in this namespace.
        return homeless(ctx, key).await;
    }
    let whose = ctx.writer.whose(&key.namespace, Kind::Cluster, &key.name, &[]).await?;
    if whose != crate::writer::Whose::Nobodys {
        return Ok(());
    }
    homeless(ctx, key).await?;
    for object in ctx.store.list(Kind::Keyspace, &key.namespace) {
        let Some(keyspace) = observe::typed::<Keyspace>(&object) else { continue };
        if keyspace.spec.cluster != key.name || keyspace.metadata.deletion_timestamp.is_some() {
            continue;
        }
        take_away(ctx, key, &keyspace.uid().unwrap_or_default()).await?;
        let status = status::without_cluster(&keyspace, ctx.now_sec());
        publish::keyspace(ctx, &Arc::new(keyspace), &status).await?;
    }
    orphaned_pools(ctx, key).await
}

/// Pools of spares whose Cluster is not there.
async fn orphaned_pools(ctx: &Context, key: &Key) -> Result<(), Error> {
    for object in ctx.store.list(Kind::SparePool, &key.namespace) {
        let Some(pool) = observe::typed::<SparePool>(&object) else { continue };
        if pool.spec.cluster != key.name {
            continue;
        }
        take_away(ctx, key, &pool.uid().unwrap_or_default()).await?;
        if let Some(patch) = pools::released(&pool) {
            ctx.writer.merge(&key.namespace, Kind::SparePool, &pool.name_any(), &patch).await?;
        } else if pool.metadata.deletion_timestamp.is_none() {
            let status = status::pool_without_cluster(&pool, ctx.now_sec());
            publish::pool(ctx, &pool, &status).await?;
        }
    }
    Ok(())
}

/// Deletes what was made for the resource `owner`.
async fn take_away(ctx: &Context, key: &Key, owner: &str) -> Result<(), Error> {
    let owner = owner.to_owned();
    for kind in Kind::MADE {
        for made in ctx.store.list(kind, &key.namespace) {
            let leaving = made.metadata.deletion_timestamp.is_some();
            if !leaving && is_owned_by(&made, std::slice::from_ref(&owner)) {
                let (name, uid) = (made.name_any(), made.uid().unwrap_or_default());
                ctx.writer.delete(&key.namespace, kind, &name, &uid, false).await?;
            }
        }
    }
    Ok(())
}

/// Backups and Restores of keyspaces that do not exist, or whose Cluster does not.
async fn homeless(ctx: &Context, key: &Key) -> Result<(), Error> {
    for kind in [Kind::Backup, Kind::Restore] {
        for object in ctx.store.list(kind, &key.namespace) {
            let keyspace = observe::keyspace_of(kind, &object).unwrap_or_default();
            let cluster = observe::cluster_of(&ctx.store, &key.namespace, keyspace);
            let leaving = object.metadata.deletion_timestamp.is_some();
            if leaving || cluster.as_ref().is_some_and(|cluster| *cluster != key.name) {
                continue;
            }
            let uid = object.uid().unwrap_or_default();
            if kind == Kind::Backup {
                let Some(backup) = observe::typed::<Backup>(&object) else { continue };
                take_away(ctx, key, &uid).await?;
                let status = status::backup_without(&backup, cluster.is_none(), ctx.now_sec());
                publish::backup(ctx, &backup, &status).await?;
            } else {
                let Some(restore) = observe::typed::<Restore>(&object) else { continue };
                let status = status::restore_without(&restore, cluster.is_none(), ctx.now_sec());
                publish::restore(ctx, &restore, &status).await?;
            }
        }
    }
    Ok(())
}

/// The cluster's nodes; connections are kept from one look to the next.
fn plane(
    ctx: &Context,
    key: &Key,
    identity: &Identity,
    desired: &Desired,
) -> Result<Arc<Plane>, Error> {
    let plane = Plane::new(desired, &identity.secret);
    let plane = plane.map_err(|source| Error::Identity { cluster: key.name.clone(), source })?;
    Ok(ctx.keep_plane(key, plane))
}

impl Context {
    /// The Cluster, unless it is gone or going.
    #[must_use]
    pub fn cluster(&self, key: &Key) -> Option<Arc<Cluster>> {
        let object = self.store.get(Kind::Cluster, &key.namespace, &key.name)?;
        let cluster: Cluster = observe::typed(&object)?;
        cluster.metadata.deletion_timestamp.is_none().then(|| Arc::new(cluster))
    }
}
