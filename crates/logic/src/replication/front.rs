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
            // Nobody needs the entry before an epoch record that is committed; one that is not lies
            // above all that is.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counting::Plane;
    use crate::ids::{Epoch, Incarnation, Life, NodeId};
    use crate::message::{Ack, Append, Heartbeat, Message, Sender};
    use crate::replication::{Input, Reads, Recovered, Vote};
    use crate::time::Instant;
    use crate::timing::Timing;

    fn id(epoch: u64, offset: u64) -> EntryId {
        EntryId::new(Epoch(epoch), Offset(offset))
    }

    fn sender(name: &str) -> Sender {
        Sender { id: NodeId::new(name), incarnation: Incarnation(1) }
    }

    /// A follower whose log holds epoch 2 at 6..=10 after 2/5, all flushed.
    fn follower() -> Replica {
        let vote =
            Vote { sealed: Epoch(2), intact: true, life: Life(1), reserved: 0, unflushed: false };
        let recovered = Recovered {
            vote,
            before: id(2, 5),
            epochs: vec![(Epoch(2), Offset(6))],
            last: id(2, 10),
            flushed: Offset(10),
            clean: None,
            same_boot: true,
            failed_disk: false,
            torn: false,
        };
        let (timing, now) = (Timing::default(), Instant::ZERO);
        let mut effects = Vec::new();
        Replica::start(
            sender("n1"),
            Plane::Group,
            recovered,
            timing,
            Reads::Lease,
            now,
            &mut effects,
        )
    }

    fn step(replica: &mut Replica, ms: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        replica.step(Instant::ZERO + Duration::from_millis(ms), input, &mut effects);
        effects
    }

    fn beat(before: EntryId, last: EntryId, committed: u64) -> Input {
        let body = Message::Heartbeat(Heartbeat {
            epoch: Epoch(3),
            before,
            last,
            committed: Offset(committed),
            progressing: true,
            sent_at: Instant::ZERO,
        });
        Input::Message { from: sender("n2"), body }
    }

    fn fetches(effects: &[Effect]) -> Option<EntryId> {
        effects.iter().find_map(|effect| match effect {
            Effect::Fetch { at_least } => Some(*at_least),
            _ => None,
        })
    }

    fn ack(effects: &[Effect]) -> Ack {
        let ack = effects.iter().find_map(|effect| match effect {
            Effect::Send { body: Message::Ack(ack), .. } => Some(ack.clone()),
            _ => None,
        });
        ack.expect("a sign of life is acknowledged")
    }

    #[test]
    fn a_new_life_takes_what_was_given_up_for_committed() {
        let replica = follower();
        assert_eq!((replica.before(), replica.committed()), (id(2, 5), Offset(5)));
    }

    #[test]
    fn nothing_is_given_up_without_a_snapshot_of_what_the_log_holds() {
        let mut replica = follower();
        step(&mut replica, 1, beat(EntryId::ZERO, id(2, 10), 9));
        assert_eq!(replica.committed(), Offset(9));
        assert_eq!(replica.may_truncate(true), Offset::ZERO);
        step(&mut replica, 2, Input::Snapshot(id(1, 8)));
        assert_eq!(replica.may_truncate(true), Offset::ZERO, "of another history");
        step(&mut replica, 3, Input::Snapshot(id(2, 8)));
        assert_eq!(replica.may_truncate(false), Offset(8));
        step(&mut replica, 4, Input::Snapshot(id(2, 10)));
        assert_eq!(replica.may_truncate(false), Offset(9), "only what is committed");
        step(&mut replica, 5, Input::Truncated(id(2, 9)));
        assert_eq!((replica.before(), replica.may_truncate(true)), (id(2, 9), Offset::ZERO));
    }

    #[test]
    fn who_does_not_hold_where_the_masters_log_begins_asks_once_a_second() {
        let mut replica = follower();
        let behind = || beat(id(3, 20), id(3, 30), 25);
        assert_eq!(fetches(&step(&mut replica, 100, behind())), Some(id(3, 20)));
        assert_eq!(fetches(&step(&mut replica, 600, behind())), None);
        assert_eq!(fetches(&step(&mut replica, 1100, behind())), Some(id(3, 20)));
        assert_eq!(fetches(&step(&mut replica, 2200, beat(id(2, 4), id(2, 10), 10))), None);
    }

    #[test]
    fn an_acknowledgement_says_where_the_log_ends_and_what_is_fetched() {
        let mut replica = follower();
        let first = ack(&step(&mut replica, 100, beat(id(3, 20), id(3, 30), 25)));
        assert_eq!((first.last, first.fetching), (id(2, 10), Offset::ZERO));
        step(&mut replica, 150, Input::Fetching(Some(id(3, 22))));
        let second = ack(&step(&mut replica, 200, beat(id(3, 20), id(3, 30), 25)));
        assert_eq!((second.last, second.fetching), (id(2, 10), Offset(22)));
        step(&mut replica, 300, Input::Fetched(id(3, 22)));
        let third = ack(&step(&mut replica, 400, beat(id(3, 20), id(3, 30), 25)));
        assert_eq!((third.last, third.fetching), (id(3, 22), Offset::ZERO));
    }

    #[test]
    fn with_a_fetched_snapshot_the_log_begins_anew_and_what_was_not_committed_is_kept() {
        let mut replica = follower();
        step(&mut replica, 100, beat(id(3, 20), id(3, 30), 25));
        let effects = step(&mut replica, 200, Input::Fetched(id(3, 22)));
        let expected = [
            Effect::Restart { after: id(3, 22), keep_above: Offset(5) },
            Effect::Rebuild,
            Effect::Commit { up_to: Offset(22) },
        ];
        assert_eq!(effects, expected);
        assert_eq!((replica.before(), replica.last()), (id(3, 22), id(3, 22)));
        assert_eq!((replica.committed(), replica.flushed()), (Offset(22), Offset(22)));
    }

    #[test]
    fn a_fetched_snapshot_that_the_log_goes_on_from_only_brings_the_state() {
        let mut replica = follower();
        for from in [id(2, 8), id(2, 10), id(2, 3)] {
            assert_eq!(step(&mut replica, 1, Input::Fetched(from)), [Effect::Rebuild], "{from}");
        }
    }

    #[test]
    fn a_fetched_snapshot_of_another_history_is_not_used() {
        let mut replica = follower();
        // Below the front; at the front; above it, of an epoch that ended before.
        for from in [id(3, 4), id(1, 5), id(1, 20)] {
            assert_eq!(step(&mut replica, 1, Input::Fetched(from)), [], "{from}");
        }
        // What is verified may be counted already, by a master that holds no such entry.
        step(&mut replica, 100, beat(id(2, 5), id(2, 10), 5));
        assert_eq!(step(&mut replica, 200, Input::Fetched(id(3, 9))), []);
        assert_eq!(replica.last(), id(2, 10));
    }

    #[test]
    fn a_snapshot_of_a_newer_epoch_seals_it() {
        let mut replica = follower();
        let effects = step(&mut replica, 1, Input::Fetched(id(7, 40)));
        let sealed = matches!(&effects[0], Effect::Persist(vote) if vote.sealed == Epoch(7));
        assert!(sealed, "{effects:?}");
        assert!(matches!(effects[1], Effect::Restart { .. }), "{effects:?}");
    }

    #[test]
    fn an_append_to_another_history_halts() {
        for prev in [id(3, 4), id(3, 5), id(1, 7)] {
            let mut replica = follower();
            let append = Append {
                epoch: Epoch(4),
                prev,
                batches: Vec::new(),
                committed: Offset::ZERO,
                flush: false,
                sent_at: Instant::ZERO,
            };
            let body = Message::Append(append);
            let effects = step(&mut replica, 1, Input::Message { from: sender("n2"), body });
            let alarm = Effect::Alarm(Alarm::CutBelowCommitted { at: prev, committed: Offset(5) });
            assert!(effects.contains(&alarm), "{prev}: {effects:?}");
            assert_eq!(step(&mut replica, 2, Input::Tick), [], "it takes part no more");
        }
    }
}
