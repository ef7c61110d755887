//! Files that earlier programs wrote are read as long as their format is one that we read.
//!
//! What is in `testdata` is never written again: it is what folders in use hold.

use crate::inspect::{Inspected, inspect};
use crate::{Disk, DiskFile, MemDisk, Snapshots};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Offset};
use std::io::IoSlice;
use std::path::Path;

fn entry(offset: u64) -> EntryId {
    EntryId::new(Epoch(3), Offset(offset))
}

fn put(disk: &MemDisk, path: &Path, bytes: &[u8]) {
    disk.create_dir(path.parent().unwrap()).unwrap();
    disk.create(path).unwrap().write_at(&mut [IoSlice::new(bytes)], 0).unwrap();
}

#[test]
fn a_snapshot_of_format_1_is_read_and_taken_in() {
    let bytes = include_bytes!("../../testdata/format-1.snap");
    let (disk, folder) = (MemDisk::new(), Path::new("/node/snapshots"));
    let store = Snapshots::open(&disk, folder, 7, GroupId::new("tweets-0")).unwrap();
    let mut incoming = store.receive("00000000000000000010-3.snap", bytes.len() as u64).unwrap();
    incoming.write(bytes).unwrap();
    let (file, end) = store.with_content(1).accept(incoming).unwrap();
    assert_eq!((end.from, end.upto, end.hash, end.records), (entry(10), entry(12), 42, 9));
    let Inspected::Snapshot(found) = inspect(&disk, &file.path).unwrap() else { panic!() };
    assert_eq!((found.head().made_ms, found.head().program.as_str()), (99, "cairn-node 0.1.0"));
    let read: Vec<_> = found.sections().iter().map(|at| found.read(at).unwrap()).collect();
    assert_eq!(read, [b"many equal words ".repeat(20), b"one".to_vec()]);
    let labels: Vec<_> = found.sections().iter().map(|at| at.label.as_slice()).collect();
    assert_eq!(labels, [&b"slot 9"[..], b"slot 11"]);
}

#[test]
fn a_segment_of_format_1_is_read() {
    let (disk, path) = (MemDisk::new(), Path::new("/node/log/00000000000000000001.seg"));
    put(&disk, path, include_bytes!("../../testdata/format-1.seg"));
    let Inspected::Segment(found) = inspect(&disk, path).unwrap() else { panic!() };
    assert_eq!((found.group.as_str(), found.before), ("tweets-0", EntryId::ZERO));
    let heads = [super::batch(3, 1, 2, 100).head, super::batch(3, 3, 1, 60).head];
    let read: Vec<_> = found.batches.iter().map(|(head, _)| *head).collect();
    assert_eq!((read.as_slice(), found.whole), (&heads[..], true));
}
