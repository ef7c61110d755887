//! The only place with arithmetic about members (docs/replication.md §2).
//!
//! All functions count members of one record's configuration, master included. Learners, spares,
//! checkpoint nodes and other incarnations never count. [`Counts`] are the numbers that the rule
//! gives; [`Sets`] says which members are enough, numbers and zones together.

mod zones;

pub use zones::Sets;

use crate::record::{Record, Rule};

/// Which plane a log belongs to; the global plane serves with a single member (§9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// The directory: rule `all`, the members are the in-sync set.
    Global,
    /// A keyspace's group.
    Group,
}

/// The numbers that follow from one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Members of the configuration.
    pub members: usize,
    /// Members below which client writes are refused.
    pub need: usize,
    /// Copies that commit an entry, master included.
    pub copies: usize,
    /// Intact sealed members that include a holder of every committed entry.
    pub seals: usize,
    /// *Other* members whose live promise a lease read needs.
    pub promises: usize,
}

impl Counts {
    /// The numbers of a configuration of `members` under `rule` with `wanted` members asked for.
    ///
    /// # Panics
    /// If `members` is 0: a configuration has at least its master.
    #[must_use]
    pub fn new(plane: Plane, rule: Rule, members: usize, wanted: usize) -> Self {
        assert!(members > 0, "a configuration has at least one member");
        let need = match (plane, rule) {
            (Plane::Global, _) | (Plane::Group, Rule::Async) => 1,
            (Plane::Group, Rule::One | Rule::All) => 2,
            (Plane::Group, Rule::Quorum) => wanted / 2 + 1,
        };
        let majority = members / 2 + 1;
        let copies = match rule {
            Rule::Async => majority,
            Rule::One => members.min(2),
            Rule::Quorum => majority.max(need.min(members)),
            Rule::All => members,
        };
        Self { members, need, copies, seals: members - copies + 1, promises: copies - 1 }
    }

    /// The numbers of `record`'s configuration.
    #[must_use]
    pub fn of(plane: Plane, record: &Record) -> Self {
        Self::new(plane, record.rule, record.members.len(), usize::from(record.wanted))
    }

    /// Whether the configuration is large enough to admit client writes.
    #[must_use]
    pub fn admits_writes(&self) -> bool {
        self.members >= self.need
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(rule: Rule, wanted: usize) -> Vec<(usize, usize)> {
        (1..=5)
            .map(|n| Counts::new(Plane::Group, rule, n, wanted))
            .map(|c| (c.copies, c.seals))
            .collect()
    }

    #[test]
    fn the_table_of_the_specification_holds() {
        assert_eq!(row(Rule::One, 3), [(1, 1), (2, 1), (2, 2), (2, 3), (2, 4)]);
        assert_eq!(row(Rule::Quorum, 3), [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)]);
        assert_eq!(row(Rule::Quorum, 5), [(1, 1), (2, 1), (3, 1), (3, 2), (3, 3)]);
        assert_eq!(row(Rule::All, 3), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1)]);
        assert_eq!(row(Rule::Async, 3), [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)]);
    }

    #[test]
    fn two_members_of_five_wanted_are_read_only_under_quorum() {
        assert!(!Counts::new(Plane::Group, Rule::Quorum, 2, 5).admits_writes());
        assert!(Counts::new(Plane::Group, Rule::Quorum, 3, 5).admits_writes());
    }

    #[test]
    fn the_global_plane_serves_alone() {
        assert!(Counts::new(Plane::Global, Rule::All, 1, 2).admits_writes());
        assert!(!Counts::new(Plane::Group, Rule::All, 1, 2).admits_writes());
    }
}
