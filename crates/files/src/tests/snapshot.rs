//! Snapshots: what is written is read, what was changed is found, a crash leaves one or none.

use super::Dice;
use crate::disk::{Disk, DiskFile};
use crate::{Error, MemDisk, Snapshots};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Offset};
use std::io::IoSlice;
use std::path::{Path, PathBuf};

pub(super) const FOLDER: &str = "/node/groups/tweets-0/snapshots";

pub(super) fn entry(offset: u64) -> EntryId {
    EntryId::new(Epoch(3), Offset(offset))
}

pub(super) fn store(disk: &MemDisk) -> Snapshots<MemDisk> {
    Snapshots::open(disk, Path::new(FOLDER), 7, GroupId::new("tweets-0")).unwrap()
}

/// Three sections, some of which shrink.
fn sections() -> Vec<(Vec<u8>, EntryId, u32, Vec<u8>)> {
    let mut dice = Dice::new(5);
    let noise = (0..3000).map(|_| dice.below(256) as u8).collect();
    vec![
        (b"slot 9".to_vec(), entry(12), 2, b"many equal words ".repeat(400)),
        (b"slot 11".to_vec(), entry(10), 7, noise),
        (Vec::new(), entry(14), 1, vec![1]),
    ]
}

pub(super) fn write(store: &Snapshots<MemDisk>) -> crate::Result<PathBuf> {
    let mut draft = store.begin(1, 99, "cairn-node test")?;
    for (label, at, records, raw) in sections() {
        draft.section(&label, at, records, &raw)?;
    }
    store.finish(draft, EntryId::ZERO, 42).map(|(file, _)| file.path)
}

/// Reads all of it; whatever is wrong with it is told.
pub(super) fn read(store: &Snapshots<MemDisk>, path: &Path) -> crate::Result<Vec<Vec<u8>>> {
    let snapshot = store.read(path)?;
    snapshot.sections().iter().map(|section| snapshot.read(section)).collect()
}

#[test]
fn what_was_written_is_read() {
    let disk = MemDisk::new();
    let store = store(&disk);
    assert_eq!(store.list().unwrap(), []);
    let path = write(&store).unwrap();
    disk.crash(&mut |_| 0);
    let listed = store.list().unwrap();
    assert_eq!((listed.len(), &listed[0].path, listed[0].from), (1, &path, entry(10)));
    let snapshot = store.read(&path).unwrap();
    let head = snapshot.head();
    assert_eq!((head.uid, head.content, head.made_ms), (7, 1, 99));
    assert_eq!((head.group.as_str(), head.program.as_str()), ("tweets-0", "cairn-node test"));
    let end = snapshot.end();
    assert_eq!((end.from, end.upto, end.hash, end.records), (entry(10), entry(14), 42, 10));
    for (section, (label, at, records, raw)) in snapshot.sections().iter().zip(sections()) {
        assert_eq!((&section.label, section.at, section.records), (&label, at, records));
        assert_eq!(snapshot.read(section).unwrap(), raw);
    }
    assert!(snapshot.sections()[0].stored_bytes < 200, "it is compressed");
    assert_eq!(snapshot.bytes(), listed[0].bytes);
    snapshot.verify().unwrap();
}

#[test]
fn every_flipped_and_every_missing_byte_is_found() {
    let disk = MemDisk::new();
    let store = store(&disk);
    let path = write(&store).unwrap();
    let bytes = store.list().unwrap()[0].bytes;
    read(&store, &path).unwrap();
    for position in 0..bytes {
        let changed = disk.fork();
        changed.flip(&path, position, 1 << (position % 8)).unwrap();
        let found = read(&self::store(&changed), &path);
        // Only the first eight bytes say that it is a snapshot at all.
        let told = match found {
            Err(Error::Broken { .. }) => position >= 8,
            Err(Error::Format { found: 0, .. }) => position < 8,
            _ => false,
        };
        assert!(told, "byte {position}");
        if position % 7 == 0 || position + 60 > bytes {
            let shortened = disk.fork();
            shortened.shorten(&path, position).unwrap();
            let found = read(&self::store(&shortened), &path);
            assert!(matches!(found, Err(Error::Broken { .. })), "cut at {position}: {found:?}");
        }
    }
}

#[test]
fn a_crash_at_any_moment_leaves_a_whole_one_or_none() {
    let base = MemDisk::new();
    let old = write(&store(&base)).unwrap();
    base.rename(&old, &old.with_file_name(format!("{:020}-3.snap", 5))).unwrap();
    base.sync_dir(Path::new(FOLDER)).unwrap();
    let mut counts = [0; 3];
    for seed in 0..600_u64 {
        let disk = base.fork();
        let mut dice = Dice::new(seed);
        match seed % 2 {
            0 => disk.stop_after(dice.below(4500)),
            _ => disk.stop_before(dice.below(14)),
        }
        let done = write(&store(&disk)).is_ok();
        disk.crash(&mut |limit| dice.below(limit));
        let store = store(&disk);
        let listed = store.list().unwrap();
        assert!((1..=2).contains(&listed.len()), "seed {seed}");
        assert!(!done || listed.len() == 2, "seed {seed}: it was said to be there");
        for file in &listed {
            assert_eq!(read(&store, &file.path).unwrap().len(), 3, "seed {seed}");
        }
        counts[listed.len()] += 1;
        // What was left of a draft is in nobody's way.
        write(&store).unwrap();
        store.prune(1).unwrap();
        assert_eq!(store.list().unwrap().len(), 1);
    }
    assert!(counts[1] > 100 && counts[2] > 20, "{counts:?}");
}

#[test]
fn what_others_wrote_is_refused_and_says_whose_it_is() {
    let disk = MemDisk::new();
    let path = write(&store(&disk)).unwrap();
    let open = |uid, group| {
        let store = Snapshots::open(&disk, Path::new(FOLDER), uid, GroupId::new(group)).unwrap();
        store.read(&path).map(drop)
    };
    assert!(matches!(open(8, "tweets-0"), Err(Error::Foreign { what: "cluster", .. })));
    assert!(matches!(open(7, "tweets-1"), Err(Error::Foreign { what: "group", .. })));
    // A newer program's head: whole, and of another format.
    let file = disk.open(&path).unwrap();
    let mut head = vec![0; 20];
    file.read_at(&mut head, 0).unwrap();
    let mut whole = vec![0; u32::from_le_bytes(head[16..20].try_into().unwrap()) as usize];
    file.read_at(&mut whole, 0).unwrap();
    whole[12] = 9;
    let crc = crc32c::crc32c(&whole[12..]).to_le_bytes();
    whole[8..12].copy_from_slice(&crc);
    file.write_at(&mut [IoSlice::new(&whole)], 0).unwrap();
    let found = open(7, "tweets-0");
    assert!(matches!(found, Err(Error::Format { found: 9, known: 1, .. })), "{found:?}");
}

#[test]
fn broken_ones_are_kept_aside_and_the_oldest_of_them_go() {
    let disk = MemDisk::new();
    let store = store(&disk);
    let aside = || -> Vec<String> {
        let listed = disk.list(Path::new(FOLDER)).unwrap();
        listed.into_iter().map(|file| file.name).collect()
    };
    let name = |offset: u64, epoch: u64| format!("{offset:020}-{epoch}.snap");
    // By entry, not by name: epoch 10 is newer than epoch 9. The one that is set aside now stays,
    // also if it is the oldest of all, and one of the same name is replaced.
    let steps = [
        ((40, 2), None),
        ((30, 10), None),
        ((30, 9), None),
        ((10, 1), None),
        ((20, 3), Some((10, 1))),
        ((5, 1), Some((20, 3))),
        ((40, 2), None),
        ((50, 2), Some((5, 1))),
        ((60, 2), Some((30, 9))),
    ];
    let mut expected = std::collections::BTreeSet::new();
    for ((offset, epoch), gone) in steps {
        let path = write(&store).unwrap();
        let broken = path.with_file_name(name(offset, epoch));
        disk.rename(&path, &broken).unwrap();
        let to = store.set_aside(&broken).unwrap();
        assert!(disk.open(&to).is_ok());
        expected.insert(format!("bad-{}", name(offset, epoch)));
        if let Some((offset, epoch)) = gone {
            assert!(expected.remove(&format!("bad-{}", name(offset, epoch))));
        }
        assert_eq!(aside(), expected.iter().cloned().collect::<Vec<_>>());
        assert_eq!(store.list().unwrap(), []);
    }
}

#[test]
fn a_full_disk_ends_a_draft_and_nothing_else() {
    let disk = MemDisk::new();
    let store = store(&disk);
    let path = write(&store).unwrap();
    disk.set_capacity(disk.used_bytes() + 1000);
    assert!(matches!(write(&store), Err(Error::Full { .. })));
    assert_eq!(read(&store, &path).unwrap().len(), 3);
    let mut draft = store.begin(1, 0, "x").unwrap();
    let large = vec![0; (64 << 20) + 1];
    assert!(matches!(draft.section(b"", entry(1), 1, &large), Err(Error::Size { .. })));
}

#[test]
fn a_person_is_told_what_a_file_is() {
    use crate::inspect::{Inspected, inspect};
    let disk = MemDisk::new();
    let mut log = super::open(&disk);
    log.put(3, 2, 100);
    log.put(3, 1, 5000);
    log.flusher.flush().unwrap();
    let path = super::first_segment();
    let Inspected::Segment(found) = inspect(&disk, &path).unwrap() else { panic!("a segment") };
    assert_eq!(
        (found.group.as_str(), found.before, found.whole),
        ("tweets-0", EntryId::ZERO, true)
    );
    let counts: Vec<_> = found.batches.iter().map(|(head, bytes)| (head.count, *bytes)).collect();
    assert_eq!(counts, [(2, 100), (1, 5000)]);
    disk.flip(&path, 4096 + 60, 1).unwrap();
    let Inspected::Segment(found) = inspect(&disk, &path).unwrap() else { panic!("a segment") };
    assert_eq!((found.batches.len(), found.whole, found.position), (0, false, 4096));
    disk.flip(&path, 20, 1).unwrap();
    assert!(matches!(inspect(&disk, &path), Err(Error::Broken { .. })));

    let vote = Path::new("/node/vote");
    crate::DoubleWriteFile::create(&disk, vote, b"{}").unwrap();
    let Inspected::Small(found) = inspect(&disk, vote).unwrap() else { panic!("a small file") };
    assert_eq!((&found.payload[..], found.copies), (&b"{}"[..], (2, 2)));
    disk.flip(vote, 3, 1).unwrap();
    let Inspected::Small(found) = inspect(&disk, vote).unwrap() else { panic!("a small file") };
    assert_eq!((&found.payload[..], found.copies), (&b"{}"[..], (1, 2)));

    let path = write(&store(&disk)).unwrap();
    let Inspected::Snapshot(found) = inspect(&disk, &path).unwrap() else { panic!("a snapshot") };
    assert_eq!(found.sections().len(), 3);
    let other = Path::new("/node/other");
    disk.create(other).unwrap().write_at(&mut [IoSlice::new(&[7; 99])], 0).unwrap();
    assert!(matches!(inspect(&disk, other), Err(Error::Format { found: 0, .. })));
}
