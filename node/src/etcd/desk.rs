//! The loop's side: the directory, who waits for its replies, and who watches it.

use super::handle::Asked;
use cairn_directory::Core;
use cairn_directory::core::{Limits, Outbox, Refusal, Reply};
use cairn_directory::watch::{Notice, Sink, StreamId};
use cairn_logic::time::Instant;
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};

/// Who waits for a reply.
pub type Token = oneshot::Sender<Result<Reply, Refusal>>;

/// Open streams of watches.
#[derive(Debug, Default)]
pub struct Streams {
    open: BTreeMap<StreamId, mpsc::Sender<Notice>>,
}

impl Sink for Streams {
    fn is_ready(&self, stream: StreamId) -> bool {
        self.open.get(&stream).is_some_and(|notices| notices.capacity() > 0)
    }

    fn notify(&mut self, stream: StreamId, notice: Notice) -> bool {
        self.open.get(&stream).is_some_and(|notices| notices.try_send(notice).is_ok())
    }
}

impl Outbox for Streams {
    type Token = Token;

    fn reply(&mut self, token: Token, reply: Result<Reply, Refusal>) {
        // A client that went away needs no reply.
        drop(token.send(reply));
    }
}

/// The directory behind the services. Its owner appends what [`Core::take_batch`] hands out and
/// says what is committed; `core` and `streams` are apart so that one can be lent to the other.
#[derive(Debug)]
pub struct Desk {
    /// The directory with its pending requests.
    pub core: Core<Token>,
    /// Where replies and notices go.
    pub streams: Streams,
}

impl Desk {
    /// An empty directory, loading.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { core: Core::new(limits), streams: Streams::default() }
    }

    /// Takes what a service asked.
    pub fn accept(&mut self, now: Instant, asked: Asked) {
        match asked {
            Asked::OpenStream(stream, notices) => {
                self.streams.open.insert(stream, notices);
            }
            Asked::Request(request, token) => {
                let closes = match &request {
                    cairn_directory::core::Request::CloseStream { stream } => Some(*stream),
                    _ => None,
                };
                self.core.request(now, token, request, &mut self.streams);
                if let Some(stream) = closes {
                    self.streams.open.remove(&stream);
                }
            }
        }
    }
}
