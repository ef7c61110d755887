//! What is sent is whole, in order, and nothing of it can be taken back.

use super::*;
use cairn_files::{GroupFile, LogOptions, LogWriter};
use cairn_logic::batch::BatchHead;
use cairn_logic::ids::{Epoch, Incarnation};
use tokio_stream::StreamExt;
use tonic::Code;

struct Node {
    _dir: tempfile::TempDir,
    writer: LogWriter<RealDisk>,
    log: CommittedLog,
    shelf: Shelf,
}

fn group() -> GroupId {
    GroupId::new("k-0")
}

fn batch(first: u64) -> Batch {
    let head = BatchHead {
        epoch: Epoch(1),
        first: Offset(first),
        count: 2,
        time_ms: first,
        authority: false,
        opens_epoch: false,
    };
    Batch { head, body: vec![7; 60_000].into() }
}

/// A log of 20 batches with two entries each.
fn node() -> Node {
    let dir = tempfile::tempdir().unwrap();
    let options = LogOptions::new(7, Incarnation(1), group()).with_segment_bytes(64 << 10);
    let (mut writer, _, reader, _) = GroupFile::open(&RealDisk, dir.path(), &options).unwrap();
    let batches: Vec<Batch> = (0..20).map(|n| batch(1 + 2 * n)).collect();
    writer.append(&batches).unwrap();
    let (log, shelf) = (CommittedLog::new(reader), Shelf::new(1 << 30));
    shelf.offer_log(&group(), log.clone());
    Node { _dir: dir, writer, log, shelf }
}

impl Node {
    /// All batches from an entry on, and how far they are said to be committed.
    async fn fetch(&self, from: u64) -> Result<(Vec<Batch>, u64), Status> {
        let request = pb::LogRequest { group: "k-0".into(), from };
        let mut chunks = self.shelf.send_log(request).await?;
        let (mut batches, mut committed) = (Vec::new(), 0);
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk?;
            committed = chunk.committed;
            for batch in chunk.batches {
                batches.push(Batch::try_from(batch).unwrap());
            }
        }
        Ok((batches, committed))
    }
}

#[tokio::test]
async fn only_what_is_committed_is_sent_and_later_the_rest() {
    let node = node();
    assert_eq!(node.fetch(1).await.unwrap(), (vec![], 0));
    // In the middle of a batch: that one is not committed as a whole.
    for (committed, batches) in [(1, 0), (4, 2), (5, 2), (36, 18), (40, 20)] {
        node.log.commit(Offset(committed));
        let expected: Vec<Batch> = (0..batches).map(|n| batch(1 + 2 * n)).collect();
        assert_eq!(node.fetch(0).await.unwrap(), (expected, committed));
    }
    assert_eq!(node.fetch(38).await.unwrap(), (vec![batch(37), batch(39)], 40));
    assert_eq!(node.fetch(41).await.unwrap(), (vec![], 40));
}

#[tokio::test]
async fn what_is_not_kept_is_refused_with_what_is() {
    let mut node = node();
    node.log.commit(Offset(40));
    node.writer.release_before(Offset(21));
    let given_up = node.writer.flusher().give_up_front().unwrap().unwrap();
    let first = given_up.before.offset.next();
    given_up.remove().unwrap();
    assert!(first > Offset(1), "some segments went");
    let refused = node.fetch(1).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert!(refused.message().contains(&format!("begins at {first}")), "{}", refused.message());
    let (batches, _) = node.fetch(first.0).await.unwrap();
    assert_eq!((batches[0].head.first, batches[batches.len() - 1].clone()), (first, batch(39)));
    let request = pb::LogRequest { group: "k-1".into(), from: 1 };
    assert_eq!(node.shelf.send_log(request).await.unwrap_err().code(), Code::NotFound);
}
