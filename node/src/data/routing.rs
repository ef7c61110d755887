//! Who may answer a command: pure decisions over routes and this node's position.

use crate::data::routes::{GroupRoute, Routes};
use cairn_logic::ids::Slot;
use cairn_logic::record::Role;
use std::sync::Arc;

/// What routing needs to know of this node.
#[derive(Debug)]
pub struct View {
    /// The routes.
    pub routes: Arc<Routes>,
    /// The group this node belongs to.
    pub home: Option<usize>,
    /// What the group's record says this node is for.
    pub role: Option<Role>,
    /// Whether it is master at this moment: it knows, the routes may not yet.
    pub master: bool,
}

/// What a command asks of routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whether it may change data.
    pub write: bool,
    /// Whether the client welcomes reads that may be old.
    pub readonly: bool,
}

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This node.
    Here,
    /// Another one: the master of the group with this index.
    Moved(usize),
    /// Nobody owns the slot.
    NotServed,
    /// Its group has no master that is known.
    Down,
    /// A command without keys that only a master may execute.
    NotMaster,
    /// A read without keys on a replica, without READONLY.
    NeedsReadonly,
}

impl View {
    /// The view of `routes`.
    #[must_use]
    pub fn new(routes: Arc<Routes>, master: bool) -> Self {
        let home = routes.home();
        let role = home
            .and_then(|home| routes.groups.get(home))
            .and_then(|group| group.node(&routes.me))
            .map(|node| node.role);
        Self { routes, home, role, master }
    }

    /// Whether this node serves reads of a replica.
    #[must_use]
    pub fn is_replica(&self) -> bool {
        !self.master && self.role == Some(Role::Replica)
    }

    /// Whether this node's group has no master that is known, or this node is to be it and is not
    /// yet: what comes now is better kept for a moment than refused.
    #[must_use]
    pub fn awaits_master(&self) -> bool {
        let group = self.home.and_then(|home| self.routes.groups.get(home));
        let another = |group: &GroupRoute| group.master().is_some_and(|m| m.id != self.routes.me);
        !self.master && group.is_some_and(|group| !another(group))
    }

    /// Who answers a command whose keys are all in `slot`.
    #[must_use]
    #[inline]
    pub fn of_slot(&self, slot: Slot, ask: Ask) -> Verdict {
        let owner = self.routes.slots.get(usize::from(slot.get())).copied();
        let owner = owner.map_or(usize::MAX, usize::from);
        if Some(owner) == self.home {
            if self.master {
                return Verdict::Here;
            }
            if ask.readonly && !ask.write && self.is_replica() {
                return Verdict::Here;
            }
        }
        self.elsewhere(owner)
    }

    fn elsewhere(&self, owner: usize) -> Verdict {
        let Some(group) = self.routes.groups.get(owner) else { return Verdict::NotServed };
        match group.master() {
            Some(node) if node.id != self.routes.me => Verdict::Moved(owner),
            // The routes still name this node, which is master no longer or not yet.
            Some(_) | None => Verdict::Down,
        }
    }

    /// Who answers a command without keys that shows or changes data.
    #[must_use]
    pub fn of_no_slot(&self, ask: Ask) -> Verdict {
        if self.master {
            return Verdict::Here;
        }
        match (ask.write, self.is_replica()) {
            (true, true) => Verdict::NotMaster,
            (false, true) if ask.readonly => Verdict::Here,
            (false, true) => Verdict::NeedsReadonly,
            (_, false) => Verdict::Down,
        }
    }

    /// The error for a verdict that is not [`Verdict::Here`].
    #[must_use]
    pub fn error(&self, verdict: Verdict, slot: u16) -> String {
        match verdict {
            Verdict::Moved(owner) => {
                let master = self.routes.groups.get(owner).and_then(|group| group.master());
                match master {
                    Some(node) => format!("MOVED {slot} {}:{}", node.host, node.port),
                    None => "CLUSTERDOWN The cluster is down".into(),
                }
            }
            Verdict::NotServed => "CLUSTERDOWN Hash slot not served".into(),
            Verdict::Here | Verdict::Down => "CLUSTERDOWN The cluster is down".into(),
            Verdict::NotMaster => "READONLY You can't write against a read only replica.".into(),
            Verdict::NeedsReadonly => {
                "ERR this node is a replica: send READONLY first to read what may be old".into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::routes::{NOBODY, NodeRoute};
    use cairn_logic::ids::{Epoch, GroupId, NodeId, SLOTS};

    const READ: Ask = Ask { write: false, readonly: false };
    const OLD_READ: Ask = Ask { write: false, readonly: true };
    const WRITE: Ask = Ask { write: true, readonly: true };

    fn node(id: &str, role: Role, port: u16) -> NodeRoute {
        let host = "10.0.0.1".to_owned();
        NodeRoute { id: NodeId::new(id), role, host, port, peer_port: 7400, alive: true }
    }

    /// Group 0 has slots 0-99 (a master, r, b), group 1 slots 100-199 (x master), the rest nobody.
    fn view(me: &str, master: bool) -> View {
        let group = |id: &str, nodes| GroupRoute { id: GroupId::new(id), epoch: Epoch(3), nodes };
        let mut slots = vec![NOBODY; usize::from(SLOTS)];
        slots[..100].fill(0);
        slots[100..200].fill(1);
        let home = vec![
            node("a", Role::Master, 1),
            node("r", Role::Replica, 2),
            node("b", Role::Backup, 3),
        ];
        let groups = vec![group("k-0", home), group("k-1", vec![node("x", Role::Master, 9)])];
        let routes = Routes { me: NodeId::new(me), revision: 5, groups, slots, moves: Vec::new() };
        View::new(Arc::new(routes), master)
    }

    fn verdict(view: &View, slot: u16, ask: Ask) -> String {
        let slot = Slot::try_from(slot).unwrap();
        match view.of_slot(slot, ask) {
            Verdict::Here => "here".into(),
            other => view.error(other, slot.get()),
        }
    }

    #[test]
    fn a_master_answers_its_own_slots_and_sends_away_the_others() {
        let view = view("a", true);
        assert_eq!(verdict(&view, 7, READ), "here");
        assert_eq!(verdict(&view, 7, WRITE), "here");
        assert_eq!(verdict(&view, 150, READ), "MOVED 150 10.0.0.1:9");
        assert_eq!(verdict(&view, 500, READ), "CLUSTERDOWN Hash slot not served");
    }

    #[test]
    fn a_replica_answers_old_reads_only() {
        let view = view("r", false);
        assert_eq!(verdict(&view, 7, OLD_READ), "here");
        assert_eq!(verdict(&view, 7, READ), "MOVED 7 10.0.0.1:1");
        assert_eq!(verdict(&view, 7, WRITE), "MOVED 7 10.0.0.1:1");
        assert_eq!(view.of_no_slot(OLD_READ), Verdict::Here);
        assert_eq!(view.of_no_slot(READ), Verdict::NeedsReadonly);
        assert_eq!(view.of_no_slot(WRITE), Verdict::NotMaster);
    }

    #[test]
    fn a_backup_answers_nothing() {
        let view = view("b", false);
        assert_eq!(verdict(&view, 7, OLD_READ), "MOVED 7 10.0.0.1:1");
        assert_eq!(view.of_no_slot(OLD_READ), Verdict::Down);
    }

    #[test]
    fn a_master_that_stepped_down_never_redirects_to_itself() {
        assert_eq!(verdict(&view("a", false), 7, READ), "CLUSTERDOWN The cluster is down");
    }

    #[test]
    fn a_new_master_serves_before_its_routes_say_so() {
        assert_eq!(verdict(&view("r", true), 7, WRITE), "here");
    }
}
