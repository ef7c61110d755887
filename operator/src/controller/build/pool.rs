//! A pool of spares: StatefulSet `<pool>-spare` and what it needs.

use super::guard::Head;
use super::pods::{Template, doors, settings_digest, template_of};
use super::services::Doors;
use super::stateful::{Set, stateful};
use crate::controller::desired::{Desired, WantedPool};
use crate::names;
use crate::object::Object;
use cairn_settings::{NodeRole, Port};
use std::collections::BTreeMap;

/// The labels of everything that belongs to `pool`.
fn labels(desired: &Desired, pool: &WantedPool) -> BTreeMap<String, String> {
    let labels = names::labels(&desired.name, NodeRole::Data.as_str());
    names::with(labels, names::POOL, &pool.name)
}

/// Adds the objects.
pub fn build(desired: &Desired, pool: &WantedPool, objects: &mut Vec<Object>) {
    let (set, namespace, owner) = (&*pool.set, &*desired.namespace, pool.owner());
    let labels = || labels(desired, pool);
    let head = || Head { name: set, namespace, labels: labels() };
    let pods = BTreeMap::from([
        (names::CLUSTER.to_owned(), desired.name.clone()),
        (names::POOL.to_owned(), pool.name.clone()),
    ]);
    let open = [Port::Client, Port::Metrics];
    objects.push(head().policy(&pods, &open, &desired.name, &owner));
    objects.push(head().budget(&pods, &owner));
    let (selector, ports) = (pods.clone(), doors(NodeRole::Data));
    let service = Doors { name: set, namespace, labels: labels(), selector, ports };
    objects.push(service.headless(&owner));
    objects.push(super::config::settings(desired, set, labels(), &owner));
    let template = template_of(&Template {
        role: NodeRole::Data,
        labels: labels(),
        apart: (names::POOL, &pool.name),
        pods: &pool.pods,
        settings: set,
        identity: &names::identity(&desired.name),
        account: &names::account(&desired.name),
        certificate: super::certificates::mounted(desired, set),
        client_certificate: super::certificates::theirs(&desired.tls.clients),
        digest: desired.settings_of(set).next().map(settings_digest).unwrap_or_default(),
    });
    let parts = Set {
        name: set,
        namespace,
        service: set,
        labels: labels(),
        selector: pods,
        replicas: pool.nodes,
        template,
        storage: &pool.resource.spec.storage,
        claim_size: desired.claim_sizes.get(set),
        uid: &desired.uid,
    };
    objects.push(stateful(parts, &owner));
}
