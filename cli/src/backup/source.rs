//! What nodes give to an archive: snapshots, and logs as far as they are committed.

use crate::folder::LocalNode;
use crate::plane::Plane;
use anyhow::{Context, Result, bail, ensure};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{GroupId, Offset};
use cairn_wire::peer::pb;
use std::fs::OpenOptions;
use std::future::Future;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;
use tonic::Code;

/// A node from which nothing comes for so long is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Tries of one copy; each goes on where the one before ended.
const TRIES: usize = 5;
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// A node that has a group's log and snapshots.
pub struct Source<'a> {
    plane: &'a Plane,
    node: &'a LocalNode,
    group: &'a GroupId,
}

/// A snapshot that a node has.
pub type Facts = pb::SnapshotFacts;

async fn within<T>(
    node: &LocalNode,
    call: impl Future<Output = std::result::Result<T, tonic::Status>>,
) -> Result<std::result::Result<T, tonic::Status>> {
    let answered = timeout(SILENCE_MAX, call).await;
    answered.with_context(|| format!("nothing comes from {}", node.id))
}

impl<'a> Source<'a> {
    /// `node`, for `group`.
    pub fn new(plane: &'a Plane, node: &'a LocalNode, group: &'a GroupId) -> Self {
        Self { plane, node, group }
    }

    /// The snapshots that this program can read, the newest first.
    pub async fn snapshots(&self) -> Result<Vec<Facts>> {
        let mut found = self.plane.snapshots(self.node, self.group.as_str()).await?;
        found.retain(|facts| facts.content == cairn_keyspace::CONTENT);
        Ok(found)
    }

    fn said<T>(&self, reply: std::result::Result<T, tonic::Status>) -> Result<T> {
        reply.map_err(|status| anyhow::anyhow!("{} says: {}", self.node.id, status.message()))
    }

    /// Copies a snapshot into the folder `work` and reads all of it; where it is.
    pub async fn snapshot(&self, facts: &Facts, work: &Path) -> Result<PathBuf> {
        let path = work.join(format!("{}.snap", self.group));
        std::fs::remove_file(&path).ok();
        let mut failed = None;
        for _ in 0..TRIES {
            match self.copy(facts, &path).await {
                Ok(()) => {
                    let snapshot = cairn_files::Snapshot::open(&cairn_files::RealDisk, &path)?;
                    snapshot.verify()?;
                    return Ok(path);
                }
                Err(error) => failed = Some(error),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(failed.expect("there was a try").context("cannot copy a snapshot"))
    }

    /// Appends what is still missing in the file.
    async fn copy(&self, facts: &Facts, path: &Path) -> Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let mut file = file.with_context(|| format!("cannot write {path:?}"))?;
        let mut position = file.metadata()?.len();
        if position == facts.bytes {
            return Ok(());
        }
        let (node, group) = (&self.node.id, self.group.as_str());
        let mut chunks = self.plane.fetch(node, group, facts, position).await?;
        while let Some(chunk) = chunks.next().await? {
            ensure!(chunk.position == position, "{node} sends chunks out of order");
            file.write_all(&chunk.bytes).with_context(|| format!("cannot write {path:?}"))?;
            position += chunk.bytes.len() as u64;
        }
        ensure!(position == facts.bytes, "{node} ended in the middle");
        Ok(())
    }

    /// Hands the committed batches from the one with `from` on to `take`, piece by piece.
    ///
    /// Whether there are any to have: `false` if the log begins later.
    pub async fn log(
        &self,
        from: Offset,
        mut take: impl AsyncFnMut(Vec<Batch>) -> Result<()>,
    ) -> Result<bool> {
        let request = pb::LogRequest { group: self.group.to_string(), from: from.0 };
        let mut peer = self.plane.peer(self.node).await?;
        let request = self.plane.stream_request(request, self.node.id.as_str());
        let reply = within(self.node, peer.fetch_log(request)).await?;
        let mut chunks = match reply {
            Err(status) if status.code() == Code::OutOfRange => return Ok(false),
            reply => self.said(reply)?.into_inner(),
        };
        while let Some(chunk) = self.said(within(self.node, chunks.message()).await?)? {
            let batches = chunk.batches.into_iter().map(Batch::try_from);
            let batches: Vec<Batch> = batches.collect::<std::result::Result<_, _>>()?;
            if batches.iter().any(|batch| batch.head.last_offset().0 > chunk.committed) {
                bail!("{} sends what is not committed", self.node.id);
            }
            take(batches).await?;
        }
        Ok(true)
    }
}
