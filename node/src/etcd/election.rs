//! The Election service: the leader is who has the turn among the keys below the election's name,
//! and its key's value is what it proclaims.

use super::forward::{ANSWER_BYTES_MAX, forwarded};
use super::handle::Handle;
use super::turn::{Place, prefix};
use bytes::Bytes;
use cairn_directory::LeaseId;
use cairn_directory::range::KeyRange;
use cairn_directory::watch::Wish;
use cairn_logic::ids::Revision;
use cairn_wire::etcd::{convert, v3electionpb as pb};
use futures::StreamExt;
use futures::stream::BoxStream;
use pb::election_client::ElectionClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// Leaders that may wait for one observer.
const RESPONSES: usize = 4;

type Observed = Result<pb::LeaderResponse, Status>;

fn master(channel: Channel) -> ElectionClient<Channel> {
    ElectionClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The place that a leader's key names.
fn place(leader: Option<pb::LeaderKey>) -> Result<Place, Status> {
    let missing = || Status::invalid_argument("\"leader\" field must be provided");
    let pb::LeaderKey { name, key, rev, lease } = leader.ok_or_else(missing)?;
    let created = convert::revision(rev).unwrap_or(Revision::ZERO);
    Ok(Place { prefix: prefix(&name), key, created, lease: LeaseId(lease) })
}

fn not_leader() -> Status {
    Status::unknown("election: not leader")
}

impl Handle {
    /// Tells each leader, and what it proclaims, until the observer is gone. What is superseded
    /// before it was told may be left out.
    async fn observe_all(&self, prefix: Bytes, observer: &mpsc::Sender<Observed>) {
        let mut told = None;
        loop {
            let (reply, leader) = match self.first(prefix.clone()).await {
                Ok(found) => found,
                Err(status) => return drop(observer.send(Err(status)).await),
            };
            let range = leader.as_ref().map_or_else(
                || KeyRange::prefix(prefix.clone()),
                |kv| KeyRange::single(kv.key.clone()),
            );
            if let Some(kv) = leader
                && told != Some(kv.modified)
            {
                told = Some(kv.modified);
                let (header, kv) = (self.header(&reply), Some(convert::key_value(kv)));
                if observer.send(Ok(pb::LeaderResponse { header, kv })).await.is_err() {
                    return;
                }
            }
            let wish = Wish { range, no_put: false, no_delete: false, prev_kv: false };
            tokio::select! {
                waited = self.wait_change([wish], reply.revision) => if let Err(status) = waited {
                    return drop(observer.send(Err(status)).await);
                },
                () = observer.closed() => return,
            }
        }
    }
}

#[tonic::async_trait]
impl pb::election_server::Election for Handle {
    type ObserveStream = BoxStream<'static, Observed>;

    async fn campaign(
        &self,
        request: Request<pb::CampaignRequest>,
    ) -> Result<Response<pb::CampaignResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return master(channel).campaign(forwarded(request.into_inner())).await;
        }
        let pb::CampaignRequest { name, lease, value } = request.into_inner();
        let (place, had) = self.take_place(&name, lease, value.clone()).await?;
        if had.is_some_and(|had| had != value) && self.set_mine(&place, value).await?.is_none() {
            return Err(not_leader());
        }
        let header = self.wait_turn(&place).await?;
        let rev = convert::signed(place.created.0);
        let leader = pb::LeaderKey { name, key: place.key, rev, lease: place.lease.0 };
        Ok(Response::new(pb::CampaignResponse { header, leader: Some(leader) }))
    }

    async fn proclaim(
        &self,
        request: Request<pb::ProclaimRequest>,
    ) -> Result<Response<pb::ProclaimResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return master(channel).proclaim(forwarded(request.into_inner())).await;
        }
        let pb::ProclaimRequest { leader, value } = request.into_inner();
        let header = self.set_mine(&place(leader)?, value).await?.ok_or_else(not_leader)?;
        Ok(Response::new(pb::ProclaimResponse { header: Some(header) }))
    }

    async fn leader(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<pb::LeaderResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return master(channel).leader(forwarded(request.into_inner())).await;
        }
        let (reply, leader) = self.first(prefix(&request.get_ref().name)).await?;
        let leader = leader.ok_or_else(|| Status::unknown("election: no leader"))?;
        let (header, kv) = (self.header(&reply), Some(convert::key_value(leader)));
        Ok(Response::new(pb::LeaderResponse { header, kv }))
    }

    async fn observe(
        &self,
        request: Request<pb::LeaderRequest>,
    ) -> Result<Response<Self::ObserveStream>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            let seen = master(channel).observe(forwarded(request.into_inner())).await?;
            return Ok(Response::new(seen.into_inner().boxed()));
        }
        let permit = self.admit_stream()?;
        let prefix = prefix(&request.get_ref().name);
        let (observer, stream) = mpsc::channel(RESPONSES);
        let handle = self.clone();
        tokio::spawn(async move {
            handle.observe_all(prefix, &observer).await;
            drop(permit);
        });
        Ok(Response::new(ReceiverStream::new(stream).boxed()))
    }

    async fn resign(
        &self,
        request: Request<pb::ResignRequest>,
    ) -> Result<Response<pb::ResignResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return master(channel).resign(forwarded(request.into_inner())).await;
        }
        // Who is no longer the leader has nothing to give up.
        let header = self.leave(&place(request.into_inner().leader)?).await?;
        Ok(Response::new(pb::ResignResponse { header }))
    }
}
