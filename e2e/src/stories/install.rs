//! A new user's first minutes: apply a sample, use it, take it away.

use std::time::Duration;

use anyhow::{Result, ensure};
use cairn_harness::clock::wait;

use super::{Stage, Story, Told};
use crate::scene::Scene;

/// Apply until Ready, use, delete.
pub const STORY: Story = Story {
    name: "install-and-ready",
    about: "a Cluster and a Keyspace are applied and serve; deleting them leaves their volumes",
    tell,
};

/// How long the operator's objects may stay after their owners went.
const GONE_LIMIT: Duration = Duration::from_secs(120);

fn tell(stage: &Stage) -> Result<Told> {
    let mut told = Told::default();
    let scene = Scene::open(&stage.kubectl, "install", stage.keep)?;
    told.fact("ready_ms", scene.wait_ready()?.as_millis());
    scene.start_clients(1)?;
    wait(Duration::from_secs(10));
    let report = scene.judge()?;
    told.fact("acked", report.acked);
    told.fact("replica_reads", report.replica_reads);
    ensure!(report.replica_reads > 0, "no replica answered a read");
    for what in ["ks", "cluster"] {
        scene.kubectl().run(["delete", what, "--all", "--timeout=120s"])?;
    }
    let made = "statefulset,service,configmap,secret,poddisruptionbudget,lease,serviceaccount";
    let label = "--selector=app.kubernetes.io/managed-by=cairn-operator";
    let left = || {
        let list = ["get", made, label, "--output=name"];
        scene.kubectl().run(list).unwrap_or_else(|error| error.to_string())
    };
    let gone = scene.wait_for("everything made is gone", GONE_LIMIT, || left().trim().is_empty());
    ensure!(gone.is_ok(), "left behind: {}", left());
    let claims = scene.kubectl().run(["get", "pvc", "--output=name"])?;
    told.fact("volumes_kept", claims.lines().count());
    ensure!(claims.lines().count() >= 5, "volumes went with their cluster: {claims}");
    scene.close()?;
    Ok(told)
}
