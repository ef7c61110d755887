//! How each epoch came to be: from the judge who decided it into the directory, for people.

use super::role::Role;
use cairn_directory::KeyRange;
use cairn_directory::op::RangeQuery;
use cairn_global::{Why, planning};
use cairn_logic::ids::GroupId;
use cairn_settings::directory_keys::{self as keys, Transition};
use cairn_wire::peer::pb;

impl Role {
    /// Brings what judges on this node decided to the directory: writes it while this node is
    /// global master, else sends it there. Evidence only: nothing waits for it, and what is lost
    /// on the way is in the judge's log.
    pub(super) fn keep_history(&mut self) {
        let global = GroupId::global();
        let own = self.court.transitions.drain(..).map(|made| (global.clone(), made));
        let made: Vec<(GroupId, Transition)> = own.chain(self.master.transitions()).collect();
        for (group, transition) in made {
            self.keep_transition(&group, transition);
        }
    }

    /// One transition, of a judge here or of one on another global node.
    pub(super) fn keep_transition(&mut self, group: &GroupId, transition: Transition) {
        if self.serving && self.host.world.desk.core.is_master() {
            self.propose(Why::History, planning::remember(group, &transition));
        } else if let Some(line) = self.line_to_master() {
            let body = pb::up::Body::Transition(transition.encode().into());
            line.send(pb::Up { group: group.as_str().to_owned(), body: Some(body) });
        } else if *group == GroupId::global() {
            // Until there is a master, who may be this node.
            self.court.keep(transition);
        }
    }

    fn line_to_master(&self) -> Option<&super::lines::LineTo> {
        let record = self.record.as_ref().filter(|record| !record.open)?;
        self.others.get(record.master.as_ref()?)
    }

    /// The last transitions of a group, oldest first, in words.
    pub(super) fn history(&self, group: &GroupId) -> Vec<String> {
        let core = &self.host.world.desk.core;
        let query = RangeQuery::all(KeyRange::prefix(keys::history_prefix(group)));
        let Ok(found) = core.directory().range(&query, core.committed_revision()) else {
            return Vec::new();
        };
        let read = |value: &[u8]| Transition::decode(value).map(|made| made.to_string());
        let unreadable = |error: keys::DecodeError| error.to_string();
        found.kvs.iter().map(|kv| read(&kv.value).unwrap_or_else(unreadable)).collect()
    }
}
