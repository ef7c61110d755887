//! What people have done to a keyspace's slots, which the planner leaves alone for a while.

use super::{MoveId, Moves};
use crate::ids::Slot;
use serde::{Deserialize, Serialize};

/// For how long the planner leaves slots alone that a person has moved, in milliseconds.
pub const HAND_KEPT_MS: u64 = 600_000;
/// So many are remembered; with more the oldest is forgotten.
const HANDS_MAX: usize = 64;

/// A person has moved these slots, or cancelled their move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hand {
    /// The first slot.
    pub first: Slot,
    /// The last one.
    pub last: Slot,
    /// When, in milliseconds since 1970, by the global master's clock.
    pub at_ms: u64,
    /// Whether a move was cancelled.
    #[serde(default, skip_serializing_if = "super::is_false")]
    pub cancelled: bool,
}

impl Moves {
    /// A person has moved slots, or cancelled the move of these.
    pub fn touched(&mut self, (first, last): (Slot, Slot), at_ms: u64, cancelled: bool) {
        self.hands.retain(|hand| is_recent(hand, at_ms));
        // What was done later to the same slots is what counts.
        self.hands.retain(|hand| hand.first < first || last < hand.last);
        if self.hands.len() == HANDS_MAX {
            self.hands.remove(0);
        }
        self.hands.push(Hand { first, last, at_ms, cancelled });
    }

    /// The same about the slots of one of the moves.
    pub fn cancelled(&mut self, id: MoveId, at_ms: u64) {
        if let Some((first, last)) = self.get(id).map(|it| (it.first, it.last)) {
            self.touched((first, last), at_ms, true);
        }
    }

    /// What people have done lately.
    pub fn hands(&self, now_ms: u64) -> impl Iterator<Item = &Hand> {
        self.hands.iter().filter(move |hand| is_recent(hand, now_ms))
    }

    /// The planner begins no moves until it is told to go on, which forgets what people have done.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if !paused {
            self.hands.clear();
        }
    }

    /// Whether the planner begins no moves.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused
    }
}

/// A clock that was set back must not keep the planner away for ever.
fn is_recent(hand: &Hand, now_ms: u64) -> bool {
    hand.at_ms.abs_diff(now_ms) < HAND_KEPT_MS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GroupId;

    fn slot(number: u16) -> Slot {
        Slot::try_from(number).unwrap()
    }

    #[test]
    fn what_people_did_is_kept_for_minutes_and_is_bounded() {
        let mut moves = Moves::default();
        for n in 0..100 {
            moves.touched((slot(n * 10), slot(n * 10 + 5)), 1_000, false);
        }
        assert_eq!(moves.hands(1_000).count(), 64);
        assert_eq!(moves.hands(1_000 + HAND_KEPT_MS).count(), 0);
        moves.touched((slot(0), slot(16383)), 2_000, true);
        assert_eq!(moves.hands(2_000).count(), 1, "it is about the same slots");
    }

    #[test]
    fn going_on_forgets_what_was_done_and_a_pause_stays_until_then() {
        let mut moves = Moves::default();
        let (a, b) = (GroupId::new("t-0"), GroupId::new("t-1"));
        let id = moves.begin((slot(1), slot(2)), &a, &b).unwrap();
        moves.cancelled(id, 7);
        moves.pause(true);
        assert!(moves.is_paused() && moves.hands(7).all(|hand| hand.cancelled));
        moves.pause(false);
        assert_eq!((moves.is_paused(), moves.hands(7).count()), (false, 0));
    }
}
