//! The operator on a real API server, without a single pod. Run by `cargo xtask test --api`.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

#[path = "api/archives.rs"]
mod archives;
#[path = "api/issuer.rs"]
mod issuer;
#[path = "api/pools.rs"]
mod pools;

use cairn_crd::{Cluster, ClusterSpec, Group, Keyspace, KeyspaceSpec};
use cairn_operator::context::Context;
use cairn_operator::controller::validate::Defaults;
use cairn_operator::events::Teller;
use cairn_operator::leader::{Election, Leadership};
use cairn_operator::metrics::Metrics;
use cairn_operator::names;
use cairn_operator::run::{Scope, run};
use cairn_operator::store::Store;
use cairn_operator::writer::Writer;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, Service};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const PATIENCE: Duration = Duration::from_secs(180);

/// A namespace of its own on the API server, with our kinds established.
struct World {
    client: Client,
    namespace: String,
}

impl World {
    async fn new(namespace: &str) -> Self {
        let path = std::env::var("CAIRN_KUBE_APISERVER").expect("cargo xtask test --api");
        let kubeconfig = Kubeconfig::read_from(path).expect("a kubeconfig");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let client = Client::try_from(config).unwrap();
        // A server may serve several runs.
        let namespace = format!("{namespace}-{}", std::process::id());
        let world = Self { client, namespace: namespace.clone() };
        world.install().await;
        let api: Api<Namespace> = Api::all(world.client.clone());
        let body = json!({ "metadata": { "name": namespace } });
        let body = serde_json::from_value(body).unwrap();
        api.create(&PostParams::default(), &body).await.expect("a namespace of its own");
        world
    }

    async fn install(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for (_, yaml) in cairn_crd::crds() {
            let crd: CustomResourceDefinition = serde_yaml::from_str(&yaml).unwrap();
            let params = PatchParams::apply("tests").force();
            api.patch(&crd.name_any(), &params, &Patch::Apply(&crd)).await.expect("it is taken");
            let name = crd.name_any();
            until("the kind is established", async || {
                let crd = api.get(&name).await.unwrap();
                let conditions = crd.status.and_then(|s| s.conditions).unwrap_or_default();
                conditions.iter().any(|c| c.type_ == "Established" && c.status == "True")
            })
            .await;
        }
    }

    fn api<T>(&self) -> Api<T>
    where
        T: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        T::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Works as the leader until stopped.
    fn operate(&self) -> Operator {
        let leadership = Leadership::default();
        leadership.extend(Instant::now(), Duration::from_secs(600));
        let (metrics, store) = (Arc::new(Metrics::default()), Arc::new(Store::default()));
        let (client, me) = (self.client.clone(), "operator-0");
        let teller = Teller::new(client.clone(), me, leadership.clone(), metrics.clone());
        let writer =
            Writer::new(client.clone(), leadership.clone(), metrics.clone(), store.clone());
        let defaults =
            Defaults { image: "cairn:test".to_owned(), domain: "cluster.local".to_owned() };
        let (ctx, nudged) = Context::new(writer, store, teller, metrics.clone(), defaults);
        let scope = Scope { client, namespace: Some(self.namespace.clone()) };
        Operator { leadership, metrics, task: tokio::spawn(run(scope, Arc::new(ctx), nudged)) }
    }

    async fn write(&self, keyspace: KeyspaceSpec) {
        let cluster = Cluster::new("demo", ClusterSpec::default());
        let params = PostParams::default();
        self.api::<Cluster>().create(&params, &cluster).await.expect("a Cluster");
        let keyspace = Keyspace::new("tweets", keyspace);
        self.api::<Keyspace>().create(&params, &keyspace).await.expect("a Keyspace");
    }

    async fn sets(&self) -> Vec<String> {
        let api = self.api::<StatefulSet>();
        let found = api.list(&ListParams::default()).await.unwrap();
        found.iter().map(ResourceExt::name_any).collect()
    }

    async fn all_sets(&self) {
        until("every StatefulSet is there", async || {
            self.sets().await == ["demo-acceptor", "demo-global", "tweets-0"]
        })
        .await;
    }

    async fn condition(&self, about: &str) -> Option<(String, String)> {
        let cluster = self.api::<Cluster>().get("demo").await.unwrap();
        let conditions = cluster.status?.conditions;
        let found = conditions.into_iter().find(|c| c.type_ == about)?;
        Some((found.status, found.reason))
    }
}

struct Operator {
    leadership: Leadership,
    metrics: Arc<Metrics>,
    task: JoinHandle<()>,
}

impl Operator {
    /// Waits until nothing was written for three looks, then how much was written in all.
    async fn at_rest(&self) -> u64 {
        let mut before = self.metrics.writes();
        until("it has nothing to write", async || {
            sleep(Duration::from_secs(4)).await;
            let now = self.metrics.writes();
            std::mem::replace(&mut before, now) == now
        })
        .await;
        self.metrics.writes()
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn resources_become_objects_and_a_second_look_writes_nothing() {
    let world = World::new("op-objects").await;
    world.write(KeyspaceSpec::of("demo")).await;
    let operator = world.operate();
    world.all_sets().await;
    until("the Cluster says why it waits", async || {
        world.condition("Ready").await == Some(("False".to_owned(), "Founding".to_owned()))
    })
    .await;
    let group = world.api::<Group>().get("tweets-0").await.expect("a Group");
    let set = world.api::<StatefulSet>().get("tweets-0").await.unwrap();
    assert_eq!(set.owner_references()[0].uid, group.uid().unwrap());
    let settings = world.api::<ConfigMap>().get("tweets-0").await.unwrap().data.unwrap();
    assert_eq!(settings.len(), 3);
    let services = world.api::<Service>();
    for name in ["demo-global", "demo-acceptor", "demo-etcd", "tweets", "tweets-nodes"] {
        services.get(name).await.expect(name);
    }
    let set = serde_json::to_value(&set).unwrap();
    let volumes = set["spec"]["template"]["spec"]["volumes"].to_string();
    assert!(volumes.contains("tweets-nodes-tls") && volumes.contains("demo-ca"), "{volumes}");
    let written = operator.at_rest().await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(operator.metrics.writes(), written, "a look at nothing new wrote something");
    drop(operator);
    // Another one, which remembers nothing, has nothing to write either.
    let again = world.operate();
    sleep(Duration::from_secs(8)).await;
    assert_eq!(again.metrics.writes(), 0, "an operator that starts wrote something");
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn an_identity_is_made_once_and_never_written_again() {
    let world = World::new("op-identity").await;
    world.write(KeyspaceSpec::of("demo")).await;
    let operators = [world.operate(), world.operate()];
    world.all_sets().await;
    let secrets = world.api::<Secret>();
    let first = secrets.get(&names::identity("demo")).await.unwrap();
    let uid = String::from_utf8(first.data.clone().unwrap()["uid"].0.clone()).unwrap();
    assert_eq!(uid.len(), 32);
    for operator in &operators {
        operator.at_rest().await;
    }
    let cluster = world.api::<Cluster>().get("demo").await.unwrap();
    assert_eq!(cluster.status.unwrap().uid, Some(uid));
    let later = secrets.get(&names::identity("demo")).await.unwrap();
    assert_eq!(later.data, first.data);
    assert_eq!(later.immutable, Some(true));
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn an_authority_that_is_deleted_is_followed_by_another_and_nothing_is_left_of_it() {
    let world = World::new("op-tls").await;
    world.write(KeyspaceSpec::of("demo")).await;
    let operator = world.operate();
    world.all_sets().await;
    let written = operator.at_rest().await;
    let (secrets, maps) = (world.api::<Secret>(), world.api::<ConfigMap>());
    let data = async |name: &str| {
        let secret = secrets.get_opt(name).await.unwrap();
        secret.and_then(|secret| secret.data).unwrap_or_default()
    };
    let authority = data("demo-ca").await;
    assert_eq!(authority.keys().collect::<Vec<_>>(), ["tls.crt", "tls.key"]);
    let trusted = async || maps.get("demo-ca").await.unwrap().data.unwrap()["ca.crt"].clone();
    assert_eq!(trusted().await.as_bytes(), authority["tls.crt"].0);
    let before = data("tweets-nodes-tls").await;
    // Nodes that run would have to load each step; here none runs.
    secrets.delete("demo-ca", &DeleteParams::default()).await.unwrap();
    until("another one signs, alone", async || {
        let now = data("demo-ca").await;
        let only = now.keys().map(String::as_str).eq(["tls.crt", "tls.key"]);
        only && now != authority && trusted().await.as_bytes() == now["tls.crt"].0
    })
    .await;
    for secret in ["demo-global-tls", "demo-acceptor-tls", "tweets-nodes-tls"] {
        let found = secrets.get(secret).await.unwrap();
        assert_eq!(found.type_.as_deref(), Some("kubernetes.io/tls"));
    }
    assert_ne!(data("tweets-nodes-tls").await, before);
    let again = operator.at_rest().await;
    // Three steps of the authority and of whom to trust, each certificate once; little else.
    assert!((7..=20).contains(&(again - written)), "{} writes", again - written);
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn what_is_changed_or_deleted_comes_back_and_orphans_go() {
    let world = World::new("op-drift").await;
    world.write(KeyspaceSpec { groups: 2, ..KeyspaceSpec::of("demo") }).await;
    let _operator = world.operate();
    until("both groups are there", async || world.sets().await.len() == 4).await;
    let services = world.api::<Service>();
    let patch = json!({ "spec": { "ports": [{ "name": "x", "port": 1 }] } });
    services.patch("tweets", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    until("the port is put right", async || {
        let spec = services.get("tweets").await.unwrap().spec.unwrap();
        spec.ports.unwrap_or_default().iter().any(|port| port.port == 6379)
    })
    .await;
    let maps = world.api::<ConfigMap>();
    maps.delete("demo-global", &DeleteParams::default()).await.unwrap();
    until("the settings are back", async || maps.get_opt("demo-global").await.unwrap().is_some())
        .await;
    // Deleting the acceptor's own objects is what a Cluster without one would ask for; here an
    // object that nothing asks for stands in for them.
    let mut odd = services.get("tweets").await.unwrap();
    odd.metadata = kube::api::ObjectMeta {
        name: Some("odd".to_owned()),
        labels: odd.metadata.labels,
        owner_references: odd.metadata.owner_references,
        ..Default::default()
    };
    if let Some(spec) = &mut odd.spec {
        (spec.cluster_ip, spec.cluster_ips) = (None, None);
    }
    services.create(&PostParams::default(), &odd).await.unwrap();
    until("the orphan is gone", async || services.get_opt("odd").await.unwrap().is_none()).await;
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn what_belongs_to_somebody_else_is_left_alone_and_named() {
    let world = World::new("op-taken").await;
    let body = json!({
        "metadata": { "name": "tweets" }, "spec": { "ports": [{ "name": "http", "port": 80 }] },
    });
    let theirs: Service = serde_json::from_value(body).unwrap();
    world.api::<Service>().create(&PostParams::default(), &theirs).await.unwrap();
    world.write(KeyspaceSpec::of("demo")).await;
    let _operator = world.operate();
    until("the Cluster says so", async || {
        let expected = Some(("True".to_owned(), "NameTaken".to_owned()));
        world.condition("NeedsPerson").await == expected
    })
    .await;
    let spec = world.api::<Service>().get("tweets").await.unwrap().spec.unwrap();
    assert_eq!(spec.ports.unwrap()[0].port, 80);
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn a_keyspace_without_a_cluster_says_so_and_is_built_when_it_comes() {
    let world = World::new("op-late").await;
    let keyspace = Keyspace::new("tweets", KeyspaceSpec::of("demo"));
    let keyspaces = world.api::<Keyspace>();
    keyspaces.create(&PostParams::default(), &keyspace).await.unwrap();
    let _operator = world.operate();
    until("the Keyspace says what is missing", async || {
        let status = keyspaces.get("tweets").await.unwrap().status.unwrap_or_default();
        status.conditions.iter().any(|c| c.reason == "ClusterMissing")
    })
    .await;
    let cluster = Cluster::new("demo", ClusterSpec::default());
    world.api::<Cluster>().create(&PostParams::default(), &cluster).await.unwrap();
    world.all_sets().await;
    // Without a Cluster again, the keyspace's nodes go too. (What belongs to the Cluster itself is
    // collected by Kubernetes, which does not run here.)
    world.api::<Cluster>().delete("demo", &DeleteParams::default()).await.unwrap();
    until("the group is gone", async || {
        world.api::<Group>().get_opt("tweets-0").await.unwrap().is_none()
    })
    .await;
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn two_clusters_share_a_namespace() {
    let world = World::new("op-two").await;
    world.write(KeyspaceSpec::of("demo")).await;
    let other = Cluster::new("other", ClusterSpec::default());
    world.api::<Cluster>().create(&PostParams::default(), &other).await.unwrap();
    let keyspace = Keyspace::new("orders", KeyspaceSpec::of("other"));
    world.api::<Keyspace>().create(&PostParams::default(), &keyspace).await.unwrap();
    let _operator = world.operate();
    let expected =
        ["demo-acceptor", "demo-global", "orders-0", "other-acceptor", "other-global", "tweets-0"];
    until("both are there", async || world.sets().await == expected).await;
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn who_does_not_lead_writes_nothing() {
    let world = World::new("op-leader").await;
    let elect = |me| Election::new(world.client.clone(), &world.namespace, "lease", me);
    let (mut first, mut second) = (elect("a"), elect("b"));
    first.win().await;
    assert!(first.leadership().may_write());
    let waiting = tokio::time::timeout(Duration::from_secs(5), second.win()).await;
    assert!(waiting.is_err() && !second.leadership().may_write());
    first.release().await;
    assert!(!first.leadership().may_write());
    tokio::time::timeout(Duration::from_secs(10), second.win()).await.expect("it is free");
    // An operator that has lost its right sees and does nothing.
    let operator = world.operate();
    operator.leadership.end();
    world.write(KeyspaceSpec::of("demo")).await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(world.sets().await, [""; 0]);
    assert_eq!(operator.metrics.writes(), 0);
}
