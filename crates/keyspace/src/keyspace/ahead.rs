//! What a turn's commands, or a batch's effects, will look up is loaded ahead, step by step for all
//! of them: each step needs what the one before has loaded, and many loads are under way at a time.
//! One look-up in a large keyspace misses the cache three times, one after the other.

use super::{At, Keyspace};
use crate::table::{Never, Table, View};

/// Where a member or field of a key's collection belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    key: At,
    hash: u64,
}

impl Keyspace {
    /// Loads what looking up these keys will read; worth it for several.
    #[inline]
    pub fn prefetch(&self, wanted: &[At]) {
        let slots = wanted.iter().map(|at| self.slot_last_write(at.slot).0);
        std::hint::black_box(slots.fold(0, u64::wrapping_add));
        wanted.iter().for_each(|at| self.table(at.slot).prefetch_line(at.hash));
        wanted.iter().for_each(|at| self.table(at.slot).prefetch_entry(at.hash));
    }

    /// Where a member or field of a key's collection belongs.
    #[must_use]
    #[inline]
    pub fn locate_member(&self, key: At, member: &[u8]) -> Member {
        Member { key, hash: self.hasher.hash(member) }
    }

    /// After [`Keyspace::prefetch`] of their keys: the first of two steps for members of large
    /// collections.
    #[inline]
    pub fn prefetch_member_line(&self, member: Member) {
        if let Some(table) = self.likely_members(member.key) {
            table.prefetch_line(member.hash);
        }
    }

    /// The second for members.
    #[inline]
    pub fn prefetch_member_entry(&self, member: Member) {
        if let Some(table) = self.likely_members(member.key) {
            table.prefetch_entry(member.hash);
        }
    }

    #[inline]
    fn likely_members(&self, key: At) -> Option<&Table<Never>> {
        match self.table(key.slot).likely(key.hash)?.value() {
            View::Object(value) => value.members(),
            View::Bytes(_) => None,
        }
    }
}
