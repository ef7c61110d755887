//! The plane is gone for a while: whoever can serve has to, for nothing of that needs it.

use super::super::{Ev, MS, World};
use super::End;
use crate::scenario::WorldKind;
use cairn_logic::counting::{Plane, Sets};
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::message::Position;

/// Thousandths of the worlds with groups in which the plane goes dark.
const CHANCE: u64 = 300;
/// After so long whatever can serve alone does.
const SETTLING: u64 = 6000 * MS;
/// Within that time it has answered a write.
const SERVING: u64 = 8000 * MS;

/// Whether the plane is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dark {
    /// It was always there.
    #[default]
    NotYet,
    /// It went, and all other faults ended.
    Settling,
    /// The groups that can serve have to.
    Serving,
    /// It is there again, or will stay.
    Over,
}

impl World {
    /// Takes the next step into the dark; how long that takes, or `None` once it is over.
    pub(super) fn darken(&mut self) -> Result<Option<u64>, Broken> {
        match self.dark {
            Dark::NotYet => {
                if self.scenario.kind == WorldKind::Global || !self.rng.chance(CHANCE) {
                    self.dark = Dark::Over;
                    return Ok(None);
                }
                self.go_dark()?;
                Ok(Some(SETTLING))
            }
            Dark::Settling => {
                self.dark = Dark::Serving;
                for log in 0..self.logs.len() {
                    let able = self.serves_alone(log);
                    self.stats.alone += u64::from(able);
                    self.logs[log].alone = able.then_some(self.logs[log].writes);
                }
                Ok(Some(SERVING))
            }
            Dark::Serving => {
                self.dark = Dark::Over;
                match self.logs.iter().position(|log| log.alone == Some(log.writes)) {
                    Some(log) => {
                        let facts = format!("{}: {}", self.logs[log].group, self.describe());
                        Err(Broken { rule: "L3 Alone", facts })
                    }
                    None => Ok(None),
                }
            }
            Dark::Over => Ok(None),
        }
    }

    /// Whether the plane is gone at this moment.
    pub(in super::super) fn is_dark(&self) -> bool {
        matches!(self.dark, Dark::Settling | Dark::Serving)
    }

    /// Whether `place` is the plane's, and nobody's who serves a group.
    pub(in super::super) fn is_planes(&self, place: usize) -> bool {
        let globals = match self.scenario.kind {
            WorldKind::Cluster => self.scenario.globals,
            WorldKind::Group | WorldKind::Global | WorldKind::Moves => 0,
        };
        place < globals || place >= self.scenario.nodes
    }

    fn go_dark(&mut self) -> Held {
        self.dark = Dark::Settling;
        let dead = self.rng.chance(500);
        self.note(|| format!("the plane goes dark, its processes dead: {dead}"));
        for place in (0..self.places.len()).filter(|at| self.is_planes(*at)).collect::<Vec<_>>() {
            if dead {
                self.end_process(place, End::Process)?;
            } else if self.places[place].up {
                self.places[place].paused_at = self.now;
                self.places[place].paused.get_or_insert_default();
            }
        }
        self.end_faults();
        Ok(())
    }

    /// Whether a group has all that it needs to serve: its recorded master sits, and every member
    /// is there and can follow it.
    fn serves_alone(&self, log: usize) -> bool {
        let record = self.logs[log].witness.record();
        if self.logs[log].plane == Plane::Global
            || record.open
            || !Sets::of(Plane::Group, record).admits_writes()
        {
            return false;
        }
        record.members.iter().all(|member| {
            let there = self.places.iter().find(|there| there.id == member.id);
            let there = there.filter(|there| there.sender().incarnation == member.incarnation);
            let Some(process) = there.and_then(|there| there.process.as_ref()) else {
                return false;
            };
            let replica = process.host.replica();
            let vote = replica.vote();
            let sits = replica.position() == Position::Master(record.epoch);
            let master = record.master.as_ref() == Some(&member.id);
            vote.intact && vote.sealed <= record.epoch && (sits || !master)
        })
    }
}

impl World {
    /// Drops what would bring the plane back in the dark.
    pub(in super::super) fn is_kept_away(&self, event: &Ev) -> bool {
        self.is_dark()
            && match event {
                Ev::Restart(place) | Ev::Resume(place) => self.is_planes(*place),
                Ev::Keeper(_) => true,
                _ => false,
            }
    }
}
