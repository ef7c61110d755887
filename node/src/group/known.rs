//! What this node knows of the directory: the last word on it if the global plane is lost.

use super::role::Role;
use super::run::info;
use cairn_wire::peer::pb;

impl Role {
    /// Its own log, the system's keys as it last read them, and what it registers with.
    pub(super) fn known(&self) -> pb::KnownReply {
        pb::KnownReply {
            status: Some(self.plain_status()),
            view: self.view.store().into(),
            info: info(&self.boot).encode().into(),
        }
    }

    /// Tells clients of the zone that has become known.
    pub(super) fn see_zone(&mut self) {
        if self.zone.has_changed().unwrap_or(false) {
            self.boot.settings.zone = self.zone.borrow_and_update().clone();
            self.tell_config();
        }
    }
}
