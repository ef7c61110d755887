//! Rules of TLS, of Clusters and Keyspaces.

use super::Rule;
use crate::cluster::Cluster;
use crate::keyspace::Keyspace;
use crate::tls::ClientTls;

/// A DNS name, its first label perhaps a star.
const HOST_PATTERN: &str =
    "^([*][.])?[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*$";

/// Those of a Cluster.
pub(super) fn of_cluster() -> Vec<Rule<Cluster>> {
    let mut rules = vec![
        Rule::fixed("tls.peers", |c: &Cluster| c.spec.tls.peers),
        Rule::change(
            "tls.issuerRef",
            "has(self.tls.issuerRef) == has(oldSelf.tls.issuerRef)",
            "cannot be added or taken away; write another issuer, or make a new Cluster",
            |new: &Cluster, old: &Cluster| {
                new.spec.tls.issuer_ref.is_some() == old.spec.tls.issuer_ref.is_some()
            },
        ),
        Rule::spec(
            "tls.issuerRef.name",
            "!has(self.tls.issuerRef) || self.tls.issuerRef.name.size() >= 1",
            "must be the name of an Issuer or ClusterIssuer",
            |c: &Cluster| c.spec.tls.issuer_ref.as_ref().is_none_or(|i| !i.name.is_empty()),
        ),
    ];
    rules.extend(clients(
        "tls.clients",
        "self.tls.clients",
        "has(self.tls.issuerRef)",
        |c: &Cluster| c.spec.tls.clients.as_ref(),
        |c: &Cluster| c.spec.tls.issuer_ref.is_some(),
    ));
    rules
}

/// Those of a Keyspace.
pub(super) fn of_keyspace() -> Vec<Rule<Keyspace>> {
    clients("tls", "self.tls", "false", |k: &Keyspace| k.spec.tls.as_ref(), |_| false)
}

/// Rules of a [`ClientTls`] at `field`; `issuer` says whether somebody signs for clients, too.
fn clients<T: 'static>(
    field: &str,
    cel: &str,
    issuer_cel: &str,
    get: fn(&T) -> Option<&ClientTls>,
    issuer: fn(&T) -> bool,
) -> Vec<Rule<T>> {
    let own = |part: &str| format!("{field}.{part}");
    let secret = format!("has({cel}.secretName)");
    vec![
        Rule::spec(
            &own("secretName"),
            format!("!has({cel}) || !{secret} || {cel}.secretName.size() >= 1"),
            "must not be empty: write the name of a Secret, or leave it out",
            move |t| get(t).and_then(|c| c.secret_name.as_ref()).is_none_or(|s| !s.is_empty()),
        ),
        Rule::spec(
            &own("verify"),
            format!("!has({cel}) || !{cel}.verify || {secret} || {issuer_cel}"),
            "needs somebody who signs certificates for clients: write secretName of a Secret whose \
             ca.crt is theirs, or let a Cluster with issuerRef ask for it",
            move |t| get(t).is_none_or(|c| !c.verify || c.secret_name.is_some() || issuer(t)),
        ),
        Rule::spec(
            &own("altNames"),
            format!("!has({cel}) || !{secret} || !has({cel}.altNames)"),
            "must be left out with secretName: that certificate has its names already",
            move |t| get(t).is_none_or(|c| c.secret_name.is_none() || c.alt_names.is_empty()),
        ),
        Rule::spec(
            &own("altNames"),
            format!(
                "!has({cel}) || !has({cel}.altNames) || \
                 {cel}.altNames.all(n, n.matches('{HOST_PATTERN}'))"
            ),
            "must be DNS names in lower case, for example redis.example.org",
            move |t| get(t).is_none_or(|c| c.alt_names.iter().all(|name| is_host(name))),
        ),
    ]
}

fn is_host(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.strip_prefix("*.").unwrap_or(name).split('.').all(label)
}
