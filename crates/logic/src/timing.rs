//! The spans a plane works with; validated as a set where they enter (settings).

use crate::time::Duration;

/// Numbers of docs/replication.md §6.1; one preset is thrice as long for noisy machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between two heartbeats of a master.
    pub heartbeat: Duration,
    /// For how long a member promises not to seal, from the sending of its acknowledgement.
    pub read_lease: Duration,
    /// Silence after which members let a master be replaced; at least `read_lease`.
    pub silence_max: Duration,
    /// How long a judge waits for the rest once it has its proof.
    pub seal_wait: Duration,
    /// How long commits may be stuck before a master asks for relief.
    pub stuck_max: Duration,
    /// How far clock rates may differ, in percent; for lease reads only.
    pub clock_drift_percent: u32,
    /// How long a joiner must stay below the lag bounds.
    pub join_after: Duration,
    /// The lag bound in bytes.
    pub lag_bytes_max: u64,
    /// The lag bound in time.
    pub lag_max: Duration,
    /// How long a member may be silent or behind before the master asks to remove it.
    pub remove_after: Duration,
    /// The shortest wait between two attempts; doubles up to `attempt_backoff_max`.
    pub attempt_backoff: Duration,
    /// The longest wait between two attempts.
    pub attempt_backoff_max: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            read_lease: Duration::from_millis(500),
            silence_max: Duration::from_millis(600),
            seal_wait: Duration::from_millis(200),
            stuck_max: Duration::from_secs(15),
            clock_drift_percent: 10,
            join_after: Duration::from_secs(3),
            lag_bytes_max: 1 << 20,
            lag_max: Duration::from_secs(1),
            remove_after: Duration::from_secs(2),
            attempt_backoff: Duration::from_millis(200),
            attempt_backoff_max: Duration::from_secs(30),
        }
    }
}
