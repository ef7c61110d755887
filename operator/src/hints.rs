//! What the operator has seen of a node, told to the judges at once.
//!
//! A hint saves the wait for silence and decides nothing. Before it is sent, the node itself is
//! asked: one that answers is not gone, whatever Kubernetes says or has said late, for example
//! after its API was away.

use crate::controller::observe;
use crate::names;
use crate::object::Kind;
use crate::store::{Change, Store};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

/// Something that may mean that a node is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspicion {
    /// The namespace.
    pub namespace: String,
    /// The cluster.
    pub cluster: String,
    /// The node: its pod's name.
    pub node: String,
    /// What was seen, for the judge's log.
    pub seen: &'static str,
}

/// What a change makes one suspect. Pure.
#[must_use]
pub fn suspicions(change: &Change, store: &Store) -> Vec<Suspicion> {
    match change.place.0 {
        Kind::Pod => of_pod(change).into_iter().collect(),
        Kind::Node => of_machine(change, store),
        _ => Vec::new(),
    }
}

fn of_pod(change: &Change) -> Option<Suspicion> {
    let (_, namespace, node) = &change.place;
    let object = change.new.as_ref().or(change.old.as_ref())?;
    if observe::worker_of(object).is_some() {
        return None;
    }
    let cluster = object.labels().get(names::CLUSTER)?.clone();
    let suspect = |seen| {
        let (namespace, node) = (namespace.clone(), node.clone());
        Some(Suspicion { namespace, cluster: cluster.clone(), node, seen })
    };
    let pod = |object: &kube::core::DynamicObject| observe::typed::<Pod>(object);
    let old = change.old.as_deref().and_then(pod).map(|p| observe::pod(&p));
    let Some(new) = change.new.as_deref().and_then(pod).map(|p| observe::pod(&p)) else {
        return suspect("pod deleted");
    };
    let old = old?;
    if old.uid != new.uid {
        return suspect("pod deleted");
    }
    if new.exits > old.exits {
        return suspect("process exited");
    }
    None
}

/// A kubelet that says nothing: each of the machine's nodes may be gone with it.
fn of_machine(change: &Change, store: &Store) -> Vec<Suspicion> {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return Vec::new() };
    let (was, is) = (observe::machine(old).ready, observe::machine(new).ready);
    if !was || is {
        return Vec::new();
    }
    let machine = new.name_any();
    let pods = store.all(Kind::Pod).into_iter();
    let there = pods.filter(|pod| {
        observe::worker_of(pod).is_none()
            && pod.data.pointer("/spec/nodeName").is_some_and(|name| *name == machine.as_str())
    });
    let suspect = |pod: std::sync::Arc<kube::core::DynamicObject>| {
        Some(Suspicion {
            namespace: pod.namespace()?,
            cluster: pod.labels().get(names::CLUSTER)?.clone(),
            node: pod.name_any(),
            seen: "machine not ready",
        })
    };
    there.filter_map(suspect).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::DynamicObject;
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn pod(uid: &str, restarts: i32) -> Arc<DynamicObject> {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "tweets-0-1", "namespace": "ns", "uid": uid,
                "labels": { names::CLUSTER: "demo" },
            },
            "spec": { "nodeName": "m1", "containers": [] },
            "status": { "containerStatuses": [{
                "name": "node", "image": "", "imageID": "", "ready": true,
                "restartCount": restarts, "state": { "running": {} },
            }]},
        }))
        .unwrap();
        Arc::new(object)
    }

    fn seen(old: Option<Arc<DynamicObject>>, new: Option<Arc<DynamicObject>>) -> Vec<&'static str> {
        let place = (Kind::Pod, "ns".to_owned(), "tweets-0-1".to_owned());
        let change = Change { place, old, new };
        suspicions(&change, &Store::default()).into_iter().map(|s| s.seen).collect()
    }

    #[test]
    fn a_deleted_pod_another_of_its_name_and_an_exit_are_suspicious() {
        assert_eq!(seen(Some(pod("a", 0)), None), ["pod deleted"]);
        assert_eq!(seen(Some(pod("a", 0)), Some(pod("b", 0))), ["pod deleted"]);
        assert_eq!(seen(Some(pod("a", 0)), Some(pod("a", 1))), ["process exited"]);
    }

    #[test]
    fn a_new_pod_or_one_as_before_is_not() {
        assert_eq!(seen(None, Some(pod("a", 3))), [""; 0]);
        assert_eq!(seen(Some(pod("a", 1)), Some(pod("a", 1))), [""; 0]);
    }

    #[test]
    fn every_node_of_a_machine_that_fell_silent_is_suspicious_once() {
        let store = Store::default();
        store.put(Kind::Pod, pod("a", 0).as_ref().clone());
        let machine = |ready: bool| {
            let mut machine = DynamicObject::new("m1", &Kind::Node.api());
            machine.data = json!({ "ready": ready, "cordoned": false });
            Some(Arc::new(machine))
        };
        let place = (Kind::Node, String::new(), "m1".to_owned());
        let suspects = |old, new| {
            let change = Change { place: place.clone(), old, new };
            let nodes = suspicions(&change, &store).into_iter().map(|s| Value::from(s.node));
            nodes.collect::<Vec<_>>()
        };
        assert_eq!(suspects(machine(true), machine(false)), ["tweets-0-1"]);
        assert!(suspects(machine(false), machine(false)).is_empty());
        assert!(suspects(machine(false), machine(true)).is_empty());
    }
}
