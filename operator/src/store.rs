//! What Kubernetes holds, kept in memory: only our own resources, what the operator made, and the
//! few fields of machines that matter. Never anybody else's objects.

use crate::names;
use crate::object::Kind;
use futures::StreamExt;
use kube::api::{Api, DynamicObject, TypeMeta};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::mpsc;

/// Where an object is: kind, namespace (empty for machines), name.
pub type Place = (Kind, String, String);

/// Something changed.
#[derive(Clone, Debug)]
pub struct Change {
    /// Where.
    pub place: Place,
    /// As it was.
    pub old: Option<Arc<DynamicObject>>,
    /// As it is; absent when it is gone.
    pub new: Option<Arc<DynamicObject>>,
}

/// All objects that were seen.
#[derive(Debug, Default)]
pub struct Store {
    objects: RwLock<BTreeMap<Place, Arc<DynamicObject>>>,
    complete: Mutex<BTreeSet<Kind>>,
}

/// Kinds that are watched.
pub const WATCHED: [Kind; 19] = [
    Kind::Cluster,
    Kind::Keyspace,
    Kind::Group,
    Kind::Backup,
    Kind::Restore,
    Kind::SparePool,
    Kind::ServiceAccount,
    Kind::Secret,
    Kind::ConfigMap,
    Kind::Service,
    Kind::PodDisruptionBudget,
    Kind::NetworkPolicy,
    Kind::StatefulSet,
    Kind::Deployment,
    Kind::Job,
    Kind::Lease,
    Kind::Pod,
    Kind::PersistentVolumeClaim,
    Kind::Node,
];

impl Store {
    /// Whether every kind was listed once.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        let complete = self.complete.lock().unwrap_or_else(PoisonError::into_inner);
        complete.len() == WATCHED.len()
    }

    /// Objects of a kind in a namespace.
    #[must_use]
    pub fn list(&self, kind: Kind, namespace: &str) -> Vec<Arc<DynamicObject>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let from = (kind, namespace.to_owned(), String::new());
        let range = objects.range(from..).take_while(|((k, n, _), _)| *k == kind && n == namespace);
        range.map(|(_, object)| object.clone()).collect()
    }

    /// Every object of a kind.
    #[must_use]
    pub fn all(&self, kind: Kind) -> Vec<Arc<DynamicObject>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        let from = (kind, String::new(), String::new());
        let range = objects.range(from..).take_while(|((k, _, _), _)| *k == kind);
        range.map(|(_, object)| object.clone()).collect()
    }

    /// One object.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<DynamicObject>> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(&(kind, namespace.to_owned(), name.to_owned())).cloned()
    }

    /// Notes an object; the change, if it says something new.
    pub fn put(&self, kind: Kind, object: DynamicObject) -> Option<Change> {
        let object = Arc::new(trimmed(kind, object));
        let place = (kind, object.namespace().unwrap_or_default(), object.name_any());
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let old = objects.get(&place).cloned();
        if old.as_ref().is_some_and(|old| version(old) > version(&object)) {
            return None;
        }
        objects.insert(place.clone(), object.clone());
        let same = old.as_ref().is_some_and(|old| says_the_same(old, &object));
        (!same).then_some(Change { place, old, new: Some(object) })
    }

    /// Forgets an object.
    pub fn remove(&self, kind: Kind, object: &DynamicObject) -> Option<Change> {
        let place = (kind, object.namespace().unwrap_or_default(), object.name_any());
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let old = objects.remove(&place)?;
        Some(Change { place, old: Some(old), new: None })
    }

    /// Forgets objects of a kind that a complete list does not have.
    fn keep_only(&self, kind: Kind, listed: &BTreeSet<Place>) -> Vec<Change> {
        let gone = self.all(kind).into_iter().filter(|object| {
            let place = (kind, object.namespace().unwrap_or_default(), object.name_any());
            !listed.contains(&place)
        });
        let changes = gone.collect::<Vec<_>>();
        changes.iter().filter_map(|object| self.remove(kind, object)).collect()
    }
}

/// Versions of one API server grow; anything else counts as new.
fn version(object: &DynamicObject) -> u64 {
    object.resource_version().and_then(|version| version.parse().ok()).unwrap_or(u64::MAX)
}

fn says_the_same(old: &DynamicObject, new: &DynamicObject) -> bool {
    let bare = |object: &DynamicObject| {
        let mut metadata = object.metadata.clone();
        metadata.resource_version = None;
        metadata
    };
    old.data == new.data && bare(old) == bare(new)
}

/// Drops what nobody here reads.
fn trimmed(kind: Kind, mut object: DynamicObject) -> DynamicObject {
    object.metadata.managed_fields = None;
    // Items of a list come without their types.
    let api = kind.api();
    object.types = Some(TypeMeta { api_version: api.api_version, kind: api.kind });
    if kind == Kind::Node {
        object = machine(object);
    }
    object
}

fn machine(object: DynamicObject) -> DynamicObject {
    let ready = object.data.pointer("/status/conditions").and_then(Value::as_array);
    let ready = ready.and_then(|all| all.iter().find(|c| c["type"] == "Ready"));
    let ready = ready.is_some_and(|condition| condition["status"] == "True");
    let cordoned = object.data["spec"]["unschedulable"] == json!(true);
    let mut labels = object.metadata.labels.clone().unwrap_or_default();
    labels.retain(|key, _| key == "topology.kubernetes.io/zone");
    let metadata = kube::core::ObjectMeta {
        name: object.metadata.name,
        uid: object.metadata.uid,
        resource_version: object.metadata.resource_version,
        labels: Some(labels),
        ..Default::default()
    };
    DynamicObject { types: None, metadata, data: json!({ "ready": ready, "cordoned": cordoned }) }
}

/// Keeps `store` up to date with `kind` until the receiver is gone.
pub async fn follow(
    client: Client,
    namespace: Option<String>,
    kind: Kind,
    store: Arc<Store>,
    changes: mpsc::Sender<Change>,
) {
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) if kind != Kind::Node => {
            Api::namespaced_with(client, &namespace, &kind.api())
        }
        _ => Api::all_with(client, &kind.api()),
    };
    let ours = Kind::WRITTEN.contains(&kind) || matches!(kind, Kind::Group | Kind::Node);
    let config = watcher::Config::default();
    let config = if ours { config } else { config.labels(names::SELECTOR) };
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut listed = BTreeSet::new();
    while let Some(event) = events.next().await {
        let found = match event {
            Ok(watcher::Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert((kind, object.namespace().unwrap_or_default(), object.name_any()));
                store.put(kind, object).into_iter().collect()
            }
            Ok(watcher::Event::InitDone) => {
                let gone = store.keep_only(kind, &listed);
                store.complete.lock().unwrap_or_else(PoisonError::into_inner).insert(kind);
                gone
            }
            Ok(watcher::Event::Apply(object)) => store.put(kind, object).into_iter().collect(),
            Ok(watcher::Event::Delete(object)) => store.remove(kind, &object).into_iter().collect(),
            Err(error) => {
                tracing::warn!(kind = kind.as_str(), %error, "watching failed, trying again");
                Vec::new()
            }
        };
        for change in found {
            if changes.send(change).await.is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str, data: Value) -> DynamicObject {
        let mut object = DynamicObject::new("n", &Kind::ConfigMap.api()).within("ns");
        object.metadata.resource_version = Some(version.to_owned());
        object.data = data;
        object
    }

    #[test]
    fn an_older_version_does_not_replace_a_newer_one() {
        let store = Store::default();
        assert!(store.put(Kind::ConfigMap, object("7", json!({"data": 2}))).is_some());
        assert!(store.put(Kind::ConfigMap, object("6", json!({"data": 1}))).is_none());
        let seen = store.get(Kind::ConfigMap, "ns", "n").unwrap();
        assert_eq!(seen.data, json!({"data": 2}));
    }

    #[test]
    fn a_new_version_that_says_the_same_is_no_change() {
        let store = Store::default();
        store.put(Kind::ConfigMap, object("7", json!({"data": 2})));
        assert!(store.put(Kind::ConfigMap, object("8", json!({"data": 2}))).is_none());
        assert!(store.put(Kind::ConfigMap, object("9", json!({"data": 3}))).is_some());
    }

    #[test]
    fn of_a_machine_three_facts_are_kept() {
        let mut node = DynamicObject::new("m", &Kind::Node.api());
        node.metadata.labels = Some(
            [("topology.kubernetes.io/zone", "z"), ("x", "y")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
        );
        node.data = json!({"spec": {"unschedulable": true, "podCIDR": "x"}, "status": {
            "conditions": [{"type": "Ready", "status": "True"}], "images": [1, 2, 3]}});
        let kept = trimmed(Kind::Node, node);
        assert_eq!(kept.data, json!({"ready": true, "cordoned": true}));
        assert_eq!(kept.labels().len(), 1);
    }
}
