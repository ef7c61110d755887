//! A data node's line to the global plane: finds the global master, registers, follows `/cairn/`.
//!
//! One task; when anything of its session breaks, it looks for the master again (50 ms to 2 s
//! between tries) and starts over. The node serves on meanwhile: nothing here is needed for that.

mod session;

use crate::peer::{Identity, client};
use cairn_global::Changed;
use cairn_logic::ids::{GroupId, NodeId, Version};
use cairn_logic::record::Record;
use cairn_logic::time::Duration;
use cairn_settings::directory_keys::NodeInfo;
use cairn_wire::peer::pb;
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// The shortest and longest waits between two looks for the master.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long one node may take to say who is master.
const WHERE_MAX: Duration = Duration::from_millis(700);

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
    },
    /// Read the record of a group.
    Read(GroupId),
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
}

/// Runs until `asks` is closed.
pub async fn run(follow: Follow, mut asks: mpsc::Receiver<Ask>, heard: mpsc::Sender<Heard>) {
    let mut wait = RETRY.0;
    loop {
        if let Some((master, address)) = find_master(&follow).await {
            tracing::info!(%master, address, "found the global master");
            let began = tokio::time::Instant::now();
            let ended = session::run(&follow, &master, &address, &mut asks, &heard).await;
            if heard.send(Heard::Lost).await.is_err() {
                return;
            }
            tracing::warn!(%master, why = %ended, "lost the global master");
            if began.elapsed() > RETRY.1 {
                wait = RETRY.0;
            }
        }
        while let Ok(ask) = asks.try_recv() {
            tracing::debug!(?ask, "dropped while the global plane is away");
        }
        if asks.is_closed() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY.1);
    }
}

/// Asks every seed; of those that know a serving master the greatest epoch wins.
async fn find_master(follow: &Follow) -> Option<(String, String)> {
    let asked = follow.seeds.values().map(|address| where_is(follow, address));
    let answers = futures::future::join_all(asked).await;
    let known = answers.into_iter().flatten().filter(|a| a.serving && !a.peer.is_empty());
    known.max_by_key(|answer| answer.epoch).map(|answer| (answer.master, answer.peer))
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
