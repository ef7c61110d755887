//! What this node offers: served straight from disk, never through a control loop.

mod log;

pub use log::{CommittedLog, LogChunks};

use cairn_files::{Error, LogReader, RawSnapshot, RealDisk, Snapshots};
use cairn_logic::ids::{EntryId, GroupId};
use cairn_logic::time::Duration;
use cairn_wire::peer::pb;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Fetches served at once, of all logs together.
const SENT_MAX: usize = 4;
/// The bytes of a chunk, at most, and at least.
const CHUNK_BYTES: (u64, u64) = (256 << 10, 4 << 10);
/// At most so much of a second's bytes is one chunk: a slow sender still shows that it goes on.
const CHUNKS_PER_SEC: u64 = 4;
/// Chunks that wait for the network.
const CHUNKS_AHEAD: usize = 4;

/// Chunks of a snapshot, in order.
pub type Chunks = ReceiverStream<Result<pb::SnapshotChunk, Status>>;

/// The folders of snapshots of one process; all clones are the same shelf.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    logs: Mutex<BTreeMap<String, Offered>>,
    committed: Mutex<BTreeMap<String, CommittedLog>>,
    free: Arc<Semaphore>,
    throttle: Throttle,
}

/// The snapshots of one log, and that log.
#[derive(Clone, Debug)]
struct Offered {
    folder: Snapshots<RealDisk>,
    log: LogReader<RealDisk>,
}

impl Offered {
    /// Whether this node's own log holds the entry that a snapshot is of: after a loss that was
    /// accepted a folder may have one of a history that is no more.
    fn holds(&self, from: EntryId) -> cairn_files::Result<bool> {
        if from == self.log.before() || from.offset > self.log.last().offset {
            return Ok(from == self.log.before());
        }
        match self.log.read(from.offset, 1) {
            Ok(batches) => Ok(batches.first().is_some_and(|batch| batch.head.epoch == from.epoch)),
            Err(Error::Truncated { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Shelf {
    /// An empty one that sends at most `bytes_per_sec`, of all fetches together.
    #[must_use]
    pub fn new(bytes_per_sec: u64) -> Self {
        let (free, throttle) = (Arc::new(Semaphore::new(SENT_MAX)), Throttle::new(bytes_per_sec));
        let (logs, committed) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { logs, committed, free, throttle }))
    }

    /// From now on others may have the snapshots of `group` that are of entries in this node's log.
    pub fn offer(&self, group: &GroupId, folder: Snapshots<RealDisk>, log: LogReader<RealDisk>) {
        let mut logs = self.0.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.insert(group.as_str().to_owned(), Offered { folder, log });
    }

    fn offered(&self, group: &str) -> Option<Offered> {
        self.0.logs.lock().unwrap_or_else(PoisonError::into_inner).get(group).cloned()
    }

    /// What there is of a log.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn list(&self, request: pb::SnapshotsRequest) -> Result<pb::SnapshotsReply, Status> {
        let Some(offered) = self.offered(&request.group) else {
            return Ok(pb::SnapshotsReply::default());
        };
        let snapshots = blocking(move || facts(&offered)).await?;
        Ok(pb::SnapshotsReply { snapshots })
    }

    /// Begins to send one, from where the caller is.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`, `NOT_FOUND`, `OUT_OF_RANGE`; the folder cannot be read.
    pub async fn send(&self, request: pb::FetchRequest) -> Result<Chunks, Status> {
        let gone = || Status::not_found(format!("there is no snapshot {:?} here", request.name));
        let permit = self.0.free.clone().try_acquire_owned().map_err(|_| {
            Status::resource_exhausted(format!("{SENT_MAX} snapshots are being sent already"))
        })?;
        let offered = self.offered(&request.group).ok_or_else(gone)?;
        let name = request.name.clone();
        let file = blocking(move || open(&offered, &name)).await?.ok_or_else(gone)?;
        if file.bytes() != request.bytes {
            return Err(gone());
        }
        if request.position > request.bytes {
            let (position, bytes) = (request.position, request.bytes);
            return Err(Status::out_of_range(format!("{position} is beyond {bytes} bytes")));
        }
        let (to, chunks) = mpsc::channel(CHUNKS_AHEAD);
        let sending = Sending { file: Arc::new(file), to, shelf: self.clone(), _permit: permit };
        tokio::spawn(sending.run(request.position));
        Ok(ReceiverStream::new(chunks))
    }
}

/// Does what reads a disk in a thread that may wait.
async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> cairn_files::Result<T> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(read).await;
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "cannot read snapshots for another node");
        Status::internal(error.to_string())
    };
    done.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// Those whose head and index are whole and whose entry the log holds; who reads one finds the
/// rest.
fn facts(offered: &Offered) -> cairn_files::Result<Vec<pb::SnapshotFacts>> {
    let mut found = Vec::new();
    for file in offered.folder.list()? {
        // Pruned meanwhile, or broken: whoever owns it says so when it needs it.
        let Ok(snapshot) = offered.folder.read(&file.path) else { continue };
        if !offered.holds(snapshot.end().from)? {
            continue;
        }
        let (head, end) = (snapshot.head(), snapshot.end());
        found.push(pb::SnapshotFacts {
            name: file.name(),
            from: Some(end.from.into()),
            upto: Some(end.upto.into()),
            bytes: snapshot.bytes(),
            content: head.content,
            made_ms: head.made_ms,
            hash: end.hash,
        });
    }
    Ok(found)
}

/// Opens one by its name; `None` if none of that name is offered.
fn open(offered: &Offered, name: &str) -> cairn_files::Result<Option<RawSnapshot<RealDisk>>> {
    let named = offered.folder.list()?.into_iter().find(|file| file.name() == name);
    match named {
        Some(file) if offered.holds(file.from)? => {}
        Some(_) | None => return Ok(None),
    }
    match offered.folder.open_raw(name) {
        Err(Error::Gone { .. } | Error::Name { .. }) => Ok(None),
        opened => opened.map(Some),
    }
}

/// One snapshot on its way.
struct Sending {
    /// Stays readable when the file is pruned.
    file: Arc<RawSnapshot<RealDisk>>,
    to: mpsc::Sender<Result<pb::SnapshotChunk, Status>>,
    shelf: Shelf,
    _permit: OwnedSemaphorePermit,
}

impl Sending {
    async fn run(self, mut position: u64) {
        let throttle = &self.shelf.0.throttle;
        while position < self.file.bytes() {
            let max = throttle.chunk_bytes();
            throttle.pass(max.min(self.file.bytes() - position)).await;
            let file = self.file.clone();
            let chunk = match blocking(move || file.read_at(position, max as usize)).await {
                Ok(bytes) if bytes.is_empty() => Err(Status::data_loss("the file became shorter")),
                Ok(bytes) => Ok(pb::SnapshotChunk { position, bytes: bytes.into() }),
                Err(status) => Err(status),
            };
            position += chunk.as_ref().map_or(0, |chunk| chunk.bytes.len() as u64);
            let failed = chunk.is_err();
            // Who does not take it any more has gone.
            if self.to.send(chunk).await.is_err() || failed {
                return;
            }
        }
    }
}

/// Lets so many bytes pass in a second.
#[derive(Debug)]
struct Throttle {
    bytes_per_sec: u64,
    /// When the next bytes may go.
    next: Mutex<Instant>,
}

impl Throttle {
    fn new(bytes_per_sec: u64) -> Self {
        Self { bytes_per_sec: bytes_per_sec.max(1), next: Mutex::new(Instant::now()) }
    }

    fn chunk_bytes(&self) -> u64 {
        (self.bytes_per_sec / CHUNKS_PER_SEC).clamp(CHUNK_BYTES.1, CHUNK_BYTES.0)
    }

    /// Waits until `bytes` may go.
    async fn pass(&self, bytes: u64) {
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let at = (*next).max(Instant::now());
            let nanos = bytes.saturating_mul(1_000_000_000) / self.bytes_per_sec;
            *next = at + Duration::from_nanos(nanos);
            at
        };
        sleep_until(at).await;
    }
}
