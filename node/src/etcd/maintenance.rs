//! The Maintenance service: Status, Alarm, HashKV; the rest has no meaning here and says so.

use super::handle::{Handle, unexpected};
use cairn_directory::core::{Request as Ask, Response as Told};
use cairn_wire::etcd::convert::{self, signed};
use cairn_wire::etcd::etcdserverpb as pb;
use tokio_stream::Empty;
use tonic::{Request, Response, Status};

/// The version of etcd whose API this is: clients choose features by it.
const API_VERSION: &str = "3.5.21+cairn";

impl Handle {
    async fn hash(&self, revision: i64) -> Result<pb::HashKvResponse, Status> {
        let reply = self.ask(Ask::HashKeys { at: convert::revision(revision) }).await?;
        let header = self.header(&reply);
        match reply.response {
            Told::Hash { hash, at, compacted } => Ok(pb::HashKvResponse {
                header,
                hash,
                compact_revision: signed(compacted.0),
                hash_revision: signed(at.0),
            }),
            other => Err(unexpected(&other)),
        }
    }

    async fn plain_header(&self) -> Result<Option<pb::ResponseHeader>, Status> {
        let reply = self.ask(Ask::Status).await?;
        Ok(self.header(&reply))
    }
}

#[tonic::async_trait]
impl pb::maintenance_server::Maintenance for Handle {
    type SnapshotStream = Empty<Result<pb::SnapshotResponse, Status>>;

    async fn alarm(
        &self,
        request: Request<pb::AlarmRequest>,
    ) -> Result<Response<pb::AlarmResponse>, Status> {
        if request.get_ref().action == i32::from(pb::alarm_request::AlarmAction::Activate) {
            return Err(Status::unimplemented("etcdserver: alarms cannot be set by hand"));
        }
        let reply = self.ask(Ask::Status).await?;
        let header = self.header(&reply);
        let Told::Status(status) = reply.response else {
            return Err(unexpected(&reply.response));
        };
        let no_space = pb::AlarmMember {
            member_id: self.plane().member_id,
            alarm: pb::AlarmType::Nospace.into(),
        };
        let alarms = status.disk_low.then_some(no_space).into_iter().collect();
        Ok(Response::new(pb::AlarmResponse { header, alarms }))
    }

    async fn status(
        &self,
        _request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusResponse>, Status> {
        let reply = self.ask(Ask::Status).await?;
        let (header, epoch) = (self.header(&reply), reply.epoch);
        let Told::Status(status) = reply.response else {
            return Err(unexpected(&reply.response));
        };
        let plane = self.plane();
        let me = plane.members.iter().find(|member| member.member_id == plane.member_id);
        let no_leader = plane.master.is_none().then(|| "etcdserver: no leader".to_owned());
        Ok(Response::new(pb::StatusResponse {
            header,
            version: API_VERSION.to_owned(),
            db_size: signed(status.bytes),
            leader: plane.master.as_ref().map_or(0, |master| master.member_id),
            raft_index: status.committed_offset.0,
            raft_term: epoch.0,
            raft_applied_index: status.applied_offset.0,
            errors: no_leader.into_iter().collect(),
            db_size_in_use: signed(status.bytes),
            is_learner: me.is_some_and(|member| member.learner),
            storage_version: String::new(),
            db_size_quota: signed(status.quota_bytes),
        }))
    }

    /// There is nothing to defragment: memory that is freed is used again.
    async fn defragment(
        &self,
        _request: Request<pb::DefragmentRequest>,
    ) -> Result<Response<pb::DefragmentResponse>, Status> {
        let header = self.plain_header().await?;
        Ok(Response::new(pb::DefragmentResponse { header }))
    }

    async fn hash(
        &self,
        _request: Request<pb::HashRequest>,
    ) -> Result<Response<pb::HashResponse>, Status> {
        let pb::HashKvResponse { header, hash, .. } = Self::hash(self, 0).await?;
        Ok(Response::new(pb::HashResponse { header, hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<pb::HashKvRequest>,
    ) -> Result<Response<pb::HashKvResponse>, Status> {
        Self::hash(self, request.get_ref().revision).await.map(Response::new)
    }

    async fn snapshot(
        &self,
        _request: Request<pb::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Status::unimplemented("etcdserver: snapshots are written by the checkpoint node"))
    }

    async fn move_leader(
        &self,
        _request: Request<pb::MoveLeaderRequest>,
    ) -> Result<Response<pb::MoveLeaderResponse>, Status> {
        Err(Status::unimplemented("etcdserver: use `cairn failover` to move the global master"))
    }

    async fn downgrade(
        &self,
        _request: Request<pb::DowngradeRequest>,
    ) -> Result<Response<pb::DowngradeResponse>, Status> {
        Err(Status::unimplemented("etcdserver: versions are changed by rolling upgrades"))
    }
}
