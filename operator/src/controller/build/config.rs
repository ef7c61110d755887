//! The nodes' settings, one file per pod.

use crate::controller::desired::Desired;
use crate::object::{Kind, Object, Owner};
use serde_json::json;
use std::collections::BTreeMap;

/// The ConfigMap with the settings of the nodes of StatefulSet `set`.
#[must_use]
pub fn settings(
    desired: &Desired,
    set: &str,
    labels: BTreeMap<String, String>,
    owner: &Owner,
) -> Object {
    let files: BTreeMap<String, String> =
        desired.settings_of(set).map(|s| (format!("{}.json", s.node), s.to_json())).collect();
    let metadata = json!({ "name": set, "namespace": desired.namespace, "labels": labels });
    Object::new(Kind::ConfigMap, owner, &json!({ "metadata": metadata, "data": files }))
}
