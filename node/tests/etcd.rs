//! The etcd services over a directory in memory whose entries are committed at once: what stock
//! clients see.

#![allow(clippy::unwrap_used)]

mod etcd {
    pub mod server;
}
#[path = "etcd/etcdctl.rs"]
mod etcdctl;
#[path = "etcd/locks.rs"]
mod locks;

use cairn_wire::etcd::etcdserverpb as pb;
use etcd::server::Server;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::maintenance_client::MaintenanceClient;
use pb::watch_client::WatchClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

async fn kv(server: &Server) -> KvClient<Channel> {
    KvClient::new(server.channel().await)
}

fn put(key: &str, value: &str) -> pb::PutRequest {
    pb::PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..Default::default()
    }
}

fn get(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.to_owned().into(), ..Default::default() }
}

fn refused<T: std::fmt::Debug>(result: Result<T, Status>) -> (Code, String) {
    let status = result.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn put_op(key: &str) -> pb::RequestOp {
    let request = pb::request_op::Request::RequestPut(put(key, "v"));
    pb::RequestOp { request: Some(request) }
}

#[tokio::test]
async fn keys_are_put_read_and_deleted() {
    let server = Server::start().await;
    let mut kv = kv(&server).await;
    let first = kv.put(put("a", "1")).await.unwrap().into_inner();
    let header = first.header.unwrap();
    assert_eq!((header.revision, header.raft_term), (2, 1));
    let again = kv.put(pb::PutRequest { prev_kv: true, ..put("a", "2") }).await.unwrap();
    assert_eq!(&again.into_inner().prev_kv.unwrap().value[..], b"1");
    let read = kv.range(get("a")).await.unwrap().into_inner();
    let found = &read.kvs[0];
    assert_eq!((&found.value[..], found.version, found.create_revision), (&b"2"[..], 2, 2));
    let gone = pb::DeleteRangeRequest { key: "a".into(), ..Default::default() };
    assert_eq!(kv.delete_range(gone).await.unwrap().into_inner().deleted, 1);
    assert_eq!(kv.range(get("a")).await.unwrap().into_inner().count, 0);
    let old = kv.range(pb::RangeRequest { revision: 2, ..get("a") }).await.unwrap();
    assert_eq!(&old.into_inner().kvs[0].value[..], b"1");
}

#[tokio::test]
async fn refusals_have_the_codes_and_texts_of_etcd() {
    let server = Server::start().await;
    let mut kv = kv(&server).await;
    for n in 0..5 {
        kv.put(put("a", &n.to_string())).await.unwrap();
    }
    let twice = pb::TxnRequest { success: vec![put_op("k"), put_op("k")], ..Default::default() };
    let dup = "etcdserver: duplicate key given in txn request";
    assert_eq!(refused(kv.txn(twice).await), (Code::InvalidArgument, dup.into()));
    let many =
        pb::TxnRequest { success: vec![pb::RequestOp::default(); 129], ..Default::default() };
    assert_eq!(refused(kv.txn(many).await).0, Code::InvalidArgument);
    let empty = "etcdserver: key is not provided";
    assert_eq!(refused(kv.put(put("", "v")).await), (Code::InvalidArgument, empty.into()));
    kv.compact(pb::CompactionRequest { revision: 4, physical: true }).await.unwrap();
    let old = kv.range(pb::RangeRequest { revision: 3, ..get("a") }).await;
    let compacted = "etcdserver: mvcc: required revision has been compacted";
    assert_eq!(refused(old), (Code::OutOfRange, compacted.into()));
    let ahead = kv.range(pb::RangeRequest { revision: 99, ..get("a") }).await;
    assert_eq!(refused(ahead).0, Code::OutOfRange);
    let leased = pb::PutRequest { lease: 77, ..put("a", "v") };
    let lease = "etcdserver: requested lease not found";
    assert_eq!(refused(kv.put(leased).await), (Code::NotFound, lease.into()));
    assert_eq!(refused(kv.put(put("/cairn/x", "v")).await).0, Code::PermissionDenied);
    let large = put("a", &"x".repeat(1_600_000));
    let too_large = "etcdserver: request is too large";
    assert_eq!(refused(kv.put(large).await), (Code::InvalidArgument, too_large.into()));
}

#[tokio::test]
async fn the_system_port_writes_what_clients_may_not() {
    let server = Server::start().await;
    let mut system = KvClient::new(server.system_channel().await);
    system.put(put("/cairn/x", "v")).await.unwrap();
    assert_eq!(kv(&server).await.range(get("/cairn/x")).await.unwrap().get_ref().count, 1);
}

/// A stream of watches.
struct Watching {
    ask: mpsc::Sender<pb::WatchRequest>,
    told: Streaming<pb::WatchResponse>,
}

impl Watching {
    async fn open(server: &Server) -> Self {
        let (ask, asks) = mpsc::channel(64);
        let mut client = WatchClient::new(server.channel().await);
        let told = client.watch(ReceiverStream::new(asks)).await.unwrap().into_inner();
        Self { ask, told }
    }

    async fn say(&self, union: pb::watch_request::RequestUnion) {
        self.ask.send(pb::WatchRequest { request_union: Some(union) }).await.unwrap();
    }

    async fn create(&mut self, create: pb::WatchCreateRequest) -> pb::WatchResponse {
        self.say(pb::watch_request::RequestUnion::CreateRequest(create)).await;
        let response = self.next().await;
        assert!(response.created);
        response
    }

    async fn next(&mut self) -> pb::WatchResponse {
        let next = tokio::time::timeout(std::time::Duration::from_secs(5), self.told.message());
        next.await.expect("told in time").unwrap().expect("the stream goes on")
    }
}

fn prefix(prefix: &str, end: &str) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: prefix.to_owned().into(),
        range_end: end.to_owned().into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn watches_of_one_stream_are_told_apart() {
    let server = Server::start().await;
    let mut kv = kv(&server).await;
    kv.put(put("a1", "old")).await.unwrap();
    let mut watching = Watching::open(&server).await;
    let past = pb::WatchCreateRequest { start_revision: 2, ..prefix("a", "b") };
    assert_eq!(watching.create(past).await.watch_id, 0);
    assert_eq!(&watching.next().await.events[0].kv.as_ref().unwrap().value[..], b"old");
    let deletions =
        pb::WatchCreateRequest { filters: vec![0], prev_kv: true, watch_id: 9, ..prefix("a", "b") };
    assert_eq!(watching.create(deletions).await.watch_id, 9);
    kv.put(put("a2", "new")).await.unwrap();
    let told = watching.next().await;
    assert_eq!((told.watch_id, told.header.unwrap().revision), (0, 3));
    let gone = pb::DeleteRangeRequest { key: "a2".into(), ..Default::default() };
    kv.delete_range(gone).await.unwrap();
    let both = [watching.next().await, watching.next().await];
    let of_nine = both.iter().find(|told| told.watch_id == 9).unwrap();
    assert_eq!(&of_nine.events[0].prev_kv.as_ref().unwrap().value[..], b"new");
    let cancel = pb::WatchCancelRequest { watch_id: 0 };
    watching.say(pb::watch_request::RequestUnion::CancelRequest(cancel)).await;
    let over = watching.next().await;
    assert!(over.canceled && over.watch_id == 0);
    let progress = pb::WatchProgressRequest {};
    watching.say(pb::watch_request::RequestUnion::ProgressRequest(progress)).await;
    let told = watching.next().await;
    assert_eq!((told.watch_id, told.header.unwrap().revision), (-1, 4));
}

#[tokio::test]
async fn a_watch_from_a_compacted_revision_is_cancelled_with_the_oldest_one() {
    let server = Server::start().await;
    let mut kv = kv(&server).await;
    for n in 0..5 {
        kv.put(put("a", &n.to_string())).await.unwrap();
    }
    kv.compact(pb::CompactionRequest { revision: 5, physical: false }).await.unwrap();
    let mut watching = Watching::open(&server).await;
    watching.create(pb::WatchCreateRequest { start_revision: 3, ..prefix("a", "") }).await;
    let over = watching.next().await;
    assert!(over.canceled);
    assert_eq!(over.compact_revision, 5);
}

#[tokio::test]
async fn a_watcher_that_does_not_read_loses_nothing() {
    let server = Server::start().await;
    let mut kv = kv(&server).await;
    let mut watching = Watching::open(&server).await;
    watching.create(pb::WatchCreateRequest { fragment: true, ..prefix("k", "l") }).await;
    let value = "x".repeat(20_000);
    for n in 0..600 {
        kv.put(put(&format!("k{n:04}"), &value)).await.unwrap();
    }
    let mut told = Vec::new();
    while told.len() < 600 {
        told.extend(watching.next().await.events.into_iter().map(|e| e.kv.unwrap().mod_revision));
    }
    assert_eq!(told, (2..602).collect::<Vec<i64>>());
}

#[tokio::test]
async fn leases_are_granted_kept_alive_listed_and_end_with_their_keys() {
    let server = Server::start().await;
    let mut leases = LeaseClient::new(server.channel().await);
    let grant = pb::LeaseGrantRequest { ttl: 60, id: 0 };
    let id = leases.lease_grant(grant).await.unwrap().into_inner().id;
    let mut kv = kv(&server).await;
    kv.put(pb::PutRequest { lease: id, ..put("leased", "v") }).await.unwrap();
    let (ask, asks) = mpsc::channel(4);
    let mut kept = leases.lease_keep_alive(ReceiverStream::new(asks)).await.unwrap().into_inner();
    ask.send(pb::LeaseKeepAliveRequest { id }).await.unwrap();
    assert_eq!(kept.message().await.unwrap().unwrap().ttl, 60);
    ask.send(pb::LeaseKeepAliveRequest { id: 12345 }).await.unwrap();
    assert_eq!(kept.message().await.unwrap().unwrap().ttl, 0);
    let question = pb::LeaseTimeToLiveRequest { id, keys: true };
    let left = leases.lease_time_to_live(question).await.unwrap().into_inner();
    assert_eq!((left.granted_ttl, &left.keys[0][..]), (60, &b"leased"[..]));
    let all = leases.lease_leases(pb::LeaseLeasesRequest {}).await.unwrap().into_inner();
    assert_eq!(all.leases.iter().map(|lease| lease.id).collect::<Vec<_>>(), [id]);
    leases.lease_revoke(pb::LeaseRevokeRequest { id }).await.unwrap();
    assert_eq!(kv.range(get("leased")).await.unwrap().get_ref().count, 0);
    let short = leases.lease_grant(pb::LeaseGrantRequest { ttl: 1, id: 5 }).await.unwrap();
    kv.put(pb::PutRequest { lease: short.get_ref().id, ..put("short", "v") }).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    assert_eq!(kv.range(get("short")).await.unwrap().get_ref().count, 0);
}

#[tokio::test]
async fn a_node_that_is_not_master_passes_on_what_it_may_not_answer() {
    let master = Server::start().await;
    let replica = Server::behind(&master).await;
    let mut kv = kv(&replica).await;
    kv.put(put("a", "1")).await.unwrap();
    assert_eq!(kv.range(get("a")).await.unwrap().get_ref().count, 1);
    let stale = pb::RangeRequest { serializable: true, ..get("a") };
    assert_eq!(kv.range(stale).await.unwrap().get_ref().count, 0, "the replica has its own state");
    let mut leases = LeaseClient::new(replica.channel().await);
    let id = leases.lease_grant(pb::LeaseGrantRequest { ttl: 9, id: 0 }).await.unwrap();
    let beat = pb::LeaseKeepAliveRequest { id: id.get_ref().id };
    let beats = tokio_stream::iter([beat]);
    let mut kept = leases.lease_keep_alive(beats).await.unwrap().into_inner();
    assert_eq!(kept.message().await.unwrap().unwrap().ttl, 9);
    // Two nodes that take each other for the master pass a request on once, not for ever.
    let lost = Server::behind(&replica).await;
    let mut kv = KvClient::new(lost.channel().await);
    assert_eq!(refused(kv.put(put("a", "2")).await).0, Code::Unavailable);
}

#[tokio::test]
async fn status_and_hash_say_what_the_node_holds() {
    let server = Server::start().await;
    let mut kv = kv(&server).await;
    kv.put(put("a", "1")).await.unwrap();
    let mut maintenance = MaintenanceClient::new(server.channel().await);
    let status = maintenance.status(pb::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.leader, status.raft_term), (status.header.unwrap().member_id, 1));
    let before = maintenance.hash_kv(pb::HashKvRequest { revision: 0 }).await.unwrap();
    kv.put(put("a", "2")).await.unwrap();
    let same = maintenance.hash_kv(pb::HashKvRequest { revision: 2 }).await.unwrap();
    let other = maintenance.hash_kv(pb::HashKvRequest { revision: 3 }).await.unwrap();
    assert_eq!(before.get_ref().hash, same.get_ref().hash);
    assert_ne!(before.get_ref().hash, other.get_ref().hash);
}
