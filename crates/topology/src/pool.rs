//! A SparePool as the directory holds it.

use cairn_crd::SparePool;
use cairn_crd::quantity::span_ms;
use cairn_settings::directory_keys::PoolConfig;

/// What the planner is to know of a pool that passed [`crate::check`].
#[must_use]
pub fn pool_config(pool: &SparePool) -> PoolConfig {
    let spec = &pool.spec;
    let count = |n: i32| u16::try_from(n).unwrap_or(0);
    let after = spec.replace_after.as_deref().and_then(span_ms);
    let default = u64::try_from(PoolConfig::REPLACE_AFTER.as_millis()).unwrap_or(u64::MAX);
    PoolConfig {
        size: count(spec.size),
        size_class: spec.size_class.clone().unwrap_or_default(),
        idle_min: count(spec.idle_min),
        min_idle_per_zone: count(spec.min_idle_per_zone),
        replace_after_ms: after.unwrap_or(default),
    }
}
