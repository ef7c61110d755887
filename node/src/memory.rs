//! What memory the process has, and huge pages: a loss for a process that holds little, a gain for
//! one that holds much.
//!
//! The allocator asks for them always. A node that holds nothing would take ten megabytes more for
//! it; one that holds a gigabyte of keys finds each key a third faster.

/// From so many bytes of keys on huge pages are worth what they waste.
const LARGE_BYTES: usize = 64 << 20;

/// Does without huge pages for now.
pub fn start_small() {
    set(false);
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
