//! What the fault layer below a node's files is told, as a text file per node.
//!
//! The layer is in nodes built with the feature `fault-disk` alone; see `cairn_files::disk::faulty`
//! for the words it knows.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::schedule::DiskFault;

/// The order for one of the disk's faults.
pub fn words(fault: DiskFault) -> String {
    let words = match fault {
        DiskFault::WriteError => "write error",
        DiskFault::ReadError => "read error",
        DiskFault::FlushOnce => "flush error-once",
        DiskFault::Stall => "flush stall",
        DiskFault::Slow => "disk slow-ms 150",
        DiskFault::Full => "disk full",
    };
    format!("{words}\n")
}

/// Replaces what a node's layer is told.
///
/// # Errors
/// If the file cannot be written.
pub fn set(folder: &Path, node: &str, orders: &str) -> Result<()> {
    let (path, new) = (folder.join(node), folder.join(format!(".{node}.new")));
    std::fs::write(&new, orders)
        .and_then(|()| std::fs::rename(&new, &path))
        .with_context(|| format!("cannot write {path:?}"))
}

/// Writes a script that can be run in the place of a node's program.
///
/// # Errors
/// If it cannot be written.
pub fn write_wrapper(path: &Path, script: &str) -> Result<()> {
    std::fs::write(path, script).with_context(|| format!("cannot write {path:?}"))?;
    let rights = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(path, rights).context("cannot make the script a program")
}

/// Makes a node lose what it did not flush and end; its next start is one after a loss of power.
///
/// # Errors
/// If the file cannot be written.
pub fn lose_power(folder: &Path, node: &str) -> Result<()> {
    set(folder, node, "power lost\n")
}
