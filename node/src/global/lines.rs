//! Lines between global nodes: each judges for itself, so each hears the others' reports.

use crate::peer::{Identity, client};
use cairn_logic::ids::NodeId;
use cairn_logic::time::Duration;
use cairn_wire::peer::pb;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(200);
/// Messages that may wait to go up a line.
const QUEUE: usize = 64;

/// What another global node's judge orders of our replica.
#[derive(Debug)]
pub struct Ordered {
    /// Whose judge.
    pub judge: NodeId,
    /// What.
    pub down: pb::Down,
}

/// Our end of the line to one other global node; dropped messages are said again.
#[derive(Clone, Debug)]
pub struct LineTo {
    ups: mpsc::Sender<pb::Up>,
}

impl LineTo {
    /// Keeps a line to `to` at `address`; what comes down goes to `ordered`.
    pub fn open(
        identity: Identity,
        to: NodeId,
        address: String,
        ordered: mpsc::Sender<Ordered>,
    ) -> Self {
        let (ups, queue) = mpsc::channel(QUEUE);
        tokio::spawn(keep(identity, to, address, queue, ordered));
        Self { ups }
    }

    /// Sends a report or an answer, if the line is up and not full.
    pub fn send(&self, up: pb::Up) {
        self.ups.try_send(up).ok();
    }
}

async fn keep(
    identity: Identity,
    to: NodeId,
    address: String,
    mut queue: mpsc::Receiver<pb::Up>,
    ordered: mpsc::Sender<Ordered>,
) {
    while !queue.is_closed() {
        if let Err(error) = one(&identity, &to, &address, &mut queue, &ordered).await {
            tracing::debug!(%to, error, "no line to another global node");
        }
        tokio::time::sleep(RETRY).await;
        // What was said meanwhile is old.
        while queue.try_recv().is_ok() {}
    }
}

async fn one(
    identity: &Identity,
    to: &NodeId,
    address: &str,
    queue: &mut mpsc::Receiver<pb::Up>,
    ordered: &mpsc::Sender<Ordered>,
) -> Result<(), String> {
    let channel = client::channel(identity, address).await.map_err(|error| error.to_string())?;
    let mut peer = client::client(identity, to.as_str(), channel);
    let (ups, stream) = mpsc::channel(QUEUE);
    let downs = peer.control(ReceiverStream::new(stream)).await;
    let mut downs = downs.map_err(|status| status.to_string())?.into_inner();
    loop {
        tokio::select! {
            up = queue.recv() => match up {
                Some(up) => drop(ups.try_send(up)),
                None => return Ok(()),
            },
            down = downs.next() => match down {
                Some(Ok(down)) => {
                    let ordered_by = Ordered { judge: to.clone(), down };
                    ordered.send(ordered_by).await.map_err(|error| error.to_string())?;
                }
                Some(Err(status)) => return Err(status.to_string()),
                None => return Err("closed".to_owned()),
            },
        }
    }
}
