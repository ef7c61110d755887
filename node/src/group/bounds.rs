//! What bounds the log: snapshots, and giving up the front behind them.

use super::role::Role;
use super::snapshots::{Place, Standing};
use crate::clock;
use crate::peer::Reply;
use cairn_logic::message::Position;
use cairn_logic::time::Duration;
use cairn_wire::peer::pb;
use tonic::Status;

/// Between two tries to give up the front of the log.
const CUT: Duration = Duration::from_secs(1);

impl Role {
    /// Snapshots are written or fetched now and then, and what they make needless goes.
    pub(super) fn bound_log(&mut self) {
        let Some(place) = self.place() else { return };
        let Some(host) = &mut self.host else { return };
        host.world.snapshot(place);
        let now = clock::now();
        if now.since(self.bounded) >= CUT {
            self.bounded = now;
            let storage = &host.world.storage;
            let allowed = |pressed| host.replica().may_truncate(pressed);
            storage.bound_front(&host.world.snapshots.figures(), allowed);
        }
    }

    /// A person wants a snapshot of this node's log now.
    pub(super) fn snapshot_now(&mut self, group: &str, reply: Reply<pb::WishReply>) {
        let place = self.place();
        let host = self.host.as_mut().filter(|host| host.world.group.as_str() == group);
        match (host, place) {
            (Some(host), Some(place)) => host.world.snapshots.snapshot_now(place, reply),
            _ => {
                let text = format!("{group} is not the log of this node");
                reply.send(Err(Status::invalid_argument(text))).ok();
            }
        }
    }

    /// Where this node is in its group's log.
    fn place(&self) -> Option<Place> {
        let host = self.host.as_ref()?;
        let low = host.world.storage.room().low;
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
        Some(Place { standing, covered, applied })
    }
}
