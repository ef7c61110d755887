//! Pools of spares on a real API server.

use super::{World, until};
use cairn_crd::{Cluster, ClusterSpec, KeyspaceSpec, SparePool, SparePoolSpec};
use cairn_operator::controller::pools::FINALIZER;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

impl World {
    async fn write_pool(&self) -> Api<SparePool> {
        let spec = SparePoolSpec { size: 2, ..SparePoolSpec::of("demo") };
        let (pools, pool) = (self.api::<SparePool>(), SparePool::new("warm", spec));
        pools.create(&PostParams::default(), &pool).await.expect("a SparePool");
        pools
    }
}

async fn reason(pools: &Api<SparePool>, about: &str) -> String {
    let status = pools.get("warm").await.unwrap().status.unwrap_or_default();
    let found = status.conditions.into_iter().find(|c| c.type_ == about);
    found.map(|condition| condition.reason).unwrap_or_default()
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn a_pool_becomes_objects_and_goes_when_no_group_can_have_a_node_of_it() {
    let world = World::new("op-pool").await;
    world.write(KeyspaceSpec::of("demo")).await;
    let pools = world.write_pool().await;
    let operator = world.operate();
    let expected = ["demo-acceptor", "demo-global", "tweets-0", "warm-spare"];
    until("every StatefulSet is there", async || world.sets().await == expected).await;
    until("the pool is held and says why it waits", async || {
        let held = pools.get("warm").await.unwrap().finalizers().iter().any(|f| f == FINALIZER);
        held && reason(&pools, "Ready").await == "Founding"
    })
    .await;
    let sets = world.api::<StatefulSet>();
    let replicas = async || sets.get("warm-spare").await.unwrap().spec.unwrap().replicas;
    assert_eq!(replicas().await, Some(2));
    let settings = world.api::<ConfigMap>().get("warm-spare").await.unwrap().data.unwrap();
    assert_eq!(settings.keys().collect::<Vec<_>>(), ["warm-spare-0.json", "warm-spare-1.json"]);
    world.api::<PodDisruptionBudget>().get("warm-spare").await.expect("a budget");
    let written = operator.at_rest().await;
    let more = json!({ "spec": { "size": 3 } });
    pools.patch("warm", &PatchParams::default(), &Patch::Merge(&more)).await.unwrap();
    until("it grows", async || replicas().await == Some(3)).await;
    let grown = operator.at_rest().await;
    // Settings, StatefulSet, status.
    assert!(grown - written <= 4, "{} writes", grown - written);
    pools.delete("warm", &DeleteParams::default()).await.unwrap();
    until("it is let go", async || pools.get_opt("warm").await.unwrap().is_none()).await;
}

#[tokio::test]
#[ignore = "needs an API server: cargo xtask test --api"]
async fn a_pool_whose_cluster_goes_says_so_and_is_let_go() {
    let world = World::new("op-pool-alone").await;
    let pools = world.write_pool().await;
    let _operator = world.operate();
    until("the pool says what is missing", async || {
        reason(&pools, "Ready").await == "ClusterMissing"
    })
    .await;
    let cluster = Cluster::new("demo", ClusterSpec::default());
    let clusters = world.api::<Cluster>();
    clusters.create(&PostParams::default(), &cluster).await.unwrap();
    until("it is built", async || world.sets().await.contains(&"warm-spare".to_owned())).await;
    until("it is held", async || !pools.get("warm").await.unwrap().finalizers().is_empty()).await;
    clusters.delete("demo", &DeleteParams::default()).await.unwrap();
    until("its nodes go", async || !world.sets().await.contains(&"warm-spare".to_owned())).await;
    pools.delete("warm", &DeleteParams::default()).await.unwrap();
    until("it is let go", async || pools.get_opt("warm").await.unwrap().is_none()).await;
}
