//! The spans that failover is made of; valid only as a set.

use crate::duration_text;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The spans of docs/replication.md §§5, 6; every node of a cluster has the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timing {
    /// Between two heartbeats of a master to a member; default 100 ms.
    #[serde(with = "duration_text")]
    pub heartbeat: Duration,
    /// How long a member promises not to seal; default 500 ms.
    #[serde(with = "duration_text")]
    pub read_lease: Duration,
    /// The silence after which a master may be replaced; at least `read_lease`; default 600 ms.
    #[serde(with = "duration_text")]
    pub silence_max: Duration,
    /// How long a takeover waits for members it does not need; default 200 ms.
    #[serde(with = "duration_text")]
    pub seal_wait: Duration,
    /// How long commits may be stuck before the master asks for relief; default 15 s.
    #[serde(with = "duration_text")]
    pub stuck_max: Duration,
    /// After this a client whose write is not committed gets `NOACK`; default 1 s.
    #[serde(with = "duration_text")]
    pub ack_timeout: Duration,
    /// The TTL of a node's lease in the directory (bookkeeping, never failover); default 5 s.
    #[serde(with = "duration_text")]
    pub node_lease: Duration,
}

impl Timing {
    /// For machines of one's own: failover within 2 s.
    pub const DEFAULT: Self = Self {
        heartbeat: Duration::from_millis(100),
        read_lease: Duration::from_millis(500),
        silence_max: Duration::from_millis(600),
        seal_wait: Duration::from_millis(200),
        stuck_max: Duration::from_secs(15),
        ack_timeout: Duration::from_secs(1),
        node_lease: Duration::from_secs(5),
    };

    /// For noisy machines: all spans thrice as long.
    #[must_use]
    pub const fn noisy() -> Self {
        let plain = Self::DEFAULT;
        Self {
            heartbeat: plain.heartbeat.saturating_mul(3),
            read_lease: plain.read_lease.saturating_mul(3),
            silence_max: plain.silence_max.saturating_mul(3),
            seal_wait: plain.seal_wait.saturating_mul(3),
            stuck_max: plain.stuck_max.saturating_mul(3),
            ack_timeout: plain.ack_timeout.saturating_mul(3),
            node_lease: plain.node_lease.saturating_mul(3),
        }
    }
}

impl Timing {
    /// The spans a replica and a judge work with, within `lag`.
    #[must_use]
    pub fn for_logic(&self, lag: &crate::LagBounds) -> cairn_logic::timing::Timing {
        cairn_logic::timing::Timing {
            heartbeat: self.heartbeat,
            read_lease: self.read_lease,
            silence_max: self.silence_max,
            seal_wait: self.seal_wait,
            stuck_max: self.stuck_max,
            join_after: lag.steady_for,
            lag_bytes_max: lag.bytes_max,
            lag_max: lag.age_max,
            ..cairn_logic::timing::Timing::default()
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::DEFAULT
    }
}
