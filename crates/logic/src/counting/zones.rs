//! Which members are enough: so many of them, in so many zones (docs/decisions/0033).
//!
//! There is one question, [`Sets::commits`], and everything else is its mirror. Copies at a set of
//! members commit an entry if they are *a* members in *z* zones. Seals prove that no other entry
//! was or will be committed if those who did not seal could not commit one without them. So any set
//! that commits and any set that proves have a member in common, whatever the zones are: a zone
//! that is recorded wrongly costs what zones are for, never an entry that *a* members hold.

use super::{Counts, Plane};
use crate::message::Mode;
use crate::record::{Member, Record};

/// Zones that are told apart; members in others count for none.
const ZONES_MAX: u32 = 64;

/// Which members of one configuration are enough for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sets {
    /// What the rule alone asks for.
    pub counts: Counts,
    /// In which zone each member is, as one bit; 0 when that is not known.
    places: Vec<u64>,
    /// Zones the durability asks for; 1: none.
    asked: u32,
    /// Zones in which members are known to be.
    spanned: u32,
    /// Zones that copies must be in; below 2 they may be anywhere.
    needed: u32,
}

impl Sets {
    /// The sets of a configuration of `members`.
    ///
    /// # Panics
    /// If there are no members.
    #[must_use]
    pub fn new(plane: Plane, members: &[Member], mode: &Mode) -> Self {
        let counts = Counts::new(plane, mode.rule, members.len(), usize::from(mode.wanted));
        let mut names: Vec<&str> = members.iter().filter_map(|m| m.zone.as_deref()).collect();
        names.sort_unstable();
        names.dedup();
        let bit = |member: &Member| {
            let at = names.binary_search(&member.zone.as_deref()?).ok()?;
            1_u64.checked_shl(u32::try_from(at).ok()?)
        };
        let places: Vec<u64> = members.iter().map(|member| bit(member).unwrap_or(0)).collect();
        let spanned = places.iter().fold(0, |all, place| all | place).count_ones();
        debug_assert!(spanned <= ZONES_MAX, "a zone is a bit");
        let asked = match plane {
            // Its set is whoever is in sync, and may be one.
            Plane::Global => 1,
            Plane::Group => u32::from(mode.durability.zones).max(1),
        };
        Self { counts, places, asked, spanned, needed: asked.min(spanned) }
    }

    /// The sets of `record`'s configuration.
    ///
    /// # Panics
    /// If it has no members.
    #[must_use]
    pub fn of(plane: Plane, record: &Record) -> Self {
        let Record { rule, wanted, durability, .. } = record;
        let mode = Mode { rule: *rule, wanted: *wanted, durability: *durability };
        Self::new(plane, &record.members, &mode)
    }

    /// Whether copies at these members, by their places in the list, commit an entry; and so,
    /// whether these members' promises, the master's own among them, keep everybody else from
    /// taking over.
    pub fn commits(&self, mut held: impl FnMut(usize) -> bool) -> bool {
        let (mut copies, mut zones) = (0, 0);
        for (at, place) in self.places.iter().enumerate() {
            if held(at) {
                copies += 1;
                zones |= place;
            }
        }
        self.are_enough(copies, zones)
    }

    /// Whether seals of these members, all intact, are proof: those who did not seal cannot commit
    /// anything without them.
    pub fn proves(&self, mut sealed: impl FnMut(usize) -> bool) -> bool {
        !self.commits(|at| !sealed(at))
    }

    /// The greatest value such that the members that have it, or a greater one, are enough to
    /// commit; `values` are in the order of the members, what follows them is in no zone.
    #[must_use]
    pub fn greatest<T: Ord + Copy>(&self, values: &[Option<T>]) -> Option<T> {
        // Members are few, and this runs at every acknowledgement: nothing is sorted or kept.
        let enough = |least: &T| {
            let (mut copies, mut zones) = (0, 0);
            for (at, value) in values.iter().enumerate() {
                if value.is_some_and(|value| value >= *least) {
                    copies += 1;
                    zones |= self.places.get(at).copied().unwrap_or(0);
                }
            }
            self.are_enough(copies, zones)
        };
        values.iter().flatten().copied().filter(enough).max()
    }

    fn are_enough(&self, copies: usize, zones: u64) -> bool {
        copies >= self.counts.copies && (self.needed < 2 || zones.count_ones() >= self.needed)
    }

    /// Whether the configuration is large enough to admit client writes, and in enough zones.
    #[must_use]
    pub fn admits_writes(&self) -> bool {
        self.counts.admits_writes() && self.has_zones()
    }

    /// Whether the members are in as many zones as the durability asks for.
    #[must_use]
    pub fn has_zones(&self) -> bool {
        self.asked < 2 || self.spanned >= self.asked
    }

    /// Zones in which members are known to be.
    #[must_use]
    pub fn spanned(&self) -> u32 {
        self.spanned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Incarnation, NodeId};
    use crate::record::{Durability, Role, Rule};

    /// Members in these zones, each one letter; `-` is not known.
    fn sets(rule: Rule, zones: u8, places: &str) -> Sets {
        let member = |(at, place): (usize, char)| Member {
            id: NodeId::new(format!("n{at}")),
            incarnation: Incarnation(1),
            role: Role::Replica,
            zone: (place != '-').then(|| place.to_string()),
        };
        let members: Vec<Member> = places.chars().enumerate().map(member).collect();
        let wanted = u8::try_from(members.len()).unwrap();
        let durability = Durability { flushed: false, zones };
        Sets::new(Plane::Group, &members, &Mode { rule, wanted, durability })
    }

    fn subsets(members: usize) -> impl Iterator<Item = Vec<bool>> {
        (0_u32..1 << members).map(move |bits| (0..members).map(|at| bits >> at & 1 == 1).collect())
    }

    fn all_places(members: usize) -> Vec<String> {
        let place = |n: usize, at: usize| ['-', 'a', 'b', 'c'][(n >> (2 * at)) % 4];
        let places = |n: usize| (0..members).map(|at| place(n, at)).collect();
        (0..1 << (2 * members)).map(places).collect()
    }

    #[test]
    fn whoever_proves_and_whoever_commits_have_a_member_in_common() {
        for (rule, zones) in [Rule::One, Rule::Quorum, Rule::All, Rule::Async]
            .into_iter()
            .flat_map(|rule| (1..=3).map(move |zones| (rule, zones)))
        {
            for places in (1..=4).flat_map(all_places) {
                let sets = sets(rule, zones, &places);
                for copies in subsets(places.len()).filter(|s| sets.commits(|at| s[at])) {
                    for seals in subsets(places.len()).filter(|s| sets.proves(|at| s[at])) {
                        let common = (0..places.len()).any(|at| copies[at] && seals[at]);
                        assert!(common, "{rule:?} {zones} {places} {copies:?} {seals:?}");
                    }
                }
                assert!(sets.commits(|_| true), "all of them are enough: {places}");
                assert!(sets.proves(|_| true), "all of them prove: {places}");
            }
        }
    }

    #[test]
    fn one_zone_counts_as_before_there_were_zones() {
        for rule in [Rule::One, Rule::Quorum, Rule::All, Rule::Async] {
            for places in (1..=4).flat_map(all_places) {
                let sets = sets(rule, 1, &places);
                for set in subsets(places.len()) {
                    let number = set.iter().filter(|held| **held).count();
                    assert_eq!(sets.commits(|at| set[at]), number >= sets.counts.copies);
                    assert_eq!(sets.proves(|at| set[at]), number >= sets.counts.seals);
                }
                assert_eq!(sets.admits_writes(), sets.counts.admits_writes());
            }
        }
    }

    #[test]
    fn what_is_in_two_zones_outlives_either_and_proves_it() {
        for (rule, places) in [
            (Rule::One, "ab"),
            (Rule::One, "aab"),
            (Rule::Quorum, "aab"),
            (Rule::Quorum, "aabbc"),
            (Rule::Quorum, "aaabb"),
            (Rule::All, "aabb"),
        ] {
            let sets = sets(rule, 2, places);
            assert!(sets.admits_writes(), "{places}");
            for gone in ['a', 'b', 'c'] {
                let left = |at: usize| places.chars().nth(at) != Some(gone);
                assert!(sets.proves(left), "{rule:?} {places} without {gone}");
            }
        }
    }

    #[test]
    fn two_copies_in_one_zone_are_not_enough() {
        let sets = sets(Rule::One, 2, "aab");
        assert!(!sets.commits(|at| at < 2));
        assert!(sets.commits(|at| at > 0));
        assert_eq!(sets.greatest(&[Some(9), Some(8), Some(3)]), Some(3));
        assert_eq!(sets.greatest(&[Some(9), Some(2), Some(3)]), Some(3));
        assert_eq!(sets.greatest(&[Some(9), Some(8), None]), None);
    }

    #[test]
    fn a_zone_that_is_not_known_counts_for_none() {
        let sets = sets(Rule::Quorum, 2, "a-b");
        assert!(!sets.commits(|at| at < 2));
        assert!(sets.commits(|at| at != 1));
    }

    #[test]
    fn members_in_too_few_zones_admit_no_writes_and_go_on_with_the_rest() {
        for places in ["aaa", "a--", "---"] {
            let sets = sets(Rule::One, 2, places);
            assert!(!sets.admits_writes() && !sets.has_zones(), "{places}");
            assert!(sets.commits(|at| at < 2), "its epoch record and reads go on: {places}");
        }
        let sets = sets(Rule::Quorum, 3, "aabb-");
        assert!(!sets.admits_writes());
        assert!(!sets.commits(|at| at != 2 && at != 3), "both of the zones that there are");
    }

    #[test]
    fn the_global_plane_counts_no_zones() {
        let member = |n: u64| Member {
            id: NodeId::new(format!("g{n}")),
            incarnation: Incarnation(n),
            role: Role::Replica,
            zone: Some("a".to_owned()),
        };
        let durability = Durability { flushed: false, zones: 2 };
        let mode = Mode { rule: Rule::All, wanted: 2, durability };
        assert!(Sets::new(Plane::Global, &[member(1), member(2)], &mode).admits_writes());
    }
}
