//! What is due from time to time: replies that waited too long, clients that do, expired keys.

use crate::data::conn::Pause;
use crate::data::replies::Kind;
use crate::data::server::Server;
use crate::data::turns::Part;
use cairn_logic::time::{Duration, Instant};
use std::sync::atomic::Ordering::Relaxed;

/// Between two rounds while anything can time out.
const ROUND: Duration = Duration::from_millis(50);
/// Between two rounds of a master that holds keys: some may expire.
const ROUND_MASTER: Duration = Duration::from_millis(100);
/// Between two rounds otherwise.
const ROUND_IDLE: Duration = Duration::from_millis(1000);

/// Keys looked at by the expiry cycle in one round.
const EXPIRY_BUDGET: usize = 1000;

const NOACK_TIMEOUT: &str = "NOACK enough copies were not acknowledged in time; the write may or \
    may not be applied";
const DOWN: &str = "CLUSTERDOWN The cluster is down";

impl Server {
    /// Does what is due.
    pub fn chores(&mut self) {
        let now = self.core.now;
        if now < self.chores_at {
            return;
        }
        self.count_rate();
        self.replies_too_late();
        self.look_at_waits();
        self.changes_too_late();
        if self.core.now >= self.core.limbo_until
            || self.stalled.iter().any(|&index| {
                self.net.conn(index).is_some_and(|conn| match conn.pause {
                    Pause::HandOver { until } => until <= now,
                    _ => false,
                })
            })
        {
            self.resume_late();
        }
        if now >= self.clients_at {
            self.clients_at = now + ROUND_IDLE;
            self.clients_too_late();
            self.rates.forget(now);
            self.net.accepting = true;
            if !self.grown {
                self.grown = crate::memory::has_grown(self.core.keyspace.used_bytes());
            }
        }
        self.expire();
        self.do_duties();
        let clients = self.net.open();
        self.core.weigh();
        self.core.publish(clients);
        let long_turns = &self.core.shared.gauges.long_turns;
        long_turns.iter().zip(self.turns.long).for_each(|(gauge, it)| gauge.store(it, Relaxed));
        let master = self.core.mastership.is_some() && !self.core.keyspace.is_empty();
        self.chores_at = now
            + match (self.is_waiting(), master) {
                (true, _) => ROUND,
                (false, true) => ROUND_MASTER,
                (false, false) => ROUND_IDLE,
            };
        self.passed(Part::Chores);
    }

    /// Whether something can time out soon.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.net.held.is_empty()
            || !self.stalled.is_empty()
            || !self.waits.is_empty()
            || !self.changing.is_empty()
            || self.stopping.is_some()
            || self.expiring
    }

    fn count_rate(&mut self) {
        let (at, commands) = self.rate_from;
        let span_ms = self.core.now.since(at).as_millis() as u64;
        if span_ms >= 1000 {
            let done = self.core.stats.commands.saturating_sub(commands);
            self.rate = done * 1000 / span_ms;
            self.rate_from = (self.core.now, self.core.stats.commands);
        }
    }

    /// Gives up on replies that have waited for `ack_timeout` (docs/replication.md §11).
    fn replies_too_late(&mut self) {
        let max_ms = self.core.config.ack_timeout.as_millis() as u32;
        let now_ms = self.core.turn_ms;
        let late = |made_ms: u32| now_ms.wrapping_sub(made_ms) >= max_ms;
        let mut noacks = 0;
        for at in 0..self.net.held.len() {
            let index = self.net.held[at];
            let Some(conn) = self.net.conn(index) else { continue };
            if !conn.replies.oldest().is_some_and(|mark| late(mark.made_ms)) {
                continue;
            }
            conn.replies.replace(|mark| match mark.kind {
                _ if !late(mark.made_ms) => None,
                Kind::Free => None,
                Kind::Write => {
                    noacks += 1;
                    Some(NOACK_TIMEOUT.to_owned())
                }
                Kind::Read | Kind::Limbo => Some(DOWN.to_owned()),
            });
            self.net.flush.push(index);
        }
        self.core.stats.noacks += noacks;
    }

    /// Commands that waited for a handover for too long are tried for the last time.
    fn resume_late(&mut self) {
        if !self.stalled.is_empty() {
            self.resume_stalled();
        }
    }

    fn clients_too_late(&mut self) {
        let now = self.core.now;
        let half_max = self.core.config.half_request_max;
        let idle_max = self.core.config.idle_max;
        let buffer_max = self.core.config.query_buffer_max_bytes;
        let mut late = Vec::new();
        for (index, conn) in self.net.conns() {
            let silent = now.since(conn.active.max(conn.since));
            let half = conn.feed.as_ref().is_some_and(|feed| feed.is_half());
            let reason = if half && silent >= half_max {
                "a request stayed half-received"
            } else if conn.stream.is_shaking_hands() && silent >= half_max {
                "it does not finish its handshake"
            } else if idle_max > Duration::ZERO && silent >= idle_max && conn.pause == Pause::None {
                "it was idle"
            } else if conn.pause == Pause::Closing && silent >= half_max {
                "it does not take its last replies"
            } else if conn.input_bytes() > buffer_max {
                "its query buffer is over the limit"
            } else {
                continue;
            };
            tracing::info!(client = %conn.peer, reason, "closing a client");
            late.push(index);
        }
        for index in late {
            self.core.stats.refused += 1;
            self.net.close(index);
        }
        for index in self.net.indexes() {
            if let Some(conn) = self.net.conn(index).filter(|c| now.since(c.active) >= ROUND_IDLE) {
                conn.replies.shrink();
            }
        }
    }

    /// The master deletes expired keys and logs that.
    fn expire(&mut self) {
        let core = &mut self.core;
        if core.mastership.is_none() || core.gap || core.loading || self.paused.is_some() {
            return;
        }
        let began = (core.clock.now)();
        let logged = core.log.body_bytes();
        let expired = core.keyspace.expire_some(core.unix_ms, EXPIRY_BUDGET, &mut core.log);
        core.stats.expired += expired.deleted as u64;
        self.expiring = !expired.finished;
        if expired.deleted > 0 && self.is_attended() {
            self.touch_since(logged, None);
        }
        let core = &mut self.core;
        let (now, at_s) = ((core.clock.now)(), core.unix_ms / 1000);
        self.latency.note("expire-cycle", at_s, now.since(began));
        core.append();
    }

    /// How long epoll may wait at most.
    #[must_use]
    pub fn patience(&self) -> Duration {
        let now: Instant = self.core.now;
        let mut until = self.chores_at;
        if let Some(stop) = self.stopping {
            until = until.min(stop);
        }
        let far = Instant::from_nanos(u64::MAX);
        until = until.min(self.blocked.first_deadline().unwrap_or(far));
        until = until.min(self.blocked_recheck.unwrap_or(far));
        until = until.min(self.paused.map_or(far, |paused| paused.until));
        until = until.min(self.rates.first().unwrap_or(far));
        until = until.min(self.leisure_due());
        until.since(now).max(Duration::from_millis(1))
    }
}
