//! Who serves which slot, as the directory says it; made by control, read by the data thread.

use cairn_logic::ids::{Epoch, GroupId, NodeId, SLOTS, Slot};
use cairn_logic::moves::Move;
use cairn_logic::record::Role;

/// The routes of one keyspace at one revision of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    /// This node.
    pub me: NodeId,
    /// The revision of the directory they were read at; shown as the cluster's current epoch.
    pub revision: u64,
    /// The groups of the keyspace.
    pub groups: Vec<GroupRoute>,
    /// For each slot the index of its group in `groups`, or [`NOBODY`]; always 16384 long.
    pub slots: Vec<u16>,
    /// Moves of slots, as read at the same moment.
    pub moves: Vec<Move>,
}

/// The slot has no owner.
pub const NOBODY: u16 = u16::MAX;

/// One group and where its nodes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRoute {
    /// Its name.
    pub id: GroupId,
    /// The epoch of its record; shown as its nodes' configuration epoch.
    pub epoch: Epoch,
    /// Its members; the master (if there is one) has [`Role::Master`].
    pub nodes: Vec<NodeRoute>,
}

/// A member of a group, as clients see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRoute {
    /// Its stable name.
    pub id: NodeId,
    /// What it is for; clients are never sent to a backup.
    pub role: Role,
    /// The address clients connect to (an IP address or a name).
    pub host: String,
    /// The client port.
    pub port: u16,
    /// The peer port, shown as the bus port.
    pub peer_port: u16,
    /// Whether its node lease is alive; others are shown as failed and left out of slots.
    pub alive: bool,
}

impl Routes {
    /// No group and no owner: every key is answered with CLUSTERDOWN.
    #[must_use]
    pub fn none(me: NodeId) -> Self {
        let (groups, moves) = (Vec::new(), Vec::new());
        Self { me, revision: 0, groups, slots: vec![NOBODY; usize::from(SLOTS)], moves }
    }

    /// The group that owns `slot`.
    #[must_use]
    pub fn owner(&self, slot: Slot) -> Option<&GroupRoute> {
        let index = *self.slots.get(usize::from(slot.get()))?;
        self.groups.get(usize::from(index))
    }

    /// The index of the group this node is a member of.
    #[must_use]
    pub fn home(&self) -> Option<usize> {
        self.groups.iter().position(|group| group.node(&self.me).is_some())
    }

    /// Runs of slots with the same owner: (first, last, index of the group), ascending.
    #[must_use]
    pub fn ranges(&self) -> Vec<(u16, u16, usize)> {
        let mut ranges: Vec<(u16, u16, usize)> = Vec::new();
        for (slot, &owner) in (0..SLOTS).zip(&self.slots) {
            if owner == NOBODY || usize::from(owner) >= self.groups.len() {
                continue;
            }
            match ranges.last_mut() {
                Some(run) if run.1 + 1 == slot && run.2 == usize::from(owner) => run.1 = slot,
                _ => ranges.push((slot, slot, usize::from(owner))),
            }
        }
        ranges
    }
}

impl GroupRoute {
    /// The member named `id`.
    #[must_use]
    pub fn node(&self, id: &NodeId) -> Option<&NodeRoute> {
        self.nodes.iter().find(|node| node.id == *id)
    }

    /// The master of the group, if its record names one.
    #[must_use]
    pub fn master(&self) -> Option<&NodeRoute> {
        self.nodes.iter().find(|node| node.role == Role::Master)
    }
}
