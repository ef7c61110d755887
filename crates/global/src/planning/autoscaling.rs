//! Keyspaces that have as many groups as their load needs: what masters say is summed up for
//! `cairn_logic::autoscale`, and its answer becomes the number of groups that is asked for.

#[cfg(test)]
mod tests;

use super::scaling::{Said, leaving};
use super::{Step, groups_of, swap};
use crate::View;
use cairn_logic::autoscale::{self, Change, Load, Scaler};
use cairn_logic::ids::GroupId;
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
        // Groups that are on their way out, or not there yet, come first.
        let there = groups_of(name, config).all(|group| said.contains_key(&group));
        let settled = there && leaving(view, name, config).is_empty();
        let scaler = self.scalers.entry(name.to_owned()).or_default();
        let Change { to, why } = scaler.next(now, policy, &load, (config.groups, settled))?;
        let key = keys::keyspace_key(name);
        let asked = KeyspaceConfig { groups: to, ..config.clone() };
        let op = swap(&key, view.version(&key), asked.encode());
        let what = format!("scale {name} from {} to {to} groups: {why}", config.groups);
        Some(Step { what, op })
    }

    /// What is there to say about it, for people.
    #[must_use]
    pub fn line(view: &View, (name, config): (&str, &KeyspaceConfig), said: &Said) -> Option<String> {
        let policy = config.autoscale.as_ref()?;
        let (groups, min, max) = (config.groups, policy.min, policy.max);
        let head = format!("groups: {groups} of {min} to {max}");
        Some(match load(view, (name, config), said) {
            Some(load) => format!("{head}: {}", autoscale::why(policy, &load, groups)),
            None => format!("{head}: not every master has said yet what its group carries"),
        })
    }
}

/// What all groups carry that have slots; none while one of them has not said it.
fn load(view: &View, (name, config): (&str, &KeyspaceConfig), said: &Said) -> Option<Load> {
    let mut load = Load { bytes_max: config.limits.maxmemory_bytes, ..Load::default() };
    let ranges = view.slots.get(name)?.ranges();
    let owners: BTreeSet<&GroupId> = ranges.iter().map(|range| &range.group).collect();
    for group in owners {
        for part in said.get(group)?.values() {
            load.commands = load.commands.saturating_add(part.commands);
            load.bytes = load.bytes.saturating_add(part.bytes);
        }
    }
    Some(load)
}
