//! A cluster's life: it begins, its pods all go at once, it shares a namespace, it is deleted.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::{Value, json};

use super::{NOISE_MS_MAX, SETTLED_LIMIT, Stage, Story};
use crate::act::{Act, Bounds, Told};
use crate::scene::{Scene, Specs, selector};

/// Apply until Ready, use, delete.
pub const INSTALL: Story = Story {
    name: "install-and-ready",
    about: "a Cluster and a Keyspace are applied and serve; deleting them leaves their volumes",
    tell: install,
};

/// All pods at once.
pub const ALL_PODS: Story = Story {
    name: "all-pods-deleted",
    about: "all of a cluster's pods are deleted at once, then killed at once: new addresses",
    tell: all_pods,
};

/// Two clusters, one of which is deleted.
pub const TWO: Story = Story {
    name: "two-clusters",
    about: "two Clusters in one namespace; deleting one leaves nothing of it and all of the other",
    tell: two,
};

/// So many groups of three make a cluster of twelve pods.
const GROUPS: u32 = 3;
/// How long the operator's objects may stay after their owners went.
const GONE_LIMIT: Duration = Duration::from_secs(120);
/// How long writes may pause when every pod is replaced, in milliseconds.
const ALL_PODS_MS_MAX: u64 = 60_000;
/// Every kind of which the operator makes objects.
const MADE: &str = "group,statefulset,pod,service,configmap,secret,poddisruptionbudget,lease,\
                    serviceaccount,networkpolicy";

fn install(stage: &Stage) -> Result<Told> {
    let began = std::time::Instant::now();
    let specs = Specs { keyspace: json!({ "groups": GROUPS }), ..Specs::default() };
    let scene = Scene::open(stage, "install", &specs)?;
    scene.wait_ready()?;
    let ready_ms = began.elapsed().as_millis();
    // A keyspace serves before the last of its pods has a machine.
    scene.wait_settled(SETTLED_LIMIT)?;
    let pods = scene.pods()?.len();
    let mut act = Act::take(scene, Bounds::keyspace(NOISE_MS_MAX))?;
    act.told.fact("pods", pods);
    act.told.fact("ready_ms", ready_ms);
    wait(Duration::from_secs(10));
    let report = act.scene.judge()?;
    act.told.fact("acked", report.acked);
    act.told.fact("replica_reads", report.replica_reads);
    ensure!(report.replica_reads > 0, "no replica answered a read");
    delete(&act.scene, &act.scene.cluster(), &act.scene.keyspace())?;
    let claims = claims(&act.scene, &act.scene.cluster())?;
    act.told.fact("volumes_kept", claims);
    ensure!(claims == pods, "{claims} volumes of {pods} pods were kept");
    act.scene.close()?;
    Ok(act.told)
}

/// Deletes a cluster and waits until nothing of it is left but volumes.
fn delete(scene: &Scene, cluster: &str, keyspace: &str) -> Result<()> {
    let kubectl = scene.kubectl();
    for object in [format!("keyspace/{keyspace}"), format!("cluster/{cluster}")] {
        kubectl.run(["delete", &object, "--timeout=120s"])?;
    }
    let list = ["get", MADE, "--selector", &selector(cluster), "--output=name"];
    let left = || kubectl.run(list).unwrap_or_else(|error| error.to_string());
    let gone = scene.wait_for("everything made is gone", GONE_LIMIT, || left().trim().is_empty());
    ensure!(gone.is_ok(), "left behind: {}", left());
    Ok(())
}

fn claims(scene: &Scene, cluster: &str) -> Result<usize> {
    let list = ["get", "pvc", "--selector", &selector(cluster), "--output=name"];
    Ok(scene.kubectl().run(list)?.lines().count())
}

fn all_pods(stage: &Stage) -> Result<Told> {
    let bounds = Bounds { keyspace_ms: ALL_PODS_MS_MAX, directory_ms: Some(ALL_PODS_MS_MAX) };
    let mut act = Act::begin(stage, "allgone", &Specs::default(), bounds)?;
    for round in 0..stage.rounds.max(2) {
        let before = act.scene.pods()?;
        act.during(|scene| {
            let which = selector(&scene.cluster());
            let mut delete = vec!["delete", "pods", "--wait=false", "--selector", &which];
            if round % 2 == 1 {
                // Nobody is asked to stop: containers are killed.
                delete.extend(["--force", "--grace-period=0"]);
            }
            scene.kubectl().run(delete)?;
            scene.wait_for("every pod is another one", SETTLED_LIMIT, || {
                let now = scene.pods().unwrap_or_default();
                now.len() == before.len()
                    && now.iter().all(|(name, pod)| pod.uid != before[name].uid)
            })?;
            scene.wait_settled(SETTLED_LIMIT)?;
            wait(Duration::from_secs(2));
            Ok(())
        })?;
        let now = act.scene.pods()?;
        let moved = now.iter().filter(|(name, pod)| pod.address != before[*name].address).count();
        act.told.fact("addresses_changed", moved);
    }
    act.end()
}

fn two(stage: &Stage) -> Result<Told> {
    let mut act = Act::begin(stage, "two", &Specs::default(), Bounds::keyspace(NOISE_MS_MAX))?;
    let gone = json!({ "storage": { "onDelete": "delete" } });
    let specs = Specs { cluster: gone.clone(), keyspace: gone, pool: Value::Null };
    act.during(|scene| {
        let before = scene.pods()?;
        scene.add("second", "other", &specs)?;
        scene.kubectl().run([
            "wait",
            "--for=condition=Ready",
            "cluster/second",
            "keyspace/other",
            "--timeout=180s",
        ])?;
        let host = format!("other.{}.svc.cluster.local", scene.kubectl().namespace());
        let redis = |line: &[&str]| scene.tool(&[&["redis-cli", "-c", "-h", &host], line].concat());
        ensure!(redis(&["SET", "colour", "blue"])?.trim() == "OK", "SET was refused");
        ensure!(redis(&["GET", "colour"])?.trim() == "blue", "GET forgot");
        ensure!(scene.pods_of("second")?.len() == 6, "{:?}", scene.pods_of("second")?);
        delete(scene, "second", "other")?;
        let left = || claims(scene, "second").is_ok_and(|count| count == 0);
        scene.wait_for("its volumes are gone", GONE_LIMIT, left)?;
        let after = scene.pods()?;
        ensure!(before == after, "the first cluster was touched: {before:?}, {after:?}");
        let first = claims(scene, &scene.cluster()).context("the first one's volumes")?;
        ensure!(first >= 5, "{first} volumes of the first cluster are left");
        Ok(())
    })?;
    act.end()
}
