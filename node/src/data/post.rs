//! Messages of clients on their way to other nodes: bounded, and dropped rather than waited for.

use cairn_logic::ids::GroupId;
use std::sync::Arc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Messages that may wait for one way.
pub const POST_MAX: usize = 4096;
/// Bytes that may wait for one way. A larger message goes only when nothing else waits.
pub const POST_BYTES_MAX: usize = 16 << 20;
/// What a message takes beside its texts, in bytes.
const OVERHEAD_BYTES: usize = 64;

/// A message that a client published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// Where to.
    pub channel: Vec<u8>,
    /// What.
    pub message: Vec<u8>,
    /// Whether it stays in the group that owns the channel's slot (SPUBLISH).
    pub sharded: bool,
}

impl Publication {
    /// What it takes of [`POST_BYTES_MAX`].
    #[must_use]
    pub fn cost(&self) -> u32 {
        let bytes = self.channel.len() + self.message.len() + OVERHEAD_BYTES;
        u32::try_from(bytes.min(POST_BYTES_MAX)).unwrap_or(u32::MAX)
    }
}

/// What clients of another node have published.
#[derive(Debug)]
pub struct Publications {
    /// The group of that node.
    pub group: GroupId,
    /// The messages, in order.
    pub publications: Vec<Publication>,
    /// The room they take on their way, free again once they were handed out.
    pub room: OwnedSemaphorePermit,
}

/// A message with the room it takes, which is free again once this is dropped.
#[derive(Debug)]
pub struct Posted {
    /// The message.
    pub publication: Arc<Publication>,
    _room: OwnedSemaphorePermit,
}

/// The near end of one way.
#[derive(Clone, Debug)]
pub struct Post {
    sender: mpsc::Sender<Posted>,
    room: Arc<Semaphore>,
}

impl Post {
    /// A way, and its far end.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Posted>) {
        let (sender, receiver) = mpsc::channel(POST_MAX);
        (Self { sender, room: Arc::new(Semaphore::new(POST_BYTES_MAX)) }, receiver)
    }

    /// Sends a message, or drops it if there is no room; false if it was dropped. Never waits.
    pub fn send(&self, publication: &Arc<Publication>) -> bool {
        let room = Arc::clone(&self.room).try_acquire_many_owned(publication.cost());
        let Ok(room) = room else { return false };
        let posted = Posted { publication: Arc::clone(publication), _room: room };
        !matches!(self.sender.try_send(posted), Err(TrySendError::Full(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(bytes: usize) -> Arc<Publication> {
        let message = vec![0; bytes];
        Arc::new(Publication { channel: b"c".to_vec(), message, sharded: false })
    }

    #[test]
    fn what_has_no_room_is_dropped_and_room_comes_back() {
        let (post, mut far) = Post::new();
        assert!(post.send(&publication(POST_BYTES_MAX / 2)));
        assert!(!post.send(&publication(POST_BYTES_MAX / 2)));
        drop(far.try_recv().unwrap());
        assert!(post.send(&publication(POST_BYTES_MAX * 2)), "a large one goes alone");
        assert!(!post.send(&publication(0)));
    }

    #[test]
    fn not_too_many_wait() {
        let (post, _far) = Post::new();
        let sent = (0..POST_MAX + 10).filter(|_| post.send(&publication(1))).count();
        assert_eq!(sent, POST_MAX);
    }
}
