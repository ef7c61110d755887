//! Keeps the nodes of a local cluster running.
//!
//! One process per cluster, started by `up` (or being it, with `--foreground`). It alone starts
//! and signals nodes. A node that ends without being told to is started again, later each time; one
//! that was stopped on purpose is not. If the supervisor dies, the kernel tells every node to stop
//! ([`exec_node`]), so that nobody is left behind.

pub mod control;
mod logs;
mod node;

use crate::folder::{ClusterState, Folder, LocalNode, read_json, write_json};
use crate::process::Identity;
use anyhow::{Context, Result, bail};
use cairn_logic::ids::NodeId;
use cairn_settings::NodeRole;
use control::{Reply, Request};
use node::Order;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How long a node may take to stop gracefully before it is killed.
pub const GRACE: Duration = Duration::from_secs(20);

/// What a node's process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Run {
    /// It runs.
    Running,
    /// It ended by itself and is started again after a pause.
    Waiting,
    /// It was stopped on purpose.
    Stopped,
}

/// One node's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// What it is doing.
    pub run: Run,
    /// The process, while it runs.
    pub identity: Option<Identity>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it last ended.
    pub last_exit: Option<String>,
}

/// `processes.json`: what the supervisor says of itself and of the nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// The supervisor.
    pub supervisor: Identity,
    /// Every node's process.
    pub nodes: BTreeMap<NodeId, Process>,
}

impl Processes {
    /// What was last said in `folder`; perhaps long ago.
    pub fn load(folder: &Folder) -> Result<Option<Self>> {
        read_json(&folder.processes())
    }

    /// Nodes that still run although they may have no supervisor any more.
    pub fn alive(&self) -> impl Iterator<Item = (&NodeId, &Identity)> {
        self.nodes
            .iter()
            .filter_map(|(id, p)| p.identity.as_ref().map(|i| (id, i)))
            .filter(|(_, identity)| identity.is_alive())
    }
}

/// The table of processes, kept in a file as it changes.
#[derive(Clone)]
struct Table {
    processes: Arc<Mutex<Processes>>,
    path: PathBuf,
}

impl Table {
    fn get(&self) -> Processes {
        self.processes.lock().expect("no holder of the table panics").clone()
    }

    /// Changes one node's row; a file that cannot be written is reported, and nothing else.
    fn set(&self, id: &NodeId, change: impl FnOnce(&mut Process)) {
        let mut processes = self.processes.lock().expect("no holder of the table panics");
        if let Some(process) = processes.nodes.get_mut(id) {
            change(process);
        }
        if let Err(error) = write_json(&self.path, &*processes) {
            eprintln!("cairn supervisor: {error:#}");
        }
    }
}

/// A supervisor that holds its folder's lock and socket, before it starts anything.
pub struct Supervisor {
    folder: Folder,
    state: ClusterState,
    listener: UnixListener,
    table: Table,
    _lock: File,
}

impl Supervisor {
    /// Takes the folder; fails if another supervisor has it.
    pub fn take(folder: &Folder) -> Result<Self> {
        let state = folder.state()?;
        let path = folder.lock();
        let lock = File::create(&path).with_context(|| format!("cannot open {path:?}"))?;
        let operation = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        if rustix::fs::flock(&lock, operation).is_err() {
            bail!("the cluster in {:?} is already up", folder.path());
        }
        let listener = control::listen(folder)?;
        let nodes = state.nodes.iter().map(|n| (n.id.clone(), stopped())).collect();
        let processes = Processes { supervisor: Identity::own()?, nodes };
        write_json(&folder.processes(), &processes)?;
        let table = Table { processes: Arc::new(Mutex::new(processes)), path: folder.processes() };
        Ok(Self { folder: folder.clone(), state, listener, table, _lock: lock })
    }

    /// Runs all nodes until `stop` is done or somebody asks for the end; then stops them.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<Vec<String>> {
        let mut tasks = JoinSet::new();
        let mut orders = BTreeMap::new();
        for node in &self.state.nodes {
            let (sender, receiver) = mpsc::channel(16);
            orders.insert(node.id.clone(), sender);
            let task = node::Task::new(&self.folder, &self.state, node, self.table.clone());
            tasks.spawn(task.run(receiver));
        }
        let (arrived, mut requests) = mpsc::channel(16);
        let doors = control::serve(self.listener, arrived);
        let logs = logs::watch(self.folder.clone(), &self.state);
        tokio::pin!(stop, logs, doors);
        let asked = loop {
            tokio::select! {
                () = &mut stop => break None,
                () = &mut logs => {}
                () = &mut doors => {}
                Some((request, answer)) = requests.recv() => {
                    if request == Request::Down {
                        break Some(answer);
                    }
                    let (orders, table) = (orders.clone(), self.table.clone());
                    tokio::spawn(async move {
                        answer.send(&perform(request, &orders, &table).await).await;
                    });
                }
            }
        };
        let killed = stop_all(&self.state.nodes, &orders).await;
        drop(orders);
        tasks.join_all().await;
        let _ = std::fs::remove_file(self.folder.socket());
        if let Some(answer) = asked {
            answer.send(&Reply::Down { killed: killed.clone() }).await;
        }
        Ok(killed)
    }
}

fn stopped() -> Process {
    Process { run: Run::Stopped, identity: None, restarts: 0, last_exit: None }
}

async fn perform(
    request: Request,
    orders: &BTreeMap<NodeId, mpsc::Sender<Order>>,
    table: &Table,
) -> Reply {
    let (node, order): (String, fn(oneshot::Sender<String>) -> Order) = match request {
        Request::Status => return Reply::Status(table.get()),
        Request::Stop { node } => (node, Order::Stop),
        Request::Start { node } => (node, Order::Start),
        Request::Kill { node, stay_down: true } => (node, Order::KillAndStayDown),
        Request::Kill { node, stay_down: false } => (node, Order::Kill),
        Request::Down => return Reply::Error("the end is handled by the caller".to_owned()),
    };
    let Some(sender) = orders.get(&NodeId::new(&node)) else {
        return Reply::Error(format!("there is no node {node:?}"));
    };
    let (answer, answered) = oneshot::channel();
    if sender.send(order(answer)).await.is_err() {
        return Reply::Error(format!("node {node} is being stopped for good"));
    }
    match answered.await {
        Ok(done) => Reply::Done(done),
        Err(_) => Reply::Error(format!("node {node} is being stopped for good")),
    }
}

/// Stops data nodes, then global nodes, then acceptors: each kind needs the next one to the end.
/// Returns what had to be killed.
async fn stop_all(
    nodes: &[LocalNode],
    orders: &BTreeMap<NodeId, mpsc::Sender<Order>>,
) -> Vec<String> {
    let mut killed = Vec::new();
    // Without the global plane no group changes while its members leave one after another.
    for role in [NodeRole::Global, NodeRole::Data, NodeRole::Checkpoint, NodeRole::Acceptor] {
        let mut stops = JoinSet::new();
        for node in nodes.iter().filter(|n| n.role == role).rev() {
            let sender = orders[&node.id].clone();
            let id = node.id.clone();
            stops.spawn(async move {
                let (answer, answered) = oneshot::channel();
                let sent = sender.send(Order::Stop(answer)).await;
                (id, if sent.is_ok() { answered.await.unwrap_or_default() } else { String::new() })
            });
        }
        while let Some(stopped) = stops.join_next().await {
            let Ok((id, how)) = stopped else { continue };
            if how.contains("killed") {
                killed.push(format!("{id} {how}"));
            }
        }
    }
    killed
}

/// Becomes the program `command`, which the kernel tells to stop when `parent` dies.
///
/// Returns only if that is not possible.
pub fn exec_node(parent: i32, command: &[OsString]) -> Result<()> {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    set_parent_process_death_signal(Some(Signal::TERM))
        .context("cannot ask to be told of the parent's death")?;
    // The parent may have died before that was asked for.
    if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
        bail!("the supervisor is gone");
    }
    let (program, arguments) = command.split_first().context("no program was given")?;
    let error = std::process::Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {program:?}"))
}
