//! The loop's side: the directory, who waits for its replies, and who watches it.

use super::handle::Asked;
use cairn_directory::core::{Limits, Outbox, Refusal, Reply};
use cairn_directory::watch::{Notice, Sink, StreamId};
use cairn_directory::{Core, KeyValue};
use cairn_logic::time::Instant;
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::{mpsc, oneshot};

/// Who waits for a reply.
pub type Token = oneshot::Sender<Result<Reply, Refusal>>;

/// A stream for which so many bytes of events wait takes no more.
const QUEUED_BYTES_MAX: usize = 4 << 20;

/// One stream and what waits for it.
#[derive(Debug)]
struct Stream {
    notices: mpsc::Sender<Notice>,
    /// The bytes of the last notices sent; the queue's length tells how many of them still wait.
    sizes: VecDeque<usize>,
}

impl Stream {
    fn queued(&self) -> usize {
        self.notices.max_capacity() - self.notices.capacity()
    }

    fn queued_bytes(&self) -> usize {
        self.sizes.iter().rev().take(self.queued()).sum()
    }

    fn notify(&mut self, notice: Notice) -> bool {
        if self.queued_bytes() >= QUEUED_BYTES_MAX {
            return false;
        }
        let size = size_of(&notice);
        let sent = self.notices.try_send(notice).is_ok();
        if sent {
            self.sizes.push_back(size);
        }
        let read = self.sizes.len().saturating_sub(self.queued());
        self.sizes.drain(..read);
        sent
    }
}

fn size_of(notice: &Notice) -> usize {
    match notice {
        Notice::Events { events, .. } => events
            .iter()
            .map(|event| event.kv.bytes() + event.prev.as_ref().map_or(0, KeyValue::bytes))
            .sum(),
        Notice::Progress { .. } | Notice::Cancelled { .. } => 0,
    }
}

/// Open streams of watches.
#[derive(Debug, Default)]
pub struct Streams {
    open: BTreeMap<StreamId, Stream>,
}

impl Sink for Streams {
    fn is_ready(&self, stream: StreamId) -> bool {
        self.open.get(&stream).is_some_and(|stream| {
            stream.notices.capacity() > 0 && stream.queued_bytes() < QUEUED_BYTES_MAX
        })
    }

    fn notify(&mut self, stream: StreamId, notice: Notice) -> bool {
        self.open.get_mut(&stream).is_some_and(|stream| stream.notify(notice))
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
                let sizes = VecDeque::new();
                self.streams.open.insert(stream, Stream { notices, sizes });
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
