//! What bounds the log: snapshots, and giving up the front behind them.

use super::role::Role;
use super::snapshots::{Place, Standing};
use crate::clock;
use cairn_logic::message::Position;
use cairn_logic::time::Duration;

/// Between two tries to give up the front of the log.
const CUT: Duration = Duration::from_secs(1);

impl Role {
    /// Snapshots are written or fetched now and then, and what they make needless goes.
    pub(super) fn bound_log(&mut self) {
        let low = self.host.as_ref().is_some_and(|host| host.world.storage.room().low);
        let Some(host) = &mut self.host else { return };
        let replica = host.replica();
        let masters = matches!(replica.position(), Position::Master(_));
        let alone = replica.record().is_some_and(|record| record.members.len() == 1);
        let standing = match replica.position() {
            _ if host.world.loading || low => Standing::Neither,
            Position::Follower => Standing::Follows,
            Position::Master(_) if alone => Standing::Alone,
            Position::Master(_) => Standing::Masters,
            Position::Learner | Position::Elect(_) => Standing::Neither,
        };
        let covered = replica.flushed().min(replica.committed());
        let applied = if masters { replica.last().offset } else { host.applied() };
        let place = Place { standing, covered, applied };
        host.world.snapshot(place);
        let now = clock::now();
        if now.since(self.bounded) >= CUT {
            self.bounded = now;
            let storage = &host.world.storage;
            let allowed = |pressed| host.replica().may_truncate(pressed);
            storage.bound_front(&host.world.snapshots.figures(), allowed);
        }
    }
}
