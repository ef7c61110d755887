//! Disks that are slow, stalled or full; clocks that leap.

use super::super::{MS, World};
use crate::scenario::Kind;
use cairn_logic::replication::Reads;

impl World {
    /// The disk of `node` is in trouble for a while.
    pub(super) fn disk_troubles(&mut self, node: usize, kind: Kind) -> bool {
        let most = if self.rng.chance(200) { 8000 } else { 1500 };
        let span = self.rng.between(50, most);
        let until = self.now + span * MS;
        let id = self.places[node].id.clone();
        self.note(|| format!("{kind:?} at {id} for {span} ms"));
        let disk = &mut self.places[node].disk;
        let which = match kind {
            Kind::DiskFlushStalls => &mut disk.flushes_stall,
            Kind::DiskStalls => &mut disk.stalls,
            Kind::DiskSlow => &mut disk.slow,
            _ => &mut disk.full,
        };
        *which = until.max(*which);
        true
    }

    /// A clock changes its rate or leaps. The monotonic clock leaps only where nothing is read on
    /// promises, which rest on rates (docs/replication.md §0, A3).
    pub(super) fn clock_errs(&mut self, kind: Kind) -> bool {
        let (place, now) = (self.rng.index(self.places.len()), self.now);
        let id = self.places[place].id.clone();
        match kind {
            Kind::ClockRate => {
                let rate = self.rng.between(900, 1100);
                self.places[place].clock.runs_at(now, rate);
            }
            Kind::WallClockJump => {
                let hour = i64::try_from(self.rng.below(7_200_000)).expect("two hours") - 3_600_000;
                self.places[place].clock.wall_ms += hour;
            }
            _ if self.reads_of(place) == Reads::Confirm => {
                let by = self.rng.between(1, 3000) * MS;
                self.places[place].clock.leaps(now, by);
            }
            _ => return false,
        }
        self.note(|| format!("{kind:?} at {id}"));
        true
    }
}
