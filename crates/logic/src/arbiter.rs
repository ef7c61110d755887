//! The arbiter: a compare-and-swap register on three acceptors (docs/replication.md §9).
//!
//! CASPaxos (Rystsov 2018): one value, changed by rounds of *prepare* and *accept*; a [`Ballot`]
//! orders rounds, a majority decides. The value names its own acceptors, so that one of them can be
//! replaced. [`Acceptor`] answers, [`Proposer`] asks; neither waits nor stores: barriers do.
//!
//! While a replacement is unsettled the value names two lists, and every round under it needs a
//! majority of both. A value seen on one acceptor alone may still lose; had its reader gone on
//! under the new list only, the old one could decide differently.

mod acceptor;
mod proposer;
#[cfg(test)]
mod tests;

pub use acceptor::{Acceptor, AcceptorEffect, AcceptorState};
pub use proposer::{
    Founding, Operation, Outcome, Patience, Proposer, ProposerEffect, Recovery, Token,
};

use crate::ids::{Incarnation, Life, NodeId};
use crate::record::Record;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// Orders the rounds; no two proposers ever use the same one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ballot {
    /// Greater than every counter its proposer has seen.
    pub counter: u64,
    /// The proposer.
    pub node: NodeId,
    /// The run of its process.
    pub life: Life,
}

/// One acceptor: a node and its folder. The same name with another folder is no acceptor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seat {
    /// The node's stable name.
    pub id: NodeId,
    /// Its folder.
    pub incarnation: Incarnation,
}

/// Which acceptors decide about a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The acceptors.
    pub seats: Vec<Seat>,
    /// The list before a replacement that is not settled yet: a majority of it is needed, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former: Option<Vec<Seat>>,
}

impl Roster {
    /// A list with nothing unsettled.
    #[must_use]
    pub fn settled(seats: Vec<Seat>) -> Self {
        Self { seats, former: None }
    }

    /// Whether `answered` holds a majority of every list.
    #[must_use]
    pub fn is_quorum(&self, answered: &BTreeSet<Seat>) -> bool {
        let majority = |list: &Vec<Seat>| {
            list.iter().filter(|seat| answered.contains(seat)).count() > list.len() / 2
        };
        majority(&self.seats) && self.former.iter().all(majority)
    }

    /// Everybody who may have a say.
    #[must_use]
    pub fn all(&self) -> BTreeSet<Seat> {
        self.seats.iter().chain(self.former.iter().flatten()).cloned().collect()
    }

    /// The folder of node `id` that has a say, if any.
    #[must_use]
    pub fn seat_of(&self, id: &NodeId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.id == *id)
    }

    /// Whether `seat` joins with this roster and may still be blank.
    #[must_use]
    pub fn is_joining(&self, seat: &Seat) -> bool {
        self.former.as_ref().is_some_and(|former| !former.contains(seat))
            && self.seats.contains(seat)
    }
}

/// Who made a value: tells one's own change from an equal one of a rival.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Author {
    /// The proposer.
    pub node: NodeId,
    /// The run of its process.
    pub life: Life,
    /// Counts its operations.
    pub serial: u64,
}

/// What the register holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The cluster it belongs to; random, made once.
    pub uid: String,
    /// The configuration of the global plane.
    pub record: Record,
    /// Who decides about it.
    pub roster: Roster,
    /// Who made it.
    pub author: Author,
}

/// A value as accepted in a round.
pub type Accepted = (Ballot, Value);

/// From a proposer to an acceptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// What did you accept last? Promises nothing, flushes nothing.
    Look,
    /// Promise to refuse every older round, and say what you accepted.
    Prepare {
        /// The round.
        ballot: Ballot,
        /// Whether an acceptor that never accepted anything may promise: only while founding, or
        /// when it is being added.
        blank_may_promise: bool,
    },
    /// Accept this, unless a newer round was promised.
    Accept {
        /// The round.
        ballot: Ballot,
        /// What.
        value: Box<Value>,
    },
}

/// An acceptor's answer; the transport proves its [`Seat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// Answers [`Request::Look`].
    Seen {
        /// What was accepted last.
        accepted: Option<Box<Accepted>>,
    },
    /// Answers [`Request::Prepare`]; flushed.
    Promised {
        /// The round.
        ballot: Ballot,
        /// What was accepted last.
        accepted: Option<Box<Accepted>>,
    },
    /// Answers [`Request::Accept`]; flushed.
    Accepted {
        /// The round.
        ballot: Ballot,
    },
    /// A newer round was promised, or accepted.
    Conflict {
        /// The round that was asked.
        ballot: Ballot,
        /// The newer one.
        promised: Ballot,
    },
    /// This folder never accepted a value, so it promises nothing.
    Blank {
        /// The round that was asked.
        ballot: Ballot,
    },
    /// The value does not name this folder.
    NotNamed {
        /// The round that was asked.
        ballot: Ballot,
    },
}
