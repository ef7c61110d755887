//! Full disks, failing disks, stalling disks.

use super::{DIR, batch, open, open_with, options};
use crate::{DoubleWriteFile, Error, MemDisk};
use cairn_logic::ids::Offset;
use std::path::Path;
use std::time::Duration;

#[test]
fn a_full_disk_shows_before_the_log_needs_it_and_takes_no_entry_half() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let path = Path::new("/node/vote");
    let mut vote = DoubleWriteFile::create(&disk, path, b"sealed 1").unwrap();
    log.put(1, 1, 100);
    assert!(!log.flusher.space().unwrap().is_low(1 << 20));
    disk.set_capacity(disk.used_bytes() + 1000);
    assert!(log.flusher.space().unwrap().is_low(1 << 20));
    let mut put = log.all();
    let mut warned_at = None;
    let refused = loop {
        let next = batch(1, log.writer.last().offset.0 + 1, 1, 1000);
        match log.writer.append(std::slice::from_ref(&next)) {
            Ok(_) => put.push(next),
            Err(error) => break error,
        }
        log.flusher.flush().unwrap();
        if warned_at.is_none() && !log.writer.space().unwrap().spare_ready {
            warned_at = Some(put.len());
        }
    };
    assert!(matches!(refused, Error::Full { .. }) && !refused.is_fatal(), "{refused}");
    assert!(warned_at.unwrap() + 8 < put.len(), "a whole segment is left when the warning comes");
    assert_eq!(log.all(), put);
    // Votes, marks, flushes and small cuts go on; so does the log once there is room.
    vote.write(b"sealed 2").unwrap();
    log.writer.write_clean_mark(log.writer.last()).unwrap();
    disk.kill();
    let mut log = open(&disk);
    assert!(log.recovered.stopped_cleanly() && log.writer.space().unwrap().is_low(0));
    let full = log.writer.append(&[batch(1, put.len() as u64 + 1, 1, 1000)]);
    assert!(matches!(full, Err(Error::Full { .. })));
    disk.set_capacity(1 << 20);
    put.push(log.put(1, 1, 1000));
    assert_eq!(log.all(), put);
}

#[test]
fn an_append_over_several_segments_on_a_full_disk_writes_nothing() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let put = log.put(1, 1, 100);
    disk.set_capacity(disk.used_bytes() + 20_000);
    let many: Vec<_> = (2..8).map(|first| batch(1, first, 1, 9000)).collect();
    for _ in 0..3 {
        let refused = log.writer.append(&many).unwrap_err();
        assert!(matches!(refused, Error::Full { .. }));
        assert_eq!(log.all(), std::slice::from_ref(&put));
    }
    let huge = log.writer.append(&[batch(1, 2, 1, 500_000)]).unwrap_err();
    assert!(matches!(huge, Error::Full { .. }));
    log.writer.append(&many[..2]).unwrap();
}

#[test]
fn a_failed_flush_ends_trust_for_good_and_the_next_process_knows() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    log.put(1, 1, 100);
    log.flusher.flush().unwrap();
    log.put(1, 1, 5000);
    disk.fail_sync(0);
    assert!(matches!(log.flusher.flush(), Err(Error::Io { .. })));
    // The kernel would say yes from now on; we do not.
    let untrusted = [
        log.flusher.flush().err(),
        log.writer.append(&[batch(1, 3, 1, 10)]).err(),
        log.writer.cut(Offset(1)).err(),
        log.writer.write_clean_mark(log.writer.last()).err(),
        log.writer.remove_clean_mark().err(),
        log.truncate_before(Offset(1)).err(),
    ];
    for error in untrusted {
        assert!(matches!(error, Some(Error::Untrusted { .. })));
    }
    assert_eq!(log.flusher.flushed().offset, Offset(1));
    for flushed in 1..=2 {
        disk.kill();
        let log = open(&disk);
        assert!(log.recovered.untrusted && !log.recovered.is_intact(true, true));
        assert_eq!(
            (log.recovered.flushed, log.recovered.last.offset),
            (Offset(flushed), Offset(2))
        );
    }
    disk.kill();
    let mut log = open(&disk);
    log.writer.remove_clean_mark().unwrap();
    disk.kill();
    assert!(!open(&disk).recovered.untrusted);
}

#[test]
fn pages_that_a_failed_flush_left_in_the_cache_are_written_again() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    log.put(1, 1, 100);
    log.flusher.flush().unwrap();
    let put = [log.all(), vec![log.put(1, 1, 9000), log.put(1, 1, 9000)]].concat();
    disk.fail_sync(0);
    log.flusher.flush().unwrap_err();
    disk.kill();
    assert_eq!(open(&disk).all(), put);
    // What that open has shown is durable: the cache is not needed any more.
    disk.crash(&mut |_| 0);
    assert_eq!(open(&disk).all(), put);
}

#[test]
fn a_failed_write_ends_trust_and_what_was_whole_before_it_stays() {
    for nth in 0..3 {
        let disk = MemDisk::new();
        let mut log = open(&disk);
        let put = [log.put(1, 1, 100), log.put(1, 1, 100)];
        disk.fail_write(nth);
        let mut failed = 0;
        for first in 3..6 {
            failed += u64::from(log.writer.append(&[batch(1, first, 1, 2000)]).is_err());
        }
        assert_eq!(failed, 3 - nth);
        assert_eq!(log.all().len() as u64, 2 + nth);
        disk.kill();
        let log = open(&disk);
        assert_eq!(log.all()[..2], put);
        assert_eq!(log.all().len() as u64, 2 + nth);
        assert!(log.recovered.untrusted && log.recovered.torn.is_some());
    }
}

#[test]
fn appends_go_on_while_a_flush_stalls() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    log.put(1, 1, 100);
    disk.hold_syncs();
    let before = disk.syncs();
    let flusher = log.flusher.clone();
    let stalled = std::thread::spawn(move || flusher.flush().unwrap());
    while disk.syncs() == before {
        std::thread::yield_now();
    }
    // Also over the end of the segment; none of these could return if the flush were waited for.
    for _ in 0..30 {
        log.put(1, 1, 3000);
    }
    assert_eq!(log.all().len(), 31);
    assert!(!stalled.is_finished());
    disk.release_syncs();
    assert_eq!(stalled.join().unwrap().offset, Offset(1));
    assert_eq!(log.flusher.flushed().offset, Offset(1));
    assert_eq!(log.flusher.flush().unwrap().offset, Offset(31));
    disk.crash(&mut |_| 0);
    assert_eq!(open(&disk).recovered.last.offset, Offset(31));
}

#[test]
fn readers_beside_appends_and_cuts_see_whole_prefixes() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    std::thread::scope(|scope| {
        let mut readers = Vec::new();
        for seed in 0..2 {
            let (reader, flusher, stop) = (log.reader.clone(), log.flusher.clone(), &stop);
            readers.push(scope.spawn(move || {
                let mut dice = super::Dice::new(seed);
                let mut seen = 0;
                while !stop.load(relaxed) {
                    let from = Offset(1 + dice.below(reader.last().offset.0));
                    for read in reader.read(from, dice.below(9000) as usize).unwrap() {
                        let head = &read.head;
                        let bytes = read.body.len();
                        let same = batch(head.epoch.0, head.first.0, head.count, bytes);
                        assert_eq!(read, same);
                        seen += 1;
                    }
                    flusher.flush().unwrap();
                }
                seen
            }));
        }
        let mut dice = super::Dice::new(9);
        for epoch in 1..60 {
            for _ in 0..15 {
                log.put(epoch, 1, dice.below(2500) as usize);
            }
            let keep = dice.below(log.writer.last().offset.0);
            log.writer.cut(Offset(keep)).unwrap();
        }
        stop.store(true, relaxed);
        let seen: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(seen > 100, "{seen}");
    });
}

#[test]
fn a_start_that_is_stopped_half_way_is_done_again() {
    for change in 0..40 {
        let disk = MemDisk::new();
        disk.stop_before(change);
        let _ = open_with(&disk, &options());
        disk.crash(&mut |_| 0);
        let mut log = open(&disk);
        let put = log.put(1, 1, 10);
        disk.kill();
        assert_eq!(open(&disk).all(), [put], "stopped before change {change} in {DIR}");
    }
}

#[test]
fn a_stalled_reader_of_a_log_that_is_gone_gets_an_error_not_a_hang() {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    for _ in 0..40 {
        log.put(1, 1, 2000);
    }
    disk.kill();
    let reader = log.reader.clone();
    let (sent, received) = std::sync::mpsc::channel();
    std::thread::spawn(move || sent.send(reader.read(Offset(1), 1 << 20).is_err()));
    assert!(received.recv_timeout(Duration::from_secs(5)).unwrap());
}
