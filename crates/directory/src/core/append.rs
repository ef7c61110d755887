//! The way into the log and back: batches out, commits in, and what happens when a master is made
//! or unmade.

use super::{Core, Outbox, Read, Refusal, Role, Waiting};
use crate::body;
use crate::codec::Malformed;
use crate::error::Error;
use crate::lessor::Lessor;
use crate::op::Op;
use crate::watch::Sink;
use bytes::Bytes;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Epoch, Offset, Revision};
use cairn_logic::record::EpochRecord;
use cairn_logic::time::Instant;

/// A batch is closed above so many bytes.
const BODY_BYTES_ENOUGH: usize = 1 << 20;

/// A batch under construction.
#[derive(Debug, Default)]
pub(super) struct Building {
    body: Vec<u8>,
    count: u32,
    authority: bool,
    /// Of the state after its last entry.
    hash: u64,
}

/// Entries to append as one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// How many entries.
    pub count: u32,
    /// Whether copies count only when flushed.
    pub authority: bool,
    /// The entries.
    pub body: Bytes,
}

/// A batch of the log that this copy of the directory cannot follow: it must stop, loudly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The body is no sequence of operations.
    #[error("cannot decode the entry at offset {offset}")]
    Malformed {
        /// Of the entry.
        offset: Offset,
        /// Why.
        source: Malformed,
    },
    /// The master applied what this copy refuses.
    #[error("this copy differs from the master's at offset {offset}")]
    Differs {
        /// Of the entry.
        offset: Offset,
        /// Why.
        source: Error,
    },
    /// The head names another number of entries than the body holds.
    #[error("batch at offset {first} holds {found} entries and names {named}")]
    Count {
        /// Of the first entry.
        first: Offset,
        /// In the head.
        named: u32,
        /// In the body.
        found: u32,
    },
}

impl<T> Core<T> {
    /// Adds an applied operation to the batch under construction. A batch that began without
    /// authority is closed before an entry with it, so that nothing before has to be flushed.
    pub(super) fn enlist(&mut self, op: &Op, waiting: Waiting<T>) {
        let authority = op.carries_authority();
        let fits = self.building.back().is_some_and(|last| {
            last.body.len() < BODY_BYTES_ENOUGH && (last.authority || !authority)
        });
        if !fits {
            self.building.push_back(Building { authority, ..Building::default() });
        }
        let last = self.building.back_mut().expect("one was just added");
        body::push(op, &mut last.body);
        last.count += 1;
        last.hash = self.directory.state_hash().hash;
        self.made += 1;
        self.waiting.push_back(waiting);
    }

    /// The next batch to append, if there is one; `first` is the offset its first entry will have.
    /// Call it until it says `None`, in the order of the log.
    pub fn take_batch(&mut self, first: Offset) -> Option<Proposed> {
        let Building { body, count, authority, hash } = self.building.pop_front()?;
        let untaken: usize = self.building.iter().map(|later| later.count as usize).sum();
        let from = self.waiting.len() - untaken - count as usize;
        for (place, waiting) in self.waiting.range_mut(from..from + count as usize).enumerate() {
            waiting.offset = Some(Offset(first.0 + place as u64));
        }
        self.applied_offset = Offset(first.0 + u64::from(count) - 1);
        self.note_hash(first, EntryId::new(self.epoch, self.applied_offset), hash);
        Some(Proposed { count, authority, body: body.into() })
    }

    /// Everything up to `offset` is committed: replies go out, watches are told. For a master; a
    /// follower learns of commits by [`Core::apply_batch`].
    pub fn committed(&mut self, offset: Offset, outbox: &mut impl Outbox<Token = T>) {
        self.committed_offset = self.committed_offset.max(offset);
        while let Some(front) = self.waiting.front() {
            if front.offset.is_none_or(|at| at > offset) {
                break;
            }
            let Some(done) = self.waiting.pop_front() else { break };
            self.done += 1;
            self.committed = done.revision;
            if let Some((token, response)) = done.reply {
                outbox.reply(token, Ok(self.reply(done.revision, response)));
            }
        }
        while self.dirty.front().is_some_and(|read| read.sequence <= self.done) {
            self.unproven.extend(self.dirty.pop_front());
        }
        self.watches.advance(&self.directory, self.committed, outbox);
        self.sweep_after();
    }

    /// Applies a committed batch that another master made, or that was read from the log.
    ///
    /// # Errors
    /// [`ApplyError`]: this copy is of no use any more.
    pub fn apply_batch(&mut self, batch: &Batch, outbox: &mut impl Sink) -> Result<(), ApplyError> {
        debug_assert!(!self.is_master(), "a master applied its entries when it appended them");
        let first = batch.head.first;
        if batch.head.opens_epoch {
            // Of all of them: the jump of an elect that died may never have been committed.
            let above = EpochRecord::decode(&batch.body).map_or(0, |record| record.above);
            self.directory.raise_above(Revision(above));
        } else {
            let mut found = 0;
            for op in body::ops(batch.body.clone()) {
                let offset = Offset(first.0 + u64::from(found));
                let op = op.map_err(|source| ApplyError::Malformed { offset, source })?;
                self.directory
                    .replay(&op)
                    .map_err(|source| ApplyError::Differs { offset, source })?;
                self.sweeping |= matches!(op, Op::Compact { .. } | Op::Jump { .. });
                found += 1;
            }
            let named = batch.head.count;
            if found != named {
                return Err(ApplyError::Count { first, named, found });
            }
        }
        self.epoch = self.epoch.max(batch.head.epoch);
        self.applied_offset = batch.head.last_offset();
        self.committed_offset = self.applied_offset;
        self.committed = self.directory.revision();
        let hash = self.directory.state_hash().hash;
        self.note_hash(first, batch.head.last(), hash);
        if !matches!(self.role, Role::Loading) {
            self.watches.advance(&self.directory, self.committed, outbox);
        }
        self.sweep_after();
        Ok(())
    }

    /// What is committed has been read from the log: requests may be answered.
    pub fn loaded(&mut self, outbox: &mut impl Sink) {
        if matches!(self.role, Role::Loading) {
            self.role = Role::Follower;
        }
        self.watches.advance(&self.directory, self.committed, outbox);
    }

    /// This node is the master of `epoch`: the record says so, and everything up to `last`, which
    /// is the end of its log, is committed and applied. Every lease starts anew.
    pub fn became_master(&mut self, now: Instant, epoch: Epoch, last: Offset) {
        debug_assert!(self.waiting.is_empty(), "nothing of an older mastership is pending");
        self.epoch = epoch;
        self.applied_offset = last;
        self.committed_offset = last;
        self.committed = self.directory.revision();
        self.made = 0;
        self.done = 0;
        self.next_lease = 0;
        self.next_compaction = now;
        self.end_export();
        self.role = Role::Master { lessor: Lessor::new(now, self.directory.leases()) };
    }

    /// This node goes on as the master, but in a new epoch (its configuration changed), whose
    /// record stands at `at`, after all that was appended.
    pub fn changed_epoch(&mut self, epoch: Epoch, at: Offset) {
        self.epoch = epoch;
        self.applied_offset = at;
        let hash = self.directory.state_hash().hash;
        self.note_hash(at, EntryId::new(epoch, at), hash);
    }

    /// Mastership is over: pending requests are told so. Whether the directory holds changes that
    /// were not committed: then it is empty now and answers nothing until [`Core::apply_batch`] was
    /// given the committed log from its beginning, and [`Core::loaded`] was called.
    #[must_use = "the log may have to be read again"]
    pub fn lost_mastership(&mut self, outbox: &mut impl Outbox<Token = T>) -> bool {
        if !self.is_master() {
            return false;
        }
        let must_reload = !self.waiting.is_empty();
        let tokens = self.waiting.drain(..).filter_map(|w| w.reply.map(|(token, _)| token));
        let reads = self.dirty.drain(..).chain(self.unproven.drain(..)).map(|read| read.token);
        for token in tokens.chain(reads) {
            outbox.reply(token, Err(Refusal::MasterChanged));
        }
        self.building.clear();
        self.role = Role::Follower;
        self.drop_scans(must_reload, Refusal::MasterChanged, outbox);
        if must_reload {
            self.reset();
        }
        must_reload
    }

    /// Empties the directory, to be loaded anew. Watches stay and go on where they were.
    pub fn reset(&mut self) {
        drop(self.clear());
    }

    /// Holds a response until what it may show is committed and mastership is proven.
    pub(super) fn hold(&mut self, now: Instant, token: T, result: Result<super::Reply, Refusal>) {
        let read = Read { sequence: self.made, since: now, token, result };
        if self.done >= self.made { self.unproven.push(read) } else { self.dirty.push_back(read) }
    }
}
