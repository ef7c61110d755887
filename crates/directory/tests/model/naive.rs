//! A directory that is obviously right: one whole map for every revision.

use bytes::Bytes;
use cairn_directory::op::{
    Compare, Op, Put, RangeQuery, Relation, SortOrder, SortTarget, Target, Txn, TxnOp,
};
use cairn_directory::{
    Answer, Applied, Error, EventKind, KeyRange, KeyValue, LeaseId, RangeAnswer,
};
use cairn_logic::ids::Revision;
use std::cmp::Ordering;
use std::collections::BTreeMap;

type Map = BTreeMap<Bytes, KeyValue>;

pub struct Naive {
    /// The map after each revision that was given out.
    maps: BTreeMap<u64, Map>,
    now: Map,
    pub compacted: u64,
    leases: BTreeMap<LeaseId, u64>,
    changes: Vec<(EventKind, Bytes, u64)>,
}

impl Naive {
    pub fn new() -> Self {
        Self {
            maps: BTreeMap::from([(1, Map::new())]),
            now: Map::new(),
            compacted: 0,
            leases: BTreeMap::new(),
            changes: Vec::new(),
        }
    }

    pub fn revision(&self) -> u64 {
        *self.maps.keys().next_back().unwrap()
    }

    pub fn at(&self, revision: u64) -> &Map {
        self.maps.range(..=revision).next_back().unwrap().1
    }

    pub fn leases(&self) -> impl Iterator<Item = (LeaseId, Vec<Vec<u8>>)> {
        self.leases.keys().map(|id| {
            let held = self.now.values().filter(|kv| kv.lease == *id);
            (*id, held.map(|kv| kv.key.to_vec()).collect())
        })
    }

    pub fn events(&self, range: &KeyRange, start: u64) -> Vec<(EventKind, Bytes, u64)> {
        let wanted = |c: &&(EventKind, Bytes, u64)| c.2 >= start && range.contains(&c.1);
        self.changes.iter().filter(wanted).cloned().collect()
    }

    /// Makes the revision of a compaction, given as a distance, one that exists.
    pub fn resolve(&self, op: &Op) -> Op {
        match op {
            Op::Compact { revision } => {
                Op::Compact { revision: Revision((self.revision() + 1).saturating_sub(revision.0)) }
            }
            other => other.clone(),
        }
    }

    pub fn apply(&mut self, op: &Op) -> Result<Applied, Error> {
        let next = self.revision() + 1;
        let before = self.changes.len();
        let answer = match op {
            Op::Noop => Answer::Done,
            Op::Put(put) => {
                self.check_put(put)?;
                self.put(put, next)
            }
            Op::DeleteRange(delete) => self.delete(&delete.range, delete.prev_kv, next),
            Op::Txn(txn) => {
                self.check(txn)?;
                let before = self.now.clone();
                self.txn(txn, next, &before)
            }
            Op::Compact { revision } if revision.0 <= self.compacted => {
                return Err(Error::Compacted);
            }
            Op::Compact { revision } if revision.0 >= next => return Err(Error::FutureRevision),
            Op::Compact { revision } => {
                self.compacted = revision.0;
                Answer::Done
            }
            Op::LeaseGrant { id, .. } if id.0 == 0 || self.leases.contains_key(id) => {
                return Err(Error::LeaseExists);
            }
            Op::LeaseGrant { id, ttl_secs } => {
                self.leases.insert(*id, *ttl_secs);
                Answer::Lease { id: *id, ttl_secs: *ttl_secs }
            }
            Op::LeaseRevoke { id, .. } => {
                self.leases.remove(id).ok_or(Error::LeaseNotFound)?;
                let held = self.now.values().filter(|kv| kv.lease == *id);
                let keys: Vec<Bytes> = held.map(|kv| kv.key.clone()).collect();
                for key in keys {
                    self.delete(&KeyRange::single(key), false, next);
                }
                Answer::Done
            }
            Op::Jump { to } => {
                if to.0 >= next {
                    self.maps.insert(to.0, self.now.clone());
                    self.compacted = to.0;
                }
                Answer::Done
            }
        };
        if self.changes.len() > before {
            self.maps.insert(next, self.now.clone());
        }
        Ok(Applied { revision: Revision(self.revision()), answer })
    }

    fn check_put(&self, put: &Put) -> Result<(), Error> {
        if put.lease.0 != 0 && !self.leases.contains_key(&put.lease) {
            return Err(Error::LeaseNotFound);
        }
        let must_exist = put.ignore_value || put.ignore_lease;
        if must_exist && !self.now.contains_key(&put.key) {
            return Err(Error::KeyNotFound);
        }
        Ok(())
    }

    fn put(&mut self, put: &Put, revision: u64) -> Answer {
        let old = self.now.get(&put.key).cloned();
        let kept = old.clone().unwrap_or_default();
        let kv = KeyValue {
            key: put.key.clone(),
            value: if put.ignore_value { kept.value } else { put.value.clone() },
            created: old.as_ref().map_or(Revision(revision), |kv| kv.created),
            modified: Revision(revision),
            version: kept.version + 1,
            lease: if put.ignore_lease { kept.lease } else { put.lease },
        };
        self.now.insert(put.key.clone(), kv);
        self.changes.push((EventKind::Put, put.key.clone(), revision));
        Answer::Put(old.filter(|_| put.prev_kv))
    }

    fn delete(&mut self, range: &KeyRange, prev_kv: bool, revision: u64) -> Answer {
        let gone: Vec<KeyValue> =
            self.now.values().filter(|kv| range.contains(&kv.key)).cloned().collect();
        for kv in &gone {
            self.now.remove(&kv.key);
            self.changes.push((EventKind::Delete, kv.key.clone(), revision));
        }
        let deleted = gone.len() as u64;
        Answer::DeleteRange { deleted, prev: if prev_kv { gone } else { Vec::new() } }
    }

    fn taken<'t>(&self, txn: &'t Txn, map: &Map) -> (bool, &'t [TxnOp]) {
        let succeeded = txn.compare.iter().all(|compare| holds(compare, map));
        (succeeded, if succeeded { &txn.success } else { &txn.failure })
    }

    fn check(&self, txn: &Txn) -> Result<(), Error> {
        self.taken(txn, &self.now).1.iter().try_for_each(|op| match op {
            TxnOp::Range(query) => self.range(query, self.revision()).map(drop),
            TxnOp::Put(put) => self.check_put(put),
            TxnOp::DeleteRange(_) => Ok(()),
            TxnOp::Txn(nested) => self.check(nested),
        })
    }

    /// Comparisons, nested ones too, see the map as it was before the transaction.
    fn txn(&mut self, txn: &Txn, revision: u64, before: &Map) -> Answer {
        let (succeeded, branch) = self.taken(txn, before);
        let answers = branch.iter().map(|op| match op {
            TxnOp::Range(query) => Answer::Range(match query.at {
                Some(at) => select(query, self.at(at.0)),
                None => select(query, &self.now),
            }),
            TxnOp::Put(put) => self.put(put, revision),
            TxnOp::DeleteRange(d) => self.delete(&d.range, d.prev_kv, revision),
            TxnOp::Txn(nested) => self.txn(nested, revision, before),
        });
        let answers = answers.collect();
        Answer::Txn { succeeded, answers }
    }

    pub fn range(&self, query: &RangeQuery, newest: u64) -> Result<RangeAnswer, Error> {
        let at = query.at.map_or(newest, |at| at.0);
        if at > newest {
            return Err(Error::FutureRevision);
        }
        if at < self.compacted {
            return Err(Error::Compacted);
        }
        Ok(select(query, self.at(at)))
    }
}

fn select(query: &RangeQuery, map: &Map) -> RangeAnswer {
    let mut kvs: Vec<KeyValue> =
        map.values().filter(|kv| query.range.contains(&kv.key)).cloned().collect();
    let count = kvs.len() as u64;
    if query.count_only {
        return RangeAnswer { kvs: Vec::new(), count, more: false };
    }
    let max = |max: u64| if max == 0 { u64::MAX } else { max };
    kvs.retain(|kv| {
        (query.modified_min..=max(query.modified_max)).contains(&kv.modified.0)
            && (query.created_min..=max(query.created_max)).contains(&kv.created.0)
    });
    // As etcd's: equal ones keep the order of their keys, also in a descending answer.
    kvs.sort_by(|a, b| {
        let order = match query.sort_by {
            SortTarget::Key => a.key.cmp(&b.key),
            SortTarget::Version => a.version.cmp(&b.version),
            SortTarget::Created => a.created.cmp(&b.created),
            SortTarget::Modified => a.modified.cmp(&b.modified),
            SortTarget::Value => a.value.cmp(&b.value),
        };
        if query.order == SortOrder::Descending { order.reverse() } else { order }
    });
    let limit = usize::try_from(query.limit).unwrap();
    let more = limit > 0 && kvs.len() > limit;
    if more {
        kvs.truncate(limit);
    }
    if query.keys_only {
        kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
    }
    RangeAnswer { kvs, count, more }
}

fn holds(compare: &Compare, map: &Map) -> bool {
    let mut found: Vec<KeyValue> =
        map.values().filter(|kv| compare.range.contains(&kv.key)).cloned().collect();
    if found.is_empty() {
        if matches!(compare.target, Target::Value(_)) {
            return false;
        }
        found.push(KeyValue::default());
    }
    found.iter().all(|kv| {
        let number = |number: u64, other: i64| i64::try_from(number).unwrap().cmp(&other);
        let ordering = match &compare.target {
            Target::Version(other) => number(kv.version, *other),
            Target::Created(other) => number(kv.created.0, *other),
            Target::Modified(other) => number(kv.modified.0, *other),
            Target::Lease(other) => kv.lease.0.cmp(other),
            Target::Value(other) => kv.value.cmp(other),
        };
        match compare.relation {
            Relation::Equal => ordering == Ordering::Equal,
            Relation::Greater => ordering == Ordering::Greater,
            Relation::Less => ordering == Ordering::Less,
            Relation::NotEqual => ordering != Ordering::Equal,
        }
    })
}
