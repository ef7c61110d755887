//! How many of each pool's spares are idle, and whether that is enough; for people.

use crate::View;
use cairn_logic::ids::GroupId;
use cairn_settings::NodeRole;
use cairn_settings::directory_keys::Claim;
use std::collections::BTreeMap;

/// A pool at one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// Nodes that should be idle.
    pub idle_min: usize,
    /// Nodes that may be claimed now.
    pub idle: usize,
    /// Nodes that belong to groups.
    pub claimed: usize,
    /// Nodes that are being released.
    pub releasing: usize,
    /// Nodes that registered once and are not there.
    pub away: usize,
    /// Nodes that are nobody's and are to be empty: they may not be claimed.
    pub drained: usize,
    /// Nodes that should be idle in each zone.
    pub zone_min: usize,
    /// Nodes that may be claimed now, by zone, in each zone that has data nodes.
    pub zones: BTreeMap<String, usize>,
    /// Groups that wait for a node of it, or of any other pool, in place of one that is drained.
    pub waited_for: Vec<GroupId>,
}

impl Pool {
    /// Whether fewer of its nodes are idle than should be, all in all or in a zone, or none is and
    /// somebody waits for one.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.has_too_few() || self.short_zones().next().is_some()
    }

    /// Whether fewer of its nodes are idle than should be all in all, or none is and somebody waits
    /// for one.
    #[must_use]
    pub fn has_too_few(&self) -> bool {
        self.idle < self.idle_min || (self.idle == 0 && !self.waited_for.is_empty())
    }

    /// Zones with fewer idle nodes than there should be, and how many are missing in each.
    pub fn short_zones(&self) -> impl Iterator<Item = (&str, usize)> {
        let missing = |(zone, idle): (_, &usize)| (zone, self.zone_min.saturating_sub(*idle));
        let zones = self.zones.iter().map(|(zone, idle)| (zone.as_str(), idle)).map(missing);
        zones.filter(|(_, missing)| *missing > 0)
    }

    /// Whether one idle node less in `zone` would be fewer than there should be.
    #[must_use]
    pub fn is_last_in(&self, zone: &str) -> bool {
        self.zones.get(zone).is_some_and(|idle| *idle <= self.zone_min)
    }
}

/// Every pool that is configured, by name.
#[must_use]
pub fn pools(view: &View) -> Vec<Pool> {
    let data = view.nodes.values().filter(|info| info.role == NodeRole::Data);
    let zones: BTreeMap<String, usize> =
        data.filter_map(|info| info.zone.clone()).map(|zone| (zone, 0)).collect();
    let pool = |(name, config): (&String, &cairn_settings::directory_keys::PoolConfig)| {
        let mut pool = Pool { name: name.clone(), ..Pool::default() };
        pool.idle_min = usize::from(config.idle_min);
        pool.zone_min = usize::from(config.min_idle_per_zone);
        if pool.zone_min > 0 {
            pool.zones = zones.clone();
        }
        for (id, info) in view.nodes.iter().filter(|(_, info)| info.pool.as_ref() == Some(name)) {
            let count = match &info.claim {
                _ if !view.is_alive(id) => &mut pool.away,
                Claim::Idle if view.is_drained(id) => &mut pool.drained,
                Claim::Idle => {
                    let zone = info.zone.as_ref();
                    if let Some(idle) = zone.and_then(|zone| pool.zones.get_mut(zone)) {
                        *idle += 1;
                    }
                    &mut pool.idle
                }
                Claim::Claimed { .. } => &mut pool.claimed,
                Claim::Releasing { .. } => &mut pool.releasing,
            };
            *count += 1;
        }
        pool
    };
    view.pools.iter().map(pool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::planning::tests::Town;

    #[test]
    fn a_pool_is_exhausted_when_too_few_of_its_own_nodes_are_idle_and_there() {
        let mut town = Town::default();
        town.pool(2_000);
        for n in 0..4 {
            town.registers(&format!("p-spare-{n}"), None, (n == 1).then_some("t-0"));
        }
        town.registers("stranger", Some("t-0"), None);
        town.leaves("p-spare-2");
        let [pool] = &pools(&town.view)[..] else { panic!("one pool") };
        let counts = (pool.idle, pool.claimed, pool.releasing, pool.away);
        assert_eq!((counts, pool.is_exhausted()), ((2, 1, 0, 1), false));
        town.leaves("p-spare-0");
        town.leaves("p-spare-3");
        assert!(pools(&town.view)[0].is_exhausted(), "one should be idle");
    }

    #[test]
    fn spares_of_a_drained_machine_are_not_idle_and_a_pool_that_is_waited_for_is_exhausted() {
        let mut town = Town::default();
        town.pool(2_000);
        ["p-spare-0", "p-spare-1"].iter().for_each(|id| town.registers(id, None, None));
        town.drains("p-spare-0", true);
        let mut pool = pools(&town.view).remove(0);
        assert_eq!((pool.idle, pool.drained, pool.is_exhausted()), (1, 1, false));
        pool.waited_for.push(GroupId::new("t-0"));
        assert!(!pool.is_exhausted(), "the other one may be claimed, or is of no use to it");
        pool.idle = 0;
        pool.idle_min = 0;
        assert!(pool.is_exhausted());
    }

    #[test]
    fn a_pool_is_exhausted_in_a_zone_that_has_data_nodes_and_too_few_idle_ones() {
        let mut town = Town::default();
        town.pool_of(2_000, 1);
        for (id, zone) in [("p-spare-0", "a"), ("p-spare-1", "b"), ("p-spare-2", "b")] {
            town.registers(id, None, None);
            town.lies(id, zone);
        }
        let short = |town: &Town| {
            let pool = pools(&town.view).remove(0);
            let short = pool.short_zones().map(|(zone, missing)| format!("{zone} {missing}"));
            (short.collect::<Vec<_>>(), pool.is_exhausted(), pool.has_too_few())
        };
        assert_eq!(short(&town), (vec![], false, false));
        town.registers("t-0-0", Some("t-0"), Some("t-0"));
        town.lies("t-0-0", "c");
        assert_eq!(short(&town), (vec!["c 1".to_owned()], true, false), "a member is there");
        town.drains("p-spare-0", true);
        assert_eq!(short(&town).0, ["a 1", "c 1"]);
        town.pool(2_000);
        assert_eq!(short(&town), (vec![], false, false), "nobody asks for it");
    }
}
