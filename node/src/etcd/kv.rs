//! The KV service: Range, Put, DeleteRange, Txn, Compact.

use super::forward::{ANSWER_BYTES_MAX, forwarded};
use super::handle::{Handle, unexpected};
use cairn_directory::core::{Reply, Request as Ask, Response as Told};
use cairn_directory::op::{Op, REQUEST_BYTES_MAX};
use cairn_directory::{Answer, Error};
use cairn_logic::ids::Revision;
use cairn_wire::etcd::{Message, convert, etcdserverpb as pb, refuse};
use pb::kv_client::KvClient;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// A client of the master's KV service.
fn master(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

fn check_size(message: &impl Message) -> Result<(), Status> {
    if message.encoded_len() > REQUEST_BYTES_MAX {
        return Err(refuse::error(Error::RequestTooLarge));
    }
    Ok(())
}

impl Handle {
    /// Proposes a change.
    pub(super) async fn propose(&self, op: Op) -> Result<(Reply, Answer), Status> {
        let mut reply = self.ask(Ask::Propose { op, system: self.is_system() }).await?;
        match std::mem::replace(&mut reply.response, Told::Done(true)) {
            Told::Answer(answer) => Ok((reply, answer)),
            other => Err(unexpected(&other)),
        }
    }

    /// Proposes a change whose answer says nothing more than its header.
    pub(super) async fn propose_plainly(
        &self,
        op: Op,
    ) -> Result<Option<pb::ResponseHeader>, Status> {
        let (reply, _) = self.propose(op).await?;
        Ok(self.header(&reply))
    }
}

#[tonic::async_trait]
impl pb::kv_server::Kv for Handle {
    async fn range(
        &self,
        request: Request<pb::RangeRequest>,
    ) -> Result<Response<pb::RangeResponse>, Status> {
        let serializable = request.get_ref().serializable;
        if !serializable && let Some(channel) = self.elsewhere(&request)? {
            return master(channel).range(forwarded(request.into_inner())).await;
        }
        let query = convert::range(request.into_inner()).map_err(refuse::error)?;
        let reply = self.ask(Ask::Range { query, serializable }).await?;
        let header = self.header(&reply);
        match reply.response {
            Told::Range(range) => Ok(Response::new(convert::range_response(range, header))),
            other => Err(unexpected(&other)),
        }
    }

    async fn put(
        &self,
        request: Request<pb::PutRequest>,
    ) -> Result<Response<pb::PutResponse>, Status> {
        check_size(request.get_ref())?;
        if let Some(channel) = self.elsewhere(&request)? {
            return master(channel).put(forwarded(request.into_inner())).await;
        }
        match self.propose(Op::Put(convert::put(request.into_inner()))).await? {
            (reply, Answer::Put(prev)) => {
                let prev_kv = prev.map(convert::key_value);
                Ok(Response::new(pb::PutResponse { header: self.header(&reply), prev_kv }))
            }
            (_, other) => Err(unexpected(&Told::Answer(other))),
        }
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        check_size(request.get_ref())?;
        if let Some(channel) = self.elsewhere(&request)? {
            return master(channel).delete_range(forwarded(request.into_inner())).await;
        }
        match self.propose(Op::DeleteRange(convert::delete(request.into_inner()))).await? {
            (reply, Answer::DeleteRange { deleted, prev }) => {
                let header = self.header(&reply);
                Ok(Response::new(convert::delete_response(deleted, prev, header)))
            }
            (_, other) => Err(unexpected(&Told::Answer(other))),
        }
    }

    async fn txn(
        &self,
        request: Request<pb::TxnRequest>,
    ) -> Result<Response<pb::TxnResponse>, Status> {
        check_size(request.get_ref())?;
        let message = request.get_ref();
        // As in etcd: a transaction that only reads, and only what may be old, is answered here.
        let serializable = is_serializable(&message.success) && is_serializable(&message.failure);
        if !serializable && let Some(channel) = self.elsewhere(&request)? {
            return master(channel).txn(forwarded(request.into_inner())).await;
        }
        let txn = convert::txn(request.into_inner()).map_err(refuse::error)?;
        let reads = txn.is_read_only();
        let (reply, answer) = if reads {
            let mut reply = self.ask(Ask::ReadTxn { txn, serializable }).await?;
            match std::mem::replace(&mut reply.response, Told::Done(true)) {
                Told::Answer(answer) => (reply, answer),
                other => return Err(unexpected(&other)),
            }
        } else {
            self.propose(Op::Txn(txn)).await?
        };
        match answer {
            Answer::Txn { succeeded, answers } => {
                let header = self.header(&reply);
                let response = convert::txn_response(succeeded, answers, reply.revision, header);
                Ok(Response::new(response))
            }
            other => Err(unexpected(&Told::Answer(other))),
        }
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        if let Some(channel) = self.elsewhere(&request)? {
            return master(channel).compact(forwarded(request.into_inner())).await;
        }
        let revision = convert::revision(request.get_ref().revision).unwrap_or(Revision::ZERO);
        let header = self.propose_plainly(Op::Compact { revision }).await?;
        Ok(Response::new(pb::CompactionResponse { header }))
    }
}

/// Whether every operation is a range that may be old.
fn is_serializable(ops: &[pb::RequestOp]) -> bool {
    use pb::request_op::Request as One;
    ops.iter().all(|op| match &op.request {
        Some(One::RequestRange(range)) => range.serializable,
        Some(One::RequestPut(_) | One::RequestDeleteRange(_) | One::RequestTxn(_)) | None => false,
    })
}
