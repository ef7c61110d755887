//! Takes messages that clients published to the other nodes of the keyspace.
//!
//! One stream to each of them, made when there is something to send and ended when there was
//! nothing for a while. A node that cannot be reached, or does not keep up, hears less: messages
//! are dropped, with a line in the log, and never held back for it (docs/clients.md).

use crate::data::post::{Post, Posted, Publication};
use crate::data::routes::Routes;
use crate::peer::links::AddressBook;
use crate::peer::{Identity, client};
use cairn_logic::ids::{GroupId, NodeId};
use cairn_logic::time::Duration;
use cairn_wire::peer::pb;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;

/// Messages taken at once.
const TAKEN_MAX: usize = 256;
/// Bytes after which messages are sent without waiting for more of them.
const BATCH_BYTES: u32 = 1 << 20;
/// A stream that carries nothing for so long is ended.
const IDLE: Duration = Duration::from_secs(60);
/// After a failure nobody is called for so long; what comes meanwhile is dropped.
const PAUSE: Duration = Duration::from_millis(500);

/// Who is to hear what clients of this node publish.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// The group of this node.
    group: Option<GroupId>,
    /// All other nodes of its keyspace.
    all: BTreeSet<NodeId>,
    /// Those of the same group.
    home: BTreeSet<NodeId>,
}

impl Targets {
    /// All nodes of `routes` but the one they belong to.
    pub fn of(routes: &Routes) -> Self {
        let others = |group: usize| {
            let nodes = routes.groups[group].nodes.iter().map(|node| node.id.clone());
            nodes.filter(|id| *id != routes.me)
        };
        let home = routes.home();
        Self {
            group: home.map(|home| routes.groups[home].id.clone()),
            all: (0..routes.groups.len()).flat_map(others).collect(),
            home: home.into_iter().flat_map(others).collect(),
        }
    }
}

/// Takes along what comes, until its sender is gone.
pub async fn run(
    identity: Identity,
    book: AddressBook,
    targets: watch::Receiver<Targets>,
    mut published: mpsc::Receiver<Posted>,
) {
    let mut ways: BTreeMap<NodeId, Way> = BTreeMap::new();
    let mut taken = Vec::new();
    while published.recv_many(&mut taken, TAKEN_MAX).await > 0 {
        let targets = targets.borrow().clone();
        ways.retain(|to, _| targets.all.contains(to));
        let Some(group) = &targets.group else {
            taken.clear();
            continue;
        };
        for posted in taken.drain(..) {
            let publication = &posted.publication;
            let hearing = if publication.sharded { &targets.home } else { &targets.all };
            for to in hearing {
                let way = ways.entry(to.clone()).or_insert_with(|| {
                    Way::new(identity.clone(), book.clone(), to.clone(), group.clone())
                });
                way.send(publication);
            }
        }
    }
}

/// The way to one node.
struct Way {
    to: NodeId,
    post: Post,
    /// Whether the last message was dropped: said once, not for each.
    full: bool,
    task: JoinHandle<()>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Way {
    fn new(identity: Identity, book: AddressBook, to: NodeId, group: GroupId) -> Self {
        let (post, queue) = Post::new();
        let caller = Caller { identity, book, to: to.clone(), group };
        Self { to, post, full: false, task: tokio::spawn(caller.run(queue)) }
    }

    fn send(&mut self, publication: &Arc<Publication>) {
        let full = !self.post.send(publication);
        if full && !self.full {
            tracing::warn!(to = %self.to, "messages are dropped: a node does not keep up");
        }
        self.full = full;
    }
}

/// Calls one node.
struct Caller {
    identity: Identity,
    book: AddressBook,
    to: NodeId,
    group: GroupId,
}

impl Caller {
    async fn run(self, mut queue: mpsc::Receiver<Posted>) {
        let mut reached = true;
        while let Some(first) = queue.recv().await {
            let was = std::mem::replace(&mut reached, self.stream(first, &mut queue).await);
            if reached {
                continue;
            }
            if was {
                tracing::warn!(to = %self.to, "messages are dropped: a node cannot be reached");
            }
            sleep(PAUSE).await;
            while queue.try_recv().is_ok() {}
        }
    }

    /// Sends what comes, until nothing does for a while or the stream breaks; false if it broke.
    async fn stream(&self, first: Posted, queue: &mut mpsc::Receiver<Posted>) -> bool {
        let Some(address) = self.book.get(&self.to) else { return false };
        let Ok(channel) = client::channel(&self.identity, &address.peer).await else {
            return false;
        };
        let mut client = client::client(&self.identity, self.to.as_str(), channel);
        let (batches, sent) = mpsc::channel(1);
        let feeding = async move {
            let mut taken = vec![first];
            loop {
                for batch in self.pack(&mut taken) {
                    if batches.send(batch).await.is_err() {
                        return;
                    }
                }
                match timeout(IDLE, queue.recv_many(&mut taken, TAKEN_MAX)).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return,
                }
            }
        };
        let call = client.publish(ReceiverStream::new(sent));
        tokio::pin!(call);
        // The call ends by itself once the feeding has ended; if it ends before, it broke.
        tokio::select! {
            answer = &mut call => answer.is_ok(),
            () = feeding => call.await.is_ok(),
        }
    }

    /// Messages in batches of about [`BATCH_BYTES`].
    fn pack(&self, taken: &mut Vec<Posted>) -> Vec<pb::Publications> {
        let (mut batches, mut bytes) = (Vec::<pb::Publications>::new(), 0);
        for Posted { publication, .. } in taken.drain(..) {
            if batches.is_empty() || bytes > BATCH_BYTES {
                let group = self.group.as_str().to_owned();
                batches.push(pb::Publications { group, publications: Vec::new() });
                bytes = 0;
            }
            bytes += publication.cost();
            let Publication { channel, message, sharded } = &*publication;
            if let Some(batch) = batches.last_mut() {
                batch.publications.push(pb::Publication {
                    channel: channel.clone().into(),
                    message: message.clone().into(),
                    sharded: *sharded,
                });
            }
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::links::PeerAddress;
    use crate::peer::{self, Inbound};
    use crate::snapshots::Shelf;
    use crate::tls::Doors;
    use cairn_logic::ids::Incarnation;
    use cairn_logic::message::Sender;
    use cairn_wire::hello::Secret;
    use tokio::net::TcpListener;

    fn identity(name: &str) -> Identity {
        let me = Sender { id: NodeId::new(name), incarnation: Incarnation(1) };
        let secret = Secret::new(&"ab".repeat(16), &[7; 32]).unwrap();
        Identity::new(me, secret, Doors::default())
    }

    /// A node that hears.
    async fn node(name: &str, book: &AddressBook) -> mpsc::Receiver<Inbound> {
        let identity = identity(name);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        book.set(NodeId::new(name), PeerAddress { peer: address.clone(), heartbeat: address });
        let (inbox, arrived) = mpsc::channel(4);
        let routes = peer::peer_routes(&identity, inbox.clone(), &Shelf::new(1));
        peer::spawn(&identity, listener, inbox, routes);
        arrived
    }

    async fn heard(arrived: &mut mpsc::Receiver<Inbound>, count: usize) -> Vec<String> {
        let mut texts = Vec::new();
        while texts.len() < count {
            let limit = std::time::Duration::from_secs(20);
            let inbound = timeout(limit, arrived.recv()).await.expect("it comes").unwrap();
            let Inbound::Publications(all) = inbound else { panic!("{inbound:?}") };
            assert_eq!(all.group, GroupId::new("k-0"));
            let text = |one: &Publication| String::from_utf8(one.message.clone()).unwrap();
            texts.extend(all.publications.iter().map(text));
        }
        texts
    }

    #[tokio::test]
    async fn messages_reach_all_other_nodes_in_order_and_those_of_a_slot_its_group() {
        let book = AddressBook::default();
        let (mut near, mut far) = (node("b", &book).await, node("x", &book).await);
        let ids = |names: &[&str]| names.iter().map(NodeId::new).collect();
        let (_targets, targets) = watch::channel(Targets {
            group: Some(GroupId::new("k-0")),
            // Nobody knows where `gone` is: it holds up nobody.
            all: ids(&["b", "x", "gone"]),
            home: ids(&["b"]),
        });
        let (post, published) = Post::new();
        tokio::spawn(run(identity("a"), book, targets, published));
        for (n, sharded) in [false, true, false].into_iter().enumerate() {
            let message = n.to_string().into_bytes();
            let publication = Publication { channel: b"c".to_vec(), message, sharded };
            assert!(post.send(&Arc::new(publication)));
        }
        assert_eq!(heard(&mut near, 3).await, ["0", "1", "2"]);
        assert_eq!(heard(&mut far, 2).await, ["0", "2"]);
    }
}
