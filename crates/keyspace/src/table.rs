//! A hash table of entries, ordered by hash, that never stops the world.
//!
//! Up to 896 entries it is one [`segment`]; beyond that it splits segments by one more bit of the
//! hash each, found through a directory of segments. The largest single step is the doubling of
//! that directory: a copy of 16 bytes per 450 entries. Because everything is ordered by hash, a
//! scan is "what comes next after this hash", and stays right whatever happens between its calls.
//!
//! The safe face of the only unsafe code there is: a [`Place`] is checked when it is used.
#![allow(unsafe_code)]

mod entry;
mod random;
mod segment;
mod sorted;
#[cfg(test)]
mod tests;

pub use entry::{Payload, View};
pub use sorted::SortedTable;

use crate::hash::Hasher;
use entry::{Raw, prefetch};
use segment::{EXPIRES, Segment, address, tag, tag_of, word};
use std::marker::PhantomData;

/// Hash bits that segments may share; with the tag's 16 the limit of a scan position.
const DEPTH_MAX: u8 = 32;
/// How many leading bits of the hash a scan position counts in.
pub const SCAN_BITS: u32 = 48;

/// Entries that a scan loads ahead of the one it visits.
const AHEAD: usize = 16;

/// Where an entry is, until the table changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    segment: u32,
    at: u32,
}

/// A table of entries whose values are bytes or boxed `T`s.
pub struct Table<T> {
    root: Segment,
    /// Empty, or 2^n segments by the first n bits of the hash, a shallower one repeated.
    directory: Vec<Segment>,
    len: usize,
    bytes: usize,
    owns: PhantomData<Box<T>>,
}

// SAFETY: a table owns its entries alone; they hold plain bytes and boxes of `T`.
unsafe impl<T: Send> Send for Table<T> {}

/// A table without objects: keys with byte values only.
#[derive(Clone, Copy, Debug)]
pub enum Never {}

/// A look at one entry.
pub struct Entry<'a, T> {
    raw: Raw<T>,
    table: PhantomData<&'a Table<T>>,
}

impl<'a, T> Entry<'a, T> {
    /// Its key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        // SAFETY: the table is borrowed for 'a, so the entry stays.
        unsafe { self.raw.key() }
    }

    /// Its value.
    #[inline]
    pub fn value(&self) -> View<'a, T> {
        // SAFETY: the table is borrowed for 'a, so the entry stays.
        unsafe { self.raw.view() }
    }

    /// Its value's bytes; empty if it is an object.
    #[inline]
    pub fn bytes(&self) -> &'a [u8] {
        match self.value() {
            View::Bytes(bytes) => bytes,
            View::Object(_) => &[],
        }
    }

    /// What it takes, in bytes, without an object's own.
    pub fn memory_bytes(&self) -> usize {
        self.raw.bytes()
    }

    /// When it expires, in milliseconds since 1970.
    #[inline]
    pub fn expiry(&self) -> Option<u64> {
        self.raw.expiry()
    }

    /// What is noted of its use: 24 bits.
    #[inline]
    pub fn usage(&self) -> u32 {
        self.raw.usage()
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { root: Segment::empty(0), directory: Vec::new(), len: 0, bytes: 0, owns: PhantomData }
    }
}

impl<T> Drop for Table<T> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<T> Table<T> {
    /// How many entries there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What entries and arrays take, in bytes, without objects' own.
    pub fn memory_bytes(&self) -> usize {
        self.bytes + self.directory.len() * size_of::<Segment>()
    }

    /// Makes room for `count` entries, or as many as one segment has, where nothing is yet.
    pub fn reserve(&mut self, count: usize) {
        if self.root.cap() == 0 && self.directory.is_empty() {
            self.root = Segment::with_room(count);
            self.bytes += self.root.bytes();
        }
    }

    /// Gives back room that was made for more entries than came.
    pub fn trim(&mut self) {
        if self.directory.is_empty() && self.root.is_sparse() {
            self.bytes -= self.root.bytes();
            self.root.shrink();
            self.bytes += self.root.bytes();
        }
    }

    #[inline]
    fn segment_of(&self, hash: u64) -> usize {
        match self.directory.len() {
            0 => 0,
            len => (hash >> (64 - len.trailing_zeros())) as usize,
        }
    }

    #[inline]
    fn segment(&self, index: usize) -> &Segment {
        if self.directory.is_empty() { &self.root } else { &self.directory[index] }
    }

    /// First step of two: loads the line a look-up of `hash` will read.
    #[inline]
    pub fn prefetch_line(&self, hash: u64) {
        let segment = self.segment(self.segment_of(hash));
        prefetch(segment.line(tag_of(hash, segment.depth)));
    }

    /// Second step: reads that line and loads the entry.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        let segment = self.segment(self.segment_of(hash));
        if let Ok(at) = segment.find(tag_of(hash, segment.depth), |_| true) {
            let word = segment.word(at).unwrap_or(0);
            let entry = std::ptr::without_provenance::<u8>(address(word) as usize);
            prefetch(entry);
            prefetch(entry.wrapping_add(64));
        }
    }

    /// The entry that a look-up of `hash` finds first, by its tag alone: another one now and then.
    #[inline]
    pub fn likely(&self, hash: u64) -> Option<Entry<'_, T>> {
        let segment = self.segment(self.segment_of(hash));
        let at = segment.find(tag_of(hash, segment.depth), |_| true).ok()?;
        segment.word(at).map(|word| self.entry_of(word))
    }

    /// Finds `key`, whose hash is `hash`.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<Place> {
        let index = self.segment_of(hash);
        let segment = self.segment(index);
        let found = segment.find(tag_of(hash, segment.depth), |word| {
            // SAFETY: words of a table are addresses of its live entries.
            unsafe { Raw::<T>::from_exposed(address(word)).key() == key }
        });
        found.ok().map(|at| Place { segment: index as u32, at: at as u32 })
    }

    fn word_at(&self, place: Place) -> u64 {
        let word = self.segment(place.segment as usize).word(place.at as usize);
        word.filter(|word| *word != 0).expect("a place is not used after the table has changed")
    }

    fn raw(&self, place: Place) -> Raw<T> {
        // SAFETY: a word of this table that is not 0 is the address of a live entry.
        unsafe { Raw::from_exposed(address(self.word_at(place))) }
    }

    /// The entry at `place`.
    ///
    /// # Panics
    /// Here and below: if the table has changed so that nothing is at `place`.
    #[inline]
    pub fn entry(&self, place: Place) -> Entry<'_, T> {
        Entry { raw: self.raw(place), table: PhantomData }
    }

    /// The object at `place`, if the value is one.
    pub fn object_mut(&mut self, place: Place) -> Option<&mut T> {
        // SAFETY: the table is borrowed mutably for as long as the object is.
        unsafe { self.raw(place).object_mut() }
    }

    /// Adds an entry with a key that is not there yet.
    pub fn insert(
        &mut self,
        hasher: &Hasher,
        hash: u64,
        key: &[u8],
        payload: Payload<'_, T>,
        expiry: Option<u64>,
    ) -> Place {
        debug_assert!(self.find(hash, key).is_none(), "the key is there already");
        let raw = Raw::new(key, payload, expiry);
        let flags = if expiry.is_some() { EXPIRES } else { 0 };
        self.len += 1;
        self.bytes += raw.bytes();
        loop {
            let index = self.segment_of(hash);
            let segment = self.segment(index);
            let tag = tag_of(hash, segment.depth);
            let at = segment.find(tag, |_| false).unwrap_or_else(|at| at);
            let word = word(tag, raw.expose(), flags);
            if segment.has_room() && self.change(index, |segment| segment.insert(at, word)) {
                return Place { segment: index as u32, at: at as u32 };
            }
            self.make_room(hasher, index);
        }
    }

    /// Takes the entry at `place` out; the object, if it had one, is the caller's.
    pub fn remove(&mut self, place: Place) -> Option<Box<T>> {
        let raw = self.raw(place);
        self.len -= 1;
        self.bytes -= raw.bytes();
        let index = place.segment as usize;
        let sparse = self.change(index, |segment| {
            segment.remove(place.at as usize);
            segment.is_sparse()
        });
        if sparse {
            let before = self.segment(index).bytes();
            self.change(index, Segment::shrink);
            self.bytes = self.bytes - before + self.segment(index).bytes();
        }
        if self.len == 0 {
            self.clear();
        }
        // SAFETY: its word is gone, and `&mut self` says that nobody looks at it.
        unsafe { raw.free() }
    }

    /// Replaces value and expiry by bytes, in place if the size class allows; a former object is
    /// the caller's.
    pub fn set_bytes(&mut self, place: Place, value: &[u8], expiry: Option<u64>) -> Option<Box<T>> {
        let raw = self.raw(place);
        // SAFETY: `&mut self` says that nobody else looks at the entry.
        unsafe {
            let same_shape = raw.expiry().is_some() == expiry.is_some();
            if same_shape && raw.resize_in_place(value.len()) {
                raw.expiry_in_place(expiry);
                raw.bytes_mut().copy_from_slice(value);
                return None;
            }
        }
        self.remake(place, |key| Raw::new(key, Payload::Bytes(value), expiry))
    }

    /// Replaces value and expiry by an object; a former object is the caller's.
    pub fn set_object(
        &mut self,
        place: Place,
        object: Box<T>,
        expiry: Option<u64>,
    ) -> Option<Box<T>> {
        self.remake(place, |key| Raw::new(key, Payload::Object(object), expiry))
    }

    /// Notes the use of an entry: 24 bits.
    #[inline]
    pub fn set_usage(&mut self, place: Place, usage: u32) {
        // SAFETY: `&mut self` says that nobody else looks at the entry.
        unsafe { self.raw(place).set_usage(usage) }
    }

    fn remake(&mut self, place: Place, make: impl FnOnce(&[u8]) -> Raw<T>) -> Option<Box<T>> {
        let old = self.raw(place);
        // SAFETY: the old entry is alive until it is freed below, and nobody knows the new one.
        let new = make(unsafe { old.key() });
        // SAFETY: as above.
        unsafe { new.set_usage(old.usage()) };
        self.bytes -= old.bytes();
        self.put_word(place, new);
        // SAFETY: no word leads to it any more.
        unsafe { old.free() }
    }

    fn put_word(&mut self, place: Place, raw: Raw<T>) {
        let flags = if raw.expiry().is_some() { EXPIRES } else { 0 };
        let word = word(tag(self.word_at(place)), raw.expose(), flags);
        self.bytes += raw.bytes();
        self.change(place.segment as usize, |segment| segment.replace(place.at as usize, word));
    }

    /// Changes only the expiry.
    pub fn set_expiry(&mut self, place: Place, expiry: Option<u64>) {
        let raw = self.raw(place);
        // SAFETY: `&mut self` says that nobody else looks at the entry; it is replaced if remade.
        unsafe {
            if raw.expiry_in_place(expiry) {
                return;
            }
            self.bytes -= raw.bytes();
            let len = self.entry(place).bytes().len();
            let new = raw.remade(expiry, len);
            self.put_word(place, new);
        }
    }

    /// Changes the length of a bytes value, cut or filled with zeros, and gives it to be written.
    /// An object's bytes are empty and stay so.
    pub fn resize_bytes(&mut self, place: Place, len: usize) -> &mut [u8] {
        let raw = self.raw(place);
        // SAFETY: as in `set_expiry`.
        unsafe {
            if raw.object_mut().is_some() {
                return &mut [];
            }
            if raw.resize_in_place(len) {
                return raw.bytes_mut();
            }
            self.bytes -= raw.bytes();
            let new = raw.remade(raw.expiry(), len);
            self.put_word(place, new);
            new.bytes_mut()
        }
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        for segment in self.segments_once() {
            for word in segment.words_from(0) {
                // SAFETY: every word is the address of a live entry, and is forgotten here.
                unsafe { drop(Raw::<T>::from_exposed(address(word)).free()) }
            }
            segment.free();
        }
        self.root = Segment::empty(0);
        self.directory = Vec::new();
        self.len = 0;
        self.bytes = 0;
    }

    /// Every segment once, in the order of hashes.
    fn segments_once(&self) -> Vec<Segment> {
        if self.directory.is_empty() {
            return vec![self.root];
        }
        let mut all = Vec::new();
        let mut index = 0;
        while let Some(segment) = self.directory.get(index) {
            all.push(*segment);
            index += self.copies(segment);
        }
        all
    }

    /// In how many places of the directory a segment stands.
    fn copies(&self, segment: &Segment) -> usize {
        self.directory.len() >> segment.depth
    }

    /// Changes a segment and writes it to all its places.
    fn change<R>(&mut self, index: usize, change: impl FnOnce(&mut Segment) -> R) -> R {
        if self.directory.is_empty() {
            return change(&mut self.root);
        }
        let mut segment = self.directory[index];
        let result = change(&mut segment);
        let copies = self.copies(&segment);
        let first = index & !(copies - 1);
        self.directory[first..first + copies].fill(segment);
        result
    }

    /// Enlarges or splits a full segment.
    fn make_room(&mut self, hasher: &Hasher, index: usize) {
        let segment = *self.segment(index);
        if !segment.is_full_size() || segment.depth >= DEPTH_MAX {
            self.change(index, Segment::grow);
            self.bytes = self.bytes - segment.bytes() + self.segment(index).bytes();
            return;
        }
        if self.directory.is_empty() {
            self.directory = vec![self.root; 1];
        }
        let index = if self.copies(&segment) == 1 {
            self.directory = self.directory.iter().flat_map(|s| [*s, *s]).collect();
            index * 2
        } else {
            index
        };
        let mut halves = [Segment::empty(segment.depth + 1), Segment::empty(segment.depth + 1)];
        for old in segment.words_from(0) {
            // SAFETY: every word is the address of a live entry.
            let key = unsafe { Raw::<T>::from_exposed(address(old)).key() };
            let half = &mut halves[usize::from(tag(old) >> 15)];
            let tag = tag_of(hasher.hash(key), half.depth);
            half.insert_sorted(word(tag, address(old), old & EXPIRES));
        }
        let copies = self.copies(&segment);
        let first = index & !(copies - 1);
        let (low, high) = self.directory[first..first + copies].split_at_mut(copies / 2);
        low.fill(halves[0]);
        high.fill(halves[1]);
        self.bytes = self.bytes - segment.bytes() + halves[0].bytes() + halves[1].bytes();
        segment.free();
    }

    /// Visits entries in the order of hashes, from scan position `from` on (0 is the start), until
    /// `visit` has been called `count` times; entries that share a position come together.
    ///
    /// Returns where to go on, none at the end. An entry that is there from the first to the last
    /// call of a scan is visited, whatever changes between the calls.
    pub fn scan<'a>(
        &'a self,
        from: u64,
        count: usize,
        visit: impl FnMut(Entry<'a, T>),
    ) -> Option<u64> {
        self.scan_until(from, 1 << SCAN_BITS, count, visit)
    }

    fn scan_until<'a>(
        &'a self,
        from: u64,
        to: u64,
        count: usize,
        mut visit: impl FnMut(Entry<'a, T>),
    ) -> Option<u64> {
        // An entry is a miss of the cache: the next ones are on their way while one is visited.
        let (mut coming, mut seen) = ([0; AHEAD], 0);
        let next = self.scan_words(from, to, count, |word| {
            let entry = std::ptr::without_provenance::<u8>(address(word) as usize);
            prefetch(entry);
            prefetch(entry.wrapping_add(64));
            let word = std::mem::replace(&mut coming[seen % AHEAD], word);
            if seen >= AHEAD {
                visit(self.entry_of(word));
            }
            seen += 1;
        });
        for at in seen.saturating_sub(AHEAD)..seen {
            visit(self.entry_of(coming[at % AHEAD]));
        }
        next
    }

    /// Visits all entries from one scan position to another.
    pub fn scan_between<'a>(&'a self, (from, to): (u64, u64), visit: impl FnMut(Entry<'a, T>)) {
        self.scan_until(from, to, usize::MAX, visit);
    }

    fn scan_words(
        &self,
        from: u64,
        to: u64,
        count: usize,
        mut visit: impl FnMut(u64),
    ) -> Option<u64> {
        let mut left = count;
        let mut stop_after: Option<u64> = None;
        let mut index = self.segment_of(from << (64 - SCAN_BITS));
        let segments = self.directory.len().max(1);
        while index < segments {
            let segment = self.segment(index);
            let base = ((index >> self.copies(segment).max(1).trailing_zeros()) as u64)
                .checked_shl(SCAN_BITS - u32::from(segment.depth))
                .unwrap_or(0);
            let unit = SCAN_BITS - u32::from(segment.depth) - 16;
            let wanted = from.saturating_sub(base) >> unit;
            let start = segment.ideal(u16::try_from(wanted).unwrap_or(u16::MAX));
            for word in segment.words_from(start) {
                let position = base + (u64::from(tag(word)) << unit);
                if u64::from(tag(word)) < wanted {
                    continue;
                }
                if position >= to || stop_after.is_some_and(|last| position > last) {
                    return Some(position);
                }
                visit(word);
                left = left.saturating_sub(1);
                if left == 0 {
                    stop_after = stop_after.or(Some(position));
                }
            }
            index = if self.directory.is_empty() {
                1
            } else {
                let copies = self.copies(segment);
                (index & !(copies - 1)) + copies
            };
        }
        None
    }

    /// Every entry, in the order of hashes.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_, T>> {
        self.segments_once().into_iter().flat_map(move |segment| {
            let words = (0..).map_while(move |at| segment.word(at));
            words.filter(|word| *word != 0).map(move |word| self.entry_of(word))
        })
    }

    /// Visits entries that have an expiry, without touching the others, passing over about
    /// `budget` entries of either kind. Returns how many it passed and where to go on.
    pub fn scan_expiring<'a>(
        &'a self,
        from: u64,
        budget: usize,
        mut visit: impl FnMut(Entry<'a, T>),
    ) -> (usize, Option<u64>) {
        let mut seen = 0;
        let next = self.scan_words(from, 1 << SCAN_BITS, budget, |word| {
            seen += 1;
            if word & EXPIRES != 0 {
                visit(self.entry_of(word));
            }
        });
        (seen, next)
    }

    /// The entry that a word of this table leads to.
    fn entry_of(&self, word: u64) -> Entry<'_, T> {
        // SAFETY: every word is the address of a live entry, which stays while `self` is borrowed.
        Entry { raw: unsafe { Raw::from_exposed(address(word)) }, table: PhantomData }
    }
}
