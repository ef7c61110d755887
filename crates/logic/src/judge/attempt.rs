//! One attempt: open, seal, prove, choose, elect, commit (docs/replication.md §6.2-7).

use super::cause::Cause;
use super::choose::{Chosen, choose};
use super::{CasOutcome, Decision, Judge, JudgeEffect, PhaseName, RETRY, Waiting};
use crate::counting::{Plane, Sets};
use crate::ids::{EntryId, NodeId, Version};
use crate::message::{Answer, Mode, Order, Position, Sealed, Sender};
use crate::mutant::{Mutant, broken};
use crate::record::Record;
use crate::time::{Duration, Instant};
use std::collections::BTreeMap;

/// How far numbers go on above those that are known, where those that gave out others are gone;
/// as etcd's own restore is told to (`etcdutl snapshot restore --bump-revision`, its guide).
const BUMP: u64 = 1_000_000_000;

/// One numbered try to change a configuration.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    /// The record with this attempt open: as asked for, then as committed.
    record: Record,
    cause: Cause,
    since: Instant,
    /// When the present phase began.
    entered: Instant,
    sent: Option<Instant>,
    /// Whether the master's own life is known to be over.
    released: bool,
    target: Option<NodeId>,
    sealed: BTreeMap<NodeId, Sealed>,
    proof: Option<Instant>,
    lossy: bool,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Opening,
    Sealing,
    Electing(Chosen),
    Committing(Record),
}

impl Attempt {
    pub(super) fn waiting(&self, plane: Plane) -> Waiting {
        let silent = |m: &&crate::record::Member| !self.sealed.contains_key(&m.id);
        let (phase, silent) = match &self.phase {
            Phase::Opening => (PhaseName::Opening, Vec::new()),
            Phase::Sealing => {
                let silent = self.record.members.iter().filter(silent);
                (PhaseName::Sealing, silent.map(|m| m.id.clone()).collect())
            }
            Phase::Electing(chosen) => (PhaseName::Electing, vec![chosen.elect.clone()]),
            Phase::Committing(_) => (PhaseName::Committing, Vec::new()),
        };
        Waiting {
            attempt: self.record.attempt,
            phase,
            sealed: self.sealed.values().filter(|sealed| sealed.intact).count(),
            needed: Sets::of(plane, &self.record).counts.seals
                + usize::from(broken(Mutant::SealPlusOne)),
            silent,
        }
    }

    /// Whether the intact members that have sealed are proof.
    pub(super) fn is_proved(&self, plane: Plane) -> bool {
        let counts = |sealed: &Sealed| sealed.intact || broken(Mutant::CountUnintact);
        let has_sealed = |id: &NodeId| self.sealed.get(id).is_some_and(counts);
        let number = self.record.members.iter().filter(|m| has_sealed(&m.id)).count();
        let needed = Sets::of(plane, &self.record).counts.seals;
        if broken(Mutant::SealMinusOne) {
            return number >= needed.saturating_sub(1).max(1);
        }
        if broken(Mutant::SealPlusOne) {
            return number > needed;
        }
        let sets = Sets::of(plane, &self.record);
        sets.proves(|at| has_sealed(&self.record.members[at].id))
    }

    /// How long it has been in its phase.
    pub(super) fn waited(&self, now: Instant) -> Duration {
        now.since(self.entered)
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.entered = now;
        self.sent = None;
    }

    fn evidence(&self) -> Vec<(NodeId, EntryId, bool)> {
        self.sealed.iter().map(|(id, sealed)| (id.clone(), sealed.last, sealed.intact)).collect()
    }

    fn cas(&self, former: Version) -> JudgeEffect {
        let record = match &self.phase {
            Phase::Committing(record) => record.clone(),
            _ => self.record.clone(),
        };
        JudgeEffect::Cas { expected: former, record }
    }

    /// The version that this attempt's present compare-and-swap replaces.
    fn expected(&self) -> Option<Version> {
        match &self.phase {
            Phase::Opening => Some(Version(self.record.version.0 - 1)),
            Phase::Committing(_) => Some(self.record.version),
            Phase::Sealing | Phase::Electing(_) => None,
        }
    }
}

impl Judge {
    pub(super) fn open(
        &mut self,
        now: Instant,
        record: &Record,
        cause: Cause,
        target: Option<NodeId>,
        effects: &mut Vec<JudgeEffect>,
    ) {
        self.back_off(now);
        let known = self.reports.values().map(|heard| heard.report.sealed).max();
        let above = self.left.is_some() && !broken(Mutant::RecoversBelowSeals);
        let known = known.filter(|_| above).unwrap_or(record.attempt);
        let attempt = record.attempt.max(known).next();
        let asked =
            Record { version: record.version.next(), attempt, open: true, ..record.clone() };
        let master = record.master.as_ref().and_then(|master| self.reports.get(master));
        let life_over = master
            .is_some_and(|heard| self.master_life.is_some_and(|life| heard.report.life > life));
        self.attempt = Some(Attempt {
            record: asked,
            cause,
            since: now,
            entered: now,
            sent: None,
            released: life_over,
            target,
            sealed: BTreeMap::new(),
            proof: None,
            lossy: false,
            phase: Phase::Opening,
        });
        self.drive(now, effects);
    }

    /// The record moved: whose doing was it?
    pub(super) fn attempt_sees(
        &mut self,
        now: Instant,
        record: &Record,
        effects: &mut Vec<JudgeEffect>,
    ) {
        let Some(attempt) = &self.attempt else { return };
        match &attempt.phase {
            // An equal record may be a rival's: the keeper's answer decides.
            Phase::Opening if *record == attempt.record => {}
            Phase::Committing(asked) if record == asked => self.decided(now, effects),
            _ if record.version > attempt.record.version => self.attempt = None,
            Phase::Opening if record.version == attempt.record.version => self.attempt = None,
            _ => {}
        }
    }

    pub(super) fn on_cas(
        &mut self,
        now: Instant,
        expected: Version,
        outcome: CasOutcome,
        effects: &mut Vec<JudgeEffect>,
    ) {
        let Some(attempt) = &mut self.attempt else { return };
        if attempt.expected() != Some(expected) {
            return;
        }
        match (outcome, &attempt.phase) {
            (CasOutcome::Lost, _) => {
                self.attempt = None;
                effects.push(JudgeEffect::ReadRecord);
            }
            (CasOutcome::Unknown, _) => effects.push(JudgeEffect::ReadRecord),
            (CasOutcome::Won, Phase::Opening) => {
                let record = attempt.record.clone();
                attempt.enter(now, Phase::Sealing);
                if self.record.as_ref().is_none_or(|known| known.version < record.version) {
                    self.record = Some(record);
                    self.record_since = Some(now);
                }
            }
            (CasOutcome::Won, Phase::Committing(_)) => self.decided(now, effects),
            (CasOutcome::Won, _) => {}
        }
    }

    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        from: &Sender,
        answer: Answer,
        effects: &mut Vec<JudgeEffect>,
    ) {
        if let Answer::HandedOver { epoch, .. } = answer {
            let Some(record) = self.record.clone() else { return };
            let expected = record.epoch == epoch && record.master.as_ref() == Some(&from.id);
            if expected
                && !record.open
                && let Some(handing) = self.handing.take()
            {
                self.open(now, &record, Cause::Switchover, Some(handing.target), effects);
            }
            return;
        }
        let Some(attempt) = &mut self.attempt else { return };
        if !attempt.record.names(&from.id, from.incarnation) {
            return;
        }
        let number = attempt.record.attempt;
        match (answer, &attempt.phase) {
            (Answer::Sealed(sealed), Phase::Sealing) if sealed.attempt == number => {
                let newer = |known: &Sealed| known.life > sealed.life;
                if !attempt.sealed.get(&from.id).is_some_and(newer) {
                    attempt.sealed.insert(from.id.clone(), sealed);
                }
                if attempt.record.master.as_ref() == Some(&from.id) && !attempt.released {
                    attempt.released = true;
                    attempt.sent = None;
                }
            }
            (Answer::Ready { attempt: ready }, Phase::Electing(chosen))
                if ready == number && chosen.elect == from.id =>
            {
                let record = Record {
                    version: attempt.record.version.next(),
                    epoch: number,
                    master: Some(chosen.elect.clone()),
                    members: chosen.members.clone(),
                    open: false,
                    ..attempt.record.clone()
                };
                attempt.enter(now, Phase::Committing(record));
            }
            (Answer::NotElect { attempt: not }, Phase::Electing(chosen))
                if not == number && chosen.elect == from.id =>
            {
                self.give_up_attempt();
            }
            _ => {}
        }
    }

    /// Takes the attempt one step further, if it can be.
    pub(super) fn drive(&mut self, now: Instant, effects: &mut Vec<JudgeEffect>) {
        let Some(attempt) = &mut self.attempt else { return };
        match &attempt.phase {
            Phase::Opening | Phase::Committing(_) => {
                if attempt.sent.is_none_or(|at| now.since(at) >= RETRY)
                    && let Some(expected) = attempt.expected()
                {
                    attempt.sent = Some(now);
                    effects.push(attempt.cas(expected));
                }
            }
            Phase::Sealing => self.seal(now, effects),
            Phase::Electing(_) => self.elect(now, effects),
        }
    }

    fn seal(&mut self, now: Instant, effects: &mut Vec<JudgeEffect>) {
        if self.prove(now, effects) {
            self.elect(now, effects);
            return;
        }
        let Some(attempt) = &mut self.attempt else { return };
        if attempt.sent.is_some_and(|at| now.since(at) < self.timing.heartbeat) {
            return;
        }
        attempt.sent = Some(now);
        let waited = attempt.waited(now);
        // Members that hear their master again would keep a half sealed one deaf for ever.
        let forced = attempt.cause.is_forced() || waited >= self.timing.silence_max;
        let released = attempt.released || broken(Mutant::ReleasedLie);
        let master = attempt.record.master.as_ref();
        let master_first =
            attempt.cause == Cause::Switchover && !released && waited < self.timing.silence_max;
        for member in &attempt.record.members {
            let later = master_first && master != Some(&member.id);
            if !later && !attempt.sealed.contains_key(&member.id) {
                let order = Order::Seal { attempt: attempt.record.attempt, forced, released };
                effects.push(JudgeEffect::Order { to: member.id.clone(), order });
            }
        }
    }

    /// Whether the seals are proof; then the elect is chosen.
    fn prove(&mut self, now: Instant, effects: &mut Vec<JudgeEffect>) -> bool {
        let Some(attempt) = &mut self.attempt else { return false };
        let members = &attempt.record.members;
        let mut left =
            members.iter().filter(|m| self.left.as_ref().is_none_or(|l| l.contains(&m.id)));
        let all = !attempt.sealed.is_empty() && left.all(|m| attempt.sealed.contains_key(&m.id));
        let proved = attempt.is_proved(self.plane);
        if !proved && !all {
            attempt.proof = None;
            return false;
        }
        let proof = *attempt.proof.get_or_insert(now);
        let master = attempt.record.master.as_ref();
        // Not for a silent master, nor for those whose connection is known to be gone.
        let complete = members.iter().all(|m| {
            attempt.sealed.contains_key(&m.id)
                || !self.reports.contains_key(&m.id)
                || (master == Some(&m.id) && attempt.cause != Cause::Switchover)
        });
        if !complete && now.since(proof) < self.timing.seal_wait {
            return false;
        }
        attempt.lossy = !proved || self.left.is_some();
        let avoided = matches!(attempt.cause, Cause::Relief | Cause::Hint | Cause::Switchover);
        let avoided = if avoided { master } else { None };
        let preferred = attempt.target.as_ref();
        let record = &attempt.record;
        let Some(chosen) = choose(record, &attempt.sealed, !proved, preferred, avoided) else {
            return false;
        };
        attempt.lossy &= !broken(Mutant::LossUnsaid);
        if attempt.lossy {
            let (attempt, sealed) = (attempt.record.attempt, attempt.evidence());
            effects.push(JudgeEffect::DataLossPossible { attempt, sealed });
        }
        attempt.enter(now, Phase::Electing(chosen));
        true
    }

    fn elect(&mut self, now: Instant, effects: &mut Vec<JudgeEffect>) {
        let Some(attempt) = &mut self.attempt else { return };
        let Phase::Electing(chosen) = &attempt.phase else { return };
        let number = attempt.record.attempt;
        let waited = attempt.waited(now);
        let heard = self.reports.get(&chosen.elect);
        let heard = heard.filter(|heard| heard.is_fresh(now));
        let gone = heard.is_some_and(|heard| heard.report.life > chosen.life);
        let at_work = heard.is_some_and(|h| h.report.position == Position::Elect(number));
        // A member lost after its seal keeps the elect waiting for a copy that never comes.
        let heard = |id: &NodeId| self.reports.get(id).is_some_and(|heard| heard.is_fresh(now));
        let whole = chosen.members.iter().all(|member| heard(&member.id));
        let patience =
            if at_work && whole { self.timing.stuck_max } else { self.timing.silence_max * 3 };
        if gone || waited >= patience {
            self.give_up_attempt();
            return;
        }
        if attempt.sent.is_some_and(|at| now.since(at) < self.timing.heartbeat) {
            return;
        }
        attempt.sent = Some(now);
        let record = &attempt.record;
        let mode = Mode { rule: record.rule, wanted: record.wanted, durability: record.durability };
        let reserved = attempt.sealed.values().map(|sealed| sealed.reserved).max();
        let bump = if self.left.is_some() { BUMP } else { 0 };
        let order = Order::Elect {
            attempt: number,
            life: chosen.life,
            last: chosen.last,
            members: chosen.members.clone(),
            mode,
            above: if attempt.lossy { reserved.unwrap_or(0).saturating_add(bump) } else { 0 },
        };
        effects.push(JudgeEffect::Order { to: chosen.elect.clone(), order });
    }

    /// Nobody else will finish it: the next one may begin as soon as the back-off allows.
    fn give_up_attempt(&mut self) {
        self.attempt = None;
        self.record_since = None;
    }

    /// The attempt is an epoch now.
    fn decided(&mut self, now: Instant, effects: &mut Vec<JudgeEffect>) {
        let Some(attempt) = self.attempt.take() else { return };
        let evidence = attempt.evidence();
        let Phase::Committing(record) = attempt.phase else { return };
        let master = record.master.clone();
        let life = master.as_ref().and_then(|id| attempt.sealed.get(id)).map(|s| s.life);
        self.master_life = life;
        self.hint = None;
        self.left = None;
        self.wish = None;
        if self.record.as_ref().is_none_or(|known| known.version < record.version) {
            self.record = Some(record.clone());
            self.record_since = Some(now);
        }
        if let Some(to) = master {
            let order = Order::Record(Box::new(record.clone()));
            effects.push(JudgeEffect::Order { to, order });
        }
        effects.push(JudgeEffect::Decided(Box::new(Decision {
            cause: attempt.cause,
            former_epoch: attempt.record.epoch,
            former_master: attempt.record.master,
            record,
            sealed: evidence,
            lossy: attempt.lossy,
            took: now.since(attempt.since),
        })));
    }
}
