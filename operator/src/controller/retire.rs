//! What the directory is to forget: keyspaces that are gone, resource, pods and volumes.
//!
//! While a volume is kept, its keyspace stays known, and comes back with its data if somebody
//! makes the resource again. Without volumes nothing can come back, and what the directory still
//! says of it would be in the way of a new keyspace of that name.

use super::observed::{Directory, Observed};
use cairn_settings::directory_keys::{self as keys, Claim, keyspace_of};
use kube::ResourceExt;
use std::collections::BTreeSet;

/// Keys that are to be deleted, each with the revision at which it was seen; the rest follows when
/// these are gone.
#[must_use]
pub fn retired(observed: &Observed) -> Vec<(String, i64)> {
    /// A directory refuses much larger transactions.
    const AT_ONCE_MAX: usize = 64;
    let Some(directory) = &observed.plane.directory else { return Vec::new() };
    let known: BTreeSet<&str> = known(directory).collect();
    let gone = known.into_iter().filter(|keyspace| is_gone(observed, keyspace));
    let found = gone.flat_map(|keyspace| keys_of(directory, keyspace));
    let found = found.chain(super::pools::retired(observed, directory));
    found.take(AT_ONCE_MAX).collect()
}

fn known(directory: &Directory) -> impl Iterator<Item = &str> {
    let named = directory.keyspaces.keys().chain(directory.slots.keys());
    named.map(String::as_str).chain(directory.groups.keys().filter_map(keyspace_of))
}

/// Neither a resource nor a pod nor a volume of it is left.
fn is_gone(observed: &Observed, keyspace: &str) -> bool {
    // Pods are `<keyspace>-<group>-<node>`; claims have the volume's name before that.
    let is_of = |node: &str| {
        let group = node.rsplit_once('-').map(|(group, _)| group);
        // `<pool>-spare-<node>` is no pod of a keyspace that is called as the pool.
        let parts = group.and_then(|group| group.rsplit_once('-'));
        parts.is_some_and(|(name, index)| name == keyspace && index.parse::<u16>().is_ok())
    };
    let is_claim_of =
        |claim: &String| claim.split_once('-').is_some_and(|(_volume, pod)| is_of(pod));
    !observed.keyspaces.iter().any(|resource| resource.name_any() == keyspace)
        && !observed.pods.keys().any(|pod| is_of(pod))
        && !observed.claims.keys().any(is_claim_of)
}

/// What the directory holds of it, the keyspace itself first, so that nobody plans for the rest.
fn keys_of(directory: &Directory, keyspace: &str) -> Vec<(String, i64)> {
    let groups = directory.groups.keys().filter(|group| keyspace_of(group) == Some(keyspace));
    let nodes = directory.nodes.iter().filter(|(_, info)| match &info.claim {
        // A spare goes back to its pool: the planner sees to that.
        _ if info.preferred_keyspace.is_none() => false,
        Claim::Claimed { group, .. } => keyspace_of(group) == Some(keyspace),
        Claim::Idle | Claim::Releasing { .. } => {
            info.preferred_keyspace.as_deref() == Some(keyspace)
        }
    });
    let first = [
        keys::keyspace_key(keyspace),
        keys::slots_key(keyspace),
        keys::moves_key(keyspace),
        keys::users_key(keyspace),
    ];
    let all = first.into_iter().chain(groups.map(keys::group_key));
    let all = all.chain(nodes.map(|(id, _)| keys::node_key(id)));
    all.filter_map(|key| directory.revisions.get(&key).map(|seen| (key, *seen))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seen;

    fn seen() -> Observed {
        let mut observed = Seen::new().whole().observed;
        let directory = observed.plane.directory.as_mut().unwrap();
        let keys = [
            "keyspaces/tweets",
            "slots/tweets",
            "moves/tweets",
            "users/tweets",
            "groups/tweets-0",
            "nodes/tweets-0-0",
        ];
        for (at, key) in (10..).zip(keys) {
            directory.revisions.insert(format!("/cairn/{key}"), at);
        }
        directory.revisions.insert("/cairn/groups/tweets-b-0".to_owned(), 20);
        observed
    }

    #[test]
    fn nothing_is_forgotten_while_a_resource_a_pod_or_a_volume_is_there() {
        let mut observed = seen();
        assert_eq!(retired(&observed), []);
        observed.keyspaces.clear();
        assert_eq!(retired(&observed), [], "pods are there");
        observed.pods.retain(|pod, _| !pod.starts_with("tweets"));
        observed.claims.insert("data-tweets-0-2".to_owned(), Default::default());
        assert_eq!(retired(&observed), [], "a volume is there");
    }

    #[test]
    fn without_them_all_that_is_known_of_it_goes_and_nothing_else() {
        let mut observed = seen();
        observed.keyspaces.clear();
        observed.pods.retain(|pod, _| !pod.starts_with("tweets"));
        observed.claims.clear();
        observed.claims.insert("data-tweets-b-0-0".to_owned(), Default::default());
        let keys: Vec<String> = retired(&observed).into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys[..5],
            [
                "/cairn/keyspaces/tweets",
                "/cairn/slots/tweets",
                "/cairn/moves/tweets",
                "/cairn/users/tweets",
                "/cairn/groups/tweets-0"
            ]
        );
        assert!(!keys.iter().any(|key| key.contains("tweets-b")));
        observed.plane.directory = None;
        assert_eq!(retired(&observed), [], "the truth is not known");
    }
}
