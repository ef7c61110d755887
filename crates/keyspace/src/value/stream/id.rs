//! IDs of entries: a time in milliseconds and a number.

use cairn_resp::number::push_u64;

/// An entry's ID.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// Milliseconds since 1970, if it was made from the time.
    pub ms: u64,
    /// Counts entries of one millisecond.
    pub seq: u64,
}

/// Numbers above it share a position.
const SEQ_POSITIONS: u64 = 1 << 20;
/// And so do times above it.
const MS_POSITIONS: u64 = (u64::MAX >> 20) - 1;

impl Id {
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    pub fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The one behind it.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_add(1).map(|ms| Self { ms, seq: 0 }),
        }
    }

    /// The one before it.
    pub fn before(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { seq, ..self }),
            None => self.ms.checked_sub(1).map(|ms| Self { ms, seq: u64::MAX }),
        }
    }

    /// Its place when copies are compared: in the order of IDs, and 1 at least. IDs of a
    /// millisecond whose numbers are above a million have one place, as have those beyond the year
    /// 500,000.
    pub fn position(self) -> u64 {
        let seq = if self.ms > MS_POSITIONS { u64::MAX } else { self.seq };
        (self.ms.min(MS_POSITIONS) << 20 | seq.min(SEQ_POSITIONS - 1)).max(1)
    }

    /// The first ID with this place.
    pub fn at_position(position: u64) -> Self {
        match position {
            0 | 1 => Self::MIN,
            _ => Self { ms: position >> 20, seq: position & (SEQ_POSITIONS - 1) },
        }
    }

    /// Its text, as clients are given it.
    pub fn text(self) -> Vec<u8> {
        let mut text = Vec::with_capacity(41);
        push_u64(&mut text, self.ms);
        text.push(b'-');
        push_u64(&mut text, self.seq);
        text
    }

    /// What distinguishes it from the first ID of its block, as the block keeps it.
    pub fn minus(self, first: Self) -> (i64, i64) {
        (self.ms.wrapping_sub(first.ms) as i64, self.seq.wrapping_sub(first.seq) as i64)
    }

    /// The ID that differs so from this one.
    pub fn plus(self, (ms, seq): (i64, i64)) -> Self {
        Self { ms: self.ms.wrapping_add(ms as u64), seq: self.seq.wrapping_add(seq as u64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_neighbours_but_at_the_ends() {
        let end = Id::new(7, u64::MAX);
        assert_eq!(end.next(), Some(Id::new(8, 0)));
        assert_eq!(Id::new(8, 0).before(), Some(end));
        assert_eq!((Id::MAX.next(), Id::MIN.before()), (None, None));
        assert_eq!(Id::new(3, 4).plus(Id::new(9, 1).minus(Id::new(3, 4))), Id::new(9, 1));
    }

    #[test]
    fn positions_have_the_order_of_ids() {
        let ids = [
            Id::MIN,
            Id::new(0, 1),
            Id::new(0, 5),
            Id::new(0, u64::MAX),
            Id::new(1, 0),
            Id::new(1_700_000_000_000, 0),
            Id::new(1_700_000_000_000, 1),
            Id::new(MS_POSITIONS, 5),
            Id::new(MS_POSITIONS + 1, 0),
            Id::new(u64::MAX, 9),
            Id::MAX,
        ];
        assert!(ids.is_sorted_by_key(|id| id.position()));
        for id in ids {
            let position = id.position();
            assert!(Id::at_position(position) <= id && position < u64::MAX);
            assert!(Id::at_position(position).position() == position);
        }
    }
}
