//! How many commands a second one client may have executed, and all clients of a user at this node.
//!
//! Each bound is the virtual scheduling algorithm of ITU-T I.371 (annex A.1): of what was executed
//! only the moment is kept by which it would have come at an even pace. Who is ahead of that by
//! more than a burst waits; nothing is refused, and what waits stays in the client's socket.

use crate::data::conn::Pause;
use crate::data::server::Server;
use cairn_logic::time::{Duration, Instant};
use cairn_settings::COMMANDS_PER_SEC_MAX;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::num::NonZeroU32;

/// What may come at once after quiet: the commands of so long, one at least.
const BURST_NS: u64 = 100_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// So many commands a second, evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(NonZeroU32);

impl Rate {
    /// `None` for 0, which bounds nothing; at most [`COMMANDS_PER_SEC_MAX`].
    #[must_use]
    pub fn per_second(commands: u32) -> Option<Self> {
        NonZeroU32::new(commands.min(COMMANDS_PER_SEC_MAX)).map(Self)
    }

    /// As it was given.
    #[must_use]
    pub fn commands(self) -> u32 {
        self.0.get()
    }

    fn gap_ns(self) -> u64 {
        SECOND_NS / u64::from(self.0.get())
    }

    fn burst_ns(self) -> u64 {
        self.gap_ns().max(BURST_NS)
    }
}

/// The bounds of a node; they can change at any moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of each client.
    pub client: Option<Rate>,
    /// Of all clients of one user together.
    pub user: Option<Rate>,
}

impl Bounds {
    fn are_none(&self) -> bool {
        self.client.is_none() && self.user.is_none()
    }
}

/// By when what was executed would have come at an even pace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace(Instant);

impl Pace {
    /// How many commands may be executed now.
    #[must_use]
    pub fn room(self, rate: Rate, now: Instant) -> u64 {
        let ahead_ns = self.0.as_nanos().saturating_sub(now.as_nanos());
        rate.burst_ns().saturating_sub(ahead_ns) / rate.gap_ns()
    }

    /// So many were executed.
    pub fn take(&mut self, rate: Rate, now: Instant, count: u64) {
        let span = Duration::from_nanos(rate.gap_ns().saturating_mul(count));
        self.0 = self.0.max(now) + span;
    }

    /// When the next one may be.
    #[must_use]
    pub fn due(self, rate: Rate) -> Instant {
        self.0 + Duration::from_nanos(rate.gap_ns()) - Duration::from_nanos(rate.burst_ns())
    }
}

/// All clients of a user.
#[derive(Clone, Copy, Debug, Default)]
struct Shared {
    pace: Pace,
    /// When the last of those who wait goes on: each has a moment of its own, else all would come
    /// for the same command.
    last: Instant,
}

impl Shared {
    /// The moment of one more who waits.
    fn queue(&mut self, rate: Rate) -> Instant {
        let next = self.last + Duration::from_nanos(rate.gap_ns());
        self.last = self.pace.due(rate).max(next);
        self.last
    }
}

/// Who waits, and how far users are.
#[derive(Debug, Default)]
pub struct Rates {
    users: HashMap<Box<[u8]>, Shared>,
    /// Connections by the moment at which they go on, each with its number.
    slowed: BinaryHeap<Reverse<(Instant, usize, u64)>>,
    /// By which bounds they wait.
    bounds: Bounds,
}

impl Rates {
    /// When the next one goes on.
    pub fn first(&self) -> Option<Instant> {
        self.slowed.peek().map(|Reverse((until, ..))| *until)
    }

    /// Forgets users who are no longer ahead.
    pub fn forget(&mut self, now: Instant) {
        self.users.retain(|_, shared| shared.pace.0.max(shared.last) > now);
    }

    fn user(&mut self, name: &[u8]) -> &mut Shared {
        if !self.users.contains_key(name) {
            self.users.insert(name.into(), Shared::default());
        }
        self.users.get_mut(name).expect("it was put there")
    }
}

impl Server {
    /// How many commands of a connection may be executed now.
    pub(super) fn room_of(&mut self, index: usize) -> usize {
        let (bounds, now) = (self.core.config.rates, self.core.now);
        if bounds.are_none() {
            return usize::MAX;
        }
        let Some(conn) = self.net.conn(index) else { return usize::MAX };
        let client = bounds.client.map_or(u64::MAX, |rate| conn.pace.room(rate, now));
        let known = || self.rates.users.get(conn.session.user()).copied().unwrap_or_default();
        let user = |rate| known().pace.room(rate, now);
        let room = client.min(bounds.user.map_or(u64::MAX, user));
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// So many commands of a connection were executed.
    pub(super) fn count_for_rates(&mut self, index: usize, count: usize) {
        let (bounds, now) = (self.core.config.rates, self.core.now);
        if bounds.are_none() || count == 0 {
            return;
        }
        let Some(conn) = self.net.conn(index) else { return };
        let count = count as u64;
        if let Some(rate) = bounds.client {
            conn.pace.take(rate, now, count);
        }
        if let Some(rate) = bounds.user {
            self.rates.user(conn.session.user()).pace.take(rate, now, count);
        }
    }

    /// A connection has asked for more than it may: the rest waits, and no more of it is read.
    pub(super) fn slow_down(&mut self, index: usize) {
        let bounds = self.core.config.rates;
        let Some(conn) = self.net.conn(index) else { return };
        let client = bounds.client.map_or(Instant::ZERO, |rate| conn.pace.due(rate));
        let user = |rate| self.rates.user(conn.session.user()).queue(rate);
        let until = client.max(bounds.user.map_or(Instant::ZERO, user));
        conn.pause = Pause::Slowed;
        self.rates.slowed.push(Reverse((until, index, conn.id)));
        self.core.stats.slowed += 1;
    }

    /// Lets those go on whose time has come, and all of them where the bounds have changed.
    pub(super) fn look_at_slowed(&mut self) {
        let bounds = self.core.config.rates;
        let changed = std::mem::replace(&mut self.rates.bounds, bounds) != bounds;
        while self.rates.first().is_some_and(|until| changed || until <= self.core.now) {
            let Some(Reverse((_, index, id))) = self.rates.slowed.pop() else { return };
            let conn = self.net.conn(index).filter(|conn| conn.id == id);
            if let Some(conn) = conn.filter(|conn| conn.pause == Pause::Slowed) {
                conn.pause = Pause::None;
                self.net.list_ready(index);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// How many are executed by somebody who asks for as many as possible, every `step_ms`.
    fn executed(commands: u32, step_ms: u64, until_ms: u64) -> u64 {
        let rate = Rate::per_second(commands).unwrap();
        let (mut pace, mut all) = (Pace::default(), 0);
        for now in (1_000..1_000 + until_ms).step_by(usize::try_from(step_ms).unwrap()).map(at) {
            let room = pace.room(rate, now);
            assert_eq!(room > 0, pace.due(rate) <= now, "{commands} at {now:?}");
            pace.take(rate, now, room);
            all += room;
        }
        all
    }

    #[test]
    fn whoever_asks_all_the_time_gets_the_rate_and_one_burst() {
        for (commands, step_ms, seconds) in
            [(1, 1, 20), (7, 3, 10), (100, 1, 5), (1_000, 20, 5), (50_000, 1, 2), (100_000, 90, 2)]
        {
            let all = executed(commands, step_ms, seconds * 1_000);
            let even = u64::from(commands) * seconds;
            let burst = u64::from(commands) / 10 + 1;
            assert!(all <= even + burst, "{commands}: {all} of {even}");
            assert!(all + burst >= even, "{commands}: {all} of {even}");
        }
    }

    #[test]
    fn nobody_saves_up_for_later_nor_is_held_to_a_former_bound() {
        let rate = Rate::per_second(100).unwrap();
        let mut pace = Pace::default();
        assert_eq!((pace.room(rate, at(0)), pace.room(rate, at(3_600_000))), (10, 10));
        pace.take(rate, at(1_000), 10);
        assert_eq!((pace.room(rate, at(1_000)), pace.room(rate, at(1_010))), (0, 1));
        assert_eq!(pace.due(rate), at(1_010));
        let wider = Rate::per_second(1_000).unwrap();
        assert_eq!(pace.room(wider, at(1_050)), 50);
        assert_eq!((Rate::per_second(0), rate.commands()), (None, 100));
    }

    #[test]
    fn each_who_waits_has_a_moment_of_its_own() {
        let rate = Rate::per_second(100).unwrap();
        let mut user = Shared::default();
        user.pace.take(rate, at(1_000), 10);
        assert_eq!([1, 2, 3].map(|_| user.queue(rate)), [1_010, 1_020, 1_030].map(at));
        user.pace.take(rate, at(2_000), 10);
        assert_eq!(user.queue(rate), at(2_010), "those before have gone on");
    }

    #[test]
    fn users_who_are_quiet_are_forgotten() {
        let rate = Rate::per_second(10).unwrap();
        let mut rates = Rates::default();
        rates.user(b"a").pace.take(rate, at(1_000), 1);
        rates.forget(at(1_050));
        assert_eq!(rates.users.len(), 1);
        rates.forget(at(1_100));
        assert!(rates.users.is_empty());
    }
}
