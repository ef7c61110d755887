//! What can wait: a snapshot that is being written, a master's checks, digests of all data.
//!
//! They go on in small steps. Where the thread has nothing else to do they go on after a short
//! rest; where it has, they get a quarter of its time, so that clients keep most of it and a
//! snapshot still ends.
//!
//! The rest is for others on the same cores: a thread that is never without work keeps its core
//! until the scheduler's next tick, 4 to 10 ms later, whoever was woken meanwhile. An answer that
//! needs five threads on such cores would wait for five ticks.

use crate::data::server::Server;
use crate::data::turns::Part;
use cairn_files::snapshot::rest;
use cairn_logic::time::{Duration, Instant};

/// So long, and a step more, whoever comes meanwhile waits.
const SLICE: Duration = Duration::from_micros(150);
/// The same where the thread has nothing else to do, or is still loading: the rest after it costs
/// about 110 us.
pub(super) const SLICE_QUIET: Duration = Duration::from_micros(300);
/// Less is saved up: looking at the clock and at the sockets costs something, too.
const SLICE_MIN: Duration = Duration::from_micros(50);
/// Of what a turn took for others, leisure gets this part on top: a quarter of all.
const PART: u32 = 3;

/// How much time there is.
#[derive(Debug, Default)]
pub struct Leisure {
    /// What other work has earned.
    saved: Duration,
}

impl Leisure {
    /// How long it may go on after a turn that took `turn`, and had nothing to do if `quiet`.
    fn slice(&mut self, turn: Duration, quiet: bool) -> Option<Duration> {
        if quiet {
            return Some(SLICE_QUIET);
        }
        self.saved = SLICE.min(self.saved + turn / PART);
        (self.saved >= SLICE_MIN).then_some(self.saved)
    }

    fn spent(&mut self, time: Duration) {
        self.saved = self.saved.saturating_sub(time);
    }
}

impl Server {
    /// Goes on with what can wait, for as long as it may; `quiet`: this turn had nothing to do.
    pub(super) fn leisure(&mut self, quiet: bool) {
        if self.leisure_due() > self.core.now {
            return;
        }
        let now = self.core.clock.now;
        let began = now();
        let Some(slice) = self.leisure.slice(began.since(self.core.now), quiet) else { return };
        let (mut at, until) = (began, began + slice);
        while at < until {
            let wrote = self.export_some();
            let checked = self.check_some();
            let summed = self.core.keyspace.lent().is_none() && self.sum_some();
            let carried = self.core.carry_some();
            at = now();
            if !wrote && !checked && !summed && !carried {
                break;
            }
        }
        self.leisure.spent(at.since(began));
        self.turns.passed(Part::Leisure, at);
        if quiet {
            rest();
        }
    }

    /// When there is something to go on with; far away if there is nothing.
    pub(super) fn leisure_due(&self) -> Instant {
        let lent = self.core.keyspace.lent().is_some();
        if self.digests.is_due() && !lent {
            return Instant::ZERO;
        }
        let export = self.export.as_ref().map(|export| export.due());
        let checking = self.checking.as_ref().filter(|_| !lent).map(|checking| checking.due());
        let carrying = self.core.carrying.as_ref().and_then(|carrying| carrying.due());
        let far = Instant::from_nanos(u64::MAX);
        export.unwrap_or(far).min(checking.unwrap_or(far)).min(carrying.unwrap_or(far))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_gives_a_quarter_of_its_time() {
        let mut leisure = Leisure::default();
        let (turn, mut used) = (Duration::from_micros(30), Duration::ZERO);
        for _ in 0..1000 {
            if let Some(slice) = leisure.slice(turn, false) {
                assert!(slice >= SLICE_MIN && slice <= SLICE);
                leisure.spent(slice);
                used += slice;
            }
        }
        assert!(used <= Duration::from_millis(10) && used >= Duration::from_millis(9), "{used:?}");
    }

    #[test]
    fn a_long_turn_earns_no_long_stall() {
        let mut leisure = Leisure::default();
        assert_eq!(leisure.slice(Duration::from_secs(1), false), Some(SLICE));
        leisure.spent(SLICE * 2);
        assert_eq!(leisure.slice(Duration::from_micros(3), false), None);
        assert_eq!(leisure.slice(Duration::from_micros(3), true), Some(SLICE_QUIET));
    }
}
