//! What all groups of a keyspace share: Services, account, policy.

use super::guard::Head;
use super::pods::doors;
use super::services::Doors;
use crate::controller::desired::{Desired, WantedKeyspace};
use crate::names;
use crate::object::Object;
use cairn_settings::{NodeRole, Port};
use std::collections::BTreeMap;

/// The labels of everything that belongs to `keyspace`.
pub fn labels(desired: &Desired, keyspace: &WantedKeyspace) -> BTreeMap<String, String> {
    let labels = names::labels(&desired.name, NodeRole::Data.as_str());
    names::with(labels, names::KEYSPACE, &keyspace.name)
}

/// Adds the objects.
pub fn build(desired: &Desired, keyspace: &WantedKeyspace, objects: &mut Vec<Object>) {
    let (name, namespace, owner) = (&*keyspace.name, &*desired.namespace, keyspace.owner());
    let labels = || labels(desired, keyspace);
    let pods = BTreeMap::from([
        (names::CLUSTER.to_owned(), desired.name.clone()),
        (names::KEYSPACE.to_owned(), name.to_owned()),
    ]);
    let (account, nodes) = (names::account(name), names::nodes(name));
    objects.push(Head { name: &account, namespace, labels: labels() }.account(&owner));
    let open = [Port::Client, Port::Metrics];
    let policy = Head { name: &nodes, namespace, labels: labels() };
    objects.push(policy.policy(&pods, &open, &desired.name, &owner));
    let service =
        |name, ports| Doors { name, namespace, labels: labels(), selector: pods.clone(), ports };
    objects.push(service(&nodes, doors(NodeRole::Data)).headless(&owner));
    objects.push(service(name, &[Port::Client]).for_clients(&owner));
}
