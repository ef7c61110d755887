//! `/cairn/history/<group>/<epoch>`: how an epoch came to be, kept for people.

use super::{DecodeError, HISTORY, decode, encode};
use cairn_logic::ids::{EntryId, Epoch, GroupId, NodeId};
use cairn_logic::judge::{Cause, Decision};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Transitions kept of each group; older ones are deleted when a newer one is written.
pub const TRANSITIONS_MAX: u64 = 16;

/// Before the epochs of a group.
#[must_use]
pub fn history_prefix(group: &GroupId) -> String {
    format!("{HISTORY}{group}/")
}

/// The key of a group's transition to `epoch`; keys sort as epochs do.
#[must_use]
pub fn transition_key(group: &GroupId, epoch: Epoch) -> String {
    format!("{HISTORY}{group}/{:020}", epoch.0)
}

/// How one epoch of a group followed another: who decided it, when, and from which facts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    /// When, by the judge's wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The node whose judge decided.
    pub judge: NodeId,
    /// Why it looked for another master.
    pub cause: Cause,
    /// The epoch before.
    pub former_epoch: Epoch,
    /// Its master, if it had one.
    pub former_master: Option<NodeId>,
    /// The epoch that began.
    pub epoch: Epoch,
    /// Its master.
    pub master: Option<NodeId>,
    /// From the cause to the decision, in milliseconds.
    pub took_ms: u64,
    /// Who was sealed, and where its log ended: what the choice was made from.
    pub sealed: Vec<Sealed>,
    /// Whether acknowledged entries may be missing.
    pub lossy: bool,
}

/// One member as its judge found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sealed {
    /// Which.
    pub node: NodeId,
    /// Its last entry.
    pub last: EntryId,
    /// Whether nothing can be missing below that.
    pub intact: bool,
}

impl Transition {
    /// What `judge` decided at `unix_ms`.
    #[must_use]
    pub fn new(judge: NodeId, unix_ms: u64, decision: &Decision) -> Self {
        let sealed = decision.sealed.iter().cloned();
        Self {
            unix_ms,
            judge,
            cause: decision.cause,
            former_epoch: decision.former_epoch,
            former_master: decision.former_master.clone(),
            epoch: decision.record.epoch,
            master: decision.record.master.clone(),
            took_ms: u64::try_from(decision.took.as_millis()).unwrap_or(u64::MAX),
            sealed: sealed.map(|(node, last, intact)| Sealed { node, last, intact }).collect(),
            lossy: decision.lossy,
        }
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Bytes that are no transition.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("transition", bytes)
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |node: &Option<NodeId>| node.as_ref().map_or("nobody".into(), NodeId::to_string);
        let (old, new) = (name(&self.former_master), name(&self.master));
        write!(f, "unix_ms={} epoch {} -> {}: ", self.unix_ms, self.former_epoch, self.epoch)?;
        write!(f, "{old} -> {new}, cause {:?}, by {}, ", self.cause, self.judge)?;
        write!(f, "took {} ms, sealed: ", self.took_ms)?;
        for (at, sealed) in self.sealed.iter().enumerate() {
            let comma = if at > 0 { ", " } else { "" };
            let not = if sealed.intact { "" } else { " (not intact)" };
            write!(f, "{comma}{} at {}{not}", sealed.node, sealed.last)?;
        }
        if self.lossy {
            write!(f, ", LOSS POSSIBLE")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transition_reads_back_and_tells_its_facts() {
        let last = EntryId { epoch: Epoch(4), offset: cairn_logic::ids::Offset(9) };
        let transition = Transition {
            unix_ms: 5,
            judge: NodeId::new("demo-global-0"),
            cause: Cause::Silence,
            former_epoch: Epoch(4),
            former_master: Some(NodeId::new("t-0-0")),
            epoch: Epoch(6),
            master: Some(NodeId::new("t-0-1")),
            took_ms: 31,
            sealed: vec![
                Sealed { node: NodeId::new("t-0-1"), last, intact: true },
                Sealed { node: NodeId::new("t-0-2"), last, intact: false },
            ],
            lossy: true,
        };
        assert_eq!(Transition::decode(&transition.encode()).unwrap(), transition);
        assert_eq!(
            transition.to_string(),
            "unix_ms=5 epoch 4 -> 6: t-0-0 -> t-0-1, cause Silence, by demo-global-0, took 31 ms, \
             sealed: t-0-1 at 4/9, t-0-2 at 4/9 (not intact), LOSS POSSIBLE"
        );
        let group = GroupId::new("t-0");
        assert!(transition_key(&group, Epoch(9)) < transition_key(&group, Epoch(10)));
        assert!(transition_key(&group, Epoch(9)).starts_with(&history_prefix(&group)));
    }
}
