//! How one version of a key is kept: packed, and chained to the version before.
//!
//! `prev u32 | key length | key | flags | modified | modified - created | version | [lease]
//! | value length | value`, numbers as variable-length integers. All after `prev` is its *record*,
//! which is also how a version stands in a snapshot.

use crate::heap::{Handle, Heap};
use crate::leases::LeaseId;

const TOMBSTONE: u8 = 1;
const LEASED: u8 = 2;
/// How much of a run says where the version before is.
const PREV_BYTES: usize = 4;

/// One version, read in place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Item<'a> {
    pub prev: Handle,
    pub key: &'a [u8],
    pub tombstone: bool,
    pub modified: u64,
    pub created: u64,
    pub version: u64,
    pub lease: LeaseId,
    pub value: &'a [u8],
    /// Bytes of the whole run.
    pub len: usize,
}

pub(crate) fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

/// Reads a number that this process wrote or checked.
fn varint(bytes: &[u8], at: &mut usize) -> u64 {
    let mut number = 0;
    let mut shift = 0;
    loop {
        let byte = bytes[*at];
        *at += 1;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return number;
        }
        shift += 7;
    }
}

fn to_len(number: u64) -> usize {
    usize::try_from(number).expect("lengths were usize when written")
}

impl<'a> Item<'a> {
    /// The item at `handle`.
    pub fn read(heap: &'a Heap, handle: Handle) -> Self {
        let run = heap.get(handle);
        let prev = prev_of(run);
        let mut at = PREV_BYTES;
        let key_len = to_len(varint(run, &mut at));
        let key = &run[at..at + key_len];
        at += key_len;
        let flags = run[at];
        at += 1;
        let modified = varint(run, &mut at);
        let created = modified - varint(run, &mut at);
        let version = varint(run, &mut at);
        let lease = if flags & LEASED == 0 {
            LeaseId::NONE
        } else {
            LeaseId(varint(run, &mut at).cast_signed())
        };
        let value_len = to_len(varint(run, &mut at));
        let value = &run[at..at + value_len];
        let tombstone = flags & TOMBSTONE != 0;
        let len = at + value_len;
        Self { prev, key, tombstone, modified, created, version, lease, value, len }
    }

    /// A number that differs when anything readers see of it differs.
    pub fn digest(&self) -> u64 {
        let mut head = [0; 40];
        let numbers = [
            self.modified,
            self.created,
            self.version,
            self.lease.0.cast_unsigned(),
            self.key.len() as u64,
        ];
        for (place, number) in head.chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let low = crc32c::crc32c_append(crc32c::crc32c(&head), self.key);
        let high = crc32c::crc32c_append(!low, self.value);
        mix(u64::from(high) << 32 | u64::from(low))
    }

    /// Packs it behind `out`, without the version before: its record.
    pub fn pack(&self, out: &mut Vec<u8>) {
        push_varint(out, self.key.len() as u64);
        out.extend_from_slice(self.key);
        let leased = if self.lease == LeaseId::NONE { 0 } else { LEASED };
        out.push((u8::from(self.tombstone) * TOMBSTONE) | leased);
        push_varint(out, self.modified);
        push_varint(out, self.modified - self.created);
        push_varint(out, self.version);
        if leased != 0 {
            push_varint(out, self.lease.0.cast_unsigned());
        }
        push_varint(out, self.value.len() as u64);
        out.extend_from_slice(self.value);
    }
}

/// Spreads a sum of checksums over all bits, so that sums of digests do not cancel out.
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Keeps a record; `prev` is the version before.
pub(crate) fn insert(heap: &mut Heap, prev: Handle, record: &[u8]) -> Handle {
    heap.insert(&prev.to_bytes(), record)
}

fn prev_of(run: &[u8]) -> Handle {
    Handle::from_bytes([run[0], run[1], run[2], run[3]])
}

/// The key alone, for searching.
pub(crate) fn key(heap: &Heap, handle: Handle) -> &[u8] {
    key_of(&heap.get(handle)[PREV_BYTES..])
}

/// The key of a record that this process wrote or checked.
pub(crate) fn key_of(record: &[u8]) -> &[u8] {
    let mut at = 0;
    let len = to_len(varint(record, &mut at));
    &record[at..at + len]
}

/// Forgets the version before.
pub(crate) fn cut_prev(heap: &mut Heap, handle: Handle) {
    heap.get_mut(handle)[..PREV_BYTES].copy_from_slice(&Handle::NONE.to_bytes());
}
