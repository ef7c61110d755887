//! Reads a segment for a person.

use crate::disk::{DiskFile, read_up_to};
use crate::error::{Error, Result};
use crate::group::record::HEAD_BYTES;
use crate::group::segment::{RECORDS_AT, read_head};
use crate::group::walk::{Step, Tip, Walker};
use crate::inspect::Segment;
use cairn_logic::batch::BatchHead;
use std::path::Path;

/// Shown each batch with its body.
pub(crate) type Visit<'a> = Option<&'a mut dyn FnMut(&BatchHead, &[u8])>;

/// Reads it until a record is not as it must be.
pub(crate) fn read<F: DiskFile>(file: &F, path: &Path, mut visit: Visit<'_>) -> Result<Segment> {
    let Some((head, salt)) = read_head(file, path)? else {
        return Err(Error::Broken { path: path.to_owned(), found: "its first page was changed" });
    };
    let mut walker = Walker::new(file).map_err(Error::io("read", path))?;
    let (mut tip, mut position) = (Tip::before(&head), RECORDS_AT);
    let (mut batches, mut flushed) = (Vec::new(), head.flushed);
    let (stopped, whole) = loop {
        match walker.step(position, &tip, salt).map_err(Error::io("read", path))? {
            Step::Record(record) => {
                let body = u64::from(record.length) - HEAD_BYTES as u64;
                batches.push((record.batch, body));
                if let Some(visit) = &mut visit {
                    let bytes = read_up_to(file, position + HEAD_BYTES as u64, body);
                    visit(&record.batch, &bytes.map_err(Error::io("read", path))?);
                }
                flushed = flushed.max(record.flushed);
                tip = Tip::after(&record);
                position += record.stride();
            }
            Step::End => break ("no room for another record", true),
            Step::Blank => break ("nothing was written here", true),
            Step::Bad(why) => break (why, false),
        }
    };
    let (owner, before) = (head.owner, head.before);
    let (uid, incarnation, group) = (owner.uid, owner.incarnation, owner.group);
    Ok(Segment { uid, incarnation, group, before, flushed, batches, stopped, whole, position })
}
