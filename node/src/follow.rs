//! A data node's line to the global plane: finds the global master, registers, follows `/cairn/`.
//!
//! One task; when anything of its session breaks, it looks for the master again and starts over: up
//! to five times a second at first, for a group whose master is gone, too, waits for it; later less
//! often. The node serves on meanwhile: nothing here is needed for that.

mod session;
mod users;

use crate::peer::{Identity, client};
use cairn_acl::{Change, Fixed};
use cairn_global::Changed;
use cairn_global::moving::Swap;
use cairn_logic::ids::{GroupId, NodeId, Version};
use cairn_logic::record::{Member, Record};
use cairn_logic::time::Duration;
use cairn_settings::directory_keys::NodeInfo;
use cairn_wire::peer::pb;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use std::collections::BTreeMap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, timeout};

/// The shortest wait between two looks for the master, the longest while a takeover may be under
/// way, and the longest after that.
const RETRY: [Duration; 3] =
    [Duration::from_millis(50), Duration::from_millis(200), Duration::from_secs(2)];
/// For how long a takeover may be under way.
const TAKEOVER: Duration = Duration::from_secs(10);
/// How long one node may take to say who is master.
const WHERE_MAX: Duration = Duration::from_millis(700);
/// How long the others may take once one says that it serves: it may not know of its successor.
const OTHERS_MAX: Duration = Duration::from_millis(100);

/// What control asks of the global plane.
#[derive(Debug)]
pub enum Ask {
    /// Send this up the line (dropped while there is none).
    Up(pb::Up),
    /// Replace the record of a group.
    Cas {
        /// The group.
        group: GroupId,
        /// The version it replaces.
        expected: Version,
        /// The new record.
        record: Box<Record>,
        /// Members that the old one does not name: they must still hold their claims.
        joiners: Vec<Member>,
    },
    /// Change keys of the system, if all of it is still as it was read. What became of it is read.
    Swap {
        /// The change.
        swap: Swap,
        /// Dropped when the global plane has answered, or will not.
        asked: OwnedSemaphorePermit,
    },
    /// Read the record of a group.
    Read(GroupId),
    /// Change users of a keyspace; answered by [`Heard::Users`].
    Users(UsersAsk),
    /// The group's master is silent, so the global master may be gone with its machine: if it does
    /// not answer in this time either, look for another one.
    Suspect(Duration),
}

/// Why users cannot be changed now.
pub const USERS_AWAY: &str = "ERR the global plane cannot be reached, which keeps the users: \
    nothing was changed, try again later";

/// A change of the users of a keyspace.
#[derive(Debug)]
pub struct UsersAsk {
    /// Returned with the answer.
    pub token: u64,
    /// The keyspace.
    pub keyspace: String,
    /// The users whose passwords are the resource's.
    pub fixed: Fixed,
    /// What is changed.
    pub change: Change,
}

/// What became of it.
#[derive(Debug)]
pub struct UsersHeard {
    /// From there.
    pub token: u64,
    /// How many users were deleted, or the text of the error reply.
    pub outcome: Result<usize, String>,
    /// The users as they are now, if that is known.
    pub now: Option<Changed>,
}

impl UsersHeard {
    /// Nothing was changed, for the global plane is away.
    fn away(token: u64) -> Self {
        Self { token, outcome: Err(USERS_AWAY.to_owned()), now: None }
    }
}

/// What control hears of the global plane.
#[derive(Debug)]
pub enum Heard {
    /// A session with the global master began: all that is there now.
    All {
        /// The revision.
        revision: u64,
        /// Every key below `/cairn/`.
        keys: Vec<Changed>,
    },
    /// Keys that changed, in order.
    Changes {
        /// The revision of the last.
        revision: u64,
        /// What changed.
        keys: Vec<Changed>,
    },
    /// The record of a group, as committed.
    Record(GroupId, Record),
    /// The change of this version of a group's record can never come into force: somebody who was
    /// to join has lost its claim.
    Refused(GroupId, Version),
    /// What became of a change of users.
    Users(UsersHeard),
    /// An order or plan.
    Down(pb::Down),
    /// The session is over; the view is old from now on.
    Lost,
}

/// What the task is told at its start.
#[derive(Clone, Debug)]
pub struct Follow {
    /// Who this node is.
    pub identity: Identity,
    /// The global nodes' peer ports.
    pub seeds: BTreeMap<NodeId, String>,
    /// What the node says of itself; its life and claim are filled in.
    pub info: NodeInfo,
    /// The node lease's length.
    pub lease: Duration,
    /// The zone of its machine, which may become known later.
    pub zone: watch::Receiver<Option<String>>,
}

/// Runs until `asks` is closed.
pub async fn run(follow: Follow, mut asks: mpsc::Receiver<Ask>, heard: mpsc::Sender<Heard>) {
    let mut lost = Instant::now();
    while let Some((master, address)) = look(&follow, lost, &mut asks, &heard).await {
        tracing::info!(%master, address, "found the global master");
        let began = Instant::now();
        let ended = session::run(&follow, &master, &address, &mut asks, &heard).await;
        if heard.send(Heard::Lost).await.is_err() {
            return;
        }
        tracing::warn!(%master, why = %ended, "lost the global master");
        if began.elapsed() > RETRY[2] {
            lost = Instant::now();
        }
        tokio::time::sleep(RETRY[0]).await;
    }
}

/// Looks for the master; what is asked meanwhile is dropped. `None` once nobody asks any more.
async fn look(
    follow: &Follow,
    lost: Instant,
    asks: &mut mpsc::Receiver<Ask>,
    heard: &mpsc::Sender<Heard>,
) -> Option<(String, String)> {
    let mut found = std::pin::pin!(find_master(follow, lost));
    loop {
        tokio::select! {
            found = &mut found => return Some(found),
            ask = asks.recv() => match ask? {
                Ask::Users(ask) => {
                    heard.send(Heard::Users(UsersHeard::away(ask.token))).await.ok()?;
                }
                ask => tracing::debug!(?ask, "dropped: no global master"),
            },
        }
    }
}

/// Asks every seed, each again and again by itself, so that a dead one holds up nobody, until one
/// says that it serves; of those that say so at about that time the greatest epoch wins.
async fn find_master(follow: &Follow, lost: Instant) -> (String, String) {
    let asked = follow.seeds.values().map(|address| serving(follow, address, lost));
    let mut asked: FuturesUnordered<_> = asked.collect();
    let Some(mut best) = asked.next().await else { return std::future::pending().await };
    while let Ok(Some(answer)) = timeout(OTHERS_MAX, asked.next()).await {
        if answer.epoch > best.epoch {
            best = answer;
        }
    }
    (best.master, best.peer)
}

/// What a seed says once it knows a master that serves.
async fn serving(follow: &Follow, address: &str, lost: Instant) -> pb::WhereReply {
    let mut wait = RETRY[0];
    loop {
        let answer = where_is(follow, address).await;
        if let Some(answer) = answer.filter(|a| a.serving && !a.peer.is_empty()) {
            return answer;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(if lost.elapsed() < TAKEOVER { RETRY[1] } else { RETRY[2] });
    }
}

async fn where_is(follow: &Follow, address: &str) -> Option<pb::WhereReply> {
    let ask = async {
        let channel = client::channel(&follow.identity, address).await.ok()?;
        let mut client = client::client(&follow.identity, "", channel);
        let answer = client.r#where(pb::WhereRequest {}).await;
        answer.map(tonic::Response::into_inner).ok()
    };
    timeout(WHERE_MAX, ask).await.ok().flatten()
}
