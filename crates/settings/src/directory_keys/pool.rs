//! `/cairn/spares/<name>`: what is wanted of a pool of spares.

use super::{DecodeError, SPARES, decode, encode, name_after};
use cairn_logic::time::Duration;
use serde::{Deserialize, Serialize};

/// The key of a pool's configuration.
#[must_use]
pub fn pool_key(name: &str) -> String {
    format!("{SPARES}{name}")
}

/// The pool whose configuration is at `key`.
#[must_use]
pub fn pool_of_key(key: &[u8]) -> Option<&str> {
    name_after(SPARES, key)
}

/// What is wanted of a pool of spares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolConfig {
    /// Nodes that run for it, idle or claimed.
    pub size: u16,
    /// The class of their machines and volumes; empty where nobody says one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub size_class: String,
    /// How many of them should be idle; with fewer the pool is exhausted.
    #[serde(default)]
    pub idle_min: u16,
    /// How many of them should be idle in each zone that has data nodes; 0: nobody asks.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub min_idle_per_zone: u16,
    /// For how long a member may be away before a spare replaces it, in milliseconds.
    #[serde(default = "replace_after_ms")]
    pub replace_after_ms: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(count: &u16) -> bool {
    *count == 0
}

/// How long a member may be away where nobody says otherwise, in milliseconds.
const fn replace_after_ms() -> u64 {
    10_000
}

impl PoolConfig {
    /// How long a member may be away where no pool says otherwise.
    pub const REPLACE_AFTER: Duration = Duration::from_millis(replace_after_ms());

    /// For how long a member may be away before a spare replaces it.
    #[must_use]
    pub const fn replace_after(&self) -> Duration {
        Duration::from_millis(self.replace_after_ms)
    }

    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Bytes that are no such value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("pool", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_reads_back_what_was_written_and_has_defaults() {
        let pool = PoolConfig {
            size: 3,
            size_class: "large".to_owned(),
            idle_min: 1,
            min_idle_per_zone: 2,
            replace_after_ms: 2_000,
        };
        assert_eq!(PoolConfig::decode(&pool.encode()).unwrap(), pool);
        let least = PoolConfig::decode(br#"{"size":1}"#).unwrap();
        assert_eq!(least.replace_after(), PoolConfig::REPLACE_AFTER);
        assert_eq!(pool_of_key(pool_key("a").as_bytes()), Some("a"));
    }
}
