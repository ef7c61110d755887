//! Appends to the log.

use crate::disk::real::RealDisk;
use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::group::record::{self, HEAD_BYTES};
use crate::group::segment::{self, RECORDS_AT, Segment, SegmentHead, Spare};
use crate::group::shared::{Place, Shared};
use crate::group::tails::{self, CutTail};
use crate::group::walk::Tip;
use crate::group::{LogFlusher, LogReader, LogSpace};
use crate::lock;
use cairn_logic::batch::{BODY_BYTES_MAX, Batch};
use cairn_logic::ids::{EntryId, Offset};
use std::io::IoSlice;
use std::ops::Range;
use std::sync::Arc;

/// The one that appends and cuts; owned by the log writer thread.
#[derive(Debug)]
pub struct LogWriter<D: Disk = RealDisk> {
    pub(crate) shared: Arc<Shared<D>>,
    pub(crate) tip: Tip,
    pub(crate) segment: Arc<Segment>,
    pub(crate) file: Arc<D::File>,
    pub(crate) end: u64,
    /// There may be a clean mark. Without one an append waits for nobody who writes marks.
    pub(crate) marked_clean: bool,
}

/// Batches that go into one segment: a new one if there is a spare for it.
struct Run<D: Disk> {
    batches: Range<usize>,
    begins: Option<Spare<D::File>>,
}

impl<D: Disk> LogWriter<D> {
    /// Writes `batches` to the page cache, with one call to the system (one more for each segment
    /// begun); they are visible to readers when this returns the last entry.
    ///
    /// A clean mark is removed durably first. A crash in the middle leaves a prefix, perhaps with
    /// a torn record behind it.
    ///
    /// # Errors
    /// [`Error::NotNext`], [`Error::EpochWentBack`], [`Error::Size`] and [`Error::Full`] write
    /// nothing. [`Error::Io`] ends trust; then [`Error::Untrusted`].
    pub fn append(&mut self, batches: &[Batch]) -> Result<EntryId> {
        drop(self.shared.trusted()?);
        check(self.tip.last, batches)?;
        self.drop_clean_mark()?;
        for run in self.plan(batches)? {
            if let Some(spare) = run.begins {
                self.begin(spare).map_err(|error| self.shared.fail(error))?;
            }
            self.write(&batches[run.batches]).map_err(|error| self.shared.fail(error))?;
        }
        Ok(self.tip.last)
    }

    /// Removes the clean mark and what the folder remembers of a failed write, durably.
    ///
    /// Call it after the vote has taken note of [`crate::Recovered`] and before the first ack.
    ///
    /// # Errors
    /// [`Error::Io`] ends trust; then [`Error::Untrusted`].
    pub fn remove_clean_mark(&mut self) -> Result<()> {
        drop(self.shared.trusted()?);
        let set = lock(&self.shared.marks).set(|marks| {
            marks.clean = None;
            marks.untrusted = false;
        });
        set.map_err(|error| self.shared.fail(error))?;
        self.marked_clean = false;
        Ok(())
    }

    /// Flushes everything and then says, durably, that the log ends at `last`; for a graceful
    /// stop. The next append or cut takes it back.
    ///
    /// # Errors
    /// [`Error::NotABoundary`] if the log does not end there. [`Error::Io`] ends trust; then
    /// [`Error::Untrusted`].
    pub fn write_clean_mark(&mut self, last: EntryId) -> Result<()> {
        let mut mark = lock(&self.shared.flushing);
        if self.shared.flush_held(&mut mark)? != last {
            return Err(Error::NotABoundary { after: last.offset });
        }
        self.marked_clean = true;
        let set = lock(&self.shared.marks).set(|marks| marks.clean = Some(last));
        set.map_err(|error| self.shared.fail(error))
    }

    /// The last entry.
    #[must_use]
    pub fn last(&self) -> EntryId {
        self.tip.last
    }

    /// A flusher of this log.
    #[must_use]
    pub fn flusher(&self) -> LogFlusher<D> {
        LogFlusher { shared: self.shared.clone() }
    }

    /// A reader of this log.
    #[must_use]
    pub fn reader(&self) -> LogReader<D> {
        LogReader { shared: self.shared.clone() }
    }

    /// Facts about room.
    ///
    /// # Errors
    /// [`Error::Io`] if the file system cannot be asked; trust goes on.
    pub fn space(&self) -> Result<LogSpace> {
        self.shared.space()
    }

    /// What was cut from this log and is still kept aside.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be listed; trust goes on.
    pub fn cut_tails(&self) -> Result<Vec<CutTail>> {
        tails::list(&self.shared.disk, &self.shared.dir)
    }

    pub(crate) fn drop_clean_mark(&mut self) -> Result<()> {
        if self.marked_clean {
            let set = lock(&self.shared.marks).set(|marks| marks.clean = None);
            set.map_err(|error| self.shared.fail(error))?;
            self.marked_clean = false;
        }
        Ok(())
    }

    /// Divides the batches among segments and reserves those, before anything is written.
    fn plan(&mut self, batches: &[Batch]) -> Result<Vec<Run<D>>> {
        let mut runs = vec![Run { batches: 0..0, begins: None }];
        // One that an earlier process made with another setting ends where it would end now: only
        // whole segments are given up.
        let bytes = self.segment.bytes.min(self.shared.options.segment_bytes);
        let mut room = bytes.saturating_sub(self.end);
        for (index, batch) in batches.iter().enumerate() {
            let bytes = record::stride_of(batch);
            if bytes > room {
                let empty = self.end == RECORDS_AT && index == 0;
                match self.more_room(bytes, empty) {
                    Ok((all, begins)) => {
                        room = all;
                        if begins.is_some() {
                            runs.push(Run { batches: index..index, begins });
                        }
                    }
                    Err(error) => {
                        self.give_back(runs);
                        return Err(error);
                    }
                }
            }
            room -= bytes;
            runs.last_mut().expect("one was put in").batches.end = index + 1;
        }
        Ok(runs)
    }

    /// Room for at least `bytes` of records: in this segment if it is empty, else in another.
    fn more_room(&mut self, bytes: u64, empty: bool) -> Result<(u64, Option<Spare<D::File>>)> {
        let whole = self.shared.options.segment_bytes.max(RECORDS_AT + bytes);
        if empty {
            self.file.allocate(whole).map_err(Error::room(&self.segment.path, whole))?;
            let mut longer = (*self.segment).clone();
            longer.bytes = whole;
            self.segment = Arc::new(longer);
            let mut state = lock(&self.shared.state);
            let mut last = state.places.last_entry().expect("a log has a segment");
            last.get_mut().segment = self.segment.clone();
            return Ok((whole - RECORDS_AT, None));
        }
        let (spare, number) = {
            let mut state = lock(&self.shared.state);
            state.next_number += 1;
            (state.spare.take(), state.next_number - 1)
        };
        let spare = match spare {
            Some(spare) if spare.bytes >= whole => spare,
            Some(spare) => {
                let longer = spare.file.allocate(whole);
                let path = spare.path.clone();
                let bytes = if longer.is_ok() { whole } else { spare.bytes };
                let spare = Spare { bytes, ..spare };
                if let Err(error) = longer {
                    lock(&self.shared.state).spare = Some(spare);
                    return Err(Error::room(&path, whole)(error));
                }
                spare
            }
            None => segment::make_spare(&self.shared.disk, &self.shared.dir, number, whole)?,
        };
        Ok((spare.bytes - RECORDS_AT, Some(spare)))
    }

    /// Keeps one of the reserved segments as the spare; removes the rest.
    fn give_back(&self, runs: Vec<Run<D>>) {
        for spare in runs.into_iter().filter_map(|run| run.begins) {
            let mut state = lock(&self.shared.state);
            if state.spare.is_none() {
                state.spare = Some(spare);
            } else {
                drop(state);
                // What stays behind is removed by the next open.
                let _ = self.shared.disk.remove(&spare.path);
            }
        }
    }

    /// Goes on in another segment.
    fn begin(&mut self, spare: Spare<D::File>) -> Result<()> {
        let shared = &self.shared;
        let head = SegmentHead {
            owner: shared.options.owner(),
            number: spare.number,
            before: self.tip.last,
            seed: self.tip.chain,
            flushed: lock(&shared.state).flushed.offset,
        };
        let (segment, file) = segment::begin(&shared.disk, &shared.dir, spare, head)?;
        let place = Place::new(segment);
        self.segment = place.segment.clone();
        self.file = Arc::new(file);
        self.end = RECORDS_AT;
        let mut state = lock(&shared.state);
        let (number, old) = (self.segment.head.number, state.active.clone());
        let before = state.places.last_key_value().map(|(_, place)| place.segment.head.number);
        state.remember(before.expect("a log has a segment"), old);
        state.active = self.file.clone();
        state.places.insert(self.segment.head.first(), place);
        state.soil(number, &self.file);
        state.names_changed = true;
        Ok(())
    }

    /// Writes batches that fit to the segment's end, and a blank behind them.
    fn write(&mut self, batches: &[Batch]) -> Result<()> {
        if batches.is_empty() {
            return Ok(());
        }
        let flushed = lock(&self.shared.state).flushed.offset;
        let mut tip = self.tip;
        let mut heads = Vec::with_capacity(batches.len());
        for batch in batches {
            let (bytes, crc) = record::encode_head(batch, tip.chain, flushed, self.segment.salt);
            tip = Tip { last: batch.head.last(), chain: crc };
            heads.push((bytes, tip));
        }
        let zeros = [0; 16];
        let mut end = self.end;
        let mut buffers = Vec::with_capacity(batches.len() * 3 + 1);
        for (batch, (head, _)) in batches.iter().zip(&heads) {
            let stride = record::stride_of(batch);
            let padding = stride as usize - HEAD_BYTES - batch.body.len();
            buffers.push(IoSlice::new(head));
            buffers.push(IoSlice::new(&batch.body));
            buffers.push(IoSlice::new(&zeros[..padding]));
            end += stride;
        }
        let blank = (self.segment.bytes - end).min(8) as usize;
        buffers.push(IoSlice::new(&zeros[..blank]));
        buffers.retain(|buffer| !buffer.is_empty());
        self.file
            .write_at(&mut buffers, self.end)
            .map_err(Error::io("write", &self.segment.path))?;
        let mut state = lock(&self.shared.state);
        for (batch, (_, tip)) in batches.iter().zip(&heads) {
            state.push(batch.head.first, record::stride_of(batch), *tip);
        }
        state.soil(self.segment.head.number, &self.file);
        self.tip = tip;
        self.end = end;
        Ok(())
    }
}

/// Whether the batches continue the log.
fn check(last: EntryId, batches: &[Batch]) -> Result<()> {
    let mut last = last;
    for batch in batches {
        let head = &batch.head;
        let expected = last.offset.next();
        if head.first != expected {
            return Err(Error::NotNext { expected, got: head.first });
        }
        if head.epoch < last.epoch {
            return Err(Error::EpochWentBack { last: last.epoch, got: head.epoch });
        }
        let bytes = batch.body.len();
        if head.count == 0 || bytes > BODY_BYTES_MAX {
            let bytes = if head.count == 0 { 0 } else { bytes as u64 };
            let limit_bytes = BODY_BYTES_MAX as u64;
            return Err(Error::Size { what: "batch body", bytes, limit_bytes });
        }
        last = EntryId::new(head.epoch, Offset(head.first.0 + u64::from(head.count) - 1));
    }
    Ok(())
}
