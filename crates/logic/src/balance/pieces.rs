//! Neighbouring slots of one owner that weigh the same.

use super::{Facts, PART_SLOTS, part_of, slot};
use crate::ids::{GroupId, SLOTS, Slot};

/// Slots of one owner and of one part that all weigh the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub first: Slot,
    pub last: Slot,
}

impl Piece {
    pub fn count(self) -> u16 {
        self.last.get() - self.first.get() + 1
    }

    pub fn meets(self, first: Slot, last: Slot) -> bool {
        self.first <= last && first <= self.last
    }

    /// Whether a neighbour of it is of `group`.
    pub fn touches(self, facts: &Facts<'_>, group: &GroupId) -> bool {
        self.touches_below(facts, group) || self.touches_above(facts, group)
    }

    fn touches_below(self, facts: &Facts<'_>, group: &GroupId) -> bool {
        let below = self.first.get().checked_sub(1);
        below.is_some_and(|below| owner(facts, below) == Some(group))
    }

    fn touches_above(self, facts: &Facts<'_>, group: &GroupId) -> bool {
        let above = self.last.get() + 1;
        above < SLOTS && owner(facts, above) == Some(group)
    }

    /// `count` of its slots: those at the end where `group` has slots already, else the last ones.
    pub fn cut(self, facts: &Facts<'_>, group: &GroupId, count: u16) -> Self {
        let below = self.touches_below(facts, group) && !self.touches_above(facts, group);
        match below {
            true => Self { last: slot(self.first.get() + count - 1), ..self },
            false => Self { first: slot(self.last.get() + 1 - count), ..self },
        }
    }
}

fn owner<'a>(facts: &Facts<'a>, number: u16) -> Option<&'a GroupId> {
    let at = facts.owners.partition_point(|(first, ..)| first.get() <= number);
    let (_, last, group) = facts.owners[..at].last()?;
    (number <= last.get()).then_some(group)
}

/// The slots of `group`, cut where a part ends and around those that weigh more than the others.
pub(super) fn owned<'a>(
    facts: &'a Facts<'_>,
    group: &'a GroupId,
) -> impl Iterator<Item = Piece> + 'a {
    let ranges = facts.owners.iter().filter(move |(_, _, owner)| owner == group);
    let parts = ranges.flat_map(|(first, last, _)| {
        let (first, last) = (*first, *last);
        (part_of(first)..=part_of(last)).map(move |part| {
            let begin = u16::from(part) * PART_SLOTS;
            let end = slot(begin + (PART_SLOTS - 1));
            Piece { first: first.max(slot(begin)), last: last.min(end) }
        })
    });
    parts.flat_map(|part| cut_at_tops(facts, part))
}

fn cut_at_tops(facts: &Facts<'_>, part: Piece) -> Vec<Piece> {
    let (mut cut, mut rest) = (Vec::with_capacity(1), Some(part));
    for top in facts.weights.tops(part.first, part.last) {
        let Some(Piece { first, last }) = rest else { break };
        if first < top {
            cut.push(Piece { first, last: slot(top.get() - 1) });
        }
        cut.push(Piece { first: top, last: top });
        rest = (top < last).then(|| Piece { first: slot(top.get() + 1), last });
    }
    cut.extend(rest);
    cut
}

/// The same without slots of moves that have not ended.
pub(super) fn pieces(facts: &Facts<'_>, group: &GroupId) -> Vec<Piece> {
    let mut free: Vec<Piece> = owned(facts, group).collect();
    for it in facts.moves {
        let cut = free.into_iter().flat_map(|piece| {
            if !piece.meets(it.first, it.last) {
                return [Some(piece), None];
            }
            let below =
                (piece.first < it.first).then(|| Piece { last: slot(it.first.get() - 1), ..piece });
            let above =
                (piece.last > it.last).then(|| Piece { first: slot(it.last.get() + 1), ..piece });
            [below, above]
        });
        free = cut.flatten().collect();
    }
    free
}
