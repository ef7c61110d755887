//! Which cluster is looked at when. Pure.

use crate::context::Key;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// Changes that come together are looked at together.
const GATHER: Duration = Duration::from_millis(50);
/// After a failure: twice as long each time, up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Clusters that are due, now or later; none is looked at twice at once.
#[derive(Debug, Default)]
pub struct Queue {
    due: BTreeMap<Key, Instant>,
    busy: BTreeSet<Key>,
    failures: BTreeMap<Key, u32>,
}

impl Queue {
    /// Something about `key` changed.
    ///
    /// One that failed waits all the same: its own events must not wear the API down.
    pub fn touch(&mut self, key: Key, now: Instant) {
        if !(self.failures.contains_key(&key) && self.due.contains_key(&key)) {
            self.at(key, now + GATHER);
        }
    }

    fn at(&mut self, key: Key, at: Instant) {
        let due = self.due.entry(key).or_insert(at);
        *due = at.min(*due);
    }

    /// The next cluster that is due and not looked at; it is busy from now on.
    pub fn take(&mut self, now: Instant) -> Option<Key> {
        let due = self.due.iter().filter(|(key, at)| **at <= now && !self.busy.contains(*key));
        let key = due.min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())?;
        self.due.remove(&key);
        self.busy.insert(key.clone());
        Some(key)
    }

    /// A look has ended; look again `after`, or as failures have it.
    pub fn done(&mut self, key: Key, outcome: Option<Duration>, now: Instant) {
        self.busy.remove(&key);
        if let Some(after) = outcome {
            self.failures.remove(&key);
            self.at(key, now + after);
            return;
        }
        let failures = self.failures.entry(key.clone()).or_insert(0);
        let wait = RETRY.0 * 2_u32.saturating_pow((*failures).min(6));
        *failures += 1;
        self.due.insert(key, now + wait.min(RETRY.1));
    }

    /// When the next one is due.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        let idle = self.due.iter().filter(|(key, _)| !self.busy.contains(*key));
        idle.map(|(_, at)| *at).min()
    }

    /// Forgets a cluster that is gone, unless something about it changed since.
    pub fn forget(&mut self, key: &Key, now: Instant) {
        if self.due.get(key).is_some_and(|at| *at > now + RETRY.1) {
            self.due.remove(key);
            self.failures.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    fn sec(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn changes_that_come_together_are_one_look() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.touch(key("a"), now);
        queue.touch(key("a"), now);
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.take(now + sec(1)), Some(key("a")));
        assert_eq!(queue.take(now + sec(1)), None);
    }

    #[test]
    fn a_cluster_is_not_looked_at_twice_at_once_and_no_change_is_lost() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.touch(key("a"), now);
        queue.take(now + sec(1)).unwrap();
        queue.touch(key("a"), now + sec(1));
        assert_eq!(queue.take(now + sec(2)), None);
        queue.done(key("a"), Some(sec(600)), now + sec(2));
        assert_eq!(queue.take(now + sec(2)), Some(key("a")));
    }

    #[test]
    fn failures_back_off_and_a_success_ends_that() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for wait_sec in [1, 2, 4, 8, 16, 32, 60, 60] {
            queue.forget_due(&key("a"));
            queue.touch(key("a"), now - sec(1));
            queue.take(now).unwrap();
            queue.touch(key("a"), now);
            queue.done(key("a"), None, now);
            queue.touch(key("a"), now);
            assert_eq!(queue.next(), Some(now + sec(wait_sec)));
        }
        queue.take(now + sec(60)).unwrap();
        queue.done(key("a"), Some(sec(5)), now);
        assert_eq!(queue.next(), Some(now + sec(5)));
        queue.touch(key("a"), now);
        assert_eq!(queue.next(), Some(now + GATHER));
    }

    #[test]
    fn a_cluster_that_is_gone_is_forgotten_unless_it_changed_meanwhile() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (changed, left) in [(false, None), (true, Some(now + GATHER))] {
            queue.touch(key("a"), now - sec(1));
            queue.take(now).unwrap();
            if changed {
                queue.touch(key("a"), now);
            }
            queue.done(key("a"), Some(sec(600)), now);
            queue.forget(&key("a"), now);
            assert_eq!(queue.next(), left);
        }
    }

    impl Queue {
        fn forget_due(&mut self, key: &Key) {
            self.due.remove(key);
        }
    }
}
