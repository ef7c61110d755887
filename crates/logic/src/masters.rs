//! Which group to hand over to which of its members, so that masters are spread over machines and
//! zones and those that are to master do: one planned handover at a time, or none, and why.
//!
//! Pure and deterministic. What is best is an assignment of a master to each group, of least
//! [`Cost`], and among those of least cost one that differs from the present in the fewest groups.
//! Each step makes one of the differences go, so the next look finds one less, and it ends; a
//! handover that only mirrors another one is never wished. Groups that must be left alone count
//! where they are and stay.

mod assign;
mod pin;
#[cfg(test)]
mod tests;

pub use assign::Cost;
pub use pin::{PIN_KEPT_MS, Pin};

use crate::ids::{GroupId, NodeId};
use assign::Assignment;
use std::collections::{BTreeMap, BTreeSet};

/// What makes a member the better master, among others that leave masters as even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    /// What its node's settings say; the greater one masters.
    pub priority: u8,
    /// Whether it serves readers already: a backup that becomes master takes their node from them.
    pub serves: bool,
}

/// A member that masters a group, or could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// Its node.
    pub node: NodeId,
    /// The machine that the node is on; where that is not known, a name that only it has.
    pub machine: String,
    /// The zone of that machine, if known.
    pub zone: Option<String>,
    /// Whether it was made for this group; a spare cannot go back to its pool while it masters.
    pub own: bool,
    /// Among equals.
    pub rank: Rank,
}

/// A group that has a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub id: GroupId,
    /// Who masters it.
    pub master: Seat,
    /// Members that could take over within milliseconds; none: it is left alone.
    pub able: Vec<Seat>,
}

/// What a handover is good for, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Good {
    /// The node that masters is to be empty.
    Drain,
    /// A spare masters that may go back to its pool then.
    Spare,
    /// Machines have masters as evenly as members' places allow.
    Machines,
    /// So have zones.
    Zones,
    /// The better one of equals masters.
    Rank,
}

/// A group to hand over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// Which.
    pub group: GroupId,
    /// Who masters it.
    pub from: NodeId,
    /// Who is to.
    pub to: NodeId,
    /// What it, or what it is the first step of, is good for.
    pub good: Good,
    /// How many handovers there are until nothing gets better, with this one.
    pub left: usize,
    /// Why, in a sentence without a full stop.
    pub why: String,
}

/// The next handover; `None`: nothing gets better by any.
#[must_use]
pub fn next(groups: &[Candidate]) -> Option<Handover> {
    steps(groups, 1).pop()
}

/// What would be done until nothing gets better, as if each handover took no time.
#[must_use]
pub fn outlook(groups: &[Candidate]) -> Vec<Handover> {
    steps(groups, groups.len())
}

/// At most so many steps to the best there is. Whatever makes spares or machines worse meanwhile is
/// not done: two groups do not change places for the sake of rank.
fn steps(groups: &[Candidate], most: usize) -> Vec<Handover> {
    let places = Places::of(groups);
    let mut now = Assignment::of(groups, &places);
    let mut best = now.clone();
    best.improve();
    let mut steps = Vec::new();
    while steps.len() < most {
        let before = now.cost();
        let differing = (0..groups.len()).filter(|at| best.seat(*at) != now.seat(*at));
        let after = |at: usize| {
            let mut step = now.clone();
            step.takes(at, best.seat(at));
            step.cost()
        };
        let next = differing.clone().map(|at| (after(at), at)).min();
        let next = next.filter(|(after, _)| after.is_no_worse_than(&before));
        let Some((_, at)) = next else { break };
        let Some(good) = before.gets_better_by(&best.cost()) else { break };
        let (from, to) = (now.seat_of(at), best.seat_of(at));
        steps.push(Handover {
            group: groups[at].id.clone(),
            from: from.node.clone(),
            to: to.node.clone(),
            good,
            left: differing.count(),
            why: why(good, &now, from, to),
        });
        now.takes(at, best.seat(at));
    }
    steps
}

fn why(good: Good, now: &Assignment<'_>, from: &Seat, to: &Seat) -> String {
    let masters =
        |matches: &dyn Fn(&Seat) -> bool| now.masters().filter(|seat| matches(seat)).count();
    match good {
        Good::Drain => format!("{} is drained", from.node),
        Good::Spare => format!("{} is a spare, and {} was made for the group", from.node, to.node),
        Good::Machines => {
            let on = |name: &str| masters(&|seat| seat.machine == name);
            let (here, there) = (on(&from.machine), on(&to.machine));
            format!("machine {} has {here} masters, {} has {there}", from.machine, to.machine)
        }
        Good::Zones => {
            let (a, b) = (zone_name(from), zone_name(to));
            let of = |zone: &Option<String>| masters(&|seat| seat.zone == *zone);
            format!("zone {a} has {} masters, {b} has {}", of(&from.zone), of(&to.zone))
        }
        Good::Rank if from.rank.priority != to.rank.priority => {
            let (low, high) = (from.rank.priority, to.rank.priority);
            format!("{} has priority {high}, {} has {low}", to.node, from.node)
        }
        Good::Rank => format!("{} is the better one of equals", to.node),
    }
}

fn zone_name(seat: &Seat) -> &str {
    seat.zone.as_deref().unwrap_or("unknown")
}

/// The names of machines and zones that a seat may be on, numbered.
struct Places {
    machines: BTreeMap<String, usize>,
    /// The zone of each machine, if known.
    zone_of: Vec<Option<usize>>,
    zones: usize,
}

impl Places {
    fn of(groups: &[Candidate]) -> Self {
        let seats = || groups.iter().flat_map(|group| group.able.iter().chain([&group.master]));
        let zones: BTreeSet<&String> = seats().filter_map(|seat| seat.zone.as_ref()).collect();
        let machines: BTreeSet<&String> = seats().map(|seat| &seat.machine).collect();
        let number = |zone: &String| zones.iter().position(|it| *it == zone);
        let mut zone_of = vec![None; machines.len()];
        let machines: BTreeMap<String, usize> =
            machines.into_iter().cloned().enumerate().map(|(at, name)| (name, at)).collect();
        for seat in seats() {
            // A machine is in one zone, whatever its nodes say.
            let known = &mut zone_of[machines[&seat.machine]];
            *known = known.or_else(|| number(seat.zone.as_ref()?));
        }
        Self { machines, zone_of, zones: zones.len() }
    }
}
