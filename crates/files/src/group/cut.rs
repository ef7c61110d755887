//! Takes entries away: from the end, kept aside; from the front, when a snapshot has them (that is
//! left to the flusher, as the disk may take its time).

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::group::segment::RECORDS_AT;
use crate::group::shared::Place;
use crate::group::tails::{self, CutTail};
use crate::group::walk::{Step, Tip, Walker};
use crate::group::writer::LogWriter;
use crate::lock;
use cairn_logic::ids::{Epoch, Offset};
use std::sync::Arc;

/// The end of a batch: where it stands and what the chain was.
struct Boundary<D: Disk> {
    place: Offset,
    file: Arc<D::File>,
    position: u64,
    tip: Tip,
    /// Epoch of the first record behind it.
    next_epoch: Epoch,
}

impl<D: Disk> LogWriter<D> {
    /// Takes all entries after `after` out of the log and keeps them aside.
    ///
    /// What remains is flushed and the cut durable when this returns. A crash in the middle
    /// leaves the log as it was or cut at a later offset; calling again does the rest. `None` if
    /// there was nothing to cut.
    ///
    /// # Errors
    /// [`Error::NotABoundary`], [`Error::Truncated`], [`Error::TailsFull`], [`Error::Full`]
    /// change nothing. [`Error::Io`] ends trust; then [`Error::Untrusted`].
    pub fn cut(&mut self, after: Offset) -> Result<Option<CutTail>> {
        let shared = self.shared.clone();
        let mut mark = lock(&shared.flushing);
        let first = shared.trusted()?.first();
        if after == self.tip.last.offset {
            return Ok(None);
        }
        if after > self.tip.last.offset {
            return Err(Error::NotABoundary { after });
        }
        if after.next() < first {
            return Err(Error::Truncated { from: after.next(), first });
        }
        let boundary = self.boundary(after).map_err(|error| shared.fail_if_fatal(error))?;
        tails::check_room(&shared.disk, &shared.dir, &shared.options)?;
        self.drop_clean_mark()?;
        let tail = self.keep(&boundary).map_err(|error| shared.fail_if_fatal(error))?;
        mark.lower(after).map_err(|error| shared.fail(error))?;
        let later = self.forget(&boundary);
        self.take_away(&boundary, later).map_err(|error| shared.fail(error))?;
        shared.flush_held(&mut mark)?;
        Ok(Some(tail))
    }

    /// Says that no entry before `offset` is needed any more; [`LogFlusher::give_up_front`] does
    /// the rest. No disk access. A cut or a new beginning takes it back.
    ///
    /// [`LogFlusher::give_up_front`]: crate::LogFlusher::give_up_front
    pub fn release_before(&mut self, offset: Offset) {
        lock(&self.shared.state).released = Some(offset);
    }

    fn boundary(&self, after: Offset) -> Result<Boundary<D>> {
        let (segment, position, file) = {
            let state = lock(&self.shared.state);
            let (first, place) =
                state.places.range(..=after.next()).next_back().expect("it is kept");
            let active = state.places.last_key_value().is_some_and(|(last, _)| last == first);
            let from = place.at_or_before(after).1;
            (place.segment.clone(), from, active.then(|| state.active.clone()))
        };
        let path = &segment.path;
        let file = match file {
            Some(file) => file,
            None => Arc::new(self.shared.disk.open(path).map_err(Error::io("open", path))?),
        };
        let mut walker = Walker::new(&*file).map_err(Error::io("read", path))?;
        let mut tip = Tip::before(&segment.head);
        let mut position = position;
        // The chain at an indexed record is what that record says of the one before it.
        if position > RECORDS_AT {
            let head = walker.head(position).map_err(Error::io("read", path))?;
            let head = head.ok_or(Error::NotABoundary { after })?;
            tip.chain = head.previous;
            tip.last.offset = Offset(head.batch.first.0 - 1);
        }
        loop {
            if tip.last.offset > after {
                return Err(Error::NotABoundary { after });
            }
            let step =
                walker.step(position, &tip, segment.salt).map_err(Error::io("read", path))?;
            let Step::Record(head) = step else {
                let found = "record unreadable while cutting";
                let (path, offset) = (path.clone(), tip.last.offset.next());
                return Err(Error::Damaged { path, position, offset, flushed: after, found });
            };
            if tip.last.offset == after {
                let place = segment.head.first();
                let next_epoch = head.batch.epoch;
                return Ok(Boundary { place, file, position, tip, next_epoch });
            }
            tip = Tip::after(&head);
            position += head.stride();
        }
    }

    /// Copies what is cut from the segment of the boundary.
    fn keep(&self, boundary: &Boundary<D>) -> Result<CutTail> {
        let (path, end) = {
            let state = lock(&self.shared.state);
            let place = &state.places[&boundary.place];
            (place.segment.path.clone(), place.end)
        };
        let what = (false, boundary.next_epoch, boundary.tip.last.offset.next());
        let segment = (path.as_path(), &*boundary.file);
        tails::keep_copy(&self.shared.disk, &self.shared.dir, segment, boundary.position..end, what)
    }

    /// Hides what is cut from readers; returns the segments behind the one that is shortened.
    fn forget(&mut self, boundary: &Boundary<D>) -> Vec<Place> {
        let mut state = lock(&self.shared.state);
        state.cuts += 1;
        state.released = None;
        let next = boundary.tip.last.offset.next();
        let after = boundary.place.next();
        let later = state.places.split_off(&after);
        let place = state.places.get_mut(&boundary.place).expect("the boundary is in it");
        place.end = boundary.position;
        place.index.retain(|(first, _)| *first < next);
        while state.recent.back().is_some_and(|(first, _)| *first >= next) {
            state.recent.pop_back();
        }
        state.tip = boundary.tip;
        state.flushed = state.flushed.min(boundary.tip.last);
        state.active = boundary.file.clone();
        self.tip = boundary.tip;
        self.segment = state.places[&boundary.place].segment.clone();
        self.file = boundary.file.clone();
        self.end = boundary.position;
        later.into_values().collect()
    }

    /// Makes the cut physical, from the end downwards, and flushes what remains.
    fn take_away(&mut self, boundary: &Boundary<D>, later: Vec<Place>) -> Result<()> {
        let shared = &self.shared;
        let mut segment = (*self.segment).clone();
        for place in later.iter().rev() {
            let path = &place.segment.path;
            let file = shared.disk.open(path).map_err(Error::io("open", path))?;
            file.truncate(place.end).map_err(Error::io("shorten", path))?;
            let what = (false, boundary.next_epoch, place.segment.head.first());
            tails::keep_whole(&shared.disk, &shared.dir, path, what)?;
            tails::sync(&shared.disk, &shared.dir)?;
        }
        boundary.file.truncate(boundary.position).map_err(Error::io("shorten", &segment.path))?;
        // Without room the segment stays short, and the next one begins sooner.
        let _ = boundary.file.allocate(shared.options.segment_bytes);
        boundary.file.sync().map_err(Error::io("flush", &segment.path))?;
        segment.bytes = boundary.file.bytes().map_err(Error::io("read", &segment.path))?;
        self.segment = Arc::new(segment);
        lock(&shared.state).places.get_mut(&boundary.place).expect("it was kept").segment =
            self.segment.clone();
        Ok(())
    }
}
