//! When leases run out: volatile, and the master's alone.
//!
//! A new master starts every lease at its full time to live, so a lease never ends early; a master
//! whose process stood still gives the time back. Running out ends nothing by itself: the master
//! logs a revocation.

use crate::leases::LeaseId;
use cairn_logic::time::{Duration, Instant};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Looks at the clock further apart than this mean that the process stood still.
const STANDSTILL_MIN: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Timer {
    ttl_secs: u64,
    ends: Instant,
}

/// The timers of all leases.
#[derive(Debug)]
pub struct Lessor {
    timers: BTreeMap<LeaseId, Timer>,
    /// At least one entry for each timer, at or before its end; renewals leave it as it is.
    queue: BinaryHeap<Reverse<(Instant, LeaseId)>>,
    looked: Instant,
    stood_still: Duration,
}

impl Lessor {
    /// Starts every lease anew.
    #[must_use]
    pub fn new(now: Instant, leases: impl Iterator<Item = (LeaseId, u64)>) -> Self {
        let mut lessor = Self {
            timers: BTreeMap::new(),
            queue: BinaryHeap::new(),
            looked: now,
            stood_still: Duration::ZERO,
        };
        leases.for_each(|(id, ttl_secs)| lessor.grant(now, id, ttl_secs));
        lessor
    }

    /// Time as leases count it: without standstills.
    fn look(&mut self, now: Instant) -> Instant {
        let gap = now.since(self.looked);
        if gap > STANDSTILL_MIN {
            self.stood_still += gap;
        }
        self.looked = self.looked.max(now);
        now - self.stood_still
    }

    /// Starts a lease.
    pub fn grant(&mut self, now: Instant, id: LeaseId, ttl_secs: u64) {
        let ends = self.look(now) + Duration::from_secs(ttl_secs);
        self.timers.insert(id, Timer { ttl_secs, ends });
        self.queue.push(Reverse((ends, id)));
    }

    /// Starts a lease's time anew; its time to live, in seconds, or `None` if there is none.
    pub fn renew(&mut self, now: Instant, id: LeaseId) -> Option<u64> {
        let now = self.look(now);
        let timer = self.timers.get_mut(&id)?;
        timer.ends = now + Duration::from_secs(timer.ttl_secs);
        Some(timer.ttl_secs)
    }

    /// Forgets a lease.
    pub fn revoke(&mut self, id: LeaseId) {
        self.timers.remove(&id);
    }

    /// What is left of a lease.
    #[must_use]
    pub fn remaining(&self, now: Instant, id: LeaseId) -> Option<Duration> {
        let timer = self.timers.get(&id)?;
        Some(timer.ends.since(now - self.stood_still))
    }

    /// At most `most` leases that have run out, the longest first. Each is named once: the caller
    /// revokes it.
    pub fn expired(&mut self, now: Instant, most: usize) -> Vec<LeaseId> {
        let now = self.look(now);
        let mut expired = Vec::new();
        while expired.len() < most {
            let Some(Reverse((looked_at, id))) = self.queue.peek().copied() else { break };
            if looked_at > now {
                break;
            }
            self.queue.pop();
            match self.timers.get(&id) {
                Some(timer) if timer.ends > now => self.queue.push(Reverse((timer.ends, id))),
                Some(_) => {
                    self.timers.remove(&id);
                    expired.push(id);
                }
                None => {}
            }
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn walk(lessor: &mut Lessor, from: u64, to: u64) -> Vec<(u64, LeaseId)> {
        (from..=to)
            .step_by(500)
            .flat_map(|t| lessor.expired(at(t), 100).into_iter().map(move |id| (t, id)))
            .collect()
    }

    #[test]
    fn a_lease_ends_its_whole_time_after_the_last_renewal() {
        let mut lessor = Lessor::new(at(0), [(LeaseId(1), 2), (LeaseId(2), 3)].into_iter());
        assert_eq!(walk(&mut lessor, 0, 1500), []);
        assert_eq!(lessor.renew(at(1500), LeaseId(1)), Some(2));
        assert_eq!(walk(&mut lessor, 2000, 9000), [(3000, LeaseId(2)), (3500, LeaseId(1))]);
        assert_eq!(lessor.renew(at(9000), LeaseId(1)), None);
    }

    #[test]
    fn a_standstill_of_the_process_ends_no_lease() {
        let mut lessor = Lessor::new(at(0), [(LeaseId(1), 2)].into_iter());
        assert_eq!(lessor.expired(at(500), 9), []);
        assert_eq!(lessor.expired(at(30_000), 9), []);
        assert_eq!(lessor.remaining(at(30_000), LeaseId(1)), Some(Duration::from_millis(1500)));
        assert_eq!(walk(&mut lessor, 30_500, 33_000), [(31_500, LeaseId(1))]);
    }

    #[test]
    fn many_leases_that_end_at_once_come_in_portions() {
        let all = (1..=1000).map(|id| (LeaseId(id), 1));
        let mut lessor = Lessor::new(at(0), all);
        assert_eq!(lessor.expired(at(1000), 300).len(), 300);
        assert_eq!(lessor.expired(at(1000), 10_000).len(), 700);
        assert_eq!(lessor.expired(at(1000), 10_000).len(), 0);
    }
}
