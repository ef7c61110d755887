//! Files written twice, and files written in turn: a crash at any byte, damage, failures.

use super::Dice;
use crate::disk::{Disk, DiskFile};
use crate::{DoubleWriteFile, Error, Found, MemDisk, RotateFile};
use std::path::Path;

const VOTE: &str = "/node/vote";
const ROUTES: &str = "/node/routes";

fn disk() -> MemDisk {
    let disk = MemDisk::new();
    disk.create_dir(Path::new("/node")).unwrap();
    disk
}

fn read(disk: &MemDisk) -> Vec<u8> {
    disk.kill();
    DoubleWriteFile::open(disk, Path::new(VOTE)).unwrap().1
}

#[test]
fn a_double_written_file_keeps_what_was_written_through_any_crash() {
    let disk = disk();
    let path = Path::new(VOTE);
    assert!(DoubleWriteFile::open_if_made(&disk, path).unwrap().is_none());
    let mut file = DoubleWriteFile::create(&disk, path, b"sealed 0").unwrap();
    assert!(DoubleWriteFile::create(&disk, path, b"again").is_err());
    for round in 1..50_u64 {
        let payload = vec![round as u8; (round * 80) as usize];
        file.write(&payload).unwrap();
        disk.crash(&mut |_| 0);
        let (opened, found) = DoubleWriteFile::open(&disk, path).unwrap();
        assert_eq!(found, payload);
        file = opened;
    }
}

#[test]
fn a_crash_at_any_byte_of_a_double_write_leaves_the_old_or_the_new() {
    let (old, new) = (vec![1; 1500], vec![2; 1700]);
    let base = disk();
    let mut file = DoubleWriteFile::create(&base, Path::new(VOTE), b"first").unwrap();
    file.write(&old).unwrap();
    let mut both = [0; 2];
    for bytes in (0..3600).step_by(7) {
        for seed in 0..6 {
            let disk = base.fork();
            let mut dice = Dice::new(bytes * 100 + seed);
            let mut file = DoubleWriteFile::open(&disk, Path::new(VOTE)).unwrap().0;
            disk.stop_after(bytes);
            let done = file.write(&new).is_ok();
            if seed > 0 {
                disk.crash(&mut |limit| dice.below(limit));
            }
            // What an open has told must hold, too, whatever comes then.
            let found = read(&disk);
            assert!(found == new || (!done && found == old), "byte {bytes}, seed {seed}");
            both[usize::from(found == new)] += 1;
            disk.crash(&mut |limit| dice.below(limit));
            assert_eq!(read(&disk), found, "byte {bytes}, seed {seed}");
        }
    }
    assert!(both.iter().all(|count| *count > 500), "{both:?}");
}

#[test]
fn a_crash_while_a_double_written_file_is_made_leaves_it_whole_or_absent() {
    let mut absent = 0;
    for seed in 0..200 {
        let disk = disk();
        let mut dice = Dice::new(seed);
        match seed % 2 {
            0 => disk.stop_after(seed / 2),
            _ => disk.stop_before(seed % 9),
        }
        let made = DoubleWriteFile::create(&disk, Path::new(VOTE), b"identity").is_ok();
        disk.crash(&mut |limit| dice.below(limit));
        match DoubleWriteFile::open_if_made(&disk, Path::new(VOTE)).unwrap() {
            Some((_, found)) => assert_eq!(found, b"identity"),
            None => {
                assert!(!made);
                absent += 1;
                DoubleWriteFile::create(&disk, Path::new(VOTE), b"identity").unwrap();
            }
        }
    }
    assert!(absent > 10);
}

#[test]
fn any_damage_to_one_copy_is_healed_and_to_both_is_loud() {
    let base = disk();
    let mut file = DoubleWriteFile::create(&base, Path::new(VOTE), b"one").unwrap();
    file.write(b"two").unwrap();
    for position in (0..31).chain(8192..8192 + 31) {
        let disk = base.fork();
        disk.flip(Path::new(VOTE), position, 1).unwrap();
        assert_eq!(read(&disk), b"two");
        // The other copy was made good when it was opened.
        let other = if position < 8192 { 8192 } else { 0 };
        disk.flip(Path::new(VOTE), other, 1).unwrap();
        assert_eq!(read(&disk), b"two");
    }
    for bytes in 0..31 {
        let disk = base.fork();
        disk.shorten(Path::new(VOTE), bytes).unwrap();
        let error = DoubleWriteFile::open(&disk, Path::new(VOTE)).unwrap_err();
        assert!(matches!(error, Error::BothCopiesBad { .. }) && error.is_fatal());
    }
}

#[test]
fn a_failed_flush_ends_trust_in_a_double_written_file() {
    for nth in 0..2 {
        let disk = disk();
        let mut file = DoubleWriteFile::create(&disk, Path::new(VOTE), b"old").unwrap();
        disk.fail_sync(nth);
        assert!(matches!(file.write(b"new"), Err(Error::Io { .. })));
        assert!(matches!(file.write(b"newer"), Err(Error::Untrusted { .. })));
        // The next process sees what is in the cache, and makes that true.
        assert_eq!(read(&disk), b"new");
        disk.crash(&mut |_| 0);
        assert_eq!(read(&disk), b"new");
    }
    let disk = disk();
    let mut file = DoubleWriteFile::create(&disk, Path::new(VOTE), b"old").unwrap();
    disk.fail_write(1);
    assert!(file.write(&[5; 900]).is_err());
    disk.crash(&mut |_| 0);
    assert_eq!(read(&disk), [5; 900]);
}

#[test]
fn a_double_written_file_needs_no_room_and_takes_no_more_than_it_has() {
    let disk = disk();
    let mut file = DoubleWriteFile::create(&disk, Path::new(VOTE), b"").unwrap();
    disk.set_capacity(disk.used_bytes());
    file.write(&[9; 4096]).unwrap();
    assert!(matches!(file.write(&[9; 4097]), Err(Error::Size { .. })));
    assert_eq!(read(&disk), [9; 4096]);
    let full = DoubleWriteFile::create(&disk, Path::new("/node/other"), b"").unwrap_err();
    assert!(matches!(full, Error::Full { .. }));
}

fn routes(disk: &MemDisk) -> (RotateFile<MemDisk>, Found) {
    RotateFile::open(disk, Path::new(ROUTES)).unwrap()
}

#[test]
fn a_rotated_file_gives_the_newest_or_the_one_before() {
    let disk = disk();
    let (mut file, found) = routes(&disk);
    assert_eq!(found, Found::Nothing);
    for round in 1..40_u8 {
        file.write(&vec![round; 40_000 / usize::from(round)]).unwrap();
        disk.crash(&mut |_| 0);
        let (opened, found) = routes(&disk);
        file = opened;
        let payload = found.clone().payload().unwrap();
        assert_eq!(payload, vec![round; 40_000 / usize::from(round)]);
        assert_eq!(matches!(found, Found::Newest(_)), round != 2 || payload[0] == 2);
    }
    assert!(matches!(file.write(&vec![0; (16 << 20) + 1]), Err(Error::Size { .. })));
}

#[test]
fn a_crash_at_any_byte_of_a_rotated_write_leaves_the_old_or_the_new() {
    let base = disk();
    let (mut file, _) = routes(&base);
    file.write(&[1; 300]).unwrap();
    file.write(&[2; 9000]).unwrap();
    for bytes in (0..5100).step_by(11) {
        for seed in 0..4 {
            let disk = base.fork();
            let mut dice = Dice::new(bytes * 100 + seed);
            disk.stop_after(bytes);
            let done = routes(&disk).0.write(&[3; 5000]).is_ok();
            disk.crash(&mut |limit| dice.below(limit));
            let (mut file, found) = routes(&disk);
            let found = found.payload().unwrap();
            assert!(found == [3; 5000] || (!done && found == [2; 9000]));
            file.write(b"next").unwrap();
            assert_eq!(routes(&disk).1.payload().unwrap(), b"next");
        }
    }
}

#[test]
fn a_rotated_file_with_one_bad_copy_falls_back_and_says_so() {
    let base = disk();
    let (mut file, _) = routes(&base);
    file.write(b"older").unwrap();
    file.write(b"newer").unwrap();
    let paths = ["/node/routes.0", "/node/routes.1"].map(Path::new);
    for position in 0..33 {
        let disk = base.fork();
        disk.flip(paths[1], position, 8).unwrap();
        assert_eq!(routes(&disk).1, Found::MaybeOlder(b"older".to_vec()));
        disk.flip(paths[0], position, 8).unwrap();
        let (mut file, found) = routes(&disk);
        assert_eq!((found.clone(), found.payload()), (Found::BothBad, None));
        file.write(b"made anew").unwrap();
        assert_eq!(routes(&disk).1, Found::MaybeOlder(b"made anew".to_vec()));
    }
    let file = base.open(paths[0]).unwrap();
    file.truncate(3).unwrap();
    assert_eq!(routes(&base).1, Found::MaybeOlder(b"newer".to_vec()));
}
