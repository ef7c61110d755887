//! What a restore rests on, as its object says it.

use crate::error::{Error, Result};
use cairn_logic::ids::{EntryId, GroupId};
use serde::{Deserialize, Serialize};

/// The format of backups this program writes and reads.
pub const FORMAT: u32 = 1;

/// A keyspace's snapshots and the log after them: any moment from the last of the snapshots to the
/// end of the log can be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// How it is written.
    pub format: u32,
    /// Its name; sorts by when it was begun.
    pub id: String,
    /// The cluster.
    pub uid: String,
    /// The keyspace.
    pub keyspace: String,
    /// Which program wrote it.
    pub program: String,
    /// When it was begun, in milliseconds since 1970.
    pub begun_ms: u64,
    /// When the log was added to last.
    pub changed_ms: u64,
    /// Every group.
    pub groups: Vec<Part>,
}

/// A group's part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The group.
    pub group: GroupId,
    /// What the log goes on from; absent: it begins with the group's first entry.
    pub snapshot: Option<SnapshotObject>,
    /// The log, without a hole.
    pub log: Vec<LogRun>,
    /// Everything that was committed by then is in it.
    pub until_ms: u64,
}

/// A snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotObject {
    /// The object.
    pub name: String,
    /// Entries above it are needed beside the snapshot.
    pub from: EntryId,
    /// The state is whole once the log was replayed up to here.
    pub upto: EntryId,
    /// When its node began it, in milliseconds since 1970.
    pub made_ms: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// A stretch of log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRun {
    /// The object.
    pub name: String,
    /// Its first entry.
    pub first: EntryId,
    /// Its last entry.
    pub last: EntryId,
    /// The smallest time of a batch in it, in milliseconds since 1970. Clocks of masters differ,
    /// so times in a log need not ascend.
    pub earliest_ms: u64,
    /// The greatest time of a batch in it.
    pub latest_ms: u64,
    /// Bytes before compression.
    pub bytes: u64,
}

impl Part {
    /// The last entry it reaches.
    #[must_use]
    pub fn end(&self) -> EntryId {
        let from = self.snapshot.as_ref().map_or(EntryId::ZERO, |snapshot| snapshot.from);
        self.log.last().map_or(from, |run| run.last)
    }

    /// The same log after a later snapshot, if it reaches as far as the snapshot needs.
    #[must_use]
    pub fn rebased(&self, snapshot: SnapshotObject) -> Option<Self> {
        let first = self.log.first()?.first.offset;
        if snapshot.upto.offset > self.end().offset || first.0 > snapshot.from.offset.0 + 1 {
            return None;
        }
        let mut log = self.log.clone();
        log.retain(|run| run.last.offset >= snapshot.from.offset);
        Some(Self {
            group: self.group.clone(),
            snapshot: Some(snapshot),
            log,
            until_ms: self.until_ms,
        })
    }

    /// All objects it rests on.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        let snapshot = self.snapshot.iter().map(|snapshot| snapshot.name.as_str());
        snapshot.chain(self.log.iter().map(|run| run.name.as_str()))
    }

    /// Whether the log has no hole and goes on from the snapshot.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self) -> std::result::Result<(), &'static str> {
        let from = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.from.offset.0);
        let mut next = None;
        for run in &self.log {
            let first = run.first.offset.0;
            if run.last.offset.0 < first || run.latest_ms < run.earliest_ms || first == 0 {
                return Err("a run of the log that ends before it begins");
            }
            match next {
                None if first > from + 1 => return Err("entries before the log are missing"),
                Some(next) if next != first => return Err("the log has a hole"),
                None | Some(_) => next = Some(run.last.offset.0 + 1),
            }
        }
        let upto = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.upto.offset.0);
        if self.end().offset.0 < upto {
            return Err("entries that the snapshot needs are missing");
        }
        Ok(())
    }

    /// The earliest moment that can surely be restored; `None` if only all of it can.
    #[must_use]
    pub fn since_ms(&self) -> Option<u64> {
        let upto = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.upto.offset.0);
        let at = self.log.iter().position(|run| run.last.offset.0 >= upto)?;
        // The state is whole within this run, so at the latest at its end; and no later batch may
        // seem to be older.
        let whole = self.log[at].latest_ms;
        (whole <= self.until_ms).then_some(whole)
    }
}

impl Backup {
    /// All objects it rests on.
    pub fn objects(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flat_map(Part::objects)
    }

    /// The latest moment that it holds all of.
    #[must_use]
    pub fn until_ms(&self) -> u64 {
        self.groups.iter().map(|part| part.until_ms).min().unwrap_or(0)
    }

    /// The earliest moment that can be restored from it; `None` if only all of it can.
    #[must_use]
    pub fn since_ms(&self) -> Option<u64> {
        let since: Option<Vec<u64>> = self.groups.iter().map(Part::since_ms).collect();
        since?.into_iter().max().filter(|since| *since <= self.until_ms())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a backup is plain data")
    }

    /// Reads the backup that is called `name`.
    pub(crate) fn decode(bytes: &[u8], name: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let broken = |found| Error::Broken { name: name.to_owned(), found };
        let head: Head =
            serde_json::from_slice(bytes).map_err(|_| broken("it is no backup of ours"))?;
        if head.format != FORMAT {
            let (name, found) = (name.to_owned(), head.format);
            return Err(Error::Format { name, found, known: FORMAT });
        }
        let backup: Self =
            serde_json::from_slice(bytes).map_err(|_| broken("a field is missing or wrong"))?;
        backup.groups.iter().try_for_each(Part::check).map_err(broken)?;
        Ok(backup)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_logic::ids::{Epoch, Offset};

    fn id(offset: u64) -> EntryId {
        EntryId::new(Epoch(1), Offset(offset))
    }

    fn run(first: u64, last: u64) -> LogRun {
        LogRun {
            name: format!("{first}-{last}"),
            first: id(first),
            last: id(last),
            earliest_ms: first * 10,
            latest_ms: last * 10,
            bytes: 1,
        }
    }

    fn snapshot(from: u64, upto: u64) -> SnapshotObject {
        let (from, upto) = (id(from), id(upto));
        SnapshotObject { name: format!("s{upto}"), from, upto, made_ms: 0, bytes: 1 }
    }

    fn part(snapshot: Option<SnapshotObject>, log: Vec<LogRun>) -> Part {
        Part { group: GroupId::new("t-0"), snapshot, log, until_ms: 1000 }
    }

    #[test]
    fn a_later_snapshot_keeps_only_the_log_that_it_needs() {
        let part = part(None, vec![run(1, 5), run(6, 9), run(10, 20)]);
        let rebased = part.rebased(snapshot(7, 12)).expect("the log reaches it");
        assert_eq!(rebased.log, [run(6, 9), run(10, 20)]);
        assert_eq!(rebased.check(), Ok(()));
        assert_eq!(part.rebased(snapshot(7, 21)), None, "the log ends before it");
        let late = Part { log: vec![run(10, 20)], ..part };
        assert_eq!(late.rebased(snapshot(7, 12)), None, "the log begins after it");
    }

    #[test]
    fn holes_are_found() {
        assert_eq!(part(None, vec![run(1, 5), run(6, 9)]).check(), Ok(()));
        assert!(part(None, vec![run(1, 5), run(7, 9)]).check().is_err());
        assert!(part(None, vec![run(2, 5)]).check().is_err());
        assert!(part(Some(snapshot(3, 4)), vec![run(5, 6)]).check().is_err());
        assert!(part(Some(snapshot(3, 9)), vec![run(4, 6)]).check().is_err());
        assert_eq!(part(Some(snapshot(3, 6)), vec![run(2, 6)]).check(), Ok(()));
    }

    #[test]
    fn a_backup_comes_back_and_a_newer_one_is_refused() {
        let backup = Backup {
            format: FORMAT,
            id: "1-a".into(),
            uid: "u".into(),
            keyspace: "t".into(),
            program: "test".into(),
            begun_ms: 1,
            changed_ms: 2,
            groups: vec![part(Some(snapshot(3, 6)), vec![run(2, 8)])],
        };
        assert_eq!(Backup::decode(&backup.encode(), "b").unwrap(), backup);
        assert_eq!((backup.since_ms(), backup.until_ms()), (Some(80), 1000));
        let newer = Backup { format: FORMAT + 1, ..backup };
        assert!(matches!(Backup::decode(&newer.encode(), "b"), Err(Error::Format { .. })));
        assert!(matches!(Backup::decode(b"{", "b"), Err(Error::Broken { .. })));
    }
}
