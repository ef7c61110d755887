//! A master for each group, of least cost: cycles of the residual graph that cost less than nothing
//! are gone through until there are none, as for any flow of least cost.

use super::{Candidate, Good, Places, Seat};
use std::ops::{Add, Sub};

/// What an assignment costs: the first number that differs decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost {
    /// Groups that a spare masters.
    pub spares: i64,
    /// The sum of squares of machines' masters.
    pub machines: i64,
    /// The sum of squares of zones' masters.
    pub zones: i64,
    /// What masters lack in rank.
    pub rank: i64,
    /// Groups whose master is another one than now.
    pub changes: i64,
}

impl Cost {
    const FREE: Self = Self { spares: 0, machines: 0, zones: 0, rank: 0, changes: 0 };

    /// Whether as few spares master, and machines are as even as `before`.
    #[must_use]
    pub fn is_no_worse_than(&self, before: &Self) -> bool {
        (self.spares, self.machines) <= (before.spares, before.machines)
    }

    /// What `after` makes better, the most important if there are several.
    #[must_use]
    pub fn gets_better_by(&self, after: &Self) -> Option<Good> {
        let pairs = [
            (self.spares, after.spares, Good::Spare),
            (self.machines, after.machines, Good::Machines),
            (self.zones, after.zones, Good::Zones),
            (self.rank, after.rank, Good::Rank),
        ];
        pairs.into_iter().find(|(before, after, _)| after < before).map(|(_, _, good)| good)
    }
}

impl Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            spares: self.spares + other.spares,
            machines: self.machines + other.machines,
            zones: self.zones + other.zones,
            rank: self.rank + other.rank,
            changes: self.changes + other.changes,
        }
    }
}

impl Sub for Cost {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            spares: self.spares - other.spares,
            machines: self.machines - other.machines,
            zones: self.zones - other.zones,
            rank: self.rank - other.rank,
            changes: self.changes - other.changes,
        }
    }
}

/// What a seat that may master a group is on and costs by itself.
#[derive(Clone, Copy)]
struct Choice {
    machine: usize,
    cost: Cost,
}

/// A way from one vertex to another one; machines come first, then zones, then all of it.
#[derive(Clone, Copy)]
struct Edge {
    from: usize,
    to: usize,
    cost: Cost,
    /// The group that goes to another seat by it.
    takes: Option<(usize, usize)>,
}

/// Who masters which group.
#[derive(Clone)]
pub(super) struct Assignment<'a> {
    groups: &'a [Candidate],
    places: &'a Places,
    choices: Vec<Vec<Choice>>,
    /// Of each group the number of its seat; 0 masters it now.
    at: Vec<usize>,
}

impl<'a> Assignment<'a> {
    /// As it is now.
    pub fn of(groups: &'a [Candidate], places: &'a Places) -> Self {
        let choices = groups.iter().map(|group| choices(group, places)).collect();
        Self { groups, places, choices, at: vec![0; groups.len()] }
    }

    pub fn masters(&self) -> impl Iterator<Item = &'a Seat> + '_ {
        (0..self.groups.len()).map(|group| self.seat_of(group))
    }

    pub fn seat(&self, group: usize) -> usize {
        self.at[group]
    }

    pub fn seat_of(&self, group: usize) -> &'a Seat {
        let group_of = &self.groups[group];
        self.at[group].checked_sub(1).map_or(&group_of.master, |able| &group_of.able[able])
    }

    pub fn takes(&mut self, group: usize, seat: usize) {
        self.at[group] = seat;
    }

    /// Masters of each machine and of each zone.
    fn loads(&self) -> (Vec<i64>, Vec<i64>) {
        let (mut machines, mut zones) =
            (vec![0; self.places.zone_of.len()], vec![0; self.places.zones]);
        for (group, seat) in self.at.iter().enumerate() {
            let machine = self.choices[group][*seat].machine;
            machines[machine] += 1;
            if let Some(zone) = self.places.zone_of[machine] {
                zones[zone] += 1;
            }
        }
        (machines, zones)
    }

    pub fn cost(&self) -> Cost {
        let (machines, zones) = self.loads();
        let squares = |loads: Vec<i64>| loads.iter().map(|load| load * load).sum();
        let even = Cost { machines: squares(machines), zones: squares(zones), ..Cost::FREE };
        let seats = self.at.iter().enumerate().map(|(group, seat)| self.choices[group][*seat].cost);
        seats.fold(even, Cost::add)
    }

    /// Until nothing costs less.
    pub fn improve(&mut self) {
        // Each one lowers the cost, so it ends.
        while let Some(cycle) = self.cycle() {
            for (group, seat) in cycle.iter().filter_map(|edge| edge.takes) {
                self.takes(group, seat);
            }
        }
    }

    /// Where a group may go, and what it costs that a machine has one master more or less.
    fn edges(&self) -> Vec<Edge> {
        let (machines, zones) = self.loads();
        let (zone_at, all) = (machines.len(), machines.len() + zones.len());
        let mut edges = Vec::new();
        for (group, choices) in self.choices.iter().enumerate() {
            let now = choices[self.at[group]];
            for (seat, other) in choices.iter().enumerate().filter(|(s, _)| *s != self.at[group]) {
                let (from, to, cost) = (now.machine, other.machine, other.cost - now.cost);
                edges.push(Edge { from, to, cost, takes: Some((group, seat)) });
            }
        }
        let more = |load: i64| 2 * load + 1;
        let less = |load: i64| 1 - 2 * load;
        let mut joins = |low: usize, high: usize, load: i64, cost: &dyn Fn(i64) -> Cost| {
            edges.push(Edge { from: low, to: high, cost: cost(more(load)), takes: None });
            if load > 0 {
                edges.push(Edge { from: high, to: low, cost: cost(less(load)), takes: None });
            }
        };
        for (machine, load) in machines.iter().enumerate() {
            let above = self.places.zone_of[machine].map_or(all, |zone| zone_at + zone);
            joins(machine, above, *load, &|machines| Cost { machines, ..Cost::FREE });
        }
        for (zone, load) in zones.iter().enumerate() {
            joins(zone_at + zone, all, *load, &|zones| Cost { zones, ..Cost::FREE });
        }
        edges
    }

    /// A cycle that costs less than nothing, by Bellman and Ford: whoever is reached for less by
    /// way of itself is on one.
    fn cycle(&self) -> Option<Vec<Edge>> {
        let edges = self.edges();
        let vertices = self.places.zone_of.len() + self.places.zones + 1;
        let mut least = vec![Cost::FREE; vertices];
        let mut by: Vec<Option<usize>> = vec![None; vertices];
        for _ in 0..=vertices {
            let mut changed = false;
            for (number, edge) in edges.iter().enumerate() {
                let cost = least[edge.from] + edge.cost;
                if cost < least[edge.to] {
                    (least[edge.to], by[edge.to], changed) = (cost, Some(number), true);
                }
            }
            if !changed {
                return None;
            }
            if let Some(cycle) = circle(&edges, &by) {
                return Some(cycle);
            }
        }
        None
    }
}

/// The cycle in who is reached by whom, if there is one.
fn circle(edges: &[Edge], by: &[Option<usize>]) -> Option<Vec<Edge>> {
    // The walk that has been at each vertex.
    let mut walked = vec![0; by.len()];
    for first in 0..by.len() {
        let mut at = first;
        while walked[at] == 0 {
            walked[at] = first + 1;
            match by[at] {
                Some(edge) => at = edges[edge].from,
                None => break,
            }
        }
        if walked[at] != first + 1 || by[at].is_none() {
            continue;
        }
        let (end, mut cycle) = (at, Vec::new());
        loop {
            let edge = edges[by[at]?];
            cycle.push(edge);
            at = edge.from;
            if at == end {
                return Some(cycle);
            }
        }
    }
    None
}

/// The master's seat, then those of who could take over: if one was made for the group, none that
/// was not.
fn choices(group: &Candidate, places: &Places) -> Vec<Choice> {
    let best = group.able.iter().chain([&group.master]).map(|seat| seat.rank).max();
    let best = best.unwrap_or_default();
    let choice = |seat: &Seat, changes: i64| {
        let lacks = i64::from(best.priority) - i64::from(seat.rank.priority);
        let deaf = i64::from(seat.rank.serves) < i64::from(best.serves);
        let cost = Cost {
            spares: i64::from(!seat.own),
            rank: 2 * lacks + i64::from(deaf),
            changes,
            ..Cost::FREE
        };
        Choice { machine: places.machines[&seat.machine], cost }
    };
    let able = group.able.iter().map(|seat| choice(seat, 1));
    std::iter::once(choice(&group.master, 0)).chain(able).collect()
}
