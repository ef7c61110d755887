//! Bounds: on clients, on memory, on lag, on the log's files.

use crate::duration_text;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Which keys go when the memory of a node is at its limit, as Redis's `maxmemory-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvictionPolicy {
    /// None: writes are refused.
    #[default]
    #[serde(rename = "noeviction")]
    NoEviction,
    /// Those that were not used for longest, about.
    #[serde(rename = "allkeys-lru")]
    AllKeysLru,
    /// Those that are used least often, about.
    #[serde(rename = "allkeys-lfu")]
    AllKeysLfu,
    /// Any.
    #[serde(rename = "allkeys-random")]
    AllKeysRandom,
    /// Of those that expire, those that were not used for longest, about.
    VolatileLru,
    /// Of those that expire, those that are used least often, about.
    VolatileLfu,
    /// Any that expire.
    VolatileRandom,
    /// Those that expire soonest, about.
    VolatileTtl,
}

/// How many keys are drawn unless it is said.
const SAMPLES: u32 = 5;

// What has its default is not written, so that settings that say nothing of it stay as they are.
fn is_usual(samples: &u32) -> bool {
    *samples == SAMPLES
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl EvictionPolicy {
    fn is_none(&self) -> bool {
        *self == Self::NoEviction
    }

    /// Its name in Redis.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoEviction => "noeviction",
            Self::AllKeysLru => "allkeys-lru",
            Self::AllKeysLfu => "allkeys-lfu",
            Self::AllKeysRandom => "allkeys-random",
            Self::VolatileLru => "volatile-lru",
            Self::VolatileLfu => "volatile-lfu",
            Self::VolatileRandom => "volatile-random",
            Self::VolatileTtl => "volatile-ttl",
        }
    }
}

/// The greatest bound on commands per second that can be asked for.
pub const COMMANDS_PER_SEC_MAX: u32 = 10_000_000;

/// What protects a data node from its clients; sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// Connected clients; more are refused with an error. 1 to 1,000,000, default 10,000.
    pub maxclients: u32,
    /// Memory of the keys; at it keys go by `maxmemory_policy`, or writes are refused. 0 = no limit
    /// (the default).
    pub maxmemory_bytes: u64,
    /// Which keys go at that limit; none by default.
    #[serde(skip_serializing_if = "EvictionPolicy::is_none")]
    pub maxmemory_policy: EvictionPolicy,
    /// How many keys are drawn for each that goes: the more, the better it is chosen and the longer
    /// that takes. 1 to 64, default 5.
    #[serde(skip_serializing_if = "is_usual")]
    pub maxmemory_samples: u32,
    /// Answers waiting for one client that does not read; more closes it. Default 64 MiB.
    pub output_buffer_bytes_max: u64,
    /// Commands of one client not yet executed; more closes it. Default 64 MiB.
    pub query_buffer_bytes_max: u64,
    /// The longest argument of a command and the longest text APPEND and SETRANGE can make, as
    /// `proto-max-bulk-len` of Redis; at most half a batch's body, 32 MiB, which is the default and
    /// bounds all arguments of a command, or of a transaction, together.
    pub bulk_bytes_max: u64,
    /// Commands of one client executed in a second; more wait. 1 to [`COMMANDS_PER_SEC_MAX`];
    /// 0 = no limit (the default).
    #[serde(skip_serializing_if = "is_zero")]
    pub client_commands_per_sec: u32,
    /// Commands of all clients of one user executed in a second by one node; more wait. 1 to
    /// [`COMMANDS_PER_SEC_MAX`]; 0 = no limit (the default).
    #[serde(skip_serializing_if = "is_zero")]
    pub user_commands_per_sec: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            maxclients: 10_000,
            maxmemory_bytes: 0,
            maxmemory_policy: EvictionPolicy::NoEviction,
            maxmemory_samples: SAMPLES,
            output_buffer_bytes_max: 64 * MIB,
            query_buffer_bytes_max: 64 * MIB,
            bulk_bytes_max: 32 * MIB,
            client_commands_per_sec: 0,
            user_commands_per_sec: 0,
        }
    }
}

/// What a member may be behind and still count as in sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LagBounds {
    /// Bytes of the log not yet acknowledged; default 1 MiB.
    pub bytes_max: u64,
    /// Age of the oldest entry not yet acknowledged; default 1 s.
    #[serde(with = "duration_text")]
    pub age_max: Duration,
    /// How long a joiner stays within both before it may count; default 3 s.
    #[serde(with = "duration_text")]
    pub steady_for: Duration,
}

impl Default for LagBounds {
    fn default() -> Self {
        Self { bytes_max: MIB, age_max: Duration::from_secs(1), steady_for: Duration::from_secs(3) }
    }
}

/// The files of a node's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LogSettings {
    /// The size of one preallocated segment; 1 MiB to 1 GiB, default 64 MiB.
    pub segment_bytes: u64,
    /// Between two background flushes; 1 ms to 10 s, default 10 ms.
    #[serde(with = "duration_text")]
    pub flush_interval: Duration,
    /// Free bytes of the disk below which client writes are refused; default 256 MiB. See
    /// [`LogSettings::reserve_of`] for very large and very small disks.
    pub disk_reserve_bytes: u64,
    /// Cut tails kept aside; at so many nothing more is cut until a person has removed some.
    /// 1 to 65,536, default 256.
    pub cut_tails_max: u32,
    /// Between two snapshots of a member that is not master; 1 s to 7 days, default 5 min.
    #[serde(with = "duration_text")]
    pub snapshot_interval: Duration,
    /// How long a master of a group takes to check all of its data against its members'; 1 s to
    /// 7 days, default 1 h.
    #[serde(with = "duration_text")]
    pub check_interval: Duration,
    /// The end of the log that is always kept, so that a member that was away for a short while
    /// needs no snapshot (docs/decisions/0021); 1 MiB to 1 TiB and less than half of `bytes_max`,
    /// default a quarter of it ([`LogSettings::kept_of`]).
    pub bytes_kept: u64,
    /// The bound on the log's size; at it writes are refused. Above half of it nobody else's needs
    /// hold the log's front back, above three quarters the node says so. 4 MiB to 16 TiB and at
    /// least four segments, default 4 GiB.
    pub bytes_max: u64,
    /// How fast a snapshot is sent to one that fetches it, in bytes per second; 64 KiB to 64 GiB,
    /// default 64 MiB.
    pub fetch_bytes_per_sec: u64,
}

/// The bound on a log of which nothing else is said, in bytes.
const LOG_BYTES: u64 = 4096 * MIB;
/// The most of a log's end that can be asked to be kept, in bytes.
pub(crate) const KEPT_BYTES_MAX: u64 = 1 << 40;
/// The largest reserve that the size of a disk alone asks for, in bytes.
const RESERVE_BY_SIZE_MAX: u64 = 2 << 30;

impl LogSettings {
    /// How much of the log's end is kept where only the bound on it is said.
    #[must_use]
    pub fn kept_of(bytes_max: u64) -> u64 {
        (bytes_max / 4).clamp(MIB, KEPT_BYTES_MAX)
    }

    /// The bytes to keep free on a file system of `disk_bytes`: the setting, more on a large disk
    /// (5 %, at most 2 GiB), never more than a fifth of a small one.
    ///
    /// What is kept free is for what must go on when clients' writes are refused: records of
    /// epochs, the system's own keys, expiry, and writes that were under way.
    #[must_use]
    pub fn reserve_of(&self, disk_bytes: u64) -> u64 {
        let by_size = (disk_bytes / 20).min(RESERVE_BY_SIZE_MAX);
        self.disk_reserve_bytes.max(by_size).min(disk_bytes / 5)
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * MIB,
            flush_interval: Duration::from_millis(10),
            disk_reserve_bytes: 256 * MIB,
            cut_tails_max: 256,
            snapshot_interval: Duration::from_secs(300),
            check_interval: Duration::from_secs(3600),
            bytes_kept: Self::kept_of(LOG_BYTES),
            bytes_max: LOG_BYTES,
            fetch_bytes_per_sec: 64 * MIB,
        }
    }
}
