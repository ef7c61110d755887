//! How far nodes are that are to be empty, for people.

use super::{Case, Planning, idle};
use crate::View;
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::planner::{self, Held};
use cairn_logic::record::Record;
use cairn_logic::time::Instant;
use cairn_settings::directory_keys as keys;

/// A drained node that still counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    /// Which.
    pub node: NodeId,
    /// In which group.
    pub group: GroupId,
    /// Whether it masters that.
    pub masters: bool,
    /// What is done about it.
    pub state: State,
}

/// What is done about a drained node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// This node learns, or counts already, in its place.
    Replaced(NodeId),
    /// Others come first.
    Waits,
    /// No idle node elsewhere may take its place.
    NoNode,
}

impl std::fmt::Display for Drain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { node, group, masters, .. } = self;
        let what = if *masters { "masters" } else { "is member of" };
        write!(f, "{node} {what} {group}, ")?;
        match &self.state {
            State::Replaced(by) => write!(f, "{by} takes its place"),
            State::Waits => f.write_str("waits for its turn"),
            State::NoNode => f.write_str("no idle node elsewhere may take its place"),
        }
    }
}

impl Planning {
    /// Every drained node that still counts, by group.
    #[must_use]
    pub fn draining(&self, now: Instant, view: &View) -> Vec<Drain> {
        if view.drains.is_empty() {
            return Vec::new();
        }
        view.groups
            .iter()
            .flat_map(|(group, record)| self.of_group(now, view, group, record))
            .collect()
    }

    fn of_group(&self, now: Instant, view: &View, group: &GroupId, record: &Record) -> Vec<Drain> {
        let held = self.held(now, view, group, record);
        let mut drained =
            held.iter().filter(|held| held.node.drained && held.role.is_some()).peekable();
        if drained.peek().is_none() {
            return Vec::new();
        }
        let state = self.state_of(view, group, record, &held);
        let drain = |held: &Held| Drain {
            node: held.node.id.clone(),
            group: group.clone(),
            masters: record.master.as_ref() == Some(&held.node.id),
            state: state.clone(),
        };
        drained.map(drain).collect()
    }

    fn state_of(&self, view: &View, group: &GroupId, record: &Record, held: &[Held]) -> State {
        let of_nobody = State::NoNode;
        let name = keys::keyspace_of(group).unwrap_or_default();
        let Some(config) = view.keyspaces.get(name) else { return of_nobody };
        let case = Case { view, name, config, group, record };
        let comes = held.iter().find(|held| held.role.is_none() && !held.node.drained && held.here);
        if let Some(comes) = comes {
            return State::Replaced(comes.node.id.clone());
        }
        let asked = super::asked(config);
        let surplus = record.members.len() > usize::from(asked.mode.wanted);
        let is_new = |held: &&Held| !held.node.drained && held.node.group.as_ref() != Some(group);
        if let Some(new) = held.iter().filter(|_| surplus).find(is_new) {
            return State::Replaced(new.node.id.clone());
        }
        let able = case.chosen(held, &idle(view)).is_some();
        if able || !planner::is_replacement(&asked, held) { State::Waits } else { of_nobody }
    }
}
