//! How head, index and foot are laid out; numbers are little-endian.

use crate::copy::{u32_at, u64_at};
use crate::error::{Error, Result};
use cairn_logic::ids::{EntryId, Epoch, GroupId, Offset};
use std::path::Path;

/// The format of snapshots this program writes and reads.
pub(super) const FORMAT: u32 = 1;
const MAGIC: [u8; 8] = *b"CairnSnp";
const FOOT_MAGIC: [u8; 8] = *b"pnSnriaC";
/// magic, crc of what follows, format, length of the head (these four in every format); then
/// cluster, content, made at, lengths of group and program.
const HEAD_FIXED_BYTES: usize = 56;
/// What comes first in every format.
const START_BYTES: usize = 20;
/// crc of what follows, bytes of the index, its position, its crc, magic.
pub(super) const FOOT_BYTES: usize = 32;
/// The longest group id and program name, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 1024;
/// The longest head, in bytes.
pub(super) const HEAD_BYTES_MAX: usize = HEAD_FIXED_BYTES + 2 * NAME_BYTES_MAX;
/// The longest label of a section, in bytes: a key of the directory.
pub(super) const LABEL_BYTES_MAX: usize = 1 << 20;
/// position, stored, raw, crc, count, epoch, offset, length of the label.
const ROW_FIXED_BYTES: usize = 48;
/// from, upto, hash, records, sections.
const END_BYTES: usize = 56;

/// What a snapshot is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The cluster.
    pub uid: u128,
    /// The group, or the global plane.
    pub group: GroupId,
    /// How the state machine wrote its records; another number for each way.
    pub content: u32,
    /// When it was begun, in milliseconds since 1970.
    pub made_ms: u64,
    /// Which program wrote it ("cairn-node 0.1.0").
    pub program: String,
}

/// What a section holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// Which part of the state, as the state machine names it.
    pub label: Vec<u8>,
    /// The entry after which that part was as it is here.
    pub at: EntryId,
    /// How many records.
    pub records: u32,
    /// Bytes of the records.
    pub raw_bytes: u32,
    /// Bytes in the file.
    pub stored_bytes: u32,
    pub(super) position: u64,
    pub(super) crc: u32,
}

/// What the whole file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotEnd {
    /// Entries above it are needed beside the snapshot.
    pub from: EntryId,
    /// The state is whole once the log was replayed up to here.
    pub upto: EntryId,
    /// The hash of the state, where the state machine has one for `from` = `upto`; else 0.
    pub hash: u64,
    /// How many records all sections have.
    pub records: u64,
}

pub(super) fn encode_head(head: &SnapshotHead) -> Vec<u8> {
    let (group, program) = (head.group.as_str().as_bytes(), head.program.as_bytes());
    let mut bytes = Vec::with_capacity(HEAD_FIXED_BYTES + group.len() + program.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&FORMAT.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&head.uid.to_le_bytes());
    bytes.extend_from_slice(&head.content.to_le_bytes());
    bytes.extend_from_slice(&head.made_ms.to_le_bytes());
    bytes.extend_from_slice(&length(group.len()).to_le_bytes());
    bytes.extend_from_slice(&length(program.len()).to_le_bytes());
    debug_assert_eq!(bytes.len(), HEAD_FIXED_BYTES);
    bytes.extend_from_slice(group);
    bytes.extend_from_slice(program);
    let whole = length(bytes.len());
    bytes[16..20].copy_from_slice(&whole.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[12..]);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("bounded before it is written")
}

/// The head at the start of `bytes` and its length.
///
/// # Errors
/// [`Error::Format`] for a file of a newer program or none of ours, [`Error::Broken`].
pub(super) fn decode_head(bytes: &[u8], path: &Path) -> Result<(SnapshotHead, u64)> {
    let broken = |found| Error::Broken { path: path.to_owned(), found };
    let format = |found| Error::Format { path: path.to_owned(), found, known: FORMAT };
    if bytes.get(..MAGIC.len()).is_some_and(|magic| magic != MAGIC) {
        return Err(format(0));
    }
    let start = bytes.get(..START_BYTES).ok_or_else(|| broken("its head is cut off"))?;
    let end = u32_at(start, 16) as usize;
    let whole = bytes.get(..end).ok_or_else(|| broken("its head is cut off"))?;
    if end < START_BYTES || crc32c::crc32c(&whole[12..]) != u32_at(whole, 8) {
        return Err(broken("its head was changed"));
    }
    let found = u32_at(start, 12);
    if found != FORMAT {
        return Err(format(found));
    }
    let impossible = || broken("its head says impossible lengths");
    let names = whole.get(HEAD_FIXED_BYTES..).ok_or_else(impossible)?;
    let (group, program) = (u32_at(whole, 48) as usize, u32_at(whole, 52) as usize);
    if group.checked_add(program) != Some(names.len()) {
        return Err(impossible());
    }
    let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
    let head = SnapshotHead {
        uid: u128::from_le_bytes(whole[20..36].try_into().expect("sixteen bytes")),
        content: u32_at(whole, 36),
        made_ms: u64_at(whole, 40),
        group: GroupId::new(text(&names[..group])),
        program: text(&names[group..]),
    };
    Ok((head, end as u64))
}

fn push_entry(bytes: &mut Vec<u8>, entry: EntryId) {
    bytes.extend_from_slice(&entry.epoch.0.to_le_bytes());
    bytes.extend_from_slice(&entry.offset.0.to_le_bytes());
}

fn entry_at(bytes: &[u8], at: usize) -> EntryId {
    EntryId::new(Epoch(u64_at(bytes, at)), Offset(u64_at(bytes, at + 8)))
}

/// What [`SnapshotEnd`] and all rows take, then the foot for an index at `position`.
pub(super) fn encode_index(sections: &[Section], end: &SnapshotEnd, position: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(END_BYTES + sections.len() * (ROW_FIXED_BYTES + 16));
    push_entry(&mut bytes, end.from);
    push_entry(&mut bytes, end.upto);
    bytes.extend_from_slice(&end.hash.to_le_bytes());
    bytes.extend_from_slice(&end.records.to_le_bytes());
    bytes.extend_from_slice(&(sections.len() as u64).to_le_bytes());
    debug_assert_eq!(bytes.len(), END_BYTES);
    for section in sections {
        bytes.extend_from_slice(&section.position.to_le_bytes());
        bytes.extend_from_slice(&section.stored_bytes.to_le_bytes());
        bytes.extend_from_slice(&section.raw_bytes.to_le_bytes());
        bytes.extend_from_slice(&section.crc.to_le_bytes());
        bytes.extend_from_slice(&section.records.to_le_bytes());
        push_entry(&mut bytes, section.at);
        bytes.extend_from_slice(&(section.label.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&section.label);
    }
    let mut foot = [0; FOOT_BYTES];
    foot[4..12].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    foot[12..20].copy_from_slice(&position.to_le_bytes());
    foot[20..24].copy_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
    foot[24..].copy_from_slice(&FOOT_MAGIC);
    let crc = crc32c::crc32c(&foot[4..]);
    foot[..4].copy_from_slice(&crc.to_le_bytes());
    bytes.extend_from_slice(&foot);
    bytes
}

/// Where the index stands, by a file's last bytes: position, bytes, crc.
///
/// # Errors
/// What is wrong.
pub(super) fn decode_foot(foot: &[u8]) -> std::result::Result<(u64, u64, u32), &'static str> {
    if foot.len() != FOOT_BYTES || foot[24..] != FOOT_MAGIC {
        return Err("its end is missing");
    }
    if crc32c::crc32c(&foot[4..]) != u32_at(foot, 0) {
        return Err("its foot was changed");
    }
    Ok((u64_at(foot, 12), u64_at(foot, 4), u32_at(foot, 20)))
}

/// Reads an index whose crc was right; sections must fill the file from `head` to `position`.
///
/// # Errors
/// What is wrong.
pub(super) fn decode_index(
    bytes: &[u8],
    head: u64,
    position: u64,
) -> std::result::Result<(Vec<Section>, SnapshotEnd), &'static str> {
    const SHORT: &str = "its index is too short";
    let fixed = bytes.get(..END_BYTES).ok_or(SHORT)?;
    let end = SnapshotEnd {
        from: entry_at(fixed, 0),
        upto: entry_at(fixed, 16),
        hash: u64_at(fixed, 32),
        records: u64_at(fixed, 40),
    };
    let count = usize::try_from(u64_at(fixed, 48)).map_err(|_| SHORT)?;
    let mut rest = &bytes[END_BYTES..];
    if count > rest.len() / ROW_FIXED_BYTES {
        return Err(SHORT);
    }
    let mut sections = Vec::with_capacity(count);
    let mut next = head;
    for _ in 0..count {
        let (fixed, more) = rest.split_at_checked(ROW_FIXED_BYTES).ok_or(SHORT)?;
        let label = usize::try_from(u64_at(fixed, 40)).map_err(|_| SHORT)?;
        let (label, more) = more.split_at_checked(label).ok_or(SHORT)?;
        rest = more;
        let section = Section {
            label: label.to_vec(),
            at: entry_at(fixed, 24),
            records: u32_at(fixed, 20),
            raw_bytes: u32_at(fixed, 12),
            stored_bytes: u32_at(fixed, 8),
            position: u64_at(fixed, 0),
            crc: u32_at(fixed, 16),
        };
        if section.position != next {
            return Err("its sections do not follow each other");
        }
        next += u64::from(section.stored_bytes);
        sections.push(section);
    }
    if next != position || !rest.is_empty() {
        return Err("its index does not fit to its sections");
    }
    Ok((sections, end))
}
