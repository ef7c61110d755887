//! What time brings: leases run out, requests wait too long, history is compacted and swept,
//! slow watches catch up.

use super::{Core, Outbox, Refusal, Role};
use crate::op::Op;
use cairn_logic::ids::Revision;
use cairn_logic::time::{Duration, Instant};

/// Revocations proposed in one tick.
const EXPIRED_PER_TICK: usize = 10_000;
/// Versions removed in one tick, and at one commit of a master: in a part of a millisecond.
const SWEEP_PER_TICK: usize = 1_000;
const SWEEP_MAX: usize = 400;
/// Versions removed for each that is made, so that sweeping keeps up with any rate of changes.
const SWEEP_PER_VERSION: usize = 2;
/// Revisions kept when the quota is nearly used up.
const HISTORY_MIN: u64 = 1_000;
/// Pieces of the past told to lagging watches in one tick.
const CATCH_UPS_PER_TICK: usize = 16;
/// How often to look whether history should be compacted.
const COMPACTION_EVERY: Duration = Duration::from_secs(1);

impl<T> Core<T> {
    /// Call it every 10 ms or so, at least every 100 ms on a master; then take batches.
    pub fn tick(&mut self, now: Instant, outbox: &mut impl Outbox<Token = T>) {
        self.expire_leases(now);
        self.time_out(now, outbox);
        self.compact(now);
        if self.sweeping {
            self.sweep(SWEEP_PER_TICK);
        }
        for token in std::mem::take(&mut self.abandoned) {
            outbox.reply(token, Err(Refusal::NotReady));
        }
        if matches!(self.role, Role::Loading) {
            return;
        }
        self.scan_more(outbox);
        for _ in 0..CATCH_UPS_PER_TICK {
            if !self.watches.is_lagging() || !self.watches.catch_up(&self.directory, outbox) {
                break;
            }
        }
        if now >= self.next_progress {
            self.next_progress = now + self.limits.progress_every;
            self.watches.tell_progress(outbox);
        }
    }

    /// Sweeps a little, for the versions that were made since the last time. A master, for whom
    /// clients wait, does what is too much for one time the next times.
    pub(super) fn sweep_after(&mut self) {
        let made = self.directory.versions_made();
        let new = usize::try_from(made.saturating_sub(self.swept_for)).unwrap_or(usize::MAX);
        self.swept_for = made;
        if !self.sweeping {
            self.sweeps_due = 0;
            return;
        }
        let due = self.sweeps_due.saturating_add(new.saturating_mul(SWEEP_PER_VERSION));
        let items = if self.is_master() { due.min(SWEEP_MAX) } else { due };
        self.sweeps_due = due - items;
        if items > 0 {
            self.sweep(items);
        }
    }

    /// Whether a tick would do something soon: the loop may tick less often otherwise.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.sweeping || self.watches.is_lagging() || !self.scans.is_empty()
    }

    fn expire_leases(&mut self, now: Instant) {
        let Role::Master { lessor } = &mut self.role else { return };
        let expired = lessor.expired(now, EXPIRED_PER_TICK);
        let expired_in = Some(self.epoch);
        for id in expired {
            self.append(now, None, Op::LeaseRevoke { id, expired_in });
        }
    }

    /// Answers requests that waited too long; their changes stay in the log.
    fn time_out(&mut self, now: Instant, outbox: &mut impl Outbox<Token = T>) {
        let max = self.limits.commit_wait_max;
        let late = |since: Instant| now.since(since) > max;
        for waiting in self.waiting.iter_mut().take_while(|waiting| late(waiting.since)) {
            if let Some((token, _)) = waiting.reply.take() {
                outbox.reply(token, Err(Refusal::TimedOut));
            }
        }
        while self.dirty.front().is_some_and(|read| late(read.since)) {
            if let Some(read) = self.dirty.pop_front() {
                outbox.reply(read.token, Err(Refusal::TimedOut));
            }
        }
        self.time_out_scans(late, outbox);
        if self.unproven.iter().any(|read| late(read.since)) {
            let (late, kept) =
                std::mem::take(&mut self.unproven).into_iter().partition(|read| late(read.since));
            self.unproven = kept;
            super::Unproven(late).refuse(Refusal::TimedOut, outbox);
        }
    }

    /// Bounds the history, as far as it is committed.
    fn compact(&mut self, now: Instant) {
        if !self.is_master() || now < self.next_compaction {
            return;
        }
        self.next_compaction = now + COMPACTION_EVERY;
        let crowded = self.directory.bytes() > self.limits.quota_bytes / 4 * 3;
        let kept = self.limits.history_revisions;
        let kept = if crowded { kept.min(HISTORY_MIN) } else { kept };
        let oldest = self.directory.compacted().0.max(1);
        if self.committed.0.saturating_sub(oldest) > kept.saturating_mul(2) {
            let revision = Revision(self.committed.0 - kept);
            self.append(now, None, Op::Compact { revision });
        }
    }
}
