//! Pods that work beside the cluster: clients, and a toolbox for single commands.
//!
//! They run on the control plane, which no story kills, and need no API server while they do.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait;
use serde_json::json;

use super::{Roles, Scene, TOOLS, roles};
use crate::machines::CONTROL_PLANE;
use crate::traffic::{Report, STOP};

const TOOLBOX: &str = "tools";
/// Clients of the keyspace.
const CLIENTS: &str = "clients";
/// A client of the directory.
const DIRECTORY: &str = "directory";
/// Writes down who the members of the group are.
const NOTES: &str = "notes";
/// redis-cli, as it is.
const STOCK: &str = "stock";

impl Scene {
    pub(super) fn make_toolbox(&self) -> Result<()> {
        let sleep = ["sh", "-c", "while :; do sleep 3600; done"];
        self.kubectl.apply(&pod(TOOLBOX, &sleep)).map(|_| ())
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
        self.wait_runs(TOOLBOX)
    }

    /// Asks the directory with etcdctl; its output.
    ///
    /// # Errors
    /// If no global node answers in time.
    pub fn etcdctl(&self, arguments: &[&str]) -> Result<String> {
        let endpoints = self.etcd_endpoints();
        let head = ["etcdctl", "--command-timeout=3s", "--dial-timeout=1s", "--endpoints"];
        self.tool(&[&head[..], &[endpoints.as_str()], arguments].concat())
    }

    /// Puts clients to work until [`Scene::judge`]; returns when their first write is through.
    ///
    /// # Errors
    /// If they do not start.
    pub fn start_clients(&self, seed: u64) -> Result<()> {
        let seeds = format!("{}:6379", self.redis());
        let seed = seed.to_string();
        self.start(CLIENTS, &["cairn-e2e", "traffic", &seeds, "--seed", &seed])
    }

    /// Puts a client of the directory to work until [`Scene::judge_directory`].
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_directory(&self) -> Result<()> {
        self.start(DIRECTORY, &["cairn-e2e", "directory", &self.etcd_endpoints()])
    }

    /// Lets a pod note each half second what the group's record is, until [`Scene::notes`]; it asks
    /// global nodes by their addresses, so that it needs nothing of Kubernetes meanwhile.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_notes(&self) -> Result<()> {
        let set = format!("{}-global-", self.cluster());
        let pods = self.pods()?;
        let global = pods.iter().filter(|(name, _)| name.starts_with(&set));
        let endpoints: Vec<String> =
            global.map(|(_, pod)| format!("http://{}:2379", pod.address)).collect();
        let ask = format!(
            "etcdctl --command-timeout=2s --dial-timeout=1s --endpoints {} get \
             --print-value-only /cairn/groups/{} 2>/dev/null",
            endpoints.join(","),
            self.group()
        );
        let line = format!("echo \"$(date +%s) $({ask})\"");
        let script = format!("while [ ! -e {STOP} ]; do {line}; sleep 0.5; done");
        self.start(NOTES, &["sh", "-c", &script])
    }

    /// Ends the notes: the group's records, each with the second since 1970 at which it was read.
    ///
    /// # Errors
    /// If their pod does not answer.
    pub fn notes(&self) -> Result<Vec<(u64, Roles)>> {
        let said = self.stop(NOTES)?;
        let note = |line: &str| {
            let (second, record) = line.split_once(' ')?;
            Some((second.parse().ok()?, roles(&serde_json::from_str(record).ok()?)?))
        };
        Ok(said.lines().filter_map(note).collect())
    }

    /// Lets redis-cli count up in `keyspace`, twenty times a second, until [`Scene::stop_stock`];
    /// with TLS if there is an authority to trust.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start_stock(&self, keyspace: &str, authority: Option<&str>) -> Result<()> {
        let host = format!("{keyspace}.{}.svc.cluster.local", self.kubectl.namespace());
        let ask = format!("while [ ! -e {STOP} ]; do echo INCR stock; sleep 0.05; done");
        let trust = authority.map(|pem| format!("echo '{pem}' >/tmp/ca.crt; ")).unwrap_or_default();
        let tls = if authority.is_some() { "--tls --cacert /tmp/ca.crt" } else { "" };
        let script = format!(
            "{trust}{ask} | redis-cli -c -h {host} {tls} >/tmp/answers 2>&1; \
             grep -v '^-> Redirected' /tmp/answers | grep -v '^ *$' >/tmp/said; \
             grep -c '^[0-9][0-9]*$' /tmp/said; \
             grep -v '^[0-9][0-9]*$' /tmp/said | sort | uniq -c | head -n 5"
        );
        self.start(STOCK, &["sh", "-c", &script])
    }

    /// The own ports of redis-cli's connections.
    ///
    /// # Errors
    /// If its pod does not answer.
    pub fn stock_connections(&self) -> Result<Vec<String>> {
        let list = self.kubectl.run(["exec", STOCK, "--", "netstat", "-tn"])?;
        let held = list.lines().filter(|line| line.contains("ESTABLISHED"));
        let own = |line: &str| Some(line.split_whitespace().nth(3)?.to_owned());
        Ok(held.filter(|line| line.contains(":6379")).filter_map(own).collect())
    }

    /// Ends the clients' work; what they saw must be what a store that keeps its word shows.
    ///
    /// # Errors
    /// If it is not; the message has the first violations.
    pub fn judge(&self) -> Result<Report> {
        self.report(CLIENTS)
    }

    /// Ends the work of the directory's client; no acknowledged write may be gone.
    ///
    /// # Errors
    /// If one is.
    pub fn judge_directory(&self) -> Result<Report> {
        self.report(DIRECTORY)
    }

    /// Ends redis-cli's work; how many of its commands were answered.
    ///
    /// # Errors
    /// If one was not.
    pub fn stop_stock(&self) -> Result<usize> {
        let said = self.stop(STOCK)?;
        let (count, bad) = said.trim().split_once('\n').unwrap_or((said.trim(), ""));
        let count = count.parse().with_context(|| format!("redis-cli's pod said {said:?}"))?;
        ensure!(bad.is_empty() && count > 0, "{count} answers, and redis-cli said: {bad}");
        Ok(count)
    }

    fn report(&self, name: &str) -> Result<Report> {
        let log = self.stop(name)?;
        let last = log.lines().last().unwrap_or_default();
        let report: Report =
            serde_json::from_str(last).with_context(|| format!("{name} said {last:?}"))?;
        let faults = report.faults();
        ensure!(faults.is_empty(), "{name}: {}", faults.join("\n"));
        Ok(report)
    }

    fn start(&self, name: &str, command: &[&str]) -> Result<()> {
        self.kubectl.apply(&pod(name, command))?;
        self.wait_runs(name)?;
        wait(Duration::from_secs(2));
        Ok(())
    }

    fn wait_runs(&self, name: &str) -> Result<()> {
        let pod = format!("pod/{name}");
        self.kubectl.run(["wait", "--for=condition=Ready", &pod, "--timeout=120s"]).map(|_| ())
    }

    /// Ends a pod's work; what it said.
    fn stop(&self, name: &str) -> Result<String> {
        self.kubectl.run(["exec", name, "--", "touch", STOP])?;
        let pod = format!("pod/{name}");
        let done = "--for=jsonpath={.status.phase}=Succeeded";
        self.kubectl.run(["wait", done, &pod, "--timeout=150s"])?;
        let log = self.kubectl.run(["logs", name])?;
        self.kubectl.run(["delete", &pod, "--wait=false"])?;
        Ok(log)
    }
}

/// A pod of the tools on the machine that nobody kills.
pub(crate) fn pod(name: &str, command: &[&str]) -> String {
    json!({
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
