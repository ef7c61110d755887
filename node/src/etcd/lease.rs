//! The Lease service: Grant, Revoke, KeepAlive, TimeToLive, Leases.

use super::forward::forwarded;
use super::handle::{Handle, unexpected};
use cairn_directory::core::{Request as Ask, Response as Told};
use cairn_directory::op::Op;
use cairn_directory::{Answer, LeaseId};
use cairn_wire::etcd::convert::signed;
use cairn_wire::etcd::etcdserverpb as pb;
use futures::StreamExt;
use futures::future::ready;
use futures::stream::BoxStream;
use pb::lease_client::LeaseClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// Keep-alives of one stream that are under way at once: clients send all their leases' on one.
const AT_ONCE: usize = 256;

type KeptAlive = Result<pb::LeaseKeepAliveResponse, Status>;

impl Handle {
    async fn keep_one_alive(&self, id: i64) -> KeptAlive {
        let reply = self.ask(Ask::KeepAlive { id: LeaseId(id) }).await?;
        let header = self.header(&reply);
        match reply.response {
            Told::KeptAlive { ttl_secs } => {
                Ok(pb::LeaseKeepAliveResponse { header, id, ttl: signed(ttl_secs) })
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// The requests of a stream up to its end or its first error.
fn whole(
    requests: Streaming<pb::LeaseKeepAliveRequest>,
) -> impl futures::Stream<Item = pb::LeaseKeepAliveRequest> {
    requests.take_while(|request| ready(request.is_ok())).filter_map(|request| ready(request.ok()))
}

/// Passes keep-alives on to the master, and its answers back.
async fn pass_on(
    mut client: LeaseClient<tonic::transport::Channel>,
    requests: Streaming<pb::LeaseKeepAliveRequest>,
    answers: mpsc::Sender<KeptAlive>,
) {
    let onward = whole(requests);
    let mut back = match client.lease_keep_alive(forwarded(onward)).await {
        Ok(back) => back.into_inner(),
        Err(status) => return drop(answers.send(Err(status)).await),
    };
    loop {
        let answer = match back.message().await {
            Ok(Some(answer)) => Ok(answer),
            Ok(None) => return,
            Err(status) => Err(status),
        };
        let failed = answer.is_err();
        if answers.send(answer).await.is_err() || failed {
            return;
        }
    }
}

#[tonic::async_trait]
impl pb::lease_server::Lease for Handle {
    type LeaseKeepAliveStream = BoxStream<'static, KeptAlive>;

    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return LeaseClient::new(channel).lease_grant(forwarded(request.into_inner())).await;
        }
        let pb::LeaseGrantRequest { ttl, id } = request.into_inner();
        let id = (id != 0).then_some(LeaseId(id));
        let ttl_secs = u64::try_from(ttl).unwrap_or(0);
        let reply = self.ask(Ask::Grant { id, ttl_secs, system: self.is_system() }).await?;
        let header = self.header(&reply);
        match reply.response {
            Told::Answer(Answer::Lease { id, ttl_secs }) => {
                let (ttl, error) = (signed(ttl_secs), String::new());
                Ok(Response::new(pb::LeaseGrantResponse { header, id: id.0, ttl, error }))
            }
            other => Err(unexpected(&other)),
        }
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return LeaseClient::new(channel).lease_revoke(forwarded(request.into_inner())).await;
        }
        let id = LeaseId(request.get_ref().id);
        let header = self.propose_plainly(Op::LeaseRevoke { id, expired_in: None }).await?;
        Ok(Response::new(pb::LeaseRevokeResponse { header }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let permit = self.admit_stream()?;
        let elsewhere = self.elsewhere(&request)?;
        let requests = request.into_inner();
        if let Some(channel) = elsewhere {
            let (answers, stream) = mpsc::channel(AT_ONCE);
            tokio::spawn(async move {
                pass_on(LeaseClient::new(channel), requests, answers).await;
                drop(permit);
            });
            return Ok(Response::new(ReceiverStream::new(stream).boxed()));
        }
        let handle = self.clone();
        let answers = whole(requests)
            .map(move |request| {
                let (handle, _counted) = (handle.clone(), &permit);
                async move { handle.keep_one_alive(request.id).await }
            })
            .buffered(AT_ONCE);
        Ok(Response::new(answers.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            let request = forwarded(request.into_inner());
            return LeaseClient::new(channel).lease_time_to_live(request).await;
        }
        let pb::LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let reply = self.ask(Ask::TimeToLive { id: LeaseId(id), keys }).await?;
        let header = self.header(&reply);
        let Told::TimeToLive(state) = reply.response else {
            return Err(unexpected(&reply.response));
        };
        // etcd's way of saying that the lease is gone.
        let gone = pb::LeaseTimeToLiveResponse { id, ttl: -1, ..Default::default() };
        let response = state.map_or(gone, |state| pb::LeaseTimeToLiveResponse {
            header: None,
            id,
            ttl: signed(state.ttl_secs),
            granted_ttl: signed(state.granted_secs),
            keys: state.keys,
        });
        Ok(Response::new(pb::LeaseTimeToLiveResponse { header, ..response }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return LeaseClient::new(channel).lease_leases(forwarded(request.into_inner())).await;
        }
        let reply = self.ask(Ask::Leases).await?;
        let header = self.header(&reply);
        match reply.response {
            Told::Leases(all) => {
                let leases = all.into_iter().map(|id| pb::LeaseStatus { id: id.0 }).collect();
                Ok(Response::new(pb::LeaseLeasesResponse { header, leases }))
            }
            other => Err(unexpected(&other)),
        }
    }
}
