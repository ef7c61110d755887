//! Begins a log anew after an entry whose state came in a snapshot.
//!
//! The first segment of the new log is made beside the old one under a name of its own, durably.
//! Then the marks say in one write that the log begins where it does: from there on that segment
//! is the log, and the next open gives it its proper name if this process did not.

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::group::segment::{self, RECORDS_AT, Segment, SegmentHead, Spare, name_of};
use crate::group::shared::Place;
use crate::group::tails::CutTail;
use crate::group::walk::Tip;
use crate::group::writer::LogWriter;
use crate::lock;
use cairn_logic::ids::{EntryId, Offset};
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

const PREFIX: &str = "begin-";

/// The name of a segment with which a log begins anew at `first`.
fn begin_name_of(first: Offset) -> String {
    format!("{PREFIX}{}", name_of(first))
}

/// The first offset in a name of [`begin_name_of`].
pub(crate) fn begin_of(name: &str) -> Option<Offset> {
    segment::first_of(name.strip_prefix(PREFIX)?)
}

impl<D: Disk> LogWriter<D> {
    /// Empties the log and lets it begin after `entry`, whose state is in a durable snapshot.
    ///
    /// Entries above `keep_above` or above `entry` are kept aside first, as [`LogWriter::cut`]
    /// does; those below go. A crash in the middle leaves the old log, perhaps cut already, or the
    /// new one. Durable when this returns; then `entry` is the last entry, and the tail that was
    /// kept aside is given back.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the log begins behind `entry` already; [`Error::TailsFull`],
    /// [`Error::Full`]: the log is as it was, or cut. [`Error::Io`] ends trust; then
    /// [`Error::Untrusted`].
    pub fn restart_after(&mut self, entry: EntryId, keep_above: Offset) -> Result<Option<CutTail>> {
        let shared = self.shared.clone();
        let first = shared.trusted()?.first();
        let next = entry.offset.next();
        if next < first {
            return Err(Error::Truncated { from: next, first });
        }
        let before = Offset(first.0 - 1);
        let above = keep_above.min(entry.offset).max(before);
        let tail = self.cut(self.batch_end(above)?)?;
        if self.tip.last == entry && first == next {
            return Ok(tail);
        }
        let mut mark = lock(&shared.flushing);
        let place = self.make_first(entry)?;
        let set = lock(&shared.marks).set(|marks| {
            marks.first = next;
            marks.clean = None;
        });
        set.map_err(|error| shared.fail(error))?;
        self.marked_clean = false;
        let gone = self.use_first(entry, place).map_err(|error| shared.fail(error))?;
        for place in gone {
            shared.recycle(&place).map_err(|error| shared.fail(error))?;
        }
        let synced = shared.disk.sync_dir(&shared.dir);
        synced.map_err(Error::io("flush folder", &shared.dir)).map_err(|e| shared.fail(e))?;
        mark.note(entry.offset).map_err(|error| shared.fail(error))?;
        Ok(tail)
    }

    /// The newest end of a batch at or before `offset`, which is not before the log's beginning.
    fn batch_end(&self, offset: Offset) -> Result<Offset> {
        if offset >= self.tip.last.offset || offset.next() == lock(&self.shared.state).first() {
            return Ok(offset.min(self.tip.last.offset));
        }
        let found = self.reader().read(offset, 1).map_err(|e| self.shared.fail_if_fatal(e))?;
        let head = &found.first().ok_or(Error::NotABoundary { after: offset })?.head;
        let whole = head.last_offset() == offset;
        Ok(if whole { offset } else { Offset(head.first.0 - 1) })
    }

    /// Makes the first segment of the new log, durably, under a name that is not yet a segment's.
    fn make_first(&self, entry: EntryId) -> Result<(Segment, D::File)> {
        let shared = &self.shared;
        let (spare, number) = {
            let mut state = lock(&shared.state);
            state.next_number += 1;
            (state.spare.take(), state.next_number - 1)
        };
        let spare = match spare {
            Some(spare) => spare,
            None => {
                let bytes = shared.options.segment_bytes;
                segment::make_spare(&shared.disk, &shared.dir, number, bytes)?
            }
        };
        let head = SegmentHead {
            owner: shared.options.owner(),
            number: spare.number,
            before: entry,
            seed: 0,
            flushed: entry.offset,
        };
        name_first(&shared.disk, &shared.dir, spare, head).map_err(|error| shared.fail(error))
    }

    /// Goes on in the new log; returns the segments of the old one. Readers are told first, so
    /// that none takes what changes under it for damage.
    fn use_first(&mut self, entry: EntryId, made: (Segment, D::File)) -> Result<Vec<Place>> {
        let shared = self.shared.clone();
        let (mut segment, file) = made;
        let first = entry.offset.next();
        let (from, to) = (segment.path.clone(), shared.dir.join(name_of(first)));
        segment.path = to.clone();
        let place = Place::new(segment);
        (self.segment, self.file, self.end) = (place.segment.clone(), Arc::new(file), RECORDS_AT);
        self.tip = Tip { last: entry, chain: 0 };
        let mut gone = {
            let mut state = lock(&shared.state);
            state.cuts += 1;
            state.released = None;
            state.recent.clear();
            state.tip = self.tip;
            state.flushed = entry;
            state.active = self.file.clone();
            state.dirty.clear();
            state.open.clear();
            state.names_changed = false;
            std::mem::replace(&mut state.places, [(first, place)].into())
        };
        // An empty one of the same name is replaced.
        gone.remove(&first);
        shared.disk.rename(&from, &to).map_err(Error::io("rename", &from))?;
        Ok(gone.into_values().collect())
    }
}

fn name_first<D: Disk>(
    disk: &D,
    dir: &Path,
    spare: Spare<D::File>,
    head: SegmentHead,
) -> Result<(Segment, D::File)> {
    let (page, salt) = segment::first_page(&head);
    let (from, file) = (&spare.path, spare.file);
    file.write_at(&mut [IoSlice::new(&page)], 0).map_err(Error::io("write", from))?;
    file.sync().map_err(Error::io("flush", from))?;
    let path = dir.join(begin_name_of(head.first()));
    disk.rename(from, &path).map_err(Error::io("rename", from))?;
    disk.sync_dir(dir).map_err(Error::io("flush folder", dir))?;
    Ok((Segment { path, head, salt, bytes: spare.bytes }, file))
}

/// Finishes what [`LogWriter::restart_after`] began if the marks say that the log begins at
/// `first`, and undoes it if not; `begins` are the segments found under names of their own.
/// Durable: a segment that stayed might later be taken
/// for the beginning of a log that was cut at the front by then.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn settle<D: Disk>(
    disk: &D,
    dir: &Path,
    begins: &[Offset],
    first: Offset,
) -> Result<()> {
    for begin in begins {
        let from = dir.join(begin_name_of(*begin));
        if *begin == first {
            disk.rename(&from, &dir.join(name_of(first))).map_err(Error::io("rename", &from))?;
        } else {
            disk.remove(&from).map_err(Error::io("remove", &from))?;
        }
    }
    if begins.is_empty() {
        return Ok(());
    }
    disk.sync_dir(dir).map_err(Error::io("flush folder", dir))
}
