//! A Valkey cluster of three masters with a replica each.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::client::{Client, Frame, Patience, Range};
use cairn_harness::clock::{wait, wait_until};
use rustix::process::{Pid, Signal, kill_process};

use super::side::{Side, WHOLE_LIMIT};
use crate::bench::server::{Server, free_address};
use crate::run::{command, read};

const NODES: usize = 6;
const MASTERS: usize = 3;
const START_LIMIT: Duration = Duration::from_secs(5);
/// How long a planned handover may take; the replica itself gives up after five seconds, and is
/// asked again then, as a person would.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(6);
const HAND_OVER_TRIES: usize = 3;
/// Between two handovers of one master: the others do not vote twice about one within twice the
/// node timeout of 15 s.
const HAND_OVER_REST: Duration = Duration::from_secs(31);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often other ports are tried.
const PORT_TRIES: usize = 5;

/// Six processes of valkey-server; they are ended when this is dropped.
#[derive(Debug)]
pub struct Valkey {
    name: String,
    more: Vec<String>,
    nodes: Vec<Node>,
    /// When each master was last handed over.
    handed: BTreeMap<String, Instant>,
}

#[derive(Debug)]
struct Node {
    address: SocketAddr,
    bus_port: u16,
    folder: PathBuf,
    child: Option<Child>,
}

impl Valkey {
    /// Starts one with the server's default settings but `more`, and waits until it is whole.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(folder: &Path, name: &str, more: &[&str]) -> Result<Self> {
        let more = more.iter().map(|&word| word.to_owned()).collect();
        let (nodes, handed) = (Vec::new(), BTreeMap::new());
        let mut valkey = Self { name: name.to_owned(), more, nodes, handed };
        for _ in 0..NODES {
            valkey.add(folder)?;
        }
        let mut create = command("valkey-cli", ["--cluster", "create"]);
        create.args(valkey.seeds());
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        read(&mut create)?;
        println!("starting a Valkey cluster: {name}");
        valkey.wait_whole()?;
        Ok(valkey)
    }

    /// Starts another server; somebody else may have taken a port that was free a moment ago.
    fn add(&mut self, folder: &Path) -> Result<()> {
        for tries_left in (0..PORT_TRIES).rev() {
            let (address, bus) = (free_address()?, free_address()?);
            let folder = folder.join(format!("valkey-{}", address.port()));
            std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
            self.nodes.push(Node { address, bus_port: bus.port(), folder, child: None });
            match self.spawn(self.nodes.len() - 1) {
                Err(error) if tries_left == 0 => return Err(error),
                Err(_) => drop(self.nodes.pop()),
                Ok(()) => break,
            }
        }
        Ok(())
    }

    fn spawn(&mut self, at: usize) -> Result<()> {
        let node = &mut self.nodes[at];
        let mut command = Command::new("valkey-server");
        command.args(["--cluster-enabled", "yes", "--bind", "127.0.0.1"]);
        command.arg("--port").arg(node.address.port().to_string());
        command.arg("--cluster-port").arg(node.bus_port.to_string());
        command.arg("--dir").arg(&node.folder).args(&self.more);
        let log = node.folder.join("log");
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot make {log:?}"))?;
        let child = command.stdin(Stdio::null()).stdout(file).spawn();
        let child = child.context("cannot run valkey-server")?;
        let server = Server { address: node.address, pid: child.id() };
        node.child = Some(child);
        let up = || server.ask(&[b"PING"]).is_ok();
        ensure!(
            wait_until(START_LIMIT, LOOK_EVERY, up),
            "valkey-server did not start; see {log:?}"
        );
        Ok(())
    }

    fn ranges(&self) -> Result<Vec<Range>> {
        let mut client = Client::new(&self.seeds(), Patience::default());
        ensure!(client.refresh(), "no node tells the routes");
        Ok(client.routes().ranges().to_vec())
    }

    fn range(&self, range: usize) -> Result<Range> {
        self.ranges()?.into_iter().nth(range).context("there is no such range")
    }

    fn server(&self, address: &str) -> Result<Server> {
        let node = self.nodes.iter().find(|node| node.address.to_string() == address);
        let node = node.with_context(|| format!("{address} is no node"))?;
        let child = node.child.as_ref().with_context(|| format!("{address} does not run"))?;
        Ok(Server { address: node.address, pid: child.id() })
    }

    /// What is missing, if something is.
    fn missing(&self) -> Result<Option<String>> {
        for node in &self.nodes {
            let info = self.server(&node.address.to_string())?.ask(&[b"CLUSTER", b"INFO"])?;
            let info = info.text().unwrap_or_default();
            if !info.contains("cluster_state:ok") || !info.contains("cluster_known_nodes:6") {
                return Ok(Some(format!("{} sees no whole cluster", node.address)));
            }
        }
        let ranges = self.ranges()?;
        if ranges.len() != MASTERS {
            return Ok(Some(format!("{} slot ranges", ranges.len())));
        }
        for range in ranges {
            let [replica] = &range.replicas[..] else {
                return Ok(Some(format!("{} has no replica", range.master)));
            };
            let info = self.server(replica)?.info("replication")?;
            if !info.contains("role:slave") || !info.contains("master_link_status:up") {
                return Ok(Some(format!("{replica} does not follow")));
            }
        }
        Ok(None)
    }
}

impl Side for Valkey {
    fn name(&self) -> &str {
        &self.name
    }

    fn seeds(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.address.to_string()).collect()
    }

    fn master(&self, range: usize) -> Result<String> {
        Ok(self.range(range)?.master)
    }

    fn kill(&mut self, node: &str) -> Result<()> {
        let found = self.nodes.iter_mut().find(|one| one.address.to_string() == node);
        let mut child = found.and_then(|node| node.child.take()).context("no such process")?;
        child.kill().context("cannot kill valkey-server")?;
        child.wait().context("cannot wait for valkey-server")?;
        Ok(())
    }

    fn revive(&mut self, node: &str) -> Result<()> {
        let at = self.nodes.iter().position(|one| one.address.to_string() == node);
        self.spawn(at.with_context(|| format!("{node} is no node"))?)
    }

    fn hand_over(&mut self, range: usize) -> Result<()> {
        let range = self.range(range)?;
        let replica = range.replicas.first().context("the range has no replica")?;
        let server = self.server(replica)?;
        let done = || server.info("replication").is_ok_and(|info| info.contains("role:master"));
        let rest =
            self.handed.get(&range.master).map(|at| HAND_OVER_REST.saturating_sub(at.elapsed()));
        wait(rest.unwrap_or_default());
        for _ in 0..HAND_OVER_TRIES {
            let answer = server.ask(&[b"CLUSTER", b"FAILOVER"])?;
            ensure!(answer == Frame::Simple("OK".into()), "CLUSTER FAILOVER: {answer:?}");
            if wait_until(HAND_OVER_LIMIT, LOOK_EVERY, done) {
                self.handed.insert(range.master, Instant::now());
                return Ok(());
            }
            println!("{replica} gave up becoming master");
        }
        bail!("{replica} did not become master")
    }

    fn freeze(&mut self, node: &str, stop: bool) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.server(node)?.pid)?);
        let signal = if stop { Signal::STOP } else { Signal::CONT };
        Ok(kill_process(pid.context("a process has a number")?, signal)?)
    }

    fn wait_whole(&mut self) -> Result<()> {
        let mut last = String::new();
        let whole = wait_until(WHOLE_LIMIT, Duration::from_millis(200), || match self.missing() {
            Ok(None) => true,
            Ok(Some(what)) => {
                last = what;
                false
            }
            Err(error) => {
                last = format!("{error:#}");
                false
            }
        });
        if !whole {
            bail!("{} is not whole: {last}", self.name);
        }
        Ok(())
    }
}

impl Drop for Valkey {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            // It holds nothing that anybody wants to keep.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
