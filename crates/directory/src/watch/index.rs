//! Which ranges hold a key: an interval tree in an array, built anew when enough has changed.

use crate::range::{End, KeyRange};
use bytes::Bytes;

/// Ranges that are looked through one by one before the tree is built anew.
const RECENT_MAX: usize = 64;

#[derive(Debug)]
struct Entry {
    range: KeyRange,
    /// The first key beyond it; `None` for no end.
    end: Option<Bytes>,
}

/// Numbered ranges.
#[derive(Debug, Default)]
pub(super) struct RangeIndex {
    entries: Vec<Option<Entry>>,
    unused: Vec<usize>,
    /// Entries by start; with [`RangeIndex::furthest`] a search tree whose root is the middle.
    sorted: Vec<usize>,
    /// For each place in `sorted`, the greatest end in the tree below it.
    furthest: Vec<Option<Bytes>>,
    recent: Vec<usize>,
    removed: usize,
}

fn beyond(range: &KeyRange) -> Option<Bytes> {
    match &range.end {
        End::Single => Some([&range.start[..], &[0]].concat().into()),
        End::Before(end) => Some(end.clone()),
        End::Infinite => None,
    }
}

impl RangeIndex {
    /// Adds a range; its number stays until it is removed.
    pub fn insert(&mut self, range: KeyRange) -> usize {
        let entry = Some(Entry { end: beyond(&range), range });
        let number = if let Some(number) = self.unused.pop() {
            self.entries[number] = entry;
            number
        } else {
            self.entries.push(entry);
            self.entries.len() - 1
        };
        self.recent.push(number);
        if self.recent.len() > RECENT_MAX.max(self.sorted.len() / 8) {
            self.build();
        }
        number
    }

    /// Removes a range.
    pub fn remove(&mut self, number: usize) {
        self.entries[number] = None;
        if let Some(place) = self.recent.iter().position(|recent| *recent == number) {
            self.recent.swap_remove(place);
            self.unused.push(number);
            return;
        }
        // The tree still names it, so the number is given out again only when it is built anew.
        self.removed += 1;
        if self.removed * 2 > self.sorted.len() {
            self.build();
        }
    }

    /// The numbers of the ranges that hold `key`.
    pub fn holding(&self, key: &[u8], numbers: &mut Vec<usize>) {
        numbers.clear();
        self.descend(0, self.sorted.len(), key, numbers);
        let holds = |number: &&usize| {
            self.entries[**number].as_ref().is_some_and(|entry| entry.range.contains(key))
        };
        numbers.extend(self.recent.iter().filter(holds));
    }

    fn descend(&self, from: usize, to: usize, key: &[u8], numbers: &mut Vec<usize>) {
        if from == to {
            return;
        }
        let middle = usize::midpoint(from, to);
        if self.furthest[middle].as_ref().is_some_and(|end| key >= &end[..]) {
            return;
        }
        self.descend(from, middle, key, numbers);
        let number = self.sorted[middle];
        let starts = match &self.entries[number] {
            Some(entry) if entry.range.start[..] <= *key => {
                if entry.range.contains(key) {
                    numbers.push(number);
                }
                true
            }
            Some(_) => false,
            None => true,
        };
        if starts {
            self.descend(middle + 1, to, key, numbers);
        }
    }

    fn build(&mut self) {
        let start = |number: &usize| self.entries[*number].as_ref().map(|e| e.range.start.clone());
        let mut live: Vec<usize> =
            (0..self.entries.len()).filter(|number| self.entries[*number].is_some()).collect();
        live.sort_by_cached_key(start);
        self.unused =
            (0..self.entries.len()).filter(|number| self.entries[*number].is_none()).collect();
        self.furthest = vec![None; live.len()];
        self.sorted = live;
        self.recent.clear();
        self.removed = 0;
        self.fill(0, self.sorted.len());
    }

    /// Notes the greatest ends of the tree over `from..to`; `Some(None)` is "no end".
    #[allow(clippy::option_option)]
    fn fill(&mut self, from: usize, to: usize) -> Option<Option<Bytes>> {
        if from == to {
            return None;
        }
        let middle = usize::midpoint(from, to);
        let sides = [self.fill(from, middle), self.fill(middle + 1, to)];
        let own = self.entries[self.sorted[middle]].as_ref().map(|entry| entry.end.clone());
        let furthest = sides.into_iter().flatten().chain(own).reduce(|a, b| match (a, b) {
            (Some(a), Some(b)) => Some(a.max(b)),
            _ => None,
        });
        self.furthest[middle] = furthest.clone().flatten();
        furthest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn ranges() -> impl Strategy<Value = KeyRange> {
        let key = proptest::collection::vec(b'a'..b'e', 1..4);
        (key.clone(), key, 0..3).prop_map(|(start, end, kind)| KeyRange {
            start: start.into(),
            end: match kind {
                0 => End::Single,
                1 => End::Before(end.into()),
                _ => End::Infinite,
            },
        })
    }

    proptest! {
        #[test]
        fn finds_what_looking_at_each_finds(
            steps in proptest::collection::vec((ranges(), any::<bool>(), any::<usize>()), 1..400),
            keys in proptest::collection::vec(proptest::collection::vec(b'a'..b'e', 1..4), 20),
        ) {
            let mut index = RangeIndex::default();
            let mut plain = BTreeMap::new();
            for (range, remove, which) in steps {
                if remove && !plain.is_empty() {
                    let number = *plain.keys().nth(which % plain.len()).unwrap();
                    plain.remove(&number);
                    index.remove(number);
                } else {
                    let number = index.insert(range.clone());
                    prop_assert!(plain.insert(number, range).is_none());
                }
            }
            for key in keys {
                let mut found = Vec::new();
                index.holding(&key, &mut found);
                found.sort_unstable();
                let expected: Vec<usize> =
                    plain.iter().filter(|(_, r)| r.contains(&key)).map(|(n, _)| *n).collect();
                prop_assert_eq!(found, expected);
            }
        }
    }
}
