//! Names and labels of everything the operator makes.
//!
//! Names of Clusters and Keyspaces have at most 40 characters (a rule of the CRDs), so that what is
//! appended here and by Kubernetes stays below its limits.

use std::collections::BTreeMap;

/// Who writes: the field manager of every apply, and the label of everything made.
pub const MANAGER: &str = "cairn-operator";
/// Whose an object is: the Cluster's name.
pub const CLUSTER: &str = "cairn.dev/cluster";
/// The Keyspace's name.
pub const KEYSPACE: &str = "cairn.dev/keyspace";
/// The Group's name.
pub const GROUP: &str = "cairn.dev/group";
/// On what is made for a Backup: its name.
pub const BACKUP: &str = "cairn.dev/backup";
/// On what is made for a Restore: its name.
pub const RESTORE: &str = "cairn.dev/restore";
/// On the pod of a spare that is claimed: the group, beside [`KEYSPACE`]. Not [`GROUP`]: by that go
/// a group's StatefulSet, its budget and how its own pods are spread, of which a spare is no part.
pub const SERVES: &str = "cairn.dev/serves";
/// On what is made for a SparePool: its name.
pub const POOL: &str = "cairn.dev/pool";
/// On pods that have an archive on a volume: the name of its claim.
pub const CLAIM: &str = "cairn.dev/claim";
/// `global`, `acceptor`, `checkpoint` or `data` on pods of nodes; [`ARCHIVE`] or [`RESTORES`] on
/// others.
pub const ROLE: &str = "cairn.dev/role";
/// On pods of all but data nodes: those that must be on machines of their own.
pub const PLANE: &str = "cairn.dev/plane";
/// Who made an object, by the recommended label.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// On pods: the hash of the template they were made from.
pub const TEMPLATE: &str = "cairn.dev/template";
/// On everything made: the hash of what was applied.
pub const APPLIED: &str = "cairn.dev/applied";
/// On the identity Secret: the founding call was answered.
pub const FOUNDED: &str = "cairn.dev/founded";
/// On Secrets with certificates: a digest of the names in them and of who signed.
pub const CERTIFICATE: &str = "cairn.dev/certificate";
/// In the identity Secret, under the key `peers`: processes speak mutual TLS among themselves.
pub const PEERS_TLS: &str = "tls";
/// On volume claims: the uid of the cluster whose data they hold.
pub const CLUSTER_UID: &str = "cairn.dev/cluster-uid";

/// The role of pods that send a keyspace to its archive.
pub const ARCHIVE: &str = "archive";
/// The role of pods that write what is in an archive into a keyspace.
pub const RESTORES: &str = "restore";

/// The selector of everything the operator made, wherever it is.
pub const SELECTOR: &str = "app.kubernetes.io/managed-by=cairn-operator";

/// The StatefulSet, headless Service and Lease of a cluster's global nodes.
#[must_use]
pub fn global(cluster: &str) -> String {
    format!("{cluster}-global")
}

/// The StatefulSet and headless Service of a cluster's third acceptor.
#[must_use]
pub fn acceptor(cluster: &str) -> String {
    format!("{cluster}-acceptor")
}

/// The StatefulSet and headless Service of a cluster's checkpoint nodes.
#[must_use]
pub fn checkpoint(cluster: &str) -> String {
    format!("{cluster}-checkpoint")
}

/// The StatefulSets of all of a cluster's nodes but data nodes.
#[must_use]
pub fn plane(cluster: &str) -> [String; 3] {
    [global(cluster), acceptor(cluster), checkpoint(cluster)]
}

/// The Service for etcd clients.
#[must_use]
pub fn etcd(cluster: &str) -> String {
    format!("{cluster}-etcd")
}

/// The Secret with the cluster's uid and secret.
#[must_use]
pub fn identity(cluster: &str) -> String {
    format!("{cluster}-identity")
}

/// The Secret with the authority that signs a cluster's certificates, and the ConfigMap with the
/// certificates of all authorities that its nodes trust.
#[must_use]
pub fn authority(cluster: &str) -> String {
    format!("{cluster}-ca")
}

/// The Secret with the certificate of the pods behind a headless Service.
#[must_use]
pub fn certificate(service: &str) -> String {
    format!("{service}-tls")
}

/// The ServiceAccount of a cluster's or keyspace's pods; it has no rights.
#[must_use]
pub fn account(owner: &str) -> String {
    format!("{owner}-node")
}

/// The headless Service of a keyspace's nodes.
#[must_use]
pub fn nodes(keyspace: &str) -> String {
    format!("{keyspace}-nodes")
}

/// The Deployment of a Backup, and the ConfigMap with whom it calls.
#[must_use]
pub fn archive(backup: &str) -> String {
    format!("{backup}-archive")
}

/// The Job of a Restore, and the ConfigMap with whom it calls.
#[must_use]
pub fn restore(restore: &str) -> String {
    format!("{restore}-restore")
}

/// The StatefulSet, headless Service and all else of a pool of spares.
#[must_use]
pub fn spares(pool: &str) -> String {
    cairn_topology::spare_set(pool)
}

/// The claim of the volume of a StatefulSet's pod.
#[must_use]
pub fn claim(pod: &str) -> String {
    format!("data-{pod}")
}

/// The ordinal at the end of a pod's name.
#[must_use]
pub fn ordinal(pod: &str) -> Option<i32> {
    pod.rsplit_once('-')?.1.parse().ok()
}

/// Where a pod is found: a full name, so that the resolver asks once.
#[must_use]
pub fn host(pod: &str, service: &str, namespace: &str, domain: &str) -> String {
    format!("{pod}.{service}.{namespace}.svc.{domain}")
}

/// The labels of everything that belongs to `cluster`.
#[must_use]
pub fn labels(cluster: &str, role: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "cairn"),
        ("app.kubernetes.io/instance", cluster),
        ("app.kubernetes.io/component", role),
        (MANAGED_BY, MANAGER),
        (CLUSTER, cluster),
        (ROLE, role),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// `labels` and one more.
#[must_use]
pub fn with(
    mut labels: BTreeMap<String, String>,
    key: &str,
    value: &str,
) -> BTreeMap<String, String> {
    labels.insert(key.to_owned(), value.to_owned());
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_leave_room_for_what_kubernetes_appends() {
        let longest = "a".repeat(40);
        // A StatefulSet's revision label is its name and eleven characters.
        assert!(acceptor(&longest).len() + 11 <= 63);
        assert!(checkpoint(&longest).len() + 11 <= 63);
        assert!(format!("{longest}-1023").len() + 11 <= 63);
        assert!(nodes(&longest).len() <= 63);
        assert!(etcd(&longest).len() <= 63);
        assert!(spares(&longest).len() + 11 <= 63);
        // The name of a Job is a label, too.
        assert!(archive(&longest).len() <= 63 && restore(&longest).len() <= 63);
        // The common name of a certificate.
        assert!(nodes(&longest).len() <= 64 && acceptor(&longest).len() <= 64);
    }

    #[test]
    fn an_ordinal_is_the_number_at_the_end() {
        assert_eq!(ordinal("tweets-0-12"), Some(12));
        assert_eq!(ordinal("tweets"), None);
    }
}
