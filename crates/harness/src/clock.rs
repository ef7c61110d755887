//! Waiting, in the one place of the harness where a thread may sleep.

use std::time::{Duration, Instant};

/// Stops this thread for `time`.
pub fn wait(time: Duration) {
    #[expect(clippy::disallowed_methods, reason = "a test's thread has nothing else to do")]
    std::thread::sleep(time);
}

/// Asks again and again until `done` says so, at most for `limit`; whether it did.
pub fn wait_until(limit: Duration, pause: Duration, mut done: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if done() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        wait(pause);
    }
}
