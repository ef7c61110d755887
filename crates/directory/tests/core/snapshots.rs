//! Snapshots of a directory at work, and what goes on from one.

use super::Node;
use bytes::Bytes;
use cairn_directory::op::{Op, Put};
use cairn_directory::{Directory, LeaseId};
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, NodeId, Offset, Revision};
use cairn_logic::record::EpochRecord;

/// What is being written, a little at a time, while `between` happens.
fn exported(node: &mut Node, mut between: impl FnMut(&mut Node)) -> (EntryId, u64, Directory) {
    let at = node.core.export_at().expect("it has begun");
    let hash = node.core.export_hash().expect("it has begun");
    let mut directory = Directory::new();
    while let Some(portion) = node.core.export_more(16) {
        directory.import(portion.bytes.into()).expect("as it was written");
        between(node);
    }
    node.core.end_export();
    (at, hash, directory)
}

#[test]
fn a_snapshot_of_a_copy_that_goes_on_is_one_that_its_master_had() {
    let mut node = Node::master(3);
    let lease = node.grant(30);
    for number in 0..1100 {
        node.propose(Op::Put(Put { lease, ..Put::new(format!("{}", number % 90), "v") }));
        node.commit();
    }
    let mut replica = Node::new();
    replica.core.want_export();
    replica.follow(&node);
    let at = replica.core.export_at().expect("a multiple was passed");
    assert_eq!(at, EntryId::new(Epoch(3), Offset(1024)));
    let (at, hash, directory) = exported(&mut replica, |replica| {
        // Its history is bounded meanwhile, and swept no further than the snapshot allows.
        node.put("more");
        node.pass(1000);
        replica.follow(&node);
    });
    assert_eq!(node.core.hash_at(at.offset), Some(hash));
    assert_eq!(directory.state_hash().hash, hash);

    let mut third = Node::new();
    third.core.reset();
    third.core.install(directory, at);
    assert_eq!(third.count_while_loading(), None, "nothing is answered before it is loaded");
    third.log = node.log[..1024].to_vec();
    third.follow(&node);
    third.core.loaded(&mut third.told);
    let (ours, theirs) = (third.core.directory(), node.core.directory());
    assert_eq!(ours.state_hash(), theirs.state_hash());
    assert_eq!(third.core.hash_at(node.end()), node.core.hash_at(node.end()));
    third.promote(4);
    assert!(third.grant(5) > lease, "a new epoch, a new lease");
}

#[test]
fn what_revisions_go_on_above_is_in_the_snapshot_when_its_record_is_no_longer_in_the_log() {
    let record =
        EpochRecord { epoch: Epoch(2), master: NodeId::new("a"), members: vec![], above: 5_000 };
    let head = BatchHead {
        epoch: Epoch(2),
        first: Offset(1),
        count: 1,
        time_ms: 0,
        authority: true,
        opens_epoch: true,
    };
    let mut node = Node::new();
    let batch = Batch { head, body: Bytes::from(record.encode()) };
    node.core.apply_batch(&batch, &mut node.told).unwrap();
    node.core.begin_export();
    let (_, _, directory) = exported(&mut node, |_| ());
    assert_eq!(directory.above(), Revision(5_000));
}

#[test]
fn a_snapshot_of_the_first_content_is_still_read() {
    // Compacted, revision, one lease of 30 seconds; then a key that hangs on it.
    let mut directory = Directory::new();
    directory.import(Bytes::from_static(&[0, 0, 2, 7, 30])).unwrap();
    let mut now = Directory::new();
    now.apply(&Op::LeaseGrant { id: LeaseId(7), ttl_secs: 30 }).unwrap();
    now.apply(&Op::Put(Put { lease: LeaseId(7), ..Put::new("a", "v") })).unwrap();
    let mut export = now.export();
    while let Some(portion) = now.export_more(&mut export, 100) {
        if portion.bytes[0] == 2 {
            directory.import(portion.bytes.into()).unwrap();
        }
    }
    assert_eq!(directory.state_hash(), now.state_hash());
    assert_eq!(directory.above(), Revision(0));
}

fn portions(directory: &mut Directory, bytes: usize) -> Vec<Bytes> {
    let mut export = directory.export();
    let portions = std::iter::from_fn(|| directory.export_more(&mut export, bytes));
    portions.map(|portion| portion.bytes.into()).collect()
}

#[test]
fn a_key_that_was_changed_often_is_passed_in_small_steps() {
    let mut directory = Directory::new();
    for key in ["a", "b", "c"] {
        directory.apply(&Op::Put(Put::new(key, "old"))).unwrap();
    }
    directory.apply(&Op::Compact { revision: directory.revision() }).unwrap();
    for number in 0..2000 {
        directory.apply(&Op::Put(Put::new("b", number.to_string()))).unwrap();
    }
    let (hash, mut export) = (directory.state_hash().hash, directory.export());
    let (mut copy, mut empty) = (Directory::new(), 0);
    while let Some(portion) = directory.export_more(&mut export, 1 << 20) {
        empty += usize::from(portion.is_empty());
        copy.import(portion.bytes.into()).unwrap();
        // It is changed again, and swept as far as may be, in the middle.
        directory.apply(&Op::Put(Put::new("b", "new"))).unwrap();
        directory.sweep_behind(10, export.reader());
    }
    assert!(empty >= 3, "2000 versions were passed in {empty} steps");
    assert_eq!(copy.state_hash().hash, hash);
}

#[test]
fn leases_that_come_and_go_while_a_snapshot_is_written_are_as_they_were_when_it_began() {
    let mut directory = Directory::new();
    for id in 1..=50 {
        directory.apply(&Op::LeaseGrant { id: LeaseId(id), ttl_secs: 10 }).unwrap();
    }
    let hash = directory.state_hash().hash;
    let (mut export, mut copy) = (directory.export(), Directory::new());
    let mut last = 51;
    while let Some(portion) = directory.export_more(&mut export, 30) {
        copy.import(portion.bytes.into()).unwrap();
        // One that is told, one that is not, and one that is back as another.
        for id in [last - 50, last - 20] {
            directory.apply(&Op::LeaseRevoke { id: LeaseId(id), expired_in: None }).ok();
        }
        directory.apply(&Op::LeaseGrant { id: LeaseId(last), ttl_secs: 5 }).unwrap();
        directory.apply(&Op::LeaseGrant { id: LeaseId(last - 20), ttl_secs: 7 }).unwrap();
        last += 1;
    }
    assert_eq!((copy.state_hash().hash, copy.lease_count()), (hash, 50));
}

#[test]
fn portions_in_another_order_are_refused() {
    let mut directory = Directory::new();
    for number in 0..20 {
        directory.apply(&Op::Put(Put::new(format!("{number:02}"), "v"))).unwrap();
    }
    directory.apply(&Op::Compact { revision: directory.revision() }).unwrap();
    for number in 0..20 {
        directory.apply(&Op::Put(Put::new(format!("{number:02}"), "w"))).unwrap();
    }
    let written = portions(&mut directory, 60);
    let kinds: Vec<u8> = written.iter().map(|portion| portion[0]).collect();
    let first = |kind| kinds.iter().position(|found| *found == kind).unwrap();
    let (keys, changes) = (first(1), first(2));
    let after = |order: &[usize]| {
        let mut copy = Directory::new();
        copy.import(written[0].clone()).unwrap();
        order.iter().map(|place| copy.import(written[*place].clone()).is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(after(&[keys, keys + 1]), [true, true]);
    assert_eq!(after(&[keys + 1, keys]), [true, false], "keys are in their order");
    assert_eq!(after(&[keys, keys]), [true, false], "and come once");
    assert_eq!(after(&[changes, changes + 1]), [true, true]);
    assert_eq!(after(&[changes + 1, changes]), [true, false], "changes are in their order");
    assert_eq!(after(&[changes, keys]), [true, false], "keys are before changes");
    assert_eq!(after(&[0]), [false], "facts come once");
    assert_eq!(after(&[keys, 0]), [true, false], "facts come first");
}
