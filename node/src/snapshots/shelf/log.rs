//! A log, as far as it is committed, for whoever archives it.

use super::{CHUNKS_AHEAD, SENT_MAX, Shelf, blocking};
use cairn_files::{Error, LogReader, RealDisk};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{GroupId, Offset};
use cairn_wire::peer::pb;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Bodies of the batches in a chunk, in bytes, unless one alone has more.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks of a log, in order.
pub type LogChunks = ReceiverStream<Result<pb::LogChunk, Status>>;

/// A log and how far it is committed: nothing above that is ever shown.
#[derive(Clone, Debug)]
pub struct CommittedLog {
    reader: LogReader<RealDisk>,
    committed: Arc<AtomicU64>,
}

impl CommittedLog {
    /// A log of which nothing is known to be committed yet.
    #[must_use]
    pub fn new(reader: LogReader<RealDisk>) -> Self {
        Self { reader, committed: Arc::default() }
    }

    /// Entries up to this one are committed; they are never taken back.
    pub fn commit(&self, up_to: Offset) {
        self.committed.fetch_max(up_to.0, Ordering::Release);
    }

    fn committed(&self) -> Offset {
        Offset(self.committed.load(Ordering::Acquire))
    }

    /// The next batches from the one with `from` on, none above what is committed.
    fn read(&self, from: Offset) -> cairn_files::Result<(Vec<Batch>, Offset)> {
        // First how far: what is read afterwards can only have more.
        let committed = self.committed();
        if from > committed {
            return Ok((Vec::new(), committed));
        }
        let mut batches = self.reader.read(from, CHUNK_BYTES)?;
        batches.retain(|batch| batch.head.last_offset() <= committed);
        Ok((batches, committed))
    }
}

impl Shelf {
    /// From now on others may read this log of `group`.
    pub fn offer_log(&self, group: &GroupId, log: CommittedLog) {
        let mut logs = self.0.committed.lock().unwrap_or_else(PoisonError::into_inner);
        logs.insert(group.as_str().to_owned(), log);
    }

    fn log(&self, group: &str) -> Option<CommittedLog> {
        self.0.committed.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }

    /// Begins to send a log from an entry on.
    ///
    /// # Errors
    /// `OUT_OF_RANGE`, `RESOURCE_EXHAUSTED`, `NOT_FOUND`; the log cannot be read.
    pub async fn send_log(&self, request: pb::LogRequest) -> Result<LogChunks, Status> {
        let permit = self.0.free.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{SENT_MAX} copies are being sent already"))
        })?;
        let log = self.log(&request.group);
        let none = || Status::not_found(format!("there is no log of {:?} here", request.group));
        let log = log.ok_or_else(none)?;
        let from = Offset(request.from).max(Offset(1));
        let first = read(log.clone(), from).await?;
        let (to, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let sending = Sending { log, to, shelf: self.clone(), _permit: permit };
        tokio::spawn(sending.run(from, first));
        Ok(ReceiverStream::new(chunks))
    }
}

async fn read(log: CommittedLog, from: Offset) -> Result<(Vec<Batch>, Offset), Status> {
    let read = blocking(move || match log.read(from) {
        Err(Error::Truncated { from, first }) => Ok(Err((from, first))),
        read => read.map(Ok),
    });
    read.await?.map_err(|(from, first)| {
        Status::out_of_range(format!("entry {from} is not kept, the log begins at {first}"))
    })
}

/// One log on its way.
struct Sending {
    log: CommittedLog,
    to: mpsc::Sender<Result<pb::LogChunk, Status>>,
    shelf: Shelf,
    _permit: OwnedSemaphorePermit,
}

impl Sending {
    async fn run(self, mut from: Offset, first: (Vec<Batch>, Offset)) {
        let mut next = Ok(first);
        loop {
            let (chunk, more) = match next {
                Err(status) => (Err(status), false),
                Ok((batches, committed)) => {
                    let last = batches.last().map(|batch| batch.head.last_offset());
                    from = last.map_or(from, Offset::next);
                    let bytes = batches.iter().map(|batch| batch.body.len() as u64).sum();
                    self.shelf.0.throttle.pass(bytes).await;
                    let batches = batches.into_iter().map(Into::into).collect();
                    let chunk = pb::LogChunk { batches, committed: committed.0 };
                    (Ok(chunk), last.is_some_and(|last| last < committed))
                }
            };
            if self.to.send(chunk).await.is_err() || !more {
                return;
            }
            next = read(self.log.clone(), from).await;
        }
    }
}

#[cfg(test)]
mod tests;
