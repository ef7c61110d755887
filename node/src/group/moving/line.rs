//! The line from a source's master to the target's: one for each try of a move.

use crate::peer::links::AddressBook;
use crate::peer::{Identity, client};
use cairn_logic::ids::{Epoch, NodeId, Offset};
use cairn_logic::moves::{Move, MoveId};
use cairn_logic::time::Duration;
use cairn_wire::peer::pb;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// A line that brings no answer for so long is lost.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// What a line has to say.
#[derive(Debug)]
pub struct LineNews {
    /// Of which move.
    pub id: MoveId,
    /// Of which try.
    pub session: u64,
    /// What.
    pub said: Said,
}

/// What became of a try at the target.
#[derive(Debug)]
pub enum Said {
    /// So much is committed there.
    Safe {
        /// In which epoch.
        epoch: Epoch,
        /// Of the source's log.
        covered: Offset,
        /// How many frames.
        frames: u64,
    },
    /// Nothing more comes, and why.
    Lost(String),
}

/// A line; dropped, it ends.
pub struct Line {
    task: JoinHandle<()>,
    bytes: Arc<AtomicU64>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Caller {
    identity: Identity,
    book: AddressBook,
    it: Move,
    epoch: Epoch,
    session: u64,
    to: NodeId,
    bytes: Arc<AtomicU64>,
    said: mpsc::Sender<LineNews>,
}

impl Line {
    /// Takes frames from a queue to `to`.
    pub fn open(
        (identity, book): (Identity, AddressBook),
        (it, epoch, session): (Move, Epoch, u64),
        to: NodeId,
        (frames, said): (mpsc::Receiver<pb::MoveFrame>, mpsc::Sender<LineNews>),
    ) -> Self {
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        let caller = Caller { identity, book, it, epoch, session, to, bytes: counted, said };
        Self { task: tokio::spawn(caller.run(frames)), bytes }
    }

    /// What it has taken along, in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Caller {
    async fn run(self, frames: mpsc::Receiver<pb::MoveFrame>) {
        let why = self.carry(frames).await.err().unwrap_or_else(|| "it was closed".to_owned());
        self.say(Said::Lost(why)).await;
    }

    async fn say(&self, said: Said) {
        let news = LineNews { id: self.it.id, session: self.session, said };
        // Control has ended: so will this.
        self.said.send(news).await.ok();
    }

    async fn carry(&self, mut frames: mpsc::Receiver<pb::MoveFrame>) -> Result<(), String> {
        let address = self.book.get(&self.to).ok_or_else(|| format!("{} is unknown", self.to))?;
        let channel = client::channel(&self.identity, &address.peer).await;
        let channel = channel.map_err(|error| error.to_string())?;
        let mut client = client::client(&self.identity, self.to.as_str(), channel);
        let (signed, queue) = mpsc::channel(1);
        let (group, epoch) = (self.it.target.as_str().to_owned(), self.epoch.0);
        let bytes = Arc::clone(&self.bytes);
        let feeding = async move {
            while let Some(frame) = frames.recv().await {
                bytes.fetch_add(frame.entries.len() as u64, Ordering::Relaxed);
                let frame = pb::MoveFrame { group: group.clone(), epoch, ..frame };
                if signed.send(frame).await.is_err() {
                    return;
                }
            }
        };
        let answering = async {
            let replies = client.carry(ReceiverStream::new(queue)).await;
            let mut replies = replies.map_err(|status| status.to_string())?.into_inner();
            loop {
                let reply = tokio::time::timeout(SILENCE_MAX, replies.next()).await;
                let reply = reply.map_err(|_| "the target is silent".to_owned())?;
                let Some(reply) = reply else { return Ok(()) };
                let reply = reply.map_err(|status| status.to_string())?;
                if !reply.refused.is_empty() {
                    return Err(reply.refused);
                }
                let (epoch, covered) = (Epoch(reply.epoch), Offset(reply.covered));
                self.say(Said::Safe { epoch, covered, frames: reply.frames }).await;
            }
        };
        tokio::pin!(answering);
        tokio::select! {
            answer = &mut answering => answer,
            () = feeding => answering.await,
        }
    }
}
