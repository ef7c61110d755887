//! Scaling out and in: what the directory says is laid before `cairn_logic::balance`, and its
//! answer becomes a transaction, by the same path as `cairn move`.

#[cfg(test)]
mod tests;

use super::{Step, put, version_is};
use crate::View;
use crate::moving::{self, Swap};
use cairn_directory::Op;
use cairn_directory::op::Txn;
use cairn_logic::balance::{self, Candidate, Facts, Next, Parts, Weights};
use cairn_logic::ids::{GroupId, Version};
use cairn_logic::moves::{Hand, Moves};
use cairn_logic::record::Record;
use cairn_logic::slots::Range;
use cairn_settings::directory_keys as keys;
use keys::{Claim, KeyspaceConfig};
use std::collections::BTreeMap;

/// What masters say of their slots.
pub type Said = BTreeMap<GroupId, Parts>;

/// Groups that are formed and asked for no longer, in order.
pub(super) fn leaving(view: &View, keyspace: &str, config: &KeyspaceConfig) -> Vec<GroupId> {
    let number = |group: &GroupId| keys::number_of(keyspace, group.as_str());
    let all = view.groups.keys().filter_map(|group| Some((number(group)?, group.clone())));
    let all: BTreeMap<u16, GroupId> = all.filter(|(n, _)| *n >= config.groups).collect();
    all.into_values().collect()
}

/// All that there is to decide from.
struct Scene {
    wanted: Vec<Candidate>,
    leaving: Vec<Candidate>,
    owners: Vec<Range>,
    moves: Moves,
    weights: Weights,
    hands: Vec<Hand>,
}

impl Scene {
    fn of(view: &View, name: &str, config: &KeyspaceConfig, unix_ms: u64, said: &Said) -> Self {
        let candidate = |id: GroupId| {
            let record = view.groups.get(&id).filter(|record| !record.open);
            let master = record.and_then(|record| record.master.as_ref());
            Candidate { ready: master.is_some_and(|master| view.is_alive(master)), id }
        };
        let wanted: Vec<Candidate> = super::groups_of(name, config).map(candidate).collect();
        let leaving: Vec<Candidate> =
            leaving(view, name, config).into_iter().map(candidate).collect();
        let ranges = view.slots.get(name).map_or(&[][..], |owners| owners.ranges());
        let moves = view.moves.get(name).cloned().unwrap_or_default();
        let of_it =
            |group: &GroupId| wanted.iter().chain(&leaving).any(|candidate| candidate.id == *group);
        let said = said.iter().filter(|(group, _)| of_it(group));
        Self {
            owners: ranges.iter().cloned().map(Range::from).collect(),
            hands: moves.hands(unix_ms).cloned().collect(),
            weights: Weights::of(&said.map(|(id, parts)| (id.clone(), parts.clone())).collect()),
            wanted,
            leaving,
            moves,
        }
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            wanted: &self.wanted,
            leaving: &self.leaving,
            owners: &self.owners,
            moves: self.moves.all(),
            weights: &self.weights,
            hands: &self.hands,
            paused: self.moves.is_paused(),
        }
    }
}

/// The next transaction for a keyspace whose groups are formed, if one is due.
pub(super) fn step(
    view: &View,
    (name, config): (&str, &KeyspaceConfig),
    unix_ms: u64,
    said: &Said,
) -> Option<Step> {
    let (next, why) = decided(view, (name, config), unix_ms, said)?;
    if let Next::Retire(group) = &next {
        return retire(view, name, group, &why);
    }
    let (swap, what) = swap(view, name, &next, &why)?;
    Some(Step { what, op: swap.op() })
}

/// The move that the planner would begin or give up now, and in words.
#[must_use]
pub fn next_move(
    view: &View,
    (name, config): (&str, &KeyspaceConfig),
    unix_ms: u64,
    said: &Said,
) -> Option<(Swap, String)> {
    let (next, why) = decided(view, (name, config), unix_ms, said)?;
    swap(view, name, &next, &why)
}

fn decided(
    view: &View,
    (name, config): (&str, &KeyspaceConfig),
    unix_ms: u64,
    said: &Said,
) -> Option<(Next, String)> {
    // Nothing can be moved among less than two groups.
    if config.groups < 2 && leaving(view, name, config).is_empty() {
        return None;
    }
    let scene = Scene::of(view, name, config, unix_ms, said);
    let balance::Step { next, why, .. } = balance::next(&scene.facts());
    Some((next?, why))
}

fn swap(view: &View, name: &str, next: &Next, why: &str) -> Option<(Swap, String)> {
    match next {
        Next::Move { first, last, target, .. } => {
            let (swap, _) = moving::begin(view, name, (*first, *last), target).ok()?;
            Some((swap, format!("move {} to {target}: {why}", balance::range(*first, *last))))
        }
        Next::Cancel(id) => {
            let swap = moving::cancel(view, name, &[*id]).ok()?;
            Some((swap, format!("cancel move {id}: {why}")))
        }
        Next::Retire(_) => None,
    }
}

/// Lets go of all members of a group that has no slots: its record names nobody any more, and every
/// claim of it is given back, in one transaction that compares all that was read.
///
/// The record stays, without members: if the group is formed again it goes on with versions and
/// attempts above those that were ever given out.
fn retire(view: &View, keyspace: &str, group: &GroupId, why: &str) -> Option<Step> {
    let record = view.groups.get(group)?;
    let of_group = keys::group_key(group);
    let retired = Record {
        version: Version(record.version.0 + 1),
        master: None,
        members: Vec::new(),
        open: false,
        ..record.clone()
    };
    let rests_on = [
        of_group.clone(),
        keys::keyspace_key(keyspace),
        keys::slots_key(keyspace),
        keys::moves_key(keyspace),
    ];
    let mut compare: Vec<_> =
        rests_on.iter().map(|key| version_is(key, view.version(key))).collect();
    let mut success = vec![put(&of_group, keys::encode_group(&retired))];
    for (id, info) in view.claimed(group) {
        let Claim::Claimed { group, claim } = &info.claim else { continue };
        // A node of before there were releases would not understand.
        if info.make.version.is_empty() {
            return None;
        }
        let (key, mut info) = (keys::node_key(id), info.clone());
        info.claim = Claim::Releasing { group: group.clone(), claim: *claim };
        compare.push(version_is(&key, view.version(&key)));
        success.push(put(&key, info.encode()));
    }
    let op = Op::Txn(Txn { compare, success, failure: Vec::new() });
    Some(Step { what: format!("retire {group}: {why}"), op })
}

/// What the planner would do with a keyspace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outlook {
    /// That, and why, for people.
    pub lines: Vec<String>,
    /// Whether its groups are those asked for and nothing is left to do about their slots.
    pub slots_rest: bool,
}

/// What the planner would do with a keyspace's slots, and why: neighbouring moves from one group to
/// another are one line.
pub(super) fn outlook(view: &View, name: &str, unix_ms: u64, said: &Said) -> Option<Outlook> {
    let config = view.keyspaces.get(name)?;
    let missing = super::groups_of(name, config).find(|group| !view.groups.contains_key(group));
    if let Some(group) = missing.filter(|_| !view.slots.contains_key(name)) {
        let lines = vec![format!("waits: {group} is not formed yet")];
        return Some(Outlook { lines, slots_rest: false });
    }
    let scene = Scene::of(view, name, config, unix_ms, said);
    let mut lines = Vec::new();
    let now = balance::next(&scene.facts());
    if now.next.is_none() {
        lines.push(format!("now: {}", now.why));
    }
    let mut moved: Option<(GroupId, GroupId, u32, u32, String)> = None;
    for step in balance::outlook(&scene.facts()) {
        if let Some(Next::Move { first, last, source, target }) = &step.next {
            let count = u32::from(last.get() - first.get()) + 1;
            match &mut moved {
                Some((from, to, moves, slots, _)) if from == source && to == target => {
                    (*moves, *slots) = (*moves + 1, *slots + count);
                }
                before => {
                    lines.extend(before.take().map(in_words));
                    *before = Some((source.clone(), target.clone(), 1, count, step.why));
                }
            }
            continue;
        }
        lines.extend(moved.take().map(in_words));
        match &step.next {
            Some(Next::Retire(group)) => lines.push(format!("retire {group}: {}", step.why)),
            Some(Next::Cancel(id)) => lines.push(format!("cancel move {id}: {}", step.why)),
            _ if now.next.is_some() || step.why != now.why => {
                lines.push(format!("then: {}", step.why));
            }
            _ => {}
        }
    }
    Some(Outlook { lines, slots_rest: now.rests })
}

fn in_words((source, target, moves, slots, why): (GroupId, GroupId, u32, u32, String)) -> String {
    format!("{slots} slots from {source} to {target} in {moves} moves: {why}")
}
