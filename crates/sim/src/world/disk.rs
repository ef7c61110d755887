//! Disks: slow, stalled, full, failing; a writer and, beside it, a flusher.

use super::faults::End;
use super::{Ev, MS, US, World};
use crate::folder::DiskOp;
use crate::place::Local;
use cairn_host::Event;
use cairn_logic::ids::EntryId;
use cairn_logic::invariants::Held;
use cairn_logic::message::Relief;

impl World {
    /// The log writer flushes now and then, whoever asks.
    pub(super) fn background_flush(&mut self, place: usize) {
        let due = self.rng.chance(200);
        let Some(folder) = &mut self.places[place].folder else { return };
        if due && folder.durable < folder.log.len() {
            folder.flush_asked = true;
            self.flush_next(place);
        }
    }

    /// Starts the next thing the log's writer is to do. Without room votes go ahead: a master must
    /// be followed by another one even if this disk is full.
    pub(super) fn disk_next(&mut self, place: usize) {
        let full = self.places[place].disk.full > self.now;
        let Some(folder) = &mut self.places[place].folder else { return };
        if folder.busy {
            return;
        }
        let waits = !matches!(folder.queue.front(), Some(DiskOp::Vote(_) | DiskOp::Truncate(_)));
        if full && waits && !folder.queue.is_empty() {
            let vote = folder.queue.iter().position(|op| matches!(op, DiskOp::Vote(_)));
            match vote.and_then(|at| folder.queue.remove(at)) {
                Some(vote) => folder.queue.push_front(vote),
                None => return self.wait_for_room(place),
            }
        }
        let Some(op) = folder.queue.front() else { return };
        folder.busy = true;
        let quick = matches!(op, DiskOp::Write(_));
        let takes = self.disk_takes(place, quick);
        self.push_own(place, takes, Local::DiskDone);
    }

    fn wait_for_room(&mut self, place: usize) {
        self.push_own(place, 50 * MS, Local::DiskRetry);
        if !self.places[place].waits_for_room {
            self.places[place].waits_for_room = true;
            let event = Event::Relief(Some(Relief::Disk));
            self.push_own(place, US, Local::Host(Box::new(event)));
        }
    }

    /// Starts the flush that was asked for.
    pub(super) fn flush_next(&mut self, place: usize) {
        let Some(folder) = &mut self.places[place].folder else { return };
        if folder.begin_flush() {
            let takes = self.disk_takes(place, false);
            self.push_own(place, takes, Local::FlushDone);
        }
    }

    /// How long a write into the page cache (`quick`) or something that is flushed takes now.
    fn disk_takes(&mut self, place: usize, quick: bool) -> u64 {
        let takes = match (quick, self.rng.below(1000)) {
            (true, 0..=4) => self.rng.between(5, 60) * MS,
            (true, _) => self.rng.between(10, 150) * US,
            (false, 0..=9) => self.rng.between(20, 300) * MS,
            (false, _) => self.rng.between(100, 1500) * US,
        };
        let (trouble, now) = (self.places[place].disk, self.now);
        let slow = trouble.slow > now;
        let takes = if slow { takes * self.rng.between(3, 40) } else { takes };
        let stalls = if quick { trouble.stalls } else { trouble.stalls.max(trouble.flushes_stall) };
        takes.max(stalls.saturating_sub(now))
    }

    /// A write or flush failed: the process ends at once.
    fn disk_fails(&mut self, place: usize) -> Held {
        self.places[place].disk.fails = false;
        self.note(|| format!("disk of place {place} fails"));
        self.end_process(place, End::DiskFailed)?;
        self.push(50 * MS, Ev::Restart(place));
        Ok(())
    }

    pub(super) fn disk_done(&mut self, place: usize) -> Held {
        if self.places[place].disk.fails {
            return self.disk_fails(place);
        }
        let (name, log) = (self.places[place].folder_name(), self.log_of(place));
        let witness = &mut self.logs[log].witness;
        let there = &mut self.places[place];
        let Some(folder) = &mut there.folder else { return Ok(()) };
        folder.busy = false;
        let Some(op) = folder.queue.pop_front() else { return Ok(()) };
        let waited = !matches!(op, DiskOp::Vote(_) | DiskOp::Truncate(_));
        let event = match op {
            DiskOp::Write(batches) => {
                let copies = folder.write(batches);
                let last = folder.last();
                for copy in copies {
                    witness.written(&name, copy)?;
                }
                Event::Written(last)
            }
            DiskOp::Vote(vote) => {
                folder.voted(vote);
                witness.votes(&name, folder.vote.sealed)?;
                Event::VotePersisted
            }
            DiskOp::Cut(after) => {
                let known = there.process.as_ref().map(|p| p.host.replica().committed());
                let cut = folder.cut(after);
                witness.cuts(&name, known.unwrap_or_default(), &cut)?;
                let from = cut.first().map_or(EntryId::ZERO, |copy| copy.last);
                self.stats.cut_tails += u64::from(!cut.is_empty());
                self.note(|| format!("{} cuts {} batches from {from}", name.0, cut.len()));
                Event::CutDone
            }
            DiskOp::Truncate(up_to) => {
                let most = folder.copies_to(up_to).len().max(folder.gone) - folder.gone;
                let some = folder.gone + self.rng.index(most + 1);
                let moved = folder.truncate(folder.end_of(some));
                let before = folder.before();
                if moved > 0 {
                    folder.is_covered(&name)?;
                    self.stats.truncations += 1;
                }
                self.note(|| format!("{} gives up {moved} batches up to {before}", name.0));
                Event::Truncated(before)
            }
            DiskOp::Restart { after, keep_above } => {
                let lost = folder.restart(after, keep_above)?;
                witness.cuts(&name, keep_above, &lost)?;
                for copy in folder.copies.clone() {
                    witness.written(&name, copy)?;
                    witness.flushed(&name, copy);
                }
                self.stats.restarts += 1;
                self.note(|| format!("{} begins its log anew after {after}", name.0));
                Event::RestartDone
            }
        };
        if waited && std::mem::take(&mut self.places[place].waits_for_room) {
            self.host(place, Event::Relief(None))?;
        }
        self.disk_next(place);
        self.host(place, event)
    }

    pub(super) fn flush_done(&mut self, place: usize) -> Held {
        if self.places[place].disk.fails {
            return self.disk_fails(place);
        }
        let (name, log) = (self.places[place].folder_name(), self.log_of(place));
        let witness = &mut self.logs[log].witness;
        let Some(folder) = &mut self.places[place].folder else { return Ok(()) };
        let done = folder.flushed().map(|copies| {
            for copy in copies {
                witness.flushed(&name, *copy);
            }
        });
        let last = folder.durable_last();
        self.flush_next(place);
        match done {
            Some(()) => self.host(place, Event::Flushed(last)),
            None => Ok(()),
        }
    }
}
