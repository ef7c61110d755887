//! Another node that may have a snapshot: what it offers, and the way to it.

use crate::peer::client::{self, Client};
use crate::peer::{Identity, MESSAGE_BYTES_MAX};
use cairn_logic::ids::{EntryId, GroupId, NodeId, Offset};
use cairn_logic::time::Duration;
use cairn_wire::peer::{frame, pb};
use futures::StreamExt;
use futures::stream;
use std::cmp::Reverse;
use tokio::time::timeout;
use tonic::Streaming;

/// How long a node may take to say what it has, and to begin to send.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Nodes asked at once.
const ASKED_MAX: usize = 16;
/// Snapshots that one node may offer; more are not looked at.
const OFFERS_MAX: usize = 16;

/// A node that may have a snapshot of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub id: NodeId,
    /// `host:port` of its peer port.
    pub peer: String,
    /// Whether it is a member of the log's record: others are asked if no member has any.
    pub member: bool,
    /// Whether it is master: it is asked only if no other has one.
    pub master: bool,
}

/// A snapshot that a node has.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub holder: Holder,
    pub name: String,
    pub from: EntryId,
    pub bytes: u64,
}

/// Why nothing, or not all, came from a node.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    #[error("cannot connect")]
    Connect(#[from] tonic::transport::Error),
    #[error("it says: {}", .0.message())]
    Refused(#[from] tonic::Status),
    #[error("another node answers: {0}")]
    Stranger(String),
    #[error("nothing came for {0:?}")]
    Silent(Duration),
    #[error("chunks do not follow each other")]
    Order,
    #[error("it ended before its end")]
    Short,
    #[error("it is not needed any more")]
    Stopped,
    #[error(transparent)]
    Files(#[from] cairn_files::Error),
    #[error("the thread that writes it ended")]
    Thread(#[from] tokio::task::JoinError),
}

/// What these nodes have that reaches `at_least` and was written as `content`, the best first:
/// no master's before others', then the newest.
pub(super) async fn offers(
    identity: &Identity,
    group: &GroupId,
    holders: &[Holder],
    content: u32,
    at_least: Offset,
) -> Vec<Offer> {
    for member in [true, false] {
        let mut asked = holders.to_vec();
        asked.retain(|holder| holder.member == member);
        let answers = stream::iter(asked).map(|holder| ask(identity, group, holder));
        let answers: Vec<_> = answers.buffer_unordered(ASKED_MAX).collect().await;
        let mut offers = Vec::new();
        for (holder, snapshots) in answers {
            let fitting = snapshots.into_iter().take(OFFERS_MAX).filter_map(|facts| {
                let from = frame::entry(facts.from.as_ref());
                let fits = facts.content == content && from.offset >= at_least;
                let (holder, bytes) = (holder.clone(), facts.bytes);
                fits.then_some(Offer { holder, name: facts.name, from, bytes })
            });
            // The newest of each: nobody needs an older one of the same node.
            offers.extend(fitting.max_by_key(|offer| offer.from.offset));
        }
        if !offers.is_empty() {
            offers.sort_by_key(|offer| {
                (offer.holder.master, Reverse(offer.from.offset), offer.holder.id.clone())
            });
            return offers;
        }
    }
    Vec::new()
}

async fn ask(
    identity: &Identity,
    group: &GroupId,
    holder: Holder,
) -> (Holder, Vec<pb::SnapshotFacts>) {
    let request = pb::SnapshotsRequest { group: group.as_str().to_owned() };
    let exchange = async {
        let mut client = connect(identity, &holder).await?;
        let reply = client.snapshots(request).await?;
        is(identity, &holder, reply.metadata())?;
        Ok::<_, Failed>(reply.into_inner().snapshots)
    };
    let answer = timeout(ANSWER_MAX, exchange).await.unwrap_or(Err(Failed::Silent(ANSWER_MAX)));
    let snapshots = answer.unwrap_or_else(|why| {
        tracing::debug!(node = %holder.id, %why, "a node does not say which snapshots it has");
        Vec::new()
    });
    (holder, snapshots)
}

/// Asks for the bytes of an offer from `position` on.
pub(super) async fn begin(
    identity: &Identity,
    group: &GroupId,
    offer: &Offer,
    position: u64,
) -> Result<Streaming<pb::SnapshotChunk>, Failed> {
    let request = pb::FetchRequest {
        group: group.as_str().to_owned(),
        name: offer.name.clone(),
        bytes: offer.bytes,
        position,
    };
    let exchange = async {
        let mut client = connect(identity, &offer.holder).await?;
        let reply = client.fetch_snapshot(request).await?;
        is(identity, &offer.holder, reply.metadata())?;
        Ok(reply.into_inner())
    };
    timeout(ANSWER_MAX, exchange).await.unwrap_or(Err(Failed::Silent(ANSWER_MAX)))
}

async fn connect(identity: &Identity, holder: &Holder) -> Result<Client, Failed> {
    let channel = client::channel(identity, &holder.peer).await?;
    let client = client::client(identity, holder.id.as_str(), channel);
    Ok(client.max_decoding_message_size(MESSAGE_BYTES_MAX))
}

/// An address may have been given to another node.
fn is(
    identity: &Identity,
    holder: &Holder,
    said: &tonic::metadata::MetadataMap,
) -> Result<(), Failed> {
    match identity.secret.check(said, &identity.me.id) {
        Ok(caller) if caller.sender.id == holder.id => Ok(()),
        Ok(caller) => Err(Failed::Stranger(caller.sender.id.to_string())),
        Err(refused) => Err(Failed::Stranger(refused.to_string())),
    }
}
