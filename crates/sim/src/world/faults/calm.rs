//! Faults stop; the world must heal.

use super::super::session::machine_of;
use super::super::{Ev, Log, MS, World};
use crate::scenario::{Faults, WorldKind};
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::masters::{self, Candidate, Rank, Seat};
use cairn_logic::message::Position;
use cairn_logic::record::Member;
use std::fmt::Write as _;

impl World {
    /// Ends all faults the first time, then looks whether the world has healed.
    pub(in super::super) fn look(&mut self) -> Held {
        let Some(since) = self.calm else {
            if let Some(wait) = self.darken()? {
                self.push(wait, Ev::Look);
                return Ok(());
            }
            self.calm = Some(self.now);
            self.end_faults();
            self.push(20 * MS, Ev::Look);
            return Ok(());
        };
        let complete = self.is_complete() && self.are_spread();
        if complete && self.logs.iter().all(|log| log.writes > log.calm_writes) {
            self.stats.healed_ms = (self.now - since) / MS;
            self.healed = true;
            return Ok(());
        }
        if self.now - since > self.options.healing_ms * MS {
            return Err(Broken { rule: "L1 Heals", facts: self.describe() });
        }
        self.help()?;
        // A write counts only once everything else is well.
        for log in 0..self.logs.len() {
            if !self.is_healed(log) {
                self.logs[log].calm_writes = self.logs[log].writes;
            }
        }
        self.push(20 * MS, Ev::Look);
        Ok(())
    }

    /// Everything works again; the plane stays away in the dark.
    pub(super) fn end_faults(&mut self) {
        self.note(|| "faults end".to_owned());
        self.faults = Faults::default();
        self.logs.iter_mut().for_each(|log| {
            (log.odd_wish, log.calm_writes) = (None, log.writes);
        });
        self.links.mend_all();
        for place in 0..self.places.len() {
            self.places[place].disk = Default::default();
            self.push(MS, Ev::Resume(place));
            self.push(2 * MS, Ev::Restart(place));
        }
    }

    /// Everything that there should be, all of it well.
    fn is_complete(&self) -> bool {
        self.logs.len() == self.scenario.logs() && (0..self.logs.len()).all(|at| self.is_healed(at))
    }

    /// Whether the planner can do nothing any more about machines that have several masters.
    fn are_spread(&self) -> bool {
        if self.scenario.kind != WorldKind::Cluster {
            return true;
        }
        let seat = |member: &Member| Seat {
            node: member.id.clone(),
            machine: self
                .places
                .iter()
                .position(|it| it.id == member.id)
                .map(machine_of)
                .unwrap_or_default(),
            zone: None,
            own: false,
            rank: Rank::default(),
        };
        let candidate = |log: &Log| {
            let record = log.witness.record();
            let (master, able): (Vec<&Member>, Vec<&Member>) =
                record.members.iter().partition(|it| record.master.as_ref() == Some(&it.id));
            let (id, able) = (log.group.clone(), able.into_iter().map(seat).collect());
            Some(Candidate { id, master: seat(master.first()?), able })
        };
        let groups: Vec<Candidate> = self.logs[1..].iter().filter_map(candidate).collect();
        masters::next(&groups).is_none()
    }

    /// No open attempt, the members asked for, all of them up and intact, a master that serves.
    fn is_healed(&self, log: usize) -> bool {
        let (record, mode) = (self.logs[log].witness.record(), self.logs[log].asked.mode);
        let complete = record.members.len() == usize::from(mode.wanted)
            && record.wanted == mode.wanted
            && record.durability == mode.durability
            && record.rule == mode.rule;
        let well = record.members.iter().all(|member| {
            let there = self.places.iter().find(|there| there.id == member.id);
            let host = there.and_then(|t| t.process.as_ref()).map(|p| &p.host);
            // What was given up at the front is in its state.
            let host = host.filter(|h| h.applied() >= h.replica().before().offset);
            let replica = host.map(|host| host.replica());
            there.is_some_and(|there| record.names(&there.id, there.sender().incarnation))
                && replica.is_some_and(|r| {
                    let master = record.master.as_ref() == Some(&member.id);
                    let serves = r.position() == Position::Master(record.epoch);
                    r.vote().intact && (!master || serves)
                })
        });
        let well = well && self.are_same(log);
        complete && well && self.lost_acceptor.is_none() && !record.open && record.master.is_some()
    }

    pub(super) fn describe(&self) -> String {
        let mut text = "not healed:".to_owned();
        for (at, log) in self.logs.iter().enumerate() {
            let _ =
                write!(text, " {} {} {:?}", log.group, self.is_healed(at), log.witness.record());
        }
        for there in &self.places {
            if let Some(kept) = &there.kept {
                let accepted = kept.accepted.as_ref().map(|(ballot, value)| {
                    format!("{ballot:?} version {} {:?}", value.record.version, value.roster)
                });
                let promised = &kept.promised;
                let _ = write!(text, "; {:?} {promised:?} {accepted:?}", there.seat());
            }
            let Some(process) = &there.process else { continue };
            let status = process.host.replica().status(there.clock.read(self.now));
            let _ = write!(text, "; {} {status:?}", there.id);
        }
        text
    }
}
