//! The two sides of a comparison of group failovers, seen as one thing.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::cluster::Cluster;
use cairn_harness::status::GroupStatus;

use crate::product;

/// How long a cluster may take until nothing is missing.
pub const WHOLE_LIMIT: Duration = Duration::from_secs(120);

/// Waits until nothing of ours is missing.
///
/// # Errors
/// If something still is, in the end.
pub fn wait_whole(cluster: &Cluster) -> Result<()> {
    let faults = cluster.wait_whole(WHOLE_LIMIT);
    ensure!(faults.is_empty(), "Cairn is not whole: {}", faults.join("; "));
    Ok(())
}

/// A cluster that Redis Cluster clients use, and what is done to it.
pub trait Side {
    /// What it is called in tables.
    fn name(&self) -> &str;

    /// Where clients may ask for the routes.
    fn seeds(&self) -> Vec<String>;

    /// Who masters a slot range, counted from 0 in the order of the slots.
    ///
    /// # Errors
    /// If nobody is known to.
    fn master(&self, range: usize) -> Result<String>;

    /// Kills a node with SIGKILL; returns when it is dead, and it stays so.
    ///
    /// # Errors
    /// If it does not run.
    fn kill(&mut self, node: &str) -> Result<()>;

    /// Starts a node that was killed.
    ///
    /// # Errors
    /// If it cannot be started.
    fn revive(&mut self, node: &str) -> Result<()>;

    /// Hands the mastership of a range over as an administrator would; returns when that is done.
    ///
    /// # Errors
    /// If it does not happen.
    fn hand_over(&mut self, range: usize) -> Result<()>;

    /// Stops a node in its tracks, or lets it go on.
    ///
    /// # Errors
    /// If it does not run.
    fn freeze(&mut self, node: &str, stop: bool) -> Result<()>;

    /// Waits until nothing is missing.
    ///
    /// # Errors
    /// If something still is, in the end.
    fn wait_whole(&mut self) -> Result<()>;
}

/// A local cluster of ours, with the settings that everybody gets.
#[derive(Debug)]
pub struct Cairn {
    cluster: Cluster,
}

impl Cairn {
    /// Starts one with two global nodes, an acceptor, and two groups of three.
    ///
    /// # Errors
    /// If it does not start.
    pub fn start(programs: &Path, name: &str) -> Result<Self> {
        let cluster = product::cluster(programs, name, "xtask/clusters/faults.yaml")?;
        Ok(Self { cluster })
    }

    /// The group that has a slot range.
    fn group(&self, range: usize) -> Result<GroupStatus> {
        let groups =
            self.cluster.wait_groups().context("clients are not told a master of each slot")?;
        groups.into_iter().nth(range).context("there is no such range")
    }
}

impl Side for Cairn {
    fn name(&self) -> &'static str {
        "Cairn"
    }

    fn seeds(&self) -> Vec<String> {
        self.cluster.seeds()
    }

    fn master(&self, range: usize) -> Result<String> {
        self.group(range)?.master.context("the group has no master")
    }

    fn kill(&mut self, node: &str) -> Result<()> {
        Ok(self.cluster.kill(node, true)?)
    }

    fn revive(&mut self, node: &str) -> Result<()> {
        Ok(self.cluster.start(node)?)
    }

    fn hand_over(&mut self, range: usize) -> Result<()> {
        let said = self.cluster.cairn(["failover", &self.group(range)?.id])?;
        println!("{}", said.trim());
        Ok(())
    }

    fn freeze(&mut self, node: &str, stop: bool) -> Result<()> {
        let done = if stop { self.cluster.freeze(node) } else { self.cluster.thaw(node) };
        Ok(done?)
    }

    fn wait_whole(&mut self) -> Result<()> {
        wait_whole(&self.cluster)
    }
}
