//! Certificates that cert-manager makes: one of its Certificates for each of ours.
//!
//! They are not watched, for cert-manager may not be there; they are looked at now and then. The
//! Secrets that it makes carry our labels, so they are seen, and get an owner to go with.

use super::WantedLeaf;
use crate::context::{Context, Key};
use crate::controller::desired::Desired;
use crate::controller::observed::Observed;
use crate::names;
use crate::object::{Kind, Object, Owner, is_owned_by};
use crate::writer::Error;
use cairn_crd::tls::IssuerRef;
use kube::core::DynamicObject;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two looks at what cert-manager was asked for.
const LOOK_EVERY: Duration = Duration::from_secs(300);
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Asks for what is needed, if there is an issuer; what stands in the way is noted.
pub async fn order(ctx: &Context, key: &Key, desired: &Desired, observed: &mut Observed) {
    let Some(issuer) = &desired.cluster.spec.tls.issuer_ref else { return };
    let all = ctx.is_due(key, LOOK_EVERY);
    for object in orders(desired, issuer) {
        if let Err(error) = one(ctx, desired, &object, all).await {
            let why = std::error::Error::source(&error).map(ToString::to_string);
            let message = format!("{error}: {}", why.unwrap_or_default());
            tracing::warn!(cluster = %desired.name, %message, "cert-manager is not asked");
            observed.certificates.refused = Some(message);
            return;
        }
    }
    for (secret, leaf) in &desired.tls.leaves {
        let live = observed.live.get(&(Kind::Secret, secret.clone()));
        let (owner, _) = whose(desired, leaf);
        let Some(live) = live.filter(|live| !is_owned_by(live, std::slice::from_ref(&owner.uid)))
        else {
            continue;
        };
        let adopted = adopted(secret, desired, &owner, live);
        if let Err(error) = ctx.writer.apply(&desired.namespace, &adopted).await {
            tracing::warn!(%secret, %error, "it would stay when its resource goes");
        }
    }
}

async fn one(ctx: &Context, desired: &Desired, object: &Object, all: bool) -> Result<(), Error> {
    let (kind, namespace, name) = (object.kind, &desired.namespace, &object.name);
    if all {
        let api = ctx.writer.api(kind, namespace);
        let found = tokio::time::timeout(LOOK_MAX, api.get_opt(name)).await;
        match found {
            Ok(Ok(Some(found))) => drop(ctx.store.put(kind, found)),
            Ok(Ok(None)) => {
                if let Some(known) = ctx.store.get(kind, namespace, name) {
                    ctx.store.remove(kind, &known);
                }
            }
            // The write below says what is wrong, if it still is.
            Ok(Err(_)) | Err(_) => {}
        }
    }
    let known = ctx.store.get(kind, namespace, name);
    let known = known.and_then(|known| serde_json::to_value(known.as_ref()).ok());
    if known.is_some_and(|known| object.is_in(&known)) {
        return Ok(());
    }
    ctx.writer.apply(namespace, object).await
}

fn whose(desired: &Desired, leaf: &WantedLeaf) -> (Owner, BTreeMap<String, String>) {
    let keyspace = desired.keyspaces.iter().find(|k| Some(&k.name) == leaf.keyspace.as_ref());
    let labels = names::labels(&desired.name, "certificate");
    match keyspace {
        Some(keyspace) => (keyspace.owner(), names::with(labels, names::KEYSPACE, &keyspace.name)),
        None => (desired.owner(), labels),
    }
}

/// What cert-manager is asked for. Pure.
#[must_use]
pub fn orders(desired: &Desired, issuer: &IssuerRef) -> Vec<Object> {
    let order = |(secret, leaf): (&String, &WantedLeaf)| {
        let (owner, labels) = whose(desired, leaf);
        let hours = |sec: i64| format!("{}h0m0s", sec / 3600);
        let body = json!({
            "metadata": { "name": secret, "namespace": desired.namespace, "labels": labels },
            "spec": {
                "secretName": secret,
                "secretTemplate": { "labels": labels },
                "dnsNames": leaf.names,
                "duration": hours(super::LEAF_SEC),
                "renewBefore": hours(super::RENEW_SEC),
                "privateKey": {
                    "algorithm": "ECDSA", "size": 256, "encoding": "PKCS8",
                    "rotationPolicy": "Always",
                },
                "usages": ["digital signature", "server auth", "client auth"],
                "issuerRef": { "name": issuer.name, "kind": issuer.kind, "group": issuer.group },
            },
        });
        Object::new(Kind::Certificate, &owner, &body)
    };
    desired.tls.leaves.iter().map(order).collect()
}

/// The Secret that cert-manager made, with an owner: nothing else of it is ours.
fn adopted(secret: &str, desired: &Desired, owner: &Owner, live: &DynamicObject) -> Object {
    let body = json!({
        "metadata": {
            "name": secret, "namespace": desired.namespace, "uid": live.metadata.uid,
        },
    });
    Object::new(Kind::Secret, owner, &body)
}
