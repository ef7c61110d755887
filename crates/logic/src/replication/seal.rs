//! Seals: the promise to refuse every append of an older epoch (docs/replication.md §6.3).

use super::{Effect, PendingSeal, Replica};
use crate::ids::Epoch;
use crate::message::{Answer, Sealed};
use crate::mutant::{Mutant, broken};

impl Replica {
    /// A judge asks for a seal; without an answer it asks again.
    pub(super) fn on_seal(&mut self, attempt: Epoch, forced: bool, released: bool) {
        if attempt < self.vote.sealed {
            return;
        }
        if attempt == self.vote.sealed {
            // The elect or master of this very attempt has gone on; all others say it again.
            if self.lead.is_none() {
                self.answer_sealed();
            }
            return;
        }
        let at_once = released || broken(Mutant::SealIgnoresPromise);
        if at_once || (forced && !self.promise_is_live()) {
            self.seal(attempt);
        } else if forced {
            let former = self.seal.map_or(Epoch::ZERO, |s| s.attempt);
            self.seal = Some(PendingSeal { attempt: attempt.max(former) });
        } else if !self.hears_its_master() && !self.promise_is_live() {
            self.seal(attempt);
        }
    }

    /// A forced seal waits for the last promise to run out.
    pub(super) fn seal_when_released(&mut self) {
        if let Some(PendingSeal { attempt }) = self.seal
            && !self.promise_is_live()
        {
            self.seal(attempt);
        }
    }

    fn promise_is_live(&self) -> bool {
        // A master promised nobody: it serves on the promises of others and stops by stepping down.
        !self.is_master() && self.now < self.following.promised_until
    }

    fn hears_its_master(&self) -> bool {
        self.is_master() || self.now.since(self.following.heard) < self.timing.silence_max
    }

    /// Leaves any position, flushes the seal, answers.
    fn seal(&mut self, attempt: Epoch) {
        self.sealed_as_master = self.is_master();
        self.step_down();
        self.raise_seal(attempt);
        if !broken(Mutant::VoteNotDurable) {
            self.persist();
        }
        self.answer_sealed();
    }

    /// Every append below `epoch` is refused from here on; the caller persists it.
    pub(super) fn raise_seal(&mut self, epoch: Epoch) {
        assert!(epoch > self.vote.sealed, "seals only grow");
        assert!(self.lead.as_ref().is_none_or(|l| l.epoch == epoch), "who leads is not sealed");
        self.vote.sealed = epoch;
        self.seal = self.seal.filter(|s| s.attempt > epoch);
        self.following.master = None;
        self.following.verified = Default::default();
        self.following.told = Default::default();
        self.following.pending.clear();
    }

    fn answer_sealed(&mut self) {
        let sealed = Sealed {
            attempt: self.vote.sealed,
            life: self.vote.life,
            last: self.index.last(),
            intact: self.vote.intact,
            reserved: self.vote.reserved,
            was_master: self.sealed_as_master,
            zones: true,
        };
        self.out.push(Effect::Answer(Answer::Sealed(sealed)));
    }
}
