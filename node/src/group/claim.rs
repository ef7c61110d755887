//! Which group this folder belongs to, kept in the folder: a restart needs no directory.

use cairn_files::{DoubleWriteFile, Folder, RealDisk, Result};
use cairn_logic::ids::GroupId;
use std::path::PathBuf;

fn path(folder: &Folder<RealDisk>) -> PathBuf {
    folder.path().join("claim")
}

/// The group of this folder, if it was ever claimed.
///
/// # Errors
/// Both copies of the file bad, or unreadable.
pub fn read(folder: &Folder<RealDisk>) -> Result<Option<GroupId>> {
    let found = DoubleWriteFile::open_if_made(&RealDisk, &path(folder))?;
    Ok(found.map(|(_, name)| GroupId::new(String::from_utf8_lossy(&name))))
}

/// Writes it down, flushed; before the group's first file is made.
///
/// # Errors
/// The disk is full or failing.
pub fn write(folder: &Folder<RealDisk>, group: &GroupId) -> Result<()> {
    DoubleWriteFile::create(&RealDisk, &path(folder), group.as_str().as_bytes()).map(drop)
}
