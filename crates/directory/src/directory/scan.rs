//! Reading a range in pieces, so that a long one holds nothing else up.
//!
//! A scan is of one revision from its beginning to its end. Between its pieces the directory may
//! change, but must not be swept above [`Scan::at`].

use super::Directory;
use crate::answer::{ANSWER_BYTES_MAX, KeyValue, RangeAnswer};
use crate::error::Error;
use crate::heap::Handle;
use crate::item::Item;
use crate::op::{RangeQuery, SortOrder, SortTarget};
use crate::store::key_value;
use cairn_logic::ids::Revision;

/// So many more sorted versions than the limit are kept before the surplus is dropped.
const SURPLUS: usize = 1024;

/// A range that is being read.
#[derive(Debug)]
pub struct Scan {
    query: RangeQuery,
    at: u64,
    /// Where to go on.
    next: Option<Vec<u8>>,
    count: u64,
    /// How many passed the filters.
    passed: usize,
    kvs: Vec<KeyValue>,
    /// What passed and has to be sorted: the number to sort by, the place among keys, the version.
    unsorted: Vec<(u64, usize, Handle)>,
    bytes_left: usize,
    digest: Option<u64>,
}

impl Scan {
    pub(super) fn new(query: &RangeQuery, at: u64, bytes_left: usize) -> Self {
        Self {
            query: query.clone(),
            at,
            next: None,
            count: 0,
            passed: 0,
            kvs: Vec::new(),
            unsorted: Vec::new(),
            bytes_left,
            digest: None,
        }
    }

    /// The revision it reads.
    #[must_use]
    pub fn at(&self) -> Revision {
        Revision(self.at)
    }

    /// Forgets what was read, to begin again later.
    pub fn restart(&mut self) {
        let fresh = Self::new(&self.query, self.at, ANSWER_BYTES_MAX);
        *self = Self { digest: self.digest.map(|_| 0), ..fresh };
    }

    fn limit(&self) -> usize {
        match usize::try_from(self.query.limit) {
            Ok(0) | Err(_) => usize::MAX,
            Ok(limit) => limit,
        }
    }

    fn is_as_kept(&self) -> bool {
        self.query.sort_by == SortTarget::Key && self.query.order != SortOrder::Descending
    }

    fn look(&mut self, handle: Handle, item: &Item<'_>) -> Result<(), Error> {
        self.count += 1;
        if let Some(sum) = &mut self.digest {
            *sum = sum.wrapping_add(item.digest());
            return Ok(());
        }
        if self.query.count_only || !passes(&self.query, item) {
            return Ok(());
        }
        self.passed += 1;
        if self.is_as_kept() {
            return if self.passed <= self.limit() { self.take(item) } else { Ok(()) };
        }
        let number = match self.query.sort_by {
            SortTarget::Key | SortTarget::Value => 0,
            SortTarget::Version => item.version,
            SortTarget::Created => item.created,
            SortTarget::Modified => item.modified,
        };
        self.unsorted.push((number, self.passed, handle));
        Ok(())
    }

    fn take(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let kv = key_value(item, self.query.keys_only);
        self.bytes_left = self.bytes_left.checked_sub(kv.bytes()).ok_or(Error::AnswerTooLarge)?;
        self.kvs.push(kv);
        Ok(())
    }
}

impl Directory {
    /// Begins to read a range as of `query.at`, or else of `committed`.
    ///
    /// # Errors
    /// [`Error::FutureRevision`] above `committed`, [`Error::Compacted`], [`Error::EmptyKey`].
    pub fn begin_scan(&self, query: &RangeQuery, committed: Revision) -> Result<Scan, Error> {
        query.validate()?;
        let at = query.at.unwrap_or(committed);
        if at > committed {
            return Err(Error::FutureRevision);
        }
        // What is committed can be read also below a jump that is not yet.
        if query.at.is_some() && at.0 < self.store.compacted {
            return Err(Error::Compacted);
        }
        Ok(Scan::new(query, at.0, ANSWER_BYTES_MAX))
    }

    /// Begins to hash all keys as a reader at `at` sees them.
    ///
    /// # Errors
    /// [`Error::Compacted`], [`Error::FutureRevision`] above `committed`.
    pub fn begin_hash(&self, at: Revision, committed: Revision) -> Result<Scan, Error> {
        let mut query = RangeQuery::all(crate::KeyRange::prefix(""));
        query.at = Some(at);
        let scan = self.begin_scan(&query, committed)?;
        Ok(Scan { digest: Some(0), ..scan })
    }

    /// Looks at `keys_max` more keys; whether the range is read.
    ///
    /// # Errors
    /// [`Error::AnswerTooLarge`].
    pub fn scan(&self, scan: &mut Scan, keys_max: usize) -> Result<bool, Error> {
        let range = scan.query.range.clone();
        let from = scan.next.take().unwrap_or_else(|| range.start.to_vec());
        let at = scan.at;
        for (looked, newest) in self.store.newest_from(&range, &from).enumerate() {
            if looked == keys_max {
                scan.next = Some(self.store.key(newest).to_vec());
                break;
            }
            if let Some((handle, item)) = self.store.seen(newest, at) {
                scan.look(handle, &item)?;
            }
        }
        let limit = scan.limit();
        if limit < usize::MAX / 2 && scan.unsorted.len() > limit * 2 + SURPLUS {
            self.sort(scan);
            scan.unsorted.truncate(limit);
        }
        Ok(scan.next.is_none())
    }

    /// What a finished scan has read.
    ///
    /// # Errors
    /// [`Error::AnswerTooLarge`].
    pub fn finish_scan(&self, mut scan: Scan) -> Result<RangeAnswer, Error> {
        self.finish(&mut scan)
    }

    pub(super) fn finish(&self, scan: &mut Scan) -> Result<RangeAnswer, Error> {
        self.sort(scan);
        let limit = scan.limit();
        for (_, _, handle) in std::mem::take(&mut scan.unsorted).into_iter().take(limit) {
            scan.take(&self.store.item(handle))?;
        }
        let more = scan.passed > limit;
        Ok(RangeAnswer { kvs: std::mem::take(&mut scan.kvs), count: scan.count, more })
    }

    /// The hash that a finished scan has summed up.
    #[must_use]
    pub fn finish_hash(scan: &Scan) -> u32 {
        let mixed = crate::item::mix(scan.digest.unwrap_or(0));
        u32::try_from(mixed >> 32).expect("the upper half of 64 bits")
    }

    fn sort(&self, scan: &mut Scan) {
        let by_key = scan.query.sort_by == SortTarget::Key;
        let by_value = scan.query.sort_by == SortTarget::Value;
        let descending = scan.query.order == SortOrder::Descending;
        scan.unsorted.sort_unstable_by(|a, b| {
            let values = if by_value {
                self.store.item(a.2).value.cmp(self.store.item(b.2).value)
            } else {
                a.0.cmp(&b.0)
            };
            let sorted = if by_key { a.1.cmp(&b.1) } else { values };
            let sorted = if descending { sorted.reverse() } else { sorted };
            // Equal ones keep the order of their keys, in both directions.
            sorted.then(a.1.cmp(&b.1))
        });
    }
}

fn passes(query: &RangeQuery, item: &Item<'_>) -> bool {
    let within = |number: u64, min: u64, max: u64| number >= min && (max == 0 || number <= max);
    !query.filters()
        || within(item.modified, query.modified_min, query.modified_max)
            && within(item.created, query.created_min, query.created_max)
}
