//! A log that begins anew after a snapshot: the old log or the new one, at every moment.

use super::{Dice, Log, batch, open, open_with, options};
use crate::{Error, GroupFile, MemDisk};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, Offset};
use std::path::Path;

fn entry(epoch: u64, offset: u64) -> EntryId {
    EntryId::new(Epoch(epoch), Offset(offset))
}

/// Sixty entries of epoch 2 in several segments, the last ten of which are not flushed.
fn sixty() -> (MemDisk, Log) {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    (0..25).for_each(|_| drop(log.put(2, 2, 1500)));
    log.flusher.flush().unwrap();
    (0..5).for_each(|_| drop(log.put(2, 2, 1500)));
    (disk, log)
}

fn tail_of(disk: &MemDisk) -> Vec<Batch> {
    let mut tails = GroupFile::tails(disk, Path::new(super::DIR)).unwrap();
    tails.sort_by_key(|tail| tail.first);
    tails.iter().flat_map(|tail| GroupFile::read_tail(disk, tail).unwrap()).collect()
}

#[test]
fn a_log_begins_anew_behind_its_end_and_goes_on() {
    let (disk, mut log) = sixty();
    let old = log.all();
    let tail = log.writer.restart_after(entry(5, 100), Offset(50)).unwrap().unwrap();
    assert_eq!((tail.first, tail.epoch), (Offset(51), Epoch(2)));
    assert_eq!(tail_of(&disk), old[25..]);
    assert_eq!((log.writer.last(), log.reader.last()), (entry(5, 100), entry(5, 100)));
    assert_eq!((log.reader.first(), log.flusher.flushed()), (Offset(101), entry(5, 100)));
    let gone = log.reader.read(Offset(100), 1);
    assert!(matches!(gone, Err(Error::Truncated { first: Offset(101), .. })), "{gone:?}");
    let older = batch(4, 101, 1, 10);
    let refused = log.writer.append(std::slice::from_ref(&older));
    assert!(matches!(refused, Err(Error::EpochWentBack { .. })));
    // Durable without a flush, and nothing of the old one comes back.
    disk.crash(&mut |_| 0);
    let mut log = open(&disk);
    let recovered = &log.recovered;
    assert_eq!((recovered.last, recovered.before), (entry(5, 100), entry(5, 100)));
    assert_eq!((&recovered.epochs[..], recovered.flushed), (&[][..], Offset(100)));
    assert!(recovered.torn.is_none() && !recovered.untrusted);
    let new = [log.put(5, 3, 100), log.put(6, 1, 100)];
    log.flusher.flush().unwrap();
    disk.crash(&mut |_| 0);
    let log = open(&disk);
    assert_eq!(log.all(), new);
    let found = (log.recovered.before, log.recovered.last, &log.recovered.epochs[..]);
    let epochs = [(Epoch(5), Offset(101)), (Epoch(6), Offset(104))];
    assert_eq!(found, (entry(5, 100), entry(6, 104), &epochs[..]));
}

#[test]
fn nothing_above_the_snapshot_is_lost_without_a_copy() {
    // In the middle of a batch: the whole batch is kept aside.
    let (disk, mut log) = sixty();
    let old = log.all();
    log.writer.restart_after(entry(3, 90), Offset(31)).unwrap().unwrap();
    assert_eq!(tail_of(&disk), old[15..]);
    // Known to be committed, and yet above what the snapshot holds.
    let (disk, mut log) = sixty();
    log.writer.restart_after(entry(2, 20), Offset(60)).unwrap().unwrap();
    assert_eq!(tail_of(&disk), old[10..]);
    assert_eq!(log.writer.last(), entry(2, 20));
    // Nothing is above: nothing is kept aside.
    let (disk, mut log) = sixty();
    assert_eq!(log.writer.restart_after(entry(3, 61), Offset(60)).unwrap(), None);
    assert_eq!((tail_of(&disk), log.writer.last()), (vec![], entry(3, 61)));
    // Everything is.
    let (disk, mut log) = sixty();
    log.writer.restart_after(entry(3, 61), Offset::ZERO).unwrap().unwrap();
    assert_eq!((tail_of(&disk), log.writer.last()), (old, entry(3, 61)));
}

#[test]
fn a_log_that_is_empty_already_begins_with_another_epoch_or_stays() {
    let (disk, mut log) = sixty();
    log.writer.restart_after(entry(3, 100), Offset(60)).unwrap();
    let writes = disk.writes();
    assert_eq!(log.writer.restart_after(entry(3, 100), Offset(60)).unwrap(), None);
    assert_eq!(disk.writes(), writes, "there was nothing to do");
    // The same offset, so a segment of the same name.
    log.put(3, 1, 100);
    log.writer.restart_after(entry(4, 100), Offset(100)).unwrap().unwrap();
    assert_eq!(log.writer.last(), entry(4, 100));
    let new = log.put(4, 1, 100);
    log.flusher.flush().unwrap();
    disk.crash(&mut |_| 0);
    let log = open(&disk);
    assert_eq!((log.all(), log.recovered.before), (vec![new], entry(4, 100)));
    // Never backwards: the entries between would be missing.
    let Log { mut writer, .. } = log;
    let refused = writer.restart_after(entry(9, 99), Offset(99));
    assert!(matches!(refused, Err(Error::Truncated { from: Offset(100), .. })), "{refused:?}");
}

#[test]
fn a_full_disk_or_too_many_tails_leave_the_old_log() {
    let (disk, mut log) = sixty();
    let old = log.all();
    disk.set_capacity(disk.used_bytes());
    let full = log.writer.restart_after(entry(3, 100), Offset(55));
    assert!(matches!(full, Err(Error::Full { .. })), "{full:?}");
    assert_eq!(log.all(), old);
    disk.set_capacity(u64::MAX >> 1);
    log.writer.restart_after(entry(3, 100), Offset(55)).unwrap();

    let disk = MemDisk::new();
    let options = crate::LogOptions { tails_max: 0, ..options() };
    let mut log = open_with(&disk, &options).unwrap();
    log.put(2, 2, 100);
    let full = log.writer.restart_after(entry(3, 100), Offset::ZERO);
    assert!(matches!(full, Err(Error::TailsFull { .. })), "{full:?}");
    assert_eq!(log.writer.last(), entry(2, 2));
}

/// One restart that is interrupted, perhaps in the next open again; what was found then.
fn interrupted(base: &MemDisk, old: &[Batch], seed: u64) -> (bool, u64) {
    let mut dice = Dice::new(seed);
    let disk = base.fork();
    let mut log = open(&disk);
    let (keep, to) = (20 + dice.below(41), 60 + dice.below(4));
    match seed % 3 {
        0 => disk.stop_after(dice.below(90_000)),
        _ => disk.stop_before(dice.below(60)),
    }
    let done = log.writer.restart_after(entry(3, to), Offset(keep)).is_ok();
    drop(log);
    let machine = dice.below(3) > 0;
    for _ in 0..=dice.below(3) {
        if machine {
            disk.crash(&mut |limit| dice.below(limit));
        } else {
            disk.kill();
        }
        disk.stop_before(dice.below(40));
        let _ = open_with(&disk, &options());
    }
    disk.kill();
    let mut log = open(&disk);
    let (found, recovered) = (log.all(), log.recovered.clone());
    let new = recovered.before == entry(3, to);
    assert!(new || !done, "seed {seed}: it was said to be done");
    // What is not in the log any more and was above `keep` is kept aside.
    let safe = old.iter().filter(|batch| batch.head.last_offset().0 > keep);
    let aside = tail_of(&disk);
    for batch in safe {
        let kept = aside.contains(batch) || found.contains(batch);
        assert!(kept, "seed {seed}: {:?} is nowhere", batch.head.first);
    }
    if new {
        assert_eq!((found.len(), recovered.last), (0, entry(3, to)), "seed {seed}");
        assert!(recovered.epochs.is_empty() && recovered.torn.is_none(), "seed {seed}");
    } else {
        assert_eq!(found, old[..found.len()], "seed {seed}");
        let least = keep / 2;
        assert!(found.len() as u64 >= least, "seed {seed}: {} of {least}", found.len());
        log.writer.restart_after(entry(3, to), Offset(keep)).unwrap();
    }
    // It goes on, and what it writes is safe.
    let more = log.put(3, 1, 2000);
    log.flusher.flush().unwrap();
    disk.crash(&mut |limit| dice.below(limit));
    let log = open(&disk);
    assert_eq!((log.all(), log.recovered.before), (vec![more], entry(3, to)), "seed {seed}");
    let files = crate::Disk::list(&disk, Path::new(super::DIR)).unwrap();
    let odd = |name: &str| name.starts_with("begin-");
    assert!(!files.iter().any(|file| odd(&file.name)), "seed {seed}: {files:?}");
    (new, u64::from(done))
}

#[test]
fn a_crash_at_any_moment_leaves_the_old_log_or_the_new_one() {
    let (base, log) = sixty();
    log.flusher.flush().unwrap();
    let old = log.all();
    drop(log);
    let (mut new, mut done) = (0, 0);
    for seed in 0..900 {
        let (is_new, is_done) = interrupted(&base, &old, seed);
        new += u64::from(is_new);
        done += is_done;
    }
    // Old, new though interrupted, and new as it said.
    assert!(new < 800 && new > done + 20 && done > 50, "{new} new, {done} done");
}

#[test]
fn an_interrupted_restart_does_not_come_back_when_the_front_is_cut_later() {
    let (disk, mut log) = sixty();
    // An empty segment at the end that begins where the new log would, and a clean stop, after
    // which the next open has nothing to flush.
    log.put(2, 2, 15_000);
    log.writer.cut(Offset(60)).unwrap();
    log.writer.write_clean_mark(entry(2, 60)).unwrap();
    drop(log);
    // The new log's first segment is there, the marks do not say so yet: the old log counts.
    let begun = |disk: &MemDisk| {
        let files = crate::Disk::list(disk, Path::new(super::DIR)).unwrap();
        files.iter().any(|file| file.name.starts_with("begin-"))
    };
    let interrupted = |nth| {
        let disk = disk.fork();
        let mut log = open(&disk);
        disk.stop_before(nth);
        let done = log.writer.restart_after(entry(3, 60), Offset(60)).is_ok();
        drop(log);
        disk.crash(&mut |_| 0);
        (begun(&disk) && !done).then_some(disk)
    };
    let disk = (0..60).find_map(interrupted).expect("it can be interrupted there");
    for nth in 0..20 {
        let disk = disk.fork();
        let mut log = open(&disk);
        assert_eq!((log.writer.last(), log.reader.first()), (entry(2, 60), Offset(1)));
        assert!(!begun(&disk));
        let more = log.put(2, 2, 1500);
        log.flusher.flush().unwrap();
        disk.stop_before(nth);
        let _ = log.truncate_before(Offset(61));
        drop(log);
        disk.crash(&mut |_| 0);
        let log = open(&disk);
        assert_eq!(log.all().last(), Some(&more), "change {nth}");
    }
}

#[test]
fn readers_meet_no_damage_while_a_log_begins_anew() {
    let (_disk, mut log) = sixty();
    log.flusher.flush().unwrap();
    let reader = log.reader.clone();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let ended = stop.clone();
    let reading = std::thread::spawn(move || {
        let mut reads = 0_u64;
        while !ended.load(std::sync::atomic::Ordering::Acquire) {
            match reader.read(reader.first(), 4000) {
                Ok(_) | Err(Error::Truncated { .. }) => reads += 1,
                Err(error) => panic!("{error}"),
            }
        }
        reads
    });
    for round in 1..200 {
        let last = log.writer.last().offset.0;
        log.writer.restart_after(entry(2 + round, last + round % 2), Offset(last)).unwrap();
        (0..8).for_each(|_| drop(log.put(2 + round, 2, 3000)));
    }
    stop.store(true, std::sync::atomic::Ordering::Release);
    assert!(reading.join().unwrap() > 100);
}

#[test]
fn a_log_cut_at_the_front_says_where_it_begins() {
    let (disk, mut log) = sixty();
    log.flusher.flush().unwrap();
    let first = log.truncate_before(Offset(45)).unwrap();
    assert!(first > Offset(20) && first <= Offset(45));
    disk.crash(&mut |_| 0);
    let log = open(&disk);
    let recovered = &log.recovered;
    assert_eq!(recovered.before, entry(2, first.0 - 1));
    assert_eq!(recovered.epochs, [(Epoch(2), first)]);
    // All of it but the last segment, which is empty then.
    let (disk, mut log) = sixty();
    let last = log.writer.last();
    log.writer.write_clean_mark(last).unwrap();
    log.writer.restart_after(last, last.offset).unwrap();
    assert_eq!((log.writer.last(), log.reader.first()), (last, last.offset.next()));
    disk.crash(&mut |_| 0);
    let other = crate::LogOptions::new(7, Incarnation(8), GroupId::new("tweets-1"));
    assert!(matches!(open_with(&disk, &other), Err(Error::Foreign { what: "group", .. })));
    let log = open(&disk);
    assert_eq!((log.recovered.last, log.recovered.before), (last, last));
    assert_eq!(log.recovered.clean, None, "what was said of the old log");
}
