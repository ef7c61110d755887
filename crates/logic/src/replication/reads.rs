//! Who may read and write now: promises, confirmations, admission (docs/replication.md §§5, 11).

use super::lead::{Config, Lead};
use super::progress::Progress;
use super::{Admission, Effect, Reads, Replica};
use crate::ids::Epoch;
use crate::ids::NodeId;
use crate::message::Answer;
use crate::mutant::{Mutant, broken};
use crate::record::{Member, Rule};
use crate::time::{Duration, Instant};

/// The deadline when nobody's promise is needed; renewed when half of it is gone.
const UNBOUNDED: Duration = Duration::from_secs(24 * 3600);
/// For how long a planned switchover stops admission at most.
const HANDING_MAX: Duration = Duration::from_secs(1);

impl Replica {
    /// What may follow from acknowledgements, apart from commits.
    pub(super) fn after_acks(&mut self) {
        self.say_read_until();
        self.confirm_reads();
        self.answer_handed_over();
        self.say_admission();
    }

    /// Until when `config` promises not to seal: who promises until then, and this one, are enough
    /// to commit; so whoever seals without them proves nothing.
    fn promised(&self, lead: &Lead, config: &Config) -> Option<Instant> {
        let own = self.now + UNBOUNDED;
        let until: Vec<Option<Instant>> = config
            .members
            .iter()
            .map(|member| match member.id == self.me.id {
                true => Some(own),
                false => peer_of(lead, member)?.promised_until.filter(|until| *until > self.now),
            })
            .collect();
        if broken(Mutant::PromisesAnywhere) {
            let mut sorted: Vec<Instant> = until.into_iter().flatten().collect();
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            return sorted.get(config.sets.counts.promises).copied();
        }
        config.sets.greatest(&until)
    }

    /// Whether this member and those others of `config` of which `holds` are enough to commit.
    fn is_enough(&self, lead: &Lead, config: &Config, holds: impl Fn(&Progress) -> bool) -> bool {
        config.sets.commits(|at| {
            let member = &config.members[at];
            member.id == self.me.id || peer_of(lead, member).is_some_and(&holds)
        })
    }

    /// Until when linearizable reads may be released.
    fn readable_until(&self, lead: &Lead) -> Option<Instant> {
        if self.reads == Reads::Confirm {
            return None;
        }
        let old = self.promised(lead, &lead.config)?;
        match &lead.asking {
            Some(asking) if !broken(Mutant::JointReadsOnlyOld) => {
                Some(old.min(self.promised(lead, &asking.config)?))
            }
            _ => Some(old),
        }
    }

    /// Says until when reads may be released, when that has changed.
    pub(super) fn say_read_until(&mut self) {
        let Some(lead) = &self.lead else { return };
        if !self.is_master() && !broken(Mutant::ReadBeforeActive) {
            return;
        }
        let until = self.readable_until(lead);
        let half = self.now + UNBOUNDED / 2;
        let same = match (lead.read_until, until) {
            (Some(said), Some(until)) => said == until || (said > half && until > half),
            (said, until) => said == until,
        };
        if same {
            return;
        }
        if let Some(lead) = &mut self.lead {
            lead.read_until = until;
        }
        self.out.push(Effect::ReadUntil(until));
    }

    /// Reads wait for a round of acknowledgements; those that come during a round share the next.
    pub(super) fn on_confirm_reads(&mut self, token: u64) {
        if !self.is_master() {
            return;
        }
        let now = self.now;
        let Some(lead) = &mut self.lead else { return };
        if lead.confirming.is_some() {
            lead.confirm_next = lead.confirm_next.max(Some(token));
            return;
        }
        lead.confirming = Some((token, now));
        self.beat();
        self.confirm_reads();
    }

    /// Releases reads whose round is complete and begins the next.
    fn confirm_reads(&mut self) {
        while let Some((token, since)) = self.confirmed() {
            let now = self.now;
            self.out.push(Effect::ReadsConfirmed { token });
            let Some(lead) = &mut self.lead else { return };
            debug_assert!(since <= now);
            lead.confirming = lead.confirm_next.take().map(|next| (next, now));
            if lead.confirming.is_none() {
                return;
            }
            self.beat();
        }
    }

    /// The round that is complete: enough members of each configuration have acknowledged what was
    /// sent after it began.
    fn confirmed(&self) -> Option<(u64, Instant)> {
        let lead = self.lead.as_ref().filter(|_| self.is_master())?;
        let (token, since) = lead.confirming?;
        let complete =
            |config: &Config| self.is_enough(lead, config, |peer| peer.echoed >= Some(since));
        lead.configs().all(complete).then_some((token, since))
    }

    /// Planned switchover: admit nothing until `target` has everything, or a second has passed.
    pub(super) fn on_hand_over(&mut self, epoch: Epoch, target: NodeId) {
        let until = self.now + HANDING_MAX;
        if !self.is_master() {
            return;
        }
        let Some(lead) = self.lead.as_mut().filter(|l| l.epoch == epoch) else { return };
        let member = lead.config.members.iter().any(|m| m.id == target);
        if !member || !lead.peers.contains_key(&target) || lead.asking.is_some() {
            return;
        }
        lead.handing = Some(super::lead::Handing { target, until, answered: false });
        self.say_admission();
        self.answer_handed_over();
    }

    /// Answers once the target holds the log's end, as flushed as it must be.
    fn answer_handed_over(&mut self) {
        let last = self.index.last();
        let Some(lead) = &mut self.lead else { return };
        let flushed = lead.needs_flush(self.index.entry(self.committed), last.offset);
        let epoch = lead.epoch;
        let Some(handing) = &mut lead.handing else { return };
        let Some(peer) = lead.peers.get(&handing.target) else { return };
        let held = if flushed { peer.flushed } else { peer.written };
        if held == last.offset && !handing.answered {
            handing.answered = true;
            self.out.push(Effect::Answer(Answer::HandedOver { epoch, last }));
        }
    }

    /// Resumes admission when a switchover has come to nothing.
    pub(super) fn end_hand_over(&mut self) {
        let now = self.now;
        if let Some(lead) = &mut self.lead
            && lead.handing.as_ref().is_some_and(|h| now >= h.until)
        {
            lead.handing = None;
        }
    }

    /// Says whether client writes are admitted, when that has changed.
    pub(super) fn say_admission(&mut self) {
        let Some(lead) = self.lead.as_ref().filter(|_| self.is_master()) else { return };
        let admission = self.admission(lead);
        if lead.admission == Some(admission) {
            return;
        }
        if let Some(lead) = &mut self.lead {
            lead.admission = Some(admission);
        }
        self.out.push(Effect::Admission(admission));
    }

    fn admission(&self, lead: &Lead) -> Admission {
        if lead.handing.is_some() {
            return Admission::HandingOver;
        }
        // A smaller set that is only asked for refuses nothing: until it is known to be in force
        // the present one has to hold a copy of everything, too.
        let asked_refuses = broken(Mutant::AskedSetRefuses)
            && lead.asking.iter().any(|asking| !asking.config.sets.admits_writes());
        if asked_refuses || !lead.config.sets.counts.admits_writes() {
            return Admission::TooFewMembers;
        }
        if !lead.config.sets.has_zones() {
            return Admission::TooFewZones;
        }
        if !lead.configs().all(|config| self.is_heard(lead, config)) {
            return Admission::TooFewHeard;
        }
        Admission::Open
    }

    /// Whether enough members of `config` are heard to commit; with `async`, which answers before
    /// anybody has a copy, whether enough promise.
    pub(super) fn is_heard(&self, lead: &Lead, config: &Config) -> bool {
        let promise_counts = config.mode.rule == Rule::Async;
        self.is_enough(lead, config, |peer| {
            peer.answered
                && match promise_counts {
                    true => peer.promised_until.is_some_and(|until| until > self.now),
                    false => peer.heard_within(self.timing.silence_max, self.now),
                }
        })
    }
}

/// What is known of a member, if it is the folder that the configuration names.
fn peer_of<'a>(lead: &'a Lead, member: &Member) -> Option<&'a Progress> {
    lead.peers.get(&member.id).filter(|peer| peer.incarnation == member.incarnation)
}
