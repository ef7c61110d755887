//! How many threads there are for work that all cores share.

use std::sync::LazyLock;
use std::thread;

/// More gain little.
const WORKERS_MAX: usize = 8;

/// One for each core, eight at most.
pub fn workers() -> usize {
    static WORKERS: LazyLock<usize> =
        LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX));
    *WORKERS
}
