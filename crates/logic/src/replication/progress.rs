//! What a master (or elect) knows of one other member or learner, and what is on its way there.

use crate::ids::{EntryId, Incarnation, Life, Offset};
use crate::message::Ack;
use crate::time::{Duration, Instant};
use std::collections::VecDeque;

/// Frames that may be unacknowledged at once.
const FRAMES_MAX: usize = 4;
/// How long to wait where nothing could be read.
const EMPTY_WAIT: Duration = Duration::from_millis(100);

/// A frame that was sent and not yet acknowledged.
#[derive(Clone, Copy, Debug)]
struct Frame {
    prev: EntryId,
    end: Offset,
    sent_at: Instant,
}

/// A `Replicate` that waits for its `Sent`.
#[derive(Clone, Copy, Debug)]
struct Asked {
    prev: EntryId,
    at: Instant,
    /// The stream was stepped back meanwhile: its frame does not count as sent.
    void: bool,
}

/// One peer, in the present epoch.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    /// The folder whose acknowledgements count.
    pub incarnation: Incarnation,
    /// Its newest life heard of in this mastership; 0 before the first.
    pub life: Life,
    /// End of the verified prefix it has written, in this epoch and life.
    pub written: Offset,
    /// End of the verified prefix it has flushed.
    pub flushed: Offset,
    /// Where its log ends, as it last said.
    pub last: EntryId,
    /// From where on it will need the log, as it last said; 0 when it fetches no snapshot.
    pub fetching: Offset,
    /// Whether it can vouch for its tail.
    pub intact: bool,
    /// Until then it will not seal; by this node's clock, margins taken off.
    pub promised_until: Option<Instant>,
    /// When its last acknowledgement came; the start of the epoch before the first.
    pub heard: Instant,
    /// Whether it has answered in this mastership.
    pub answered: bool,
    /// The newest `sent_at` it has echoed in this epoch.
    pub echoed: Option<Instant>,
    /// Where a life that is not intact must get to (§8).
    pub heal_at: Option<Offset>,
    /// Since when it has been within the lag bounds.
    pub near_since: Option<Instant>,
    /// Since when it has not.
    pub far_since: Option<Instant>,
    /// The entry before the next frame.
    next: EntryId,
    frames: VecDeque<Frame>,
    asked: Option<Asked>,
    /// When there was nothing to read at `next`.
    empty_at: Option<Instant>,
    /// One frame at a time until one is acknowledged.
    probing: bool,
    /// Steps back since anything moved: each waits twice as long.
    retries: u32,
    progressed: Instant,
}

impl Progress {
    /// A peer of which nothing is known but, perhaps, a life; the first frame follows `next`.
    pub(super) fn new(incarnation: Incarnation, life: Life, next: EntryId, now: Instant) -> Self {
        Self {
            incarnation,
            life,
            written: Offset::ZERO,
            flushed: Offset::ZERO,
            last: EntryId::ZERO,
            fetching: Offset::ZERO,
            intact: false,
            promised_until: None,
            heard: now,
            answered: false,
            echoed: None,
            heal_at: None,
            near_since: None,
            far_since: Some(now),
            next,
            frames: VecDeque::new(),
            asked: None,
            empty_at: None,
            probing: true,
            retries: 0,
            progressed: now,
        }
    }

    /// Whether the next it needs was given up here: nothing is sent until it says where its log
    /// ends, further on.
    pub(super) fn is_behind(&self, begins: Offset) -> bool {
        self.next.offset < begins
    }

    /// Whether its log's end is news: nothing is verified, and what is sent begins before that.
    pub(super) fn is_found_at(&self, end: EntryId) -> bool {
        self.written == Offset::ZERO && self.next < end
    }

    /// Whether nothing has moved for `span`.
    pub(super) fn rested(&self, span: Duration, now: Instant) -> bool {
        now.since(self.progressed) >= span
    }

    /// Starts afresh in the next epoch of the same master; promises and lives stay known.
    pub(super) fn reopen(&mut self, now: Instant) {
        self.written = Offset::ZERO;
        self.flushed = Offset::ZERO;
        self.heal_at = None;
        self.echoed = None;
        self.asked = None;
        self.frames.clear();
        self.probing = true;
        self.progressed = now;
    }

    /// Starts afresh with a new life; what its former life promised still holds (§6.3).
    pub(super) fn reborn(&mut self, life: Life, opening: EntryId, now: Instant) {
        self.life = life;
        self.written = Offset::ZERO;
        self.flushed = Offset::ZERO;
        (self.last, self.fetching) = (EntryId::ZERO, Offset::ZERO);
        self.heal_at = None;
        self.near_since = None;
        self.rewind(opening, now);
    }

    /// Goes back to the first entry that may not have arrived; `opening` is the entry before the
    /// epoch record, from where a probe always has something to carry.
    fn rewind(&mut self, opening: EntryId, now: Instant) {
        let from = self.frames.front().map_or(self.next, |f| f.prev);
        self.step_back(from.min(opening), now);
    }

    /// Whether it was heard within `span`.
    pub(super) fn heard_within(&self, span: Duration, now: Instant) -> bool {
        now.since(self.heard) < span
    }

    /// The time in which the master stood still does not count; promises ran on.
    pub(super) fn stood_still(&mut self, span: Duration) {
        for since in [&mut self.near_since, &mut self.far_since].into_iter().flatten() {
            *since = *since + span;
        }
        self.heard = self.heard + span;
    }

    /// Takes what an acknowledgement of the present epoch and life says; `last` is the master's
    /// log end, beyond which nothing can be held.
    pub(super) fn acked(&mut self, ack: &Ack, last: Offset, now: Instant) {
        self.heard = now;
        self.answered = true;
        self.intact = ack.intact;
        if self.echoed <= Some(ack.sent_at) {
            (self.last, self.fetching) = (ack.last, ack.fetching);
        }
        self.echoed = self.echoed.max(Some(ack.sent_at));
        let written = ack.written.min(last);
        if written > self.written {
            self.written = written;
            self.progressed = now;
            self.probing = false;
            self.retries = 0;
        }
        self.flushed = self.flushed.max(ack.flushed.min(last));
        while self.frames.front().is_some_and(|f| f.end <= self.written) {
            self.frames.pop_front();
        }
    }

    /// Goes on after `entry`, forgetting what is on its way.
    pub(super) fn step_back(&mut self, entry: EntryId, now: Instant) {
        self.next = entry;
        self.frames.clear();
        self.probing = true;
        self.progressed = now;
        if let Some(asked) = &mut self.asked {
            asked.void = true;
        }
    }

    /// Takes a refusal that says where to go on; late ones, below what is held, change nothing.
    pub(super) fn refused(&mut self, target: EntryId, now: Instant) {
        self.heard = now;
        self.answered = true;
        if target < self.next && target.offset >= self.written {
            self.step_back(target, now);
        }
    }

    /// Steps back to what is not acknowledged when nothing has moved for `patience` (a quarter of
    /// it while probing, twice as long each time); `held` is the entry up to which it has
    /// acknowledged, if any, `opening` as in [`Self::rewind`].
    pub(super) fn retry(
        &mut self,
        held: Option<EntryId>,
        opening: EntryId,
        patience: Duration,
        now: Instant,
    ) {
        if self.asked.is_some_and(|a| now.since(a.at) >= patience * 2) {
            self.asked = None;
        }
        let waits = self.next.offset > self.written && self.asked.is_none();
        let newest = self.frames.back().map_or(self.progressed, |f| f.sent_at);
        let base = if self.probing { patience / 4 } else { patience };
        if !waits || now.since(newest.max(self.progressed)) < base * (1 << self.retries.min(4)) {
            return;
        }
        self.retries += 1;
        match held {
            None => self.rewind(opening, now),
            Some(held) => self.step_back(held, now),
        }
    }

    /// The entry before the next frame, if one may be sent that ends by `written`.
    pub(super) fn ready(&mut self, written: Offset, now: Instant) -> Option<EntryId> {
        let room = self.frames.len() < if self.probing { 1 } else { FRAMES_MAX };
        if !room || self.asked.is_some() || self.next.offset >= written {
            return None;
        }
        if self.empty_at.is_some_and(|at| now.since(at) < EMPTY_WAIT) {
            return None;
        }
        self.asked = Some(Asked { prev: self.next, at: now, void: false });
        Some(self.next)
    }

    /// The frame asked for has left and ends at `last`; whether it counts.
    pub(super) fn sent(&mut self, last: EntryId, now: Instant) -> bool {
        let Some(asked) = self.asked.take() else { return false };
        if asked.void {
            return true;
        }
        if last.offset <= asked.prev.offset {
            self.empty_at = Some(now);
            return false;
        }
        self.empty_at = None;
        if last.offset > self.written {
            self.frames.push_back(Frame { prev: asked.prev, end: last.offset, sent_at: now });
        }
        self.next = last;
        true
    }
}
