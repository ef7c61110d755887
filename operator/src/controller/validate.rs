//! Checks what people wrote and turns it into what is wanted. Pure.

use super::certificates::{self, ClientDoor};
use super::desired::{Desired, Mastership, WantedGroup, WantedKeyspace};
use super::extent;
use super::observed::{Identity, Observed};
use super::{pools, workers};
use crate::names;
use crate::object::{Kind, Owner};
use cairn_crd::pods::Pods;
use cairn_crd::{Cluster, Keyspace, SparePool};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_settings::{Addresses, ListenAddresses, NodeRole, NodeSettings, Port, TlsSettings};
use cairn_topology::{Options, Place, Prefers, Resources, check, keyspace_config, plan, roster};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the operator itself was told.
#[derive(Clone, Debug)]
pub struct Defaults {
    /// The image of new clusters that name none.
    pub image: String,
    /// The domain of the Kubernetes cluster's names.
    pub domain: String,
}

/// A cluster that cannot be built at all, in words for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refused {
    /// What to write instead.
    pub message: String,
}

/// What is wanted of the cluster `identity` and of those of its keyspaces that are valid.
///
/// # Errors
/// [`Refused`] if the Cluster itself breaks a rule.
pub fn validate(
    observed: &Observed,
    identity: &Identity,
    defaults: &Defaults,
) -> Result<Desired, Refused> {
    let alone = resources(observed, observed.cluster.as_ref().clone(), &[]);
    check(&alone).map_err(|faults| Refused { message: faults.to_string() })?;
    let globals = extent::globals(observed, observed.cluster.spec.global_replicas + 1);
    let mut extended = observed.cluster.as_ref().clone();
    extended.spec.global_replicas = globals - 1;
    let mut refused = BTreeMap::new();
    let mut valid = Vec::new();
    for keyspace in &observed.keyspaces {
        let one = resources(observed, extended.clone(), std::slice::from_ref(keyspace));
        match check(&one) {
            Ok(()) => valid.push(keyspace.clone()),
            Err(faults) => drop(refused.insert(name(keyspace), faults.to_string())),
        }
    }
    let mut everything = resources(observed, extended, &valid);
    let pods = cluster_pods(observed, defaults);
    let (valid_pools, refused_pools) = checked_pools(observed, &everything);
    let pools: Vec<_> = valid_pools.iter().map(|p| pools::wanted(observed, p, &pods)).collect();
    everything.pools = pools.iter().map(pools::extended).collect();
    let mut keyspaces: Vec<_> =
        valid.iter().map(|k| wanted_keyspace(observed, k, &everything, &pods)).collect();
    let options = options(observed, identity, &everything, &keyspaces, defaults);
    let plan = plan(&everything, &options).map_err(|e| Refused { message: e.to_string() })?;
    let mut settings: BTreeMap<NodeId, NodeSettings> =
        plan.nodes.into_iter().map(|settings| (settings.node.clone(), settings)).collect();
    let runs = |node: &NodeId| pools.iter().any(|pool| pool.nodes().any(|n| n == node.as_str()));
    settings.retain(|node, settings| settings.pool.is_none() || runs(node));
    for keyspace in &keyspaces {
        add_those_that_stay(keyspace, &options, &mut settings);
    }
    let tls = certificates::wanted(observed, identity, &mut keyspaces, &pools, &defaults.domain);
    let mut desired = Desired {
        name: observed.name().to_owned(),
        namespace: observed.namespace().to_owned(),
        uid: identity.uid.clone(),
        cluster: observed.cluster.clone(),
        pods,
        globals,
        mastership: mastership(observed, &GroupId::global()),
        settings,
        founding: plan.founding,
        workers: workers::wanted(observed, &keyspaces),
        keyspaces,
        refused,
        pools,
        refused_pools,
        tls,
        claim_sizes: claim_sizes(observed),
    };
    let doors: Vec<TlsSettings> = desired
        .settings
        .values()
        .map(|settings| desired.tls.settings(settings.role, desired.clients_of(settings)))
        .collect();
    desired.settings.values_mut().zip(doors).for_each(|(settings, tls)| settings.tls = tls);
    Ok(desired)
}

fn name(keyspace: &Keyspace) -> String {
    keyspace.metadata.name.clone().unwrap_or_default()
}

fn resources(observed: &Observed, cluster: Cluster, keyspaces: &[Arc<Keyspace>]) -> Resources {
    let keyspaces = keyspaces.iter().map(|keyspace| keyspace.as_ref().clone()).collect();
    Resources { cluster, keyspaces, pools: Vec::new(), secrets: observed.passwords.clone() }
}

/// The pools that may be beside the keyspaces of `resources`, and why the others may not, by name.
fn checked_pools(
    observed: &Observed,
    resources: &Resources,
) -> (Vec<Arc<SparePool>>, BTreeMap<String, String>) {
    let (mut valid, mut refused) = (Vec::new(), BTreeMap::new());
    for pool in &observed.pools {
        let beside = Resources { pools: vec![pool.as_ref().clone()], ..resources.clone() };
        match check(&beside) {
            Ok(()) => valid.push(pool.clone()),
            Err(faults) => {
                let name = pool.metadata.name.clone().unwrap_or_default();
                refused.insert(name, faults.to_string());
            }
        }
    }
    (valid, refused)
}

/// A cluster keeps the image it began with: another operator must not replace its pods.
fn cluster_pods(observed: &Observed, defaults: &Defaults) -> Pods {
    let mut pods = observed.cluster.spec.pods.clone();
    let known = observed.cluster.status.as_ref().and_then(|status| status.image.clone());
    pods.image = pods.image.or(known).or_else(|| Some(defaults.image.clone()));
    pods
}

fn wanted_keyspace(
    observed: &Observed,
    keyspace: &Arc<Keyspace>,
    resources: &Resources,
    cluster: &Pods,
) -> WantedKeyspace {
    let name = name(keyspace);
    let known = observed.plane.directory.as_ref().and_then(|it| it.keyspaces.get(&name));
    let config = keyspace_config(keyspace, resources).going_on_from(known);
    let members = i32::try_from(keyspace.spec.members()).unwrap_or(i32::MAX);
    let count = extent::groups(observed, &name, i32::from(config.groups));
    let group = |index: i32| {
        let group = format!("{name}-{index}");
        let owner = observed.groups.get(&group);
        WantedGroup {
            index,
            members,
            nodes: extent::group_nodes(observed, &group, members),
            owner: owner.map(|group| Owner::of(Kind::Group, group.as_ref())),
            mastership: mastership(observed, &GroupId::new(&group)),
            name: group,
        }
    };
    WantedKeyspace {
        groups: (0..count).map(group).collect(),
        resource: keyspace.clone(),
        pods: keyspace.spec.pods.or(cluster),
        clients: ClientDoor::default(),
        config,
        name,
    }
}

fn mastership(observed: &Observed, group: &GroupId) -> Option<Mastership> {
    let record = observed.plane.record(group)?;
    Some(Mastership { master: record.master?, epoch: record.epoch.0 })
}

fn options(
    observed: &Observed,
    identity: &Identity,
    resources: &Resources,
    keyspaces: &[WantedKeyspace],
    defaults: &Defaults,
) -> Options {
    let cluster = observed.name();
    let prefix = format!("{cluster}-");
    let mut places = BTreeMap::new();
    for node in roster(resources, &prefix) {
        let service = match (&node.role, &node.prefers) {
            (NodeRole::Acceptor, _) => names::acceptor(cluster),
            (NodeRole::Checkpoint, _) => names::checkpoint(cluster),
            (NodeRole::Data, Prefers::Group(keyspace, _)) => names::nodes(keyspace),
            (NodeRole::Data, Prefers::Pool(pool)) => names::spares(pool),
            _ => names::global(cluster),
        };
        places.insert(node.id.clone(), place(observed, &node.id, &service, defaults));
    }
    for keyspace in keyspaces {
        let service = names::nodes(&keyspace.name);
        for group in &keyspace.groups {
            for ordinal in 0..group.nodes {
                let id = NodeId::new(format!("{}-{ordinal}", group.name));
                let place = place(observed, &id, &service, defaults);
                places.insert(id, place);
            }
        }
    }
    Options {
        cluster_uid: identity.uid.clone(),
        prefix,
        secret_file: format!("{}/secret", super::build::IDENTITY).into(),
        places,
    }
}

fn place(observed: &Observed, id: &NodeId, service: &str, defaults: &Defaults) -> Place {
    let host = names::host(id.as_str(), service, observed.namespace(), &defaults.domain);
    let at = |port: Port| format!("{host}:{}", port.number());
    Place {
        folder: super::build::FOLDER.into(),
        listen: ListenAddresses::default(),
        advertise: Addresses {
            client: at(Port::Client),
            etcd: at(Port::Etcd),
            peer: at(Port::Peer),
            heartbeat: at(Port::Heartbeat),
            metrics: at(Port::Metrics),
        },
        zone: observed.zone_of(id).cloned(),
        machine: observed.machine_of(id).map(|(name, _)| name.to_owned()),
    }
}

/// Nodes that are asked for no longer and still count keep their settings: those of a neighbour,
/// with their own name.
fn add_those_that_stay(
    keyspace: &WantedKeyspace,
    options: &Options,
    settings: &mut BTreeMap<NodeId, NodeSettings>,
) {
    let first = NodeId::new(format!("{}-0-0", keyspace.name));
    let Some(neighbour) = settings.get(&first).cloned() else { return };
    for group in &keyspace.groups {
        for ordinal in 0..group.nodes {
            let node = NodeId::new(format!("{}-{ordinal}", group.name));
            let Some(place) = options.places.get(&node) else { continue };
            settings.entry(node.clone()).or_insert_with(|| NodeSettings {
                node,
                advertise: place.advertise.clone(),
                zone: place.zone.clone(),
                machine: place.machine.clone(),
                preferred_group: Some(GroupId::new(&group.name)),
                ..neighbour.clone()
            });
        }
    }
}

/// A claim template cannot change; a set that is made anew takes the new size.
fn claim_sizes(observed: &Observed) -> BTreeMap<String, String> {
    let sets = observed.live.iter().filter(|((kind, _), _)| *kind == Kind::StatefulSet);
    let size = |data: &serde_json::Value| {
        let at = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
        data.pointer(at).and_then(|size| size.as_str()).map(str::to_owned)
    };
    sets.filter_map(|((_, name), live)| Some((name.clone(), size(&live.data)?))).collect()
}
