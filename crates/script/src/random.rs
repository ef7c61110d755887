//! `math.random` as scripts of Redis know it: POSIX's `lrand48` (IEEE Std 1003.1, drand48).

const FACTOR: u64 = 0x5_DEEC_E66D;
const TERM: u64 = 0xB;
const MASK: u64 = (1 << 48) - 1;
const LOW: u64 = 0x330E;

/// The generator's 48 bits.
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// As `srand48` leaves it.
    pub fn new(seed: i32) -> Self {
        Self(u64::from(seed as u32) << 16 | LOW)
    }

    /// A number from 0 up to, but without, 1.
    pub fn fraction(&mut self) -> f64 {
        self.0 = (self.0.wrapping_mul(FACTOR).wrapping_add(TERM)) & MASK;
        let most = f64::from(i32::MAX);
        ((self.0 >> 17) as f64 % most) / most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `EVAL "math.randomseed(7) …"` of redis-server 7.0.15.
    #[test]
    fn the_numbers_are_those_that_redis_gives() {
        let mut random = Random::new(7);
        let numbers = [(); 2].map(|()| (random.fraction() * 1e6).floor() + 1.0);
        assert_eq!(numbers, [266_445.0, 682_036.0]);
    }
}
