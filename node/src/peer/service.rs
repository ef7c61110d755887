//! The server side: checks every Hello, then hands over what arrives.

use super::incoming::incoming;
use super::stream::Answering;
use super::{Identity, Inbound, LINK_QUEUE, MESSAGE_BYTES_MAX, Reply};
use crate::data::link::Publications;
use crate::data::post::{POST_BYTES_MAX, Publication};
use crate::snapshots::{Chunks, LogChunks, Shelf};
use cairn_logic::ids::GroupId;
use cairn_logic::time::Duration;
use cairn_wire::hello::{Caller, HELLO_KEY};
use cairn_wire::peer::pb;
use cairn_wire::peer::pb::peer_server::{Peer, PeerServer};
use std::pin::Pin;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::service::{InterceptorLayer, RoutesBuilder};
use tonic::{Request, Response, Status, Streaming};

/// The peer service of one process.
#[derive(Clone, Debug)]
pub struct PeerService {
    identity: Identity,
    inbox: mpsc::Sender<Inbound>,
    shelf: Shelf,
    /// Bytes of messages that may wait for this node's listeners, from all callers.
    room: Arc<Semaphore>,
}

/// Refuses callers that do not prove the cluster secret; the [`Caller`] of others is an extension.
#[derive(Clone, Debug)]
pub struct CheckHello(Identity);

impl CheckHello {
    /// Checks calls that reach `identity`.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self(identity)
    }
}

impl tonic::service::Interceptor for CheckHello {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        match self.0.secret.check(request.metadata(), &self.0.me.id) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
                Ok(request)
            }
            Err(refused) => {
                let from = request.remote_addr();
                tracing::warn!(?from, %refused, "refused a caller on the peer port");
                Err(Status::unauthenticated(refused.to_string()))
            }
        }
    }
}

/// The peer service, to be served by [`spawn`]; what `shelf` has is served beside `inbox`.
#[must_use]
pub fn peer_routes(
    identity: &Identity,
    inbox: mpsc::Sender<Inbound>,
    shelf: &Shelf,
) -> RoutesBuilder {
    let (identity, shelf) = (identity.clone(), shelf.clone());
    let room = Arc::new(Semaphore::new(POST_BYTES_MAX));
    let server = PeerServer::new(PeerService { identity, inbox, shelf, room })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let mut routes = RoutesBuilder::default();
    routes.add_service(server);
    routes
}

/// Serves `routes`, and log streams into `inbox`, on `listener` to those that prove the cluster
/// secret.
pub fn spawn(
    identity: &Identity,
    listener: TcpListener,
    inbox: mpsc::Sender<Inbound>,
    routes: RoutesBuilder,
) {
    let check = InterceptorLayer::new(CheckHello::new(identity.clone()));
    let server = server().layer(check).add_routes(routes.routes());
    let streams = Answering { identity: identity.clone(), inbox };
    let calls = incoming(listener, identity.tls.peers.clone(), Some(streams));
    tokio::spawn(server.serve_with_incoming(calls));
}

/// How often a server asks a silent connection for a sign of life, and how long it waits for it.
/// This only frees what dead clients hold: those who wait for an answer ask more often.
const ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// A server with the limits every gRPC port has.
#[must_use]
pub fn server() -> tonic::transport::Server {
    tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(ALIVE.0))
        .http2_keepalive_timeout(Some(ALIVE.1))
        .initial_stream_window_size(8 << 20)
        .initial_connection_window_size(16 << 20)
        .max_concurrent_streams(1024)
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Status::unauthenticated("no hello"))
}

fn gone() -> Status {
    Status::unavailable("this process is stopping")
}

fn publication(one: pb::Publication) -> Publication {
    let pb::Publication { channel, message, sharded } = one;
    Publication { channel: channel.into(), message: message.into(), sharded }
}

type MoveReplies = Pin<Box<dyn Stream<Item = Result<pb::MoveReply, Status>> + Send>>;
type Downs = Pin<Box<dyn Stream<Item = Result<pb::Down, Status>> + Send>>;

impl PeerService {
    async fn ask<T>(&self, make: impl FnOnce(Reply<T>) -> Inbound) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(make(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// The caller must know whose folder answers: acknowledgements count by incarnation.
    fn signed<T>(&self, to: &str, body: T) -> Response<T> {
        let mut response = Response::new(body);
        let hello = self.identity.secret.metadata(&self.identity.me, self.identity.life(), to);
        response.metadata_mut().insert_bin(HELLO_KEY, hello);
        response
    }
}

#[tonic::async_trait]
impl Peer for PeerService {
    type ControlStream = Downs;
    type FetchSnapshotStream = Chunks;
    type FetchLogStream = LogChunks;
    type CarryStream = MoveReplies;

    async fn control(
        &self,
        request: Request<Streaming<pb::Up>>,
    ) -> Result<Response<Downs>, Status> {
        let caller = caller(&request)?;
        let (down, downs) = mpsc::channel(LINK_QUEUE);
        let weak = down.downgrade();
        let line = Inbound::Line { caller: caller.clone(), down };
        self.inbox.send(line).await.map_err(|_| gone())?;
        let inbox = self.inbox.clone();
        let mut ups = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(up)) = ups.next().await {
                if inbox.send(Inbound::Up { caller: caller.clone(), up }).await.is_err() {
                    return;
                }
            }
            inbox.send(Inbound::LineClosed { caller, down: weak }).await.ok();
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(downs).map(Ok))))
    }

    async fn r#where(
        &self,
        _: Request<pb::WhereRequest>,
    ) -> Result<Response<pb::WhereReply>, Status> {
        self.ask(Inbound::Where).await.map(Response::new)
    }

    async fn found(
        &self,
        request: Request<pb::FoundRequest>,
    ) -> Result<Response<pb::FoundReply>, Status> {
        let request = request.into_inner();
        self.ask(|reply| Inbound::Found(request, reply)).await.map(Response::new)
    }

    async fn accept(
        &self,
        request: Request<pb::AcceptorCall>,
    ) -> Result<Response<pb::AcceptorReply>, Status> {
        let to = caller(&request)?.sender.id;
        let message = request.into_inner().message;
        let message = self.ask(|reply| Inbound::Accept(message, reply)).await?;
        Ok(self.signed(to.as_str(), pb::AcceptorReply { message }))
    }

    async fn status(
        &self,
        request: Request<pb::StatusRequest>,
    ) -> Result<Response<pb::StatusReply>, Status> {
        let wanted = request.into_inner();
        self.ask(|reply| Inbound::Status(wanted, reply)).await.map(Response::new)
    }

    async fn wish(
        &self,
        request: Request<pb::WishRequest>,
    ) -> Result<Response<pb::WishReply>, Status> {
        let request = request.into_inner();
        self.ask(|reply| Inbound::Wish(request, reply)).await.map(Response::new)
    }

    async fn known(
        &self,
        _: Request<pb::KnownRequest>,
    ) -> Result<Response<pb::KnownReply>, Status> {
        self.ask(Inbound::Known).await.map(Response::new)
    }

    async fn publish(
        &self,
        request: Request<Streaming<pb::Publications>>,
    ) -> Result<Response<pb::PublishReply>, Status> {
        let mut all = request.into_inner();
        while let Some(Ok(some)) = all.next().await {
            let publications: Vec<_> = some.publications.into_iter().map(publication).collect();
            let cost = publications.iter().map(|one| u64::from(one.cost())).sum::<u64>();
            let cost = u32::try_from(cost.min(POST_BYTES_MAX as u64)).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.room).acquire_many_owned(cost);
            let room = room.await.map_err(|_| gone())?;
            let group = GroupId::new(&some.group);
            let arrived = Publications { group, publications, room };
            let inbound = Inbound::Publications(Box::new(arrived));
            self.inbox.send(inbound).await.map_err(|_| gone())?;
        }
        Ok(Response::new(pb::PublishReply {}))
    }

    async fn carry(
        &self,
        request: Request<Streaming<pb::MoveFrame>>,
    ) -> Result<Response<MoveReplies>, Status> {
        let (back, replies) = mpsc::channel(LINK_QUEUE);
        let inbox = self.inbox.clone();
        let mut frames = request.into_inner();
        tokio::spawn(async move {
            while let Some(Ok(frame)) = frames.next().await {
                let back = back.clone();
                if inbox.send(Inbound::Carried { frame, back }).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(replies).map(Ok))))
    }

    async fn rebuild(
        &self,
        request: Request<Streaming<pb::RebuildPart>>,
    ) -> Result<Response<pb::WishReply>, Status> {
        let parts = request.into_inner();
        self.ask(|reply| Inbound::Rebuild(parts, reply)).await.map(Response::new)
    }

    async fn snapshots(
        &self,
        request: Request<pb::SnapshotsRequest>,
    ) -> Result<Response<pb::SnapshotsReply>, Status> {
        let to = caller(&request)?.sender.id;
        let reply = self.shelf.list(request.into_inner()).await?;
        Ok(self.signed(to.as_str(), reply))
    }

    async fn fetch_snapshot(
        &self,
        request: Request<pb::FetchRequest>,
    ) -> Result<Response<Chunks>, Status> {
        let to = caller(&request)?.sender.id;
        let request = request.into_inner();
        tracing::info!(
            %to, group = %request.group, name = %request.name, position = request.position,
            "sending a snapshot"
        );
        let chunks = self.shelf.send(request).await?;
        Ok(self.signed(to.as_str(), chunks))
    }

    async fn fetch_log(
        &self,
        request: Request<pb::LogRequest>,
    ) -> Result<Response<LogChunks>, Status> {
        let to = caller(&request)?.sender.id;
        let request = request.into_inner();
        tracing::debug!(%to, group = %request.group, from = request.from, "sending a log");
        let chunks = self.shelf.send_log(request).await?;
        Ok(self.signed(to.as_str(), chunks))
    }
}
