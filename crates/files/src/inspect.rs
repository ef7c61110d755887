//! What a file of a node is, for a person who looks at it; needs no lock and changes nothing.

use crate::copy::{self, Copy, HEAD_BYTES, Kind};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::double;
use crate::error::{Error, Result};
use crate::group::{self, is_segment};
use crate::snapshot::Snapshot;
use cairn_logic::batch::BatchHead;
use cairn_logic::ids::{EntryId, GroupId, Incarnation, Offset};
use std::path::Path;

/// A file of a node.
#[derive(Debug)]
pub enum Inspected<D: Disk> {
    /// A snapshot; head and index are whole, its sections were not read yet.
    Snapshot(Box<Snapshot<D>>),
    /// A stretch of a log, or of a tail that was cut from one.
    Segment(Segment),
    /// A vote, an identity, an applied offset or the like.
    Small(Small),
}

/// What stands in a segment, read until the first record that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The cluster.
    pub uid: u128,
    /// The folder's incarnation.
    pub incarnation: Incarnation,
    /// The group.
    pub group: GroupId,
    /// The entry before its first.
    pub before: EntryId,
    /// What was flushed when the newest of its records was written.
    pub flushed: Offset,
    /// Its batches, each with the bytes of its body.
    pub batches: Vec<(BatchHead, u64)>,
    /// Why there is no further one: the room ends, nothing was written there, or what is wrong.
    pub stopped: &'static str,
    /// Whether that is how a segment may end.
    pub whole: bool,
    /// Where it stopped, in bytes.
    pub position: u64,
}

/// A small file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Small {
    /// Whether it is written twice in one file, and not in turn with another one.
    pub double: bool,
    /// The newest content.
    pub payload: Vec<u8>,
    /// How often it had been written then.
    pub number: u64,
    /// How many of its copies can be read, and how many there should be.
    pub copies: (u32, u32),
}

/// Tells by its first bytes what a file is, and reads it.
///
/// # Errors
/// [`Error::Format`] if it is no file of ours, or a newer program's; [`Error::Broken`],
/// [`Error::BothCopiesBad`]: it is damaged. [`Error::Io`].
pub fn inspect<D: Disk>(disk: &D, path: &Path) -> Result<Inspected<D>> {
    let file = disk.open(path).map_err(Error::io("open", path))?;
    let start = read_up_to(&file, 0, 8).map_err(Error::io("read", path))?;
    if is_segment(&start) {
        return group::inspect::read(&file, path, None).map(Inspected::Segment);
    }
    if copy::is_one(&start) || file.bytes().is_ok_and(|bytes| bytes == double::FILE_BYTES) {
        return small(&file, path).map(Inspected::Small);
    }
    Snapshot::open(disk, path).map(|snapshot| Inspected::Snapshot(Box::new(snapshot)))
}

/// Shows each batch of a segment with its body, as far as it can be read.
///
/// # Errors
/// As [`inspect`].
pub fn bodies<D: Disk>(
    disk: &D,
    path: &Path,
    mut visit: impl FnMut(&BatchHead, &[u8]),
) -> Result<()> {
    let file = disk.open(path).map_err(Error::io("open", path))?;
    group::inspect::read(&file, path, Some(&mut visit)).map(drop)
}

fn small<F: DiskFile>(file: &F, path: &Path) -> Result<Small> {
    let read = |kind, position, bytes| -> Result<Option<Copy>> {
        let bytes = read_up_to(file, position, bytes).map_err(Error::io("read", path))?;
        copy::decode(kind, &bytes, path)
    };
    let bytes = file.bytes().map_err(Error::io("read", path))?;
    let rotated = read(Kind::Rotate, 0, bytes)?.or(read(Kind::Flushed, 0, bytes)?);
    if let Some(Copy { number, payload }) = rotated {
        return Ok(Small { double: false, payload, number, copies: (1, 1) });
    }
    let half = double::FILE_BYTES / 2;
    let copies = [read(Kind::Double, 0, half)?, read(Kind::Double, half, half)?];
    let good = copies.iter().flatten().count();
    let newest = copies.into_iter().flatten().max_by_key(|copy| copy.number);
    let Some(Copy { number, payload }) = newest else {
        return match bytes < HEAD_BYTES as u64 {
            true => Err(Error::Broken { path: path.to_owned(), found: "it is cut off" }),
            false => Err(Error::BothCopiesBad { path: path.to_owned() }),
        };
    };
    let good = u32::try_from(good).expect("two at most");
    Ok(Small { double: true, payload, number, copies: (good, 2) })
}
