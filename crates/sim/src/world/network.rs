//! Links that lose, delay, repeat and reorder, and break one way.

use super::{Ev, MS, US, World};
use crate::place::Local;
use std::collections::BTreeSet;

/// The links that are broken, one way each.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    broken: BTreeSet<(usize, usize)>,
}

/// The keeper of a group's record is nowhere in particular, but links to it break, too.
pub(crate) const KEEPER: usize = usize::MAX;

impl Links {
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.broken.insert((from, to));
    }

    pub(crate) fn mend(&mut self, from: usize, to: usize) {
        self.broken.remove(&(from, to));
    }

    pub(crate) fn mend_all(&mut self) {
        self.broken.clear();
    }

    pub(crate) fn works(&self, from: usize, to: usize) -> bool {
        !self.broken.contains(&(from, to))
    }
}

impl World {
    /// How long a message takes now.
    pub(crate) fn latency(&mut self) -> u64 {
        if self.rng.chance(self.faults.delay) {
            return self.rng.between(1, 400) * MS;
        }
        self.rng.between(40, 700) * US
    }

    /// Sends something from one place to another: lost, once or twice, sooner or later.
    pub(crate) fn transmit(&mut self, from: usize, to: usize, what: Local) {
        if from != to && !self.links.works(from, to) {
            return;
        }
        if from != to && self.rng.chance(self.faults.loss) {
            return;
        }
        if self.rng.chance(self.faults.repeat) {
            let after = self.latency() * self.rng.between(1, 20);
            let what = what.clone();
            self.push(after, Ev::Local { place: to, generation: None, what });
        }
        let slow = self.slow.is_some_and(|(place, until)| place == to && self.now < until);
        let after = match slow && self.rng.chance(600) {
            true => self.rng.between(100, 500) * MS,
            false => self.latency(),
        };
        self.push(after, Ev::Local { place: to, generation: None, what });
    }
}
