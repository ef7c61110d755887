//! `/cairn/keyspaces/<name>`: what is wanted of a keyspace.

use super::{DecodeError, KEYSPACES, decode, encode, name_after};
use crate::{EvictionPolicy, Limits, Reads, plain_durability};
use cairn_logic::autoscale::Policy;
use cairn_logic::record::{Durability, Rule};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The key of a keyspace's configuration.
#[must_use]
pub fn keyspace_key(name: &str) -> String {
    format!("{KEYSPACES}{name}")
}

/// The keyspace whose configuration is at `key`.
#[must_use]
pub fn keyspace_of_key(key: &[u8]) -> Option<&str> {
    name_after(KEYSPACES, key)
}

/// The bounds a keyspace sets for its nodes; what is absent stays as the node's settings say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyspaceLimits {
    /// See [`Limits::maxclients`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxclients: Option<u32>,
    /// See [`Limits::maxmemory_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory_bytes: Option<u64>,
    /// See [`Limits::maxmemory_policy`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory_policy: Option<EvictionPolicy>,
    /// See [`Limits::maxmemory_samples`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maxmemory_samples: Option<u32>,
    /// See [`Limits::output_buffer_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_buffer_bytes_max: Option<u64>,
    /// See [`Limits::query_buffer_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_buffer_bytes_max: Option<u64>,
    /// See [`Limits::bulk_bytes_max`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bulk_bytes_max: Option<u64>,
    /// See [`Limits::client_commands_per_sec`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_commands_per_sec: Option<u32>,
    /// See [`Limits::user_commands_per_sec`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_commands_per_sec: Option<u32>,
}

impl KeyspaceLimits {
    /// The bounds in force on a node whose own settings say `node`.
    #[must_use]
    pub fn over(&self, node: Limits) -> Limits {
        Limits {
            maxclients: self.maxclients.unwrap_or(node.maxclients),
            maxmemory_bytes: self.maxmemory_bytes.unwrap_or(node.maxmemory_bytes),
            maxmemory_policy: self.maxmemory_policy.unwrap_or(node.maxmemory_policy),
            maxmemory_samples: self.maxmemory_samples.unwrap_or(node.maxmemory_samples),
            output_buffer_bytes_max: self
                .output_buffer_bytes_max
                .unwrap_or(node.output_buffer_bytes_max),
            query_buffer_bytes_max: self
                .query_buffer_bytes_max
                .unwrap_or(node.query_buffer_bytes_max),
            bulk_bytes_max: self.bulk_bytes_max.unwrap_or(node.bulk_bytes_max),
            client_commands_per_sec: self
                .client_commands_per_sec
                .unwrap_or(node.client_commands_per_sec),
            user_commands_per_sec: self.user_commands_per_sec.unwrap_or(node.user_commands_per_sec),
        }
    }
}

/// What the planner brings about for a keyspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyspaceConfig {
    /// Groups wanted; named `<keyspace>-<n>`, n from 0.
    pub groups: u16,
    /// Replicas wanted per group.
    pub replicas: u8,
    /// Backups wanted per group.
    pub backups: u8,
    /// How many copies commit.
    pub ack: Rule,
    /// What else an acknowledgement promises.
    #[serde(default = "plain_durability")]
    pub durability: Durability,
    /// What linearizable reads wait for.
    #[serde(default)]
    pub reads: Reads,
    /// Bounds for its nodes.
    #[serde(default)]
    pub limits: KeyspaceLimits,
    /// What keys undergo that those who listen are told of, as Redis's `notify-keyspace-events`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub notify_keyspace_events: String,
    /// SHA-256 of the password clients must give, 64 hexadecimal digits; none = open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_sha256: Option<String>,
    /// Users, each with the SHA-256 of every password that is good for it beside the one above,
    /// which is that of the user `default`. With neither everybody may come in.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, BTreeSet<String>>,
    /// Between two handovers by which the planner gives masters of it back to nodes that are
    /// preferred, in milliseconds; masters of one machine are spread within that time.
    #[serde(default = "masters_interval_ms", skip_serializing_if = "is_usual_interval")]
    pub masters_interval_ms: u64,
    /// The planner asks for as many groups as their load needs; absent: a person does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscale: Option<Policy>,
}

/// How often the planner hands over a master where nobody says otherwise, in milliseconds.
#[must_use]
pub const fn masters_interval_ms() -> u64 {
    60_000
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_usual_interval(ms: &u64) -> bool {
    *ms == masters_interval_ms()
}

impl KeyspaceConfig {
    /// The same with the number of groups that the planner has found, if it is the planner who
    /// finds it: `known` is what the directory has.
    #[must_use]
    pub fn going_on_from(mut self, known: Option<&Self>) -> Self {
        if let Some(policy) = &self.autoscale {
            let found = known.filter(|known| known.autoscale.is_some());
            self.groups = policy.bounded(found.map_or(self.groups, |known| known.groups));
        }
        self
    }

    /// Members wanted per group: the master, replicas and backups.
    #[must_use]
    pub const fn wanted(&self) -> u8 {
        1 + self.replicas + self.backups
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Bytes that are no such value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("keyspace", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> KeyspaceConfig {
        KeyspaceConfig {
            groups: 2,
            replicas: 1,
            backups: 1,
            ack: Rule::One,
            durability: Durability { flushed: true, zones: 2 },
            reads: Reads::Confirm,
            limits: KeyspaceLimits { maxclients: Some(7), ..KeyspaceLimits::default() },
            notify_keyspace_events: "KEA".to_owned(),
            password_sha256: Some("ab".repeat(32)),
            users: [("app".to_owned(), ["cd".repeat(32), "ef".repeat(32)].into())].into(),
            masters_interval_ms: 2_000,
            autoscale: Some(policy()),
        }
    }

    fn policy() -> Policy {
        Policy { min: 2, max: 4, commands: Some(9), bytes: None, window_ms: 5_000 }
    }

    #[test]
    fn the_planners_number_of_groups_stays_within_its_bounds_while_it_is_the_planners() {
        let asked = |groups| KeyspaceConfig { groups, ..config() };
        assert_eq!(asked(1).going_on_from(None).groups, 2);
        assert_eq!(asked(1).going_on_from(Some(&asked(3))).groups, 3);
        assert_eq!(asked(1).going_on_from(Some(&asked(9))).groups, 4);
        let by_hand = |groups| KeyspaceConfig { autoscale: None, ..asked(groups) };
        assert_eq!(asked(2).going_on_from(Some(&by_hand(4))).groups, 2, "a person's");
        assert_eq!(by_hand(1).going_on_from(Some(&asked(3))).groups, 1);
    }

    #[test]
    fn a_keyspace_reads_back_what_was_written() {
        assert_eq!(KeyspaceConfig::decode(&config().encode()).unwrap(), config());
        assert_eq!(config().wanted(), 3);
    }

    #[test]
    fn what_an_older_writer_left_out_has_its_default() {
        let read = KeyspaceConfig::decode(
            br#"{"groups":1,"replicas":1,"backups":0,"ack":"quorum","later":true}"#,
        );
        let read = read.unwrap();
        assert_eq!(read.durability, Durability { flushed: false, zones: 1 });
        assert_eq!((read.reads, read.masters_interval_ms), (Reads::Lease, 60_000));
        assert_eq!(read.limits.over(Limits::default()), Limits::default());
    }

    #[test]
    fn a_keyspace_limit_replaces_the_nodes() {
        assert_eq!(config().limits.over(Limits::default()).maxclients, 7);
        let bulk = Limits::default().bulk_bytes_max;
        assert_eq!(config().limits.over(Limits::default()).bulk_bytes_max, bulk);
    }

    #[test]
    fn a_key_names_its_keyspace() {
        assert_eq!(keyspace_of_key(keyspace_key("tweets").as_bytes()), Some("tweets"));
        assert_eq!(keyspace_of_key(b"/cairn/keyspaces/\xff"), None);
    }
}
