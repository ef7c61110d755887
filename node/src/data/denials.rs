//! Requests and passwords that were refused: ACL LOG. Pure.

use cairn_acl::Reason;
use std::collections::VecDeque;

/// For how long a refusal that is like an earlier one counts for that, in milliseconds.
const SAME_MS: u64 = 60_000;
/// How many of the last are looked at for one that is like it.
const SAME_AMONG: usize = 10;

/// Where a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// By itself.
    Toplevel,
    /// In a transaction.
    Multi,
    /// In a script.
    Lua,
}

impl Context {
    /// As ACL LOG tells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Toplevel => "toplevel",
            Self::Multi => "multi",
            Self::Lua => "lua",
        }
    }
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A wrong name or password, or a user that is off.
    Auth,
    /// The user may not.
    Denied(Reason),
}

impl From<Reason> for Why {
    fn from(reason: Reason) -> Self {
        Self::Denied(reason)
    }
}

impl Why {
    /// As ACL LOG tells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Denied(Reason::Command) => "command",
            Self::Denied(Reason::Key) => "key",
            Self::Denied(Reason::Channel) => "channel",
        }
    }
}

/// What was refused to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Why,
    /// Where.
    pub context: Context,
    /// The command, key or channel.
    pub object: Vec<u8>,
    /// The user's name, as known or as claimed.
    pub user: Vec<u8>,
}

/// One entry: a refusal, and those like it soon after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was refused.
    pub refusal: Refusal,
    /// How often.
    pub count: u64,
    /// When last, in milliseconds since 1970.
    pub at_ms: u64,
    /// The client it was refused to last, as CLIENT LIST tells it.
    pub client: String,
}

/// The last refusals.
#[derive(Debug)]
pub struct Denials {
    /// The newest first.
    entries: VecDeque<Entry>,
    /// How many are kept.
    len_max: usize,
}

impl Default for Denials {
    fn default() -> Self {
        Self { entries: VecDeque::new(), len_max: 128 }
    }
}

impl Denials {
    /// Keeps a refusal; one that is like an earlier one is counted there, which becomes the newest.
    pub fn add(&mut self, refusal: Refusal, at_ms: u64, client: String) {
        let is_same =
            |entry: &Entry| entry.refusal == refusal && at_ms.abs_diff(entry.at_ms) <= SAME_MS;
        let known = self.entries.iter().take(SAME_AMONG).position(is_same);
        let count = known.and_then(|at| self.entries.remove(at)).map_or(1, |entry| entry.count + 1);
        self.entries.push_front(Entry { refusal, count, at_ms, client });
        self.entries.truncate(self.len_max);
    }

    /// How many are kept.
    #[must_use]
    pub const fn len_max(&self) -> usize {
        self.len_max
    }

    /// Keeps so many from now on.
    pub fn set_len_max(&mut self, len_max: usize) {
        self.len_max = len_max;
        self.entries.truncate(len_max);
    }

    /// The last ones, the newest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(object: &str) -> Refusal {
        Refusal {
            reason: Reason::Key.into(),
            context: Context::Toplevel,
            object: object.into(),
            user: b"app".to_vec(),
        }
    }

    #[test]
    fn refusals_that_are_alike_are_one_entry_for_a_minute() {
        let mut denials = Denials::default();
        for (object, at_ms) in [("a", 1), ("b", 2), ("a", 3), ("a", 100_000)] {
            denials.add(refusal(object), at_ms, String::new());
        }
        let seen: Vec<_> = denials.entries().map(|it| (&it.refusal.object[..], it.count)).collect();
        assert_eq!(seen, [(&b"a"[..], 1), (b"a", 2), (b"b", 1)]);
    }

    #[test]
    fn not_too_many_are_kept() {
        let mut denials = Denials { len_max: 2, ..Denials::default() };
        for object in ["a", "b", "c"] {
            denials.add(refusal(object), 1, String::new());
        }
        assert_eq!(denials.entries().len(), 2);
        denials.clear();
        assert_eq!(denials.entries().len(), 0);
    }
}
