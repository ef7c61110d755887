//! Mastership as Leases, for people and other controllers: holder = master, transitions = epoch.
//!
//! A copy of what the directory says, written when it changes; nobody decides by it.

use crate::controller::desired::{Desired, Mastership};
use crate::names;
use crate::object::{Kind, Object, Owner};
use serde_json::json;
use std::collections::BTreeMap;

/// Adds a Lease for the global plane and for each group that has a master.
pub fn build(desired: &Desired, objects: &mut Vec<Object>) {
    if let Some(mastership) = &desired.mastership {
        let labels = names::labels(&desired.name, "global");
        let name = names::global(&desired.name);
        objects.push(lease(&name, &desired.namespace, labels, mastership, &desired.owner()));
    }
    for keyspace in &desired.keyspaces {
        for group in &keyspace.groups {
            let (Some(owner), Some(mastership)) = (&group.owner, &group.mastership) else {
                continue;
            };
            let labels = super::keyspace::labels(desired, keyspace);
            let labels = names::with(labels, names::GROUP, &group.name);
            objects.push(lease(&group.name, &desired.namespace, labels, mastership, owner));
        }
    }
}

fn lease(
    name: &str,
    namespace: &str,
    labels: BTreeMap<String, String>,
    mastership: &Mastership,
    owner: &Owner,
) -> Object {
    let body = json!({
        "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": {
            "holderIdentity": mastership.master,
            "leaseTransitions": i32::try_from(mastership.epoch).unwrap_or(i32::MAX),
        },
    });
    Object::new(Kind::Lease, owner, &body)
}
