//! What comparing has found: parts that differ and were not made equal yet, and what was replaced.

use crate::compare::{LARGE_BYTES, content_bytes};
use crate::keyspace::Keyspace;
use crate::part::Part;
use crate::snapshot::Portion;
use crate::table::SCAN_BITS;
use cairn_logic::ids::Offset;
use cairn_logic::mutant::{Mutant, broken};

/// Parts remembered as different; more are found again by the next walk.
const PARTS_MAX: usize = 256;

/// What a repair has replaced in a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// The entry that did it.
    pub at: Offset,
    /// What was here.
    pub own: Portion,
    /// What the master has.
    pub masters: Portion,
}

/// What comparing has found since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Parts compared.
    pub checked: u64,
    /// Parts that were found to differ, each with the entry at which.
    pub differ: Vec<(Part, Offset)>,
    /// What was replaced.
    pub replaced: Vec<Replaced>,
    /// Parts that were to be replaced and were not: what is here cannot be kept aside.
    pub left: Vec<(Part, Offset)>,
    /// Whether something that differed is the same again.
    pub healed: bool,
}

impl Findings {
    /// Whether nothing but equal parts was found, and nothing that differed is equal again.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        !self.healed && self.differ.is_empty() && self.replaced.is_empty() && self.left.is_empty()
    }
}

/// Findings whose replaced parts are not kept aside yet. What was replaced is still what the last
/// snapshot and the log after it make, so only the next snapshot would lose it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unkept(u32);

impl Unkept {
    /// These findings were handed out to be kept.
    pub fn took(&mut self, findings: &Findings) {
        self.0 += u32::from(!findings.replaced.is_empty());
    }

    /// What so many findings had replaced is durable aside.
    pub fn kept(&mut self, count: u32) {
        self.0 = self.0.saturating_sub(count);
    }

    /// Whether a snapshot may be written.
    #[must_use]
    pub fn may_export(&self) -> bool {
        self.0 == 0 || broken(Mutant::SnapshotsUnkept)
    }
}

/// The findings, and the parts that are known to differ.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub fresh: Findings,
    differ: Vec<Part>,
    /// Whether what differs stays as it is.
    pub keep: bool,
}

impl Found {
    /// Whether no part is known to differ, and there is nothing to tell but what was compared.
    pub fn is_quiet(&self) -> bool {
        self.differ.is_empty() && self.fresh.is_quiet()
    }

    /// Takes what was found in other slots.
    pub fn append(&mut self, other: Self) {
        let Findings { checked, differ, replaced, left, healed } = other.fresh;
        self.fresh.checked += checked;
        self.fresh.differ.extend(differ);
        self.fresh.replaced.extend(replaced);
        self.fresh.left.extend(left);
        self.fresh.healed |= healed;
        self.differ.extend(other.differ);
        self.fresh.differ.truncate(PARTS_MAX);
        self.fresh.left.truncate(PARTS_MAX);
        self.differ.truncate(PARTS_MAX);
    }
}

impl Keyspace {
    /// What comparing has found since this was last called.
    pub fn take_findings(&mut self) -> Findings {
        if self.found.fresh == Findings::default() {
            return Findings::default();
        }
        std::mem::take(&mut self.found.fresh)
    }

    /// The parts that are known to differ from the master's.
    #[must_use]
    pub fn differing(&self) -> &[Part] {
        &self.found.differ
    }

    /// Whether what differs may be replaced by what the master has; so it is from the beginning.
    pub fn may_mend(&mut self, may: bool) {
        self.found.keep = !may;
    }

    /// A part was to be replaced and cannot be.
    pub(crate) fn left(&mut self, part: &Part, at: Offset) {
        if self.found.fresh.left.len() < PARTS_MAX {
            self.found.fresh.left.push((part.clone(), at));
        }
    }

    /// A part differs.
    pub(crate) fn differs(&mut self, part: &Part, at: Offset) {
        self.agrees(part);
        if self.found.differ.len() < PARTS_MAX {
            self.found.differ.push(part.clone());
        }
        if self.found.fresh.differ.len() < PARTS_MAX {
            self.found.fresh.differ.push((part.clone(), at));
        }
    }

    /// A part is the same: whatever of it was known to differ does not.
    pub(crate) fn agrees(&mut self, part: &Part) {
        if self.found.differ.is_empty() {
            return;
        }
        let known = std::mem::take(&mut self.found.differ);
        let left = known.iter().flat_map(|other| self.without(other.clone(), part));
        let left: Vec<Part> = left.take(PARTS_MAX).collect();
        self.found.fresh.healed |= left != known;
        self.found.differ = left;
    }

    /// What is left of a part without another one.
    fn without(&self, part: Part, gone: &Part) -> Vec<Part> {
        match (part, gone) {
            (Part::Keys { from, to }, Part::Keys { from: first, to: behind }) => {
                let ranges = outside((from, to), (*first, *behind)).into_iter();
                ranges.map(|(from, to)| Part::Keys { from, to }).collect()
            }
            (
                Part::Items { key, from, to },
                Part::Items { key: other, from: first, to: behind },
            ) if key == *other => {
                let ranges = outside((from, to), (*first, *behind)).into_iter();
                ranges.map(|(from, to)| Part::Items { key: key.clone(), from, to }).collect()
            }
            (Part::Items { key, from, to }, Part::Keys { from: first, to: behind }) => {
                // Its master holds no large value there if this copy, which is the same, does not.
                let over = (*first..*behind).contains(&self.cursor(&key)) && !self.is_large(&key);
                if over { Vec::new() } else { vec![Part::Items { key, from, to }] }
            }
            (part, _) => vec![part],
        }
    }

    fn cursor(&self, key: &[u8]) -> u64 {
        let at = self.locate(key);
        u64::from(at.slot.get()) << SCAN_BITS | at.hash >> (64 - SCAN_BITS)
    }

    fn is_large(&self, key: &[u8]) -> bool {
        let at = self.locate(key);
        self.find(at, key).is_some_and(|place| {
            content_bytes(&self.table(at.slot).entry(place).value()) > LARGE_BYTES
        })
    }
}

/// What is left of a range outside of another one.
fn outside((from, to): (u64, u64), (first, behind): (u64, u64)) -> Vec<(u64, u64)> {
    let parts = [(from, to.min(first)), (from.max(behind), to)];
    parts.into_iter().filter(|(from, to)| from < to).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agrees_is_cut_out_of_what_differs() {
        let keys = |from, to| Part::Keys { from, to };
        let mut keyspace = Keyspace::new(1);
        keyspace.differs(&keys(10, 50), Offset(3));
        keyspace.agrees(&keys(0, 20));
        keyspace.agrees(&keys(30, 40));
        assert_eq!(keyspace.differing(), [keys(20, 30), keys(40, 50)]);
        keyspace.differs(&keys(25, 45), Offset(4));
        assert_eq!(keyspace.differing(), [keys(20, 25), keys(45, 50), keys(25, 45)]);
        keyspace.agrees(&keys(0, 100));
        assert_eq!(keyspace.differing(), []);
        assert_eq!(keyspace.take_findings().differ.len(), 2);
        assert_eq!(keyspace.take_findings(), Findings::default());
    }

    #[test]
    fn items_of_a_key_that_is_gone_do_not_differ_for_ever() {
        let mut keyspace = Keyspace::new(1);
        let part = Part::Items { key: b"k".to_vec(), from: 0, to: u64::MAX };
        keyspace.differs(&part, Offset(3));
        keyspace.agrees(&Part::Items { key: b"other".to_vec(), from: 0, to: u64::MAX });
        assert_eq!(keyspace.differing(), [part]);
        keyspace.agrees(&Part::Keys { from: 0, to: crate::part::END });
        assert_eq!(keyspace.differing(), []);
    }
}
