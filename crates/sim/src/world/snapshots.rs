//! Snapshots are written and fetched, and fronts of logs are given up behind them.

use super::{MS, US, World};
use crate::folder::{DiskOp, Received, Snapshot};
use crate::place::Local;
use crate::store::WHOLE;
use cairn_directory::core::Compared;
use cairn_host::Event;
use cairn_logic::ids::{EntryId, Offset};
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::message::Position;
use cairn_logic::mutant::{Mutant, broken};

impl World {
    /// Now and then a snapshot is begun, a front given up, a master's snapshot fetched.
    pub(super) fn tend_front(&mut self, place: usize) -> Held {
        let rate = self.scenario.fronts;
        if self.rng.chance(rate) {
            self.begin_snapshot(place);
        }
        if self.rng.chance(rate) {
            let pressed = self.rng.chance(200);
            self.give_up_front(place, pressed);
        }
        if self.rng.chance(rate / 4) {
            let Some(folder) = &self.places[place].folder else { return Ok(()) };
            let newer = folder.newest().map_or(Offset(1), |own| own.from.offset.next());
            let master = |p: &crate::place::Process| {
                matches!(p.host.replica().position(), Position::Master(_))
            };
            if self.places[place].process.as_ref().is_some_and(master) {
                return self.fetch(place, newer, true);
            }
        }
        Ok(())
    }

    /// What the state machine holds and is known to be committed.
    fn settled(&self, place: usize) -> Option<EntryId> {
        let there = &self.places[place];
        let (process, folder) = (there.process.as_ref()?, there.folder.as_ref()?);
        let applied = match process.desk {
            Some(_) => process.host.applied(),
            None => process.data.applied.offset(),
        };
        let up_to = applied.min(process.host.replica().committed());
        folder.copies_to(up_to).last().map(|copy| copy.last)
    }

    /// Who is not master writes a snapshot, or a master that is alone.
    fn begin_snapshot(&mut self, place: usize) {
        let Some(settled) = self.settled(place) else { return };
        let there = &mut self.places[place];
        let (Some(process), Some(folder)) = (&mut there.process, &there.folder) else { return };
        let replica = process.host.replica();
        let may = match replica.position() {
            Position::Follower | Position::Learner => true,
            Position::Master(_) => replica.record().is_some_and(|r| r.members.len() == 1),
            Position::Elect(_) => false,
        };
        let news = folder.newest().is_none_or(|newest| newest.from < settled);
        if may && news && !process.writes_snapshot && settled.offset >= folder.before().offset {
            let from = match process.data.store {
                Some(_) => {
                    let some = self.rng.between(1, WHOLE);
                    process.data.begin_export(usize::try_from(some).expect("few"))
                }
                None => Some(settled),
            };
            let Some(from) = from else { return };
            process.writes_snapshot = true;
            let takes = self.rng.between(5, 500) * MS;
            self.push_own(place, takes, Local::Snapshot(from));
        }
    }

    /// It is whole; it gets its name if the log below it is flushed.
    pub(super) fn snapshot_done(&mut self, place: usize, from: EntryId) -> Held {
        let settled = self.settled(place);
        let there = &mut self.places[place];
        let (Some(process), Some(folder)) = (&mut there.process, &mut there.folder) else {
            return Ok(());
        };
        process.writes_snapshot = false;
        let (upto, portions) = match process.data.store {
            Some(_) => process.data.end_export(from).unzip(),
            None => (settled, None),
        };
        let good = |upto: &EntryId| *upto >= from && settled.is_some_and(|it| it >= *upto);
        let Some(upto) = upto.filter(good) else { return Ok(()) };
        let content = if portions.is_some() { self.contents.len() } else { 0 };
        let hash = process.desk.as_ref().and_then(|desk| desk.core.hash_at(from.offset));
        let wrong = process.wrong;
        let hash = if wrong { hash.map(|hash| !hash) } else { hash };
        let snapshot = Snapshot { from, upto, durable: true, bad: false, content, hash, wrong };
        let flushed = folder.durable_last().offset >= upto.offset;
        if !flushed || !folder.is_usable(&snapshot) {
            return Ok(());
        }
        folder.keep(snapshot);
        self.contents.extend(portions);
        self.may_keep_snapshot(place)?;
        self.stats.snapshots += 1;
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} writes a snapshot of {from} to {upto}"));
        self.host(place, Event::Snapshot(from))
    }

    fn give_up_front(&mut self, place: usize, pressed: bool) {
        let there = &self.places[place];
        let (Some(process), Some(folder)) = (&there.process, &there.folder) else { return };
        let up_to = process.host.replica().may_truncate(pressed);
        let waits = folder.queue.iter().any(|op| matches!(op, DiskOp::Truncate(_)));
        if up_to > Offset::ZERO && !waits {
            self.disk(place, DiskOp::Truncate(up_to));
        }
    }

    /// Fetches a snapshot of at least `at_least` from any place that has one; `spare`: only to have
    /// it.
    pub(super) fn fetch(&mut self, place: usize, at_least: Offset, spare: bool) -> Held {
        let Some(process) = &self.places[place].process else { return Ok(()) };
        if process.fetches {
            return Ok(());
        }
        let Some(folder) = &self.places[place].folder else { return Ok(()) };
        let here = folder.received.iter().map(|received| received.snapshot);
        let here = here.rev().find(|s| s.durable && s.from.offset >= at_least);
        if let Some(Snapshot { from, .. }) = here.filter(|_| !spare)
            && self.rng.chance(500)
        {
            // An earlier life has fetched it.
            return self.begin_to_receive(place, US, Local::Received { from, spare });
        }
        let sources: Vec<(usize, Snapshot)> = (0..self.scenario.nodes)
            .filter_map(|at| Some((at, self.offered(place, at)?)))
            .filter(|(_, offered)| offered.from.offset >= at_least)
            .collect();
        let Some((from, snapshot)) = self.rng.pick(&sources).copied() else { return Ok(()) };
        let Some(folder) = &self.places[from].folder else { return Ok(()) };
        let received = Box::new(folder.send(snapshot));
        self.stats.fetches += 1;
        let (id, of) = (self.places[place].id.clone(), self.places[from].id.clone());
        self.note(|| format!("{id} fetches a snapshot of {} from {of}", snapshot.from));
        let most = if self.rng.chance(200) { 3000 } else { 300 };
        let takes = self.rng.between(2, most) * MS;
        self.begin_to_receive(place, takes, Local::Arrived { from, received, spare })?;
        if spare {
            return Ok(());
        }
        let event = Event::Fetching(Some(snapshot.from));
        self.push_own(place, US, Local::Host(Box::new(event)));
        Ok(())
    }

    fn begin_to_receive(&mut self, place: usize, takes: u64, then: Local) -> Held {
        if let Some(process) = &mut self.places[place].process {
            process.fetches = true;
        }
        self.push_own(place, takes, then);
        Ok(())
    }

    /// What another place has to offer.
    fn offered(&self, place: usize, at: usize) -> Option<Snapshot> {
        let there = &self.places[at];
        let same = there.log.is_some() && there.log == self.places[place].log && at != place;
        let reached = self.links.works(place, at) && self.links.works(at, place);
        let running = there.process.is_some() && there.paused.is_none();
        there.folder.as_ref().filter(|_| same && reached && running)?.newest()
    }

    /// All of it has come, unless its source went away.
    pub(super) fn arrived(
        &mut self,
        place: usize,
        from: usize,
        received: Received,
        spare: bool,
    ) -> Held {
        let broke = self.offered(place, from).is_none() || self.rng.chance(100);
        if broke && let Some(process) = &mut self.places[place].process {
            process.fetches = false;
            return self.host(place, Event::Fetching(None));
        }
        let snapshot = received.snapshot;
        if let Some(folder) = &mut self.places[place].folder {
            folder.receive(received);
        }
        if broken(Mutant::FetchUnflushed) && !spare {
            self.fetched(place, &snapshot)?;
        }
        let takes = self.rng.between(1, 50) * MS;
        self.push_own(place, takes, Local::Received { from: snapshot.from, spare });
        Ok(())
    }

    /// What has come is flushed.
    pub(super) fn received(&mut self, place: usize, from: EntryId, spare: bool) -> Held {
        let there = &mut self.places[place];
        let (Some(process), Some(folder)) = (&mut there.process, &mut there.folder) else {
            return Ok(());
        };
        process.fetches = false;
        let Some(snapshot) = folder.received(from) else { return Ok(()) };
        match spare {
            true if folder.is_usable(&snapshot) => self.has_fetched(place, &snapshot),
            true => Ok(()),
            false => self.fetched(place, &snapshot),
        }
    }

    /// A snapshot that another place wrote counts, if it holds what this one held there.
    fn has_fetched(&mut self, place: usize, snapshot: &Snapshot) -> Held {
        let (id, from) = (self.places[place].id.clone(), snapshot.from);
        let there = &mut self.places[place];
        let (Some(process), Some(folder)) = (&there.process, &mut there.folder) else {
            return Ok(());
        };
        let Some(desk) = &process.desk else { return self.host(place, Event::Snapshot(from)) };
        let holds = process.host.replica().holds(from);
        match desk.core.compare(from.offset, snapshot.hash, holds) {
            Compared::Same if snapshot.wrong => {
                let facts = format!("{id} counts the snapshot of {from}, which is wrong");
                Err(Broken { rule: "I22 Compared", facts })
            }
            Compared::Same => self.host(place, Event::Snapshot(from)),
            Compared::Forgotten => Ok(()),
            Compared::Other if !snapshot.wrong && !self.logs[0].witness.is_lossy() => {
                let facts = format!("{id} says that the snapshot of {from} differs: it does not");
                Err(Broken { rule: "I22 Compared", facts })
            }
            Compared::Other => {
                folder.snapshots.iter_mut().filter(|s| s.from == from).for_each(|s| s.bad = true);
                self.stats.differences += 1;
                self.note(|| format!("{id} says that the snapshot of {from} differs"));
                Ok(())
            }
        }
    }

    fn fetched(&mut self, place: usize, snapshot: &Snapshot) -> Held {
        let from = if broken(Mutant::RestartsAtEnd) { snapshot.upto } else { snapshot.from };
        self.host(place, Event::Fetched(from))
    }

    /// What is in the log does not fit to the state: the snapshot it began with is set aside, and
    /// it is built anew.
    pub(super) fn distrust(&mut self, place: usize) -> Held {
        let there = &mut self.places[place];
        let used = there.process.as_mut().and_then(|process| process.used.take());
        if let (Some(used), Some(folder)) = (used, &mut there.folder) {
            folder.snapshots.iter_mut().filter(|s| s.from == used).for_each(|s| s.bad = true);
            let id = there.id.clone();
            self.note(|| format!("{id} sets its snapshot of {used} aside"));
        }
        self.host(place, Event::Astray)
    }

    /// Now and then a start finds that the newest snapshot cannot be read, where the others bear
    /// it: then there is an older one, or another place has one.
    pub(super) fn spoil(&mut self, place: usize) {
        if !self.is_faulty() || !self.rng.chance(60) || self.places[place].log.is_none() {
            return;
        }
        let Some(folder) = &self.places[place].folder else { return };
        let (before, newest) = (folder.before().offset, folder.newest());
        let elsewhere = (0..self.scenario.nodes).filter_map(|at| self.offered(place, at));
        let elsewhere = elsewhere.filter(|offered| offered.from.offset >= before).count() > 0;
        let bears = elsewhere && self.others_are_well(place);
        let Some(newest) = newest.filter(|_| bears) else { return };
        let id = self.places[place].id.clone();
        self.note(|| format!("{id} cannot read its snapshot of {}", newest.from));
        if let Some(folder) = &mut self.places[place].folder {
            let is_it = |s: &&mut Snapshot| s.from == newest.from;
            folder.snapshots.iter_mut().filter(is_it).for_each(|s| s.bad = true);
        }
    }
}
