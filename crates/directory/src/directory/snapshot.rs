//! The state at one revision, written in pieces while the directory goes on, and read back.
//!
//! Four kinds of portions, in this order: facts; leases; keys whose version was made before the
//! compaction, in the order of keys; versions from the compaction on, in the order in which they
//! were made, so that watches may go back as far as before. While it is written, the directory must
//! be swept no further than behind [`Export::reader`].

use super::Directory;
use crate::codec::{Malformed, Reader};
use crate::item::{Item, push_varint};
use crate::leases::LeaseId;
use crate::range::KeyRange;
use bytes::Bytes;
use cairn_logic::ids::Revision;

/// How records of snapshots are written; another number for each way. All smaller ones are read,
/// too: in the first one the facts had leases behind them and nothing to go on above.
pub const CONTENT: u32 = 2;

/// The facts of the first content.
const FACTS_AND_LEASES: u8 = 0;
const KEYS: u8 = 1;
const CHANGES: u8 = 2;
const FACTS: u8 = 3;
const LEASES: u8 = 4;

/// Keys and versions that one step looks at, at most.
const LOOKED_MAX: usize = 4096;
/// The most bytes that a number takes.
const NUMBER_BYTES_MAX: usize = 10;

/// A part of the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The first key, of those portions that are in the order of keys.
    pub label: Vec<u8>,
    /// How many leases or versions.
    pub records: u32,
    /// For [`Directory::import`].
    pub bytes: Vec<u8>,
}

/// A state that is being written.
#[derive(Debug)]
pub struct Export {
    compacted: u64,
    revision: u64,
    above: u64,
    hash: u64,
    leases: Vec<(LeaseId, u64)>,
    stage: Stage,
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    Facts,
    /// From this one on.
    Leases(usize),
    /// From this key on.
    Keys(Vec<u8>),
    /// From this revision on, but for so many versions of it.
    Changes(u64, usize),
    Done,
}

impl Export {
    /// The directory may be swept behind this revision ([`Directory::sweep_behind`]) and no further
    /// until it is done.
    #[must_use]
    pub fn reader(&self) -> Revision {
        Revision(self.compacted.saturating_sub(1))
    }

    /// The revision of the state.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The hash of the state; what is read back has the same.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

impl Directory {
    /// Begins to write the present state. All of it must be committed.
    #[must_use]
    pub fn export(&self) -> Export {
        Export {
            compacted: self.store.compacted,
            revision: self.store.revision,
            above: self.above,
            hash: self.state_hash().hash,
            leases: self.leases().collect(),
            stage: Stage::Facts,
            scratch: Vec::new(),
        }
    }

    /// The next portion, of about `bytes` and one value more at most; `None` at the end. A step
    /// that found nothing to write gives an empty one, which is not needed by anybody.
    pub fn export_more(&self, export: &mut Export, bytes: usize) -> Option<Portion> {
        match std::mem::replace(&mut export.stage, Stage::Done) {
            Stage::Facts => {
                export.stage = Stage::Leases(0);
                Some(facts(export))
            }
            Stage::Leases(from) => Some(leases(export, from, bytes)),
            Stage::Keys(from) => Some(self.export_keys(export, &from, bytes)),
            Stage::Changes(from, passed) => Some(self.export_changes(export, from, passed, bytes)),
            Stage::Done => None,
        }
    }

    fn export_keys(&self, export: &mut Export, from: &[u8], bytes: usize) -> Portion {
        let mut portion = Portion { label: Vec::new(), records: 0, bytes: vec![KEYS] };
        export.stage = Stage::Changes(export.compacted, 0);
        let all = KeyRange::prefix("");
        for (looked, newest) in self.store.newest_from(&all, from).enumerate() {
            if looked >= LOOKED_MAX {
                export.stage = Stage::Keys(self.store.key(newest).to_vec());
                break;
            }
            let Some((_, item)) = self.store.seen(newest, export.compacted) else { continue };
            if item.modified >= export.compacted {
                continue;
            }
            if portion.records > 0 && portion.bytes.len() >= bytes {
                export.stage = Stage::Keys(item.key.to_vec());
                break;
            }
            if portion.records == 0 {
                portion.label = item.key.to_vec();
            }
            portion.push(&item, &mut export.scratch);
        }
        portion
    }

    fn export_changes(
        &self,
        export: &mut Export,
        from: u64,
        passed: usize,
        bytes: usize,
    ) -> Portion {
        let mut portion = Portion { label: Vec::new(), records: 0, bytes: vec![CHANGES] };
        let place = self.store.place_of(from) + passed;
        let (mut revision, mut nth) = (from, passed);
        for item in self.store.changes(place) {
            if item.modified > export.revision {
                break;
            }
            if item.modified != revision {
                (revision, nth) = (item.modified, 0);
            }
            let enough = portion.bytes.len() >= bytes || portion.records as usize >= LOOKED_MAX;
            if portion.records > 0 && enough {
                export.stage = Stage::Changes(revision, nth);
                break;
            }
            portion.push(&item, &mut export.scratch);
            nth += 1;
        }
        portion
    }

    /// Takes portions into an empty directory, in the order in which they were written. At the end
    /// its [`Directory::state_hash`] must be [`Export::hash`].
    ///
    /// # Errors
    /// [`Malformed`]: it was not written that way; the directory is of no use then.
    pub fn import(&mut self, portion: Bytes) -> Result<(), Malformed> {
        let mut reader = Reader(portion);
        let kind = reader.byte()?;
        match kind {
            FACTS | FACTS_AND_LEASES => self.import_facts(&mut reader, kind)?,
            LEASES => self.import_leases(&mut reader)?,
            _ => {
                while !reader.0.is_empty() {
                    self.import_item(&mut reader, kind)?;
                }
            }
        }
        Ok(())
    }

    fn import_facts(&mut self, reader: &mut Reader, kind: u8) -> Result<(), Malformed> {
        if self.store.revision != 1 || self.store.keys() > 0 || self.lease_count() > 0 {
            return Err(Malformed::Number);
        }
        (self.store.compacted, self.store.revision) = (reader.varint()?, reader.varint()?);
        if kind == FACTS_AND_LEASES {
            return self.import_leases(reader);
        }
        self.above = reader.varint()?;
        if reader.0.is_empty() { Ok(()) } else { Err(Malformed::Number) }
    }

    fn import_leases(&mut self, reader: &mut Reader) -> Result<(), Malformed> {
        if self.store.keys() > 0 {
            return Err(Malformed::Number);
        }
        while !reader.0.is_empty() {
            let (id, ttl_secs) = (LeaseId(reader.varint()?.cast_signed()), reader.varint()?);
            self.grant(id, ttl_secs).map_err(|_| Malformed::Number)?;
        }
        Ok(())
    }

    fn import_item(&mut self, reader: &mut Reader, kind: u8) -> Result<(), Malformed> {
        let Loaded { key, value, tombstone, modified, created, version, lease } =
            Loaded::read(reader)?;
        let is_change = modified >= self.store.compacted;
        let fits = match kind {
            KEYS => !is_change && !tombstone && !self.exists(&key),
            CHANGES => is_change && self.store.newest_change().is_none_or(|last| last <= modified),
            tag => return Err(Malformed::Tag { tag: tag.into() }),
        };
        let known = lease == LeaseId::NONE || self.leases.get(lease).is_some();
        if !fits || modified > self.store.revision || key.is_empty() {
            return Err(Malformed::Number);
        }
        let before = self.store.load(&key, &value, is_change, |item| {
            (item.tombstone, item.modified, item.created) = (tombstone, modified, created);
            (item.version, item.lease) = (version, lease);
        });
        // An older version may name a lease that has ended since.
        self.leases.attach(&key, before.lease, if known { lease } else { LeaseId::NONE });
        Ok(())
    }
}

/// A version as it stands in a portion.
struct Loaded {
    key: Bytes,
    value: Bytes,
    tombstone: bool,
    modified: u64,
    created: u64,
    version: u64,
    lease: LeaseId,
}

impl Loaded {
    fn read(reader: &mut Reader) -> Result<Self, Malformed> {
        let key = reader.bytes()?;
        let [tombstone, leased] = reader.flags()?;
        let modified = reader.varint()?;
        let created = modified.checked_sub(reader.varint()?).ok_or(Malformed::Number)?;
        let version = reader.varint()?;
        let lease = if leased { LeaseId(reader.varint()?.cast_signed()) } else { LeaseId::NONE };
        let value = reader.bytes()?;
        Ok(Self { key, value, tombstone, modified, created, version, lease })
    }
}

/// A version of a key in a portion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The key.
    pub key: &'a [u8],
    /// Its value; none: it was deleted.
    pub value: Option<&'a [u8]>,
    /// How often it was set since it was made.
    pub version: u64,
    /// The revision that wrote it.
    pub modified: Revision,
}

/// The versions of keys in a portion in their order; none of its leases. Of a key that is seen
/// several times in a snapshot, the last one counts.
///
/// # Errors
/// [`Malformed`]; versions before it have been visited.
pub fn versions_of(portion: Bytes, mut visit: impl FnMut(Seen<'_>)) -> Result<(), Malformed> {
    let mut reader = Reader(portion);
    let kind = reader.byte()?;
    while matches!(kind, KEYS | CHANGES) && !reader.0.is_empty() {
        let item = Loaded::read(&mut reader)?;
        let value = (!item.tombstone).then_some(&item.value[..]);
        let (version, modified) = (item.version, Revision(item.modified));
        visit(Seen { key: &item.key, value, version, modified });
    }
    Ok(())
}

/// The keys of a portion in their order, each with the revision that wrote it; none of its leases.
///
/// # Errors
/// [`Malformed`]; keys before it have been visited.
pub fn keys_of(portion: Bytes, mut visit: impl FnMut(&[u8], Revision)) -> Result<(), Malformed> {
    versions_of(portion, |seen| visit(seen.key, seen.modified))
}

/// The revision of the state, if the portion is the one that says it.
///
/// # Errors
/// [`Malformed`].
pub fn revision_of(portion: Bytes) -> Result<Option<Revision>, Malformed> {
    let mut reader = Reader(portion);
    let kind = reader.byte()?;
    if !matches!(kind, FACTS | FACTS_AND_LEASES) {
        return Ok(None);
    }
    reader.varint()?;
    Ok(Some(Revision(reader.varint()?)))
}

fn facts(export: &Export) -> Portion {
    let mut bytes = vec![FACTS];
    push_varint(&mut bytes, export.compacted);
    push_varint(&mut bytes, export.revision);
    push_varint(&mut bytes, export.above);
    Portion { label: Vec::new(), records: 0, bytes }
}

fn leases(export: &mut Export, from: usize, bytes: usize) -> Portion {
    let count = (bytes / NUMBER_BYTES_MAX).clamp(1, LOOKED_MAX);
    let to = (from + count).min(export.leases.len());
    let mut portion = Portion { label: Vec::new(), records: 0, bytes: vec![LEASES] };
    for (id, ttl_secs) in &export.leases[from..to] {
        push_varint(&mut portion.bytes, id.0.cast_unsigned());
        push_varint(&mut portion.bytes, *ttl_secs);
        portion.records += 1;
    }
    let all = to == export.leases.len();
    export.stage = if all { Stage::Keys(Vec::new()) } else { Stage::Leases(to) };
    portion
}

impl Portion {
    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.bytes.first() != Some(&FACTS)
    }

    fn push(&mut self, item: &Item<'_>, scratch: &mut Vec<u8>) {
        item.pack(scratch);
        self.bytes.extend_from_slice(&scratch[Item::PREV_BYTES..]);
        self.records += 1;
    }
}
