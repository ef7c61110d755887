//! A fetched snapshot counts only if its state is the one that this node had after the same entry.

use super::role::Role;
use cairn_directory::core::Compared;
use cairn_logic::ids::EntryId;

impl Role {
    /// A snapshot that another node wrote is whole and durable here.
    pub(super) fn fetched(&mut self, at: EntryId) {
        self.unbelieved = Some(at);
        self.believe();
    }

    /// Compares the hash of a fetched snapshot with the one that this node noted itself.
    pub(super) fn believe(&mut self) {
        let Some(at) = self.unbelieved else { return };
        let world = &self.host.world;
        if world.snapshots.is_loading() || self.host.applied() < at.offset {
            // This node has not come there yet.
            return;
        }
        let said = world.snapshots.fetched(at).map(|newest| newest.hash);
        let holds = self.host.replica().holds(at);
        match world.desk.core.compare(at.offset, said, holds) {
            Compared::Same => {
                self.unbelieved = None;
                self.differ = None;
                if let Some(newest) = self.host.world.snapshots.fetched(at) {
                    self.has_snapshot(newest);
                }
            }
            Compared::Forgotten => {
                self.unbelieved = None;
                tracing::info!(%at, "a fetched snapshot is too old to be compared; not used");
                self.host.world.snapshots.refuse(at, false);
            }
            Compared::Other => {
                self.unbelieved = None;
                let text = format!(
                    "the snapshot of entry {at} that was fetched holds another state than this \
                     node had there: one of the two copies is wrong. It is set aside, and no log \
                     is given up for it"
                );
                tracing::error!(%at, "{text}");
                self.differ = Some(text);
                self.host.world.snapshots.refuse(at, true);
            }
        }
    }
}
