//! Entries drawn at random.

use super::segment::CAP_MAX;
use super::{Entry, SCAN_BITS, Table};
use crate::dice::Dice;

/// After so many places without an entry the next ones behind a place will do.
const TRIES_MAX: usize = 128;
/// How many of those are drawn from.
const NEAR: usize = 32;

impl<T> Table<T> {
    /// An entry drawn at random, each with the same chance as long as the table is not nearly
    /// empty; none if there are none.
    pub fn random(&self, dice: &mut Dice) -> Option<Entry<'_, T>> {
        if self.len() == 0 {
            return None;
        }
        for _ in 0..TRIES_MAX {
            let segment = self.segment(dice.below(self.directory.len().max(1)));
            // One that stands in several places is met more often, so less of it is looked at.
            let places = match self.directory.len() {
                0 => usize::from(segment.cap()),
                _ => usize::from(segment.cap().max(CAP_MAX)) * self.copies(segment),
            };
            let word = segment.word(dice.below(places.max(1)));
            if let Some(word) = word.filter(|word| *word != 0) {
                return Some(self.entry_of(word));
            }
        }
        let from = dice.next() >> (64 - SCAN_BITS);
        let mut near = Vec::with_capacity(NEAR);
        if self.scan(from, NEAR, |entry| near.push(entry)).is_none() && near.len() < NEAR {
            self.scan(0, NEAR - near.len(), |entry| near.push(entry));
        }
        let index = dice.below(near.len().max(1));
        near.into_iter().nth(index)
    }
}
