//! What to do next for a group that is not as its keyspace asks: one small step, or none.
//!
//! Pure and deterministic: two planners that see the same facts wish the same. A wish is never a
//! decision: a claim is a Txn that compares, a change is asked for by the master under its own
//! conditions (docs/replication.md §7), and the next call starts from what was read back.

mod release;
#[cfg(test)]
mod tests;

pub use release::{Standing, next_release, relief};

use crate::ids::{Epoch, GroupId, Incarnation, NodeId, Version};
use crate::message::Mode;
use crate::record::{Member, Record, Role};
use crate::replication::Change;
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// What a keyspace asks of each of its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Members that serve reads besides the master.
    pub replicas: u8,
    /// Members that serve no client.
    pub backups: u8,
    /// How many copies commit; its `wanted` is 1 + replicas + backups.
    pub mode: Mode,
}

/// A registered data node, as far as placement goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// Its folder.
    pub incarnation: Incarnation,
    /// The zone of its machine, if known.
    pub zone: Option<String>,
    /// The keyspace it was made for.
    pub keyspace: Option<String>,
    /// The group it was made for.
    pub group: Option<GroupId>,
    /// Among equals the greater one is taken.
    pub priority: u8,
    /// Size class, version and settings in one word: a node that was not made for a group joins it
    /// only if this is the same as its master's.
    pub make: String,
}

/// A node that holds a claim of a group, or is a member of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub node: Node,
    /// What it is for, if it is a member with this folder.
    pub role: Option<Role>,
    /// Whether its node lease lives.
    pub here: bool,
    /// Whether it has been away for so long that the group does not wait for it any more.
    pub given_up: bool,
}

/// The first record of a group and whom it claims; `None` while fewer than `at_least` (1 or more)
/// of the idle nodes may be taken.
#[must_use]
pub fn first_members(
    keyspace: &str,
    group: &GroupId,
    asked: &Asked,
    idle: &[Node],
    at_least: usize,
) -> Option<Record> {
    let mut taken: Vec<&Node> = Vec::new();
    while taken.len() < usize::from(asked.mode.wanted) {
        let left: Vec<&Node> = idle.iter().filter(|n| !taken.contains(n)).collect();
        let like = taken.first().map(|first| first.make.as_str());
        match next_node(keyspace, group, &left, (&zones(taken.iter().copied()), like)) {
            Some(node) => taken.push(node),
            None => break,
        }
    }
    if taken.len() < at_least.max(1) {
        return None;
    }
    // The last ones are backups; the judge makes one of the others master.
    let serving = taken.len().saturating_sub(usize::from(asked.backups)).max(1);
    let role = |at: usize| if at < serving { Role::Replica } else { Role::Backup };
    let member = |(at, node): (usize, &&Node)| Member {
        id: node.id.clone(),
        incarnation: node.incarnation,
        role: role(at),
    };
    let mut members: Vec<Member> = taken.iter().enumerate().map(member).collect();
    members.sort();
    Some(Record {
        version: Version(1),
        epoch: Epoch::ZERO,
        master: None,
        members,
        rule: asked.mode.rule,
        wanted: asked.mode.wanted,
        durability: asked.mode.durability,
        attempt: Epoch::ZERO,
        open: false,
    })
}

/// The idle node to claim next for a group of which `held` are members or hold claims; `None` when
/// it has enough, or none may be taken. `like` is the make of its master.
///
/// Whoever is given up is replaced, one node at a time: while another one learns nobody is. A node
/// that was made for the group is also taken to relieve a spare.
#[must_use]
pub fn next_claim<'a>(
    (keyspace, group): (&str, &GroupId),
    asked: &Asked,
    held: &[Held],
    idle: &'a [Node],
    like: Option<&str>,
) -> Option<&'a Node> {
    let wanted = usize::from(asked.mode.wanted);
    let present: Vec<&Held> = held.iter().filter(|held| !held.given_up).collect();
    if present.len() >= wanted {
        return reliever(group, &present, idle);
    }
    if is_replacement(asked, held) && present.iter().any(|held| held.role.is_none()) {
        return None;
    }
    let idle: Vec<&Node> = idle.iter().collect();
    let used = zones(present.iter().map(|held| &held.node));
    next_node(keyspace, group, &idle, (&used, like))
}

/// Whether the next claim for a group would stand in for a node that is given up, rather than
/// complete a group that never had enough.
#[must_use]
pub fn is_replacement(asked: &Asked, held: &[Held]) -> bool {
    held.len() >= usize::from(asked.mode.wanted)
}

/// An idle node of the group's own, if a spare that is member holds its place.
fn reliever<'a>(group: &GroupId, present: &[&Held], idle: &'a [Node]) -> Option<&'a Node> {
    let own = |node: &Node| node.group.as_ref() == Some(group);
    let spares = present.iter().filter(|held| held.role.is_some() && !own(&held.node)).count();
    let coming = present.iter().filter(|held| held.role.is_none() && own(&held.node)).count();
    let mut able = idle.iter().filter(|node| own(node) && spares > coming);
    able.next().filter(|_| present.iter().all(|held| held.here))
}

fn zones<'a>(nodes: impl Iterator<Item = &'a Node>) -> BTreeSet<String> {
    nodes.filter_map(|node| node.zone.clone()).collect()
}

/// Nodes made for the group come first, then those made for its keyspace, then nobody's, the last
/// two only of the make of `like`; another zone than those `used` before the same one.
fn next_node<'a>(
    keyspace: &str,
    group: &GroupId,
    idle: &[&'a Node],
    (used, like): (&BTreeSet<String>, Option<&str>),
) -> Option<&'a Node> {
    let rank = |node: &Node| match (&node.group, node.keyspace.as_deref()) {
        (Some(made_for), _) => (made_for == group).then_some(0),
        (None, Some(made_for)) => (made_for == keyspace).then_some(1),
        (None, None) => Some(2),
    };
    let alike = |rank: &u8, node: &Node| *rank == 0 || like.is_none_or(|like| like == node.make);
    let same_zone = |node: &Node| node.zone.as_ref().is_some_and(|zone| used.contains(zone));
    let able = idle.iter().filter_map(|node| Some((rank(node)?, *node)));
    let first = able.filter(|(rank, node)| alike(rank, node)).min_by_key(|(rank, node)| {
        (*rank, same_zone(node), Reverse(node.priority), node.id.clone())
    });
    first.map(|(_, node)| node)
}

/// The next change of a group with a settled record; `None` when it is as asked, or nothing can
/// be done. `learners` hold a claim and do not count yet, the most advanced first.
#[must_use]
pub fn next_change(asked: &Asked, standing: Standing<'_>, learners: &[Node]) -> Option<Change> {
    let record = standing.record;
    if record.open || record.master.is_none() {
        return None;
    }
    let members = record.members.len();
    let (wanted, now_wanted) = (asked.mode.wanted, record.wanted);
    let shrinking = wanted < now_wanted;
    let complete = members >= usize::from(wanted);
    // Growing: members first, `wanted` last. Shrinking: `wanted` first.
    let due = if shrinking || complete { wanted } else { now_wanted };
    let mode = Mode { wanted: due, ..asked.mode };
    let now = Mode { rule: record.rule, wanted: now_wanted, durability: record.durability };
    if mode != now {
        return Some(Change::Mode(mode));
    }
    if !complete {
        let learner = learners.first()?;
        let (id, incarnation) = (learner.id.clone(), learner.incarnation);
        return Some(Change::Join(Member { id, incarnation, role: missing_role(asked, record) }));
    }
    if members > usize::from(wanted) {
        return surplus(standing).map(Change::Remove);
    }
    let role = wrong_role(asked, record).map(Change::Role);
    role.or_else(|| relief(standing, learners).map(Change::Join))
}

fn having(record: &Record, role: Role) -> usize {
    record.members.iter().filter(|member| member.role == role).count()
}

fn missing_role(asked: &Asked, record: &Record) -> Role {
    let few_replicas = having(record, Role::Replica) < usize::from(asked.replicas);
    if few_replicas { Role::Replica } else { Role::Backup }
}

/// Whom to remove: one that is not heard, then a spare, which others may need, then the last of
/// those numbered, since sets of processes are made smaller from their end; never the master. Roles
/// are put right afterwards.
fn surplus(Standing { record, heard, spares }: Standing<'_>) -> Option<NodeId> {
    let others = record.members.iter().filter(|m| record.master.as_ref() != Some(&m.id));
    let first = others
        .max_by_key(|m| (!heard.contains(&m.id), spares.contains(&m.id), number(&m.id), &m.id));
    first.map(|member| member.id.clone())
}

/// The number that a name ends with.
fn number(id: &NodeId) -> Option<u32> {
    id.as_str().rsplit_once('-')?.1.parse().ok()
}

fn wrong_role(asked: &Asked, record: &Record) -> Option<Member> {
    let backups = having(record, Role::Backup);
    let (from, to) = match backups.cmp(&usize::from(asked.backups)) {
        std::cmp::Ordering::Less => (Role::Replica, Role::Backup),
        std::cmp::Ordering::Greater => (Role::Backup, Role::Replica),
        std::cmp::Ordering::Equal => return None,
    };
    let member = record.members.iter().rfind(|member| member.role == from)?;
    Some(Member { role: to, ..member.clone() })
}
