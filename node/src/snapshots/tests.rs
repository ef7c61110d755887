//! Fetching over real ports, from and into real folders.

use super::{Fetcher, Holder, Purpose, Shelf, Shown, Stock};
use crate::peer::{self, Identity};
use crate::storage::Notify;
use crate::tls::Doors;
use cairn_files::{GroupFile, LogOptions, LogReader, RealDisk, SnapshotFile, Snapshots};
use cairn_host::Event;
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, NodeId, Offset};
use cairn_logic::message::Sender;
use cairn_logic::time::Duration;
use cairn_wire::hello::Secret;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

const UID: u128 = 7;
const CONTENT: u32 = 3;
const LONG: Duration = Duration::from_secs(20);
/// Fast enough to play no part.
const FAST: u64 = 1 << 30;

fn group() -> GroupId {
    GroupId::new("k-0")
}

fn identity(name: &str) -> Identity {
    let me = Sender { id: NodeId::new(name), incarnation: Incarnation(1) };
    let secret = Secret::new(&"ab".repeat(16), &[7; 32]).unwrap();
    Identity::new(me, secret, Doors::default())
}

/// A node's folder of snapshots, and a log of 100 entries.
struct Node {
    dir: tempfile::TempDir,
    files: Snapshots<RealDisk>,
    log: LogReader<RealDisk>,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let files = Snapshots::open(&RealDisk, dir.path(), UID, group()).unwrap();
        let options = LogOptions::new(UID, Incarnation(1), group());
        let path = dir.path().join("log");
        let (mut writer, _, log, _) = GroupFile::open(&RealDisk, &path, &options).unwrap();
        let head = BatchHead {
            epoch: Epoch(1),
            first: Offset(1),
            count: 100,
            time_ms: 1,
            authority: false,
            opens_epoch: false,
        };
        writer.append(&[Batch { head, body: vec![7; 100].into() }]).unwrap();
        Self { dir, files: files.with_content(CONTENT), log }
    }

    /// Writes a snapshot of about `bytes` after the entry `offset`.
    fn write(&self, offset: u64, bytes: usize) -> SnapshotFile {
        self.write_of(entry(offset), bytes)
    }

    fn write_of(&self, at: EntryId, bytes: usize) -> SnapshotFile {
        let offset = at.offset.0;
        let mut draft = self.files.begin(CONTENT, offset, "test").unwrap();
        let mut noise = offset;
        let mut byte = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (noise >> 56) as u8
        };
        for _ in 0..4 {
            let raw: Vec<u8> = std::iter::repeat_with(&mut byte).take(bytes / 4).collect();
            draft.section(b"part", at, 1, &raw).unwrap();
        }
        self.files.finish(draft, at, 0).unwrap().0
    }

    /// Serves what is here, at `bytes_per_sec`.
    async fn serve(&self, name: &str, bytes_per_sec: u64) -> Holder {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shelf = Shelf::new(bytes_per_sec);
        shelf.offer(&group(), self.files.clone(), self.log.clone());
        let (inbox, _) = mpsc::channel(4);
        let identity = identity(name);
        let routes = peer::peer_routes(&identity, inbox.clone(), &shelf);
        peer::spawn(&identity, listener, inbox, routes);
        Holder { id: NodeId::new(name), peer: address, member: true, master: false }
    }

    fn fetcher(&self, name: &str) -> (Fetcher, mpsc::UnboundedReceiver<Event>) {
        let (events, came) = mpsc::unbounded_channel();
        let notify: Notify = Arc::new(move |event| drop(events.send(event)));
        let (group, folder, shown) = (group(), self.files.clone(), Shown::default());
        let stock = Stock { group, folder, content: CONTENT, one_moment: false, shown };
        (Fetcher::new(identity(name), stock, notify), came)
    }

    fn bytes_of(&self, file: &SnapshotFile) -> Vec<u8> {
        std::fs::read(self.dir.path().join(file.name())).unwrap()
    }
}

fn entry(offset: u64) -> EntryId {
    EntryId::new(Epoch(1), Offset(offset))
}

/// Waits for the end of a fetch: what was fetched, or nothing.
async fn end(came: &mut mpsc::UnboundedReceiver<Event>) -> Option<EntryId> {
    loop {
        match timeout(LONG, came.recv()).await.expect("a fetch ends").expect("it is open") {
            Event::Fetching(Some(_)) => {}
            Event::Fetching(None) => return None,
            Event::Fetched(from) | Event::Snapshot(from) => return Some(from),
            other => panic!("something else came: {other:?}"),
        }
    }
}

#[tokio::test]
async fn only_snapshots_of_entries_in_the_log_are_offered() {
    let node = Node::new();
    // Of an epoch that the log does not have there; above its end; of its last entry.
    let lost = node.write_of(EntryId::new(Epoch(2), Offset(60)), 1000);
    node.write(101, 1000);
    let held = node.write(100, 1000);
    let shelf = Shelf::new(FAST);
    shelf.offer(&group(), node.files.clone(), node.log.clone());
    let asked = cairn_wire::peer::pb::SnapshotsRequest { group: "k-0".to_owned() };
    let listed = shelf.list(asked).await.unwrap().snapshots;
    let names: Vec<String> = listed.into_iter().map(|facts| facts.name).collect();
    assert_eq!(names, [held.name()]);
    let asked = |file: &SnapshotFile| cairn_wire::peer::pb::FetchRequest {
        group: "k-0".to_owned(),
        name: file.name(),
        bytes: file.bytes,
        position: 0,
    };
    let refused = shelf.send(asked(&lost)).await.expect_err("it is of another history");
    assert_eq!(refused.code(), tonic::Code::NotFound);
    assert!(shelf.send(asked(&held)).await.is_ok());
}

#[tokio::test]
async fn the_newest_that_is_not_the_masters_is_fetched() {
    let (master, older, newer, ours) = (Node::new(), Node::new(), Node::new(), Node::new());
    master.write(90, 1000);
    older.write(50, 1000);
    newer.write(40, 1000);
    let file = newer.write(70, 1 << 20);
    let holders = vec![
        Holder { master: true, ..master.serve("m", FAST).await },
        older.serve("o", FAST).await,
        newer.serve("n", FAST).await,
    ];
    let (mut fetcher, mut came) = ours.fetcher("z");
    fetcher.fetch(Purpose::CatchUp, Offset(45), holders);
    assert!(matches!(came.recv().await, Some(Event::Fetching(Some(from))) if from == entry(70)));
    assert_eq!(end(&mut came).await, Some(entry(70)));
    assert_eq!(ours.bytes_of(&file), newer.bytes_of(&file));
    assert_eq!(fetcher.progress(), None);
}

#[tokio::test]
async fn nothing_is_said_where_nobody_has_one_that_is_new_enough() {
    let (other, ours) = (Node::new(), Node::new());
    other.write(40, 1000);
    let (mut fetcher, mut came) = ours.fetcher("z");
    fetcher.fetch(Purpose::CatchUp, Offset(41), vec![other.serve("o", FAST).await]);
    let until = Instant::now() + LONG;
    while fetcher.is_at_work() && Instant::now() < until {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!fetcher.is_at_work());
    assert!(came.try_recv().is_err());
}

#[tokio::test]
async fn a_fetch_goes_on_where_it_was_with_another_holder() {
    let (other, ours) = (Node::new(), Node::new());
    let file = other.write(40, 400_000);
    let all = other.bytes_of(&file);
    let mut begun = ours.files.receive(&file.name(), file.bytes).unwrap();
    begun.write(&all[..300_000]).unwrap();
    drop(begun);
    // The rest takes a second; all of it would take four.
    let holder = other.serve("o", 100_000).await;
    let began = Instant::now();
    let (mut fetcher, mut came) = ours.fetcher("z");
    fetcher.fetch(Purpose::Keep, Offset(1), vec![holder]);
    assert_eq!(end(&mut came).await, Some(entry(40)));
    assert_eq!(ours.bytes_of(&file), all);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_broken_one_is_refused_and_the_next_holder_asked() {
    let (broken, whole, ours) = (Node::new(), Node::new(), Node::new());
    let file = whole.write(40, 100_000);
    let mut bytes = whole.bytes_of(&file);
    bytes[50_000] ^= 1;
    std::fs::write(broken.dir.path().join(file.name()), bytes).unwrap();
    let holders = vec![broken.serve("a", FAST).await, whole.serve("b", FAST).await];
    let (mut fetcher, mut came) = ours.fetcher("z");
    fetcher.fetch(Purpose::CatchUp, Offset(1), holders);
    assert_eq!(end(&mut came).await, Some(entry(40)));
    assert_eq!(ours.bytes_of(&file), whole.bytes_of(&file));
}

#[tokio::test]
async fn all_fetches_together_are_throttled_and_a_fifth_is_refused() {
    let other = Node::new();
    other.write(40, 50_000);
    let holder = other.serve("o", 200_000).await;
    let began = Instant::now();
    let nodes: Vec<Node> = (0..5).map(|_| Node::new()).collect();
    let mut fetches: Vec<_> = nodes.iter().map(|node| node.fetcher("z")).collect();
    for (fetcher, _) in &mut fetches {
        fetcher.fetch(Purpose::CatchUp, Offset(1), vec![holder.clone()]);
    }
    let mut got = 0;
    for (_, came) in &mut fetches {
        got += usize::from(end(came).await.is_some());
    }
    // Four times 50 kB at 200 kB/s; the last chunk of each is not waited for.
    assert_eq!(got, 4);
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_file_that_is_pruned_while_it_is_sent_still_comes_whole() {
    let (other, ours) = (Node::new(), Node::new());
    let file = other.write(40, 100_000);
    let all = other.bytes_of(&file);
    let (mut fetcher, mut came) = ours.fetcher("z");
    fetcher.fetch(Purpose::CatchUp, Offset(1), vec![other.serve("o", 50_000).await]);
    while fetcher.progress().is_none_or(|at| at.bytes == 0) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    other.files.prune(0).unwrap();
    assert!(!other.dir.path().join(file.name()).exists());
    assert_eq!(end(&mut came).await, Some(entry(40)));
    assert_eq!(ours.bytes_of(&file), all);
}
