//! Our side: a group of a master and a replica that writes snapshots.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use cairn_harness::clock::wait_until;
use cairn_harness::cluster::{Cluster, Node};
use serde_json::Value;

use super::Pace;
use super::figure::figure;

use super::trace::Span;
use crate::bench::data_plane::master;
use crate::bench::server::Server;
use crate::product;

/// The only group.
const GROUP: &str = "snapshots-0";
/// How often a node's log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How often is asked whether a member is in sync.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How often is asked how far a member is.
const NEAR_EVERY: Duration = Duration::from_millis(20);
/// A member follows if it has applied what its master had so long before, or later.
const NEAR: Duration = Duration::from_millis(500);

/// The group.
#[derive(Debug)]
pub struct Ours {
    cluster: Cluster,
    /// Who takes the writes.
    pub master: Server,
    replica: String,
}

/// What a line of the node's log says of a snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Done {
    pub span: Span,
    pub keys_per_second: f64,
    /// Of its file.
    pub bytes: u64,
}

impl Ours {
    /// Starts the cluster; `log` is the keyspace's `spec.log`.
    ///
    /// # Errors
    /// If it does not come up whole.
    pub fn start(programs: &Path, pace: Pace, log: &str) -> Result<Self> {
        let folder = product::target_folder().join("clusters");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        let path = folder.join("bench-snapshots.yaml");
        std::fs::write(&path, resources(pace, log))
            .with_context(|| format!("cannot write {path:?}"))?;
        let cluster = product::cluster(programs, "bench-snapshots", &path.to_string_lossy())?;
        let master = master(&cluster)?;
        let groups = cluster.wait_groups().context("clients are not told a master")?;
        let group = groups.first().context("there is no group")?;
        let other = group.members.iter().find(|member| Some(&member.id) != group.master.as_ref());
        let replica = other.context("the group has no replica")?.id.clone();
        Ok(Self { cluster, master, replica })
    }

    /// The processes that hold the keys, with their roles.
    ///
    /// # Errors
    /// If one does not run.
    pub fn processes(&self) -> Result<Vec<(String, u32)>> {
        let pid = self.cluster.pid(&self.replica)?.context("the replica does not run")?;
        let replica = ("Cairn, replica".to_owned(), u32::try_from(pid)?);
        Ok(vec![("Cairn, master".to_owned(), self.master.pid), replica])
    }

    /// Waits until the replica follows: it has applied what its master had less than half a second
    /// before.
    ///
    /// # Errors
    /// If it does not in the end.
    pub fn wait_follows(&self, limit: Duration) -> Result<()> {
        let master = self.node(None, Some(&self.master.address.to_string()))?;
        let replica = self.node(Some(&self.replica), None)?;
        let log = self.cluster.folder().join("logs").join(format!("{}.log", self.replica));
        let mut had: VecDeque<(Instant, f64)> = VecDeque::new();
        let follows = wait_until(limit, NEAR_EVERY, || {
            if let Some(last) = figure(&master, "cairn_node_last_offset") {
                had.push_back((Instant::now(), last));
            }
            while had.front().is_some_and(|(at, _)| at.elapsed() > NEAR) {
                had.pop_front();
            }
            let applied = figure(&replica, "cairn_node_applied_offset");
            let near = had.front().zip(applied).is_some_and(|((_, last), at)| at >= *last);
            // Entries may wait for a state that is still being loaded.
            near && has_loaded(&std::fs::read_to_string(&log).unwrap_or_default())
        });
        ensure!(follows, "the member does not follow its master");
        Ok(())
    }

    /// Listens to what the replica writes into its log from now on.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn ear(&self) -> Result<Ear> {
        Ear::of(&self.cluster, &self.replica)
    }

    /// Kills the replica, which stays dead.
    ///
    /// # Errors
    /// If it does not run.
    pub fn kill(&self) -> Result<()> {
        Ok(self.cluster.kill(&self.replica, true)?)
    }

    /// Has the replica write a snapshot, and waits until it is durable.
    ///
    /// # Errors
    /// If it writes none.
    pub fn snapshot(&self, limit: Duration) -> Result<()> {
        let mut ear = self.ear()?;
        std::thread::scope(|scope| {
            // It is told after a minute at the latest, so what counts is what the node says.
            scope.spawn(|| self.cluster.cairn(["checkpoint", "now", GROUP]));
            ear.wait_for("wrote a snapshot", limit)
        })
    }

    /// Waits until the master knows that it is alone and takes writes.
    ///
    /// # Errors
    /// If it does not in the end.
    pub fn wait_alone(&self, limit: Duration) -> Result<()> {
        let alone = || {
            let status = self.cluster.status();
            let groups = status.map(|status| status.groups).unwrap_or_default();
            groups
                .first()
                .is_some_and(|group| group.members.len() == 1 && group.serving && !group.open)
        };
        ensure!(wait_until(limit, ASK_EVERY, alone), "the master does not go on alone");
        Ok(())
    }

    /// Waits until the master has given up the front of its log: who has nothing needs a snapshot
    /// then.
    ///
    /// # Errors
    /// If it does not in the end.
    pub fn wait_front_gone(&self, limit: Duration) -> Result<()> {
        let master = self.node(None, Some(&self.master.address.to_string()))?;
        let gone = || figure(&master, "cairn_node_log_before_offset").is_some_and(|at| at > 0.0);
        ensure!(wait_until(limit, ASK_EVERY, gone), "the master keeps all of its log");
        Ok(())
    }

    fn node(&self, id: Option<&str>, address: Option<&str>) -> Result<Node> {
        let mut nodes = self.cluster.nodes().iter();
        let found = nodes.find(|n| Some(n.id.as_str()) == id || Some(&*n.redis()) == address);
        found.cloned().context("no such node")
    }

    /// Takes away all that the dead replica has.
    ///
    /// # Errors
    /// If that cannot be done.
    pub fn forget(&self) -> Result<()> {
        Ok(self.cluster.empty_folder(&self.replica)?)
    }

    /// Starts the replica again.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn revive(&self) -> Result<()> {
        Ok(self.cluster.start(&self.replica)?)
    }

    /// Waits until the replica is a member in sync.
    ///
    /// # Errors
    /// If it is not in the end.
    pub fn wait_whole(&self, limit: Duration) -> Result<()> {
        let mut faults = Vec::new();
        let whole = wait_until(limit, ASK_EVERY, || {
            faults = match self.cluster.status() {
                Ok(status) => status.faults(),
                Err(error) => vec![error.to_string()],
            };
            faults.is_empty()
        });
        ensure!(whole, "the group is not whole: {}", faults.join("; "));
        Ok(())
    }
}

/// Whether the process that started last loads nothing any more, by the log of its node.
fn has_loaded(log: &str) -> bool {
    let own = log.rsplit_once("\"message\":\"starting\"").map_or(log, |(_, own)| own);
    let last = |message: &str| own.rfind(&format!("\"message\":\"{message}\""));
    last("loading a snapshot") <= last("loaded a snapshot")
}

/// One group of a master and a replica that writes snapshots often. Answers do not wait for the
/// replica, as the peer's do not. `log` is what the keyspace says of it.
fn resources(pace: Pace, log: &str) -> String {
    format!(
        "apiVersion: cairn.dev/v1alpha1\nkind: Cluster\nmetadata: {{name: snapshots}}\n\
         spec: {{globalReplicas: 1}}\n---\napiVersion: cairn.dev/v1alpha1\nkind: Keyspace\n\
         metadata: {{name: snapshots}}\nspec:\n  cluster: snapshots\n  groups: 1\n  \
         replicas: 1\n  backups: 0\n  snapshotInterval: {}s\n  log: {log}\n  \
         durability: {{ack: async}}\n",
        pace.interval.as_secs()
    )
}

/// Hears what a node writes into its log.
#[derive(Debug)]
pub struct Ear {
    path: PathBuf,
    position: u64,
}

impl Ear {
    /// Hears a node from now on.
    ///
    /// # Errors
    /// If it has no log.
    pub fn of(cluster: &Cluster, node: &str) -> Result<Self> {
        Self::open(cluster.folder().join("logs").join(format!("{node}.log")))
    }

    fn open(path: PathBuf) -> Result<Self> {
        let about = std::fs::metadata(&path).with_context(|| format!("cannot look at {path:?}"))?;
        Ok(Self { path, position: about.len() })
    }

    /// The lines that were written since the last time.
    pub fn lines(&mut self) -> Result<Vec<Value>> {
        let mut text = Vec::new();
        let mut file = std::fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.position))?;
        file.read_to_end(&mut text)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.position += whole as u64;
        let lines = text[..whole].split(|byte| *byte == b'\n');
        Ok(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// Whether a line with this message was written since the last time.
    ///
    /// # Errors
    /// If the log cannot be read.
    pub fn said(&mut self, message: &str) -> Result<bool> {
        Ok(self.lines()?.iter().any(|line| line["message"] == message))
    }

    /// Waits for a line with this message.
    ///
    /// # Errors
    /// If none comes in time.
    pub fn wait_for(&mut self, message: &str, limit: Duration) -> Result<()> {
        let mut trouble = None;
        let heard = wait_until(limit, LOOK_EVERY, || match self.said(message) {
            Ok(said) => said,
            Err(error) => {
                trouble = Some(error);
                true
            }
        });
        match trouble {
            Some(error) => Err(error),
            None => {
                ensure!(heard, "{:?} does not say {message:?}", self.path);
                Ok(())
            }
        }
    }

    /// Waits for a line that says how many keys took how long.
    ///
    /// # Errors
    /// If none comes in time.
    pub fn hear(&mut self, message: &str, limit: Duration) -> Result<Done> {
        let until = Instant::now() + limit;
        loop {
            for line in self.lines()? {
                if line["message"] == message {
                    let keys = line["keys"].as_u64().or(line["records"].as_u64());
                    let keys = keys.context("it names no keys")?;
                    let took_ms = line["took_ms"].as_u64().context("it names no time")?.max(1);
                    let bytes = line["bytes"].as_u64().unwrap_or(0);
                    let to = Instant::now();
                    let from = to.checked_sub(Duration::from_millis(took_ms)).unwrap_or(to);
                    let keys_per_second = keys as f64 * 1000.0 / took_ms as f64;
                    return Ok(Done { span: Span { from, to }, keys_per_second, bytes });
                }
            }
            if Instant::now() >= until {
                bail!("{:?} does not say {message:?}", self.path);
            }
            cairn_harness::clock::wait(LOOK_EVERY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_node_has_loaded_when_its_last_word_of_it_says_so() {
        let line = |message: &str| format!("{{\"message\":\"{message}\",\"bytes\":1}}\n");
        let (start, loads) = (line("starting"), line("loading a snapshot"));
        let done = line("loaded a snapshot");
        for (log, expected) in [
            (start.clone(), true),
            (format!("{start}{loads}{loads}"), false),
            (format!("{start}{loads}{loads}{done}"), true),
            (format!("{start}{loads}{done}{loads}"), false),
            (format!("{start}{loads}{done}{start}{loads}"), false),
            (format!("{start}{loads}{start}"), true),
        ] {
            assert_eq!(has_loaded(&log), expected, "{log}");
        }
    }

    #[test]
    fn whole_lines_are_heard_once() {
        let folder = product::target_folder().join("tests");
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join(format!("ear-{}.log", std::process::id()));
        let mut file = std::fs::File::create(&path).unwrap();
        let mut write = |text: &str| file.write_all(text.as_bytes()).unwrap();
        write("{\"message\":\"wrote a snapshot\",\"keys\":1,\"took_ms\":1}\n");
        let mut ear = Ear::open(path.clone()).unwrap();
        let short = Duration::from_millis(20);
        assert!(ear.hear("wrote a snapshot", short).is_err(), "that was before");
        write("{\"message\":\"other\"}\n{\"message\":\"wrote a snapshot\",\"keys\":500,");
        assert!(ear.hear("wrote a snapshot", short).is_err(), "half a line");
        write("\"took_ms\":250}\n");
        let done = ear.hear("wrote a snapshot", short).unwrap();
        assert_eq!((done.keys_per_second, done.span.seconds()), (2000.0, 0.25));
        assert!(!ear.said("wrote a snapshot").unwrap());
        std::fs::remove_file(path).unwrap();
    }
}
