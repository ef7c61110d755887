//! A follower or learner: takes entries, verifies, acknowledges, commits (docs/replication.md §4).

use super::{Effect, PendingAck, Replica};
use crate::ids::{EntryId, Epoch, Life, NodeId, Offset};
use crate::message::{Ack, Append, Heartbeat, Message, Refuse};
use crate::mutant::{Mutant, broken};
use crate::time::Instant;

/// Acknowledgements that may wait for a write or flush; a master has far fewer frames open.
const PENDING_MAX: usize = 64;

impl Replica {
    /// Entries from whoever sends in `append.epoch`. Late, repeated and reordered ones do no harm.
    pub(super) fn on_append(&mut self, from: &NodeId, append: &Append) {
        if !is_well_formed(append) || !self.follow(from, append.epoch, append.prev, append.sent_at)
        {
            return;
        }
        if self.is_another_history(append.prev) {
            return;
        }
        if !self.index.has(append.prev) {
            self.refuse(from, append.prev, append.sent_at);
            return;
        }
        if !self.take(append) {
            return;
        }
        let end = append.batches.last().map_or(append.prev.offset, |b| b.last_offset());
        self.following.verified = self.following.verified.max(end);
        self.following.told = self.following.told.max(append.committed);
        if append.flush {
            self.want_flush(end);
        }
        while self.following.pending.len() >= PENDING_MAX {
            self.following.pending.pop_front();
        }
        let pending = PendingAck { end, flush: append.flush, sent_at: append.sent_at };
        self.following.pending.push_back(pending);
        self.acknowledge_what_is_done();
        self.commit_what_is_verified();
    }

    /// A sign of life: acknowledged with what is held. Who has the sender's last entry has all
    /// before it.
    pub(super) fn on_heartbeat(&mut self, from: &NodeId, beat: &Heartbeat) {
        if !self.follow(from, beat.epoch, beat.last, beat.sent_at) {
            return;
        }
        if self.is_another_history(beat.before) {
            return;
        }
        self.fetch_if_behind(beat.before);
        if self.index.has(beat.last) {
            self.following.verified = self.following.verified.max(beat.last.offset);
        }
        self.following.told = self.following.told.max(beat.committed);
        let since = self.following.stuck_since.unwrap_or(self.now);
        self.following.stuck_since = (!beat.progressing).then_some(since);
        self.commit_what_is_verified();
        self.acknowledge(beat.sent_at);
    }

    /// The master says that this life holds all it may have lost.
    pub(super) fn on_healed(&mut self, from: &NodeId, epoch: Epoch, life: Life) {
        let current = self.following.epoch == epoch && self.vote.sealed == epoch;
        let master = self.following.master.as_ref() == Some(from);
        if current && master && life == self.vote.life && !self.vote.intact {
            self.vote.intact = true;
            self.persist();
        }
    }

    /// Whether to listen to `from` in `epoch`: refuses what is sealed, seals what is newer.
    fn follow(&mut self, from: &NodeId, epoch: Epoch, prev: EntryId, sent_at: Instant) -> bool {
        if epoch < self.vote.sealed && !broken(Mutant::NoEpochCheck) {
            self.refuse(from, prev, sent_at);
            return false;
        }
        if self.lead.as_ref().is_some_and(|l| l.epoch == epoch) {
            // Two senders in one epoch: impossible while attempts are given out once (I1).
            return false;
        }
        if epoch > self.vote.sealed {
            self.step_down();
            self.raise_seal(epoch);
            self.sealed_as_master = false;
            self.persist();
        }
        match &self.following.master {
            Some(master) if self.following.epoch == epoch => {
                if master != from {
                    return false;
                }
            }
            _ => {
                self.following.epoch = epoch;
                self.following.master = Some(from.clone());
                self.following.verified = Offset::ZERO;
                self.following.told = Offset::ZERO;
                self.following.stuck_since = None;
                self.following.pending.clear();
            }
        }
        self.following.heard = self.now;
        true
    }

    fn refuse(&mut self, to: &NodeId, prev: EntryId, sent_at: Instant) {
        let hint = self.index.at_or_before(prev);
        let refuse = Refuse { life: self.vote.life, sealed: self.vote.sealed, hint, sent_at };
        self.send(to, Message::Refuse(refuse));
    }

    /// Writes what is new, after cutting what differs. False when that must not be.
    fn take(&mut self, append: &Append) -> bool {
        let held = |index: &super::index::Index, b: &crate::batch::BatchHead| index.has(b.last());
        let skip = append.batches.iter().take_while(|b| held(&self.index, b)).count();
        let Some(first) = append.batches.get(skip) else { return true };
        if self.index.last().offset >= first.first && !self.cut(first.first) {
            return false;
        }
        if !append.flush && !self.vote.unflushed {
            self.vote.unflushed = true;
            self.persist();
        }
        self.out.push(Effect::Write { skip });
        for head in &append.batches[skip..] {
            self.index.append(head);
        }
        true
    }

    /// Cuts the log from `first` on; a cut of what is committed (what was given up at the front is)
    /// stops this member instead.
    fn cut(&mut self, first: Offset) -> bool {
        let after = Offset(first.0 - 1);
        let before = self.index.before();
        let at = if first <= before.offset { before } else { self.index.entry(first) };
        if after < self.committed || after < self.following.verified {
            self.halt(at);
            return false;
        }
        self.index.cut(after);
        self.written = self.written.min(after);
        self.flushed = self.flushed.min(after);
        self.flush_wanted = self.flush_wanted.min(after);
        self.out.push(Effect::Cut { after });
        if self.applied > after && !broken(Mutant::NoRebuild) {
            self.applied = self.committed;
            self.out.push(Effect::Rebuild);
            if self.committed > Offset::ZERO {
                self.out.push(Effect::Commit { up_to: self.committed });
            }
        }
        true
    }

    /// Acknowledges the appends whose copies exist now.
    pub(super) fn acknowledge_what_is_done(&mut self) {
        let (written, flushed) = (self.written, self.flushed);
        let mut newest = None;
        self.following.pending.retain(|p| {
            let done = p.end <= if p.flush { flushed } else { written };
            if done {
                newest = newest.max(Some(p.sent_at));
            }
            !done
        });
        if let Some(sent_at) = newest {
            self.acknowledge(sent_at);
        }
    }

    /// Says what is verified, never the log's end; promises unless a forced seal waits.
    fn acknowledge(&mut self, sent_at: Instant) {
        let Some(master) = self.following.master.clone() else { return };
        let promise = self.seal.is_none();
        if promise {
            let until = self.now + self.timing.read_lease;
            self.following.promised_until = self.following.promised_until.max(until);
        }
        let verified = match broken(Mutant::AckLogEnd) {
            true => self.index.last().offset,
            false => self.following.verified,
        };
        let flushed = verified.min(self.flushed);
        // Until the vote says otherwise, nobody may count what is not flushed here.
        let written = if self.vote.unflushed { verified.min(self.written) } else { flushed };
        let ack = Ack {
            epoch: self.following.epoch,
            life: self.vote.life,
            written,
            flushed,
            last: self.index.last(),
            fetching: self.fetching.map_or(Offset::ZERO, |from| from.offset),
            intact: self.vote.intact,
            promise,
            sent_at,
        };
        self.send(&master, Message::Ack(ack));
    }

    /// Takes min(committed, verified), as far as it is written here.
    pub(super) fn commit_what_is_verified(&mut self) {
        let verified = match broken(Mutant::CommitUnverified) {
            true => self.written,
            false => self.following.verified.min(self.written),
        };
        let told = match broken(Mutant::FollowerAppliesAll) {
            true => self.written,
            false => self.following.told,
        };
        let up_to = verified.min(told);
        if up_to > self.committed {
            self.committed = up_to;
            self.applied = self.applied.max(up_to);
            self.out.push(Effect::Commit { up_to });
        }
    }
}

/// Whether the batches follow `prev` and each other, and belong to epochs up to the sender's.
fn is_well_formed(append: &Append) -> bool {
    let mut at = append.prev;
    for head in &append.batches {
        let follows = head.first == at.offset.next() && head.epoch >= at.epoch;
        if !follows || head.count == 0 {
            return false;
        }
        at = head.last();
    }
    at.epoch <= append.epoch
}
