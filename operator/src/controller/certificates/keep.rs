//! Makes what is missing or ends soon.

use super::{Authorities, LEAF_SEC, RENEW_SEC, Shown, Step, WantedLeaf, loaded};
use crate::controller::Error;
use crate::controller::desired::Desired;
use crate::controller::observed::Observed;
use crate::names;
use crate::object::{Kind, Object, digest};
use crate::writer::{Whose, Writer};
use crate::x509::{self, validity};
use serde_json::json;
use std::collections::BTreeSet;

/// Notes in `observed` what is to be shown and trusted from now on. An authority is written before
/// anything that it signs.
///
/// # Errors
/// The API refused; what was made is forgotten, and made by the next look.
pub async fn keep(
    writer: &Writer,
    desired: &Desired,
    observed: &mut Observed,
) -> Result<(), Error> {
    if desired.tls.leaves.is_empty() {
        return Ok(());
    }
    if desired.cluster.spec.tls.issuer_ref.is_some() {
        observed.certificates.trusted = of_issuer(desired, observed);
        return Ok(());
    }
    if let Some(authorities) = changed(desired, observed)? {
        let written = write(writer, desired, observed, &authorities).await?;
        if !written {
            return Ok(());
        }
        observed.certificates.authorities = authorities;
    }
    Ok(renew(desired, observed)?)
}

/// The authorities as they are to be, if that is otherwise than they are.
pub(crate) fn changed(
    desired: &Desired,
    observed: &Observed,
) -> Result<Option<Authorities>, x509::Error> {
    let authorities = &observed.certificates.authorities;
    let step = authorities.step(observed.now_sec, is_settled(desired, observed));
    if step == Step::Rest {
        return Ok(None);
    }
    tracing::info!(cluster = %desired.name, ?step, "authorities change");
    authorities.clone().after(step, &desired.name, observed.now_sec).map(Some)
}

/// Trusts the authorities there are, and has them sign what is due.
pub(crate) fn renew(desired: &Desired, observed: &mut Observed) -> Result<(), x509::Error> {
    let now = observed.now_sec;
    observed.certificates.trusted = observed.certificates.authorities.trusted();
    for (secret, leaf, mark) in due(desired, observed) {
        let Some(signing) = &observed.certificates.authorities.signing else { break };
        let last = validity(&signing.certificate).map_or(now, |validity| validity.to_sec);
        let to = last.min(now + LEAF_SEC);
        let pair = x509::sign(signing, &leaf.service, &leaf.names, now, to)?;
        tracing::info!(%secret, "signed");
        observed.certificates.shown.insert(secret.clone(), Shown { pair, mark });
    }
    Ok(())
}

/// Writes the authorities' Secret; whether it is ours to write.
async fn write(
    writer: &Writer,
    desired: &Desired,
    observed: &mut Observed,
    authorities: &Authorities,
) -> Result<bool, Error> {
    let object = secret(desired, authorities);
    let (name, owner) = (&object.name, desired.owner().uid);
    match writer.whose(&desired.namespace, Kind::Secret, name, &[owner]).await? {
        Whose::Ours | Whose::Nobodys => {
            writer.apply(&desired.namespace, &object).await?;
            Ok(true)
        }
        Whose::Former => Ok(false),
        Whose::Foreign => {
            observed.certificates.taken = Some(format!("Secret {name}"));
            Ok(false)
        }
    }
}

/// The Secret that keeps authorities.
pub(crate) fn secret(desired: &Desired, authorities: &Authorities) -> Object {
    let body = json!({
        "metadata": {
            "name": names::authority(&desired.name), "namespace": desired.namespace,
            "labels": names::labels(&desired.name, "authority"),
        },
        "type": "cairn.dev/authority",
        "data": authorities.data(),
    });
    Object::new(Kind::Secret, &desired.owner(), &body)
}

/// Certificates that are to be made, each with its mark; none while nobody can sign.
fn due<'d>(desired: &'d Desired, observed: &Observed) -> Vec<(&'d String, &'d WantedLeaf, String)> {
    let Some(signing) = &observed.certificates.authorities.signing else { return Vec::new() };
    let leaves = desired.tls.leaves.iter();
    let marked = leaves.map(|(secret, leaf)| (secret, leaf, mark(leaf, &signing.certificate)));
    marked.filter(|(_, leaf, mark)| is_due(leaf, mark, observed.now_sec)).collect()
}

fn mark(leaf: &WantedLeaf, authority: &str) -> String {
    digest(&json!([leaf.names, authority]))
}

fn is_due(leaf: &WantedLeaf, mark: &str, now_sec: i64) -> bool {
    let Some(shown) = &leaf.shown else { return true };
    let validity = validity(&shown.pair.certificate);
    shown.mark != mark || validity.is_none_or(|v| v.to_sec - now_sec < RENEW_SEC)
}

/// Whether everything that authorities ask for was written, and is loaded by all who run.
fn is_settled(desired: &Desired, observed: &Observed) -> bool {
    let certificates = &observed.certificates;
    let written = certificates.trusted == certificates.authorities.trusted();
    // Nodes of a keyspace that is refused are given nothing new, and must not be left behind.
    let all = desired.refused.is_empty() && all_loaded(desired, observed);
    written && due(desired, observed).is_empty() && all
}

/// Whether every node that runs has loaded what it is given now.
fn all_loaded(desired: &Desired, observed: &Observed) -> bool {
    desired.settings.values().all(|settings| {
        let pod = observed.pods.get(settings.node.as_str());
        let runs = pod.is_some_and(|pod| pod.running && !pod.deleting);
        let says = observed.plane.nodes.get(&settings.node);
        !runs || says.is_some_and(|says| loaded(desired, settings, says))
    })
}

/// Whom an issuer's certificates come from, and whom they came from before, until all nodes have
/// loaded the newer ones.
fn of_issuer(desired: &Desired, observed: &Observed) -> String {
    let secrets = desired.tls.leaves.keys();
    let now = secrets.filter_map(|name| {
        let secret = observed.live.get(&(Kind::Secret, name.clone()))?;
        super::text(secret, "ca.crt")
    });
    let mut trusted: BTreeSet<String> =
        now.flat_map(|authority| x509::certificates(&authority)).collect();
    let before = x509::certificates(&observed.certificates.trusted);
    if !all_loaded(desired, observed) {
        trusted.extend(before);
    }
    trusted.into_iter().collect()
}
