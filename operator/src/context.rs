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
use cairn_logic::ids::GroupId;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ObjectReference, Secret};
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
