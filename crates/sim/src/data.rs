//! The data thread of a simulated node: executes, appends, answers clients.
//!
//! A read shows the end of what it has applied; what a group's copy holds is in [`Store`].
//! Everything it knows of mastership it hears from the control loop, a little late.

use crate::folder::{Applied, unique_body};
use crate::shell::DataCommand;
use crate::store::{Portions, Store};
use bytes::Bytes;
use cairn_keyspace::Part;
use cairn_logic::batch::{Batch, BatchHead};
use cairn_logic::ids::{EntryId, Epoch, Offset};
use cairn_logic::invariants::{Copy, Held, Witness};
use cairn_logic::mutant::{Mutant, broken};
use cairn_logic::record::EpochRecord;
use cairn_logic::replication::{Admission, Reads};
use cairn_logic::time::Instant;
use std::collections::VecDeque;

/// Replies that may wait in one process.
const WAITING_MAX: usize = 512;

/// Revisions are reserved so far ahead.
const RESERVED_AHEAD: u64 = 64;

/// A reply that waits.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    /// A write: until it is committed.
    Write { copy: Copy, revision: u64 },
    /// A read: until what it saw is committed and mastership is proved.
    Read { seen: Option<Copy>, began: Offset, token: u64 },
}

/// What the data thread tells the control loop, in order.
#[derive(Clone, Debug)]
pub(crate) enum ToControl {
    Appended(Batch),
    /// No more batches of that mastership come.
    SteppedDown,
    /// A batch to apply, or a mastership, does not follow the state.
    Gap,
    /// The state cannot begin with its snapshot, or a batch does not fit to what it holds.
    Unfit,
}

/// What became of replies.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answered {
    pub writes: u64,
    pub reads: u64,
}

/// The data thread.
pub(crate) struct Data {
    pub applied: Applied,
    /// A group's data.
    pub store: Option<Box<Store>>,
    reads: Reads,
    /// The epoch it appends in, while it is master.
    epoch: Option<Epoch>,
    admission: Option<Admission>,
    read_until: Option<Instant>,
    /// The greatest round of acknowledgements that is complete.
    confirmed: u64,
    /// The last round asked for.
    token: u64,
    committed: Offset,
    waiting: VecDeque<Waiting>,
    /// The last batch that is applied and committed, and those applied since.
    settled: Option<Copy>,
    unsettled: VecDeque<Copy>,
    /// Applies nothing until it is rebuilt.
    gap: bool,
}

impl Data {
    pub(crate) fn new(reads: Reads, store: Option<Box<Store>>) -> Self {
        Self {
            applied: Applied::default(),
            store,
            reads,
            epoch: None,
            admission: None,
            read_until: None,
            confirmed: 0,
            token: 0,
            committed: Offset::ZERO,
            waiting: VecDeque::new(),
            settled: None,
            unsettled: VecDeque::new(),
            gap: false,
        }
    }

    /// Whether it believes that it serves.
    pub(crate) fn is_master(&self) -> bool {
        self.epoch.is_some()
    }

    /// The bound to reserve next, if the flushed one is near.
    pub(crate) fn reserve(&self, reserved: u64) -> Option<u64> {
        let used = self.applied.next_revision();
        (used + RESERVED_AHEAD / 2 > reserved).then_some(used + RESERVED_AHEAD)
    }

    /// Hears from the control loop, and answers.
    pub(crate) fn hear(
        &mut self,
        command: DataCommand,
        unix_ms: u64,
        witness: &Witness,
        folder: &cairn_logic::invariants::Folder,
    ) -> Result<Option<ToControl>, cairn_logic::invariants::Broken> {
        match command {
            DataCommand::Rebuild { state, portions, .. } => {
                (self.applied, self.gap) = (state, false);
                (self.settled, self.unsettled) = (state.copy, VecDeque::new());
                if let Some(store) = self.store.take() {
                    let (store, taken) = store.rebuilt(&portions);
                    self.store = Some(Box::new(store));
                    if !taken {
                        self.gap = true;
                        return Ok(Some(ToControl::Unfit));
                    }
                }
            }
            DataCommand::Apply(_) if self.gap => {}
            DataCommand::Apply(batch) => {
                if self.epoch.is_some() || batch.head.first != self.applied.offset().next() {
                    self.gap = true;
                    return Ok(Some(ToControl::Gap));
                }
                let copy = self.applied.apply(&batch);
                (self.settled, self.unsettled) = (Some(copy), VecDeque::new());
                witness.applies(folder, &copy)?;
                if !self.takes(&batch, copy.chain) {
                    self.gap = true;
                    return Ok(Some(ToControl::Unfit));
                }
            }
            DataCommand::Committed(up_to) => self.settle(up_to),
            DataCommand::BecomeMaster { epoch, last } => {
                if self.gap || self.applied.offset() != last.offset {
                    self.gap = true;
                    return Ok(Some(ToControl::Gap));
                }
                self.epoch = Some(epoch);
                self.store.iter_mut().for_each(|store| store.turns());
            }
            DataCommand::OpenEpoch(record) if self.epoch.is_some() => {
                return Ok(Some(ToControl::Appended(self.open_epoch(&record, unix_ms))));
            }
            DataCommand::OpenEpoch(_) => {}
            DataCommand::StepDown(_) => {
                self.epoch = None;
                self.store.iter_mut().for_each(|store| store.turns());
                self.admission = None;
                self.read_until = None;
                self.waiting.clear();
                return Ok(Some(ToControl::SteppedDown));
            }
            DataCommand::Admission(admission) => self.admission = Some(admission),
            DataCommand::ReadUntil(until) => self.read_until = until,
            DataCommand::ReadsConfirmed(token) => self.confirmed = self.confirmed.max(token),
        }
        Ok(None)
    }

    /// Whether a batch fits to what is here.
    fn takes(&mut self, batch: &Batch, chain: u64) -> bool {
        let head = &batch.head;
        let Some(store) = self.store.as_mut().filter(|_| !head.opens_epoch) else { return true };
        store.apply(&batch.body, head.first, head.count, chain)
    }

    /// The check that is due, while it is master.
    pub(crate) fn check(&mut self, now: Instant, unix_ms: u64) -> Option<Batch> {
        let epoch = self.epoch.filter(|_| !self.gap)?;
        let (open, next) = (self.admission == Some(Admission::Open), self.applied.offset().next());
        let entries = self.store.as_mut()?.check(now, open, next)?;
        Some(self.append(epoch, entries.count, false, false, entries.body.into(), unix_ms))
    }

    /// A part anew, while it is master.
    pub(crate) fn repair(&mut self, part: &Part, unix_ms: u64) -> Option<Batch> {
        let epoch = self.epoch.filter(|_| self.admission == Some(Admission::Open))?;
        let entries = self.store.as_mut()?.repair(part, self.applied.offset().next())?;
        Some(self.append(epoch, entries.count, false, false, entries.body.into(), unix_ms))
    }

    /// Begins a snapshot, if what is here is committed or a master's; the entry it begins at.
    pub(crate) fn begin_export(&mut self, some: usize) -> Option<EntryId> {
        let last = self.exports()?;
        self.store.as_mut()?.begin_export(last, some).then_some(last)
    }

    /// Ends the snapshot that began at `from`: the entry it ends at, and what it holds.
    pub(crate) fn end_export(&mut self, from: EntryId) -> Option<(EntryId, Portions)> {
        let last = self.exports()?;
        Some((last, self.store.as_mut()?.end_export(from, last)?))
    }

    fn exports(&self) -> Option<EntryId> {
        let last = self.applied.copy.filter(|_| !self.gap)?.last;
        (self.epoch.is_some() || last.offset <= self.committed).then_some(last)
    }

    fn settle(&mut self, up_to: Offset) {
        self.committed = self.committed.max(up_to);
        while self.unsettled.front().is_some_and(|copy| copy.last.offset <= self.committed) {
            self.settled = self.unsettled.pop_front();
        }
    }

    fn open_epoch(&mut self, record: &EpochRecord, unix_ms: u64) -> Batch {
        self.epoch = Some(record.epoch);
        let body = Bytes::from(record.encode());
        self.append(record.epoch, 1, true, true, body, unix_ms)
    }

    fn append(
        &mut self,
        epoch: Epoch,
        count: u32,
        authority: bool,
        opens_epoch: bool,
        body: Bytes,
        time_ms: u64,
    ) -> Batch {
        let first = self.applied.offset().next();
        let head = BatchHead { epoch, first, count, time_ms, authority, opens_epoch };
        let batch = Batch { head, body };
        let copy = self.applied.apply(&batch);
        self.unsettled.push_back(copy);
        batch
    }

    /// A client's write: appended, or refused before that.
    ///
    /// A revision is given out only up to the flushed bound.
    pub(crate) fn write(
        &mut self,
        serial: u64,
        reserved: u64,
        unix_ms: u64,
        witness: &mut Witness,
    ) -> Result<Option<Batch>, cairn_logic::invariants::Broken> {
        let Some(epoch) = self.epoch else { return Ok(None) };
        let revision = self.applied.next_revision();
        let room = self.waiting.len() < WAITING_MAX && revision <= reserved;
        if self.admission != Some(Admission::Open) || !room {
            return Ok(None);
        }
        let (count, authority) =
            (1 + u32::from(serial.is_multiple_of(3)), serial.is_multiple_of(11));
        let (count, body) = match &mut self.store {
            None => (count, unique_body(serial, revision)),
            Some(store) => {
                let entries = store.write(self.applied.offset().next(), serial, revision);
                (entries.count, entries.body.into())
            }
        };
        let batch = self.append(epoch, count, authority, false, body, unix_ms);
        if let Some(copy) = self.applied.copy {
            if broken(Mutant::AnswerAtAppend) {
                witness.answers_write(&copy)?;
            }
            self.waiting.push_back(Waiting::Write { copy, revision });
        }
        Ok(Some(batch))
    }

    /// A client's linearizable read: evaluated now, released when it may be. The round of
    /// acknowledgements to ask for, if it needs one. It looks at everything, or at keys that
    /// nothing uncommitted has touched.
    pub(crate) fn read(&mut self, began: Offset, all: bool) -> Option<u64> {
        let serves = self.epoch.is_some() || broken(Mutant::ReadBeforeActive);
        if !serves || self.waiting.len() >= WAITING_MAX {
            return None;
        }
        self.token += 1;
        let (seen, token) = (if all { self.applied.copy } else { self.settled }, self.token);
        self.waiting.push_back(Waiting::Read { seen, began, token });
        (self.reads == Reads::Confirm).then_some(token)
    }

    /// Releases what may be released, by a fresh clock.
    pub(crate) fn release(
        &mut self,
        now: Instant,
        witness: &mut Witness,
    ) -> Result<Answered, cairn_logic::invariants::Broken> {
        let mut answered = Answered::default();
        let mut left = VecDeque::with_capacity(self.waiting.len());
        for waiting in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Write { copy, revision } if copy.last.offset <= self.committed => {
                    witness.answers_write(&copy)?;
                    witness.gives_out(revision, &copy)?;
                    answered.writes += 1;
                }
                Waiting::Read { seen, began, token } if self.may_show(seen, token, now) => {
                    witness.answers_read(seen.as_ref(), began)?;
                    answered.reads += 1;
                }
                _ => left.push_back(waiting),
            }
        }
        self.waiting = left;
        Ok(answered)
    }

    fn may_show(&self, seen: Option<Copy>, token: u64, now: Instant) -> bool {
        let dirty = seen.is_some_and(|copy| copy.last.offset > self.committed);
        let proved = match self.reads {
            Reads::Lease => self.read_until.is_some_and(|until| now < until),
            Reads::Confirm => self.confirmed >= token,
        };
        proved && (!dirty || broken(Mutant::DirtyRead))
    }

    /// A read that may be stale: LOADING while a former master's state may have to be undone.
    pub(crate) fn stale_read(&self, witness: &Witness) -> Held {
        if self.gap || self.applied.offset() > self.committed {
            return Ok(());
        }
        witness.answers_stale_read(self.applied.copy.as_ref())
    }
}
