//! How far this node is behind its master, by what the master's heartbeats say.

use cairn_logic::ids::Offset;
use cairn_logic::time::{Duration, Instant};
use std::collections::VecDeque;

/// Heartbeats remembered; at ten a second that is more than a minute.
const BEATS_MAX: usize = 1024;

/// What heartbeats said that this node does not have yet.
#[derive(Debug, Default)]
pub struct Lag {
    /// When a heartbeat came, and the end of the master's log that it named; ascending.
    beats: VecDeque<(Instant, Offset)>,
}

impl Lag {
    /// A heartbeat came; this node has entries up to `own`.
    pub fn beat(&mut self, now: Instant, last: Offset, own: Offset) {
        if self.beats.back().is_some_and(|(_, known)| *known >= last) {
            // Another master may have a shorter log.
            self.beats.retain(|(_, known)| *known < last);
        }
        self.beats.push_back((now, last));
        self.forget(own);
        if self.beats.len() > BEATS_MAX {
            // The oldest one says since when; thin out behind it.
            self.beats.remove(1);
        }
    }

    fn forget(&mut self, own: Offset) {
        while self.beats.front().is_some_and(|(_, known)| *known <= own) {
            self.beats.pop_front();
        }
    }

    /// Entries that are missing, and the age of the news of the oldest of them.
    pub fn now(&mut self, now: Instant, own: Offset) -> (u64, Duration) {
        self.forget(own);
        let entries = self.beats.back().map_or(0, |(_, last)| last.0.saturating_sub(own.0));
        let age = self.beats.front().map_or(Duration::ZERO, |(since, _)| now.since(*since));
        (entries, age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn lag_is_counted_from_the_first_news_of_what_is_missing() {
        let mut lag = Lag::default();
        lag.beat(at(100), Offset(10), Offset(10));
        assert_eq!(lag.now(at(150), Offset(10)), (0, Duration::ZERO));
        lag.beat(at(200), Offset(15), Offset(10));
        lag.beat(at(300), Offset(20), Offset(12));
        assert_eq!(lag.now(at(300), Offset(12)), (8, Duration::from_millis(100)));
        assert_eq!(lag.now(at(350), Offset(15)), (5, Duration::from_millis(50)));
        assert_eq!(lag.now(at(400), Offset(20)), (0, Duration::ZERO));
    }

    #[test]
    fn a_new_master_with_a_shorter_log_ends_the_old_ones_news() {
        let mut lag = Lag::default();
        lag.beat(at(100), Offset(50), Offset(10));
        lag.beat(at(200), Offset(12), Offset(12));
        assert_eq!(lag.now(at(300), Offset(12)), (0, Duration::ZERO));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut lag = Lag::default();
        for n in 1..10_000 {
            lag.beat(at(n), Offset(n), Offset::ZERO);
        }
        assert!(lag.beats.len() <= BEATS_MAX);
        assert_eq!(lag.now(at(10_000), Offset::ZERO), (9_999, Duration::from_millis(9_999)));
    }
}
