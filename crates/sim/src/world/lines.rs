//! Lines between data nodes and global ones: what is sent on one arrives in order or not at all.

use super::{Ev, MS, World};
use crate::place::{Down, Local, OnLine, Up};
use std::collections::BTreeMap;

/// Both ends of a line.
#[derive(Clone, Copy, Debug)]
struct Line {
    node: usize,
    master: usize,
    /// The processes at its ends.
    node_generation: u64,
    master_generation: u64,
    /// When the last message each way arrives.
    up_at: u64,
    down_at: u64,
}

/// All lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    next: u64,
    open: BTreeMap<u64, Line>,
}

impl World {
    /// A new line from `node` to `master`, as both run now.
    pub(super) fn open_line(&mut self, node: usize, master: usize) -> u64 {
        let generation = |at: usize| self.places[at].generation;
        let line = Line {
            node,
            master,
            node_generation: generation(node),
            master_generation: generation(master),
            up_at: 0,
            down_at: 0,
        };
        self.lines.next += 1;
        self.lines.open.insert(self.lines.next, line);
        self.lines.next
    }

    /// Who is at the global end of a line.
    pub(super) fn node_of_line(&self, line: u64) -> Option<usize> {
        self.lines.open.get(&line).map(|line| line.node)
    }

    pub(super) fn send_up(&mut self, line: u64, up: Up) {
        self.send_on(line, true, OnLine::Up(up));
    }

    pub(super) fn send_down(&mut self, line: u64, down: Down) {
        self.send_on(line, false, OnLine::Down(down));
    }

    /// A message that is lost is sent again by the line itself, which takes time; where nothing
    /// gets through the line breaks, sooner or later.
    fn send_on(&mut self, line: u64, up: bool, what: OnLine) {
        let Some(known) = self.lines.open.get(&line).copied() else { return };
        let (from, to, generation) = match up {
            true => (known.node, known.master, known.master_generation),
            false => (known.master, known.node, known.node_generation),
        };
        let works = self.links.works(from, to) && self.links.works(to, from);
        if !works && self.rng.chance(400) {
            return self.line_breaks(line, false);
        }
        let again = !works || self.rng.chance(self.faults.loss);
        let late = if again { self.rng.between(20, 400) * MS } else { 0 };
        let at = self.now + self.latency() + late;
        let Some(known) = self.lines.open.get_mut(&line) else { return };
        let last = if up { &mut known.up_at } else { &mut known.down_at };
        *last = at.max(*last + 1);
        let after = *last - self.now;
        let what = Local::Line { line, what: Box::new(what) };
        self.push(after, Ev::Local { place: to, generation: Some(generation), what });
    }

    /// Both ends will hear that it is over.
    pub(super) fn line_breaks(&mut self, line: u64, quickly: bool) {
        let Some(known) = self.lines.open.remove(&line) else { return };
        let ends = [
            (known.node, known.node_generation, known.down_at),
            (known.master, known.master_generation, known.up_at),
        ];
        for (place, generation, last) in ends {
            let most = if quickly { 20 } else { 1200 };
            let after = self.rng.between(1, most) * MS;
            let after = after.max((last + 1).saturating_sub(self.now));
            let what = Local::Line { line, what: Box::new(OnLine::Lost) };
            self.push(after, Ev::Local { place, generation: Some(generation), what });
        }
    }

    /// The process at `place` is over, and with it its lines; the other ends hear of it at once if
    /// its machine is there to say so.
    pub(super) fn lines_end(&mut self, place: usize, quickly: bool) {
        let open = self.lines.open.iter();
        let its = open.filter(|(_, line)| line.node == place || line.master == place);
        let its: Vec<u64> = its.map(|(id, _)| *id).collect();
        its.into_iter().for_each(|line| self.line_breaks(line, quickly));
    }
}
