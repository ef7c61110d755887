//! Members of large collections, loaded ahead as keys are.

use super::{At, Keyspace};
use crate::table::{Never, Table, View};

/// Where a member or field of a key's collection belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    key: At,
    hash: u64,
}

impl Keyspace {
    /// Where a member or field of a key's collection belongs.
    #[must_use]
    #[inline]
    pub fn locate_member(&self, key: At, member: &[u8]) -> Member {
        Member { key, hash: self.hasher.hash(member) }
    }

    /// After both steps for the keys: the first for members of large collections.
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
