//! What a person decides when no majority of the register's folders is left, or what is left was
//! rolled back (docs/replication.md §9: "otherwise `RecordMissing`, a person").

use super::Founding;
use crate::arbiter::{Accepted, Author, Roster, Seat, Value};
use crate::ids::{Epoch, Version};
use std::collections::{BTreeMap, BTreeSet};

/// A register made again from what is left.
///
/// It breaks the promise that a decided value stays decided: whoever asks for it has stopped the
/// acceptors that do not answer, and accepts that what only they knew is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The record to write, whatever is found; the acceptors that are left, at least two, all of
    /// which must answer.
    pub founding: Founding,
    /// Greater than every version that any node knows.
    pub version: Version,
    /// The greatest epoch, and the greatest attempt, that any node knows.
    pub epoch: Epoch,
    /// As [`Recovery::epoch`].
    pub attempt: Epoch,
}

impl Recovery {
    /// The value to write, above everything that `promised` shows. Acceptors that were not asked
    /// keep their seats: they are replaced as any lost one when they come back with another folder.
    pub(super) fn value(
        &self,
        promised: &BTreeMap<Seat, Option<Accepted>>,
        author: &Author,
    ) -> Value {
        let found: Vec<&Value> = promised.values().flatten().map(|(_, value)| value).collect();
        let mut record = self.founding.record.clone();
        let version = found.iter().map(|value| value.record.version).max();
        let attempt = found.iter().map(|value| value.record.attempt).max();
        let epoch = found.iter().map(|value| value.record.epoch).max();
        record.version = self.version.max(version.unwrap_or(self.version)).next();
        record.epoch = self.epoch.max(epoch.unwrap_or(self.epoch));
        record.attempt = self.attempt.max(attempt.unwrap_or(self.attempt)).max(record.epoch);
        let answered: BTreeMap<_, _> = promised.keys().map(|seat| (&seat.id, seat)).collect();
        let mut seats: BTreeSet<Seat> = answered.values().map(|seat| (*seat).clone()).collect();
        let greatest = promised.values().flatten().max_by_key(|accepted| accepted.0.clone());
        let former = greatest.iter().flat_map(|(_, value)| &value.roster.seats);
        seats.extend(former.filter(|seat| !answered.contains_key(&seat.id)).cloned());
        Value {
            uid: self.founding.uid.clone(),
            record,
            roster: Roster::settled(seats.into_iter().collect()),
            author: author.clone(),
        }
    }
}
