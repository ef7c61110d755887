//! The first placement of slots over a keyspace's groups.
//!
//! Who owns which slot is directory data (`/cairn/slots/<keyspace>`); this only says what it
//! begins with.

use crate::ids::{GroupId, SLOTS, Slot};

/// Neighbouring slots of one owner, both ends included.
pub type Range = (Slot, Slot, GroupId);

/// Cuts all slots into contiguous ranges of equal size, one per group, in the order given; the
/// sizes differ by one at most. Empty without groups; more groups than slots get none.
#[must_use]
pub fn spread_evenly(groups: &[GroupId]) -> Vec<Range> {
    let count = groups.len().min(usize::from(SLOTS));
    let bound = |n: usize| n * usize::from(SLOTS) / count;
    let slot = |n: usize| {
        let number = u16::try_from(n).expect("bounded by the number of slots");
        Slot::try_from(number).expect("bounded by the number of slots")
    };
    let ranges = groups.iter().take(count).enumerate();
    ranges.map(|(n, group)| (slot(bound(n)), slot(bound(n + 1) - 1), group.clone())).collect()
}

/// The same ranges, sorted, but that `group` owns the slots from `first` to `last`; neighbours of
/// one owner are joined.
#[must_use]
pub fn given(ranges: &[Range], (first, last): (Slot, Slot), group: &GroupId) -> Vec<Range> {
    let slot = |n: u16| Slot::try_from(n).expect("between two slots");
    let mut cut: Vec<Range> = vec![(first, last, group.clone())];
    for (from, to, owner) in ranges {
        if *from < first {
            cut.push((*from, (*to).min(slot(first.get() - 1)), owner.clone()));
        }
        if *to > last {
            cut.push(((*from).max(slot(last.get() + 1)), *to, owner.clone()));
        }
    }
    cut.sort_by_key(|(from, ..)| *from);
    let mut joined: Vec<Range> = Vec::with_capacity(cut.len());
    for (from, to, owner) in cut {
        match joined.last_mut() {
            Some((_, end, before)) if *before == owner && end.get() + 1 == from.get() => *end = to,
            _ => joined.push((from, to, owner)),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(count: usize) -> Vec<(u16, u16)> {
        let groups: Vec<GroupId> = (0..count).map(|n| GroupId::new(format!("t-{n}"))).collect();
        spread_evenly(&groups).iter().map(|(first, last, _)| (first.get(), last.get())).collect()
    }

    #[test]
    fn one_group_gets_all_and_none_get_nothing() {
        assert_eq!(bounds(0), []);
        assert_eq!(bounds(1), [(0, 16383)]);
    }

    #[test]
    fn every_slot_has_exactly_one_owner_and_sizes_differ_by_one_at_most() {
        for count in [2, 3, 5, 7, 100, 1000] {
            let ranges = bounds(count);
            let sizes: Vec<u16> = ranges.iter().map(|(first, last)| last - first + 1).collect();
            assert_eq!((ranges[0].0, ranges[count - 1].1), (0, 16383));
            assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0));
            assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
        }
    }
}
