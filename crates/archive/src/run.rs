//! A run of a group's log: whole batches, one after the other, compressed.
//!
//! ```text
//! magic, format, bytes before compression, then one zstd frame of
//!   epoch, first, count, time, flags, bytes of the body, body        for each batch
//! ```
//!
//! Numbers are little-endian. What holds a run ([`crate::seal`](mod@crate::seal)) checks its bytes;
//! here is checked that batches follow each other.

use crate::error::{Error, Result};
use bytes::Bytes;
use cairn_logic::batch::{BODY_BYTES_MAX, Batch, BatchHead};
use cairn_logic::ids::{Epoch, Offset};

/// The format of runs this program writes and reads.
pub const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"CairnRun";
const HEAD_BYTES: usize = 20;
const BATCH_BYTES: usize = 33;
/// A run has about so many bytes before compression, or one batch.
pub const RUN_BYTES: usize = 8 << 20;
/// The most that one may have.
const RUN_BYTES_MAX: usize = RUN_BYTES + BODY_BYTES_MAX + 2 * BATCH_BYTES;
/// zstd's level: the library's own default.
const LEVEL: i32 = 3;
const AUTHORITY: u8 = 1;
const OPENS_EPOCH: u8 = 2;

/// Bytes that a batch takes in a run.
#[must_use]
pub fn bytes_of(batch: &Batch) -> usize {
    BATCH_BYTES + batch.body.len()
}

/// The content of a run.
///
/// # Errors
/// [`Error::Invalid`] if the batches do not follow each other, there is none, or they are too many.
pub fn encode(batches: &[Batch]) -> Result<Vec<u8>> {
    check(batches).map_err(|what| Error::Invalid { what: what.to_owned() })?;
    let bytes: usize = batches.iter().map(bytes_of).sum();
    if bytes > RUN_BYTES_MAX {
        return Err(Error::Invalid { what: format!("a run of {bytes} bytes") });
    }
    let mut raw = Vec::with_capacity(bytes);
    for Batch { head, body } in batches {
        raw.extend_from_slice(&head.epoch.0.to_le_bytes());
        raw.extend_from_slice(&head.first.0.to_le_bytes());
        raw.extend_from_slice(&head.count.to_le_bytes());
        raw.extend_from_slice(&head.time_ms.to_le_bytes());
        raw.push(u8::from(head.authority) * AUTHORITY + u8::from(head.opens_epoch) * OPENS_EPOCH);
        raw.extend_from_slice(&(body.len() as u32).to_le_bytes());
        raw.extend_from_slice(body);
    }
    let mut content = Vec::with_capacity(HEAD_BYTES + raw.len() / 2);
    content.extend_from_slice(&MAGIC);
    content.extend_from_slice(&FORMAT.to_le_bytes());
    content.extend_from_slice(&(raw.len() as u64).to_le_bytes());
    let packed = zstd::bulk::compress(&raw, LEVEL);
    content.extend_from_slice(&packed.map_err(|e| Error::Invalid { what: e.to_string() })?);
    Ok(content)
}

/// The batches of the run that is called `name`.
///
/// # Errors
/// [`Error::Format`], [`Error::Broken`].
pub fn decode(content: &[u8], name: &str) -> Result<Vec<Batch>> {
    let broken = |found| Error::Broken { name: name.to_owned(), found };
    let format = |found| Error::Format { name: name.to_owned(), found, known: FORMAT };
    if !content.starts_with(&MAGIC) {
        return Err(format(0));
    }
    let mut head = Cursor(&content[MAGIC.len()..]);
    let cut = || broken("its head is cut off");
    let found = head.number().map(u32::from_le_bytes).ok_or_else(cut)?;
    if found != FORMAT {
        return Err(format(found));
    }
    let bytes = head.number().map(u64::from_le_bytes).ok_or_else(cut)?;
    let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes <= RUN_BYTES_MAX);
    let bytes = bytes.ok_or_else(|| broken("it says an impossible length"))?;
    let raw = zstd::bulk::decompress(head.0, bytes);
    let raw = raw.map_err(|_| broken("it cannot be decompressed"))?;
    if raw.len() != bytes {
        return Err(broken("it is shorter than it says"));
    }
    let raw = Bytes::from(raw);
    let mut cursor = Cursor(&raw);
    let mut batches = Vec::new();
    while !cursor.0.is_empty() {
        batches.push(batch(&mut cursor, &raw).ok_or_else(|| broken("a batch is cut off"))?);
    }
    check(&batches).map_err(broken)?;
    Ok(batches)
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn number<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (number, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*number)
    }

    fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(bytes)
    }
}

fn batch(cursor: &mut Cursor<'_>, raw: &Bytes) -> Option<Batch> {
    let epoch = Epoch(u64::from_le_bytes(cursor.number()?));
    let first = Offset(u64::from_le_bytes(cursor.number()?));
    let count = u32::from_le_bytes(cursor.number()?);
    let time_ms = u64::from_le_bytes(cursor.number()?);
    let [flags] = cursor.number()?;
    let bytes = u32::from_le_bytes(cursor.number()?) as usize;
    let body = raw.slice_ref(cursor.bytes(bytes)?);
    let (authority, opens_epoch) = (flags & AUTHORITY != 0, flags & OPENS_EPOCH != 0);
    Some(Batch { head: BatchHead { epoch, first, count, time_ms, authority, opens_epoch }, body })
}

/// Whether these are batches of one log, one after the other.
fn check(batches: &[Batch]) -> std::result::Result<(), &'static str> {
    let first = batches.first().ok_or("it has no batch")?;
    if first.head.first == Offset::ZERO || batches.iter().any(|batch| batch.head.count == 0) {
        return Err("a batch has no entries");
    }
    let follows = |pair: &[Batch]| {
        let (one, two) = (&pair[0].head, &pair[1].head);
        two.first == one.last_offset().next() && two.epoch >= one.epoch
    };
    if !batches.windows(2).all(follows) {
        return Err("its batches do not follow each other");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn log() -> impl Strategy<Value = Vec<Batch>> {
        let body = prop::collection::vec(any::<u8>(), 0..200);
        let one = (0..2_u64, 1..9_u32, any::<u64>(), any::<bool>(), any::<bool>(), body);
        (1..1_000_u64, prop::collection::vec(one, 1..20)).prop_map(|(mut first, parts)| {
            let mut epoch = 1;
            let batch =
                |(up, count, time_ms, authority, opens_epoch, body): (_, _, _, _, _, Vec<u8>)| {
                    epoch += up;
                    let at = Offset(first);
                    first += u64::from(count);
                    let head = BatchHead {
                        epoch: Epoch(epoch),
                        first: at,
                        count,
                        time_ms,
                        authority,
                        opens_epoch,
                    };
                    Batch { head, body: body.into() }
                };
            parts.into_iter().map(batch).collect()
        })
    }

    proptest! {
        #[test]
        fn a_run_comes_back(batches in log()) {
            let content = encode(&batches).unwrap();
            prop_assert_eq!(decode(&content, "a").unwrap(), batches);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = bytes;
            drop(decode(&bytes, "a"));
            bytes.splice(0..0, MAGIC.into_iter().chain(FORMAT.to_le_bytes()));
            drop(decode(&bytes, "a"));
        }
    }

    #[test]
    fn a_hole_is_no_run() {
        let head = BatchHead {
            epoch: Epoch(1),
            first: Offset(1),
            count: 2,
            time_ms: 0,
            authority: false,
            opens_epoch: false,
        };
        let batch =
            |first| Batch { head: BatchHead { first: Offset(first), ..head }, body: Bytes::new() };
        assert!(encode(&[batch(1), batch(3)]).is_ok());
        assert!(encode(&[batch(1), batch(4)]).is_err());
        assert!(encode(&[]).is_err());
    }
}
