//! The judges of all groups, while this node is global master.

use crate::View;
use cairn_logic::counting::Plane;
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::judge::{Decision, Judge, JudgeEffect, JudgeInput, Waiting};
use cairn_logic::message::Sender;
use cairn_logic::time::Instant;
use cairn_logic::timing::Timing;
use cairn_settings::directory_keys::{TRANSITIONS_MAX, Transition};
use std::collections::{BTreeMap, VecDeque};

/// Both clocks of a node, read at once.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// The monotonic one.
    pub monotonic: Instant,
    /// The wall clock, in milliseconds since 1970.
    pub unix_ms: u64,
}

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

    /// Notes what concerns people, and gives the effects back; `unix_ms` is the wall clock, in
    /// milliseconds since 1970.
    pub fn note(
        &mut self,
        group: &GroupId,
        unix_ms: u64,
        effects: Vec<JudgeEffect>,
    ) -> Vec<JudgeEffect> {
        for effect in &effects {
            match effect {
                JudgeEffect::Waiting(waiting) => self.waiting.clone_from(waiting),
                JudgeEffect::Decided(decision) => self.decided(group, unix_ms, decision),
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
                JudgeEffect::Cas { .. } | JudgeEffect::ReadRecord | JudgeEffect::Order { .. } => {}
            }
        }
        effects
    }

    fn decided(&mut self, group: &GroupId, unix_ms: u64, decision: &Decision) {
        self.dropped = None;
        let made = Transition::new(self.me.id.clone(), unix_ms, decision);
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
    pub fn lines(&self, now: Instant) -> Vec<String> {
        let mut lines = self.conditions.clone();
        lines.extend(
            self.dropped.map(|why| format!("the last wished switchover was dropped: {why}")),
        );
        if let Some(missing) = self.judge.missing(now) {
            let silent: Vec<&str> = missing.silent.iter().map(NodeId::as_str).collect();
            lines.push(format!(
                "no takeover can begin: {} of {} members needed answer, waiting for {}",
                missing.heard,
                missing.needed,
                silent.join(", "),
            ));
        }
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

/// Effects of groups' judges that are to be performed.
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

    /// Tells one group's judge; `now` are the monotonic and the wall clock.
    pub fn tell(&mut self, now: Now, group: &GroupId, input: JudgeInput) -> Effects {
        let Some(court) = self.courts.get_mut(group) else { return Vec::new() };
        let mut effects = Vec::new();
        court.judge.step(now.monotonic, input, &mut effects);
        let noted = court.note(group, now.unix_ms, effects);
        noted.into_iter().map(|effect| (group.clone(), effect)).collect()
    }

    /// Tells all.
    pub fn tell_all(&mut self, now: Now, input: &JudgeInput) -> Effects {
        let groups: Vec<GroupId> = self.courts.keys().cloned().collect();
        groups.iter().flat_map(|group| self.tell(now, group, input.clone())).collect()
    }

    /// Every group's record, as committed; groups that are no more need no judge.
    pub fn records(&mut self, now: Now, view: &View) -> Effects {
        self.courts.retain(|group, _| view.groups.contains_key(group));
        let mut effects = Vec::new();
        for (group, record) in &view.groups {
            let (me, timing) = (&self.me, self.timing);
            let new = || Court::new(Plane::Group, me.clone(), timing);
            self.courts.entry(group.clone()).or_insert_with(new);
            effects.extend(self.tell(now, group, JudgeInput::Record(record.clone())));
        }
        effects
    }
}
