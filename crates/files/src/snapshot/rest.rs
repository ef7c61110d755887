//! Being polite to those on the same cores.

use std::thread;
use std::time::Duration;

/// So much may be compressed or decompressed at one go; about half a millisecond.
const WORK_BYTES: usize = 128 << 10;
/// Long enough for a thread that was woken meanwhile to get this core.
const REST: Duration = Duration::from_micros(50);

/// After a section of so many bytes. A thread that never sleeps keeps its core until the
/// scheduler's next tick, 4 to 10 ms later, whoever was woken meanwhile; an answer that needs
/// several threads on such cores waits for several ticks.
pub(super) fn rest(after_bytes: usize) {
    if after_bytes >= WORK_BYTES {
        thread::park_timeout(REST);
    }
}
