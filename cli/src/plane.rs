//! Calls to a cluster's nodes: who is master, what the directory holds, what nodes say.

use crate::folder::{ClusterState, Folder, LocalNode, Roster};
use crate::kubernetes::Forward;
use anyhow::{Context, Result, bail};
use cairn_logic::ids::{Incarnation, Life, NodeId};
use cairn_logic::message::Sender;
use cairn_settings::Port;
use cairn_wire::etcd::ask::{delete_if_unchanged, put_if_unchanged};
use cairn_wire::etcd::etcdserverpb as etcd;
use cairn_wire::hello::{HELLO_KEY, Secret};
use cairn_wire::peer::pb;
use etcd::kv_client::KvClient;
use pb::peer_client::PeerClient;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::Request;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The way through an API server is longer.
const FORWARD_TIMEOUT: Duration = Duration::from_secs(3);
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a digest of all data of a node may take.
const DIGEST_TIMEOUT: Duration = Duration::from_secs(120);
/// The arbiter gives up after five seconds by itself.
const ARBITER_TIMEOUT: Duration = Duration::from_secs(8);
/// The largest answer that is read, in bytes.
const ANSWER_BYTES_MAX: usize = (64 << 20) + (1 << 20);

/// Between two chunks of a snapshot: a slow sender still sends several in a second.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);

/// A snapshot on its way from a node.
pub struct Chunks {
    node: NodeId,
    stream: tonic::Streaming<pb::SnapshotChunk>,
}

impl Chunks {
    /// The next chunk, or none after the last.
    pub async fn next(&mut self) -> Result<Option<pb::SnapshotChunk>> {
        let node = &self.node;
        let next = tokio::time::timeout(CHUNK_TIMEOUT, self.stream.message()).await;
        let next = next.with_context(|| format!("{node} sends nothing more"))?;
        next.map_err(|status| {
            anyhow::anyhow!("{node} broke off with {:?}: {}", status.code(), status.message())
        })
    }
}

/// A value of the directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision of its last change.
    pub mod_revision: i64,
}

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A cluster's nodes, a way to them, and the right to call them.
pub struct Plane {
    secret: Secret,
    nodes: Vec<LocalNode>,
    /// Through the API server; without it nodes are called directly.
    forward: Option<Forward>,
    /// What to show and whom to trust, where peers speak TLS.
    tls: Option<ClientTlsConfig>,
}

impl Plane {
    /// The cluster in `folder`.
    pub fn of(folder: &Folder, state: &ClusterState) -> Result<Self> {
        let path = folder.secret();
        let text =
            std::fs::read(&path).with_context(|| format!("cannot read the secret {path:?}"))?;
        let secret = Secret::new(&state.uid, &text)
            .with_context(|| format!("the secret in {path:?} is damaged"))?;
        Ok(Self { secret, nodes: state.nodes.clone(), forward: None, tls: None })
    }

    /// The cluster of `roster`, whose nodes are pods that speak TLS if there is `tls`.
    pub fn of_pods(
        roster: &Roster,
        secret: &[u8],
        tls: Option<ClientTlsConfig>,
        forward: Forward,
    ) -> Result<Self> {
        let secret = Secret::new(&roster.uid, secret)
            .with_context(|| format!("the secret of cluster {} is damaged", roster.name))?;
        Ok(Self { secret, nodes: roster.nodes.clone(), forward: Some(forward), tls })
    }

    /// The cluster that a file tells of.
    pub fn of_roster(file: &cairn_settings::Roster) -> Result<Self> {
        let read = |path: &std::path::Path| {
            std::fs::read(path).with_context(|| format!("cannot read {path:?}"))
        };
        let secret = Secret::new(&file.uid, &read(&file.secret_file)?)
            .with_context(|| format!("the secret in {:?} is damaged", file.secret_file))?;
        let tls = match &file.tls {
            None => None,
            Some(files) => Some(
                ClientTlsConfig::new()
                    .ca_certificate(Certificate::from_pem(read(&files.authority)?))
                    .identity(Identity::from_pem(read(&files.certificate)?, read(&files.key)?)),
            ),
        };
        let nodes = Roster::from(file.clone()).nodes;
        Ok(Self { secret, nodes, forward: None, tls })
    }

    /// A connection to one door of `node`.
    pub async fn connect(&self, node: &LocalNode, port: Port) -> Result<Box<dyn Duplex>> {
        let reached: Result<Box<dyn Duplex>, std::io::Error> = match &self.forward {
            None => {
                let connecting = tokio::net::TcpStream::connect(node.address(port));
                let connected = tokio::time::timeout(FORWARD_TIMEOUT, connecting).await;
                connected.unwrap_or_else(|late| Err(late.into())).map(|stream| {
                    // Slower without, and right all the same.
                    stream.set_nodelay(true).ok();
                    Box::new(stream) as Box<dyn Duplex>
                })
            }
            Some(forward) => {
                let mut connector = forward.connector(node.id.as_str(), node.port(port));
                let called = tower_service::Service::call(&mut connector, Uri::default()).await;
                called.map(|stream| Box::new(stream.into_inner()) as Box<dyn Duplex>)
            }
        };
        reached.with_context(|| format!("cannot reach {}", node.id))
    }

    /// All its nodes.
    pub fn nodes(&self) -> &[LocalNode] {
        &self.nodes
    }

    async fn channel(&self, node: &LocalNode) -> Result<Channel> {
        let address = node.address(Port::Peer);
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut endpoint = Endpoint::from_shared(format!("{scheme}://{address}"))
            .with_context(|| format!("{address} is no address"))?;
        if let Some(tls) = &self.tls {
            let used = endpoint.tls_config(tls.clone());
            endpoint = used.context("the cluster's certificate cannot be used")?;
        }
        let channel = match &self.forward {
            None => endpoint.connect_timeout(CONNECT_TIMEOUT).connect().await,
            Some(forward) => {
                let connector = forward.connector(node.id.as_str(), node.port(Port::Peer));
                let endpoint = endpoint.connect_timeout(FORWARD_TIMEOUT);
                endpoint.connect_with_connector(connector).await
            }
        };
        channel.map_err(|error| anyhow::anyhow!("cannot reach {}: {}", node.id, root(&error)))
    }

    /// A request with proof of the secret, for the node `target` or for whoever answers (empty).
    pub fn request<T>(&self, message: T, target: &str, timeout: Duration) -> Request<T> {
        let mut request = self.stream_request(message, target);
        request.set_timeout(timeout);
        request
    }

    /// The same for an answer that may take any time; the caller looks that it goes on.
    pub fn stream_request<T>(&self, message: T, target: &str) -> Request<T> {
        let tool = Sender { id: NodeId::new("cairn"), incarnation: Incarnation(0) };
        let mut request = Request::new(message);
        let hello = self.secret.metadata(&tool, Life::ZERO, target);
        request.metadata_mut().insert_bin(HELLO_KEY, hello);
        request
    }

    /// The peer service of `node`.
    pub async fn peer(&self, node: &LocalNode) -> Result<PeerClient<Channel>> {
        let client = PeerClient::new(self.channel(node).await?);
        Ok(client.max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    /// What `node` says of itself.
    pub async fn status(&self, node: &LocalNode) -> Result<pb::StatusReply> {
        self.status_within(node, CALL_TIMEOUT, pb::StatusRequest::default()).await
    }

    /// The same with the digest of all data, which takes the node some time.
    pub async fn status_with_digest(&self, node: &LocalNode) -> Result<pb::StatusReply> {
        self.status_within(node, DIGEST_TIMEOUT, pb::StatusRequest { digest: true }).await
    }

    async fn status_within(
        &self,
        node: &LocalNode,
        timeout: Duration,
        wanted: pb::StatusRequest,
    ) -> Result<pb::StatusReply> {
        let mut peer = self.peer(node).await?;
        let request = self.request(wanted, node.id.as_str(), timeout);
        told(peer.status(request).await, node.id.as_str())
    }

    /// Makes the cluster's record; to be called until it is answered, then never again.
    pub async fn found(
        &self,
        node: &LocalNode,
        request: pb::FoundRequest,
        timeout: Duration,
    ) -> Result<pb::FoundReply> {
        let mut peer = self.peer(node).await?;
        let request = self.request(request, node.id.as_str(), timeout);
        told(peer.found(request).await, node.id.as_str())
    }

    /// What the data node `node` knows of the directory.
    pub async fn known(&self, node: &LocalNode) -> Result<pb::KnownReply> {
        let mut peer = self.peer(node).await?;
        let request = self.request(pb::KnownRequest {}, node.id.as_str(), ARBITER_TIMEOUT);
        told(peer.known(request).await, node.id.as_str())
    }

    /// Has `node` begin the directory with these parts; each of them is bounded in time there.
    pub async fn rebuild(
        &self,
        node: &LocalNode,
        parts: impl futures::Stream<Item = pb::RebuildPart> + Send + 'static,
    ) -> Result<Vec<String>> {
        let mut peer = self.peer(node).await?;
        let reply = peer.rebuild(self.stream_request(parts, node.id.as_str())).await;
        Ok(told(reply, node.id.as_str())?.lines)
    }

    /// The snapshots of `log` that `node` offers, newest first.
    pub async fn snapshots(&self, node: &LocalNode, log: &str) -> Result<Vec<pb::SnapshotFacts>> {
        let mut peer = self.peer(node).await?;
        let asked = pb::SnapshotsRequest { group: log.to_owned() };
        let request = self.request(asked, node.id.as_str(), CALL_TIMEOUT);
        Ok(told(peer.snapshots(request).await, node.id.as_str())?.snapshots)
    }

    /// The bytes of a snapshot that `node` offers, from `position` on.
    pub async fn fetch(
        &self,
        node: &NodeId,
        log: &str,
        facts: &pb::SnapshotFacts,
        position: u64,
    ) -> Result<Chunks> {
        let mut peer = self.peer(self.named(node.as_str())?).await?;
        let (group, name, bytes) = (log.to_owned(), facts.name.clone(), facts.bytes);
        let asked = pb::FetchRequest { group, name, bytes, position };
        // How long it takes is known to nobody; each chunk has its own bound.
        let request = self.stream_request(asked, node.as_str());
        let begun = tokio::time::timeout(CHUNK_TIMEOUT, peer.fetch_snapshot(request)).await;
        let begun = begun.with_context(|| format!("{node} does not begin to send"))?;
        Ok(Chunks { node: node.clone(), stream: told(begun, node.as_str())? })
    }

    /// The global master that serves, by the greatest epoch any node knows.
    pub async fn master(&self) -> Result<&LocalNode> {
        let mut best: Option<pb::WhereReply> = None;
        let mut last_error = None;
        for node in self.nodes.iter().filter(|n| n.role == cairn_settings::NodeRole::Global) {
            match self.where_is(node).await {
                Ok(reply) if best.as_ref().is_none_or(|b| rank(&reply) > rank(b)) => {
                    best = Some(reply);
                }
                Ok(_) => {}
                Err(error) => last_error = Some(error),
            }
        }
        match (best, last_error) {
            (Some(best), _) if !best.master.is_empty() => self.named(&best.master),
            (Some(_), _) => bail!("no global node is master yet"),
            (None, Some(error)) => Err(error.context("no global node answers")),
            (None, None) => bail!("the cluster has no global nodes"),
        }
    }

    async fn where_is(&self, node: &LocalNode) -> Result<pb::WhereReply> {
        let mut peer = self.peer(node).await?;
        let request = self.request(pb::WhereRequest {}, node.id.as_str(), CALL_TIMEOUT);
        told(peer.r#where(request).await, node.id.as_str())
    }

    fn named(&self, master: &str) -> Result<&LocalNode> {
        let known = self.nodes.iter().find(|n| n.id.as_str() == master);
        known.with_context(|| format!("{master} is no node of this cluster"))
    }

    /// Hands a wish to the global master; the answer's lines say what came of it.
    pub async fn wish(&self, wish: pb::wish_request::Body) -> Result<Vec<String>> {
        Ok(self.wish_told(wish).await?.lines)
    }

    /// The same with all of the answer.
    pub async fn wish_told(&self, wish: pb::wish_request::Body) -> Result<pb::WishReply> {
        let mut peer = self.peer(self.master().await?).await?;
        let request = pb::WishRequest { body: Some(wish) };
        let reply = peer.wish(self.request(request, "", CALL_TIMEOUT)).await;
        told(reply, "the global master")
    }

    /// Hands a wish to one node, whoever masters.
    pub async fn wish_at(&self, node: &str, wish: pb::wish_request::Body) -> Result<Vec<String>> {
        self.wish_within(node, wish, ARBITER_TIMEOUT).await
    }

    /// The same, where the answer takes longer.
    pub async fn wish_within(
        &self,
        node: &str,
        wish: pb::wish_request::Body,
        timeout: Duration,
    ) -> Result<Vec<String>> {
        let mut peer = self.peer(self.named(node)?).await?;
        let request = pb::WishRequest { body: Some(wish) };
        let reply = peer.wish(self.request(request, node, timeout)).await;
        Ok(told(reply, node)?.lines)
    }

    async fn kv(&self) -> Result<KvClient<Channel>> {
        let client = KvClient::new(self.channel(self.master().await?).await?);
        Ok(client.max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    /// All values whose keys begin with `prefix`, at one revision.
    pub async fn prefix(&self, prefix: &str) -> Result<Vec<Entry>> {
        let mut end = prefix.as_bytes().to_vec();
        // Prefixes end in a slash, so the last byte can be raised.
        *end.last_mut().context("a prefix is not empty")? += 1;
        self.range(prefix.as_bytes(), end).await
    }

    async fn range(&self, key: &[u8], end: Vec<u8>) -> Result<Vec<Entry>> {
        let range = etcd::RangeRequest {
            key: key.to_vec().into(),
            range_end: end.into(),
            ..etcd::RangeRequest::default()
        };
        let reply = self.kv().await?.range(self.request(range, "", CALL_TIMEOUT)).await;
        let kvs = told(reply, "the global master")?.kvs;
        let entry = |kv: cairn_wire::etcd::mvccpb::KeyValue| Entry {
            key: kv.key.to_vec(),
            value: kv.value.to_vec(),
            mod_revision: kv.mod_revision,
        };
        Ok(kvs.into_iter().map(entry).collect())
    }

    /// Makes `key` hold `value`; returns whether that was a change.
    pub async fn set(&self, key: &str, value: &[u8]) -> Result<bool> {
        self.change(key, |_| Ok(value.to_vec())).await
    }

    /// Makes `key` hold what follows from what it holds; returns whether that was a change.
    pub async fn change(
        &self,
        key: &str,
        mut follows: impl FnMut(Option<&[u8]>) -> Result<Vec<u8>>,
    ) -> Result<bool> {
        self.swap(key, |old| follows(old).map(Some)).await
    }

    /// Deletes `key`; whether it was there.
    pub async fn forget(&self, key: &str) -> Result<bool> {
        self.swap(key, |_| Ok(None)).await
    }

    /// As [`Plane::change`]; without a value the key is deleted.
    async fn swap(
        &self,
        key: &str,
        mut follows: impl FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>>,
    ) -> Result<bool> {
        for _ in 0..10 {
            let old = self.range(key.as_bytes(), Vec::new()).await?;
            let old = old.first();
            let next = follows(old.map(|e| &e.value[..]))?;
            if old.map(|e| &e.value[..]) == next.as_deref() {
                return Ok(false);
            }
            let seen = old.map_or(0, |e| e.mod_revision);
            let txn = match next {
                Some(value) => put_if_unchanged(key, &value, seen),
                None => delete_if_unchanged(&[(key.to_owned(), seen)]),
            };
            let reply = self.kv().await?.txn(self.request(txn, "", CALL_TIMEOUT)).await;
            if told(reply, "the global master")?.succeeded {
                return Ok(true);
            }
        }
        bail!("{key} is changed by others all the time")
    }
}

/// The last cause: each one above it says the same in other words.
fn root(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn rank(reply: &pb::WhereReply) -> (u64, bool) {
    (reply.epoch, reply.serving)
}

fn told<T>(reply: Result<tonic::Response<T>, tonic::Status>, who: &str) -> Result<T> {
    match reply {
        Ok(reply) => Ok(reply.into_inner()),
        Err(status) => bail!("{who} answered {:?}: {}", status.code(), status.message()),
    }
}
