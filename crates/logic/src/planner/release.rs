//! How a spare goes back to its pool: relieved by a node of the group's own, then released.

use super::{Asked, Held, Node, drain, joiner, spread};
use crate::ids::NodeId;
use crate::mutant::{Mutant, broken};
use crate::record::{Member, Record, Role};
use std::collections::{BTreeMap, BTreeSet};

/// Where a group stands.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// Its record.
    pub record: &'a Record,
    /// The nodes that report to its judge.
    pub heard: &'a BTreeSet<NodeId>,
    /// Members that were not made for this group.
    pub spares: &'a BTreeSet<NodeId>,
    /// The zones that its members say they are in.
    pub zones: &'a BTreeMap<NodeId, String>,
    /// Members that are to be empty, or whose machine is.
    pub drained: &'a BTreeSet<NodeId>,
}

impl Standing<'_> {
    /// Spares that count and do not master; a node of the group's own may take their place.
    fn relievable(&self) -> impl Iterator<Item = &Member> {
        let members = self.record.members.iter();
        members.filter(|m| m.role != Role::Master && self.spares.contains(&m.id))
    }

    fn has_spares(&self) -> bool {
        self.record.members.iter().any(|member| self.spares.contains(&member.id))
    }

    /// Whether the group is as asked, and every member of it is heard.
    fn is_whole(&self, asked: &Asked) -> bool {
        let wanted = asked.mode.wanted;
        let record = self.record;
        !record.open
            && record.master.is_some()
            && record.wanted == wanted
            && record.members.len() == usize::from(wanted)
            && record.members.iter().all(|member| self.heard.contains(&member.id))
    }
}

/// The learner that is to take a spare's place in a group that is as asked, in the spare's role, or
/// with which the members lie better in their zones: it joins before another one leaves, so that
/// there is never a copy less.
#[must_use]
pub fn relief(asked: &Asked, standing: Standing<'_>, learners: &[Node]) -> Option<Member> {
    let record = standing.record;
    let lie = |without: Option<&Member>, with: Option<&Node>| {
        spread::spread(record, without.map(|m| &m.id), with).shortfall(asked)
    };
    let now = lie(None, None);
    let relieves = |own: &Node| {
        let mut spares = standing.relievable();
        let spare = spares.find(|spare| lie(Some(spare), Some(own)) <= now)?;
        Some(joiner(own, spare.role))
    };
    let stay = || learners.iter().filter(|node| !node.drained);
    let own = stay().filter(|node| node.group.is_some()).find_map(relieves);
    own.or_else(|| {
        let better = stay().find(|node| spread::improves(asked, record, node))?;
        Some(joiner(better, Role::Replica))
    })
}

/// Whose claim to give back: a node that the group does not name and does not need, while it has
/// all the members it is to have and hears them. Whoever is to relieve a spare is needed, also if
/// that is master and will be relieved only when another one is, or if it is drained itself, which
/// may end; so is whoever is to make the members lie better in their zones, or to count in place of
/// one that is drained.
#[must_use]
pub fn next_release<'a>(
    asked: &Asked,
    standing: Standing<'_>,
    held: &'a [Held],
) -> Option<&'a Node> {
    if !standing.is_whole(asked) {
        return None;
    }
    let named = |node: &Node| {
        standing.record.names(&node.id, node.incarnation) && !broken(Mutant::ReleasesNamed)
    };
    // A member whose folder is gone is heard, perhaps, by its name; it is not there.
    let is_there =
        |id: &NodeId| held.iter().any(|h| h.node.id == *id && h.role.is_some() && h.here);
    let all_here = standing.record.members.iter().all(|member| is_there(&member.id));
    let relieves = |node: &Node| node.group.is_some() && standing.has_spares();
    let mut free = held.iter().filter(|held| held.here && !named(&held.node));
    let improves = |node: &Node| spread::improves(asked, standing.record, node);
    let needed = |node: &Node| {
        let joins = !node.drained && (improves(node) || drain::succeeds(asked, standing, node));
        joins || relieves(node)
    };
    free.find(|held| all_here && !needed(&held.node)).map(|held| &held.node)
}
