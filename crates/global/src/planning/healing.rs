//! Who is away, and for how long a group waits for it.
//!
//! A short absence costs less than a copy of everything; and whoever sees half of a cluster vanish
//! sees most likely a zone or a network that comes back. So the wait grows with each recent return
//! of the same node, and while many are away nobody is given up for minutes.

use crate::View;
use cairn_logic::ids::NodeId;
use cairn_logic::time::{Duration, Instant};
use cairn_settings::NodeRole;
use cairn_settings::directory_keys::{Claim, PoolConfig};
use std::collections::BTreeMap;

/// A return is recent for so long, and makes the next wait twice as long.
const RETURN_KEPT: Duration = Duration::from_secs(600);
/// Recent returns that count, of one node.
const RETURNS_MAX: usize = 5;
/// The longest wait, and the wait for each while many are away.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// So many may be away in a cluster of any size before they are many.
const FEW: usize = 2;
/// In a large cluster one claimed node of so many may be away before they are many.
const SHARE: usize = 4;

/// Since when nodes of groups are away, and when they came back lately.
#[derive(Default)]
pub struct Healing {
    away: BTreeMap<NodeId, Instant>,
    returns: BTreeMap<NodeId, Vec<Instant>>,
    replace_after: Duration,
    claimed: usize,
}

impl Healing {
    /// Takes note of who is away and who is back.
    pub fn look(&mut self, now: Instant, view: &View) {
        let asked = view.pools.values().map(PoolConfig::replace_after);
        self.replace_after = asked.min().unwrap_or(PoolConfig::REPLACE_AFTER);
        let of_groups = |id: &NodeId| {
            view.nodes.get(id).is_some_and(|info| {
                info.role == NodeRole::Data && matches!(info.claim, Claim::Claimed { .. })
            })
        };
        self.claimed = view.nodes.keys().filter(|id| of_groups(id)).count();
        let back: Vec<NodeId> = self.away.keys().filter(|id| view.is_alive(id)).cloned().collect();
        for id in back {
            self.away.remove(&id);
            let returns = self.returns.entry(id).or_default();
            returns.push(now);
            if returns.len() > RETURNS_MAX {
                returns.remove(0);
            }
        }
        self.away.retain(|id, _| of_groups(id));
        self.returns.retain(|id, returns| {
            returns.retain(|at| now.since(*at) < RETURN_KEPT);
            !returns.is_empty() && of_groups(id)
        });
        for id in view.nodes.keys().filter(|id| of_groups(id) && !view.is_alive(id)) {
            self.away.entry(id.clone()).or_insert(now);
        }
    }

    /// Whether no node of a group is away.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.away.is_empty()
    }

    /// How long a node may be away, and how long a group keeps one that it no longer needs.
    #[must_use]
    pub fn replace_after(&self) -> Duration {
        self.replace_after
    }

    /// Whether so many have left at about the same time that it is more likely a zone or a network
    /// that is gone. Who has been away for longer than anybody is waited for does not count.
    #[must_use]
    pub fn is_braked(&self, now: Instant) -> bool {
        let lately = self.away.values().filter(|since| now.since(**since) < WAIT_MAX);
        lately.count() > FEW.max(self.claimed / SHARE)
    }

    /// Whether its group does not wait for this node any more.
    #[must_use]
    pub fn has_given_up(&self, now: Instant, id: &NodeId) -> bool {
        let wait = if self.is_braked(now) { WAIT_MAX } else { self.wait(id) };
        self.away.get(id).is_some_and(|since| now.since(*since) >= wait)
    }

    fn wait(&self, id: &NodeId) -> Duration {
        let returns = self.returns.get(id).map_or(0, Vec::len);
        let factor = 1 << returns.min(RETURNS_MAX);
        self.replace_after.saturating_mul(factor).min(WAIT_MAX.max(self.replace_after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::tests::Town;

    fn secs(secs: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(secs)
    }

    fn nodes(count: usize) -> (Town, Vec<NodeId>) {
        let ids: Vec<NodeId> = (0..count).map(|n| NodeId::new(format!("t-0-{n}"))).collect();
        let mut town = Town::default();
        ids.iter().for_each(|id| town.registers(id.as_str(), Some("t-0"), Some("t-0")));
        (town, ids)
    }

    #[test]
    fn a_node_is_given_up_after_its_time_and_after_twice_that_once_it_came_back() {
        let (mut town, ids) = nodes(3);
        let mut healing = Healing::default();
        healing.look(secs(0), &town.view);
        town.leaves("t-0-1");
        healing.look(secs(1), &town.view);
        assert!(!healing.has_given_up(secs(10), &ids[1]));
        assert!(healing.has_given_up(secs(11), &ids[1]));
        town.returns("t-0-1");
        healing.look(secs(12), &town.view);
        assert!(!healing.has_given_up(secs(40), &ids[1]));
        town.leaves("t-0-1");
        healing.look(secs(20), &town.view);
        assert!(!healing.has_given_up(secs(39), &ids[1]));
        assert!(healing.has_given_up(secs(40), &ids[1]));
    }

    #[test]
    fn a_pool_says_how_long_and_old_returns_are_forgotten() {
        let (mut town, ids) = nodes(3);
        town.pool(2_000);
        let mut healing = Healing::default();
        for at in [0, 100] {
            town.leaves("t-0-1");
            healing.look(secs(at), &town.view);
            town.returns("t-0-1");
            healing.look(secs(at + 1), &town.view);
        }
        town.leaves("t-0-1");
        healing.look(secs(701), &town.view);
        assert!(!healing.has_given_up(secs(702), &ids[1]));
        assert!(healing.has_given_up(secs(703), &ids[1]));
    }

    #[test]
    fn while_many_are_away_nobody_is_given_up_for_minutes() {
        let (mut town, ids) = nodes(9);
        let mut healing = Healing::default();
        for gone in ["t-0-0", "t-0-1"] {
            town.leaves(gone);
        }
        healing.look(secs(0), &town.view);
        assert!(healing.has_given_up(secs(60), &ids[0]), "two may go");
        town.leaves("t-0-2");
        healing.look(secs(60), &town.view);
        assert!(healing.is_braked(secs(60)));
        assert!(!healing.has_given_up(secs(299), &ids[0]), "three of nine are many");
        assert!(healing.has_given_up(secs(300), &ids[0]), "but not for ever");
        town.leaves("t-0-3");
        healing.look(secs(900), &town.view);
        assert!(!healing.is_braked(secs(900)), "those three are long gone");
    }

    #[test]
    fn who_is_no_longer_of_a_group_is_no_longer_away() {
        let (mut town, ids) = nodes(3);
        let mut healing = Healing::default();
        town.leaves("t-0-1");
        healing.look(secs(0), &town.view);
        town.registers("t-0-1", Some("t-0"), None);
        town.leaves("t-0-1");
        healing.look(secs(60), &town.view);
        assert!(!healing.has_given_up(secs(60), &ids[1]));
    }
}
