//! A segment: one file of fixed size that holds a stretch of the log.
//!
//! Its first page says whose it is and where the chain stood when it began. It is written once,
//! when the segment is taken into use. A segment waiting for use is called `spare-<number>`.

use crate::copy::{u32_at, u64_at};
use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, Result};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Incarnation, Offset};
use std::io::IoSlice;
use std::path::{Path, PathBuf};

/// Where the first record stands.
pub(crate) const RECORDS_AT: u64 = 4096;
/// The format of segments this program writes and reads.
const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"CairnLog";
const FIXED_BYTES: usize = 80;
/// The longest group id, in bytes.
pub(crate) const GROUP_BYTES_MAX: usize = 1024;
/// Room for the first page and the smallest record.
pub(crate) const BYTES_MIN: u64 = 2 * RECORDS_AT;

/// Whether a file that begins like this is a segment.
pub(crate) fn is_segment(start: &[u8]) -> bool {
    start.starts_with(&MAGIC)
}

/// Whose log it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub uid: u128,
    pub incarnation: Incarnation,
    pub group: GroupId,
}

/// What the first page of a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub owner: Owner,
    /// Never used before by a file of this folder that is still there.
    pub number: u64,
    /// The entry before its first.
    pub before: EntryId,
    /// The crc of the record before its first.
    pub seed: u32,
    /// Up to where the log was flushed when the segment was taken into use.
    pub flushed: Offset,
}

impl SegmentHead {
    /// The offset of its first entry.
    pub fn first(&self) -> Offset {
        self.before.offset.next()
    }

    /// The page without its padding, and its crc, which is the salt of the segment's records.
    pub fn encode(&self) -> (Vec<u8>, u32) {
        let group = self.owner.group.as_str().as_bytes();
        let group_length = u32::try_from(group.len()).expect("group ids are short");
        let mut bytes = Vec::with_capacity(FIXED_BYTES + group.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.owner.uid.to_le_bytes());
        bytes.extend_from_slice(&self.owner.incarnation.0.to_le_bytes());
        bytes.extend_from_slice(&self.number.to_le_bytes());
        bytes.extend_from_slice(&self.before.epoch.0.to_le_bytes());
        bytes.extend_from_slice(&self.before.offset.0.to_le_bytes());
        bytes.extend_from_slice(&self.flushed.0.to_le_bytes());
        bytes.extend_from_slice(&self.seed.to_le_bytes());
        bytes.extend_from_slice(&group_length.to_le_bytes());
        debug_assert_eq!(bytes.len(), FIXED_BYTES);
        bytes.extend_from_slice(group);
        let crc = crc32c::crc32c(&bytes[12..]);
        bytes[8..12].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a first page; `None` if it is not whole.
    ///
    /// # Errors
    /// [`Error::Format`] if it is whole and of another format.
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Option<(Self, u32)>> {
        if bytes.len() < FIXED_BYTES || bytes[..8] != MAGIC {
            return Ok(None);
        }
        let group_length = u32_at(bytes, 76) as usize;
        let crc = u32_at(bytes, 8);
        let Some(page) = bytes.get(..FIXED_BYTES + group_length) else { return Ok(None) };
        if group_length > GROUP_BYTES_MAX || crc32c::crc32c(&page[12..]) != crc {
            return Ok(None);
        }
        let found = u32_at(bytes, 12);
        if found != FORMAT {
            return Err(Error::Format { path: path.to_owned(), found, known: FORMAT });
        }
        let Ok(group) = std::str::from_utf8(&page[FIXED_BYTES..]) else { return Ok(None) };
        let uid = page[16..32].try_into().expect("sixteen bytes");
        let head = Self {
            owner: Owner {
                uid: u128::from_le_bytes(uid),
                incarnation: Incarnation(u64_at(page, 32)),
                group: GroupId::new(group),
            },
            number: u64_at(page, 40),
            before: EntryId::new(Epoch(u64_at(page, 48)), Offset(u64_at(page, 56))),
            flushed: Offset(u64_at(page, 64)),
            seed: u32_at(page, 72),
        };
        Ok(Some((head, crc)))
    }

    /// Refuses a segment of another cluster, group or incarnation.
    pub fn check_owner(&self, expected: &Owner, path: &Path) -> Result<()> {
        let foreign = |what, found: String, expected: String| {
            Err(Error::Foreign { path: path.to_owned(), what, found, expected })
        };
        let found = &self.owner;
        if found.uid != expected.uid {
            return foreign(
                "cluster",
                format!("{:032x}", found.uid),
                format!("{:032x}", expected.uid),
            );
        }
        if found.group != expected.group {
            return foreign("group", found.group.to_string(), expected.group.to_string());
        }
        if found.incarnation != expected.incarnation {
            let (found, expected) = (found.incarnation, expected.incarnation);
            return foreign("incarnation", found.to_string(), expected.to_string());
        }
        Ok(())
    }
}

/// A segment in use, as far as it never changes.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub path: PathBuf,
    pub head: SegmentHead,
    pub salt: u32,
    /// Size of the file.
    pub bytes: u64,
}

/// The name of a segment in use.
pub(crate) fn name_of(first: Offset) -> String {
    format!("{:020}.seg", first.0)
}

/// The first offset that a name of [`name_of`] gives.
pub(crate) fn first_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() == 20).then(|| digits.parse().ok().map(Offset)).flatten()
}

/// The name of a segment that waits.
pub(crate) fn spare_name_of(number: u64) -> String {
    format!("spare-{number:020}")
}

/// Whether a name is one of [`spare_name_of`].
pub(crate) fn is_spare(name: &str) -> bool {
    name.starts_with("spare-")
}

/// A preallocated file that waits for use; it may still hold what it held before.
#[derive(Debug)]
pub(crate) struct Spare<F> {
    pub path: PathBuf,
    pub number: u64,
    pub file: F,
    pub bytes: u64,
}

/// Makes a spare of `bytes`; leaves nothing behind if there is no room.
pub(crate) fn make_spare<D: Disk>(
    disk: &D,
    dir: &Path,
    number: u64,
    bytes: u64,
) -> Result<Spare<D::File>> {
    let path = dir.join(spare_name_of(number));
    let file = disk.create(&path).map_err(Error::room(&path, bytes))?;
    match file.allocate(bytes) {
        Ok(()) => Ok(Spare { path, number, file, bytes }),
        Err(error) => {
            drop(file);
            disk.remove(&path).map_err(Error::io("remove", &path))?;
            Err(Error::room(&path, bytes)(error))
        }
    }
}

/// What a segment's file begins with, and the salt of its records.
pub(crate) fn first_page(head: &SegmentHead) -> (Vec<u8>, u32) {
    let (mut page, salt) = head.encode();
    // Also blanks what a recycled file holds where the first record will be.
    page.resize(RECORDS_AT as usize + 8, 0);
    (page, salt)
}

/// Gives a spare its header and its name. Durable only after the file and folder are flushed.
pub(crate) fn begin<D: Disk>(
    disk: &D,
    dir: &Path,
    spare: Spare<D::File>,
    head: SegmentHead,
) -> Result<(Segment, D::File)> {
    let (page, salt) = first_page(&head);
    spare.file.write_at(&mut [IoSlice::new(&page)], 0).map_err(Error::io("write", &spare.path))?;
    let path = dir.join(name_of(head.first()));
    disk.rename(&spare.path, &path).map_err(Error::io("rename", &spare.path))?;
    Ok((Segment { path, head, salt, bytes: spare.bytes }, spare.file))
}

/// Reads the first page of a file.
pub(crate) fn read_head<F: DiskFile>(file: &F, path: &Path) -> Result<Option<(SegmentHead, u32)>> {
    let page = read_up_to(file, 0, RECORDS_AT).map_err(Error::io("read", path))?;
    SegmentHead::decode(&page, path)
}
