//! The keyed hash of keys: fast, and not to be predicted without its seed.

use crate::dice::Dice;

/// Hashes keys with secrets drawn from a seed.
#[derive(Clone, Copy, Debug)]
pub struct Hasher {
    secret: [u64; 4],
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[inline]
fn half(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")))
}

impl Hasher {
    /// A hasher whose secrets follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // The secrets only have to differ and be odd.
        let mut dice = Dice::new(seed);
        let mut next = || dice.next() | 1;
        Self { secret: [next(), next(), next(), next()] }
    }

    /// The hash of `bytes`.
    #[must_use]
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let [s0, s1, s2, s3] = self.secret;
        let len = bytes.len();
        let (a, b, state) = match len {
            0 => (0, 0, s0),
            1..=3 => {
                let (first, middle, last) = (bytes[0], bytes[len / 2], bytes[len - 1]);
                let all = u64::from(first) << 16 | u64::from(middle) << 8 | u64::from(last);
                (all, 0, s0)
            }
            4..=8 => (half(bytes, 0), half(bytes, len - 4), s0),
            9..=16 => (word(bytes, 0), word(bytes, len - 8), s0),
            _ => (word(bytes, len - 16), word(bytes, len - 8), self.long(bytes)),
        };
        let mixed = fold(a ^ s1, b ^ state);
        fold(mixed ^ s2, s3 ^ len as u64)
    }

    fn long(&self, bytes: &[u8]) -> u64 {
        let [s0, s1, s2, _] = self.secret;
        let mut state = s0;
        let mut at = 0;
        while bytes.len() - at > 16 {
            state = fold(word(bytes, at) ^ s1, word(bytes, at + 8) ^ state ^ s2).rotate_left(23)
                ^ state.wrapping_mul(s1);
            at += 16;
        }
        state
    }
}

/// A fixed hash, the same on every node, for digests.
#[must_use]
pub fn fixed(bytes: &[u8]) -> u64 {
    const FIXED: Hasher = Hasher {
        secret: [
            0xa076_1d64_78bd_642f,
            0xe703_7ed1_a0b4_28db,
            0x8ebc_6af0_9c88_c6e3,
            0x5899_65cc_7537_4cc3,
        ],
    };
    FIXED.hash(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_length_and_byte_counts() {
        let hasher = Hasher::new(7);
        let mut seen = BTreeSet::new();
        for len in 0..100 {
            let mut bytes = vec![1_u8; len];
            assert!(seen.insert(hasher.hash(&bytes)), "length {len}");
            for at in 0..len {
                bytes[at] = 2;
                assert!(seen.insert(hasher.hash(&bytes)), "length {len}, byte {at}");
                bytes[at] = 1;
            }
        }
    }

    #[test]
    fn the_seed_changes_every_hash() {
        assert_ne!(Hasher::new(1).hash(b"key"), Hasher::new(2).hash(b"key"));
    }

    #[test]
    fn high_bits_are_spread_evenly() {
        let hasher = Hasher::new(3);
        let mut buckets = [0_u32; 256];
        for number in 0..25_600_u32 {
            let key = format!("key:{number:012}");
            buckets[(hasher.hash(key.as_bytes()) >> 56) as usize] += 1;
        }
        let worst = buckets.iter().max().unwrap();
        assert!(*worst < 150, "{worst}");
    }
}
