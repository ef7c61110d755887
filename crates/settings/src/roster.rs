//! Who belongs to a cluster and how to call them: one JSON file, written by the operator for pods
//! that are no nodes, read by the command line.

use crate::{FORMAT, NodeRole, TlsFiles};
use cairn_logic::ids::NodeId;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A cluster's nodes, and the right to call them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Roster {
    /// How it is written: [`FORMAT`].
    pub format: u32,
    /// The cluster's random name.
    pub uid: String,
    /// The Cluster resource's name.
    pub name: String,
    /// Every node.
    pub nodes: Vec<RosterNode>,
    /// Names of the keyspaces.
    pub keyspaces: Vec<String>,
    /// The file with the cluster's secret.
    pub secret_file: PathBuf,
    /// What to show to peers and whom to trust, where they speak TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsFiles>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RosterNode {
    /// Its stable name.
    pub id: NodeId,
    /// What it is for.
    pub role: NodeRole,
    /// Its host, by the name that its certificate has.
    pub host: String,
    /// Its ports in the order of [`crate::Port::ALL`].
    pub ports: [u16; 5],
}

/// Why a roster cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RosterError {
    /// It is no JSON, or lacks a field.
    #[error("it is no roster")]
    Json(#[from] serde_json::Error),
    /// Another program wrote it.
    #[error("it has format {found}, this program reads format {FORMAT}")]
    Format {
        /// As found.
        found: u32,
    },
}

impl Roster {
    /// The file's text.
    ///
    /// # Panics
    /// Never: it is plain data.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a roster is plain data")
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// [`RosterError`].
    pub fn from_json(text: &str) -> Result<Self, RosterError> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let Head { format } = serde_json::from_str(text)?;
        if format != FORMAT {
            return Err(RosterError::Format { found: format });
        }
        Ok(serde_json::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster() -> Roster {
        Roster {
            format: FORMAT,
            uid: "ab".repeat(16),
            name: "demo".to_owned(),
            nodes: vec![RosterNode {
                id: NodeId::new("tweets-0-1"),
                role: NodeRole::Data,
                host: "tweets-0-1.tweets-nodes.ns.svc.cluster.local".to_owned(),
                ports: [6379, 2379, 7400, 7401, 9400],
            }],
            keyspaces: vec!["tweets".to_owned()],
            secret_file: "/etc/cairn/identity/secret".into(),
            tls: None,
        }
    }

    #[test]
    fn a_roster_is_read_as_it_was_written() {
        assert_eq!(Roster::from_json(&roster().to_json()).unwrap(), roster());
    }

    #[test]
    fn another_format_is_refused_before_anything_else_is_read() {
        let found = Roster::from_json("{\"format\": 9}").unwrap_err();
        assert!(matches!(found, RosterError::Format { found: 9 }), "{found}");
        assert!(matches!(Roster::from_json("[]"), Err(RosterError::Json(_))));
    }
}
