//! The rounds of one operation: look, prepare, accept, and what to write.

use super::{Founding, Operation, Outcome, Proposer, ProposerEffect, Token, Waiting};
use crate::arbiter::{Accepted, Author, Ballot, Reply, Request, Roster, Seat, Value};
use crate::ids::NodeId;
use crate::mutant::{Mutant, broken};
use crate::time::Instant;
use std::collections::{BTreeMap, BTreeSet};

/// An operation under way.
#[derive(Clone, Debug)]
pub(super) struct Running {
    token: Token,
    operation: Operation,
    /// The folder that a replacement is about: the one known when it was asked, or found first.
    leaves: Option<Seat>,
    author: Author,
    since: Instant,
    sent: Instant,
    tries: u32,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    /// A rival's round was met.
    BackOff { until: Instant },
    /// Asking what is there, without a promise.
    Look { seen: BTreeMap<Seat, Option<Accepted>> },
    /// Asking for promises; `roster` is `None` while founding.
    Prepare {
        ballot: Ballot,
        roster: Option<Roster>,
        promised: BTreeMap<Seat, Option<Accepted>>,
        blank: BTreeSet<Seat>,
    },
    /// Asking to accept.
    Accept {
        ballot: Ballot,
        value: Value,
        under: Vec<Roster>,
        must: BTreeSet<Seat>,
        accepted: BTreeSet<Seat>,
        then: Then,
    },
}

/// What it means when the value of this round is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Then {
    Is,
    Changed,
    Refused,
    /// A step of a replacement: go on with another round.
    Again,
}

impl Running {
    pub(super) fn start(
        proposer: &mut Proposer,
        now: Instant,
        Waiting { token, operation, leaves }: Waiting,
        author: Author,
        effects: &mut Vec<ProposerEffect>,
    ) -> Self {
        let phase = Phase::Look { seen: BTreeMap::new() };
        let (since, sent, tries) = (now, now, 0);
        let mut running = Self { token, operation, leaves, author, since, sent, tries, phase };
        if running.makes().is_some() {
            running.prepare(proposer, now, None, effects);
        } else {
            running.send(proposer, now, effects);
        }
        running
    }

    /// What the register is made of, if this operation makes it.
    fn makes(&self) -> Option<&Founding> {
        match &self.operation {
            Operation::Found(founding) => Some(founding),
            Operation::Recover(recovery) => Some(&recovery.founding),
            Operation::Read | Operation::Swap { .. } | Operation::Replace { .. } => None,
        }
    }

    pub(super) fn token(&self) -> Token {
        self.token
    }

    pub(super) fn tick(
        &mut self,
        proposer: &mut Proposer,
        now: Instant,
        effects: &mut Vec<ProposerEffect>,
    ) -> Option<Outcome> {
        if now.since(self.since) >= proposer.patience.give_up {
            return Some(self.give_up(proposer));
        }
        match self.phase {
            Phase::BackOff { until } if now >= until => self.restart(proposer, now, effects),
            Phase::BackOff { .. } => {}
            _ if now.since(self.sent) >= proposer.patience.resend => {
                self.send(proposer, now, effects);
            }
            _ => {}
        }
        None
    }

    pub(super) fn reply(
        &mut self,
        proposer: &mut Proposer,
        now: Instant,
        from: &Seat,
        reply: Reply,
        effects: &mut Vec<ProposerEffect>,
    ) -> Option<Outcome> {
        match (&mut self.phase, reply) {
            (Phase::Look { seen }, Reply::Seen { accepted }) => {
                seen.insert(from.clone(), accepted.map(|boxed| *boxed));
                self.looked(proposer, now, effects)
            }
            (
                Phase::Prepare { ballot, promised, .. },
                Reply::Promised { ballot: answered, accepted },
            ) if *ballot == answered => {
                promised.insert(from.clone(), accepted.map(|boxed| *boxed));
                self.promised(proposer, now, effects)
            }
            (Phase::Prepare { ballot, blank, .. }, Reply::Blank { ballot: answered })
                if *ballot == answered =>
            {
                blank.insert(from.clone());
                None
            }
            (Phase::Accept { ballot, accepted, .. }, Reply::Accepted { ballot: answered })
                if *ballot == answered =>
            {
                accepted.insert(from.clone());
                self.accepted(proposer, now, effects)
            }
            (
                Phase::Prepare { ballot, .. } | Phase::Accept { ballot, .. },
                Reply::Conflict { ballot: answered, .. },
            ) if *ballot == answered => {
                self.tries += 1;
                self.phase = Phase::BackOff { until: now + proposer.backoff(self.tries) };
                None
            }
            _ => None,
        }
    }

    /// Sends the phase's request to everybody who has not answered it.
    fn send(&mut self, proposer: &Proposer, now: Instant, effects: &mut Vec<ProposerEffect>) {
        self.sent = now;
        let mut to = |id: &NodeId, body: Request| {
            effects.push(ProposerEffect::Send { to: id.clone(), body });
        };
        match &self.phase {
            Phase::BackOff { .. } => {}
            Phase::Look { seen } => {
                let asked = proposer.asked();
                let silent = asked.iter().filter(|id| !seen.keys().any(|seat| seat.id == **id));
                silent.for_each(|id| to(id, Request::Look));
            }
            Phase::Prepare { ballot, roster: None, promised, .. } => {
                let Some(founding) = self.makes() else { return };
                let answered = |id: &NodeId| promised.keys().any(|seat| seat.id == *id);
                for id in founding.acceptors.iter().filter(|id| !answered(id)) {
                    let ballot = ballot.clone();
                    to(id, Request::Prepare { ballot, blank_may_promise: true });
                }
            }
            Phase::Prepare { ballot, roster: Some(roster), promised, .. } => {
                for seat in roster.all().iter().filter(|seat| !promised.contains_key(seat)) {
                    let blank_may_promise = roster.is_joining(seat);
                    to(&seat.id, Request::Prepare { ballot: ballot.clone(), blank_may_promise });
                }
            }
            Phase::Accept { ballot, value, under, accepted, .. } => {
                let all: BTreeSet<Seat> = under.iter().flat_map(Roster::all).collect();
                for seat in all.difference(accepted) {
                    let value = Box::new(value.clone());
                    to(&seat.id, Request::Accept { ballot: ballot.clone(), value });
                }
            }
        }
    }

    /// Enough may have been seen to answer without a round of one's own.
    fn looked(
        &mut self,
        proposer: &mut Proposer,
        now: Instant,
        effects: &mut Vec<ProposerEffect>,
    ) -> Option<Outcome> {
        let Phase::Look { seen } = &self.phase else { return None };
        let greatest = seen.values().flatten().max_by_key(|accepted| accepted.0.clone());
        let Some((ballot, value)) = greatest.cloned() else {
            let all = proposer.asked().len();
            return (seen.len() >= all).then_some(Outcome::Missing);
        };
        let roster = value.roster.clone();
        let same = seen.iter().filter(|(_, held)| held.as_ref().is_some_and(|h| h.0 == ballot));
        let same: BTreeSet<Seat> = same.map(|(seat, _)| seat.clone()).collect();
        let answered: BTreeSet<Seat> = seen.keys().cloned().collect();
        if roster.is_quorum(&same) {
            // A majority holds this very round: it is decided.
            if matches!(self.operation, Operation::Read) {
                return Some(Outcome::Is(Box::new(value)));
            }
            if self.is_late(&value) {
                return Some(Outcome::Refused(Box::new(value)));
            }
        } else if !roster.is_quorum(&answered) {
            // Somebody still silent may hold a later value; go and ask those it names.
            if proposer.roster.as_ref() != Some(&roster) {
                proposer.roster = Some(roster);
                self.send(proposer, now, effects);
            }
            return None;
        }
        self.prepare(proposer, now, Some(roster), effects);
        None
    }

    fn is_late(&self, value: &Value) -> bool {
        matches!(self.operation, Operation::Swap { expected, .. }
            if value.record.version != expected && value.author != self.author)
    }

    fn prepare(
        &mut self,
        proposer: &mut Proposer,
        now: Instant,
        roster: Option<Roster>,
        effects: &mut Vec<ProposerEffect>,
    ) {
        let ballot = proposer.next_ballot();
        let (promised, blank) = (BTreeMap::new(), BTreeSet::new());
        self.phase = Phase::Prepare { ballot, roster, promised, blank };
        self.send(proposer, now, effects);
    }

    fn restart(
        &mut self,
        proposer: &mut Proposer,
        now: Instant,
        effects: &mut Vec<ProposerEffect>,
    ) {
        let makes = self.makes().is_some();
        let roster = if makes { None } else { proposer.roster.clone() };
        if roster.is_none() && !makes {
            self.phase = Phase::Look { seen: BTreeMap::new() };
            self.send(proposer, now, effects);
        } else {
            self.prepare(proposer, now, roster, effects);
        }
    }

    /// Enough promises may have come to know what to write.
    fn promised(
        &mut self,
        proposer: &mut Proposer,
        now: Instant,
        effects: &mut Vec<ProposerEffect>,
    ) -> Option<Outcome> {
        let Phase::Prepare { ballot, roster, promised, .. } = &self.phase else { return None };
        let ballot = ballot.clone();
        let answered: BTreeSet<Seat> = promised.keys().cloned().collect();
        let greatest = promised.values().flatten().max_by_key(|accepted| accepted.0.clone());
        let greatest = greatest.map(|(_, value)| value.clone());
        match (roster, &self.operation) {
            (None, Operation::Found(founding)) => {
                let answered_ids: BTreeSet<&NodeId> = answered.iter().map(|s| &s.id).collect();
                if founding.acceptors.iter().any(|id| !answered_ids.contains(id)) {
                    return None;
                }
                let value = match greatest {
                    Some(found) if !found.roster.is_quorum(&answered) => {
                        // Those it names decide, not those we were told to ask.
                        proposer.roster = Some(found.roster.clone());
                        self.prepare(proposer, now, Some(found.roster), effects);
                        return None;
                    }
                    Some(found) => found,
                    None => founded(founding, &answered, &self.author),
                };
                let must = value.roster.all();
                self.accept(proposer, now, ballot, (value, must, Then::Changed), vec![], effects);
            }
            (None, Operation::Recover(recovery)) => {
                let left = &recovery.founding.acceptors;
                if !left.iter().all(|id| answered.iter().any(|seat| seat.id == *id)) {
                    return None;
                }
                let own = greatest.filter(|found| found.author == self.author);
                let value = own.unwrap_or_else(|| recovery.value(promised, &self.author));
                self.accept(
                    proposer,
                    now,
                    ballot,
                    (value, answered, Then::Changed),
                    vec![],
                    effects,
                );
            }
            (Some(roster), _) => {
                let roster = roster.clone();
                if !roster.is_quorum(&answered) {
                    return None;
                }
                let found = greatest?;
                proposer.roster = Some(found.roster.clone());
                if found.roster != roster {
                    // Trusted only under the list it names.
                    self.prepare(proposer, now, Some(found.roster), effects);
                    return None;
                }
                if let Operation::Replace { out, .. } = &self.operation {
                    self.leaves = self.leaves.take().or(found.roster.seat_of(out).cloned());
                }
                let (value, must, then) = self.decide(proposer, found);
                self.accept(proposer, now, ballot, (value, must, then), vec![roster], effects);
            }
            (None, _) => {}
        }
        None
    }

    /// What to write over `found`, who must have it, and what that means.
    fn decide(&self, proposer: &Proposer, found: Value) -> (Value, BTreeSet<Seat>, Then) {
        let nobody = BTreeSet::new();
        match &self.operation {
            Operation::Read => (found, nobody, Then::Is),
            Operation::Found(_) | Operation::Recover(_) => (found, nobody, Then::Changed),
            Operation::Swap { .. } if found.author == self.author => (found, nobody, Then::Changed),
            Operation::Swap { expected, record } if found.record.version == *expected => {
                let (record, author) = (record.as_ref().clone(), self.author.clone());
                (Value { record, author, ..found }, nobody, Then::Changed)
            }
            Operation::Swap { .. } => (found, nobody, Then::Refused),
            Operation::Replace { out, seat } => self.replace(proposer, found, out, seat),
        }
    }

    /// A list changes only over a value that is known to be decided.
    fn replace(
        &self,
        proposer: &Proposer,
        found: Value,
        out: &NodeId,
        seat: &Seat,
    ) -> (Value, BTreeSet<Seat>, Then) {
        let nobody = BTreeSet::new();
        let has_seat = found.roster.seats.contains(seat);
        if found.roster.former.is_none() && has_seat {
            return (found, nobody, Then::Changed);
        }
        if found.roster.former.is_some() && proposer.settled.as_ref() != Some(&found) {
            return (found, nobody, Then::Again);
        }
        let author = self.author.clone();
        if has_seat {
            let all = found.roster.seats.iter();
            let new = all.filter(|s| found.roster.is_joining(s)).cloned().collect();
            let roster = Roster::settled(found.roster.seats.clone());
            return (Value { roster, author, ..found }, new, Then::Changed);
        }
        let leaves = found.roster.seat_of(out);
        let meant = leaves == self.leaves.as_ref() || broken(Mutant::ReplacesAnyFolder);
        if leaves.is_none() || !meant {
            return (found, nobody, Then::Refused);
        }
        let mut seats: Vec<Seat> =
            found.roster.seats.iter().filter(|s| s.id != *out).cloned().collect();
        seats.push(seat.clone());
        seats.sort();
        let roster = Roster { seats, former: Some(found.roster.seats.clone()) };
        (Value { roster, author, ..found }, nobody, Then::Again)
    }

    fn accept(
        &mut self,
        proposer: &Proposer,
        now: Instant,
        ballot: Ballot,
        (value, must, then): (Value, BTreeSet<Seat>, Then),
        mut under: Vec<Roster>,
        effects: &mut Vec<ProposerEffect>,
    ) {
        under.push(value.roster.clone());
        let accepted = BTreeSet::new();
        self.phase = Phase::Accept { ballot, value, under, must, accepted, then };
        self.send(proposer, now, effects);
    }

    fn accepted(
        &mut self,
        proposer: &mut Proposer,
        now: Instant,
        effects: &mut Vec<ProposerEffect>,
    ) -> Option<Outcome> {
        let Phase::Accept { value, under, must, accepted, then, .. } = &self.phase else {
            return None;
        };
        let decided = under.iter().all(|roster| roster.is_quorum(accepted));
        if !decided || !must.is_subset(accepted) {
            return None;
        }
        let (value, then) = (value.clone(), *then);
        proposer.roster = Some(value.roster.clone());
        proposer.settled = Some(value.clone());
        let value = Box::new(value);
        match then {
            Then::Is => Some(Outcome::Is(value)),
            Then::Changed => Some(Outcome::Changed(value)),
            Then::Refused => Some(Outcome::Refused(value)),
            Then::Again => {
                self.prepare(proposer, now, Some(value.roster), effects);
                None
            }
        }
    }

    /// Time is over: says who was silent, or that there is nothing at all.
    fn give_up(&self, proposer: &Proposer) -> Outcome {
        let silent = |answered: Vec<&Seat>, asked: BTreeSet<NodeId>| {
            let gone = asked.into_iter().filter(|id| !answered.iter().any(|s| s.id == *id));
            Outcome::Unknown { silent: gone.collect() }
        };
        match &self.phase {
            Phase::BackOff { .. } => Outcome::Unknown { silent: Vec::new() },
            Phase::Look { seen } => silent(seen.keys().collect(), proposer.asked()),
            Phase::Prepare { promised, blank, .. } => {
                silent(promised.keys().chain(blank).collect(), proposer.asked())
            }
            Phase::Accept { under, accepted, value, .. } => {
                let decided = under.iter().all(|roster| roster.is_quorum(accepted));
                if decided
                    && matches!(self.operation, Operation::Found(_))
                    && value.author != self.author
                {
                    // Founded long ago; who lost its folder since is replaced, one at a time.
                    return Outcome::Changed(Box::new(value.clone()));
                }
                silent(accepted.iter().collect(), proposer.asked())
            }
        }
    }
}

fn founded(founding: &Founding, seats: &BTreeSet<Seat>, author: &Author) -> Value {
    // One seat per node: had a folder been replaced while founding, the other would never accept.
    let named = seats.iter().filter(|seat| founding.acceptors.contains(&seat.id));
    let named: BTreeMap<&NodeId, &Seat> = named.map(|seat| (&seat.id, seat)).collect();
    Value {
        uid: founding.uid.clone(),
        record: founding.record.clone(),
        roster: Roster::settled(named.into_values().cloned().collect()),
        author: author.clone(),
    }
}
