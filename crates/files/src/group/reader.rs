//! Reads the log, also while it is written.

use crate::disk::real::RealDisk;
use crate::disk::{Disk, read_up_to};
use crate::error::{Error, Result};
use crate::group::record::{self, HEAD_BYTES, RecordHead};
use crate::group::shared::{INDEX_BYTES, Place, Shared, Spot};
use crate::lock;
use bytes::Bytes;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, Offset};
use std::sync::Arc;

/// How often a read starts again because entries were cut under it.
const TRIES_MAX: u32 = 16;

/// Reads a log from any thread; sees everything that was appended, flushed or not.
#[derive(Debug)]
pub struct LogReader<D: Disk = RealDisk> {
    pub(crate) shared: Arc<Shared<D>>,
}

impl<D: Disk> Clone for LogReader<D> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

/// A read in progress.
struct Reading {
    from: Offset,
    left: usize,
    chain: Option<u32>,
    batches: Vec<Batch>,
    done: bool,
}

impl<D: Disk> LogReader<D> {
    /// Whole batches in order, the first being the one that contains `from`.
    ///
    /// Bodies together have at most `max_bytes`, except that one batch is always given if there
    /// is one; none if the log ends before `from`. `from` 0 is the same as 1.
    ///
    /// # Errors
    /// [`Error::Truncated`] if `from` is no longer kept. [`Error::Damaged`] if what was written
    /// does not come back; [`Error::Io`].
    pub fn read(&self, from: Offset, max_bytes: usize) -> Result<Vec<Batch>> {
        let from = from.max(Offset(1));
        let mut tries = 0;
        loop {
            let (cuts, first) = {
                let state = lock(&self.shared.state);
                (state.cuts, state.first())
            };
            if from < first {
                return Err(Error::Truncated { from, first });
            }
            tries += 1;
            match self.read_once(from, max_bytes) {
                Err(_) if lock(&self.shared.state).cuts != cuts && tries < TRIES_MAX => {}
                result => return result,
            }
        }
    }

    /// The last entry that was appended.
    #[must_use]
    pub fn last(&self) -> EntryId {
        lock(&self.shared.state).tip.last
    }

    /// The first entry that is kept, or would be.
    #[must_use]
    pub fn first(&self) -> Offset {
        lock(&self.shared.state).first()
    }

    /// The entry before the first that is kept.
    #[must_use]
    pub fn before(&self) -> EntryId {
        let state = lock(&self.shared.state);
        let (_, place) = state.places.first_key_value().expect("a log has a segment");
        place.segment.head.before
    }

    /// About how many bytes the entries after `offset` take.
    #[must_use]
    pub fn bytes_after(&self, offset: Offset) -> u64 {
        let state = lock(&self.shared.state);
        let later = |(first, place): (&Offset, &Place)| {
            let from = if *first > offset { 0 } else { place.at_or_before(offset).1 };
            place.end.saturating_sub(from)
        };
        let holds = state.places.range(..=offset).next_back().map(|(first, _)| *first);
        state.places.range(holds.unwrap_or(Offset::ZERO)..).map(later).sum()
    }

    /// The entry up to which the front can be given up, at most `up_to`, so that what stays has
    /// `bytes` at least; [`LogReader::before`] if nothing can. Only whole segments go.
    #[must_use]
    pub fn front_to_spare(&self, up_to: Offset, bytes: u64) -> EntryId {
        let state = lock(&self.shared.state);
        let mut stays = 0;
        for place in state.places.values().rev() {
            stays += place.end;
            if stays >= bytes && place.segment.head.before.offset <= up_to {
                return place.segment.head.before;
            }
        }
        let (_, place) = state.places.first_key_value().expect("a log has a segment");
        place.segment.head.before
    }

    fn read_once(&self, from: Offset, max_bytes: usize) -> Result<Vec<Batch>> {
        let batches = Vec::new();
        let mut reading = Reading { from, left: max_bytes, chain: None, batches, done: false };
        let mut next = from;
        while !reading.done {
            let Some(spot) = lock(&self.shared.state).locate(next) else { break };
            let file = self.file(&spot)?;
            reading.segment(&*file, &spot)?;
            let after = reading.batches.last().map_or(next, |last| last.head.last_offset().next());
            if after == next && !reading.done {
                return Err(damaged(&spot, spot.position, next, "entry is not where it should be"));
            }
            next = after;
        }
        Ok(reading.batches)
    }

    fn file(&self, spot: &Spot<D>) -> Result<Arc<D::File>> {
        if let Some(file) = &spot.file {
            return Ok(file.clone());
        }
        let path = &spot.segment.path;
        let file = Arc::new(self.shared.disk.open(path).map_err(Error::io("open", path))?);
        lock(&self.shared.state).remember(spot.segment.head.number, file.clone());
        Ok(file)
    }
}

fn damaged<D: Disk>(spot: &Spot<D>, position: u64, offset: Offset, found: &'static str) -> Error {
    let path = spot.segment.path.clone();
    Error::Damaged { path, position, offset, flushed: offset, found }
}

impl Reading {
    /// Takes what is wanted from one segment.
    fn segment<D: Disk>(&mut self, file: &D::File, spot: &Spot<D>) -> Result<()> {
        let path = &spot.segment.path;
        let mut position = spot.position;
        // Without an exact place, records before the wanted one come first.
        let skipped = if spot.exact { 0 } else { INDEX_BYTES };
        let mut needed = HEAD_BYTES as u64;
        while position < spot.end && !self.done {
            let wanted = (self.left as u64).saturating_add(skipped + HEAD_BYTES as u64);
            let bytes = wanted.max(needed).min(spot.end - position);
            let chunk = read_up_to(file, position, bytes).map_err(Error::io("read", path))?;
            let chunk = Bytes::from(chunk);
            let used = self
                .chunk(&chunk, spot.segment.salt)
                .map_err(|(at, found)| damaged(spot, position + at as u64, self.from, found))?;
            if used == 0 && !self.done {
                let head = RecordHead::parse(&chunk);
                let head = head.filter(|head| head.stride() > chunk.len() as u64);
                let Some(head) = head.filter(|head| head.stride() <= spot.end - position) else {
                    return Err(damaged(spot, position, self.from, "no record header"));
                };
                needed = head.stride();
            }
            position += used as u64;
        }
        Ok(())
    }

    /// Takes what is wanted from a piece of a segment; returns how much of it is done with.
    fn chunk(
        &mut self,
        chunk: &Bytes,
        salt: u32,
    ) -> std::result::Result<usize, (usize, &'static str)> {
        let mut at = 0;
        while !self.done {
            let rest = chunk.get(at..).unwrap_or_default();
            if rest.len() < HEAD_BYTES {
                break;
            }
            let Some(head) = RecordHead::parse(rest) else { return Err((at, "no record header")) };
            if (rest.len() as u64) < head.stride() {
                break;
            }
            if !head.is_whole(rest, salt) {
                return Err((at, "checksum mismatch"));
            }
            if self.chain.is_some_and(|chain| chain != head.previous) {
                return Err((at, "checksum chain broken"));
            }
            if head.batch.last_offset() >= self.from {
                let batch = record::batch_at(chunk, at, &head);
                if !self.batches.is_empty() && batch.body.len() > self.left {
                    self.done = true;
                    break;
                }
                self.left = self.left.saturating_sub(batch.body.len());
                self.done = self.left == 0;
                self.batches.push(batch);
            }
            self.chain = Some(head.crc);
            at += usize::try_from(head.stride()).expect("batches are small");
        }
        Ok(at)
    }
}
