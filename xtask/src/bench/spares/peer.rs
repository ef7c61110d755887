//! The peer of slot moves: a Valkey cluster of two masters with a replica each.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::client::{Client, Patience};
use cairn_harness::clock::{wait, wait_until};

use super::ours::LIMIT;
use crate::bench::server::{Peer, Server, free_address};
use crate::janitor::Janitor;
use crate::run::{command, line_of};

/// How many servers there are: two masters, then the replica of each.
const SERVERS: usize = 4;
/// How often other ports are tried.
const PORT_TRIES: usize = 5;
/// For one resharding.
const RESHARD_MAX: Duration = Duration::from_secs(1800);

/// The servers; they are ended when this is dropped.
#[derive(Debug)]
pub struct Theirs {
    peers: Vec<Peer>,
    ids: Vec<String>,
    folder: PathBuf,
}

impl Theirs {
    /// Starts them with the server's settings but no persistence; the first one has all slots.
    ///
    /// # Errors
    /// If they do not become a cluster.
    pub fn start(folder: &Path, janitor: &mut Janitor) -> Result<Self> {
        println!("starting a Valkey cluster of two masters and their replicas");
        let mut peers = Vec::new();
        for _ in 0..SERVERS {
            let peer = start(folder)?;
            janitor.tell(&peer.server.pid.to_string())?;
            peers.push(peer);
        }
        let mut theirs = Self { peers, ids: Vec::new(), folder: folder.to_owned() };
        theirs.join()?;
        Ok(theirs)
    }

    fn join(&mut self) -> Result<()> {
        for (number, peer) in self.peers.iter().enumerate() {
            let id = peer.server.ask(&[b"CLUSTER", b"MYID"])?.text();
            self.ids.push(id.context("a server has no name")?);
            order(&peer.server, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()])?;
        }
        let first = &self.peers[0].server;
        order(first, &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])?;
        for peer in &self.peers[1..] {
            let (host, port) = (peer.server.address.ip(), peer.server.address.port());
            let bus = bus_of(port).to_string();
            let words = ["CLUSTER", "MEET", &host.to_string(), &port.to_string(), &bus];
            order(first, &words)?;
        }
        self.wait_all(&["cluster_state:ok", "cluster_known_nodes:4"])?;
        for (replica, master) in [(2, 0), (3, 1)] {
            order(&self.peers[replica].server, &["CLUSTER", "REPLICATE", &self.ids[master]])?;
        }
        self.wait_whole()
    }

    fn wait_all(&self, words: &[&str]) -> Result<()> {
        let all = || {
            self.peers.iter().all(|peer| {
                let info = peer.server.ask(&[b"CLUSTER", b"INFO"]).ok().and_then(|it| it.text());
                info.is_some_and(|info| words.iter().all(|word| info.contains(word)))
            })
        };
        let done = wait_until(LIMIT, Duration::from_millis(100), all);
        ensure!(done, "the Valkey servers do not all say {}", words.join(", "));
        Ok(())
    }

    /// Waits until the replicas follow.
    ///
    /// # Errors
    /// If they do not in the end.
    pub fn wait_whole(&self) -> Result<()> {
        self.wait_all(&["cluster_state:ok"])?;
        let follow = || {
            self.peers[2..].iter().all(|peer| {
                let info = peer.server.info("replication").unwrap_or_default();
                info.contains("role:slave") && info.contains("master_link_status:up")
            })
        };
        let done = wait_until(LIMIT, Duration::from_millis(100), follow);
        ensure!(done, "the Valkey replicas do not follow");
        Ok(())
    }

    /// Where clients may ask for the routes.
    pub fn seeds(&self) -> Vec<String> {
        self.peers.iter().map(|peer| peer.server.address.to_string()).collect()
    }

    /// A master: 0 or 1.
    pub fn master(&self, number: usize) -> &Server {
        &self.peers[number].server
    }

    /// Moves slots from one master to the other as an administrator would.
    ///
    /// # Errors
    /// If that fails, or takes too long.
    pub fn reshard(&self, slots: u16, from: usize, to: usize) -> Result<()> {
        let address = self.peers[0].server.address.to_string();
        let mut cli = command("valkey-cli", ["--cluster", "reshard", &address]);
        cli.args(["--cluster-from", &self.ids[from], "--cluster-to", &self.ids[to]]);
        cli.args(["--cluster-slots", &slots.to_string(), "--cluster-yes"]);
        let line = line_of(&cli);
        let log = self.folder.join("reshard.log");
        let out = File::create(&log).with_context(|| format!("cannot make {log:?}"))?;
        let errors = out.try_clone().context("cannot share a log")?;
        let child = cli.stdin(Stdio::null()).stdout(out).stderr(errors).spawn();
        let mut child = child.with_context(|| format!("cannot run {line}"))?;
        let began = Instant::now();
        loop {
            if let Some(status) =
                child.try_wait().with_context(|| format!("cannot await {line}"))?
            {
                ensure!(status.success(), "{line}: {status}; see {log:?}");
                return Ok(());
            }
            if began.elapsed() > RESHARD_MAX {
                // It is of no use any more.
                let _ = child.kill();
                let _ = child.wait();
                bail!("{line} has not ended in {} s; see {log:?}", RESHARD_MAX.as_secs());
            }
            wait(Duration::from_millis(10));
        }
    }

    /// Waits until all servers agree about who has how many slots.
    ///
    /// # Errors
    /// If they do not in the end.
    pub fn wait_agreed(&self, second: u16) -> Result<()> {
        let to = self.peers[1].server.address.to_string();
        let agreed = || {
            self.seeds().into_iter().all(|seed| slots_of(&[seed], &to) == Some(f64::from(second)))
        };
        let done = wait_until(LIMIT, Duration::from_millis(100), agreed);
        ensure!(done, "the Valkey servers do not agree about their slots");
        Ok(())
    }
}

/// How many slots clients are told that `master` has; none if nobody tells.
pub fn slots_of(seeds: &[String], master: &str) -> Option<f64> {
    let mut client = Client::new(seeds, Patience::default());
    client.refresh().then(|| {
        let mine = client.routes().ranges().iter().filter(|range| range.master == master);
        mine.map(|range| f64::from(range.last - range.first) + 1.0).sum()
    })
}

/// Somebody else may have taken a port that was free a moment ago.
fn start(folder: &Path) -> Result<Peer> {
    let mut last = None;
    for _ in 0..PORT_TRIES {
        let address = free_address()?;
        let bus = bus_of(address.port());
        if std::net::TcpListener::bind((address.ip(), bus)).is_err() {
            continue;
        }
        let folder = folder.join(format!("valkey-{}", address.port()));
        // An empty master must not become a replica when its last slot goes.
        let more = ["--cluster-enabled", "yes", "--cluster-allow-replica-migration", "no"];
        let port = bus.to_string();
        let more: Vec<&str> = more.into_iter().chain(["--cluster-port", &port]).collect();
        match Peer::valkey_with(address, &folder, &more) {
            Ok(peer) => return Ok(peer),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error),
        None => bail!("no two ports are free for a Valkey server"),
    }
}

/// The port of a server's cluster bus: one that is next to its own.
fn bus_of(port: u16) -> u16 {
    if port == u16::MAX { port - 1 } else { port + 1 }
}

fn order(server: &Server, words: &[&str]) -> Result<()> {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let answer = server.ask(&words)?;
    let line = String::from_utf8_lossy(&words.join(&b' ')).into_owned();
    ensure!(answer.text().as_deref() == Some("OK"), "{line}: {answer:?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bus_has_another_port() {
        assert_eq!((bus_of(7000), bus_of(u16::MAX)), (7001, u16::MAX - 1));
    }
}
