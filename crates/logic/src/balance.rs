//! Which slots to move next, so that a keyspace has the groups it asks for and all carry alike: one
//! step at a time, or none, and why.
//!
//! Pure and deterministic: two planners that see the same facts want the same. Groups that are
//! asked for no longer are emptied first, then retired; then slots go from the group that carries
//! most to the one that carries least, as long as that lowers the sum of squares of what groups
//! carry, so it ends (see the tests). What a person has moved or cancelled lately is left alone.

mod pieces;
#[cfg(test)]
mod tests;
mod weights;

pub use weights::{Load, PART_SLOTS, PARTS, Parts, Top, Weights, part_of};

use crate::ids::{GroupId, SLOTS, Slot};
use crate::moves::{Hand, Move, MoveId, Phase};
use crate::slots::Range;
use pieces::{Piece, pieces};

/// Moves of a keyspace whose remains are not deleted yet: with more the next one waits.
const REMAINS_MAX: usize = 8;
/// Steps of an outlook at most: a keyspace that is emptied and filled takes 64 for each group.
const OUTLOOK_MAX: usize = 4096;

/// A group that has, or is to have, slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub id: GroupId,
    /// Whether it has a master that is there.
    pub ready: bool,
}

/// What there is to decide from.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The groups asked for, in order.
    pub wanted: &'a [Candidate],
    /// Groups that are there and asked for no longer, in order.
    pub leaving: &'a [Candidate],
    /// Who owns which slots, sorted.
    pub owners: &'a [Range],
    /// Moves that have not ended.
    pub moves: &'a [Move],
    /// What a slot weighs.
    pub weights: &'a Weights,
    /// What people have done lately.
    pub hands: &'a [Hand],
    /// Whether a person has stopped the planner.
    pub paused: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Begin this move.
    Move {
        /// The first slot.
        first: Slot,
        /// The last one.
        last: Slot,
        /// Who owns them.
        source: GroupId,
        /// Who is to own them.
        target: GroupId,
    },
    /// Give this move up: its target is asked for no longer.
    Cancel(MoveId),
    /// Let go of the members of this group: it has no slots.
    Retire(GroupId),
}

/// The next thing to do, if any, and why, in a sentence without a full stop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What; `None`: nothing now.
    pub next: Option<Next>,
    /// Why that, or what is waited for.
    pub why: String,
    /// Whether nothing is left to do, nor waited for.
    pub rests: bool,
}

impl Step {
    fn none(why: impl Into<String>) -> Self {
        Self { next: None, why: why.into(), rests: false }
    }

    fn rest(why: String) -> Self {
        Self { rests: true, ..Self::none(why) }
    }

    fn of(next: Next, why: String) -> Self {
        Self { next: Some(next), why, rests: false }
    }
}

/// What a group carries.
#[derive(Clone, Copy)]
struct Carried<'a> {
    group: &'a Candidate,
    weight: u64,
}

/// The next step.
#[must_use]
pub fn next(facts: &Facts<'_>) -> Step {
    if facts.paused {
        return Step::none("paused: `cairn rebalance KEYSPACE --resume` goes on");
    }
    if let Some(step) = under_way(facts) {
        return step;
    }
    let wait = match empty(facts) {
        Some(step) if step.next.is_some() => return step,
        wait => wait,
    };
    let step = balance(facts);
    if step.next.is_some() { step } else { wait.unwrap_or(step) }
}

/// What is to be said about moves that have not ended; none: another one may begin.
fn under_way(facts: &Facts<'_>) -> Option<Step> {
    let copies = || facts.moves.iter().filter(|it| it.phase == Phase::Copy);
    let leaves = |it: &&Move| facts.leaving.iter().any(|group| group.id == it.target);
    let by_hand = |it: &Move| facts.hands.iter().any(|hand| it.meets(hand.first, hand.last));
    if let Some(it) = copies().filter(leaves).find(|it| !by_hand(it)) {
        let why = format!("{} is to go, and gets no slots any more", it.target);
        return Some(Step::of(Next::Cancel(it.id), why));
    }
    if let Some(it) = copies().next() {
        let (slots, to) = (range(it.first, it.last), &it.target);
        return Some(Step::none(format!("waits for move {}: {slots} to {to}", it.id)));
    }
    let remains = facts.moves.len();
    let why = format!("waits until what {remains} moves have left behind is deleted");
    (remains >= REMAINS_MAX).then(|| Step::none(why))
}

/// Empties and retires groups that are asked for no longer, the last one first.
fn empty(facts: &Facts<'_>) -> Option<Step> {
    let mut wait = None;
    for leaving in facts.leaving.iter().rev() {
        let id = &leaving.id;
        let named = |it: &&Move| it.source == *id || it.target == *id;
        if owned(facts, id) == 0 {
            if let Some(it) = facts.moves.iter().find(named) {
                let why = format!("{id} is to go when what move {} has left is deleted", it.id);
                wait.get_or_insert(Step::none(why));
                continue;
            }
            let why = format!("{id} is to go, and has no slots");
            return Some(Step::of(Next::Retire(id.clone()), why));
        }
        if !leaving.ready {
            wait.get_or_insert(Step::none(format!("{id} is to go, and has no master")));
            continue;
        }
        let cancelled = |piece: &Piece| {
            facts.hands.iter().any(|hand| hand.cancelled && piece.meets(hand.first, hand.last))
        };
        let Some(target) = carried(facts, facts.wanted).into_iter().min_by_key(|it| it.weight)
        else {
            wait.get_or_insert(Step::none(format!("{id} is to go, and no group has a master")));
            continue;
        };
        let target = &target.group.id;
        let mut free = pieces(facts, id);
        free.retain(|piece| !cancelled(piece));
        let best = free.into_iter().max_by_key(|piece| (piece.touches(facts, target), piece.first));
        let Some(piece) = best else {
            let why = format!("{id} is to go; a person has lately cancelled moves of its slots");
            wait.get_or_insert(Step::none(why));
            continue;
        };
        let why = format!("{id} is to go, and has {} slots", owned(facts, id));
        return Some(step(piece, id, target, why));
    }
    wait
}

/// Moves slots from a group that carries much to the one that carries least.
fn balance(facts: &Facts<'_>) -> Step {
    let waits = facts.wanted.iter().find(|group| !group.ready);
    let mut all = carried(facts, facts.wanted);
    all.sort_by_key(|it| std::cmp::Reverse(it.weight));
    let (Some(most), Some(least)) = (all.first().copied(), all.last().copied()) else {
        return Step::none("no group has a master");
    };
    let mean = all.iter().map(|it| it.weight).sum::<u64>() / all.len() as u64;
    let tolerance = mean / 100 * facts.weights.tolerance_percent();
    let percent = |it: &Carried<'_>| (it.weight * 100).checked_div(mean).unwrap_or(0);
    let (target, new) = (&least.group.id, owned(facts, &least.group.id) == 0);
    let uneven = |it: &&Carried<'_>| it.weight - least.weight > tolerance;
    for source in all.iter().filter(uneven) {
        let gap = source.weight - least.weight;
        let id = &source.group.id;
        let Some(piece) = best_piece(facts, (id, target), gap) else { continue };
        let why = match new {
            true => format!("{target} has no slots yet"),
            false => {
                let (more, less) = (percent(source), percent(&least));
                format!("{id} carries {more} % of the mean, {target} {less} %")
            }
        };
        return step(piece, id, target, why);
    }
    let (first, last) = (&most.group.id, percent(&most));
    match (waits, all.iter().any(|it| it.weight - least.weight > tolerance)) {
        (Some(group), _) => Step::none(format!("{} has no master yet", group.id)),
        (None, true) => Step::rest(format!(
            "{first} carries {last} % of the mean, and nothing that may be moved makes that better"
        )),
        (None, false) => Step::rest(format!("balanced: {first} carries {last} % of the mean")),
    }
}

/// The slots of `source` that bring it and the target nearest to each other, `gap` being what
/// `source` carries more. All slots of a piece weigh the same.
fn best_piece(
    facts: &Facts<'_>,
    (source, target): (&GroupId, &GroupId),
    gap: u64,
) -> Option<Piece> {
    let mut free = pieces(facts, source);
    free.retain(|it| !facts.hands.iter().any(|hand| it.meets(hand.first, hand.last)));
    let cut = free.into_iter().filter_map(|piece| {
        let each = facts.weights.of_slot(source, piece.first);
        let count = (gap / 2 / each.max(1)).clamp(1, u64::from(piece.count()));
        let moved = each * count;
        let count = u16::try_from(count).expect("at most a piece's slots");
        let left_over = gap.abs_diff(2 * moved);
        // With less than the gap the sum of squares gets lower.
        (0 < moved && moved < gap).then(|| (left_over, piece.cut(facts, target, count)))
    });
    let best = cut.max_by_key(|(left_over, piece)| {
        (std::cmp::Reverse(*left_over), piece.touches(facts, target), piece.first)
    });
    best.map(|(_, piece)| piece)
}

fn step(piece: Piece, source: &GroupId, target: &GroupId, why: String) -> Step {
    let (source, target) = (source.clone(), target.clone());
    let next = Next::Move { first: piece.first, last: piece.last, source, target };
    Step::of(next, why)
}

fn owned(facts: &Facts<'_>, group: &GroupId) -> usize {
    let ranges = facts.owners.iter().filter(|(_, _, owner)| owner == group);
    ranges.map(|(first, last, _)| usize::from(last.get() - first.get()) + 1).sum()
}

/// Those that have a master, in order, and what they carry.
fn carried<'a>(facts: &Facts<'_>, groups: &'a [Candidate]) -> Vec<Carried<'a>> {
    let all = groups.iter().filter(|group| group.ready);
    let weight = |group: &Candidate| {
        let all = pieces::owned(facts, &group.id);
        let weight = |it: Piece| facts.weights.of_slot(&group.id, it.first) * u64::from(it.count());
        all.map(weight).sum()
    };
    all.map(|group| Carried { group, weight: weight(group) }).collect()
}

/// Slots in words.
#[must_use]
pub fn range(first: Slot, last: Slot) -> String {
    match first == last {
        true => format!("slot {}", first.get()),
        false => format!("slots {}-{}", first.get(), last.get()),
    }
}

/// What would be done until nothing is left to do, as if each move took no time and weights stayed.
/// A step that waits ends it.
#[must_use]
pub fn outlook(facts: &Facts<'_>) -> Vec<Step> {
    let (mut owners, mut leaving) = (facts.owners.to_vec(), facts.leaving.to_vec());
    let mut steps = Vec::new();
    // What is under way ends well.
    for it in facts.moves.iter().filter(|it| it.phase == Phase::Copy) {
        owners = crate::slots::given(&owners, (it.first, it.last), &it.target);
    }
    while steps.len() < OUTLOOK_MAX {
        let now = Facts { owners: &owners, leaving: &leaving, moves: &[], ..*facts };
        let step = next(&now);
        let more = match &step.next {
            Some(Next::Move { first, last, target, .. }) => {
                owners = crate::slots::given(&owners, (*first, *last), target);
                true
            }
            Some(Next::Retire(id)) => {
                leaving.retain(|group| group.id != *id);
                true
            }
            Some(Next::Cancel(_)) | None => false,
        };
        steps.push(step);
        if !more {
            break;
        }
    }
    steps
}

fn slot(number: u16) -> Slot {
    Slot::try_from(number.min(SLOTS - 1)).expect("bounded")
}
