//! Who speaks TLS, with which certificates.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// TLS of a cluster on Kubernetes; a cluster of local processes speaks plain text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Tls {
    /// Whether the cluster's own processes show each other certificates. Cannot change.
    pub peers: bool,
    /// TLS for clients: of the directory, and of every Keyspace that says nothing else; absent
    /// means plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<ClientTls>,
    /// The cert-manager issuer that signs; absent means an authority that the operator makes and
    /// renews. Cannot be added or taken away later, but can name another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<IssuerRef>,
}

impl Default for Tls {
    fn default() -> Self {
        Self { peers: true, clients: None, issuer_ref: None }
    }
}

/// TLS for clients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct ClientTls {
    /// A Secret in the same namespace with `tls.crt`, `tls.key` and `ca.crt`; absent means that
    /// certificates are made as those of peers are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub secret_name: Option<String>,
    /// Whether clients must show a certificate that `ca.crt` signed.
    pub verify: bool,
    /// Further names in the certificates that are made, for example of a load balancer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 253)))]
    pub alt_names: Vec<String>,
}

/// An issuer of cert-manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IssuerRef {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// `Issuer`, in the same namespace, or `ClusterIssuer`.
    #[serde(default = "issuer")]
    #[schemars(length(max = 63))]
    pub kind: String,
    /// Its API group.
    #[serde(default = "cert_manager")]
    #[schemars(length(max = 253))]
    pub group: String,
}

fn issuer() -> String {
    "Issuer".to_owned()
}

fn cert_manager() -> String {
    "cert-manager.io".to_owned()
}

/// A certificate that nodes show, and which of them show it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CertificateStatus {
    /// The Secret it is in.
    pub secret: String,
    /// The first 12 digits of SHA-256 over the certificate and the authorities that go with it.
    pub digest: String,
    /// When it ends, as 2030-12-31T23:59:59Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// Nodes that have loaded exactly this.
    #[serde(default)]
    pub loaded: i32,
    /// Nodes that are to load it.
    #[serde(default)]
    pub nodes: i32,
}
