//! The arbiter's third acceptor: StatefulSet `<cluster>-acceptor`.

use super::global::selector;
use super::pods::{Template, doors, settings_digest, template_of};
use super::services::Doors;
use super::stateful::{Set, stateful};
use crate::controller::desired::Desired;
use crate::names;
use crate::object::Object;
use cairn_crd::shared::Storage;
use cairn_settings::NodeRole;

/// An acceptor keeps a few kilobytes; no storage class makes less than this.
const SIZE: &str = "1Gi";

/// Adds the objects, if the cluster has such a node.
pub fn build(desired: &Desired, objects: &mut Vec<Object>) {
    let spec = &desired.cluster.spec;
    if !spec.acceptor {
        return;
    }
    let (name, namespace, owner) = (&*desired.name, &*desired.namespace, desired.owner());
    let set = names::acceptor(name);
    let labels = || names::labels(name, NodeRole::Acceptor.as_str());
    let pods = selector(name, NodeRole::Acceptor);
    let service = Doors {
        name: &set,
        namespace,
        labels: labels(),
        selector: pods.clone(),
        ports: doors(NodeRole::Acceptor),
    };
    objects.push(service.headless(&owner));
    objects.push(super::config::settings(desired, &set, labels(), &owner));
    let template = template_of(&Template {
        role: NodeRole::Acceptor,
        labels: names::with(labels(), names::PLANE, name),
        apart: (names::PLANE, name),
        pods: &desired.pods,
        settings: &set,
        identity: &names::identity(name),
        account: &names::account(name),
        certificate: super::certificates::mounted(desired, &set),
        client_certificate: None,
        digest: desired.settings_of(&set).next().map(settings_digest).unwrap_or_default(),
    });
    let storage = Storage { size: SIZE.to_owned(), ..spec.storage.clone() };
    let parts = Set {
        name: &set,
        namespace,
        service: &set,
        labels: labels(),
        selector: pods.clone(),
        replicas: 1,
        template,
        storage: &storage,
        claim_size: None,
        uid: &desired.uid,
    };
    objects.push(stateful(parts, &owner));
}
