//! Processes and machines that start, end and pause.

use super::super::{Broken, Ev, MS, World};
use crate::data::Data;
use crate::place::{Local, Process};
use crate::scenario::WorldKind;
use crate::shell::Shell;
use crate::store::Store;
use cairn_host::{Event, Host};
use cairn_keyspace::Pace;
use cairn_logic::counting::Plane;
use cairn_logic::invariants::Held;
use cairn_logic::judge::Judge;
use cairn_logic::message::Relief;
use cairn_logic::replication::{Reads, Replica};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Process,
    Machine,
    /// A write or flush failed: the process ends at once.
    DiskFailed,
    /// All is flushed, the mark is written.
    Clean,
}

impl World {
    /// A process starts at `place`.
    pub(in super::super) fn restart(&mut self, place: usize) -> Held {
        if self.places[place].up {
            return Ok(());
        }
        let there = &mut self.places[place];
        there.up = true;
        there.generation += 1;
        there.read_at = 0;
        there.acceptor = Self::new_acceptor(there);
        there.acceptor_free = self.now;
        if there.has_judge {
            let plane = match self.scenario.kind {
                WorldKind::Group | WorldKind::Moves => Plane::Group,
                WorldKind::Global | WorldKind::Cluster => Plane::Global,
            };
            let judge = Judge::new(plane, there.sender(), self.scenario.timing);
            there.judge = Some(judge);
        }
        self.push_own(place, MS, Local::Tick);
        self.begin_session(place);
        if self.places[place].log.is_some() { self.join(place) } else { Ok(()) }
    }

    /// The replica at `place` starts.
    pub(in super::super) fn join(&mut self, place: usize) -> Held {
        let now = self.places[place].clock.read(self.now);
        let me = self.places[place].sender();
        let log = self.log_of(place);
        self.spoil(place);
        let Some(folder) = &self.places[place].folder else { return Ok(()) };
        let newest = folder.newest();
        let (snapshots, last) = (folder.usable(), folder.last());
        let recovered = folder.recover();
        let (plane, timing) = (self.logs[log].plane, self.scenario.timing);
        let (reads, tail, unix_ms) =
            (self.logs[log].reads, self.scenario.tail_bytes, self.unix_ms(place));
        let started = catch_unwind(AssertUnwindSafe(|| {
            let mut effects = Vec::new();
            let replica = Replica::start(me, plane, recovered, timing, reads, now, &mut effects);
            let shell = Shell { now, unix_ms, snapshots, last, commands: Vec::new() };
            Host::new(shell, replica, effects, tail)
        }));
        let host = match started {
            Ok(host) => host,
            Err(panic) => return Err(self.panicked(place, panic.as_ref())),
        };
        let life = host.replica().vote().life;
        let store = (plane == Plane::Group).then(|| Box::new(Store::new(self.seed_of(log))));
        let (data, at) = (Data::new(reads, store), self.now);
        let desk = self.new_desk(place, log);
        let process = Process {
            host,
            data,
            desk,
            to_control: at,
            to_data: at,
            report_at: 0,
            writes_snapshot: false,
            fetches: false,
            used: None,
            wrong: false,
            asking: Pace::default(),
            granting: Pace::default(),
        };
        self.places[place].process = Some(process);
        if plane == Plane::Global {
            let register = self.new_register(place, life);
            self.places[place].register = Some(register);
        }
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} starts life {life}"));
        if let Some(snapshot) = newest {
            let event = Event::Snapshot(snapshot.from);
            self.push_own(place, MS, Local::Host(Box::new(event)));
        }
        self.perform(place)
    }

    /// The process at `place` ends.
    pub(in super::super) fn end_process(&mut self, place: usize, end: End) -> Held {
        if !self.places[place].up {
            return Ok(());
        }
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} ends: {end:?}"));
        self.stats.crashes += 1;
        let name = self.places[place].folder_name();
        self.lines_end(place, end != End::Machine);
        let log = self.log_of(place);
        let witness = &mut self.logs[log].witness;
        let there = &mut self.places[place];
        there.up = false;
        there.generation += 1;
        there.paused = None;
        (there.process, there.judge, there.register) = (None, None, None);
        there.session = None;
        there.waits_for_room = false;
        if let Some(acceptor) = there.acceptor.take() {
            // What it was about to store when it ended may be stored.
            if self.rng.chance(500) {
                there.kept = Some(acceptor.state().clone());
            }
        }
        let Some(folder) = &mut there.folder else { return self.look_at_register(place) };
        let (mut durable, gone) = (folder.durable, folder.gone);
        for copy in folder.process_ends(&mut self.rng) {
            witness.written(&name, copy)?;
        }
        if folder.gone != gone {
            durable = 0;
        }
        match end {
            End::Process => {}
            End::Machine => folder.machine_ends(&mut self.rng),
            End::DiskFailed => {
                folder.machine_ends(&mut self.rng);
                folder.failed = true;
            }
            End::Clean => {
                folder.durable = folder.log.len();
                folder.clean = Some(folder.last());
            }
        }
        for copy in &folder.copies[durable.min(folder.durable)..folder.durable] {
            witness.flushed(&name, *copy);
        }
        self.look_at_register(place)
    }

    pub(super) fn crash(&mut self, place: usize, end: End, most_ms: u64) -> Result<bool, Broken> {
        let was_up = self.places[place].up;
        self.end_process(place, end)?;
        // Often so soon that nobody has noticed.
        let most_ms = if self.rng.chance(300) { 20 } else { most_ms };
        let wait = self.rng.between(1, most_ms) * MS;
        self.push(wait, Ev::Restart(place));
        Ok(was_up)
    }

    /// Whether what may lose something, and so ends the strictest checks, may happen already.
    fn is_late(&self) -> bool {
        self.now >= self.options.faulty_ms * MS * 4 / 5
    }

    /// A machine ends; early only when the others can bear it.
    pub(super) fn machine_crash(&mut self, node: usize) -> Result<bool, Broken> {
        let anyway = self.is_late() && self.rng.chance(300);
        if self.is_bereft(self.log_of(node)) || !(anyway || self.others_are_well(node)) {
            return Ok(false);
        }
        let was_up = self.crash(node, End::Machine, 2000)?;
        if self.rng.chance(500) {
            let wait = self.rng.between(1, 800) * MS;
            self.push(wait, Ev::Strike);
        }
        Ok(was_up)
    }

    /// All machines lose power at once. Where copies count before they are flushed that may lose
    /// something, so there it comes late.
    pub(super) fn power_cut(&mut self) -> Result<bool, Broken> {
        let early = self.now < self.options.faulty_ms * MS * 4 / 5;
        let flushed = self.logs.iter().all(|log| {
            log.witness.record().durability.flushed && log.asked.mode.durability.flushed
        });
        let bereft = (0..self.logs.len()).any(|log| self.is_bereft(log));
        if bereft || (early && !flushed) {
            return Ok(false);
        }
        self.note(|| "the power is cut".to_owned());
        for place in 0..self.places.len() {
            self.crash(place, End::Machine, 2500)?;
        }
        Ok(true)
    }

    /// A stop as the node's own: it asks for relief, and a little later it ends cleanly.
    pub(in super::super) fn stop(&mut self, place: usize) -> bool {
        let event = Event::Relief(Some(Relief::Stopping));
        self.push_own(place, 0, Local::Host(Box::new(event)));
        let wait = self.rng.between(1, 500) * MS;
        self.push_own(place, wait, Local::Stop);
        self.places[place].up
    }

    /// Ends cleanly, if the disk is idle.
    pub(in super::super) fn stop_now(&mut self, place: usize) -> Held {
        let idle = self.places[place].folder.as_ref().is_some_and(|folder| !folder.busy);
        self.crash(place, if idle { End::Clean } else { End::Process }, 500)?;
        Ok(())
    }

    /// One node after the other is stopped and started.
    pub(super) fn rolling_restart(&mut self) -> bool {
        self.note(|| "a rolling restart".to_owned());
        let step = self.rng.between(300, 2500) * MS;
        for node in 0..self.scenario.nodes {
            self.push(step * node as u64, Ev::Stop(node));
        }
        true
    }

    pub(super) fn pause_somebody(&mut self) -> bool {
        let place = self.rng.index(self.places.len());
        self.pause(place)
    }

    /// Nothing happens there for a while; where reads ask for a round of acknowledgements, even
    /// the clock may stand still.
    pub(super) fn pause(&mut self, place: usize) -> bool {
        if !self.places[place].up || self.places[place].paused.is_some() {
            return false;
        }
        self.places[place].paused = Some(Default::default());
        self.places[place].paused_at = self.now;
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} is paused"));
        let most = if self.rng.chance(150) { 5000 } else { 900 };
        let wait = self.rng.between(20, most) * MS;
        self.push(wait, Ev::Resume(place));
        true
    }

    pub(in super::super) fn resume(&mut self, place: usize) {
        let stands = self.reads_of(place) == Reads::Confirm && self.rng.chance(500);
        let (there, now) = (&mut self.places[place], self.now);
        let Some(waiting) = there.paused.take() else { return };
        if stands {
            there.clock.stood(now, now - there.paused_at);
        }
        for what in waiting {
            self.push_own(place, 0, what);
        }
    }
}
