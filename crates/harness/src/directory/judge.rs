//! Says whether what clients of the directory saw could be so.
//!
//! The directory numbers all writes with revisions; that order must agree with the clients' clocks
//! (an answer that was there before a question was asked has the smaller number), and whatever is
//! read as of a revision must be what the last write up to it left. Together that is
//! linearizability. Leases may not end before their promises, and must end soon after them; locks
//! have one holder at a time, and nobody writes under a lock that another has taken since.

mod keys;
mod leases;

use std::fmt;

use super::history::{Deed, History, Outcome};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An acknowledged write is gone.
    Lost,
    /// A read showed an older state than was known before it was asked.
    Stale,
    /// Something was read that nobody wrote, or a write that was refused.
    Invented,
    /// A write took effect twice, or two have one number.
    Twice,
    /// A write has a smaller number than what was known before it.
    Disorder,
    /// A condition was judged wrongly.
    Condition,
    /// A lease ended before its promise.
    Early,
    /// A lease outlived its promises for too long.
    Late,
    /// A lock had two holders, or one wrote under a lock that it had lost.
    TwoHolders,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What.
    pub kind: Kind,
    /// Of which key.
    pub key: String,
    /// In words, with times in microseconds since the clients began.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "directory {:?} {}: {}", self.kind, self.key, self.what)
    }
}

/// What the judge looked at, and what it found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Reads and writes.
    pub operations: usize,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Writes whose outcome is not known.
    pub unknown: usize,
    /// Leases that were followed.
    pub leases: usize,
    /// Locks that were taken.
    pub locks: usize,
    /// Keys that could not be read at the end.
    pub unread: usize,
    /// Everything that is wrong.
    pub violations: Vec<Violation>,
}

impl Report {
    fn count(&self, kinds: &[Kind]) -> usize {
        self.violations.iter().filter(|violation| kinds.contains(&violation.kind)).count()
    }

    /// What was acknowledged and is gone: writes, and keys on leases that were promised to live.
    pub fn lost(&self) -> usize {
        self.count(&[Kind::Lost, Kind::Early])
    }

    /// Reads that showed what they may not.
    pub fn stale(&self) -> usize {
        self.count(&[Kind::Stale, Kind::Invented])
    }
}

/// Judges a whole history.
pub fn judge(history: &History) -> Report {
    let mut violations = Vec::new();
    keys::check(&history.operations, &mut violations);
    let lives = history.lives.iter().chain(history.holdings.iter().map(|held| &held.life));
    lives.for_each(|life| leases::check_life(life, history.calm_us, &mut violations));
    leases::check_locks(&history.holdings, &history.operations, &mut violations);
    let operations = history.operations.iter();
    let unknown = operations.clone().filter(|operation| {
        let read = matches!(operation.deed, Deed::Get { .. });
        !read && matches!(operation.outcome, Outcome::Unknown(_))
    });
    Report {
        operations: history.operations.len(),
        acknowledged: operations.filter(|operation| operation.written().is_some()).count(),
        unknown: unknown.count(),
        leases: history.lives.len(),
        locks: history.holdings.len(),
        unread: history.unread,
        violations,
    }
}

#[cfg(test)]
mod tests;
