//! Choices that follow from a seed.

/// The harness's dice, with what makes commands shorter to write.
pub struct Dice(cairn_harness::dice::Dice);

impl Dice {
    /// The row of a seed and a number beside it.
    pub fn new(seed: u64, beside: u64) -> Self {
        Self(cairn_harness::dice::Dice::new(seed.wrapping_mul(1_000_003).wrapping_add(beside)))
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.below(bound as u64) as usize
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of several.
    pub fn one<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}
