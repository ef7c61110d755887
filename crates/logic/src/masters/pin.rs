//! A person, or the operator, has handed a group over: the planner lets it be for a while.

use crate::ids::NodeId;
use serde::{Deserialize, Serialize};

/// For how long at least, in milliseconds.
pub const PIN_KEPT_MS: u64 = 600_000;
/// For how long at most.
const PIN_KEPT_MAX_MS: u64 = 24 * 3_600_000;
/// Whoever asks again so soon asks the same.
const SAME_MS: u64 = 60_000;

/// A group was handed over by hand.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pin {
    /// To whom; none: to whoever had the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeId>,
    /// When, in milliseconds since 1970, by the global master's clock.
    pub at_ms: u64,
    /// For how long the planner lets it be.
    pub for_ms: u64,
}

impl Pin {
    /// A handover at `at_ms` of a group whose last one by hand was `before`. One that comes again
    /// soon after the planner was let go on is kept for twice as long: whoever asks for it means it
    /// (a machine may be drained for days).
    #[must_use]
    pub fn after(before: Option<&Self>, to: Option<NodeId>, at_ms: u64) -> Self {
        let since = |pin: &Self| pin.at_ms.abs_diff(at_ms);
        let for_ms = match before {
            Some(pin) if since(pin) < SAME_MS => pin.for_ms,
            Some(pin) if since(pin) < 2 * pin.for_ms => (2 * pin.for_ms).min(PIN_KEPT_MAX_MS),
            _ => PIN_KEPT_MS,
        };
        Self { to, at_ms, for_ms }
    }

    /// For how long it still holds, if it does. A clock that was set back must not make it hold for
    /// ever.
    #[must_use]
    pub fn left_ms(&self, now_ms: u64) -> Option<u64> {
        self.for_ms.checked_sub(self.at_ms.abs_diff(now_ms)).filter(|left| *left > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_for_ten_minutes_and_twice_as_long_if_it_comes_again() {
        let first = Pin::after(None, None, 1_000_000);
        assert_eq!(first.left_ms(1_000_000), Some(PIN_KEPT_MS));
        assert_eq!(first.left_ms(1_000_000 + PIN_KEPT_MS), None);
        assert_eq!(first.left_ms(1_000_000 - PIN_KEPT_MS), None, "the clock was set back");
        let same = Pin::after(Some(&first), None, 1_003_000);
        assert_eq!(same.for_ms, PIN_KEPT_MS, "a person waits for it");
        let again = Pin::after(Some(&same), None, same.at_ms + PIN_KEPT_MS + 30_000);
        assert_eq!(again.for_ms, 2 * PIN_KEPT_MS);
        let later = Pin::after(Some(&again), None, again.at_ms + 5 * PIN_KEPT_MS);
        assert_eq!(later.for_ms, PIN_KEPT_MS, "long after it is another matter");
        let mut pin = again;
        for _ in 0..20 {
            pin = Pin::after(Some(&pin), None, pin.at_ms + pin.for_ms + 1);
        }
        assert_eq!(pin.for_ms, PIN_KEPT_MAX_MS);
    }
}
