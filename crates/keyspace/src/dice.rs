//! Random choices of a command, from a number that the keyspace gave.

use std::collections::BTreeSet;

/// A row of numbers that look random.
#[derive(Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

/// Chooses `count` of the `len` things that are shown to it one after the other.
pub(crate) struct Chooser {
    wanted: usize,
    left: usize,
}

impl Chooser {
    pub fn new(count: usize, len: usize) -> Self {
        Self { wanted: count.min(len), left: len }
    }

    /// Whether the next thing is one of them.
    pub fn takes(&mut self, dice: &mut Dice) -> bool {
        let takes = self.left > 0 && dice.below(self.left) < self.wanted;
        self.left = self.left.saturating_sub(1);
        self.wanted -= usize::from(takes);
        takes
    }
}

/// `count` different things at random out of `len`, or all if there are no more: `all` shows them,
/// `one` draws one.
pub(crate) fn sample<T: Ord>(
    (count, len): (usize, usize),
    dice: &mut Dice,
    all: impl Iterator<Item = T>,
    mut one: impl FnMut(&mut Dice) -> Option<T>,
) -> Vec<T> {
    if count.saturating_mul(3) > len {
        let mut chooser = Chooser::new(count, len);
        return all.filter(|_| chooser.takes(dice)).collect();
    }
    let mut found = BTreeSet::new();
    while found.len() < count
        && let Some(item) = one(dice)
    {
        found.insert(item);
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_chosen_as_were_asked_for_and_each_as_often() {
        let mut dice = Dice::new(5);
        let mut chosen = [0_usize; 10];
        for _ in 0..10_000 {
            let mut chooser = Chooser::new(3, 10);
            let which: Vec<usize> = (0..10).filter(|_| chooser.takes(&mut dice)).collect();
            assert_eq!(which.len(), 3);
            which.iter().for_each(|index| chosen[*index] += 1);
        }
        assert!(chosen.iter().all(|times| (2700..3300).contains(times)), "{chosen:?}");
    }
}
