//! `cairn inspect` on files as nodes write them, and on what is none of them.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it must be")]

use bytes::Bytes;
use cairn_directory::Directory;
use cairn_directory::op::{Op, Put};
use cairn_files::{DoubleWriteFile, GroupFile, LogOptions, RealDisk, Snapshots};
use cairn_keyspace::{Checker, EffectLog, Entries, Keyspace, Part};
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, Offset};
use std::path::Path;
use std::process::Command;

/// What it prints, and whether it succeeded.
fn inspect(args: &[&str], file: &Path) -> (String, bool) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cairn"));
    let output = command.arg("inspect").args(args).arg(file).output().unwrap();
    let both = [output.stdout, output.stderr].concat();
    (String::from_utf8(both).unwrap(), output.status.success())
}

fn head(first: u64) -> BatchHead {
    BatchHead {
        epoch: Epoch(5),
        first: Offset(first),
        count: 2,
        time_ms: 1,
        authority: false,
        opens_epoch: false,
    }
}

fn flip(file: &Path, position: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[position] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn a_segment_is_told_up_to_where_it_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let group = GroupId::new("tweets-0");
    let options = LogOptions::new(7, Incarnation(8), group).with_segment_bytes(64 << 10);
    let (mut writer, flusher, _, _) = GroupFile::open(&RealDisk, folder.path(), &options).unwrap();
    for first in [1, 3] {
        writer
            .append(&[Batch { head: head(first), body: Bytes::from_static(b"two entries") }])
            .unwrap();
    }
    let (mut keyspace, mut log) = (Keyspace::new(1), EffectLog::new(Offset(5)));
    Checker::new(&keyspace).step(&mut keyspace, &mut log);
    keyspace.repair(&Part::Keys { from: 0, to: 1 << 48 }, &mut log).unwrap();
    let Entries { first, count, body } = log.take().unwrap();
    let head = BatchHead { first, count, ..head(5) };
    writer.append(&[Batch { head, body: body.into() }]).unwrap();
    drop((writer, flusher));
    let segment = folder.path().join("00000000000000000001.seg");
    let (text, good) = inspect(&["--list"], &segment);
    assert!(good && text.contains("entries   5/1 to 5/6\n"), "{text}");
    assert!(text.contains("\n    5 check of all keys: 0000000000000000\n"), "{text}");
    assert!(text.contains("\n    6 repair of slot 0: 0000000000000000\n"), "{text}");
    assert!(
        text.contains("group tweets-0") && text.contains("\n  5/3 2 entries, 11 bytes"),
        "{text}"
    );
    flip(&segment, 4096 + 72 + 60);
    let (text, good) = inspect(&[], &segment);
    assert!(!good && text.contains("entries   5/1 to 5/2\n"), "{text}");
    assert!(text.contains("it can be read up to byte 4168: checksum mismatch"), "{text}");
}

#[test]
fn a_snapshot_is_read_to_its_last_byte() {
    let folder = tempfile::tempdir().unwrap();
    let mut directory = Directory::new();
    for key in ["/one", "/two"] {
        let put = Put { key: key.into(), value: "secret".into(), ..Put::default() };
        directory.apply(&Op::Put(put)).unwrap();
    }
    let store = Snapshots::open(&RealDisk, folder.path(), 7, GroupId::global()).unwrap();
    let mut export = directory.export();
    let mut draft = store.begin(cairn_directory::directory::CONTENT, 9, "a test").unwrap();
    let at = EntryId::new(Epoch(1), Offset(2));
    while let Some(portion) = directory.export_more(&mut export, 1 << 20) {
        if portion.is_empty() {
            continue;
        }
        draft.section(&portion.label, at, portion.records, &portion.bytes).unwrap();
    }
    let (file, _) = store.finish(draft, at, export.hash()).unwrap();
    let (text, good) = inspect(&["--list"], &file.path);
    assert!(good && text.contains("of        the global plane of cluster 0"), "{text}");
    assert!(text.contains("entries   all up to 1/2\nrecords   2 in 2 sections\n"), "{text}");
    assert!(text.contains("\n  /one  @2\n  /two  @3\nchecked   whole"), "{text}");
    assert!(!text.contains("secret"));
    flip(&file.path, 90);
    let (text, good) = inspect(&[], &file.path);
    assert!(!good && text.contains("a section was changed"), "{text}");
}

#[test]
fn small_files_and_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let vote = folder.path().join("vote");
    DoubleWriteFile::create(&RealDisk, &vote, br#"{"sealed":3}"#).unwrap();
    let (text, good) = inspect(&[], &vote);
    assert!(good && text.contains("\"sealed\": 3") && text.contains("checked   whole"), "{text}");
    flip(&vote, 30);
    let (text, good) = inspect(&[], &vote);
    assert!(!good && text.contains("1 of 2 copies can be read"), "{text}");
    let other = folder.path().join("other");
    std::fs::write(&other, "root:x:0:0").unwrap();
    let (text, good) = inspect(&[], &other);
    assert!(!good && text.contains("is no segment, snapshot or small file of Cairn"), "{text}");
    let (text, good) = inspect(&[], &folder.path().join("nothing"));
    assert!(!good && text.contains("No such file"), "{text}");
}
