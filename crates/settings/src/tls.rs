//! Which doors speak TLS, and the files that hold what they need.

use crate::Problem;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The certificates of a node; a door without files speaks plain text.
///
/// Files are read again when they change; established connections go on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsSettings {
    /// Peers and heartbeats: both sides show a certificate of the authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peers: Option<TlsFiles>,
    /// RESP and etcd clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<TlsFiles>,
    /// Whether RESP and etcd clients must show a certificate of the authority, too.
    pub verify_clients: bool,
}

/// PEM files, by absolute paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TlsFiles {
    /// The node's certificate and those between it and the authority. It names the hosts under
    /// which the node is reached.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates of those who sign; several while one replaces another.
    pub authority: PathBuf,
}

impl TlsSettings {
    /// Adds what is wrong with the paths, with keys under `at`.
    pub(crate) fn problems(&self, at: &str, problems: &mut Vec<Problem>) {
        for (door, files) in [("peers", &self.peers), ("clients", &self.clients)] {
            let Some(files) = files else { continue };
            let TlsFiles { certificate, key, authority } = files;
            for (part, path) in
                [("certificate", certificate), ("key", key), ("authority", authority)]
            {
                if !path.is_absolute() {
                    let key = format!("{at}.{door}.{part}");
                    problems.push(Problem::new(key, "must be an absolute path"));
                }
            }
        }
        if self.verify_clients && self.clients.is_none() {
            let key = format!("{at}.verifyClients");
            problems.push(Problem::new(key, format!("needs {at}.clients")));
        }
    }
}
