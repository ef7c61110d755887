//! The record: the truth about one configuration (docs/replication.md §0).

use crate::ids::{Epoch, Incarnation, NodeId, Version};
use serde::{Deserialize, Serialize};

/// How many copies commit an entry; the numbers are in [`crate::counting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Answered when appended; commits by quorum.
    Async,
    /// Two copies.
    One,
    /// A majority.
    Quorum,
    /// Every member.
    All,
}

/// What a member is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads and writes.
    Master,
    /// Reads of committed data.
    Replica,
    /// Receives, serves no client, steps in for a promoted replica.
    Backup,
}

/// A folder that counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The node's stable name.
    pub id: NodeId,
    /// Its folder; the same name with another folder is no member.
    pub incarnation: Incarnation,
    /// What it is for.
    pub role: Role,
    /// The zone it is in, as this configuration counts it: what the node says of itself may change,
    /// this does not but by another version of the record. `None`: not known, so it counts for no
    /// zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// What an acknowledgement promises beyond the rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Durability {
    /// A copy counts only when fdatasync has returned.
    #[serde(default)]
    pub flushed: bool,
    /// An entry is committed only with copies in at least this many zones; 1 = anywhere.
    #[serde(default = "one")]
    pub zones: u8,
}

fn one() -> u8 {
    1
}

/// The truth about one configuration; changes only by compare-and-swap on `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// Raised by one with every change.
    pub version: Version,
    /// The configuration in force; 0 until the first master.
    pub epoch: Epoch,
    /// Who masters `epoch`; `None` only at epoch 0.
    pub master: Option<NodeId>,
    /// Who counts, sorted by id; the master is among them with [`Role::Master`].
    pub members: Vec<Member>,
    /// How many copies commit.
    pub rule: Rule,
    /// 1 + replicas + backups asked for.
    pub wanted: u8,
    /// What else an acknowledgement promises.
    pub durability: Durability,
    /// The greatest number ever given out; `attempt >= epoch`.
    pub attempt: Epoch,
    /// Whether `attempt` is a takeover under way.
    pub open: bool,
}

impl Record {
    /// The member named `id`, whatever its incarnation.
    #[must_use]
    pub fn member(&self, id: &NodeId) -> Option<&Member> {
        self.members.iter().find(|m| m.id == *id)
    }

    /// Whether its group was retired: it has no members, and is as if it were not there. Versions
    /// and attempts go on from it if the group is formed again.
    #[must_use]
    pub fn is_retired(&self) -> bool {
        self.members.is_empty() && self.master.is_none() && !self.open
    }

    /// Whether this folder counts.
    #[must_use]
    pub fn names(&self, id: &NodeId, incarnation: Incarnation) -> bool {
        self.member(id).is_some_and(|m| m.incarnation == incarnation)
    }
}

/// The first entry of an epoch: who counts in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EpochRecord {
    /// The epoch it opens.
    pub epoch: Epoch,
    /// Who masters it.
    pub master: NodeId,
    /// Who counts in it.
    pub members: Vec<Member>,
    /// Revisions and tokens go on above it; 0 unless the epoch began without proof (§8).
    #[serde(default)]
    pub above: u64,
}

impl EpochRecord {
    /// Its bytes as the body of a batch.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("names and numbers always have a JSON form")
    }

    /// Reads what [`Self::encode`] wrote; `None` for anything else.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}
