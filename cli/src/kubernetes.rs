//! A cluster on Kubernetes: its pods are its nodes, the API server is the way to them.
//!
//! Reads resources, pods and the identity Secret, so whoever calls needs the right to do that and
//! to forward ports. Writes nothing.

mod forward;
mod objects;

pub use forward::Forward;

use crate::args::KubernetesArgs;
use crate::folder::{LocalNode, Roster};
use crate::plane::Plane;
use crate::print;
use crate::status::table;
use crate::supervise::{Process, Run};
use anyhow::{Context, Result, bail};
use cairn_crd::{Cluster, Keyspace};
use cairn_logic::ids::NodeId;
use cairn_settings::{NodeRole, Port};
use futures::{AsyncBufReadExt, TryStreamExt};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, ContainerStatus, Event, Node, Pod, Secret};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, LogParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// The label with the Cluster's name, and the one with the node's role, as the operator sets them.
const CLUSTER: &str = "cairn.dev/cluster";
const ROLE: &str = "cairn.dev/role";
const ZONE: &str = "topology.kubernetes.io/zone";
/// Events that are looked at, at most.
const EVENTS_MAX: u32 = 1000;

/// What a Secret holds.
struct SecretData {
    name: String,
    data: BTreeMap<String, ByteString>,
}

impl SecretData {
    fn get(&self, key: &str) -> Result<Vec<u8>> {
        let value = self.data.get(key).map(|value| value.0.clone());
        value.with_context(|| format!("the Secret {} has no {key}", self.name))
    }
}

/// What Kubernetes says of a pod.
#[derive(Clone, Debug, Default)]
pub struct PodSeen {
    /// Its phase.
    pub phase: String,
    /// Whether its node says that it is in sync.
    pub ready: bool,
    /// How often its container was started again.
    pub restarts: i32,
    /// The zone of its machine; empty if that is not known.
    pub zone: String,
    /// Its machine; empty before it has one.
    pub machine: String,
}

/// A cluster on Kubernetes.
pub struct Kubernetes {
    client: Client,
    namespace: String,
    cluster: String,
}

impl Kubernetes {
    /// The one that `args` name, or the only one of the namespace.
    pub async fn find(args: &KubernetesArgs) -> Result<Self> {
        let config = config(args).await.context("cannot read the kubeconfig")?;
        let namespace = args.namespace.clone().unwrap_or(config.default_namespace.clone());
        let client = Client::try_from(config).context("cannot use the kubeconfig")?;
        let clusters: Api<Cluster> = Api::namespaced(client.clone(), &namespace);
        let found = clusters.list_metadata(&ListParams::default()).await;
        let found = found.with_context(|| format!("cannot list Clusters in {namespace}"))?;
        let names: Vec<String> = found.iter().map(ResourceExt::name_any).collect();
        let cluster = match (&args.cluster, &names[..]) {
            (Some(name), _) if names.contains(name) => name.clone(),
            (None, [only]) => only.clone(),
            (_, []) => bail!("there is no Cluster in namespace {namespace}"),
            (Some(name), _) => {
                bail!(
                    "no Cluster {name:?} in namespace {namespace}; there are {}",
                    names.join(", ")
                )
            }
            (None, _) => bail!(
                "several Clusters in {namespace}: name one with --cluster ({})",
                names.join(", ")
            ),
        };
        Ok(Self { client, namespace, cluster })
    }

    /// Its nodes, and a way to them.
    pub async fn open(&self) -> Result<(Roster, Arc<Plane>)> {
        let why = "it is the right to call the cluster's nodes";
        let identity = self.secret("identity", why).await?;
        let roster = Roster {
            uid: String::from_utf8(identity.get("uid")?).context("the cluster's uid is no text")?,
            name: self.cluster.clone(),
            nodes: self.pods().await?.iter().filter_map(node).collect(),
            keyspaces: self.keyspaces().await?,
        };
        let forward = Forward::new(self.client.clone(), self.namespace.clone());
        let tls = match identity.get("peers").is_ok_and(|peers| peers == b"tls") {
            true => Some(self.tls().await?),
            false => None,
        };
        let plane = Plane::of_pods(&roster, &identity.get("secret")?, tls, forward)?;
        Ok((roster, Arc::new(plane)))
    }

    /// Shows what global nodes show, and trusts whom they trust.
    async fn tls(&self) -> Result<ClientTlsConfig> {
        let shown = self.secret("global-tls", "nodes want to be shown a certificate").await?;
        let trusted = format!("{}-ca", self.cluster);
        let maps: Api<ConfigMap> = Api::namespaced(self.client.clone(), &self.namespace);
        let map = maps.get(&trusted).await;
        let map = map.with_context(|| format!("cannot read the ConfigMap {trusted}"))?;
        let authority = map.data.and_then(|mut data| data.remove("ca.crt"));
        let authority =
            authority.with_context(|| format!("the ConfigMap {trusted} has no ca.crt"))?;
        Ok(ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(authority))
            .identity(Identity::from_pem(shown.get("tls.crt")?, shown.get("tls.key")?)))
    }

    /// The cluster's Secret of that kind; `why` it is needed is said if it cannot be read.
    async fn secret(&self, kind: &str, why: &str) -> Result<SecretData> {
        let name = format!("{}-{kind}", self.cluster);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = secrets.get(&name).await;
        let found = found.with_context(|| format!("cannot read the Secret {name}: {why}"))?;
        Ok(SecretData { name, data: found.data.unwrap_or_default() })
    }

    /// What Kubernetes says of its pods.
    pub async fn processes(&self) -> Result<BTreeMap<NodeId, Process>> {
        Ok(self
            .pods()
            .await?
            .iter()
            .map(|pod| (NodeId::new(pod.name_any()), process(pod)))
            .collect())
    }

    /// Which pod is where, and how it is, by name.
    pub async fn pods_seen(&self) -> Result<BTreeMap<String, PodSeen>> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        // Whoever may not list machines is not told zones.
        let zones: BTreeMap<String, String> = match nodes.list(&ListParams::default()).await {
            Ok(list) => list
                .iter()
                .filter_map(|n| Some((n.name_any(), n.labels().get(ZONE)?.clone())))
                .collect(),
            Err(_) => BTreeMap::new(),
        };
        let seen = |pod: &Pod| {
            let status = container(pod);
            let machine = pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
            let seen = PodSeen {
                phase: pod.status.as_ref().and_then(|s| s.phase.clone()).unwrap_or_default(),
                ready: status.is_some_and(|s| s.ready),
                restarts: status.map_or(0, |s| s.restart_count),
                zone: zones.get(&machine).cloned().unwrap_or_default(),
                machine,
            };
            (pod.name_any(), seen)
        };
        Ok(self.pods().await?.iter().map(seen).collect())
    }

    /// Prints the log of a pod.
    pub async fn logs(&self, pod: &str, lines: usize, follow: bool) -> Result<()> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let tail_lines = Some(i64::try_from(lines).unwrap_or(i64::MAX));
        let how = LogParams { follow, tail_lines, ..LogParams::default() };
        let log = pods.log_stream(pod, &how).await;
        let mut log = log.with_context(|| format!("cannot read the log of pod {pod}"))?.lines();
        while let Some(line) = log.try_next().await.context("the log broke off")? {
            print::line(line);
        }
        Ok(())
    }

    /// What was noted of the cluster's resources and pods, oldest first.
    pub async fn events(&self) -> Result<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let list = events.list(&ListParams::default().limit(EVENTS_MAX)).await;
        let list = list.with_context(|| format!("cannot list Events in {}", self.namespace))?;
        let mut ours = self.keyspaces().await?;
        ours.push(self.cluster.clone());
        let is_ours = |name: &str| {
            ours.iter().any(|own| {
                name == own || name.strip_prefix(own.as_str()).is_some_and(|r| r.starts_with('-'))
            })
        };
        let mut rows: Vec<[String; 5]> = Vec::new();
        for event in list {
            let object = &event.involved_object;
            let name = object.name.clone().unwrap_or_default();
            if !is_ours(&name) {
                continue;
            }
            let seen = event.last_timestamp.as_ref().map(|t| t.0.to_string());
            let seen = seen.or_else(|| event.event_time.as_ref().map(|t| t.0.to_string()));
            let made = event.metadata.creation_timestamp.as_ref().map(|t| t.0.to_string());
            rows.push([
                seen.or(made).unwrap_or_default(),
                event.type_.unwrap_or_default(),
                event.reason.unwrap_or_default(),
                format!("{}/{name}", object.kind.clone().unwrap_or_default()),
                event.message.unwrap_or_default(),
            ]);
        }
        rows.sort();
        Ok(table(&["SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"], &rows))
    }

    /// The last lines that a pod's container wrote, now or, if `previous`, before its last restart.
    pub async fn log(&self, pod: &str, lines: usize, previous: bool) -> Result<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let tail_lines = Some(i64::try_from(lines).unwrap_or(i64::MAX));
        let how = LogParams { previous, tail_lines, ..LogParams::default() };
        let log = pods.logs(pod, &how).await;
        log.with_context(|| format!("cannot read the log of pod {pod}"))
    }

    async fn pods(&self) -> Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &self.namespace);
        let of = ListParams::default().labels(&format!("{CLUSTER}={}", self.cluster));
        let list = pods.list(&of).await;
        Ok(list.with_context(|| format!("cannot list pods in {}", self.namespace))?.items)
    }

    async fn keyspaces(&self) -> Result<Vec<String>> {
        // Not as our own type: a newer operator may have fields that this program does not know.
        let kind = ApiResource::erase::<Keyspace>(&());
        let keyspaces: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &kind);
        let list = keyspaces.list(&ListParams::default()).await;
        let list = list.with_context(|| format!("cannot list Keyspaces in {}", self.namespace))?;
        let ours = list.iter().filter(|keyspace| keyspace.data["spec"]["cluster"] == self.cluster);
        Ok(ours.map(ResourceExt::name_any).collect())
    }
}

async fn config(args: &KubernetesArgs) -> Result<Config> {
    let Some(context) = args.context.clone() else { return Ok(Config::infer().await?) };
    let options = KubeConfigOptions { context: Some(context), ..KubeConfigOptions::default() };
    Ok(Config::from_custom_kubeconfig(Kubeconfig::read()?, &options).await?)
}

/// A pod as a node; none if the operator did not make it one.
fn node(pod: &Pod) -> Option<LocalNode> {
    let role = match pod.labels().get(ROLE)?.as_str() {
        "global" => NodeRole::Global,
        "acceptor" => NodeRole::Acceptor,
        "checkpoint" => NodeRole::Checkpoint,
        "data" => NodeRole::Data,
        _ => return None,
    };
    let name = pod.name_any();
    // As its certificate names it.
    let service = pod.spec.as_ref().and_then(|spec| spec.subdomain.as_ref());
    let host =
        service.zip(pod.namespace()).map(|(s, namespace)| format!("{name}.{s}.{namespace}.svc"));
    Some(LocalNode {
        id: NodeId::new(&name),
        role,
        ports: Port::ALL.map(Port::number),
        host: Some(host.unwrap_or(name)),
    })
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first()
}

fn process(pod: &Pod) -> Process {
    let status = container(pod);
    let state = status.and_then(|s| s.state.as_ref());
    let ended = status.and_then(|s| s.last_state.as_ref()?.terminated.as_ref());
    Process {
        run: match state {
            Some(state) if state.running.is_some() => Run::Running,
            Some(state) if state.terminated.is_some() => Run::Stopped,
            _ => Run::Waiting,
        },
        identity: None,
        restarts: status.map_or(0, |s| u32::try_from(s.restart_count).unwrap_or(0)),
        last_exit: ended.map(|ended| {
            format!(
                "exit code {} ({})",
                ended.exit_code,
                ended.reason.as_deref().unwrap_or("no reason")
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_a_node_by_its_labels() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "tweets-0-1", "namespace": "ns", "labels": { "cairn.dev/role": "data" },
            },
            "spec": { "subdomain": "tweets-nodes", "containers": [] },
            "status": { "containerStatuses": [{
                "name": "node", "image": "cairn:1", "imageID": "", "ready": false,
                "restartCount": 3,
                "state": { "running": {} },
                "lastState": { "terminated": { "exitCode": 137, "reason": "OOMKilled" } },
            }] },
        }))
        .unwrap();
        let found = node(&pod).unwrap();
        assert_eq!(
            (found.role, found.address(Port::Peer)),
            (NodeRole::Data, "tweets-0-1.tweets-nodes.ns.svc:7400".into())
        );
        let said = process(&pod);
        assert_eq!((said.run, said.restarts), (Run::Running, 3));
        assert_eq!(said.last_exit.unwrap(), "exit code 137 (OOMKilled)");
        let other: Pod = serde_json::from_value(json!({ "metadata": { "name": "web" } })).unwrap();
        assert_eq!(node(&other), None);
    }
}
