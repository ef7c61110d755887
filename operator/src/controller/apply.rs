//! Brings Kubernetes to what was built, writing only what differs.

use super::desired::Desired;
use super::observed::Observed;
use crate::names;
use crate::object::{Id, Kind, Object, is_owned_by};
use crate::writer::{Error, Whose, Writer};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use kube::ResourceExt;
use std::collections::BTreeSet;

/// What has to be written.
#[derive(Clone, Debug, PartialEq)]
pub enum Write<'a> {
    /// Somebody may have taken the name: look before the first apply.
    New(&'a Object),
    /// It is ours and says something else.
    Changed(&'a Object),
    /// Nothing asks for it any more.
    Orphan(Id, String),
}

impl Write<'_> {
    fn kind(&self) -> Kind {
        match self {
            Self::New(object) | Self::Changed(object) => object.kind,
            Self::Orphan((kind, _), _) => *kind,
        }
    }
}

/// Objects that are written at once.
const AT_ONCE: usize = 8;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Objects that belong to somebody else.
    pub taken: Vec<String>,
    /// How many writes there were.
    pub writes: usize,
}

/// The uids of the resources that objects of this cluster belong to.
fn owners(desired: &Desired, observed: &Observed) -> Vec<String> {
    let keyspaces = observed.keyspaces.iter().filter_map(|k| k.metadata.uid.clone());
    let groups = observed.groups.values().filter_map(|g| g.metadata.uid.clone());
    let backups = observed.backups.iter().filter_map(|b| b.metadata.uid.clone());
    let restores = observed.restores.iter().filter_map(|r| r.metadata.uid.clone());
    let cluster = desired.cluster.metadata.uid.clone();
    let pools = observed.pools.iter().filter_map(|p| p.metadata.uid.clone());
    let all = cluster.into_iter().chain(keyspaces).chain(groups).chain(pools);
    all.chain(backups).chain(restores).collect()
}

/// What differs between what was built and what is there. Pure.
#[must_use]
pub fn writes<'a>(desired: &Desired, observed: &Observed, objects: &'a [Object]) -> Vec<Write<'a>> {
    let mut writes = Vec::new();
    let owners = owners(desired, observed);
    for object in objects {
        match observed.live.get(&object.id()) {
            None => writes.push(Write::New(object)),
            Some(live) if !is_owned_by(live, &owners) => writes.push(Write::New(object)),
            // Written again once it is gone.
            Some(live) if live.metadata.deletion_timestamp.is_some() => {}
            Some(live) => {
                let live = serde_json::to_value(live.as_ref()).unwrap_or_default();
                if !object.is_in(&live) {
                    writes.push(Write::Changed(object));
                }
            }
        }
    }
    let wanted: BTreeSet<Id> = objects.iter().map(Object::id).collect();
    for (id, live) in &observed.live {
        let ours = Kind::MADE.contains(&id.0) && is_owned_by(live, &owners);
        let leaving = live.metadata.deletion_timestamp.is_some();
        if ours && !leaving && !wanted.contains(id) && !stays(desired, observed, id, live) {
            writes.push(Write::Orphan(id.clone(), live.uid().unwrap_or_default()));
        }
    }
    writes
}

/// What is not built and must not go: identities, authorities, what an issuer made, what belongs to
/// a keyspace or pool that is refused or to a Backup of one, what a Restore was made with, and
/// Leases of masters that are not known at the moment.
fn stays(
    desired: &Desired,
    observed: &Observed,
    (kind, name): &Id,
    live: &kube::core::DynamicObject,
) -> bool {
    let keyspace = live.labels().get(names::KEYSPACE);
    let backup = live.labels().get(names::BACKUP);
    let backup = backup.and_then(|name| {
        let found = observed.backups.iter().find(|b| b.metadata.name.as_ref() == Some(name));
        found.map(|backup| &backup.spec.keyspace)
    });
    let refused = |keyspace: &String| desired.refused.contains_key(keyspace);
    let refused = keyspace.or(backup).is_some_and(refused);
    let pool = live.labels().get(names::POOL);
    let refused = refused || pool.is_some_and(|pool| desired.refused_pools.contains_key(pool));
    let restores = live.labels().contains_key(names::RESTORE);
    let unknown = *kind == Kind::Lease && observed.plane.directory.is_none();
    let kept = [names::identity(&desired.name), names::authority(&desired.name)];
    let kept = *kind == Kind::Secret && kept.contains(name);
    let issued = *kind == Kind::Secret && desired.tls.leaves.contains_key(name);
    refused || restores || unknown || kept || issued
}

/// Writes what differs.
///
/// # Errors
/// The API refused, or this replica may not write any more; what was not written is written by the
/// next reconcile.
pub async fn apply(
    writer: &Writer,
    desired: &Desired,
    observed: &Observed,
    objects: &[Object],
) -> Result<Applied, Error> {
    let mut applied = Applied::default();
    let owners = owners(desired, observed);
    let writes = writes(desired, observed, objects);
    // One kind after the other: what pods need is there before they are.
    for same in writes.chunk_by(|a, b| a.kind() == b.kind()) {
        let mut each = Vec::new();
        for write in same {
            each.push(one(writer, &desired.namespace, write, &owners).boxed());
        }
        let done: Vec<Done> =
            futures::stream::iter(each).buffer_unordered(AT_ONCE).try_collect().await?;
        for done in done {
            match done {
                Done::Written => applied.writes += 1,
                Done::Waits => {}
                Done::Taken(name) => applied.taken.push(name),
            }
        }
    }
    applied.taken.sort();
    Ok(applied)
}

/// What came of one write.
enum Done {
    Written,
    /// An object of a resource of the same name that is gone is being collected.
    Waits,
    Taken(String),
}

async fn one(
    writer: &Writer,
    namespace: &str,
    write: &Write<'_>,
    owners: &[String],
) -> Result<Done, Error> {
    match write {
        Write::New(object) => {
            match writer.whose(namespace, object.kind, &object.name, owners).await? {
                Whose::Ours | Whose::Nobodys => writer.apply(namespace, object).await?,
                Whose::Former => return Ok(Done::Waits),
                Whose::Foreign => {
                    return Ok(Done::Taken(format!("{} {}", object.kind.as_str(), object.name)));
                }
            }
        }
        Write::Changed(object) => writer.apply(namespace, object).await?,
        Write::Orphan((kind, name), uid) => {
            writer.delete(namespace, *kind, name, uid, false).await?;
        }
    }
    Ok(Done::Written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seen;
    use serde_json::json;
    use std::sync::Arc;

    fn kinds(seen: &Seen) -> Vec<String> {
        let (desired, objects) = (seen.desired(), seen.objects());
        let name = |object: &Object| format!("{} {}", object.kind.as_str(), object.name);
        writes(&desired, &seen.observed, &objects)
            .iter()
            .map(|write| match write {
                Write::New(object) => format!("new {}", name(object)),
                Write::Changed(object) => format!("changed {}", name(object)),
                Write::Orphan((kind, name), _) => format!("orphan {} {name}", kind.as_str()),
            })
            .collect()
    }

    #[test]
    fn a_second_look_writes_nothing() {
        let seen = Seen::new().whole();
        let late = seen.clone().applied();
        assert_eq!(kinds(&late), [""; 0]);
        // The first look that knows masters and zones mirrors them.
        let expected = [
            "changed ConfigMap demo-global",
            "changed ConfigMap demo-acceptor",
            "changed ConfigMap tweets-0",
            "new Lease demo-global",
            "new Lease tweets-0",
        ];
        assert_eq!(kinds(&seen), expected);
    }

    #[test]
    fn a_second_look_at_certificates_writes_nothing() {
        let seen = Seen::new().grouped().tls().whole().loaded().applied();
        assert_eq!(kinds(&seen.clone().days_later(1).certified()), [""; 0]);
        let expected = ["demo-acceptor-tls", "demo-global-tls", "tweets-nodes-tls"];
        let expected = expected.map(|name| format!("changed Secret {name}"));
        assert_eq!(kinds(&seen.days_later(70).certified()), expected);
    }

    #[test]
    fn what_somebody_changed_is_put_right_and_what_they_added_stays() {
        let mut seen = Seen::new().whole().applied();
        let at = (Kind::Service, "tweets".to_owned());
        let live = Arc::make_mut(seen.observed.live.get_mut(&at).unwrap());
        live.data["spec"]["sessionAffinity"] = json!("None");
        assert_eq!(kinds(&seen), [""; 0]);
        let live = Arc::make_mut(seen.observed.live.get_mut(&at).unwrap());
        live.data["spec"]["ports"][0]["port"] = json!(1);
        assert_eq!(kinds(&seen), ["changed Service tweets"]);
    }

    #[test]
    fn what_nobody_asks_for_goes_and_the_identity_stays() {
        let mut seen = Seen::new().whole().applied();
        for (kind, name) in [(Kind::Service, "old"), (Kind::Secret, "demo-identity")] {
            let mut live = seen.observed.live[&(Kind::Service, "tweets".to_owned())].clone();
            Arc::make_mut(&mut live).metadata.name = Some(name.to_owned());
            seen.observed.live.insert((kind, name.to_owned()), live);
        }
        assert_eq!(kinds(&seen), ["orphan Service old"]);
    }

    #[test]
    fn what_belongs_to_others_or_to_a_refused_keyspace_is_left_alone() {
        let seen = Seen::new().whole().applied().keyspace(|k| k.spec.groups = 0);
        assert_eq!(kinds(&seen), [""; 0]);
        let mut seen = Seen::new().whole().applied();
        let mut live = seen.observed.live[&(Kind::Service, "tweets".to_owned())].clone();
        Arc::make_mut(&mut live).metadata.owner_references = None;
        seen.observed.live.insert((Kind::Service, "theirs".to_owned()), live);
        assert_eq!(kinds(&seen), [""; 0]);
    }

    #[test]
    fn leases_stay_while_masters_are_not_known() {
        let seen = Seen::new().whole().applied().deaf();
        assert_eq!(kinds(&seen), [""; 0]);
    }
}
