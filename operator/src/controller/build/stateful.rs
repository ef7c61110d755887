//! A StatefulSet around a pod template.

use crate::names;
use crate::object::{Kind, Object, Owner};
use cairn_crd::shared::{OnDelete, Storage};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a StatefulSet is made of.
pub struct Set<'a> {
    /// Its name, also that of its pods before the ordinal.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The headless Service that names its pods.
    pub service: &'a str,
    /// Labels of the set and of its volume claims.
    pub labels: BTreeMap<String, String>,
    /// The labels that tell its pods from all others; cannot change.
    pub selector: BTreeMap<String, String>,
    /// How many pods.
    pub replicas: i32,
    /// The pods, as [`super::template_of`] makes them.
    pub template: Value,
    /// Their volumes.
    pub storage: &'a Storage,
    /// The size that the set's claim template has and cannot change.
    pub claim_size: Option<&'a String>,
    /// The cluster's random name, for the volume claims.
    pub uid: &'a str,
}

/// The StatefulSet; its pods are replaced by nobody but the operator.
#[must_use]
pub fn stateful(set: Set<'_>, owner: &Owner) -> Object {
    let deleted = match set.storage.on_delete {
        OnDelete::Keep => "Retain",
        OnDelete::Delete => "Delete",
    };
    let size = set.claim_size.unwrap_or(&set.storage.size);
    let mut claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "data", "labels": set.labels, "annotations": { names::CLUSTER_UID: set.uid },
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": size } },
        },
    });
    if let Some(class) = &set.storage.class_name {
        claim["spec"]["storageClassName"] = json!(class);
    }
    let body = json!({
        "metadata": { "name": set.name, "namespace": set.namespace, "labels": set.labels },
        "spec": {
            "serviceName": set.service,
            "replicas": set.replicas,
            "selector": { "matchLabels": set.selector },
            "podManagementPolicy": "Parallel",
            "updateStrategy": { "type": "OnDelete" },
            "persistentVolumeClaimRetentionPolicy":
                { "whenDeleted": deleted, "whenScaled": "Retain" },
            "revisionHistoryLimit": 2,
            "template": set.template,
            "volumeClaimTemplates": [claim],
        },
    });
    Object::new(Kind::StatefulSet, owner, &body)
}
