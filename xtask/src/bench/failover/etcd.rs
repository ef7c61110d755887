//! Three members of etcd with default settings.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait_until;
use serde_json::Value;

use crate::bench::server::free_address;
use crate::run::read;

const MEMBERS: usize = 3;
const HEALTHY_LIMIT: Duration = Duration::from_secs(60);

/// Three processes of etcd; they are ended when this is dropped.
#[derive(Debug)]
pub struct Etcd {
    tools: PathBuf,
    folder: PathBuf,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    client: SocketAddr,
    peer: SocketAddr,
    child: Option<Child>,
}

impl Etcd {
    /// Starts a fresh cluster and waits until it is healthy.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(tools: &Path, folder: &Path) -> Result<Self> {
        let member = |_| {
            let (client, peer) = (free_address()?, free_address()?);
            anyhow::Ok(Member { client, peer, child: None })
        };
        let members = (0..MEMBERS).map(member).collect::<Result<_>>()?;
        let mut etcd = Self { tools: tools.to_owned(), folder: folder.join("etcd"), members };
        println!("starting etcd with {MEMBERS} members in {}", etcd.folder.display());
        for at in 0..MEMBERS {
            etcd.spawn(at)?;
        }
        etcd.wait_healthy()?;
        Ok(etcd)
    }

    /// Where clients reach the members.
    pub fn clients(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.to_string()).collect()
    }

    /// Starts a member, for the first time or again.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn spawn(&mut self, at: usize) -> Result<()> {
        let peers = self.members.iter().enumerate();
        let all: Vec<String> =
            peers.map(|(at, member)| format!("m{at}=http://{}", member.peer)).collect();
        let folder = self.folder.join(format!("m{at}"));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        let member = &mut self.members[at];
        let client = format!("http://{}", member.client);
        let peer = format!("http://{}", member.peer);
        let mut command = Command::new(self.tools.join("etcd"));
        command.arg("--data-dir").arg(folder.join("data")).args(["--name", &format!("m{at}")]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &all.join(","), "--log-level", "error"]);
        let log = folder.join("log");
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot make {log:?}"))?;
        let errors = file.try_clone().context("cannot share a log")?;
        let child = command.stdin(Stdio::null()).stdout(file).stderr(errors).spawn();
        member.child = Some(child.context("cannot run etcd")?);
        Ok(())
    }

    /// Kills a member with SIGKILL.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&mut self, at: usize) -> Result<()> {
        let mut child = self.members[at].child.take().context("the member does not run")?;
        child.kill().context("cannot kill etcd")?;
        child.wait().context("cannot wait for etcd")?;
        Ok(())
    }

    /// Which member leads.
    ///
    /// # Errors
    /// If none is known to.
    pub fn leader(&self) -> Result<usize> {
        let text = self.ask(&["endpoint", "status", "-w", "json"])?;
        let leader = leader_of(&text).context("etcd names no leader")?;
        let at = self.members.iter().position(|member| member.client.to_string() == leader);
        at.with_context(|| format!("{leader} is no member"))
    }

    /// Waits until all members are healthy and one leads.
    ///
    /// # Errors
    /// If that does not come to be.
    pub fn wait_healthy(&self) -> Result<()> {
        let healthy = || self.ask(&["endpoint", "health"]).is_ok() && self.leader().is_ok();
        let done = wait_until(HEALTHY_LIMIT, Duration::from_millis(200), healthy);
        ensure!(done, "etcd is not healthy; see {:?}", self.folder);
        Ok(())
    }

    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let mut etcdctl = Command::new(self.tools.join("etcdctl"));
        etcdctl.args(["--endpoints", &self.clients().join(","), "--command-timeout", "2s"]);
        read(etcdctl.args(arguments))
    }
}

/// The endpoint that is the leader, by `etcdctl endpoint status -w json`.
fn leader_of(text: &str) -> Option<String> {
    let all: Value = serde_json::from_str(text).ok()?;
    all.as_array()?.iter().find_map(|one| {
        let status = one.get("Status")?;
        let own = status.get("header")?.get("member_id")?.as_u64()?;
        let is_leader = status.get("leader")?.as_u64()? == own;
        let endpoint = one.get("Endpoint")?.as_str()?.to_owned();
        is_leader.then_some(endpoint)
    })
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in self.members.iter_mut().filter_map(|member| member.child.as_mut()) {
            // It holds nothing that anybody wants to keep.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_the_member_that_names_itself() {
        let one = |endpoint, id: u64, leader: u64| {
            format!(
                r#"{{"Endpoint":"{endpoint}","Status":{{"header":{{"member_id":{id}}},
                "version":"3.6.6","leader":{leader},"raftIndex":9}}}}"#
            )
        };
        let big = 13_803_658_152_347_727_308;
        let all = format!("[{},{}]", one("127.0.0.1:1", 7, big), one("127.0.0.1:2", big, big));
        assert_eq!(leader_of(&all).as_deref(), Some("127.0.0.1:2"));
        assert_eq!(leader_of(&format!("[{}]", one("127.0.0.1:1", 7, 0))), None);
        assert_eq!(leader_of("[]"), None);
    }
}
