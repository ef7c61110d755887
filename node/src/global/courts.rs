//! The judges of all groups, while this node is global master.

use super::role::Asked;
use crate::clock;
use crate::view::View;
use cairn_logic::counting::Plane;
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::judge::{CasOutcome, Decision, Judge, JudgeEffect, JudgeInput, Waiting};
use cairn_logic::message::{Order, Sender};
use cairn_logic::timing::Timing;
use std::collections::{BTreeMap, VecDeque};

/// Decisions kept for `cairn why`, per group.
const DECISIONS_MAX: usize = 50;

/// One group's judge, and what people may want to know of it.
pub struct Court {
    /// The judge.
    pub judge: Judge,
    /// What it waits for.
    pub waiting: Option<Waiting>,
    /// What it decided, newest last.
    pub decisions: VecDeque<String>,
    /// Conditions that need a person.
    pub conditions: Vec<String>,
}

impl Court {
    /// A judge on `me` for one log of `plane`.
    pub fn new(plane: Plane, me: Sender, timing: Timing) -> Self {
        Self {
            judge: Judge::new(plane, me, timing),
            waiting: None,
            decisions: VecDeque::new(),
            conditions: Vec::new(),
        }
    }

    /// Notes what concerns people alone; the other effects are returned.
    pub fn note(&mut self, group: &GroupId, effects: Vec<JudgeEffect>) -> Vec<JudgeEffect> {
        let mut left = Vec::new();
        for effect in effects {
            match effect {
                JudgeEffect::Waiting(waiting) => self.waiting = waiting,
                JudgeEffect::Decided(decision) => self.decided(group, &decision),
                JudgeEffect::WishDropped { why } => {
                    tracing::warn!(%group, why, "a wished switchover was dropped");
                    self.remember(format!("switchover dropped: {why}"));
                }
                JudgeEffect::DataLossPossible { attempt, sealed } => {
                    tracing::error!(%group, %attempt, ?sealed, "acknowledged writes may be lost");
                    self.conditions.push(format!("DataLossPossible in attempt {attempt}"));
                }
                JudgeEffect::DirectoryBehind { member, sealed, attempt } => {
                    let what = "the record was rolled back";
                    tracing::error!(%group, %member, %sealed, %attempt, what);
                    self.conditions.push(format!("DirectoryBehind: {member} sealed {sealed}"));
                }
                JudgeEffect::Cas { .. } | JudgeEffect::ReadRecord | JudgeEffect::Order { .. } => {
                    left.push(effect);
                }
            }
        }
        left
    }

    fn decided(&mut self, group: &GroupId, decision: &Decision) {
        let new = decision.record.master.as_ref().map_or("nobody", NodeId::as_str);
        let old = decision.former_master.as_ref().map_or("nobody", NodeId::as_str);
        tracing::info!(
            %group, cause = ?decision.cause, old, new, epoch = %decision.record.epoch,
            took_ms = u64::try_from(decision.took.as_millis()).unwrap_or(u64::MAX), "new master"
        );
        let sealed: Vec<String> = decision
            .sealed
            .iter()
            .map(|(id, last, intact)| {
                format!("{id} at {last}{}", if *intact { "" } else { " (not intact)" })
            })
            .collect();
        self.remember(format!(
            "unix_ms={} epoch {} -> {}: {old} -> {new}, cause {:?}, took {} ms, sealed: {}{}",
            clock::unix_ms(),
            decision.former_epoch,
            decision.record.epoch,
            decision.cause,
            decision.took.as_millis(),
            sealed.join(", "),
            if decision.lossy { ", LOSS POSSIBLE" } else { "" },
        ));
    }

    fn remember(&mut self, line: String) {
        self.decisions.push_back(line);
        if self.decisions.len() > DECISIONS_MAX {
            self.decisions.pop_front();
        }
    }

    /// Why the group has no master or attempt under way, in words.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.decisions.iter().cloned().collect();
        lines.extend(self.conditions.iter().cloned());
        if let Some(waiting) = &self.waiting {
            let silent: Vec<&str> = waiting.silent.iter().map(NodeId::as_str).collect();
            lines.push(format!(
                "attempt {} open ({:?}): sealed {} of {} needed, waiting for {}",
                waiting.attempt,
                waiting.phase,
                waiting.sealed,
                waiting.needed,
                if silent.is_empty() { "nobody".to_owned() } else { silent.join(", ") },
            ));
        }
        lines
    }
}

/// Effects of a group's judge that the role performs.
pub type Effects = Vec<(GroupId, JudgeEffect)>;

/// The judges of all groups.
pub struct Courts {
    me: Sender,
    timing: Timing,
    courts: BTreeMap<GroupId, Court>,
}

impl Courts {
    /// No groups yet.
    pub fn new(me: Sender, timing: Timing) -> Self {
        Self { me, timing, courts: BTreeMap::new() }
    }

    /// The judge of a group.
    pub fn get(&self, group: &GroupId) -> Option<&Court> {
        self.courts.get(group)
    }

    /// Tells one group's judge.
    pub fn tell(&mut self, group: &GroupId, input: JudgeInput) -> Effects {
        let Some(court) = self.courts.get_mut(group) else { return Vec::new() };
        let mut effects = Vec::new();
        court.judge.step(clock::now(), input, &mut effects);
        let left = court.note(group, effects);
        left.into_iter().map(|effect| (group.clone(), effect)).collect()
    }

    /// Tells all.
    pub fn tell_all(&mut self, input: &JudgeInput) -> Effects {
        let groups: Vec<GroupId> = self.courts.keys().cloned().collect();
        groups.iter().flat_map(|group| self.tell(group, input.clone())).collect()
    }

    /// Every group's record, as committed; groups that are no more need no judge.
    pub fn records(&mut self, view: &View) -> Effects {
        self.courts.retain(|group, _| view.groups.contains_key(group));
        let mut effects = Vec::new();
        for (group, record) in &view.groups {
            let (me, timing) = (&self.me, self.timing);
            let new = || Court::new(Plane::Group, me.clone(), timing);
            self.courts.entry(group.clone()).or_insert_with(new);
            effects.extend(self.tell(group, JudgeInput::Record(record.clone())));
        }
        effects
    }
}

/// What a judge's compare-and-swap turns into.
pub fn outcome(asked: &Asked) -> CasOutcome {
    match asked {
        Asked::Held => CasOutcome::Won,
        Asked::Failed => CasOutcome::Lost,
        Asked::Unknown => CasOutcome::Unknown,
    }
}

/// An order, if that is what the effect is.
pub fn order(effect: JudgeEffect) -> Option<(NodeId, Order)> {
    match effect {
        JudgeEffect::Order { to, order } => Some((to, order)),
        _ => None,
    }
}
