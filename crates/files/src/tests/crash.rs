//! Random walks with crashes at any moment: what was flushed is there, what was cut is not, and a
//! log that begins anew is the old one or the new one.

use super::{DIR, Dice, Log, batch, open_with, options};
use crate::{Disk, MemDisk};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, Offset};
use std::path::Path;

/// What must be true of a log, whatever happens to the machine.
struct Walk {
    seed: u64,
    disk: MemDisk,
    dice: Dice,
    log: Option<Log>,
    /// The entry after which the log began last.
    before: EntryId,
    /// What was appended and not cut; some at the front may have been given up.
    batches: Vec<Batch>,
    /// How many of them are durable.
    flushed: usize,
    epoch: u64,
    /// What happened, for the one who reads a failure.
    story: Vec<String>,
}

/// What was going on when the machine stopped.
enum Unfinished {
    Nothing,
    Append(Vec<Batch>),
    Cut(usize),
    Restart(EntryId, usize),
}

impl Walk {
    fn new(seed: u64) -> Self {
        let (disk, dice) = (MemDisk::new(), Dice::new(seed));
        let log = Some(open_with(&disk, &options()).unwrap());
        let (before, batches, story) = (EntryId::ZERO, Vec::new(), Vec::new());
        Self { seed, disk, dice, log, before, batches, flushed: 0, epoch: 1, story }
    }

    fn fail(&self, what: &str) -> ! {
        panic!("seed {}: {what}; {}", self.seed, self.story.join(", "));
    }

    fn end_of(&self, count: usize) -> Offset {
        self.batches[..count].last().map_or(self.before.offset, |batch| batch.head.last_offset())
    }

    fn some_batches(&mut self) -> Vec<Batch> {
        let mut next = self.end_of(self.batches.len()).next().0;
        let mut made = Vec::new();
        for _ in 0..=self.dice.below(3) {
            let large = self.dice.below(12) == 0;
            let bytes = self.dice.below(if large { 30_000 } else { 3000 }) as usize;
            let count = 1 + self.dice.below(3) as u32;
            made.push(batch(self.epoch, next, count, bytes));
            next += u64::from(count);
        }
        made
    }

    /// One thing that a node does; it may be interrupted by a machine that stops.
    fn act(&mut self) -> Unfinished {
        let action = self.dice.below(11);
        let some = self.some_batches();
        let keep = self.dice.below(self.batches.len() as u64 + 1) as usize;
        let (after, flushed) = (self.end_of(keep), self.end_of(self.flushed));
        let last = self.end_of(self.batches.len());
        let log = self.log.as_mut().unwrap();
        match action {
            0..=4 => {
                self.story.push(format!("append {}", some.len()));
                if log.writer.append(&some).is_err() {
                    return Unfinished::Append(some);
                }
                self.batches.extend(some);
            }
            5 | 6 => {
                self.story.push("flush".to_owned());
                if let Ok(flushed) = log.flusher.flush() {
                    assert_eq!(flushed.offset, last);
                    self.flushed = self.batches.len();
                }
            }
            7 if after.next() >= log.reader.first() => {
                self.story.push(format!("cut to {keep}"));
                self.epoch += 1;
                match log.writer.cut(after) {
                    Ok(None) => assert_eq!(keep, self.batches.len()),
                    Ok(Some(_)) => {
                        self.batches.truncate(keep);
                        self.flushed = keep;
                    }
                    Err(_) => return Unfinished::Cut(keep),
                }
            }
            8 => {
                self.story.push(format!("give up before {after}"));
                // Only what a snapshot has, so what is committed and flushed.
                let offset = after.min(flushed);
                let _ = log.truncate_before(offset);
            }
            9 => {
                self.story.push("clean mark".to_owned());
                let _ = log.writer.write_clean_mark(log.writer.last());
            }
            10 if after.next() >= log.reader.first() => return self.begin_anew(keep),
            _ => {}
        }
        Unfinished::Nothing
    }

    /// A snapshot came from another node; the first `keep` batches need not be kept aside.
    fn begin_anew(&mut self, keep: usize) -> Unfinished {
        let (after, last) = (self.end_of(keep), self.end_of(self.batches.len()));
        let to = match self.dice.below(3) {
            0 => after,
            _ => Offset(last.0 + self.dice.below(4)),
        };
        self.epoch += 1;
        let entry = EntryId::new(Epoch(self.epoch), to);
        self.story.push(format!("begin anew after {entry}, {keep} are known"));
        let log = self.log.as_mut().unwrap();
        let first = log.reader.first();
        let Ok(tail) = log.writer.restart_after(entry, after) else {
            return Unfinished::Restart(entry, keep);
        };
        let above = self.batches[keep..].iter().find(|batch| batch.head.first >= first);
        assert_eq!(tail.map(|tail| tail.first), above.map(|batch| batch.head.first));
        assert_eq!((log.writer.last(), log.reader.first()), (entry, to.next()));
        self.restarted(entry);
        Unfinished::Nothing
    }

    fn restarted(&mut self, entry: EntryId) {
        self.before = entry;
        self.batches.clear();
        self.flushed = 0;
    }

    /// The machine loses power, or the process its life, perhaps again while it starts.
    fn restart(&mut self, unfinished: Unfinished) {
        let machine = self.dice.below(3) > 0;
        self.story.push(if machine { "crash".to_owned() } else { "kill".to_owned() });
        self.log = None;
        for _ in 0..self.dice.below(3) {
            self.end_run(machine);
            match self.dice.below(2) {
                0 => self.disk.stop_after(self.dice.below(60_000)),
                _ => self.disk.stop_before(self.dice.below(30)),
            }
            if open_with(&self.disk, &options()).is_err() {
                self.story.push("stopped in open".to_owned());
            }
        }
        self.end_run(machine);
        let log = match open_with(&self.disk, &options()) {
            Ok(log) => log,
            Err(error) => self.fail(&error.to_string()),
        };
        self.check(&log, &unfinished, machine);
        self.log = Some(log);
    }

    fn end_run(&mut self, machine: bool) {
        let dice = &mut self.dice;
        if machine {
            self.disk.crash(&mut |limit| dice.below(limit));
        } else {
            self.disk.kill();
        }
    }

    fn check(&mut self, log: &Log, unfinished: &Unfinished, machine: bool) {
        let found = log.all();
        if let Unfinished::Restart(entry, _) = unfinished
            && log.recovered.before == *entry
        {
            self.restarted(*entry);
        }
        if found.is_empty() != log.recovered.epochs.is_empty() {
            self.fail("epochs of no entries");
        }
        let first = found.first().map_or(log.reader.first(), |batch| batch.head.first);
        let given_up = self.batches.iter().take_while(|batch| batch.head.first < first).count();
        let mut possible = self.batches.clone();
        let mut least = if machine { self.flushed } else { self.batches.len() };
        match unfinished {
            Unfinished::Nothing => {}
            Unfinished::Append(some) => possible.extend(some.iter().cloned()),
            Unfinished::Cut(keep) | Unfinished::Restart(_, keep) => least = least.min(*keep),
        }
        let count = given_up + found.len();
        if count > possible.len() || found != possible[given_up..count] {
            self.fail("something else came back");
        }
        if count < least {
            self.fail(&format!("{least} batches were safe, {count} came back"));
        }
        let recovered = &log.recovered;
        if recovered.last.offset != log.reader.last().offset || recovered.last != log.writer.last()
        {
            self.fail("the last entry is not the last");
        }
        let files = self.disk.list(Path::new(DIR)).unwrap();
        if files.iter().filter(|file| file.name.starts_with("spare-")).count() != 1 {
            self.fail("not one segment waits for use");
        }
        let lost = machine && count < self.batches.len();
        let cut = matches!(unfinished, Unfinished::Cut(_) | Unfinished::Restart(..));
        if lost && !cut && recovered.is_intact(false, false) {
            self.fail("entries are lost and the log says it is intact");
        }
        if !machine && !recovered.is_intact(true, false) {
            self.fail("only the process died and the log says it is not intact");
        }
        possible.truncate(count);
        self.batches = possible;
        self.flushed = count;
    }
}

fn walk(seed: u64) -> u64 {
    let mut walk = Walk::new(seed);
    let mut restarts = 0;
    for _ in 0..80 {
        if walk.dice.below(5) == 0 {
            match walk.dice.below(2) {
                0 => walk.disk.stop_after(walk.dice.below(20_000)),
                _ => walk.disk.stop_before(walk.dice.below(40)),
            }
        }
        let unfinished = walk.act();
        let stopped = walk.log.as_ref().unwrap().writer.space().is_err();
        if stopped || walk.dice.below(12) == 0 {
            walk.restart(unfinished);
            // The vote has taken note of what was found.
            walk.log.as_mut().unwrap().writer.remove_clean_mark().unwrap();
            restarts += 1;
        }
        if walk.dice.below(4) == 0 && walk.log.as_ref().unwrap().all().len() > walk.batches.len() {
            walk.fail("more is read than was appended");
        }
    }
    restarts
}

#[test]
fn no_crash_loses_what_was_flushed_or_brings_back_what_was_cut() {
    let restarts: u64 = (1..=150).map(walk).sum();
    assert!(restarts > 1500, "only {restarts} restarts");
}

#[test]
#[ignore = "a long campaign: 5,000 walks"]
fn no_crash_in_a_long_campaign() {
    (1000..6_000).for_each(|seed| {
        walk(seed);
    });
}
