//! What was cut from a log is kept aside until a person removes it.
//!
//! Each file is a segment: the first page of the one it came from, then the records that were
//! cut. `cut-…` is what another master's entries replaced; `torn-…` is what a crash left behind
//! unreadable. The name goes on with the epoch before it and its first offset.

use crate::disk::{Disk, DiskFile, read_up_to};
use crate::error::{Error, Result};
use crate::group::LogOptions;
use crate::group::segment::{RECORDS_AT, read_head};
use crate::group::walk::Walker;
use cairn_logic::batch::Batch;
use cairn_logic::ids::{Epoch, Offset};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

/// A stretch of log that was cut and is kept aside.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CutTail {
    /// The file.
    pub path: PathBuf,
    /// Whether a crash tore it; otherwise it was cut in favour of another master's entries.
    pub torn: bool,
    /// The epoch of its first entry, or, of a torn one, of the last entry before it.
    pub epoch: Epoch,
    /// The offset of its first entry.
    pub first: Offset,
    /// How much disk it takes.
    pub bytes: u64,
}

/// The folder of the tails of the log in `dir`.
pub(crate) fn folder(dir: &Path) -> PathBuf {
    dir.join("tails")
}

/// What is kept aside for the log in `dir`, oldest name first.
pub(crate) fn list<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<CutTail>> {
    let folder = folder(dir);
    let listed = match disk.list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("list", &folder))?,
    };
    let parse = |name: &str| -> Option<(bool, Epoch, Offset)> {
        let mut parts = name.split('-');
        let torn = match parts.next()? {
            "cut" => false,
            "torn" => true,
            _ => return None,
        };
        let epoch = parts.next()?.parse().ok()?;
        Some((torn, Epoch(epoch), Offset(parts.next()?.parse().ok()?)))
    };
    let known = listed.into_iter().filter_map(|file| {
        let (torn, epoch, first) = parse(&file.name)?;
        Some(CutTail { path: folder.join(file.name), torn, epoch, first, bytes: file.bytes })
    });
    Ok(known.collect())
}

/// The records of a tail that can be read, in order.
pub(crate) fn read<D: Disk>(disk: &D, path: &Path) -> Result<Vec<Batch>> {
    let file = disk.open(path).map_err(Error::io("open", path))?;
    let Some((_, salt)) = read_head(&file, path)? else { return Ok(Vec::new()) };
    let mut walker = Walker::new(&file).map_err(Error::io("read", path))?;
    walker.batches(RECORDS_AT, salt).map_err(Error::io("read", path))
}

/// Whether another tail may be kept.
pub(crate) fn check_room<D: Disk>(disk: &D, dir: &Path, options: &LogOptions) -> Result<()> {
    let kept = list(disk, dir)?;
    let files = kept.len() as u64;
    let bytes = kept.iter().map(|tail| tail.bytes).sum();
    if files >= options.tails_max || bytes >= options.tails_bytes_max {
        return Err(Error::TailsFull { path: folder(dir), files, bytes });
    }
    Ok(())
}

fn free_name<D: Disk>(disk: &D, dir: &Path, torn: bool, epoch: Epoch, first: Offset) -> PathBuf {
    let kind = if torn { "torn" } else { "cut" };
    let folder = folder(dir);
    let mut path = folder.join(format!("{kind}-{epoch}-{first}"));
    let mut again = 2;
    while disk.open(&path).is_ok() {
        path = folder.join(format!("{kind}-{epoch}-{first}-{again}"));
        again += 1;
    }
    path
}

/// Copies the first page and bytes `from..to` of a segment; durable when this returns.
pub(crate) fn keep_copy<D: Disk>(
    disk: &D,
    dir: &Path,
    segment: (&Path, &D::File),
    range: std::ops::Range<u64>,
    (torn, epoch, first): (bool, Epoch, Offset),
) -> Result<CutTail> {
    const CHUNK_BYTES: u64 = 1 << 20;
    let (path, file) = segment;
    let folder = folder(dir);
    let unfinished = folder.join("unfinished");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &unfinished)(error));
        }
        _ => {}
    }
    let bytes = RECORDS_AT + (range.end - range.start);
    let copy = disk.create(&unfinished).map_err(Error::room(&unfinished, bytes))?;
    copy.allocate(bytes).map_err(Error::room(&unfinished, bytes))?;
    let write = |from: u64, bytes: u64, to: u64| -> Result<()> {
        let content = read_up_to(file, from, bytes).map_err(Error::io("read", path))?;
        copy.write_at(&mut [IoSlice::new(&content)], to).map_err(Error::io("write", &unfinished))
    };
    write(0, RECORDS_AT, 0)?;
    let mut from = range.start;
    while from < range.end {
        let now = CHUNK_BYTES.min(range.end - from);
        write(from, now, RECORDS_AT + (from - range.start))?;
        from += now;
    }
    copy.sync().map_err(Error::io("flush", &unfinished))?;
    let kept = free_name(disk, dir, torn, epoch, first);
    disk.rename(&unfinished, &kept).map_err(Error::io("rename", &unfinished))?;
    disk.sync_dir(&folder).map_err(Error::io("flush folder", &folder))?;
    Ok(CutTail { path: kept, torn, epoch, first, bytes })
}

/// Moves a whole segment aside; durable after a flush of both folders.
pub(crate) fn keep_whole<D: Disk>(
    disk: &D,
    dir: &Path,
    path: &Path,
    (torn, epoch, first): (bool, Epoch, Offset),
) -> Result<PathBuf> {
    let kept = free_name(disk, dir, torn, epoch, first);
    disk.rename(path, &kept).map_err(Error::io("rename", path))?;
    Ok(kept)
}

/// Makes moves aside durable.
pub(crate) fn sync<D: Disk>(disk: &D, dir: &Path) -> Result<()> {
    let folder = folder(dir);
    disk.sync_dir(&folder).map_err(Error::io("flush folder", &folder))?;
    disk.sync_dir(dir).map_err(Error::io("flush folder", dir))
}
