//! One session with one global master: registration, lease, watch, line, compare-and-swaps.

use super::{Ask, Follow, Heard};
use crate::peer::client::{self, SayHello};
use cairn_global::Changed;
use cairn_global::moving::Swap;
use cairn_logic::ids::{GroupId, Version};
use cairn_logic::record::{Member, Record};
use cairn_logic::time::Duration;
use cairn_settings::directory_keys as keys;
use cairn_wire::etcd::etcdserverpb as etcd;
use cairn_wire::etcd::mvccpb;
use cairn_wire::peer::pb;
use etcd::kv_client::KvClient;
use etcd::lease_client::LeaseClient;
use etcd::watch_client::WatchClient;
use futures::FutureExt;
use futures::future::{Fuse, FusedFuture};
use keys::{Alive, Claim, NodeInfo};
use std::fmt;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

pub(super) type Hello = InterceptedService<Channel, SayHello>;

/// Messages that may wait to go up the line.
const UP_QUEUE: usize = 64;
/// Tries of a registration that others change meanwhile.
const REGISTER_TRIES: usize = 5;

/// Why a session ended.
#[derive(Debug)]
pub(super) enum Ended {
    Transport(tonic::transport::Error),
    Call(Box<tonic::Status>),
    Closed(&'static str),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transport(error) => write!(f, "connection failed: {error}"),
            Self::Call(status) => write!(f, "call failed: {status}"),
            Self::Closed(what) => write!(f, "{what} was closed"),
        }
    }
}

impl From<tonic::Status> for Ended {
    fn from(status: tonic::Status) -> Self {
        Self::Call(Box::new(status))
    }
}

pub(super) struct Session<'f> {
    follow: &'f Follow,
    pub(super) kv: KvClient<Hello>,
    heard: &'f mpsc::Sender<Heard>,
    up: mpsc::Sender<pb::Up>,
    lease: i64,
}

/// Returns when any part of the session breaks.
pub(super) async fn run(
    follow: &Follow,
    master: &str,
    address: &str,
    asks: &mut mpsc::Receiver<Ask>,
    heard: &mpsc::Sender<Heard>,
) -> Ended {
    match session(follow, master, address, asks, heard).await {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

enum Never {}

async fn session(
    follow: &Follow,
    master: &str,
    address: &str,
    asks: &mut mpsc::Receiver<Ask>,
    heard: &mpsc::Sender<Heard>,
) -> Result<Never, Ended> {
    let channel = client::channel(&follow.identity, address).await.map_err(Ended::Transport)?;
    let hello = SayHello::new(&follow.identity, master);
    let (up, ups) = mpsc::channel(UP_QUEUE);
    let mut peer = client::client(&follow.identity, master, channel.clone());
    let mut downs = peer.control(ReceiverStream::new(ups)).await?.into_inner();
    let kv = KvClient::with_interceptor(channel.clone(), hello.clone())
        .max_decoding_message_size(crate::peer::MESSAGE_BYTES_MAX);
    let mut session = Session { follow, kv, heard, up, lease: 0 };

    let mut leases = LeaseClient::with_interceptor(channel.clone(), hello.clone());
    let ttl = i64::try_from(follow.lease.as_secs().max(1)).unwrap_or(i64::MAX);
    session.lease = leases.lease_grant(etcd::LeaseGrantRequest { ttl, id: 0 }).await?.get_ref().id;
    session.register().await?;
    let revision = session.read_all().await?;

    let watch = WatchClient::with_interceptor(channel.clone(), hello)
        .max_decoding_message_size(crate::peer::MESSAGE_BYTES_MAX);
    let (_watch_requests, mut watched) = open_watch(watch, revision + 1).await?;
    let (beats, beat_queue) = mpsc::channel(2);
    let keepalive = leases.lease_keep_alive(ReceiverStream::new(beat_queue));
    let mut kept = keepalive.await?.into_inner();
    let mut beat = tokio::time::interval(follow.lease / 4);
    let mut answered = tokio::time::Instant::now();
    let mut probe = std::pin::pin!(Fuse::terminated());
    let mut zone = follow.zone.clone();
    loop {
        tokio::select! {
            down = downs.next() => {
                let down = down.ok_or(Ended::Closed("the line"))??;
                session.tell(Heard::Down(down)).await?;
            }
            events = watched.next() => {
                session.events(events.ok_or(Ended::Closed("the watch"))??).await?;
            }
            ask = asks.recv() => match ask.ok_or(Ended::Closed("control"))? {
                Ask::Suspect(patience) if probe.is_terminated() => {
                    probe.set(answers(peer.clone(), patience).fuse());
                }
                ask => session.ask(ask).await?,
            },
            there = &mut probe => {
                if !there {
                    return Err(Ended::Closed("a global master that does not answer"));
                }
            }
            kept = kept.next() => {
                let kept = kept.ok_or(Ended::Closed("the lease"))??;
                if kept.ttl <= 0 {
                    return Err(Ended::Closed("the node lease"));
                }
                answered = tokio::time::Instant::now();
            }
            // Nobody says it any more only when the process ends.
            Ok(()) = zone.changed() => session.register().await?,
            _ = beat.tick() => {
                if answered.elapsed() > follow.lease {
                    return Err(Ended::Closed("a silent lease"));
                }
                beats.try_send(etcd::LeaseKeepAliveRequest { id: session.lease }).ok();
            }
        }
    }
}

/// Whether the global master says anything in time. Its connection alone would tell only after the
/// keep-alives of HTTP/2, which are rare because they cost every idle node.
async fn answers(mut peer: client::Client, patience: Duration) -> bool {
    tokio::time::timeout(patience, peer.r#where(pb::WhereRequest {})).await.is_ok_and(|a| a.is_ok())
}

async fn open_watch(
    mut watch: WatchClient<Hello>,
    from: i64,
) -> Result<(mpsc::Sender<etcd::WatchRequest>, Streaming<etcd::WatchResponse>), Ended> {
    let create = etcd::WatchCreateRequest {
        key: keys::PREFIX.into(),
        range_end: prefix_end().into(),
        start_revision: from,
        ..Default::default()
    };
    let union = etcd::watch_request::RequestUnion::CreateRequest(create);
    let (requests, queue) = mpsc::channel(1);
    let request = etcd::WatchRequest { request_union: Some(union) };
    requests.send(request).await.map_err(|_| Ended::Closed("the watch"))?;
    let watched = watch.watch(ReceiverStream::new(queue)).await?.into_inner();
    Ok((requests, watched))
}

/// The first key after all that begin with `/cairn/`.
fn prefix_end() -> Vec<u8> {
    let mut end = keys::PREFIX.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

impl Session<'_> {
    async fn tell(&self, heard: Heard) -> Result<(), Ended> {
        self.heard.send(heard).await.map_err(|_| Ended::Closed("control"))
    }

    /// Says who this node is, keeping the claim of its folder, and that it is alive.
    async fn register(&mut self) -> Result<(), Ended> {
        let key = keys::node_key(&self.follow.identity.me.id);
        for _ in 0..REGISTER_TRIES {
            let (old, version) = self.read_key(&key).await?;
            let old = old.and_then(|value| NodeInfo::decode(&value).ok());
            let mut info = self.follow.info.clone();
            info.zone = self.follow.zone.borrow().clone();
            info.life = self.follow.identity.life();
            info.claim = match old {
                Some(old) if old.incarnation == info.incarnation => old.claim,
                _ => Claim::Idle,
            };
            let me = self.follow.identity.me.clone();
            let alive = Alive { incarnation: me.incarnation, life: info.life };
            let alive = put(&keys::alive_key(&me.id), alive.encode(), self.lease);
            let puts = vec![put(&key, info.encode(), 0), alive];
            let txn = etcd::TxnRequest {
                compare: vec![version_is(&key, version)],
                success: puts,
                failure: Vec::new(),
            };
            if self.kv.txn(txn).await?.get_ref().succeeded {
                return Ok(());
            }
        }
        Err(Ended::Closed("a registration others keep changing"))
    }

    pub(super) async fn read_key(&mut self, key: &str) -> Result<(Option<Vec<u8>>, i64), Ended> {
        let request = etcd::RangeRequest { key: key.to_owned().into(), ..Default::default() };
        let found = self.kv.range(request).await?.into_inner();
        let found = found.kvs.into_iter().next();
        Ok(found.map_or((None, 0), |kv| (Some(kv.value.to_vec()), kv.version)))
    }

    async fn read_all(&mut self) -> Result<i64, Ended> {
        let request = etcd::RangeRequest {
            key: keys::PREFIX.into(),
            range_end: prefix_end().into(),
            ..Default::default()
        };
        let found = self.kv.range(request).await?.into_inner();
        let revision = found.header.map_or(0, |header| header.revision);
        let keys = found.kvs.iter().map(changed).collect();
        self.tell(Heard::All { revision: number(revision), keys }).await?;
        Ok(revision)
    }

    async fn events(&mut self, response: etcd::WatchResponse) -> Result<(), Ended> {
        if response.canceled {
            return Err(Ended::Closed("the watch (cancelled)"));
        }
        if response.events.is_empty() {
            return Ok(());
        }
        let revision = number(response.header.map_or(0, |header| header.revision));
        let keys = response.events.iter().filter_map(event).collect();
        self.tell(Heard::Changes { revision, keys }).await
    }

    async fn ask(&mut self, ask: Ask) -> Result<(), Ended> {
        match ask {
            Ask::Up(up) => {
                self.up.try_send(up).ok();
                Ok(())
            }
            Ask::Cas { group, expected, record, joiners } => {
                self.cas(group, expected, (*record, joiners)).await
            }
            Ask::Swap { swap, asked } => {
                let outcome = self.swap(swap).await;
                drop(asked);
                outcome
            }
            Ask::Read(group) => self.read_record(group).await,
            Ask::Users(ask) => {
                let (heard, outcome) = self.change_users(ask).await;
                self.tell(Heard::Users(heard)).await.and(outcome)
            }
            // It is being asked already.
            Ask::Suspect(_) => Ok(()),
        }
    }

    /// Whoever joins must hold its claim at the moment of the change (docs/replication.md §10).
    async fn cas(
        &mut self,
        group: GroupId,
        old: Version,
        (new, joiners): (Record, Vec<Member>),
    ) -> Result<(), Ended> {
        let key = keys::group_key(&group);
        let expected = i64::try_from(old.0).unwrap_or(i64::MAX);
        let mut compare = vec![version_is(&key, expected)];
        for joiner in &joiners {
            let node = keys::node_key(&joiner.id);
            let (info, version) = self.read_key(&node).await?;
            let info = info.and_then(|value| NodeInfo::decode(&value).ok());
            if !info.is_some_and(|info| info.is_claimed_by(&group, joiner.incarnation)) {
                return self.refuse(group, old).await;
            }
            compare.push(version_is(&node, version));
        }
        let success = vec![put(&key, keys::encode_group(&new), 0)];
        let txn = etcd::TxnRequest { compare, success, failure: Vec::new() };
        if self.kv.txn(txn).await?.get_ref().succeeded {
            return self.tell(Heard::Record(group, new)).await;
        }
        self.read_record(group).await
    }

    async fn swap(&mut self, swap: Swap) -> Result<(), Ended> {
        let number = |version| i64::try_from(version).unwrap_or(i64::MAX);
        let compare = swap.compare.iter().map(|(key, version)| version_is(key, number(*version)));
        let success = swap.put.into_iter().map(|(key, value)| put(&key, value, 0));
        let txn = etcd::TxnRequest {
            compare: compare.collect(),
            success: success.collect(),
            failure: Vec::new(),
        };
        self.kv.txn(txn).await?;
        Ok(())
    }

    /// A claim never comes back. So if the record still has its version now, after the claim was
    /// gone, the change has not come into force before and never will.
    async fn refuse(&mut self, group: GroupId, old: Version) -> Result<(), Ended> {
        let (value, _) = self.read_key(&keys::group_key(&group)).await?;
        match value.and_then(|value| keys::decode_group(&value).ok()) {
            Some(record) if record.is_retired() => Ok(()),
            Some(record) if record.version == old => self.tell(Heard::Refused(group, old)).await,
            Some(record) => self.tell(Heard::Record(group, record)).await,
            None => Ok(()),
        }
    }

    async fn read_record(&mut self, group: GroupId) -> Result<(), Ended> {
        let (value, _) = self.read_key(&keys::group_key(&group)).await?;
        match value.map(|value| keys::decode_group(&value)) {
            Some(Ok(record)) if record.is_retired() => Ok(()),
            Some(Ok(record)) => self.tell(Heard::Record(group, record)).await,
            Some(Err(error)) => {
                tracing::error!(%group, %error, "unreadable record");
                Ok(())
            }
            None => Ok(()),
        }
    }
}

pub(super) fn version_is(key: &str, version: i64) -> etcd::Compare {
    etcd::Compare {
        result: etcd::compare::CompareResult::Equal.into(),
        target: etcd::compare::CompareTarget::Version.into(),
        key: key.to_owned().into(),
        target_union: Some(etcd::compare::TargetUnion::Version(version)),
        ..Default::default()
    }
}

pub(super) fn put(key: &str, value: Vec<u8>, lease: i64) -> etcd::RequestOp {
    let key = key.to_owned().into();
    let put = etcd::PutRequest { key, value: value.into(), lease, ..Default::default() };
    etcd::RequestOp { request: Some(etcd::request_op::Request::RequestPut(put)) }
}

fn number(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

fn changed(kv: &mvccpb::KeyValue) -> Changed {
    let value = Some((kv.value.to_vec(), number(kv.version)));
    Changed { key: kv.key.to_vec(), value }
}

fn event(event: &mvccpb::Event) -> Option<Changed> {
    let kv = event.kv.as_ref()?;
    if event.r#type() == mvccpb::event::EventType::Delete {
        return Some(Changed { key: kv.key.to_vec(), value: None });
    }
    Some(changed(kv))
}
