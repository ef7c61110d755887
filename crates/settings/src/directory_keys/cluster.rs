//! `/cairn/cluster`: which cluster this is.

use super::{DecodeError, decode, encode};
use serde::{Deserialize, Serialize};

/// Written once, by the first master, before anything else is admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo {
    /// The cluster's random name.
    pub uid: String,
    /// The format of the directory's values ([`crate::FORMAT`]).
    pub format: u32,
}

impl ClusterInfo {
    /// The value's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Reads the value.
    ///
    /// # Errors
    /// Bytes that are no such value.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("cluster", bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_reads_back_what_it_wrote() {
        let info = ClusterInfo { uid: "c0ffee00".to_owned(), format: crate::FORMAT };
        assert_eq!(ClusterInfo::decode(&info.encode()).unwrap(), info);
        assert_eq!(info.encode(), br#"{"uid":"c0ffee00","format":1}"#);
        assert!(ClusterInfo::decode(b"{}").is_err());
    }
}
