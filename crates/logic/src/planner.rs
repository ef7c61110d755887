//! What to do next for a group that is not as its keyspace asks: one small step, or none.
//!
//! Pure and deterministic: two planners that see the same facts wish the same. A wish is never a
//! decision: a claim is a Txn that compares, a change is asked for by the master under its own
//! conditions (docs/replication.md §7), and the next call starts from what was read back.

mod drain;
mod release;
mod spread;
#[cfg(test)]
mod tests;

pub use release::{Standing, next_release, relief};

use crate::ids::{Epoch, GroupId, Incarnation, NodeId, Version};
use crate::message::Mode;
use crate::record::{Member, Record, Role};
use crate::replication::Change;
use spread::Spread;
use std::cmp::Reverse;

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
    /// Whether it, or its machine, is to be empty: it is not taken, and replaced where it counts.
    pub drained: bool,
    /// Whether its pool has no more idle nodes in its zone than it should have.
    pub last: bool,
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

impl Held {
    /// Whether the group can count on it from now on.
    fn stays(&self) -> bool {
        !self.given_up && !self.node.drained
    }
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
        match next_node((keyspace, group), asked, &left, (taken.iter().copied(), like)) {
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
        zone: node.zone.clone(),
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
/// Whoever is given up or drained is replaced, one node at a time: while another one learns nobody
/// is. A node that was made for the group is also taken to relieve a spare, and any node that the
/// group may have if its members lie in too few zones without it.
#[must_use]
pub fn next_claim<'a>(
    (keyspace, group): (&str, &GroupId),
    asked: &Asked,
    held: &[Held],
    idle: &'a [Node],
    like: Option<&str>,
) -> Option<&'a Node> {
    let wanted = usize::from(asked.mode.wanted);
    let present: Vec<&Held> = held.iter().filter(|held| held.stays()).collect();
    if present.len() >= wanted {
        let able = idle.iter().filter(|node| rank(keyspace, group, like, node).is_some());
        let mover = || spread::mover(asked, &present, able);
        return reliever(asked, group, &present, idle).or_else(mover);
    }
    if is_replacement(asked, held) && present.iter().any(|held| held.role.is_none()) {
        return None;
    }
    let for_drain = is_for_drain(asked, held);
    let fits = |node: &&Node| !for_drain || drain::fits(asked, held, node);
    let idle: Vec<&Node> = idle.iter().filter(fits).collect();
    let beside = present.iter().map(|held| &held.node);
    next_node((keyspace, group), asked, &idle, (beside, like))
}

/// Whether the next claim for a group would stand in for a node that is drained, while nobody is
/// lost.
#[must_use]
pub fn is_for_drain(asked: &Asked, held: &[Held]) -> bool {
    let wanted = usize::from(asked.mode.wanted);
    let there = held.iter().filter(|held| !held.given_up);
    let stay = held.iter().filter(|held| held.stays()).count();
    stay < wanted && there.count() >= wanted
}

/// Whether a node learns that is to count in place of one that is given up or drained, or counts
/// already beside one that is drained.
#[must_use]
pub fn is_replacing(asked: &Asked, held: &[Held]) -> bool {
    let members = || held.iter().filter(|held| held.role.is_some());
    let learns = held.iter().any(|held| held.here && held.role.is_none() && held.stays());
    let drains = members().any(|held| held.node.drained);
    let surplus = members().count() > usize::from(asked.mode.wanted);
    (learns && (drains || held.iter().any(|held| held.given_up))) || (surplus && drains)
}

/// Whether the next claim for a group would stand in for a node that is given up or drained, rather
/// than complete a group that never had enough.
#[must_use]
pub fn is_replacement(asked: &Asked, held: &[Held]) -> bool {
    held.len() >= usize::from(asked.mode.wanted)
}

/// An idle node of the group's own, if a spare that is member holds its place and the members would
/// lie no worse without that one.
fn reliever<'a>(
    asked: &Asked,
    group: &GroupId,
    present: &[&Held],
    idle: &'a [Node],
) -> Option<&'a Node> {
    let own = |node: &Node| node.group.as_ref() == Some(group);
    let spares = || present.iter().filter(|held| held.role.is_some() && !own(&held.node));
    let coming = present.iter().filter(|held| held.role.is_none() && own(&held.node)).count();
    let lie = |without: Option<&Held>, with: Option<&Node>| {
        let left = present.iter().filter(|held| without.is_none_or(|gone| gone != **held));
        let zones = left.map(|held| &held.node).chain(with).map(|node| node.zone.as_ref());
        Spread::of(zones).shortfall(asked)
    };
    let now = lie(None, None);
    let fits = |node: &Node| spares().any(|spare| lie(Some(spare), Some(node)) <= now);
    let mut able = idle
        .iter()
        .filter(|node| own(node) && !node.drained && spares().count() > coming && fits(node));
    able.next().filter(|_| present.iter().all(|held| held.here))
}

/// How near a node is to a group, the nearest 0: made for it, made for its keyspace, nobody's, the
/// last two only of the make of `like`; `None` if it may not be taken, as if it is drained.
fn rank(keyspace: &str, group: &GroupId, like: Option<&str>, node: &Node) -> Option<u8> {
    let rank = match (&node.group, node.keyspace.as_deref()) {
        (Some(made_for), _) => (made_for == group).then_some(0),
        (None, Some(made_for)) => (made_for == keyspace).then_some(1),
        (None, None) => Some(2),
    };
    let rank = rank.filter(|_| !node.drained);
    rank.filter(|rank| *rank == 0 || like.is_none_or(|like| like == node.make))
}

/// The nearest node comes first, of equals the one in the zone with the fewest of those `beside`
/// it, of these one whose zone has idle nodes to spare; but before all others one in a zone that
/// the keyspace asks for and does not have.
fn next_node<'a, 'b>(
    (keyspace, group): (&str, &GroupId),
    asked: &Asked,
    idle: &[&'a Node],
    (beside, like): (impl Iterator<Item = &'b Node>, Option<&str>),
) -> Option<&'a Node> {
    let spread = Spread::of(beside.map(|node| node.zone.as_ref()));
    let able = idle.iter().filter_map(|node| Some((rank(keyspace, group, like, node)?, *node)));
    let first = able.min_by_key(|(rank, node)| {
        let (lacked, beside) = (spread.lacks(asked, node), spread.beside(node));
        (!lacked, *rank, beside, node.last, Reverse(node.priority), node.id.clone())
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
    let mut mode = Mode { wanted: due, ..asked.mode };
    let now = Mode { rule: record.rule, wanted: now_wanted, durability: record.durability };
    // Zones as well: members first. Until then the record says what is promised.
    if !spread::has_zones(asked, record) {
        mode.durability.zones = mode.durability.zones.min(now.durability.zones);
    }
    if mode != now {
        return Some(Change::Mode(mode));
    }
    let misplaced = || spread::misplaced(asked, record, standing.zones).map(Change::Role);
    if !complete {
        // One that is drained is better than nobody; it is replaced when another one is there.
        let lie = |node: &&Node| {
            (node.drained, spread::spread(record, None, Some(node)).shortfall(asked))
        };
        let learner = learners.iter().min_by_key(lie);
        let role = missing_role(asked, record);
        return learner.map(|node| Change::Join(joiner(node, role))).or_else(misplaced);
    }
    if members > usize::from(wanted) {
        return surplus(asked, standing).map(Change::Remove);
    }
    let role = wrong_role(asked, record).map(Change::Role);
    let successor = || drain::successor(asked, standing, learners).map(Change::Join);
    let relief = || relief(asked, standing, learners).map(Change::Join);
    role.or_else(successor).or_else(relief).or_else(misplaced)
}

/// A node as a member in this role, in the zone that it says it is in.
fn joiner(node: &Node, role: Role) -> Member {
    let (id, incarnation, zone) = (node.id.clone(), node.incarnation, node.zone.clone());
    Member { id, incarnation, role, zone }
}

fn having(record: &Record, role: Role) -> usize {
    record.members.iter().filter(|member| member.role == role).count()
}

fn missing_role(asked: &Asked, record: &Record) -> Role {
    let few_replicas = having(record, Role::Replica) < usize::from(asked.replicas);
    if few_replicas { Role::Replica } else { Role::Backup }
}

/// Whom to remove: one that is not heard, then one without whom the others lie well in their zones,
/// then one that is drained, then a spare, which others may need, then the last of those numbered,
/// since sets of processes are made smaller from their end; never the master. Roles are put right
/// afterwards. Nobody goes in place of a master that is drained: it hands over first.
fn surplus(asked: &Asked, standing: Standing<'_>) -> Option<NodeId> {
    let Standing { record, heard, spares, drained, .. } = standing;
    let is_drained = |id: &NodeId| drained.contains(id);
    let others = record.members.iter().filter(|m| record.master.as_ref() != Some(&m.id));
    let first = others.max_by_key(|m| {
        let left = spread::spread(record, Some(&m.id), None).shortfall(asked);
        let last = (spares.contains(&m.id), number(&m.id), &m.id);
        (!heard.contains(&m.id), Reverse(left), is_drained(&m.id), last)
    })?;
    let only = record.members.len() == usize::from(asked.mode.wanted) + 1;
    let waits = only && record.master.as_ref().is_some_and(is_drained);
    let goes = !heard.contains(&first.id) || is_drained(&first.id);
    (goes || !waits).then(|| first.id.clone())
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
