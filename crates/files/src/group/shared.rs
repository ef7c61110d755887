//! What writer, flusher and readers of one log share; the locks are held for no disk access.

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::group::flushmark::FlushMark;
use crate::group::marks::MarkFile;
use crate::group::segment::{self, RECORDS_AT, Segment, Spare};
use crate::group::walk::Tip;
use crate::group::{GivenUp, LogOptions, LogSpace, tails};
use crate::lock;
use cairn_logic::ids::{EntryId, Offset};
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// The index names a record at least every so many bytes.
pub(crate) const INDEX_BYTES: u64 = 256 << 10;
/// The newest records that are all in the index.
const RECENT_MAX: usize = 4096;
/// Segments kept open for readers.
const OPEN_MAX: usize = 8;

/// A segment and what of it is used.
#[derive(Debug)]
pub(crate) struct Place {
    pub segment: Arc<Segment>,
    /// Where the next record goes.
    pub end: u64,
    /// First offsets of some records and where they stand; ascending.
    pub index: Vec<(Offset, u64)>,
}

impl Place {
    pub fn new(segment: Segment) -> Self {
        Self { segment: Arc::new(segment), end: RECORDS_AT, index: Vec::new() }
    }

    /// Takes note of a record at the end.
    pub fn push(&mut self, first: Offset, stride: u64) {
        if self.index.last().is_none_or(|(_, at)| self.end - at >= INDEX_BYTES) {
            self.index.push((first, self.end));
        }
        self.end += stride;
    }

    /// An indexed record at or before `offset`.
    pub fn at_or_before(&self, offset: Offset) -> (Offset, u64) {
        let after = self.index.partition_point(|(first, _)| *first <= offset);
        let none = (self.segment.head.first(), RECORDS_AT);
        after.checked_sub(1).map_or(none, |at| self.index[at])
    }
}

/// What changes.
#[derive(Debug)]
pub(crate) struct State<D: Disk> {
    /// By first offset; never empty; the last one is being written.
    pub places: BTreeMap<Offset, Place>,
    pub recent: VecDeque<(Offset, u64)>,
    pub tip: Tip,
    pub flushed: EntryId,
    /// Raised with everything that takes entries away.
    pub cuts: u64,
    /// Entries before it may go.
    pub released: Option<Offset>,
    pub active: Arc<D::File>,
    /// Written since their last flush.
    pub dirty: Vec<(u64, Arc<D::File>)>,
    pub names_changed: bool,
    pub spare: Option<Spare<D::File>>,
    pub next_number: u64,
    pub open: VecDeque<(u64, Arc<D::File>)>,
    pub untrusted: bool,
}

/// One log, opened.
#[derive(Debug)]
pub(crate) struct Shared<D: Disk> {
    pub disk: D,
    pub dir: PathBuf,
    pub options: LogOptions,
    pub state: Mutex<State<D>>,
    /// Held while files are flushed or cut, so that neither sees the other half done.
    pub flushing: Mutex<FlushMark<D>>,
    pub marks: Mutex<MarkFile<D>>,
}

/// Where to read.
#[derive(Debug)]
pub(crate) struct Spot<D: Disk> {
    pub segment: Arc<Segment>,
    pub file: Option<Arc<D::File>>,
    pub position: u64,
    pub end: u64,
    pub exact: bool,
}

impl<D: Disk> State<D> {
    /// Takes note of a record that was written to the last place.
    pub fn push(&mut self, first: Offset, stride: u64, tip: Tip) {
        let mut place = self.places.last_entry().expect("a log has a segment");
        let place = place.get_mut();
        self.recent.push_back((first, place.end));
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
        place.push(first, stride);
        self.tip = tip;
    }

    /// The first entry that is kept, or would be.
    pub fn first(&self) -> Offset {
        *self.places.first_key_value().expect("a log has a segment").0
    }

    /// Where a record that contains `offset` stands, or one before it in the same segment.
    pub fn locate(&self, offset: Offset) -> Option<Spot<D>> {
        if offset > self.tip.last.offset {
            return None;
        }
        let (from, place) = self.places.range(..=offset).next_back()?;
        let mut spot = place.at_or_before(offset);
        let newer = self.recent.partition_point(|(first, _)| *first <= offset);
        if let Some(recent) = newer.checked_sub(1).map(|at| self.recent[at])
            && recent.0 >= *from
        {
            spot = recent;
        }
        let number = place.segment.head.number;
        let active = self.places.last_key_value().is_some_and(|(first, _)| first == from);
        let file = if active {
            Some(self.active.clone())
        } else {
            self.open.iter().find(|(open, _)| *open == number).map(|(_, file)| file.clone())
        };
        Some(Spot {
            segment: place.segment.clone(),
            file,
            position: spot.1,
            end: place.end,
            exact: spot.0 == offset,
        })
    }

    /// Remembers an open file for readers.
    pub fn remember(&mut self, number: u64, file: Arc<D::File>) {
        if self.open.len() >= OPEN_MAX {
            self.open.pop_front();
        }
        self.open.push_back((number, file));
    }

    /// Takes note of a segment that needs a flush.
    pub fn soil(&mut self, number: u64, file: &Arc<D::File>) {
        if self.dirty.last().is_none_or(|(last, _)| *last != number) {
            self.dirty.push((number, file.clone()));
        }
    }
}

impl<D: Disk> Shared<D> {
    /// The state, unless trust has ended.
    pub fn trusted(&self) -> Result<MutexGuard<'_, State<D>>> {
        let state = lock(&self.state);
        if state.untrusted {
            return Err(Error::Untrusted { path: self.dir.clone() });
        }
        Ok(state)
    }

    /// Ends trust, visibly for the next process as far as the disk still lets us.
    pub fn fail(&self, error: Error) -> Error {
        lock(&self.state).untrusted = true;
        // If this fails, too, the disk takes no writes: then no later process can raise its life
        // in the vote either, and after a reboot the boot id tells that the tail may be lost.
        let _ = lock(&self.marks).set(|marks| marks.untrusted = true);
        error
    }

    /// Ends trust if the process must end because of this error.
    pub fn fail_if_fatal(&self, error: Error) -> Error {
        if error.is_fatal() { self.fail(error) } else { error }
    }

    /// The flusher's work; `mark` is what `flushing` holds.
    pub fn flush_held(&self, mark: &mut FlushMark<D>) -> Result<EntryId> {
        let (target, dirty, names_changed) = {
            let mut state = self.trusted()?;
            let dirty = std::mem::take(&mut state.dirty);
            (state.tip.last, dirty, std::mem::take(&mut state.names_changed))
        };
        for (_, file) in &dirty {
            file.sync().map_err(Error::io("flush", &self.dir)).map_err(|e| self.fail(e))?;
        }
        if names_changed {
            let synced = self.disk.sync_dir(&self.dir);
            synced.map_err(Error::io("flush folder", &self.dir)).map_err(|e| self.fail(e))?;
        }
        mark.note(target.offset).map_err(|error| self.fail(error))?;
        self.trusted()?.flushed = target;
        Ok(target)
    }

    /// Makes sure that a segment waits for use, so that a full disk shows before it is needed.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]; both leave the log as it was.
    pub fn make_ready(&self) -> Result<()> {
        let number = {
            let mut state = lock(&self.state);
            if state.spare.is_some() {
                return Ok(());
            }
            state.next_number += 1;
            state.next_number - 1
        };
        let bytes = self.options.segment_bytes;
        let made = segment::make_spare(&self.disk, &self.dir, number, bytes)?;
        self.keep_spare(made)
    }

    /// Gives up the segments that hold only entries before what was released; one is kept for
    /// reuse, the others are to be removed. The caller holds `flushing`.
    pub fn give_up_front(&self) -> Result<Option<GivenUp<D>>> {
        let (before, gone) = {
            let mut state = self.trusted()?;
            let Some(offset) = state.released.take() else { return Ok(None) };
            let Some((first, place)) = state.places.range(..=offset).next_back() else {
                return Ok(None);
            };
            let (first, before) = (*first, place.segment.head.before);
            let kept = state.places.split_off(&first);
            let gone = std::mem::replace(&mut state.places, kept);
            state.cuts += u64::from(!gone.is_empty());
            (before, gone)
        };
        if gone.is_empty() {
            return Ok(None);
        }
        let set = lock(&self.marks).set(|marks| marks.first = before.offset.next());
        set.map_err(|error| self.fail(error))?;
        let mut segments = Vec::new();
        for place in gone.into_values() {
            if !self.reuse(&place).map_err(|error| self.fail(error))? {
                segments.push(place.segment.path.clone());
            }
        }
        let synced = self.disk.sync_dir(&self.dir);
        synced.map_err(Error::io("flush folder", &self.dir)).map_err(|e| self.fail(e))?;
        Ok(Some(GivenUp { before, segments, disk: self.disk.clone() }))
    }

    /// Makes a segment the spare, or removes it.
    pub fn recycle(&self, place: &Place) -> Result<()> {
        let path = &place.segment.path;
        match self.reuse(place)? {
            true => Ok(()),
            false => self.disk.remove(path).map_err(Error::io("remove", path)),
        }
    }

    /// Makes a segment the spare; whether one was wanted.
    fn reuse(&self, place: &Place) -> Result<bool> {
        let path = &place.segment.path;
        let number = {
            let mut state = lock(&self.state);
            let fits = place.segment.bytes == self.options.segment_bytes;
            if state.spare.is_some() || !fits {
                return Ok(false);
            }
            state.next_number += 1;
            state.next_number - 1
        };
        let to = self.dir.join(segment::spare_name_of(number));
        self.disk.rename(path, &to).map_err(Error::io("rename", path))?;
        let file = self.disk.open(&to).map_err(Error::io("open", &to))?;
        self.keep_spare(Spare { path: to, number, file, bytes: place.segment.bytes })?;
        Ok(true)
    }

    /// Keeps a spare unless there is one by now.
    fn keep_spare(&self, made: Spare<D::File>) -> Result<()> {
        let surplus = {
            let mut state = lock(&self.state);
            match state.spare {
                Some(_) => made,
                None => {
                    state.spare = Some(made);
                    return Ok(());
                }
            }
        };
        self.disk.remove(&surplus.path).map_err(Error::io("remove", &surplus.path))
    }

    /// How much room there is.
    pub fn space(&self) -> Result<LogSpace> {
        let free = self.disk.free_bytes(&self.dir).map_err(Error::io("measure", &self.dir))?;
        let all = self.disk.all_bytes(&self.dir).map_err(Error::io("measure", &self.dir))?;
        let tails = tails::list(&self.disk, &self.dir)?;
        let state = lock(&self.state);
        let spare = state.spare.as_ref().map_or(0, |spare| spare.bytes - RECORDS_AT);
        let place = state.places.last_key_value().expect("a log has a segment").1;
        let left = place.segment.bytes.saturating_sub(place.end);
        let used = state.places.values().map(|place| place.end).sum();
        Ok(LogSpace {
            disk_free_bytes: free,
            disk_bytes: all,
            ahead_bytes: left + spare,
            log_bytes: used,
            spare_ready: state.spare.is_some(),
            tails,
        })
    }
}
