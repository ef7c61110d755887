//! A whole cluster as processes of this machine, driven through the `cairn` command.
//!
//! Everything that a person could do is done the same way (`cairn up`, `kill`, `start`, `down`).
//! Only what no command offers is done to processes and folders directly: stopping and continuing
//! a process, and emptying the folder of a dead one.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

use crate::client::{Client, Patience};
use crate::clock::wait_until;
use crate::slots::SlotMap;
use crate::status::{GroupStatus, Status};

/// How long clients may not know a master of each slot, in a cluster that is whole.
const GROUPS_LIMIT: Duration = Duration::from_secs(10);

/// What a cluster could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("cannot run {program:?}")]
    Start {
        /// Which program.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A command failed.
    #[error("{line}: {complaint}")]
    Failed {
        /// The command.
        line: String,
        /// What it wrote to standard error.
        complaint: String,
    },
    /// A file of the cluster's folder cannot be used.
    #[error("cannot use {path:?}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A node is not what a test needs it to be.
    #[error("node {node}: {what}")]
    Node {
        /// Its name.
        node: String,
        /// What is wrong with it.
        what: String,
    },
}

/// What a node is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A member of the global plane.
    Global,
    /// Keeps data, or waits to be claimed.
    Data,
    /// Keeps the arbiter's value.
    Acceptor,
    /// Follows the global log and writes snapshots of the directory.
    Checkpoint,
}

/// One node of a local cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Node {
    /// Its stable name.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// Ports for clients, etcd clients, peers, heartbeats and metrics.
    pub ports: [u16; 5],
    /// Its address, if that is not 127.0.0.1.
    #[serde(default)]
    pub host: Option<String>,
}

impl Node {
    /// Where Redis clients reach it.
    pub fn redis(&self) -> String {
        self.address(0)
    }

    /// Where etcd clients reach it.
    pub fn etcd(&self) -> String {
        self.address(1)
    }

    fn address(&self, port: usize) -> String {
        format!("{}:{}", self.host.as_deref().unwrap_or("127.0.0.1"), self.ports[port])
    }
}

/// A running cluster; it is taken down, and its folder deleted, when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    program: PathBuf,
    folder: PathBuf,
    nodes: Vec<Node>,
    variable: Option<(String, String)>,
    emptied: AtomicU32,
    kept: AtomicBool,
}

#[derive(Deserialize)]
struct ClusterFile {
    nodes: Vec<Node>,
}

impl Cluster {
    /// Starts the cluster that `resources` asks for, in `folder`, and returns when it is ready.
    ///
    /// `program` is the `cairn` command; the node program is the one beside it. `variable` is set
    /// in the environment of all processes.
    ///
    /// # Errors
    /// If the command fails; its own words are in the error.
    pub fn up(
        program: &Path,
        folder: &Path,
        resources: &Path,
        variable: Option<(&str, &str)>,
    ) -> Result<Self, Error> {
        Self::up_with(program, folder, resources, &[], variable)
    }

    /// The same, with more arguments of `cairn up`.
    ///
    /// # Errors
    /// As [`Cluster::up`].
    pub fn up_with(
        program: &Path,
        folder: &Path,
        resources: &Path,
        more: &[&OsStr],
        variable: Option<(&str, &str)>,
    ) -> Result<Self, Error> {
        let mut cluster = Self {
            program: program.to_owned(),
            folder: folder.to_owned(),
            nodes: Vec::new(),
            variable: variable.map(|(name, value)| (name.to_owned(), value.to_owned())),
            emptied: AtomicU32::new(0),
            kept: AtomicBool::new(false),
        };
        let arguments = [OsStr::new("up"), resources.as_os_str()];
        cluster.cairn(arguments.iter().chain(more))?;
        let path = folder.join("cluster.json");
        let file: ClusterFile = read_json(&path)?;
        cluster.nodes = file.nodes;
        Ok(cluster)
    }

    /// Leaves processes and folder as they are when this is dropped.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// All nodes in starting order.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The cluster's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where Redis clients may ask for the routes.
    pub fn seeds(&self) -> Vec<String> {
        let data = self.nodes.iter().filter(|node| node.role == Role::Data);
        data.map(Node::redis).collect()
    }

    /// Where etcd clients reach the global plane.
    pub fn etcd_endpoints(&self) -> Vec<String> {
        let global = self.nodes.iter().filter(|node| node.role == Role::Global);
        global.map(Node::etcd).collect()
    }

    /// Runs `cairn` for this cluster and returns what it printed.
    ///
    /// # Errors
    /// If it cannot be run, or fails.
    pub fn cairn<I, S>(&self, arguments: I) -> Result<String, Error>
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--dir").arg(&self.folder);
        command.envs(self.variable.clone());
        let Output { status, stdout, stderr } = command
            .output()
            .map_err(|source| Error::Start { program: self.program.clone(), source })?;
        if status.success() {
            return Ok(String::from_utf8_lossy(&stdout).into_owned());
        }
        let line = format!("{command:?}");
        let complaint = String::from_utf8_lossy(&stderr).trim().to_owned();
        Err(Error::Failed { line, complaint })
    }

    /// What `cairn status -o json` says.
    ///
    /// # Errors
    /// If it fails, or prints something else.
    pub fn status(&self) -> Result<Status, Error> {
        self.said(&["status", "-o", "json"])
    }

    /// The same with a digest of what each member of a group holds.
    ///
    /// # Errors
    /// As [`Cluster::status`].
    pub fn status_with_digests(&self) -> Result<Status, Error> {
        self.said(&["status", "-o", "json", "--digests"])
    }

    /// What `cairn slots -o json` says.
    ///
    /// # Errors
    /// If it fails, or prints something else.
    pub fn slots(&self) -> Result<SlotMap, Error> {
        self.said(&["slots", "-o", "json"])
    }

    fn said<T: for<'de> Deserialize<'de>>(&self, words: &[&str]) -> Result<T, Error> {
        let text = self.cairn(words)?;
        serde_json::from_str(&text).map_err(|error| Error::Failed {
            line: format!("cairn {}", words.join(" ")),
            complaint: format!("{error} in: {text}"),
        })
    }

    /// The groups by name, each once, however many ranges of slots it has since some have moved,
    /// and with a master that clients are sent to.
    ///
    /// None while that is not so.
    pub fn groups(&self) -> Option<Vec<GroupStatus>> {
        let mut client = Client::new(&self.seeds(), Patience::default());
        if !client.refresh() || !client.routes().is_covered() {
            return None;
        }
        let groups = self.status().ok()?.groups;
        let mut found: BTreeMap<_, GroupStatus> = BTreeMap::new();
        for range in client.routes().ranges() {
            let node = self.nodes.iter().find(|node| node.redis() == range.master)?;
            let group = groups.iter().find(|group| group.master.as_ref() == Some(&node.id))?;
            found.insert(group.id.clone(), group.clone());
        }
        Some(found.into_values().collect())
    }

    /// The groups as soon as clients are sent to a master of each, which may take a moment after
    /// any change; `None` if it takes longer than `GROUPS_LIMIT`.
    pub fn wait_groups(&self) -> Option<Vec<GroupStatus>> {
        let mut groups = None;
        wait_until(GROUPS_LIMIT, Duration::from_millis(200), || {
            groups = self.groups();
            groups.is_some()
        });
        groups
    }

    /// The process of a node, if it runs.
    ///
    /// # Errors
    /// If the supervisor's file cannot be read.
    pub fn pid(&self, node: &str) -> Result<Option<i32>, Error> {
        #[derive(Deserialize)]
        struct Processes {
            nodes: BTreeMap<String, Process>,
        }
        #[derive(Deserialize)]
        struct Process {
            run: String,
            identity: Option<Identity>,
        }
        #[derive(Deserialize)]
        struct Identity {
            pid: i32,
        }
        let processes: Processes = read_json(&self.folder.join("processes.json"))?;
        let process = processes.nodes.get(node).filter(|process| process.run == "running");
        Ok(process.and_then(|process| process.identity.as_ref()).map(|identity| identity.pid))
    }

    /// Kills a node's process; it is started again at once unless it is to `stay_down`.
    ///
    /// # Errors
    /// If the command fails.
    pub fn kill(&self, node: &str, stay_down: bool) -> Result<(), Error> {
        let arguments = ["kill", node, "--stay-down"];
        self.cairn(&arguments[..if stay_down { 3 } else { 2 }]).map(drop)
    }

    /// Starts a node that was stopped, or killed to stay down.
    ///
    /// # Errors
    /// If the command fails.
    pub fn start(&self, node: &str) -> Result<(), Error> {
        self.cairn(["start", node]).map(drop)
    }

    /// Stops a node's process in its tracks; it keeps its connections and answers nobody.
    ///
    /// # Errors
    /// If it does not run.
    pub fn freeze(&self, node: &str) -> Result<(), Error> {
        self.signal(node, Signal::STOP)
    }

    /// Kills a node's process without asking its supervisor, who starts it again.
    ///
    /// # Errors
    /// If it does not run.
    pub fn crash(&self, node: &str) -> Result<(), Error> {
        self.signal(node, Signal::KILL)
    }

    /// Lets a frozen process go on.
    ///
    /// # Errors
    /// If it does not run.
    pub fn thaw(&self, node: &str) -> Result<(), Error> {
        self.signal(node, Signal::CONT)
    }

    fn signal(&self, node: &str, signal: Signal) -> Result<(), Error> {
        let trouble = |what: String| Error::Node { node: node.to_owned(), what };
        let pid = self.pid(node)?.and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| trouble("does not run".into()))?;
        kill_process(pid, signal).map_err(|error| trouble(error.to_string()))
    }

    /// Takes everything out of a dead node's data folder, as if its disk had been replaced.
    ///
    /// What was in it is put aside, for a person to look at after a failed test.
    ///
    /// # Errors
    /// If the node runs, or the folder cannot be moved.
    pub fn empty_folder(&self, node: &str) -> Result<(), Error> {
        let stopped = wait_until(Duration::from_secs(5), Duration::from_millis(20), || {
            self.pid(node).is_ok_and(|pid| pid.is_none())
        });
        if !stopped {
            return Err(Error::Node { node: node.to_owned(), what: "still runs".into() });
        }
        let number = self.emptied.fetch_add(1, Ordering::Relaxed) + 1;
        let from = self.folder.join("data").join(node);
        let aside = self.folder.join("emptied");
        std::fs::create_dir_all(&aside)
            .map_err(|source| Error::File { path: aside.clone(), source })?;
        std::fs::rename(&from, aside.join(format!("{number}-{node}")))
            .map_err(|source| Error::File { path: from, source })
    }

    /// Waits until nothing is missing: every node answers, every group is served and has all its
    /// members, none of which learns or lags, and clients are told so. At most for `limit`; what
    /// is missing then.
    pub fn wait_whole(&self, limit: Duration) -> Vec<String> {
        let mut faults = Vec::new();
        wait_until(limit, Duration::from_millis(200), || {
            faults = match self.status() {
                Ok(status) => status.faults(),
                Err(error) => vec![error.to_string()],
            };
            if faults.is_empty() && self.groups().is_none() {
                faults.push("clients are not told a master for each slot".into());
            }
            faults.is_empty()
        });
        faults
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !self.kept.load(Ordering::Relaxed) && self.folder.join("cluster.json").exists() {
            // Nothing can be done about a failure here, but nobody should have to guess it.
            if let Err(error) = self.cairn(["down", "--purge", "--yes"]) {
                eprintln!("harness: {error}");
            }
        }
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Error> {
    let trouble = |source| Error::File { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(trouble)?;
    serde_json::from_str(&text).map_err(|error| trouble(error.into()))
}
