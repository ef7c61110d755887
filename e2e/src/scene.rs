//! One of our clusters in a namespace of its own, with clients at work.

mod data;
mod spares;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait_until;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::stories::Stage;

/// The image with the clients; made by `cargo xtask e2e`, which knows it by this name.
pub const TOOLS: &str = "cairn.dev/e2e-tools:test";
/// Begins the names of the namespaces of stories.
pub const NAMESPACE: &str = "story-";
/// How long a cluster may take to serve after it was applied.
const READY_LIMIT: Duration = Duration::from_secs(180);
/// How long a namespace may stay: the controller that empties it backs off for minutes where the
/// API server was away again and again.
const GONE_LIMIT: Duration = Duration::from_secs(420);
/// How long a new namespace may take to get its account.
const ACCOUNT_LIMIT: Duration = Duration::from_secs(60);
/// How often something is looked at again.
const PERIOD: Duration = Duration::from_millis(500);

/// A cluster and its clients; the namespace goes when the story is over.
pub struct Scene {
    kubectl: Kubectl,
    name: String,
    keep: bool,
}

/// What differs from the least specs that there are.
#[derive(Debug, Clone, Default)]
pub struct Specs {
    /// Fields of the Cluster's spec.
    pub cluster: Value,
    /// Fields of the Keyspace's spec.
    pub keyspace: Value,
    /// Fields of a SparePool's spec; null: there is none.
    pub pool: Value,
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
    /// The zones that they are counted in.
    pub zones: BTreeSet<String>,
}

/// A pod of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Tells it from others of the same name.
    pub uid: String,
    /// Where it runs.
    pub machine: String,
    /// The image of its node.
    pub image: String,
    /// Its address.
    pub address: String,
    /// How often its container was started again.
    pub restarts: u64,
}

impl Scene {
    /// Makes the namespace and applies a cluster with one keyspace of one group; `name` begins the
    /// names of all pods, so no two scenes may share it.
    ///
    /// # Errors
    /// If the API server refuses something.
    pub fn open(stage: &Stage, name: &str, specs: &Specs) -> Result<Self> {
        let namespace = format!("{NAMESPACE}{name}");
        let kubectl = stage.kubectl.within(&namespace);
        // One of an earlier run may still be going.
        let former = format!("namespace/{namespace}");
        kubectl.run(["delete", &former, "--ignore-not-found", "--timeout=120s"])?;
        let make =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        kubectl.apply(&make.to_string())?;
        let scene = Self { kubectl, name: name.to_owned(), keep: stage.keep };
        // Pods are refused until a controller has made the namespace's account.
        let account = || scene.kubectl.get(&["serviceaccount", "default"]).is_ok();
        scene.wait_for("the namespace's account", ACCOUNT_LIMIT, account)?;
        scene.add(&scene.cluster(), &scene.keyspace(), specs)?;
        if !specs.pool.is_null() {
            scene.add_pool(&specs.pool)?;
        }
        scene.make_toolbox()?;
        Ok(scene)
    }

    /// Applies a Cluster and a Keyspace of it.
    ///
    /// # Errors
    /// If the API server refuses them.
    pub fn add(&self, cluster: &str, keyspace: &str, specs: &Specs) -> Result<()> {
        let storage = || json!({"storage": {"size": "1Gi"}});
        let object = |kind: &str, name: &str, spec: Value, more: &Value| {
            let mut object = json!({
                "apiVersion": "cairn.dev/v1alpha1", "kind": kind,
                "metadata": {"name": name}, "spec": spec,
            });
            lay_over(&mut object["spec"], more);
            self.kubectl.apply(&object.to_string())
        };
        object("Cluster", cluster, storage(), &specs.cluster)?;
        let mut spec = storage();
        spec["cluster"] = json!(cluster);
        object("Keyspace", keyspace, spec, &specs.keyspace).map(|_| ())
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

    /// The Cluster, as kubectl names it.
    pub fn cluster_object(&self) -> String {
        format!("cluster/{}", self.cluster())
    }

    /// The Keyspace, as kubectl names it.
    pub fn keyspace_object(&self) -> String {
        format!("keyspace/{}", self.keyspace())
    }

    /// Changes fields of an object's spec.
    ///
    /// # Errors
    /// If the API server refuses.
    pub fn change(&self, object: &str, spec: &Value) -> Result<()> {
        let patch = json!({ "spec": spec }).to_string();
        self.kubectl.run(["patch", object, "--type=merge", "--patch", &patch]).map(|_| ())
    }

    /// Waits until the conditions of both resources say Ready; how long that took.
    ///
    /// # Errors
    /// If they do not in time; the message has what they say instead.
    pub fn wait_ready(&self) -> Result<Duration> {
        self.wait_conditions(READY_LIMIT, &[("Ready", "True")])
    }

    /// Waits until nothing is missing and nothing left to do; how long that took.
    ///
    /// # Errors
    /// As [`Scene::wait_ready`].
    pub fn wait_settled(&self, limit: Duration) -> Result<Duration> {
        let wanted = [("Ready", "True"), ("Progressing", "False"), ("Degraded", "False")];
        self.wait_conditions(limit, &wanted)
    }

    fn wait_conditions(&self, limit: Duration, wanted: &[(&str, &str)]) -> Result<Duration> {
        let began = Instant::now();
        let mut said = String::new();
        let ready = wait_until(limit, PERIOD, || {
            said = self.unlike(wanted).unwrap_or_else(|error| format!("{error:#}"));
            said.is_empty()
        });
        let pods = || self.kubectl.run(["get", "pods", "--output", "wide"]).unwrap_or_default();
        ensure!(ready, "not so after {} s: {said}\n{}", limit.as_secs(), pods());
        Ok(began.elapsed())
    }

    /// What the two resources say that is not as wanted; empty if all is.
    fn unlike(&self, wanted: &[(&str, &str)]) -> Result<String> {
        let objects = [self.cluster_object(), self.keyspace_object()];
        let list = self.kubectl.get(&[&objects[0], &objects[1]])?;
        let mut said = Vec::new();
        for (at, object) in objects.iter().enumerate() {
            let wrong = conditions_unlike(&list["items"][at], wanted);
            said.extend(wrong.into_iter().map(|words| format!("{object}: {words}")));
        }
        Ok(said.join("; "))
    }

    /// The condition of an object: its status, reason and message.
    ///
    /// # Errors
    /// If it is not there.
    pub fn condition(&self, object: &str, kind: &str) -> Result<[String; 3]> {
        let object = self.kubectl.get(&[object])?;
        let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|condition| condition["type"] == kind);
        let found = found.with_context(|| format!("there is no condition {kind}"))?;
        let word = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
        Ok(["status", "reason", "message"].map(word))
    }

    /// Waits until what a condition says, its status, reason and message, begins with `wanted`; all
    /// of it then.
    ///
    /// # Errors
    /// If it says otherwise for as long as `limit`; the message has its words.
    pub fn wait_condition(
        &self,
        object: &str,
        kind: &str,
        wanted: &str,
        limit: Duration,
    ) -> Result<String> {
        let mut said = String::new();
        let came = self.wait_for(kind, limit, || {
            let condition = self.condition(object, kind);
            said = condition.map_or_else(|error| format!("{error:#}"), |words| words.join(" "));
            said.starts_with(wanted)
        });
        ensure!(came.is_ok(), "{kind} of {object} does not say {wanted}: {said}");
        Ok(said)
    }

    /// Where stock etcd clients find the directory.
    pub fn etcd(&self) -> String {
        format!("http://{}-etcd:2379", self.cluster())
    }

    /// Each of the two global nodes, for clients that go to another one by themselves.
    pub fn etcd_endpoints(&self) -> String {
        let set = format!("{}-global", self.cluster());
        let at = |ordinal| format!("http://{set}-{ordinal}.{set}:2379");
        format!("{},{}", at(0), at(1))
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
        self.roles_of(&self.group())
    }

    /// The record of another group.
    ///
    /// # Errors
    /// As [`Scene::roles`].
    pub fn roles_of(&self, group: &str) -> Result<Roles> {
        let record = self.fact(&format!("/cairn/groups/{group}"))?;
        roles(&record).with_context(|| format!("the record of {group} reads {record}"))
    }

    /// What the directory says at one of its own keys.
    fn fact(&self, key: &str) -> Result<Value> {
        let text = self.etcdctl(&["get", "--print-value-only", key])?;
        serde_json::from_str(text.trim()).with_context(|| format!("{key} reads {text:?}"))
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

    /// The cluster's pods, by name.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub fn pods(&self) -> Result<BTreeMap<String, Pod>> {
        self.pods_of(&self.cluster())
    }

    /// The pods of another Cluster of the namespace, by name.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub fn pods_of(&self, cluster: &str) -> Result<BTreeMap<String, Pod>> {
        let pods = self.kubectl.get(&["pods", "--selector", &selector(cluster)])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        Ok(pods.iter().filter_map(pod).collect())
    }

    /// The machine that a pod is on.
    ///
    /// # Errors
    /// If it is nowhere.
    pub fn machine_of(&self, name: &str) -> Result<String> {
        let pod = self.pods()?.remove(name);
        pod.map(|pod| pod.machine).with_context(|| format!("{name} is on no machine"))
    }

    /// Waits until `seen` says so.
    ///
    /// # Errors
    /// If it does not in time; the message has `what`.
    pub fn wait_for(&self, what: &str, limit: Duration, seen: impl FnMut() -> bool) -> Result<()> {
        let came = wait_until(limit, PERIOD, seen);
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
        let limit = format!("--timeout={}s", GONE_LIMIT.as_secs());
        self.kubectl.run(["delete", &namespace, &limit]).map(|_| ())
    }
}

/// Which objects belong to a Cluster.
pub fn selector(cluster: &str) -> String {
    format!("cairn.dev/cluster={cluster}")
}

/// Puts fields over fields, objects into objects.
pub fn lay_over(under: &mut Value, over: &Value) {
    match (under, over) {
        (_, Value::Null) => {}
        (Value::Object(under), Value::Object(over)) => {
            for (key, value) in over {
                lay_over(under.entry(key).or_insert_with(|| json!({})), value);
            }
        }
        (under, over) => *under = over.clone(),
    }
}

fn conditions_unlike(object: &Value, wanted: &[(&str, &str)]) -> Vec<String> {
    let mut said = Vec::new();
    if object["status"]["observedGeneration"] != object["metadata"]["generation"] {
        said.push("its last change was not seen yet".to_owned());
    }
    let all = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for (kind, status) in wanted {
        match all.iter().find(|condition| condition["type"] == *kind) {
            Some(condition) if condition["status"] == *status => {}
            Some(c) => {
                said.push(format!("{kind} {} {}: {}", c["status"], c["reason"], c["message"]))
            }
            None => said.push(format!("no condition {kind}")),
        }
    }
    said
}

fn pod(object: &Value) -> Option<(String, Pod)> {
    let text = |at: &str| object.pointer(at).and_then(Value::as_str).map(str::to_owned);
    let pod = Pod {
        uid: text("/metadata/uid")?,
        machine: text("/spec/nodeName")?,
        image: text("/spec/containers/0/image")?,
        address: text("/status/podIP").unwrap_or_default(),
        restarts: object["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0),
    };
    Some((text("/metadata/name")?, pod))
}

fn roles(record: &Value) -> Option<Roles> {
    let members = record["members"].as_array()?;
    let all = |key: &str| {
        let word = |member: &Value| Some(member[key].as_str()?.to_owned());
        members.iter().filter_map(word).collect::<Vec<String>>()
    };
    Some(Roles {
        epoch: record["epoch"].as_u64()?,
        master: record["master"].as_str()?.to_owned(),
        members: all("id"),
        zones: all("zone").into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read() {
        let record = serde_json::json!({
            "epoch": 4, "master": "a-0", "members": [{"id": "a-0", "zone": "z"}, {"id": "a-1"}],
        });
        let members = vec!["a-0".to_owned(), "a-1".to_owned()];
        let zones = BTreeSet::from(["z".to_owned()]);
        let expected = Roles { epoch: 4, master: "a-0".to_owned(), members, zones };
        assert_eq!(roles(&record), Some(expected));
        assert_eq!(roles(&serde_json::json!({"epoch": 4, "master": null})), None);
    }
    #[test]
    fn fields_are_laid_over_fields() {
        let mut under = json!({"storage": {"size": "1Gi"}});
        lay_over(&mut under, &json!({"storage": {"onDelete": "delete"}, "replicas": 2}));
        let expected = json!({"storage": {"size": "1Gi", "onDelete": "delete"}, "replicas": 2});
        assert_eq!(under, expected);
        lay_over(&mut under, &Value::Null);
        assert_eq!(under, expected);
    }

    #[test]
    fn what_is_not_as_wanted_is_said() {
        let ready = json!({"type": "Ready", "status": "True", "reason": "a", "message": "b"});
        let mut object = json!({
            "metadata": {"generation": 2},
            "status": {"observedGeneration": 2, "conditions": [ready]},
        });
        assert!(conditions_unlike(&object, &[("Ready", "True")]).is_empty());
        assert_eq!(conditions_unlike(&object, &[("Ready", "False"), ("More", "True")]).len(), 2);
        object["metadata"]["generation"] = json!(3);
        assert_eq!(conditions_unlike(&object, &[("Ready", "True")]).len(), 1);
    }
}
