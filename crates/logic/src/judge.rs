//! Decides whether a master is gone, and drives the attempt that replaces it
//! (docs/replication.md §6).
//!
//! Pure: reports, answers and the time come in, orders and compare-and-swaps go out. It acts on
//! committed records only, and a compare-and-swap counts only when its keeper said that *this* one
//! was taken: rivals may have asked for an equal record. Read [`cause`](cause_to_open) for when,
//! `attempt` for how, [`choose`] for whom. Losing a judge at any point is harmless: an open
//! attempt is finished by the next one under a new number.

mod attempt;
mod cause;
mod choose;
mod person;
#[cfg(test)]
mod tests;

pub use cause::{Cause, Facts, Heard, Hint, cause_to_open};
pub use choose::{Chosen, choose};

use crate::counting::Plane;
use crate::ids::{EntryId, Epoch, Incarnation, Life, NodeId, Version};
use crate::message::{Answer, Order, Report, Sender};
use crate::record::Record;
use crate::time::{Duration, Instant};
use crate::timing::Timing;
use attempt::Attempt;
use std::collections::{BTreeMap, BTreeSet};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JudgeInput {
    /// Time passed; at least every 25 ms.
    Tick,
    /// The record, as committed by its keeper.
    Record(Record),
    /// How a [`JudgeEffect::Cas`] ended.
    CasDone {
        /// The version it was to replace.
        expected: Version,
        /// How.
        outcome: CasOutcome,
    },
    /// What a node says of itself and its master.
    Report {
        /// The node and its folder.
        from: Sender,
        /// What.
        report: Report,
    },
    /// The connection to a node was lost: its report no longer holds.
    Gone(NodeId),
    /// A member answered an order.
    Answer {
        /// The member.
        from: Sender,
        /// What.
        answer: Answer,
    },
    /// What the operator has seen, or a person has decided.
    Hint(Hint),
    /// A planned switchover is wished, to `target` or to whoever has the most. One to the present
    /// master changes nothing, or what is under way comes back to it.
    Wish {
        /// The next master.
        target: Option<NodeId>,
    },
}

/// How a compare-and-swap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CasOutcome {
    /// This very change is committed.
    Won,
    /// It never will be.
    Lost,
    /// Nobody can say; the record will show.
    Unknown,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JudgeEffect {
    /// Try to replace the record; answered with [`JudgeInput::CasDone`].
    Cas {
        /// The version it replaces.
        expected: Version,
        /// The new record.
        record: Record,
    },
    /// Read the record anew; answered with [`JudgeInput::Record`].
    ReadRecord,
    /// Order something from a node's replica (also from the judge's own).
    Order {
        /// The node.
        to: NodeId,
        /// What.
        order: Order,
    },
    /// What the attempt under way waits for, when that changes; `None`: none is under way.
    Waiting(Option<Waiting>),
    /// The chosen log may lack committed entries: every member answered, too few of them intact,
    /// or a person accepted it.
    DataLossPossible {
        /// The attempt.
        attempt: Epoch,
        /// Who answered, where its log ends, and whether it is intact.
        sealed: Vec<(NodeId, EntryId, bool)>,
    },
    /// A member has sealed a number the record never gave out: the record was rolled back. No
    /// takeover; a person decides.
    DirectoryBehind {
        /// Who.
        member: NodeId,
        /// The number it sealed.
        sealed: Epoch,
        /// The greatest number of the record.
        attempt: Epoch,
    },
    /// An attempt became an epoch: the evidence.
    Decided(Box<Decision>),
    /// The wished switchover ended without a new master.
    WishDropped {
        /// Why, for people.
        why: &'static str,
    },
}

/// What an attempt waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The attempt.
    pub attempt: Epoch,
    /// Where it stands.
    pub phase: PhaseName,
    /// Intact members sealed so far.
    pub sealed: usize,
    /// Intact sealed members that are proof.
    pub needed: usize,
    /// Members that have not answered.
    pub silent: Vec<NodeId>,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhaseName {
    /// The old master hands over.
    HandingOver,
    /// The number is being recorded.
    Opening,
    /// Members are being sealed.
    Sealing,
    /// The elect brings its log to the members.
    Electing,
    /// The new epoch is being recorded.
    Committing,
}

/// Why and how an epoch came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Why the attempt was opened.
    pub cause: Cause,
    /// The epoch before.
    pub former_epoch: Epoch,
    /// Its master.
    pub former_master: Option<NodeId>,
    /// The record that now holds.
    pub record: Record,
    /// Who had sealed, where its log ended, whether it was intact.
    pub sealed: Vec<(NodeId, EntryId, bool)>,
    /// Whether committed entries may be missing.
    pub lossy: bool,
    /// From the cause to the decision, by the judge's clock.
    pub took: Duration,
}

/// After this much quiet the back-off starts over, whoever masters.
const QUIET: Duration = Duration::from_secs(60);

/// After this much quiet under a master that was heard the back-off starts over: its attempt
/// succeeded, and what ends it is another fault (docs/decisions/0008).
const STEADY: Duration = Duration::from_secs(3);

/// Until a compare-and-swap, or a reading of the record, is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Watches one log's master and replaces it.
#[derive(Clone, Debug)]
pub struct Judge {
    plane: Plane,
    me: Sender,
    timing: Timing,
    record: Option<Record>,
    /// When the record last changed under this judge's eyes.
    record_since: Option<Instant>,
    reports: BTreeMap<NodeId, Heard>,
    foreign: BTreeMap<NodeId, Incarnation>,
    /// The life that masters the present epoch, once it is known.
    master_life: Option<Life>,
    hint: Option<Hint>,
    /// The members that are left, as a person says, until the next epoch.
    left: Option<BTreeSet<NodeId>>,
    wish: Option<Option<NodeId>>,
    handing: Option<HandingOver>,
    attempt: Option<Attempt>,
    behind: Option<Behind>,
    attempts: u32,
    not_before: Instant,
    trouble: Instant,
    waiting: Option<Waiting>,
}

#[derive(Clone, Debug)]
struct HandingOver {
    target: NodeId,
    since: Instant,
    sent: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Behind {
    member: NodeId,
    sealed: Epoch,
    since: Instant,
    asked: Option<Instant>,
    /// The record was read well after the suspicion arose.
    read: bool,
    said: bool,
}

impl Judge {
    /// A judge on node `me` for one log.
    #[must_use]
    pub fn new(plane: Plane, me: Sender, timing: Timing) -> Self {
        Self {
            plane,
            me,
            timing,
            record: None,
            record_since: None,
            reports: BTreeMap::new(),
            foreign: BTreeMap::new(),
            master_life: None,
            hint: None,
            left: None,
            wish: None,
            handing: None,
            attempt: None,
            behind: None,
            attempts: 0,
            not_before: Instant::ZERO,
            trouble: Instant::ZERO,
            waiting: None,
        }
    }

    /// What it knows to be recorded.
    #[must_use]
    pub fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// What members last said of themselves, for status and planning.
    #[must_use]
    pub fn reports(&self) -> &BTreeMap<NodeId, Heard> {
        &self.reports
    }

    /// Whether an attempt or a handing over is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.attempt.is_some() || self.handing.is_some()
    }

    /// Handles one input.
    pub fn step(&mut self, now: Instant, input: JudgeInput, effects: &mut Vec<JudgeEffect>) {
        match input {
            JudgeInput::Tick => {}
            JudgeInput::Record(record) => self.on_record(now, record, effects),
            JudgeInput::CasDone { expected, outcome } => {
                self.on_cas(now, expected, outcome, effects);
            }
            JudgeInput::Report { from, report } => self.on_report(now, from, report),
            JudgeInput::Gone(member) => self.on_gone(&member),
            JudgeInput::Answer { from, answer } => self.on_answer(now, &from, answer, effects),
            JudgeInput::Hint(Hint::AcceptLoss(left)) => self.left = Some(left),
            JudgeInput::Hint(hint) => self.hint = Some(hint),
            JudgeInput::Wish { target } => self.wish = Some(target),
        }
        self.go_on(now, effects);
        self.tell_waiting(effects);
    }

    fn on_record(&mut self, now: Instant, record: Record, effects: &mut Vec<JudgeEffect>) {
        if let Some(behind) = &mut self.behind {
            behind.read |= now.since(behind.since) >= RETRY;
        }
        if self.record.as_ref().is_some_and(|known| known.version >= record.version) {
            return;
        }
        if self.record.is_some() {
            self.record_since = Some(now);
        }
        if self.record.as_ref().is_none_or(|known| known.epoch != record.epoch) {
            self.master_life = None;
            self.handing = None;
            self.hint = None;
            self.left = None;
        }
        self.reports.retain(|id, heard| record.names(id, heard.incarnation));
        self.foreign.retain(|id, _| record.member(id).is_some());
        self.record = Some(record.clone());
        self.attempt_sees(now, &record, effects);
    }

    fn on_report(&mut self, now: Instant, from: Sender, report: Report) {
        let Some(record) = &self.record else { return };
        if !record.names(&from.id, from.incarnation) {
            if record.member(&from.id).is_some() {
                self.foreign.insert(from.id, from.incarnation);
            }
            return;
        }
        self.foreign.remove(&from.id);
        let older = |heard: &Heard| heard.report.life > report.life;
        if self.reports.get(&from.id).is_some_and(older) {
            return;
        }
        if record.master.as_ref() == Some(&from.id) && cause::masters(&report, record.epoch) {
            self.master_life = self.master_life.max(Some(report.life));
        }
        if report.sealed > record.attempt && self.behind.is_none() {
            let (member, sealed) = (from.id.clone(), report.sealed);
            let behind =
                Behind { member, sealed, since: now, asked: None, read: false, said: false };
            self.behind = Some(behind);
        }
        let incarnation = from.incarnation;
        self.reports.insert(from.id, Heard { incarnation, report, at: now });
    }

    fn on_gone(&mut self, member: &NodeId) {
        self.reports.remove(member);
        self.foreign.remove(member);
    }

    /// Looks at everything again: begins, continues or gives up.
    fn go_on(&mut self, now: Instant, effects: &mut Vec<JudgeEffect>) {
        if self.is_behind(now, effects) {
            return;
        }
        if self.attempt.is_some() {
            self.drive(now, effects);
            return;
        }
        let Some(record) = self.record.clone() else { return };
        if let Some(cause) = self.cause(now, &record) {
            self.trouble = now;
            if now >= self.not_before {
                self.handing = None;
                self.open(now, &record, cause, None, effects);
            }
            return;
        }
        self.calm_down(now);
        self.switch_over(now, &record, effects);
    }

    fn cause(&self, now: Instant, record: &Record) -> Option<Cause> {
        if self.left.is_some() {
            return Some(Cause::Hint);
        }
        if self.plane == Plane::Global && !record.names(&self.me.id, self.me.incarnation) {
            return None;
        }
        cause_to_open(&Facts {
            plane: self.plane,
            record,
            record_since: self.record_since,
            reports: &self.reports,
            foreign: &self.foreign,
            master_life: self.master_life,
            hint: self.hint.as_ref(),
            timing: &self.timing,
            now,
        })
    }

    /// Whether a member has sealed a number that was never given out. Asks once more before it
    /// says so: the judge may only be late.
    fn is_behind(&mut self, now: Instant, effects: &mut Vec<JudgeEffect>) -> bool {
        let Some(record) = &self.record else { return false };
        let Some(behind) = &mut self.behind else { return false };
        if record.attempt >= behind.sealed || record.member(&behind.member).is_none() {
            self.behind = None;
            return false;
        }
        if self.left.is_some() && behind.read {
            // A person knows, and goes on above every number that was ever sealed.
            return false;
        }
        if !behind.read {
            if behind.asked.is_none_or(|at| now.since(at) >= RETRY / 5) {
                behind.asked = Some(now);
                effects.push(JudgeEffect::ReadRecord);
            }
        } else if !behind.said {
            behind.said = true;
            effects.push(JudgeEffect::DirectoryBehind {
                member: behind.member.clone(),
                sealed: behind.sealed,
                attempt: record.attempt,
            });
        }
        true
    }

    /// A planned switchover: the master stops admitting, the target catches up, then an attempt
    /// seals the master first.
    fn switch_over(&mut self, now: Instant, record: &Record, effects: &mut Vec<JudgeEffect>) {
        if let Some(handing) = &mut self.handing {
            if now.since(handing.since) >= self.timing.silence_max * 4 {
                self.handing = None;
                effects.push(JudgeEffect::WishDropped { why: "the target did not catch up" });
            } else if handing.sent.is_none_or(|at| now.since(at) >= self.timing.seal_wait) {
                handing.sent = Some(now);
                let (Some(to), target) = (record.master.clone(), handing.target.clone()) else {
                    return;
                };
                let order = Order::HandOver { epoch: record.epoch, target };
                effects.push(JudgeEffect::Order { to, order });
            }
            return;
        }
        // Where nobody can take over the master goes when the others have gone.
        let leaving = cause::wants_to_leave(record, &self.reports)
            && choose::target(record, &self.reports, None).is_some();
        let leaving = leaving.then_some(None);
        let Some(wished) = self.wish.take().or(leaving) else { return };
        if wished.is_some() && wished == record.master {
            return;
        }
        if now < self.not_before || wished.as_ref().is_some_and(|id| self.is_unheard(now, id)) {
            self.wish = Some(wished);
            return;
        }
        match choose::target(record, &self.reports, wished.as_ref()) {
            Some(target) => {
                self.handing = Some(HandingOver { target, since: now, sent: None });
                self.switch_over(now, record, effects);
            }
            None => {
                self.back_off(now);
                effects.push(JudgeEffect::WishDropped { why: "no other member could take over" });
            }
        }
    }

    /// Whether the record has just changed and `member` has not said anything since: who was
    /// master until now says so only then that it follows.
    fn is_unheard(&self, now: Instant, member: &NodeId) -> bool {
        let Some(since) = self.record_since else { return false };
        let heard = self.reports.get(member).is_some_and(|heard| heard.at >= since);
        !heard && now.since(since) < self.timing.silence_max
    }

    fn calm_down(&mut self, now: Instant) {
        let mastered = self.record.as_ref().is_some_and(|record| record.master.is_some())
            && self.master_life.is_some();
        let enough = if mastered { STEADY } else { QUIET };
        if now.since(self.trouble.max(self.record_since.unwrap_or(Instant::ZERO))) >= enough {
            self.attempts = 0;
            self.not_before = self.not_before.min(now);
        }
    }

    fn back_off(&mut self, now: Instant) {
        let factor = 1_u32.checked_shl(self.attempts).unwrap_or(u32::MAX);
        let wait = self.timing.attempt_backoff.saturating_mul(factor);
        // Rivals that failed together must not try again together.
        let name = self.me.id.as_str().bytes().fold(u32::from(self.attempts > 0), |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(byte))
        });
        let wait = wait.min(self.timing.attempt_backoff_max);
        self.not_before = now + wait + wait / 8 * (name % 5);
        self.attempts = (self.attempts + 1).min(16);
    }

    fn tell_waiting(&mut self, effects: &mut Vec<JudgeEffect>) {
        let waiting = match (&self.handing, &self.attempt, &self.record) {
            (_, Some(attempt), _) => Some(attempt.waiting(self.plane)),
            (Some(handing), None, Some(record)) => Some(Waiting {
                attempt: record.attempt,
                phase: PhaseName::HandingOver,
                sealed: 0,
                needed: 0,
                silent: vec![handing.target.clone()],
            }),
            _ => None,
        };
        if waiting != self.waiting {
            self.waiting = waiting.clone();
            effects.push(JudgeEffect::Waiting(waiting));
        }
    }
}
