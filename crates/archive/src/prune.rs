//! What may go: pure, so that every case can be tried.

use crate::backup::Backup;
use crate::store::Stored;
use std::collections::BTreeSet;

/// An object that no backup names goes only after this time: it may belong to a backup that is
/// being written.
pub const UNNAMED_MS: u64 = 24 * 60 * 60 * 1000;

/// What is to be kept. The newest backup is kept, whatever this says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The last so many backups.
    pub last: Option<usize>,
    /// Every backup that is needed to restore any moment of so long ago until now, as far as
    /// there is one.
    pub for_ms: Option<u64>,
}

/// What may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups, by their ids; to be removed first.
    pub backups: Vec<String>,
    /// Objects that nothing needs then.
    pub objects: Vec<String>,
}

/// What may go of `backups` and `objects` (all snapshots and runs of the keyspace). Without a rule
/// no backup does.
///
/// What a kept backup names stays, always.
#[must_use]
pub fn prune(backups: &[Backup], objects: &[Stored], keep: &Keep, now_ms: u64) -> Pruned {
    let mut newest_first: Vec<&Backup> = backups.iter().collect();
    newest_first.sort_by_key(|backup| std::cmp::Reverse((backup.until_ms(), &backup.id)));
    let ruled = keep.last.is_some() || keep.for_ms.is_some();
    let by_count = keep.last.unwrap_or(0).max(1);
    let since = keep.for_ms.map(|span| now_ms.saturating_sub(span));
    let stays = |at: usize, backup: &Backup| {
        !ruled || at < by_count || since.is_some_and(|since| backup.until_ms() >= since)
    };
    let (mut named, mut gone, mut released) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
    for (at, backup) in newest_first.into_iter().enumerate() {
        if stays(at, backup) {
            named.extend(backup.objects());
        } else {
            released.extend(backup.objects());
            gone.push(backup.id.clone());
        }
    }
    let goes = |object: &&Stored| {
        let old = object.changed_ms.saturating_add(UNNAMED_MS) < now_ms;
        let name = object.name.as_str();
        !named.contains(name) && (released.contains(name) || old)
    };
    let objects = objects.iter().filter(goes).map(|object| object.name.clone()).collect();
    Pruned { backups: gone, objects }
}

#[cfg(test)]
mod tests;
