//! What `cairn status -o json` says, as far as tests need it.

use serde::Deserialize;

use crate::cluster::Role;

/// How far a member under traffic may be behind and still count as there, in entries.
const LAG_ENTRIES_MAX: u64 = 20_000;
/// The name that the global plane's log has among the groups.
const GLOBAL: &str = "global";

/// A cluster at a moment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Whether every slot is served.
    pub ready: bool,
    /// What is missing, in words.
    pub missing: Vec<String>,
    /// Who masters the global plane.
    pub global_master: Option<String>,
    /// All nodes.
    pub nodes: Vec<NodeStatus>,
    /// All groups.
    pub groups: Vec<GroupStatus>,
    /// What a person should know while it lasts.
    #[serde(default)]
    pub conditions: Vec<ConditionStatus>,
}

/// A condition at a moment.
#[derive(Debug, Clone, Deserialize)]
pub struct ConditionStatus {
    /// One word of a closed list.
    pub reason: String,
    /// What is so, and what follows.
    pub message: String,
}

/// A node at a moment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub role: Role,
    /// `running`, `restarting`, `stopped` or `down`.
    pub process: String,
    /// Its process.
    pub pid: Option<i32>,
    /// Whether it answers.
    pub answers: bool,
    /// Its folder, if it answers: another one after the folder was lost.
    #[serde(default)]
    pub incarnation: Option<String>,
    /// The run of its process with this folder, if it answers.
    #[serde(default)]
    pub life: Option<u64>,
    /// Memory that its process holds.
    pub rss_bytes: Option<u64>,
    /// The logs it keeps.
    pub logs: Vec<LogStatus>,
}

/// A node's part in a log.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LogStatus {
    /// Which group, or `global`.
    pub group: String,
    /// `master`, `follower`, `elect` or `learner`.
    pub position: String,
    /// In which epoch it is master or elect; 0 otherwise.
    pub epoch: u64,
    /// The epoch of its last entry.
    pub last_epoch: u64,
    /// Where its log ends.
    #[serde(default)]
    pub last_offset: u64,
    /// Up to where it knows the log to be committed.
    #[serde(default)]
    pub committed: u64,
    /// How much of its state there is, in percent, while clients wait for it.
    #[serde(default)]
    pub loaded_percent: Option<u32>,
    /// What it holds, if that was asked for: copies at one entry have the same.
    #[serde(default)]
    pub digest: Option<u64>,
}

/// A group's record at a moment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupStatus {
    /// Its name.
    pub id: String,
    /// Its epoch.
    pub epoch: u64,
    /// Whether an attempt to change it is open.
    pub open: bool,
    /// Who masters it.
    pub master: Option<String>,
    /// Whether its master serves.
    pub serving: bool,
    /// Its members.
    pub members: Vec<MemberStatus>,
    /// How many members it should have.
    pub wanted: usize,
}

/// A member of a group at a moment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberStatus {
    /// Which node.
    pub id: String,
    /// How far it is behind, if its master knows.
    pub lag_entries: Option<u64>,
}

impl Status {
    /// The epoch of the global plane, if it has a master.
    pub fn global_epoch(&self) -> Option<u64> {
        let logs = self.nodes.iter().flat_map(|node| &node.logs);
        let masters = logs.filter(|log| log.group == GLOBAL && log.position == "master");
        masters.map(|log| log.epoch).max()
    }

    /// What keeps the cluster from being whole, in words: nodes that do not answer, groups that are
    /// not served, fewer members than wanted, members that learn, lag or follow another epoch.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.missing.clone();
        for node in self.nodes.iter().filter(|node| !node.answers || node.process != "running") {
            faults.push(format!("node {} is {} and silent", node.id, node.process));
        }
        for group in &self.groups {
            if group.open || !group.serving {
                faults.push(format!("group {} is not served", group.id));
            }
            if group.members.len() < group.wanted {
                let (has, wanted) = (group.members.len(), group.wanted);
                faults.push(format!("group {} has {has} of {wanted} members", group.id));
            }
            for member in &group.members {
                self.check_member(group, member, &mut faults);
            }
        }
        self.check_global(&mut faults);
        let unseated = self.conditions.iter().filter(|said| said.reason == "AcceptorMissing");
        faults.extend(unseated.map(|said| said.message.clone()));
        faults
    }

    /// The groups whose members do not all hold the same, or do not all say what they hold.
    pub fn different(&self) -> Vec<String> {
        let differs = |group: &&GroupStatus| {
            let logs = self.nodes.iter().flat_map(|node| &node.logs);
            let logs = logs.filter(|log| log.group == group.id);
            let digests: Vec<u64> = logs.filter_map(|log| log.digest).collect();
            digests.len() < group.wanted || digests.iter().any(|digest| *digest != digests[0])
        };
        self.groups.iter().filter(differs).map(|group| group.id.clone()).collect()
    }

    fn check_member(&self, group: &GroupStatus, member: &MemberStatus, faults: &mut Vec<String>) {
        let node = self.nodes.iter().find(|node| node.id == member.id);
        let log = node.and_then(|node| node.logs.iter().find(|log| log.group == group.id));
        if let Some(percent) = log.and_then(|log| log.loaded_percent) {
            let (id, group) = (&member.id, &group.id);
            faults.push(format!("member {id} of group {group} is loading, {percent} %"));
        }
        if group.master.as_ref() == Some(&member.id) {
            return;
        }
        let name = format!("member {} of group {}", member.id, group.id);
        match member.lag_entries {
            None => faults.push(format!("{name} is not followed by its master")),
            Some(lag) if lag > LAG_ENTRIES_MAX => faults.push(format!("{name} lags {lag} entries")),
            Some(_) => {}
        }
        if !log.is_some_and(|log| log.position == "follower" && log.last_epoch == group.epoch) {
            faults.push(format!("{name} does not follow epoch {}", group.epoch));
        }
    }

    fn check_global(&self, faults: &mut Vec<String>) {
        let Some(epoch) = self.global_epoch() else {
            faults.push("the global plane has no master".into());
            return;
        };
        for node in self.nodes.iter().filter(|node| node.role == Role::Global) {
            let log = node.logs.iter().find(|log| log.group == GLOBAL);
            let follows = log.is_some_and(|log| match log.position.as_str() {
                "master" => log.epoch == epoch,
                position => position == "follower" && log.last_epoch == epoch,
            });
            if !follows {
                faults.push(format!("node {} does not follow global epoch {epoch}", node.id));
            }
            if let Some(percent) = log.and_then(|log| log.loaded_percent) {
                faults.push(format!("node {} is loading the directory, {percent} %", node.id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{"cluster": "demo", "ready": true, "missing": [],
        "globalMaster": "global-0",
        "nodes": [
            {"id": "global-0", "role": "global", "process": "running", "pid": 7, "answers": true,
             "rssBytes": 9, "logs": [
                {"group": "global", "position": "master", "epoch": 3, "lastEpoch": 3}]},
            {"id": "t-0-0", "role": "data", "process": "running", "pid": 8, "answers": true,
             "rssBytes": 9, "logs": [
                {"group": "t-0", "position": "master", "epoch": 5, "lastEpoch": 5}]},
            {"id": "t-0-1", "role": "data", "process": "running", "pid": 9, "answers": true,
             "rssBytes": 9, "logs": [
                {"group": "t-0", "position": "follower", "epoch": 0, "lastEpoch": 5}]}],
        "groups": [{"id": "t-0", "epoch": 5, "open": false, "master": "t-0-0", "serving": true,
            "members": [{"id": "t-0-0", "role": "replica", "lagEntries": null},
                        {"id": "t-0-1", "role": "backup", "lagEntries": 3}], "wanted": 2}]}"#;

    fn faults(change: impl Fn(&str) -> String) -> Vec<String> {
        serde_json::from_str::<Status>(&change(WHOLE)).unwrap().faults()
    }

    #[test]
    fn a_whole_cluster_has_no_faults() {
        assert_eq!(faults(str::to_owned), [""; 0]);
    }

    #[test]
    fn copies_that_differ_or_say_nothing_are_named() {
        let different = |one: &str, other: &str| {
            let text = WHOLE.replace("\"epoch\": 5, \"lastEpoch\": 5", one);
            let text = text.replace("\"epoch\": 0, \"lastEpoch\": 5", other);
            serde_json::from_str::<Status>(&text).unwrap().different()
        };
        let says = |epoch: u64, digest: u64| {
            format!("\"epoch\": {epoch}, \"lastEpoch\": 5, \"digest\": {digest}")
        };
        assert_eq!(different(&says(5, 77), &says(0, 77)), [""; 0]);
        assert_eq!(different(&says(5, 77), &says(0, 78)), ["t-0"]);
        assert_eq!(different(&says(5, 77), "\"epoch\": 0, \"lastEpoch\": 5"), ["t-0"]);
    }

    #[test]
    fn each_fault_is_named() {
        let cases = [
            ("\"lagEntries\": 3", "\"lagEntries\": null", "is not followed by its master"),
            ("\"lagEntries\": 3", "\"lagEntries\": 30000", "lags 30000 entries"),
            ("0, \"lastEpoch\": 5", "0, \"lastEpoch\": 4", "does not follow epoch 5"),
            ("follower", "learner", "does not follow epoch 5"),
            ("\"wanted\": 2", "\"wanted\": 3", "has 2 of 3 members"),
            ("\"serving\": true", "\"serving\": false", "is not served"),
            ("\"open\": false", "\"open\": true", "is not served"),
            ("master\", \"epoch\": 3", "elect\", \"epoch\": 3", "has no master"),
            ("\"answers\": true", "\"answers\": false", "and silent"),
            (
                "0, \"lastEpoch\": 5",
                "0, \"lastEpoch\": 5, \"loadedPercent\": 7",
                "t-0 is loading, 7 %",
            ),
            ("3, \"lastEpoch\": 3", "3, \"lastEpoch\": 3, \"loadedPercent\": 0", "directory, 0 %"),
        ];
        for (from, to, expected) in cases {
            let found = faults(|text| text.replacen(from, to, 1));
            assert!(found.iter().any(|fault| fault.contains(expected)), "{expected}: {found:?}");
        }
    }
}
