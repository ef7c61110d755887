//! The loop: changes in, reconciles out, while this replica leads.

use crate::context::{Context, Key};
use crate::controller;
use crate::controller::observe;
use crate::hints::{self, Suspicion};
use crate::names;
use crate::object::Kind;
use crate::queue::Queue;
use crate::store::{Change, Store, WATCHED, follow};
use kube::{Client, ResourceExt};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

/// Changes that may wait for the loop.
const CHANGES: usize = 1024;
/// Clusters that are looked at at once.
const LOOKS_MAX: usize = 16;
/// Hints under way at once; more are dropped, for they only save waiting.
const HINTS_MAX: usize = 64;
/// How long one look may take.
const LOOK_MAX: Duration = Duration::from_secs(60);

/// Where Kubernetes is, and what of it is watched.
#[derive(Clone)]
pub struct Scope {
    /// The API.
    pub client: Client,
    /// One namespace, or all of them.
    pub namespace: Option<String>,
}

/// Works until dropped.
pub async fn run(scope: Scope, ctx: Arc<Context>, mut nudged: mpsc::Receiver<Key>) {
    let (changes, mut inbox) = mpsc::channel(CHANGES);
    let mut watches = JoinSet::new();
    for kind in WATCHED {
        let Scope { client, namespace } = scope.clone();
        watches.spawn(follow(client, namespace, kind, ctx.store.clone(), changes.clone()));
    }
    drop(changes);
    let mut queue = Queue::default();
    let mut looks: JoinSet<(Key, Option<Duration>)> = JoinSet::new();
    let mut hints = JoinSet::new();
    loop {
        while looks.len() < LOOKS_MAX
            && ctx.store.is_complete()
            && let Some(key) = queue.take(Instant::now())
        {
            looks.spawn(look(ctx.clone(), key));
        }
        let next = queue.next().filter(|_| looks.len() < LOOKS_MAX);
        let next =
            next.map_or(Duration::from_secs(1), |at| at.saturating_duration_since(Instant::now()));
        let wake = tokio::time::Instant::now() + next.max(Duration::from_millis(10));
        tokio::select! {
            change = inbox.recv() => {
                let Some(change) = change else { return };
                for key in touched(&change, &ctx.store) {
                    queue.touch(key, Instant::now());
                }
                for suspicion in hints::suspicions(&change, &ctx.store) {
                    if hints.len() < HINTS_MAX && ctx.store.is_complete() {
                        hints.spawn(hint(ctx.clone(), suspicion));
                    }
                }
            }
            Some(key) = nudged.recv() => queue.touch(key, Instant::now()),
            Some(done) = looks.join_next() => match done {
                Ok((key, outcome)) => finish(&ctx, &mut queue, key, outcome),
                Err(error) => tracing::error!(%error, "a reconcile broke off"),
            },
            Some(_) = hints.join_next() => {}
            () = sleep_until(wake) => {}
        }
    }
}

fn finish(ctx: &Context, queue: &mut Queue, key: Key, outcome: Option<Duration>) {
    let gone = ctx.cluster(&key).is_none();
    queue.done(key.clone(), outcome, Instant::now());
    if gone && outcome.is_some() {
        queue.forget(&key, Instant::now());
        ctx.forget(&key);
    }
    ctx.metrics.clusters(ctx.store.all(Kind::Cluster).len());
    let backups = ctx.store.all(Kind::Backup);
    ctx.metrics.backups_failing(backups.iter().filter(|backup| is_failing(&backup.data)).count());
}

/// Whether a Backup is not ready although it should be.
fn is_failing(backup: &serde_json::Value) -> bool {
    let conditions = backup.pointer("/status/conditions").and_then(|all| all.as_array());
    let ready = |c: &serde_json::Value| c["type"] == "Ready" && c["status"] == "True";
    let is_ready = conditions.is_some_and(|all| all.iter().any(ready));
    backup["spec"]["suspend"] != true && !is_ready
}

async fn look(ctx: Arc<Context>, key: Key) -> (Key, Option<Duration>) {
    let began = Instant::now();
    let outcome = tokio::time::timeout(LOOK_MAX, controller::reconcile(&ctx, &key)).await;
    ctx.metrics.reconciled(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
    let outcome = match outcome {
        Ok(Ok(after)) => Some(after),
        Ok(Err(error)) => {
            ctx.metrics.failed(error.failure());
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let (cluster, namespace) = (&key.name, &key.namespace);
            tracing::warn!(%cluster, %namespace, %error, ?source, "retry");
            None
        }
        Err(_) => {
            ctx.metrics.failed(crate::metrics::Failure::Plane);
            tracing::warn!(cluster = %key.name, "a reconcile took too long");
            None
        }
    };
    (key, outcome)
}

/// Asks the node itself first; tells the judges if it does not answer.
async fn hint(ctx: Arc<Context>, suspicion: Suspicion) {
    let Suspicion { namespace, cluster, node, seen } = suspicion;
    let Some(plane) = ctx.known_plane(&Key { namespace, name: cluster }) else { return };
    let node = cairn_logic::ids::NodeId::new(node);
    if plane.answers(&node).await {
        return;
    }
    let told = plane.hint(&node, seen).await;
    ctx.metrics.hinted();
    tracing::info!(%node, seen, told, "hinted");
    // A takeover is under way: what it comes to is shown soon.
    sleep(Duration::from_millis(200)).await;
}

/// The clusters that a change concerns.
fn touched(change: &Change, store: &Store) -> Vec<Key> {
    let (kind, namespace, name) = &change.place;
    let key = |name: &str| Key { namespace: namespace.clone(), name: name.to_owned() };
    let objects = || change.old.iter().chain(&change.new);
    match kind {
        Kind::Cluster => vec![key(name)],
        Kind::Keyspace | Kind::SparePool => {
            let clusters = objects().filter_map(|o| o.data.pointer("/spec/cluster")?.as_str());
            clusters.map(key).collect()
        }
        Kind::Backup | Kind::Restore => {
            let keyspaces = objects().filter_map(|o| observe::keyspace_of(*kind, o));
            let owners = keyspaces.filter_map(|k| observe::cluster_of(store, namespace, k));
            let owners: Vec<Key> = owners.map(|cluster| key(&cluster)).collect();
            if !owners.is_empty() {
                return owners;
            }
            // Whoever is there says what is missing; nobody's look does if nobody is.
            let all = store.list(Kind::Cluster, namespace);
            let all: Vec<Key> = all.iter().map(|cluster| key(&cluster.name_any())).collect();
            if all.is_empty() { vec![key("")] } else { all }
        }
        Kind::Node => {
            let all = store.all(Kind::Cluster).into_iter();
            let key = |cluster: Arc<kube::core::DynamicObject>| Key {
                namespace: cluster.namespace().unwrap_or_default(),
                name: cluster.name_any(),
            };
            all.map(key).collect()
        }
        _ => {
            let clusters = objects().filter_map(|object| object.labels().get(names::CLUSTER));
            clusters.map(|cluster| key(cluster)).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_backup_fails_that_is_neither_ready_nor_suspended() {
        let backup = |suspend: bool, ready: &str| {
            let conditions = [json!({ "type": "Ready", "status": ready })];
            json!({ "spec": { "suspend": suspend }, "status": { "conditions": conditions } })
        };
        assert!(is_failing(&backup(false, "False")) && is_failing(&backup(false, "Unknown")));
        assert!(!is_failing(&backup(false, "True")) && !is_failing(&backup(true, "False")));
        assert!(is_failing(&json!({ "spec": {} })));
    }
}
