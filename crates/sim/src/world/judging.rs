//! Judges and the planner.

use super::{Ev, MS, World};
use crate::place::{Local, Purpose};
use crate::scenario::WorldKind;
use cairn_host::Event;
use cairn_logic::arbiter::Operation;
use cairn_logic::counting::Plane;
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::judge::{JudgeEffect, JudgeInput};
use cairn_logic::planner::{Node, Standing, next_change};
use cairn_logic::record::{Member, Role};
use cairn_logic::replication::Change;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl World {
    /// Where judges are.
    pub(super) fn judges(&self) -> Vec<usize> {
        (0..self.places.len()).filter(|at| self.places[*at].has_judge).collect()
    }

    pub(super) fn judge(&mut self, place: usize, input: JudgeInput) -> Held {
        if self.places[place].is_beginning() {
            return Ok(());
        }
        self.may_leave(place, &input)?;
        let now = self.places[place].clock.read(self.now);
        let Some(judge) = &mut self.places[place].judge else { return Ok(()) };
        let mut effects = Vec::new();
        let stepped = catch_unwind(AssertUnwindSafe(|| judge.step(now, input, &mut effects)));
        if let Err(panic) = stepped {
            return Err(self.panicked(place, panic.as_ref()));
        }
        for effect in effects {
            self.judged(place, effect)?;
        }
        Ok(())
    }

    fn judged(&mut self, place: usize, effect: JudgeEffect) -> Held {
        let id = self.places[place].id.clone();
        match effect {
            JudgeEffect::Cas { expected, record } => {
                self.logs[0].witness.rests_on(expected, &record)?;
                match self.logs[0].plane {
                    Plane::Group => self.swap(place, true, expected, record),
                    Plane::Global => {
                        let record = Box::new(record);
                        let swap = Operation::Swap { expected, record };
                        self.propose(place, Purpose::Attempt(expected), swap);
                    }
                }
            }
            JudgeEffect::ReadRecord => self.read_record(place),
            JudgeEffect::Order { to, order } => {
                let target = self.places.iter().position(|there| there.id == to);
                if let Some(target) = target {
                    let event = Box::new(Event::Order(order));
                    self.transmit(place, target, Local::Host(event));
                }
            }
            effect => return self.judge_says(0, id.as_str(), effect),
        }
        Ok(())
    }

    /// What a judge of a log says for people.
    pub(super) fn judge_says(&mut self, log: usize, id: &str, effect: JudgeEffect) -> Held {
        match effect {
            JudgeEffect::Cas { .. } | JudgeEffect::ReadRecord | JudgeEffect::Order { .. } => {}
            JudgeEffect::Waiting(waiting) => {
                let text = waiting.map_or("nothing".to_owned(), |w| {
                    let silent: Vec<&str> = w.silent.iter().map(|id| id.as_str()).collect();
                    format!("{} {:?} {}/{} {silent:?}", w.attempt, w.phase, w.sealed, w.needed)
                });
                self.note(|| format!("judge {id} waits for {text}"));
            }
            JudgeEffect::DataLossPossible { attempt, sealed } => {
                self.note(|| format!("judge {id} reports a loss in {attempt}: {sealed:?}"));
                self.logs[log].witness.loss_reported(attempt);
            }
            JudgeEffect::DirectoryBehind { member, sealed, attempt } => {
                let facts = format!("{member} sealed {sealed}, the record says {attempt}");
                return Err(Broken { rule: "I12 Monotone", facts });
            }
            JudgeEffect::Decided(decision) => {
                let (cause, took) = (decision.cause, decision.took);
                self.note(|| format!("judge {id} decided: {cause:?} took {took:?}"));
                self.logs[log].witness.decides(
                    &decision.record,
                    &decision.sealed,
                    decision.lossy,
                )?;
            }
            JudgeEffect::WishDropped { why } => self.note(|| format!("judge {id}: {why}")),
        }
        Ok(())
    }

    /// The planner compares the record with what is asked, and tells the master.
    pub(super) fn plan(&mut self) -> Held {
        let wait = self.rng.between(40, 200) * MS;
        self.push(wait, Ev::Plan);
        if self.is_dark() {
            return Ok(());
        }
        self.replace_acceptor();
        if self.scenario.kind == WorldKind::Cluster {
            self.operate();
            return Ok(());
        }
        let record = self.logs[0].witness.record().clone();
        let mut learners: Vec<(u64, Node)> = Vec::new();
        let mut heard = BTreeSet::new();
        let mut zones = BTreeMap::new();
        for (at, place) in self.places[..self.scenario.nodes].iter().enumerate() {
            let Some(folder) = &place.folder else { continue };
            if record.member(&place.id).is_some() {
                if place.up {
                    heard.insert(place.id.clone());
                }
                if record.names(&place.id, folder.incarnation) {
                    zones.extend(self.scenario.zone(at).map(|zone| (place.id.clone(), zone)));
                    continue;
                }
            }
            let node = Node {
                id: place.id.clone(),
                incarnation: folder.incarnation,
                zone: self.scenario.zone(at),
                keyspace: None,
                group: None,
                priority: 0,
                make: String::new(),
                drained: false,
                last: false,
            };
            let up = u64::from(place.up) << 32;
            learners.push((up + folder.last().offset.0, node));
        }
        learners.sort_by_key(|(length, node)| (std::cmp::Reverse(*length), node.id.clone()));
        let free: Vec<Node> = learners.iter().map(|(_, node)| node.clone()).collect();
        let joinable: Vec<Node> =
            free.iter().filter(|node| record.member(&node.id).is_none()).cloned().collect();
        let (heard, nobody, zones) = (&heard, &BTreeSet::new(), &zones);
        let (spares, drained) = (nobody, nobody);
        let standing = Standing { record: &record, heard, spares, zones, drained };
        let planned = next_change(&self.logs[0].asked, standing, &joinable);
        let wish = self.odd_wish(&record.members).or(planned);
        self.tell_master(&record, &free, wish);
        Ok(())
    }

    fn tell_master(
        &mut self,
        record: &cairn_logic::record::Record,
        free: &[Node],
        wish: Option<Change>,
    ) {
        let learner = |node: &Node| Member {
            id: node.id.clone(),
            incarnation: node.incarnation,
            role: Role::Replica,
            zone: node.zone.clone(),
        };
        let learners: Vec<Member> = free.iter().map(learner).collect();
        for place in 0..self.scenario.nodes {
            let after = self.latency();
            let what = Local::Host(Box::new(Event::Learners(learners.clone())));
            self.push(after, Ev::Local { place, generation: None, what });
            let mine = record.master.as_ref() == Some(&self.places[place].id);
            let what = Local::Host(Box::new(Event::Wish(wish.clone().filter(|_| mine))));
            self.push(after, Ev::Local { place, generation: None, what });
        }
    }

    /// A wish that makes no sense, for a while.
    fn odd_wish(&mut self, members: &[Member]) -> Option<Change> {
        let (wish, until) = self.logs[0].odd_wish.clone()?;
        let known = match &wish {
            Change::Remove(id) => members.iter().any(|m| m.id == *id),
            _ => true,
        };
        if self.now >= until || !known {
            self.logs[0].odd_wish = None;
            return None;
        }
        Some(wish)
    }
}
