//! The proposer: reads and changes the register, one operation at a time.

mod recovery;
mod round;

use super::{Author, Ballot, Reply, Request, Roster, Seat, Value};
use crate::ids::{Life, NodeId, Version};
use crate::record::Record;
use crate::time::{Duration, Instant};
pub use recovery::Recovery;
use round::Running;
use std::collections::{BTreeSet, VecDeque};

/// Correlates an outcome with what was asked.
pub type Token = u64;

/// How long a proposer waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Until a request is sent again.
    pub resend: Duration,
    /// The shortest wait after a rival's round; doubles up to 32 times it.
    pub backoff: Duration,
    /// Until an operation ends as [`Outcome::Unknown`].
    pub give_up: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            resend: Duration::from_millis(100),
            backoff: Duration::from_millis(10),
            give_up: Duration::from_secs(5),
        }
    }
}

/// What the register begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Founding {
    /// The cluster's random name.
    pub uid: String,
    /// Version 1, epoch 0, no master.
    pub record: Record,
    /// The nodes whose acceptors are to keep it; all of them must answer.
    pub acceptors: Vec<NodeId>,
}

/// What may be asked of the register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// The value as it stands.
    Read,
    /// Replace the record, if its version is still `expected`.
    Swap {
        /// The version it replaces.
        expected: Version,
        /// The new record.
        record: Box<Record>,
    },
    /// Make the register; finds an existing value instead, if there is one.
    Found(Box<Founding>),
    /// Make the register again from what is left, over whatever is found: a person's decision.
    Recover(Box<Recovery>),
    /// Put another acceptor in the place of `out` (the sitting master alone asks this). Refused if
    /// the folder of `out` that the proposer knew when it was asked has left already: the request
    /// is late, and the folder it would put in may be lost since.
    Replace {
        /// Who leaves.
        out: NodeId,
        /// Who comes; blank.
        seat: Seat,
    },
}

/// How an operation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The value as it stands (of a read).
    Is(Box<Value>),
    /// The change is decided; this is the value now, or was until somebody changed it again.
    Changed(Box<Value>),
    /// The change was refused: the value was another one.
    Refused(Box<Value>),
    /// Every acceptor that was asked is blank: `RecordMissing`, a person decides.
    Missing,
    /// No majority answered in time. A change may or may not have happened: read until it shows.
    Unknown {
        /// Who did not answer.
        silent: Vec<NodeId>,
    },
    /// Too many operations wait already; nothing happened.
    Busy,
}

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProposerEffect {
    /// Ask the acceptor on a node.
    Send {
        /// The node.
        to: NodeId,
        /// What.
        body: Request,
    },
    /// An operation ended.
    Done {
        /// Which.
        token: Token,
        /// How.
        outcome: Outcome,
    },
}

/// Operations that may wait; more end as [`Outcome::Busy`].
const WAITING_MAX: usize = 16;

/// An operation that waits for its turn.
#[derive(Clone, Debug)]
struct Waiting {
    token: Token,
    operation: Operation,
    /// The folder that a replacement is about.
    leaves: Option<Seat>,
}

/// Reads and changes the register for one process.
#[derive(Clone, Debug)]
pub struct Proposer {
    me: NodeId,
    life: Life,
    patience: Patience,
    counter: u64,
    serial: u64,
    seeds: Vec<NodeId>,
    roster: Option<Roster>,
    settled: Option<Value>,
    waiting: VecDeque<Waiting>,
    running: Option<Running>,
}

impl Proposer {
    /// A proposer of process `life` on node `me`, which first asks the acceptors on `seeds`.
    #[must_use]
    pub fn new(me: NodeId, life: Life, seeds: Vec<NodeId>, patience: Patience) -> Self {
        Self {
            me,
            life,
            patience,
            counter: 0,
            serial: 0,
            seeds,
            roster: None,
            settled: None,
            waiting: VecDeque::new(),
            running: None,
        }
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.running.is_none()
    }

    /// The acceptors as last seen.
    #[must_use]
    pub fn roster(&self) -> Option<&Roster> {
        self.roster.as_ref()
    }

    /// Begins an operation, or lets it wait behind the one under way.
    pub fn ask(
        &mut self,
        now: Instant,
        token: Token,
        operation: Operation,
        effects: &mut Vec<ProposerEffect>,
    ) {
        if self.waiting.len() >= WAITING_MAX {
            effects.push(ProposerEffect::Done { token, outcome: Outcome::Busy });
            return;
        }
        let leaves = match (&operation, &self.roster) {
            (Operation::Replace { out, .. }, Some(roster)) => roster.seat_of(out).cloned(),
            _ => None,
        };
        let is_recovery = matches!(operation, Operation::Recover(_));
        let waiting = Waiting { token, operation, leaves };
        if is_recovery {
            // What is under way cannot end where a majority is missing.
            if let Some(running) = self.running.take() {
                let (token, silent) = (running.token(), Vec::new());
                effects.push(ProposerEffect::Done { token, outcome: Outcome::Unknown { silent } });
            }
            self.waiting.push_front(waiting);
        } else {
            self.waiting.push_back(waiting);
        }
        self.start_next(now, effects);
    }

    /// Handles the answer of the acceptor with folder `from`.
    pub fn reply(
        &mut self,
        now: Instant,
        from: &Seat,
        reply: Reply,
        effects: &mut Vec<ProposerEffect>,
    ) {
        if let Reply::Conflict { promised, .. } = &reply {
            self.counter = self.counter.max(promised.counter);
        }
        if let Reply::Seen { accepted: Some(accepted) } = &reply {
            self.counter = self.counter.max(accepted.0.counter);
        }
        let Some(mut running) = self.running.take() else { return };
        let done = running.reply(self, now, from, reply, effects);
        self.go_on(now, running, done, effects);
    }

    /// Lets time pass; at least every 25 ms.
    pub fn tick(&mut self, now: Instant, effects: &mut Vec<ProposerEffect>) {
        let Some(mut running) = self.running.take() else { return };
        let done = running.tick(self, now, effects);
        self.go_on(now, running, done, effects);
    }

    fn go_on(
        &mut self,
        now: Instant,
        running: Running,
        done: Option<Outcome>,
        effects: &mut Vec<ProposerEffect>,
    ) {
        match done {
            None => self.running = Some(running),
            Some(outcome) => {
                if let Outcome::Is(value) | Outcome::Changed(value) | Outcome::Refused(value) =
                    &outcome
                {
                    self.roster = Some(value.roster.clone());
                }
                effects.push(ProposerEffect::Done { token: running.token(), outcome });
                self.start_next(now, effects);
            }
        }
    }

    fn start_next(&mut self, now: Instant, effects: &mut Vec<ProposerEffect>) {
        if self.running.is_some() {
            return;
        }
        let Some(next) = self.waiting.pop_front() else { return };
        self.serial += 1;
        let author = Author { node: self.me.clone(), life: self.life, serial: self.serial };
        self.running = Some(Running::start(self, now, next, author, effects));
    }

    fn next_ballot(&mut self) -> Ballot {
        self.counter += 1;
        Ballot { counter: self.counter, node: self.me.clone(), life: self.life }
    }

    /// Whom to ask before any value is known to be current.
    fn asked(&self) -> BTreeSet<NodeId> {
        let known = self.roster.iter().flat_map(Roster::all).map(|seat| seat.id);
        self.seeds.iter().cloned().chain(known).collect()
    }

    /// A wait that differs between proposers, so that rivals do not meet for ever.
    fn backoff(&self, tries: u32) -> Duration {
        let base = self.patience.backoff * (1 << tries.min(5));
        let name = self.me.as_str().bytes().fold(self.counter, |sum, byte| {
            sum.wrapping_mul(0x0100_0000_01b3).wrapping_add(u64::from(byte))
        });
        base + base * u32::try_from(name % 8).unwrap_or(0) / 8
    }
}
