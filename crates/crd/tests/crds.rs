//! The files in `crds/` and `docs/conditions.md` are what the types say.

use cairn_crd::{Backup, Cluster, Keyspace, Restore, SparePool, crds};
use serde_json::Value;
use std::path::Path;

#[test]
fn the_committed_files_are_fresh() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let crds = crds().into_iter().map(|(file, yaml)| (format!("crds/{file}"), yaml));
    let page = ("docs/conditions.md".to_owned(), cairn_crd::conditions::page());
    for (file, text) in crds.chain([page]) {
        let path = root.join(&file);
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(committed == text, "{file} is stale: run `cargo xtask codegen`");
    }
}

#[test]
fn people_find_short_names_columns_and_the_scale_of_a_keyspace() {
    let all = crds();
    let kinds: Vec<Value> =
        all.iter().map(|(_, yaml)| serde_yaml::from_str(yaml).unwrap()).collect();
    let short: Vec<_> = kinds.iter().map(|k| k["spec"]["names"]["shortNames"][0].clone()).collect();
    assert_eq!(short, ["cb", "cc", "cg", "ks", "cre", "csp"]);
    for kind in &kinds {
        assert_eq!(kind["spec"]["names"]["categories"][0], "cairn");
        let version = &kind["spec"]["versions"][0];
        assert!(version["additionalPrinterColumns"][0]["jsonPath"].is_string());
        assert!(version["subresources"]["status"].is_object());
    }
    let scale = &kinds[3]["spec"]["versions"][0]["subresources"]["scale"];
    assert_eq!(scale["specReplicasPath"], ".spec.groups");
}

/// The API server fills in the schema's defaults and `cairn up` serde's: they must be the same.
#[test]
fn the_schemas_defaults_are_serdes() {
    let cluster: Cluster = serde_yaml::from_str(
        "{apiVersion: cairn.dev/v1alpha1, kind: Cluster, metadata: {name: a}, spec: {}}",
    )
    .unwrap();
    let keyspace: Keyspace = serde_yaml::from_str(
        "{apiVersion: cairn.dev/v1alpha1, kind: Keyspace, metadata: {name: a}, \
         spec: {cluster: c}}",
    )
    .unwrap();
    let backup: Backup = serde_yaml::from_str(
        "{apiVersion: cairn.dev/v1alpha1, kind: Backup, metadata: {name: a}, \
         spec: {keyspace: k, to: {claim: c}}}",
    )
    .unwrap();
    let restore: Restore = serde_yaml::from_str(
        "{apiVersion: cairn.dev/v1alpha1, kind: Restore, metadata: {name: a}, \
         spec: {into: k, source: {keyspace: k, from: {claim: c}}}}",
    )
    .unwrap();
    let pool: SparePool = serde_yaml::from_str(
        "{apiVersion: cairn.dev/v1alpha1, kind: SparePool, metadata: {name: a}, \
         spec: {cluster: c}}",
    )
    .unwrap();
    let typed = [
        serde_json::to_value(backup.spec),
        serde_json::to_value(cluster.spec),
        serde_json::to_value(keyspace.spec),
        serde_json::to_value(restore.spec),
        serde_json::to_value(pool.spec),
    ];
    let all = crds();
    for (at, typed) in [0, 1, 3, 4, 5].into_iter().zip(typed) {
        let crd: Value = serde_yaml::from_str(&all[at].1).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut filled = serde_json::json!({});
        fill(&mut filled, spec);
        let mut typed = typed.unwrap();
        // Fields without a default.
        for field in ["cluster", "keyspace", "to", "into", "source"] {
            typed.as_object_mut().unwrap().remove(field);
        }
        assert_eq!(filled, typed);
    }
}

fn fill(value: &mut Value, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (key, schema) in properties {
        if value.get(key).is_none() && !schema["default"].is_null() {
            value[key] = schema["default"].clone();
        }
        if let Some(inner) = value.get_mut(key) {
            fill(inner, schema);
        }
    }
}
