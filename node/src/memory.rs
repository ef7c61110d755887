//! What memory the process has, and huge pages: a loss for a process that holds little, a gain for
//! one that holds much.
//!
//! The allocator asks for them always. A node that holds nothing would take ten megabytes more for
//! it; one that holds a gigabyte of keys finds each key a third faster.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// From so many bytes of keys on huge pages are worth what they waste.
const LARGE_BYTES: usize = 64 << 20;

/// Does without huge pages for now.
pub fn start_small() {
    set(false);
}

/// Tells mimalloc for how long it keeps what was freed before it gives it back to the kernel, in
/// milliseconds; of whole arenas ten times that.
const KEEP: &str = "MIMALLOC_PURGE_DELAY";
/// As long as jemalloc does; mimalloc's own default is 10.
const KEEP_MS: &str = "1000";

/// Has the allocator keep what was freed for a while: what is given back comes back as pages that
/// the kernel has to clear first, which took an eighth of the time of a data thread whose lists
/// grow and go. It is told by the environment, before anything else runs: unless it was, this
/// process begins anew.
pub fn keep_what_is_freed() {
    if std::env::var_os(KEEP).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    let (Some(name), Ok(program)) = (arguments.next(), std::env::current_exe()) else { return };
    let error = Command::new(program).arg0(name).args(arguments).env(KEEP, KEEP_MS).exec();
    eprintln!("cairn-node: cannot begin anew with {KEEP}={KEEP_MS}, goes on without: {error}");
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
