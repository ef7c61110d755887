//! One batch as it stands in a segment.
//!
//! ```text
//!  0 length   u32  bytes of header and body; 0 = nothing was written here
//!  4 crc      u32  crc32c of everything after it, begun with the segment's salt
//!  8 previous u32  crc of the record before (of the first: the segment's seed)
//! 12 flags    u32  1 authority, 2 opens an epoch
//! 16 epoch    u64
//! 24 first    u64  offset of its first entry
//! 32 count    u32  how many entries
//! 36 zero     u32
//! 40 time_ms  u64
//! 48 flushed  u64  offset up to which the log was flushed when this was written
//! 56 body, then zeros up to a multiple of 8
//! ```
//! The salt is the crc of the segment's header, so a record can be judged alone, and one that a
//! recycled segment held before is no record of the new one. `previous` makes the chain.

use crate::copy::{u32_at, u64_at};
use bytes::Bytes;
use cairn_logic::batch::{BODY_BYTES_MAX, Batch, BatchHead};
use cairn_logic::ids::{Epoch, Offset};

/// Length of a record's header.
pub(crate) const HEAD_BYTES: usize = 56;
/// Records begin at multiples of this.
pub(crate) const ALIGN: u64 = 8;
const AUTHORITY: u32 = 1;
const OPENS_EPOCH: u32 = 2;

/// A record's header, as read; to be believed after [`RecordHead::crc_of`] agrees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub length: u32,
    pub crc: u32,
    pub previous: u32,
    pub flushed: Offset,
    pub batch: BatchHead,
}

impl RecordHead {
    /// Bytes from this record to the next.
    pub fn stride(&self) -> u64 {
        stride(self.length)
    }

    /// Reads a header; `None` if it cannot be one, or if nothing was written here.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..HEAD_BYTES)?;
        let length = u32_at(bytes, 0);
        let flags = u32_at(bytes, 12);
        let count = u32_at(bytes, 32);
        let first = u64_at(bytes, 24);
        let possible = (HEAD_BYTES..=HEAD_BYTES + BODY_BYTES_MAX).contains(&(length as usize))
            && flags & !(AUTHORITY | OPENS_EPOCH) == 0
            && u32_at(bytes, 36) == 0
            && count > 0
            && first > 0
            && first.checked_add(u64::from(count)).is_some();
        possible.then(|| Self {
            length,
            crc: u32_at(bytes, 4),
            previous: u32_at(bytes, 8),
            flushed: Offset(u64_at(bytes, 48)),
            batch: BatchHead {
                epoch: Epoch(u64_at(bytes, 16)),
                first: Offset(first),
                count,
                time_ms: u64_at(bytes, 40),
                authority: flags & AUTHORITY != 0,
                opens_epoch: flags & OPENS_EPOCH != 0,
            },
        })
    }

    /// Whether `record`, which begins with this header, is whole: written with this salt.
    pub fn is_whole(&self, record: &[u8], salt: u32) -> bool {
        let Some(record) = record.get(..self.length as usize) else { return false };
        checksum(salt, &record[..HEAD_BYTES], &record[HEAD_BYTES..]) == self.crc
    }
}

/// Bytes that a record of this length occupies.
pub(crate) fn stride(length: u32) -> u64 {
    u64::from(length).next_multiple_of(ALIGN)
}

/// Bytes that a batch will occupy.
pub(crate) fn stride_of(batch: &Batch) -> u64 {
    stride(length_of(batch))
}

fn length_of(batch: &Batch) -> u32 {
    u32::try_from(HEAD_BYTES + batch.body.len()).expect("the body's size was checked")
}

/// Whether nothing was written where these bytes stand.
pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().take(8).all(|byte| *byte == 0)
}

fn checksum(salt: u32, head: &[u8], body: &[u8]) -> u32 {
    let crc = crc32c::crc32c_append(salt, &head[..4]);
    let crc = crc32c::crc32c_append(crc, &head[8..]);
    crc32c::crc32c_append(crc, body)
}

/// The header for `batch`, and its crc, which the next record names as `previous`.
pub(crate) fn encode_head(
    batch: &Batch,
    previous: u32,
    flushed: Offset,
    salt: u32,
) -> ([u8; HEAD_BYTES], u32) {
    let head = &batch.head;
    let flags =
        if head.authority { AUTHORITY } else { 0 } | if head.opens_epoch { OPENS_EPOCH } else { 0 };
    let mut bytes = [0; HEAD_BYTES];
    bytes[0..4].copy_from_slice(&length_of(batch).to_le_bytes());
    bytes[8..12].copy_from_slice(&previous.to_le_bytes());
    bytes[12..16].copy_from_slice(&flags.to_le_bytes());
    bytes[16..24].copy_from_slice(&head.epoch.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&head.first.0.to_le_bytes());
    bytes[32..36].copy_from_slice(&head.count.to_le_bytes());
    bytes[40..48].copy_from_slice(&head.time_ms.to_le_bytes());
    bytes[48..56].copy_from_slice(&flushed.0.to_le_bytes());
    let crc = checksum(salt, &bytes, &batch.body);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    (bytes, crc)
}

/// The batch of a whole record that stands at `at` in `chunk`; shares the chunk's memory.
pub(crate) fn batch_at(chunk: &Bytes, at: usize, head: &RecordHead) -> Batch {
    let body = chunk.slice(at + HEAD_BYTES..at + head.length as usize);
    Batch { head: head.batch, body }
}
