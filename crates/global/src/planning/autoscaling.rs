//! Keyspaces that have as many groups as their load needs: what masters say is summed up for
//! `cairn_logic::autoscale`, and its answer becomes the number of groups that is asked for.

#[cfg(test)]
mod tests;

use super::scaling::{Said, leaving};
use super::{Step, groups_of, swap};
use crate::View;
use cairn_logic::autoscale::{self, Change, Load, Scaler};
use cairn_logic::ids::GroupId;
use cairn_logic::moves::Phase;
use cairn_logic::time::Instant;
use cairn_settings::directory_keys as keys;
use keys::KeyspaceConfig;
use std::collections::{BTreeMap, BTreeSet};

/// What keyspaces have carried lately.
#[derive(Default)]
pub struct Autoscaling {
    scalers: BTreeMap<String, Scaler>,
}

impl Autoscaling {
    /// The transaction that asks for another number of groups, if that is due.
    pub fn next(
        &mut self,
        now: Instant,
        view: &View,
        (name, config): (&str, &KeyspaceConfig),
        said: &Said,
    ) -> Option<Step> {
        let paused = view.moves.get(name).is_some_and(cairn_logic::moves::Moves::is_paused);
        let Some(policy) = config.autoscale.as_ref().filter(|_| !paused) else {
            self.scalers.remove(name);
            return None;
        };
        let load = load(view, (name, config), said)?;
        let scaler = self.scalers.entry(name.to_owned()).or_default();
        let settled = settled(view, (name, config));
        let Change { to, why } = scaler.next(now, policy, &load, (config.groups, settled))?;
        let key = keys::keyspace_key(name);
        let asked = KeyspaceConfig { groups: to, ..config.clone() };
        let op = swap(&key, view.version(&key), asked.encode());
        let what = format!("scale {name} from {} to {to} groups: {why}", config.groups);
        Some(Step { what, op })
    }

    /// The keyspaces whose load needs more groups than they may have, and how many that is.
    pub fn limited<'v>(&self, view: &'v View) -> impl Iterator<Item = (&'v str, u16)> {
        view.keyspaces.iter().filter_map(|(name, config)| {
            let policy = config.autoscale.as_ref()?;
            let limited = self.scalers.get(name).is_some_and(Scaler::is_limited);
            limited.then_some((name.as_str(), policy.max))
        })
    }

    /// What there is to say about it, for people.
    pub fn line(
        &self,
        view: &View,
        (name, config): (&str, &KeyspaceConfig),
        said: &Said,
    ) -> Option<String> {
        let policy = config.autoscale.as_ref()?;
        let (groups, min, max) = (config.groups, policy.min, policy.max);
        let head = format!("groups: {groups}, {min} to {max} by load");
        let limited = self.scalers.get(name).is_some_and(Scaler::is_limited);
        let more = if limited { "; more are needed" } else { "" };
        Some(match load(view, (name, config), said) {
            Some(load) => format!("{head}: {}{more}", autoscale::why(policy, &load, groups)),
            None => format!("{head}: not every master has said yet what its group carries"),
        })
    }
}

/// Whether what was asked for last is there: all groups have slots, those that are to go are gone,
/// and nothing is on its way.
fn settled(view: &View, (name, config): (&str, &KeyspaceConfig)) -> bool {
    let owners = owners(view, name);
    let there = groups_of(name, config).all(|group| owners.contains(&group));
    let moves = view.moves.get(name).map_or(&[][..], |moves| moves.all());
    let moving = moves.iter().any(|it| it.phase == Phase::Copy);
    there && !moving && leaving(view, name, config).is_empty()
}

/// The groups that have slots.
fn owners<'v>(view: &'v View, name: &str) -> BTreeSet<&'v GroupId> {
    let ranges = view.slots.get(name).map_or(&[][..], |owners| owners.ranges());
    ranges.iter().map(|range| &range.group).collect()
}

/// What all groups carry that have slots; none while one of them has not said it, or has no master
/// that could: what its clients would do is not known then.
fn load(view: &View, (name, config): (&str, &KeyspaceConfig), said: &Said) -> Option<Load> {
    let mut load = Load { bytes_max: config.limits.maxmemory_bytes, ..Load::default() };
    let owners = owners(view, name);
    if owners.is_empty() {
        return None;
    }
    for group in owners {
        let record = view.groups.get(group).filter(|record| !record.open)?;
        record.master.as_ref().filter(|master| view.is_alive(master))?;
        for part in said.get(group)?.values() {
            load.commands = load.commands.saturating_add(part.commands);
            load.bytes = load.bytes.saturating_add(part.bytes);
        }
    }
    Some(load)
}
