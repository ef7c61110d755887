//! What to read for a moment: pure, so that every case can be tried.

use crate::backup::{Backup, LogRun, Part, SnapshotObject};
use crate::error::{Error, Result};
use cairn_logic::ids::GroupId;

/// What a restore reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The backup it rests on.
    pub backup: String,
    /// The moment, in milliseconds since 1970; absent: all that there is.
    pub at_ms: Option<u64>,
    /// Everything that was committed by then is in it, in milliseconds since 1970.
    pub until_ms: u64,
    /// For each group.
    pub groups: Vec<GroupPlan>,
}

/// What a restore reads of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupPlan {
    /// The group.
    pub group: GroupId,
    /// What to begin with; absent: with nothing.
    pub snapshot: Option<SnapshotObject>,
    /// The log to apply, without a hole. Of the last run only what is up to the last batch that is
    /// not after the moment.
    pub log: Vec<LogRun>,
}

/// What to read so that each group is as it was after its last batch whose time is not after
/// `at_ms`; absent: all that the newest backup has.
///
/// Of all backups that reach the moment it takes the one that was begun last, since its snapshots
/// leave the least log to apply.
///
/// # Errors
/// [`Error::NotCovered`] if no backup reaches that moment, or there is none.
pub fn plan(backups: &[Backup], at_ms: Option<u64>) -> Result<Plan> {
    let Some(at) = at_ms else {
        let newest = backups.iter().max_by_key(|backup| (backup.until_ms(), &backup.id));
        let groups = newest.map(|backup| backup.groups.iter().map(|p| whole(p, &p.log)).collect());
        return newest
            .zip(groups)
            .map(|(backup, groups)| {
                let (backup, until_ms) = (backup.id.clone(), backup.until_ms());
                Plan { backup, at_ms, until_ms, groups }
            })
            .ok_or_else(|| not_covered(backups));
    };
    let reach = |backup: &Backup| {
        if at > backup.until_ms() || backup.groups.is_empty() {
            return None;
        }
        let groups: Option<Vec<_>> = backup.groups.iter().map(|part| reach(part, at)).collect();
        Some(Plan { backup: backup.id.clone(), at_ms, until_ms: at, groups: groups? })
    };
    let plans = backups.iter().filter_map(reach);
    plans.max_by(|a, b| a.backup.cmp(&b.backup)).ok_or_else(|| not_covered(backups))
}

fn whole(part: &Part, log: &[LogRun]) -> GroupPlan {
    let (group, snapshot) = (part.group.clone(), part.snapshot.clone());
    GroupPlan { group, snapshot, log: log.to_vec() }
}

/// What to read of a group for the moment, if its part reaches that.
fn reach(part: &Part, at: u64) -> Option<GroupPlan> {
    let last = part.log.iter().rposition(|run| run.earliest_ms <= at)?;
    let run = &part.log[last];
    // Which batch of the run is the last one is only known once it is read. If not all of it is
    // surely wanted, the state must have been whole before it.
    let surely = if run.latest_ms <= at { run.last.offset.0 } else { run.first.offset.0 - 1 };
    let upto = part.snapshot.as_ref().map_or(0, |snapshot| snapshot.upto.offset.0);
    (upto <= surely).then(|| whole(part, &part.log[..=last]))
}

/// From when to when every moment can be restored from one of `backups`: the span that ends last,
/// with all that joins on to it without a gap.
#[must_use]
pub fn covered(backups: &[Backup]) -> Option<(u64, u64)> {
    let span = |backup: &Backup| Some((backup.since_ms()?, backup.until_ms()));
    let mut spans: Vec<(u64, u64)> = backups.iter().filter_map(span).collect();
    spans.sort_by_key(|(since, until)| (std::cmp::Reverse(*until), *since));
    let (mut since, until) = *spans.first()?;
    for (earlier, end) in spans {
        if end >= since {
            since = since.min(earlier);
        }
    }
    Some((since, until))
}

fn not_covered(backups: &[Backup]) -> Error {
    let mut spans: Vec<String> = backups
        .iter()
        .filter_map(|backup| Some((backup.since_ms()?, backup.until_ms())))
        .map(|(since, until)| {
            format!("{} to {}", crate::moment::show(since), crate::moment::show(until))
        })
        .collect();
    if spans.is_empty() {
        spans.push("none".to_owned());
    }
    Error::NotCovered { covered: spans.join(", ") }
}

#[cfg(test)]
mod tests;
