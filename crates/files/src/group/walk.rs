//! Walks the records of a segment, believing nothing.

use crate::disk::DiskFile;
use crate::group::record::{ALIGN, HEAD_BYTES, RecordHead, is_blank, stride};
use crate::group::segment::SegmentHead;
use bytes::Bytes;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Offset};
use std::io;

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Never-written stretches are skipped in pieces of this size.
const BLANK: [u8; 4096] = [0; 4096];
/// How many times over a file may be checksummed in search of records.
const CHECKS_MAX: u64 = 16;

/// Where a chain of records has got to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    /// The last entry.
    pub last: EntryId,
    /// The crc of the last record.
    pub chain: u32,
}

impl Tip {
    /// Where a segment begins.
    pub fn before(head: &SegmentHead) -> Self {
        Self { last: head.before, chain: head.seed }
    }

    /// Past a record.
    pub fn after(head: &RecordHead) -> Self {
        Self { last: head.batch.last(), chain: head.crc }
    }
}

/// What stands at a place in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The next record of the chain, whole.
    Record(RecordHead),
    /// No room for a record.
    End,
    /// Nothing was written here.
    Blank,
    /// Something else, in words.
    Bad(&'static str),
}

/// Reads a file in big pieces.
pub(crate) struct Walker<'a, F> {
    file: &'a F,
    buffer: Vec<u8>,
    buffer_at: u64,
    /// The length of the file.
    pub bytes: u64,
}

/// Whole records found behind a place where the chain is broken.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Behind {
    pub records: u64,
    /// What the newest of them says was flushed.
    pub flushed: Offset,
    /// Where the last of them ends; 0 without any.
    pub end: u64,
}

impl<'a, F: DiskFile> Walker<'a, F> {
    pub fn new(file: &'a F) -> io::Result<Self> {
        Ok(Self { file, buffer: Vec::new(), buffer_at: 0, bytes: file.bytes()? })
    }

    /// `bytes` at `position`, or fewer at the end of the file.
    fn at(&mut self, position: u64, bytes: usize) -> io::Result<&[u8]> {
        let left = self.bytes.saturating_sub(position);
        let bytes = usize::try_from(left).unwrap_or(usize::MAX).min(bytes);
        let held = self.buffer_at + self.buffer.len() as u64;
        if position < self.buffer_at || position + bytes as u64 > held {
            let ask = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.max(CHUNK_BYTES));
            self.buffer.resize(ask, 0);
            let got = self.file.read_at(&mut self.buffer, position)?;
            self.buffer.truncate(got);
            self.buffer_at = position;
        }
        let start = usize::try_from(position - self.buffer_at).unwrap_or(usize::MAX);
        let start = start.min(self.buffer.len());
        let end = (start + bytes).min(self.buffer.len());
        Ok(&self.buffer[start..end])
    }

    /// The header at `position`, unverified.
    pub fn head(&mut self, position: u64) -> io::Result<Option<RecordHead>> {
        Ok(RecordHead::parse(self.at(position, HEAD_BYTES)?))
    }

    /// What stands at `position`, if the chain has got to `tip`.
    pub fn step(&mut self, position: u64, tip: &Tip, salt: u32) -> io::Result<Step> {
        let start = self.at(position, HEAD_BYTES)?;
        if start.is_empty() || (start.len() < HEAD_BYTES && is_blank(start)) {
            return Ok(Step::End);
        }
        if is_blank(start) {
            return Ok(Step::Blank);
        }
        let Some(head) = RecordHead::parse(start) else {
            return Ok(Step::Bad("no record header"));
        };
        if !head.is_whole(self.at(position, head.length as usize)?, salt) {
            return Ok(Step::Bad("checksum mismatch"));
        }
        Ok(if head.previous != tip.chain {
            Step::Bad("checksum chain broken")
        } else if head.batch.first != tip.last.offset.next() {
            Step::Bad("offset out of order")
        } else if head.batch.epoch < tip.last.epoch {
            Step::Bad("epoch went back")
        } else if head.flushed > tip.last.offset {
            Step::Bad("flush mark out of order")
        } else {
            Step::Record(head)
        })
    }

    /// How long the record at `position` claims to be, or one page if it claims nothing sensible.
    pub fn claimed_bytes(&mut self, position: u64) -> io::Result<u64> {
        let left = self.bytes.saturating_sub(position);
        let claimed = RecordHead::parse(self.at(position, HEAD_BYTES)?).map(|head| head.stride());
        Ok(claimed.unwrap_or(4096).min(left))
    }

    /// Looks for whole records of this segment anywhere from `position` on.
    ///
    /// Bounded also against content made to look like records: when more than
    /// [`CHECKS_MAX`] times the file was checksummed in vain, it is taken for one record.
    pub fn behind(&mut self, position: u64, expected: Offset, salt: u32) -> io::Result<Behind> {
        let mut behind = Behind::default();
        let mut position = position.next_multiple_of(ALIGN);
        let mut work_left = self.bytes.saturating_mul(CHECKS_MAX);
        while position + HEAD_BYTES as u64 <= self.bytes {
            let ahead = self.at(position, BLANK.len())?;
            if *ahead == BLANK[..ahead.len()] {
                position += ahead.len() as u64;
                continue;
            }
            let head = match RecordHead::parse(ahead) {
                Some(head) if head.batch.first >= expected => head,
                _ => {
                    position += ALIGN;
                    continue;
                }
            };
            let length = u64::from(head.length);
            if length > self.bytes - position {
                position += ALIGN;
                continue;
            }
            if !head.is_whole(self.at(position, head.length as usize)?, salt) {
                let Some(left) = work_left.checked_sub(length) else {
                    behind.records += 1;
                    return Ok(behind);
                };
                work_left = left;
                position += ALIGN;
                continue;
            }
            behind.records += 1;
            behind.flushed = behind.flushed.max(head.flushed);
            position += stride(head.length);
            behind.end = position.min(self.bytes);
        }
        Ok(behind)
    }

    /// All whole records from `position` on, with gaps between them if need be.
    pub fn batches(&mut self, position: u64, salt: u32) -> io::Result<Vec<Batch>> {
        let mut batches = Vec::new();
        let mut position = position;
        while position + HEAD_BYTES as u64 <= self.bytes {
            let head = RecordHead::parse(self.at(position, HEAD_BYTES)?);
            let Some(head) = head.filter(|head| u64::from(head.length) <= self.bytes - position)
            else {
                position += ALIGN;
                continue;
            };
            let record = self.at(position, head.length as usize)?;
            if head.is_whole(record, salt) {
                let body = Bytes::copy_from_slice(&record[HEAD_BYTES..]);
                batches.push(Batch { head: head.batch, body });
                position += head.stride();
            } else {
                position += ALIGN;
            }
        }
        Ok(batches)
    }
}
