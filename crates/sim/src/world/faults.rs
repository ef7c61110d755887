//! What goes wrong, and how it ends.

mod apart;
mod calm;
mod dark;
mod lost;
mod people;
mod process;
mod recover;
mod slow;
mod zone;

pub(crate) use dark::Dark;
pub(crate) use process::End;
pub(crate) use recover::Needs;

use super::{Ev, MS, World};
use crate::scenario::{Faults, Kind, WorldKind};
use cairn_logic::invariants::Held;

/// The kinds of fault that are brought about when too little goes wrong by itself.
const ANYWAY: [Kind; 4] = [Kind::ProcessCrash, Kind::Cut, Kind::Isolate, Kind::Pause];
/// Faults of one world, at least.
pub(crate) const FAULTS_MIN: u64 = 10;

impl World {
    /// Every 20 ms each kind of fault has its chance.
    pub(super) fn go_wrong(&mut self) -> Held {
        if !self.is_faulty() {
            return Ok(());
        }
        self.push(20 * MS, Ev::Fault);
        let rates = self.faults.rates;
        for ((kind, _), rate) in Kind::ALL.into_iter().zip(rates) {
            if kind == Kind::ZoneGone && self.scenario.zones.is_none() {
                continue;
            }
            if self.rng.below(5000) < rate {
                self.goes_wrong(kind)?;
            }
        }
        let faulty = self.options.faulty_ms * MS;
        let due = (FAULTS_MIN + 1) * self.now.min(faulty) / faulty;
        if self.stats.faults_all() < due {
            let kind = ANYWAY[self.rng.index(ANYWAY.len())];
            self.goes_wrong(kind)?;
        }
        Ok(())
    }

    /// Now and then other things go wrong than before.
    pub(super) fn weather(&mut self) {
        if self.is_faulty() {
            self.faults = Faults::of(&mut self.rng);
            let wait = self.rng.between(6000, 16_000) * MS;
            self.push(wait, Ev::Weather);
        }
    }

    /// Whether things may go wrong still.
    pub(super) fn is_faulty(&self) -> bool {
        self.calm.is_none() && self.dark == Dark::NotYet
    }

    fn goes_wrong(&mut self, kind: Kind) -> Held {
        let node = self.some_node();
        let done = match kind {
            Kind::ProcessCrash => self.crash(node, End::Process, 600)?,
            Kind::MachineCrash => self.machine_crash(node)?,
            Kind::CleanStop => self.stop(node),
            Kind::RollingRestart => self.rolling_restart(),
            Kind::PowerCut => self.power_cut()?,
            Kind::Pause => self.pause_somebody(),
            Kind::Cut => self.cut_a_link(),
            Kind::Isolate => self.isolate(node),
            Kind::Storm => self.storm(),
            Kind::DiskFails => self.disk_will_fail(node),
            Kind::DiskFlushStalls | Kind::DiskStalls | Kind::DiskSlow | Kind::DiskFull => {
                self.disk_troubles(node, kind)
            }
            Kind::FolderLost => self.wipe(node)?,
            Kind::ClockRate | Kind::ClockLeap | Kind::WallClockJump => self.clock_errs(kind),
            Kind::JudgeCrash => self.crash_a_judge()?,
            Kind::Wish => self.wish_oddly(),
            Kind::Switchover => self.tell_judges(true),
            Kind::Hint => self.tell_judges(false),
            Kind::AcceptorLost => self.wipe_acceptor(false)?,
            Kind::AcceptorRestored => self.wipe_acceptor(true)?,
            Kind::SilentDifference => self.differ_silently(node),
            Kind::ZoneGone => self.zone_gone()?,
        };
        self.stats.faults[kind as usize] += u64::from(done);
        Ok(())
    }

    fn crash_a_judge(&mut self) -> Result<bool, super::Broken> {
        if self.scenario.kind != WorldKind::Group {
            return Ok(false);
        }
        let at = self.scenario.nodes + self.rng.index(2);
        self.crash(at, End::Process, 3000)
    }

    /// One of the logs.
    pub(super) fn some_log(&mut self) -> usize {
        if self.logs.len() == 1 { 0 } else { self.rng.index(self.logs.len()) }
    }

    /// Where the recorded master of a log is.
    fn master_of(&self, log: usize) -> Option<usize> {
        let master = self.logs[log].witness.record().master.as_ref()?;
        self.places.iter().position(|there| there.id == *master)
    }

    /// A node, the master more often than others.
    fn some_node(&mut self) -> usize {
        let log = self.some_log();
        match self.master_of(log) {
            Some(at) if self.rng.chance(400) => at,
            _ => self.rng.index(self.scenario.nodes),
        }
    }
}
