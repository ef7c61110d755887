//! Rules of a `log` field, for any kind that has one.

use super::{Rule, size};
use crate::log::{BYTES_MAX, LogSpec};
use crate::quantity::size_bytes;

type Size = fn(&LogSpec) -> Option<&str>;

const SIZES: [(&str, (&str, &str), Size); 3] = [
    ("bytesKept", ("1Mi", "1Ti"), |log| log.bytes_kept.as_deref()),
    ("bytesMax", ("4Mi", "16Ti"), |log| log.bytes_max.as_deref()),
    ("fetchBytesPerSecond", ("64Ki", "64Gi"), |log| log.fetch_bytes_per_second.as_deref()),
];

/// All of them, in the order of the fields.
pub fn rules<T: 'static>(get: fn(&T) -> &LogSpec) -> Vec<Rule<T>> {
    let mut rules = Vec::new();
    for (field, range, written) in SIZES {
        rules.extend(size(&format!("log.{field}"), range, move |t: &T| written(get(t))));
    }
    rules.push(kept_is_less_than_half(get));
    rules
}

/// What is always kept leaves room for what waits for a snapshot.
fn kept_is_less_than_half<T: 'static>(get: fn(&T) -> &LogSpec) -> Rule<T> {
    let kept = "quantity(self.log.bytesKept)";
    let most = format!("quantity(has(self.log.bytesMax) ? self.log.bytesMax : '{BYTES_MAX}')");
    Rule::spec(
        "log.bytesKept",
        format!("!has(self.log.bytesKept) || {most}.sub({kept}).isGreaterThan({kept})"),
        "must be less than half of bytesMax (4Gi if absent): write less, or a greater bytesMax",
        move |t| {
            let log = get(t);
            let kept = log.bytes_kept.as_deref().and_then(size_bytes);
            let most = size_bytes(log.bytes_max.as_deref().unwrap_or(BYTES_MAX));
            // The rules about how sizes are written speak of the others.
            kept.zip(most).is_none_or(|(kept, most)| kept.saturating_mul(2) < most)
        },
    )
}
