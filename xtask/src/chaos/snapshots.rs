//! What nodes do about snapshots, as their folders and logs show it, and damage to their files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::clock::wait_until;
use cairn_harness::cluster::Cluster;
use serde_json::Value;

use super::schedule::Harm;

/// How long a node may write no snapshot; then the fault comes without one.
const WRITES_WITHIN: Duration = Duration::from_secs(10);
/// How long a node may fetch none: it may have needed none.
const FETCHES_WITHIN: Duration = Duration::from_secs(12);
/// The file that becomes a snapshot when it is whole.
const DRAFT: &str = "draft";

fn folder(cluster: &Cluster, node: &str, log: &str) -> PathBuf {
    cluster.folder().join("data").join(node).join("groups").join(log).join("snapshots")
}

/// Waits until a node writes a snapshot; whether it did.
pub fn wait_for_draft(cluster: &Cluster, node: &str, log: &str) -> bool {
    let draft = folder(cluster, node, log).join(DRAFT);
    wait_until(WRITES_WITHIN, Duration::from_millis(1), || draft.exists())
}

/// Damages the newest snapshot of a node that is down, if it has one.
///
/// # Errors
/// If the file cannot be changed.
pub fn damage(cluster: &Cluster, node: &str, log: &str, harm: Harm) -> Result<()> {
    let Some(path) = newest(&folder(cluster, node, log)) else { return Ok(()) };
    let mut bytes = std::fs::read(&path).with_context(|| format!("cannot read {path:?}"))?;
    ensure!(!bytes.is_empty(), "{path:?} is empty");
    let middle = bytes.len() / 3;
    match harm {
        Harm::Flip => bytes[middle] ^= 1,
        Harm::Cut => bytes.truncate(middle * 2),
    }
    std::fs::write(&path, bytes).with_context(|| format!("cannot write {path:?}"))
}

/// The snapshot of the highest entry; their names begin with it, in digits of one length. What has
/// come of one that is being fetched is none.
fn newest(folder: &Path) -> Option<PathBuf> {
    let listed = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = listed.filter_map(|entry| entry.file_name().into_string().ok());
    let whole = names
        .filter(|name| name.ends_with(".snap") && name.starts_with(|c: char| c.is_ascii_digit()));
    whole.max().map(|name| folder.join(name))
}

/// What a node writes into its log from a moment on.
pub struct Said {
    path: PathBuf,
    from: u64,
}

impl Said {
    /// From now on.
    ///
    /// # Errors
    /// If the node has no log.
    pub fn from_now(cluster: &Cluster, node: &str) -> Result<Self> {
        let path = cluster.folder().join("logs").join(format!("{node}.log"));
        let about = std::fs::metadata(&path).with_context(|| format!("cannot look at {path:?}"))?;
        Ok(Self { path, from: about.len() })
    }

    /// Waits until it says whose snapshot it fetches; none if it fetches none.
    pub fn wait_for_holder(&self) -> Option<String> {
        let mut holder = None;
        wait_until(FETCHES_WITHIN, Duration::from_millis(20), || {
            let text = std::fs::read(&self.path).unwrap_or_default();
            let from = usize::try_from(self.from).unwrap_or(usize::MAX).min(text.len());
            holder = holder_of(&String::from_utf8_lossy(&text[from..]));
            holder.is_some()
        });
        holder
    }
}

/// The node that a log says a snapshot is fetched from.
fn holder_of(log: &str) -> Option<String> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut fetching = lines.filter(|line| line["message"] == "fetching a snapshot");
    fetching.find_map(|line| line["about_node"].as_str().map(str::to_owned))
}

/// How often nodes said what is worth counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    pub written: u64,
    pub fronts: u64,
    pub fetched: u64,
    pub set_aside: u64,
}

impl Spoken {
    /// In all logs of a cluster, up to now.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn of(cluster: &Cluster) -> Result<Self> {
        let folder = cluster.folder().join("logs");
        let mut all = Self::default();
        for entry in std::fs::read_dir(&folder).with_context(|| format!("no {folder:?}"))? {
            let text = std::fs::read(entry?.path()).context("cannot read a log")?;
            all.count(&String::from_utf8_lossy(&text));
        }
        Ok(all)
    }

    fn count(&mut self, log: &str) {
        for line in log.lines() {
            let says = |words: &str| u64::from(line.contains(words));
            self.written += says("\"message\":\"wrote a snapshot\"");
            self.fronts += says("\"message\":\"gave up the front of the log\"");
            self.fetched += says("\"message\":\"fetched a snapshot\"");
            self.set_aside += says("\"message\":\"the snapshot is set aside\"");
        }
    }

    /// What was said after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            written: self.written.saturating_sub(before.written),
            fronts: self.fronts.saturating_sub(before.fronts),
            fetched: self.fetched.saturating_sub(before.fetched),
            set_aside: self.set_aside.saturating_sub(before.set_aside),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = r#"{"message":"joined"}
{"message":"fetching a snapshot","group":"g","about_node":"g-1","bytes":0}
{"message":"fetched a snapshot","group":"g","about_node":"g-1"}
{"message":"wrote a snapshot","keys":3}
half a line: {"message"#;

    #[test]
    fn a_log_tells_who_sends_and_how_much_happened() {
        assert_eq!(holder_of(LOG).as_deref(), Some("g-1"));
        assert_eq!(holder_of("{\"message\":\"joined\"}"), None);
        let mut spoken = Spoken::default();
        spoken.count(LOG);
        assert_eq!(spoken, Spoken { written: 1, fetched: 1, ..Spoken::default() });
        let before = Spoken { written: 1, ..Spoken::default() };
        assert_eq!(spoken.since(before), Spoken { fetched: 1, ..Spoken::default() });
    }

    #[test]
    fn the_newest_is_the_one_of_the_highest_entry() {
        let folder = std::env::temp_dir().join(format!("chaos-newest-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert_eq!(newest(&folder), None);
        let partial = "partial-27-00000000000000000300-2.snap";
        let names =
            ["00000000000000000097-1.snap", "00000000000000000203-2.snap", "draft", partial];
        names.iter().for_each(|name| std::fs::write(folder.join(name), "x").unwrap());
        assert_eq!(newest(&folder), Some(folder.join(names[1])));
        drop(std::fs::remove_dir_all(&folder));
    }
}
