//! The end of the log in memory, so that sending and applying rarely read files.

use cairn_logic::batch::Batch;
use cairn_logic::ids::Offset;
use std::collections::VecDeque;

/// Recent batches in order, bounded by the bytes of their bodies.
#[derive(Debug)]
pub struct Tail {
    batches: VecDeque<Batch>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// An empty tail that keeps at most `bytes_max` bytes (and always the newest batch).
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Adds the next batch; one that does not follow the last starts the tail anew.
    pub fn push(&mut self, batch: Batch) {
        let follows =
            self.batches.back().is_none_or(|b| b.head.last_offset().next() == batch.head.first);
        if !follows {
            self.clear();
        }
        self.bytes += batch.body.len();
        self.batches.push_back(batch);
        while self.bytes > self.bytes_max && self.batches.len() > 1 {
            if let Some(old) = self.batches.pop_front() {
                self.bytes -= old.body.len();
            }
        }
    }

    /// Forgets everything after `after`.
    pub fn cut(&mut self, after: Offset) {
        while self.batches.back().is_some_and(|b| b.head.last_offset() > after) {
            if let Some(old) = self.batches.pop_back() {
                self.bytes -= old.body.len();
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.batches.clear();
        self.bytes = 0;
    }

    /// Whole batches that begin at `from`, none that ends beyond `up_to`, at least one if there is
    /// one and else at most `bytes_max`; `None` when `from` is not held.
    #[must_use]
    pub fn read(&self, from: Offset, up_to: Offset, bytes_max: usize) -> Option<Vec<Batch>> {
        let at = self.batches.binary_search_by_key(&from, |b| b.head.first).ok()?;
        let mut bytes = 0;
        let wanted = self.batches.iter().skip(at).take_while(|b| {
            bytes += b.body.len();
            b.head.last_offset() <= up_to && (bytes <= bytes_max || bytes == b.body.len())
        });
        Some(wanted.cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cairn_logic::batch::BatchHead;
    use cairn_logic::ids::Epoch;

    fn batch(first: u64, count: u32, bytes: usize) -> Batch {
        let head = BatchHead {
            epoch: Epoch(1),
            first: Offset(first),
            count,
            time_ms: 0,
            authority: false,
            opens_epoch: false,
        };
        Batch { head, body: Bytes::from(vec![0; bytes]) }
    }

    fn firsts(batches: Option<Vec<Batch>>) -> Option<Vec<u64>> {
        batches.map(|v| v.iter().map(|b| b.head.first.0).collect())
    }

    #[test]
    fn old_batches_leave_when_the_bound_is_reached() {
        let mut tail = Tail::new(100);
        for first in 1..=5 {
            tail.push(batch(first, 1, 40));
        }
        assert_eq!(firsts(tail.read(Offset(3), Offset(9), 1000)), None);
        assert_eq!(firsts(tail.read(Offset(4), Offset(9), 1000)), Some(vec![4, 5]));
    }

    #[test]
    fn a_read_is_bounded_but_never_empty_handed() {
        let mut tail = Tail::new(1000);
        tail.push(batch(1, 2, 40));
        tail.push(batch(3, 1, 40));
        assert_eq!(firsts(tail.read(Offset(1), Offset(9), 10)), Some(vec![1]));
        assert_eq!(firsts(tail.read(Offset(1), Offset(2), 1000)), Some(vec![1]));
        assert_eq!(firsts(tail.read(Offset(1), Offset(1), 1000)), Some(vec![]));
        assert_eq!(firsts(tail.read(Offset(2), Offset(9), 1000)), None);
    }

    #[test]
    fn a_cut_forgets_what_was_cut() {
        let mut tail = Tail::new(1000);
        tail.push(batch(1, 2, 40));
        tail.push(batch(3, 1, 40));
        tail.cut(Offset(2));
        assert_eq!(firsts(tail.read(Offset(3), Offset(9), 1000)), None);
        assert_eq!(firsts(tail.read(Offset(1), Offset(9), 1000)), Some(vec![1]));
    }
}
