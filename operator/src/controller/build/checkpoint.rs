//! Checkpoint nodes: StatefulSet `<cluster>-checkpoint`.

use super::global::selector;
use super::pods::{Template, doors, settings_digest, template_of};
use super::services::Doors;
use super::stateful::{Set, stateful};
use crate::controller::desired::Desired;
use crate::names;
use crate::object::Object;
use cairn_settings::NodeRole;

/// Adds the objects, if the cluster has such nodes.
pub fn build(desired: &Desired, objects: &mut Vec<Object>) {
    let spec = &desired.cluster.spec;
    if spec.checkpoint.replicas == 0 {
        return;
    }
    let (name, namespace, owner) = (&*desired.name, &*desired.namespace, desired.owner());
    let role = NodeRole::Checkpoint;
    let set = names::checkpoint(name);
    let labels = || names::labels(name, role.as_str());
    let pods = selector(name, role);
    let service = Doors {
        name: &set,
        namespace,
        labels: labels(),
        selector: pods.clone(),
        ports: doors(role),
    };
    objects.push(service.headless(&owner));
    objects.push(super::config::settings(desired, &set, labels(), &owner));
    let template = template_of(&Template {
        role,
        // The first may be an acceptor: all are under the plane's budget and apart from its nodes.
        labels: names::with(labels(), names::PLANE, name),
        apart: (names::PLANE, name),
        pods: &spec.checkpoint.pods.or(&desired.pods),
        settings: &set,
        identity: &names::identity(name),
        account: &names::account(name),
        certificate: super::certificates::mounted(desired, &set),
        client_certificate: None,
        digest: desired.settings_of(&set).next().map(settings_digest).unwrap_or_default(),
    });
    let parts = Set {
        name: &set,
        namespace,
        service: &set,
        labels: labels(),
        selector: pods,
        replicas: spec.checkpoint.replicas,
        template,
        storage: spec.checkpoint_storage(),
        claim_size: desired.claim_sizes.get(&set),
        uid: &desired.uid,
    };
    objects.push(stateful(parts, &owner));
}
