//! Objects of any kind: what is built, what is seen, and whether they say the same.

use crate::names;
use k8s_openapi::Resource;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{
    ConfigMap, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;
use kube::core::{ApiResource, GroupVersionKind};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Every kind the operator reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "the names are those of Kubernetes, cert-manager and our own")]
pub enum Kind {
    Cluster,
    Keyspace,
    Group,
    Backup,
    Restore,
    SparePool,
    ServiceAccount,
    Secret,
    ConfigMap,
    Service,
    PodDisruptionBudget,
    NetworkPolicy,
    StatefulSet,
    Deployment,
    Job,
    Lease,
    Pod,
    PersistentVolumeClaim,
    Node,
    Certificate,
}

impl Kind {
    /// What the operator makes, in the order in which it is applied.
    pub const MADE: [Self; 11] = [
        Self::ServiceAccount,
        Self::Secret,
        Self::ConfigMap,
        Self::Service,
        Self::NetworkPolicy,
        Self::PodDisruptionBudget,
        Self::Group,
        Self::StatefulSet,
        Self::Deployment,
        Self::Job,
        Self::Lease,
    ];

    /// What people write.
    pub const WRITTEN: [Self; 5] =
        [Self::Cluster, Self::Keyspace, Self::Backup, Self::Restore, Self::SparePool];

    /// Where the kind is in the API.
    #[must_use]
    pub fn api(self) -> ApiResource {
        match self {
            Self::Cluster => ApiResource::erase::<cairn_crd::Cluster>(&()),
            Self::Keyspace => ApiResource::erase::<cairn_crd::Keyspace>(&()),
            Self::Group => ApiResource::erase::<cairn_crd::Group>(&()),
            Self::Backup => ApiResource::erase::<cairn_crd::Backup>(&()),
            Self::Restore => ApiResource::erase::<cairn_crd::Restore>(&()),
            Self::SparePool => ApiResource::erase::<cairn_crd::SparePool>(&()),
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::Job => ApiResource::erase::<Job>(&()),
            Self::Lease => ApiResource::erase::<Lease>(&()),
            Self::Pod => ApiResource::erase::<Pod>(&()),
            Self::PersistentVolumeClaim => ApiResource::erase::<PersistentVolumeClaim>(&()),
            Self::Node => ApiResource::erase::<Node>(&()),
            Self::Certificate => {
                let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "Certificate");
                ApiResource::from_gvk_with_plural(&kind, "certificates")
            }
        }
    }

    /// The kind's name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Keyspace => "Keyspace",
            Self::Group => "Group",
            Self::Backup => "Backup",
            Self::Restore => "Restore",
            Self::SparePool => "SparePool",
            Self::ServiceAccount => ServiceAccount::KIND,
            Self::Secret => Secret::KIND,
            Self::ConfigMap => ConfigMap::KIND,
            Self::Service => Service::KIND,
            Self::PodDisruptionBudget => PodDisruptionBudget::KIND,
            Self::NetworkPolicy => NetworkPolicy::KIND,
            Self::StatefulSet => StatefulSet::KIND,
            Self::Deployment => Deployment::KIND,
            Self::Job => Job::KIND,
            Self::Lease => Lease::KIND,
            Self::Pod => Pod::KIND,
            Self::PersistentVolumeClaim => PersistentVolumeClaim::KIND,
            Self::Node => Node::KIND,
            Self::Certificate => "Certificate",
        }
    }
}

/// Which object: kind and name, within the namespace in question.
pub type Id = (Kind, String);

/// An object as it is to be: what the operator wants to own of it, and nothing else.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// All of it, `apiVersion` and `kind` included.
    pub value: Value,
}

/// Who an object goes with when it is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// The uid that Kubernetes gave it.
    pub uid: String,
}

impl Owner {
    /// The owner that `object` is.
    pub fn of<T: kube::Resource<DynamicType = ()>>(kind: Kind, object: &T) -> Self {
        let meta = object.meta();
        Self {
            kind,
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        }
    }

    fn reference(&self) -> Value {
        let api = self.kind.api();
        json!({
            "apiVersion": api.api_version, "kind": api.kind, "name": self.name, "uid": self.uid,
            "controller": true, "blockOwnerDeletion": true,
        })
    }
}

impl Object {
    /// `body` as an object of `kind` that belongs to `owner`, marked with the hash of all it says.
    ///
    /// # Panics
    /// Never: what is built is plain data.
    #[must_use]
    pub fn new(kind: Kind, owner: &Owner, body: &impl Serialize) -> Self {
        let mut value = serde_json::to_value(body).expect("objects are plain data");
        let api = kind.api();
        value["apiVersion"] = json!(api.api_version);
        value["kind"] = json!(api.kind);
        value["metadata"]["ownerReferences"] = json!([owner.reference()]);
        let hash = digest(&value);
        value["metadata"]["annotations"][names::APPLIED] = json!(hash);
        let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Self { kind, name, value }
    }

    /// Its kind and name.
    #[must_use]
    pub fn id(&self) -> Id {
        (self.kind, self.name.clone())
    }

    /// Whether `live` has everything this says, and nothing that was said before and is not now.
    #[must_use]
    pub fn is_in(&self, live: &Value) -> bool {
        covers(live, &self.value)
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of a value's text.
///
/// # Panics
/// Never: a value always has a text.
#[must_use]
pub fn digest(value: &Value) -> String {
    let text = serde_json::to_vec(value).expect("a value has a text");
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `live` says at least what `wanted` says: objects may have more fields, lists may not
/// have more items. What the API server fills in is more, never less.
#[must_use]
pub fn covers(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, value)| {
            let empty = value.is_null() || value == &json!({}) || value == &json!([]);
            live.get(key).map_or(empty, |live| covers(live, value))
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len() && live.iter().zip(wanted).all(|(l, w)| covers(l, w))
        }
        (live, wanted) => live == wanted,
    }
}

/// Whether one of `owners` is who `live` belongs to.
#[must_use]
pub fn is_owned_by(live: &kube::core::DynamicObject, owners: &[String]) -> bool {
    live.owner_references().iter().any(|r| r.controller == Some(true) && owners.contains(&r.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_fills_in_is_no_difference() {
        let wanted = json!({"spec": {"ports": [{"port": 1}], "none": {}}});
        let live = json!({"spec": {"ports": [{"port": 1, "protocol": "TCP"}], "type": "x"}});
        assert!(covers(&live, &wanted));
    }

    #[test]
    fn another_value_a_missing_field_or_another_item_is_one() {
        let wanted = json!({"a": [{"b": 1}], "c": "d"});
        for live in [
            json!({"a": [{"b": 2}], "c": "d"}),
            json!({"a": [{"b": 1}]}),
            json!({"a": [{"b": 1}, {"b": 1}], "c": "d"}),
            json!({"a": [], "c": "d"}),
        ] {
            assert!(!covers(&live, &wanted), "{live}");
        }
    }

    #[test]
    fn a_field_that_is_not_said_any_more_changes_the_mark() {
        let owner = Owner { kind: Kind::Cluster, name: "c".to_owned(), uid: "u".to_owned() };
        let old = json!({"metadata": {"name": "n"}, "data": {"a": "1", "b": "2"}});
        let new = json!({"metadata": {"name": "n"}, "data": {"a": "1"}});
        let live = Object::new(Kind::ConfigMap, &owner, &old).value;
        assert!(!Object::new(Kind::ConfigMap, &owner, &new).is_in(&live));
        assert!(Object::new(Kind::ConfigMap, &owner, &old).is_in(&live));
    }
}
