//! One node's folder on a simulated disk: what a crash leaves of it.

use crate::rng::Rng;
use bytes::Bytes;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, Incarnation, Offset};
use cairn_logic::invariants::Copy;
use cairn_logic::replication::{Recovered, Vote};
use std::collections::VecDeque;

/// Something the disk was asked to do, in order.
#[derive(Clone, Debug)]
pub(crate) enum DiskOp {
    Write(Vec<Batch>),
    Flush,
    Vote(Vote),
    Cut(Offset),
}

/// One batch as it lies on the disk.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub batch: Batch,
    pub copy: Copy,
}

/// What is on the disk, and what the disk is doing.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub incarnation: Incarnation,
    /// The page cache: survives the process, not the machine.
    pub log: Vec<Stored>,
    /// How many batches of `log` are flushed.
    pub durable: usize,
    /// What the last written batch says was flushed before it.
    pub marked: Offset,
    /// The vote as flushed.
    pub vote: Vote,
    pub clean: Option<EntryId>,
    pub same_boot: bool,
    pub failed: bool,
    pub queue: VecDeque<DiskOp>,
    /// The first of `queue` is being done.
    pub busy: bool,
}

impl Folder {
    pub(crate) fn new(incarnation: u64) -> Self {
        let vote = Vote {
            sealed: Epoch::ZERO,
            intact: true,
            life: Default::default(),
            reserved: 0,
            unflushed: false,
        };
        Self {
            incarnation: Incarnation(incarnation),
            log: Vec::new(),
            durable: 0,
            marked: Offset::ZERO,
            vote,
            clean: None,
            same_boot: true,
            failed: false,
            queue: VecDeque::new(),
            busy: false,
        }
    }

    pub(crate) fn last(&self) -> EntryId {
        self.log.last().map_or(EntryId::ZERO, |stored| stored.copy.last)
    }

    pub(crate) fn durable_last(&self) -> EntryId {
        let last = self.durable.checked_sub(1).map(|at| self.log[at].copy.last);
        last.unwrap_or(EntryId::ZERO)
    }

    pub(crate) fn copies(&self) -> Vec<Copy> {
        self.log.iter().map(|stored| stored.copy).collect()
    }

    /// The copies up to `up_to`.
    pub(crate) fn copies_to(&self, up_to: Offset) -> Vec<Copy> {
        let kept = self.log.iter().take_while(|stored| stored.copy.last.offset <= up_to);
        kept.map(|stored| stored.copy).collect()
    }

    /// Puts batches into the page cache.
    pub(crate) fn write(&mut self, batches: Vec<Batch>) -> Vec<Copy> {
        let mut copies = Vec::with_capacity(batches.len());
        for batch in batches {
            assert_eq!(
                batch.head.first,
                self.last().offset.next(),
                "a batch follows the log it is written to"
            );
            let copy = copy_of(self.log.last().map(|stored| stored.copy), &batch);
            copies.push(copy);
            self.marked = self.durable_last().offset;
            self.log.push(Stored { batch, copy });
        }
        copies
    }

    /// Cuts after `after`; returns what was cut.
    pub(crate) fn cut(&mut self, after: Offset) -> Vec<Copy> {
        let keep = self.log.partition_point(|stored| stored.copy.last.offset <= after);
        let cut = self.log.split_off(keep);
        self.durable = self.durable.min(keep);
        self.marked = self.marked.min(after);
        cut.into_iter().map(|stored| stored.copy).collect()
    }

    /// Whole batches from `from`, none that begins beyond `up_to`, at most about `bytes_max`.
    pub(crate) fn read(&self, from: Offset, up_to: Offset, bytes_max: usize) -> Vec<Batch> {
        let at = self.log.partition_point(|stored| stored.batch.head.first < from);
        let mut bytes = 0;
        let wanted = self.log[at..].iter().take_while(|stored| {
            let first = bytes == 0;
            bytes += stored.batch.body.len();
            stored.batch.head.first <= up_to && (first || bytes <= bytes_max)
        });
        wanted.map(|stored| stored.batch.clone()).collect()
    }

    /// The process is over: what it had asked for may or may not have begun.
    pub(crate) fn process_ends(&mut self, rng: &mut Rng) -> Vec<Copy> {
        let mut written = Vec::new();
        if self.busy && rng.chance(500) {
            match self.queue.pop_front() {
                Some(DiskOp::Write(batches)) => {
                    let some = rng.index(batches.len() + 1);
                    written = self.write(batches.into_iter().take(some).collect());
                }
                Some(DiskOp::Flush) => self.durable = self.log.len(),
                Some(DiskOp::Vote(vote)) => self.voted(vote),
                // A cut that nobody waited for is made anew by whoever needs it.
                Some(DiskOp::Cut(_)) | None => {}
            }
        }
        self.queue.clear();
        self.busy = false;
        written
    }

    /// The machine is over: of what was not flushed, any prefix is left.
    pub(crate) fn machine_ends(&mut self, rng: &mut Rng) {
        let unflushed = self.log.len() - self.durable;
        let keep = if rng.chance(500) { 0 } else { rng.index(unflushed + 1) };
        self.log.truncate(self.durable + keep);
        self.durable = self.log.len();
        self.marked = self.marked.min(self.last().offset);
        self.same_boot = false;
    }

    /// What a new process finds.
    pub(crate) fn recover(&self) -> Recovered {
        let mut epochs: Vec<(Epoch, Offset)> = Vec::new();
        for stored in &self.log {
            let head = stored.batch.head;
            if epochs.last().is_none_or(|(epoch, _)| *epoch != head.epoch) {
                epochs.push((head.epoch, head.first));
            }
        }
        Recovered {
            vote: self.vote.clone(),
            epochs,
            last: self.last(),
            flushed: self.marked,
            clean: self.clean,
            same_boot: self.same_boot,
            failed_disk: self.failed,
            torn: !self.same_boot,
        }
    }

    /// The vote is flushed, and with it the boot it was written in and what was found at start.
    pub(crate) fn voted(&mut self, vote: Vote) {
        self.vote = vote;
        self.clean = None;
        (self.same_boot, self.failed) = (true, false);
    }
}

/// A batch as it follows `before`: digests cover the whole past.
fn copy_of(before: Option<Copy>, batch: &Batch) -> Copy {
    let mut digest = Digest::new(before.map_or(0, |copy| copy.chain));
    let head = &batch.head;
    for number in [head.epoch.0, head.first.0, u64::from(head.count), head.time_ms] {
        digest.add(number);
    }
    digest.add_bytes(&batch.body);
    let authority = head.authority || head.opens_epoch;
    Copy { last: head.last(), chain: digest.0, authority }
}

/// FNV-1a over numbers and bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest(pub u64);

impl Digest {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed ^ 0xcbf2_9ce4_8422_2325)
    }

    pub(crate) fn add(&mut self, number: u64) {
        self.add_bytes(&number.to_le_bytes());
    }

    pub(crate) fn add_bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The state machine of the simulation: what the last applied batch was.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Applied(pub Option<Copy>);

impl Applied {
    /// Applies `batch`.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Copy {
        let copy = copy_of(self.0, batch);
        self.0 = Some(copy);
        copy
    }

    pub(crate) fn offset(self) -> Offset {
        self.0.map_or(Offset::ZERO, |copy| copy.last.offset)
    }
}

/// A body that no other batch has.
pub(crate) fn unique_body(serial: u64) -> Bytes {
    Bytes::copy_from_slice(&serial.to_le_bytes())
}
