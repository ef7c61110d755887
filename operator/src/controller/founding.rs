//! Who a cluster is, and its founding: each exactly once (docs/replication.md §9, First start).
//!
//! The uid and the secret are in a Secret that is made by a create, which only one writer can win,
//! and never written again. Pods are made only when it is there. The founding call is repeated
//! until it is answered; then a compare-and-swap on that Secret remembers it, and the Cluster's
//! status says so too. Either of the two suffices never to call again.

use super::desired::Desired;
use super::observed::{Identity, Observed};
use crate::names;
use crate::object::{Kind, Object, Owner};
use crate::plane::Plane;
use crate::writer::{Error, Writer};
use cairn_logic::ids::NodeId;
use cairn_wire::peer::pb::FoundRequest;
use kube::ResourceExt;
use serde_json::json;

/// The cluster's identity, made now if it has none; `None` while a former cluster's of the same
/// name is still there.
///
/// # Errors
/// The API refused.
pub async fn identity(writer: &Writer, observed: &Observed) -> Result<Option<Identity>, Error> {
    if let Some(identity) = &observed.identity {
        return Ok(Some(identity.clone()));
    }
    let identity = new_identity(observed);
    let object = secret(observed, &identity);
    match writer.create(observed.namespace(), &object).await? {
        true => {
            tracing::info!(cluster = observed.name(), uid = %identity.uid, "made an identity");
            Ok(Some(identity))
        }
        false => Ok(None),
    }
}

/// A new identity. The uid is that of the status or of volumes that were kept, if there are any:
/// their folders would refuse another one.
fn new_identity(observed: &Observed) -> Identity {
    let known = observed.cluster.status.as_ref().and_then(|status| status.uid.clone());
    let first = names::claim(&format!("{}-0", names::global(observed.name())));
    let kept = observed.claims.get(&first).and_then(|claim| claim.cluster_uid.clone());
    let random = || format!("{:032x}", rand::random::<u128>());
    Identity {
        uid: known.or(kept).unwrap_or_else(random),
        secret: format!("{}{}", random(), random()),
        tls: observed.cluster.spec.tls.peers,
        founded: false,
    }
}

fn secret(observed: &Observed, identity: &Identity) -> Object {
    let name = names::identity(observed.name());
    let mut body = json!({
        "metadata": {
            "name": name, "namespace": observed.namespace(),
            "labels": names::labels(observed.name(), "identity"),
        },
        "immutable": true,
        "type": "cairn.dev/identity",
        "stringData": { "uid": identity.uid, "secret": identity.secret },
    });
    if identity.tls {
        body["stringData"]["peers"] = json!(names::PEERS_TLS);
    }
    let owner = Owner::of(Kind::Cluster, observed.cluster.as_ref());
    Object::new(Kind::Secret, &owner, &body)
}

/// What the founding call says.
#[must_use]
pub fn request(desired: &Desired) -> FoundRequest {
    let names = |ids: &[NodeId]| ids.iter().map(ToString::to_string).collect();
    let founding = &desired.founding;
    FoundRequest {
        members: names(&founding.members),
        acceptors: names(&founding.acceptors),
        wanted: u32::try_from(founding.members.len()).unwrap_or(u32::MAX),
    }
}

/// Whether everybody who takes part is there to be asked.
#[must_use]
pub fn is_due(desired: &Desired, observed: &Observed) -> bool {
    let founding = &desired.founding;
    let mut everybody = founding.members.iter().chain(&founding.acceptors);
    !observed.is_founded() && everybody.all(|node| observed.plane.nodes.contains_key(node))
}

/// Calls, and remembers the answer; whether the cluster is founded now.
///
/// # Errors
/// The API refused to remember; the next call finds the value that this one made.
pub async fn found(writer: &Writer, desired: &Desired, plane: &Plane) -> Result<bool, Error> {
    let first = &desired.founding.first;
    if let Err(error) = plane.found(first, request(desired)).await {
        tracing::info!(cluster = %desired.name, %error, "not founded yet");
        return Ok(false);
    }
    tracing::info!(cluster = %desired.name, uid = %desired.uid, "founded");
    remember(writer, desired).await?;
    Ok(true)
}

/// Marks the identity, if nobody has changed it meanwhile.
///
/// # Errors
/// The API refused, for example because somebody has.
pub async fn remember(writer: &Writer, desired: &Desired) -> Result<(), Error> {
    let name = names::identity(&desired.name);
    let api = writer.api(Kind::Secret, &desired.namespace);
    let what = || format!("Secret {name}");
    let found = api.get_metadata(&name).await;
    let found = found.map_err(|e| Error::Refused { what: what(), source: Box::new(e) })?;
    let patch = json!({ "metadata": {
        "annotations": { names::FOUNDED: desired.uid },
        "resourceVersion": found.resource_version(),
    }});
    writer.merge(&desired.namespace, Kind::Secret, &name, &patch).await
}
