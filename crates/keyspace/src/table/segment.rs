//! One segment of a table: an array of tagged words, ordered by tag, with gaps.
//!
//! A word is the 48-bit address of an entry, 16 bits of its hash (the *tag*) above, and one flag
//! in the lowest bit. Words lie at or behind the place their tag asks for, in the order of tags,
//! with no gap between that place and theirs (linear probing, ordered). So a look-up reads one
//! cache line, rarely two, touches no entry but the one it wants, and ends early if there is none;
//! growing moves words without looking at entries.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// The flag of a word: its entry has an expiry.
pub const EXPIRES: u64 = 1;
const ADDRESS: u64 = ((1 << 48) - 1) & !7;
/// More words than this are split into two segments.
pub const CAP_MAX: u16 = 1024;
/// Sizes of segments in words: lines of 8, then four steps per doubling as allocators have them.
const CAPS: [u16; 24] = [
    8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640,
    768, 896, CAP_MAX,
];

/// The tag of a hash in a segment that shares the first `depth` bits of it.
#[inline]
pub fn tag_of(hash: u64, depth: u8) -> u16 {
    ((hash << depth) >> 48) as u16
}

/// The address in a word.
#[inline]
pub fn address(word: u64) -> u64 {
    word & ADDRESS
}

/// The tag in a word.
#[inline]
pub fn tag(word: u64) -> u16 {
    (word >> 48) as u16
}

/// A word of these parts.
///
/// # Panics
/// If the system gives out addresses above 48 bits (it does not unless asked to).
#[inline]
pub fn word(tag: u16, address: u64, flags: u64) -> u64 {
    assert!(address & !ADDRESS == 0, "an entry's address has more than 48 bits");
    u64::from(tag) << 48 | address | flags
}

/// An array of words. Plain data: who holds the last copy calls [`Segment::free`].
#[derive(Clone, Copy)]
pub struct Segment {
    words: *mut u64,
    cap: u16,
    /// Words in use.
    pub len: u16,
    /// How many leading bits of the hash all its entries share.
    pub depth: u8,
}

impl Segment {
    /// No words, no memory.
    pub const fn empty(depth: u8) -> Self {
        Self { words: std::ptr::null_mut(), cap: 0, len: 0, depth }
    }

    fn layout(cap: u16) -> Layout {
        Layout::from_size_align(usize::from(cap) * 8, 64).expect("a segment is small")
    }

    fn with_cap(cap: u16, depth: u8) -> Self {
        let layout = Self::layout(cap);
        // SAFETY: `cap` is never 0 here, so the layout has a size.
        let words = unsafe { alloc_zeroed(layout) }.cast::<u64>();
        if words.is_null() {
            handle_alloc_error(layout);
        }
        Self { words, cap, len: 0, depth }
    }

    /// Gives back the array (not the entries).
    pub fn free(self) {
        if self.cap > 0 {
            // SAFETY: allocated by `with_cap` with the same layout; the last copy ends here.
            unsafe { dealloc(self.words.cast(), Self::layout(self.cap)) }
        }
    }

    /// What the array takes, in bytes.
    pub fn bytes(&self) -> usize {
        usize::from(self.cap) * 8
    }

    /// All words, unused ones are 0.
    #[inline]
    pub fn words(&self) -> &[u64] {
        if self.cap == 0 {
            return &[];
        }
        // SAFETY: the array has `cap` initialised words and lives as long as a copy of `self`
        // is reachable through its table.
        unsafe { std::slice::from_raw_parts(self.words, usize::from(self.cap)) }
    }

    fn words_mut(&mut self) -> &mut [u64] {
        if self.cap == 0 {
            return &mut [];
        }
        // SAFETY: as above; only one copy is used to write, through `&mut` of the table.
        unsafe { std::slice::from_raw_parts_mut(self.words, usize::from(self.cap)) }
    }

    /// The line where a look-up of `tag` begins.
    #[inline]
    pub fn line(&self, tag: u16) -> *const u8 {
        self.words.wrapping_add(self.ideal(tag)).cast()
    }

    /// How many places tags are spread over: a few less than there are words, so that the last
    /// ones have somewhere to go.
    #[inline]
    fn range(cap: u16) -> u32 {
        u32::from(if cap <= 8 { 1 } else { cap - (cap / 16).max(8) })
    }

    /// Where the words of `tag` begin to be looked for.
    #[inline]
    pub fn ideal(&self, tag: u16) -> usize {
        ((u32::from(tag) * Self::range(self.cap)) >> 16) as usize
    }

    /// Up to how many words it may hold.
    fn fill_max(cap: u16) -> u16 {
        if cap <= 8 { cap } else { cap - cap / 8 }
    }

    /// The first place whose word has `tag` and pleases `is_it`; or the place where a word with
    /// that tag belongs (which may be the end of the array).
    #[inline]
    pub fn find(&self, wanted: u16, mut is_it: impl FnMut(u64) -> bool) -> Result<usize, usize> {
        let words = self.words();
        let mut at = self.ideal(wanted);
        while let Some(&word) = words.get(at) {
            if word == 0 || tag(word) > wanted {
                return Err(at);
            }
            if tag(word) == wanted && is_it(word) {
                return Ok(at);
            }
            at += 1;
        }
        Err(at)
    }

    /// Whether one more word fits by count.
    pub fn has_room(&self) -> bool {
        self.len < Self::fill_max(self.cap)
    }

    /// Puts `word` where [`Segment::find`] said, moving others behind; false if the end is reached.
    pub fn insert(&mut self, at: usize, word: u64) -> bool {
        let words = self.words_mut();
        let Some(gap) = words.get(at..).and_then(|rest| rest.iter().position(|w| *w == 0)) else {
            return false;
        };
        words.copy_within(at..at + gap, at + 1);
        words[at] = word;
        self.len += 1;
        true
    }

    /// Replaces the word at `at`.
    pub fn replace(&mut self, at: usize, word: u64) {
        self.words_mut()[at] = word;
    }

    /// Takes the word at `at` out and closes the gap.
    pub fn remove(&mut self, at: usize) {
        let mut end = at + 1;
        while self.words().get(end).is_some_and(|w| *w != 0 && self.ideal(tag(*w)) < end) {
            end += 1;
        }
        let words = self.words_mut();
        words.copy_within(at + 1..end, at);
        words[end - 1] = 0;
        self.len -= 1;
    }

    /// Puts `word` in its order, taking more memory if it must.
    pub fn insert_sorted(&mut self, word: u64) {
        loop {
            let at = self.find(tag(word), |_| false).unwrap_or_else(|at| at);
            if self.has_room() && self.insert(at, word) {
                return;
            }
            self.grow();
        }
    }

    /// Moves to a larger array.
    ///
    /// # Panics
    /// If it is beyond every size: 30,000 entries whose hashes share 34 bits.
    pub fn grow(&mut self) {
        let mut cap = self.cap;
        loop {
            cap = match CAPS.iter().find(|c| **c > cap) {
                Some(next) => *next,
                None => cap.checked_mul(2).expect("a segment's hashes are spread"),
            };
            if self.rebuild(cap) {
                return;
            }
        }
    }

    /// Whether so few words are in use that a smaller array is in order.
    pub fn is_sparse(&self) -> bool {
        self.len == 0 || (self.cap > 8 && self.len < self.cap / 3)
    }

    /// Moves to a smaller array, or to none.
    pub fn shrink(&mut self) {
        if self.len == 0 {
            self.free();
            *self = Self::empty(self.depth);
            return;
        }
        let wanted = self.len + self.len / 2;
        for cap in CAPS {
            if cap >= wanted && cap < self.cap && self.rebuild(cap) {
                return;
            }
        }
    }

    fn rebuild(&mut self, cap: u16) -> bool {
        let mut new = Self::with_cap(cap, self.depth);
        let mut next = 0;
        for &word in self.words().iter().filter(|w| **w != 0) {
            let at = new.ideal(tag(word)).max(next);
            if at >= usize::from(cap) {
                new.free();
                return false;
            }
            new.words_mut()[at] = word;
            next = at + 1;
        }
        new.len = self.len;
        self.free();
        *self = new;
        true
    }
}
