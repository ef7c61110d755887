//! The arbiter's register for scenarios: acceptors that answer at once, proposers by name.

use cairn_logic::arbiter::{
    Acceptor, AcceptorEffect, AcceptorState, Founding, Operation, Outcome, Patience, Proposer,
    ProposerEffect, Roster, Seat,
};
use cairn_logic::ids::{Incarnation, Life, NodeId, Version};
use cairn_logic::record::Record;
use cairn_logic::time::{Duration, Instant};
use std::collections::BTreeMap;

/// Three acceptors (a, b, c) and whoever has asked them something.
pub struct Register {
    acceptors: BTreeMap<NodeId, Acceptor>,
    proposers: BTreeMap<NodeId, Proposer>,
    record: Record,
    now: Instant,
}

fn seat(name: &str, folder: u64) -> Seat {
    Seat { id: NodeId::new(name), incarnation: Incarnation(folder) }
}

fn show(roster: &Roster) -> String {
    let seats = roster.seats.iter().map(|seat| format!("{}:{}", seat.id, seat.incarnation.0));
    seats.collect::<Vec<_>>().join(" ")
}

impl Register {
    /// A register of acceptors with their first folders that holds `record`.
    pub fn found(record: Record) -> Self {
        let names = ["a", "b", "c"];
        let blank = |name| (NodeId::new(name), Acceptor::new(seat(name, 1), Default::default()));
        let acceptors = names.map(blank).into();
        let now = Instant::ZERO;
        let mut register =
            Self { acceptors, proposers: BTreeMap::new(), record: record.clone(), now };
        let acceptors = names.map(NodeId::new).to_vec();
        let founding = Founding { uid: "scenario".into(), record, acceptors };
        register.ask("p", Operation::Found(Box::new(founding)));
        register
    }

    /// The acceptor's folder is lost; it begins anew with another.
    pub fn lose(&mut self, name: &str, folder: u64) {
        let acceptor = Acceptor::new(seat(name, folder), AcceptorState::default());
        self.acceptors.insert(NodeId::new(name), acceptor);
    }

    /// `read`, `swap 2` or `replace a 2`, asked by `who`; what came of it.
    pub fn does(&mut self, who: &str, words: &[&str]) -> String {
        let number = |word: &str| word.parse::<u64>().expect("a number");
        let operation = match words {
            ["read"] => Operation::Read,
            ["swap", expected] => {
                let expected = Version(number(expected));
                let record = Record { version: expected.next(), ..self.record.clone() };
                Operation::Swap { expected, record: Box::new(record) }
            }
            ["replace", out, folder] => {
                Operation::Replace { out: NodeId::new(out), seat: seat(out, number(folder)) }
            }
            other => panic!("unknown operation {other:?}"),
        };
        match self.ask(who, operation) {
            Outcome::Is(value) => {
                format!("version {} of {}", value.record.version, show(&value.roster))
            }
            Outcome::Changed(value) => {
                format!("changed: version {} of {}", value.record.version, show(&value.roster))
            }
            Outcome::Refused(value) => {
                format!("refused: version {} of {}", value.record.version, show(&value.roster))
            }
            other => format!("{other:?}"),
        }
    }

    /// Asks and runs until an answer comes, for at most ten seconds.
    fn ask(&mut self, who: &str, operation: Operation) -> Outcome {
        let id = NodeId::new(who);
        let seeds: Vec<NodeId> = self.acceptors.keys().cloned().collect();
        let fresh = || Proposer::new(id.clone(), Life(1), seeds, Patience::default());
        let mut proposer = self.proposers.remove(&id).unwrap_or_else(fresh);
        let mut effects = Vec::new();
        proposer.ask(self.now, 1, operation, &mut effects);
        let mut outcome = None;
        for _ in 0..1000 {
            while let Some(effect) = (!effects.is_empty()).then(|| effects.remove(0)) {
                match effect {
                    ProposerEffect::Done { outcome: done, .. } => outcome = Some(done),
                    ProposerEffect::Send { to, body } => {
                        let Some(acceptor) = self.acceptors.get_mut(&to) else { continue };
                        let (from, mut answers) = (acceptor.seat().clone(), Vec::new());
                        acceptor.step(&id, body, &mut answers);
                        for answer in answers {
                            if let AcceptorEffect::Reply { body, .. } = answer {
                                proposer.reply(self.now, &from, body, &mut effects);
                            }
                        }
                    }
                }
            }
            if outcome.is_some() {
                break;
            }
            self.now = self.now + Duration::from_millis(10);
            proposer.tick(self.now, &mut effects);
        }
        self.proposers.insert(id, proposer);
        outcome.expect("an operation ends")
    }
}
