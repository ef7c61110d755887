//! Which certificates are shown, by how many nodes, and which are waited for.

use super::conditions::Verdict;
use crate::controller::certificates::{ClientDoor, loaded};
use crate::controller::desired::{Desired, WantedKeyspace};
use crate::controller::observed::Observed;
use crate::x509::{moment, validity};
use cairn_crd::Reason;
use cairn_crd::tls::CertificateStatus;
use cairn_settings::NodeSettings;

/// Digits of a digest that people see.
const DIGITS: usize = 12;

/// A Secret that nodes need.
struct Needed<'a> {
    secret: &'a str,
    /// The digest of what is in it, if it is there, and the certificate.
    there: Option<(String, &'a str)>,
    /// The headless Service of those who show it; none for every node of the part in question.
    service: Option<&'a str>,
}

/// What the nodes of `keyspace`, or of the global plane, need.
fn needed<'a>(
    desired: &'a Desired,
    observed: &'a Observed,
    keyspace: Option<&'a WantedKeyspace>,
) -> Vec<Needed<'a>> {
    let tls = &desired.tls;
    let name = keyspace.map(|keyspace| &keyspace.name);
    let made = tls.leaves.iter().filter(|(_, leaf)| leaf.keyspace.as_ref() == name);
    let made = made.map(|(secret, leaf)| Needed {
        secret,
        there: tls.digest(secret).zip(leaf.shown.as_ref().map(|s| &*s.pair.certificate)),
        service: Some(&leaf.service),
    });
    let mut needed: Vec<_> = made.collect();
    if let ClientDoor::Theirs { secret, .. } = keyspace.map_or(&tls.clients, |k| &k.clients) {
        let theirs = observed.certificates.theirs.get(secret);
        let digest = tls.theirs.get(secret).cloned().flatten();
        let there = digest.zip(theirs.map(|theirs| &*theirs.certificate));
        needed.push(Needed { secret, there, service: None });
    }
    needed
}

/// What there is of them, in the order of their names.
pub fn of(
    desired: &Desired,
    observed: &Observed,
    keyspace: Option<&WantedKeyspace>,
) -> Vec<CertificateStatus> {
    let name = keyspace.map(|keyspace| &keyspace.name);
    let own = |settings: &&NodeSettings| settings.preferred_keyspace.as_ref() == name;
    let status = |needed: &Needed<'_>| {
        let (digest, certificate) = needed.there.as_ref()?;
        let nodes = desired.settings.values().filter(own);
        let nodes: Vec<&NodeSettings> = nodes
            .filter(|settings| match needed.service {
                Some(service) => desired.service_of(settings) == service,
                None => settings.tls.clients.is_some(),
            })
            .collect();
        let shows = |settings: &&&NodeSettings| {
            let says = observed.plane.nodes.get(&settings.node);
            says.is_some_and(|says| loaded(desired, settings, says))
        };
        let count = |nodes: usize| i32::try_from(nodes).unwrap_or(i32::MAX);
        Some(CertificateStatus {
            secret: needed.secret.to_owned(),
            digest: digest.chars().take(DIGITS).collect(),
            not_after: validity(certificate).and_then(|validity| moment(validity.to_sec)),
            loaded: count(nodes.iter().filter(shows).count()),
            nodes: count(nodes.len()),
        })
    };
    let mut all: Vec<_> = needed(desired, observed, keyspace).iter().filter_map(status).collect();
    all.sort_by(|a, b| a.secret.cmp(&b.secret));
    all
}

/// So long before it ends a certificate has been renewed, if all is well.
const WARN_SEC: i64 = 14 * 86_400;

/// Certificates that end soon: somebody must see why they were not renewed, or renew them.
pub fn ending(
    desired: &Desired,
    observed: &Observed,
    keyspace: Option<&WantedKeyspace>,
) -> Option<Verdict> {
    let needed = needed(desired, observed, keyspace);
    let ends = |needed: &Needed<'_>| {
        let (_, certificate) = needed.there.as_ref()?;
        let end = validity(certificate)?.to_sec;
        let soon = end - observed.now_sec < WARN_SEC;
        soon.then(|| format!("{} ends {}", needed.secret, moment(end).unwrap_or_default()))
    };
    let soon: Vec<String> = needed.iter().filter_map(ends).collect();
    (!soon.is_empty()).then(|| Verdict::yes(Reason::CertificateEnds, soon.join(", ")))
}

/// Secrets that pods wait for.
pub fn pending(
    desired: &Desired,
    observed: &Observed,
    keyspace: Option<&WantedKeyspace>,
) -> Option<Verdict> {
    let needed = needed(desired, observed, keyspace);
    let missing: Vec<&str> =
        needed.iter().filter(|n| n.there.is_none()).map(|needed| needed.secret).collect();
    let message = || {
        let them = missing.join(", ");
        let message = format!("not there, or without tls.crt, tls.key and ca.crt: {them}");
        match &observed.certificates.refused {
            Some(why) => format!("{message}; {why}"),
            None => message,
        }
    };
    (!missing.is_empty()).then(|| Verdict::yes(Reason::CertificatesPending, message()))
}
