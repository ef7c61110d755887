//! A client of the directory for tests: asks until it is answered, by whichever global node.

use cairn_harness::clock::wait_until;
use cairn_wire::etcd::etcdserverpb as pb;
use cairn_wire::etcd::mvccpb::Event;
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::watch_client::WatchClient;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(3);
/// The longest one, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// One client of all global nodes.
pub struct Etcd {
    runtime: Runtime,
    channels: Vec<Channel>,
}

impl Etcd {
    /// A client of the nodes at `endpoints`.
    pub fn new(endpoints: &[String]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connect = |address: &String| {
            let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
            endpoint.connect_timeout(Duration::from_millis(500)).connect_lazy()
        };
        let channels = runtime.block_on(async { endpoints.iter().map(connect).collect() });
        Self { runtime, channels }
    }

    /// The first answer that any node gives within `limit`.
    fn ask<T, A>(&self, limit: Duration, ask: impl Fn(Channel) -> A) -> T
    where
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let (mut found, mut last, mut turn) = (None, String::new(), 0);
        wait_until(limit, Duration::from_millis(50), || {
            let channel = self.channels[turn % self.channels.len()].clone();
            turn += 1;
            match self.runtime.block_on(async { timeout(ANSWER, ask(channel)).await }) {
                Ok(Ok(answer)) => found = Some(answer.into_inner()),
                Ok(Err(status)) => last = status.to_string(),
                Err(_) => last = "no answer in time".to_owned(),
            }
            found.is_some()
        });
        found.unwrap_or_else(|| panic!("nobody answers: {last}"))
    }

    /// Writes `key`, on a lease if there is one (0: none); the revision.
    pub fn put(&self, key: &str, value: &[u8], lease: i64) -> i64 {
        let put = pb::PutRequest {
            key: key.as_bytes().to_vec().into(),
            value: value.to_vec().into(),
            lease,
            ..pb::PutRequest::default()
        };
        let reply = self.ask(super::support::LONG, |channel| {
            let put = put.clone();
            async move { KvClient::new(channel).put(put).await }
        });
        reply.header.expect("a header").revision
    }

    /// All keys below `prefix` with their values, as of `revision` (0: now), and the revision now.
    pub fn range(&self, prefix: &str, revision: i64) -> (Vec<(String, Vec<u8>)>, i64) {
        let range = pb::RangeRequest {
            key: prefix.as_bytes().to_vec().into(),
            range_end: end_of(prefix).into(),
            revision,
            ..pb::RangeRequest::default()
        };
        let reply = self.ask(super::support::LONG, |channel| {
            let range = range.clone();
            async move {
                let client = KvClient::new(channel);
                client.max_decoding_message_size(ANSWER_BYTES_MAX).range(range).await
            }
        });
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let found = reply.kvs.iter().map(|kv| (text(&kv.key), kv.value.to_vec()));
        (found.collect(), reply.header.expect("a header").revision)
    }

    /// A new lease.
    pub fn grant(&self, ttl_secs: i64) -> i64 {
        let grant = pb::LeaseGrantRequest { ttl: ttl_secs, id: 0 };
        let reply = self.ask(super::support::LONG, |channel| async move {
            LeaseClient::new(channel).lease_grant(grant).await
        });
        reply.id
    }

    /// Ends a lease.
    pub fn revoke(&self, id: i64) {
        let revoke = pb::LeaseRevokeRequest { id };
        self.ask(super::support::LONG, |channel| async move {
            LeaseClient::new(channel).lease_revoke(revoke).await
        });
    }

    /// Why a watch below `prefix` from `start` on is cancelled.
    pub fn watch_refused(&self, prefix: &str, start: i64) -> String {
        let request = watch_below(prefix, start);
        self.ask(super::support::LONG, |channel| {
            let request = request.clone();
            async move {
                let requests = futures::stream::iter([request]);
                let requests = futures::StreamExt::chain(requests, futures::stream::pending());
                let mut answers = WatchClient::new(channel).watch(requests).await?.into_inner();
                loop {
                    let answer = answers.message().await?;
                    let answer = answer.ok_or_else(|| Status::unknown("the stream ended"))?;
                    if answer.canceled {
                        return Ok(Response::new(answer.cancel_reason));
                    }
                }
            }
        })
    }

    /// The first `count` events below `prefix` from `start` on: key and revision of each.
    pub fn watch(&self, prefix: &str, start: i64, count: usize) -> Vec<(String, i64)> {
        let request = watch_below(prefix, start);
        self.ask(super::support::LONG, |channel| {
            let request = request.clone();
            async move {
                // The stream of requests stays open as long as answers are waited for.
                let (asks, queue) = tokio::sync::mpsc::channel(1);
                asks.send(request).await.ok();
                let queue = futures::stream::unfold(queue, |mut queue| async move {
                    queue.recv().await.map(|request| (request, queue))
                });
                let mut answers = WatchClient::new(channel).watch(queue).await?.into_inner();
                let mut seen = Vec::new();
                while seen.len() < count {
                    let answer = answers.message().await?;
                    let answer = answer.ok_or_else(|| Status::unknown("the stream ended"))?;
                    if answer.canceled {
                        return Err(Status::unknown(answer.cancel_reason));
                    }
                    seen.extend(answer.events.iter().map(named));
                }
                drop(asks);
                Ok(Response::new(seen))
            }
        })
    }
}

fn named(event: &Event) -> (String, i64) {
    let kv = event.kv.clone().unwrap_or_default();
    (String::from_utf8_lossy(&kv.key).into_owned(), kv.mod_revision)
}

/// The first key behind all that begin with `prefix`.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("not empty") += 1;
    end
}

/// A watch of all below `prefix`, from `start` on.
fn watch_below(prefix: &str, start: i64) -> pb::WatchRequest {
    let create = pb::WatchCreateRequest {
        key: prefix.as_bytes().to_vec().into(),
        range_end: end_of(prefix).into(),
        start_revision: start,
        ..pb::WatchCreateRequest::default()
    };
    let create = pb::watch_request::RequestUnion::CreateRequest(create);
    pb::WatchRequest { request_union: Some(create) }
}
