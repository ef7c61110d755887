//! What memory the process has, and huge pages: a loss for a process that holds little, a gain for
//! one that holds much.
//!
//! The allocator asks for them always. A node that holds nothing would take ten megabytes more for
//! it; one that holds a gigabyte of keys finds each key a third faster.

use libmimalloc_sys::{mi_option_set, mi_option_t};
use std::ffi::c_long;

/// From so many bytes of keys on huge pages are worth what they waste.
const LARGE_BYTES: usize = 64 << 20;

/// Does without huge pages for now.
pub fn start_small() {
    set(false);
}

/// How long the allocator keeps what was freed before it gives it back to the kernel, in
/// milliseconds; of whole arenas ten times that, as long as jemalloc does. Its own default is 10.
const KEPT_MS: c_long = 1000;
/// `mi_option_purge_delay` in the header of mimalloc 2.
const PURGE_DELAY: mi_option_t = 15;

/// Keeps what was freed for a while: what is given back comes back as pages that the kernel has to
/// clear first, which took an eighth of the time of a data thread whose lists grow and go.
#[allow(unsafe_code)]
pub fn keep_what_is_freed() {
    // SAFETY: no other thread runs yet, and the number is that of an option.
    unsafe { mi_option_set(PURGE_DELAY, KEPT_MS) }
}

/// Allows huge pages to a process that has begun to hold much; whether it has.
#[must_use]
pub fn has_grown(used_bytes: usize) -> bool {
    let grown = used_bytes >= LARGE_BYTES;
    if grown {
        set(true);
    }
    grown
}

/// The process's resident memory, from the kernel.
#[must_use]
pub fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

fn set(huge_pages: bool) {
    // A kernel without them has nothing to disable.
    let _ = rustix::thread::disable_transparent_huge_pages(!huge_pages);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code)]
    fn the_option_that_is_set_is_the_delay() {
        // SAFETY: no other test sets an option.
        let (before, after) = unsafe {
            let before = libmimalloc_sys::mi_option_get(PURGE_DELAY);
            keep_what_is_freed();
            (before, libmimalloc_sys::mi_option_get(PURGE_DELAY))
        };
        assert_eq!((before, after), (10, KEPT_MS), "the default tells which option it is");
    }
}
