//! The operator at rest: what it asks of the API server when nothing happens.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::{Value, json};

use super::{SETTLED_LIMIT, Stage, Story};
use crate::act::Told;
use crate::kubectl::Kubectl;
use crate::machines::{self, WORKERS};
use crate::operator;
use crate::scene::{Scene, Specs};

/// Three clusters, left alone.
pub const STORY: Story = Story {
    name: "operator-at-rest",
    about: "three clusters are left alone: requests and writes to the API server, memory",
    tell,
};

/// How long they are left alone, times the rounds.
const REST: Duration = Duration::from_secs(120);
const READS: &str = "cairn-e2e-reads";
const WRITES: &str = "cairn-e2e-writes";
/// Those about the operator's own Lease, which is no part of being at rest.
const LEASES: &str = "cairn-e2e-leases";
const REQUESTS_PER_SEC_MAX: f64 = 0.1;
const RSS_KIB_MAX: u64 = 30 << 10;

fn tell(stage: &Stage) -> Result<Told> {
    let mut told = Told::default();
    let mut scenes = Vec::new();
    for name in ["rest1", "rest2", "rest3"] {
        let scene = Scene::open(stage, name, &Specs::default())?;
        scene.wait_settled(SETTLED_LIMIT)?;
        scenes.push(scene);
    }
    count_requests(&stage.kubectl)?;
    // Statuses and Events of the start settle first.
    wait(Duration::from_secs(30));
    let before = requests(&stage.kubectl)?;
    let rest = REST * stage.rounds;
    wait(rest);
    let after = requests(&stage.kubectl)?;
    let made = |flow: &str| after.get(flow).unwrap_or(&0) - before.get(flow).unwrap_or(&0);
    let (reads, writes) = (made(READS), made(WRITES));
    let rss_kib = memory_kib()?;
    let per_cluster = (reads + writes) as f64 / rest.as_secs_f64() / scenes.len() as f64;
    told.fact("clusters", scenes.len());
    told.fact("rest_s", rest.as_secs());
    told.fact("reads", reads);
    told.fact("writes", writes);
    told.fact("lease_requests", made(LEASES));
    told.fact("requests_per_s_and_cluster", format!("{per_cluster:.3}"));
    told.fact("rss_mib_max", rss_kib / 1024);
    for scene in scenes {
        scene.close()?;
    }
    stage.kubectl.run(["delete", "flowschema", READS, WRITES, LEASES])?;
    ensure!(writes == 0, "{writes} writes at rest ({})", told.line());
    ensure!(per_cluster <= REQUESTS_PER_SEC_MAX, "too many requests ({})", told.line());
    ensure!(rss_kib <= RSS_KIB_MAX, "too much memory ({})", told.line());
    Ok(told)
}

/// Has the API server count the operator's requests apart, by what they are for.
fn count_requests(kubectl: &Kubectl) -> Result<()> {
    let own = json!({ "namespaces": [operator::NAMESPACE] });
    let any = json!({ "namespaces": ["*"], "clusterScope": true });
    let schema = |name: &str, first: i32, verbs: &[&str], resource: &str, mut rule: Value| {
        rule["verbs"] = json!(verbs);
        rule["apiGroups"] = json!(["*"]);
        rule["resources"] = json!([resource]);
        json!({
            "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
            "kind": "FlowSchema",
            "metadata": { "name": name },
            "spec": {
                "matchingPrecedence": first,
                "priorityLevelConfiguration": { "name": "workload-high" },
                "rules": [{
                    "subjects": [{
                        "kind": "ServiceAccount",
                        "serviceAccount": {
                            "name": "cairn-operator", "namespace": operator::NAMESPACE,
                        },
                    }],
                    "resourceRules": [rule],
                }],
            },
        })
    };
    for object in [
        schema(LEASES, 101, &["*"], "leases", own),
        schema(READS, 102, &["get", "list", "watch"], "*", any.clone()),
        schema(WRITES, 103, &["*"], "*", any),
    ] {
        kubectl.apply(&object.to_string())?;
    }
    Ok(())
}

/// Requests so far, by who is counted.
fn requests(kubectl: &Kubectl) -> Result<BTreeMap<String, u64>> {
    let page = kubectl.run(["get", "--raw", "/metrics"])?;
    let mut counts = BTreeMap::new();
    let metric = "apiserver_flowcontrol_dispatched_requests_total{";
    for line in page.lines().filter(|line| line.starts_with(metric)) {
        for flow in [READS, WRITES, LEASES] {
            if line.contains(&format!("flow_schema=\"{flow}\"")) {
                let value = line.rsplit(' ').next().context("a metric has a value")?;
                *counts.entry(flow.to_owned()).or_default() += value.parse::<f64>()? as u64;
            }
        }
    }
    Ok(counts)
}

/// What the larger of the replicas has resident.
fn memory_kib() -> Result<u64> {
    let mut most = 0;
    for machine in WORKERS {
        let script = "for p in $(pgrep -x cairn-operator); do grep VmRSS: /proc/$p/status; done";
        for line in machines::on(machine, &["sh", "-c", script])?.lines() {
            let kib = line.split_whitespace().nth(1).context("VmRSS has a value")?;
            most = most.max(kib.parse()?);
        }
    }
    ensure!(most > 0, "no operator was found on the workers");
    Ok(most)
}
