//! Figures of the data thread that others read.

use crate::data::turns::Part;
use crate::data::weighing::Loads;
use std::sync::atomic::AtomicU64;

/// Figures the thread keeps current, for reports and metrics; read without order.
#[derive(Debug, Default)]
pub struct Gauges {
    /// The last entry in the state: applied, or appended by this master.
    pub applied: AtomicU64,
    /// Commands executed since the start.
    pub commands: AtomicU64,
    /// Keys held.
    pub keys: AtomicU64,
    /// Memory of keys and values, in bytes.
    pub memory_bytes: AtomicU64,
    /// Connections open.
    pub clients: AtomicU64,
    /// Connections accepted since the start.
    pub connections: AtomicU64,
    /// Connections refused or closed by a limit since the start.
    pub refused: AtomicU64,
    /// How often a client waited because it asked for too many commands a second, since the start.
    pub slowed: AtomicU64,
    /// Appended and not committed, in bytes.
    pub uncommitted_bytes: AtomicU64,
    /// Writes answered with NOACK since the start.
    pub noacks: AtomicU64,
    /// Parts compared: by checks of this master, and with those of others.
    pub checks: AtomicU64,
    /// Checks that found a difference.
    pub differences: AtomicU64,
    /// Slots of which something was replaced by what the master has.
    pub repairs: AtomicU64,
    /// Turns that took more than 20 ms since the start, by the part that took most.
    pub long_turns: [AtomicU64; Part::ALL.len()],
    /// Keys deleted to make room since the start.
    pub evicted: AtomicU64,
    /// Messages that had no room on their way to other nodes since the start.
    pub lost_messages: AtomicU64,
    /// When the thread last looked around, on the monotonic clock, in nanoseconds.
    pub turned_at: AtomicU64,
    /// What a master's slots weigh.
    pub loads: Loads,
}
