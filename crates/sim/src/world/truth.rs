//! What is committed in the directory of a cluster, whoever knows it, and what must follow from it.

use super::{Log, World, asked_of, tell_places};
use crate::desk::Wanted;
use crate::scenario::{Scenario, WorldKind};
use cairn_directory::core::{Refusal, Reply, Response};
use cairn_directory::op::{Put, RangeQuery, TxnOp};
use cairn_directory::{Answer, Directory, KeyRange, KeyValue, Op, body};
use cairn_logic::batch::Batch;
use cairn_logic::counting::Plane;
use cairn_logic::ids::{GroupId, Revision, Version};
use cairn_logic::invariants::{Broken, Copy, Held};
use cairn_logic::record::Record;
use cairn_logic::replication::Reads;
use cairn_settings::Reads as ReadsSetting;
use cairn_settings::directory_keys::{self as keys, Claim, NodeInfo};
use std::collections::{BTreeMap, BTreeSet};

/// Before the keys of clients.
pub(super) const CLIENTS: &str = "/app/";

/// The committed log of the global plane, applied.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    directory: Option<Directory>,
    /// Batches applied, and the last of them.
    at: usize,
    last: Option<Copy>,
    /// The greatest revision that a client was told.
    answered: u64,
    /// What each revision was told of.
    given: BTreeMap<u64, u64>,
    /// Writes that were refused; none of them may ever be seen.
    refused: BTreeSet<u64>,
    /// Writes that are committed.
    applied: BTreeSet<u64>,
    /// Claims, by number: the revision that made each.
    claims: BTreeMap<u64, u64>,
    /// A group's record went back with a reported loss: only a person can help.
    pub rolled_back: bool,
}

fn broken(rule: &'static str, facts: String) -> Held {
    Err(Broken { rule, facts })
}

fn serial_of(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_le_bytes)
}

/// What an operation may put.
fn puts<'a>(op: &'a Op) -> Vec<&'a Put> {
    match op {
        Op::Put(put) => vec![put],
        Op::Txn(txn) => {
            let ops = txn.success.iter().chain(&txn.failure);
            let put = |op: &'a TxnOp| match op {
                TxnOp::Put(put) => Some(put),
                _ => None,
            };
            ops.filter_map(put).collect()
        }
        _ => Vec::new(),
    }
}

impl Truth {
    pub(super) fn directory(&mut self) -> &mut Directory {
        self.directory.get_or_insert_with(Directory::new)
    }

    pub(super) fn revision(&self) -> u64 {
        self.directory.as_ref().map_or(1, |directory| directory.revision().0)
    }

    pub(super) fn get_at(&self, key: &[u8], at: Revision) -> Option<KeyValue> {
        let query = RangeQuery::all(KeyRange::single(key.to_vec()));
        let found = self.directory.as_ref()?.range(&query, at).ok()?;
        found.kvs.into_iter().next()
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<KeyValue> {
        self.get_at(key, Revision(self.revision()))
    }
}

impl World {
    /// What a linearizable read of a log that begins now must see.
    pub(super) fn read_begins(&self, log: usize) -> cairn_logic::ids::Offset {
        match self.scenario.kind {
            WorldKind::Cluster if log == 0 => cairn_logic::ids::Offset(self.truth.answered),
            _ => self.logs[log].witness.read_begins(),
        }
    }

    /// Applies what is committed since, from the log of the place that has just committed it.
    pub(super) fn truth_follows(&mut self, place: usize) -> Held {
        let known = self.logs[0].witness.committed();
        let (committed, at) = (known.len(), self.truth.at);
        let last = at.checked_sub(1).and_then(|at| known.get(at)).copied();
        let lost = last != self.truth.last;
        if lost {
            // As was reported: what is left is all that ever was.
            let given = std::mem::take(&mut self.truth.given);
            self.truth = Truth { given, ..Truth::default() };
        }
        let newest = known.last().copied();
        let Some(folder) = &self.places[place].folder else { return Ok(()) };
        let from = self.truth.at;
        if committed <= from || folder.log.len() < committed {
            return Ok(());
        }
        let batches: Vec<Batch> = folder.log[from..committed].to_vec();
        (self.truth.at, self.truth.last) = (committed, newest);
        for batch in batches.iter().filter(|batch| !batch.head.opens_epoch) {
            for op in body::ops(batch.body.clone()) {
                match op {
                    Ok(op) => self.truth_applies(&op)?,
                    Err(error) => return broken("Assertion", format!("a batch: {error}")),
                }
            }
        }
        for log in self.logs[1..].iter().filter(|_| lost) {
            let kv = self.truth.get(keys::group_key(&log.group).as_bytes());
            let version = kv.map_or(0, |kv| kv.version);
            self.truth.rolled_back |= version < log.witness.record().version.0;
        }
        Ok(())
    }

    fn truth_applies(&mut self, op: &Op) -> Held {
        if let Err(error) = self.truth.directory().replay(op) {
            return broken("I2 OneContent", format!("what is committed cannot be: {error}"));
        }
        let revision = self.truth.revision();
        for put in puts(op) {
            let Some(now) = self.truth.get(&put.key) else { continue };
            if now.modified.0 != revision || now.value != put.value {
                continue;
            }
            if let Some(serial) = serial_of(&put.value).filter(|_| put.key.starts_with(b"/app/")) {
                self.truth.applied.insert(serial);
                if self.truth.refused.contains(&serial) {
                    return broken("I19 OneAnswer", format!("write {serial} was refused"));
                }
            } else if let Some(group) = keys::group_of_key(&put.key) {
                self.group_changed(&group, &now)?;
            } else if keys::node_of_key(&put.key).is_some() {
                self.node_changed(&now, revision)?;
            }
        }
        Ok(())
    }

    /// A group's record, as committed; its version is the key's.
    fn group_changed(&mut self, group: &GroupId, kv: &KeyValue) -> Held {
        let record = match keys::decode_group(&kv.value) {
            Ok(record) if record.version == Version(kv.version) => record,
            Ok(record) => {
                return broken("I12 Monotone", format!("{record:?} in version {}", kv.version));
            }
            Err(error) => return broken("Assertion", format!("a record: {error}")),
        };
        let Some(log) = self.logs.iter().position(|log| log.group == *group) else {
            return self.group_formed(group.clone(), record);
        };
        if record.version <= self.logs[log].witness.record().version {
            // The same once more, after a reported loss of the directory.
            return Ok(());
        }
        self.recorded(log, &record)
    }

    fn group_formed(&mut self, group: GroupId, record: Record) -> Held {
        let name = keys::keyspace_of(&group).unwrap_or_default();
        let at = (0..self.scenario.keyspaces.len()).find(|at| Scenario::keyspace(*at) == name);
        let Some(config) = at.map(|at| self.scenario.keyspaces[at].clone()) else {
            return broken("I20 Committed effects", format!("nobody wants {group}"));
        };
        let reads = match config.reads {
            ReadsSetting::Lease => Reads::Lease,
            ReadsSetting::Confirm => Reads::Confirm,
        };
        let members: Vec<String> = record.members.iter().map(|m| m.id.to_string()).collect();
        self.note(|| format!("{group} is formed of {members:?}"));
        let asked = self.config_of(&group).map_or(asked_of(&config), |config| asked_of(&config));
        let mut log = Log { reads, ..Log::new(group, Plane::Group, record, asked) };
        tell_places(&self.scenario, &mut log.witness);
        self.logs.push(log);
        Ok(())
    }

    /// I16 `NoReuse`, of claims: each number is the revision of the change that made the claim,
    /// and a claimed folder stays with its group.
    fn node_changed(&mut self, kv: &KeyValue, revision: u64) -> Held {
        let Ok(info) = NodeInfo::decode(&kv.value) else {
            return broken("Assertion", "an unreadable node".to_owned());
        };
        let before = self.truth.get_at(&kv.key, Revision(revision - 1));
        let before = before.and_then(|kv| NodeInfo::decode(&kv.value).ok());
        let before = before.filter(|before| before.incarnation == info.incarnation);
        let was = before.map(|before| before.claim).unwrap_or_default();
        if info.claim == was {
            return Ok(());
        }
        match (was, info.claim) {
            (Claim::Idle, Claim::Claimed { claim, .. }) if claim == revision => {
                let known = self.truth.claims.insert(claim, revision);
                self.stats.claims += 1;
                match known.is_some_and(|known| known != revision) {
                    true => broken("I16 NoReuse", format!("claim {claim} was given before")),
                    false => Ok(()),
                }
            }
            (Claim::Claimed { group: of, claim: by }, Claim::Releasing { group, claim })
                if of == group && by == claim =>
            {
                Ok(())
            }
            (was, now) => {
                let facts = format!("{now:?} after {was:?} in revision {revision}");
                broken("I16 NoReuse", facts)
            }
        }
    }

    /// I4, I10, I11, I16, I19: a client of the directory is answered.
    pub(super) fn client_hears(&mut self, wanted: Wanted, reply: &Result<Reply, Refusal>) -> Held {
        let reply = match reply {
            Ok(reply) => reply,
            Err(refusal) => return self.client_refused(wanted, *refusal),
        };
        if self.logs[0].witness.is_lossy() {
            return self.gives_out(wanted, reply);
        }
        let (told, is) = (reply.revision.0, self.truth.revision());
        if told > is {
            return broken("I10 NoDirty", format!("{wanted:?} hears {told}, committed is {is}"));
        }
        match wanted {
            Wanted::Write { serial, key } if happened(reply) => {
                let name = client_key(key);
                let kv = self.truth.get_at(name.as_bytes(), reply.revision);
                let own = kv.is_some_and(|kv| {
                    kv.modified == reply.revision && serial_of(&kv.value) == Some(serial)
                });
                if !own {
                    let facts = format!("{wanted:?} hears {told} and is not there");
                    return broken("I4 HonestAck", facts);
                }
                self.truth.answered = self.truth.answered.max(told);
                self.stats.writes += 1;
                self.logs[0].writes += 1;
            }
            Wanted::Read { began } if told < began => {
                let facts = format!("a read shows {told}, {began} was answered");
                return broken("I11 Fresh", facts);
            }
            Wanted::Read { .. } | Wanted::Stale => {
                self.is_true(reply)?;
                let stale = wanted == Wanted::Stale;
                *if stale { &mut self.stats.stale_reads } else { &mut self.stats.reads } += 1;
            }
            Wanted::Write { .. } | Wanted::Lease => {}
        }
        self.gives_out(wanted, reply)
    }

    /// A range shows what is committed at its revision.
    fn is_true(&self, reply: &Reply) -> Held {
        let Response::Range(found) = &reply.response else { return Ok(()) };
        let query = RangeQuery::all(KeyRange::prefix(CLIENTS));
        let known = self.truth.directory.as_ref().map(|d| d.range(&query, reply.revision));
        match known {
            Some(Ok(known)) if known.kvs != found.kvs => {
                broken("I10 NoDirty", format!("a read at {} shows {found:?}", reply.revision))
            }
            _ => Ok(()),
        }
    }

    /// I16 `NoReuse`: a client learns that its write has this revision.
    fn gives_out(&mut self, wanted: Wanted, reply: &Reply) -> Held {
        let Wanted::Write { serial, .. } = wanted else { return Ok(()) };
        if !happened(reply) {
            return Ok(());
        }
        if self.logs[0].witness.is_lossy() {
            self.logs[0].writes += 1;
        }
        let revision = reply.revision.0;
        let known = *self.truth.given.entry(revision).or_insert(serial);
        match known == serial {
            true => Ok(()),
            false => broken("I16 NoReuse", format!("{revision} of {known} and {serial}")),
        }
    }

    /// I19 `OneAnswer`: what is refused for good never comes into force.
    fn client_refused(&mut self, wanted: Wanted, refusal: Refusal) -> Held {
        let Wanted::Write { serial, .. } = wanted else { return Ok(()) };
        match refusal {
            Refusal::MasterChanged | Refusal::TimedOut => return Ok(()),
            Refusal::Invalid(_)
            | Refusal::NotMaster
            | Refusal::NotReady
            | Refusal::TooManyRequests => {}
        }
        self.truth.refused.insert(serial);
        match self.truth.applied.contains(&serial) {
            true => broken("I19 OneAnswer", format!("write {serial} is committed and refused")),
            false => Ok(()),
        }
    }
}

/// The key of clients with this number.
pub(super) fn client_key(key: u64) -> String {
    format!("{CLIENTS}{key}")
}

/// Whether a write changed something.
fn happened(reply: &Reply) -> bool {
    match &reply.response {
        Response::Answer(Answer::Txn { succeeded, .. }) => *succeeded,
        Response::Answer(_) => true,
        _ => false,
    }
}
