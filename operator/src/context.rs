//! What reconciles share, and what is remembered of each cluster between two of them.
//!
//! Memory only saves work: an operator that starts with none does the same.

use crate::controller::certificates::Theirs;
use crate::controller::observed::{Observed, PlaneSeen};
use crate::controller::validate::Defaults;
use crate::events::Teller;
use crate::metrics::Metrics;
use crate::object::Kind;
use crate::plane::Plane;
use crate::store::Store;
use crate::writer::Writer;
use cairn_crd::ArchivePlace;
use cairn_logic::ids::GroupId;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolumeClaim, Secret};
use kube::{Api, Resource, ResourceExt};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A wish for a switchover is not repeated within this: the first may be under way.
const WISH_AGAIN: Duration = Duration::from_secs(5);
/// How long what was read of a Secret is used.
const SECRET_KEPT: Duration = Duration::from_secs(60);
const READ_MAX: Duration = Duration::from_secs(3);
/// Clusters whose nodes said something new, waiting for the loop; more come with the next look.
const NUDGES: usize = 256;

/// One cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a reconcile needs.
pub struct Context {
    /// Writes, while leading.
    pub writer: Writer,
    /// What Kubernetes holds.
    pub store: Arc<Store>,
    /// Posts events.
    pub teller: Teller,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// What the operator was told.
    pub defaults: Defaults,
    nudges: mpsc::Sender<Key>,
    memory: Mutex<Memory>,
}

/// A task that ends with whoever holds this.
struct Follower(JoinHandle<()>);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Default)]
struct Memory {
    planes: BTreeMap<Key, Arc<Plane>>,
    wishes: BTreeMap<(Key, GroupId), Instant>,
    passwords: BTreeMap<(String, String, String), (String, Instant)>,
    looked: BTreeMap<Key, Instant>,
    theirs: BTreeMap<(String, String), (Theirs, Instant)>,
    followers: BTreeMap<Key, Follower>,
    /// What Backups and Restores refer to and was found to be there.
    references: BTreeMap<(String, Reference), Instant>,
}

/// Keys that a Secret must have, each with how many bytes if that is fixed.
type Keys = &'static [(&'static str, Option<usize>)];

/// What a Backup or Restore refers to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reference {
    /// A Secret, and the keys that it must have.
    Secret(String, Keys),
    /// A volume claim.
    Claim(String),
}

impl Reference {
    fn of(place: &ArchivePlace) -> Vec<Self> {
        const CREDENTIALS: Keys = &[("AWS_ACCESS_KEY_ID", None), ("AWS_SECRET_ACCESS_KEY", None)];
        let secrets: [(_, Keys); 3] = [
            (&place.credentials_secret, CREDENTIALS),
            (&place.authority_secret, &[("ca.crt", None)]),
            (&place.encryption_key_secret, &[("key", Some(32))]),
        ];
        let secrets = secrets.into_iter().filter_map(|(name, keys)| Some((name.clone()?, keys)));
        let secrets = secrets.map(|(name, keys)| Self::Secret(name, keys));
        secrets.chain(place.claim.clone().map(Self::Claim)).collect()
    }
}

impl Context {
    /// Nothing remembered yet; clusters whose nodes say something new come out of the receiver.
    #[must_use]
    pub fn new(
        writer: Writer,
        store: Arc<Store>,
        teller: Teller,
        metrics: Arc<Metrics>,
        defaults: Defaults,
    ) -> (Self, mpsc::Receiver<Key>) {
        let (nudges, nudged) = mpsc::channel(NUDGES);
        let memory = Mutex::default();
        (Self { writer, store, teller, metrics, defaults, nudges, memory }, nudged)
    }

    /// Sees to it that changes of the cluster's groups bring a look at once.
    pub fn follow(&self, key: &Key, plane: &Arc<Plane>, seen: &PlaneSeen) {
        let mut memory = self.memory();
        let followed = memory.followers.get(key).is_some_and(|f| !f.0.is_finished());
        if followed || seen.directory.is_none() {
            return;
        }
        let (key, plane, seen) = (key.clone(), plane.clone(), seen.clone());
        let (of, nudges) = (key.clone(), self.nudges.clone());
        let task = tokio::spawn(async move {
            let Ok(mut changes) = plane.follow(&seen).await else { return };
            while let Ok(Some(change)) = changes.message().await {
                if !change.created {
                    nudges.try_send(of.clone()).ok();
                }
            }
        });
        memory.followers.insert(key, Follower(task));
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn now_sec(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    }

    /// Keeps `plane` with the connections of the one before it.
    pub fn keep_plane(&self, key: &Key, plane: Plane) -> Arc<Plane> {
        let mut memory = self.memory();
        if let Some(old) = memory.planes.get(key) {
            plane.adopt(old);
        }
        let plane = Arc::new(plane);
        memory.planes.insert(key.clone(), plane.clone());
        plane
    }

    /// The cluster's nodes as last looked at.
    #[must_use]
    pub fn known_plane(&self, key: &Key) -> Option<Arc<Plane>> {
        self.memory().planes.get(key).cloned()
    }

    /// Forgets a cluster that is gone.
    pub fn forget(&self, key: &Key) {
        let mut memory = self.memory();
        memory.planes.remove(key);
        memory.followers.remove(key);
        memory.looked.remove(key);
        memory.wishes.retain(|(of, _), _| of != key);
    }

    /// Whether the cluster's last look of this kind is `every` ago; notes that there is one now.
    pub fn is_due(&self, key: &Key, every: Duration) -> bool {
        let mut memory = self.memory();
        let due = memory.looked.get(key).is_none_or(|at| at.elapsed() >= every);
        if due {
            memory.looked.insert(key.clone(), Instant::now());
        }
        due
    }

    /// Whether a switchover of `group` may be wished for now; notes that it is.
    pub fn may_wish(&self, key: &Key, group: &GroupId) -> bool {
        let mut memory = self.memory();
        let now = Instant::now();
        memory.wishes.retain(|_, at| now.duration_since(*at) < WISH_AGAIN);
        let at = (key.clone(), group.clone());
        let free = !memory.wishes.contains_key(&at);
        if free {
            memory.wishes.insert(at, now);
        }
        free
    }

    /// Reads the passwords that keyspaces refer to; what cannot be read is missing, and said so.
    pub async fn read_passwords(&self, observed: &mut Observed) {
        let namespace = observed.namespace().to_owned();
        let auths = observed.keyspaces.iter().filter_map(|keyspace| keyspace.spec.auth.as_ref());
        let refs = auths.flat_map(|auth| auth.secrets());
        let refs = refs.map(|at| (at.name.clone(), at.key.clone()));
        for (name, key) in refs.collect::<Vec<_>>() {
            let at = (namespace.clone(), name.clone(), key.clone());
            let known = self.memory().passwords.get(&at).cloned();
            let fresh = known.filter(|(_, read)| read.elapsed() < SECRET_KEPT);
            let password = match fresh {
                Some((password, _)) => Some(password),
                None => self.read_password(&namespace, &name, &key).await,
            };
            if let Some(password) = password {
                let mut memory = self.memory();
                memory.passwords.entry(at).or_insert_with(|| (password.clone(), Instant::now()));
                observed.passwords.insert((name, key), password);
            }
        }
        self.memory().passwords.retain(|_, (_, read)| read.elapsed() < SECRET_KEPT);
    }

    /// Reads the certificates that people made for doors of clients; what cannot be read is
    /// missing, and said so.
    pub async fn read_certificates(&self, observed: &mut Observed) {
        let namespace = observed.namespace().to_owned();
        let keyspaces = observed.keyspaces.iter().filter_map(|k| k.spec.tls.as_ref());
        let all = keyspaces.chain(observed.cluster.spec.tls.clients.as_ref());
        let named: BTreeSet<String> = all.filter_map(|tls| tls.secret_name.clone()).collect();
        for name in named {
            let at = (namespace.clone(), name.clone());
            let known = self.memory().theirs.get(&at).cloned();
            let fresh = known.filter(|(_, read)| read.elapsed() < SECRET_KEPT);
            let theirs = match fresh {
                Some((theirs, _)) => Some(theirs),
                None => self.read_theirs(&namespace, &name).await,
            };
            if let Some(theirs) = theirs {
                let mut memory = self.memory();
                memory.theirs.entry(at).or_insert_with(|| (theirs.clone(), Instant::now()));
                observed.certificates.theirs.insert(name, theirs);
            }
        }
        self.memory().theirs.retain(|_, (_, read)| read.elapsed() < SECRET_KEPT);
    }

    /// Looks whether all is there that Backups and Restores refer to.
    pub async fn read_references(&self, observed: &mut Observed) {
        let backups = observed.backups.iter();
        let backups = backups.map(|b| ((Kind::Backup, b.name_any()), b.spec.to.clone()));
        let restores = observed.restores.iter().filter(|restore| !restore.is_finished());
        let restores =
            restores.map(|r| ((Kind::Restore, r.name_any()), r.spec.source.from.clone()));
        let namespace = observed.namespace().to_owned();
        for (id, place) in backups.chain(restores).collect::<Vec<_>>() {
            for reference in Reference::of(&place) {
                if let Some(lacking) = self.lacks(&namespace, &reference).await {
                    observed.lacking.entry(id.clone()).or_insert(lacking);
                }
            }
        }
        self.memory().references.retain(|_, at| at.elapsed() < SECRET_KEPT);
    }

    /// What is wrong with a reference, if anything is.
    async fn lacks(&self, namespace: &str, reference: &Reference) -> Option<String> {
        let at = (namespace.to_owned(), reference.clone());
        let known = self.memory().references.get(&at).copied();
        if known.is_some_and(|at| at.elapsed() < SECRET_KEPT) {
            return None;
        }
        let lacking = match reference {
            Reference::Claim(name) => {
                let api: Api<PersistentVolumeClaim> =
                    Api::namespaced(self.writer.client(), namespace);
                let found = timeout(READ_MAX, api.get_opt(name)).await;
                let there = found.is_ok_and(|found| found.is_ok_and(|claim| claim.is_some()));
                (!there).then(|| format!("there is no PersistentVolumeClaim {name}: make it"))
            }
            Reference::Secret(name, keys) => {
                let data = self.read_secret(namespace, name).await;
                wrong_in(name, keys, data.as_ref())
            }
        };
        if lacking.is_none() {
            self.memory().references.insert(at, Instant::now());
        }
        lacking
    }

    async fn read_theirs(&self, namespace: &str, name: &str) -> Option<Theirs> {
        let mut data = self.read_secret(namespace, name).await?;
        let mut text = |key: &str| String::from_utf8(data.remove(key)?.0).ok();
        text("tls.key")?;
        Some(Theirs { certificate: text("tls.crt")?, authority: text("ca.crt")? })
    }

    async fn read_secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Option<BTreeMap<String, ByteString>> {
        let api: Api<Secret> = Api::namespaced(self.writer.client(), namespace);
        timeout(READ_MAX, api.get_opt(name)).await.ok()?.ok()??.data
    }

    async fn read_password(&self, namespace: &str, name: &str, key: &str) -> Option<String> {
        let bytes = self.read_secret(namespace, name).await?.remove(key)?;
        String::from_utf8(bytes.0).ok()
    }
}

/// What a Secret that is to have `keys` has not.
fn wrong_in(
    name: &str,
    keys: &[(&str, Option<usize>)],
    data: Option<&BTreeMap<String, ByteString>>,
) -> Option<String> {
    let Some(data) = data else {
        let keys: Vec<&str> = keys.iter().map(|(key, _)| *key).collect();
        return Some(format!("there is no Secret {name}: make it, with {}", keys.join(" and ")));
    };
    keys.iter().find_map(|(key, bytes)| {
        let found = data.get(*key).map(|value| value.0.len());
        match (found, bytes) {
            (None | Some(0), _) => Some(format!("the Secret {name} has no {key}")),
            (Some(found), Some(bytes)) if found != *bytes => {
                Some(format!("{key} in the Secret {name} has {found} bytes, not exactly {bytes}"))
            }
            _ => None,
        }
    })
}

/// What an event is about.
pub fn reference<T: Resource<DynamicType = ()>>(kind: Kind, resource: &T) -> ObjectReference {
    let api = kind.api();
    ObjectReference {
        api_version: Some(api.api_version),
        kind: Some(api.kind),
        name: Some(resource.name_any()),
        namespace: resource.namespace(),
        uid: resource.uid(),
        resource_version: resource.resource_version(),
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_must_have_what_it_is_for() {
        let data = |bytes: usize| BTreeMap::from([("key".to_owned(), ByteString(vec![7; bytes]))]);
        let wrong = |data: Option<&BTreeMap<String, ByteString>>| {
            wrong_in("s", &[("key", Some(32))], data).unwrap_or_default()
        };
        assert_eq!(wrong(Some(&data(32))), "");
        assert_eq!(wrong(Some(&data(44))), "key in the Secret s has 44 bytes, not exactly 32");
        assert_eq!(wrong(Some(&BTreeMap::new())), "the Secret s has no key");
        assert_eq!(wrong(None), "there is no Secret s: make it, with key");
        assert_eq!(wrong_in("s", &[("key", None)], Some(&data(1))), None);
    }
}
