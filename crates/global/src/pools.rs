//! How many of each pool's spares are idle, and whether that is enough; for people.

use crate::View;
use cairn_settings::directory_keys::Claim;

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
}

impl Pool {
    /// Whether fewer of its nodes are idle than should be.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.idle < self.idle_min
    }
}

/// Every pool that is configured, by name.
#[must_use]
pub fn pools(view: &View) -> Vec<Pool> {
    let pool = |(name, config): (&String, &cairn_settings::directory_keys::PoolConfig)| {
        let mut pool = Pool { name: name.clone(), ..Pool::default() };
        pool.idle_min = usize::from(config.idle_min);
        for (id, info) in view.nodes.iter().filter(|(_, info)| info.pool.as_ref() == Some(name)) {
            let count = match &info.claim {
                _ if !view.is_alive(id) => &mut pool.away,
                Claim::Idle => &mut pool.idle,
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
}
