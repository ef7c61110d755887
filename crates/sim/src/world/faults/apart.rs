//! Links that break, and what hits the master meanwhile.

use super::super::network::KEEPER;
use super::super::{Ev, MS, World};
use super::End;
use cairn_logic::invariants::Held;

impl World {
    /// The master of the moment ends, pauses or is cut off.
    pub(in super::super) fn strike(&mut self) -> Held {
        let log = self.some_log();
        let at = self.master_of(log);
        let Some(at) = at.filter(|_| self.is_faulty()) else { return Ok(()) };
        match self.rng.below(4) {
            0 => self.crash(at, End::Process, 600)?,
            1 => self.pause(at),
            2 => self.isolate(at),
            _ => {
                self.crash(at, End::Process, 600)?;
                let other = self.rng.index(self.scenario.nodes);
                self.pause(other)
            }
        };
        Ok(())
    }

    /// The master does not reach some members for a while; then it is hit itself.
    pub(super) fn storm(&mut self) -> bool {
        let log = self.some_log();
        let at = self.master_of(log);
        let Some(at) = at else { return false };
        if self.rng.chance(300) {
            // Acknowledgements linger on the way, and then nothing gets through.
            let wait = self.rng.between(50, 200) * MS;
            self.slow = Some((at, self.now + wait));
            self.push(wait, Ev::Isolate(at));
            return true;
        }
        let mut reached = self.rng.index(2);
        for other in self.fellows(at) {
            if reached > 0 && self.rng.chance(500) {
                reached -= 1;
            } else {
                self.cut(at, other);
            }
        }
        let id = self.places[at].id.clone();
        self.note(|| format!("a storm around {id}"));
        let wait = self.rng.between(10, 250) * MS;
        self.push(wait, Ev::Strike);
        true
    }

    fn all_others(&self, place: usize) -> Vec<usize> {
        (0..self.places.len()).filter(|other| *other != place).collect()
    }

    /// The other nodes of the same log.
    fn fellows(&self, place: usize) -> Vec<usize> {
        let same =
            |other: &usize| *other != place && self.places[*other].log == self.places[place].log;
        (0..self.scenario.nodes).filter(same).collect()
    }

    fn some_end(&mut self) -> usize {
        let at = self.rng.index(self.places.len() + 1);
        if at == self.places.len() { KEEPER } else { at }
    }

    pub(super) fn cut_a_link(&mut self) -> bool {
        let (a, b) = (self.some_end(), self.some_end());
        let both = self.rng.chance(500);
        self.cut(a, b);
        if both {
            self.cut(b, a);
        }
        a != b
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.links.cut(from, to);
        let wait = self.rng.between(30, 1500) * MS;
        self.push(wait, Ev::Mend(from, to));
    }

    /// One node loses all links to the others, one way or both; perhaps not to judges.
    pub(in super::super) fn isolate(&mut self, place: usize) -> bool {
        let (out, into) = [(true, true), (true, false), (false, true)][self.rng.index(3)];
        let whole = self.rng.chance(500);
        let others = if whole { self.all_others(place) } else { self.fellows(place) };
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} is apart, out {out} in {into}"));
        let keeper = whole.then_some(KEEPER);
        for other in others.into_iter().chain(keeper) {
            if out {
                self.cut(place, other);
            }
            if into {
                self.cut(other, place);
            }
        }
        true
    }
}
