//! The global plane: StatefulSet `<cluster>-global` and what all of the cluster's pods share.

use super::guard::Head;
use super::pods::{Template, doors, settings_digest, template_of};
use super::services::Doors;
use super::stateful::{Set, stateful};
use crate::controller::desired::Desired;
use crate::names;
use crate::object::Object;
use cairn_settings::{NodeRole, Port};
use std::collections::BTreeMap;

/// The labels that tell the pods of `role` of a cluster from all others.
pub fn selector(cluster: &str, role: NodeRole) -> BTreeMap<String, String> {
    let pairs = [(names::CLUSTER, cluster), (names::ROLE, role.as_str())];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Adds the objects.
pub fn build(desired: &Desired, objects: &mut Vec<Object>) {
    let (name, namespace, owner) = (&*desired.name, &*desired.namespace, desired.owner());
    let set = names::global(name);
    let labels = || names::labels(name, NodeRole::Global.as_str());
    let pods = selector(name, NodeRole::Global);
    let head = |name| Head { name, namespace, labels: names::labels(name, "plane") };
    let plane = BTreeMap::from([(names::PLANE.to_owned(), name.to_owned())]);
    objects.push(Head { name: &names::account(name), ..head(name) }.account(&owner));
    // All of the plane under one budget: two of three acceptors must stay.
    objects.push(Head { name: &format!("{name}-plane"), ..head(name) }.budget(&plane, &owner));
    let open = [Port::Etcd, Port::Metrics];
    let policy = Head { name: &format!("{name}-plane"), ..head(name) };
    objects.push(policy.policy(&plane, &open, name, &owner));
    let service =
        |name, ports| Doors { name, namespace, labels: labels(), selector: pods.clone(), ports };
    objects.push(service(&set, doors(NodeRole::Global)).headless(&owner));
    objects.push(service(&names::etcd(name), &[Port::Etcd]).for_clients(&owner));
    objects.push(super::config::settings(desired, &set, labels(), &owner));
    let template = template_of(&Template {
        role: NodeRole::Global,
        labels: names::with(labels(), names::PLANE, name),
        apart: (names::PLANE, name),
        pods: &desired.pods,
        settings: &set,
        identity: &names::identity(name),
        account: &names::account(name),
        certificate: super::certificates::mounted(desired, &set),
        client_certificate: super::certificates::theirs(&desired.tls.clients),
        digest: desired.settings_of(&set).next().map(settings_digest).unwrap_or_default(),
    });
    let claim_size = desired.claim_sizes.get(&set);
    let parts = Set {
        name: &set,
        namespace,
        service: &set,
        labels: labels(),
        selector: pods.clone(),
        replicas: desired.globals,
        template,
        storage: &desired.cluster.spec.storage,
        claim_size,
        uid: &desired.uid,
    };
    objects.push(stateful(parts, &owner));
}
