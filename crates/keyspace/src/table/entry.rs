//! One entry: header, optional expiry, key and value in a single allocation.
//!
//! ```text
//! byte 0     flags            bit 0 expiry present, bit 1 long key, bit 2 the value is an object,
//!                             bit 3 long value
//! byte 1     use, high byte   when it was last used, or how often (`access.rs`)
//! bytes 2-3  key length       (65535 if the key is long)
//! bytes 4-5  value length     (of an object: 0)
//! bytes 6-7  use, low bytes   (of a long value: the rest of its length; its use is not kept)
//! [8]        expiry, ms       if flagged
//! [8]        long key length  if flagged
//! [8]        object pointer   if flagged, instead of value bytes
//! key bytes, value bytes
//! ```
//!
//! Sizes are rounded to classes that general allocators have anyway, so that a value may change
//! its length in place as long as its class stays.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;

const HEADER: usize = 8;
const EXPIRY: u8 = 1;
const LONG_KEY: u8 = 2;
const OBJECT: u8 = 4;
const LONG_VALUE: u8 = 8;
const LONG: u16 = u16::MAX;
/// A longer value takes the place of its entry's use.
const SHORT_MAX: usize = u16::MAX as usize;

/// Entries are at least 16 bytes large and aligned to 8: three low bits of an address are free.
const ALIGN: usize = 8;

/// A value to be stored.
pub enum Payload<'a, T> {
    /// Bytes, stored with the key.
    Bytes(&'a [u8]),
    /// Anything else, stored behind a pointer.
    Object(Box<T>),
}

/// A value as it is stored.
pub enum View<'a, T> {
    /// Bytes.
    Bytes(&'a [u8]),
    /// Anything else.
    Object(&'a T),
}

/// What entries of `len` bytes really take: multiples of 16 up to 128, then four steps per
/// doubling.
pub fn size_class(len: usize) -> usize {
    if len <= 128 {
        return len.max(16).next_multiple_of(16);
    }
    let step = len.next_power_of_two() / 8;
    len.next_multiple_of(step)
}

fn layout(len: usize) -> Layout {
    Layout::from_size_align(size_class(len), ALIGN).expect("entries stay far below isize::MAX")
}

/// The raw pointer to one entry. Owning: whoever drops the last one must call [`Raw::free`].
pub struct Raw<T> {
    at: NonNull<u8>,
    object: PhantomData<Box<T>>,
}

impl<T> Clone for Raw<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Raw<T> {}

impl<T> Raw<T> {
    /// Makes an entry.
    pub fn new(key: &[u8], payload: Payload<'_, T>, expiry: Option<u64>) -> Self {
        let (value, object): (&[u8], _) = match payload {
            Payload::Bytes(bytes) => (bytes, None),
            Payload::Object(object) => (&[], Some(Box::into_raw(object))),
        };
        let raw = Self::sized(key, value.len(), object, expiry);
        // SAFETY: the allocation has room for the value behind the key; both slices are disjoint.
        unsafe {
            raw.at
                .as_ptr()
                .add(raw.value_at())
                .copy_from_nonoverlapping(value.as_ptr(), value.len());
        }
        raw
    }

    /// Makes an entry whose value bytes, `value_len` of them, are not written yet.
    fn sized(key: &[u8], value_len: usize, object: Option<*mut T>, expiry: Option<u64>) -> Self {
        let long = key.len() >= usize::from(LONG);
        let mut flags = 0;
        let mut head = HEADER;
        if expiry.is_some() {
            flags |= EXPIRY;
            head += 8;
        }
        if long {
            flags |= LONG_KEY;
            head += 8;
        }
        if object.is_some() {
            flags |= OBJECT;
            head += 8;
        }
        if value_len > SHORT_MAX {
            flags |= LONG_VALUE;
        }
        let value_field = u32::try_from(value_len).expect("values stay below 4 GiB");
        let key_field = if long { LONG } else { key.len() as u16 };
        let layout = layout(head + key.len() + value_len);
        // SAFETY: the layout is never of size zero. All writes below stay inside of `head +
        // key.len()` bytes of it and are aligned: the block is aligned to 8 and so is each word.
        unsafe {
            let Some(at) = NonNull::new(alloc(layout)) else { handle_alloc_error(layout) };
            let base = at.as_ptr();
            base.write(flags);
            base.add(1).write(0);
            base.add(2).cast::<u16>().write(key_field);
            if flags & LONG_VALUE == 0 {
                base.add(4).cast::<u16>().write(value_field as u16);
                base.add(6).cast::<u16>().write(0);
            } else {
                base.add(4).cast::<u32>().write(value_field);
            }
            let mut word = base.add(HEADER).cast::<u64>();
            if let Some(expiry) = expiry {
                word.write(expiry);
                word = word.add(1);
            }
            if long {
                word.write(key.len() as u64);
                word = word.add(1);
            }
            if let Some(object) = object {
                word.cast::<*mut T>().write(object);
            }
            base.add(head).copy_from_nonoverlapping(key.as_ptr(), key.len());
            Self { at, object: PhantomData }
        }
    }

    /// The address, to be kept in a table.
    pub fn expose(self) -> u64 {
        self.at.as_ptr().expose_provenance() as u64
    }

    /// The entry at an address that [`Raw::expose`] gave and that was not freed since.
    ///
    /// # Safety
    /// `address` must be such an address.
    pub unsafe fn from_exposed(address: u64) -> Self {
        let at = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: the caller vouches for the address, which was that of a live allocation.
        Self { at: unsafe { NonNull::new_unchecked(at) }, object: PhantomData }
    }

    #[inline]
    fn flags(self) -> u8 {
        // SAFETY: a live entry has a header.
        unsafe { self.at.read() }
    }

    #[inline]
    fn head_len(self) -> usize {
        HEADER + (self.flags() & (EXPIRY | LONG_KEY | OBJECT)).count_ones() as usize * 8
    }

    #[inline]
    fn key_len(self) -> usize {
        // SAFETY: a live entry has a header, and a long key's length where its flags say.
        unsafe {
            let short = self.at.as_ptr().add(2).cast::<u16>().read();
            if short != LONG {
                return usize::from(short);
            }
            let word = HEADER + usize::from(self.flags() & EXPIRY) * 8;
            self.at.as_ptr().add(word).cast::<u64>().read() as usize
        }
    }

    #[inline]
    fn value_len(self) -> usize {
        // SAFETY: a live entry has a header.
        unsafe {
            let field = self.at.as_ptr().add(4);
            if self.flags() & LONG_VALUE != 0 {
                return field.cast::<u32>().read() as usize;
            }
            usize::from(field.cast::<u16>().read())
        }
    }

    /// Writes the length of a value, which is as long or short as its flag says.
    ///
    /// # Safety
    /// As for [`Raw::object_mut`]; the allocation must have room for such a value.
    unsafe fn set_value_len(self, len: usize) {
        // SAFETY: a live entry has a header, and the caller vouches for exclusiveness.
        unsafe {
            let field = self.at.as_ptr().add(4);
            match self.flags() & LONG_VALUE {
                0 => field.cast::<u16>().write(len as u16),
                _ => field.cast::<u32>().write(len as u32),
            }
        }
    }

    /// What is noted of its use, 24 bits; always 0 of a long value.
    #[inline]
    pub fn usage(self) -> u32 {
        if self.flags() & LONG_VALUE != 0 {
            return 0;
        }
        // SAFETY: a live entry has a header.
        unsafe {
            let low = self.at.as_ptr().add(6).cast::<u16>().read();
            u32::from(self.at.as_ptr().add(1).read()) << 16 | u32::from(low)
        }
    }

    /// Notes its use; nothing of a long value.
    ///
    /// # Safety
    /// As for [`Raw::object_mut`].
    #[inline]
    pub unsafe fn set_usage(self, usage: u32) {
        if self.flags() & LONG_VALUE != 0 {
            return;
        }
        // SAFETY: a live entry has a header, and the caller vouches for exclusiveness.
        unsafe {
            self.at.as_ptr().add(1).write((usage >> 16) as u8);
            self.at.as_ptr().add(6).cast::<u16>().write(usage as u16);
        }
    }

    fn value_at(self) -> usize {
        self.head_len() + self.key_len()
    }

    /// What the entry takes, in bytes, an object's own bytes not counted.
    pub fn bytes(self) -> usize {
        size_class(self.value_at() + self.value_len())
    }

    /// The key.
    ///
    /// # Safety
    /// The entry must stay alive and unchanged for `'a`.
    #[inline]
    pub unsafe fn key<'a>(self) -> &'a [u8] {
        // SAFETY: the key's bytes were written when the entry was made.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr().add(self.head_len()), self.key_len()) }
    }

    /// The value.
    ///
    /// # Safety
    /// The entry must stay alive and unchanged for `'a`.
    #[inline]
    pub unsafe fn view<'a>(self) -> View<'a, T>
    where
        T: 'a,
    {
        // SAFETY: flags tell which of the two was written when the entry was made.
        unsafe {
            if self.flags() & OBJECT != 0 {
                return View::Object(&*self.object_ptr());
            }
            let start = self.at.as_ptr().add(self.value_at());
            View::Bytes(std::slice::from_raw_parts(start, self.value_len()))
        }
    }

    /// The object, if the value is one.
    ///
    /// # Safety
    /// The entry must stay alive for `'a`, and nothing else may look into it meanwhile.
    pub unsafe fn object_mut<'a>(self) -> Option<&'a mut T>
    where
        T: 'a,
    {
        if self.flags() & OBJECT == 0 {
            return None;
        }
        // SAFETY: flags say that an object pointer is there; the caller vouches for exclusiveness.
        Some(unsafe { &mut *self.object_ptr() })
    }

    /// The value's bytes; empty if it is an object.
    ///
    /// # Safety
    /// As for [`Raw::object_mut`].
    pub unsafe fn bytes_mut<'a>(self) -> &'a mut [u8] {
        // SAFETY: the value's bytes lie behind the key; an object's value length is 0.
        unsafe {
            let start = self.at.as_ptr().add(self.value_at());
            std::slice::from_raw_parts_mut(start, self.value_len())
        }
    }

    /// Only to be called if the flags say that there is an object.
    fn object_ptr(self) -> *mut T {
        // SAFETY: the object's pointer is the last word before the key.
        unsafe { self.at.as_ptr().add(self.head_len() - 8).cast::<*mut T>().read() }
    }

    /// When it expires, in milliseconds since 1970.
    #[inline]
    pub fn expiry(self) -> Option<u64> {
        if self.flags() & EXPIRY == 0 {
            return None;
        }
        // SAFETY: flags say that the first word is the expiry.
        Some(unsafe { self.at.as_ptr().add(HEADER).cast::<u64>().read() })
    }

    /// Changes the value's length in place if it is bytes and its class stays; new bytes are zero.
    ///
    /// # Safety
    /// As for [`Raw::object_mut`].
    pub unsafe fn resize_in_place(self, len: usize) -> bool {
        let (at, old) = (self.value_at(), self.value_len());
        let same_form = (len > SHORT_MAX) == (self.flags() & LONG_VALUE != 0);
        let same_class = size_class(at + len) == size_class(at + old);
        if self.flags() & OBJECT != 0 || !same_form || !same_class || u32::try_from(len).is_err() {
            return false;
        }
        // SAFETY: the class of the new length is that of the allocation, so there is room.
        unsafe {
            self.set_value_len(len);
            if len > old {
                self.at.as_ptr().add(at + old).write_bytes(0, len - old);
            }
        }
        true
    }

    /// Changes the expiry in place if the entry has one already and keeps one.
    ///
    /// # Safety
    /// As for [`Raw::object_mut`].
    pub unsafe fn expiry_in_place(self, expiry: Option<u64>) -> bool {
        match (self.flags() & EXPIRY != 0, expiry) {
            (false, None) => true,
            (true, Some(expiry)) => {
                // SAFETY: flags say that the first word is the expiry.
                unsafe { self.at.as_ptr().add(HEADER).cast::<u64>().write(expiry) };
                true
            }
            _ => false,
        }
    }

    /// A copy with another expiry and value length (cut, or filled with zeros); the object, if
    /// any, moves to it. The old entry is freed.
    ///
    /// # Safety
    /// Nothing may look at the old entry any more.
    pub unsafe fn remade(self, expiry: Option<u64>, value_len: usize) -> Self {
        // SAFETY: the old entry is alive until it is released below; the new one has room for
        // `value_len` bytes behind its key.
        unsafe {
            if self.flags() & OBJECT != 0 {
                let new = Self::sized(self.key(), 0, Some(self.object_ptr()), expiry);
                new.set_usage(self.usage());
                self.release();
                return new;
            }
            let new = Self::sized(self.key(), value_len, None, expiry);
            new.set_usage(self.usage());
            let kept = self.value_len().min(value_len);
            let from = self.at.as_ptr().add(self.value_at());
            let to = new.at.as_ptr().add(new.value_at());
            to.copy_from_nonoverlapping(from, kept);
            to.add(kept).write_bytes(0, value_len - kept);
            self.release();
            new
        }
    }

    /// Gives back the memory; the object, if any, is the caller's.
    ///
    /// # Safety
    /// Nothing may look at the entry any more.
    pub unsafe fn free(self) -> Option<Box<T>> {
        // SAFETY: the object pointer came from `Box::into_raw` and leaves with this call.
        unsafe {
            let object = (self.flags() & OBJECT != 0).then(|| Box::from_raw(self.object_ptr()));
            self.release();
            object
        }
    }

    unsafe fn release(self) {
        let layout = layout(self.value_at() + self.value_len());
        // SAFETY: allocated with the layout of the same class; in-place changes keep the class.
        unsafe { dealloc(self.at.as_ptr(), layout) }
    }
}

/// Asks the processor to load the line at `address` soon.
#[inline]
pub fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch of any address is harmless.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch of any address is harmless.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_are_four_per_doubling() {
        for (len, want) in [
            (1, 16),
            (16, 16),
            (17, 32),
            (88, 96),
            (97, 112),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (225, 256),
            (256, 256),
            (257, 320),
            (1025, 1280),
        ] {
            assert_eq!(size_class(len), want, "{len}");
        }
    }
}
