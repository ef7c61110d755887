//! Members with scores, found by member and by order; each member is kept once.
//!
//! The order holds addresses of the table's entries. That is sound because entries never move:
//! the table moves words, and a score is overwritten in place. An entry leaves the order before it
//! leaves the table, and both are private here.
#![allow(unsafe_code)]

use super::entry::{Payload, Raw};
use super::segment::address;
use super::{Never, Table};
use crate::hash::Hasher;
use crate::order::Order;
use crate::snapshot::Touch;
use std::cmp::Ordering;

/// An element of the order: the score, and the address of the member's entry.
#[derive(Clone, Copy)]
struct Ranked {
    score: f64,
    entry: u64,
}

impl Ranked {
    /// The member; only to be called while the entry is in the table.
    fn member(&self) -> &[u8] {
        // SAFETY: the order holds live entries only (see the head of this file), and `&self` is
        // borrowed from the order or from a call of it.
        unsafe { Raw::<Never>::from_exposed(self.entry).key() }
    }

    fn compare(&self, score: f64, member: &[u8]) -> Ordering {
        match self.score.total_cmp(&score) {
            Ordering::Equal => self.member().cmp(member),
            unequal => unequal,
        }
    }
}

/// Members with scores. Scores are never NaN and never -0.
#[derive(Default)]
pub struct SortedTable {
    members: Table<Never>,
    order: Order<Ranked>,
}

impl SortedTable {
    /// How many members there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// The table of members.
    pub fn members(&self) -> &Table<Never> {
        &self.members
    }

    /// The room it takes.
    pub fn memory_bytes(&self) -> usize {
        self.members.memory_bytes() + self.order.memory_bytes()
    }

    /// The score of a member.
    pub fn score(&self, hasher: &Hasher, member: &[u8]) -> Option<f64> {
        let place = self.members.find(hasher.hash(member), member)?;
        Some(read_score(self.members.entry(place).bytes()))
    }

    /// Sets a member's score; gives the former one.
    pub fn set(&mut self, touch: &mut Touch<'_>, member: &[u8], score: f64) -> Option<f64> {
        let hasher = touch.hasher();
        let hash = hasher.hash(member);
        let bytes = score.to_bits().to_le_bytes();
        let (place, old) = match self.members.find(hash, member) {
            None => {
                touch.item(&self.members, hash);
                let payload = Payload::Bytes(&bytes);
                (self.members.insert(hasher, hash, member, payload, None), None)
            }
            Some(place) => {
                let old = read_score(self.members.entry(place).bytes());
                if old == score {
                    return Some(old);
                }
                touch.item(&self.members, hash);
                self.order.remove(|ranked| ranked.compare(old, member).is_lt());
                self.members.set_bytes(place, &bytes, None);
                (place, Some(old))
            }
        };
        let entry = address(self.members.word_at(place));
        let ranked = Ranked { score, entry };
        self.order.insert(ranked, |other| other.compare(score, member).is_lt());
        old
    }

    /// Removes a member; gives its score.
    pub fn remove(&mut self, touch: &mut Touch<'_>, member: &[u8]) -> Option<f64> {
        let hash = touch.hasher().hash(member);
        let place = self.members.find(hash, member)?;
        touch.item(&self.members, hash);
        let score = read_score(self.members.entry(place).bytes());
        self.order.remove(|ranked| ranked.compare(score, member).is_lt());
        self.members.remove(place);
        Some(score)
    }

    /// The members as entries, each with the eight bytes of its score.
    pub fn entries(&self) -> &Table<Never> {
        &self.members
    }

    /// How many members the leading part for which `before` holds has.
    pub fn rank(&self, before: impl Fn(f64, &[u8]) -> bool) -> usize {
        self.order.rank(|ranked| before(ranked.score, ranked.member()))
    }

    /// Visits `count` members in order from rank `start` on.
    pub fn for_each(&self, start: usize, count: usize, mut visit: impl FnMut(f64, &[u8])) {
        self.order.for_each(start, count, |ranked| visit(ranked.score, ranked.member()));
    }

    /// Visits `count` members backwards, beginning `skip` before the end.
    pub fn for_each_back(&self, skip: usize, count: usize, mut visit: impl FnMut(f64, &[u8])) {
        self.order.for_each_back(skip, count, |ranked| visit(ranked.score, ranked.member()));
    }
}

fn read_score(bytes: &[u8]) -> f64 {
    let bits = bytes.try_into().map(u64::from_le_bytes).expect("a score has eight bytes");
    f64::from_bits(bits)
}
