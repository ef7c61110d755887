//! What a replica does when it reads the record (docs/replication.md §§6.7, 7).

use super::lead::{Config, Stage};
use super::{Effect, Replica};
use crate::ids::{Epoch, Version};
use crate::mutant::{Mutant, broken};
use crate::record::{EpochRecord, Member, Record};

impl Replica {
    /// The record as committed; older readings change nothing.
    pub(super) fn on_record(&mut self, record: Record) {
        // Attempts grow with versions, but where the directory was rolled back and a person has had
        // it go on above every attempt there was (docs/decisions/0013).
        let rank = |record: &Record| (record.attempt, record.version);
        if self.record.as_ref().is_some_and(|known| rank(known) >= rank(&record)) {
            return;
        }
        let newer = self.record.as_ref().is_none_or(|known| record.epoch > known.epoch);
        if newer && self.following.epoch < record.epoch {
            // The new master has not been heard; its silence begins now.
            self.following.heard = self.now;
        }
        self.record = Some(record.clone());
        match self.lead.as_ref().map(|l| (l.stage, l.epoch)) {
            Some((Stage::Elect { .. }, epoch)) => self.elect_reads(epoch, &record),
            Some((Stage::Master, epoch)) => self.master_reads(epoch, record),
            None if broken(Mutant::MasterSurvivesRestart)
                && record.master.as_ref() == Some(&self.me.id) =>
            {
                self.go_on_as_master(&record);
            }
            None => self.forget_unflushed(),
        }
    }

    fn elect_reads(&mut self, epoch: Epoch, record: &Record) {
        if record.epoch == epoch && record.master.as_ref() == Some(&self.me.id) {
            self.become_master(record);
        } else if record.attempt > epoch || record.epoch >= epoch {
            self.step_down();
        }
    }

    /// While a change is asked for its outcome is known once the version has moved.
    fn master_reads(&mut self, epoch: Epoch, record: Record) {
        let mine = record.master.as_ref() == Some(&self.me.id);
        let asked = self.lead.as_ref().and_then(|l| l.asking.as_ref());
        if let Some(asked) = asked
            && record.version > asked.expected
            && mine
            && record.epoch == asked.record.epoch
        {
            self.reopen(&record);
            return;
        }
        if !mine || record.epoch != epoch {
            self.step_down();
            return;
        }
        let expected = asked.map(|a| a.expected);
        if expected.is_some_and(|expected| record.version > expected) {
            // Another change of the record came first; this one can never succeed any more.
            self.asks_no_more();
        }
    }

    /// What was asked for of version `expected` can never come into force.
    pub(super) fn on_refused(&mut self, expected: Version) {
        let asked = self.lead.as_ref().and_then(|lead| lead.asking.as_ref());
        if asked.is_some_and(|asked| asked.expected == expected) {
            self.asks_no_more();
        }
    }

    fn asks_no_more(&mut self) {
        if let Some(lead) = &mut self.lead {
            lead.asking = None;
        }
        self.set_peers();
        self.advance();
        self.after_acks();
    }

    /// The change that was asked for is in force: go on in its epoch, counting afresh.
    fn reopen(&mut self, record: &Record) {
        let now = self.now;
        let config = Config::of(self.plane, record);
        self.note_removed(&config.members);
        let Some(lead) = &mut self.lead else { return };
        lead.reopen(record.epoch, config, now);
        let unflushed = !lead.config.flush;
        self.raise_seal(record.epoch);
        self.vote.unflushed |= unflushed;
        self.persist();
        self.set_peers();
        self.out.push(Effect::OpenEpoch(EpochRecord {
            epoch: record.epoch,
            master: self.me.id.clone(),
            members: record.members.clone(),
            above: 0,
        }));
        self.after_acks();
        self.beat();
    }

    /// Nodes that hold a claim and do not count yet.
    pub(super) fn on_learners(&mut self, learners: Vec<Member>) {
        self.learners = learners;
        self.set_peers();
    }

    /// Makes the peers those that the configurations and the claims name.
    pub(super) fn set_peers(&mut self) {
        let now = self.now;
        if let Some(lead) = &mut self.lead {
            lead.set_peers(&self.me, &self.learners, &self.index, now);
        }
    }

    /// Once nothing that is not flushed can have been counted, a power cut costs nothing. For a
    /// master that counts flushed copies only (alone, it always does) that is when the record of
    /// its epoch is flushed.
    pub(super) fn forget_unflushed(&mut self) {
        let grounded = match &self.lead {
            Some(lead) => {
                let opened = lead.opened.filter(|_| lead.stage == Stage::Master);
                lead.config.flush && opened.is_some_and(|opened| self.flushed >= opened)
            }
            None => {
                let flushes = self.mode().is_some_and(|m| m.durability.flushed);
                flushes && self.flushed == self.index.last().offset
            }
        };
        if grounded && self.vote.unflushed {
            self.vote.unflushed = false;
            self.persist();
        }
    }
}
