//! One copy of a small file's content: numbered, checksummed, in one piece.

use crate::error::Error;
use std::path::Path;

/// The format of small files this program writes and reads.
const FORMAT: u32 = 1;
const MAGIC: [u8; 4] = *b"cRn2";
/// magic, crc32c of all that follows, format, kind, sequence number, length.
pub(crate) const HEAD_BYTES: usize = 28;

/// Which file it belongs to, so that one is never read as the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Double = 1,
    Rotate = 2,
    Flushed = 3,
}

/// A copy that was read back whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    pub number: u64,
    pub payload: Vec<u8>,
}

/// Whether a file that begins like this holds a copy.
pub(crate) fn is_one(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

pub(crate) fn encode(kind: Kind, number: u64, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("payloads are bounded by their files");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&(kind as u32).to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(payload);
    let crc = crc32c::crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The copy at the start of `bytes`; `None` if it is not whole.
///
/// # Errors
/// [`Error::Format`] if it is whole and of a format this program does not know.
pub(crate) fn decode(kind: Kind, bytes: &[u8], path: &Path) -> Result<Option<Copy>, Error> {
    if bytes.len() < HEAD_BYTES || bytes[..4] != MAGIC {
        return Ok(None);
    }
    let length = u32_at(bytes, 24) as usize;
    let Some(whole) = bytes.get(8..HEAD_BYTES + length) else { return Ok(None) };
    if crc32c::crc32c(whole) != u32_at(bytes, 4) {
        return Ok(None);
    }
    let found = u32_at(bytes, 8);
    if found != FORMAT {
        return Err(Error::Format { path: path.to_owned(), found, known: FORMAT });
    }
    if u32_at(bytes, 12) != kind as u32 {
        return Ok(None);
    }
    let payload = bytes[HEAD_BYTES..HEAD_BYTES + length].to_vec();
    Ok(Some(Copy { number: u64_at(bytes, 16), payload }))
}
