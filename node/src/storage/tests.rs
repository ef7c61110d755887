//! The log writer when the disk refuses what it is asked to do.

use super::{Notify, Room, Storage};
use bytes::Bytes;
use cairn_files::{Folder, RealDisk};
use cairn_host::Event;
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, NodeId, Offset};
use cairn_settings::{LogSettings, NodeCondition};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_secs(10);

fn batch(epoch: u64, first: u64) -> Batch {
    let head = BatchHead {
        epoch: Epoch(epoch),
        first: Offset(first),
        count: 1,
        time_ms: 0,
        authority: false,
        opens_epoch: false,
    };
    Batch { head, body: Bytes::from_static(b"x") }
}

fn open(dir: &std::path::Path, settings: LogSettings) -> (Storage, Receiver<Event>) {
    let node = NodeId::new("a");
    let folder = Folder::open_or_create(&RealDisk, dir, 7, &node, Incarnation(1)).unwrap();
    let (sender, events) = channel();
    let sender = std::sync::Mutex::new(sender);
    let notify: Notify = Arc::new(move |event| drop(sender.lock().unwrap().send(event)));
    let (storage, _) = Storage::open(&folder, 7, &GroupId::new("k-0"), settings, notify).unwrap();
    (storage, events)
}

/// Waits for an event of a kind.
fn expect(events: &Receiver<Event>, what: &str, wanted: impl Fn(&Event) -> bool) {
    let end = Instant::now() + WAIT;
    while let Ok(event) = events.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if wanted(&event) {
            return;
        }
    }
    panic!("no {what} came");
}

fn eventually(storage: &Storage, what: &str, wanted: impl Fn(&Room) -> bool) {
    let end = Instant::now() + WAIT;
    while !wanted(&storage.room()) {
        assert!(Instant::now() < end, "{what}: {:?}", storage.room());
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn a_cut_waits_until_a_person_has_made_room_for_its_tail() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        LogSettings { segment_bytes: 1 << 20, cut_tails_max: 1, ..LogSettings::default() };
    let (storage, events) = open(dir.path(), settings);
    let written = |event: &Event| matches!(event, Event::Written(_));
    let cut = |event: &Event| matches!(event, Event::CutDone);
    storage.write(vec![batch(1, 1), batch(1, 2), batch(1, 3)]);
    expect(&events, "write", written);
    storage.cut(Offset(2));
    expect(&events, "first cut", cut);
    let what = |room: &Room| room.tails.iter().map(|t| (t.first.0, t.torn)).collect::<Vec<_>>();
    eventually(&storage, "shows what it kept", |room| what(room) == [(3, false)]);

    storage.cut(Offset(1));
    let waits = |room: &Room| room.waits.as_ref().map(|(reason, _)| *reason);
    eventually(&storage, "says why", |room| waits(room) == Some(NodeCondition::CutTailsFull));
    let condition = storage.room().conditions("k-0").remove(0);
    assert_eq!((condition.reason.as_str(), condition.group.as_str()), ("CutTailsFull", "k-0"));
    assert!(condition.message.contains("cairn tails"), "{}", condition.message);
    assert!(!events.try_iter().any(|event| cut(&event)), "nothing is cut");

    let kept = find(dir.path(), "cut-");
    assert_eq!(kept.len(), 1, "{kept:?}");
    std::fs::remove_file(&kept[0]).unwrap();
    expect(&events, "second cut", cut);
    eventually(&storage, "says that it goes on", |room| waits(room).is_none());
    storage.write(vec![batch(2, 2)]);
    expect(&events, "write", written);
}

#[test]
fn a_log_that_waits_for_room_can_still_be_closed() {
    let dir = tempfile::tempdir().unwrap();
    let settings =
        LogSettings { segment_bytes: 1 << 20, cut_tails_max: 1, ..LogSettings::default() };
    let (storage, events) = open(dir.path(), settings);
    storage.write(vec![batch(1, 1), batch(1, 2), batch(1, 3)]);
    storage.cut(Offset(2));
    storage.cut(Offset(1));
    expect(&events, "call for relief", |event| matches!(event, Event::Relief(Some(_))));
    let began = Instant::now();
    storage.close();
    assert!(began.elapsed() < Duration::from_secs(5));
    let (storage, _events) = open(dir.path(), settings);
    assert_eq!(storage.reader().last().offset, Offset(2));
}

#[test]
fn a_log_gives_up_its_front_but_for_what_is_to_be_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (segment_bytes, bytes_kept) = (64 << 10, 150_000);
    let settings = LogSettings { segment_bytes, bytes_kept, ..LogSettings::default() };
    let (storage, events) = open(dir.path(), settings);
    for first in 1..=40 {
        let body = Bytes::from(vec![1; 10_000]);
        storage.write(vec![Batch { body, ..batch(1, first) }]);
    }
    expect(&events, "write", |event| matches!(event, Event::Written(last) if last.offset.0 == 40));
    let log = storage.reader();
    assert_eq!(log.before(), EntryId::ZERO);
    storage.truncate(Offset(5));
    storage.truncate(Offset(12));
    expect(
        &events,
        "truncation",
        |event| matches!(event, Event::Truncated(before) if (6..=12).contains(&before.offset.0)),
    );
    assert!((6..=12).contains(&log.before().offset.0), "{}", log.before());
    storage.truncate(Offset(40));
    expect(&events, "truncation", |event| matches!(event, Event::Truncated(_)));
    let kept = log.bytes_after(log.before().offset);
    assert!((150_000..300_000).contains(&kept), "{kept}");
    assert_eq!(log.read(log.before().offset.next(), 1).unwrap().len(), 1);
    storage.close();
}

#[test]
fn a_log_that_began_anew_goes_on_after_its_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let (storage, events) = open(dir.path(), LogSettings::default());
    storage.write(vec![batch(1, 1), batch(1, 2), batch(1, 3)]);
    let after = EntryId::new(Epoch(4), Offset(900));
    storage.restart(after, Offset(1));
    expect(&events, "new begin", |event| matches!(event, Event::RestartDone));
    assert_eq!((storage.reader().before(), storage.reader().last()), (after, after));
    assert_eq!(find(dir.path(), "cut-").len(), 1, "{:?}", find(dir.path(), ""));
    storage.write(vec![batch(4, 901)]);
    expect(&events, "write", |event| matches!(event, Event::Written(last) if last.offset.0 == 901));
    storage.close();
}

fn find(dir: &std::path::Path, prefix: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(find(&entry.path(), prefix));
        } else if entry.file_name().to_string_lossy().starts_with(prefix) {
            found.push(entry.path());
        }
    }
    found
}
