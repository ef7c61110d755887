//! Append, read, cut, stop and start again, without faults.

use super::{DIR, Log, batch, open, open_with, options};
use crate::{Disk, Error, GroupFile, MemDisk};
use cairn_logic::ids::{EntryId, Epoch, Incarnation, Offset};
use std::path::Path;

/// A log of several segments: batches of 1 to 3 entries, three epochs.
fn filled(disk: &MemDisk) -> (Log, Vec<cairn_logic::batch::Batch>) {
    let mut log = open(disk);
    let mut put = Vec::new();
    for round in 0..60_u32 {
        put.push(log.put(1 + u64::from(round / 25), 1 + round % 3, 50 * round as usize));
    }
    (log, put)
}

#[test]
fn what_was_appended_is_read_in_any_piece() {
    let (log, put) = filled(&MemDisk::new());
    assert_eq!(log.all(), put);
    for (index, from) in put.iter().enumerate() {
        for within in 0..from.head.count {
            let offset = Offset(from.head.first.0 + u64::from(within));
            let read = log.reader.read(offset, 1).unwrap();
            assert_eq!(read, put[index..=index]);
        }
        let read = log.reader.read(from.head.first, 10_000).unwrap();
        assert_eq!(read, put[index..index + read.len()]);
        let bytes: usize = read.iter().map(|batch| batch.body.len()).sum();
        assert!(bytes <= 10_000 && (index + read.len() == put.len() || bytes > 5000));
    }
    assert_eq!(log.reader.read(log.writer.last().offset.next(), 100).unwrap(), []);
}

#[test]
fn a_reader_far_behind_finds_its_place_again_after_a_restart() {
    let disk = MemDisk::new();
    let mut options = options();
    options.segment_bytes = 4 << 20;
    let mut log = open_with(&disk, &options).unwrap();
    let put: Vec<_> = (0..6000).map(|_| log.put(1, 1, 900)).collect();
    drop(log);
    let log = open_with(&disk, &options).unwrap();
    for index in (0..put.len()).step_by(501) {
        let read = log.reader.read(Offset(index as u64 + 1), 3000).unwrap();
        assert_eq!(read, put[index..index + 3]);
    }
}

#[test]
fn a_log_that_was_just_made_is_not_searched() {
    let disk = MemDisk::new();
    let mut options = options();
    options.segment_bytes = 64 << 20;
    open_with(&disk, &options).unwrap();
    let made = disk.bytes_read();
    assert!(made < 2 << 20, "{made} bytes of it were read");
    disk.kill();
    open_with(&disk, &options).unwrap();
    let again = disk.bytes_read() - made;
    assert!(again > 64 << 20, "what another process wrote is searched: {again} bytes");
}

#[test]
fn a_restart_finds_entries_epochs_and_marks() {
    let disk = MemDisk::new();
    let (mut log, put) = filled(&disk);
    assert_eq!(log.recovered.last, EntryId::ZERO);
    let flushed = log.flusher.flush().unwrap();
    assert_eq!(flushed, log.writer.last());
    log.put(4, 1, 10);
    disk.kill();
    let log = open(&disk);
    let found = &log.recovered;
    assert_eq!(found.last, EntryId::new(Epoch(4), flushed.offset.next()));
    let epochs: Vec<_> =
        [(1, 0), (2, 25), (3, 50)].map(|(e, i)| (Epoch(e), put[i].head.first)).into();
    assert_eq!(found.epochs[..3], epochs);
    assert_eq!(found.epochs[3], (Epoch(4), flushed.offset.next()));
    assert_eq!((found.flushed, found.clean, found.torn.clone()), (flushed.offset, None, None));
    assert_eq!(log.all().len(), put.len() + 1);
    assert!(!found.stopped_cleanly());
    assert!(found.is_intact(true, false) && !found.is_intact(false, false));
}

#[test]
fn one_append_is_one_write_whatever_the_number_of_batches() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let batches: Vec<_> = (1..=40).map(|first| batch(1, first, 1, 100)).collect();
    let before = disk.writes();
    log.writer.append(&batches).unwrap();
    assert_eq!(disk.writes() - before, 1);
    assert_eq!(log.all(), batches);
}

#[test]
fn an_append_over_several_segments_and_one_batch_above_a_segment() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let big: Vec<_> = (1..=5).map(|first| batch(1, first, 1, 7000 * first as usize)).collect();
    log.writer.append(&big).unwrap();
    log.put(1, 1, 100);
    assert_eq!(log.all()[..5], big);
    let all = log.all();
    disk.kill();
    let mut log = open(&disk);
    assert_eq!(log.all(), all);
    // Also as the very first batch, in a segment that is still empty.
    let disk = MemDisk::new();
    let mut first = open(&disk);
    let put = [first.put(1, 1, 100_000), first.put(1, 1, 10)];
    disk.kill();
    assert_eq!(open(&disk).all(), put);
    log.put(2, 1, 100_000);
}

#[test]
fn what_does_not_continue_the_log_is_refused_and_changes_nothing() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    log.put(3, 2, 10);
    let gap = log.writer.append(&[batch(3, 4, 1, 1)]);
    assert!(matches!(gap, Err(Error::NotNext { expected: Offset(3), got: Offset(4) })));
    let second = log.writer.append(&[batch(3, 3, 1, 1), batch(3, 3, 1, 1)]);
    assert!(matches!(second, Err(Error::NotNext { .. })));
    let old = log.writer.append(&[batch(2, 3, 1, 1)]);
    assert!(matches!(old, Err(Error::EpochWentBack { .. })));
    let empty = log.writer.append(&[batch(3, 3, 0, 1)]);
    assert!(matches!(empty, Err(Error::Size { bytes: 0, .. })));
    assert!(!old.unwrap_err().is_fatal());
    assert_eq!(log.all().len(), 1);
    log.put(3, 1, 1);
}

#[test]
fn a_cut_takes_whole_batches_and_keeps_them_aside() {
    for keep in [0, 1, 7, 24, 25, 40, 59] {
        let disk = MemDisk::new();
        let (mut log, put) = filled(&disk);
        let after = put[..keep].last().map_or(Offset::ZERO, |batch| batch.head.last_offset());
        let tail = log.writer.cut(after).unwrap().unwrap();
        assert_eq!(
            (tail.first, tail.torn, tail.epoch),
            (after.next(), false, put[keep].head.epoch)
        );
        assert!(tail.path.ends_with(format!("tails/cut-{}-{}", tail.epoch, tail.first)));
        assert_eq!(log.all(), put[..keep]);
        assert_eq!(log.flusher.flushed(), log.writer.last());
        assert_eq!(log.writer.cut(after).unwrap(), None);
        let new = log.put(9, 2, 3000);
        // The cut is durable when it returns, what followed it is not.
        disk.crash(&mut |_| 0);
        let log = open(&disk);
        assert_eq!(log.all(), put[..keep]);
        let tails = log.writer.cut_tails().unwrap();
        assert!(tails.iter().all(|tail| tail.first >= after.next() && !tail.torn));
        let kept = tails.iter().flat_map(|tail| GroupFile::read_tail(&disk, tail).unwrap());
        let mut kept: Vec<_> = kept.collect();
        kept.sort_by_key(|batch| batch.head.first);
        assert_eq!(kept, put[keep..]);
        assert!(!kept.contains(&new));
    }
}

#[test]
fn a_cut_inside_a_batch_or_beyond_the_end_is_refused() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let put = [log.put(1, 3, 10), log.put(1, 3, 10)];
    for after in [1, 2, 4, 5, 7] {
        let refused = log.writer.cut(Offset(after));
        assert!(matches!(refused, Err(Error::NotABoundary { .. })), "{after}");
    }
    assert_eq!(log.all(), put);
    assert_eq!(log.writer.cut_tails().unwrap(), []);
}

#[test]
fn no_tail_is_cut_once_too_many_are_kept_and_the_log_goes_on() {
    let mut options = options();
    options.tails_max = 2;
    let mut log = open_with(&MemDisk::new(), &options).unwrap();
    for round in 1..=2 {
        log.put(round, 1, 10);
        log.writer.cut(Offset::ZERO).unwrap().unwrap();
    }
    let put = log.put(3, 1, 10);
    let refused = log.writer.cut(Offset::ZERO).unwrap_err();
    assert!(matches!(refused, Error::TailsFull { files: 2, .. }) && !refused.is_fatal());
    assert_eq!(log.all(), [put]);
    log.put(3, 1, 10);
}

#[test]
fn a_clean_mark_holds_until_the_next_append_cut_or_removal() {
    for undo in 0..4 {
        let disk = MemDisk::new();
        let mut log = open(&disk);
        log.put(1, 2, 10);
        log.put(1, 2, 10);
        let last = log.writer.last();
        let wrong = log.writer.write_clean_mark(EntryId::new(Epoch(1), Offset(2)));
        assert!(matches!(wrong, Err(Error::NotABoundary { .. })));
        log.writer.write_clean_mark(last).unwrap();
        disk.crash(&mut |_| 0);
        let mut log = open(&disk);
        assert!(log.recovered.stopped_cleanly() && log.recovered.is_intact(false, false));
        assert_eq!((log.recovered.clean, log.recovered.flushed), (Some(last), last.offset));
        match undo {
            0 => {}
            1 => log.writer.remove_clean_mark().unwrap(),
            2 => drop(log.put(1, 1, 10)),
            _ => drop(log.writer.cut(Offset(2)).unwrap()),
        }
        disk.crash(&mut |_| 0);
        assert_eq!(open(&disk).recovered.clean.is_some(), undo == 0);
    }
}

#[test]
fn segments_before_a_snapshot_are_given_up_and_used_again() {
    let disk = MemDisk::new();
    let (mut log, put) = filled(&disk);
    let middle = put[40].head.first;
    let first = log.truncate_before(middle).unwrap();
    assert!(first <= middle && first > Offset(1));
    let gone = log.reader.read(Offset(1), 100);
    assert!(matches!(gone, Err(Error::Truncated { .. })));
    let kept: Vec<_> = put.iter().filter(|batch| batch.head.first >= first).cloned().collect();
    assert_eq!(log.all(), kept);
    let used = disk.used_bytes();
    for _ in 0..30 {
        log.put(5, 1, 900);
        log.flusher.flush().unwrap();
        log.truncate_before(log.writer.last().offset).unwrap();
    }
    assert!(disk.used_bytes() <= used);
    disk.crash(&mut |_| 0);
    let log = open(&disk);
    assert_eq!(log.recovered.before.offset.next(), log.reader.first());
    assert_eq!(log.recovered.last.offset.0, put.last().unwrap().head.last_offset().0 + 30);
}

#[test]
fn a_front_is_given_up_while_the_writer_goes_on() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let (flusher, reader) = (log.flusher.clone(), log.reader.clone());
    let flushing = std::thread::spawn(move || {
        let mut given_up = 0;
        while flusher.flush().unwrap().offset < Offset(3000) {
            let Some(front) = flusher.give_up_front().unwrap() else { continue };
            assert!(front.before.offset < reader.first());
            front.remove().unwrap();
            given_up += 1;
        }
        given_up
    });
    for _ in 0..3000 {
        log.put(1, 1, 500);
        log.writer.release_before(log.flusher.flushed().offset);
    }
    assert!(flushing.join().unwrap() > 5);
    let (first, all) = (log.reader.first(), log.all());
    assert_eq!((all[0].head.first, all.len() as u64), (first, 3001 - first.0));
    disk.crash(&mut |_| 0);
    assert_eq!(open(&disk).all(), all);
}

#[test]
fn so_much_of_the_front_can_be_spared_that_enough_stays() {
    let disk = MemDisk::new();
    let (log, put) = filled(&disk);
    log.flusher.flush().unwrap();
    let all = log.writer.space().unwrap().log_bytes;
    let last = log.writer.last();
    assert_eq!(log.reader.before(), EntryId::ZERO);
    let spare = |up_to, bytes| log.reader.front_to_spare(up_to, bytes);
    assert_eq!(spare(last.offset, u64::MAX), EntryId::ZERO);
    assert_eq!(spare(Offset::ZERO, 0), EntryId::ZERO);
    let mut before = EntryId::ZERO;
    for part in 0..20 {
        let bytes = all - all * part / 20;
        let to = spare(last.offset, bytes);
        assert!(to >= before, "the less is to stay, the more goes");
        let disk = disk.fork();
        let mut log = open(&disk);
        assert_eq!(log.truncate_before(to.offset.next()).unwrap(), to.offset.next());
        assert_eq!((log.reader.before(), log.writer.last()), (to, last));
        let stays = log.writer.space().unwrap().log_bytes;
        assert!(stays >= bytes && stays < bytes + (2 << 14), "{stays} stay, not {bytes}");
        // Never more than is allowed.
        let at = put[put.len() / 2].head.last_offset();
        assert!(spare(at, bytes).offset <= at);
        before = to;
    }
    assert!(before > EntryId::ZERO);
}

#[test]
fn the_bytes_behind_an_entry_are_about_those_of_the_batches_behind_it() {
    let disk = MemDisk::new();
    let (log, put) = filled(&disk);
    let all = log.writer.space().unwrap().log_bytes;
    assert_eq!(log.reader.bytes_after(Offset::ZERO), all);
    let mut least = all;
    for batch in &put {
        let bytes = log.reader.bytes_after(batch.head.last_offset());
        let behind = put.iter().filter(|other| other.head.first > batch.head.first);
        let exact: u64 = behind.map(|other| other.body.len() as u64).sum();
        // A segment's page and records' heads more, and no index within so small a segment.
        assert!(bytes >= exact && bytes <= exact + exact / 2 + (1 << 15), "{bytes} of {exact}");
        assert!(bytes <= least);
        least = bytes;
    }
    assert!(least < all / 2);
}

#[test]
fn a_log_of_another_cluster_group_or_folder_is_refused() {
    let disk = MemDisk::new();
    drop(filled(&disk));
    let other = [
        ("cluster", crate::LogOptions { uid: 1, ..options() }),
        ("group", crate::LogOptions { group: cairn_logic::ids::GroupId::global(), ..options() }),
        ("incarnation", crate::LogOptions { incarnation: Incarnation(1), ..options() }),
    ];
    for (what, options) in other {
        let refused = open_with(&disk, &options).err().unwrap();
        assert!(matches!(&refused, Error::Foreign { what: found, .. } if *found == what));
    }
    open(&disk);
    let names = disk.list(Path::new(DIR)).unwrap();
    assert_eq!(names.iter().filter(|file| file.name.starts_with("spare-")).count(), 1);
}

#[test]
fn odd_options_are_refused_or_made_good() {
    let named = |name: &str| {
        let group = cairn_logic::ids::GroupId::new(name);
        open_with(&MemDisk::new(), &crate::LogOptions { group, ..options() }).map(drop)
    };
    for name in ["", &"g".repeat(1025)] {
        assert!(matches!(named(name), Err(Error::Size { what: "group id", .. })));
    }
    named(&"g".repeat(1024)).unwrap();
    let tiny = crate::LogOptions { segment_bytes: 0, ..options() };
    let mut log = open_with(&MemDisk::new(), &tiny).unwrap();
    let put: Vec<_> = (0..9).map(|bytes| log.put(1, 1, bytes * 900)).collect();
    assert_eq!(log.all(), put);
}
