//! Looks: at the store, at passwords, at the cluster's own nodes.

use super::certificates::Certificates;
use super::observed::{ClaimSeen, Identity, Machine, Observed, PlaneSeen, PodSeen, WorkerSeen};
use crate::names;
use crate::object::Kind;
use crate::store::Store;
use base64::Engine as _;
use cairn_crd::{Cluster, Group, Keyspace, SparePool};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, Secret};
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The container of a pod that archives or restores.
pub const CONTAINER: &str = "cairn";

/// Everything that is known of `cluster` without asking anybody.
#[must_use]
pub fn look(store: &Store, cluster: Arc<Cluster>, now_sec: i64) -> Observed {
    let name = cluster.name_any();
    let namespace = cluster.namespace().unwrap_or_default();
    let of_cluster = |object: &Arc<DynamicObject>| {
        object.labels().get(names::CLUSTER).is_some_and(|label| *label == name)
    };
    let list = |kind| store.list(kind, &namespace);
    let keyspaces = list(Kind::Keyspace);
    let keyspaces = keyspaces.iter().filter_map(|object| typed::<Keyspace>(object));
    let keyspaces = keyspaces
        .filter(|k| k.spec.cluster == name && k.metadata.deletion_timestamp.is_none())
        .map(Arc::new);
    let pools = list(Kind::SparePool);
    let pools = pools.iter().filter_map(|object| typed::<SparePool>(object));
    let pools = pools.filter(|pool| pool.spec.cluster == name).map(Arc::new);
    let groups = list(Kind::Group);
    let groups = groups.iter().filter(|object| of_cluster(object));
    let groups = groups.filter_map(|object| Some((object.name_any(), Arc::new(typed(object)?))));
    let mut live = BTreeMap::new();
    for kind in Kind::MADE {
        let ours = list(kind).into_iter().filter(|object| of_cluster(object));
        live.extend(ours.map(|object| ((kind, object.name_any()), object)));
    }
    let pods = list(Kind::Pod).into_iter().filter(|object| of_cluster(object));
    let (workers, pods): (Vec<_>, Vec<_>) = pods.partition(|object| worker_of(object).is_some());
    let claims = list(Kind::PersistentVolumeClaim).into_iter().filter(|object| of_cluster(object));
    let machines = store.all(Kind::Node).into_iter();
    Observed {
        certificates: Certificates::of(&cluster, &live),
        identity: identity(store, &cluster),
        keyspaces: keyspaces.collect(),
        pools: pools.collect(),
        backups: concerned(store, &namespace, &name, Kind::Backup),
        restores: concerned(store, &namespace, &name, Kind::Restore),
        workers: workers.iter().filter_map(|o| Some((o.name_any(), worker(o)?))).collect(),
        reports: BTreeMap::new(),
        lacking: BTreeMap::new(),
        groups: groups.collect::<BTreeMap<String, Arc<Group>>>(),
        live,
        pods: pods
            .iter()
            .filter_map(|object| Some((object.name_any(), pod(&typed(object)?))))
            .collect(),
        machines: machines.map(|object| (object.name_any(), machine(&object))).collect(),
        claims: claims.map(|object| (object.name_any(), claim(&object))).collect(),
        passwords: BTreeMap::new(),
        plane: PlaneSeen::default(),
        cluster,
        now_sec,
    }
}

/// The keyspace that a Backup or Restore is about.
#[must_use]
pub fn keyspace_of(kind: Kind, object: &DynamicObject) -> Option<&str> {
    let field = match kind {
        Kind::Backup => "/spec/keyspace",
        Kind::Restore => "/spec/into",
        _ => return None,
    };
    object.data.pointer(field)?.as_str()
}

/// The Cluster of a keyspace that exists and is not going.
#[must_use]
pub fn cluster_of(store: &Store, namespace: &str, keyspace: &str) -> Option<String> {
    let object = store.get(Kind::Keyspace, namespace, keyspace)?;
    let there = object.metadata.deletion_timestamp.is_none();
    let cluster = object.data.pointer("/spec/cluster")?.as_str()?.to_owned();
    there.then_some(cluster)
}

/// Backups or Restores of keyspaces of `cluster`, and those of keyspaces that do not exist: what
/// was made for them may be left.
fn concerned<T: DeserializeOwned>(
    store: &Store,
    namespace: &str,
    cluster: &str,
    kind: Kind,
) -> Vec<Arc<T>> {
    let all = store.list(kind, namespace).into_iter();
    let ours = all.filter(|object| {
        let owner = keyspace_of(kind, object).and_then(|k| cluster_of(store, namespace, k));
        object.metadata.deletion_timestamp.is_none() && owner.is_none_or(|owner| owner == cluster)
    });
    ours.filter_map(|object| typed(&object).map(Arc::new)).collect()
}

/// The role of a pod that archives or restores, and the resource it is for.
#[must_use]
pub fn worker_of(object: &DynamicObject) -> Option<(&'static str, &String)> {
    let labels = object.labels();
    let archive = labels.get(names::BACKUP).map(|name| (names::ARCHIVE, name));
    archive.or_else(|| labels.get(names::RESTORE).map(|name| (names::RESTORES, name)))
}

fn worker(object: &DynamicObject) -> Option<WorkerSeen> {
    let (role, of) = worker_of(object)?;
    let whole: Pod = typed(object)?;
    let status = whole.status.clone().unwrap_or_default();
    let ended = status.container_statuses.iter().flatten().find_map(|container| {
        let now = container.state.as_ref().and_then(|s| s.terminated.as_ref());
        now.or(container.last_state.as_ref().and_then(|s| s.terminated.as_ref()))
    });
    Some(WorkerSeen {
        role: role.to_owned(),
        of: of.clone(),
        pod: pod(&whole),
        address: status.pod_ip.filter(|ip| !ip.is_empty()),
        message: ended.and_then(|ended| ended.message.clone()),
    })
}

/// An object as its own type, without what only a newer version knows; `None` if it cannot be read
/// even so.
#[must_use]
pub fn typed<T: DeserializeOwned>(object: &DynamicObject) -> Option<T> {
    let mut value = serde_json::to_value(object).ok()?;
    crate::known::leave_out_unknown(&mut value);
    match serde_json::from_value(value) {
        Ok(typed) => Some(typed),
        Err(error) => {
            tracing::warn!(name = %object.name_any(), %error, "an object is not readable");
            None
        }
    }
}

/// Who the cluster is, as the Secret that belongs to it says.
fn identity(store: &Store, cluster: &Cluster) -> Option<Identity> {
    let namespace = cluster.namespace().unwrap_or_default();
    let object = store.get(Kind::Secret, &namespace, &names::identity(&cluster.name_any()))?;
    let owner = cluster.metadata.uid.clone().unwrap_or_default();
    if !crate::object::is_owned_by(&object, &[owner]) {
        return None;
    }
    let founded = object.annotations().contains_key(names::FOUNDED);
    let secret: Secret = typed(&object)?;
    let data = secret.data.unwrap_or_default();
    let text = |key: &str| Some(String::from_utf8_lossy(&data.get(key)?.0).into_owned());
    let tls = text("peers").is_some_and(|peers| peers == names::PEERS_TLS);
    Some(Identity { uid: text("uid")?, secret: text("secret")?, tls, founded })
}

/// What matters of a pod.
#[must_use]
pub fn pod(pod: &Pod) -> PodSeen {
    let status = pod.status.clone().unwrap_or_default();
    let containers = status.container_statuses.unwrap_or_default();
    let named = |name: &str| containers.iter().find(|container| container.name == name);
    let node = named("node").or_else(|| named(CONTAINER));
    let conditions = status.conditions.unwrap_or_default();
    let is = |type_: &str| conditions.iter().find(|c| c.type_ == type_);
    let running = node.and_then(|n| n.state.as_ref()).is_some_and(|s| s.running.is_some());
    let unscheduled = is("PodScheduled").filter(|c| c.status == "False");
    let unscheduled = unscheduled.and_then(|c| c.message.clone()).unwrap_or_default();
    let ended = node.and_then(last_end);
    PodSeen {
        uid: pod.uid().unwrap_or_default(),
        template: pod.annotations().get(names::TEMPLATE).cloned().unwrap_or_default(),
        machine: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        running,
        ready: is("Ready").is_some_and(|condition| condition.status == "True"),
        deleting: pod.metadata.deletion_timestamp.is_some(),
        created_sec: pod.creation_timestamp().map_or(0, |time| time.0.as_second()),
        waits: node.and_then(waits).unwrap_or(unscheduled),
        exits: node.map_or(0, |container| {
            let over = container.state.as_ref().is_some_and(|s| s.terminated.is_some());
            container.restart_count + i32::from(over)
        }),
        last_exit: ended.unwrap_or_default(),
        labelled: labelled(pod),
    }
}

fn labelled(pod: &Pod) -> Option<(String, String)> {
    let label = |key: &str| pod.labels().get(key).cloned();
    Some((label(names::SERVES)?, label(names::KEYSPACE)?))
}

/// What a container waits for, where that is more than being made.
fn waits(container: &ContainerStatus) -> Option<String> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let reason = waiting.reason.clone().unwrap_or_default();
    if reason.is_empty() || reason == "ContainerCreating" || reason == "PodInitializing" {
        return None;
    }
    Some(format!("{reason}: {}", waiting.message.clone().unwrap_or_default()))
}

fn last_end(container: &ContainerStatus) -> Option<String> {
    let now = container.state.as_ref().and_then(|s| s.terminated.as_ref());
    let before = container.last_state.as_ref().and_then(|s| s.terminated.as_ref());
    let ended = now.or(before)?;
    let reason = ended.reason.clone().unwrap_or_default();
    Some(format!("{reason}, exit code {}", ended.exit_code))
}

/// What matters of a machine, as the store keeps it.
#[must_use]
pub fn machine(object: &DynamicObject) -> Machine {
    Machine {
        zone: object.labels().get("topology.kubernetes.io/zone").cloned(),
        ready: object.data["ready"] == true,
        cordoned: object.data["cordoned"] == true,
    }
}

fn claim(object: &DynamicObject) -> ClaimSeen {
    let text = |at: &str| object.data.pointer(at).and_then(|v| v.as_str()).map(str::to_owned);
    ClaimSeen {
        wanted: text("/spec/resources/requests/storage").unwrap_or_default(),
        there: text("/status/capacity/storage").unwrap_or_default(),
        cluster_uid: object.annotations().get(names::CLUSTER_UID).cloned(),
    }
}

/// A Secret's value as the API shows it, for tests and for what is built.
#[must_use]
pub fn encoded(text: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(text)
}
