//! Reads: ranges and comparisons as of a revision.

use super::{Directory, Scan};
use crate::answer::{ANSWER_BYTES_MAX, Answer, KeyValue, RangeAnswer};
use crate::error::Error;
use crate::item::Item;
use crate::op::{Compare, RangeQuery, Relation, Target, Txn, TxnOp};
use cairn_logic::ids::Revision;
use std::cmp::Ordering;

impl Directory {
    /// Reads a range as of `query.at`, or else of `committed`.
    ///
    /// # Errors
    /// [`Error::FutureRevision`] above `committed`, [`Error::Compacted`],
    /// [`Error::AnswerTooLarge`], [`Error::EmptyKey`].
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
        let mut scan = self.begin_scan(query, committed)?;
        self.read_whole(&mut scan, bytes_left)
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
        let mut scan = Scan::new(query, at, usize::MAX);
        self.read_whole(&mut scan, &mut { usize::MAX }).unwrap_or_default()
    }

    fn read_whole(&self, scan: &mut Scan, bytes_left: &mut usize) -> Result<RangeAnswer, Error> {
        self.scan(scan, usize::MAX)?;
        let answer = self.finish(scan)?;
        let bytes: usize = answer.kvs.iter().map(KeyValue::bytes).sum();
        *bytes_left = bytes_left.checked_sub(bytes).ok_or(Error::AnswerTooLarge)?;
        Ok(answer)
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
