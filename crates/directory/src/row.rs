//! A row of handles that grows at its end and shrinks at its front, in pieces of one size.
//!
//! In one piece it would be copied as a whole whenever it is full, into memory that the kernel
//! clears first: at eight million handles a write waited for 280 ms, at the master and, for they
//! hold the same, at its replicas at the same time.

use crate::heap::Handle;
use std::collections::VecDeque;

/// Handles in a piece: 64 KiB.
const PIECE: usize = 1 << 14;

/// The row. All pieces but the last are full.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pieces: VecDeque<Vec<Handle>>,
    /// How many of the first piece are gone; less than all of a full one.
    gone: usize,
}

impl Row {
    /// How many there are.
    pub fn len(&self) -> usize {
        let last = self.pieces.back().map_or(0, Vec::len);
        self.pieces.len().saturating_sub(1) * PIECE + last - self.gone
    }

    /// The one at `place`, if there is one.
    pub fn get(&self, place: usize) -> Option<Handle> {
        let at = self.gone + place;
        self.pieces.get(at / PIECE)?.get(at % PIECE).copied()
    }

    /// The last one.
    pub fn last(&self) -> Option<Handle> {
        self.get(self.len().checked_sub(1)?)
    }

    /// Adds one at the end.
    pub fn push(&mut self, handle: Handle) {
        if let Some(last) = self.pieces.back_mut().filter(|last| last.len() < PIECE) {
            return last.push(handle);
        }
        let mut piece = Vec::with_capacity(PIECE);
        piece.push(handle);
        self.pieces.push_back(piece);
    }

    /// Takes the first one away.
    pub fn pop(&mut self) -> Option<Handle> {
        let first = self.get(0)?;
        self.gone += 1;
        if self.gone == PIECE {
            self.pieces.pop_front();
            self.gone = 0;
        }
        Some(first)
    }

    /// How many come before the first that is not `before`; of those that are, none comes behind
    /// one that is not.
    pub fn partition_point(&self, before: impl Fn(Handle) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).is_some_and(&before) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        low
    }

    /// Those from `place` on.
    pub fn range_from(&self, place: usize) -> impl Iterator<Item = Handle> {
        (place..self.len()).filter_map(|place| self.get(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle(number: usize) -> Handle {
        Handle::from_bytes(u32::try_from(number).unwrap().to_le_bytes())
    }

    #[test]
    fn a_row_is_what_a_deque_is() {
        let (mut row, mut deque) = (Row::default(), VecDeque::new());
        let (mut dice, mut made) = (7_u64, 0);
        for _ in 0..400 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (pushes, pops) = ((dice >> 33) % 3000, (dice >> 50) % 3000);
            for _ in 0..pushes {
                made += 1;
                row.push(handle(made));
                deque.push_back(handle(made));
            }
            for _ in 0..pops {
                assert_eq!(row.pop(), deque.pop_front());
            }
            assert_eq!((row.len(), row.last()), (deque.len(), deque.back().copied()));
            assert_eq!((row.get(0), row.get(deque.len())), (deque.front().copied(), None));
            let middle = deque.len() / 2;
            assert!(row.range_from(middle).eq(deque.range(middle..).copied()));
            let number = |handle: Handle| u32::from_le_bytes(handle.to_bytes());
            let bound = deque.get(middle).map_or(0, |it| number(*it));
            assert_eq!(row.partition_point(|it| number(it) < bound), middle);
        }
        assert!(made > 5 * PIECE);
        while row.pop().is_some() {}
        assert_eq!((row.len(), row.last(), row.pop()), (0, None, None));
        row.push(handle(5));
        assert_eq!((row.len(), row.get(0)), (1, Some(handle(5))));
    }
}
