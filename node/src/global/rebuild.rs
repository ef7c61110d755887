//! A directory that is made anew on a global node without a log: from a snapshot that a person
//! sends, and from keys that were found out elsewhere (`cairn recover global --rebuild`).
//!
//! What comes is made into a snapshot of this node's own, and the log begins after that, as after a
//! fetched one. Until then nothing has changed here: a crash leaves a blank folder, or one that has
//! it all. Who masters is decided afterwards, as after every loss ([`super::recover`]).

use super::role::Role;
use super::snapshots::{Sections, load_now};
use crate::clock;
use crate::peer::Reply;
use cairn_directory::Directory;
use cairn_directory::directory::{CONTENT, Restored};
use cairn_directory::op::SYSTEM_PREFIX;
use cairn_files::{Disk, RealDisk, Snapshots};
use cairn_host::Event;
use cairn_logic::ids::{EntryId, Epoch, Offset, Revision};
use cairn_logic::time::Duration;
use cairn_wire::peer::pb;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tonic::{Status, Streaming};

/// How long the next part may take.
const PART_MAX: Duration = Duration::from_secs(30);
/// The size of a portion, in bytes, about.
const PORTION_BYTES: usize = 128 << 10;
/// What is said to have made the snapshot.
const PROGRAM: &str = concat!("cairn-node ", env!("CARGO_PKG_VERSION"), " (rebuilt)");

/// What rebuilds: one at a time.
pub struct Rebuilding {
    free: Arc<Semaphore>,
    done: mpsc::Sender<Rebuilt>,
}

impl Rebuilding {
    /// Nothing is rebuilt yet; what is comes by `done`.
    pub fn new(done: mpsc::Sender<Rebuilt>) -> Self {
        Self { free: Arc::new(Semaphore::new(1)), done }
    }
}

/// A snapshot that the log is to begin with.
pub struct Rebuilt {
    at: EntryId,
    reply: Reply<pb::WishReply>,
    _only: OwnedSemaphorePermit,
}

impl Role {
    /// Takes a directory that others know, if there is none here nor in any living plane.
    pub(super) fn rebuild(
        &mut self,
        parts: Streaming<pb::RebuildPart>,
        reply: Reply<pb::WishReply>,
    ) {
        let only = match self.may_rebuild().and_then(|()| {
            let only = self.rebuilding.free.clone().try_acquire_owned();
            only.map_err(|_| Status::resource_exhausted("a directory is being rebuilt already"))
        }) {
            Ok(only) => only,
            Err(status) => return drop(reply.send(Err(status))),
        };
        let done = self.rebuilding.done.clone();
        let folder = self.host.world.snapshots.folder().clone();
        let path = self.boot.folder.path().join("rebuild.part");
        tokio::spawn(async move {
            match take(parts, &folder, &path).await {
                Ok(at) => done.send(Rebuilt { at, reply, _only: only }).await.unwrap_or_default(),
                Err(status) => drop(reply.send(Err(status))),
            }
        });
    }

    fn may_rebuild(&self) -> Result<(), Status> {
        let refuse = |text: &str| Err(Status::failed_precondition(text));
        if self.is_checkpoint() {
            return refuse("this is a checkpoint node; ask a node of role global");
        }
        if !self.host.has_begun() {
            return Err(Status::unavailable("this node is still starting"));
        }
        if self.has_master() {
            return refuse("there is a global master, so the directory is not lost");
        }
        if self.host.replica().last() != EntryId::ZERO {
            return refuse(
                "this node has a log of the directory; `cairn recover global --accept-loss` goes \
                 on with it",
            );
        }
        Ok(())
    }

    /// The snapshot is durable: the log begins after it.
    pub(super) fn rebuilt(&mut self, rebuilt: Rebuilt) {
        let Rebuilt { at, reply, _only } = rebuilt;
        if let Err(status) = self.may_rebuild() {
            // Another one came first. The file is of entries that are in no log, and is set aside.
            return drop(reply.send(Err(status)));
        }
        tracing::warn!(%at, "a person has the directory rebuilt");
        self.event(Event::Fetched(at));
        let lines = vec![format!("the directory begins anew after entry {at}")];
        reply.send(Ok(pb::WishReply::said(lines))).ok();
    }
}

/// A file that is gone with its place.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Receives all parts and makes the snapshot; the entry it is of.
async fn take(
    mut parts: Streaming<pb::RebuildPart>,
    folder: &Snapshots<RealDisk>,
    path: &Path,
) -> Result<EntryId, Status> {
    let head = match next(&mut parts).await? {
        Some(pb::rebuild_part::Body::Head(head)) => head,
        _ => return Err(Status::invalid_argument("the first part is a head")),
    };
    let file = Temporary(path.to_owned());
    if head.snapshot_bytes > 0 {
        receive(&mut parts, head.snapshot_bytes, path).await?;
    }
    let folder = folder.clone();
    let made = tokio::task::spawn_blocking(move || {
        let from = (head.snapshot_bytes > 0).then_some(&*file.0);
        make(&folder, from, &head)
    });
    made.await.map_err(|_| Status::internal("the directory could not be made"))?
}

async fn next(
    parts: &mut Streaming<pb::RebuildPart>,
) -> Result<Option<pb::rebuild_part::Body>, Status> {
    let part = timeout(PART_MAX, parts.message()).await;
    let part = part.map_err(|_| Status::deadline_exceeded("no further part came"))??;
    Ok(part.and_then(|part| part.body))
}

/// Writes the snapshot's bytes to `path`.
async fn receive(
    parts: &mut Streaming<pb::RebuildPart>,
    bytes: u64,
    path: &Path,
) -> Result<(), Status> {
    let io = |error: std::io::Error| Status::internal(format!("cannot write {path:?}: {error}"));
    let place = path.parent().unwrap_or(path);
    // What comes, and the snapshot that is made of it.
    let free = RealDisk.free_bytes(place).map_err(io)?;
    if free / 2 < bytes {
        let text = format!("{bytes} bytes are to come, twice, and {free} are free");
        return Err(Status::resource_exhausted(text));
    }
    let mut file = File::create(path).map_err(io)?;
    let mut left = bytes;
    while left > 0 {
        let Some(pb::rebuild_part::Body::Snapshot(part)) = next(parts).await? else {
            return Err(Status::invalid_argument(format!(
                "{left} bytes of the snapshot are missing"
            )));
        };
        let count = part.len() as u64;
        left = left
            .checked_sub(count)
            .ok_or_else(|| Status::invalid_argument("the snapshot is longer than was said"))?;
        // Parts are small, and nobody else is served by this task.
        file.write_all(&part).map_err(io)?;
    }
    Ok(())
}

/// Makes the state that `head` says out of the snapshot at `from`, and a snapshot of that.
fn make(
    folder: &Snapshots<RealDisk>,
    from: Option<&Path>,
    head: &pb::RebuildHead,
) -> Result<EntryId, Status> {
    let at = head.at.unwrap_or_default();
    let at = EntryId::new(Epoch(at.epoch), Offset(at.offset));
    let mut directory = match from {
        Some(path) => load(folder, path, at)?,
        None => Directory::new(),
    };
    let keys = keys(head)?;
    let known = Revision(head.revision);
    if at.offset.0 == 0 || known < directory.revision() || head.above < head.revision {
        let text = "the numbers that are said are not above those of the snapshot";
        return Err(Status::invalid_argument(text));
    }
    directory.restore(known, Revision(head.above), &keys);
    let io = |error: cairn_files::Error| Status::internal(format!("cannot write: {error}"));
    let mut draft = folder.begin(CONTENT, clock::unix_ms(), PROGRAM).map_err(io)?;
    let mut export = directory.export();
    let hash = export.hash();
    let mut sections = Sections::new(at);
    while let Some(portion) = directory.export_more(&mut export, PORTION_BYTES) {
        sections.add(&mut draft, portion).map_err(io)?;
    }
    sections.end(&mut draft).map_err(io)?;
    let (file, end) = folder.finish(draft, at, hash).map_err(io)?;
    tracing::info!(%at, records = end.records, bytes = file.bytes, "rebuilt the directory");
    Ok(at)
}

fn keys(head: &pb::RebuildHead) -> Result<Vec<Restored>, Status> {
    let restored = |key: &pb::RestoredKey| {
        let name = key.key.clone();
        if !name.starts_with(SYSTEM_PREFIX) {
            return Err(Status::invalid_argument("only the system's keys are said"));
        }
        let value = (key.value.clone(), key.version);
        Ok(Restored { key: name, value: (!key.absent).then_some(value) })
    };
    head.keys.iter().map(restored).collect()
}

/// The state that a snapshot holds, older than `at`.
fn load(folder: &Snapshots<RealDisk>, path: &Path, at: EntryId) -> Result<Directory, Status> {
    let broken = |error: cairn_files::Error| {
        Status::invalid_argument(format!("the snapshot cannot be used: {error}"))
    };
    let snapshot = folder.read(path).map_err(broken)?;
    if snapshot.head().content > CONTENT {
        return Err(Status::failed_precondition("a newer program wrote the snapshot"));
    }
    if snapshot.end().upto.offset >= at.offset || snapshot.end().upto.epoch >= at.epoch {
        let text = "the directory is to begin at an entry that the snapshot holds";
        return Err(Status::invalid_argument(text));
    }
    load_now(&snapshot).map_err(broken)
}
