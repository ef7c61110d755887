//! Our side: a cluster that is scaled, healed and moved by its commands.

use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use cairn_harness::client::{Client, Connection, Frame, Patience, Range, slot_of};
use cairn_harness::clock::wait_until;
use cairn_harness::cluster::{Cluster, Node, Role};
use cairn_harness::status::{GroupStatus, MemberStatus, Status};
use serde_json::Value;

use crate::bench::server::Server;
use crate::janitor::Janitor;
use crate::product;

/// The folder of the cluster.
const CLUSTER: &str = "bench-spares";
/// The keyspace.
pub const KEYSPACE: &str = "t";
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// For things that take seconds; only what is stuck waits so long.
pub const LIMIT: Duration = Duration::from_secs(180);
/// Entries that a member may be behind its master and count as a copy.
const LAG_MAX: u64 = 20_000;
/// What a client waits for when it looks who serves.
const GLANCE: Duration = Duration::from_millis(500);

/// Who ends what still runs when this process is gone, however it ends; it is told the processes of
/// peers.
///
/// # Errors
/// If another run is under way.
pub fn janitor(programs: &Path) -> Result<Janitor> {
    let folder = product::target_folder().join("clusters").join(CLUSTER);
    std::fs::create_dir_all(folder.parent().context("a folder has a parent")?)?;
    // A number may be somebody else's by then.
    let script = r#"pids=$(cat)
for pid in $pids; do
  case "$(cat /proc/$pid/comm 2> /dev/null)" in valkey-*) kill -9 $pid;; esac
done
[ ! -e "$2/cluster.json" ] || "$1" down --purge --yes --dir "$2" > /dev/null 2>&1"#;
    let cairn = programs.join("cairn");
    let arguments: [&OsStr; 2] = [cairn.as_os_str(), folder.as_os_str()];
    Janitor::hire(&folder.with_extension("lock"), script, &arguments)
}

/// A cluster; it is taken down when this is dropped.
#[derive(Debug)]
pub struct Ours {
    /// What commands are said to.
    pub cluster: Cluster,
}

/// What a cluster is to be.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Groups of the keyspace, and the members of each.
    pub groups: usize,
    pub replicas: usize,
    pub backups: usize,
    /// The rule of its acknowledgements.
    pub ack: &'static str,
    /// How many spares there are; none: no pool.
    pub spares: usize,
    /// The pool's `replaceAfter`; the default if not set.
    pub replace_after: Option<&'static str>,
}

impl Wanted {
    fn resources(self, keyspaces: &[String]) -> String {
        let Self { groups, replicas, backups, ack, spares, .. } = self;
        let head = "apiVersion: cairn.dev/v1alpha1";
        let mut text = format!(
            "{head}\nkind: Cluster\nmetadata: {{name: spares}}\nspec: {{globalReplicas: 1}}\n"
        );
        for name in keyspaces {
            text += &format!(
                "---\n{head}\nkind: Keyspace\nmetadata: {{name: {name}}}\nspec:\n  cluster: \
                 spares\n  groups: {groups}\n  replicas: {replicas}\n  backups: {backups}\n  \
                 durability: {{ack: {ack}}}\n"
            );
        }
        if spares > 0 {
            let more = self
                .replace_after
                .map_or_else(String::new, |time| format!(", replaceAfter: {time}"));
            text += &format!(
                "---\n{head}\nkind: SparePool\nmetadata: {{name: warm}}\n\
                 spec: {{cluster: spares, size: {spares}{more}}}\n"
            );
        }
        text
    }
}

impl Ours {
    /// Starts one and waits until nothing is missing.
    ///
    /// # Errors
    /// If it does not come up whole.
    pub fn start(programs: &Path, wanted: Wanted) -> Result<Self> {
        Self::start_of(programs, &[KEYSPACE.to_owned()], wanted)
    }

    /// The same with several keyspaces that are alike.
    ///
    /// # Errors
    /// If it does not come up whole.
    pub fn start_of(programs: &Path, keyspaces: &[String], wanted: Wanted) -> Result<Self> {
        let path = product::target_folder().join("clusters/bench-spares.yaml");
        std::fs::write(&path, wanted.resources(keyspaces))
            .with_context(|| format!("cannot write {path:?}"))?;
        let cluster = product::cluster(programs, CLUSTER, &path.to_string_lossy())?;
        let ours = Self { cluster };
        ours.wait_spares(wanted.spares, "idle")?;
        Ok(ours)
    }

    /// Where clients may ask for the routes: nodes of groups, not spares.
    pub fn seeds(&self) -> Vec<String> {
        let nodes = self.cluster.nodes().iter();
        let own = nodes.filter(|node| node.role == Role::Data && !is_spare(&node.id));
        own.map(Node::redis).collect()
    }

    /// A node by its name.
    ///
    /// # Errors
    /// If there is none.
    pub fn node(&self, id: &str) -> Result<&Node> {
        let found = self.cluster.nodes().iter().find(|node| node.id == id);
        found.with_context(|| format!("there is no node {id}"))
    }

    /// A group, as soon as it is served.
    ///
    /// # Errors
    /// If it is not in the end.
    pub fn group(&self, id: &str) -> Result<GroupStatus> {
        let mut found = None;
        wait_until(LIMIT, LOOK_EVERY, || {
            let groups = self.cluster.status().map(|status| status.groups).unwrap_or_default();
            found = groups.into_iter().find(|it| it.id == id && it.serving && !it.open);
            found.as_ref().is_some_and(|group| group.master.is_some())
        });
        found.with_context(|| format!("group {id} is not served"))
    }

    /// The master of a group.
    ///
    /// # Errors
    /// If there is none in the end.
    pub fn master(&self, group: &str) -> Result<Server> {
        let id = self.group(group)?.master.context("the group has no master")?;
        let pid = self.cluster.pid(&id)?.with_context(|| format!("{id} does not run"))?;
        Ok(Server { address: self.node(&id)?.redis().parse()?, pid: u32::try_from(pid)? })
    }

    /// Waits until nothing is missing.
    ///
    /// # Errors
    /// If something is, in the end.
    pub fn wait_whole(&self) -> Result<()> {
        let faults = self.cluster.wait_whole(LIMIT);
        ensure!(faults.is_empty(), "Cairn is not whole: {}", faults.join("; "));
        Ok(())
    }

    /// Waits until so many spares are in this state.
    ///
    /// # Errors
    /// If they are not in the end.
    pub fn wait_spares(&self, count: usize, state: &str) -> Result<()> {
        let mut said = String::new();
        let done = wait_until(LIMIT, LOOK_EVERY, || {
            said = self.cluster.cairn(["pool", "-o", "json"]).unwrap_or_default();
            in_state(&said, state) == count
        });
        ensure!(done, "the spares are not {state}: {said}");
        Ok(())
    }

    /// Has slots moved, and waits until they are there; what was said.
    ///
    /// # Errors
    /// If they are not there in the end.
    pub fn move_slots(&self, slots: &str, to: &str) -> Result<String> {
        Ok(self.cluster.cairn(["move", slots, to, "--timeout-sec", "900"])?)
    }

    /// Waits until nothing is left of moves, not even at their sources.
    ///
    /// # Errors
    /// If something is, in the end.
    pub fn wait_moved(&self) -> Result<()> {
        let done = wait_until(LIMIT, LOOK_EVERY, || {
            let said = self.cluster.cairn(["slots", "-o", "json"]).unwrap_or_default();
            let slots: Value = serde_json::from_str(&said).unwrap_or_default();
            slots["moves"].as_array().is_some_and(Vec::is_empty)
        });
        ensure!(done, "moves do not end; see `cairn slots`");
        Ok(())
    }

    /// Waits until somebody else than `known` answers for a slot.
    ///
    /// # Errors
    /// If nobody does in the end.
    pub fn wait_served_elsewhere(&self, known: &Server) -> Result<()> {
        let known = known.address.to_string();
        let mut client = Client::new(&self.seeds(), Patience::default());
        let done = wait_until(LIMIT, Duration::from_millis(20), || {
            client.refresh()
                && client.routes().ranges().iter().any(|it| it.master != known && is_served(it))
        });
        ensure!(done, "no slot is served by another group in {} s", LIMIT.as_secs());
        Ok(())
    }
}

/// Whether a node is of the pool.
pub fn is_spare(id: &str) -> bool {
    id.starts_with("warm-spare-")
}

/// How many of the spares that `cairn pool -o json` lists are in this state.
fn in_state(said: &str, state: &str) -> usize {
    let spares: Value = serde_json::from_str(said).unwrap_or_default();
    let all = spares.as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter(|spare| spare["state"] == state).count()
}

/// Whether a range's master answers for its slots.
fn is_served(range: &Range) -> bool {
    let Some(key) = (0..1_000_000)
        .map(|number| format!("k{number}"))
        .find(|key| (range.first..=range.last).contains(&slot_of(key.as_bytes())))
    else {
        return false;
    };
    let asked = Connection::open(&range.master, GLANCE, GLANCE)
        .and_then(|mut connection| connection.call(&[b"GET", key.as_bytes()]));
    matches!(asked, Ok(Frame::Null | Frame::Bulk(_)))
}

/// Members of a group that run and have all of its data: the master, and who follows it closely.
pub fn copies(status: &Status, group: &str) -> usize {
    let Some(group) = status.groups.iter().find(|it| it.id == group) else { return 0 };
    group.members.iter().filter(|member| is_copy(status, group, member)).count()
}

fn is_copy(status: &Status, group: &GroupStatus, member: &MemberStatus) -> bool {
    let Some(node) = status.nodes.iter().find(|node| node.id == member.id) else { return false };
    let Some(log) = node.logs.iter().find(|log| log.group == group.id) else { return false };
    if !node.answers || node.process != "running" || log.loaded_percent.is_some() {
        return false;
    }
    group.master.as_ref() == Some(&member.id)
        || (log.position == "follower" && member.lag_entries.is_some_and(|lag| lag <= LAG_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn status(change: impl Fn(&mut Value)) -> Status {
        let node = |id: &str, position: &str| {
            json!({"id": id, "role": "data", "process": "running", "pid": 1, "answers": true,
                "rssBytes": 1, "logs": [
                    {"group": "t-0", "position": position, "epoch": 0, "lastEpoch": 2}]})
        };
        let mut status = json!({"ready": true, "missing": [], "globalMaster": "global-0",
            "nodes": [node("a", "master"), node("b", "follower"), node("c", "follower")],
            "groups": [{"id": "t-0", "epoch": 2, "open": false, "master": "a", "serving": true,
                "wanted": 3, "members": [{"id": "a", "lagEntries": null},
                    {"id": "b", "lagEntries": 3}, {"id": "c", "lagEntries": 0}]}]});
        change(&mut status);
        serde_json::from_value(status).unwrap()
    }

    #[test]
    fn a_copy_runs_and_follows_closely() {
        let count = |change: fn(&mut Value)| copies(&status(change), "t-0");
        assert_eq!(count(|_| {}), 3);
        assert_eq!(count(|it| it["nodes"][1]["answers"] = json!(false)), 2);
        assert_eq!(count(|it| it["nodes"][1]["logs"][0]["position"] = json!("learner")), 2);
        assert_eq!(count(|it| it["nodes"][1]["logs"][0]["loadedPercent"] = json!(5)), 2);
        assert_eq!(count(|it| it["groups"][0]["members"][2]["lagEntries"] = json!(30_000)), 2);
        assert_eq!(count(|it| it["groups"][0]["members"][2]["lagEntries"] = json!(null)), 2);
        assert_eq!(copies(&status(|_| {}), "t-1"), 0);
    }

    #[test]
    fn resources_ask_for_what_is_wanted() {
        let wanted = Wanted {
            groups: 2,
            replicas: 1,
            backups: 0,
            ack: "one",
            spares: 0,
            replace_after: Some("2s"),
        };
        let names = ["t".to_owned()];
        let text = wanted.resources(&names);
        assert!(text.contains("groups: 2\n  replicas: 1\n") && !text.contains("SparePool"));
        let text = Wanted { spares: 3, ..wanted }.resources(&names);
        assert!(text.contains("size: 3, replaceAfter: 2s}"), "{text}");
    }

    #[test]
    fn pools_say_who_is_idle() {
        let pool = r#"[{"state": "idle"}, {"state": "claimed"}, {"state": "idle"}]"#;
        assert_eq!((in_state(pool, "idle"), in_state("no", "idle")), (2, 0));
    }
}
