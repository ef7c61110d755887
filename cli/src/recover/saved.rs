//! The system's part of a snapshot of the directory; the rest of it stays in the file.

use anyhow::{Context, Result, ensure};
use cairn_directory::directory::{CONTENT, revision_of, versions_of};
use cairn_files::{RealDisk, Snapshot};
use cairn_global::rebuild::Saved;
use cairn_global::{Changed, View};
use cairn_logic::ids::GroupId;
use cairn_settings::directory_keys as keys;
use std::path::Path;

/// What is said of a snapshot.
pub struct Read {
    /// Its system's keys.
    pub saved: Saved,
    /// When it was begun, in milliseconds since 1970.
    pub made_ms: u64,
    /// Its length.
    pub bytes: u64,
    /// Versions of keys of users in it, deletions included.
    pub users: u64,
}

/// Reads all of the snapshot at `path`, section by section; it must be whole, of the directory and
/// of the cluster `uid`.
pub fn read(path: &Path, uid: &str) -> Result<Read> {
    let what = || format!("snapshot {}", path.display());
    let snapshot = Snapshot::open(&RealDisk, path).with_context(what)?;
    let head = snapshot.head();
    let group = &head.group;
    ensure!(*group == GroupId::global(), "{} is one of {group}, not of the directory", what());
    let its = format!("{:032x}", head.uid);
    ensure!(its == uid, "{} is of cluster {its}; this one is {uid}", what());
    let content = head.content;
    ensure!(content <= CONTENT, "a newer program wrote {}, in content {content}", what());
    let (mut view, mut users) = (View::default(), 0);
    for section in snapshot.sections() {
        let raw = bytes::Bytes::from(snapshot.read(section).with_context(what)?);
        if let Some(revision) = revision_of(raw.clone()).with_context(what)? {
            view.revision = revision.0;
        }
        versions_of(raw, |seen| {
            if seen.key.starts_with(keys::PREFIX.as_bytes()) {
                let value = seen.value.map(|value| (value.to_vec(), seen.version));
                view.change(&Changed { key: seen.key.to_vec(), value });
            } else {
                users += 1;
            }
        })
        .with_context(what)?;
    }
    let (at, bytes) = (snapshot.end().from, snapshot.bytes());
    Ok(Read { saved: Saved { view, at }, made_ms: head.made_ms, bytes, users })
}
