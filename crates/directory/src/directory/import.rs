//! A state that was written in portions ([`super::snapshot`]), read back in two steps: a portion is
//! checked by itself, on any thread and beside others ([`Checked`]); then the directory takes it,
//! in the order in which they were written, and has little left to do.
//!
//! Keys come in their order, each once, so they are only added behind the others. What was changed
//! since the compaction comes as it was made, and is looked up as any change.

use super::Directory;
use super::snapshot::{CHANGES, FACTS, FACTS_AND_LEASES, KEYS, LEASES};
use crate::codec::{Malformed, Reader};
use crate::heap::Handle;
use crate::item::{self, Item};
use crate::leases::LeaseId;
use bytes::Bytes;
use std::ops::Range;

/// A portion that is well formed by itself.
#[derive(Debug)]
pub struct Checked(Content);

#[derive(Debug)]
enum Content {
    Facts {
        compacted: u64,
        revision: u64,
        above: u64,
        leases: Vec<(LeaseId, u64)>,
    },
    Leases(Vec<(LeaseId, u64)>),
    /// Keys in their order, none deleted.
    Keys(Versions),
    /// Versions in the order in which they were made.
    Changes(Versions),
}

/// Records, one after the other, and what is known of each.
#[derive(Debug, Default)]
struct Versions {
    bytes: Bytes,
    all: Vec<Version>,
    /// The least and the greatest revision that made one.
    made: (u64, u64),
}

#[derive(Debug)]
struct Version {
    record: Range<usize>,
    lease: LeaseId,
    /// What it adds to the digest of the state.
    digest: u64,
}

impl Checked {
    /// Looks through a portion.
    ///
    /// # Errors
    /// [`Malformed`]: it was not written that way.
    pub fn new(portion: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader(&portion[..]);
        let content = match reader.byte()? {
            FACTS_AND_LEASES => {
                let (compacted, revision) = (reader.varint()?, reader.varint()?);
                Content::Facts { compacted, revision, above: 0, leases: leases(reader)? }
            }
            FACTS => {
                let (compacted, revision) = (reader.varint()?, reader.varint()?);
                let above = reader.varint()?;
                Content::Facts { compacted, revision, above, leases: leases(reader)? }
            }
            LEASES => Content::Leases(leases(reader)?),
            KEYS => Content::Keys(versions(&portion, |before, next| {
                !next.tombstone && before.is_none_or(|before| before.key < next.key)
            })?),
            CHANGES => Content::Changes(versions(&portion, |before, next| {
                before.is_none_or(|before| before.modified <= next.modified)
            })?),
            tag => return Err(Malformed::Tag { tag: tag.into() }),
        };
        Ok(Self(content))
    }

    /// How many leases or versions it holds.
    #[must_use]
    pub fn records(&self) -> usize {
        match &self.0 {
            Content::Facts { leases, .. } | Content::Leases(leases) => leases.len(),
            Content::Keys(versions) | Content::Changes(versions) => versions.all.len(),
        }
    }
}

fn leases(mut reader: Reader<&[u8]>) -> Result<Vec<(LeaseId, u64)>, Malformed> {
    let mut leases = Vec::new();
    while !reader.0.is_empty() {
        leases.push((LeaseId(reader.varint()?.cast_signed()), reader.varint()?));
    }
    Ok(leases)
}

/// The versions of a portion, each of which `follows` the one before.
fn versions(
    portion: &Bytes,
    follows: impl Fn(Option<&Item<'_>>, &Item<'_>) -> bool,
) -> Result<Versions, Malformed> {
    let bytes = portion.slice(1..);
    let mut reader = Reader(&bytes[..]);
    let (mut all, mut made, mut before) = (Vec::new(), (u64::MAX, 0), None);
    while !reader.0.is_empty() {
        let start = bytes.len() - reader.0.len();
        let item = read_record(&mut reader)?;
        if item.key.is_empty() || !follows(before.as_ref(), &item) {
            return Err(Malformed::Number);
        }
        let end = bytes.len() - reader.0.len();
        made = (made.0.min(item.modified), made.1.max(item.modified));
        let digest = if item.tombstone { 0 } else { item.digest() };
        all.push(Version { record: start..end, lease: item.lease, digest });
        before = Some(item);
    }
    Ok(Versions { bytes, all, made })
}

/// A version as [`Item::pack`] wrote it.
pub(super) fn read_record<'a>(reader: &mut Reader<&'a [u8]>) -> Result<Item<'a>, Malformed> {
    let key = reader.bytes()?;
    let [tombstone, leased] = reader.flags()?;
    let modified = reader.varint()?;
    let created = modified.checked_sub(reader.varint()?).ok_or(Malformed::Number)?;
    let version = reader.varint()?;
    let lease = if leased { LeaseId(reader.varint()?.cast_signed()) } else { LeaseId::NONE };
    let value = reader.bytes()?;
    let prev = Handle::NONE;
    Ok(Item { prev, key, tombstone, modified, created, version, lease, value, len: 0 })
}

impl Directory {
    /// Takes a portion as it was written, which has to follow those taken before.
    ///
    /// # Errors
    /// As [`Checked::new`] and [`Directory::take`].
    pub fn import(&mut self, portion: Bytes) -> Result<(), Malformed> {
        self.take(&Checked::new(portion)?)
    }

    /// Takes portions into an empty directory, in the order in which they were written. At the end
    /// its [`Directory::state_hash`] must be [`super::Export::hash`].
    ///
    /// # Errors
    /// [`Malformed`]: it does not follow what was taken before; the directory is of no use then.
    pub fn take(&mut self, portion: &Checked) -> Result<(), Malformed> {
        let fits = match &portion.0 {
            Content::Facts { compacted, revision, above, leases } => {
                let empty = self.store.revision == 1 && self.is_without_leases_and_keys();
                (self.store.compacted, self.store.revision) = (*compacted, *revision);
                self.above = *above;
                empty && self.take_leases(leases)
            }
            Content::Leases(leases) => self.store.keys() == 0 && self.take_leases(leases),
            Content::Keys(keys) => self.take_keys(keys),
            Content::Changes(changes) => self.take_changes(changes),
        };
        if fits { Ok(()) } else { Err(Malformed::Number) }
    }

    fn is_without_leases_and_keys(&self) -> bool {
        self.store.keys() == 0 && self.lease_count() == 0
    }

    fn take_leases(&mut self, leases: &[(LeaseId, u64)]) -> bool {
        leases.iter().all(|(id, ttl_secs)| self.grant(*id, *ttl_secs).is_ok())
    }

    fn take_keys(&mut self, keys: &Versions) -> bool {
        let (Some(first), (_, newest)) = (keys.all.first(), keys.made) else { return true };
        let behind = self.store.last_key().is_none_or(|last| last < keys.key(first));
        if !behind || newest >= self.store.compacted || newest > self.store.revision {
            return false;
        }
        if self.store.newest_change().is_some() {
            return false;
        }
        for version in &keys.all {
            let key = keys.key(version);
            self.store.push_key(key, keys.record(version), version.digest);
            self.hang(key, LeaseId::NONE, version.lease);
        }
        true
    }

    fn take_changes(&mut self, changes: &Versions) -> bool {
        let (oldest, newest) = changes.made;
        let follows = self.store.newest_change().is_none_or(|last| last <= oldest);
        if !follows || oldest < self.store.compacted || newest > self.store.revision {
            return false;
        }
        for version in &changes.all {
            let key = changes.key(version);
            let before = self.store.push_change(key, changes.record(version), version.digest);
            self.hang(key, before, version.lease);
        }
        true
    }

    /// Moves a key to its lease. An older version may name one that has ended since.
    fn hang(&mut self, key: &[u8], before: LeaseId, lease: LeaseId) {
        let known = lease == LeaseId::NONE || self.leases.get(lease).is_some();
        self.leases.attach(key, before, if known { lease } else { LeaseId::NONE });
    }
}

impl Versions {
    fn record(&self, version: &Version) -> &[u8] {
        &self.bytes[version.record.clone()]
    }

    fn key(&self, version: &Version) -> &[u8] {
        item::key_of(self.record(version))
    }
}
