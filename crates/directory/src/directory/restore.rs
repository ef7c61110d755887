//! Keys that are set as others say they were: what a log begins with, never an operation of one.

use super::Directory;
use crate::leases::LeaseId;
use crate::store::NEWEST;
use bytes::Bytes;
use cairn_logic::ids::Revision;

/// A key as [`Directory::restore`] leaves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The key.
    pub key: Bytes,
    /// Its value and version; none: it is absent.
    pub value: Option<(Bytes, u64)>,
}

impl Directory {
    /// Forgets all history up to `known`, the greatest revision that anybody knows of, and makes
    /// `keys` what they are said to be in the revision after it. Keys that are so already, and all
    /// that are not named, stay. A master goes on above `above`.
    ///
    /// The versions of keys are kept, because whoever changes them later compares those. Keys that
    /// are set hang on no lease any more.
    pub fn restore(&mut self, known: Revision, above: Revision, keys: &[Restored]) {
        let before = self.store.revision;
        self.jump(known);
        let revision = self.store.revision + 1;
        let mut wrote = false;
        for restored in keys {
            wrote |= self.restore_one(revision, restored);
        }
        if wrote {
            self.store.revision = revision;
        }
        self.raise_above(above);
        self.remember_hash(before);
    }

    /// Whether that changed anything.
    fn restore_one(&mut self, revision: u64, restored: &Restored) -> bool {
        let key = &restored.key[..];
        let now = self.store.get(key, NEWEST);
        let same = match (&now, &restored.value) {
            (None, None) => true,
            (Some(now), Some((value, version))) => {
                now.value == &value[..] && now.version == *version && now.lease == LeaseId::NONE
            }
            (None, Some(_)) | (Some(_), None) => false,
        };
        if same {
            return false;
        }
        let created = now.map_or(revision, |item| item.created);
        let before = match &restored.value {
            Some((value, version)) => self.store.restore(key, value, (revision, created, *version)),
            None => self.store.delete(key, revision, false),
        };
        self.leases.attach(key, before.lease, LeaseId::NONE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Op, Put, RangeQuery};
    use crate::range::KeyRange;

    fn put(directory: &mut Directory, key: &str, value: &str, lease: i64) {
        let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
        let lease = LeaseId(lease);
        directory.apply(&Op::Put(Put { key, value, lease, ..Put::default() })).unwrap();
    }

    fn restored(key: &'static str, value: Option<(&'static str, u64)>) -> Restored {
        let value = value.map(|(value, version)| (Bytes::from(value), version));
        Restored { key: Bytes::from(key), value }
    }

    fn all(directory: &Directory) -> Vec<(String, String, u64, u64)> {
        let query = RangeQuery::all(KeyRange::prefix(""));
        let found = directory.range(&query, directory.revision()).unwrap();
        let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        let kvs = found.kvs.iter();
        kvs.map(|kv| (text(&kv.key), text(&kv.value), kv.version, kv.modified.0)).collect()
    }

    #[test]
    fn keys_become_what_they_are_said_to_be_and_others_stay() {
        let mut directory = Directory::new();
        directory.apply(&Op::LeaseGrant { id: LeaseId(7), ttl_secs: 5 }).unwrap();
        put(&mut directory, "a", "1", 0);
        put(&mut directory, "b", "1", 0);
        put(&mut directory, "c", "1", 7);
        put(&mut directory, "d", "1", 7);
        let keys = [
            restored("a", Some(("1", 1))),
            restored("b", Some(("2", 9))),
            restored("c", None),
            restored("e", Some(("5", 3))),
            restored("f", None),
        ];
        directory.restore(Revision(40), Revision(100), &keys);
        let expected = [("a", "1", 1, 2), ("b", "2", 9, 41), ("d", "1", 1, 5), ("e", "5", 3, 41)];
        let expected = expected.map(|(k, v, n, at)| (k.to_owned(), v.to_owned(), n, at));
        assert_eq!(all(&directory), expected);
        assert_eq!((directory.revision(), directory.compacted()), (Revision(41), Revision(40)));
        assert_eq!(directory.above(), Revision(100));
        let (_, left) = directory.lease(LeaseId(7)).unwrap();
        assert_eq!(left.collect::<Vec<_>>(), [b"d"]);
        assert!(directory.sweep(100));
    }

    #[test]
    fn what_is_restored_is_written_and_read_like_every_other_state() {
        let mut directory = Directory::new();
        put(&mut directory, "a", "1", 0);
        directory.restore(Revision(9), Revision(50), &[restored("b", Some(("2", 4)))]);
        let (mut export, mut copy) = (directory.export(), Directory::new());
        while let Some(portion) = directory.export_more(&mut export, 1) {
            copy.import(portion.bytes.into()).unwrap();
        }
        assert_eq!(copy.state_hash(), directory.state_hash());
        assert_eq!((all(&copy), copy.above()), (all(&directory), Revision(50)));
        // A change counts on from the version that was restored.
        put(&mut copy, "b", "3", 0);
        assert_eq!(all(&copy)[1], ("b".to_owned(), "3".to_owned(), 5, 11));
    }

    #[test]
    fn nothing_to_change_takes_no_revision_but_history_goes() {
        let mut directory = Directory::new();
        put(&mut directory, "a", "1", 0);
        directory.restore(Revision(1), Revision(0), &[restored("a", Some(("1", 1)))]);
        assert_eq!(directory.revision(), Revision(2));
        directory.restore(Revision(8), Revision(0), &[]);
        assert_eq!((directory.revision(), directory.compacted()), (Revision(8), Revision(8)));
    }
}
