//! Every byte of the last records flipped or cut off: a tail is cut, damage is loud.

use super::{DIR, Log, first_segment, open, open_with, options};
use crate::disk::{Disk, DiskFile};
use crate::group::SEGMENT_BYTES;
use crate::{Error, GroupFile, MemDisk, Result};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, Offset};
use std::path::{Path, PathBuf};

/// Records with the bytes they stand at; the first `flushed` were flushed.
struct Written {
    disk: MemDisk,
    batches: Vec<Batch>,
    places: Vec<u64>,
    end: u64,
    flushed: usize,
}

fn written(flushed: usize, all: usize) -> Written {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let (mut batches, mut places, mut end) = (Vec::new(), Vec::new(), 4096);
    for index in 0..all {
        if index == flushed {
            log.flusher.flush().unwrap();
        }
        let batch = log.put(1 + index as u64 / 4, 1 + index as u32 % 2, 20 + 11 * index);
        places.push(end);
        end += (56 + batch.body.len() as u64).next_multiple_of(8);
        batches.push(batch);
    }
    disk.kill();
    Written { disk, batches, places, end, flushed }
}

fn reopened(disk: &MemDisk) -> Result<Log> {
    disk.kill();
    open_with(disk, &options())
}

impl Written {
    /// What must come of it if record `bad` cannot be read and `behind` whole ones follow.
    fn check(&self, disk: &MemDisk, bad: usize, behind: u64, what: &str) {
        let opened = reopened(disk);
        let first = self.batches[bad].head.first;
        if bad < self.flushed {
            let error = opened.err().expect(what);
            let Error::Damaged { path, position, offset, flushed, .. } = &error else {
                panic!("{what}: {error}");
            };
            let last = self.batches[self.flushed - 1].head.last_offset();
            assert_eq!((*position, *offset, *flushed), (self.places[bad], first, last), "{what}");
            assert!(error.is_fatal() && *path == first_segment());
            return;
        }
        let mut log = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(log.all(), self.batches[..bad], "{what}");
        if let Some(torn) = &log.recovered.torn {
            assert_eq!((torn.first, torn.records_behind), (first, behind), "{what}");
            assert!(
                !torn.kept.is_empty()
                    && torn.kept[0]
                        .ends_with(format!("tails/torn-{}-{first}", log.recovered.last.epoch))
            );
        }
        let tails = log.writer.cut_tails().unwrap();
        let whole = tails.iter().flat_map(|tail| GroupFile::read_tail(disk, tail).unwrap());
        assert_eq!(whole.collect::<Vec<_>>(), self.batches[self.batches.len() - behind as usize..]);
        assert_eq!(log.recovered.is_intact(true, false), behind == 0, "{what}");
        assert!(!log.recovered.is_intact(false, false) && !log.recovered.stopped_cleanly());
        let more = log.put(9, 1, 30);
        disk.kill();
        let again = open(disk);
        assert_eq!(again.all().last(), Some(&more), "{what}");
        assert_eq!(again.recovered.untrusted, behind > 0, "{what}");
    }
}

#[test]
fn a_flipped_bit_above_the_flush_cuts_a_tail_and_below_stops_the_node() {
    let written = written(4, 7);
    for position in written.places[2]..written.end {
        let index = written.places.partition_point(|place| *place <= position) - 1;
        let length = 56 + written.batches[index].body.len() as u64;
        let padding = position >= written.places[index] + length;
        for mask in [1, 0x80] {
            let disk = written.disk.fork();
            disk.flip(&first_segment(), position, mask).unwrap();
            let what = format!("record {index}, byte {position}, mask {mask}");
            if padding {
                let log = reopened(&disk).unwrap();
                assert_eq!((log.all(), log.recovered.torn), (written.batches.clone(), None));
            } else {
                let behind = (written.batches.len() - 1 - index) as u64;
                written.check(&disk, index, behind, &what);
            }
        }
    }
}

#[test]
fn a_file_cut_short_above_the_flush_loses_a_tail_and_below_stops_the_node() {
    let written = written(4, 7);
    for bytes in written.places[2]..written.end {
        let index = written.places.partition_point(|place| *place <= bytes) - 1;
        let length = 56 + written.batches[index].body.len() as u64;
        let disk = written.disk.fork();
        disk.shorten(&first_segment(), bytes).unwrap();
        let lost = index + usize::from(bytes >= written.places[index] + length);
        if lost == written.batches.len() {
            assert_eq!(reopened(&disk).unwrap().all(), written.batches);
        } else {
            written.check(&disk, lost, 0, &format!("record {lost}, cut at byte {bytes}"));
        }
    }
}

#[test]
fn damage_behind_a_clean_mark_is_never_a_tail() {
    let written = written(4, 7);
    let mut log = reopened(&written.disk).unwrap();
    log.writer.write_clean_mark(log.writer.last()).unwrap();
    drop(log);
    for index in 0..7 {
        let disk = written.disk.fork();
        disk.flip(&first_segment(), written.places[index] + 30, 4).unwrap();
        let error = reopened(&disk).err().unwrap();
        let first = written.batches[index].head.first;
        assert!(matches!(error, Error::Damaged { offset, .. } if offset == first), "{index}");
        let disk = written.disk.fork();
        disk.shorten(&first_segment(), written.places[index]).unwrap();
        let error = reopened(&disk).err().unwrap();
        assert!(matches!(error, Error::Damaged { offset, .. } if offset == first), "{index}");
    }
}

#[test]
fn records_say_what_was_flushed_even_if_every_mark_is_lost() {
    let written = written(4, 7);
    let disk = written.disk.fork();
    for page in 0..2 {
        disk.flip(&Path::new(DIR).join("flushed"), page * 4096 + 20, 1).unwrap();
    }
    disk.flip(&first_segment(), written.places[1] + 60, 1).unwrap();
    written.check(&disk, 1, 0, "no flush mark");
}

/// A flushed log of four segments or so, and the names of its segments.
fn long() -> (MemDisk, Vec<PathBuf>, Vec<Batch>) {
    let disk = MemDisk::new();
    let mut log = open(&disk);
    let batches = (0..40).map(|_| log.put(1, 1, 1000)).collect();
    log.flusher.flush().unwrap();
    drop(log);
    let listed = disk.list(Path::new(DIR)).unwrap();
    let segments = listed.into_iter().filter(|file| file.name.ends_with(".seg"));
    (disk, segments.map(|file| Path::new(DIR).join(file.name)).collect(), batches)
}

#[test]
fn a_body_full_of_record_headers_does_not_hold_up_a_start() {
    let disk = MemDisk::new();
    let mut large = options();
    large.segment_bytes = 1 << 20;
    let mut log = open_with(&disk, &large).unwrap();
    let put = log.put(1, 1, 100);
    // Each 56 bytes claim to be a record of half a MiB: 4 GiB to checksum, if nothing bounds it.
    let mut fake = Vec::new();
    for field in [512 << 10, 0, 0, 0, 1, 0, 1000, 0, 1, 0, 0, 0, 0, 0_u32] {
        fake.extend_from_slice(&field.to_le_bytes());
    }
    let mut batch = super::batch(1, 2, 1, 1);
    batch.body = fake.repeat(9000).into();
    log.writer.append(&[batch]).unwrap();
    disk.flip(&first_segment(), 4096 + 160 + 40, 1).unwrap();
    disk.kill();
    let begun = std::time::Instant::now();
    let log = open_with(&disk, &large).unwrap();
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    assert_eq!(log.all(), [put]);
    assert!(log.recovered.torn.is_some() && !log.recovered.is_intact(true, false));
}

#[test]
fn a_record_of_another_history_does_not_continue_this_one() {
    let disk = MemDisk::new();
    drop(open(&disk));
    let (ours, theirs) = (disk.fork(), disk.fork());
    let put = open(&ours).put(1, 1, 40);
    let mut other = open(&theirs);
    let mut differs = put.clone();
    differs.head.time_ms += 1;
    other.writer.append(&[differs]).unwrap();
    other.put(1, 1, 40);
    drop(other);
    // Their second entry, whole and with the right number, behind our first.
    let mut record = vec![0; 96];
    theirs.open(&first_segment()).unwrap().read_at(&mut record, 4096 + 96).unwrap();
    let file = ours.open(&first_segment()).unwrap();
    file.write_at(&mut [std::io::IoSlice::new(&record)], 4096 + 96).unwrap();
    drop(file);
    let log = reopened(&ours).unwrap();
    assert_eq!(log.all(), [put]);
    assert_eq!(log.recovered.torn.unwrap().records_behind, 1);
}

#[test]
fn every_byte_of_a_segment_header_counts() {
    let (disk, segments, _) = long();
    assert!(segments.len() >= 3);
    for segment in [&segments[0], &segments[1], segments.last().unwrap()] {
        for position in 0..88 {
            let disk = disk.fork();
            disk.flip(segment, position, 2).unwrap();
            let error = reopened(&disk).err().unwrap();
            assert!(matches!(error, Error::Damaged { .. }), "byte {position}: {error}");
        }
    }
}

#[test]
fn a_missing_file_of_the_log_is_loud() {
    let (disk, segments, _) = long();
    let marks = ["marks", "flushed"].map(|name| Path::new(DIR).join(name));
    for path in segments.iter().chain(&marks) {
        let disk = disk.fork();
        disk.remove(path).unwrap();
        let error = reopened(&disk).err().unwrap();
        let loud = matches!(error, Error::Damaged { .. } | Error::Missing { .. });
        assert!(loud && error.is_fatal(), "{path:?}: {error}");
    }
}

#[test]
fn a_segment_of_another_format_is_named() {
    let (disk, segments, _) = long();
    let file = disk.open(&segments[0]).unwrap();
    let mut page = vec![0; 88];
    file.read_at(&mut page, 0).unwrap();
    page[12] = 9;
    let crc = crc32c::crc32c(&page[12..]);
    page[8..12].copy_from_slice(&crc.to_le_bytes());
    file.write_at(&mut [std::io::IoSlice::new(&page)], 0).unwrap();
    let error = reopened(&disk).err().unwrap();
    assert!(matches!(error, Error::Format { found: 9, known: 1, .. }));
    assert!(error.to_string().contains("has format 9"));
}

#[test]
fn what_runs_out_of_the_log_while_it_is_read_is_reported() {
    let (disk, segments, batches) = long();
    let log = open(&disk);
    disk.flip(&segments[1], 4096 + 200, 1).unwrap();
    let error = log.reader.read(Offset(1), 1 << 20).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }));
    assert_eq!(log.reader.read(Offset(1), 2000).unwrap(), batches[..2]);
    assert_eq!(log.reader.last(), EntryId::new(Epoch(1), Offset(40)));
    assert_eq!(SEGMENT_BYTES, 64 << 20);
}
