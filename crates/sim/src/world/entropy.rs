//! Copies of a group's data are compared and mended, and what that promises is judged.

use super::{MS, World};
use crate::data::ToControl;
use crate::place::Local;
use crate::store::{CELLS, Content, Seen, content_of, forged, has_all_of, is_sum, names, slot};
use cairn_keyspace::{END, Part};
use cairn_logic::counting::Plane;
use cairn_logic::ids::{Epoch, Offset};
use cairn_logic::invariants::{Broken, Held};
use cairn_logic::message::Position;
use cairn_logic::time::Instant;

/// The waits of whoever asks for a part are so many times shorter: runs are short.
const HASTE: u64 = 10;
/// A difference may be silent for so many walks: one that had begun, and a whole one.
const WALKS_MAX: u64 = 2;

/// What a master held when it wrote a check or a repair.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    epoch: Epoch,
    content: Content,
}

fn broken(facts: String) -> Held {
    Err(Broken { rule: "I22 Compared", facts })
}

impl World {
    /// A master writes a check if one is due; a copy that differs has its parts written anew.
    pub(super) fn tend_copies(&mut self, place: usize) {
        let (now, unix_ms) = (self.places[place].clock.read(self.now), self.unix_ms(place));
        let Some(process) = &mut self.places[place].process else { return };
        if let Some(batch) = process.data.check(now, unix_ms) {
            self.stats.checks += 1;
            self.tells(place);
            self.tell_control(place, ToControl::Appended(batch));
        }
        self.ask_for_parts(place, now);
    }

    /// Remembers what a master holds at the entry that it has just written.
    pub(super) fn tells(&mut self, place: usize) {
        let log = self.log_of(place);
        let Some(process) = &mut self.places[place].process else { return };
        let (Some(copy), Some(store)) = (process.data.applied.copy, &mut process.data.store) else {
            return;
        };
        let told = Told { epoch: copy.last.epoch, content: store.content() };
        self.logs[log].told.insert(copy.chain, told);
    }

    fn ask_for_parts(&mut self, place: usize, now: Instant) {
        let Some(process) = &mut self.places[place].process else { return };
        if process.data.store.as_ref().is_none_or(|store| store.differing().is_empty()) {
            return;
        }
        let replica = process.host.replica();
        let follows = matches!(replica.position(), Position::Follower | Position::Learner);
        let master = replica.record().filter(|_| follows).and_then(|r| r.master.clone());
        let Some(master) = self.places.iter().position(|there| Some(&there.id) == master.as_ref())
        else {
            return;
        };
        let Some(process) = &mut self.places[place].process else { return };
        let Some(store) = &process.data.store else { return };
        let (now, asking) = (hasty(now), &mut process.asking);
        let due = store.differing().iter().filter(|part| asking.take(now, part).is_ok());
        let parts: Vec<Part> = due.cloned().collect();
        let log = self.log_of(place);
        for part in parts {
            self.transmit(place, master, Local::WantsPart { log, part });
        }
    }

    /// A member wants a part written anew.
    pub(super) fn part_is_wanted(&mut self, place: usize, part: &Part) {
        let (now, unix_ms) = (self.places[place].clock.read(self.now), self.unix_ms(place));
        let Some(process) = &mut self.places[place].process else { return };
        let serves = matches!(process.host.replica().position(), Position::Master(_));
        if !serves || process.granting.take(hasty(now), part).is_err() {
            return;
        }
        if let Some(batch) = process.data.repair(part, unix_ms) {
            self.tells(place);
            self.tell_control(place, ToControl::Appended(batch));
        }
    }

    /// What was replaced is durable.
    pub(super) fn kept_aside(&mut self, place: usize, at: Offset) {
        let there = &mut self.places[place];
        if let (Some(process), Some(folder)) = (&mut there.process, &mut there.folder) {
            folder.aside.insert(at);
            if let Some(store) = &mut process.data.store {
                store.unkept.kept(1);
            }
        }
    }

    /// Judges what the copy at `place` has compared and mended.
    pub(super) fn look_at_copy(&mut self, place: usize) -> Held {
        let Some(process) = &mut self.places[place].process else { return Ok(()) };
        let Some(store) = &mut process.data.store else { return Ok(()) };
        for seen in std::mem::take(&mut store.seen) {
            if !seen.findings.replaced.is_empty() {
                let takes = self.rng.between(1, 400) * MS;
                self.push_own(place, takes, Local::KeptAside(seen.note.at));
            }
            self.judge_copy(place, &seen)?;
        }
        Ok(())
    }

    fn judge_copy(&mut self, place: usize, seen: &Seen) -> Held {
        let (id, log) = (self.places[place].id.clone(), self.log_of(place));
        if self.logs[log].witness.is_lossy() {
            return Ok(());
        }
        let Some(told) = self.logs[log].told.get(&seen.chain).cloned() else {
            return broken(format!("{id} has applied {:?}, which nobody wrote", seen.note));
        };
        let (part, at, theirs) = (&seen.note.part, seen.note.at, &told.content);
        let other = |cell: &usize| seen.after[*cell] != theirs[*cell];
        let truly = (0..CELLS).filter(|cell| has_all_of(part, *cell)).any(|cell| other(&cell));
        let perhaps = (0..CELLS).filter(|cell| names(part, *cell)).any(|cell| other(&cell));
        if seen.note.repairs {
            let whole = self.is_whole(place, at) && seen.findings.left.is_empty();
            if truly && whole {
                return broken(format!("{id}: {part} is not the master's after repair {at}"));
            }
            if seen.before != seen.after {
                self.stats.repairs += 1;
                self.note(|| format!("{id} takes {part} as its master has it, entry {at}"));
            }
            return self.is_kept(place, seen, &told);
        }
        if seen.findings.checked == 0 {
            return Ok(());
        }
        let said = !seen.findings.differ.is_empty();
        if said {
            self.stats.differences += 1;
            self.note(|| format!("{id} says that {part} differs, entry {at}"));
        }
        match said {
            true if !perhaps => broken(format!("{id} says that {part} differs: it does not")),
            false if truly => broken(format!("{id} does not say that {part} differs, entry {at}")),
            _ => self.is_said(place, seen, &told),
        }
    }

    /// Whether all slots there are of one moment before `at`.
    fn is_whole(&self, place: usize, at: Offset) -> bool {
        let process = self.places[place].process.as_ref();
        let store = process.and_then(|process| process.data.store.as_ref());
        store.is_some_and(|store| store.whole_from < at)
    }

    /// What a repair has changed is what the master has, and both are handed out to be kept.
    fn is_kept(&self, place: usize, seen: &Seen, told: &Told) -> Held {
        let (id, at) = (&self.places[place].id, seen.note.at);
        let seed = self.seed_of(self.log_of(place));
        let replaced = &seen.findings.replaced;
        let own: Vec<_> = replaced.iter().map(|one| one.own.clone()).collect();
        let masters: Vec<_> = replaced.iter().map(|one| one.masters.clone()).collect();
        let (own, masters) = (content_of(&own, seed), content_of(&masters, seed));
        let (before, after) = (&seen.before, &seen.after);
        for cell in (0..CELLS).filter(|cell| before[*cell] != after[*cell] && !is_sum(*cell)) {
            if after[cell] != told.content[cell] {
                return broken(format!("{id}: repair {at} makes another cell {cell}"));
            }
            let kept = own[cell] == before[cell] && masters[cell] == after[cell];
            if !kept {
                let slot = slot(cell).get();
                let facts = format!("{id}: repair {at} keeps not both of cell {cell}, slot {slot}");
                return broken(facts);
            }
        }
        Ok(())
    }

    /// No difference is silent while every part was compared.
    fn is_said(&mut self, place: usize, seen: &Seen, told: &Told) -> Held {
        let whole = self.is_whole(place, seen.note.at);
        let (id, now) = (self.places[place].id.clone(), self.now);
        let Some(process) = &mut self.places[place].process else { return Ok(()) };
        let Some(store) = process.data.store.as_mut().filter(|_| whole) else { return Ok(()) };
        let walked = match seen.note.part {
            Part::Keys { from, to } => to - from,
            Part::Items { .. } => 0,
        };
        if store.walked_in != told.epoch {
            // Another master begins with a walk of its own.
            store.walked_in = told.epoch;
            store.silent.values_mut().for_each(|far| *far = 0);
        }
        if seen.after == told.content {
            store.same_at = now;
        }
        for cell in 0..CELLS {
            if seen.after[cell] == told.content[cell] {
                store.silent.remove(&cell);
                continue;
            }
            let known = store.differing().iter().any(|part| names(part, cell));
            let far = store.silent.entry(cell).or_default();
            *far = if known { 0 } else { *far + walked };
            if *far > WALKS_MAX * END {
                return broken(format!("{id}: cell {cell} differs and nobody says so"));
            }
        }
        Ok(())
    }

    /// A snapshot of the state at `place` becomes durable: what was replaced in it is, too.
    pub(super) fn may_keep_snapshot(&self, place: usize) -> Held {
        let there = &self.places[place];
        let store = there.process.as_ref().and_then(|process| process.data.store.as_ref());
        let (Some(store), Some(folder)) = (store, &there.folder) else { return Ok(()) };
        match store.mended.iter().find(|at| !folder.aside.contains(at)) {
            Some(at) if !self.logs[self.log_of(place)].witness.is_lossy() => {
                broken(format!("{} writes a snapshot, and lost what {at} replaced", there.id))
            }
            _ => Ok(()),
        }
    }

    /// What keys the hashes of a group.
    pub(super) fn seed_of(&self, log: usize) -> u64 {
        self.seed << 8 | log as u64
    }

    /// Whether the members' copies are known to be the same since the last one went wrong.
    pub(super) fn are_same(&self, log: usize) -> bool {
        let of = &self.logs[log];
        if of.plane == Plane::Global || of.witness.is_lossy() {
            return true;
        }
        let record = of.witness.record();
        record.members.iter().filter(|m| record.master.as_ref() != Some(&m.id)).all(|member| {
            let there = self.places.iter().find(|there| there.id == member.id);
            let process = there.and_then(|there| there.process.as_ref());
            process.and_then(|process| process.data.store.as_ref()).is_some_and(|store| {
                let quiet = store.differing().is_empty() && store.silent.is_empty();
                quiet && (of.wrong_at == 0 || store.same_at > of.wrong_at)
            })
        })
    }

    /// A copy is not what the log makes any more, in memory or in a snapshot, and nothing says so.
    pub(super) fn differ_silently(&mut self, place: usize) -> bool {
        let (log, now) = (self.log_of(place), self.now);
        let seed = self.seed_of(log);
        let on_disk = self.rng.chance(300);
        let there = &mut self.places[place];
        let (Some(process), Some(folder)) = (&mut there.process, &mut there.folder) else {
            return false;
        };
        if process.desk.is_some() {
            process.wrong = true;
            let id = there.id.clone();
            self.note(|| format!("{id} writes another directory into its snapshots"));
            return true;
        }
        let Some(store) = process.data.store.as_mut() else { return false };
        let cell = match folder.snapshots.last_mut().filter(|_| on_disk) {
            Some(snapshot) => {
                forged(&self.contents[snapshot.content], seed, &mut self.rng).map(|(new, cell)| {
                    snapshot.content = self.contents.len();
                    self.contents.push(new);
                    cell
                })
            }
            None => store.goes_wrong(&mut self.rng),
        };
        let id = there.id.clone();
        let Some(cell) = cell else { return false };
        self.logs[log].wrong_at = now;
        self.note(|| format!("{id} holds something else in cell {cell}, on disk {on_disk}"));
        true
    }
}

fn hasty(now: Instant) -> Instant {
    Instant::from_nanos(now.as_nanos().saturating_mul(HASTE))
}
