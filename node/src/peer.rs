//! The one place where processes of a cluster meet: who may call, and how messages travel.
//!
//! [`spawn`] answers on the peer and heartbeat ports and puts what arrives into the role's inbox;
//! [`links::Links`] sends. Log streams are plain frames ([`stream`]), all else is gRPC. Nothing
//! here decides. TLS wraps both in this module ([`incoming`], [`client`]); what RESP clients
//! speak is in `data::stream`.

pub mod client;
pub mod incoming;
pub mod links;
pub mod service;
pub mod stream;

use crate::data::link::Publications;
use crate::metrics::Facts;
use crate::tls::Doors;
use bytes::Bytes;
use cairn_logic::ids::Life;
use cairn_logic::message::Sender;
use cairn_wire::hello::{Caller, Secret};
use cairn_wire::peer::frame::Frame;
use cairn_wire::peer::pb;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};
use tonic::{Status, Streaming};

pub use incoming::incoming;
pub use service::{peer_routes, server, spawn};

/// Frames that may wait for one peer before new ones are dropped (the replica sends them again).
pub const LINK_QUEUE: usize = 256;
/// The largest message accepted, in bytes: one batch of the largest size and its frame.
pub const MESSAGE_BYTES_MAX: usize = (64 << 20) + (1 << 20);

/// Who this process is, and what proves it.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Node and folder.
    pub me: Sender,
    /// The cluster's secret.
    pub secret: Arc<Secret>,
    /// The certificates of this node's doors.
    pub tls: Doors,
    life: Arc<AtomicU64>,
}

impl Identity {
    /// An identity whose life is not known yet.
    #[must_use]
    pub fn new(me: Sender, secret: Secret, tls: Doors) -> Self {
        Self { me, secret: Arc::new(secret), tls, life: Arc::new(AtomicU64::new(0)) }
    }

    /// The run of this process.
    #[must_use]
    pub fn life(&self) -> Life {
        Life(self.life.load(Ordering::Relaxed))
    }

    /// Sets the run of this process, once it is flushed.
    pub fn set_life(&self, life: Life) {
        self.life.store(life.0, Ordering::Relaxed);
    }
}

/// Where the answer to a unary call goes.
pub type Reply<T> = oneshot::Sender<Result<T, Status>>;

/// What arrives on the peer and heartbeat ports.
#[derive(Debug)]
pub enum Inbound {
    /// A message of a log.
    Frame {
        /// Who sent it.
        from: Sender,
        /// What.
        frame: Frame,
        /// Whether it came on a heartbeat connection, or answers one.
        beat: bool,
        /// Where answers to it go; absent if it is an answer itself.
        back: Option<mpsc::Sender<pb::Frame>>,
    },
    /// A data node opened its line to the global master.
    Line {
        /// Who.
        caller: Caller,
        /// Where orders to it go.
        down: mpsc::Sender<pb::Down>,
    },
    /// Something came up that line.
    Up {
        /// From whom.
        caller: Caller,
        /// What.
        up: pb::Up,
    },
    /// The line is closed.
    LineClosed {
        /// Whose.
        caller: Caller,
        /// Which: the node may have opened another one meanwhile. Weak, because the line is closed
        /// by dropping the other end.
        down: mpsc::WeakSender<pb::Down>,
    },
    /// Which global node is master?
    Where(Reply<pb::WhereReply>),
    /// Make the cluster's record.
    Found(pb::FoundRequest, Reply<pb::FoundReply>),
    /// A message to the acceptor in this process.
    Accept(Bytes, Reply<Bytes>),
    /// What do you know of yourself?
    Status(pb::StatusRequest, Reply<pb::StatusReply>),
    /// What the metrics port shows.
    Facts(Reply<Facts>),
    /// A wish or a hint.
    Wish(pb::WishRequest, Reply<pb::WishReply>),
    /// What clients of another node have published.
    Publications(Box<Publications>),
    /// A part of what a move brings.
    Carried {
        /// What.
        frame: pb::MoveFrame,
        /// Where answers go.
        back: mpsc::Sender<pb::MoveReply>,
    },
    /// What do you know of the directory?
    Known(Reply<pb::KnownReply>),
    /// Begin the directory anew with this.
    Rebuild(Streaming<pb::RebuildPart>, Reply<pb::WishReply>),
}
