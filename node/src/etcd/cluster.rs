//! The Cluster service: who the global nodes are. They are changed elsewhere.

use super::handle::Handle;
use cairn_directory::core::Request as Ask;
use cairn_wire::etcd::etcdserverpb as pb;
use tonic::{Request, Response, Status};

fn elsewhere<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented(
        "etcdserver: the global plane's members are set by the Cluster resource",
    ))
}

fn url(address: &str, tls: bool) -> Vec<String> {
    let scheme = if tls { "https" } else { "http" };
    if address.is_empty() { Vec::new() } else { vec![format!("{scheme}://{address}")] }
}

#[tonic::async_trait]
impl pb::cluster_server::Cluster for Handle {
    async fn member_list(
        &self,
        _request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        let reply = self.ask(Ask::Status).await?;
        let plane = self.plane();
        let members = plane.members.iter().map(|member| pb::Member {
            id: member.member_id,
            name: member.name.clone(),
            peer_ur_ls: url(&member.peer, self.tls.is_some()),
            client_ur_ls: url(&member.etcd, self.tls.is_some()),
            is_learner: member.learner,
        });
        let (header, members) = (self.header(&reply), members.collect());
        Ok(Response::new(pb::MemberListResponse { header, members }))
    }

    async fn member_add(
        &self,
        _request: Request<pb::MemberAddRequest>,
    ) -> Result<Response<pb::MemberAddResponse>, Status> {
        elsewhere()
    }

    async fn member_remove(
        &self,
        _request: Request<pb::MemberRemoveRequest>,
    ) -> Result<Response<pb::MemberRemoveResponse>, Status> {
        elsewhere()
    }

    async fn member_update(
        &self,
        _request: Request<pb::MemberUpdateRequest>,
    ) -> Result<Response<pb::MemberUpdateResponse>, Status> {
        elsewhere()
    }

    async fn member_promote(
        &self,
        _request: Request<pb::MemberPromoteRequest>,
    ) -> Result<Response<pb::MemberPromoteResponse>, Status> {
        elsewhere()
    }
}
