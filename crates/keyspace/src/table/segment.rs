//! One segment of a table: a row of tagged words, ordered by tag, with gaps.
//!
//! A word is the 48-bit address of an entry, 16 bits of its hash (the *tag*) above, and one flag
//! in the lowest bit. Words lie at or behind the place their tag asks for, in the order of tags,
//! with no gap between that place and theirs (linear probing, ordered). So a look-up reads one
//! cache line, rarely two, touches no entry but the one it wants, and ends early if there is none;
//! growing moves words without looking at entries.
//!
//! The row is cut into pieces of one size, and grows by a few pieces at a time. All slots of a
//! keyspace grow at the same pace: arrays of growing sizes would leave holes behind that no array
//! fits into any more.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// The flag of a word: its entry has an expiry.
pub const EXPIRES: u64 = 1;
const ADDRESS: u64 = ((1 << 48) - 1) & !7;
/// More words than this are split into two segments.
pub const CAP_MAX: u16 = 1024;
/// Words of a piece: four cache lines.
const PIECE: usize = 32;

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

/// A row of words. Plain data: who holds the last copy calls [`Segment::free`].
#[derive(Clone, Copy)]
pub struct Segment {
    /// The addresses of the pieces. A row of less than a piece has one shorter piece.
    pieces: *mut *mut u64,
    cap: u16,
    /// Words in use.
    pub len: u16,
    /// How many leading bits of the hash all its entries share.
    pub depth: u8,
}

fn pieces_of(cap: u16) -> usize {
    usize::from(cap).div_ceil(PIECE)
}

fn piece_layout(cap: u16) -> Layout {
    let words = PIECE.min(usize::from(cap));
    Layout::from_size_align(words * 8, 64).expect("a piece is small")
}

fn list_layout(cap: u16) -> Layout {
    let len = pieces_of(cap).next_multiple_of(4);
    Layout::array::<*mut u64>(len).expect("a list of pieces is small")
}

fn allocate<T>(layout: Layout) -> *mut T {
    // SAFETY: no layout here has the size 0.
    let block = unsafe { alloc_zeroed(layout) }.cast::<T>();
    if block.is_null() {
        handle_alloc_error(layout);
    }
    block
}

impl Segment {
    /// No words, no memory.
    pub const fn empty(depth: u8) -> Self {
        Self { pieces: std::ptr::null_mut(), cap: 0, len: 0, depth }
    }

    /// A row that takes `count` words, or as many as a row may have, without growing.
    pub fn with_room(count: usize) -> Self {
        let mut cap = 0;
        while usize::from(Self::fill_max(cap)) < count && cap < CAP_MAX {
            cap = longer(cap);
        }
        if cap == 0 { Self::empty(0) } else { Self::with_cap(cap, 0) }
    }

    fn with_cap(cap: u16, depth: u8) -> Self {
        let pieces = allocate::<*mut u64>(list_layout(cap));
        for index in 0..pieces_of(cap) {
            // SAFETY: the list has room for as many addresses as there are pieces.
            unsafe { pieces.add(index).write(allocate(piece_layout(cap))) }
        }
        Self { pieces, cap, len: 0, depth }
    }

    /// Gives back the row (not the entries).
    pub fn free(self) {
        if self.cap == 0 {
            return;
        }
        // SAFETY: everything was allocated with the same layouts; the last copy ends here.
        unsafe {
            for index in 0..pieces_of(self.cap) {
                dealloc(self.pieces.add(index).read().cast(), piece_layout(self.cap));
            }
            dealloc(self.pieces.cast(), list_layout(self.cap));
        }
    }

    /// What the row takes, in bytes.
    pub fn bytes(&self) -> usize {
        match self.cap {
            0 => 0,
            cap => pieces_of(cap) * piece_layout(cap).size() + list_layout(cap).size(),
        }
    }

    /// How many words there is room for.
    pub fn cap(&self) -> u16 {
        self.cap
    }

    /// Whether it has grown as large as a segment should be.
    pub fn is_full_size(&self) -> bool {
        self.cap >= CAP_MAX
    }

    /// The words of a piece; none behind the last.
    #[inline]
    fn piece(&self, index: usize) -> &[u64] {
        if index * PIECE >= usize::from(self.cap) {
            return &[];
        }
        // SAFETY: the row has this piece, of so many initialised words, and it lives as long as a
        // copy of `self` is reachable through its table.
        unsafe {
            let words = PIECE.min(usize::from(self.cap));
            std::slice::from_raw_parts(self.pieces.add(index).read(), words)
        }
    }

    #[inline]
    fn piece_mut(&mut self, index: usize) -> &mut [u64] {
        if index * PIECE >= usize::from(self.cap) {
            return &mut [];
        }
        // SAFETY: as above; only one copy is used to write, through `&mut` of the table.
        unsafe {
            let words = PIECE.min(usize::from(self.cap));
            std::slice::from_raw_parts_mut(self.pieces.add(index).read(), words)
        }
    }

    /// The word at `at`, 0 if it is unused; none behind the end.
    #[inline]
    pub fn word(&self, at: usize) -> Option<u64> {
        self.piece(at / PIECE).get(at % PIECE).copied()
    }

    /// Replaces the word at `at`.
    pub fn replace(&mut self, at: usize, word: u64) {
        self.piece_mut(at / PIECE)[at % PIECE] = word;
    }

    /// The words in use from `at` on.
    pub fn words_from(&self, at: usize) -> impl Iterator<Item = u64> + '_ {
        (at..usize::from(self.cap)).filter_map(|at| self.word(at)).filter(|word| *word != 0)
    }

    /// The line where a look-up of `tag` begins.
    #[inline]
    pub fn line(&self, tag: u16) -> *const u8 {
        let at = self.ideal(tag);
        self.piece(at / PIECE).as_ptr().wrapping_add(at % PIECE).cast()
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
        ideal(tag, self.cap)
    }

    /// Up to how many words it may hold.
    fn fill_max(cap: u16) -> u16 {
        if cap <= 8 { cap } else { cap - cap / 8 }
    }

    /// The first place whose word has `tag` and pleases `is_it`; or the place where a word with
    /// that tag belongs (which may be the end of the row).
    #[inline]
    pub fn find(&self, wanted: u16, mut is_it: impl FnMut(u64) -> bool) -> Result<usize, usize> {
        let mut at = self.ideal(wanted);
        let mut from = at % PIECE;
        loop {
            let piece = self.piece(at / PIECE);
            if piece.is_empty() {
                return Err(at);
            }
            for &word in &piece[from..] {
                if word == 0 || tag(word) > wanted {
                    return Err(at);
                }
                if tag(word) == wanted && is_it(word) {
                    return Ok(at);
                }
                at += 1;
            }
            if !at.is_multiple_of(PIECE) {
                return Err(at);
            }
            from = 0;
        }
    }

    /// Whether one more word fits by count.
    pub fn has_room(&self) -> bool {
        self.len < Self::fill_max(self.cap)
    }

    /// Puts `word` where [`Segment::find`] said, moving others behind; false if the end is reached.
    pub fn insert(&mut self, at: usize, word: u64) -> bool {
        let mut gap = at;
        loop {
            match self.word(gap) {
                None => return false,
                Some(0) => break,
                Some(_) => gap += 1,
            }
        }
        let mut carried = word;
        for place in at..=gap {
            let next = self.word(place).unwrap_or(0);
            self.replace(place, carried);
            carried = next;
        }
        self.len += 1;
        true
    }

    /// Takes the word at `at` out and closes the gap.
    pub fn remove(&mut self, at: usize) {
        let mut gap = at;
        while let Some(next) = self.word(gap + 1) {
            if next == 0 || self.ideal(tag(next)) > gap {
                break;
            }
            self.replace(gap, next);
            gap += 1;
        }
        self.replace(gap, 0);
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

    /// Moves to a longer row.
    ///
    /// # Panics
    /// If it is beyond every size: 30,000 entries whose hashes share 32 bits.
    pub fn grow(&mut self) {
        let mut cap = self.cap;
        loop {
            cap = longer(cap);
            if self.rebuild(cap) {
                return;
            }
        }
    }

    /// Whether so few words are in use that a shorter row is in order.
    pub fn is_sparse(&self) -> bool {
        self.len == 0 || (self.cap > 8 && self.len < self.cap / 3)
    }

    /// Moves to a shorter row, or to none.
    pub fn shrink(&mut self) {
        if self.len == 0 {
            self.free();
            *self = Self::empty(self.depth);
            return;
        }
        let wanted = self.len + self.len / 2;
        let cap = match wanted {
            ..=8 => 8,
            9..=16 => 16,
            wanted => wanted.next_multiple_of(PIECE as u16),
        };
        // A longer row always holds what a shorter one cannot; so staying is right if it fails.
        let _ = cap < self.cap && self.rebuild(cap);
    }

    /// Lays the words out anew on `cap` places; false if they do not fit.
    fn rebuild(&mut self, cap: u16) -> bool {
        let words: Vec<u64> = self.words_from(0).collect();
        let mut next = 0;
        let fits = words.iter().all(|word| {
            next = ideal(tag(*word), cap).max(next) + 1;
            next <= usize::from(cap)
        });
        if !fits {
            return false;
        }
        self.resize(cap);
        next = 0;
        for &word in &words {
            let at = self.ideal(tag(word)).max(next);
            self.replace(at, word);
            next = at + 1;
        }
        true
    }

    /// Makes the row `cap` words long and empties it; whole pieces are kept.
    fn resize(&mut self, cap: u16) {
        if usize::from(self.cap.min(cap)) < PIECE {
            self.free();
            *self = Self { len: self.len, ..Self::with_cap(cap, self.depth) };
            return;
        }
        let (old, new) = (pieces_of(self.cap), pieces_of(cap));
        let pieces = allocate::<*mut u64>(list_layout(cap));
        // SAFETY: both lists have room for their pieces; kept ones are copied to the new list,
        // missing ones made, surplus ones given back, and the old list is not used any more.
        unsafe {
            pieces.copy_from_nonoverlapping(self.pieces, old.min(new));
            for index in old..new {
                pieces.add(index).write(allocate(piece_layout(cap)));
            }
            for index in new..old {
                dealloc(self.pieces.add(index).read().cast(), piece_layout(self.cap));
            }
            dealloc(self.pieces.cast(), list_layout(self.cap));
        }
        (self.pieces, self.cap) = (pieces, cap);
        (0..old.min(new)).for_each(|index| self.piece_mut(index).fill(0));
    }
}

/// The next length of a row.
fn longer(cap: u16) -> u16 {
    match cap {
        0 => 8,
        8 => 16,
        16 => 32,
        32..512 => cap + 32,
        512..CAP_MAX => cap + 64,
        _ => cap.checked_mul(2).expect("a segment's hashes are spread"),
    }
}

#[inline]
fn ideal(tag: u16, cap: u16) -> usize {
    ((u32::from(tag) * Segment::range(cap)) >> 16) as usize
}
