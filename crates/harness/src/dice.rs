//! Numbers drawn from a seed: the same seed gives the same numbers.

/// A small generator (xorshift); tests need variety and repetition, not quality.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// A generator whose numbers follow from `seed` alone.
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give similar numbers, and the state may not be 0.
        Self(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number from 0 up to, and without, `bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.checked_rem(bound).unwrap_or(0)
    }

    /// One of the given things, if there is any.
    pub fn pick<'a, T>(&mut self, things: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(things.len()).unwrap_or(u64::MAX));
        things.get(usize::try_from(at).unwrap_or(0))
    }
}
