//! Makes room where `maxmemory` is reached and a policy says which keys may go.
//!
//! A master does it for a command that needs memory, before that is executed, and goes on at every
//! turn while there is too much. A turn spends a bounded time on it; where that is over, commands
//! go on, and so does it at the next turn.

use crate::data::core::Core;
use crate::data::dispatch::{OOM, Refused};
use crate::data::server::Server;
use cairn_keyspace::{Evicted, Keyspace, Policy};
use cairn_logic::time::{Duration, Instant};

/// So much of a turn at most.
const SLICE: Duration = Duration::from_millis(4);
/// The clock is looked at after so many keys: some microseconds.
const LOOK_EVERY: u64 = 16;

/// How far a turn has got.
#[derive(Debug, Default)]
pub struct Evicting {
    /// When it was spent, the turn that has spent its time.
    spent_in: Option<Instant>,
    /// Whether there is too much still, and more that may go: commands are let.
    pub(super) goes_on: bool,
}

impl Core {
    /// What is held against `maxmemory`. An empty keyspace takes something, too, so that a limit
    /// of a few bytes lets nothing in.
    #[inline]
    pub(super) fn used_bytes(&self) -> u64 {
        (self.keyspace.used_bytes() + size_of::<Keyspace>()) as u64
    }

    /// Whether there is too much.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        let limit = self.config.memory_max_bytes;
        limit > 0 && self.used_bytes() > limit
    }

    /// Whether there is too much, and keys may go for that.
    #[inline]
    pub(super) fn has_too_much(&self) -> bool {
        self.is_full()
            && self.config.eviction.policy != Policy::NoEviction
            && self.mastership.is_some()
    }
}

impl Server {
    /// Asks whether something may be executed, and again when room was made for it.
    pub(super) fn with_room(
        &mut self,
        ask: impl Fn(&Core) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        match ask(&self.core) {
            Err(Refused::NoMemory) if self.make_room() => match ask(&self.core) {
                Err(Refused::NoMemory) => Err(Refused::Error(OOM.into())),
                other => other,
            },
            Err(Refused::NoMemory) => Err(Refused::Error(OOM.into())),
            other => other,
        }
    }

    /// Takes keys away until there is room, or this turn's time for it is over; whether commands
    /// that need memory may go on.
    #[cold]
    pub(super) fn make_room(&mut self) -> bool {
        if self.core.has_too_much() && !self.is_taken_up() {
            self.evict();
        }
        !self.core.is_full() || self.core.evicting.goes_on
    }

    /// The same where keys may go at all; a unit of the log asks once, before it begins.
    #[inline]
    pub(super) fn makes_room(&mut self) -> bool {
        let evicts = self.core.config.eviction.policy != Policy::NoEviction;
        evicts && self.core.mastership.is_some() && self.make_room()
    }

    /// Whether nothing may be taken away now.
    fn is_taken_up(&self) -> bool {
        let core = &self.core;
        let spent = core.evicting.spent_in == Some(core.now);
        spent || core.gap || core.loading || self.in_unit || self.paused.is_some()
    }

    fn evict(&mut self) {
        let core = &mut self.core;
        let (began, logged) = ((core.clock.now)(), core.log.body_bytes());
        let mut count = 0_u64;
        core.evicting.goes_on = false;
        while core.has_too_much() {
            match core.keyspace.evict_one(&mut core.log) {
                Evicted::One => count += 1,
                Evicted::NotYet => {
                    core.evicting.goes_on = true;
                    break;
                }
                Evicted::Nothing => break,
            }
            if count.is_multiple_of(LOOK_EVERY) && (core.clock.now)().since(began) > SLICE {
                // Also where there is room just now: what the turn still adds is not refused.
                core.evicting.goes_on = true;
                core.evicting.spent_in = Some(core.now);
                break;
            }
        }
        core.stats.evicted += count;
        let (now, at_s) = ((core.clock.now)(), core.unix_ms / 1000);
        if count > 0 && self.is_attended() {
            self.touch_since(logged, None);
        }
        self.latency.note("eviction-cycle", at_s, now.since(began));
    }

    /// Goes on with it at the begin of a turn.
    pub(super) fn evict_on(&mut self) {
        if self.core.has_too_much() && !self.is_taken_up() {
            self.evict();
            self.core.append();
        } else {
            self.core.evicting.goes_on = false;
        }
    }
}
