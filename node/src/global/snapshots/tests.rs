//! From a directory to a file and back.

use super::{Sections, load_now};
use cairn_directory::directory::{CONTENT, Portion};
use cairn_directory::op::{Op, Put};
use cairn_directory::{Directory, LeaseId};
use cairn_files::{RealDisk, Snapshot, Snapshots};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Offset};

const AT: EntryId = EntryId { epoch: Epoch(2), offset: Offset(70) };

fn folder(path: &std::path::Path) -> Snapshots<RealDisk> {
    Snapshots::open(&RealDisk, path, 7, GroupId::global()).unwrap()
}

/// Some keys of before a compaction, some of after it, some that hang on a lease.
fn directory() -> Directory {
    let mut directory = Directory::new();
    directory.apply(&Op::LeaseGrant { id: LeaseId(5), ttl_secs: 9 }).unwrap();
    for number in 0..9000_i64 {
        let lease = LeaseId(5 * (number % 2));
        let put = Put { lease, ..Put::new(format!("{}", number % 7000), vec![7; 300]) };
        directory.apply(&Op::Put(put)).unwrap();
        if number == 8000 {
            directory.apply(&Op::Compact { revision: directory.revision() }).unwrap();
        }
    }
    while !directory.sweep(100) {}
    directory
}

fn written(folder: &Snapshots<RealDisk>, hash: u64, portions: &[Portion]) -> Snapshot<RealDisk> {
    let mut draft = folder.begin(CONTENT, 1, "test").unwrap();
    let mut sections = Sections::new(AT);
    for portion in portions {
        sections.add(&mut draft, portion.clone()).unwrap();
    }
    sections.end(&mut draft).unwrap();
    let (file, _) = folder.finish(draft, AT, hash).unwrap();
    folder.read(&file.path).unwrap()
}

fn portions(directory: &mut Directory) -> Vec<Portion> {
    let mut export = directory.export();
    std::iter::from_fn(|| directory.export_more(&mut export, 10_000)).collect()
}

#[test]
fn many_small_portions_become_a_few_sections_and_the_same_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = directory();
    let portions = portions(&mut directory);
    let hash = directory.state_hash().hash;
    let snapshot = written(&folder(dir.path()), hash, &portions);
    // Facts; leases; 2.1 MB of keys and 0.3 MB of changes.
    assert!((5..12).contains(&snapshot.sections().len()), "{}", snapshot.sections().len());
    assert!(portions.len() > 200, "{}", portions.len());
    let copy = load_now(&snapshot).unwrap();
    assert_eq!(copy.state_hash(), directory.state_hash());
    let keys = |directory: &Directory| directory.lease(LeaseId(5)).unwrap().1.count();
    assert_eq!((keys(&copy), copy.compacted()), (keys(&directory), directory.compacted()));
}

#[test]
fn what_says_another_hash_or_number_of_records_or_lacks_a_section_is_not_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let mut directory = directory();
    let (mut portions, hash) = (portions(&mut directory), directory.state_hash().hash);
    let folder = folder(dir.path());
    assert!(load_now(&written(&folder, hash, &portions)).is_ok());
    assert!(load_now(&written(&folder, hash + 1, &portions)).is_err());
    portions[50].records += 1;
    assert!(load_now(&written(&folder, hash, &portions)).is_err());
    portions[50].records -= 1;
    portions.remove(50);
    assert!(load_now(&written(&folder, hash, &portions)).is_err());
}
