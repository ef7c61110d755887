//! The node's two clocks; everything that decides is given their readings.

use cairn_logic::time::Instant;
use std::time::{SystemTime, UNIX_EPOCH};

/// The monotonic clock (`CLOCK_BOOTTIME`: it goes on while the machine is suspended, so that
/// promises made by others are never thought younger than they are).
#[must_use]
pub fn now() -> Instant {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// The wall clock, in milliseconds since 1970; for people and expiry, never for decisions.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    #[cfg(feature = "fault-disk")]
    let now = now.saturating_add_signed(cairn_files::disk::faulty::clock_offset_ms());
    now
}
