//! What cannot be read at the end of a log: a tail to be cut, or damage that stops the node.
//!
//! After a power cut pages are missing in any order, so whole records may stand behind a hole.
//! Each record says how far the log was flushed when it was written: if any of them, before or
//! behind the hole, says that the missing entry was flushed, it is damage, else a tail.

use crate::disk::{Disk, DiskFile};
use crate::error::{Error, Result};
use crate::group::Torn;
use crate::group::marks::MarkFile;
use crate::group::recover::{Found, Site};
use crate::group::segment::{RECORDS_AT, name_of, read_head};
use crate::group::tails;
use crate::group::walk::{Behind, Walker};
use cairn_logic::ids::Offset;

/// Where the chain is broken: at the end of the last place that was found.
pub(crate) struct Tear {
    why: &'static str,
    /// Segments behind it.
    later: Vec<Offset>,
    /// Whole records behind it in the same segment.
    here: Behind,
    /// Whole records in later segments.
    there: Behind,
    /// What the record there claims to occupy.
    claimed_bytes: u64,
}

impl Tear {
    pub fn new(why: &'static str, later: &[Offset]) -> Self {
        let none = Behind::default();
        Self { why, later: later.to_vec(), here: none, there: none, claimed_bytes: 0 }
    }
}

/// Finds what stands behind the tear.
pub(crate) fn search<D: Disk>(site: &Site<'_, D>, found: &mut Found) -> Result<()> {
    let expected = found.tip.last.offset.next();
    let Some(tear) = &mut found.tear else { return Ok(()) };
    let place = found.places.last().expect("a log has a segment");
    let path = &place.segment.path;
    let file = site.disk.open(path).map_err(Error::io("open", path))?;
    let mut walker = Walker::new(&file).map_err(Error::io("read", path))?;
    let behind = walker.behind(place.end, expected, place.segment.salt);
    tear.here = behind.map_err(Error::io("read", path))?;
    tear.claimed_bytes = walker.claimed_bytes(place.end).map_err(Error::io("read", path))?;
    for first in &tear.later {
        let path = site.dir.join(name_of(*first));
        let file = site.disk.open(&path).map_err(Error::io("open", &path))?;
        // A recycled file whose new header was lost still has an older one, of another name.
        let head = read_head(&file, &path)?.filter(|(head, _)| head.first() == *first);
        let Some((head, salt)) = head else { continue };
        head.check_owner(&site.options.owner(), &path)?;
        let mut walker = Walker::new(&file).map_err(Error::io("read", &path))?;
        let behind = walker.behind(RECORDS_AT, Offset(1), salt);
        let behind = behind.map_err(Error::io("read", &path))?;
        tear.there.records += behind.records;
        tear.there.flushed = tear.there.flushed.max(behind.flushed).max(head.flushed);
    }
    Ok(())
}

/// Damage if anything says that the first missing entry was flushed.
///
/// `marked` is what the marks beside the log say.
pub(crate) fn judge(found: &mut Found, marked: Offset) -> Result<()> {
    let expected = found.tip.last.offset.next();
    let mut flushed = found.flushed.max(marked);
    let mut why = "the log ends here";
    if let Some(tear) = &found.tear {
        flushed = flushed.max(tear.here.flushed).max(tear.there.flushed);
        why = tear.why;
    }
    if flushed >= expected {
        let place = found.places.last().expect("a log has a segment");
        return Err(Error::Damaged {
            path: place.segment.path.clone(),
            position: place.end,
            offset: expected,
            flushed,
            found: why,
        });
    }
    found.flushed = flushed;
    Ok(())
}

/// Cuts the tail: kept aside first, then gone from the log, durably.
pub(crate) fn cut<D: Disk>(
    site: &Site<'_, D>,
    found: &mut Found,
    marks: &mut MarkFile<D>,
) -> Result<Option<Torn>> {
    let Some(tear) = found.tear.take() else { return Ok(None) };
    let Site { disk, dir, options } = *site;
    tails::check_room(disk, dir, options)?;
    let records_behind = tear.here.records + tear.there.records;
    if records_behind > 0 {
        // Pages were lost. Remembered until the vote has taken note, also if we die here.
        marks.set(|marks| marks.untrusted = true)?;
    }
    let place = found.places.last().expect("a log has a segment");
    let path = &place.segment.path;
    let file = disk.open(path).map_err(Error::io("open", path))?;
    let first = found.tip.last.offset.next();
    let epoch = found.tip.last.epoch;
    let end = tear.here.end.max(place.end + tear.claimed_bytes);
    let mut torn = Torn { first, bytes: end - place.end, records_behind, kept: Vec::new() };
    if end > place.end {
        let range = place.end..end;
        let kept = tails::keep_copy(disk, dir, (path, &file), range, (true, epoch, first))?;
        torn.kept.push(kept.path);
    }
    for first in tear.later.iter().rev() {
        let path = dir.join(name_of(*first));
        torn.kept.push(tails::keep_whole(disk, dir, &path, (true, epoch, *first))?);
    }
    tails::sync(disk, dir)?;
    file.truncate(place.end).map_err(Error::io("shorten", path))?;
    // Without room the segment stays short, and the next one begins sooner.
    let _ = file.allocate(options.segment_bytes);
    file.sync().map_err(Error::io("flush", path))?;
    Ok(Some(torn))
}
