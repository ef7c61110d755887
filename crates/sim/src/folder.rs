//! One node's folder on a simulated disk: what a crash leaves of it.

mod front;

pub(crate) use front::{Received, Snapshot};

use crate::rng::Rng;
use bytes::Bytes;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, Incarnation, Offset};
use cairn_logic::invariants::Copy;
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::record::EpochRecord;
use cairn_logic::replication::{Recovered, Vote};
use std::collections::{BTreeSet, VecDeque};

/// Something the log's writer was asked to do, in order.
#[derive(Clone, Debug)]
pub(crate) enum DiskOp {
    Write(Vec<Batch>),
    Vote(Vote),
    Cut(Offset),
    /// Give up the front of the log up to here, or a part of that.
    Truncate(Offset),
    /// Begin the log anew after this, with the snapshot that was received.
    Restart {
        after: EntryId,
        keep_above: Offset,
    },
}

/// A flush under way beside the writer: how much was written when it began, and how many cuts
/// had been made.
#[derive(Clone, Copy, Debug)]
struct Flushing {
    written: usize,
    cuts: u64,
}

/// What is on the disk, and what the disk is doing.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    pub incarnation: Incarnation,
    /// The page cache: survives the process, not the machine. The first `gone` were given up and
    /// are only in snapshots.
    pub log: Vec<Batch>,
    pub gone: usize,
    /// Two at most, the newest last.
    pub snapshots: Vec<Snapshot>,
    /// What was fetched and is not in use yet, the newest last.
    pub received: Vec<Received>,
    /// Repairs of which both versions are kept.
    pub aside: BTreeSet<Offset>,
    /// What each batch of `log` is known by.
    pub copies: Vec<Copy>,
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
    /// A flush was asked for and has not begun.
    pub flush_asked: bool,
    flushing: Option<Flushing>,
    cuts: u64,
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
            gone: 0,
            snapshots: Vec::new(),
            received: Vec::new(),
            aside: BTreeSet::new(),
            copies: Vec::new(),
            durable: 0,
            marked: Offset::ZERO,
            vote,
            clean: None,
            same_boot: true,
            failed: false,
            queue: VecDeque::new(),
            busy: false,
            flush_asked: false,
            flushing: None,
            cuts: 0,
        }
    }

    pub(crate) fn last(&self) -> EntryId {
        self.copies.last().map_or(EntryId::ZERO, |copy| copy.last)
    }

    pub(crate) fn durable_last(&self) -> EntryId {
        let last = self.durable.checked_sub(1).map(|at| self.copies[at].last);
        last.unwrap_or(EntryId::ZERO)
    }

    /// The copies up to `up_to`.
    pub(crate) fn copies_to(&self, up_to: Offset) -> &[Copy] {
        let end = self.copies.partition_point(|copy| copy.last.offset <= up_to);
        &self.copies[..end]
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
            let copy = copy_of(self.copies.last().copied(), &batch);
            copies.push(copy);
            self.marked = self.durable_last().offset;
            self.log.push(batch);
            self.copies.push(copy);
        }
        copies
    }

    /// Cuts after `after`; returns what was cut.
    pub(crate) fn cut(&mut self, after: Offset) -> Vec<Copy> {
        let keep = self.copies_to(after).len();
        assert!(keep >= self.gone, "what was given up is not cut");
        self.log.truncate(keep);
        let cut = self.copies.split_off(keep);
        self.durable = self.durable.min(keep);
        self.marked = self.marked.min(after);
        self.cuts += 1;
        cut
    }

    /// Whole batches from `from`, none that begins beyond `up_to`, at most about `bytes_max`.
    pub(crate) fn read(&self, from: Offset, up_to: Offset, bytes_max: usize) -> Vec<Batch> {
        let at = self.log.partition_point(|batch| batch.head.first < from).max(self.gone);
        let mut bytes = 0;
        let wanted = self.log[at..].iter().take_while(|batch| {
            let first = bytes == 0;
            bytes += batch.body.len();
            batch.head.first <= up_to && (first || bytes <= bytes_max)
        });
        wanted.cloned().collect()
    }

    /// Begins the flush that was asked for, unless one is under way.
    pub(crate) fn begin_flush(&mut self) -> bool {
        if !self.flush_asked || self.flushing.is_some() {
            return false;
        }
        self.flush_asked = false;
        self.flushing = Some(Flushing { written: self.log.len(), cuts: self.cuts });
        true
    }

    /// The flush is done: the batches it made durable, or `None` when a cut came between and it
    /// has to be done again.
    pub(crate) fn flushed(&mut self) -> Option<&[Copy]> {
        let flushing = self.flushing.take()?;
        if flushing.cuts != self.cuts {
            self.flush_asked = true;
            return None;
        }
        let from = self.durable;
        self.durable = from.max(flushing.written);
        Some(&self.copies[from..self.durable])
    }

    /// The process is over: what it had asked for may or may not have begun. What has come into
    /// the page cache by it.
    pub(crate) fn process_ends(&mut self, rng: &mut Rng) -> Vec<Copy> {
        let mut written = Vec::new();
        if self.busy && rng.chance(500) {
            match self.queue.pop_front() {
                Some(DiskOp::Write(batches)) => {
                    let some = rng.index(batches.len() + 1);
                    written = self.write(batches.into_iter().take(some).collect());
                }
                Some(DiskOp::Vote(vote)) => self.voted(vote),
                Some(DiskOp::Truncate(up_to)) => _ = self.truncate(up_to),
                Some(DiskOp::Restart { after, keep_above }) => match rng.index(3) {
                    // The old log, the old one without what is kept aside, or the new one.
                    0 => {}
                    1 => _ = self.cut(keep_above),
                    _ if self.restart(after, keep_above).is_ok() => written = self.copies.clone(),
                    _ => {}
                },
                // A cut that nobody waited for is made anew by whoever needs it.
                Some(DiskOp::Cut(_)) | None => {}
            }
        }
        if self.flushing.take().is_some_and(|f| f.cuts == self.cuts && rng.chance(500)) {
            self.durable = self.log.len();
        }
        self.queue.clear();
        (self.busy, self.flush_asked) = (false, false);
        self.snapshots.retain(|snapshot| snapshot.durable);
        self.received.retain(|received| received.snapshot.durable);
        written
    }

    /// The machine is over: of what was not flushed, any prefix is left.
    pub(crate) fn machine_ends(&mut self, rng: &mut Rng) {
        let unflushed = self.log.len() - self.durable;
        let keep = if rng.chance(500) { 0 } else { rng.index(unflushed + 1) };
        self.log.truncate(self.durable + keep);
        self.copies.truncate(self.durable + keep);
        self.durable = self.log.len();
        self.marked = self.marked.min(self.last().offset);
        self.same_boot = false;
    }

    /// What a new process finds.
    pub(crate) fn recover(&self) -> Recovered {
        let mut epochs: Vec<(Epoch, Offset)> = Vec::new();
        for batch in &self.log[self.gone..] {
            let head = batch.head;
            if epochs.last().is_none_or(|(epoch, _)| *epoch != head.epoch) {
                epochs.push((head.epoch, head.first));
            }
        }
        Recovered {
            vote: self.vote.clone(),
            before: self.before(),
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

/// The state machine of the simulation: what the last applied batch was, and the last revision.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Applied {
    pub copy: Option<Copy>,
    /// As the directory counts: one for each write, from the body of its batch.
    pub revision: u64,
    /// Revisions go on above it: what an epoch record said that began without proof.
    pub above: u64,
}

impl Applied {
    /// Applies `batch`.
    pub(crate) fn apply(&mut self, batch: &Batch) -> Copy {
        let copy = copy_of(self.copy, batch);
        self.copy = Some(copy);
        match batch.head.opens_epoch {
            true => {
                let record = EpochRecord::decode(&batch.body);
                self.above = self.above.max(record.map_or(0, |record| record.above));
            }
            false => self.revision = self.revision.max(revision_of(&batch.body)),
        }
        copy
    }

    pub(crate) fn offset(self) -> Offset {
        self.copy.map_or(Offset::ZERO, |copy| copy.last.offset)
    }

    /// The revision of the next write.
    pub(crate) fn next_revision(self) -> u64 {
        let above = if broken(Mutant::ForgetsReserved) { 0 } else { self.above };
        self.revision.max(above) + 1
    }
}

/// A body that no other batch has.
pub(crate) fn unique_body(serial: u64, revision: u64) -> Bytes {
    let (serial, revision) = (serial.to_le_bytes(), revision.to_le_bytes());
    Bytes::copy_from_slice(&[serial, revision].concat())
}

/// What the first entry of a group's write begins with: an effect on the key `~`.
const NAMES: [u8; 5] = [20, 1, 1, b'~', 16];

fn revision_of(body: &[u8]) -> u64 {
    let unique = match body.strip_prefix(&NAMES) {
        Some(rest) => rest.get(..16),
        None => Some(body).filter(|body| body.len() == 16),
    };
    let bytes = unique.and_then(|bytes| bytes[8..].try_into().ok());
    bytes.map_or(0, u64::from_le_bytes)
}
