//! Reads: ranges and comparisons as of a revision.

use super::Directory;
use crate::answer::{ANSWER_BYTES_MAX, Answer, KeyValue, RangeAnswer};
use crate::error::Error;
use crate::item::Item;
use crate::op::{Compare, RangeQuery, Relation, SortOrder, SortTarget, Target, Txn, TxnOp};
use crate::store::key_value;
use cairn_logic::ids::Revision;
use std::cmp::Ordering;

impl Directory {
    /// Reads a range as of `query.at`, or else of `committed`.
    ///
    /// # Errors
    /// [`Error::FutureRevision`] above `committed`, [`Error::Compacted`], [`Error::AnswerTooLarge`],
    /// [`Error::EmptyKey`].
    pub fn range(&self, query: &RangeQuery, committed: Revision) -> Result<RangeAnswer, Error> {
        let mut bytes_left = ANSWER_BYTES_MAX;
        self.range_within(query, committed, &mut bytes_left)
    }

    /// Runs a transaction that writes nothing, as of `committed`.
    ///
    /// # Errors
    /// Those of [`Directory::range`] and of [`Txn::validate`].
    pub fn read_txn(&self, txn: &Txn, committed: Revision) -> Result<Answer, Error> {
        txn.validate()?;
        let mut bytes_left = ANSWER_BYTES_MAX;
        self.read_txn_within(txn, committed, &mut bytes_left)
    }

    fn range_within(
        &self,
        query: &RangeQuery,
        committed: Revision,
        bytes_left: &mut usize,
    ) -> Result<RangeAnswer, Error> {
        query.validate()?;
        let at = query.at.unwrap_or(committed);
        if at > committed {
            return Err(Error::FutureRevision);
        }
        // What is committed can be read also below a jump that is not yet.
        if query.at.is_some() && at.0 < self.store.compacted {
            return Err(Error::Compacted);
        }
        self.select_within(query, at.0, bytes_left)
    }

    fn read_txn_within(
        &self,
        txn: &Txn,
        committed: Revision,
        bytes_left: &mut usize,
    ) -> Result<Answer, Error> {
        let succeeded = self.holds(&txn.compare, committed.0);
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let mut answers = Vec::with_capacity(branch.len());
        for op in branch {
            match op {
                TxnOp::Range(query) => {
                    let answer = self.range_within(query, committed, bytes_left)?;
                    answers.push(Answer::Range(answer));
                }
                TxnOp::Txn(nested) => {
                    answers.push(self.read_txn_within(nested, committed, bytes_left)?);
                }
                TxnOp::Put(_) | TxnOp::DeleteRange(_) => {
                    debug_assert!(false, "a transaction that writes is logged");
                }
            }
        }
        Ok(Answer::Txn { succeeded, answers })
    }

    /// A range whose size was checked before.
    pub(super) fn select(&self, query: &RangeQuery, at: u64) -> RangeAnswer {
        let mut bytes_left = usize::MAX;
        self.select_within(query, at, &mut bytes_left).unwrap_or_default()
    }

    fn select_within(
        &self,
        query: &RangeQuery,
        at: u64,
        bytes_left: &mut usize,
    ) -> Result<RangeAnswer, Error> {
        let items = self.store.range(&query.range, at);
        if query.count_only {
            return Ok(RangeAnswer { count: items.count() as u64, ..RangeAnswer::default() });
        }
        let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
        let limit = if limit == 0 { usize::MAX } else { limit };
        let mut taker = Taker { keys_only: query.keys_only, bytes_left, kvs: Vec::new() };
        let mut count = 0;
        let as_kept = query.sort_by == SortTarget::Key && query.order != SortOrder::Descending;
        if as_kept {
            let mut passed = 0;
            for item in items {
                count += 1;
                if passed <= limit && passes(query, &item) {
                    passed += 1;
                    if passed <= limit {
                        taker.take(&item)?;
                    }
                }
            }
            return Ok(RangeAnswer { kvs: taker.kvs, count, more: passed > limit });
        }
        let mut found = Vec::new();
        for item in items {
            count += 1;
            if passes(query, &item) {
                found.push(item);
            }
        }
        found.sort_by(|a, b| by(query.sort_by, a, b));
        if query.order == SortOrder::Descending {
            found.reverse();
        }
        found.iter().take(limit).try_for_each(|item| taker.take(item))?;
        Ok(RangeAnswer { kvs: taker.kvs, count, more: found.len() > limit })
    }

    /// Whether all comparisons hold, as of revision `at`.
    pub(super) fn holds(&self, compare: &[Compare], at: u64) -> bool {
        compare.iter().all(|compare| {
            let mut items = self.store.range(&compare.range, at).peekable();
            if items.peek().is_none() {
                // A key that does not exist has no value to compare, and zero of all else.
                return absent(&compare.target)
                    .is_some_and(|ordering| relates(compare.relation, ordering));
            }
            items.all(|item| relates(compare.relation, against(&item, &compare.target)))
        })
    }
}

struct Taker<'a> {
    keys_only: bool,
    bytes_left: &'a mut usize,
    kvs: Vec<KeyValue>,
}

impl Taker<'_> {
    fn take(&mut self, item: &Item<'_>) -> Result<(), Error> {
        let kv = key_value(item, self.keys_only);
        *self.bytes_left = self.bytes_left.checked_sub(kv.bytes()).ok_or(Error::AnswerTooLarge)?;
        self.kvs.push(kv);
        Ok(())
    }
}

fn passes(query: &RangeQuery, item: &Item<'_>) -> bool {
    let within = |number: u64, min: u64, max: u64| number >= min && (max == 0 || number <= max);
    !query.filters()
        || within(item.modified, query.modified_min, query.modified_max)
            && within(item.created, query.created_min, query.created_max)
}

fn by(target: SortTarget, a: &Item<'_>, b: &Item<'_>) -> Ordering {
    match target {
        SortTarget::Key => a.key.cmp(b.key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Created => a.created.cmp(&b.created),
        SortTarget::Modified => a.modified.cmp(&b.modified),
        SortTarget::Value => a.value.cmp(b.value),
    }
}

fn against(item: &Item<'_>, target: &Target) -> Ordering {
    let number = |ours: u64, theirs: i64| i128::from(ours).cmp(&i128::from(theirs));
    match target {
        Target::Version(theirs) => number(item.version, *theirs),
        Target::Created(theirs) => number(item.created, *theirs),
        Target::Modified(theirs) => number(item.modified, *theirs),
        Target::Value(theirs) => item.value.cmp(theirs),
        Target::Lease(theirs) => item.lease.0.cmp(theirs),
    }
}

fn absent(target: &Target) -> Option<Ordering> {
    match target {
        Target::Version(theirs)
        | Target::Created(theirs)
        | Target::Modified(theirs)
        | Target::Lease(theirs) => Some(0.cmp(theirs)),
        Target::Value(_) => None,
    }
}

fn relates(relation: Relation, ordering: Ordering) -> bool {
    match relation {
        Relation::Equal => ordering == Ordering::Equal,
        Relation::Greater => ordering == Ordering::Greater,
        Relation::Less => ordering == Ordering::Less,
        Relation::NotEqual => ordering != Ordering::Equal,
    }
}
