//! Sending to members: one log stream and one heartbeat stream per peer, kept up in the background.
//!
//! A message that finds no connection, or a full queue, is dropped: the replica sends it again,
//! but not soon. So while a connection is being made messages wait for it: the first words of an
//! elect to members that it never spoke to would otherwise be lost each time.

use super::{Identity, Inbound, LINK_QUEUE, stream};
use bytes::Bytes;
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::message::Message;
use cairn_logic::time::Duration;
use cairn_wire::peer::frame::Frame;
use cairn_wire::peer::pb;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// The shortest and longest waits between two tries to connect.
const RETRY: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));

/// Where a node's peer and heartbeat ports are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// `host:port` of the peer port.
    pub peer: String,
    /// `host:port` of the heartbeat port.
    pub heartbeat: String,
}

/// Addresses by node; written by whoever follows the directory, read when a link connects.
#[derive(Clone, Debug, Default)]
pub struct AddressBook(Arc<RwLock<BTreeMap<NodeId, PeerAddress>>>);

impl AddressBook {
    /// Learns (or replaces) a node's address.
    pub fn set(&self, id: NodeId, address: PeerAddress) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(id, address);
    }

    /// All that are known.
    #[must_use]
    pub fn all(&self) -> Vec<(NodeId, PeerAddress)> {
        let book = self.0.read().unwrap_or_else(PoisonError::into_inner);
        book.iter().map(|(id, address)| (id.clone(), address.clone())).collect()
    }

    /// Where `id` is.
    #[must_use]
    pub fn get(&self, id: &NodeId) -> Option<PeerAddress> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }
}

type Outbox = Arc<Mutex<Option<mpsc::Sender<pb::Frame>>>>;

struct Link {
    log: Outbox,
    beat: Outbox,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// The streams on which a master's messages came in, and answers go back.
#[derive(Default)]
struct Back {
    log: Option<mpsc::Sender<pb::Frame>>,
    beat: Option<mpsc::Sender<pb::Frame>>,
}

/// All links of one log.
pub struct Links {
    group: GroupId,
    identity: Identity,
    book: AddressBook,
    inbox: mpsc::Sender<Inbound>,
    links: BTreeMap<NodeId, Link>,
    backs: BTreeMap<NodeId, Back>,
    /// Answers go back on the heartbeat stream while a heartbeat is being handled.
    answering_beat: bool,
}

impl Links {
    /// No links yet; what members answer goes to `inbox`.
    #[must_use]
    pub fn new(
        group: GroupId,
        identity: Identity,
        book: AddressBook,
        inbox: mpsc::Sender<Inbound>,
    ) -> Self {
        let (links, backs) = (BTreeMap::new(), BTreeMap::new());
        Self { group, identity, book, inbox, links, backs, answering_beat: false }
    }

    /// A message came in from `from`: answers go back where it came from.
    pub fn came(&mut self, from: &NodeId, beat: bool, back: Option<mpsc::Sender<pb::Frame>>) {
        self.answering_beat = beat;
        if let Some(back) = back {
            let entry = self.backs.entry(from.clone()).or_default();
            *(if beat { &mut entry.beat } else { &mut entry.log }) = Some(back);
        }
    }

    /// Keeps only links to these nodes.
    pub fn retain(&mut self, nodes: &BTreeSet<NodeId>) {
        self.links.retain(|id, _| nodes.contains(id));
    }

    /// Sends a message to `to`, or drops it.
    pub fn send(&mut self, to: &NodeId, message: Message, bodies: Vec<Bytes>) {
        let outbox = match &message {
            Message::Append(_) | Message::Healed { .. } => self.link(to).log.clone(),
            Message::Heartbeat(_) => self.link(to).beat.clone(),
            Message::Ack(_) | Message::Refuse(_) => return self.answer(to, message),
        };
        let frame = Frame { group: self.group.clone(), message, bodies };
        let sender = outbox.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(sender) = sender {
            sender.try_send(frame.into()).ok();
        }
    }

    fn answer(&mut self, to: &NodeId, message: Message) {
        let Some(back) = self.backs.get(to) else { return };
        let (first, second) =
            if self.answering_beat { (&back.beat, &back.log) } else { (&back.log, &back.beat) };
        let frame = Frame { group: self.group.clone(), message, bodies: Vec::new() };
        let mut frame = pb::Frame::from(frame);
        for sender in [first, second].into_iter().flatten() {
            match sender.try_send(frame) {
                Ok(()) | Err(mpsc::error::TrySendError::Full(_)) => return,
                Err(mpsc::error::TrySendError::Closed(unsent)) => frame = unsent,
            }
        }
    }

    fn link(&mut self, to: &NodeId) -> &Link {
        let (identity, book, inbox) = (&self.identity, &self.book, &self.inbox);
        self.links.entry(to.clone()).or_insert_with(|| {
            let make = |beat| {
                let outbox = Outbox::default();
                let line = Line {
                    to: to.clone(),
                    beat,
                    identity: identity.clone(),
                    book: book.clone(),
                    inbox: inbox.clone(),
                    outbox: outbox.clone(),
                };
                let frames = line.queue();
                (outbox, tokio::spawn(line.run(frames)))
            };
            let ((log, log_task), (beat, beat_task)) = (make(false), make(true));
            Link { log, beat, tasks: [log_task, beat_task] }
        })
    }
}

/// One stream to one peer, connected again and again.
struct Line {
    to: NodeId,
    beat: bool,
    identity: Identity,
    book: AddressBook,
    inbox: mpsc::Sender<Inbound>,
    outbox: Outbox,
}

impl Line {
    async fn run(self, mut frames: mpsc::Receiver<pb::Frame>) {
        let mut wait = RETRY.0;
        loop {
            if self.connect_once(frames).await {
                wait = RETRY.0;
            }
            self.set(None);
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
            frames = self.queue();
        }
    }

    /// A new queue for what is to be sent by the next connection.
    fn queue(&self) -> mpsc::Receiver<pb::Frame> {
        let (sender, frames) = mpsc::channel(LINK_QUEUE);
        self.set(Some(sender));
        frames
    }

    fn set(&self, sender: Option<mpsc::Sender<pb::Frame>>) {
        *self.outbox.lock().unwrap_or_else(PoisonError::into_inner) = sender;
    }

    /// Returns, once the stream has ended, whether it had begun.
    async fn connect_once(&self, frames: mpsc::Receiver<pb::Frame>) -> bool {
        let Some(address) = self.book.get(&self.to) else { return false };
        let target = if self.beat { &address.heartbeat } else { &address.peer };
        let opened = stream::open(&self.identity, self.to.as_str(), target, self.beat).await;
        let (stream, from) = match opened {
            Ok((_, other)) if other.id != self.to => {
                tracing::warn!(to = %self.to, found = %other.id, "another node answers");
                return false;
            }
            Ok(opened) => opened,
            Err(error @ (stream::Error::Refused(_) | stream::Error::Hello(_))) => {
                tracing::warn!(to = %self.to, %error, "no log stream");
                return false;
            }
            Err(error) => {
                tracing::debug!(to = %self.to, %target, %error, "cannot connect");
                return false;
            }
        };
        let beat = self.beat;
        let inbound = |frame| Inbound::Frame { from: from.clone(), frame, beat, back: None };
        if let Err(error) = stream.carry(frames, &self.inbox, inbound).await {
            tracing::debug!(to = %self.to, %error, "a log stream has ended");
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshots::Shelf;
    use crate::tls::Doors;
    use cairn_logic::ids::{EntryId, Epoch, Incarnation, Offset};
    use cairn_logic::message::{Heartbeat, Sender};
    use cairn_logic::time::Instant;
    use cairn_wire::hello::Secret;
    use tokio::net::TcpListener;

    fn identity(name: &str) -> Identity {
        let me = Sender { id: NodeId::new(name), incarnation: Incarnation(1) };
        let secret = Secret::new(&"ab".repeat(16), &[7; 32]).unwrap();
        Identity::new(me, secret, Doors::default())
    }

    #[tokio::test]
    async fn the_first_words_to_a_member_wait_for_the_connection() {
        let (member, listener) = (identity("b"), TcpListener::bind("127.0.0.1:0").await.unwrap());
        let address = listener.local_addr().unwrap().to_string();
        let (inbox, mut arrived) = mpsc::channel(4);
        let routes = super::super::peer_routes(&member, inbox.clone(), &Shelf::new(1));
        super::super::spawn(&member, listener, inbox, routes);
        let book = AddressBook::default();
        book.set(member.me.id.clone(), PeerAddress { peer: address.clone(), heartbeat: address });
        let (answers, _) = mpsc::channel(4);
        let mut links = Links::new(GroupId::new("g"), identity("a"), book, answers);
        let beat = Heartbeat {
            epoch: Epoch(7),
            before: EntryId::ZERO,
            last: EntryId::ZERO,
            committed: Offset::ZERO,
            progressing: true,
            sent_at: Instant::ZERO,
        };
        links.send(&member.me.id, Message::Heartbeat(beat), Vec::new());
        let limit = std::time::Duration::from_secs(20);
        let inbound = tokio::time::timeout(limit, arrived.recv()).await.unwrap();
        let Some(Inbound::Frame { from, frame, beat: true, .. }) = inbound else {
            panic!("something else came: {inbound:?}");
        };
        assert_eq!(from.id, NodeId::new("a"));
        assert!(matches!(frame.message, Message::Heartbeat(beat) if beat.epoch == Epoch(7)));
    }
}
