//! How long a group's writes paused: the gaps between acknowledgements, as its clients saw them.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

/// Instants of acknowledged writes, by group.
#[derive(Debug, Default)]
pub struct Pauses {
    acknowledged_us: Mutex<BTreeMap<usize, Vec<u64>>>,
}

/// The middle, the far end and the end of a set of times.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many times there are.
    pub count: usize,
    /// Half of them are at most this, in microseconds.
    pub p50_us: u64,
    /// 99 of 100 of them are at most this, in microseconds.
    pub p99_us: u64,
    /// All of them are at most this, in microseconds.
    pub max_us: u64,
}

impl Spread {
    /// Orders the times and looks at three of them.
    pub fn of(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        let at = |percent: usize| {
            let rank = (times_us.len() * percent).div_ceil(100).max(1) - 1;
            times_us.get(rank).copied().unwrap_or(0)
        };
        Self { count: times_us.len(), p50_us: at(50), p99_us: at(99), max_us: at(100) }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |us: u64| us.div_ceil(1000);
        let (p50, p99, max) = (ms(self.p50_us), ms(self.p99_us), ms(self.max_us));
        write!(f, "n={} p50={p50}ms p99={p99}ms max={max}ms", self.count)
    }
}

impl Pauses {
    /// Notes that a write of `group` was acknowledged at `now_us`.
    pub fn acknowledged(&self, group: usize, now_us: u64) {
        self.lock().entry(group).or_default().push(now_us);
    }

    /// When a write of `group` was acknowledged first after `from_us`.
    pub fn first_after(&self, group: usize, from_us: u64) -> Option<u64> {
        self.lock().get(&group)?.iter().copied().filter(|at_us| *at_us > from_us).min()
    }

    /// The longest gap of a group that ends after `from_us` and begins before `until_us`.
    ///
    /// None if the group had no acknowledgement before, or none after, so that no gap is known.
    pub fn longest(&self, group: usize, from_us: u64, until_us: u64) -> Option<u64> {
        let mut all = self.lock().get(&group)?.clone();
        all.sort_unstable();
        let pairs = all.windows(2).filter(|pair| pair[1] > from_us && pair[0] < until_us);
        pairs.map(|pair| pair[1] - pair[0]).max()
    }

    /// All gaps of all groups.
    pub fn all_gaps(&self) -> Spread {
        let mut gaps = Vec::new();
        for times in self.lock().values() {
            let mut times = times.clone();
            times.sort_unstable();
            gaps.extend(times.windows(2).map(|pair| pair[1] - pair[0]));
        }
        Spread::of(gaps)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, Vec<u64>>> {
        self.acknowledged_us.lock().expect("nobody panics while holding the lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_around_a_fault_is_found() {
        let pauses = Pauses::default();
        for at_us in [10, 900, 20, 30, 910] {
            pauses.acknowledged(1, at_us);
        }
        assert_eq!(pauses.longest(1, 35, 100), Some(870));
        assert_eq!(pauses.longest(1, 905, 1000), Some(10));
        assert_eq!(pauses.longest(1, 911, 1000), None);
        assert_eq!(pauses.first_after(1, 31), Some(900));
        assert_eq!(pauses.all_gaps().max_us, 870);
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        let spread = Spread::of((1..=200).rev().collect());
        assert_eq!(spread, Spread { count: 200, p50_us: 100, p99_us: 198, max_us: 200 });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }
}
