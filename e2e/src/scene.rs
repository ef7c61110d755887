//! One of our clusters in a namespace of its own, with clients at work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::clock::{wait, wait_until};
use serde_json::Value;

use crate::kubectl::Kubectl;
use crate::machines::CONTROL_PLANE;
use crate::traffic::{Report, STOP};

/// The image with the clients; made by `cargo xtask e2e`, which knows it by this name.
pub const TOOLS: &str = "cairn.dev/e2e-tools:test";
/// How long a cluster may take to serve after it was applied.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// How long a new namespace may take to get its account.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(60);
const CLIENTS: &str = "clients";
const TOOLBOX: &str = "tools";

/// A cluster and its clients; the namespace goes when the story is over.
pub struct Scene {
    kubectl: Kubectl,
    name: String,
    keep: bool,
}

/// Who is who in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    /// Its epoch.
    pub epoch: u64,
    /// Its master's node, which is a pod's name.
    pub master: String,
    /// All members.
    pub members: Vec<String>,
}

impl Scene {
    /// Makes the namespace and applies a cluster with one keyspace of one group; `name` begins the
    /// names of all pods, so no two scenes may share it.
    ///
    /// # Errors
    /// If the API server refuses something.
    pub fn open(kubectl: &Kubectl, name: &str, keep: bool) -> Result<Self> {
        let namespace = format!("story-{name}");
        let kubectl = kubectl.within(&namespace);
        let make = "{apiVersion: v1, kind: Namespace, metadata: {name: NAME}}";
        kubectl.apply(&make.replace("NAME", &namespace))?;
        let scene = Self { kubectl, name: name.to_owned(), keep };
        // Pods are refused until a controller has made the namespace's account.
        let account = || scene.kubectl.get(&["serviceaccount", "default"]).is_ok();
        scene.wait_for("the namespace's account", ACCOUNT_LIMIT, account)?;
        scene.kubectl.apply(&scene.resources())?;
        scene.kubectl.apply(&pod(TOOLBOX, &["sh", "-c", "while :; do sleep 3600; done"]))?;
        Ok(scene)
    }

    /// Commands in the scene's namespace.
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }

    /// The Cluster's name.
    pub fn cluster(&self) -> String {
        format!("{}c", self.name)
    }

    /// The Keyspace's name.
    pub fn keyspace(&self) -> String {
        format!("{}k", self.name)
    }

    /// The one group's name.
    pub fn group(&self) -> String {
        format!("{}-0", self.keyspace())
    }

    fn resources(&self) -> String {
        format!(
            "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\nmetadata:\n  name: {}\nspec:\n  \
             storage:\n    size: 1Gi\n---\n\
             apiVersion: cairn.dev/v1alpha1\nkind: Keyspace\nmetadata:\n  name: {}\nspec:\n  \
             cluster: {}\n  storage:\n    size: 1Gi\n",
            self.cluster(),
            self.keyspace(),
            self.cluster()
        )
    }

    /// Waits until the conditions of both resources say Ready; how long that took.
    ///
    /// # Errors
    /// If they do not in time; the message has what they say instead.
    pub fn wait_ready(&self) -> Result<Duration> {
        let began = Instant::now();
        let mut said = String::new();
        let ready = wait_until(READY_LIMIT, Duration::from_millis(500), || {
            said = self.conditions().unwrap_or_else(|error| format!("{error:#}"));
            said.is_empty()
        });
        if !ready {
            let pods = self.kubectl.run(["get", "pods", "--output", "wide"]).unwrap_or_default();
            bail!("not ready after {} s: {said}\n{pods}", READY_LIMIT.as_secs());
        }
        Ok(began.elapsed())
    }

    /// Which of the two is not ready, and why; empty if both are.
    fn conditions(&self) -> Result<String> {
        let mut said = Vec::new();
        for what in [format!("cluster/{}", self.cluster()), format!("ks/{}", self.keyspace())] {
            let object = self.kubectl.get(&[&what])?;
            let generation = &object["metadata"]["generation"];
            let conditions = object["status"]["conditions"].as_array().cloned();
            let ready = conditions.unwrap_or_default();
            let ready = ready.iter().find(|condition| condition["type"] == "Ready");
            let current = object["status"]["observedGeneration"] == *generation;
            let is = ready.is_some_and(|ready| ready["status"] == "True") && current;
            if !is {
                said.push(format!("{what}: {}", ready.unwrap_or(&Value::Null)));
            }
        }
        Ok(said.join("; "))
    }

    /// Runs a command in the toolbox; its output.
    ///
    /// # Errors
    /// If it fails.
    pub fn tool(&self, command: &[&str]) -> Result<String> {
        let exec = ["exec", TOOLBOX, "--"];
        self.kubectl.run(exec.iter().chain(command))
    }

    /// Waits until the toolbox runs.
    ///
    /// # Errors
    /// If it does not in time.
    pub fn wait_tools(&self) -> Result<()> {
        let pod = format!("pod/{TOOLBOX}");
        self.kubectl.run(["wait", "--for=condition=Ready", &pod, "--timeout=120s"]).map(|_| ())
    }

    /// Where stock etcd clients find the directory.
    pub fn etcd(&self) -> String {
        format!("http://{}-etcd:2379", self.cluster())
    }

    /// Where clients of Redis Cluster begin.
    pub fn redis(&self) -> String {
        format!("{}.{}.svc.cluster.local", self.keyspace(), self.kubectl.namespace())
    }

    /// The record of the group, as the directory has it.
    ///
    /// # Errors
    /// If the directory does not answer.
    pub fn roles(&self) -> Result<Roles> {
        let key = format!("/cairn/groups/{}", self.group());
        let etcd = self.etcd();
        let get = ["etcdctl", "--endpoints", &etcd, "get", "--print-value-only", &key];
        let text = self.tool(&get)?;
        let record: Value = serde_json::from_str(text.trim())
            .with_context(|| format!("the record of {} reads {text:?}", self.group()))?;
        roles(&record).with_context(|| format!("the record of {} reads {text}", self.group()))
    }

    /// The global plane's master, by what the Cluster's status says.
    ///
    /// # Errors
    /// If it says nothing.
    pub fn global_master(&self) -> Result<(String, i64)> {
        let cluster = self.kubectl.get(&["cluster", &self.cluster()])?;
        let status = &cluster["status"];
        let master = status["master"].as_str().context("the status names no global master")?;
        Ok((master.to_owned(), status["epoch"].as_i64().unwrap_or_default()))
    }

    /// The machine that each pod is on.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub fn machines(&self) -> Result<BTreeMap<String, String>> {
        let pods = self.kubectl.get(&["pods"])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let place = |pod: &Value| {
            let name = pod["metadata"]["name"].as_str()?;
            Some((name.to_owned(), pod["spec"]["nodeName"].as_str()?.to_owned()))
        };
        Ok(pods.iter().filter_map(place).collect())
    }

    /// Puts clients to work until [`Scene::judge`]; returns when their first write is through.
    ///
    /// # Errors
    /// If they do not start.
    pub fn start_clients(&self, seed: u64) -> Result<()> {
        let seeds = format!("{}:6379", self.redis());
        let seed = seed.to_string();
        let command = ["cairn-e2e", "traffic", &seeds, "--seed", &seed];
        self.kubectl.apply(&pod(CLIENTS, &command))?;
        let pod = format!("pod/{CLIENTS}");
        self.kubectl.run(["wait", "--for=condition=Ready", &pod, "--timeout=120s"])?;
        wait(Duration::from_secs(2));
        Ok(())
    }

    /// Ends the clients' work and returns what they saw.
    ///
    /// # Errors
    /// If they do not come to an end.
    pub fn stop_clients(&self) -> Result<Report> {
        self.kubectl.run(["exec", CLIENTS, "--", "touch", STOP])?;
        let pod = format!("pod/{CLIENTS}");
        let done = "--for=jsonpath={.status.phase}=Succeeded";
        self.kubectl.run(["wait", done, &pod, "--timeout=150s"])?;
        let log = self.kubectl.run(["logs", CLIENTS])?;
        let log = log.lines().last().unwrap_or_default();
        self.kubectl.run(["delete", &pod, "--wait=true"])?;
        serde_json::from_str(log).with_context(|| format!("the clients said {log:?}"))
    }

    /// Ends the clients' work; what they saw must be what a store that keeps its word shows.
    ///
    /// # Errors
    /// If it is not; the message has the first violations.
    pub fn judge(&self) -> Result<Report> {
        let report = self.stop_clients()?;
        let faults = report.faults();
        ensure!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(report)
    }

    /// Waits until `seen` says so.
    ///
    /// # Errors
    /// If it does not in time; the message has `what`.
    pub fn wait_for(&self, what: &str, limit: Duration, seen: impl FnMut() -> bool) -> Result<()> {
        let came = wait_until(limit, Duration::from_millis(500), seen);
        ensure!(came, "{what}: not after {} s", limit.as_secs());
        Ok(())
    }

    /// Takes the namespace away, unless a person wants to look at it.
    ///
    /// # Errors
    /// If it stays.
    pub fn close(self) -> Result<()> {
        if self.keep {
            return Ok(());
        }
        let namespace = format!("namespace/{}", self.kubectl.namespace());
        self.kubectl.run(["delete", &namespace, "--timeout=120s"]).map(|_| ())
    }
}

fn roles(record: &Value) -> Option<Roles> {
    let id = |member: &Value| Some(member["id"].as_str()?.to_owned());
    Some(Roles {
        epoch: record["epoch"].as_u64()?,
        master: record["master"].as_str()?.to_owned(),
        members: record["members"].as_array()?.iter().filter_map(id).collect(),
    })
}

/// A pod of the tools on the machine that nobody kills.
fn pod(name: &str, command: &[&str]) -> String {
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "nodeName": CONTROL_PLANE,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "tools",
                "image": TOOLS,
                "imagePullPolicy": "Never",
                "command": command,
            }],
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read() {
        let record = serde_json::json!({
            "epoch": 4, "master": "a-0", "members": [{"id": "a-0"}, {"id": "a-1"}],
        });
        let members = vec!["a-0".to_owned(), "a-1".to_owned()];
        let expected = Roles { epoch: 4, master: "a-0".to_owned(), members };
        assert_eq!(roles(&record), Some(expected));
        assert_eq!(roles(&serde_json::json!({"epoch": 4, "master": null})), None);
    }
}
