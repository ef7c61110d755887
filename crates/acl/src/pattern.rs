//! Patterns of keys, and what may be done to those that fit.

use cairn_keyspace::fits;

/// What is done to a key, or may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access(u8);

impl Access {
    /// Neither: whether the key is there, or what type it has.
    pub const NONE: Self = Self(0);
    /// What it holds comes out.
    pub const READ: Self = Self(1);
    /// What it holds changes.
    pub const WRITE: Self = Self(2);
    /// Both.
    pub const BOTH: Self = Self(3);

    /// Whether whoever may do this may do `wanted`.
    #[must_use]
    pub const fn covers(self, wanted: Self) -> bool {
        self.0 & wanted.0 == wanted.0
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Keys that fit to a text with `*`, `?` and `[…]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KeyPattern {
    pub text: Vec<u8>,
    pub access: Access,
}

impl KeyPattern {
    pub fn allows(&self, key: &[u8], wanted: Access) -> bool {
        self.access.covers(wanted) && fits(&self.text, key)
    }

    /// As a rule.
    pub fn describe(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.access {
            Access::READ => b"%R~",
            Access::WRITE => b"%W~",
            _ => b"~",
        });
        out.extend_from_slice(&self.text);
    }
}
