//! A snapshot: the state that a log made, in one file, from which a node starts without that log.
//!
//! ```text
//! head     magic, crc, format, cluster, group, kind of content, what made it
//! sections one after the other, each compressed with zstd: records of the state machine
//! index    what each section holds, where it stands, its crc; then what the whole file holds
//! foot     where the index stands, its crc, magic
//! ```
//!
//! Every byte belongs to exactly one of these and every one of these is checksummed, so a byte
//! that was changed or is missing is found. A file is written as a draft, flushed, and only then
//! named ([`Snapshots::finish`]); one that another node sends ([`Incoming`]) gets its name when all
//! of it was read and found good ([`Snapshots::accept`]). [`Snapshots`] is the folder they are in.
//!
//! A section was true at one moment of the log ([`Section::at`]); sections of one file may differ
//! in it. So after loading, entries above [`SnapshotEnd::from`] are replayed, and a section takes
//! none that it holds already; what was loaded is one state of the log only from
//! [`SnapshotEnd::upto`] on.

mod format;
mod raw;
mod read;
mod receive;
mod rest;
mod store;
mod write;

pub use format::{Section, SnapshotEnd, SnapshotHead};
pub use raw::{RAW_BYTES_MAX, RawSnapshot};
pub use read::Snapshot;
pub use receive::Incoming;
pub use rest::{rest, rest_after};
pub use store::{SnapshotFile, Snapshots};
pub use write::{SECTION_BYTES_MAX, SnapshotDraft};
