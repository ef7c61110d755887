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
}
