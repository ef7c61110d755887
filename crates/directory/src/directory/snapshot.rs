//! The state at one revision, written in pieces while the directory goes on; `import` reads it.
//!
//! Four kinds of portions, in this order: facts; leases; keys whose version was made before the
//! compaction, in the order of keys; versions from the compaction on, in the order in which they
//! were made, so that watches may go back as far as before. While it is written, the directory must
//! be swept no further than behind [`Export::reader`].

use super::Directory;
use super::import::read_record;
use crate::codec::{Malformed, NUMBER_BYTES_MAX, Reader};
use crate::heap::Handle;
use crate::item::{Item, push_varint};
use crate::range::KeyRange;
use crate::store::Looked;
use bytes::Bytes;
use cairn_logic::ids::Revision;

/// How records of snapshots are written; another number for each way. All smaller ones are read,
/// too: in the first one the facts had leases behind them and nothing to go on above.
pub const CONTENT: u32 = 2;

/// The facts of the first content.
pub(super) const FACTS_AND_LEASES: u8 = 0;
pub(super) const KEYS: u8 = 1;
pub(super) const CHANGES: u8 = 2;
pub(super) const FACTS: u8 = 3;
pub(super) const LEASES: u8 = 4;

/// Keys and versions that one step looks at, at most: each may be a wait for memory.
const LOOKED_MAX: usize = 512;
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
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    Facts,
    /// Those that are not told yet.
    Leases,
    /// From this key on, and within it from this version on.
    Keys(Vec<u8>, Handle),
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
    /// Begins to write the present state, in place of one that is being written. All of it must be
    /// committed.
    #[must_use]
    pub fn export(&mut self) -> Export {
        self.leases.begin_telling();
        Export {
            compacted: self.store.compacted,
            revision: self.store.revision,
            above: self.above,
            hash: self.state_hash().hash,
            stage: Stage::Facts,
        }
    }

    /// The next portion, of about `bytes` and one value more at most; `None` at the end. A step
    /// that found nothing to write gives an empty one, which is not needed by anybody.
    pub fn export_more(&mut self, export: &mut Export, bytes: usize) -> Option<Portion> {
        match std::mem::replace(&mut export.stage, Stage::Done) {
            Stage::Facts => {
                export.stage = Stage::Leases;
                Some(facts(export))
            }
            Stage::Leases => Some(self.export_leases(export, bytes)),
            Stage::Keys(from, version) => Some(self.export_keys(export, &from, version, bytes)),
            Stage::Changes(from, passed) => Some(self.export_changes(export, from, passed, bytes)),
            Stage::Done => None,
        }
    }

    fn export_leases(&mut self, export: &mut Export, bytes: usize) -> Portion {
        let most = (bytes / NUMBER_BYTES_MAX).clamp(1, LOOKED_MAX);
        let mut portion = Portion { label: Vec::new(), records: 0, bytes: vec![LEASES] };
        let told = self.leases.tell(most);
        let first = Stage::Keys(Vec::new(), Handle::NONE);
        export.stage = if told.is_some() { Stage::Leases } else { first };
        for (id, ttl_secs) in told.into_iter().flatten() {
            push_varint(&mut portion.bytes, id.0.cast_unsigned());
            push_varint(&mut portion.bytes, ttl_secs);
            portion.records += 1;
        }
        portion
    }

    fn export_keys(
        &self,
        export: &mut Export,
        from: &[u8],
        mut version: Handle,
        bytes: usize,
    ) -> Portion {
        let mut portion = Portion { label: Vec::new(), records: 0, bytes: vec![KEYS] };
        export.stage = Stage::Changes(export.compacted, 0);
        let (all, mut looks) = (KeyRange::prefix(""), LOOKED_MAX);
        for newest in self.store.newest_from(&all, from) {
            let begin = if version.is_none() { newest } else { version };
            version = Handle::NONE;
            let enough = portion.records > 0 && portion.bytes.len() >= bytes;
            let seen = match enough {
                true => Looked::Later(begin),
                false => self.store.look(begin, export.compacted, &mut looks),
            };
            match seen {
                Looked::Later(handle) => {
                    export.stage = Stage::Keys(self.store.key(newest).to_vec(), handle);
                    break;
                }
                Looked::Found(item) if item.modified < export.compacted && !item.tombstone => {
                    if portion.records == 0 {
                        portion.label = item.key.to_vec();
                    }
                    portion.push(&item);
                }
                Looked::Found(_) | Looked::Nothing => {}
            }
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
            portion.push(&item);
            nth += 1;
        }
        portion
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
    let mut reader = Reader(&portion[..]);
    let kind = reader.byte()?;
    while matches!(kind, KEYS | CHANGES) && !reader.0.is_empty() {
        let item = read_record(&mut reader)?;
        let value = (!item.tombstone).then_some(item.value);
        let (version, modified) = (item.version, Revision(item.modified));
        visit(Seen { key: item.key, value, version, modified });
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
    let mut reader = Reader(&portion[..]);
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

impl Portion {
    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.bytes.first() != Some(&FACTS)
    }

    /// Adds the next one, if both are of one kind and hold no more than `bytes_max` together; gives
    /// it back otherwise.
    ///
    /// # Errors
    /// The next one, as it was.
    pub fn join(&mut self, next: Self, bytes_max: usize) -> Result<(), Self> {
        let same = self.bytes.first() == next.bytes.first();
        if !same || self.bytes.len() + next.bytes.len() > bytes_max {
            return Err(next);
        }
        if self.records == 0 {
            self.label = next.label;
        }
        self.bytes.extend_from_slice(&next.bytes[1..]);
        self.records += next.records;
        Ok(())
    }

    fn push(&mut self, item: &Item<'_>) {
        item.pack(&mut self.bytes);
        self.records += 1;
    }
}
