//! How members lie in zones, where a keyspace asks for copies in several.
//!
//! A keyspace that asks for one zone gets its members spread as they are claimed, and nobody is
//! moved for it. One that asks for more gets two things besides: members in as many zones as it
//! asks for, and no zone whose loss leaves too few to write, if nodes elsewhere allow it.

use super::{Asked, Held, Node};
use crate::counting::{Counts, Plane};
use crate::ids::NodeId;
use crate::record::{Member, Record, Role};
use std::collections::BTreeMap;

/// What is wrong with how members lie; less is better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shortfall {
    /// Zones that are missing.
    zones: usize,
    /// How many members too few to write the loss of the fullest zone would leave.
    crowded: usize,
}

/// How many of some nodes are in each zone.
#[derive(Clone, Debug, Default)]
pub(super) struct Spread(BTreeMap<String, usize>);

impl Spread {
    pub(super) fn of<'a>(zones: impl Iterator<Item = Option<&'a String>>) -> Self {
        let mut spread = Self::default();
        zones.flatten().for_each(|zone| *spread.0.entry(zone.clone()).or_default() += 1);
        spread
    }

    /// The nodes in the zone of `node`; none if that is not known.
    pub(super) fn beside(&self, node: &Node) -> usize {
        node.zone.as_ref().and_then(|zone| self.0.get(zone)).copied().unwrap_or(0)
    }

    /// Whether `node` is in a zone that is lacking.
    pub(super) fn lacks(&self, asked: &Asked, node: &Node) -> bool {
        let missing = self.0.len() < zones_asked(asked);
        missing && node.zone.as_ref().is_some_and(|zone| !self.0.contains_key(zone))
    }

    pub(super) fn shortfall(&self, asked: &Asked) -> Shortfall {
        let zones = zones_asked(asked);
        if zones < 2 {
            return Shortfall::default();
        }
        let wanted = usize::from(asked.mode.wanted.max(1));
        let copies = Counts::new(Plane::Group, asked.mode.rule, wanted, wanted).copies;
        let most = self.0.values().max().copied().unwrap_or(0);
        Shortfall {
            zones: zones.saturating_sub(self.0.len()),
            crowded: copies.saturating_sub(wanted.saturating_sub(most)),
        }
    }
}

/// Whether the members of `record` are in as many zones as are asked for.
pub(super) fn has_zones(asked: &Asked, record: &Record) -> bool {
    spread(record, None, None).0.len() >= zones_asked(asked).max(1) || zones_asked(asked) < 2
}

fn zones_asked(asked: &Asked) -> usize {
    usize::from(asked.mode.durability.zones)
}

/// How the members of `record` lie, `without` one of them and `with` another node.
pub(super) fn spread(record: &Record, without: Option<&NodeId>, with: Option<&Node>) -> Spread {
    let members = record.members.iter().filter(|member| Some(&member.id) != without);
    let zones = members.map(|member| member.zone.as_ref());
    Spread::of(zones.chain(with.map(|node| node.zone.as_ref())))
}

/// Whether the members would lie better with `node` among them, one of the others gone.
pub(super) fn improves(asked: &Asked, record: &Record, node: &Node) -> bool {
    let now = spread(record, None, None).shortfall(asked);
    let others = record.members.iter().filter(|member| member.role != Role::Master);
    let then = others.map(|gone| spread(record, Some(&gone.id), Some(node)).shortfall(asked));
    then.min().is_some_and(|then| then < now)
}

/// An idle node that would make a complete group lie better, the nearest to the group first;
/// nobody while one learns, or is away.
pub(super) fn mover<'a>(
    asked: &Asked,
    present: &[&Held],
    idle: impl Iterator<Item = &'a Node>,
) -> Option<&'a Node> {
    if present.iter().any(|held| held.role.is_none() || !held.here) {
        return None;
    }
    let lie = |without: Option<&NodeId>, with: Option<&Node>| {
        let nodes = present.iter().map(|held| &held.node);
        let left = nodes.filter(|node| Some(&node.id) != without);
        Spread::of(left.chain(with).map(|node| node.zone.as_ref())).shortfall(asked)
    };
    let now = lie(None, None);
    let best = |node: &Node| {
        let others = present.iter().filter(|held| held.role != Some(Role::Master));
        others.map(|gone| lie(Some(&gone.node.id), Some(node))).min().unwrap_or(now)
    };
    let able = idle.map(|node| (best(node), node)).filter(|(then, _)| *then < now);
    able.min_by_key(|(then, _)| *then).map(|(_, node)| node)
}

/// A member that counts in another zone than its node says it is in, as it should count.
pub(super) fn misplaced(
    asked: &Asked,
    record: &Record,
    zones: &BTreeMap<NodeId, String>,
) -> Option<Member> {
    if zones_asked(asked) < 2 {
        return None;
    }
    record.members.iter().find_map(|member| {
        let zone = zones.get(&member.id)?;
        let counted = member.zone.as_ref() == Some(zone);
        (!counted).then(|| Member { zone: Some(zone.clone()), ..member.clone() })
    })
}
