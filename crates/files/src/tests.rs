//! Tests of the crate: every rule of trust, by crash, tear, flip, full and failing disk.

mod crash;
mod damage;
mod faults;
mod folder;
mod log;
mod old;
mod receive;
mod restart;
mod small;
mod snapshot;

use crate::{GroupFile, LogFlusher, LogOptions, LogReader, LogWriter, MemDisk, Recovered, Result};
use bytes::Bytes;
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{Epoch, GroupId, Incarnation, Offset};
use std::path::{Path, PathBuf};

/// Where logs are in these tests.
pub(crate) const DIR: &str = "/node/groups/tweets-0/log";

/// A small generator of numbers (xorshift); the same seed gives the same run.
#[derive(Clone, Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        for _ in 0..8 {
            dice.below(2);
        }
        dice
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit.max(1)
    }
}

/// A log that is open on a disk in memory.
pub(crate) struct Log {
    pub writer: LogWriter<MemDisk>,
    pub flusher: LogFlusher<MemDisk>,
    pub reader: LogReader<MemDisk>,
    pub recovered: Recovered,
}

pub(crate) fn options() -> LogOptions {
    let mut options = LogOptions::new(7, Incarnation(8), GroupId::new("tweets-0"));
    options.segment_bytes = 16 << 10;
    options
}

pub(crate) fn open_with(disk: &MemDisk, options: &LogOptions) -> Result<Log> {
    let (writer, flusher, reader, recovered) = GroupFile::open(disk, Path::new(DIR), options)?;
    Ok(Log { writer, flusher, reader, recovered })
}

pub(crate) fn open(disk: &MemDisk) -> Log {
    open_with(disk, &options()).unwrap()
}

/// A batch of `count` entries; equal arguments give equal batches, others differ.
pub(crate) fn batch(epoch: u64, first: u64, count: u32, bytes: usize) -> Batch {
    let mut body = format!("{epoch}:{first}:{count}:").into_bytes();
    let fill = (epoch.wrapping_mul(31) ^ first.wrapping_mul(17)) as u8;
    body.resize(bytes.max(body.len()), fill | 1);
    let (epoch, first) = (Epoch(epoch), Offset(first));
    let (authority, opens_epoch) = (first.0 % 3 == 0, first.0 % 5 == 0);
    let head = BatchHead { epoch, first, count, time_ms: first.0 * 9, authority, opens_epoch };
    Batch { head, body: Bytes::from(body) }
}

impl Log {
    /// Gives up what holds only entries before `offset`; returns the first that is still kept.
    pub fn truncate_before(&mut self, offset: Offset) -> Result<Offset> {
        self.writer.release_before(offset);
        let given_up = self.flusher.give_up_front()?;
        let first = self.reader.first();
        if let Some(given_up) = given_up {
            assert_eq!(given_up.before.offset.next(), first);
            given_up.remove()?;
        }
        Ok(first)
    }

    /// Appends a batch of `count` entries of `epoch` with a body of `bytes`.
    pub fn put(&mut self, epoch: u64, count: u32, bytes: usize) -> Batch {
        let batch = batch(epoch, self.writer.last().offset.0 + 1, count, bytes);
        self.writer.append(std::slice::from_ref(&batch)).unwrap();
        batch
    }

    /// Everything in it, read in pieces.
    pub fn all(&self) -> Vec<Batch> {
        let mut all: Vec<Batch> = Vec::new();
        loop {
            let next =
                all.last().map_or(self.reader.first(), |last| last.head.last_offset().next());
            let more = self.reader.read(next, 3000).unwrap();
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }
}

/// The only segment of a small log.
pub(crate) fn first_segment() -> PathBuf {
    Path::new(DIR).join("00000000000000000001.seg")
}
