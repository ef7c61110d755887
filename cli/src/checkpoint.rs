//! `cairn checkpoint`: the snapshots there are, whether each is whole, and a new one at once.
//!
//! What a running cluster has is asked of its nodes ([`nodes`]); what lies in a folder is read
//! there ([`folders`]), also beside nodes that run.

mod folders;
mod nodes;
mod now;

pub use nodes::{Temporary, fetch_newest};
pub use now::ANSWER_MAX;

use crate::args::Checkpoint;
use crate::place::Place;
use anyhow::Result;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Does `what`.
pub async fn checkpoint(place: &Place, what: Checkpoint) -> Result<()> {
    match what {
        Checkpoint::List { path: Some(path) } => folders::show(&path, false),
        Checkpoint::Verify { paths, .. } if !paths.is_empty() => {
            paths.iter().try_for_each(|path| folders::show(path, true))
        }
        Checkpoint::Now { group, node } => now::now(place, &group, node.as_deref()).await,
        Checkpoint::List { path: None } => match place {
            Place::Here(folder) if place.processes().await?.is_none() => {
                folders::show(folder.path(), false)
            }
            _ => nodes::list(place).await,
        },
        Checkpoint::Verify { node, log, .. } => match place {
            // The files themselves are here.
            Place::Here(folder) if node.is_none() && log.is_none() => {
                folders::show(folder.path(), true)
            }
            _ => nodes::verify(place, node.as_deref(), log.as_deref()).await,
        },
    }
}

/// How long ago that was, in the largest unit that says enough.
fn age(made_ms: u64) -> String {
    let made = UNIX_EPOCH + Duration::from_millis(made_ms);
    let seconds = SystemTime::now().duration_since(made).unwrap_or_default().as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_short() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let ago = |seconds| age((now - Duration::from_secs(seconds)).as_millis() as u64);
        assert!(ago(5).ends_with('s') && ago(300) == "5m" && ago(9000) == "2h");
        assert!(ago(864_000) == "10d" && age(u64::MAX >> 20) == "0s");
    }
}
