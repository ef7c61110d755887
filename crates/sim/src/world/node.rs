//! What happens at one place: its process takes inputs, its disk finishes things.

use super::{MS, US, World};
use crate::data::ToControl;
use crate::folder::Folder;
use crate::place::{ClientOp, Local, Up};
use cairn_host::Event;
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::judge::JudgeInput;
use cairn_logic::message::Position;
use cairn_logic::mutant::{Mutant, broken};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl World {
    pub(super) fn local(&mut self, place: usize, what: Local) -> Held {
        match what {
            Local::Tick => self.tick(place),
            Local::Host(event) => self.host(place, *event),
            Local::Peer { log, event } if self.places[place].log == Some(log) => {
                self.host(place, *event)
            }
            Local::Peer { .. } => Ok(()),
            Local::DiskDone => self.disk_done(place),
            Local::FlushDone => self.flush_done(place),
            Local::DiskRetry => {
                self.disk_next(place);
                Ok(())
            }
            Local::ReadLog { from, up_to, bytes_max, why } => {
                let Some(folder) = &self.places[place].folder else { return Ok(()) };
                let batches = folder.read(from, up_to, bytes_max);
                self.host(place, Event::Read { why, batches })
            }
            Local::Data(command) => {
                let unix_ms = self.unix_ms(place);
                let folder = self.places[place].folder_name();
                let witness = &self.logs[self.log_of(place)].witness;
                let Some(process) = &mut self.places[place].process else { return Ok(()) };
                let made = process.data.hear(command, unix_ms, witness, &folder)?;
                if let Some(word) = made {
                    self.tell_control(place, word);
                }
                self.look_at_copy(place)?;
                self.release(place)
            }
            Local::Snapshot(from) => self.snapshot_done(place, from),
            Local::Arrived { from, received, spare } => self.arrived(place, from, *received, spare),
            Local::Received { from, spare } => self.received(place, from, spare),
            Local::Stop => self.stop_now(place),
            Local::Release => self.set_aside(place),
            Local::ToControl(ToControl::Appended(batch)) => {
                self.host(place, Event::Appended(batch))
            }
            Local::ToControl(ToControl::SteppedDown) => self.host(place, Event::SteppedDown),
            Local::ToControl(ToControl::Gap) => self.host(place, Event::Astray),
            Local::ToControl(ToControl::Unfit) => self.distrust(place),
            Local::WantsPart { log, part } => {
                if self.places[place].log == Some(log) {
                    self.part_is_wanted(place, &part);
                }
                Ok(())
            }
            Local::KeptAside(at) => {
                self.kept_aside(place, at);
                Ok(())
            }
            Local::Client(op) => self.serve(place, op),
            Local::Judge(input) => self.judge(place, *input),
            Local::Ask { from, request } => {
                self.acceptor(place, from, *request);
                Ok(())
            }
            Local::Stored { state, to, reply } => self.stored(place, *state, to, *reply),
            Local::Reply { from, reply } => self.proposer(place, &from, *reply),
            Local::Where(ask) => self.where_asked(place, ask),
            Local::Line { line, what } => self.line_says(place, line, *what),
            Local::Noticed(notice) => self.noticed(place, notice),
            Local::Asked(why, asked) => self.was_asked(place, why, asked),
            Local::Wish(input) => self.desk_wish(place, &input),
            Local::Configure { key, value } => self.configure(place, key, value),
        }
    }

    pub(super) fn unix_ms(&self, place: usize) -> u64 {
        self.places[place].clock.unix_ms(self.now)
    }

    /// Gives an event to the host and performs what it asks, and what follows from that for the
    /// directory.
    pub(super) fn host(&mut self, place: usize, event: Event) -> Held {
        self.host_alone(place, event)?;
        self.settle(place)
    }

    /// Gives an event to the host and performs what it asks.
    pub(super) fn host_alone(&mut self, place: usize, event: Event) -> Held {
        let (now, unix_ms) = (self.places[place].clock.read(self.now), self.unix_ms(place));
        let there = &mut self.places[place];
        let Some(process) = &mut there.process else { return Ok(()) };
        process.host.world.now = now;
        process.host.world.unix_ms = unix_ms;
        process.host.world.last = process.host.replica().last();
        process.host.world.snapshots = there.folder.as_ref().map_or(Vec::new(), Folder::usable);
        let handled = catch_unwind(AssertUnwindSafe(|| process.host.handle(event)));
        if let Err(panic) = handled {
            return Err(self.panicked(place, panic.as_ref()));
        }
        self.perform(place)
    }

    pub(super) fn panicked(&self, place: usize, panic: &(dyn std::any::Any + Send)) -> Broken {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let text = text.unwrap_or_else(|| "a panic".to_owned());
        Broken { rule: "Assertion", facts: format!("{}: {text}", self.places[place].id) }
    }

    fn tick(&mut self, place: usize) -> Held {
        let after = self.rng.between(6, 14) * MS;
        self.push_own(place, after, Local::Tick);
        if self.places[place].process.is_some() {
            self.background_flush(place);
            self.host(place, Event::Tick)?;
            self.reserve(place)?;
        }
        if self.places[place].is_beginning() {
            return Ok(());
        }
        self.tick_session(place)?;
        if self.places[place].process.is_some() {
            self.report(place);
            self.tend_copies(place);
            self.release(place)?;
            self.tend_front(place)?;
        }
        self.tick_desk(place)?;
        self.tick_register(place)?;
        self.poll_record(place);
        self.judge(place, JudgeInput::Tick)
    }

    /// Keeps the flushed bound above every revision in use.
    fn reserve(&mut self, place: usize) -> Held {
        let Some(process) = &self.places[place].process else { return Ok(()) };
        if process.desk.is_some() {
            return self.reserve_revisions(place);
        }
        let bound = process.data.reserve(process.host.replica().vote().reserved);
        bound.map_or(Ok(()), |bound| self.host(place, Event::Reserve(bound)))
    }

    /// Tells the judges: often while the master is silent.
    fn report(&mut self, place: usize) {
        let now = self.places[place].clock.read(self.now);
        let from = self.places[place].sender();
        let Some(process) = &mut self.places[place].process else { return };
        if self.now < process.report_at {
            return;
        }
        let report = process.host.replica().report(now);
        let silent = report.master_silence > self.scenario.timing.heartbeat * 3;
        process.report_at =
            self.now + if silent || report.relief.is_some() { 30 } else { 200 } * MS;
        if self.has_session(place) {
            self.say_up(place, Up::Report(report));
            return;
        }
        for judge in self.judges() {
            let input = JudgeInput::Report { from: from.clone(), report: report.clone() };
            self.transmit(place, judge, Local::Judge(Box::new(input)));
        }
    }

    /// The control loop hears from the data thread a little later, in order.
    pub(super) fn tell_control(&mut self, place: usize, word: ToControl) {
        let wait = self.rng.between(5, 300) * US;
        let now = self.now;
        let Some(process) = &mut self.places[place].process else { return };
        process.to_control = (now + wait).max(process.to_control + 1);
        let after = process.to_control - now;
        self.push_own(place, after, Local::ToControl(word));
    }

    fn serve(&mut self, place: usize, op: ClientOp) -> Held {
        let unix_ms = self.unix_ms(place);
        self.serial += 1;
        if self.places[place].process.as_ref().is_some_and(|process| process.desk.is_some()) {
            return self.serve_directory(place, op);
        }
        let all = self.rng.chance(500);
        let log = self.log_of(place);
        let witness = &mut self.logs[log].witness;
        let there = &mut self.places[place];
        let reserved = there.folder.as_ref().map_or(0, |folder| folder.vote.reserved);
        let Some(process) = &mut there.process else { return Ok(()) };
        match op {
            ClientOp::Write => {
                let made = process.data.write(self.serial, reserved, unix_ms, witness)?;
                if let Some(batch) = made {
                    if broken(Mutant::ChecksOutOfPlace) {
                        self.tells(place);
                    }
                    self.tell_control(place, ToControl::Appended(batch));
                }
            }
            ClientOp::Read { began } => {
                if let Some(token) = process.data.read(began, all) {
                    let wait = self.rng.between(5, 100) * US;
                    let event = Event::ConfirmReads { token };
                    self.push_own(place, wait, Local::Host(Box::new(event)));
                }
            }
            ClientOp::Stale => {
                if process.host.replica().position() == Position::Follower {
                    process.data.stale_read(witness)?;
                    self.stats.stale_reads += 1;
                }
            }
        }
        self.release(place)
    }

    /// Releases replies by a fresh clock.
    fn release(&mut self, place: usize) -> Held {
        let (now, log) = (self.places[place].clock.read(self.now), self.log_of(place));
        let witness = &mut self.logs[log].witness;
        let Some(process) = &mut self.places[place].process else { return Ok(()) };
        let answered = process.data.release(now, witness)?;
        self.logs[log].writes += answered.writes;
        self.stats.writes += answered.writes;
        self.stats.reads += answered.reads;
        Ok(())
    }
}
