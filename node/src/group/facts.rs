//! What the metrics port shows of a data node.

use super::role::Role;
use crate::clock;
use crate::metrics::{Facts, unready};

impl Role {
    /// What is so at this moment.
    pub(super) fn facts(&mut self) -> Facts {
        let status = self.plain_status();
        let data = Some(self.data.shared());
        let (Some(host), Some(log)) = (&self.host, status.logs.first()) else {
            // Idle: it waits to be claimed, and that is all it is for.
            return Facts { status, data, ..Facts::default() };
        };
        let settings = &self.boot.settings;
        let bounds = (settings.timing.stuck_max, settings.lag.age_max);
        let lag = self.lag.now(clock::now(), host.replica().last().offset);
        let unready = unready(log, host.replica().record(), host.world.loading, lag, bounds);
        let room = Some(host.world.storage.room());
        let snapshots = Some(host.world.snapshots.figures());
        let before = Some(host.replica().before().offset);
        let lag = Some(lag);
        Facts { status, unready, room, snapshots, before, lag, data, ..Facts::default() }
    }
}
