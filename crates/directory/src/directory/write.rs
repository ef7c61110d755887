//! Changes: puts, deletions and transactions, each one revision or none.

use super::Directory;
use crate::answer::{ANSWER_BYTES_MAX, Answer};
use crate::error::Error;
use crate::leases::LeaseId;
use crate::op::{DeleteRange, Put, RangeQuery, Txn, TxnOp};
use crate::store::NEWEST;

/// Which branch of a transaction runs, and of those nested in that branch, in their order.
struct Path {
    succeeded: bool,
    nested: Vec<Path>,
}

/// One change under way: all it writes has the same new revision.
pub(super) struct Change<'a> {
    directory: &'a mut Directory,
    revision: u64,
    wrote: bool,
    answering: bool,
}

impl Directory {
    /// Runs `write` as one change; a change that wrote nothing takes no revision.
    pub(super) fn change<T>(
        &mut self,
        answering: bool,
        write: impl FnOnce(&mut Change<'_>) -> T,
    ) -> T {
        let revision = self.store.revision + 1;
        let mut change = Change { directory: self, revision, wrote: false, answering };
        let result = write(&mut change);
        if change.wrote {
            self.store.revision = revision;
        }
        result
    }

    /// Checks a put against the state before the change.
    pub(super) fn check_put(&self, put: &Put) -> Result<(), Error> {
        if put.lease != LeaseId::NONE && self.leases.get(put.lease).is_none() {
            return Err(Error::LeaseNotFound);
        }
        if (put.ignore_value || put.ignore_lease) && !self.exists(&put.key) {
            return Err(Error::KeyNotFound);
        }
        Ok(())
    }

    /// Decides, checks all that will run, and only then runs it.
    pub(super) fn txn(&mut self, txn: &Txn, answering: bool) -> Result<Answer, Error> {
        let path = self.decide(txn);
        let mut bytes_left = ANSWER_BYTES_MAX;
        self.check(txn, &path, answering, &mut bytes_left)?;
        Ok(self.change(answering, |change| change.txn(txn, &path)))
    }

    fn decide(&self, txn: &Txn) -> Path {
        let succeeded = self.holds(&txn.compare, NEWEST);
        let branch = if succeeded { &txn.success } else { &txn.failure };
        let nested = branch
            .iter()
            .filter_map(|op| match op {
                TxnOp::Txn(nested) => Some(self.decide(nested)),
                TxnOp::Range(_) | TxnOp::Put(_) | TxnOp::DeleteRange(_) => None,
            })
            .collect();
        Path { succeeded, nested }
    }

    fn check(
        &self,
        txn: &Txn,
        path: &Path,
        answering: bool,
        bytes_left: &mut usize,
    ) -> Result<(), Error> {
        let branch = if path.succeeded { &txn.success } else { &txn.failure };
        let mut nested = path.nested.iter();
        for op in branch {
            match op {
                TxnOp::Range(query) => {
                    self.check_query(query)?;
                    if answering {
                        self.check_bytes(query, bytes_left)?;
                    }
                }
                TxnOp::Put(put) => self.check_put(put)?,
                TxnOp::DeleteRange(delete) => {
                    if answering && delete.prev_kv {
                        self.check_bytes(&RangeQuery::all(delete.range.clone()), bytes_left)?;
                    }
                }
                TxnOp::Txn(txn) => {
                    let path = nested.next().expect("decided for each nested transaction");
                    self.check(txn, path, answering, bytes_left)?;
                }
            }
        }
        Ok(())
    }

    fn check_query(&self, query: &RangeQuery) -> Result<(), Error> {
        let Some(at) = query.at else { return Ok(()) };
        if at.0 > self.store.revision {
            return Err(Error::FutureRevision);
        }
        if at.0 < self.store.compacted { Err(Error::Compacted) } else { Ok(()) }
    }

    /// Takes what the query may answer off `bytes_left`, as the state is before the change.
    fn check_bytes(&self, query: &RangeQuery, bytes_left: &mut usize) -> Result<(), Error> {
        if query.count_only {
            return Ok(());
        }
        let at = query.at.map_or(NEWEST, |revision| revision.0);
        for item in self.store.range(&query.range, at) {
            let bytes = item.key.len() + if query.keys_only { 0 } else { item.value.len() };
            *bytes_left = bytes_left.checked_sub(bytes).ok_or(Error::AnswerTooLarge)?;
        }
        Ok(())
    }
}

impl Change<'_> {
    pub(super) fn put(&mut self, put: &Put) -> Answer {
        let kept = (put.ignore_value || put.ignore_lease)
            .then(|| self.directory.store.get(&put.key, NEWEST))
            .flatten()
            .map(|item| (item.value.to_vec(), item.lease));
        let (old_value, old_lease) = kept.unwrap_or_default();
        let value = if put.ignore_value { &old_value[..] } else { &put.value[..] };
        let lease = if put.ignore_lease { old_lease } else { put.lease };
        let want_prev = put.prev_kv && self.answering;
        let store = &mut self.directory.store;
        let before = store.put(&put.key, value, lease, self.revision, want_prev);
        self.directory.leases.attach(&put.key, before.lease, lease);
        self.wrote = true;
        Answer::Put(before.prev)
    }

    pub(super) fn delete(&mut self, delete: &DeleteRange) -> Answer {
        let range = self.directory.store.range(&delete.range, NEWEST);
        let keys: Vec<Vec<u8>> = range.map(|item| item.key.to_vec()).collect();
        let want_prev = delete.prev_kv && self.answering;
        let mut prev = Vec::new();
        for key in &keys {
            prev.extend(self.delete_known(key, want_prev));
        }
        Answer::DeleteRange { deleted: keys.len() as u64, prev }
    }

    /// Deletes `key` if it exists.
    pub(super) fn delete_key(&mut self, key: &[u8]) {
        if self.directory.exists(key) {
            self.delete_known(key, false);
        }
    }

    fn delete_known(&mut self, key: &[u8], want_prev: bool) -> Option<crate::KeyValue> {
        let before = self.directory.store.delete(key, self.revision, want_prev);
        self.directory.leases.attach(key, before.lease, LeaseId::NONE);
        self.wrote = true;
        before.prev
    }

    fn txn(&mut self, txn: &Txn, path: &Path) -> Answer {
        let branch = if path.succeeded { &txn.success } else { &txn.failure };
        let mut nested = path.nested.iter();
        let mut answers = Vec::with_capacity(if self.answering { branch.len() } else { 0 });
        for op in branch {
            let answer = match op {
                TxnOp::Range(_) if !self.answering => continue,
                TxnOp::Range(query) => {
                    let at = query.at.map_or(NEWEST, |revision| revision.0);
                    Answer::Range(self.directory.select(query, at))
                }
                TxnOp::Put(put) => self.put(put),
                TxnOp::DeleteRange(delete) => self.delete(delete),
                TxnOp::Txn(txn) => {
                    let path = nested.next().expect("decided for each nested transaction");
                    self.txn(txn, path)
                }
            };
            if self.answering {
                answers.push(answer);
            }
        }
        Answer::Txn { succeeded: path.succeeded, answers }
    }
}
