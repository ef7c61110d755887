//! Snapshots that another node sends: taken in whole and good, or not at all.

use super::Dice;
use super::snapshot::{FOLDER, entry, read, store, write};
use crate::disk::{Disk, DiskFile};
use crate::snapshot::RAW_BYTES_MAX;
use crate::{Error, Incoming, MemDisk, Result, SnapshotFile, Snapshots};
use cairn_logic::ids::{EntryId, GroupId};
use std::io::IoSlice;
use std::path::Path;

type Sent = (String, Vec<u8>);

/// A snapshot of another node, read as a sender reads it.
fn sent() -> Sent {
    let disk = MemDisk::new();
    let theirs = store(&disk);
    write(&theirs).unwrap();
    let file = theirs.list().unwrap().remove(0);
    assert_eq!(file.name(), format!("{:020}-3.snap", 10));
    let raw = theirs.open_raw(&file.name()).unwrap();
    let mut bytes = Vec::new();
    loop {
        let more = raw.read_at(bytes.len() as u64, 1000).unwrap();
        if more.is_empty() {
            break;
        }
        assert!(more.len() <= 1000);
        bytes.extend_from_slice(&more);
    }
    assert_eq!((raw.bytes(), file.bytes), (bytes.len() as u64, bytes.len() as u64));
    (file.name(), bytes)
}

/// Receives what is missing, in pieces.
fn take(incoming: &mut Incoming<MemDisk>, bytes: &[u8]) -> Result<()> {
    let from = usize::try_from(incoming.position()).unwrap();
    bytes[from..].chunks(700).try_for_each(|chunk| incoming.write(chunk))
}

fn receive(to: &Snapshots<MemDisk>, (name, bytes): &Sent) -> Result<SnapshotFile> {
    let mut incoming = to.receive(name, bytes.len() as u64)?;
    take(&mut incoming, bytes)?;
    to.accept(incoming).map(|(file, _)| file)
}

fn names(disk: &MemDisk) -> Vec<String> {
    disk.list(Path::new(FOLDER)).unwrap().into_iter().map(|file| file.name).collect()
}

/// With another value in the head, and the head's crc made right again.
fn with_head(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = value;
    let end = u32::from_le_bytes(bytes[16..20].try_into().unwrap()) as usize;
    let crc = crc32c::crc32c(&bytes[12..end]).to_le_bytes();
    bytes[8..12].copy_from_slice(&crc);
    bytes
}

#[test]
fn what_is_sent_is_taken_in_and_stays() {
    let sent = sent();
    let disk = MemDisk::new();
    let ours = store(&disk);
    let mut incoming = ours.receive(&sent.0, sent.1.len() as u64).unwrap();
    let (name, length) = (incoming.name().to_owned(), incoming.bytes());
    assert_eq!((name, length), (sent.0.clone(), sent.1.len() as u64));
    take(&mut incoming, &sent.1).unwrap();
    assert_eq!(ours.list().unwrap(), [], "it has no name before it was read");
    let (file, end) = ours.accept(incoming).unwrap();
    assert_eq!((file.from, end.from, end.upto), (entry(10), entry(10), entry(14)));
    disk.crash(&mut |_| 0);
    assert_eq!(ours.list().unwrap(), std::slice::from_ref(&file));
    assert_eq!(names(&disk), [sent.0]);
    assert_eq!(read(&ours, &file.path).unwrap().len(), 3);
}

#[test]
fn receiving_goes_on_where_it_stopped_and_for_one_snapshot_alone() {
    let sent = sent();
    let (name, bytes) = (&sent.0, &sent.1);
    let disk = MemDisk::new();
    let ours = store(&disk);
    let length = bytes.len() as u64;
    let mut incoming = ours.receive(name, length).unwrap();
    incoming.write(&bytes[..900]).unwrap();
    let early = ours.accept(incoming);
    let told = matches!(early, Err(Error::Partial { bytes: 900, .. }));
    assert!(told, "{early:?}");
    // The process dies, and the next one looks what is there.
    disk.kill();
    let ours = store(&disk);
    ours.tidy().unwrap();
    let mut incoming = ours.receive(name, length).unwrap();
    assert_eq!(incoming.position(), 900);
    take(&mut incoming, bytes).unwrap();
    let more = incoming.write(&[0]);
    assert!(matches!(more, Err(Error::Size { .. })), "{more:?}");
    ours.accept(incoming).unwrap();

    // What else was being received goes: of another length, or another name.
    let partials = || names(&disk).iter().filter(|name| name.starts_with("partial-")).count();
    let other = format!("{:020}-4.snap", 90);
    for (name, length) in [(name, length), (name, length + 1), (&other, length)] {
        let mut incoming = ours.receive(name, length).unwrap();
        assert_eq!(incoming.position(), 0);
        incoming.write(&bytes[..50]).unwrap();
        assert_eq!(partials(), 1);
    }
    ours.tidy().unwrap();
    assert_eq!(partials(), 1, "it is newer than what is here");
    ours.receive(name, length).unwrap();
    ours.tidy().unwrap();
    assert_eq!(partials(), 0, "it is here already");
}

#[test]
fn every_flipped_byte_is_found_before_it_has_a_name() {
    let sent = sent();
    let disk = MemDisk::new();
    let ours = store(&disk);
    for position in 0..sent.1.len() {
        let mut bad = sent.clone();
        bad.1[position] ^= 1 << (position % 8);
        let found = receive(&ours, &bad);
        let Err(Error::Refused { source, .. }) = found else {
            panic!("byte {position}: {found:?}")
        };
        let told = match *source {
            Error::Broken { .. } => position >= 8,
            Error::Format { found: 0, .. } => position < 8,
            _ => false,
        };
        assert!(told, "byte {position}: {source}");
        assert_eq!(names(&disk), [""; 0], "byte {position}");
    }
    receive(&ours, &sent).unwrap();
}

#[test]
fn what_is_of_another_is_refused_and_says_whose_it_is() {
    let (name, bytes) = sent();
    let disk = MemDisk::new();
    let refused = |uid, group, content, bytes: &[u8]| -> Error {
        let group = GroupId::new(group);
        let ours = Snapshots::open(&disk, Path::new(FOLDER), uid, group).unwrap();
        let ours = ours.with_content(content);
        match receive(&ours, &(name.clone(), bytes.to_vec())) {
            Err(error @ Error::Refused { .. }) => {
                assert!(!error.is_fatal());
                let Error::Refused { source, .. } = error else { unreachable!() };
                *source
            }
            other => panic!("{other:?}"),
        }
    };
    let found = refused(8, "tweets-0", 1, &bytes);
    assert!(matches!(found, Error::Foreign { what: "cluster", .. }), "{found}");
    let found = refused(7, "tweets-1", 1, &bytes);
    assert!(matches!(found, Error::Foreign { what: "group", .. }), "{found}");
    let found = refused(7, "tweets-0", 2, &bytes);
    assert!(matches!(found, Error::Content { found: 1, known: 2, .. }), "{found}");
    let found = refused(7, "tweets-0", 1, &with_head(&bytes, 12, 2));
    assert!(matches!(found, Error::Format { found: 2, known: 1, .. }), "{found}");
    assert!(found.to_string().contains("has format 2, this program reads format 1"), "{found}");
    assert_eq!(names(&disk), [""; 0]);

    // A name that is not its own, and names that lead elsewhere.
    let ours = store(&disk);
    let found = receive(&ours, &(format!("{:020}-3.snap", 11), bytes.clone()));
    assert!(matches!(found, Err(Error::Refused { .. })), "{found:?}");
    let signed = format!("+{:019}-3.snap", 10);
    for name in ["../../vote", "", "draft", "10-3.snap", &signed, &format!("bad-{name}")] {
        assert!(matches!(ours.receive(name, 9), Err(Error::Name { .. })), "{name}");
        assert!(matches!(ours.open_raw(name), Err(Error::Name { .. })), "{name}");
    }
    assert!(matches!(ours.receive(&name, 0), Err(Error::Size { .. })));
    assert!(matches!(ours.open_raw(&name), Err(Error::Gone { .. })));
}

/// An interrupted receiving of a snapshot beside an older one; whether it was taken in.
fn interrupted(base: &MemDisk, sent: &Sent, seed: u64) -> bool {
    let disk = base.fork();
    let mut dice = Dice::new(seed);
    match seed % 3 {
        0 => disk.stop_after(dice.below(4500)),
        _ => disk.stop_before(dice.below(14)),
    }
    let done = receive(&store(&disk), sent).is_ok();
    match dice.below(3) {
        0 => disk.kill(),
        _ => disk.crash(&mut |limit| dice.below(limit)),
    }
    let ours = store(&disk);
    ours.tidy().unwrap();
    let listed = ours.list().unwrap();
    assert!((1..=2).contains(&listed.len()), "seed {seed}");
    assert!(!done || listed.len() == 2, "seed {seed}: it was said to be there");
    for file in &listed {
        ours.read(&file.path).unwrap().verify().unwrap();
    }
    // Again: what is left may have holes; then it is found out and begun anew.
    if listed.len() == 1 {
        match receive(&ours, sent) {
            Ok(_) => {}
            Err(Error::Refused { .. }) => drop(receive(&ours, sent).unwrap()),
            Err(error) => panic!("seed {seed}: {error}"),
        }
    }
    disk.crash(&mut |_| 0);
    assert_eq!(store(&disk).list().unwrap().len(), 2, "seed {seed}");
    listed.len() == 2
}

#[test]
fn a_crash_at_any_moment_leaves_it_out_or_takes_all_of_it_in() {
    let sent = sent();
    let base = MemDisk::new();
    let old = write(&store(&base)).unwrap();
    base.rename(&old, &old.with_file_name(format!("{:020}-3.snap", 5))).unwrap();
    base.sync_dir(Path::new(FOLDER)).unwrap();
    // The name of the old one says another entry than it holds; only the new one is judged by it.
    let taken = (0..900).filter(|seed| interrupted(&base, &sent, *seed)).count();
    assert!((30..800).contains(&taken), "{taken}");
}

#[test]
fn a_full_disk_ends_the_receiving_and_nothing_else() {
    let sent = sent();
    let disk = MemDisk::new();
    let mut log = super::open(&disk);
    let ours = store(&disk);
    let old = write(&ours).unwrap();
    let length = sent.1.len() as u64;
    // It can be known before.
    let used = disk.used_bytes();
    disk.set_capacity(used + length - 1);
    let found = ours.receive(&sent.0, length);
    assert!(matches!(found, Err(Error::Full { .. })), "{found:?}");
    assert_eq!(names(&disk).len(), 1);
    // Others take the room meanwhile.
    disk.set_capacity(used + length);
    let mut incoming = ours.receive(&sent.0, length).unwrap();
    incoming.write(&sent.1[..500]).unwrap();
    let file = disk.create(Path::new("/node/other")).unwrap();
    file.write_at(&mut [IoSlice::new(&[7; 900])], 0).unwrap();
    let found = take(&mut incoming, &sent.1);
    assert!(matches!(found, Err(Error::Full { .. })), "{found:?}");
    drop(incoming);
    assert_eq!(names(&disk).len(), 1, "the log has the room");
    log.put(3, 2, 1000);
    log.flusher.flush().unwrap();
    assert_eq!(read(&ours, &old).unwrap().len(), 3);
    disk.set_capacity(used + 2 * length);
    receive(&ours, &sent).unwrap();
}

#[test]
fn a_flush_that_fails_takes_nothing_in() {
    let sent = sent();
    let disk = MemDisk::new();
    disk.fail_sync(0);
    let found = receive(&store(&disk), &sent);
    assert!(matches!(found, Err(Error::Io { what: "flush", .. })), "{found:?}");
    assert_eq!(store(&disk).list().unwrap(), []);
}

#[test]
fn a_sender_reads_to_the_end_also_what_is_removed_meanwhile() {
    let disk = MemDisk::new();
    let ours = store(&disk);
    let path = write(&ours).unwrap();
    let name = ours.list().unwrap()[0].name();
    let raw = ours.open_raw(&name).unwrap();
    let whole = raw.read_at(0, usize::MAX).unwrap();
    assert!(whole.len() as u64 == raw.bytes() && whole.len() <= RAW_BYTES_MAX);
    disk.remove(&path).unwrap();
    assert_eq!(raw.read_at(7, 100).unwrap(), whole[7..107]);
    assert_eq!(raw.read_at(raw.bytes() + 1, 100).unwrap(), [0_u8; 0]);
    assert!(matches!(ours.open_raw(&name), Err(Error::Gone { .. })));
}

#[test]
fn a_draft_of_an_earlier_process_goes_and_its_snapshots_stay() {
    let disk = MemDisk::new();
    let ours = store(&disk);
    write(&ours).unwrap();
    let mut draft = ours.begin(1, 0, "x").unwrap();
    draft.section(b"slot 1", EntryId::ZERO, 1, b"record").unwrap();
    drop(draft);
    assert_eq!(names(&disk).len(), 2);
    ours.tidy().unwrap();
    assert_eq!(names(&disk), [ours.list().unwrap()[0].name()]);
}
