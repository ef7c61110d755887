//! When a configuration is to be replaced (docs/replication.md §6.1).

use crate::counting::{Plane, Sets};
use crate::ids::{Epoch, Incarnation, Life, NodeId};
use crate::message::{Position, Relief, Report};
use crate::mutant::{Mutant, broken};
use crate::record::Record;
use crate::time::{Duration, Instant};
use crate::timing::Timing;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Why an attempt is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Cause {
    /// An attempt was left open.
    Unfinished,
    /// There never was a master.
    Founding,
    /// Enough members have not heard the master for `silence_max`.
    Silence,
    /// The process that was master is over.
    NewLife,
    /// The master's node speaks with another folder.
    NewFolder,
    /// The master asks to be replaced.
    Relief,
    /// The operator saw the master's pod or node go.
    Hint,
    /// A person or the planner wished it, and the master has handed over.
    Switchover,
}

impl Cause {
    /// Whether members stop promising at once instead of refusing while they hear their master.
    #[must_use]
    pub fn is_forced(self) -> bool {
        self != Self::Silence
    }
}

/// What the operator has seen, or a person has decided; it saves waiting, never a proof but one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// This node's pod was deleted, its container ended, or its machine is gone.
    Gone(NodeId),
    /// A person has stopped the members that cannot be reached: the logs of these are all that
    /// is left, and what only the others hold is gone.
    AcceptLoss(BTreeSet<NodeId>),
}

/// What a node said of itself, and when it was heard by the judge's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Its folder.
    pub incarnation: Incarnation,
    /// What it said.
    pub report: Report,
    /// When it was heard.
    pub at: Instant,
}

impl Heard {
    /// Whether it still says something; members speak each second at least.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        now.since(self.at) <= FRESH
    }
}

/// All that the question depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Which plane.
    pub plane: Plane,
    /// The record as committed.
    pub record: &'a Record,
    /// When it last changed; `None` if it never did since this judge began.
    pub record_since: Option<Instant>,
    /// What members of the record said.
    pub reports: &'a BTreeMap<NodeId, Heard>,
    /// Nodes of the record that speak with another folder.
    pub foreign: &'a BTreeMap<NodeId, Incarnation>,
    /// The life that masters the epoch, once known.
    pub master_life: Option<Life>,
    /// What the operator saw.
    pub hint: Option<&'a Hint>,
    /// The plane's spans.
    pub timing: &'a Timing,
    /// The judge's clock.
    pub now: Instant,
}

/// Older reports say nothing any more.
const FRESH: Duration = Duration::from_millis(1500);

/// Whether `report` comes from the process that masters `epoch`, or is about to.
pub(super) fn masters(report: &Report, epoch: Epoch) -> bool {
    matches!(report.position, Position::Master(e) | Position::Elect(e) if e == epoch)
}

/// Whether the master is being stopped and wants to hand over first.
pub(super) fn wants_to_leave(record: &Record, reports: &BTreeMap<NodeId, Heard>) -> bool {
    let master = record.master.as_ref().and_then(|master| reports.get(master));
    master.is_some_and(|heard| {
        heard.report.relief == Some(Relief::Stopping)
            && heard.report.position == Position::Master(record.epoch)
    })
}

/// Whether to open an attempt on this configuration, and why.
#[must_use]
pub fn cause_to_open(facts: &Facts<'_>) -> Option<Cause> {
    let record = facts.record;
    let since_change = facts.record_since.map(|since| facts.now.since(since));
    if record.open {
        // Whoever opened it gets the time to finish it; nobody did, if it was so from the start.
        let patience = facts.timing.silence_max * 2;
        let finish = since_change.is_none_or(|t| t >= patience);
        return (finish && !broken(Mutant::LeavesUnfinished)).then_some(Cause::Unfinished);
    }
    let Some(master) = &record.master else {
        return Some(Cause::Founding);
    };
    if matches!(facts.hint, Some(Hint::Gone(node)) if node == master) {
        return Some(Cause::Hint);
    }
    if facts.foreign.contains_key(master) {
        return Some(Cause::NewFolder);
    }
    let heard = facts.reports.get(master).filter(|heard| heard.is_fresh(facts.now));
    if let Some(heard) = heard {
        // What it said before it could read the record says nothing.
        let known_for = facts.record_since.map(|since| heard.at.since(since));
        let settled = known_for.is_none_or(|t| t >= facts.timing.silence_max);
        let other_life = facts.master_life.is_some_and(|life| heard.report.life > life);
        if other_life || (settled && !masters(&heard.report, record.epoch)) {
            return Some(Cause::NewLife);
        }
        let relief = heard.report.relief.filter(|relief| *relief != Relief::Stopping);
        if relief.is_some_and(|relief| facts.relief_helps(master, relief)) {
            return Some(Cause::Relief);
        }
    }
    facts.is_silent(master).then_some(Cause::Silence)
}

impl Facts<'_> {
    fn fresh(&self) -> impl Iterator<Item = (&NodeId, &Heard)> {
        self.reports.iter().filter(|(_, heard)| heard.is_fresh(self.now))
    }

    /// A sick master needs a successor, or its end would only stop what still goes on. One that
    /// is stuck may follow itself: alone, when the others of its set will never answer.
    fn relief_helps(&self, master: &NodeId, relief: Relief) -> bool {
        let intact = || self.fresh().filter(|(_, heard)| heard.report.intact);
        let successor = intact().any(|(id, _)| id != master);
        let seals = intact().map(|(id, _)| id).collect();
        self.proves(&seals) && (successor || relief == Relief::Stuck)
    }

    /// Whether seals of these members would be proof.
    fn proves(&self, sealed: &BTreeSet<&NodeId>) -> bool {
        let sets = Sets::of(self.plane, self.record);
        sets.proves(|at| sealed.contains(&self.record.members[at].id))
    }

    /// How long the master of the present epoch was silent to a member: what came before the
    /// record changed says nothing of it.
    fn silence(&self, heard: &Heard) -> Duration {
        let since = self.record_since.map_or(Duration::MAX, |since| heard.at.since(since));
        heard.report.master_silence.min(since)
    }

    /// Members' ages decide, never the judge's own ear: the judge may be the one cut off.
    fn is_silent(&self, master: &NodeId) -> bool {
        let silence_max = self.timing.silence_max;
        let silent: BTreeMap<&NodeId, &Heard> = self
            .fresh()
            .filter(|(id, heard)| {
                *id != master && heard.report.intact && self.silence(heard) >= silence_max
            })
            .collect();
        if !self.proves(&silent.keys().copied().collect()) {
            return false;
        }
        // A master that was heard after it fell silent to them is healthy, only apart from them:
        // it goes only if those who are left can do more without it than it can without them.
        let shortest = silent.values().map(|heard| self.silence(heard)).min();
        let begun = self.now - shortest.unwrap_or_default() + self.timing.heartbeat * 2;
        let healthy = self.reports.get(master).filter(|heard| heard.at > begun);
        let healthy = healthy.filter(|heard| masters(&heard.report, self.record.epoch));
        healthy.is_none_or(|heard| {
            let reaches = usize::try_from(heard.report.reaches).unwrap_or(usize::MAX);
            let need = Sets::of(self.plane, self.record).counts.need;
            silent.len() >= need && silent.len() > reaches
        })
    }
}
