//! The commands, one file per family.

pub(crate) mod bitfields;
pub(crate) mod bits;
pub(crate) mod blocking;
pub(crate) mod draws;
pub(crate) mod expiry;
pub(crate) mod geo;
pub(crate) mod geo_search;
pub(crate) mod hashes;
pub(crate) mod hyperloglog;
pub(crate) mod inspect;
pub(crate) mod keys;
pub(crate) mod lcs;
pub(crate) mod list_moves;
pub(crate) mod list_places;
pub(crate) mod lists;
pub(crate) mod memory;
pub(crate) mod payloads;
mod reach;
pub(crate) mod renames;
pub(crate) mod scan;
pub(crate) mod set_algebra;
pub(crate) mod sets;
pub(crate) mod sort;
pub(crate) mod sorted_ranges;
pub(crate) mod sorted_removals;
pub(crate) mod sorted_sets;
pub(crate) mod sorted_unions;
pub(crate) mod sorted_walks;
pub(crate) mod streams;
pub(crate) mod strings;

/// The half-open range that inclusive positions mean in something of `len` parts; negative ones
/// count from its end.
pub(crate) fn range(start: i64, end: i64, len: usize) -> (usize, usize) {
    let len = len as i64;
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let below = end < 0 && end.saturating_add(len) < 0;
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if below || start > end || start >= len {
        return (0, 0);
    }
    (start as usize, end as usize + 1)
}
