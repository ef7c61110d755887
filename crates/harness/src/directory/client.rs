//! A client of the directory that knows what it does not know: it repeats nothing by itself.

use std::time::Duration;

use cairn_wire::etcd::etcdserverpb as pb;
use cairn_wire::etcd::mvccpb::KeyValue;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::kv_client::KvClient;
use pb::lease_client::LeaseClient;
use pb::request_op::Request as Do;
use pb::response_op::Response as Did;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::history::{Outcome, State, Told};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_millis(400);
/// How long an answer may take; then its fate is not known.
const ANSWER: Duration = Duration::from_millis(1500);

/// One client; it stays with one global node as long as that answers.
#[derive(Debug)]
pub struct Client {
    endpoints: Vec<String>,
    turn: usize,
    channel: Option<Channel>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Trouble {
    /// Refused: it had no effect.
    Failed(String),
    /// Nobody knows.
    Unknown(String),
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Failed(why) => Self::Failed(why),
            Trouble::Unknown(why) => Self::Unknown(why),
        }
    }
}

/// What came of an attempt to take a lock.
#[derive(Debug)]
pub enum Taken {
    /// It is ours; taken at this revision.
    Ours(i64),
    /// Somebody has it.
    Others,
}

impl Client {
    /// A client that begins with the endpoint number `turn` of `endpoints` (`host:port`).
    pub fn new(endpoints: &[String], turn: usize) -> Self {
        Self { endpoints: endpoints.to_vec(), turn, channel: None }
    }

    /// Writes `key`, on a lease if there is one (0: none).
    pub async fn put(&mut self, key: &str, value: &str, lease: i64) -> Result<Told, Trouble> {
        let mut kv = KvClient::new(self.channel()?);
        let reply = self.asked(kv.put(put(key, value, lease))).await?;
        let header = reply.header.unwrap_or_default();
        told(Some(header), true, reply.prev_kv)
    }

    /// Reads `key`.
    pub async fn get(&mut self, key: &str, stale: bool) -> Result<Told, Trouble> {
        let mut kv = KvClient::new(self.channel()?);
        let request = pb::RangeRequest { serializable: stale, ..range(key) };
        let mut reply = self.asked(kv.range(request)).await?;
        told(reply.header, false, reply.kvs.pop())
    }

    /// Writes `key` if it was last changed at revision `seen`.
    pub async fn swap(&mut self, key: &str, seen: i64, value: &str) -> Result<Told, Trouble> {
        self.write_if(changed_at(key, seen), key, value).await
    }

    /// Writes `key` if `lock` was made at revision `token`.
    pub async fn guarded(
        &mut self,
        key: &str,
        value: &str,
        lock: &str,
        token: i64,
    ) -> Result<Told, Trouble> {
        self.write_if(created_at(lock, token), key, value).await
    }

    async fn write_if(
        &mut self,
        compare: pb::Compare,
        key: &str,
        value: &str,
    ) -> Result<Told, Trouble> {
        let request = pb::TxnRequest {
            compare: vec![compare],
            success: vec![op(Do::RequestPut(put(key, value, 0)))],
            failure: vec![op(Do::RequestRange(range(key)))],
        };
        let mut reply = self.txn(request).await?;
        let state = match reply.responses.pop().and_then(|response| response.response) {
            Some(Did::ResponsePut(put)) if reply.succeeded => put.prev_kv,
            Some(Did::ResponseRange(mut range)) if !reply.succeeded => range.kvs.pop(),
            other => return Err(Trouble::Unknown(format!("not an answer to this: {other:?}"))),
        };
        told(reply.header, reply.succeeded, state)
    }

    /// Takes `lock` if nobody has it.
    pub async fn take(&mut self, lock: &str, value: &str, lease: i64) -> Result<Taken, Trouble> {
        let request = pb::TxnRequest {
            compare: vec![created_at(lock, 0)],
            success: vec![op(Do::RequestPut(put(lock, value, lease)))],
            failure: Vec::new(),
        };
        let reply = self.txn(request).await?;
        let revision = reply.header.unwrap_or_default().revision;
        Ok(if reply.succeeded { Taken::Ours(revision) } else { Taken::Others })
    }

    /// Writes all of `pairs` at one revision, which is returned.
    pub async fn put_all(&mut self, pairs: Vec<(Vec<u8>, Vec<u8>)>) -> Result<u64, Trouble> {
        let put = |(key, value): (Vec<u8>, Vec<u8>)| {
            let (key, value) = (key.into(), value.into());
            op(Do::RequestPut(pb::PutRequest { key, value, ..pb::PutRequest::default() }))
        };
        let success = pairs.into_iter().map(put).collect();
        let request = pb::TxnRequest { success, ..pb::TxnRequest::default() };
        let reply = self.txn(request).await?;
        Ok(u64::try_from(reply.header.unwrap_or_default().revision).unwrap_or(0))
    }

    /// Gives up what was before `revision`.
    pub async fn compact(&mut self, revision: u64) -> Result<(), Trouble> {
        let revision = i64::try_from(revision).unwrap_or(i64::MAX);
        let request = pb::CompactionRequest { revision, ..pb::CompactionRequest::default() };
        let mut kv = KvClient::new(self.channel()?);
        self.asked(kv.compact(request)).await.map(drop)
    }

    async fn txn(&mut self, request: pb::TxnRequest) -> Result<pb::TxnResponse, Trouble> {
        let mut kv = KvClient::new(self.channel()?);
        self.asked(kv.txn(request)).await
    }

    /// A new lease: its number, and for how many seconds it lives.
    pub async fn grant(&mut self, ttl_secs: i64) -> Result<(i64, u64), Trouble> {
        let mut leases = LeaseClient::new(self.channel()?);
        let request = pb::LeaseGrantRequest { ttl: ttl_secs, id: 0 };
        let reply = self.asked(leases.lease_grant(request)).await?;
        Ok((reply.id, u64::try_from(reply.ttl).unwrap_or(0)))
    }

    /// Keeps a lease alive; for how many seconds more, 0 if it is gone.
    pub async fn keep_alive(&mut self, id: i64) -> Result<u64, Trouble> {
        let mut leases = LeaseClient::new(self.channel()?);
        let request = tokio_stream::iter([pb::LeaseKeepAliveRequest { id }]);
        let asked = async {
            let mut answers = leases.lease_keep_alive(request).await?.into_inner();
            let answer = answers.message().await?;
            answer.map(Response::new).ok_or_else(|| Status::unknown("the stream ended"))
        };
        let reply = self.asked(asked).await?;
        Ok(u64::try_from(reply.ttl).unwrap_or(0))
    }

    /// Ends a lease and removes its keys.
    pub async fn revoke(&mut self, id: i64) -> Result<(), Trouble> {
        let mut leases = LeaseClient::new(self.channel()?);
        self.asked(leases.lease_revoke(pb::LeaseRevokeRequest { id })).await.map(drop)
    }

    fn channel(&mut self) -> Result<Channel, Trouble> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let place = self.turn % self.endpoints.len().max(1);
        let address = self.endpoints.get(place).map(String::as_str).unwrap_or_default();
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|_| Trouble::Failed(format!("{address} is no address")))?;
        let channel = endpoint.connect_timeout(CONNECT).tcp_nodelay(true).connect_lazy();
        self.channel = Some(channel.clone());
        Ok(channel)
    }

    /// Waits for an answer; who gives none is left for another node.
    async fn asked<T>(
        &mut self,
        ask: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Trouble> {
        let trouble = match tokio::time::timeout(ANSWER, ask).await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => trouble(&status),
            Err(_) => Trouble::Unknown("no answer in time".into()),
        };
        self.channel = None;
        self.turn = self.turn.wrapping_add(1);
        Err(trouble)
    }
}

/// Only refusals that a node gives before anything happens leave no doubt.
fn trouble(status: &Status) -> Trouble {
    let text = format!("{:?}: {}", status.code(), status.message());
    let refused =
        matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition | Code::NotFound);
    // Codes alone would do for the directory; a proxy or library may use this one otherwise.
    let full = status.code() == Code::ResourceExhausted && text.contains("etcdserver:");
    if refused || full { Trouble::Failed(text) } else { Trouble::Unknown(text) }
}

fn told(
    header: Option<pb::ResponseHeader>,
    applied: bool,
    state: Option<KeyValue>,
) -> Result<Told, Trouble> {
    let header = header.ok_or_else(|| Trouble::Unknown("an answer without a header".into()))?;
    let state = state.map(|found| State {
        value: String::from_utf8_lossy(&found.value).into_owned(),
        changed: found.mod_revision,
        created: found.create_revision,
        version: found.version,
    });
    Ok(Told { revision: header.revision, term: header.raft_term, applied, state })
}

fn op(request: Do) -> pb::RequestOp {
    pb::RequestOp { request: Some(request) }
}

fn put(key: &str, value: &str, lease: i64) -> pb::PutRequest {
    pb::PutRequest {
        key: key.as_bytes().to_vec().into(),
        value: value.as_bytes().to_vec().into(),
        lease,
        prev_kv: true,
        ..pb::PutRequest::default()
    }
}

fn range(key: &str) -> pb::RangeRequest {
    pb::RangeRequest { key: key.as_bytes().to_vec().into(), ..pb::RangeRequest::default() }
}

fn equal(key: &str, target: CompareTarget, union: TargetUnion) -> pb::Compare {
    pb::Compare {
        result: CompareResult::Equal.into(),
        target: target.into(),
        key: key.as_bytes().to_vec().into(),
        target_union: Some(union),
        ..pb::Compare::default()
    }
}

fn changed_at(key: &str, revision: i64) -> pb::Compare {
    equal(key, CompareTarget::Mod, TargetUnion::ModRevision(revision))
}

fn created_at(key: &str, revision: i64) -> pb::Compare {
    equal(key, CompareTarget::Create, TargetUnion::CreateRevision(revision))
}
