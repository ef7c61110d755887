//! Ranges of keys, as etcd writes them: a key and an end.

use bytes::Bytes;

/// Where a range ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// The range is its start alone.
    Single,
    /// Up to this key, not included.
    Before(Bytes),
    /// All keys from the start on.
    Infinite,
}

/// A set of neighbouring keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// Where it ends.
    pub end: End,
}

impl KeyRange {
    /// The range of one key.
    #[must_use]
    pub fn single(key: impl Into<Bytes>) -> Self {
        Self { start: key.into(), end: End::Single }
    }

    /// All keys that begin with `prefix`; all keys if it is empty.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start: Bytes = prefix.into();
        let end = prefix_end(&start);
        let start = if start.is_empty() { Bytes::from_static(&[0]) } else { start };
        Self { start, end }
    }

    /// Reads etcd's convention: no end = one key, an end of one zero byte = to the last key.
    #[must_use]
    pub fn from_etcd(key: Bytes, range_end: Bytes) -> Self {
        let end = match &range_end[..] {
            [] => End::Single,
            [0] => End::Infinite,
            _ => End::Before(range_end),
        };
        Self { start: key, end }
    }

    /// Whether `key` lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key == &self.start[..],
            End::Before(end) => self.start[..] <= *key && *key < end[..],
            End::Infinite => self.start[..] <= *key,
        }
    }

    /// Whether `key`, at or after the start, lies beyond it.
    #[must_use]
    pub(crate) fn ends_before(&self, key: &[u8]) -> bool {
        match &self.end {
            End::Single => key > &self.start[..],
            End::Before(end) => key >= &end[..],
            End::Infinite => false,
        }
    }

    /// Whether some possible key that begins with `prefix` lies in it.
    #[must_use]
    pub fn touches_prefix(&self, prefix: &[u8]) -> bool {
        if self.start.starts_with(prefix) {
            return !self.is_empty();
        }
        self.start[..] < *prefix && !self.ends_before(prefix)
    }

    /// Whether no key can lie in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(&self.end, End::Before(end) if end[..] <= self.start[..])
    }
}

fn prefix_end(prefix: &[u8]) -> End {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff);
    kept.map_or(End::Infinite, |last| {
        let mut end = prefix[..=last].to_vec();
        end[last] += 1;
        End::Before(Bytes::from(end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_holds_what_begins_with_it() {
        let range = KeyRange::prefix("a\u{7f}");
        assert!(range.contains(b"a\x7f") && range.contains(b"a\x7fz"));
        assert!(!range.contains(b"a\x80") && !range.contains(b"a"));
        let last = KeyRange::prefix(&b"\xff\xff"[..]);
        assert!(last.contains(b"\xff\xff\xff") && !last.contains(b"\xff\xfe"));
        assert!(KeyRange::prefix("").contains(b"\0"));
    }

    #[test]
    fn a_range_touches_a_prefix_from_either_side() {
        let all = KeyRange::from_etcd(Bytes::from_static(b"\0"), Bytes::from_static(b"\0"));
        assert!(all.touches_prefix(b"/cairn/"));
        let below = KeyRange::from_etcd(Bytes::from_static(b"/a"), Bytes::from_static(b"/cairn/"));
        assert!(!below.touches_prefix(b"/cairn/"));
        let into = KeyRange::from_etcd(Bytes::from_static(b"/a"), Bytes::from_static(b"/cairn/a"));
        assert!(into.touches_prefix(b"/cairn/"));
        assert!(KeyRange::single("/cairn/x").touches_prefix(b"/cairn/"));
        assert!(!KeyRange::single("/cairn").touches_prefix(b"/cairn/"));
        let empty = KeyRange::from_etcd(Bytes::from_static(b"/cairn/b"), "/cairn/a".into());
        assert!(!empty.touches_prefix(b"/cairn/"));
    }
}
