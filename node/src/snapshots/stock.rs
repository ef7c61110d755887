//! The snapshots of one log in this node's folder: which one a state begins with, and which are
//! kept out of the way.

use super::KEPT;
use super::figures::Shown;
use cairn_files::snapshot::SnapshotEnd;
use cairn_files::{Error, RealDisk, Snapshot, SnapshotFile, Snapshots};
use cairn_logic::ids::{EntryId, GroupId};
use std::path::Path;
use std::thread;

/// The snapshots of one log on this node; all clones are the same.
#[derive(Clone)]
pub struct Stock {
    /// Whose log.
    pub group: GroupId,
    /// Where they are.
    pub folder: Snapshots<RealDisk>,
    /// What this program writes into them; it reads everything up to that.
    pub content: u32,
    /// Whether each is of one entry; then one of several is of no use.
    pub one_moment: bool,
    /// What there is to show of them.
    pub shown: Shown,
}

impl Stock {
    /// The newest whose head and index are whole and that goes with a log that begins after
    /// `before` and ends with `last`. What does not go with it is set aside, but for what a newer
    /// program wrote, and what only lacks its log or has lost it.
    #[must_use]
    pub fn newest_good(
        &self,
        holds: &dyn Fn(EntryId) -> bool,
        before: EntryId,
        last: EntryId,
    ) -> Option<Snapshot<RealDisk>> {
        let listed = self.folder.list().unwrap_or_else(|error| {
            tracing::error!(%error, "cannot list the snapshots");
            Vec::new()
        });
        for SnapshotFile { path, .. } in listed {
            match self.folder.read(&path) {
                Ok(found) if found.head().content > self.content => {
                    let path = path.display();
                    tracing::error!(%path, "a newer program wrote this snapshot; it is not used");
                }
                Ok(found) => match fits(found.end(), self.one_moment, holds, (before, last)) {
                    Fits::Yes => return Some(found),
                    Fits::NotNow => {
                        let (from, upto) = (found.end().from, found.end().upto);
                        tracing::info!(%from, %upto, %before, %last, "a snapshot without its log");
                    }
                    Fits::Never => {
                        let upto = found.end().upto;
                        tracing::warn!(%upto, "a snapshot of entries that are not in the log");
                        self.set_aside(&path);
                    }
                },
                Err(error @ Error::Format { .. }) => {
                    tracing::error!(%error, "this snapshot is not used");
                }
                Err(error) => {
                    tracing::error!(%error, "a snapshot is broken");
                    self.set_aside(&path);
                }
            }
        }
        None
    }

    /// Keeps a snapshot that is not to be used out of the way.
    pub fn set_aside(&self, path: &Path) {
        match self.folder.set_aside(path) {
            Ok(to) => {
                self.shown.set_aside();
                tracing::warn!(to = %to.display(), "the snapshot is set aside");
            }
            Err(error) => tracing::error!(%error, "cannot set a snapshot aside"),
        }
    }

    /// Removes all but the last [`KEPT`], beside everything else. What is not removed now is when
    /// the next one is made.
    pub fn prune(&self) {
        let folder = self.folder.clone();
        let prune = move || {
            if let Err(error) = folder.prune(KEPT) {
                tracing::warn!(%error, "cannot remove an older snapshot");
            }
        };
        thread::Builder::new().name("prune".into()).spawn(prune).ok();
    }
}

/// Whether a snapshot goes with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fits {
    Yes,
    /// The entries that it needs are gone, or have not come yet.
    NotNow,
    /// It is of other entries, or of no one moment.
    Never,
}

/// Whether a snapshot goes with a log that begins after `before` and ends with `last`.
fn fits(
    end: &SnapshotEnd,
    one_moment: bool,
    holds: &dyn Fn(EntryId) -> bool,
    (before, last): (EntryId, EntryId),
) -> Fits {
    let (from, upto) = (end.from, end.upto);
    // Epochs never fall: what is above the log's end and of an older epoch was never in it.
    let other = |entry: EntryId| match entry.offset > last.offset {
        true => entry.epoch < last.epoch,
        false => !holds(entry),
    };
    if other(from) || other(upto) || (one_moment && from != upto) {
        return Fits::Never;
    }
    let reached = (before.offset..=last.offset).contains(&from.offset);
    if reached { Fits::Yes } else { Fits::NotNow }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::{Epoch, Offset};

    fn entry(epoch: u64, offset: u64) -> EntryId {
        EntryId::new(Epoch(epoch), Offset(offset))
    }

    /// Against a log of epoch 2 up to 20, then of epoch 4 up to 30, that begins after 10.
    fn judge(from: EntryId, upto: EntryId) -> Fits {
        judged(from, upto, false)
    }

    fn judged(from: EntryId, upto: EntryId, one_moment: bool) -> Fits {
        let holds = |id: EntryId| match id.offset.0 {
            0..=20 => id.epoch.0 <= 2,
            21..=30 => id.epoch.0 == 4,
            _ => false,
        };
        let end = SnapshotEnd { from, upto, hash: 0, records: 0 };
        fits(&end, one_moment, &holds, (entry(2, 10), entry(4, 30)))
    }

    #[test]
    fn a_snapshot_within_the_log_is_used() {
        assert_eq!(judge(entry(2, 10), entry(4, 25)), Fits::Yes);
        assert_eq!(judge(entry(2, 10), entry(2, 10)), Fits::Yes);
        assert_eq!(judge(entry(4, 30), entry(4, 30)), Fits::Yes);
    }

    #[test]
    fn one_that_another_member_wrote_may_end_above_the_log() {
        assert_eq!(judge(entry(4, 30), entry(4, 44)), Fits::Yes);
        assert_eq!(judge(entry(4, 30), entry(5, 44)), Fits::Yes);
    }

    #[test]
    fn one_whose_log_is_gone_or_has_not_come_is_left_alone() {
        assert_eq!(judge(entry(2, 9), entry(4, 25)), Fits::NotNow);
        assert_eq!(judge(entry(4, 31), entry(4, 40)), Fits::NotNow);
    }

    #[test]
    fn one_of_entries_that_were_cut_is_never_used() {
        assert_eq!(judge(entry(2, 15), entry(3, 25)), Fits::Never);
        assert_eq!(judge(entry(3, 25), entry(3, 28)), Fits::Never);
        assert_eq!(judge(entry(4, 30), entry(3, 40)), Fits::Never);
        assert_eq!(judge(entry(3, 9), entry(3, 9)), Fits::Never);
    }

    #[test]
    fn one_of_no_one_moment_is_never_used_where_each_is_of_one() {
        assert_eq!(judged(entry(2, 10), entry(4, 25), true), Fits::Never);
        assert_eq!(judged(entry(4, 25), entry(4, 25), true), Fits::Yes);
    }
}
