//! Bounds on logs, as resources write them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Bounds on the logs of nodes; what is absent has the node's default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct LogSpec {
    /// The end of a node's log that is always kept, so that a node that was away for a short while
    /// needs no snapshot (a quarter of bytesMax); less than half of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub bytes_kept: Option<String>,
    /// The bound on a node's log (4Gi): above half of it nobody else's needs hold it, at it writes
    /// are refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub bytes_max: Option<String>,
    /// How fast a node sends a snapshot to one that fetches it, in bytes per second (64Mi).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    pub fetch_bytes_per_second: Option<String>,
}

/// The bound where nobody says otherwise.
pub const BYTES_MAX: &str = "4Gi";
