//! The arbiter of the global plane: real acceptors and proposers.

use super::{US, World};
use crate::place::{Local, Place, Purpose, Register};
use cairn_host::Event;
use cairn_logic::arbiter::{
    Acceptor, AcceptorEffect, AcceptorState, Operation, Outcome, Patience, Proposer,
    ProposerEffect, Reply, Request, Roster, Seat, Value,
};
use cairn_logic::ids::{Life, Version};
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::judge::{CasOutcome, JudgeInput};
use cairn_logic::message::Position;
use cairn_logic::time::Duration;
use std::collections::BTreeMap;

fn short_seat(seat: &Seat) -> String {
    format!("{}:{}", seat.id, seat.incarnation.0)
}

fn short(roster: &Roster) -> String {
    let list = |seats: &Vec<Seat>| seats.iter().map(short_seat).collect::<Vec<_>>().join(",");
    let former = roster.former.as_ref().map_or(String::new(), |f| format!(" before {}", list(f)));
    format!("{}{former}", list(&roster.seats))
}

impl World {
    pub(super) fn new_register(&self, place: usize, life: Life) -> Register {
        let seeds = self.acceptors().into_iter().map(|at| self.places[at].id.clone());
        let patience = Patience {
            resend: Duration::from_millis(30),
            backoff: Duration::from_millis(4),
            give_up: Duration::from_millis(900),
        };
        let id = self.places[place].id.clone();
        let proposer = Proposer::new(id, life, seeds.collect(), patience);
        Register { proposer, asked: BTreeMap::new(), token: 0 }
    }

    pub(super) fn new_acceptor(there: &Place) -> Option<Acceptor> {
        there.kept.clone().map(|state| Acceptor::new(there.seat(), state))
    }

    /// Asks the register for something.
    pub(super) fn propose(&mut self, place: usize, purpose: Purpose, operation: Operation) {
        let now = self.places[place].clock.read(self.now);
        let Some(register) = &mut self.places[place].register else { return };
        let reading = |purpose: &Purpose| matches!(purpose, Purpose::Read);
        if reading(&purpose) && register.asked.values().any(reading) {
            return;
        }
        register.token += 1;
        register.asked.insert(register.token, purpose);
        let mut effects = Vec::new();
        register.proposer.ask(now, register.token, operation, &mut effects);
        self.proposed(place, effects);
    }

    pub(super) fn proposer(&mut self, place: usize, from: &Seat, reply: Reply) -> Held {
        let now = self.places[place].clock.read(self.now);
        let Some(register) = &mut self.places[place].register else { return Ok(()) };
        let mut effects = Vec::new();
        register.proposer.reply(now, from, reply, &mut effects);
        self.proposed(place, effects);
        Ok(())
    }

    pub(super) fn tick_register(&mut self, place: usize) -> Held {
        let now = self.places[place].clock.read(self.now);
        let Some(register) = &mut self.places[place].register else { return Ok(()) };
        let mut effects = Vec::new();
        register.proposer.tick(now, &mut effects);
        self.proposed(place, effects);
        Ok(())
    }

    fn proposed(&mut self, place: usize, effects: Vec<ProposerEffect>) {
        for effect in effects {
            match effect {
                ProposerEffect::Send { to, body } => {
                    let target = self.places.iter().position(|there| there.id == to);
                    if let Some(target) = target {
                        let request = Box::new(body);
                        self.transmit(place, target, Local::Ask { from: place, request });
                    }
                }
                ProposerEffect::Done { token, outcome } => {
                    let register = self.places[place].register.as_mut();
                    let purpose = register.and_then(|r| r.asked.remove(&token));
                    if let Some(purpose) = purpose {
                        self.proposal_done(place, purpose, outcome);
                    }
                }
            }
        }
    }

    fn proposal_done(&mut self, place: usize, purpose: Purpose, outcome: Outcome) {
        let seen = match &outcome {
            Outcome::Is(value) | Outcome::Changed(value) | Outcome::Refused(value) => {
                Some(value.record.clone())
            }
            _ => None,
        };
        if let Purpose::Attempt(expected) = purpose {
            let outcome = match outcome {
                Outcome::Changed(_) => CasOutcome::Won,
                Outcome::Refused(_) | Outcome::Busy => CasOutcome::Lost,
                _ => CasOutcome::Unknown,
            };
            let input = JudgeInput::CasDone { expected, outcome };
            self.push_own(place, US, Local::Judge(Box::new(input)));
        }
        if let Some(record) = seen {
            let event = Event::Record(record.clone());
            self.push_own(place, 2 * US, Local::Host(Box::new(event)));
            let input = JudgeInput::Record(record);
            self.push_own(place, 2 * US, Local::Judge(Box::new(input)));
        }
    }

    /// An acceptor takes requests one after another, each after its flush.
    pub(super) fn acceptor(&mut self, place: usize, from: usize, request: Request) {
        let proposer = self.places[from].id.clone();
        let Some(acceptor) = &mut self.places[place].acceptor else { return };
        let mut effects = Vec::new();
        acceptor.step(&proposer, request, &mut effects);
        let mut state = acceptor.state().clone();
        let mut flushed = false;
        for effect in effects {
            match effect {
                AcceptorEffect::Persist(new) => (state, flushed) = (new, true),
                AcceptorEffect::Reply { body, .. } => {
                    let takes = if flushed { self.rng.between(100, 3000) } else { 5 };
                    let there = &mut self.places[place];
                    there.acceptor_free = there.acceptor_free.max(self.now) + takes * US;
                    let after = there.acceptor_free - self.now;
                    let (state, reply) = (Box::new(state.clone()), Box::new(body));
                    self.push_own(place, after, Local::Stored { state, to: from, reply });
                }
            }
        }
    }

    pub(super) fn stored(
        &mut self,
        place: usize,
        state: AcceptorState,
        to: usize,
        reply: Reply,
    ) -> Held {
        if self.rng.chance(100) {
            self.places[place].kept_before = self.places[place].kept.clone();
        }
        self.places[place].kept = Some(state);
        self.look_at_register(place)?;
        let from = self.places[place].seat();
        self.transmit(place, to, Local::Reply { from, reply: Box::new(reply) });
        Ok(())
    }

    /// Whether a value is decided that was not before: who ever accepted a round counts, even if
    /// its folder is lost since.
    pub(super) fn look_at_register(&mut self, place: usize) -> Held {
        let seat = self.places[place].seat();
        let kept = self.places[place].kept.as_ref();
        let Some((ballot, value)) = kept.and_then(|state| state.accepted.clone()) else {
            return Ok(());
        };
        let round = (ballot.counter, ballot.node.clone(), ballot.life);
        let seats = self.accepted.entry(ballot).or_default();
        if !seats.insert(seat.clone()) {
            return Ok(());
        }
        let decided = value.roster.is_quorum(seats);
        if self.options.trace {
            let (version, roster) = (value.record.version, short(&value.roster));
            let (name, (counter, node, life)) = (short_seat(&seat), round);
            self.note_aside(|| {
                format!("{name} accepts {version} in {counter}/{node}/{life} of {roster}")
            });
        }
        while self.accepted.len() > 64 {
            self.accepted.pop_first();
        }
        if decided {
            self.look_at_roster(&value);
            self.decided(&value.record)?;
        }
        Ok(())
    }

    fn look_at_roster(&mut self, value: &Value) {
        let Some(lost) = self.lost_acceptor else { return };
        let settled = value.roster.former.is_none();
        if settled && value.roster.seats.contains(&self.places[lost].seat()) {
            self.lost_acceptor = None;
            let id = self.places[lost].id.clone();
            self.note(|| format!("the acceptor of {id} is replaced"));
        }
    }

    /// The sitting master replaces an acceptor that lost its folder.
    pub(super) fn replace_acceptor(&mut self) {
        let Some(lost) = self.lost_acceptor else { return };
        let seat = self.places[lost].seat();
        let epoch = self.logs[0].witness.record().epoch;
        let master = self.places.iter().position(|there| {
            if there.register.is_none() {
                return false;
            }
            let replica = there.process.as_ref().map(|p| p.host.replica());
            replica.is_some_and(|r| r.position() == Position::Master(epoch))
        });
        let Some(master) = master else { return };
        let asked = self.places[master].register.as_ref();
        let busy = asked.is_some_and(|r| r.asked.values().any(|p| matches!(p, Purpose::Seat)));
        if !busy {
            let operation = Operation::Replace { out: seat.id.clone(), seat };
            self.propose(master, Purpose::Seat, operation);
        }
    }

    fn decided(&mut self, record: &cairn_logic::record::Record) -> Held {
        let known = self.logs[0].witness.record();
        if record.version == known.version.next() {
            return self.recorded(0, record);
        }
        let same = record.version < known.version || record == known;
        if same && record.version >= Version(1) {
            return Ok(());
        }
        let facts = format!("decided {record:?} after {known:?}");
        Err(Broken { rule: "Register", facts })
    }
}
