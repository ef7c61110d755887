//! One acceptor: keeps a promise and a value, both flushed before it answers.

use super::{Accepted, Ballot, Reply, Request, Seat};
use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// What an acceptor stores, double-written and flushed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptorState {
    /// Every older round is refused.
    pub promised: Option<Ballot>,
    /// What was accepted last.
    pub accepted: Option<Accepted>,
}

/// Something to do, strictly in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AcceptorEffect {
    /// Barrier: flush this state.
    Persist(AcceptorState),
    /// Answer.
    Reply {
        /// The proposer's node.
        to: NodeId,
        /// What.
        body: Reply,
    },
}

/// One of the three that keep the arbiter's value.
#[derive(Clone, Debug)]
pub struct Acceptor {
    seat: Seat,
    state: AcceptorState,
}

impl Acceptor {
    /// The acceptor of folder `seat`, as its file says.
    #[must_use]
    pub fn new(seat: Seat, state: AcceptorState) -> Self {
        Self { seat, state }
    }

    /// Its folder.
    #[must_use]
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// What it stores.
    #[must_use]
    pub fn state(&self) -> &AcceptorState {
        &self.state
    }

    /// Handles one request of the proposer on node `from`.
    pub fn step(&mut self, from: &NodeId, request: Request, effects: &mut Vec<AcceptorEffect>) {
        let (body, changed) = match request {
            Request::Look => {
                (Reply::Seen { accepted: self.state.accepted.clone().map(Box::new) }, false)
            }
            Request::Prepare { ballot, blank_may_promise } => {
                self.prepare(ballot, blank_may_promise)
            }
            Request::Accept { ballot, value } => self.accept(ballot, *value),
        };
        if changed {
            effects.push(AcceptorEffect::Persist(self.state.clone()));
        }
        effects.push(AcceptorEffect::Reply { to: from.clone(), body });
    }

    fn prepare(&mut self, ballot: Ballot, blank_may_promise: bool) -> (Reply, bool) {
        if let Some(promised) = self.newer_than(&ballot) {
            return (Reply::Conflict { ballot, promised }, false);
        }
        if self.state.accepted.is_none() && !blank_may_promise {
            return (Reply::Blank { ballot }, false);
        }
        let changed = self.state.promised.as_ref() != Some(&ballot);
        self.state.promised = Some(ballot.clone());
        let accepted = self.state.accepted.clone().map(Box::new);
        (Reply::Promised { ballot, accepted }, changed)
    }

    fn accept(&mut self, ballot: Ballot, value: super::Value) -> (Reply, bool) {
        if let Some(promised) = self.newer_than(&ballot) {
            return (Reply::Conflict { ballot, promised }, false);
        }
        if !value.roster.all().contains(&self.seat) {
            return (Reply::NotNamed { ballot }, false);
        }
        let accepted = Some((ballot.clone(), value));
        let changed = self.state.accepted != accepted;
        self.state.promised = Some(ballot.clone());
        self.state.accepted = accepted;
        (Reply::Accepted { ballot }, changed)
    }

    fn newer_than(&self, ballot: &Ballot) -> Option<Ballot> {
        self.state.promised.clone().filter(|promised| promised > ballot)
    }
}
