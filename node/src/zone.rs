//! The zone of this node's machine, read anew from its settings while it runs.
//!
//! On Kubernetes a pod gets its machine after its settings were written for the first time; the
//! operator then writes the machine's zone into them, and nothing is restarted for it.

use cairn_settings::NodeSettings;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Between two looks into the settings; a ConfigMap takes up to a minute to arrive.
const LOOK: Duration = Duration::from_secs(5);

/// What the zone is, from `known` on; looks until nobody listens any more.
#[must_use]
pub fn watch(settings: PathBuf, known: Option<String>) -> watch::Receiver<Option<String>> {
    let (said, zone) = watch::channel(known);
    tokio::spawn(async move {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = said.closed() => return,
                _ = look.tick() => {}
            }
            // Half-written or foreign settings say nothing.
            let Ok(read) = NodeSettings::load(&settings, &mut Vec::new()) else { continue };
            let new = read.zone != *said.borrow();
            if new {
                tracing::info!(
                    zone = read.zone.as_deref().unwrap_or_default(),
                    "the zone is known"
                );
                said.send_replace(read.zone);
            }
        }
    });
    zone
}
