//! Values as DUMP gives them and RESTORE takes them: in the format of Redis's snapshots, version
//! 10, with the version and a checksum behind.
//!
//! What is written is one plain form of each type, which every Redis since 7.0 reads; streams are
//! written as Redis keeps them. What is read are all forms that Redis 7.0 writes, and those that
//! 7.2 has added. Nothing here trusts the bytes: what they make takes no more room than a bound.

mod checksum;
mod libraries;
mod lzf;
mod read;
mod stream;
mod write;

pub use libraries::{dump_libraries, load_libraries};
pub(crate) use read::{Bad, Loaded, load};
pub(crate) use write::dump;

/// The version that is written.
const VERSION: u16 = 10;
/// The last version that is read.
const VERSION_MAX: u16 = 11;
/// What stands behind a value: the version and the checksum.
const FOOT_BYTES: usize = 10;

/// What a value is, and how it is written.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const SORTED_TEXT: u8 = 3;
    pub const HASH: u8 = 4;
    pub const SORTED: u8 = 5;
    pub const SET_INTS: u8 = 11;
    pub const STREAM: u8 = 15;
    pub const HASH_LISTPACK: u8 = 16;
    pub const SORTED_LISTPACK: u8 = 17;
    pub const LIST_NODES: u8 = 18;
    pub const STREAM_2: u8 = 19;
    pub const SET_LISTPACK: u8 = 20;
    pub const STREAM_3: u8 = 21;
}

/// A value without what stands behind it; none if that is not as it should be.
pub(crate) fn body(payload: &[u8]) -> Option<&[u8]> {
    let at = payload.len().checked_sub(FOOT_BYTES)?;
    let version = u16::from_le_bytes(payload[at..at + 2].try_into().ok()?);
    let sum = u64::from_le_bytes(payload[at + 2..].try_into().ok()?);
    let good = version <= VERSION_MAX && checksum::of(&payload[..at + 2]) == sum;
    good.then_some(&payload[..at])
}
