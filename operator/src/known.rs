//! What this version knows of our own resources: the rest is left out before they are read.
//!
//! A newer version's definitions may be installed already, or still, and the API server fills in
//! their defaults. An operator that could read nothing of that would look after nothing.

use cairn_crd::{Backup, Cluster, Group, Keyspace, Restore};
use kube::CustomResourceExt;
use serde_json::Value;
use std::sync::OnceLock;

/// Takes out of `resource`, one of our own, every field that its definition in this version lacks.
pub fn leave_out_unknown(resource: &mut Value) {
    static SCHEMAS: OnceLock<[(&str, Value); 5]> = OnceLock::new();
    let schemas = SCHEMAS.get_or_init(|| {
        [
            ("Cluster", schema::<Cluster>()),
            ("Keyspace", schema::<Keyspace>()),
            ("Group", schema::<Group>()),
            ("Backup", schema::<Backup>()),
            ("Restore", schema::<Restore>()),
        ]
    });
    if !resource["apiVersion"].as_str().is_some_and(|version| version.starts_with("cairn.dev/")) {
        return;
    }
    let kind = resource["kind"].as_str().unwrap_or_default().to_owned();
    let Some((_, schema)) = schemas.iter().find(|(name, _)| *name == kind) else { return };
    for part in ["spec", "status"] {
        if let (Some(value), Some(schema)) =
            (resource.get_mut(part), schema.pointer(&format!("/properties/{part}")))
        {
            prune(value, schema);
        }
    }
}

fn schema<T: CustomResourceExt>() -> Value {
    let crd = serde_json::to_value(T::crd()).unwrap_or_default();
    crd.pointer("/spec/versions/0/schema/openAPIV3Schema").cloned().unwrap_or_default()
}

/// As the API server prunes what a schema does not have.
fn prune(value: &mut Value, schema: &Value) {
    match value {
        Value::Object(fields) => {
            let Some(known) = schema.get("properties").and_then(Value::as_object) else { return };
            if schema["x-kubernetes-preserve-unknown-fields"] != true {
                fields.retain(|name, _| known.contains_key(name));
            }
            for (name, value) in fields {
                known.get(name).into_iter().for_each(|schema| prune(value, schema));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, &schema["items"])),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_newer_version_adds_is_left_out_and_all_else_stays() {
        let known = json!({
            "apiVersion": "cairn.dev/v1alpha1", "kind": "Keyspace",
            "metadata": { "name": "k", "labels": { "any": "thing" } },
            "spec": {
                "cluster": "c", "groups": 3,
                "tls": { "altNames": ["a"] },
                "pods": {
                    "resources": { "requests": { "cpu": "1" } },
                    "template": { "spec": { "whatever": [{ "people": "write" }] } },
                },
            },
            "status": { "groups": 1, "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        let mut newer = known.clone();
        newer["spec"]["proxy"] = json!({ "replicas": 2 });
        newer["spec"]["tls"]["ciphers"] = json!(["x"]);
        newer["status"]["shards"] = json!(4);
        newer["status"]["conditions"][0]["colour"] = json!("green");
        leave_out_unknown(&mut newer);
        assert_eq!(newer, known);
    }

    #[test]
    fn other_peoples_objects_are_left_alone() {
        let before = json!({ "apiVersion": "v1", "kind": "Group", "spec": { "odd": 1 } });
        let mut after = before.clone();
        leave_out_unknown(&mut after);
        assert_eq!(after, before);
    }
}
