//! A cluster for a test: two global nodes, an acceptor, one group of three.

use cairn_harness::client::{Connection, Frame};
use cairn_harness::clock::wait_until;
use cairn_harness::cluster::{Cluster, Node};
use cairn_logic::ids::{EntryId, Epoch, Offset};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Spans thrice as long, so that a busy machine causes no takeover that a test did not ask for.
pub const RESOURCES: &str = "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\n\
    metadata: {name: demo}\nspec: {globalReplicas: 1, timing: {preset: noisy}}\n---\n\
    apiVersion: cairn.dev/v1alpha1\nkind: Keyspace\nmetadata: {name: t}\n\
    spec: {cluster: demo, groups: 1, replicas: 1, backups: 1}\n";

/// The only group.
pub const GROUP: &str = "t-0";

/// For things that take seconds; only a failing test waits so long.
pub const LONG: Duration = Duration::from_secs(90);

static ONE: Mutex<()> = Mutex::new(());

/// A running cluster.
pub struct World {
    pub cluster: Cluster,
    prepared: Prepared,
    dir: tempfile::TempDir,
    _one: MutexGuard<'static, ()>,
}

/// Something made in the cluster's folder before it starts.
pub type Prepared = Vec<Box<dyn std::any::Any>>;

impl World {
    pub fn up() -> Self {
        Self::prepared(None, |_| Vec::new())
    }

    /// A cluster with the spans that everybody gets.
    pub fn with_default_spans() -> Self {
        Self::of(&RESOURCES.replace(", timing: {preset: noisy}", ""), None, |_| Vec::new())
    }

    /// A cluster whose keyspace says something more.
    pub fn with_keyspace(more: &str) -> Self {
        let text = RESOURCES.replace("backups: 1}", &format!("backups: 1, {more}}}"));
        Self::of(&text, None, |_| Vec::new())
    }

    /// A cluster that says something more of itself.
    pub fn with_cluster(more: &str) -> Self {
        let text = RESOURCES.replace("globalReplicas: 1,", &format!("globalReplicas: 1, {more},"));
        Self::of(&text, None, |_| Vec::new())
    }

    /// A cluster with the spans that everybody gets, and two groups.
    pub fn two_groups() -> Self {
        let text = RESOURCES.replace(", timing: {preset: noisy}", "");
        Self::of(&text.replace("groups: 1", "groups: 2"), None, |_| Vec::new())
    }

    /// The same, with two groups.
    pub fn with_two_groups(more: &str) -> Self {
        let text = RESOURCES.replace("globalReplicas: 1,", &format!("globalReplicas: 1, {more},"));
        Self::of(&text.replace("groups: 1", "groups: 2"), None, |_| Vec::new())
    }

    /// A cluster with further resources; its first keyspace says something more, too.
    pub fn with_resources(more: &str, others: &str) -> Self {
        let text = RESOURCES.replace("backups: 1}", &format!("backups: 1, {more}}}"));
        Self::of(&format!("{text}---\n{others}"), None, |_| Vec::new())
    }

    /// A cluster of these resources.
    pub fn of_resources(text: &str) -> Self {
        Self::of(text, None, |_| Vec::new())
    }

    /// A cluster of these resources, and further ones.
    pub fn of_text(text: &str, others: &str) -> Self {
        Self::of(&format!("{text}---\n{others}"), None, |_| Vec::new())
    }

    /// A cluster whose processes have a variable in their environment, started after `prepare` has
    /// seen its folder.
    pub fn prepared(
        variable: Option<(&str, &str)>,
        prepare: impl FnOnce(&Path) -> Prepared,
    ) -> Self {
        Self::of(RESOURCES, variable, prepare)
    }

    fn of(
        text: &str,
        variable: Option<(&str, &str)>,
        prepare: impl FnOnce(&Path) -> Prepared,
    ) -> Self {
        let one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().expect("a folder for the test");
        let resources = dir.path().join("a.yaml");
        std::fs::write(&resources, text).expect("writable");
        let folder = dir.path().join("c");
        let prepared = prepare(&folder);
        let cluster = Cluster::up(&program(), &folder, &resources, variable).expect("it starts");
        let world = Self { cluster, prepared, dir, _one: one };
        world.whole();
        world
    }

    /// The folder of the cluster.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("c")
    }

    /// Waits until nothing is missing.
    pub fn whole(&self) {
        let faults = self.cluster.wait_whole(LONG);
        assert!(faults.is_empty(), "{faults:?}");
    }

    /// The data node that masters the group.
    pub fn master(&self) -> Node {
        let mut found = None;
        wait_until(LONG, Duration::from_millis(100), || {
            let group = self.cluster.groups().and_then(|groups| groups.into_iter().next());
            found = group.and_then(|group| group.master).map(|id| self.node(&id));
            found.is_some()
        });
        found.expect("the group has a master")
    }

    pub fn node(&self, id: &str) -> Node {
        let node = self.cluster.nodes().iter().find(|node| node.id == id);
        node.unwrap_or_else(|| panic!("no node {id}")).clone()
    }

    /// `cairn status -o json`, whole.
    pub fn status(&self) -> Value {
        self.status_by(&["status", "-o", "json"])
    }

    /// The same with the digests of all data.
    pub fn status_with_digests(&self) -> Value {
        self.status_by(&["status", "-o", "json", "--digests"])
    }

    fn status_by(&self, words: &[&str]) -> Value {
        let text = self.cluster.cairn(words).expect("status");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The reasons of all conditions, each with the node or group it is about.
    pub fn conditions(&self) -> Vec<String> {
        let status = self.status();
        let all = status["conditions"].as_array().cloned().unwrap_or_default();
        let about = |condition: &Value| {
            let node = condition["node"].as_str().or(condition["group"].as_str());
            format!("{} {}", condition["reason"].as_str().unwrap_or(""), node.unwrap_or(""))
        };
        all.iter().map(about).collect()
    }

    /// Waits for something.
    pub fn eventually(&self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let came = wait_until(LONG, Duration::from_millis(200), || done(self));
        assert!(came, "never: {what}: {:#}", self.status());
    }

    /// The epochs of the global plane and of the group.
    pub fn epochs(&self) -> (u64, u64) {
        let status = self.cluster.status().expect("status");
        let group = status.groups.iter().find(|group| group.id == GROUP);
        (status.global_epoch().unwrap_or(0), group.map_or(0, |group| group.epoch))
    }

    /// What a node has written to its log.
    pub fn log(&self, node: &str) -> String {
        let path = self.folder().join("logs").join(format!("{node}.log"));
        std::fs::read_to_string(path).unwrap_or_default()
    }
}

/// The end of a node's copy of the global log.
pub fn end_of_log(world: &World, node: &str) -> EntryId {
    let status = world.status();
    let nodes = status["nodes"].as_array().expect("nodes");
    let found = nodes.iter().find(|found| found["id"] == node).expect("the node");
    let log = &found["logs"][0];
    let number = |name: &str| log[name].as_u64().expect("a number");
    EntryId::new(Epoch(number("lastEpoch")), Offset(number("lastOffset")))
}

impl Drop for World {
    fn drop(&mut self) {
        // The processes first, then what was made for them; the cluster deletes its folder last.
        if let Err(error) = self.cluster.cairn(["down"]) {
            eprintln!("{error}");
        }
        self.prepared.clear();
    }
}

/// A connection to one node's RESP port.
pub fn connect(node: &Node) -> Connection {
    let second = Duration::from_secs(1);
    Connection::open(&node.redis(), second, second * 20).expect("it listens")
}

/// Says a few words on a connection and gives the answer as a short text.
pub fn say(connection: &mut Connection, words: &str) -> String {
    let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
    show(&connection.call(&words).expect("an answer"))
}

pub fn show(frame: &Frame) -> String {
    match frame {
        Frame::Error(error) => format!("-{error}"),
        Frame::Null => "(nil)".to_owned(),
        frame => match (frame.integer(), frame.text()) {
            (Some(number), _) => number.to_string(),
            (None, Some(text)) => text,
            (None, None) => format!("{frame:?}"),
        },
    }
}

/// The `cairn` command, with the node program beside it.
pub fn program() -> PathBuf {
    static BUILT: OnceLock<()> = OnceLock::new();
    let program = PathBuf::from(env!("CARGO_BIN_EXE_cairn"));
    BUILT.get_or_init(|| {
        // `cargo test -p cairn-cli` alone does not build it.
        let node = program.with_file_name("cairn-node");
        if !node.is_file() {
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = Command::new(cargo).args(["build", "-p", "cairn-node"]).status();
            assert!(built.is_ok_and(|status| status.success()), "cairn-node must be built");
            assert!(node.is_file(), "there is no {node:?}");
        }
    });
    program
}
