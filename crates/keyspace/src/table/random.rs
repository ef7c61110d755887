//! Entries drawn at random.

use super::segment::{CAP_MAX, EXPIRES};
use super::{Entry, SCAN_BITS, Table};
use crate::dice::Dice;

/// After so many places without an entry the next ones behind a place will do.
const TRIES_MAX: usize = 128;
/// How many of those are drawn from.
const NEAR: usize = 32;
/// So many words are passed over at a time in search of one that expires, and so many times.
const STEP: usize = 512;
const STEPS: usize = 64;

impl<T> Table<T> {
    /// An entry that expires, drawn at random, or one near to it; none if none was found among the
    /// many that were passed over. From `at` on, if it is given, instead of a random position;
    /// afterwards it says where to go on.
    pub fn random_expiring(&self, dice: &mut Dice, at: &mut Option<u64>) -> Option<Entry<'_, T>> {
        if self.len() == 0 {
            return None;
        }
        if at.is_none() {
            let drawn = (0..TRIES_MAX).find_map(|_| self.word_drawn(dice, EXPIRES));
            if let Some(word) = drawn {
                return Some(self.entry_of(word));
            }
        }
        let mut next = at.take().unwrap_or_else(|| dice.next() >> (64 - SCAN_BITS));
        for _ in 0..STEPS {
            let mut found = None;
            let (_, on) = self.scan_expiring(next, STEP, |entry| {
                found.get_or_insert(entry);
            });
            if found.is_some() {
                return found;
            }
            next = on.unwrap_or(0);
        }
        *at = Some(next);
        None
    }

    /// A word drawn at random, if one with these flags was met.
    fn word_drawn(&self, dice: &mut Dice, flags: u64) -> Option<u64> {
        let segment = self.segment(dice.below(self.directory.len().max(1)));
        // One that stands in several places is met more often, so less of it is looked at.
        let places = match self.directory.len() {
            0 => usize::from(segment.cap()),
            _ => usize::from(segment.cap().max(CAP_MAX)) * self.copies(segment),
        };
        let word = segment.word(dice.below(places.max(1)));
        word.filter(|word| *word != 0 && word & flags == flags)
    }

    /// An entry drawn at random, each with the same chance as long as the table is not nearly
    /// empty; none if there are none.
    pub fn random(&self, dice: &mut Dice) -> Option<Entry<'_, T>> {
        if self.len() == 0 {
            return None;
        }
        let drawn = (0..TRIES_MAX).find_map(|_| self.word_drawn(dice, 0));
        if let Some(word) = drawn {
            return Some(self.entry_of(word));
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
