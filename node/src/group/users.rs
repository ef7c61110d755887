//! The users of the keyspace: from the directory's view to the data thread, and changes back.

use super::role::Role;
use crate::data::link::ToData;
use crate::follow::{Ask, USERS_AWAY, UsersAsk, UsersHeard};
use cairn_acl::{Change, Fixed, Stored};
use cairn_global::{Changed, View};
use cairn_settings::directory_keys::{keyspace_of, users_of_key};

const NOWHERE: &str = "ERR this node belongs to no keyspace";

/// Whether a change of users is older than what is known: what a client of this node has changed
/// is known before the watch tells of it.
pub(super) fn is_behind(view: &View, changed: &Changed) -> bool {
    let Some((_, version)) = &changed.value else { return false };
    let is_users = users_of_key(&changed.key).is_some();
    is_users && std::str::from_utf8(&changed.key).is_ok_and(|key| view.version(key) > *version)
}

impl Role {
    fn keyspace(&self) -> Option<&str> {
        self.group.as_ref().and_then(keyspace_of)
    }

    /// A client changes users.
    pub(super) fn change_users(&mut self, token: u64, fixed: Fixed, change: Change) {
        let Some(keyspace) = self.keyspace().map(str::to_owned) else {
            return self.end_change(token, Err(NOWHERE.to_owned()));
        };
        let ask = Ask::Users(UsersAsk { token, keyspace, fixed, change });
        if !self.online || self.asks.try_send(ask).is_err() {
            self.end_change(token, Err(USERS_AWAY.to_owned()));
        }
    }

    /// What became of it: the client hears of that once the data thread knows the users.
    pub(super) fn users_changed(&mut self, heard: UsersHeard) {
        if let Some(now) = heard.now.filter(|now| !is_behind(&self.view, now)) {
            self.view.change(&now);
            self.cache.changed();
            self.tell_users();
        }
        self.end_change(heard.token, heard.outcome);
    }

    fn end_change(&mut self, token: u64, outcome: Result<usize, String>) {
        self.data.send(ToData::UsersChanged { token, outcome });
    }

    /// Tells the data thread of users that have changed.
    pub(super) fn tell_users(&mut self) {
        let Some(keyspace) = self.keyspace() else { return };
        let users = self.view.users.get(keyspace).cloned().unwrap_or_default();
        if users != self.users {
            self.data.send(ToData::Users(Stored::from_texts(users.users.clone())));
            self.users = users;
        }
    }
}
