//! From elect to master (docs/replication.md §§6.6-6.7).

use super::lead::{Config, Lead, Stage, mode_of};
use super::{Effect, Replica};
use crate::batch::BatchHead;
use crate::ids::{EntryId, Epoch, Life};
use crate::message::{Answer, Mode};
use crate::mutant::{Mutant, broken};
use crate::record::{EpochRecord, Member, Record};

/// What a judge asks of an elect.
pub(super) struct Election {
    pub attempt: Epoch,
    pub life: Life,
    pub last: EntryId,
    pub members: Vec<Member>,
    pub mode: Mode,
    pub above: u64,
}

impl Replica {
    /// Becomes elect of `attempt` if this is still the folder, life and log that sealed it.
    pub(super) fn on_elect(&mut self, election: Election) {
        let attempt = election.attempt;
        if let Some(lead) = self.lead.as_ref().filter(|l| l.epoch == attempt) {
            if lead.stage != (Stage::Elect { ready: false }) {
                self.out.push(Effect::Answer(Answer::Ready { attempt }));
            }
            return;
        }
        if !self.may_be_elect(&election) {
            self.out.push(Effect::Answer(Answer::NotElect { attempt }));
            return;
        }
        let Election { members, mode, above, .. } = election;
        if above > self.vote.reserved {
            self.vote.reserved = above;
            self.persist();
        }
        let config = Config::new(self.plane, members.clone(), mode);
        self.lead = Some(Lead::new(attempt, config, self.now));
        self.set_peers();
        let master = self.me.id.clone();
        let record = EpochRecord { epoch: attempt, master, members, above };
        self.out.push(Effect::OpenEpoch(record));
        self.beat();
    }

    fn may_be_elect(&self, election: &Election) -> bool {
        let Election { attempt, life, last, members, .. } = election;
        // Whoever follows an elect of this attempt already, or began with it sealed, may hold
        // another entry of that epoch.
        let sealed = *attempt == self.vote.sealed && self.lead.is_none();
        let followed = self.following.epoch == *attempt && self.following.master.is_some();
        let named =
            members.iter().any(|m| m.id == self.me.id && m.incarnation == self.me.incarnation);
        if !sealed || followed || !named {
            return false;
        }
        if broken(Mutant::NoElectCheck) {
            return true;
        }
        let same_life = *life == self.vote.life && *attempt > self.sealed_at_start;
        (same_life || broken(Mutant::ElectNoLife)) && *last == self.index.last()
    }

    /// The appender made a batch.
    pub(super) fn on_appended(&mut self, head: &BatchHead, bytes: u64) {
        let now = self.now;
        let lead = self.lead.as_mut().expect("the host drops batches of a position that was left");
        let expected = match (lead.opened, head.opens_epoch) {
            (None, true) => Some(lead.epoch),
            (None, false) => lead.previous,
            (Some(_), false) if lead.stage == Stage::Master => Some(lead.epoch),
            (Some(_), _) => None,
        };
        assert_eq!(expected, Some(head.epoch), "the appender writes in its master's epoch");
        self.index.append(head);
        lead.appended(head, bytes, now);
        let flush = lead.hurries() || head.authority || head.opens_epoch;
        if self.committed.next() == head.first {
            // Nothing waited until now.
            lead.moved_at = now;
        }
        if lead.stage == Stage::Master {
            self.applied = head.last_offset();
        }
        if flush {
            self.want_flush(head.last_offset());
        }
    }

    /// Says Ready once the epoch record has the copies that the attempt's members ask for.
    pub(super) fn ready_when_opened(&mut self) {
        let Some(lead) = self.lead.as_ref() else { return };
        if lead.stage != (Stage::Elect { ready: false }) || lead.opened.is_none() {
            return;
        }
        let alone = broken(Mutant::NoTransfer) || broken(Mutant::ActBeforeRecord);
        let written_here = alone && lead.opened.is_some_and(|opened| opened <= self.written);
        if !self.is_opened(lead) && !written_here {
            return;
        }
        let attempt = lead.epoch;
        let recorded = lead.recorded.clone();
        let config = lead.config.clone();
        if let Some(lead) = &mut self.lead {
            lead.stage = Stage::Elect { ready: true };
        }
        self.out.push(Effect::Answer(Answer::Ready { attempt }));
        if broken(Mutant::ActBeforeRecord)
            && let Some(known) = &self.record
        {
            let made = Record {
                epoch: attempt,
                master: Some(self.me.id.clone()),
                members: config.members,
                rule: config.mode.rule,
                wanted: config.mode.wanted,
                durability: config.mode.durability,
                ..known.clone()
            };
            self.become_master(&made);
        } else if let Some(record) = recorded {
            self.become_master(&record);
        }
    }

    /// The record names this elect: it is master, intact, and all up to its epoch record is
    /// committed.
    pub(super) fn become_master(&mut self, record: &Record) {
        let now = self.now;
        let config = Config::of(self.plane, record);
        let Some(lead) = &mut self.lead else { return };
        if lead.stage != (Stage::Elect { ready: true }) {
            lead.recorded = Some(record.clone());
            return;
        }
        let opened = lead.opened.expect("who was ready has appended its epoch record");
        assert_eq!(lead.epoch, record.epoch, "an elect masters its own attempt");
        lead.stage = Stage::Master;
        lead.config = config;
        lead.recorded = None;
        lead.committed(opened.max(self.committed), now);
        let epoch = lead.epoch;
        let unflushed = !lead.config.flush;
        self.vote.intact = true;
        self.vote.unflushed |= unflushed;
        self.persist();
        self.applied = self.index.last().offset;
        self.committed = self.committed.max(opened);
        self.out.push(Effect::Commit { up_to: self.committed });
        self.out.push(Effect::BecomeMaster { epoch, record: record.clone() });
        self.set_peers();
        self.advance();
        self.after_acks();
        self.beat();
        self.pump_all();
    }

    /// Leaves the position of elect or master, if held.
    pub(super) fn step_down(&mut self) {
        let Some(lead) = self.lead.take() else { return };
        self.following.heard = self.now;
        self.out.push(Effect::StepDown { epoch: lead.epoch });
    }

    /// F5's mutant: a new process believes the record.
    pub(super) fn go_on_as_master(&mut self, record: &Record) {
        if self.vote.sealed > record.epoch || self.index.first_of(record.epoch).is_none() {
            return;
        }
        self.vote.sealed = record.epoch;
        let mut lead = Lead::new(record.epoch, Config::of(self.plane, record), self.now);
        lead.stage = Stage::Master;
        lead.opened = self.index.first_of(record.epoch);
        self.lead = Some(lead);
        self.following.master = None;
        self.set_peers();
        self.applied = self.index.last().offset;
        self.committed = self.index.last().offset;
        let epoch = record.epoch;
        self.out.push(Effect::Commit { up_to: self.committed });
        self.out.push(Effect::BecomeMaster { epoch, record: record.clone() });
    }

    /// The mode the record in force asks for.
    pub(super) fn mode(&self) -> Option<Mode> {
        self.record.as_ref().map(mode_of)
    }
}
