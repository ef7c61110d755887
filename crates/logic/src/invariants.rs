//! What must hold at every moment (docs/replication.md §12), as named checks.
//!
//! A [`Witness`] is told what happened to one log, on all of its folders, and remembers the truth
//! nobody else knows: what was ever committed, who ever had a copy, who mastered which epoch. Each
//! check is called where the thing happens, so a broken rule is seen at the event that broke it.
//! The simulator tells it everything; a node may tell it what it knows of itself.

mod decision;
mod reply;
#[cfg(test)]
mod tests;

use crate::counting::{Counts, Plane, Sets};
use crate::ids::{EntryId, Epoch, Incarnation, Life, NodeId, Offset, Version};
use crate::mutant;
use crate::record::{Record, Rule};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A rule that does not hold any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule} is broken: {facts}")]
pub struct Broken {
    /// Which, by its name in the specification.
    pub rule: &'static str,
    /// How.
    pub facts: String,
}

/// What a check says.
pub type Held = Result<(), Broken>;

fn broken(rule: &'static str, facts: impl fmt::Display) -> Held {
    Err(Broken { rule, facts: facts.to_string() })
}

/// One folder.
pub type Folder = (NodeId, Incarnation);

/// One batch as it lies on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Its last entry.
    pub last: EntryId,
    /// A digest of its content and of everything before it.
    pub chain: u64,
    /// Whether copies of it count only when flushed.
    pub authority: bool,
}

/// Remembers the truth about one log and compares what happens with it.
#[derive(Clone, Debug)]
pub struct Witness {
    plane: Plane,
    record: Record,
    /// Every record there ever was.
    records: BTreeMap<Version, Record>,
    /// Everything ever committed, in order.
    committed: Vec<Copy>,
    /// Everything ever written anywhere.
    chains: BTreeMap<EntryId, u64>,
    /// Who ever had a batch in its page cache.
    holders: BTreeMap<EntryId, BTreeSet<Folder>>,
    /// Who ever had a batch flushed.
    flushed: BTreeMap<EntryId, BTreeSet<Folder>>,
    masters: BTreeMap<Epoch, (NodeId, Life)>,
    /// Whom the record named master of each epoch.
    named: BTreeMap<Epoch, NodeId>,
    /// The greatest number each folder told a judge it had sealed.
    sealed: BTreeMap<Folder, Epoch>,
    /// Attempts whose choice may have lost something, as was reported.
    lossy: BTreeSet<Epoch>,
    /// Those of them that have had a master.
    lost: BTreeSet<Epoch>,
    /// The greatest offset answered with OK.
    answered: Offset,
    /// What each revision was given to.
    given: BTreeMap<u64, Copy>,
    /// Where nodes are, whatever the record says.
    places: BTreeMap<NodeId, String>,
}

impl Witness {
    /// A log that begins with `record`, nothing written.
    #[must_use]
    pub fn new(plane: Plane, record: Record) -> Self {
        Self {
            plane,
            records: BTreeMap::from([(record.version, record.clone())]),
            record,
            committed: Vec::new(),
            chains: BTreeMap::new(),
            holders: BTreeMap::new(),
            flushed: BTreeMap::new(),
            masters: BTreeMap::new(),
            named: BTreeMap::new(),
            sealed: BTreeMap::new(),
            lossy: BTreeSet::new(),
            lost: BTreeSet::new(),
            answered: Offset::ZERO,
            given: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    /// The record as it stands.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// A node is in this zone.
    pub fn lies(&mut self, node: NodeId, zone: String) {
        self.places.insert(node, zone);
    }

    /// Everything ever committed.
    #[must_use]
    pub fn committed(&self) -> &[Copy] {
        &self.committed
    }

    /// Whether a loss was reported; what follows is not judged by I3 and I10.
    #[must_use]
    pub fn is_lossy(&self) -> bool {
        !self.lossy.is_empty()
    }

    /// Whom the record named master of `epoch`.
    #[must_use]
    pub fn named_master(&self, epoch: Epoch) -> Option<&NodeId> {
        self.named.get(&epoch)
    }

    /// A judge said that the choice of this attempt may lose committed entries.
    pub fn loss_reported(&mut self, attempt: Epoch) {
        self.lossy.insert(attempt);
    }

    /// I12 Monotone, I13 Handover: the keeper committed this record.
    ///
    /// # Errors
    /// A number that went back, or a configuration without the copies it needs.
    pub fn record_changes(&mut self, new: &Record) -> Held {
        let old = &self.record;
        let grows = new.version == old.version.next()
            && new.epoch >= old.epoch
            && new.attempt >= old.attempt
            && new.attempt >= new.epoch
            && (new.attempt > old.attempt || (old.open && !new.open));
        if !grows {
            return broken("I12 Monotone", format_args!("{old:?} became {new:?}"));
        }
        let moved = new.epoch != old.epoch;
        self.record = new.clone();
        self.records.insert(new.version, new.clone());
        self.named.extend(new.master.clone().map(|master| (new.epoch, master)));
        if moved && !self.lossy.contains(&new.epoch) {
            for copy in self.committed.iter().rev().take(8) {
                if let Some(few) = self.too_few(copy, new) {
                    return broken("I13 Handover", few);
                }
            }
        }
        Ok(())
    }

    /// I2 `OneContent`: a folder has this batch in its page cache.
    ///
    /// # Errors
    /// Another content under the same name, or another past.
    pub fn written(&mut self, folder: &Folder, copy: Copy) -> Held {
        let known = *self.chains.entry(copy.last).or_insert(copy.chain);
        self.holders.entry(copy.last).or_default().insert(folder.clone());
        if known != copy.chain {
            let facts = format_args!("{} on {} differs from an earlier one", copy.last, folder.0);
            return broken("I2 OneContent", facts);
        }
        Ok(())
    }

    /// A folder has this batch flushed.
    pub fn flushed(&mut self, folder: &Folder, copy: Copy) {
        self.flushed.entry(copy.last).or_default().insert(folder.clone());
    }

    /// I8 `NoCut`: a folder that knew everything up to `committed` to be committed cuts `cut`.
    ///
    /// # Errors
    /// One of them is committed.
    pub fn cuts(&self, folder: &Folder, committed: Offset, cut: &[Copy]) -> Held {
        for copy in cut {
            // What others committed since counts on those alone that the record names.
            let found = self.committed.binary_search_by_key(&copy.last, |c| c.last).is_ok();
            let is_committed = found && self.record.names(&folder.0, folder.1);
            if !self.is_lossy() && (copy.last.offset <= committed || is_committed) {
                let facts = format_args!("{} cuts {}", folder.0, copy.last);
                return broken("I8 NoCut", facts);
            }
        }
        Ok(())
    }

    /// I12 Monotone: a folder's vote says `sealed`, flushed.
    ///
    /// # Errors
    /// A number that no record gave out.
    pub fn votes(&self, folder: &Folder, sealed: Epoch) -> Held {
        if sealed > self.record.attempt {
            let facts = format_args!(
                "{} sealed {} and the record gave out {}",
                folder.0, sealed, self.record.attempt
            );
            return broken("I12 Monotone", facts);
        }
        Ok(())
    }

    /// I7 Grounded: a folder tells a judge that it has sealed `attempt`; its disk says `durable`.
    ///
    /// # Errors
    /// A crash now would undo the promise.
    pub fn answers_seal(&mut self, folder: &Folder, attempt: Epoch, durable: Epoch) -> Held {
        if durable < attempt {
            let facts = format_args!("{} answers {attempt} with {durable} flushed", folder.0);
            return broken("I7 Grounded", facts);
        }
        let known = self.sealed.entry(folder.clone()).or_default();
        *known = attempt.max(*known);
        Ok(())
    }

    /// I5 Sealed: a folder acknowledges appends of `epoch`.
    ///
    /// # Errors
    /// It has told a judge that it would not.
    pub fn acknowledges(&self, folder: &Folder, epoch: Epoch) -> Held {
        let sealed = self.sealed.get(folder).copied().unwrap_or_default();
        if epoch < sealed {
            let facts = format_args!("{} sealed {sealed} and acknowledges {epoch}", folder.0);
            return broken("I5 Sealed", facts);
        }
        Ok(())
    }

    /// I1 `OneMaster`, I3 Durable, I6 Transfer: a process becomes master with this log.
    ///
    /// # Errors
    /// A second master, a log without something committed, or a new epoch that too few have.
    pub fn becomes_master(
        &mut self,
        folder: &Folder,
        life: Life,
        epoch: Epoch,
        log: &[Copy],
    ) -> Held {
        self.forget_lost(epoch, log);
        let me = (folder.0.clone(), life);
        let known = self.masters.entry(epoch).or_insert_with(|| me.clone());
        if *known != me {
            let facts = format_args!("epoch {epoch} has {known:?} and {me:?}");
            return broken("I1 OneMaster", facts);
        }
        if self.lossy.contains(&epoch) {
            return Ok(());
        }
        // An elect may read late that it was recorded; later epochs may have committed since.
        let before = self.committed.partition_point(|copy| copy.last.epoch <= epoch);
        if log.len() < before || log[..before] != self.committed[..before] {
            let ends = log.last().map_or(EntryId::ZERO, |copy| copy.last);
            let facts = format_args!("the log of {} in epoch {epoch} ends at {ends}", folder.0);
            return broken("I3 Durable", facts);
        }
        let opened = log.iter().find(|copy| copy.last.epoch == epoch);
        let few = match opened {
            Some(copy) => self.too_few(copy, &self.record),
            None => Some(format!("nobody has the record of epoch {epoch}")),
        };
        match few.filter(|_| self.record.epoch == epoch) {
            Some(few) => broken("I6 Transfer", few),
            None => Ok(()),
        }
    }

    /// The first master of an epoch whose choice may lose something has this log: what is not in it
    /// is lost, as was reported.
    fn forget_lost(&mut self, epoch: Epoch, log: &[Copy]) {
        if !self.lossy.contains(&epoch) || !self.lost.insert(epoch) {
            return;
        }
        let same = self.committed.iter().zip(log).take_while(|(a, b)| a == b).count();
        self.committed.truncate(same);
        self.answered = self.committed.last().map_or(Offset::ZERO, |c| c.last.offset);
    }

    /// I3 Durable, I4 `HonestAck`, I15 Maximal: a master of `epoch` takes `log` for committed.
    ///
    /// # Errors
    /// It contradicts what was committed before, or too few have a copy.
    pub fn commits(&mut self, folder: &Folder, epoch: Epoch, log: &[Copy]) -> Held {
        self.forget_lost(epoch, log);
        let both = self.committed.len().min(log.len());
        let from = both.saturating_sub(4);
        if log[from..both] != self.committed[from..both] {
            let facts = format_args!("{} commits another past in epoch {epoch}", folder.0);
            return broken("I3 Durable", facts);
        }
        let fresh = &log[both..];
        self.committed.extend_from_slice(fresh);
        // The recorded set, even if its master has not read that yet.
        let record = &self.record;
        let names_it = record.master.as_ref() == Some(&folder.0) && record.epoch >= epoch;
        if !names_it || self.is_lossy() {
            return Ok(());
        }
        for copy in fresh.iter().filter(|copy| copy.last.epoch == epoch) {
            if let Some(few) = self.too_few(copy, record) {
                return broken("I4 HonestAck", few);
            }
        }
        Ok(())
    }

    /// I9 Applied: a folder that is not master applies this batch.
    ///
    /// # Errors
    /// It is not committed.
    pub fn applies(&self, folder: &Folder, copy: &Copy) -> Held {
        let known = self.committed.binary_search_by_key(&copy.last, |c| c.last);
        let same = known.is_ok_and(|at| self.committed[at] == *copy);
        if !same && !self.is_lossy() {
            let facts = format_args!("{} applies {}", folder.0, copy.last);
            return broken("I9 Applied", facts);
        }
        Ok(())
    }

    /// I14 Counted: which folders that `record` names ever had a copy that counts, if they are not
    /// enough to commit it.
    fn too_few(&self, copy: &Copy, record: &Record) -> Option<String> {
        let held = self.copies(copy, record);
        let has = |at: usize| {
            let member = &record.members[at];
            held.iter().any(|folder| **folder == (member.id.clone(), member.incarnation))
        };
        let enough = Sets::of(self.plane, record).commits(has);
        (!enough).then(|| format!("{} is on {held:?} of {record:?}", copy.last))
    }

    fn copies(&self, copy: &Copy, record: &Record) -> Vec<&Folder> {
        // A copy counts only when flushed if the mode says so, or if it is the only one.
        let alone = Counts::of(self.plane, record).copies == 1;
        let flushed = record.durability.flushed || alone || copy.authority;
        let held = if flushed { &self.flushed } else { &self.holders };
        let held = held.get(&copy.last);
        let named = |folder: &&Folder| record.names(&folder.0, folder.1);
        held.map_or_else(Vec::new, |folders| folders.iter().filter(named).collect())
    }

    /// Whether answers wait for the commit: not under `async`.
    fn answers_wait(&self) -> bool {
        self.record.rule != Rule::Async && !self.is_lossy()
    }
}

/// Whether a rule is broken on purpose in this build, for messages that say so.
#[must_use]
pub fn is_mutated() -> bool {
    mutant::Mutant::all().any(mutant::broken)
}
