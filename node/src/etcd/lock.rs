//! The Lock service: a lock is the turn among the keys below its name.

use super::forward::forwarded;
use super::handle::Handle;
use bytes::Bytes;
use cairn_directory::op::{DeleteRange, Op};
use cairn_directory::range::KeyRange;
use cairn_wire::etcd::v3lockpb as pb;
use pb::lock_client::LockClient;
use tonic::{Request, Response, Status};

#[tonic::async_trait]
impl pb::lock_server::Lock for Handle {
    async fn lock(
        &self,
        request: Request<pb::LockRequest>,
    ) -> Result<Response<pb::LockResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return LockClient::new(channel).lock(forwarded(request.into_inner())).await;
        }
        let pb::LockRequest { name, lease } = request.into_inner();
        let (place, _) = self.take_place(&name, lease, Bytes::new()).await?;
        let header = self.wait_turn(&place).await?;
        Ok(Response::new(pb::LockResponse { header, key: place.key }))
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return LockClient::new(channel).unlock(forwarded(request.into_inner())).await;
        }
        let range = KeyRange::single(request.into_inner().key);
        let header =
            self.propose_plainly(Op::DeleteRange(DeleteRange { range, prev_kv: false })).await?;
        Ok(Response::new(pb::UnlockResponse { header }))
    }
}
