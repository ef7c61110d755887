//! What people and the operator do: wishes that make no sense, switchovers, hints.

use super::super::network::KEEPER;
use super::super::{Ev, MS, World};
use crate::place::Local;
use crate::scenario::WorldKind;
use cairn_logic::counting::Plane;
use cairn_logic::judge::{Hint, JudgeInput};
use cairn_logic::message::Mode;
use cairn_logic::record::Rule;
use cairn_logic::replication::Change;

impl World {
    pub(super) fn wish_oddly(&mut self) -> bool {
        let log = match self.scenario.kind {
            WorldKind::Cluster if self.logs.len() < 2 => return false,
            WorldKind::Cluster => 1 + self.rng.index(self.logs.len() - 1),
            WorldKind::Group | WorldKind::Global | WorldKind::Moves => 0,
        };
        let cluster = self.scenario.kind == WorldKind::Cluster;
        let plane = self.logs[log].plane;
        let record = self.logs[log].witness.record();
        let member = self.rng.pick(&record.members).cloned();
        let (until, asked) = (self.now + self.rng.between(100, 1500) * MS, self.logs[log].asked);
        match (member, self.rng.below(3)) {
            (Some(member), 0) if !cluster => {
                self.logs[log].odd_wish = Some((Change::Remove(member.id), until))
            }
            (_, 1) if plane == Plane::Group => {
                let rules = [Rule::One, Rule::Quorum, Rule::All, Rule::Async];
                let rule = *self.rng.pick(&rules).unwrap_or(&Rule::Quorum);
                let rule =
                    if asked.mode.wanted > 3 && rule == Rule::One { Rule::Quorum } else { rule };
                let mut durability = asked.mode.durability;
                durability.flushed ^= self.rng.chance(400);
                if !cluster && self.scenario.zones.is_some() && self.rng.chance(400) {
                    durability.zones = 3 - durability.zones;
                }
                self.logs[log].asked.mode = Mode { rule, durability, ..asked.mode };
                self.note(|| format!("asked: {rule:?} {durability:?}"));
            }
            // Where zones compete for nodes more of them would have to be idle.
            _ if cluster && self.scenario.zones.is_some() => return false,
            _ if plane == Plane::Group && self.scenario.nodes > 2 => {
                let most = match cluster {
                    true => self.most_members(log),
                    false => u8::try_from(self.scenario.nodes).unwrap_or(2),
                };
                let most = if asked.mode.rule == Rule::One { most.min(3) } else { most };
                let wanted = u8::try_from(self.rng.between(2, u64::from(most))).unwrap_or(2);
                self.logs[log].asked.mode.wanted = wanted;
                let asked = &mut self.logs[log].asked;
                (asked.replicas, asked.backups) = (wanted - 1, 0);
                self.note(|| format!("asked: {wanted} members"));
            }
            _ => return false,
        }
        true
    }

    pub(super) fn tell_judges(&mut self, switch: bool) -> bool {
        let node = self.some_node();
        if let Some(log) = self.places[node].log.filter(|log| *log > 0) {
            return self.tell_masters(node, log, switch);
        }
        let id = self.places[node].id.clone();
        let input = match switch {
            true if self.rng.chance(500) => JudgeInput::Wish { target: None },
            true => JudgeInput::Wish { target: Some(id) },
            false => JudgeInput::Hint(Hint::Gone(id)),
        };
        self.note(|| format!("judges hear {input:?}"));
        // What a hint says may be wrong; and the judges may not reach the master at all.
        let deaf = !switch && self.rng.chance(600);
        for judge in self.judges().into_iter().filter(|judge| *judge != node) {
            if deaf {
                self.cut(judge, node);
            }
            // Late, and perhaps more than once.
            for _ in 0..=self.rng.below(2) {
                let late = if self.rng.chance(100) { self.rng.between(100, 4000) * MS } else { 0 };
                let what = Local::Judge(Box::new(input.clone()));
                let after = self.latency() + late;
                self.push(after, Ev::Local { place: judge, generation: None, what });
            }
        }
        if deaf {
            self.cut(KEEPER, node);
        }
        true
    }

    /// The same about a group of a cluster: whoever is global master hears it.
    fn tell_masters(&mut self, node: usize, log: usize, switch: bool) -> bool {
        let id = self.places[node].id.clone();
        let group = self.logs[log].group.clone();
        let (group, input) = match switch {
            true if self.rng.chance(500) => (Some(group), JudgeInput::Wish { target: None }),
            true => (Some(group), JudgeInput::Wish { target: Some(id) }),
            false => (None, JudgeInput::Hint(Hint::Gone(id))),
        };
        self.note(|| format!("the global master hears {input:?}"));
        for place in 0..self.scenario.globals {
            for _ in 0..=self.rng.below(2) {
                let late = if self.rng.chance(100) { self.rng.between(100, 4000) * MS } else { 0 };
                let what = Local::Wish(Box::new((group.clone(), input.clone())));
                let after = self.latency() + late;
                self.push(after, Ev::Local { place, generation: None, what });
            }
        }
        true
    }
}
