//! What the services hold: a line to the loop, and what is known of the global plane.

use super::forward::Forward;
use crate::tls::Keys;
use cairn_directory::core::{Refusal, Reply, Request, Response};
use cairn_directory::watch::{Notice, StreamId};
use cairn_logic::ids::{Epoch, Revision};
use cairn_logic::time::Duration;
use cairn_wire::etcd::{convert, etcdserverpb as pb, refuse};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tonic::Status;

/// The longest a request may take in all; the loop's own bound is shorter.
const ANSWER_MAX: Duration = Duration::from_secs(7);
/// Watch and keep-alive streams open at once.
const STREAMS_MAX: usize = 10_000;

/// A request on its way to the loop.
#[derive(Debug)]
pub enum Asked {
    /// A request and where its reply goes.
    Request(Request, oneshot::Sender<Result<Reply, Refusal>>),
    /// A stream of watches and where its notices go. Closed by [`Request::CloseStream`].
    OpenStream(StreamId, mpsc::Sender<Notice>),
}

/// Where the master of the global plane can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterAt {
    /// Its number among the members.
    pub member_id: u64,
    /// `host:port` of its etcd port.
    pub etcd: String,
}

/// One global node, as clients are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberAt {
    /// A number that stays, not 0; [`Plane::number_of`] makes one from a node's id.
    pub member_id: u64,
    /// The node's id.
    pub name: String,
    /// `host:port` of its peer port.
    pub peer: String,
    /// `host:port` of its etcd port.
    pub etcd: String,
    /// Whether it follows without counting.
    pub learner: bool,
}

/// What clients are told of the global plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plane {
    /// A number that stays for the cluster.
    pub cluster_id: u64,
    /// This node's number.
    pub member_id: u64,
    /// The master, if one is known. If it is this node, requests go to the loop.
    pub master: Option<MasterAt>,
    /// The epoch it masters.
    pub epoch: Epoch,
    /// All global nodes.
    pub members: Vec<MemberAt>,
}

impl Plane {
    /// A number for a node's or a cluster's name: etcd's clients know numbers only.
    #[must_use]
    pub fn number_of(name: &str) -> u64 {
        let start = 0xcbf2_9ce4_8422_2325_u64;
        let mixed = name
            .bytes()
            .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        mixed.max(1)
    }

    /// Whether this node is the master.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.master.as_ref().is_some_and(|master| master.member_id == self.member_id)
    }
}

/// A line to the loop; one for each port.
#[derive(Clone, Debug)]
pub struct Handle {
    asked: mpsc::Sender<Asked>,
    plane: watch::Receiver<Arc<Plane>>,
    pub(super) forward: Forward,
    /// The certificates of the etcd ports; none: plain text.
    pub(super) tls: Option<Arc<Keys>>,
    streams: Arc<AtomicU64>,
    open_streams: Arc<Semaphore>,
    system: bool,
}

impl Handle {
    pub(super) fn new(asked: mpsc::Sender<Asked>, plane: watch::Receiver<Arc<Plane>>) -> Self {
        Self {
            asked,
            plane,
            forward: Forward::default(),
            tls: None,
            streams: Arc::new(AtomicU64::new(1)),
            open_streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            system: false,
        }
    }

    /// The same line for callers that proved to be part of the system: they may write `/cairn/`.
    /// They are not passed on: they look for the master themselves.
    #[must_use]
    pub fn for_system(&self) -> Self {
        Self { system: true, ..self.clone() }
    }

    /// The same line, for ports that speak TLS.
    #[must_use]
    pub fn with_tls(self, tls: Option<Arc<Keys>>) -> Self {
        Self { tls, ..self }
    }

    /// Whether the callers are part of the system.
    #[must_use]
    pub fn is_system(&self) -> bool {
        self.system
    }

    /// What is known of the global plane.
    #[must_use]
    pub fn plane(&self) -> Arc<Plane> {
        Arc::clone(&self.plane.borrow())
    }

    /// Asks the loop and waits for its reply.
    ///
    /// # Errors
    /// The loop's refusal, or `Unavailable` if it takes too long or is gone.
    pub async fn ask(&self, request: Request) -> Result<Reply, Status> {
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            let stopped = |()| Status::unavailable("etcdserver: server stopped");
            self.asked.send(Asked::Request(request, reply)).await.map_err(|_| stopped(()))?;
            answer.await.map_err(|_| stopped(()))
        };
        let answered = timeout(ANSWER_MAX, exchange).await;
        let answered = answered.unwrap_or(Ok(Err(Refusal::TimedOut)))?;
        answered.map_err(refuse::refusal)
    }

    /// Opens a stream of watches; the permit counts it as long as it lives.
    pub(super) async fn open_stream(
        &self,
        notices: mpsc::Sender<Notice>,
    ) -> Result<StreamId, Status> {
        let stream = StreamId(self.streams.fetch_add(1, Ordering::Relaxed));
        let opened = self.asked.send(Asked::OpenStream(stream, notices)).await;
        opened.map_err(|_| Status::unavailable("etcdserver: server stopped"))?;
        Ok(stream)
    }

    /// Takes the place of one stream, or refuses it.
    pub(super) fn admit_stream(&self) -> Result<tokio::sync::OwnedSemaphorePermit, Status> {
        Arc::clone(&self.open_streams)
            .try_acquire_owned()
            .map_err(|_| refuse::refusal(Refusal::TooManyRequests))
    }

    /// The header of a reply.
    pub(super) fn header(&self, reply: &Reply) -> Option<pb::ResponseHeader> {
        Some(self.header_at(reply.revision, reply.epoch))
    }

    pub(super) fn header_at(&self, revision: Revision, epoch: Epoch) -> pb::ResponseHeader {
        let plane = self.plane.borrow();
        convert::header(plane.cluster_id, plane.member_id, revision, epoch.0)
    }
}

/// The loop answered with something else than was asked for: a broken invariant.
pub(super) fn unexpected(response: &Response) -> Status {
    tracing::error!(?response, "the directory answered another question");
    Status::internal("etcdserver: unexpected answer")
}
