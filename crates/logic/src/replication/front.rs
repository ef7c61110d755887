//! Where the log begins: what may be given up, who is behind that, what a fetched snapshot changes
//! (docs/replication.md §4).

use super::lead::Lead;
use super::progress::Progress;
use super::{Alarm, Effect, Replica};
use crate::ids::{EntryId, Offset};
use crate::mutant::{Mutant, broken};
use crate::time::Duration;

/// How often a snapshot is asked for while it is needed.
const FETCH_AGAIN: Duration = Duration::from_secs(1);

impl Replica {
    /// Up to where the log may be given up now; zero: nowhere.
    ///
    /// Only what a durable snapshot of this very folder holds, what is committed and what is
    /// flushed. A master keeps what its peers still need, unless it is `pressed` by the bound of
    /// its log; who then is left behind fetches a snapshot.
    #[must_use]
    pub fn may_truncate(&self, pressed: bool) -> Offset {
        let own = match self.snapshot.filter(|from| self.index.has(*from)) {
            _ if broken(Mutant::TruncatesEarly) => self.committed,
            Some(from) => from.offset,
            None => Offset::ZERO,
        };
        let mut up_to = own.min(self.committed).min(self.flushed);
        if let Some(lead) = &self.lead {
            up_to = up_to.min(lead.opening(&self.index).offset);
            if !pressed {
                up_to = up_to.min(self.needed(lead));
            }
        }
        let new = !self.halted && up_to > self.index.before().offset;
        if new { up_to } else { Offset::ZERO }
    }

    /// The offset after which some peer still needs the log: all members, heard or not, and the
    /// learners that have answered.
    fn needed(&self, lead: &Lead) -> Offset {
        let members = lead.configs().flat_map(|config| &config.members);
        let members = members.filter(|m| m.id != self.me.id);
        let named = members.map(|m| match lead.peers.get(&m.id) {
            Some(peer) if peer.answered => self.needed_by(peer),
            _ => Offset::ZERO,
        });
        let learners = lead.peers.values().filter(|p| p.answered).map(|p| self.needed_by(p));
        named.chain(learners).min().unwrap_or(self.index.last().offset)
    }

    /// The offset after which this peer needs the log, also if its machine should crash now.
    fn needed_by(&self, peer: &Progress) -> Offset {
        if peer.fetching > Offset::ZERO {
            return peer.fetching;
        }
        match peer.written > Offset::ZERO {
            true => peer.flushed,
            false if peer.last.offset <= self.index.before().offset => peer.last.offset,
            false => self.index.at_or_before(peer.last).offset,
        }
    }

    /// Whether an entry of the sender's log cannot be in one log with what was given up here, which
    /// is committed: a loss was accepted without this folder. Then it stops and says so.
    pub(super) fn is_another_history(&mut self, entry: EntryId) -> bool {
        let another = self.index.contradicts(entry);
        if another {
            self.halt(entry);
        }
        another
    }

    /// Takes part no more: following its master would undo what is committed.
    pub(super) fn halt(&mut self, at: EntryId) {
        let committed = self.committed.max(self.following.verified);
        self.out.push(Effect::Alarm(Alarm::CutBelowCommitted { at, committed }));
        self.halted = true;
    }

    /// The sender's log begins after `before`: who does not hold that cannot be streamed to.
    pub(super) fn fetch_if_behind(&mut self, before: EntryId) {
        if self.index.has(before) {
            self.following.fetch_at = None;
            return;
        }
        if self.following.fetch_at.is_none_or(|at| self.now.since(at) >= FETCH_AGAIN) {
            self.following.fetch_at = Some(self.now);
            self.out.push(Effect::Fetch { at_least: before });
        }
    }

    /// A fetched snapshot is durable. Where the log does not go on from it, the log begins anew
    /// there; else only the state was missing.
    ///
    /// Everything up to `from` is committed, so of this log only what is above `committed` may be
    /// something else, and none of that can be committed. What is held and known to be committed,
    /// or verified and perhaps counted, is never given up for it.
    pub(super) fn on_fetched(&mut self, from: EntryId) {
        self.fetching = None;
        if self.index.has(from) {
            self.out.push(Effect::Rebuild);
            return;
        }
        let held = self.committed.max(self.following.verified);
        if self.lead.is_some() || from.offset <= held || self.index.contradicts(from) {
            return;
        }
        if from.epoch > self.vote.sealed {
            self.raise_seal(from.epoch);
            self.sealed_as_master = false;
            self.persist();
        }
        self.out.push(Effect::Restart { after: from, keep_above: self.committed });
        self.index.restart(from);
        let end = from.offset;
        (self.written, self.flushed, self.committed, self.applied) = (end, end, end, end);
        self.flush_wanted = self.flush_wanted.min(end);
        self.snapshot = Some(from);
        self.following.verified = Offset::ZERO;
        self.following.pending.clear();
        self.following.fetch_at = None;
        self.out.push(Effect::Rebuild);
        self.out.push(Effect::Commit { up_to: end });
    }
}
