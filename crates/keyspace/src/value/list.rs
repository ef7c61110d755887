//! A list: items in a row of chunks, cheap at both ends, never copied as a whole.

mod middle;

use crate::snapshot::Touch;
use std::collections::VecDeque;

/// A chunk starts this large, in bytes.
const CHUNK_BYTES_MIN: usize = 64;
/// A chunk grows up to this size unless one item alone is larger.
const CHUNK_BYTES_MAX: usize = 4096;

/// Items in the order they were pushed.
#[derive(Default)]
pub struct List {
    chunks: VecDeque<Chunk>,
    len: usize,
    bytes: usize,
}

/// Items one behind the other in `bytes[start..end]`, each with its length on both sides, so that
/// it can be read from either end. Free room is left on the side that grows.
struct Chunk {
    bytes: Box<[u8]>,
    start: u32,
    end: u32,
    items: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Front,
    Back,
}

/// Bytes that a length takes: one up to 254, else five.
fn mark_len(len: usize) -> usize {
    if len < 255 { 1 } else { 5 }
}

fn write_mark(out: &mut [u8], len: usize, reversed: bool) {
    match out {
        [one] => *one = len as u8,
        _ => {
            let number = (len as u32).to_le_bytes();
            // The tell-tale byte stands on the outside.
            let (tell, rest) = if reversed { (4, &mut out[..4]) } else { (0, &mut out[1..]) };
            rest.copy_from_slice(&number);
            out[tell] = 255;
        }
    }
}

impl Chunk {
    fn with_room(room: usize, side: Side) -> Self {
        let size = room.max(CHUNK_BYTES_MIN);
        let at = if side == Side::Front { size as u32 } else { 0 };
        Self { bytes: vec![0; size].into_boxed_slice(), start: at, end: at, items: 0 }
    }

    fn used(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Makes room for `need` bytes on `side`; false if the chunk would be too large.
    fn make_room(&mut self, need: usize, side: Side) -> bool {
        let free = match side {
            Side::Front => self.start as usize,
            Side::Back => self.bytes.len() - self.end as usize,
        };
        if free >= need {
            return true;
        }
        let wanted = self.used() + need;
        if wanted > CHUNK_BYTES_MAX {
            return false;
        }
        let size = wanted.next_power_of_two().max(CHUNK_BYTES_MIN);
        let mut bytes = vec![0; size].into_boxed_slice();
        let start = if side == Side::Front { size - self.used() } else { 0 };
        let end = start + self.used();
        bytes[start..end].copy_from_slice(&self.bytes[self.start as usize..self.end as usize]);
        (self.bytes, self.start, self.end) = (bytes, start as u32, end as u32);
        true
    }

    fn push(&mut self, side: Side, item: &[u8]) {
        let mark = mark_len(item.len());
        let total = item.len() + 2 * mark;
        let from = match side {
            Side::Front => {
                self.start -= total as u32;
                self.start as usize
            }
            Side::Back => {
                self.end += total as u32;
                self.end as usize - total
            }
        };
        let out = &mut self.bytes[from..from + total];
        write_mark(&mut out[..mark], item.len(), false);
        out[mark..mark + item.len()].copy_from_slice(item);
        write_mark(&mut out[mark + item.len()..], item.len(), true);
        self.items += 1;
    }

    /// The item that begins at `at`, and where the next one does.
    fn item(&self, at: usize) -> (&[u8], usize) {
        let (len, from) = match self.bytes[at] {
            255 => {
                let number = self.bytes[at + 1..at + 5].try_into().expect("four bytes");
                (u32::from_le_bytes(number) as usize, at + 5)
            }
            len => (usize::from(len), at + 1),
        };
        (&self.bytes[from..from + len], from + len + (from - at))
    }

    /// Where the item begins that ends at `end`.
    fn before(&self, end: usize) -> usize {
        match self.bytes[end - 1] {
            255 => {
                let number = self.bytes[end - 5..end - 1].try_into().expect("four bytes");
                end - u32::from_le_bytes(number) as usize - 10
            }
            len => end - usize::from(len) - 2,
        }
    }

    /// All items one behind the other.
    fn row(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }

    fn iter_back(&self) -> impl Iterator<Item = &[u8]> {
        let mut end = self.end as usize;
        (0..self.items).map(move |_| {
            end = self.before(end);
            self.item(end).0
        })
    }

    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut at = self.start as usize;
        (0..self.items).map(move |_| {
            let (item, next) = self.item(at);
            at = next;
            item
        })
    }
}

impl List {
    /// How many items there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The room it takes.
    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.chunks.capacity() * size_of::<Chunk>()
    }

    /// Adds an item at one end.
    pub fn push(&mut self, touch: &mut Touch<'_>, side: Side, item: &[u8]) {
        touch.push(side);
        let need = item.len() + 2 * mark_len(item.len());
        let chunk = match side {
            Side::Front => self.chunks.front_mut(),
            Side::Back => self.chunks.back_mut(),
        };
        self.len += 1;
        if let Some(chunk) = chunk {
            let before = chunk.bytes.len();
            if chunk.make_room(need, side) {
                chunk.push(side, item);
                self.bytes = self.bytes - before + chunk.bytes.len();
                return;
            }
        }
        // The first chunk starts small; a list that has filled one gets full ones.
        let room = if self.chunks.is_empty() { need } else { need.max(CHUNK_BYTES_MAX) };
        let mut chunk = Chunk::with_room(room, side);
        chunk.push(side, item);
        self.bytes += chunk.bytes.len();
        match side {
            Side::Front => self.chunks.push_front(chunk),
            Side::Back => self.chunks.push_back(chunk),
        }
    }

    /// Takes an item from one end and shows it to `visit`; false if there is none.
    pub fn pop(&mut self, touch: &mut Touch<'_>, side: Side, visit: impl FnOnce(&[u8])) -> bool {
        let chunk = match side {
            Side::Front => self.chunks.front_mut(),
            Side::Back => self.chunks.back_mut(),
        };
        let Some(chunk) = chunk else { return false };
        let at = if side == Side::Front {
            chunk.start as usize
        } else {
            chunk.before(chunk.end as usize)
        };
        let (item, next) = chunk.item(at);
        touch.pop(side, self.len, item);
        visit(item);
        match side {
            Side::Front => chunk.start = next as u32,
            Side::Back => chunk.end = at as u32,
        }
        chunk.items -= 1;
        self.len -= 1;
        if chunk.items == 0 {
            self.bytes -= chunk.bytes.len();
            match side {
                Side::Front => self.chunks.pop_front(),
                Side::Back => self.chunks.pop_back(),
            };
        }
        true
    }

    /// In which chunk item `start` is, and its place there; behind the last one if it is in none.
    fn chunk_of(&self, start: usize) -> (usize, usize) {
        let mut skip = start;
        let mut first = 0;
        while let Some(chunk) = self.chunks.get(first) {
            if skip < chunk.items as usize {
                break;
            }
            skip -= chunk.items as usize;
            first += 1;
        }
        (first, skip)
    }

    /// The items from `start` on.
    pub fn iter_from(&self, start: usize) -> impl Iterator<Item = &[u8]> {
        let (first, skip) = self.chunk_of(start);
        self.chunks.range(first..).flat_map(Chunk::iter).skip(skip)
    }

    /// The items from the last to the first.
    pub fn iter_back(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks.iter().rev().flat_map(Chunk::iter_back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn both_ends_behave_as_a_deque() {
        let mut list = List::default();
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        let hasher = crate::hash::Hasher::new(1);
        let mut touch = Touch::nobody(&hasher);
        let mut dice = 1_u64;
        for step in 0..20_000_u64 {
            dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step);
            let side = if dice >> 40 & 1 == 0 { Side::Front } else { Side::Back };
            let growing = step % 4000 < 2500;
            if (dice >> 50) % 10 < if growing { 7 } else { 3 } {
                let len = match (dice >> 41) % 50 {
                    0 => 5000,
                    1..=3 => 254 + (dice >> 60) as usize,
                    len => len as usize,
                };
                let item = vec![step as u8; len];
                list.push(&mut touch, side, &item);
                match side {
                    Side::Front => model.push_front(item),
                    Side::Back => model.push_back(item),
                }
            } else {
                let mut got = None;
                list.pop(&mut touch, side, |item| got = Some(item.to_vec()));
                let want = match side {
                    Side::Front => model.pop_front(),
                    Side::Back => model.pop_back(),
                };
                assert_eq!(got, want);
            }
            if step % 500 == 0 {
                let from = model.len() / 3;
                assert!(list.iter_from(from).eq(model.iter().skip(from).map(Vec::as_slice)));
                assert_eq!(list.len(), model.len());
            }
        }
        while list.pop(&mut touch, Side::Back, |_| {}) {}
        assert_eq!((list.len(), list.bytes), (0, 0));
    }
}
