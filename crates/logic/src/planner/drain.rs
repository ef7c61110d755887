//! How a node that is to be empty loses its place: another one counts first, then it leaves.
//!
//! A drained node is well, so nothing is hurried: its group never has a copy less than before, nor
//! lies worse in its zones, and one that cannot be replaced like that stays.

use super::spread::{self, Spread};
use super::{Asked, Held, Node, Standing, joiner};
use crate::record::{Member, Role};

/// Whether the group would lie no worse with `node` in place of one of those that are drained.
pub(super) fn fits(asked: &Asked, held: &[Held], node: &Node) -> bool {
    let members = || held.iter().filter(|held| held.role.is_some() && !held.given_up);
    let lie = |without: Option<&Held>, with: Option<&Node>| {
        let left = members().filter(|held| without.is_none_or(|gone| gone != *held));
        let zones = left.map(|held| &held.node).chain(with).map(|node| node.zone.as_ref());
        Spread::of(zones).shortfall(asked)
    };
    let now = lie(None, None);
    let mut drained = members().filter(|held| held.node.drained);
    drained.any(|gone| lie(Some(gone), Some(node)) <= now)
}

/// The learner that is to count in place of a member that is drained, in its role; a master's
/// successor is a replica until that one has handed over.
pub(super) fn successor(
    asked: &Asked,
    standing: Standing<'_>,
    learners: &[Node],
) -> Option<Member> {
    learners.iter().find_map(|node| {
        let gone = place(asked, standing, node)?;
        let role = if gone.role == Role::Master { Role::Replica } else { gone.role };
        Some(joiner(node, role))
    })
}

/// Whether `node`, a learner, is to count in place of a member that is drained.
pub(super) fn succeeds(asked: &Asked, standing: Standing<'_>, node: &Node) -> bool {
    place(asked, standing, node).is_some()
}

/// The drained member whose place `node` may take; a master last.
fn place<'a>(asked: &Asked, standing: Standing<'a>, node: &Node) -> Option<&'a Member> {
    let record = standing.record;
    let lie = |without: Option<&Member>, with: Option<&Node>| {
        spread::spread(record, without.map(|m| &m.id), with).shortfall(asked)
    };
    let now = lie(None, None);
    let drained = record.members.iter().filter(|member| standing.drained.contains(&member.id));
    let able = drained.filter(|gone| !node.drained && lie(Some(gone), Some(node)) <= now);
    able.min_by_key(|member| (member.role == Role::Master, &member.id))
}
