//! A group's data, built from an archive as a replica builds it.

use crate::error::{Error, Result};
use cairn_files::snapshot::Section;
use cairn_files::{RealDisk, Snapshot};
use cairn_keyspace::{EffectLog, Keyspace, Portion};
use cairn_logic::batch::Batch;
use cairn_logic::ids::{EntryId, GroupId, Offset};
use std::path::Path;

/// A group's data after some entry of its log.
pub struct State {
    group: GroupId,
    keyspace: Keyspace,
    last: EntryId,
    whole_from: Offset,
}

impl State {
    /// A group before its first entry.
    #[must_use]
    pub fn empty(group: GroupId) -> Self {
        let keyspace = Keyspace::new(0);
        Self { group, keyspace, last: EntryId::ZERO, whole_from: Offset::ZERO }
    }

    /// What a snapshot file holds. It is of one moment only once the log was applied as far as
    /// [`State::is_whole`] wants.
    ///
    /// # Errors
    /// [`Error::Snapshot`], [`Error::Apply`].
    pub fn load(group: GroupId, path: &Path) -> Result<Self> {
        let snapshot = Snapshot::open(&RealDisk, path)?;
        let content = snapshot.head().content;
        if content != cairn_keyspace::CONTENT {
            let (name, known) = (path.display().to_string(), cairn_keyspace::CONTENT);
            return Err(Error::Format { name, found: content, known });
        }
        let mut state = Self::empty(group);
        for section in snapshot.sections() {
            let portion = portion(&snapshot, section)?;
            let imported = state.keyspace.import(&portion, section.at.offset);
            imported.map_err(|source| state.apart(source))?;
        }
        let end = snapshot.end();
        (state.last, state.whole_from) = (end.from, end.upto.offset);
        Ok(state)
    }

    fn apart(&self, source: cairn_keyspace::Error) -> Error {
        Error::Apply { group: self.group.to_string(), source }
    }

    /// Applies the next batches; those that the state holds already are passed over.
    ///
    /// # Errors
    /// [`Error::Invalid`] if they do not follow, [`Error::Apply`]; the state is of no use then.
    pub fn apply(&mut self, batches: &[Batch]) -> Result<()> {
        for Batch { head, body } in batches {
            if head.last_offset() <= self.last.offset {
                continue;
            }
            if head.first > self.last.offset.next() || head.epoch < self.last.epoch {
                let what = format!("entry {} does not follow {}", head.first, self.last);
                return Err(Error::Invalid { what });
            }
            // The record of an epoch changes no key.
            if !head.opens_epoch {
                let applied = self.keyspace.apply(body, head.first);
                applied.map_err(|source| self.apart(source))?;
                // A repair in the log counts here as on any member; the member tells of it.
                self.keyspace.take_findings();
            }
            self.last = head.last();
        }
        Ok(())
    }

    /// Whether it is the state after one entry: a snapshot's parts are of several moments.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.last.offset >= self.whole_from
    }

    /// Whose data it is.
    #[must_use]
    pub fn group(&self) -> &GroupId {
        &self.group
    }

    /// The last entry that was applied.
    #[must_use]
    pub fn last(&self) -> EntryId {
        self.last
    }

    /// The data.
    #[must_use]
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Deletes what has expired by `now_ms`, and what no client was shown; returns how many keys of
    /// the former that were.
    pub fn expire(&mut self, now_ms: u64) -> usize {
        // What a move was bringing is another group's, which has it.
        self.keyspace.forget_hidden();
        let mut log = EffectLog::new(Offset(1));
        let mut deleted = 0;
        loop {
            let done = self.keyspace.expire_some(now_ms, 1 << 16, &mut log);
            deleted += done.deleted;
            drop(log.take());
            if done.finished {
                return deleted;
            }
        }
    }
}

fn portion(snapshot: &Snapshot<RealDisk>, section: &Section) -> Result<Portion> {
    let records = snapshot.read(section)?;
    let (first, last) = Portion::slots(&section.label).ok_or_else(|| Error::Broken {
        name: snapshot.path().display().to_string(),
        found: "a section does not say which slots it has",
    })?;
    Ok(Portion { first, last, keys: section.records, records })
}
