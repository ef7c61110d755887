//! Founds a cluster exactly once (docs/replication.md §9, First start).

use crate::folder::{ClusterState, Folder};
use crate::plane::Plane;
use anyhow::{Context, Result};
use cairn_topology::Founding;
use cairn_wire::peer::pb;
use std::time::Duration;
use tokio::time::{Instant, sleep};

const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Calls `Found` on the first global node until it is answered, and remembers that it was.
///
/// Safe to call again after a crash: a call that is repeated finishes what the first one began, and
/// once the answer is remembered there is no other call.
pub async fn found(
    folder: &Folder,
    state: &mut ClusterState,
    plane: &Plane,
    founding: &Founding,
    until: Instant,
) -> Result<()> {
    if state.founded {
        return Ok(());
    }
    let first = state.node(founding.first.as_str())?.clone();
    let names = |ids: &[cairn_logic::ids::NodeId]| ids.iter().map(ToString::to_string).collect();
    let request = pb::FoundRequest {
        members: names(&founding.members),
        acceptors: names(&founding.acceptors),
        wanted: u32::try_from(founding.members.len()).context("too many global nodes")?,
    };
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match plane.found(&first, request.clone(), left.min(Duration::from_secs(5))).await {
            Ok(_) => break,
            Err(error) if left.is_zero() => {
                return Err(error.context("the cluster could not be founded in time"));
            }
            Err(_) => sleep(AGAIN_AFTER).await,
        }
    }
    state.founded = true;
    folder.save_state(state)
}
