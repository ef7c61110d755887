//! One group: the Group resource, and once it exists StatefulSet `<keyspace>-<n>`.

use super::guard::Head;
use super::pods::{Template, settings_digest, template_of};
use super::stateful::{Set, stateful};
use crate::controller::desired::{Desired, WantedGroup, WantedKeyspace};
use crate::names;
use crate::object::{Kind, Object};
use cairn_settings::NodeRole;
use serde_json::json;
use std::collections::BTreeMap;

/// Adds the objects.
pub fn build(
    desired: &Desired,
    keyspace: &WantedKeyspace,
    group: &WantedGroup,
    objects: &mut Vec<Object>,
) {
    let (name, namespace) = (&*group.name, &*desired.namespace);
    let labels = || names::with(super::keyspace::labels(desired, keyspace), names::GROUP, name);
    let resource = json!({
        "metadata": { "name": name, "namespace": namespace, "labels": labels() },
        "spec": { "keyspace": keyspace.name, "index": group.index, "members": group.members },
    });
    objects.push(Object::new(Kind::Group, &keyspace.owner(), &resource));
    let Some(owner) = &group.owner else { return };
    let pods = BTreeMap::from([
        (names::CLUSTER.to_owned(), desired.name.clone()),
        (names::GROUP.to_owned(), name.to_owned()),
    ]);
    objects.push(Head { name, namespace, labels: labels() }.budget(&pods, owner));
    objects.push(super::config::settings(desired, name, labels(), owner));
    let template = template_of(&Template {
        role: NodeRole::Data,
        labels: labels(),
        apart: (names::GROUP, name),
        pods: &keyspace.pods,
        settings: name,
        identity: &names::identity(&desired.name),
        account: &names::account(&keyspace.name),
        certificate: super::certificates::mounted(desired, &names::nodes(&keyspace.name)),
        client_certificate: super::certificates::theirs(&keyspace.clients),
        digest: desired.settings_of(name).next().map(settings_digest).unwrap_or_default(),
    });
    let parts = Set {
        name,
        namespace,
        service: &names::nodes(&keyspace.name),
        labels: labels(),
        selector: pods,
        replicas: group.nodes,
        template,
        storage: &keyspace.resource.spec.storage,
        claim_size: desired.claim_sizes.get(name),
        uid: &desired.uid,
    };
    objects.push(stateful(parts, owner));
}
