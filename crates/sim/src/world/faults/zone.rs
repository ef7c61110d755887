//! A whole zone is gone: cut off, its processes ended, without power, or for good.

use super::super::network::KEEPER;
use super::super::{Broken, Ev, MS, World};
use super::End;
use cairn_logic::counting::Sets;
use cairn_logic::ids::NodeId;
use cairn_logic::record::Record;

impl World {
    pub(super) fn zone_gone(&mut self) -> Result<bool, Broken> {
        let Some(zones) = self.scenario.zones else { return Ok(false) };
        let zone = self.rng.index(zones.number);
        let name = format!("z{zone}");
        let inside: Vec<usize> = (0..self.scenario.nodes)
            .filter(|at| self.scenario.zone(*at).as_ref() == Some(&name))
            .collect();
        if inside.is_empty() {
            return Ok(false);
        }
        match self.rng.below(4) {
            0 => self.zone_apart(&name, &inside),
            1 => {
                self.note(|| format!("all processes in {name} end"));
                for place in inside {
                    self.crash(place, End::Process, 2000)?;
                }
            }
            how => return self.zone_lost(&name, &inside, how == 2),
        }
        Ok(true)
    }

    /// Nothing gets in or out for a while.
    fn zone_apart(&mut self, name: &str, inside: &[usize]) {
        self.note(|| format!("{name} is apart"));
        let wait = self.rng.between(300, 4000) * MS;
        let outside = (0..self.places.len()).filter(|at| !inside.contains(at)).chain([KEEPER]);
        for other in outside.collect::<Vec<_>>() {
            for place in inside {
                for (from, to) in [(*place, other), (other, *place)] {
                    self.links.cut(from, to);
                    self.push(wait, Ev::Mend(from, to));
                }
            }
        }
    }

    /// All machines lose power at once, or all folders are lost, where every group bears it: what
    /// it has acknowledged is in another zone, whose members are well.
    fn zone_lost(&mut self, name: &str, inside: &[usize], power: bool) -> Result<bool, Broken> {
        if !(0..self.logs.len()).all(|log| self.bears_loss(log, inside)) {
            return Ok(false);
        }
        self.note(|| format!("{name} is lost, but for its disks: {power}"));
        self.stats.zones_lost += 1;
        for place in inside {
            let end = if power { End::Machine } else { End::Process };
            self.crash(*place, end, 2500)?;
            if !power {
                self.replace_folder(*place);
            }
        }
        Ok(true)
    }

    fn bears_loss(&self, log: usize, inside: &[usize]) -> bool {
        let log = &self.logs[log];
        let lost = |id: &NodeId| inside.iter().any(|at| self.places[*at].id == *id);
        let record = log.witness.record();
        if !record.members.iter().any(|member| lost(&member.id)) {
            return true;
        }
        let asks = |record: &Record| {
            record.durability.zones > 1 && Sets::of(log.plane, record).has_zones()
        };
        let next = log.change.as_ref().filter(|(expected, _)| *expected == record.version);
        let settled = !record.open && record.master.is_some();
        let left = record.members.iter().filter(|member| !lost(&member.id));
        settled
            && asks(record)
            && next.is_none_or(|(_, next)| asks(next))
            && left.map(|member| &member.id).all(|id| self.is_well(id, record))
    }
}
