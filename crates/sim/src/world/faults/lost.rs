//! Folders that are lost or come back old.

use super::super::{Broken, World};
use super::End;
use crate::folder::Folder;
use crate::scenario::WorldKind;
use cairn_logic::ids::NodeId;
use cairn_logic::invariants::Held;
use cairn_logic::message::Position;
use cairn_logic::record::Record;

impl World {
    /// Whether the record names a folder that is gone: until it is out of the record, nobody else
    /// may lose anything.
    pub(super) fn is_bereft(&self, log: usize) -> bool {
        let gone = |m: &cairn_logic::record::Member| {
            let there = self.places.iter().find(|there| there.id == m.id);
            there.is_some_and(|there| there.sender().incarnation != m.incarnation)
        };
        self.logs[log].witness.record().members.iter().any(gone)
    }

    pub(super) fn disk_will_fail(&mut self, node: usize) -> bool {
        let bears = !self.is_bereft(self.log_of(node)) && self.others_are_well(node);
        self.places[node].disk.fails |= bears;
        bears
    }

    /// Whether all members but `place` are up and vouch for their logs, so that losing this one
    /// is no more than any rule bears.
    pub(in super::super) fn others_are_well(&self, place: usize) -> bool {
        let Some(log) = self.places[place].log else { return true };
        let record = self.logs[log].witness.record();
        let others = record.members.iter().filter(|m| m.id != self.places[place].id);
        others.into_iter().all(|member| self.is_well(&member.id, record))
    }

    /// Whether this member is up and vouches for its log.
    pub(super) fn is_well(&self, id: &NodeId, record: &Record) -> bool {
        let there = self.places.iter().find(|there| there.id == *id);
        there.is_some_and(|there| {
            let names = record.names(id, there.sender().incarnation);
            let host = there.process.as_ref().map(|p| &p.host);
            let process = host.map(|host| host.replica());
            names
                && host.is_some_and(|h| h.applied() >= h.replica().before().offset)
                && process.is_some_and(|r| r.vote().intact)
                && there.folder.as_ref().is_some_and(|f| f.vote.intact && !f.failed)
                && !there.disk.fails
        })
    }

    /// A node loses its folder for good, when the others can bear it.
    pub(super) fn wipe(&mut self, place: usize) -> Result<bool, Broken> {
        let log = self.log_of(place);
        let record = self.logs[log].witness.record().clone();
        let idle = self.places[place].log.is_none();
        let rule_bears = record.members.len() >= 2 && !record.open && record.master.is_some();
        let bears = rule_bears && !self.is_bereft(log) && self.others_are_well(place);
        if !idle && (!bears || self.settling(place) || self.stays_alone(place)) {
            return Ok(false);
        }
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} loses its folder"));
        self.crash(place, End::Process, 1000)?;
        self.replace_folder(place);
        Ok(true)
    }

    /// Whether a change that is under way may leave this folder alone in the record: a set that has
    /// shrunk to one does not survive the loss of its disk.
    fn stays_alone(&self, place: usize) -> bool {
        let (log, id) = (&self.logs[self.log_of(place)], &self.places[place].id);
        let version = log.witness.record().version;
        let under_way = log.change.as_ref().filter(|(expected, _)| *expected == version);
        under_way.is_some_and(|(_, next)| next.members.iter().all(|member| member.id == *id))
    }

    /// Its group has given its folder back: it goes on with another one. I18 `NoWipe`.
    pub(in super::super) fn set_aside(&mut self, place: usize) -> Held {
        let me = self.places[place].sender();
        for log in &self.logs {
            if log.witness.record().names(&me.id, me.incarnation) {
                let facts = format!("{} is set aside while {} names it", me.id, log.group);
                return Err(Broken { rule: "I18 NoWipe", facts });
            }
        }
        self.note(|| format!("{} sets its folder aside", me.id));
        self.stats.releases += 1;
        self.crash(place, End::Process, 100)?;
        self.replace_folder(place);
        Ok(())
    }

    /// From now on there is an empty folder.
    pub(in super::super) fn replace_folder(&mut self, place: usize) {
        self.incarnations += 1;
        self.places[place].folder = Some(Folder::new(self.incarnations));
        if self.scenario.kind == WorldKind::Cluster && place >= self.scenario.globals {
            self.places[place].log = None;
        }
    }

    /// An acceptor loses its folder, when all of them have a value; or it comes back as it was
    /// some time ago, which makes it another folder.
    pub(super) fn wipe_acceptor(&mut self, restored: bool) -> Result<bool, Broken> {
        let all = self.acceptors();
        let whole = all.iter().all(|at| {
            let kept = self.places[*at].kept.as_ref();
            kept.is_some_and(|state| state.accepted.is_some())
        });
        if self.scenario.kind == WorldKind::Group || self.lost_acceptor.is_some() || !whole {
            return Ok(false);
        }
        let lost = all[self.rng.index(all.len())];
        let id = self.places[lost].id.clone();
        self.note(|| format!("the acceptor of {id} loses its folder, restored {restored}"));
        self.crash(lost, End::Process, 300)?;
        self.places[lost].seat_incarnation += 1;
        let old = self.places[lost].kept_before.take().filter(|_| restored);
        self.places[lost].kept = Some(old.unwrap_or_default());
        self.lost_acceptor = Some(lost);
        Ok(true)
    }

    /// Whether the sitting master has not yet committed in the recorded epoch: then the copies may
    /// still be where they were.
    fn settling(&self, place: usize) -> bool {
        let record = self.logs[self.log_of(place)].witness.record();
        let log = self.places[place].log;
        let active = self.places.iter().filter(|there| there.log == log).any(|there| {
            let replica = there.process.as_ref().map(|p| p.host.replica());
            replica.is_some_and(|r| r.position() == Position::Master(record.epoch))
        });
        let sole = record.members.iter().all(|m| m.id == self.places[place].id);
        !active || sole
    }
}
