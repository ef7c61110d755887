//! The scene's pool of spares, and which group has which slots.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use cairn_harness::claims::Claims;
use serde_json::{Value, json};

use super::{Scene, lay_over};

impl Scene {
    /// The SparePool's name.
    pub fn pool(&self) -> String {
        format!("{}p", self.name)
    }

    /// The SparePool, as kubectl names it.
    pub fn pool_object(&self) -> String {
        format!("sparepool/{}", self.pool())
    }

    /// Whether a node is one of the pool's.
    pub fn is_spare(&self, node: &str) -> bool {
        node.strip_prefix(&self.pool()).is_some_and(|rest| rest.starts_with("-spare-"))
    }

    pub(super) fn add_pool(&self, more: &Value) -> Result<()> {
        let mut spec = json!({"cluster": self.cluster(), "storage": {"size": "1Gi"}});
        lay_over(&mut spec, more);
        let pool = json!({
            "apiVersion": "cairn.dev/v1alpha1", "kind": "SparePool",
            "metadata": {"name": self.pool()}, "spec": spec,
        });
        self.kubectl.apply(&pool.to_string()).map(|_| ())
    }

    /// Waits until the pool says whether it is exhausted.
    ///
    /// # Errors
    /// If it says otherwise for as long as `limit`; the message has its words.
    pub fn wait_exhausted(&self, is: bool, limit: Duration) -> Result<()> {
        let wanted = if is { "True" } else { "False" };
        self.wait_condition(&self.pool_object(), "PoolExhausted", wanted, limit).map(|_| ())
    }

    /// Waits until these groups have their own members and no others, and all spares are idle, also
    /// by the labels of their pods.
    ///
    /// # Errors
    /// If that does not come about in time; the message has who is where.
    pub fn wait_home(&self, groups: &[String], members: usize, limit: Duration) -> Result<()> {
        let mut said = String::new();
        let came = self.wait_for("own members alone", limit, || {
            let away = |group: &String| match self.roles_of(group) {
                Ok(roles) if roles.members.len() != members => Some(format!("{roles:?}")),
                Ok(roles) => {
                    let own = |node: &String| node.starts_with(&format!("{group}-"));
                    (!roles.members.iter().all(own)).then(|| format!("{roles:?}"))
                }
                Err(error) => Some(format!("{error:#}")),
            };
            said = groups.iter().filter_map(away).collect();
            said.is_empty()
        });
        ensure!(came.is_ok(), "not home after {} s: {said}", limit.as_secs());
        self.wait_exhausted(false, limit)?;
        let unlabelled = || self.serving().is_ok_and(|pods| pods.is_empty());
        self.wait_for("no spare serves a group by its labels", limit, unlabelled)
    }

    /// The spares whose pods say that they serve a group, which is said as well.
    ///
    /// # Errors
    /// If the API server does not answer.
    pub fn serving(&self) -> Result<BTreeMap<String, String>> {
        const SERVES: &str = "cairn.dev/serves";
        let pods = self.kubectl.get(&["pods", "--selector", SERVES])?;
        let pods = pods["items"].as_array().cloned().unwrap_or_default();
        let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let line = |pod: &Value| {
            let head = &pod["metadata"];
            (word(&head["name"]), word(&head["labels"][SERVES]))
        };
        Ok(pods.iter().map(line).collect())
    }

    /// The names of the keyspace's first two groups.
    pub fn groups(&self) -> [String; 2] {
        [0, 1].map(|index| format!("{}-{index}", self.keyspace()))
    }

    /// How long each claim of a spare since `began` took, in microseconds, by the logs of the nodes
    /// that can be read.
    pub fn claims_us(&self, began: Instant) -> Vec<u64> {
        let mut claims = Claims::default();
        let global = format!("{}-global-", self.cluster());
        for (name, _) in self.pods().unwrap_or_default() {
            if name.starts_with(&global) || self.is_spare(&name) {
                // Those of a machine that is gone are waited for.
                let since = format!("--since={}s", began.elapsed().as_secs() + 1);
                let log = self.kubectl.run(["logs", &name, &since]).unwrap_or_default();
                claims.hear(&name, &lines(&log));
            }
        }
        claims.took_us()
    }

    /// How many slots of the keyspace each group owns.
    ///
    /// # Errors
    /// If the directory does not answer.
    pub fn slots(&self) -> Result<BTreeMap<String, u64>> {
        let ranges = self.fact(&format!("/cairn/slots/{}", self.keyspace()))?;
        counts(&ranges).with_context(|| format!("the slots read {ranges}"))
    }

    /// For how long each move held its slots, in microseconds, by what the nodes of a group say.
    ///
    /// # Errors
    /// If a log cannot be read.
    pub fn held_us(&self, group: &str) -> Result<Vec<u64>> {
        let mut all = Vec::new();
        for node in self.roles_of(group)?.members {
            all.extend(held_us(&self.kubectl.run(["logs", &node])?));
        }
        Ok(all)
    }
}

/// The times for which moves held slots, in microseconds, by the words of a node's log.
fn held_us(log: &str) -> Vec<u64> {
    lines(log).iter().filter_map(|line| line["held_us"].as_u64()).collect()
}

/// The lines of a node's log that are whole.
fn lines(log: &str) -> Vec<Value> {
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn counts(ranges: &Value) -> Option<BTreeMap<String, u64>> {
    let mut counts = BTreeMap::new();
    for range in ranges.as_array()? {
        let count = range[1].as_u64()? + 1 - range[0].as_u64()?;
        *counts.entry(range[2].as_str()?.to_owned()).or_default() += count;
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_moves_that_ended_have_held_slots() {
        let log = "{\"message\":\"moving slots\"}\nno JSON\n{\"id\":\"3\",\"held_us\":700}\n";
        assert_eq!(held_us(log), [700]);
    }

    #[test]
    fn slots_are_counted_by_their_owners() {
        let ranges = json!([[0, 9, "k-0"], [10, 12, "k-1"], [13, 13, "k-0"]]);
        let expected = BTreeMap::from([("k-0".to_owned(), 11), ("k-1".to_owned(), 3)]);
        assert_eq!(counts(&ranges), Some(expected));
        assert_eq!(counts(&json!([[0, "k-0"]])), None);
    }
}
