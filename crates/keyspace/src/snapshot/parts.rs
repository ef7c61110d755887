//! Which parts of a table or of a text were written already.

use crate::table::SCAN_BITS;

/// Entries in a part of a table, up to twice as many, unless there are very many of them.
const PART_ENTRIES: usize = 32;
/// So many leading bits of the hash every table counts in a position.
const BITS_MAX: u32 = 16;

/// The parts of something, each written or not.
pub(super) struct Parts {
    /// By how many leading bits of the hash a table is cut.
    bits: u32,
    written: Vec<bool>,
    /// All before it are written.
    next: usize,
}

impl Parts {
    /// Those of a table with `len` entries.
    pub fn of_table(len: usize) -> Self {
        let bits = (len / PART_ENTRIES).max(1).ilog2().min(BITS_MAX);
        Self { bits, written: vec![false; 1 << bits], next: 0 }
    }

    /// So many.
    pub fn of_count(count: usize) -> Self {
        Self { bits: 0, written: vec![false; count], next: 0 }
    }

    /// In which part of a table a hash is.
    pub fn of_hash(&self, hash: u64) -> usize {
        hash.checked_shr(u64::BITS - self.bits).unwrap_or(0) as usize
    }

    /// The positions of a part of a table.
    pub fn positions(&self, part: usize) -> (u64, u64) {
        let unit = SCAN_BITS - self.bits;
        ((part as u64) << unit, (part as u64 + 1) << unit)
    }

    /// Whether a part has to be written now; from now on it counts as written.
    pub fn take(&mut self, part: usize) -> bool {
        self.written.get_mut(part).is_some_and(|written| !std::mem::replace(written, true))
    }

    /// The next one that has to be written; from now on it counts as written.
    pub fn take_next(&mut self) -> Option<usize> {
        while self.next < self.written.len() {
            self.next += 1;
            if self.take(self.next - 1) {
                return Some(self.next - 1);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_is_in_one_part_and_every_part_is_written_once() {
        for len in [0, 31, 64, 300, 5000, 1 << 30] {
            let mut parts = Parts::of_table(len);
            let mut end = 0;
            for part in 0..parts.written.len() {
                let (from, to) = parts.positions(part);
                assert_eq!(from, end, "{len}");
                end = to;
                for position in [from, to - 1] {
                    assert_eq!(parts.of_hash(position << (64 - SCAN_BITS)), part, "{len}");
                }
            }
            assert_eq!(end, 1 << SCAN_BITS);
            let count = parts.written.len();
            assert!(parts.take(count / 2) && !parts.take(count / 2) && !parts.take(count));
            assert_eq!(std::iter::from_fn(|| parts.take_next()).count(), count - 1);
        }
    }
}
