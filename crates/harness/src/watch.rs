//! What must be true of a cluster at every moment, held against what its nodes say of themselves.
//!
//! A [`Ledger`] remembers what it was shown. It never says that something is missing: nodes may be
//! silent, and what they say may be a moment old.

use std::collections::BTreeMap;

use crate::status::Status;

/// A run of a node's process: its folder's incarnation, and the number of the run.
type Life = (String, u64);

/// What was seen of a cluster over time.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Who masters, by group and epoch.
    masters: BTreeMap<(String, u64), (String, Life)>,
    /// How far a log was committed, by node, life and group.
    committed: BTreeMap<(String, Life, String), u64>,
    /// Epochs of records, by group.
    records: BTreeMap<String, u64>,
    /// Who mastered last, by group: epoch, node and life.
    last: BTreeMap<String, (u64, String, Life)>,
    takeovers: Vec<Takeover>,
    violations: Vec<String>,
    looks: usize,
}

/// A mastership that began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    /// Which group, or `global`.
    pub group: String,
    /// The new epoch.
    pub epoch: u64,
    /// Who mastered before.
    pub from: String,
    /// Who masters now.
    pub to: String,
}

impl Ledger {
    /// Takes note of what nodes say now; what contradicts what they said before is kept.
    pub fn see(&mut self, status: &Status) {
        self.looks += 1;
        for group in &status.groups {
            let newest = self.records.entry(group.id.clone()).or_default();
            if group.epoch < *newest {
                let (was, is) = (*newest, group.epoch);
                self.violations.push(format!("group {} went from epoch {was} to {is}", group.id));
            }
            *newest = (*newest).max(group.epoch);
        }
        for node in &status.nodes {
            let (Some(incarnation), Some(life)) = (&node.incarnation, node.life) else { continue };
            let life = (incarnation.clone(), life);
            for log in &node.logs {
                let place = (node.id.clone(), life.clone(), log.group.clone());
                let committed = self.committed.entry(place).or_default();
                if log.committed < *committed {
                    self.violations.push(format!(
                        "node {} in life {life:?}: group {} was committed up to {committed}, \
                         now {}",
                        node.id, log.group, log.committed
                    ));
                }
                *committed = (*committed).max(log.committed);
                if log.position == "master" {
                    self.see_master(&log.group, log.epoch, &node.id, &life);
                }
            }
        }
    }

    fn see_master(&mut self, group: &str, epoch: u64, node: &str, life: &Life) {
        let me = (node.to_owned(), life.clone());
        let one = self.masters.entry((group.to_owned(), epoch)).or_insert_with(|| me.clone());
        if *one != me {
            self.violations.push(format!(
                "group {group} has two masters of epoch {epoch}: {} in life {:?} and {node} in \
                 life {life:?}",
                one.0, one.1
            ));
        }
        let now = (epoch, node.to_owned(), life.clone());
        let Some(last) = self.last.get_mut(group) else {
            self.last.insert(group.to_owned(), now);
            return;
        };
        if epoch <= last.0 {
            return;
        }
        if (&last.1, &last.2) != (&now.1, life) {
            let (from, to) = (last.1.clone(), node.to_owned());
            self.takeovers.push(Takeover { group: group.to_owned(), epoch, from, to });
        }
        *last = now;
    }

    /// Masterships that began since the first look, in the order they were seen.
    pub fn takeovers(&self) -> &[Takeover] {
        &self.takeovers
    }

    /// What must never be and was.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// How often the cluster was looked at.
    pub fn looks(&self) -> usize {
        self.looks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, life: u64, position: &str, epoch: u64, committed: u64) -> String {
        format!(
            r#"{{"id": "{id}", "role": "data", "process": "running", "pid": 7, "answers": true,
            "incarnation": "{}", "life": {}, "rssBytes": 9, "logs": [{{"group": "g",
            "position": "{position}", "epoch": {epoch}, "lastEpoch": 1, "lastOffset": 9,
            "committed": {committed}}}]}}"#,
            life / 10,
            life % 10
        )
    }

    fn seen(looks: &[&[String]]) -> Ledger {
        let mut ledger = Ledger::default();
        for nodes in looks {
            let text = format!(
                r#"{{"ready": true, "missing": [], "globalMaster": null, "groups": [],
                "nodes": [{}]}}"#,
                nodes.join(",")
            );
            ledger.see(&serde_json::from_str(&text).unwrap());
        }
        ledger
    }

    #[test]
    fn a_takeover_is_counted_once_and_a_change_of_members_is_none() {
        let a = |epoch| node("a", 1, "master", epoch, 5);
        let ledger = seen(&[&[a(1)], &[a(2)], &[a(2), node("b", 1, "master", 3, 5)], &[a(2)]]);
        let found = ledger.takeovers().iter().map(|t| (t.epoch, t.from.as_str(), t.to.as_str()));
        assert_eq!(found.collect::<Vec<_>>(), [(3, "a", "b")]);
        assert_eq!(ledger.violations(), [""; 0]);
        assert_eq!(ledger.looks(), 4);
    }

    #[test]
    fn two_masters_of_one_epoch_are_found_also_at_different_moments() {
        let ledger = seen(&[&[node("a", 1, "master", 4, 5)], &[node("b", 1, "master", 4, 5)]]);
        assert!(ledger.violations()[0].contains("two masters of epoch 4"));
        let ledger = seen(&[&[node("a", 1, "master", 4, 5)], &[node("a", 2, "master", 4, 5)]]);
        assert!(ledger.violations()[0].contains("two masters"), "mastership ends with the process");
    }

    #[test]
    fn what_is_committed_never_goes_back_within_a_life() {
        let follower = |life, committed| node("a", life, "follower", 0, committed);
        let ledger = seen(&[&[follower(1, 9)], &[follower(2, 3)], &[follower(11, 0)]]);
        assert_eq!(ledger.violations(), [""; 0], "another process, then another folder");
        let ledger = seen(&[&[follower(1, 9)], &[follower(1, 8)]]);
        assert!(ledger.violations()[0].contains("committed up to 9, now 8"));
    }
}
