//! The keeper of a group's record: linearizable and durable, as the directory is.

use super::network::KEEPER;
use super::{Ev, MS, US, World};
use crate::place::{Local, Purpose};
use crate::scenario::WorldKind;
use cairn_host::Event;
use cairn_logic::arbiter::{Founding, Operation};
use cairn_logic::counting::Plane;
use cairn_logic::ids::Version;
use cairn_logic::invariants::Held;
use cairn_logic::judge::{CasOutcome, JudgeInput};
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::record::Record;

/// Who asked: the answer reaches that process and no later one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    place: usize,
    generation: u64,
}

/// A request that reached the keeper.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// Make the register of the global plane.
    Found,
    /// Replace the record.
    Swap { asker: Asker, by_judge: bool, expected: Version, record: Box<Record> },
    /// Read it.
    Read { place: usize },
}

impl World {
    /// The master's change.
    pub(super) fn ask_record(&mut self, place: usize, expected: Version, record: Record) {
        if self.has_session(place) {
            self.swap_group(place, expected, record);
            return;
        }
        if self.logs[0].plane == Plane::Global {
            let record = Box::new(record);
            self.propose(place, Purpose::Change, Operation::Swap { expected, record });
            return;
        }
        self.swap(place, false, expected, record);
    }

    /// Sends a compare-and-swap to the keeper; it may be lost on the way.
    pub(super) fn swap(&mut self, place: usize, by_judge: bool, expected: Version, record: Record) {
        if self.links.works(place, KEEPER) && !self.rng.chance(self.faults.loss) {
            // A change of the directory is flushed on every machine of the global plane.
            let after = self.latency() + self.rng.between(300, 12_000) * US;
            let record = Box::new(record);
            let asker = Asker { place, generation: self.places[place].generation };
            self.push(after, Ev::Keeper(Ask::Swap { asker, by_judge, expected, record }));
        } else if by_judge {
            let input = JudgeInput::CasDone { expected, outcome: CasOutcome::Unknown };
            self.push_own(place, 300 * MS, Local::Judge(Box::new(input)));
        }
    }

    pub(super) fn read_record(&mut self, place: usize) {
        if self.has_session(place) {
            self.read_group(place);
        } else if self.logs[0].plane == Plane::Global {
            self.propose(place, Purpose::Read, Operation::Read);
        } else if self.links.works(place, KEEPER) {
            let after = self.latency();
            self.push(after, Ev::Keeper(Ask::Read { place }));
        }
    }

    pub(super) fn keeper(&mut self, ask: Ask) -> Held {
        match ask {
            Ask::Found if !self.places[0].up || self.places[0].is_beginning() => {
                self.push(20 * MS, Ev::Keeper(Ask::Found));
            }
            Ask::Found => {
                let acceptors = self.acceptors();
                let acceptors = acceptors.into_iter().map(|at| self.places[at].id.clone());
                let founding = Founding {
                    uid: "simulated".to_owned(),
                    record: self.logs[0].witness.record().clone(),
                    acceptors: acceptors.collect(),
                };
                self.propose(0, Purpose::Found, Operation::Found(Box::new(founding)));
            }
            Ask::Read { place } => {
                let record = self.logs[0].witness.record().clone();
                self.show(place, record);
            }
            Ask::Swap { asker: Asker { place, generation }, by_judge, expected, record } => {
                let won = self.take(expected, &record)?;
                let answered =
                    self.links.works(KEEPER, place) && !self.rng.chance(self.faults.loss);
                if by_judge {
                    let outcome = match (answered, won) {
                        (false, _) => CasOutcome::Unknown,
                        (true, true) => CasOutcome::Won,
                        (true, false) => CasOutcome::Lost,
                    };
                    let after = if answered { self.latency() } else { 300 * MS };
                    let what = Local::Judge(Box::new(JudgeInput::CasDone { expected, outcome }));
                    let generation = Some(generation);
                    self.push(after, Ev::Local { place, generation, what });
                } else if answered {
                    let record = self.logs[0].witness.record().clone();
                    self.show(place, record);
                }
            }
        }
        Ok(())
    }

    /// Compares and swaps.
    fn take(&mut self, expected: Version, record: &Record) -> Result<bool, super::Broken> {
        let now = self.logs[0].witness.record();
        let (mut record, same) = (record.clone(), now.version == expected);
        if !same && broken(Mutant::CasIgnoresVersion) && record.epoch > now.epoch {
            record.version = now.version.next();
        } else if !same {
            return Ok(false);
        }
        self.recorded(0, &record)?;
        for place in 0..self.places.len() {
            self.show(place, record.clone());
        }
        Ok(true)
    }

    /// The record changed, wherever it is kept.
    pub(super) fn recorded(&mut self, log: usize, record: &Record) -> Held {
        let now = self.logs[log].witness.record().clone();
        let name = match self.scenario.kind {
            WorldKind::Cluster => format!(" of {}", self.logs[log].group),
            WorldKind::Group | WorldKind::Global | WorldKind::Moves => String::new(),
        };
        self.note(|| {
            let members: Vec<&str> = record.members.iter().map(|m| m.id.as_str()).collect();
            let (epoch, attempt, open) = (record.epoch, record.attempt, record.open);
            let master = record.master.as_ref().map_or("nobody", |m| m.as_str());
            format!(
                "record{name}: epoch {epoch} {master} of {members:?} attempt {attempt} open {open}"
            )
        });
        if record.epoch != now.epoch {
            match record.master == now.master && !now.open {
                true => self.stats.changes += 1,
                false if self.logs[log].plane == Plane::Global => self.stats.plane_takeovers += 1,
                false => self.stats.takeovers += 1,
            }
        }
        self.logs[log].witness.record_changes(record)
    }

    /// Shows the record to a place: its host and its judge, some time.
    pub(super) fn show(&mut self, place: usize, record: Record) {
        if !self.links.works(KEEPER, place) {
            return;
        }
        let after = self.latency();
        let what = Local::Host(Box::new(Event::Record(record.clone())));
        self.push(after, Ev::Local { place, generation: None, what });
        let what = Local::Judge(Box::new(JudgeInput::Record(record)));
        self.push(after, Ev::Local { place, generation: None, what });
    }

    /// Reads the record now and then: a watch may break.
    pub(super) fn poll_record(&mut self, place: usize) {
        if self.now >= self.places[place].read_at {
            self.places[place].read_at = self.now + self.rng.between(100, 400) * MS;
            self.read_record(place);
        }
    }
}
