//! Certificates: a Secret for each headless Service, and the ConfigMap with whom to trust.

use crate::controller::certificates::ClientDoor;
use crate::controller::desired::Desired;
use crate::names;
use crate::object::{Kind, Object};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// Adds the objects. Secrets that an issuer fills are not ours to write.
pub fn build(desired: &Desired, objects: &mut Vec<Object>) {
    let (name, namespace, tls) = (&*desired.name, &*desired.namespace, &desired.tls);
    if !tls.leaves.is_empty() && !tls.trusted.is_empty() {
        let labels = names::labels(name, "authority");
        let metadata =
            json!({ "name": names::authority(name), "namespace": namespace, "labels": labels });
        let body = json!({ "metadata": metadata, "data": { "ca.crt": tls.trusted } });
        objects.push(Object::new(Kind::ConfigMap, &desired.owner(), &body));
    }
    if desired.cluster.spec.tls.issuer_ref.is_some() {
        return;
    }
    for (secret, leaf) in &tls.leaves {
        let Some(shown) = &leaf.shown else { continue };
        let keyspace = desired.keyspaces.iter().find(|k| Some(&k.name) == leaf.keyspace.as_ref());
        let (owner, labels) = match keyspace {
            Some(keyspace) => (keyspace.owner(), super::keyspace::labels(desired, keyspace)),
            None => (desired.owner(), names::labels(name, "certificate")),
        };
        let body = json!({
            "metadata": {
                "name": secret, "namespace": namespace, "labels": labels,
                "annotations": { names::CERTIFICATE: shown.mark },
            },
            "type": "kubernetes.io/tls",
            "data": {
                "tls.crt": STANDARD.encode(&shown.pair.certificate),
                "tls.key": STANDARD.encode(&shown.pair.key),
            },
        });
        objects.push(Object::new(Kind::Secret, &owner, &body));
    }
}

/// The Secret and the ConfigMap to mount into the pods behind `service`.
pub fn mounted(desired: &Desired, service: &str) -> Option<(String, String)> {
    let secret = names::certificate(service);
    let made = desired.tls.leaves.contains_key(&secret);
    made.then(|| (secret, names::authority(&desired.name)))
}

/// The Secret of people to mount for `clients`.
pub fn theirs(clients: &ClientDoor) -> Option<&str> {
    match clients {
        ClientDoor::Theirs { secret, .. } => Some(secret),
        ClientDoor::Plain | ClientDoor::Made { .. } => None,
    }
}
