//! A side: who is measured, ours or the peer's, each a master and a replica.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::client::Frame;
use cairn_harness::clock::{wait, wait_until};
use cairn_harness::cluster::Cluster;

use crate::bench::data_plane::master;
use crate::bench::server::{Peer, Server, field, rss_bytes};
use crate::janitor::Janitor;
use crate::product;

/// For a server to hold what it shall, and between two looks.
const SETTLE_MAX: Duration = Duration::from_secs(180);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The group, with what a keyspace has if nothing is said but that nobody is a backup.
const RESOURCES: &str = "xtask/clusters/churn.yaml";
const CLUSTER: &str = "bench-churn";

/// Who ends what still runs when this process is gone; first of all, so that it goes last.
pub fn janitor(programs: &Path) -> Result<Janitor> {
    let folder = product::target_folder().join("clusters").join(CLUSTER);
    std::fs::create_dir_all(folder.parent().context("a folder has a parent")?)?;
    // It is told the peers' processes; a number may be somebody else's by then.
    let script = r#"pids=$(cat)
for pid in $pids; do
  case "$(cat /proc/$pid/comm 2> /dev/null)" in valkey-server*) kill -9 $pid;; esac
done
[ ! -e "$2/cluster.json" ] || "$1" down --purge --yes --dir "$2" > /dev/null 2>&1"#;
    let cairn = programs.join("cairn");
    let arguments: [&OsStr; 2] = [cairn.as_os_str(), folder.as_os_str()];
    Janitor::hire(&folder.with_extension("lock"), script, &arguments)
}

/// One side.
#[derive(Debug)]
pub struct Side {
    /// `Cairn` or `Valkey`.
    pub name: &'static str,
    nodes: Nodes,
}

#[derive(Debug)]
enum Nodes {
    Ours(Cluster),
    Theirs { master: Peer, replica: Peer },
}

impl Side {
    /// Starts a group of a master and a replica.
    ///
    /// # Errors
    /// If it does not come up whole.
    pub fn ours(programs: &Path) -> Result<Self> {
        let cluster = product::cluster(programs, CLUSTER, RESOURCES)?;
        Ok(Self { name: "Cairn", nodes: Nodes::Ours(cluster) })
    }

    /// Starts a Valkey master and its replica, without persistence.
    ///
    /// # Errors
    /// If they do not start.
    pub fn theirs(folder: &Path, janitor: &mut Janitor) -> Result<Self> {
        let master = Peer::valkey(folder, None)?;
        janitor.tell(&master.server.pid.to_string())?;
        let replica = Peer::valkey(folder, Some(&master.server))?;
        janitor.tell(&replica.server.pid.to_string())?;
        Ok(Self { name: "Valkey", nodes: Nodes::Theirs { master, replica } })
    }

    /// Who takes the writes now.
    ///
    /// # Errors
    /// If nobody does.
    pub fn master(&self) -> Result<Server> {
        match &self.nodes {
            Nodes::Ours(cluster) => master(cluster),
            Nodes::Theirs { master, .. } => Ok(master.server.clone()),
        }
    }

    /// Who follows now.
    ///
    /// # Errors
    /// If nobody does.
    pub fn replica(&self) -> Result<Server> {
        let cluster = match &self.nodes {
            Nodes::Ours(cluster) => cluster,
            Nodes::Theirs { replica, .. } => return Ok(replica.server.clone()),
        };
        let groups = cluster.wait_groups().context("clients are not told a master")?;
        let group = groups.first().context("there is no group")?;
        let other = group.members.iter().find(|member| Some(&member.id) != group.master.as_ref());
        let id = &other.context("the group has no replica")?.id;
        let node = cluster.nodes().iter().find(|node| node.id == *id);
        let address = node.context("the replica is no node")?.redis().parse()?;
        let pid = cluster.pid(id)?.context("the replica does not run")?;
        Ok(Server { address, pid: u32::try_from(pid)? })
    }

    /// Waits until master and replica hold just so many keys and are quiet for a while; what both
    /// processes hold of memory then.
    ///
    /// # Errors
    /// If they do not in the end.
    pub fn settle(&self, keys: u64, quiet: Duration) -> Result<Memory> {
        let (master, replica) = (self.master()?, self.replica()?);
        for server in [&master, &replica] {
            let mut held = 0;
            let settled = wait_until(SETTLE_MAX, LOOK_EVERY, || {
                held = count(server).unwrap_or(0);
                held == keys && pending(server) == Some(0)
            });
            // What is missing is told in the verdict; here only what must come to its end.
            if !settled {
                println!("{}: {} holds {held} keys, not {keys}", self.name, server.address);
            }
        }
        wait(quiet);
        Memory::of(&master, &replica)
    }

    /// How many keys master and replica hold.
    ///
    /// # Errors
    /// If one does not say.
    pub fn keys(&self) -> Result<[u64; 2]> {
        Ok([count(&self.master()?)?, count(&self.replica()?)?])
    }
}

/// What both processes of a side hold of memory, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    pub master: u64,
    pub replica: u64,
}

impl Memory {
    /// What they hold now.
    ///
    /// # Errors
    /// If one is gone.
    pub fn of(master: &Server, replica: &Server) -> Result<Self> {
        Ok(Self { master: rss_bytes(master.pid)?, replica: rss_bytes(replica.pid)? })
    }
}

/// Also a replica says so, whom nobody has told that what it has may be old.
fn count(server: &Server) -> Result<u64> {
    let info = server.info("keyspace")?;
    Ok(field(&info, "db0:keys=").unwrap_or(0))
}

/// Values that are still to be freed beside the data thread.
fn pending(server: &Server) -> Option<u64> {
    field(&server.info("memory").ok()?, "lazyfree_pending_objects:")
}

/// What a server counts of itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clients that were refused or closed because of a limit.
    pub refused: u64,
    /// Turns of the data thread over 20 ms; the peer counts none.
    pub long_turns: u64,
}

impl Counts {
    /// What it counts now.
    ///
    /// # Errors
    /// If it does not say.
    pub fn of(server: &Server) -> Result<Self> {
        let info = server.info("stats")?;
        ensure!(info.contains("rejected_connections:"), "INFO counts no refused clients");
        let sum = |names: &[&str]| names.iter().filter_map(|name| field(&info, name)).sum();
        let refused = sum(&[
            "rejected_connections:",
            "client_query_buffer_limit_disconnections:",
            "client_output_buffer_limit_disconnections:",
        ]);
        Ok(Self { refused, long_turns: sum(&["long_turns:"]) })
    }
}

/// Begins to watch what takes long at a server, from 1 ms on.
///
/// # Errors
/// If it refuses.
pub fn watch(server: &Server) -> Result<()> {
    for command in [
        &[b"CONFIG".as_slice(), b"SET", b"latency-monitor-threshold", b"1"][..],
        &[b"LATENCY".as_slice(), b"RESET"],
    ] {
        if let Frame::Error(error) = server.ask(command)? {
            bail!("{} refuses to watch what takes long: {error}", server.address);
        }
    }
    Ok(())
}

/// The longest thing since then, in milliseconds, and what it was, as the server says.
///
/// # Errors
/// If it does not say.
pub fn longest(server: &Server) -> Result<(f64, String)> {
    let answer = server.ask(&[b"LATENCY", b"LATEST"])?;
    let events = answer.elements().with_context(|| format!("LATENCY LATEST: {answer:?}"))?;
    let event = |event: &Frame| {
        let parts = event.elements()?;
        Some((parts.get(3)?.integer()? as f64, parts.first()?.text()?))
    };
    let all = events.iter().filter_map(event);
    Ok(all.max_by(|one, other| one.0.total_cmp(&other.0)).unwrap_or_default())
}
