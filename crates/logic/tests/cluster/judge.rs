//! A plain judge for tests: opens, seals, chooses, elects, one step at a time.

use super::driver::{Cluster, name};
use cairn_logic::counting::{Plane, Sets};
use cairn_logic::ids::{EntryId, Epoch, NodeId, Version};
use cairn_logic::message::{Answer, Mode, Order, Sealed};
use cairn_logic::record::{Member, Record, Role};
use std::collections::BTreeMap;

/// Where an attempt stands.
#[derive(Clone, Debug, Default)]
pub enum Step {
    /// Nothing under way.
    #[default]
    Idle,
    /// Seals are collected.
    Sealing { attempt: Epoch, version: Version, sealed: BTreeMap<usize, Sealed> },
    /// The elect transfers.
    Electing { attempt: Epoch, version: Version, elect: usize, members: Vec<Member> },
}

/// One judge; several may rival.
#[derive(Default)]
pub struct Judge {
    pub step: Step,
    seen: usize,
    /// Whether a choice without proof was needed.
    pub lossy: bool,
}

fn number(id: &NodeId) -> usize {
    id.as_str()[1..].parse::<usize>().expect("names are n1, n2, …") - 1
}

impl Judge {
    /// Opens an attempt on the record as it stands.
    pub fn open(&mut self, cluster: &mut Cluster) {
        let attempt = cluster.record.attempt.next();
        let version = cluster.record.version;
        let record = Record { attempt, open: true, ..cluster.record.clone() };
        if cluster.swap(version, record) {
            let version = version.next();
            self.step = Step::Sealing { attempt, version, sealed: BTreeMap::new() };
        }
    }

    /// Orders a seal of each member that has not answered.
    pub fn seal(&mut self, cluster: &mut Cluster, forced: bool) {
        self.listen(cluster);
        let Step::Sealing { attempt, version, sealed } = &self.step else { return };
        if cluster.record.version != *version {
            self.step = Step::Idle;
            return;
        }
        let attempt = *attempt;
        let master = cluster.record.master.as_ref().map(number);
        let released = master.is_some_and(|m| sealed.contains_key(&m));
        let members: Vec<usize> = cluster.record.members.iter().map(|m| number(&m.id)).collect();
        let silent: Vec<usize> =
            members.iter().copied().filter(|m| !sealed.contains_key(m)).collect();
        for i in silent {
            cluster.order(i, Order::Seal { attempt, forced, released });
        }
        self.listen(cluster);
    }

    /// Takes the answers of this attempt.
    pub fn listen(&mut self, cluster: &Cluster) {
        for (i, answer) in &cluster.answers[self.seen..] {
            match (&mut self.step, answer) {
                (Step::Sealing { attempt, sealed, .. }, Answer::Sealed(s))
                    if s.attempt == *attempt =>
                {
                    sealed.insert(*i, s.clone());
                }
                _ => {}
            }
        }
        self.seen = cluster.answers.len();
    }

    /// Elects the best of the sealed if they are proof (or everybody answered).
    pub fn elect(&mut self, cluster: &mut Cluster, plane: Plane) {
        self.listen(cluster);
        let Step::Sealing { attempt, version, sealed } = self.step.clone() else { return };
        let record = cluster.record.clone();
        let sets = Sets::of(plane, &record);
        let of = |i: &usize| record.members.iter().any(|m| number(&m.id) == *i);
        let all: Vec<(usize, Sealed)> = sealed.into_iter().filter(|(i, _)| of(i)).collect();
        let intact: Vec<(usize, Sealed)> = all.iter().filter(|(_, s)| s.intact).cloned().collect();
        let has = |at: usize| intact.iter().any(|(i, _)| name(*i) == record.members[at].id);
        let pool = if sets.proves(has) {
            intact
        } else if all.len() == record.members.len() {
            self.lossy = true;
            all
        } else {
            return;
        };
        let key = |s: &Sealed| -> EntryId { s.last };
        let Some((elect, best)) = pool.iter().max_by_key(|(i, s)| (key(s), usize::MAX - i)) else {
            return;
        };
        let members: Vec<Member> = record
            .members
            .iter()
            .filter(|m| pool.iter().any(|(i, _)| name(*i) == m.id))
            .map(|m| {
                let role = if m.id == name(*elect) { Role::Master } else { Role::Replica };
                Member { role, ..m.clone() }
            })
            .collect();
        let mode = Mode { rule: record.rule, wanted: record.wanted, durability: record.durability };
        let (elect, life, last) = (*elect, best.life, best.last);
        self.step = Step::Electing { attempt, version, elect, members: members.clone() };
        cluster.order(elect, Order::Elect { attempt, life, last, members, mode, above: 0 });
    }

    /// Commits the elect once it was ready; gives up if the record has moved.
    pub fn commit(&mut self, cluster: &mut Cluster) -> bool {
        let Step::Electing { attempt, version, elect, members } = self.step.clone() else {
            return false;
        };
        if cluster.record.version != version {
            self.step = Step::Idle;
            return false;
        }
        let new = &cluster.answers[self.seen..];
        let ready = new.contains(&(elect, Answer::Ready { attempt }));
        if new.contains(&(elect, Answer::NotElect { attempt })) {
            self.step = Step::Idle;
            return false;
        }
        if !ready {
            return false;
        }
        let record = Record {
            epoch: attempt,
            master: Some(name(elect)),
            members,
            open: false,
            ..cluster.record.clone()
        };
        self.step = Step::Idle;
        cluster.swap(version, record)
    }
}
