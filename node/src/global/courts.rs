//! The judges of all groups, while this node is global master.

use super::role::Asked;
use crate::clock;
use crate::view::View;
use cairn_logic::counting::Plane;
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::judge::{CasOutcome, Decision, Judge, JudgeEffect, JudgeInput, Waiting};
use cairn_logic::message::{Order, Sender};
use cairn_logic::timing::Timing;
use cairn_settings::directory_keys::{TRANSITIONS_MAX, Transition};
use std::collections::{BTreeMap, VecDeque};

/// One group's judge, and what people may want to know of it.
pub struct Court {
    /// The judge.
    pub judge: Judge,
    me: Sender,
    /// What it waits for.
    pub waiting: Option<Waiting>,
    /// What it decided and is not in the directory yet, newest last.
    pub transitions: VecDeque<Transition>,
    /// Why the last wished switchover was dropped; none after a later decision.
    pub dropped: Option<&'static str>,
    /// Conditions that need a person.
    pub conditions: Vec<String>,
}

impl Court {
    /// A judge on `me` for one log of `plane`.
    pub fn new(plane: Plane, me: Sender, timing: Timing) -> Self {
        Self {
            judge: Judge::new(plane, me.clone(), timing),
            me,
            waiting: None,
            transitions: VecDeque::new(),
            dropped: None,
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
                    self.dropped = Some(why);
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
        self.dropped = None;
        let made = Transition::new(self.me.id.clone(), clock::unix_ms(), decision);
        let name = |node: &Option<NodeId>| node.as_ref().map_or("nobody".into(), NodeId::to_string);
        tracing::info!(
            %group, cause = ?made.cause, old = name(&made.former_master), new = name(&made.master),
            epoch = %made.epoch, took_ms = made.took_ms, "new master"
        );
        self.keep(made);
    }

    /// Keeps a transition until it is in the directory; of too many, the newest.
    pub fn keep(&mut self, transition: Transition) {
        self.transitions.push_back(transition);
        if self.transitions.len() as u64 > TRANSITIONS_MAX {
            self.transitions.pop_front();
        }
    }

    /// Why the group has no master or attempt under way, in words.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.conditions.clone();
        lines.extend(
            self.dropped.map(|why| format!("the last wished switchover was dropped: {why}")),
        );
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

    /// What was decided since the last call.
    pub fn transitions(&mut self) -> Vec<(GroupId, Transition)> {
        let courts = self.courts.iter_mut();
        let made = courts.flat_map(|(group, court)| {
            court.transitions.drain(..).map(|made| (group.clone(), made))
        });
        made.collect()
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
