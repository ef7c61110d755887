//! What goes wrong, and how it ends.

mod calm;

use super::network::KEEPER;
use super::{Ev, MS, World};
use crate::data::Data;
use crate::folder::Folder;
use crate::place::{Local, Process};
use crate::shell::Shell;
use cairn_host::{Event, Host};
use cairn_logic::counting::Plane;
use cairn_logic::invariants::Held;
use cairn_logic::judge::{Hint, Judge, JudgeInput};
use cairn_logic::message::{Mode, Position, Relief};
use cairn_logic::record::Rule;
use cairn_logic::replication::{Change, Replica};
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
    pub(super) fn restart(&mut self, place: usize) -> Held {
        if self.places[place].up {
            return Ok(());
        }
        let there = &mut self.places[place];
        there.up = true;
        there.generation += 1;
        there.read_at = 0;
        let now = there.clock.read(self.now);
        there.acceptor = Self::new_acceptor(there);
        there.acceptor_free = self.now;
        if there.has_judge {
            let judge = Judge::new(self.scenario.plane, there.sender(), self.scenario.timing);
            there.judge = Some(judge);
        }
        self.push_own(place, MS, Local::Tick);
        let me = self.places[place].sender();
        let Some(folder) = &self.places[place].folder else { return Ok(()) };
        let recovered = folder.recover();
        let (plane, timing) = (self.scenario.plane, self.scenario.timing);
        let (reads, tail, unix_ms) =
            (self.scenario.reads, self.scenario.tail_bytes, self.unix_ms());
        let started = catch_unwind(AssertUnwindSafe(|| {
            let mut effects = Vec::new();
            let replica = Replica::start(me, plane, recovered, timing, reads, now, &mut effects);
            let shell = Shell { now, unix_ms, commands: Vec::new() };
            Host::new(shell, replica, effects, tail)
        }));
        let host = match started {
            Ok(host) => host,
            Err(panic) => return Err(self.panicked(place, panic.as_ref())),
        };
        let life = host.replica().vote().life;
        let (data, at) = (Data::new(reads), self.now);
        let process = Process { host, data, to_control: at, to_data: at, report_at: 0 };
        self.places[place].process = Some(process);
        if plane == Plane::Global {
            let register = self.new_register(place, life);
            self.places[place].register = Some(register);
        }
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} starts life {life}"));
        self.perform(place)
    }

    /// The process at `place` ends.
    pub(super) fn end_process(&mut self, place: usize, end: End) -> Held {
        if !self.places[place].up {
            return Ok(());
        }
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} ends: {end:?}"));
        self.stats.crashes += 1;
        let name = self.places[place].folder_name();
        let there = &mut self.places[place];
        there.up = false;
        there.generation += 1;
        there.paused = None;
        (there.process, there.judge, there.register, there.acceptor) = (None, None, None, None);
        let Some(folder) = &mut there.folder else { return Ok(()) };
        for copy in folder.process_ends(&mut self.rng) {
            self.witness.written(&name, copy)?;
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
        for stored in &folder.log[..folder.durable] {
            self.witness.flushed(&name, stored.copy);
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, place: usize) {
        for what in self.places[place].paused.take().into_iter().flatten() {
            self.push_own(place, 0, what);
        }
    }

    /// Every 20 ms each kind of fault has its chance.
    pub(super) fn go_wrong(&mut self) -> Held {
        if self.calm.is_some() {
            return Ok(());
        }
        self.push(20 * MS, Ev::Fault);
        let f = self.faults;
        self.go_rarely_wrong()?;
        let mut due = |rate: u64| self.rng.below(5000) < rate;
        let [process, machine, clean, pause, cut, isolate, disk, wipe, judge, wish, switch, hint] =
            [
                f.process_crash,
                f.machine_crash,
                f.clean_stop,
                f.pause,
                f.cut,
                f.isolate,
                f.disk,
                f.wipe,
                f.judge_crash,
                f.wish,
                f.switchover,
                f.hint,
            ]
            .map(&mut due);
        let node = self.some_node();
        if process {
            self.crash(node, End::Process, 600)?;
        }
        if machine && (self.rng.chance(200) || self.others_are_well(node)) {
            self.crash(node, End::Machine, 2000)?;
            if self.rng.chance(500) {
                let wait = self.rng.between(1, 800) * MS;
                self.push(wait, Ev::Strike);
            }
        }
        if clean {
            self.stop(node);
        }
        if pause {
            let place = self.rng.index(self.places.len());
            self.pause(place);
        }
        if cut {
            self.cut_a_link();
        }
        if isolate {
            let place = self.some_node();
            self.isolate(place);
        }
        if disk && self.others_are_well(node) {
            self.places[node].disk_fails = true;
        }
        if wipe {
            self.wipe(node)?;
        }
        if judge && self.scenario.plane == Plane::Group {
            let at = self.scenario.nodes + self.rng.index(2);
            self.crash(at, End::Process, 3000)?;
        }
        if wish {
            self.wish_oddly();
        }
        if switch || hint {
            self.tell_judges(switch);
        }
        Ok(())
    }

    fn go_rarely_wrong(&mut self) -> Held {
        if self.rng.below(5000) < self.faults.storm {
            self.storm();
        }
        if self.rng.below(5000) < self.faults.acceptor_wipe {
            self.wipe_acceptor()?;
        }
        Ok(())
    }

    /// A node, the master more often than others.
    fn some_node(&mut self) -> usize {
        let master = self.witness.record().master.clone();
        let at = self.places.iter().position(|there| Some(&there.id) == master.as_ref());
        match at {
            Some(at) if self.rng.chance(400) => at,
            _ => self.rng.index(self.scenario.nodes),
        }
    }

    fn crash(&mut self, place: usize, end: End, most_ms: u64) -> Held {
        self.end_process(place, end)?;
        // Often so soon that nobody has noticed.
        let most_ms = if self.rng.chance(300) { 20 } else { most_ms };
        let wait = self.rng.between(1, most_ms) * MS;
        self.push(wait, Ev::Restart(place));
        Ok(())
    }

    /// The master of the moment ends, pauses or is cut off.
    pub(super) fn strike(&mut self) -> Held {
        let master = self.witness.record().master.clone();
        let at = self.places.iter().position(|there| Some(&there.id) == master.as_ref());
        let Some(at) = at.filter(|_| self.calm.is_none()) else { return Ok(()) };
        match self.rng.below(4) {
            0 => self.crash(at, End::Process, 600)?,
            1 => self.pause(at),
            2 => self.isolate(at),
            _ => {
                self.crash(at, End::Process, 600)?;
                let other = self.rng.index(self.scenario.nodes);
                self.pause(other);
            }
        }
        Ok(())
    }

    /// The master does not reach some members for a while; then it is hit itself.
    fn storm(&mut self) {
        let master = self.witness.record().master.clone();
        let at = self.places.iter().position(|there| Some(&there.id) == master.as_ref());
        let Some(at) = at else { return };
        if self.rng.chance(300) {
            // Acknowledgements linger on the way, and then nothing gets through.
            let wait = self.rng.between(50, 200) * MS;
            self.slow = Some((at, self.now + wait));
            self.push(wait, Ev::Isolate(at));
            return;
        }
        let mut reached = self.rng.index(2);
        for other in (0..self.scenario.nodes).filter(|other| *other != at) {
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
    }

    /// A stop as the node's own: it asks for relief, and a little later it ends cleanly.
    fn stop(&mut self, place: usize) {
        let event = Event::Relief(Some(Relief::Stopping));
        self.push_own(place, 0, Local::Host(Box::new(event)));
        let wait = self.rng.between(1, 500) * MS;
        self.push_own(place, wait, Local::Stop);
    }

    /// Ends cleanly, if the disk is idle.
    pub(super) fn stop_now(&mut self, place: usize) -> Held {
        let idle = self.places[place].folder.as_ref().is_some_and(|folder| !folder.busy);
        self.crash(place, if idle { End::Clean } else { End::Process }, 500)
    }

    fn pause(&mut self, place: usize) {
        if self.places[place].up && self.places[place].paused.is_none() {
            self.places[place].paused = Some(Default::default());
            let id = self.places[place].id.clone();
            self.note(|| format!("{id} is paused"));
            let wait = self.rng.between(20, 900) * MS;
            self.push(wait, Ev::Resume(place));
        }
    }

    fn some_end(&mut self) -> usize {
        let at = self.rng.index(self.places.len() + 1);
        if at == self.places.len() { KEEPER } else { at }
    }

    fn cut_a_link(&mut self) {
        let (a, b) = (self.some_end(), self.some_end());
        let both = self.rng.chance(500);
        self.cut(a, b);
        if both {
            self.cut(b, a);
        }
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.links.cut(from, to);
        let wait = self.rng.between(30, 1500) * MS;
        self.push(wait, Ev::Mend(from, to));
    }

    /// One node loses all links to the others, one way or both; perhaps not to judges.
    pub(super) fn isolate(&mut self, place: usize) {
        let (out, into) = [(true, true), (true, false), (false, true)][self.rng.index(3)];
        let whole = self.rng.chance(500);
        let all = if whole { self.places.len() } else { self.scenario.nodes };
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} is apart, out {out} in {into}"));
        let keeper = whole.then_some(KEEPER);
        for other in (0..all).filter(|other| *other != place).chain(keeper) {
            if out {
                self.cut(place, other);
            }
            if into {
                self.cut(other, place);
            }
        }
    }

    /// Whether all members but `place` are up and vouch for their logs, so that losing this one
    /// is no more than any rule bears.
    fn others_are_well(&self, place: usize) -> bool {
        let record = self.witness.record();
        let well = |id: &cairn_logic::ids::NodeId| {
            let there = self.places.iter().find(|there| there.id == *id);
            there.is_some_and(|there| {
                let names = record.names(id, there.sender().incarnation);
                let process = there.process.as_ref().map(|p| p.host.replica());
                names
                    && process.is_some_and(|r| r.vote().intact)
                    && there.folder.as_ref().is_some_and(|f| f.vote.intact && !f.failed)
                    && !there.disk_fails
            })
        };
        let others = record.members.iter().filter(|m| m.id != self.places[place].id);
        others.into_iter().all(|member| well(&member.id))
    }

    /// A node loses its folder for good, when the others can bear it.
    fn wipe(&mut self, place: usize) -> Held {
        let record = self.witness.record().clone();
        let rule_bears = record.members.len() >= 2 && !record.open && record.master.is_some();
        if !rule_bears || !self.others_are_well(place) || self.settling(place) {
            return Ok(());
        }
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} loses its folder"));
        // Until its old folder is out of the record, nobody else may lose anything.
        (self.faults.machine_crash, self.faults.disk, self.faults.wipe) = (0, 0, 0);
        self.crash(place, End::Process, 1000)?;
        self.incarnations += 1;
        self.places[place].folder = Some(Folder::new(self.incarnations));
        Ok(())
    }

    /// An acceptor loses its folder, when all of them have a value.
    fn wipe_acceptor(&mut self) -> Held {
        let all = self.acceptors();
        let whole = all.iter().all(|at| {
            let kept = self.places[*at].kept.as_ref();
            kept.is_some_and(|state| state.accepted.is_some())
        });
        if self.scenario.plane != Plane::Global || self.lost_acceptor.is_some() || !whole {
            return Ok(());
        }
        let lost = all[self.rng.index(all.len())];
        let id = self.places[lost].id.clone();
        self.note(|| format!("the acceptor of {id} loses its folder"));
        self.crash(lost, End::Process, 300)?;
        self.places[lost].seat_incarnation += 1;
        self.places[lost].kept = Some(Default::default());
        self.lost_acceptor = Some(lost);
        Ok(())
    }

    /// Whether the sitting master has not yet committed in the recorded epoch: then the copies may
    /// still be where they were.
    fn settling(&self, place: usize) -> bool {
        let record = self.witness.record();
        let active = self.places.iter().any(|there| {
            let replica = there.process.as_ref().map(|p| p.host.replica());
            replica.is_some_and(|r| r.position() == Position::Master(record.epoch))
        });
        let sole = record.members.iter().all(|m| m.id == self.places[place].id);
        !active || sole
    }

    fn wish_oddly(&mut self) {
        let record = self.witness.record();
        let member = self.rng.pick(&record.members).cloned();
        let (until, asked) = (self.now + self.rng.between(100, 1500) * MS, self.asked);
        match (member, self.rng.below(3)) {
            (Some(member), 0) => self.odd_wish = Some((Change::Remove(member.id), until)),
            (_, 1) if self.scenario.plane == Plane::Group => {
                let rules = [Rule::One, Rule::Quorum, Rule::All, Rule::Async];
                let rule = *self.rng.pick(&rules).unwrap_or(&Rule::Quorum);
                let rule =
                    if asked.mode.wanted > 3 && rule == Rule::One { Rule::Quorum } else { rule };
                let mut durability = asked.mode.durability;
                durability.flushed ^= self.rng.chance(400);
                self.asked.mode = Mode { rule, durability, ..asked.mode };
                let flushed = durability.flushed;
                self.note(|| format!("asked: {rule:?} flushed {flushed}"));
            }
            _ if self.scenario.plane == Plane::Group && self.scenario.nodes > 2 => {
                let most = u8::try_from(self.scenario.nodes).unwrap_or(2);
                let most = if asked.mode.rule == Rule::One { most.min(3) } else { most };
                let wanted = u8::try_from(self.rng.between(2, u64::from(most))).unwrap_or(2);
                self.asked.mode.wanted = wanted;
                (self.asked.replicas, self.asked.backups) = (wanted - 1, 0);
                self.note(|| format!("asked: {wanted} members"));
            }
            _ => {}
        }
    }

    fn tell_judges(&mut self, switch: bool) {
        let node = self.some_node();
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
            let what = Local::Judge(Box::new(input.clone()));
            let after = self.latency();
            self.push(after, Ev::Local { place: judge, generation: None, what });
        }
        if deaf {
            self.cut(KEEPER, node);
        }
    }
}
