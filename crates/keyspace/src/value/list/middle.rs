//! Changes in the middle of a list: the chunk they fall into is written anew, all others stay.

use super::{CHUNK_BYTES_MAX, Chunk, List, Side, mark_len, write_mark};
use crate::snapshot::Touch;

/// Items one behind the other as a chunk keeps them, and how many they are.
type Row<'a> = (&'a [u8], u32);

/// An item as a chunk keeps it.
fn encoded(item: &[u8]) -> Vec<u8> {
    let mark = mark_len(item.len());
    let mut out = vec![0; item.len() + 2 * mark];
    write_mark(&mut out[..mark], item.len(), false);
    out[mark..mark + item.len()].copy_from_slice(item);
    write_mark(&mut out[mark + item.len()..], item.len(), true);
    out
}

/// As few chunks as hold the rows in their order, each at most as large as chunks grow, unless one
/// row alone is larger.
fn joined(rows: [Row<'_>; 3]) -> Vec<Chunk> {
    let mut made: Vec<(Vec<u8>, u32)> = Vec::new();
    for (bytes, items) in rows.into_iter().filter(|(_, items)| *items > 0) {
        match made.last_mut() {
            Some((row, count)) if row.len() + bytes.len() <= CHUNK_BYTES_MAX => {
                row.extend_from_slice(bytes);
                *count += items;
            }
            _ => made.push((bytes.to_vec(), items)),
        }
    }
    made.into_iter().map(|(row, items)| Chunk::of(row, items)).collect()
}

impl Chunk {
    /// A chunk without free room.
    fn of(row: Vec<u8>, items: u32) -> Self {
        let end = row.len() as u32;
        Self { bytes: row.into_boxed_slice(), start: 0, end, items }
    }

    /// Where item `index` begins, or where the last one ends.
    fn offset(&self, index: usize) -> usize {
        (0..index).fold(self.start as usize, |at, _| self.item(at).1)
    }

    /// Without the items of which `gone` says so, by their place in the chunk.
    fn without(&self, mut gone: impl FnMut(usize) -> bool) -> Self {
        let (mut row, mut items) = (Vec::with_capacity(self.used()), 0);
        let mut at = self.start as usize;
        for index in 0..self.items as usize {
            let (_, next) = self.item(at);
            if !gone(index) {
                row.extend_from_slice(&self.bytes[at..next]);
                items += 1;
            }
            at = next;
        }
        Self::of(row, items)
    }
}

impl List {
    /// Replaces item `index`, which is there.
    pub fn set(&mut self, touch: &mut Touch<'_>, index: usize, item: &[u8]) {
        touch.middle(self, index, 1, 1);
        self.splice(index, 1, item);
    }

    /// Puts an item before the one at `index`, or at the end.
    pub fn insert(&mut self, touch: &mut Touch<'_>, index: usize, item: &[u8]) {
        if index >= self.len {
            return self.push(touch, Side::Back, item);
        }
        touch.middle(self, index, 0, 1);
        self.splice(index, 0, item);
    }

    /// Removes the items at `indexes`, which ascend and are there. Passes over all chunks once.
    pub fn remove_all(&mut self, touch: &mut Touch<'_>, indexes: &[usize]) {
        // From the last one on: then the indexes of those that follow are still right.
        indexes.iter().rev().for_each(|index| touch.middle(self, *index, 1, 0));
        let mut gone = indexes.iter().copied().peekable();
        let mut first = 0;
        self.bytes = 0;
        for chunk in std::mem::take(&mut self.chunks) {
            let end = first + chunk.items as usize;
            let kept = match gone.peek() {
                Some(index) if *index < end => {
                    chunk.without(|within| gone.next_if_eq(&(first + within)).is_some())
                }
                _ => chunk,
            };
            first = end;
            self.append(kept);
        }
        self.len -= indexes.len();
    }

    /// Adds a chunk at the end, to the one before it if both are small.
    fn append(&mut self, chunk: Chunk) {
        if chunk.items == 0 {
            return;
        }
        if let Some(last) = self.chunks.back_mut()
            && last.used() + chunk.used() <= CHUNK_BYTES_MAX / 2
        {
            self.bytes -= last.bytes.len();
            let row = [last.row(), chunk.row()].concat();
            *last = Chunk::of(row, last.items + chunk.items);
            self.bytes += last.bytes.len();
            return;
        }
        self.bytes += chunk.bytes.len();
        self.chunks.push_back(chunk);
    }

    /// Puts `item` in the place of `old` items, none or one, from `index` on.
    fn splice(&mut self, index: usize, old: usize, item: &[u8]) {
        let (at, within) = self.chunk_of(index);
        let chunk = &self.chunks[at];
        let (from, to) = (chunk.offset(within), chunk.offset(within + old));
        let before = (&chunk.bytes[chunk.start as usize..from], within as u32);
        let left = chunk.items - within as u32 - old as u32;
        let after = (&chunk.bytes[to..chunk.end as usize], left);
        let made = joined([before, (&encoded(item), 1), after]);
        let size: usize = made.iter().map(|chunk| chunk.bytes.len()).sum();
        self.bytes = self.bytes - chunk.bytes.len() + size;
        self.len = self.len + 1 - old;
        self.chunks.remove(at);
        for (index, chunk) in made.into_iter().enumerate() {
            self.chunks.insert(at + index, chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::Hasher;

    #[test]
    fn any_place_of_a_list_can_change() {
        let (mut list, mut model) = (List::default(), Vec::<Vec<u8>>::new());
        let hasher = Hasher::new(1);
        let mut touch = Touch::nobody(&hasher);
        let mut dice = 7_u64;
        for step in 0..6000_u64 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            let (roll, at) = (dice >> 60, (dice >> 20) as usize % (model.len() + 1));
            let item = vec![step as u8; ((dice >> 40) % 300) as usize * usize::from(roll % 3 > 0)];
            match roll {
                0..=6 => {
                    list.insert(&mut touch, at, &item);
                    model.insert(at, item);
                }
                7..=11 if at < model.len() => {
                    list.set(&mut touch, at, &item);
                    model[at] = item;
                }
                12 => {
                    let indexes: Vec<usize> = (at..model.len()).step_by(3).take(9).collect();
                    list.remove_all(&mut touch, &indexes);
                    indexes.iter().rev().for_each(|index| drop(model.remove(*index)));
                }
                13 => {
                    list.push(&mut touch, Side::Front, &item);
                    model.insert(0, item);
                }
                14 if !model.is_empty() => {
                    list.pop(&mut touch, Side::Back, |_| {});
                    model.pop();
                }
                _ => {}
            }
            assert_eq!(list.len(), model.len());
            if step % 100 == 0 {
                assert!(list.iter_from(0).eq(model.iter().map(Vec::as_slice)));
                assert!(list.iter_back().eq(model.iter().rev().map(Vec::as_slice)));
            }
        }
        let all: Vec<usize> = (0..model.len()).collect();
        assert!(all.len() > 100);
        list.remove_all(&mut touch, &all);
        assert_eq!((list.len(), list.bytes, list.chunks.len()), (0, 0, 0));
    }
}
