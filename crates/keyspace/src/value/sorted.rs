//! A sorted set: members in the order of their scores, equal scores in the order of bytes.

use super::packed::{ITEM_BYTES_MAX, ITEMS_MAX, Item, Packed};
use crate::hash::Hasher;
use crate::snapshot::Touch;
use crate::table::SortedTable;

/// Members with scores: few and short ones packed, more in a table with an order.
pub enum Sorted {
    /// Score, member, score, member, … in order.
    Small(Packed),
    /// A table by member, and an order by score.
    Large(SortedTable),
}

impl Default for Sorted {
    fn default() -> Self {
        Sorted::Small(Packed::default())
    }
}

fn read_score(bytes: &[u8]) -> f64 {
    let bits = bytes.try_into().map(u64::from_le_bytes).expect("a score has eight bytes");
    f64::from_bits(bits)
}

fn pairs(packed: &Packed) -> impl Iterator<Item = (Item, Item)> {
    let mut places = packed.places();
    std::iter::from_fn(move || Some((places.next()?, places.next()?)))
}

fn scored(packed: &Packed) -> impl Iterator<Item = (f64, &[u8])> {
    pairs(packed).map(|(score, member)| (read_score(packed.get(score)), packed.get(member)))
}

fn find(packed: &Packed, member: &[u8]) -> Option<(Item, Item)> {
    pairs(packed).find(|(_, place)| packed.get(*place) == member)
}

fn insert(packed: &mut Packed, score: f64, member: &[u8]) {
    let bytes = score.to_bits().to_le_bytes();
    let next = pairs(packed).find(|(other, name)| {
        let other = read_score(packed.get(*other));
        other > score || (other == score && packed.get(*name) > member)
    });
    match next {
        Some((place, _)) => {
            packed.insert_before(place, member);
            packed.insert_before(place, &bytes);
        }
        None => {
            packed.push(&bytes);
            packed.push(member);
        }
    }
}

impl Sorted {
    /// How many members there are.
    pub fn len(&self) -> usize {
        match self {
            Sorted::Small(packed) => packed.len() / 2,
            Sorted::Large(table) => table.len(),
        }
    }

    /// The room it takes.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Sorted::Small(packed) => packed.memory_bytes(),
            Sorted::Large(table) => table.memory_bytes(),
        }
    }

    /// The score of a member.
    pub fn score(&self, hasher: &Hasher, member: &[u8]) -> Option<f64> {
        match self {
            Sorted::Small(packed) => {
                find(packed, member).map(|(score, _)| read_score(packed.get(score)))
            }
            Sorted::Large(table) => table.score(hasher, member),
        }
    }

    /// Sets a member's score, which is not NaN; gives the former one. -0 becomes 0.
    pub fn set(&mut self, touch: &mut Touch<'_>, member: &[u8], score: f64) -> Option<f64> {
        let score = score + 0.0;
        let packed = match self {
            Sorted::Large(table) => return table.set(touch, member, score),
            Sorted::Small(packed) => packed,
        };
        if let Some((first, last)) = find(packed, member) {
            let old = read_score(packed.get(first));
            if old != score {
                packed.remove(first, last, 2);
                insert(packed, score, member);
            }
            return Some(old);
        }
        if member.len() <= ITEM_BYTES_MAX && packed.len() < ITEMS_MAX * 2 {
            insert(packed, score, member);
            return None;
        }
        let mut table = SortedTable::default();
        for (score, member) in scored(packed) {
            table.set(touch, member, score);
        }
        table.set(touch, member, score);
        *self = Sorted::Large(table);
        None
    }

    /// Removes a member; gives its score.
    pub fn remove(&mut self, touch: &mut Touch<'_>, member: &[u8]) -> Option<f64> {
        match self {
            Sorted::Small(packed) => {
                let (first, last) = find(packed, member)?;
                let score = read_score(packed.get(first));
                packed.remove(first, last, 2);
                Some(score)
            }
            Sorted::Large(table) => table.remove(touch, member),
        }
    }

    /// How many members the leading part for which `before` holds has.
    pub fn rank(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        match self {
            Sorted::Small(packed) => {
                scored(packed).take_while(|(score, member)| before(*score, member)).count()
            }
            Sorted::Large(table) => table.rank(before),
        }
    }

    /// The rank of a member.
    pub fn rank_of(&self, hasher: &Hasher, member: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(hasher, member)?;
        let before = |other: f64, name: &[u8]| other < score || (other == score && name < member);
        Some((self.rank(before), score))
    }

    /// Visits `count` members in order from rank `start` on.
    pub fn for_each(&self, start: usize, count: usize, mut visit: impl FnMut(f64, &[u8])) {
        match self {
            Sorted::Small(packed) => {
                scored(packed).skip(start).take(count).for_each(|(s, m)| visit(s, m));
            }
            Sorted::Large(table) => table.for_each(start, count, visit),
        }
    }

    /// Visits `count` members backwards, beginning `skip` before the end.
    pub fn for_each_back(&self, skip: usize, count: usize, mut visit: impl FnMut(f64, &[u8])) {
        match self {
            Sorted::Small(packed) => {
                let all: Vec<_> = scored(packed).collect();
                all.into_iter().rev().skip(skip).take(count).for_each(|(s, m)| visit(s, m));
            }
            Sorted::Large(table) => table.for_each_back(skip, count, visit),
        }
    }

    /// Removes `count` members from rank `first` on.
    pub fn remove_ranks(&mut self, touch: &mut Touch<'_>, first: usize, count: usize) {
        let mut members = Vec::with_capacity(count.min(self.len()));
        self.for_each(first, count, |_, member| members.push(member.to_vec()));
        for member in &members {
            self.remove(touch, member);
        }
    }

    /// Visits members as [`crate::table::Table::scan`] does; few are visited all at once.
    pub fn scan(&self, from: u64, count: usize, mut visit: impl FnMut(f64, &[u8])) -> Option<u64> {
        match self {
            Sorted::Small(_) => {
                self.for_each(0, self.len(), visit);
                None
            }
            Sorted::Large(table) => table
                .entries()
                .scan(from, count, |entry| visit(read_score(entry.bytes()), entry.key())),
        }
    }
}
