//! Calls to a cluster's own nodes: what they say, founding, wishes and hints.
//!
//! Every call is bounded; a node that does not answer is simply absent from what was seen.

use crate::controller::desired::Desired;
use crate::controller::observed::{Directory, PlaneSeen};
use crate::names;
use cairn_logic::ids::{GroupId, Incarnation, Life, NodeId};
use cairn_logic::message::Sender;
use cairn_settings::directory_keys::{
    self as keys, KeyspaceConfig, NodeInfo, PoolConfig, SlotOwners, decode_group,
};
use cairn_settings::{NodeRole, NodeSettings};
use cairn_wire::etcd::ask::{delete_if_unchanged, put_if_unchanged};
use cairn_wire::etcd::etcdserverpb as etcd;
use cairn_wire::hello::{HELLO_KEY, Secret, ShortSecret};
use cairn_wire::peer::pb;
use etcd::kv_client::KvClient;
use futures::StreamExt as _;
use futures::future::join_all;
use pb::peer_client::PeerClient;
use pb::wish_request::Body;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

const CONNECT_MAX: Duration = Duration::from_millis(500);
/// How long one node may take to say something of itself.
const STATUS_MAX: Duration = Duration::from_millis(1_000);
/// How long the directory may take.
const DIRECTORY_MAX: Duration = Duration::from_secs(2);
/// How long a node that may be gone has to show that it is not.
const PROBE_MAX: Duration = Duration::from_millis(200);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was refused, or not answered in time.
    #[error("{what}: {}", .status.message())]
    Call {
        /// Whom or what was asked.
        what: String,
        /// What came back.
        status: Box<tonic::Status>,
    },
    /// An address that is none.
    #[error("{address} is no address")]
    Address {
        /// What it is.
        address: String,
    },
    /// The certificate to show, or those to trust, are damaged.
    #[error("the certificate for peers cannot be used")]
    Certificate(#[source] tonic::transport::Error),
    /// Nobody says that it masters the global plane.
    #[error("no global node says that it is master")]
    NoMaster,
    /// Values that cannot be read.
    #[error("the directory holds what this version cannot read")]
    Decode(#[from] keys::DecodeError),
    /// Others change the same key all the time.
    #[error("{key} is changed by others")]
    Contended {
        /// Which.
        key: String,
    },
}

type Result<T> = std::result::Result<T, Error>;

#[derive(Clone, Debug)]
struct Node {
    role: NodeRole,
    peer: String,
}

/// A cluster's nodes, and the right to call them.
pub struct Plane {
    secret: Secret,
    tls: Option<Tls>,
    nodes: BTreeMap<NodeId, Node>,
    channels: Mutex<BTreeMap<String, Channel>>,
}

/// What the operator shows to nodes, and whom it trusts.
struct Tls {
    config: ClientTlsConfig,
    /// Of all of it; connections are made anew when it changes.
    digest: String,
}

impl Tls {
    /// The operator shows what global nodes show.
    fn of(desired: &Desired) -> Option<Self> {
        let secret = names::certificate(&names::global(&desired.name));
        let pair = &desired.tls.leaves.get(&secret)?.shown.as_ref()?.pair;
        let config = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&desired.tls.trusted))
            .identity(Identity::from_pem(&pair.certificate, &pair.key));
        Some(Self { config, digest: desired.tls.digest(&secret)? })
    }
}

impl Plane {
    /// The nodes of `desired`, to be called with the secret of its identity.
    ///
    /// # Errors
    /// A secret that is too short.
    pub fn new(desired: &Desired, secret: &str) -> std::result::Result<Self, ShortSecret> {
        let settings = desired.settings.values();
        let node = |s: &NodeSettings| Node { role: s.role, peer: s.advertise.peer.clone() };
        Ok(Self {
            secret: Secret::new(&desired.uid, secret.as_bytes())?,
            tls: desired.tls.peers.then(|| Tls::of(desired)).flatten(),
            nodes: settings.map(|s| (s.node.clone(), node(s))).collect(),
            channels: Mutex::default(),
        })
    }

    /// Takes over the connections of `old` to the same nodes, unless they would be made otherwise
    /// now.
    pub fn adopt(&self, old: &Self) {
        let digest = |plane: &Self| plane.tls.as_ref().map(|tls| tls.digest.clone());
        if digest(self) != digest(old) {
            return;
        }
        let old = old.channels.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = |address: &String| self.nodes.values().any(|node| node.peer == *address);
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.extend(old.into_iter().filter(|(address, _)| known(address)));
    }

    fn channel(&self, address: &str) -> Result<Channel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(address) {
            return Ok(channel.clone());
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .map_err(|_| Error::Address { address: address.to_owned() })?;
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.config.clone()).map_err(Error::Certificate)?;
        }
        let channel = endpoint
            .connect_timeout(CONNECT_MAX)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(2))
            .keep_alive_timeout(Duration::from_secs(2))
            .connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(channel)
    }

    fn request<T>(&self, message: T, target: &str, timeout: Duration) -> Request<T> {
        let operator = Sender { id: NodeId::new("cairn-operator"), incarnation: Incarnation(0) };
        let mut request = Request::new(message);
        let hello = self.secret.metadata(&operator, Life::ZERO, target);
        request.metadata_mut().insert_bin(HELLO_KEY, hello);
        request.set_timeout(timeout);
        request
    }

    fn peer(&self, node: &Node) -> Result<PeerClient<Channel>> {
        let client = PeerClient::new(self.channel(&node.peer)?);
        Ok(client.max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    async fn status(&self, id: &NodeId, node: &Node, max: Duration) -> Result<pb::StatusReply> {
        let mut peer = self.peer(node)?;
        let request = self.request(pb::StatusRequest::default(), id.as_str(), max);
        within(max, id.as_str(), peer.status(request)).await
    }

    /// Whether `node` answers now.
    pub async fn answers(&self, node: &NodeId) -> bool {
        match self.nodes.get(node) {
            Some(known) => self.status(node, known, PROBE_MAX).await.is_ok(),
            None => false,
        }
    }

    /// What all nodes say, and what the directory holds.
    pub async fn look(&self) -> PlaneSeen {
        let ask = |(id, node)| async move {
            let status = self.status(id, node, STATUS_MAX).await;
            (id.clone(), status)
        };
        let mut seen = PlaneSeen::default();
        for (id, status) in join_all(self.nodes.iter().map(ask)).await {
            match status {
                Ok(status) => drop(seen.nodes.insert(id, status)),
                Err(error) => seen.error = error.to_string(),
            }
        }
        let global = GroupId::global();
        for id in seen.nodes.keys().cloned().collect::<Vec<_>>() {
            let waiting = seen.log(&id, &global).map(|log| log.waiting.clone());
            seen.alarms.entry(global.clone()).or_default().extend(waiting.unwrap_or_default());
        }
        match self.directory(&seen).await {
            Ok(directory) => seen.directory = Some(directory),
            Err(error) => seen.error = error.to_string(),
        }
        self.ask_why(&mut seen).await;
        seen
    }

    /// The global master: who says with the greatest epoch that it is.
    fn master(&self, seen: &PlaneSeen) -> Result<&Node> {
        let global = GroupId::global();
        let says = |id: &NodeId| {
            let position = seen.log(id, &global)?.position?;
            let is_master = position.kind() == pb::PositionKind::Master;
            is_master.then_some(position.epoch)
        };
        let masters = self.nodes.keys().filter_map(|id| Some((says(id)?, id)));
        let (_, id) = masters.max().ok_or(Error::NoMaster)?;
        Ok(&self.nodes[id])
    }

    async fn directory(&self, seen: &PlaneSeen) -> Result<Directory> {
        let (prefix, end) = (keys::PREFIX.as_bytes(), after(keys::PREFIX));
        let kvs = self.range(self.master(seen)?, prefix, end).await?;
        let mut directory = Directory::default();
        for kv in kvs {
            let (key, value) = (&kv.key[..], &kv.value[..]);
            let name = String::from_utf8_lossy(key).into_owned();
            directory.revisions.insert(name, kv.mod_revision);
            if let Some(name) = keys::keyspace_of_key(key) {
                directory.keyspaces.insert(name.to_owned(), KeyspaceConfig::decode(value)?);
            } else if let Some(group) = keys::group_of_key(key) {
                let record = decode_group(value)?;
                if !record.is_retired() {
                    directory.groups.insert(group, record);
                }
            } else if let Some(name) = keys::slots_of_key(key) {
                directory.slots.insert(name.to_owned(), SlotOwners::decode(value)?);
            } else if let Some(name) = keys::pool_of_key(key) {
                directory.pools.insert(name.to_owned(), PoolConfig::decode(value)?);
            } else if let Some(drained) = keys::Drained::of_key(key) {
                directory.drains.insert(drained, keys::Drain::decode(value)?);
            } else if let Some(id) = keys::node_of_key(key) {
                directory.nodes.insert(id, NodeInfo::decode(value)?);
            } else if let Some(id) = keys::node_of_alive_key(key) {
                directory.alive.insert(id);
            }
        }
        Ok(directory)
    }

    async fn range(
        &self,
        master: &Node,
        key: &[u8],
        end: Vec<u8>,
    ) -> Result<Vec<cairn_wire::etcd::mvccpb::KeyValue>> {
        let range = etcd::RangeRequest {
            key: key.to_vec().into(),
            range_end: end.into(),
            ..etcd::RangeRequest::default()
        };
        let mut kv = self.kv(master)?;
        let call = kv.range(self.request(range, "", DIRECTORY_MAX));
        Ok(within(DIRECTORY_MAX, "the global master", call).await?.kvs)
    }

    fn kv(&self, master: &Node) -> Result<KvClient<Channel>> {
        let client = KvClient::new(self.channel(&master.peer)?);
        Ok(client.max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    /// Asks the judges of groups that do not serve what they wait for.
    async fn ask_why(&self, seen: &mut PlaneSeen) {
        let Some(directory) = &seen.directory else { return };
        let idle = directory.groups.iter().filter(|(id, record)| !seen.serves(id, record));
        let groups: Vec<GroupId> = idle.map(|(id, _)| id.clone()).take(16).collect();
        for group in groups {
            let why = Body::Why(pb::Why { group: group.to_string() });
            if let Ok(lines) = self.wish(seen, why).await {
                seen.alarms.insert(group, lines);
            }
        }
    }

    /// Makes the cluster's record; to be called until it is answered, then never again.
    ///
    /// # Errors
    /// The node is not there yet, or acceptors are missing; to be called again.
    pub async fn found(&self, first: &NodeId, request: pb::FoundRequest) -> Result<()> {
        const FOUND_MAX: Duration = Duration::from_secs(5);
        let node = self.nodes.get(first).ok_or(Error::NoMaster)?;
        let mut peer = self.peer(node)?;
        let call = peer.found(self.request(request, first.as_str(), FOUND_MAX));
        within(FOUND_MAX, first.as_str(), call).await.map(|_| ())
    }

    /// Hands a wish to the global master.
    ///
    /// # Errors
    /// There is none, or it refused.
    pub async fn wish(&self, seen: &PlaneSeen, wish: Body) -> Result<Vec<String>> {
        let mut peer = self.peer(self.master(seen)?)?;
        let request = pb::WishRequest { body: Some(wish) };
        let call = peer.wish(self.request(request, "", DIRECTORY_MAX));
        Ok(within(DIRECTORY_MAX, "the global master", call).await?.lines)
    }

    /// What changes below `/cairn/groups/` from now on, as the global master says it.
    ///
    /// # Errors
    /// There is no master, or it does not answer.
    pub async fn follow(&self, seen: &PlaneSeen) -> Result<tonic::Streaming<etcd::WatchResponse>> {
        use etcd::watch_client::WatchClient;
        use etcd::watch_request::RequestUnion;
        let create = etcd::WatchCreateRequest {
            key: keys::GROUPS.as_bytes().to_vec().into(),
            range_end: after(keys::GROUPS).into(),
            ..etcd::WatchCreateRequest::default()
        };
        let create = RequestUnion::CreateRequest(create);
        let create = etcd::WatchRequest { request_union: Some(create) };
        // The stream stays open upwards for as long as it is read downwards.
        let up = futures::stream::iter([create]).chain(futures::stream::pending());
        let mut request = self.request(up, "", DIRECTORY_MAX);
        request.metadata_mut().remove("grpc-timeout");
        let mut watch = WatchClient::new(self.channel(&self.master(seen)?.peer)?);
        within(DIRECTORY_MAX, "the global master", watch.watch(request)).await
    }

    /// Tells every global node what was seen of `node`; how many took it.
    pub async fn hint(&self, node: &NodeId, seen: &str) -> usize {
        let globals = self.nodes.iter().filter(|(_, known)| known.role == NodeRole::Global);
        let tell = |(id, known): (&NodeId, &Node)| {
            let (id, known) = (id.clone(), known.clone());
            let hint = pb::Hint { node: node.to_string(), seen: seen.to_owned() };
            async move {
                let mut peer = self.peer(&known)?;
                let request = pb::WishRequest { body: Some(Body::Hint(hint)) };
                let call = peer.wish(self.request(request, id.as_str(), PROBE_MAX * 2));
                within(PROBE_MAX * 2, id.as_str(), call).await
            }
        };
        let answers = join_all(globals.filter(|(id, _)| *id != node).map(tell)).await;
        answers.iter().filter(|answer| answer.is_ok()).count()
    }

    /// Makes `key` hold `value`; whether that was a change.
    ///
    /// # Errors
    /// The master does not answer, or others change the key all the time.
    pub async fn set(&self, seen: &PlaneSeen, key: &str, value: &[u8]) -> Result<bool> {
        let master = self.master(seen)?;
        for _ in 0..5 {
            let old = self.range(master, key.as_bytes(), Vec::new()).await?;
            if old.first().is_some_and(|kv| kv.value == value) {
                return Ok(false);
            }
            let changed_at = old.first().map_or(0, |kv| kv.mod_revision);
            let mut kv = self.kv(master)?;
            let txn = put_if_unchanged(key, value, changed_at);
            let call = kv.txn(self.request(txn, "", DIRECTORY_MAX));
            if within(DIRECTORY_MAX, "the global master", call).await?.succeeded {
                return Ok(true);
            }
        }
        Err(Error::Contended { key: key.to_owned() })
    }

    /// Puts `value` if `key` has not changed since it was seen; whether it did.
    ///
    /// # Errors
    /// The master does not answer.
    pub async fn swap(&self, seen: &PlaneSeen, key: &str, value: &[u8]) -> Result<bool> {
        let revisions = seen.directory.as_ref().map(|directory| &directory.revisions);
        let changed_at = revisions.and_then(|it| it.get(key)).copied().unwrap_or(0);
        let mut kv = self.kv(self.master(seen)?)?;
        let txn = put_if_unchanged(key, value, changed_at);
        let call = kv.txn(self.request(txn, "", DIRECTORY_MAX));
        Ok(within(DIRECTORY_MAX, "the global master", call).await?.succeeded)
    }

    /// Deletes `keys`, all of them if none changed since the revision beside it, else none; whether
    /// it did.
    ///
    /// # Errors
    /// The master does not answer.
    pub async fn forget(&self, seen: &PlaneSeen, keys: &[(String, i64)]) -> Result<bool> {
        let mut kv = self.kv(self.master(seen)?)?;
        let call = kv.txn(self.request(delete_if_unchanged(keys), "", DIRECTORY_MAX));
        Ok(within(DIRECTORY_MAX, "the global master", call).await?.succeeded)
    }
}

/// The first key after all that begin with `prefix`, which ends in a slash.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Bounds a call here, whatever the other side does.
async fn within<T>(
    max: Duration,
    what: &str,
    call: impl Future<Output = std::result::Result<tonic::Response<T>, tonic::Status>>,
) -> Result<T> {
    let answer = tokio::time::timeout(max, call).await;
    let late = |_| tonic::Status::deadline_exceeded("no answer in time");
    let answer = answer.map_err(late).and_then(|answer| answer);
    answer
        .map(tonic::Response::into_inner)
        .map_err(|status| Error::Call { what: what.to_owned(), status: Box::new(status) })
}
