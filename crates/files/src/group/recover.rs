//! Opens a log: reads all of it, judges what cannot be read, makes the rest durable.

use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, Result};
use crate::group::flushmark::FlushMark;
use crate::group::marks::{self, MarkFile, Marks};
use crate::group::record::RecordHead;
use crate::group::segment::{
    self, RECORDS_AT, Segment, SegmentHead, begin, first_of, make_spare, read_head,
};
use crate::group::shared::{Place, Shared, State};
use crate::group::tear::{self, Tear};
use crate::group::walk::{Step, Tip, Walker};
use crate::group::{
    LogFlusher, LogOptions, LogReader, LogWriter, Opened, Recovered, restart, tails,
};
use cairn_logic::ids::{EntryId, Epoch, Offset};
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Where a log is and what it should be.
pub(crate) struct Site<'a, D> {
    pub disk: &'a D,
    pub dir: &'a Path,
    pub options: &'a LogOptions,
}

/// The files of a log's folder.
#[derive(Default)]
pub(crate) struct Names {
    pub segments: Vec<Offset>,
    pub spares: Vec<String>,
    /// First segments of a log that was to begin anew.
    pub begins: Vec<Offset>,
}

/// A log as far as it could be read.
pub(crate) struct Found {
    pub places: Vec<Place>,
    pub tip: Tip,
    pub before: EntryId,
    pub epochs: Vec<(Epoch, Offset)>,
    pub flushed: Offset,
    pub tear: Option<Tear>,
}

pub(crate) fn open<D: Disk>(disk: &D, dir: &Path, options: &LogOptions) -> Result<Opened<D>> {
    let group_bytes = options.group.as_str().len();
    if !(1..=segment::GROUP_BYTES_MAX).contains(&group_bytes) {
        let limit_bytes = segment::GROUP_BYTES_MAX as u64;
        return Err(Error::Size { what: "group id", bytes: group_bytes as u64, limit_bytes });
    }
    let segment_bytes = options.segment_bytes.max(segment::BYTES_MIN);
    let options = &LogOptions { segment_bytes, ..options.clone() };
    let site = &Site { disk, dir, options };
    for folder in [dir.to_owned(), tails::folder(dir)] {
        disk.create_dir(&folder).map_err(Error::io("make folder", &folder))?;
    }
    let known = MarkFile::open_if_made(disk, dir)?;
    let is_new = known.is_none();
    let mut marks = match known {
        Some(marks) => marks,
        None => make(site)?,
    };
    let marks_found = marks.now;
    let mut names = site.names()?;
    if !names.begins.is_empty() {
        restart::settle(disk, dir, &names.begins, marks.now.first)?;
        names = site.names()?;
    }
    let gone: Vec<_> =
        names.segments.iter().copied().filter(|first| *first < marks.now.first).collect();
    names.segments.retain(|first| *first >= marks.now.first);
    let mut mark = FlushMark::open(disk, dir)?;
    let mut found = scan(site, &names, &marks.now, is_new)?;
    tear::judge(&mut found, marks.now.clean.unwrap_or_default().offset.max(mark.now()))?;
    // From here on the log is known to be sound, and things are changed.
    for first in gone {
        site.remove(&segment::name_of(first))?;
    }
    for name in &names.spares {
        // It may have been in use when the power failed, and hold records that we would make
        // valid by giving it the same header again.
        site.remove(name)?;
    }
    let torn = tear::cut(site, &mut found, &mut marks)?;
    let clean = marks_found.clean == Some(found.tip.last) && !marks_found.untrusted;
    // What was just made was flushed.
    if (!clean && !is_new) || torn.is_some() {
        settle(site, &found)?;
        mark.note(found.tip.last.offset)?;
    }
    let recovered = Recovered {
        last: found.tip.last,
        before: found.before,
        epochs: std::mem::take(&mut found.epochs),
        flushed: found.flushed,
        clean: marks_found.clean,
        torn,
        untrusted: marks_found.untrusted,
        bytes: found.places.iter().map(|place| place.end).sum(),
    };
    let shared = share(site, found, marks, mark)?;
    // Not being able to reserve harms nothing yet; `space` tells, and `append` tries again.
    let _ = shared.make_ready();
    Ok(handles(shared, recovered))
}

fn handles<D: Disk>(shared: Arc<Shared<D>>, recovered: Recovered) -> Opened<D> {
    let (tip, place, file) = {
        let state = crate::lock(&shared.state);
        let place = state.places.last_key_value().expect("a log has a segment").1;
        (state.tip, (place.segment.clone(), place.end), state.active.clone())
    };
    let (segment, end) = place;
    let flusher = LogFlusher { shared: shared.clone() };
    let reader = LogReader { shared: shared.clone() };
    let marked_clean = recovered.clean.is_some();
    let writer = LogWriter { shared, tip, segment, file, end, marked_clean };
    (writer, flusher, reader, recovered)
}

/// Makes a blank log; it is one when its marks are there.
fn make<D: Disk>(site: &Site<'_, D>) -> Result<MarkFile<D>> {
    let Site { disk, dir, options } = *site;
    let names = site.names()?;
    for first in names.segments {
        // Left by a creation that was interrupted, if there is no record in it.
        let path = dir.join(segment::name_of(first));
        let file = disk.open(&path).map_err(Error::io("open", &path))?;
        let mut walker = Walker::new(&file).map_err(Error::io("read", &path))?;
        if let Some((head, salt)) = read_head(&file, &path)? {
            let behind = walker.behind(RECORDS_AT, head.first(), salt);
            if behind.map_err(Error::io("read", &path))?.records > 0 {
                let because = "the log has entries";
                return Err(Error::Missing { path: dir.join(marks::NAME), because });
            }
        }
        site.remove(&segment::name_of(first))?;
    }
    for name in &names.spares {
        site.remove(name)?;
    }
    let spare = make_spare(disk, dir, 1, options.segment_bytes)?;
    let head = SegmentHead {
        owner: options.owner(),
        number: spare.number,
        before: EntryId::ZERO,
        seed: 0,
        flushed: Offset::ZERO,
    };
    let (segment, file) = begin(disk, dir, spare, head)?;
    file.sync().map_err(Error::io("flush", &segment.path))?;
    FlushMark::make(disk, dir)?;
    disk.sync_dir(dir).map_err(Error::io("flush folder", dir))?;
    let marks = Marks { first: Offset(1), clean: None, untrusted: false };
    MarkFile::create(disk, dir, marks)
}

impl<D: Disk> Site<'_, D> {
    fn names(&self) -> Result<Names> {
        let listed = self.disk.list(self.dir).map_err(Error::io("list", self.dir))?;
        let mut names = Names::default();
        for file in listed {
            if let Some(first) = first_of(&file.name) {
                names.segments.push(first);
            } else if let Some(first) = restart::begin_of(&file.name) {
                names.begins.push(first);
            } else if segment::is_spare(&file.name) {
                names.spares.push(file.name);
            }
        }
        names.segments.sort();
        Ok(names)
    }

    fn remove(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        self.disk.remove(&path).map_err(Error::io("remove", &path))
    }
}

/// Reads the log until its end or to where it cannot be read; one that was just made has nothing
/// behind that.
fn scan<D: Disk>(site: &Site<'_, D>, names: &Names, marks: &Marks, is_new: bool) -> Result<Found> {
    let first_path = site.dir.join(segment::name_of(marks.first));
    if names.segments.first() != Some(&marks.first) {
        return Err(Error::Missing { path: first_path, because: "the log begins there" });
    }
    let mut found: Option<Found> = None;
    let mut stopped: &'static str = "entries are missing";
    for (index, first) in names.segments.iter().enumerate() {
        let path = site.dir.join(segment::name_of(*first));
        let file = site.disk.open(&path).map_err(Error::io("open", &path))?;
        let head = read_head(&file, &path)?;
        if let Some((head, _)) = &head {
            head.check_owner(&site.options.owner(), &path)?;
        }
        let head = head.filter(|(head, _)| head.first() == *first);
        let (head, salt) = match (head, &mut found) {
            (None, None) => {
                let (position, offset) = (0, marks.first);
                let flushed = offset.max(marks.clean.unwrap_or_default().offset);
                let found = "segment header unreadable";
                return Err(Error::Damaged { path, position, offset, flushed, found });
            }
            (Some((head, salt)), None) => (head, salt),
            (Some((head, salt)), Some(found)) if Tip::before(&head) == found.tip => (head, salt),
            (_, Some(found)) => {
                found.tear = Some(Tear::new(stopped, &names.segments[index..]));
                break;
            }
        };
        let log = found.get_or_insert_with(|| Found {
            places: Vec::new(),
            tip: Tip::before(&head),
            before: head.before,
            epochs: Vec::new(),
            flushed: head.flushed,
            tear: None,
        });
        let bytes = file.bytes().map_err(Error::io("read", &path))?;
        log.flushed = log.flushed.max(head.flushed);
        log.places.push(Place::new(Segment { path: path.clone(), head, salt, bytes }));
        let mut walker = Walker::new(&file).map_err(Error::io("read", &path))?;
        stopped = match log.walk(&mut walker).map_err(Error::io("read", &path))? {
            Step::Bad(why) => why,
            _ => "entries are missing",
        };
        if index + 1 == names.segments.len() && !is_new {
            log.look_behind(&mut walker, stopped, marks).map_err(Error::io("read", &path))?;
        }
    }
    let mut found = found.expect("the first segment is there");
    if found.tear.is_some() {
        tear::search(site, &mut found)?;
    }
    Ok(found)
}

impl Found {
    /// Reads on in the last place; returns what stopped it.
    fn walk<F: DiskFile>(&mut self, walker: &mut Walker<'_, F>) -> std::io::Result<Step> {
        let place = self.places.last_mut().expect("a place was pushed");
        loop {
            match walker.step(place.end, &self.tip, place.segment.salt)? {
                Step::Record(head) => {
                    place.push(head.batch.first, head.stride());
                    self.tip = Tip::after(&head);
                    note(&mut self.epochs, &head);
                    self.flushed = self.flushed.max(head.flushed);
                }
                other => return Ok(other),
            }
        }
    }

    /// Whether the last segment ends here, or is torn.
    fn look_behind<F: DiskFile>(
        &mut self,
        walker: &mut Walker<'_, F>,
        stopped: &'static str,
        marks: &Marks,
    ) -> std::io::Result<()> {
        let place = self.places.last().expect("a place was pushed");
        let blank = !matches!(walker.step(place.end, &self.tip, place.segment.salt)?, Step::Bad(_));
        if blank && marks.clean == Some(self.tip.last) {
            return Ok(());
        }
        let expected = self.tip.last.offset.next();
        let behind = walker.behind(place.end, expected, place.segment.salt)?;
        if !blank || behind.records > 0 {
            self.tear = Some(Tear::new(stopped, &[]));
        }
        Ok(())
    }
}

fn note(epochs: &mut Vec<(Epoch, Offset)>, head: &RecordHead) {
    if epochs.last().is_none_or(|(epoch, _)| *epoch != head.batch.epoch) {
        epochs.push((head.batch.epoch, head.batch.first));
    }
}

/// Writes again and flushes what may be in the page cache only.
///
/// After a flush that failed, the kernel takes pages for clean that never reached the disk;
/// writing the same bytes again makes the next flush a true one.
fn settle<D: Disk>(site: &Site<'_, D>, found: &Found) -> Result<()> {
    const CHUNK_BYTES: u64 = 1 << 20;
    let unknown = found.flushed.next();
    for (index, place) in found.places.iter().enumerate() {
        let segment = &place.segment;
        let next = found.places.get(index + 1).map(|next| next.segment.head.first());
        if next.is_some_and(|next| next <= unknown) {
            continue;
        }
        let whole = segment.head.first() >= unknown;
        let from = if whole { 0 } else { place.at_or_before(unknown).1 };
        let path = &segment.path;
        let file = site.disk.open(path).map_err(Error::io("open", path))?;
        let mut position = from;
        while position < place.end {
            let now = CHUNK_BYTES.min(place.end - position);
            let same = read_up_to(&file, position, now).map_err(Error::io("read", path))?;
            file.write_at(&mut [IoSlice::new(&same)], position)
                .map_err(Error::io("write", path))?;
            position += now;
        }
        file.sync().map_err(Error::io("flush", path))?;
    }
    site.disk.sync_dir(site.dir).map_err(Error::io("flush folder", site.dir))
}

fn share<D: Disk>(
    site: &Site<'_, D>,
    found: Found,
    marks: MarkFile<D>,
    mark: FlushMark<D>,
) -> Result<Arc<Shared<D>>> {
    let Found { mut places, tip, .. } = found;
    let newest = places.iter().map(|place| place.segment.head.number).max().unwrap_or(0);
    let last = places.last_mut().expect("a log has a segment");
    let path = last.segment.path.clone();
    let file = site.disk.open(&path).map_err(Error::io("open", &path))?;
    // Without room the segment stays as short as it is, and the next one begins sooner.
    let _ = file.allocate(site.options.segment_bytes);
    let mut segment = (*last.segment).clone();
    segment.bytes = file.bytes().map_err(Error::io("read", &path))?;
    last.segment = Arc::new(segment);
    let places: BTreeMap<_, _> =
        places.into_iter().map(|place| (place.segment.head.first(), place)).collect();
    let state = State {
        places,
        recent: VecDeque::new(),
        tip,
        flushed: tip.last,
        cuts: 0,
        released: None,
        active: Arc::new(file),
        dirty: Vec::new(),
        names_changed: false,
        spare: None,
        next_number: newest + 1,
        open: VecDeque::new(),
        untrusted: false,
    };
    Ok(Arc::new(Shared {
        disk: site.disk.clone(),
        dir: site.dir.to_owned(),
        options: site.options.clone(),
        state: Mutex::new(state),
        flushing: Mutex::new(mark),
        marks: Mutex::new(marks),
    }))
}
